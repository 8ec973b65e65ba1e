"""The target codes of LeNet-5's output units, drawn as the characters they stand for."""

from collections.abc import Sequence

import numpy as np

from internals.figures.canvas import Canvas
from internals.figures.illustration import Illustration
from internals.figures.palette import BODY_PX, GRID, TEXT, WIDTH

GUTTER = 14


def bitmaps(
    prototypes: np.ndarray, labels: Sequence[str], *, caption: str, alt: str
) -> Illustration:
    """Ten to a line, the `prototypes` (n, h, w) of +1 (ink) and -1 (paper), each over its label."""
    count, height, width = prototypes.shape
    if not np.isin(prototypes, (-1, 1)).all():
        raise ValueError("a bitmap holds only +1 (ink) and -1 (paper)")
    columns = min(count, 10)
    cell = int((WIDTH - GUTTER * (columns - 1)) / columns / width)
    pitch = (WIDTH - width * cell - 1) / max(1, columns - 1)
    line = height * cell + 34
    canvas = Canvas(-(-count // columns) * line - 8)
    for index, (code, label) in enumerate(zip(prototypes, labels, strict=True)):
        left, top = index % columns * pitch, index // columns * line
        left, top = round(left), round(top)
        canvas.box(left, top, width * cell + 1, height * cell + 1, GRID, alpha=0.6)
        for row, column in np.argwhere(code > 0):
            canvas.box(left + 1 + column * cell, top + 1 + row * cell, cell - 1, cell - 1, TEXT)
        middle = left + width * cell / 2
        canvas.text(middle, top + height * cell + 18, label, TEXT, BODY_PX, ha="center")
    return Illustration(canvas.figure, caption, alt)
