"""Repeated measurements: a row a thing, a dot a repetition, an upright stroke at their mean."""

from collections.abc import Collection, Mapping, Sequence
from math import ceil, cos, floor, log10, pi, sin
from statistics import fmean, stdev

from internals.figures.canvas import Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.inks import (
    BLUE,
    GRID,
    LABEL_PX,
    MUTED,
    SMALL_PX,
    TEXT,
    VERMILION,
    WIDTH,
)
from internals.figures.table import percent

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


REPLICATE_DOTS_ROW, HEADING, FOOT, REPLICATE_DOTS_RADIUS, REACH = 22, 28, 36, 3, 7
_REPLICATE_DOTS_ROUND = [2 * pi * corner / 24 for corner in range(24)]
_STEPS = (1, 2, 5)  # of each decade; more of them where there is less than one
_FINE_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8)
_LEAST_APART = 34  # logical pixels between two numbers of the scale

Groups = Mapping[str, Mapping[str, Sequence[float]]]


def replicates(
    groups: Groups,
    *,
    reference: float,
    referred: str,
    measured: str,
    caption: str,
    alt: str,
) -> Illustration:
    """Positive shares in [0, 1], several for each row of each group, on one logarithmic scale.

    A dot is one repetition, the upright stroke their mean; mean and sample standard deviation are
    written beside. `reference`, a dashed line through all rows, is called `referred`; `measured`
    names the scale. Raises `ValueError` for a row with fewer than two values or with a value that
    has no logarithm.
    """
    _check_replicate_dots(groups, reference)
    rows = [(name, values) for group in groups.values() for name, values in group.items()]
    height = HEADING * len(groups) + REPLICATE_DOTS_ROW * len(rows)
    canvas = Canvas(height + FOOT)
    left = max(text_width(name, LABEL_PX) for name, _ in rows) + 24
    right = WIDTH - max(text_width(_written(values), SMALL_PX) for _, values in rows) - 14
    every = [reference, *(value for _, values in rows for value in values)]
    scale = _Scale(min(every), max(every), left, right)
    _draw_scale(canvas, scale, height, measured, (reference, referred))
    y = 0.0
    for title, group in groups.items():
        canvas.text(0, y + HEADING - 9, title, TEXT, LABEL_PX, weight="bold")
        y += HEADING
        for name, values in group.items():
            _draw_row(canvas, scale, y + REPLICATE_DOTS_ROW / 2, name, values)
            y += REPLICATE_DOTS_ROW
    return Illustration(canvas.figure, caption, alt)


class _Scale:
    """Equal ratios at equal distances, from `low` at `left` to `high` at `right` (pixels)."""

    def __init__(self, low: float, high: float, left: float, right: float) -> None:
        room = max(log10(high / low), 0.3)  # less than a factor of two is not blown up
        middle = log10(high * low) / 2
        self.low, self.span = middle - 0.53 * room, 1.06 * room
        self.left, self.right = left, right

    def at(self, value: float) -> float:
        """The x coordinate of `value`."""
        return self.left + (log10(value) - self.low) / self.span * (self.right - self.left)

    def numbers(self) -> list[float]:
        """Round values within the scale, so many as there is room for, from the left."""
        decades = range(floor(self.low), ceil(self.low + self.span) + 1)
        steps = _FINE_STEPS if self.span < 1 else _STEPS
        wanted = [step * 10.0**decade for decade in decades for step in steps]
        found: list[float] = []
        for value in wanted:
            inside = self.left <= self.at(value) <= self.right and value <= 1
            if inside and (not found or self.at(value) - self.at(found[-1]) >= _LEAST_APART):
                found.append(value)
        return found


def _draw_scale(
    canvas: Canvas, scale: _Scale, height: float, measured: str, reference: tuple[float, str]
) -> None:
    for value in scale.numbers():
        x = scale.at(value)
        canvas.line([(x, HEADING - 4), (x, height)], GRID)
        canvas.text(x, height + 14, f"{100 * value:g} %", MUTED, SMALL_PX, ha="center")
    canvas.text(scale.left, height + 30, f"{measured} (log scale)", MUTED, SMALL_PX)
    place, name = reference
    x = scale.at(place)
    canvas.line([(x, HEADING - 6), (x, height)], MUTED, 1.25, dashes=(4, 3))
    leans = "right" if x > (scale.left + scale.right) / 2 else "left"
    canvas.text(x, HEADING - 12, name, MUTED, SMALL_PX, ha=leans)


def _draw_row(canvas: Canvas, scale: _Scale, y: float, name: str, values: Sequence[float]) -> None:
    canvas.text(10, y, name, TEXT, LABEL_PX, va="center_baseline")
    canvas.line([(scale.left, y), (scale.right, y)], GRID)
    for value in values:
        x = scale.at(value)
        corners = [
            (x + REPLICATE_DOTS_RADIUS * cos(angle), y + REPLICATE_DOTS_RADIUS * sin(angle))
            for angle in _REPLICATE_DOTS_ROUND
        ]
        canvas.polygon(corners, BLUE)
    mean = scale.at(fmean(values))
    canvas.line([(mean, y - REACH), (mean, y + REACH)], VERMILION, 2)
    canvas.text(WIDTH, y, _written(values), TEXT, SMALL_PX, ha="right", va="center_baseline")


def _written(values: Sequence[float]) -> str:
    return f"{percent(fmean(values), 2)} ± {100 * stdev(values):.2f}"


def _check_replicate_dots(groups: Groups, reference: float) -> None:
    rows = [(name, values) for group in groups.values() for name, values in group.items()]
    if not rows:
        raise ValueError("replicates need a group with a row")
    for name, values in rows:
        if len(values) < 2:
            raise ValueError(f"row {name!r} has {len(values)} value(s); a spread needs two")
        if min(values) <= 0:
            raise ValueError(f"row {name!r} holds {min(values)}, which has no logarithm")
    if reference <= 0:
        raise ValueError(f"the reference {reference} has no logarithm")
