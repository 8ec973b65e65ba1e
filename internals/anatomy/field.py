"""Receptive fields: which pixels a unit can see."""

from dataclasses import dataclass, replace
from typing import NamedTuple

Pair = int | tuple[int, int]  # one number for both axes, or (rows, columns), as torch writes sizes
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class ReceptiveField:
    """The field of unit (row, column) of a layer: `size` pixels from `start` + row x `stride`.

    All three are in pixels of the input, one int where rows and columns agree and (rows, columns)
    where not; `start` is negative where padding is seen. A stride of 0 means that the layer has one
    position. Araujo, Norris and Sim, Distill 2019: r_0, S_0 and u_0.
    """

    size: Pair
    stride: Pair
    start: Pair

    def __post_init__(self) -> None:
        for name in ("size", "stride", "start"):
            value = getattr(self, name)
            if isinstance(value, tuple) and value[0] == value[1]:
                object.__setattr__(self, name, value[0])

    def box(self, row: int, column: int) -> Box:
        """The field of unit (row, column) as (top, left, bottom, right), bottom and right excluded.

        It is not clipped: it reaches beyond the image where the unit sees padding.
        """
        top, left = (
            start + position * stride
            for start, stride, position in zip(
                _both(self.start), _both(self.stride), (row, column), strict=True
            )
        )
        height, width = _both(self.size)
        return top, left, top + height, left + width


def clip(box: Box, height: int, width: int) -> Box:
    """The part of `box` that lies on an image of `height` x `width` pixels; it may be empty."""
    top, left, bottom, right = box
    top, left = min(max(top, 0), height), min(max(left, 0), width)
    return top, left, max(min(bottom, height), top), max(min(right, width), left)


def _both(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@dataclass(frozen=True)
class Axis:
    """The field along one axis: position i sees [start + i stride, start + i stride + size).

    It is `local` while a position depends on nothing but those pixels: not on how large the image
    is, and not on where in it they lie, but for the padding at its borders.
    """

    size: int
    stride: int
    start: int
    local: bool = True

    def slide(self, kernel: int, stride: int, padding: int, dilation: int = 1) -> "Axis":
        """After a window of `kernel` taps, `dilation` apart (Araujo et al., eq. 2 and 3)."""
        reach = (kernel - 1) * dilation
        return Axis(
            self.size + reach * self.stride,
            self.stride * stride,
            self.start - padding * self.stride,
            self.local,
        )

    def collapse(self, length: int) -> "Axis":
        """After all `length` positions have become one."""
        return Axis(self.size + (length - 1) * self.stride, 0, self.start, local=False)

    def anywhere(self) -> "Axis":
        """The same where the image's size or the place in it matters as well."""
        return replace(self, local=False)

    def shift(self, positions: int) -> "Axis":
        """After the axis has lost its first `positions` (negative: gained some by padding)."""
        return replace(self, start=self.start + positions * self.stride)

    def join(self, other: "Axis") -> "Axis | None":
        """The smallest field that holds both branches, or None where their strides differ."""
        if self.stride != other.stride:
            return None
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        return Axis(end - start, self.stride, start, self.local and other.local)


class Field(NamedTuple):
    """The receptive field of a tensor's units along both axes."""

    rows: Axis
    columns: Axis

    @property
    def local(self) -> bool:
        """Whether a window of the image gives its units the same values as the whole image."""
        return self.rows.local and self.columns.local

    def anywhere(self) -> "Field":
        """The same where the image's size or the place in it matters as well."""
        return Field(self.rows.anywhere(), self.columns.anywhere())

    def public(self) -> ReceptiveField:
        """The same as the library's users see it."""
        pairs = zip(*((axis.size, axis.stride, axis.start) for axis in self), strict=True)
        return ReceptiveField(*pairs)


PIXELS = Field(Axis(1, 1, 0), Axis(1, 1, 0))  # the field of the image itself
