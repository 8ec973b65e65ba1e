"""A module whose branches all read the same maps, drawn as flows that are as wide as they count."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from internals.figures.canvas import Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.palette import (
    CATEGORICAL,
    FRAME,
    LABEL_PX,
    MUTED,
    SMALL_PX,
    TEXT,
    WIDTH,
    Ink,
)

BAR, ROOM, HEAD, GAP = 16, 250, 30, 14
FAINT = 0.16  # of the ink of a flow: four of them may lie over one another
_EASE = np.linspace(0, 1, 25)
_BEND = _EASE**2 * (3 - 2 * _EASE)  # level at both ends, as a river leaves a lake

Step = tuple[str, int]  # what is done, and how many maps come out


@dataclass(frozen=True)
class _Bar:
    """Maps at one place: their left edge, their top, and the height that counts them."""

    left: float
    top: float
    height: float

    @property
    def centre(self) -> float:
        return self.left + BAR / 2


def branches(
    inputs: Step, paths: Sequence[Sequence[Step]], output: str, *, caption: str, alt: str
) -> Illustration:
    """Every one of `paths` takes all maps of `inputs` through its steps; their ends are stacked.

    A step is ("3 × 3", 128): what is done and how many maps come out; `output` names the stack. The
    height of a bar is its number of maps, on one scale, so that a step that thins them out is seen
    as a bottleneck. Raises `ValueError` without paths, for one without steps, and without maps.
    """
    counts = [inputs[1], *(maps for path in paths for _, maps in path)]
    if not paths or not all(paths) or min(counts) < 1:
        raise ValueError("branches need one path or more, each of one step or more, all with maps")
    inks = [CATEGORICAL[index % len(CATEGORICAL)] for index in range(len(paths))]
    total = sum(path[-1][1] for path in paths)
    widest = [max(maps for _, maps in path) for path in paths]
    scale = ROOM / max(sum(widest), total, inputs[1])
    height = sum(widest) * scale + (HEAD + GAP) * len(paths) - GAP
    middle = (height + HEAD) / 2
    canvas = Canvas(height + 4)
    source = _Bar(0, middle - inputs[1] * scale / 2, inputs[1] * scale)
    pitch = (WIDTH - BAR) / (max(len(path) for path in paths) + 1)
    rows = _arrange(paths, widest, scale, pitch)
    stacked = _Bar(WIDTH - BAR, middle - total * scale / 2, total * scale)
    filled = stacked.top
    for row, path, ink in zip(rows, paths, inks, strict=True):
        for before, after in zip([source, *row], row, strict=False):
            _flow(canvas, before, after, ink, pitch - BAR)
        end = _Bar(stacked.left, filled, path[-1][1] * scale)
        _flow(canvas, row[-1], end, ink, pitch - BAR)
        canvas.box(end.left, end.top, BAR, end.height, ink)
        filled += end.height
    for row, path, ink in zip(rows, paths, inks, strict=True):
        for bar, step in zip(row, path, strict=True):
            canvas.box(bar.left, bar.top, BAR, bar.height, ink)
            _name(canvas, bar, step, bar.centre, "center")
    canvas.box(source.left, source.top, BAR, source.height, FRAME)
    _name(canvas, source, inputs, 0, "left")
    _name(canvas, stacked, (output, total), WIDTH, "right")
    return Illustration(canvas.figure, caption, alt)


def _arrange(
    paths: Sequence[Sequence[Step]], widest: Sequence[int], scale: float, pitch: float
) -> list[list[_Bar]]:
    """The bars of each path, one path below the other; last steps stand in one column."""
    longest = max(len(path) for path in paths)
    rows: list[list[_Bar]] = []
    top = 0.0
    for path, most in zip(paths, widest, strict=True):
        middle = top + HEAD + most * scale / 2
        first = longest - len(path) + 1
        rows.append(
            [
                _Bar((first + index) * pitch, middle - maps * scale / 2, maps * scale)
                for index, (_, maps) in enumerate(path)
            ]
        )
        top += HEAD + most * scale + GAP
    return rows


def _flow(canvas: Canvas, before: _Bar, after: _Bar, ink: Ink, bend: float) -> None:
    """All of `before` runs into `after`: it bends at once, so that it goes round what lies between.

    After `bend` logical pixels it is as wide as `after` is high, and level.
    """
    start = before.left + BAR
    along = np.append(start + _EASE * min(bend, after.left - start), after.left)
    share = np.append(_BEND, 1)
    upper = before.top + share * (after.top - before.top)
    low, end = before.top + before.height, after.top + after.height
    lower = low + share * (end - low)
    edge = [*zip(along, upper, strict=True), *zip(along[::-1], lower[::-1], strict=True)]
    canvas.polygon(edge, ink, alpha=FAINT)


def _name(canvas: Canvas, bar: _Bar, step: Step, x: float, side: str) -> None:
    """What is done in bold above the bar, and how many maps come out."""
    words, maps = step[0], f"{step[1]:,} maps"
    both = text_width(words, LABEL_PX, "bold") + 6 + text_width(maps, SMALL_PX)
    left = {"left": x, "center": x - both / 2, "right": x - both}[side]
    y = bar.top - 7
    canvas.text(left, y, words, TEXT, LABEL_PX, weight="bold")
    canvas.text(left + both, y, maps, MUTED, SMALL_PX, ha="right")
