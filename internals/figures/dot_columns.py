"""Several numbers of several things: a row a thing, a column of dots a number."""

from collections.abc import Collection, Mapping, Sequence
from math import cos, log10, pi, sin

from internals.figures.canvas import Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.palette import BLUE, GRID, LABEL_PX, MUTED, SMALL_PX, TEXT, WIDTH

ROW, TOP, RADIUS, GAP = 30, 34, 4, 22
_ROUND = [2 * pi * corner / 32 for corner in range(32)]


def dots(
    names: Sequence[str],
    columns: Mapping[str, Sequence[float]],
    words: Mapping[str, Sequence[str]],
    *,
    caption: str,
    alt: str,
    logarithmic: Collection[str] = (),
) -> Illustration:
    """A row for each of `names`, a dot in each of `columns`, its value in `words` beside it.

    Every column has its own scale, from its smallest value to its largest; those named in
    `logarithmic` have equal ratios at equal distances. Raises `ValueError` when lengths differ or a
    logarithmic column holds what is not positive.
    """
    _check(names, columns, words, logarithmic)
    canvas = Canvas(TOP + ROW * len(names) + 2)
    left = max(text_width(name, LABEL_PX) for name in names) + 18
    pitch = (WIDTH - left + GAP) / len(columns)
    for row, name in enumerate(names):
        y = TOP + ROW * (row + 0.5)
        canvas.text(0, y, name, TEXT, LABEL_PX, va="center_baseline")
    for index, (title, values) in enumerate(columns.items()):
        start = left + index * pitch
        room = max(text_width(said, SMALL_PX) for said in words[title]) + RADIUS + 6
        width = pitch - GAP - room - RADIUS
        kind = " (log)" if title in logarithmic else ""
        canvas.text(start, 14, title + kind, MUTED, LABEL_PX)
        places = shares(values, title in logarithmic)
        for row, (share, said) in enumerate(zip(places, words[title], strict=True)):
            x, y = start + RADIUS + share * width, TOP + ROW * (row + 0.5)
            canvas.line([(start, y), (x, y)], GRID)
            canvas.polygon([(x + RADIUS * cos(a), y + RADIUS * sin(a)) for a in _ROUND], BLUE)
            canvas.text(x + RADIUS + 4, y, said, TEXT, SMALL_PX, va="center_baseline")
    return Illustration(canvas.figure, caption, alt)


def shares(values: Sequence[float], logarithmic: bool) -> list[float]:
    """Where each of `values` stands between the smallest, 0, and the largest, 1; all 0 if equal."""
    scale = [log10(value) if logarithmic else value for value in values]
    low, high = min(scale), max(scale)
    return [(value - low) / (high - low) if high > low else 0.0 for value in scale]


def _check(
    names: Sequence[str],
    columns: Mapping[str, Sequence[float]],
    words: Mapping[str, Sequence[str]],
    logarithmic: Collection[str],
) -> None:
    if not names or not columns or set(words) != set(columns):
        raise ValueError("dots need names, columns, and words for each column")
    for title, values in columns.items():
        if not len(names) == len(values) == len(words[title]):
            raise ValueError(
                f"{len(names)} names, but column {title!r} has {len(values)} values "
                f"and {len(words[title])} words"
            )
        if title in logarithmic and min(values) <= 0:
            raise ValueError(f"column {title!r} holds {min(values)}, which has no logarithm")
