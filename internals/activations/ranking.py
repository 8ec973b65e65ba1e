"""The strongest images of every channel, as a table of positions."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from internals.activations.unit import Unit
from internals.errors import LayerError


@dataclass(frozen=True)
class Strongest:
    """The k images that drive each channel of `layer` hardest, one position an image.

    `image` (its number in the set), `row`, `column` and `value` are of shape (channels, k) and
    on the CPU, the strongest first; equal values are in the order of their images.
    """

    layer: str
    image: Int64[Tensor, "channels k"]
    row: Int64[Tensor, "channels k"]
    column: Int64[Tensor, "channels k"]
    value: Float[Tensor, "channels k"]

    @property
    def channels(self) -> int:
        """How many channels the layer has."""
        return len(self.image)

    def units(self, channel: int) -> list[Unit]:
        """The strongest units of `channel`; raises `LayerError` when it is out of range."""
        if not 0 <= channel < self.channels:
            raise LayerError(
                f"layer {self.layer!r} has no channel {channel}; "
                f"its channels are 0 to {self.channels - 1}"
            )
        return [
            Unit(self.layer, channel, int(row), int(column))
            for row, column in zip(self.row[channel], self.column[channel], strict=True)
        ]


def merged(tables: Sequence[Strongest], k: int) -> Strongest:
    """The `k` strongest of all `tables` of one layer, whose images are in ascending order."""
    if len(tables) == 1:
        return tables[0]
    value = torch.cat([table.value for table in tables], dim=1)
    # A stable sort breaks ties by image: it keeps the order of the tables and of their rows.
    order = value.sort(dim=1, descending=True, stable=True).indices[:, :k]
    image, row, column = (
        torch.cat([getattr(table, name) for table in tables], dim=1).gather(1, order)
        for name in ("image", "row", "column")
    )
    return Strongest(tables[0].layer, image, row, column, value.gather(1, order))
