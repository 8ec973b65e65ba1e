"""Tables drawn as pictures: confusions, shares, similarities, connections and bitmaps."""

from collections.abc import Mapping, Sequence
from typing import Any

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

_CELL_GAP = 2  # logical pixels between two cells
_CENTRED: dict[str, Any] = {"ha": "center", "va": "center_baseline"}
_RIGHT: dict[str, Any] = {"ha": "right", "va": "center_baseline"}

_PAIRS_TOP, _PAIRS_CELL = 44, 30  # logical pixels above the cells of `pairs`, and of a cell's pitch

_BREAK, _SIMILARITY_TOP = 5, 34  # logical pixels between two networks, and above the matrix
# From paper-like to dark: luminance falls with the value, in print and to every eye.
_STOPS = np.array([0.0, 0.35, 0.7, 1.0])
_COLOURS = np.array([(252, 243, 222), (226, 170, 92), (150, 64, 62), (38, 16, 62)], dtype=float)


def confusion(
    counts: np.ndarray, class_names: Sequence[str], *, caption: str, alt: str
) -> Illustration:
    """A confusion matrix: mistakes in colour, what is right muted.

    The tint of a mistake grows with its count; right of each row stand how many images there are
    of the class and the share that is recognised (the recall).

    Args:
        counts: Numbers of images, (true class, predicted class).
        class_names: The name of each class.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.

    Raises:
        ValueError: The matrix does not fit the names.
    """
    classes = len(class_names)
    if counts.shape != (classes, classes):
        raise ValueError(f"{classes} classes need {classes} x {classes} counts, not {counts.shape}")
    widest = max(text_width(name, LABEL_PX) for name in class_names)
    left, right = widest + 40, 118
    pitch = (WIDTH - left - right) / classes
    cell = min(pitch, 40)
    slanted = widest > pitch - 6
    top = 26 + (0.72 * widest + 8 if slanted else 16)
    canvas = Canvas(top + classes * cell + 4)
    _name_classes(canvas, class_names, left, top, pitch, cell, slanted)
    worst = max(1, int((counts - np.diag(np.diag(counts))).max()))
    for true in range(classes):
        y = top + true * cell
        for predicted in range(classes):
            x, count = left + predicted * pitch, int(counts[true, predicted])
            face, alpha, ink = GRID, 0.45, MUTED
            if true != predicted and count:
                face, alpha, ink = VERMILION, 0.12 + 0.43 * count / worst, TEXT
            alpha = 1.0 if true == predicted else alpha
            canvas.box(x, y, pitch - _CELL_GAP, cell - _CELL_GAP, face, alpha=alpha)
            if count:
                middle = (x + (pitch - _CELL_GAP) / 2, y + (cell - _CELL_GAP) / 2)
                canvas.text(*middle, f"{count:,}", ink, LABEL_PX, **_CENTRED)
        _write_recall(canvas, counts[true], true, y + (cell - _CELL_GAP) / 2)
    return Illustration(canvas.figure, caption, alt)


def _name_classes(
    canvas: Canvas,
    names: Sequence[str],
    left: float,
    top: float,
    pitch: float,
    cell: float,
    slanted: bool,
) -> None:
    middle, end = left + pitch * len(names) / 2, len(names) * cell / 2
    canvas.text(middle, 12, "predicted", MUTED, SMALL_PX, ha="center")
    canvas.text(8, top + end, "true", MUTED, SMALL_PX, rotation=90, ha="center", va="center")
    canvas.text(WIDTH - 60, top - 8, "images", MUTED, SMALL_PX, ha="right")
    canvas.text(WIDTH, top - 8, "recall", MUTED, SMALL_PX, ha="right")
    for index, name in enumerate(names):
        x, y = (
            left + (index + 0.5) * pitch - _CELL_GAP / 2,
            top + (index + 0.5) * cell - _CELL_GAP / 2,
        )
        canvas.text(left - 10, y, name, TEXT, LABEL_PX, **_RIGHT)
        if slanted:
            slant = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"}
            canvas.text(x, top - 8, name, TEXT, LABEL_PX, **slant)
        else:
            canvas.text(x, top - 8, name, TEXT, LABEL_PX, ha="center")


def _write_recall(canvas: Canvas, row: np.ndarray, true: int, y: float) -> None:
    total = int(row.sum())
    recall = percent(row[true] / total) if total else DASH
    canvas.text(WIDTH - 60, y, f"{total:,}", MUTED, LABEL_PX, **_RIGHT)
    canvas.text(WIDTH, y, recall, TEXT, LABEL_PX, **_RIGHT)


def pairs(
    shares: np.ndarray,
    names: Sequence[str],
    *,
    rows: str,
    columns: str,
    caption: str,
    alt: str,
) -> Illustration:
    """A matrix of shares between things of one kind, in per cent.

    The larger a share the stronger its tint; the mean of each row stands at its right, that of
    each column below it.

    Args:
        shares: (n, n) in [0, 1]; NaN is left blank.
        names: Of the n things.
        rows: What the rows are.
        columns: What the columns are.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.

    Raises:
        ValueError: The matrix does not fit the names.
    """
    count = len(names)
    if shares.shape != (count, count):
        raise ValueError(f"{count} names need {count} x {count} shares, not {shares.shape}")
    left = max(text_width(name, LABEL_PX) for name in names) + 34
    pitch = (WIDTH - left - 62) / count
    canvas = Canvas(_PAIRS_TOP + count * _PAIRS_CELL + 28)
    canvas.text(left + pitch * count / 2, 12, columns, MUTED, SMALL_PX, ha="center")
    side = {"rotation": 90, "ha": "center", "va": "center"}
    canvas.text(8, _PAIRS_TOP + count * _PAIRS_CELL / 2, rows, MUTED, SMALL_PX, **side)
    canvas.text(WIDTH, _PAIRS_TOP - 8, "mean", MUTED, SMALL_PX, ha="right")
    end = _PAIRS_TOP + count * _PAIRS_CELL
    canvas.text(left - 10, end + 15, "mean", MUTED, SMALL_PX, ha="right")
    for index, name in enumerate(names):
        x, y = (
            left + (index + 0.5) * pitch - _CELL_GAP / 2,
            _PAIRS_TOP + (index + 0.5) * _PAIRS_CELL - _CELL_GAP / 2,
        )
        canvas.text(left - 10, y, name, TEXT, LABEL_PX, **_RIGHT)
        canvas.text(x, _PAIRS_TOP - 8, name, TEXT, LABEL_PX, ha="center")
        canvas.text(x, end + 15, _mean_percent(shares[:, index]), MUTED, LABEL_PX, ha="center")
        canvas.text(
            WIDTH,
            y,
            _mean_percent(shares[index]),
            MUTED,
            LABEL_PX,
            ha="right",
            va="center_baseline",
        )
        _draw_shares(canvas, shares[index], left, _PAIRS_TOP + index * _PAIRS_CELL, pitch)
    return Illustration(canvas.figure, caption, alt)


def _draw_shares(canvas: Canvas, row: np.ndarray, left: float, y: float, pitch: float) -> None:
    for column, share in enumerate(row):
        x, blank = left + column * pitch, bool(np.isnan(share))
        face, alpha = (GRID, 0.45) if blank else (VERMILION, 0.04 + 0.5 * float(share))
        canvas.box(x, y, pitch - _CELL_GAP, _PAIRS_CELL - _CELL_GAP, face, alpha=alpha)
        if not blank:
            middle = (x + (pitch - _CELL_GAP) / 2, y + (_PAIRS_CELL - _CELL_GAP) / 2)
            canvas.text(*middle, f"{100 * share:.0f}", TEXT, LABEL_PX, **_CENTRED)


def _mean_percent(shares: np.ndarray) -> str:
    known = shares[~np.isnan(shares)]
    return percent(float(known.mean()), 0) if known.size else DASH


def similarity(
    values: np.ndarray, groups: Mapping[str, Sequence[str]], *, caption: str, alt: str
) -> Illustration:
    """How similar layers are to one another; a gap parts one network from the next.

    Args:
        values: (layers, layers) in [0, 1]; row 0 is on top.
        groups: The layers of each network, in the order of the rows.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.

    Raises:
        ValueError: The matrix does not fit the layers.
    """
    layers = [layer for group in groups.values() for layer in group]
    if values.shape != (len(layers), len(layers)):
        raise ValueError(f"{len(layers)} layers do not fit a matrix of {values.shape}")
    left = max(text_width(name, SMALL_PX) for name in layers) + 30
    bottom = max(text_width(name, SMALL_PX) for name in layers) + 12
    breaks = _BREAK * (len(groups) - 1)
    pitch = min(22, (WIDTH - left - breaks) / len(layers))
    places = _layer_places(groups, pitch)
    canvas = Canvas(_SIMILARITY_TOP + places[-1] + pitch + bottom)
    _similarity_key(canvas)
    for row, y in enumerate(places):
        for column, x in enumerate(places):
            pixels = shade(values[row : row + 1, column : column + 1])
            canvas.image(left + x, _SIMILARITY_TOP + y, pixels, pitch, pitch)
    _name_layers(canvas, groups, places, left, pitch)
    return Illustration(canvas.figure, caption, alt)


def shade(values: np.ndarray) -> np.ndarray:
    """Numbers as tones: the larger, the darker.

    Args:
        values: (h, w) in [0, 1].

    Returns:
        RGB bytes (h, w, 3).
    """
    ramp = [np.interp(values, _STOPS, column) for column in _COLOURS.T]
    pixels: np.ndarray = np.rint(np.stack(ramp, axis=-1)).astype(np.uint8)
    return pixels


def _layer_places(groups: Mapping[str, Sequence[str]], pitch: float) -> list[float]:
    """Where each layer's row begins, the gaps between networks counted in."""
    places: list[float] = []
    for number, group in enumerate(groups.values()):
        places += [(len(places) + i) * pitch + number * _BREAK for i in range(len(group))]
    return places


def _name_layers(
    canvas: Canvas,
    groups: Mapping[str, Sequence[str]],
    places: Sequence[float],
    left: float,
    pitch: float,
) -> None:
    """Layer names at the left and below, the network's name along its rows."""
    end, first = _SIMILARITY_TOP + places[-1] + pitch, 0
    for network, layers in groups.items():
        top, bottom = places[first], places[first + len(layers) - 1] + pitch
        middle = _SIMILARITY_TOP + (top + bottom) / 2
        canvas.text(6, middle, network, MUTED, LABEL_PX, rotation=90, ha="center", va="center")
        canvas.line([(16, _SIMILARITY_TOP + top), (16, _SIMILARITY_TOP + bottom)], FRAME)
        for index, layer in enumerate(layers):
            place = places[first + index] + pitch / 2
            canvas.text(
                left - 6, _SIMILARITY_TOP + place, layer, TEXT, SMALL_PX, ha="right", va="center"
            )
            canvas.text(
                left + place, end + 5, layer, TEXT, SMALL_PX, rotation=90, ha="center", va="top"
            )
        first += len(layers)


def _similarity_key(canvas: Canvas) -> None:
    """The ramp from 0 to 1, at the top right."""
    ramp = shade(np.linspace(0, 1, 64)[None])
    canvas.text(WIDTH, 12, "1", MUTED, SMALL_PX, ha="right")
    canvas.image(WIDTH - 78, 4, ramp, 64, 8)
    canvas.text(WIDTH - 84, 12, "0", MUTED, SMALL_PX, ha="right")


def connections(
    joined: np.ndarray, *, rows: str, columns: str, caption: str, alt: str
) -> Illustration:
    """Which maps are joined: a filled cell where two are; sums at the right and at the foot.

    Args:
        joined: Truth values, (rows, columns).
        rows: What the rows are.
        columns: What the columns are.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
    """
    down, across = joined.shape
    left, first, cell = 96, 40, 28
    pitch = (WIDTH - left - 56) / across
    canvas = Canvas(first + (down + 1) * cell)
    canvas.text(left + pitch * across / 2, 12, columns, MUTED, SMALL_PX, ha="center")
    canvas.text(0, first + 0.5 * cell, rows, MUTED, SMALL_PX, va="center_baseline")
    foot = first + (down + 0.5) * cell
    for column in range(across):
        x = left + (column + 0.5) * pitch - _CELL_GAP / 2
        canvas.text(x, first - 8, str(column), TEXT, LABEL_PX, ha="center")
        canvas.text(x, foot, str(joined[:, column].sum()), MUTED, LABEL_PX, **_CENTRED)
    for row in range(down):
        y = first + (row + 0.5) * cell
        canvas.text(left - 14, y, str(row), TEXT, LABEL_PX, **_RIGHT)
        canvas.text(WIDTH, y, str(joined[row].sum()), MUTED, LABEL_PX, **_RIGHT)
        for column in range(across):
            x, top = left + column * pitch, first + row * cell
            face, alpha = (BLUE, 0.85) if joined[row, column] else (GRID, 0.45)
            canvas.box(x, top, pitch - _CELL_GAP, cell - _CELL_GAP, face, alpha=alpha)
    return Illustration(canvas.figure, caption, alt)


def bitmaps(
    prototypes: np.ndarray, labels: Sequence[str], *, caption: str, alt: str
) -> Illustration:
    """Codes drawn as the characters that they stand for, ten to a line.

    Args:
        prototypes: (n, h, w) of +1 (ink) and -1 (paper).
        labels: A word under each.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.

    Raises:
        ValueError: A prototype holds another number.
    """
    count, height, width = prototypes.shape
    if not np.isin(prototypes, (-1, 1)).all():
        raise ValueError("a bitmap holds only +1 (ink) and -1 (paper)")
    columns = min(count, 10)
    cell = int((WIDTH - 14 * (columns - 1)) / columns / width)
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
