"""What happened in each epoch."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Epoch:
    """One pass: mean training loss and accuracy while it ran, validation after it, seconds.

    `images_per_second` is the speed of training alone, all processes together.
    """

    number: int
    train_loss: float
    train_top1: float
    validation_loss: float
    validation_top1: float
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass
class History:
    """The epochs of a run, in order; accuracies are shares, 0 to 1."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The epoch with the highest validation accuracy, then the lowest loss, then the first."""
        return min(self.epochs, key=lambda e: (-e.validation_top1, e.validation_loss, e.number))

    def column(self, name: str) -> list[float]:
        """One number of every epoch, e.g. "validation_top1"."""
        return [getattr(epoch, name) for epoch in self.epochs]

    def to_rows(self) -> list[dict[str, Any]]:
        """Plain dictionaries, for files."""
        return [asdict(epoch) for epoch in self.epochs]

    @classmethod
    def from_rows(cls, rows: list[dict[str, Any]]) -> "History":
        """The inverse of `to_rows`."""
        return cls([Epoch(**row) for row in rows])
