"""Numbers as dots, a row a thing: one for each column, or one for each repetition."""

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

Groups = Mapping[str, Mapping[str, Sequence[float]]]

# Replicates: logical pixels of a row, above a group's rows, of a mean's stroke up and down.
_ROW, _HEADING, _STROKE = 22, 28, 7
_STEPS = (1, 2, 5)  # of each decade; more of them where there is less than one
_FINE_STEPS = (1, 1.5, 2, 3, 4, 5, 6, 8)
_LEAST_APART = 34  # logical pixels between two numbers of the scale


def dots(
    names: Sequence[str],
    columns: Mapping[str, Sequence[float]],
    words: Mapping[str, Sequence[str]],
    *,
    caption: str,
    alt: str,
    logarithmic: Collection[str] = (),
) -> Illustration:
    """A row for each thing and a dot in each column, its value beside it.

    Every column has its own scale, from its smallest value to its largest.

    Args:
        names: Of the things.
        columns: For each column, a value for each thing.
        words: The same values in words.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        logarithmic: Columns in which equal ratios have equal distances.

    Raises:
        ValueError: Lengths differ, or a logarithmic column holds what is not positive.
    """
    _check_dots(names, columns, words, logarithmic)
    row_height, first, radius, gap = 30, 34, 4, 22
    canvas = Canvas(first + row_height * len(names) + 2)
    left = max(text_width(name, LABEL_PX) for name in names) + 18
    pitch = (WIDTH - left + gap) / len(columns)
    for row, name in enumerate(names):
        y = first + row_height * (row + 0.5)
        canvas.text(0, y, name, TEXT, LABEL_PX, va="center_baseline")
    for index, (title, values) in enumerate(columns.items()):
        start = left + index * pitch
        room = max(text_width(value, SMALL_PX) for value in words[title]) + radius + 6
        width = pitch - gap - room - radius
        kind = " (log)" if title in logarithmic else ""
        canvas.text(start, 14, title + kind, MUTED, LABEL_PX)
        positions = shares(values, title in logarithmic)
        for row, (share, value) in enumerate(zip(positions, words[title], strict=True)):
            x, y = start + radius + share * width, first + row_height * (row + 0.5)
            canvas.line([(start, y), (x, y)], GRID)
            canvas.polygon(_disc(x, y, radius, corners=32), BLUE)
            canvas.text(x + radius + 4, y, value, TEXT, SMALL_PX, va="center_baseline")
    return Illustration(canvas.figure, caption, alt)


def shares(values: Sequence[float], logarithmic: bool) -> list[float]:
    """Where each value stands between the smallest, 0, and the largest, 1; all 0 if equal.

    Args:
        values: The values.
        logarithmic: Whether equal ratios have equal distances.
    """
    scale = [log10(value) if logarithmic else value for value in values]
    low, high = min(scale), max(scale)
    return [(value - low) / (high - low) if high > low else 0.0 for value in scale]


def _check_dots(
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


def _disc(x: float, y: float, radius: float, corners: int) -> list[tuple[float, float]]:
    """The corners of a polygon that looks round."""
    angles = [2 * pi * corner / corners for corner in range(corners)]
    return [(x + radius * cos(angle), y + radius * sin(angle)) for angle in angles]


def replicates(
    groups: Groups,
    *,
    reference: float,
    referred: str,
    measured: str,
    caption: str,
    alt: str,
    instead: Mapping[str, Mapping[str, str]] | None = None,
) -> Illustration:
    """Repeated measurements: a dot a repetition, an upright stroke at their mean.

    All rows share one logarithmic scale; mean and sample standard deviation are written beside.

    Args:
        groups: For each group, for each row, its shares in [0, 1].
        reference: A share to compare with, a dashed line through all rows.
        referred: The name of that line.
        measured: What the shares are.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        instead: By group and row, the words beside a row whose mean stands for none of its values;
            it has no stroke.

    Raises:
        ValueError: A row has fewer than two values, or a value has no logarithm.
    """
    _check_replicates(groups, reference)
    rows = [(name, values) for group in groups.values() for name, values in group.items()]
    words = {title: (instead or {}).get(title, {}) for title in groups}
    beside = [
        words[title].get(name) or _mean_and_deviation(values)
        for title, group in groups.items()
        for name, values in group.items()
    ]
    height = _HEADING * len(groups) + _ROW * len(rows)
    canvas = Canvas(height + 36)
    left = max(text_width(name, LABEL_PX) for name, _ in rows) + 24
    right = WIDTH - max(text_width(text, SMALL_PX) for text in beside) - 14
    everything = [reference, *(value for _, values in rows for value in values)]
    scale = _Scale(min(everything), max(everything), left, right)
    _draw_scale(canvas, scale, height, measured, (reference, referred))
    y = 0.0
    for title, group in groups.items():
        canvas.text(0, y + _HEADING - 9, title, TEXT, LABEL_PX, weight="bold")
        y += _HEADING
        for name, values in group.items():
            _draw_replicates(canvas, scale, y + _ROW / 2, name, values, words[title].get(name))
            y += _ROW
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
        numbers: list[float] = []
        for value in (step * 10.0**decade for decade in decades for step in steps):
            inside = self.left <= self.at(value) <= self.right and value <= 1
            if inside and (not numbers or self.at(value) - self.at(numbers[-1]) >= _LEAST_APART):
                numbers.append(value)
        return numbers


def _draw_scale(
    canvas: Canvas, scale: _Scale, height: float, measured: str, reference: tuple[float, str]
) -> None:
    for value in scale.numbers():
        x = scale.at(value)
        canvas.line([(x, _HEADING - 4), (x, height)], GRID)
        canvas.text(x, height + 14, f"{100 * value:g} %", MUTED, SMALL_PX, ha="center")
    canvas.text(scale.left, height + 30, f"{measured} (log scale)", MUTED, SMALL_PX)
    share, name = reference
    x = scale.at(share)
    canvas.line([(x, _HEADING - 6), (x, height)], MUTED, 1.25, dashes=(4, 3))
    side = "right" if x > (scale.left + scale.right) / 2 else "left"
    canvas.text(x, _HEADING - 12, name, MUTED, SMALL_PX, ha=side)


def _draw_replicates(
    canvas: Canvas,
    scale: _Scale,
    y: float,
    name: str,
    values: Sequence[float],
    instead: str | None,
) -> None:
    canvas.text(10, y, name, TEXT, LABEL_PX, va="center_baseline")
    canvas.line([(scale.left, y), (scale.right, y)], GRID)
    for value in values:
        canvas.polygon(_disc(scale.at(value), y, radius=3, corners=24), BLUE)
    if not instead:
        mean = scale.at(fmean(values))
        canvas.line([(mean, y - _STROKE), (mean, y + _STROKE)], VERMILION, 2)
    beside = instead or _mean_and_deviation(values)
    canvas.text(WIDTH, y, beside, TEXT, SMALL_PX, ha="right", va="center_baseline")


def _mean_and_deviation(values: Sequence[float]) -> str:
    return f"{percent(fmean(values), 2)} ± {100 * stdev(values):.2f}"


def _check_replicates(groups: Groups, reference: float) -> None:
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
