"""Which class is taken for which."""

from collections.abc import Sequence

import numpy as np

from internals.figures.canvas import Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.numerals import DASH, percent
from internals.figures.palette import (
    GRID,
    LABEL_PX,
    MUTED,
    SMALL_PX,
    TEXT,
    VERMILION,
    WIDTH,
)

GAP, TALLEST = 2, 40


def confusion(
    counts: np.ndarray, class_names: Sequence[str], *, caption: str, alt: str
) -> Illustration:
    """The confusion matrix `counts` (true, predicted): mistakes in colour, what is right muted.

    The tint of a mistake grows with its count; right of each row stand how many images there are
    of the class and the share that is recognised (the recall).
    """
    classes = len(class_names)
    if counts.shape != (classes, classes):
        raise ValueError(f"{classes} classes need {classes} x {classes} counts, not {counts.shape}")
    widest = max(text_width(name, LABEL_PX) for name in class_names)
    left, right = widest + 40, 118
    pitch = (WIDTH - left - right) / classes
    tall = min(pitch, TALLEST)
    slanted = widest > pitch - 6
    top = 26 + (0.72 * widest + 8 if slanted else 16)
    canvas = Canvas(top + classes * tall + 4)
    _name_axes(canvas, class_names, left, top, pitch, tall, slanted)
    worst = max(1, int((counts - np.diag(np.diag(counts))).max()))
    for true in range(classes):
        y = top + true * tall
        for predicted in range(classes):
            x, count = left + predicted * pitch, int(counts[true, predicted])
            face, alpha, ink = GRID, 0.45, MUTED
            if true != predicted and count:
                face, alpha, ink = VERMILION, 0.12 + 0.43 * count / worst, TEXT
            alpha = 1.0 if true == predicted else alpha
            canvas.box(x, y, pitch - GAP, tall - GAP, face, alpha=alpha)
            if count:
                middle = (x + (pitch - GAP) / 2, y + (tall - GAP) / 2)
                canvas.text(*middle, f"{count:,}", ink, LABEL_PX, ha="center", va="center_baseline")
        _total(canvas, counts[true], true, y + (tall - GAP) / 2)
    return Illustration(canvas.figure, caption, alt)


def _name_axes(
    canvas: Canvas,
    names: Sequence[str],
    left: float,
    top: float,
    pitch: float,
    tall: float,
    slanted: bool,
) -> None:
    middle, end = left + pitch * len(names) / 2, len(names) * tall / 2
    canvas.text(middle, 12, "predicted", MUTED, SMALL_PX, ha="center")
    canvas.text(8, top + end, "true", MUTED, SMALL_PX, rotation=90, ha="center", va="center")
    canvas.text(WIDTH - 60, top - 8, "images", MUTED, SMALL_PX, ha="right")
    canvas.text(WIDTH, top - 8, "recall", MUTED, SMALL_PX, ha="right")
    for index, name in enumerate(names):
        x, y = left + (index + 0.5) * pitch - GAP / 2, top + (index + 0.5) * tall - GAP / 2
        canvas.text(left - 10, y, name, TEXT, LABEL_PX, ha="right", va="center_baseline")
        if slanted:
            slant = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"}
            canvas.text(x, top - 8, name, TEXT, LABEL_PX, **slant)
        else:
            canvas.text(x, top - 8, name, TEXT, LABEL_PX, ha="center")


def _total(canvas: Canvas, row: np.ndarray, true: int, y: float) -> None:
    total = int(row.sum())
    recall = percent(row[true] / total) if total else DASH
    canvas.text(WIDTH - 60, y, f"{total:,}", MUTED, LABEL_PX, ha="right", va="center_baseline")
    canvas.text(WIDTH, y, recall, TEXT, LABEL_PX, ha="right", va="center_baseline")
