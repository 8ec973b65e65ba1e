"""One unit of a network."""

from typing import NamedTuple


class Unit(NamedTuple):
    """The unit of `layer` at (`channel`, `row`, `column`) of its feature maps.

    Units of a fully connected layer have row and column 0.
    """

    layer: str
    channel: int
    row: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.layer}[{self.channel}, {self.row}, {self.column}]"
