"""Principal components: the directions of largest variance, which a learned code has to beat."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from internals.errors import ProbingError
from internals.probing.vectors import check_activations, total_variance


@dataclass(frozen=True)
class PrincipalComponents:
    """The mean of some activations and their directions of largest variance, largest first.

    Called with vectors it gives their reconstructions.

    Args:
        mean: The mean of the activations, (inputs,), in their unit.
        components: Orthogonal rows of length 1, (components, inputs), whose largest entry is
            positive.
        explained_variance_ratio: The share of each in the total variance, (components,).
        top_k: Where given, the code of each vector holds only its own `top_k` coordinates of
            largest magnitude, and the others are 0.
    """

    mean: Float[Tensor, " inputs"]
    components: Float[Tensor, "components inputs"]
    explained_variance_ratio: Float[Tensor, " components"]
    top_k: int | None = None

    def truncated(self, count: int) -> "PrincipalComponents":
        """Only the first components.

        Args:
            count: How many.

        Raises:
            ProbingError: There are fewer, or `count` is below 1.
        """
        self._check(count)
        return replace(
            self,
            components=self.components[:count],
            explained_variance_ratio=self.explained_variance_ratio[:count],
        )

    def with_top_k(self, top_k: int) -> "PrincipalComponents":
        """All components, of which each vector uses its own largest coordinates.

        Args:
            top_k: How many of them.

        Raises:
            ProbingError: There are fewer, or `top_k` is below 1.
        """
        self._check(top_k)
        return replace(self, top_k=top_k)

    def encode(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n components"]:
        """The coordinates of vectors along the components.

        Args:
            x: Vectors (n, inputs).

        Returns:
            Codes (n, components), in the unit of `x`.
        """
        codes = (x - self.mean.to(x)) @ self.components.to(x).T
        if self.top_k is None:
            return codes
        largest = codes.abs().topk(self.top_k, dim=1, sorted=False).indices
        return torch.zeros_like(codes).scatter(1, largest, codes.gather(1, largest))

    def decode(self, codes: Float[Tensor, "n components"]) -> Float[Tensor, "n inputs"]:
        """The vectors that have these coordinates, and along other directions those of the mean.

        Args:
            codes: Coordinates (n, components).

        Returns:
            Vectors (n, inputs).
        """
        return codes @ self.components.to(codes) + self.mean.to(codes)

    def __call__(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n inputs"]:
        """The reconstructions of vectors `x` (n, inputs) from their codes."""
        return self.decode(self.encode(x))

    def _check(self, count: int) -> None:
        if not 1 <= count <= len(self.components):
            raise ProbingError(
                f"{count} components asked for; give 1 to {len(self.components)}, which there are"
            )


def fit_principal_components(
    activations: Float[Tensor, "n inputs"],
) -> PrincipalComponents:
    """All principal components, by the eigenvectors of the covariance in float64.

    Args:
        activations: One row a vector, (n, inputs).

    Returns:
        As many components as inputs, in the precision of the activations and on the CPU.

    Raises:
        ProbingError: The activations have no variance, or are none.
    """
    rows = check_activations(activations).double().cpu()
    total = total_variance(rows)
    mean = rows.mean(dim=0)
    centred = rows - mean
    variances, eigenvectors = torch.linalg.eigh(centred.T @ centred / len(rows))
    components = eigenvectors.flip(1).T
    # Of the two signs an eigenvector may have, the one whose largest entry is positive.
    largest = components.abs().argmax(dim=1, keepdim=True)
    components = components * components.gather(1, largest).sign()
    ratio = (variances.flip(0) / total).clamp_min(0)
    dtype = activations.dtype
    return PrincipalComponents(mean.to(dtype), components.to(dtype), ratio.to(dtype))
