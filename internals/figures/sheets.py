"""Sheets: tiles of one size in one picture, which a page cuts apart and labels.

A sheet has no words and no paper, so that it is the same on a light page and on a dark one. What
of a tile lies outside its image is left mid grey, and its width is told, so that the page can
paint it.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from internals.figures.inks import ZERO, natural, signed
from internals.figures.sheet_html import COLUMNS

LOSSLESS = 24  # pixels: smaller tiles would be blurred by a lossy codec, and cost next to nothing
# Pixels: of tiles up to this size, a lossy file has each pixel twice each way. It keeps colours at
# half the width and height, and the colours of a projection differ from one pixel to the next.
DOUBLED = 48
_LOUDEST = 0.998  # the quantile of the magnitudes that gets full ink; beyond it lies a pixel or two

Size = tuple[int, int]  # height, width
Inset = tuple[int, int, int, int]  # top, right, bottom, left, as in CSS


@dataclass(frozen=True)
class Sheet:
    """The tiles of a figure in one picture, without words, and what a page says of them.

    Attributes:
        pixels: RGB bytes (h, w, 3). A line of projections stands above the line of their patches.
        data: Plain data, which JSON can hold: `tile`, `lines`, `stacked`, `noun`, and for each
            channel in `rows` its name, scale and units, as `sheet_html` reads them.
    """

    pixels: np.ndarray
    data: dict[str, Any]


@dataclass(frozen=True)
class Frame:
    """Where a piece of an image lies in its tile.

    Args:
        field: Height and width of the whole receptive field (unit: pixels of the image).
        tile: Height and width of the tile (unit: its own pixels).
        offset: (top, left) of the piece in the field (unit: pixels of the image).
        size: Height and width of the piece (unit: pixels of the image).
    """

    field: Size
    tile: Size
    offset: Size
    size: Size

    @property
    def inset(self) -> Inset:
        """How much of the tile lies outside the image, on each side (unit: pixels of the tile)."""
        (top, bottom), (left, right) = self._span(0), self._span(1)
        return top, self.tile[1] - right, self.tile[0] - bottom, left

    def place(self, piece: np.ndarray, outside: float) -> np.ndarray:
        """The tile with the piece (c, h, w) in its place, and `outside` elsewhere.

        Reduced, pixels are averaged, so that a signed picture is summed before it is scaled.
        """
        (top, bottom), (left, right) = self._span(0), self._span(1)
        placed = np.full((len(piece), *self.tile), outside, np.float32)
        placed[:, top:bottom, left:right] = reduced(piece, (bottom - top, right - left))
        return placed

    def _span(self, axis: int) -> tuple[int, int]:
        """Where in the tile the piece begins and ends along an axis; it has one pixel at least."""
        scale = self.tile[axis] / self.field[axis]
        first = min(round(self.offset[axis] * scale), self.tile[axis] - 1)
        last = round((self.offset[axis] + self.size[axis]) * scale)
        return first, max(last, first + 1)


def tile_size(field: Size, most: int) -> Size:
    """Height and width of a tile: those of the field, reduced where its longer side exceeds `most`.

    Args:
        field: Height and width (unit: pixels of the image).
        most: The longest side of a tile (unit: its own pixels).
    """
    scale = min(1.0, most / max(field))
    return max(1, round(field[0] * scale)), max(1, round(field[1] * scale))


def reduced(piece: np.ndarray, size: Size) -> np.ndarray:
    """`piece` (c, h, w) in `size`, by the mean over the area of each pixel."""
    if piece.shape[1:] == size:
        return piece.astype(np.float32)
    height, width = size
    rows = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane, np.float32)).resize(
            (width, height), Image.Resampling.BOX
        ))
        for plane in piece
    ]  # fmt: skip
    return np.stack(rows)


def full_ink(pictures: Sequence[np.ndarray]) -> tuple[float, bool]:
    """The magnitude that gets full ink in signed pictures, and whether any is larger.

    Zeros are left out: there are as many as there is space outside the fields.
    """
    magnitudes = np.abs(np.concatenate([*(p.ravel() for p in pictures), np.zeros(0)]))
    magnitudes = magnitudes[magnitudes > 0]
    if not magnitudes.size:
        return 0.0, False
    full = float(np.quantile(magnitudes, _LOUDEST, method="higher"))
    return full, full < float(magnitudes.max())


def sheet(tiles: Sequence[np.ndarray], tile: Size, columns: int = COLUMNS) -> np.ndarray:
    """RGB bytes of a sheet, row by row; places without a tile are mid grey.

    Args:
        tiles: RGB bytes (h, w, 3) of each, all of the size `tile`.
        tile: Their height and width.
        columns: Tiles in a row.
    """
    height, width = tile
    rows = max(1, -(-len(tiles) // columns))
    pixels = np.full((rows * height, columns * width, 3), ZERO, np.uint8)
    for number, content in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        pixels[top : top + height, left : left + width] = content
    return pixels


def patch_tile(frame: Frame, patch: np.ndarray) -> np.ndarray:
    """RGB bytes of a tile with a patch (c, h, w) in [0, 1], as it is."""
    return natural(frame.place(patch, ZERO / 255))


def projection_tiles(
    frames: Sequence[Frame], projections: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], float, bool]:
    """RGB bytes of the tiles of one channel, on one signed scale on which 0 is mid grey.

    Args:
        frames: Where each projection lies.
        projections: (c, h, w), signed.

    Returns:
        The tiles, the magnitude that has full ink, and whether there are larger ones.
    """
    placed = [
        frame.place(projection, 0.0) for frame, projection in zip(frames, projections, strict=True)
    ]
    full, exceeded = full_ink(placed)
    return [signed(picture, full) for picture in placed], full, exceeded


def to_webp(
    pixels: np.ndarray, tile: Size, quality: int, *, grey: bool = False, photographs: bool = False
) -> bytes:
    """A sheet as WebP: lossless where its tiles are small or of one channel, else at `quality`.

    A lossy file of tiles up to `DOUBLED` is twice as wide and high as the sheet, unless it holds
    patches only.

    Args:
        pixels: RGB bytes (h, w, 3).
        tile: Height and width of its tiles.
        quality: Of a lossy file, 0 to 100.
        photographs: Whether there are patches only, no projections.
        grey: Whether patches are grey: beside coloured projections, a lossy codec would tinge them.
    """
    lossless = grey or max(tile) <= LOSSLESS
    if not (lossless or photographs) and max(tile) <= DOUBLED:
        pixels = pixels.repeat(2, axis=0).repeat(2, axis=1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(
        file, "WEBP", lossless=lossless, quality=80 if lossless else quality, method=4
    )
    return file.getvalue()
