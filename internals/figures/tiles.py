"""Tiles: small pictures in rows and columns, how far they are enlarged, and their keys."""

import math
from collections.abc import Sequence

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, text_width
from internals.figures.inks import MUTED, PADDING, SMALL_PX, WIDTH, Ink, signed
from internals.figures.table import MINUS, number

RAMP, RAMP_HEIGHT = 65, 8  # an odd number of steps, so that one of them is exactly zero
LINE = 15  # logical pixels from one line of words below a tile to the next


def tile_slot(columns: int, *, gap: float, left: float = 0, largest: float = math.inf) -> float:
    """The room for the longer side of each tile of a row (unit: device pixels).

    Args:
        columns: How many tiles stand in the row.
        gap: Between two tiles (unit: logical pixels, as all that follow).
        left: Where the row begins.
        largest: The most that a tile may take.
    """
    return min(largest, (WIDTH - left - gap * (columns - 1)) / columns) * DEVICE


def tile_zoom(size: Sequence[int], slot: float) -> float:
    """How far a tile is enlarged: to whole device pixels, the most that fit, unless it must shrink.

    Args:
        size: Height and width of the picture (unit: its own pixels).
        slot: The room for its longer side (unit: device pixels).

    Returns:
        Logical pixels for one pixel of the picture.
    """
    side = max(size)
    return (slot // side or slot / side) / DEVICE


def draw_tile(
    canvas: Canvas,
    x: float,
    y: float,
    pixels: np.ndarray,
    width: float,
    height: float,
    below: Sequence[str] = (),
    ink: Ink = MUTED,
) -> None:
    """A framed picture.

    Args:
        canvas: Where it is drawn.
        x: Of its left edge (unit: logical pixels, as all lengths).
        y: Of its upper edge.
        pixels: RGB bytes (h, w, 3).
        width: Of the tile.
        height: Of the tile.
        below: Lines of words below it.
        ink: Of the words.
    """
    canvas.image(x, y, pixels, width, height)
    canvas.frame(x, y, width, height)
    for line, words in enumerate(below):
        canvas.text(x, y + height + 13 + LINE * line, words, ink, SMALL_PX)


def signed_key(
    canvas: Canvas,
    baseline: float,
    scale: float,
    channels: int = 1,
    right: float = WIDTH,
    *,
    exceeded: bool = False,
) -> None:
    """The ramp of a signed scale, its two ends named.

    Args:
        canvas: Where it is drawn.
        baseline: Of the words (unit: logical pixels).
        scale: The magnitude that has full ink.
        channels: Of the pictures: 3 for colours, 1 for signed tones.
        right: Where the key ends (unit: logical pixels).
        exceeded: Whether there are larger magnitudes, which have full ink as well.
    """
    if scale == 0:
        canvas.text(right, baseline, "0 everywhere", MUTED, SMALL_PX, ha="right")
        return
    ramp = np.broadcast_to(np.linspace(-1, 1, RAMP), (channels, 1, RAMP))
    end, start = f"+{number(scale)}", f"{MINUS}{number(scale)}"
    if exceeded:
        end, start = f"≥ {end}", f"≤ {start}"
    left = right - text_width(end, SMALL_PX) - 6 - RAMP
    canvas.text(right, baseline, end, MUTED, SMALL_PX, ha="right")
    canvas.image(left, baseline - RAMP_HEIGHT, signed(ramp, 1.0), RAMP, RAMP_HEIGHT)
    canvas.text(left - 6, baseline, start, MUTED, SMALL_PX, ha="right")


def padding_key(canvas: Canvas, baseline: float, left: float = 0) -> None:
    """A swatch of the paper tone with its meaning."""
    canvas.box(left, baseline - 9, 18, 10, PADDING)
    canvas.text(left + 24, baseline, "outside the image", MUTED, SMALL_PX)
