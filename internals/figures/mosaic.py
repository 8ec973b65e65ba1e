"""A wall of projections and patches in the order of depth, on mid grey: a picture without words.

Grey is zero in a projection, so that one flows into the next. The picture is the same on a light
page and on a dark one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from internals.figures.inks import ZERO
from internals.figures.patches import ChannelPatches
from internals.figures.sheets import Frame, patch_tile, projection_tiles, sheet

_SMALLEST, _LARGEST = 1 / 20, 1 / 6  # of a band's length: a tile of the first and the last layer


@dataclass(frozen=True)
class Band:
    """The part of a mosaic that belongs to one layer.

    Args:
        tile: Side of its tiles (unit: pixels of the mosaic).
        lines: How many lines of tiles it has, an even number: half of its tiles are patches.
    """

    tile: int
    lines: int

    def pairs(self, length: int) -> int:
        """How many projections with their patches fill the band along a side of `length` pixels."""
        return length // self.tile * (self.lines // 2)


def bands(layers: int, length: int, lines: int) -> list[Band]:
    """Bands for so many layers: tiles grow with depth, as fields do, and fill `length` evenly.

    Args:
        layers: How many.
        length: How long all bands are (unit: pixels).
        lines: How many lines of tiles each has, an even number.
    """
    divisors = np.array([tile for tile in range(1, length + 1) if length % tile == 0])
    sides = length * np.geomspace(_SMALLEST, _LARGEST, layers)
    nearest = [divisors[np.abs(np.log(divisors / side)).argmin()] for side in sides]
    return [Band(int(tile), lines) for tile in nearest]


def mosaic(
    layers: Sequence[tuple[Band, Sequence[ChannelPatches]]], length: int, *, upright: bool = False
) -> np.ndarray:
    """RGB bytes of a wall of tiles: of each channel the strongest unit's projection and patch.

    The bands stand side by side, the first layer on the left; upright they lie one below the other.
    The projection comes before its patch in one line and after it in the next, as on a chequered
    board. Where there are fewer channels than places, the rest stays grey.

    Args:
        layers: From the first to the last, each with its band and its channels.
        length: How long all bands are (unit: pixels).
        upright: Whether depth grows downwards.
    """
    parts = [_band(band, channels, length, upright) for band, channels in layers]
    return np.concatenate(parts, axis=0 if upright else 1)


def _band(band: Band, channels: Sequence[ChannelPatches], length: int, upright: bool) -> np.ndarray:
    places = length // band.tile
    pairs = [_pair(channel, band.tile) for channel in channels[: band.pairs(length)]]
    empty = np.full((band.tile, band.tile, 3), ZERO, np.uint8)
    # One row of the board along the band holds `lines` tiles; upright the board is turned.
    board = [
        tile
        for number, pair in enumerate(pairs)
        for tile in (pair if (number // (band.lines // 2)) % 2 == 0 else pair[::-1])
    ]
    board += [empty] * (places * band.lines - len(board))
    if upright:
        board = [board[place * band.lines + line] for line in range(band.lines)
                 for place in range(places)]  # fmt: skip
    pixels = sheet(board, (band.tile, band.tile), places if upright else band.lines)
    missing = length - places * band.tile
    before, after = missing // 2, missing - missing // 2
    margins = ((0, 0), (before, after)) if upright else ((before, after), (0, 0))
    return np.pad(pixels, (*margins, (0, 0)), constant_values=ZERO)


def _pair(channel: ChannelPatches, tile: int) -> tuple[np.ndarray, np.ndarray]:
    """The strongest unit's projection and its patch, each in a square tile."""
    projection, patch = channel.projections[0], channel.patches[0]
    frame = Frame(channel.size, (tile, tile), channel.offsets[0], projection.shape[1:])
    [drawn], _, _ = projection_tiles([frame], [projection])
    return drawn, patch_tile(frame, patch)
