"""Strokes of a pen turned into digits as MNIST has them, and one stroke drawing of each digit.

The page does the same in `docs/javascripts/lenet5.js`; a test holds the two to each other.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

Point = tuple[float, float]
Strokes = Sequence[Sequence[Point]]  # of points (x, y) in 0..1, y downwards

_BOX, _FIELD, _SIDE = 20, 28, 32  # pixels: of the longer side, of MNIST's field, of the input
_GRAIN = 4  # cells of the ink's grid to a pixel of the box, along each side
_PEN = 0.065  # radius: a share of the drawing's longer side, whatever its size
_PAPER, _INK = -0.1, 1.175
_STEPS = 6  # points of a curve from one of its knots to the next


def _curve(knots: Sequence[Point]) -> tuple[Point, ...]:
    """A Catmull-Rom curve through all knots."""
    points = np.array([knots[0], *knots, knots[-1]])
    curve = [points[1]]
    for before, start, end, after in zip(points, points[1:], points[2:], points[3:], strict=False):
        for t in np.linspace(0, 1, _STEPS + 1)[1:]:
            slope_in, slope_out = (end - before) / 2, (after - start) / 2
            curve.append(
                (2 * t**3 - 3 * t**2 + 1) * start
                + (t**3 - 2 * t**2 + t) * slope_in
                + (3 * t**2 - 2 * t**3) * end
                + (t**3 - t**2) * slope_out
            )
    return tuple((round(float(x), 3), round(float(y), 3)) for x, y in curve)


_KNOTS: tuple[tuple[tuple[Point, ...], ...], ...] = (
    (((0.56, 0.19), (0.40, 0.27), (0.31, 0.47), (0.33, 0.68), (0.45, 0.82), (0.60, 0.76),
      (0.70, 0.56), (0.69, 0.35), (0.60, 0.22), (0.50, 0.20)),),
    (((0.56, 0.18), (0.52, 0.40), (0.48, 0.62), (0.45, 0.82)),),
    (((0.33, 0.34), (0.40, 0.22), (0.54, 0.18), (0.65, 0.28), (0.60, 0.46), (0.46, 0.64),
      (0.32, 0.79), (0.34, 0.81), (0.50, 0.78), (0.72, 0.79)),),
    (((0.35, 0.24), (0.48, 0.18), (0.63, 0.24), (0.62, 0.38), (0.47, 0.47), (0.62, 0.54),
      (0.67, 0.68), (0.56, 0.80), (0.42, 0.82), (0.31, 0.76)),),
    (((0.40, 0.19), (0.33, 0.36), (0.31, 0.50), (0.45, 0.53), (0.70, 0.49)),
     ((0.65, 0.22), (0.61, 0.45), (0.57, 0.66), (0.54, 0.84))),
    (((0.67, 0.20), (0.54, 0.20), (0.42, 0.22), (0.39, 0.34), (0.37, 0.46), (0.50, 0.43),
      (0.63, 0.50), (0.66, 0.64), (0.58, 0.77), (0.44, 0.82), (0.32, 0.76)),),
    (((0.60, 0.17), (0.46, 0.30), (0.36, 0.50), (0.34, 0.68), (0.42, 0.81), (0.56, 0.80),
      (0.64, 0.68), (0.57, 0.58), (0.44, 0.62), (0.36, 0.72)),),
    (((0.31, 0.23), (0.48, 0.22), (0.68, 0.20), (0.62, 0.38), (0.53, 0.58), (0.46, 0.83)),),
    (((0.63, 0.25), (0.51, 0.18), (0.38, 0.25), (0.40, 0.38), (0.52, 0.48), (0.63, 0.60),
      (0.63, 0.74), (0.50, 0.82), (0.37, 0.75), (0.38, 0.61), (0.51, 0.48), (0.63, 0.37),
      (0.65, 0.27)),),
    (((0.64, 0.30), (0.54, 0.19), (0.40, 0.25), (0.36, 0.40), (0.47, 0.48), (0.60, 0.40),
      (0.65, 0.28), (0.63, 0.48), (0.58, 0.66), (0.52, 0.83)),),
)  # fmt: skip

SAMPLES: tuple[tuple[tuple[Point, ...], ...], ...] = tuple(
    tuple(_curve(knots) for knots in strokes) for strokes in _KNOTS
)
"""One drawing of each digit, 0 to 9."""


def ink_of(strokes: Strokes) -> Float64[np.ndarray, "height width"]:
    """The ink of strokes, 0 to 1, on a grid that just holds it.

    Args:
        strokes: Of some extent: a dot has no shape that could be scaled.
    """
    points = np.array([point for stroke in strokes for point in stroke])
    low, size = points.min(axis=0), np.ptp(points, axis=0)
    extent = max(size)
    pen = _PEN * extent
    scale = _BOX * _GRAIN / (extent + 2 * pen)
    width, height = (math.ceil(length) for length in (size + 2 * pen) * scale)
    centres = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
    ink = np.zeros((height, width))
    for stroke in strokes:
        on_grid = (np.array(stroke) - low + pen) * scale
        for start, end in zip([on_grid[0], *on_grid], on_grid, strict=False):
            along = end - start
            length = along @ along
            share = np.clip((centres - start) @ along / length, 0, 1) if length else 0.0
            offset = centres - start - np.multiply.outer(share, along)
            distance = np.sqrt((offset**2).sum(axis=-1))
            ink = np.maximum(ink, np.clip(pen * scale + 0.5 - distance, 0, 1))
    return ink


def centred(ink: Float64[np.ndarray, "height width"]) -> Float32[np.ndarray, "32 32"]:
    """Ink as the network sees MNIST's digits.

    The box of the ink is scaled to 20 pixels on its longer side, each the mean over its area, and
    placed so that the centre of its mass comes next to the centre of a field of 28 x 28, within a
    frame of 32 x 32.

    Args:
        ink: 0 for paper to 1 for ink, not all 0.
    """
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    box = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _BOX / max(box.shape)
    down, across = (
        _areas(length, max(1, math.floor(length * scale + 0.5))) for length in box.shape
    )
    digit = down @ box @ across.T
    top, left = (
        _place(digit.sum(axis=1 - axis), digit.shape[axis]) + (_SIDE - _FIELD) // 2
        for axis in (0, 1)
    )
    pixels = np.full((_SIDE, _SIDE), _PAPER)
    height, width = digit.shape
    pixels[top : top + height, left : left + width] = _PAPER + (_INK - _PAPER) * digit
    return pixels.astype(np.float32)


def _areas(length: int, count: int) -> np.ndarray:
    """(count, length): the share of each of `count` pixels that each cell covers."""
    edges = np.arange(count + 1) * length / count
    starts = np.maximum(edges[:-1, None], np.arange(length))
    ends = np.minimum(edges[1:, None], np.arange(1, length + 1))
    areas: np.ndarray = np.clip(ends - starts, 0, None) * count / length
    return areas


def _place(mass: np.ndarray, length: int) -> int:
    """Where along an axis a box begins whose mass has its centre in the middle of the field."""
    centre = mass @ (np.arange(length) + 0.5) / mass.sum()
    return min(_FIELD - length, max(0, math.floor(_FIELD / 2 - centre + 0.5)))
