"""What a dictionary has to beat: the directions of largest variance."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from internals.errors import ProbingError
from internals.probing.vectors import checked, total_variance


@dataclass(frozen=True)
class PrincipalComponents:
    """The mean of the activations and their directions of largest variance, largest first.

    `directions` are orthogonal rows of length 1 whose largest component is positive; `shares` are
    their parts of the total variance. Codes are coordinates along them. With `keep` each vector's
    code holds only its own `keep` coordinates of largest magnitude, the others are 0.
    """

    mean: Float[Tensor, " inputs"]
    directions: Float[Tensor, "components inputs"]
    shares: Float[Tensor, " components"]
    keep: int | None = None

    def first(self, count: int) -> "PrincipalComponents":
        """Only the first `count` components."""
        self._check(count)
        return replace(self, directions=self.directions[:count], shares=self.shares[:count])

    def keeping(self, count: int) -> "PrincipalComponents":
        """All components, of which each vector uses its own `count` largest coordinates."""
        self._check(count)
        return replace(self, keep=count)

    def encode(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n components"]:
        """The coordinates of `x`, in the unit of `x`."""
        codes = (x - self.mean.to(x)) @ self.directions.to(x).T
        if self.keep is None:
            return codes
        which = codes.abs().topk(self.keep, dim=1, sorted=False).indices
        return torch.zeros_like(codes).scatter(1, which, codes.gather(1, which))

    def decode(self, codes: Float[Tensor, "n components"]) -> Float[Tensor, "n inputs"]:
        """The vectors that have these coordinates and none along other directions."""
        return codes @ self.directions.to(codes) + self.mean.to(codes)

    def __call__(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n inputs"]:
        """`x` rebuilt from its coordinates."""
        return self.decode(self.encode(x))

    def _check(self, count: int) -> None:
        if not 1 <= count <= len(self.directions):
            raise ProbingError(
                f"{count} components asked for; there are {len(self.directions)}, give 1 or more"
            )


def fit_principal_components(
    activations: Float[Tensor, "n inputs"],
) -> PrincipalComponents:
    """All principal components of `activations`, by the eigenvectors of their covariance.

    Exact in float64 sums; there are as many components as inputs. Raises `ProbingError` for
    activations that cannot be fitted.
    """
    rows = checked(activations).double().cpu()
    total = total_variance(rows)
    mean = rows.mean(dim=0)
    centred = rows - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / len(rows))
    directions = vectors.flip(1).T
    # Of the two signs an eigenvector may have, the one whose largest component is positive.
    largest = directions.abs().argmax(dim=1, keepdim=True)
    directions = directions * directions.gather(1, largest).sign()
    shares = (variances.flip(0) / total).clamp_min(0)
    dtype = activations.dtype
    return PrincipalComponents(mean.to(dtype), directions.to(dtype), shares.to(dtype))
