"""The target codes of LeNet-5's output units, drawn as the characters they stand for."""

from collections.abc import Mapping, Sequence

import numpy as np

from internals.figures.canvas import Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.inks import (
    BLUE,
    BODY_PX,
    FRAME,
    GRID,
    LABEL_PX,
    MUTED,
    SMALL_PX,
    TEXT,
    VERMILION,
    WIDTH,
)
from internals.figures.table import DASH, percent

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


SHARE_MATRIX_GAP, TALL, TOP, FOOT = 2, 30, 44, 28


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
        x, y = (
            left + (index + 0.5) * pitch - SHARE_MATRIX_GAP / 2,
            TOP + (index + 0.5) * TALL - SHARE_MATRIX_GAP / 2,
        )
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
        canvas.box(x, y, pitch - SHARE_MATRIX_GAP, TALL - SHARE_MATRIX_GAP, face, alpha=alpha)
        if not blank:
            middle = (x + (pitch - SHARE_MATRIX_GAP) / 2, y + (TALL - SHARE_MATRIX_GAP) / 2)
            said = f"{100 * share:.0f}"
            canvas.text(*middle, said, TEXT, LABEL_PX, ha="center", va="center_baseline")


def _mean(shares: np.ndarray) -> str:
    there = shares[~np.isnan(shares)]
    return percent(float(there.mean()), 0) if there.size else DASH


BREAK, KEY, LARGEST = 5, 34, 22
# From paper-like to dark: luminance falls with the value, in print and to every eye.
_STOPS = np.array([0.0, 0.35, 0.7, 1.0])
_COLOURS = np.array([(252, 243, 222), (226, 170, 92), (150, 64, 62), (38, 16, 62)], dtype=float)


def similarity(
    values: np.ndarray, groups: Mapping[str, Sequence[str]], *, caption: str, alt: str
) -> Illustration:
    """The matrix `values` (layers, layers) in [0, 1], its layers listed by network in `groups`.

    Row 0 is on top; a gap parts one network from the next. Raises `ValueError` when the matrix does
    not fit the layers.
    """
    layers = [layer for group in groups.values() for layer in group]
    if values.shape != (len(layers), len(layers)):
        raise ValueError(f"{len(layers)} layers do not fit a matrix of {values.shape}")
    left = max(text_width(name, SMALL_PX) for name in layers) + 30
    bottom = max(text_width(name, SMALL_PX) for name in layers) + 12
    breaks = BREAK * (len(groups) - 1)
    pitch = min(LARGEST, (WIDTH - left - breaks) / len(layers))
    places = _places(groups, pitch)
    canvas = Canvas(KEY + places[-1] + pitch + bottom)
    _key(canvas)
    for row, y in enumerate(places):
        for column, x in enumerate(places):
            pixels = shade(values[row : row + 1, column : column + 1])
            canvas.image(left + x, KEY + y, pixels, pitch, pitch)
    _write(canvas, groups, places, left, pitch)
    return Illustration(canvas.figure, caption, alt)


def shade(values: np.ndarray) -> np.ndarray:
    """RGB bytes (h, w, 3) of `values` (h, w) in [0, 1]: the larger, the darker."""
    ramp = [np.interp(values, _STOPS, column) for column in _COLOURS.T]
    pixels: np.ndarray = np.rint(np.stack(ramp, axis=-1)).astype(np.uint8)
    return pixels


def _places(groups: Mapping[str, Sequence[str]], pitch: float) -> list[float]:
    """Where each layer's row begins, the gaps between networks counted in."""
    places: list[float] = []
    for number, group in enumerate(groups.values()):
        places += [(len(places) + i) * pitch + number * BREAK for i in range(len(group))]
    return places


def _write(
    canvas: Canvas,
    groups: Mapping[str, Sequence[str]],
    places: Sequence[float],
    left: float,
    pitch: float,
) -> None:
    """Layer names at the left and below, the network's name along its rows."""
    end, first = KEY + places[-1] + pitch, 0
    for network, layers in groups.items():
        top, bottom = places[first], places[first + len(layers) - 1] + pitch
        middle = KEY + (top + bottom) / 2
        canvas.text(6, middle, network, MUTED, LABEL_PX, rotation=90, ha="center", va="center")
        canvas.line([(16, KEY + top), (16, KEY + bottom)], FRAME)
        for index, layer in enumerate(layers):
            place = places[first + index] + pitch / 2
            canvas.text(left - 6, KEY + place, layer, TEXT, SMALL_PX, ha="right", va="center")
            canvas.text(
                left + place, end + 5, layer, TEXT, SMALL_PX, rotation=90, ha="center", va="top"
            )
        first += len(layers)


def _key(canvas: Canvas) -> None:
    """The ramp from 0 to 1, at the top right."""
    ramp = shade(np.linspace(0, 1, 64)[None])
    canvas.text(WIDTH, 12, "1", MUTED, SMALL_PX, ha="right")
    canvas.image(WIDTH - 78, 4, ramp, 64, 8)
    canvas.text(WIDTH - 84, 12, "0", MUTED, SMALL_PX, ha="right")


LEFT, CONNECTION_GRID_TOP, CONNECTION_GRID_TALL, CONNECTION_GRID_GAP, TOTAL = 96, 40, 28, 2, 56


def connections(
    joined: np.ndarray, *, rows: str, columns: str, caption: str, alt: str
) -> Illustration:
    """A table of `joined` (rows, columns) truth values: a filled cell where two maps are joined.

    `rows` and `columns` name the axes; the sums stand at the right and at the foot.
    """
    down, across = joined.shape
    pitch = (WIDTH - LEFT - TOTAL) / across
    canvas = Canvas(CONNECTION_GRID_TOP + (down + 1) * CONNECTION_GRID_TALL)
    canvas.text(LEFT + pitch * across / 2, 12, columns, MUTED, SMALL_PX, ha="center")
    canvas.text(
        0,
        CONNECTION_GRID_TOP + 0.5 * CONNECTION_GRID_TALL,
        rows,
        MUTED,
        SMALL_PX,
        va="center_baseline",
    )
    centre = {"ha": "center", "va": "center_baseline"}
    for column in range(across):
        x = LEFT + (column + 0.5) * pitch - CONNECTION_GRID_GAP / 2
        canvas.text(x, CONNECTION_GRID_TOP - 8, str(column), TEXT, LABEL_PX, ha="center")
        canvas.text(
            x,
            CONNECTION_GRID_TOP + (down + 0.5) * CONNECTION_GRID_TALL,
            str(joined[:, column].sum()),
            MUTED,
            LABEL_PX,
            **centre,
        )
    for row in range(down):
        y = CONNECTION_GRID_TOP + (row + 0.5) * CONNECTION_GRID_TALL
        canvas.text(LEFT - 14, y, str(row), TEXT, LABEL_PX, ha="right", va="center_baseline")
        canvas.text(
            WIDTH, y, str(joined[row].sum()), MUTED, LABEL_PX, ha="right", va="center_baseline"
        )
        for column in range(across):
            x, top = LEFT + column * pitch, CONNECTION_GRID_TOP + row * CONNECTION_GRID_TALL
            face, alpha = (BLUE, 0.85) if joined[row, column] else (GRID, 0.45)
            canvas.box(
                x,
                top,
                pitch - CONNECTION_GRID_GAP,
                CONNECTION_GRID_TALL - CONNECTION_GRID_GAP,
                face,
                alpha=alpha,
            )
    return Illustration(canvas.figure, caption, alt)


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
