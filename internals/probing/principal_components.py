"""What a dictionary has to beat: the directions of largest variance."""

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from internals.errors import ProbingError
from internals.probing.vectors import checked, total_variance

_PART = 8192  # activations at a time


@runtime_checkable
class Code(Protocol):
    """What writes vectors as codes and rebuilds them: a sparse autoencoder, or components."""

    def encode(self, x: Tensor) -> Tensor:
        """Codes (n, features) of vectors (n, inputs)."""
        ...

    def decode(self, codes: Tensor, /) -> Tensor:
        """The vectors of codes."""
        ...


@dataclass(frozen=True)
class Quality:
    """What a code costs, and what it keeps, on a set of activations.

    `active` is L0, the mean number of codes that are not 0; `explained` the share of variance
    explained, 1 - sum |x - x'|^2 / sum |x - mean|^2; `dead` how many of the `features` are 0 for
    every vector.
    """

    active: float
    explained: float
    dead: int
    features: int

    @property
    def share_active(self) -> float:
        """L0 as a share of the features."""
        return self.active / self.features


@torch.no_grad()
def quality(code: Code, activations: Float[Tensor, "n inputs"]) -> Quality:
    """How `code` does on `activations`, which should be none of those it was fitted to.

    Raises `ProbingError` for activations without variance.
    """
    rows = checked(activations)
    total = total_variance(rows) * len(rows)
    used, lost = None, 0.0
    for part in rows.split(_PART):
        codes = code.encode(part)
        counts = (codes != 0).sum(dim=0)
        used = counts if used is None else used + counts
        lost += (code.decode(codes) - part).double().square().sum().item()
    assert used is not None
    return Quality(
        active=used.sum().item() / len(rows),
        explained=1 - lost / total,
        dead=int((used == 0).sum()),
        features=len(used),
    )


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
