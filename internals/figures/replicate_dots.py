"""Repeated measurements: a row a thing, a dot a repetition, an upright stroke at their mean."""

from collections.abc import Mapping, Sequence
from math import ceil, cos, floor, log10, pi, sin
from statistics import fmean, stdev

from internals.figures.canvas import Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.numerals import percent
from internals.figures.palette import (
    BLUE,
    GRID,
    LABEL_PX,
    MUTED,
    SMALL_PX,
    TEXT,
    VERMILION,
    WIDTH,
)

ROW, HEADING, FOOT, RADIUS, REACH = 22, 28, 36, 3, 7
_ROUND = [2 * pi * corner / 24 for corner in range(24)]
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
    _check(groups, reference)
    rows = [(name, values) for group in groups.values() for name, values in group.items()]
    height = HEADING * len(groups) + ROW * len(rows)
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
            _draw_row(canvas, scale, y + ROW / 2, name, values)
            y += ROW
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
        corners = [(x + RADIUS * cos(angle), y + RADIUS * sin(angle)) for angle in _ROUND]
        canvas.polygon(corners, BLUE)
    mean = scale.at(fmean(values))
    canvas.line([(mean, y - REACH), (mean, y + REACH)], VERMILION, 2)
    canvas.text(WIDTH, y, _written(values), TEXT, SMALL_PX, ha="right", va="center_baseline")


def _written(values: Sequence[float]) -> str:
    return f"{percent(fmean(values), 2)} ± {100 * stdev(values):.2f}"


def _check(groups: Groups, reference: float) -> None:
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
