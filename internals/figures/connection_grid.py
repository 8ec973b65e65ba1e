"""Which maps listen to which."""

import numpy as np

from internals.figures.canvas import Canvas
from internals.figures.illustration import Illustration
from internals.figures.palette import BLUE, GRID, LABEL_PX, MUTED, SMALL_PX, TEXT, WIDTH

LEFT, TOP, TALL, GAP, TOTAL = 96, 40, 28, 2, 56


def connections(
    joined: np.ndarray, *, rows: str, columns: str, caption: str, alt: str
) -> Illustration:
    """A table of `joined` (rows, columns) truth values: a filled cell where two maps are joined.

    `rows` and `columns` name the axes; the sums stand at the right and at the foot.
    """
    down, across = joined.shape
    pitch = (WIDTH - LEFT - TOTAL) / across
    canvas = Canvas(TOP + (down + 1) * TALL)
    canvas.text(LEFT + pitch * across / 2, 12, columns, MUTED, SMALL_PX, ha="center")
    canvas.text(0, TOP + 0.5 * TALL, rows, MUTED, SMALL_PX, va="center_baseline")
    centre = {"ha": "center", "va": "center_baseline"}
    for column in range(across):
        x = LEFT + (column + 0.5) * pitch - GAP / 2
        canvas.text(x, TOP - 8, str(column), TEXT, LABEL_PX, ha="center")
        canvas.text(
            x, TOP + (down + 0.5) * TALL, str(joined[:, column].sum()), MUTED, LABEL_PX, **centre
        )
    for row in range(down):
        y = TOP + (row + 0.5) * TALL
        canvas.text(LEFT - 14, y, str(row), TEXT, LABEL_PX, ha="right", va="center_baseline")
        canvas.text(
            WIDTH, y, str(joined[row].sum()), MUTED, LABEL_PX, ha="right", va="center_baseline"
        )
        for column in range(across):
            x, top = LEFT + column * pitch, TOP + row * TALL
            face, alpha = (BLUE, 0.85) if joined[row, column] else (GRID, 0.45)
            canvas.box(x, top, pitch - GAP, TALL - GAP, face, alpha=alpha)
    return Illustration(canvas.figure, caption, alt)
