"""Shares for every pair of a row and a column."""

from collections.abc import Sequence

import numpy as np

from internals.figures.canvas import Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.numerals import DASH, percent
from internals.figures.palette import GRID, LABEL_PX, MUTED, SMALL_PX, TEXT, VERMILION, WIDTH

GAP, TALL, TOP, FOOT = 2, 30, 44, 28


def pairs(
    shares: np.ndarray,
    names: Sequence[str],
    *,
    rows: str,
    columns: str,
    caption: str,
    alt: str,
) -> Illustration:
    """The matrix `shares` (n, n) in [0, 1] between `names`, in per cent, NaN left blank.

    `rows` and `columns` say what the two axes are. The larger a share the stronger its tint; the
    mean of each row stands at its right, that of each column below it. Raises `ValueError` when
    the matrix does not fit the names.
    """
    count = len(names)
    if shares.shape != (count, count):
        raise ValueError(f"{count} names need {count} x {count} shares, not {shares.shape}")
    left = max(text_width(name, LABEL_PX) for name in names) + 34
    pitch = (WIDTH - left - 62) / count
    canvas = Canvas(TOP + count * TALL + FOOT)
    canvas.text(left + pitch * count / 2, 12, columns, MUTED, SMALL_PX, ha="center")
    side = {"rotation": 90, "ha": "center", "va": "center"}
    canvas.text(8, TOP + count * TALL / 2, rows, MUTED, SMALL_PX, **side)
    canvas.text(WIDTH, TOP - 8, "mean", MUTED, SMALL_PX, ha="right")
    end = TOP + count * TALL
    canvas.text(left - 10, end + 15, "mean", MUTED, SMALL_PX, ha="right")
    for index, name in enumerate(names):
        x, y = left + (index + 0.5) * pitch - GAP / 2, TOP + (index + 0.5) * TALL - GAP / 2
        canvas.text(left - 10, y, name, TEXT, LABEL_PX, ha="right", va="center_baseline")
        canvas.text(x, TOP - 8, name, TEXT, LABEL_PX, ha="center")
        canvas.text(x, end + 15, _mean(shares[:, index]), MUTED, LABEL_PX, ha="center")
        canvas.text(
            WIDTH, y, _mean(shares[index]), MUTED, LABEL_PX, ha="right", va="center_baseline"
        )
        _draw_row(canvas, shares[index], left, TOP + index * TALL, pitch)
    return Illustration(canvas.figure, caption, alt)


def _draw_row(canvas: Canvas, row: np.ndarray, left: float, y: float, pitch: float) -> None:
    for column, share in enumerate(row):
        x, blank = left + column * pitch, bool(np.isnan(share))
        face, alpha = (GRID, 0.45) if blank else (VERMILION, 0.04 + 0.5 * float(share))
        canvas.box(x, y, pitch - GAP, TALL - GAP, face, alpha=alpha)
        if not blank:
            middle = (x + (pitch - GAP) / 2, y + (TALL - GAP) / 2)
            said = f"{100 * share:.0f}"
            canvas.text(*middle, said, TEXT, LABEL_PX, ha="center", va="center_baseline")


def _mean(shares: np.ndarray) -> str:
    there = shares[~np.isnan(shares)]
    return percent(float(there.mean()), 0) if there.size else DASH
