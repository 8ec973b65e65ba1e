"""Receptive fields drawn on the image that they look at."""

from collections.abc import Mapping

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.legends import padding_key
from internals.figures.numerals import TIMES
from internals.figures.palette import (
    CATEGORICAL,
    FRAME,
    LABEL_PX,
    MUTED,
    PADDING,
    PAPER,
    SMALL_PX,
    natural,
    points,
)
from internals.figures.plots import spread

LARGEST, GRID_FROM, GAP = 400, 6, 22

Box = tuple[int, int, int, int]


def field(image: np.ndarray, boxes: Mapping[str, Box], *, caption: str, alt: str) -> Illustration:
    """`image` (c, h, w) with named `boxes` (top, left, bottom, right) in its pixel coordinates.

    Boxes may reach beyond the image: the paper around it stands for the padding. Pixels are
    separated by a grid where they are large enough. Raises `ValueError` for an empty box.
    """
    for name, (top, left, bottom, right) in boxes.items():
        if top >= bottom or left >= right:
            raise ValueError(f"the box {name!r} is empty: {(top, left, bottom, right)}")
    rows, columns = image.shape[1:]
    around = np.array([(0, 0, rows, columns), *boxes.values()])
    first, last = (
        np.minimum(around[:, :2].min(0), 0),
        np.maximum(around[:, 2:].max(0), (rows, columns)),
    )
    span = last - first
    zoom = max(1, LARGEST * DEVICE // int(span.max())) / DEVICE
    canvas = Canvas(span[0] * zoom + 4 + (24 if (span > (rows, columns)).any() else 0))
    x, y = 2 - first[1] * zoom, 2 - first[0] * zoom  # where the image's own corner stands
    if (span > (rows, columns)).any():
        canvas.box(2, 2, span[1] * zoom, span[0] * zoom, PADDING)
        padding_key(canvas, canvas.height - 4, 2)
    canvas.image(x, y, natural(image), columns * zoom, rows * zoom)
    if zoom >= GRID_FROM:
        _draw_grid(canvas, (x, y), (rows, columns), zoom)
    _draw_boxes(canvas, boxes, (x, y), zoom, 2 + span[1] * zoom)
    return Illustration(canvas.figure, caption, alt)


def _draw_grid(
    canvas: Canvas, corner: tuple[float, float], size: tuple[int, int], zoom: float
) -> None:
    (x, y), (rows, columns) = corner, size
    for row in range(rows + 1):
        level = y + row * zoom
        canvas.line([(x, level), (x + columns * zoom, level)], FRAME, 0.5, alpha=0.5)
    for column in range(columns + 1):
        place = x + column * zoom
        canvas.line([(place, y), (place, y + rows * zoom)], FRAME, 0.5, alpha=0.5)


def _draw_boxes(
    canvas: Canvas, boxes: Mapping[str, Box], corner: tuple[float, float], zoom: float, edge: float
) -> None:
    """Every box in its own ink, with a line to its name on the right."""
    inks = dict(zip(boxes, CATEGORICAL * (1 + len(boxes) // len(CATEGORICAL)), strict=False))
    ordered = sorted(boxes, key=lambda name: boxes[name][0] + boxes[name][2])
    wanted = [corner[1] + (boxes[name][0] + boxes[name][2]) / 2 * zoom for name in ordered]
    levels = spread(wanted, 30, 12, canvas.height - 22)
    for name, level, middle in zip(ordered, levels, wanted, strict=True):
        top, left, bottom, right = boxes[name]
        ink, end = inks[name], corner[0] + right * zoom
        corners = (corner[0] + left * zoom, corner[1] + top * zoom)
        size = ((right - left) * zoom, (bottom - top) * zoom)
        # Paper on both sides of the ink: it must show on black and on white pixels alike.
        canvas.box(*corners, *size, None, PAPER, linewidth=points(5), alpha=0.8)
        canvas.box(*corners, *size, None, ink, linewidth=points(2.5))
        canvas.line([(end, middle), (edge + GAP - 6, level), (edge + GAP, level)], ink, 1)
        canvas.text(edge + GAP + 6, level, name, ink, LABEL_PX, va="center_baseline", weight="bold")
        indent = text_width(name, LABEL_PX, "bold") + 14
        words = f"{bottom - top} {TIMES} {right - left} pixels"
        canvas.text(edge + GAP + indent, level, words, MUTED, SMALL_PX, va="center_baseline")
