"""How well, and with how little, activations are rebuilt."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

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
