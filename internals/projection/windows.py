"""The smallest window of an image that gives a unit the same numbers as the whole image.

A window of the unpadded image is cut, anchored to the image's border wherever the unit's field
reaches it, and shifted by whole strides; the unmodified network runs on it. That is exact:

* where the window does not begin at the image's border it begins at or before the unit's field, so
  that none of the zeros which the network pads the window with can reach the unit; likewise behind;
* where it does, the network pads it as it would pad the image;
* a start that is a multiple of the layer's stride keeps every stride, floor and ceiling on the way
  where they were, up to the far border if the window ends there.
"""

from typing import NamedTuple

from internals.anatomy.field import Axis, Field


class Cut(NamedTuple):
    """A window along one axis: pixels [start, start + length), and the unit's position in it."""

    start: int
    length: int
    position: int


def cut(axis: Axis, length: int, position: int) -> Cut:
    """The window along one axis of `length` pixels for the unit at `position` of its layer.

    Windows have one of two lengths, so that many units can share a batch: one for fields that end
    on the image, and a shorter one for those that reach beyond its far border.
    """
    if not axis.local or axis.stride == 0:
        return Cut(0, length, position)
    ahead = max(0, -(axis.start // axis.stride))  # whole strides kept before the field
    needed = axis.start + ahead * axis.stride + axis.size
    start = max((position - ahead) * axis.stride, 0)
    if start + needed <= length:
        return Cut(start, needed, position - start // axis.stride)
    # The first start from which a field reaches the far border serves all that do.
    start = max(((length - needed) // axis.stride + 1) * axis.stride, 0)
    return Cut(start, length - start, position - start // axis.stride)


def windows(field: Field | None, size: tuple[int, int], row: int, column: int) -> tuple[Cut, Cut]:
    """The windows along rows and columns of an image of `size`, for the unit at (row, column).

    They are the whole image where `field` is None (unknown) or not local.
    """
    if field is None or not field.local:
        return Cut(0, size[0], row), Cut(0, size[1], column)
    return cut(field.rows, size[0], row), cut(field.columns, size[1], column)


def batch_size(rows: Cut, columns: Cut) -> int:
    """How many windows to run at a time: fewer large ones, whose activations outgrow the caches.

    Measured on two cores: many up to 64 x 64 pixels, nine up to 128 x 128, one above.
    """
    pixels = rows.length * columns.length
    if pixels <= 64 * 64:
        return 64
    return 9 if pixels <= 128 * 128 else 1
