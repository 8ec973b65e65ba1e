"""Diagrams: stacks of sheets, branches, blocks with a way round them, receptive fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, text_width, wrap
from internals.figures.illustration import Illustration
from internals.figures.inks import (
    BLUE,
    CATEGORICAL,
    FRAME,
    LABEL_PX,
    MUTED,
    PADDING,
    PAPER,
    SMALL_PX,
    TEXT,
    VERMILION,
    WIDTH,
    Ink,
    natural,
    points,
)
from internals.figures.plots import spread
from internals.figures.table import TIMES
from internals.figures.tiles import padding_key

Point = tuple[float, float]
Step = tuple[str, int]  # the operation, and how many maps come out
Box = tuple[int, int, int, int]  # top, left, bottom, right

# Stacks (unit: logical pixels): at most so many sheets, each shifted against the one behind it;
# a vector's bar is as wide, and so high at least and at most.
_SHEETS, _SHEET_SHIFT = 6, 4
_VECTOR, _VECTOR_LEAST, _VECTOR_MOST = 9, 16, 120

# Blocks (unit: logical pixels): a layer's box, between two of them, the circle of the sum, and how
# far from the boxes' middle the way round them runs.
_BOX_WIDTH, _BOX_HEIGHT, _BOX_GAP, _SUM, _ROUND = 124, 24, 18, 9, 82
_CIRCLE = np.linspace(0, 2 * np.pi, 49)[:-1]

# Branches (unit: logical pixels): width of a bar, above each path, and between two paths.
BAR, _PATH_HEADING, _PATH_GAP = 16, 30, 14
FAINT = 0.16  # of the ink of a flow: four of them may lie over one another
_EASE = np.linspace(0, 1, 25)
_BEND = _EASE**2 * (3 - 2 * _EASE)  # level at both ends, as a river leaves a lake


@dataclass(frozen=True)
class Stage:
    """The feature maps that stand between two operations.

    Args:
        name: What the stage is called.
        maps: How many feature maps there are.
        height: Of a map (unit: its positions).
        width: Of a map (unit: its positions).
        operation: What makes the next stage of this one.
        window: Side of the piece of this stage that one unit of the next looks at, drawn as a box;
            None: every unit is looked at.
    """

    name: str
    maps: int
    height: int = 1
    width: int = 1
    operation: str = ""
    window: int | None = None

    @property
    def flat(self) -> bool:
        """Whether the stage has no positions: a vector of units."""
        return self.height == self.width == 1

    @property
    def shape(self) -> str:
        """The shape as LeCun et al. write it: maps@height x width."""
        return str(self.maps) if self.flat else f"{self.maps}@{self.height}{TIMES}{self.width}"


@dataclass(frozen=True)
class _PlacedStage:
    """Where a stage stands: its front and back sheets, and the words above it."""

    stage: Stage
    left: float  # of the room for drawing and words
    room: float
    width: float  # of one sheet
    height: float
    shift: float  # of each sheet against the one behind it
    middle: float

    @property
    def sheets(self) -> list[Point]:
        """The top left corners of the sheets, the one at the back first."""
        count = 1 if self.stage.flat else min(self.stage.maps, _SHEETS)
        spread = self.shift * (count - 1)
        x = self.left + (self.room - self.width - spread) / 2
        y = self.middle - (self.height + spread) / 2
        return [(x + index * self.shift, y + index * self.shift) for index in range(count)]

    @property
    def centre(self) -> float:
        """The middle of the drawing and of the words above it."""
        return self.left + self.room / 2

    def on_front(self, across: float, down: float) -> Point:
        """A point of the front sheet by its shares of the width and the height."""
        x, y = self.sheets[-1]
        return x + across * self.width, y + down * self.height


def stack(stages: Sequence[Stage], *, caption: str, alt: str) -> Illustration:
    """A network in the manner of LeCun et al. (1998), Fig. 2: sheets for maps, bars for vectors.

    Map sides are in true proportion; at most six sheets are drawn for a stage, its name says how
    many there are. A bar's length grows with the square root of its number of units.

    Args:
        stages: From the input to the output.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.

    Raises:
        ValueError: There is no stage.
    """
    if not stages:
        raise ValueError("a network has at least one stage")
    places = _place_stages(stages)
    reach = max(place.middle - place.sheets[0][1] for place in places)
    steps = [
        wrap(place.stage.operation, following.centre - place.centre - 4, SMALL_PX)
        for place, following in pairwise(places)
    ]
    floor, line_height = places[0].middle + reach + 24, 13
    canvas = Canvas(floor + line_height * max((len(step) for step in steps), default=0) - 4)
    for place in places:
        _draw_sheets(canvas, place)
        top = place.sheets[0][1]
        canvas.text(
            place.centre, top - 22, place.stage.name, TEXT, LABEL_PX, ha="center", weight="bold"
        )
        canvas.text(place.centre, top - 8, place.stage.shape, MUTED, SMALL_PX, ha="center")
    for step, (place, following) in zip(steps, pairwise(places), strict=True):
        _draw_step(canvas, place, following)
        middle = (place.centre + following.centre) / 2
        for line, words in enumerate(step):
            canvas.text(middle, floor + line * line_height, words, BLUE, SMALL_PX, ha="center")
    return Illustration(canvas.figure, caption, alt)


def _place_stages(stages: Sequence[Stage]) -> list[_PlacedStage]:
    """Stages from the left to the right edge of the page, with equal gaps between their rooms."""
    largest = max((max(stage.height, stage.width) for stage in stages if not stage.flat), default=1)
    most = max((stage.maps for stage in stages if stage.flat), default=1)
    scale = 96 / largest
    places: list[_PlacedStage] = []
    for stage in stages:
        width, height = max(3, stage.width * scale), max(3, stage.height * scale)
        if stage.flat:
            width, height = (
                _VECTOR,
                _VECTOR_LEAST + (_VECTOR_MOST - _VECTOR_LEAST) * (stage.maps / most) ** 0.5,
            )
        shift = min(_SHEET_SHIFT, max(1.5, width / 6))
        words = max(text_width(stage.name, LABEL_PX, "bold"), text_width(stage.shape, SMALL_PX))
        room = max(words, width + shift * (min(stage.maps, _SHEETS) - 1) * (not stage.flat))
        places.append(_PlacedStage(stage, 0, room + 2, width, height, shift, 0))
    reach = max(place.middle - place.sheets[0][1] for place in places)
    gap = (WIDTH - sum(place.room for place in places)) / max(1, len(places) - 1)
    left = 0.0
    for index, place in enumerate(places):
        places[index] = replace(place, left=left, middle=reach + 38)
        left += place.room + gap
    return places


def _draw_sheets(canvas: Canvas, place: _PlacedStage) -> None:
    for corner in place.sheets:
        face = PADDING if corner == place.sheets[-1] else PAPER
        canvas.box(*corner, place.width, place.height, face, FRAME)


def _draw_step(canvas: Canvas, place: _PlacedStage, following: _PlacedStage) -> None:
    """From the window on the front sheet (or from all of it) to the one unit that looks at it."""
    unit = following.on_front(*((0.0, 0.5) if following.stage.flat else (0.3, 0.4)))
    starts = [place.on_front(1, 0), place.on_front(1, 1)]
    if place.stage.window is not None and not place.stage.flat:
        across = place.stage.window / place.stage.width
        down = place.stage.window / place.stage.height
        left, top = 0.75 * (1 - across), 0.35 * (1 - down)
        corners = [
            (left, top),
            (left + across, top),
            (left + across, top + down),
            (left, top + down),
        ]
        window = [place.on_front(*corner) for corner in corners]
        canvas.polygon(window, None, VERMILION)
        starts = window[1:3]
    for start in starts:
        canvas.line([start, unit], VERMILION, 0.75)
    canvas.box(unit[0] - 1.5, unit[1] - 1.5, 3, 3, VERMILION)


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
    """Parallel paths that each take all maps of the input; their ends are stacked.

    The height of a bar is its number of maps, on one scale, so that a step that thins them out is
    seen as a bottleneck.

    Args:
        inputs: What the paths start from, and its number of maps.
        paths: The steps of each path; a step is ("3 × 3", 128), its operation and its maps.
        output: What the stack is called.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.

    Raises:
        ValueError: There is no path, or one without steps or without maps.
    """
    counts = [inputs[1], *(maps for path in paths for _, maps in path)]
    if not paths or not all(paths) or min(counts) < 1:
        raise ValueError("branches need one path or more, each of one step or more, all with maps")
    inks = [CATEGORICAL[index % len(CATEGORICAL)] for index in range(len(paths))]
    total = sum(path[-1][1] for path in paths)
    widest = [max(maps for _, maps in path) for path in paths]
    scale = 250 / max(sum(widest), total, inputs[1])
    height = sum(widest) * scale + (_PATH_HEADING + _PATH_GAP) * len(paths) - _PATH_GAP
    middle = (height + _PATH_HEADING) / 2
    canvas = Canvas(height + 4)
    source = _Bar(0, middle - inputs[1] * scale / 2, inputs[1] * scale)
    pitch = (WIDTH - BAR) / (max(len(path) for path in paths) + 1)
    rows = _place_bars(paths, widest, scale, pitch)
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
            _name_bar(canvas, bar, step, bar.centre, "center")
    canvas.box(source.left, source.top, BAR, source.height, FRAME)
    _name_bar(canvas, source, inputs, 0, "left")
    _name_bar(canvas, stacked, (output, total), WIDTH, "right")
    return Illustration(canvas.figure, caption, alt)


def _place_bars(
    paths: Sequence[Sequence[Step]], widest: Sequence[int], scale: float, pitch: float
) -> list[list[_Bar]]:
    """The bars of each path, one path below the other; last steps stand in one column."""
    longest = max(len(path) for path in paths)
    rows: list[list[_Bar]] = []
    top = 0.0
    for path, most in zip(paths, widest, strict=True):
        middle = top + _PATH_HEADING + most * scale / 2
        first = longest - len(path) + 1
        rows.append(
            [
                _Bar((first + index) * pitch, middle - maps * scale / 2, maps * scale)
                for index, (_, maps) in enumerate(path)
            ]
        )
        top += _PATH_HEADING + most * scale + _PATH_GAP
    return rows


def _flow(canvas: Canvas, before: _Bar, after: _Bar, ink: Ink, bend: float) -> None:
    """A band from `before` to `after`, which bends at once so that it goes round what lies between.

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


def _name_bar(canvas: Canvas, bar: _Bar, step: Step, x: float, side: str) -> None:
    """The operation in bold above the bar, and how many maps come out."""
    operation, maps = step[0], f"{step[1]:,} maps"
    width = text_width(operation, LABEL_PX, "bold") + 6 + text_width(maps, SMALL_PX)
    left = {"left": x, "center": x - width / 2, "right": x - width}[side]
    y = bar.top - 7
    canvas.text(left, y, operation, TEXT, LABEL_PX, weight="bold")
    canvas.text(left + width, y, maps, MUTED, SMALL_PX, ha="right")


@dataclass(frozen=True)
class Block:
    """Layers one after another, and what goes round them.

    Args:
        title: What the block is called.
        layers: From the first to the last.
        last: What follows the sum or, without a way round, the last layer.
        shortcut: What stands on the way round the layers, to be added to what they put out; "" for
            an identity, None where there is no such way.
    """

    title: str
    layers: Sequence[str]
    last: str
    shortcut: str | None = None


def wiring(blocks: Sequence[Block], *, caption: str, alt: str) -> Illustration:
    """Blocks side by side, each from its input at the top to its output below.

    Args:
        blocks: One or more, with one layer or more each.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.

    Raises:
        ValueError: There is no block, or one without layers.
    """
    if not blocks or not all(block.layers for block in blocks):
        raise ValueError("a wiring has one block or more, each of one layer or more")
    longest = max(len(block.layers) for block in blocks)
    canvas = Canvas(82 + (longest + 1) * (_BOX_HEIGHT + _BOX_GAP) + 2 * _SUM + _BOX_GAP)
    pitch = WIDTH / len(blocks)
    for index, block in enumerate(blocks):
        _draw_block(canvas, block, index * pitch + _BOX_WIDTH / 2 + 1, pitch, longest)
    return Illustration(canvas.figure, caption, alt)


def _draw_block(canvas: Canvas, block: Block, x: float, pitch: float, longest: int) -> None:
    canvas.text(x, 14, block.title, TEXT, LABEL_PX, ha="center", weight="bold")
    canvas.text(x, 38, "x", BLUE, LABEL_PX, ha="center", style="italic")
    start = y = 44.0
    for layer in block.layers:
        y = _draw_layer(canvas, x, y, layer)
    below = start + longest * (_BOX_HEIGHT + _BOX_GAP) + _BOX_GAP
    centre = below + _SUM
    if block.shortcut is None:
        canvas.line([(x, y), (x, below + 2 * _SUM)], FRAME)
    else:
        _arrow(canvas, x, y, below)
        circle = [(x + _SUM * np.cos(a), centre + _SUM * np.sin(a)) for a in _CIRCLE]
        canvas.polygon(circle, PAPER, VERMILION)
        canvas.text(x, centre, "+", VERMILION, LABEL_PX, ha="center", va="center_baseline")
        _draw_shortcut(canvas, x, (start + 5, centre), block.shortcut, pitch - _BOX_WIDTH / 2)
    end = _draw_layer(canvas, x, below + 2 * _SUM, block.last)
    canvas.line([(x, end), (x, end + 10)], FRAME)
    canvas.text(x, end + 26, "next x", BLUE, LABEL_PX, ha="center", style="italic")


def _draw_layer(canvas: Canvas, x: float, y: float, words: str) -> float:
    """An arrow down from y to a box with `words`; returns where the box ends."""
    _arrow(canvas, x, y, y + _BOX_GAP)
    canvas.box(x - _BOX_WIDTH / 2, y + _BOX_GAP, _BOX_WIDTH, _BOX_HEIGHT, PADDING, FRAME)
    middle = y + _BOX_GAP + _BOX_HEIGHT / 2
    canvas.text(x, middle, words, TEXT, SMALL_PX, ha="center", va="center_baseline")
    return y + _BOX_GAP + _BOX_HEIGHT


def _draw_shortcut(
    canvas: Canvas, x: float, levels: tuple[float, float], words: str, room: float
) -> None:
    """The way round, from the upper level to the sum at the lower one."""
    (start, end), side = levels, x + _ROUND
    canvas.line([(x, start), (side, start), (side, end), (x + _SUM + 4, end)], VERMILION)
    tip = x + _SUM
    canvas.polygon([(tip, end), (tip + 6, end - 3.5), (tip + 6, end + 3.5)], VERMILION)
    for number, line in enumerate(wrap(words or "x, as it is", room - _ROUND - 12, SMALL_PX)):
        y = (start + end) / 2 + 13 * number
        canvas.text(side + 7, y, line, VERMILION, SMALL_PX)


def _arrow(canvas: Canvas, x: float, start: float, end: float) -> None:
    canvas.line([(x, start), (x, end - 5)], FRAME)
    canvas.polygon([(x, end), (x - 3.5, end - 6), (x + 3.5, end - 6)], FRAME)


def field(image: np.ndarray, boxes: Mapping[str, Box], *, caption: str, alt: str) -> Illustration:
    """An image with named boxes in its pixel coordinates.

    Boxes may reach beyond the image: the paper around it stands for the padding. Pixels are
    separated by a grid where they are large enough.

    Args:
        image: (c, h, w) in [0, 1].
        boxes: (top, left, bottom, right) of each, bottom and right excluded.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.

    Raises:
        ValueError: A box is empty.
    """
    for name, (top, left, bottom, right) in boxes.items():
        if top >= bottom or left >= right:
            raise ValueError(f"the box {name!r} is empty: {(top, left, bottom, right)}")
    rows, columns = image.shape[1:]
    around = np.array([(0, 0, rows, columns), *boxes.values()])
    first, last = (
        np.minimum(around[:, :2].min(0), 0),
        np.maximum(around[:, 2:].max(0), (rows, columns)),
    )
    span = last - first
    zoom = max(1, 400 * DEVICE // int(span.max())) / DEVICE
    canvas = Canvas(span[0] * zoom + 4 + (24 if (span > (rows, columns)).any() else 0))
    x, y = 2 - first[1] * zoom, 2 - first[0] * zoom  # where the image's own corner stands
    if (span > (rows, columns)).any():
        canvas.box(2, 2, span[1] * zoom, span[0] * zoom, PADDING)
        padding_key(canvas, canvas.height - 4, 2)
    canvas.image(x, y, natural(image), columns * zoom, rows * zoom)
    if zoom >= 6:  # logical pixels
        _draw_grid(canvas, (x, y), (rows, columns), zoom)
    _draw_boxes(canvas, boxes, (x, y), zoom, 2 + span[1] * zoom)
    return Illustration(canvas.figure, caption, alt)


def _draw_grid(
    canvas: Canvas, corner: tuple[float, float], size: tuple[int, int], zoom: float
) -> None:
    (x, y), (rows, columns) = corner, size
    for row in range(rows + 1):
        level = y + row * zoom
        canvas.line([(x, level), (x + columns * zoom, level)], FRAME, 0.5, alpha=0.5)
    for column in range(columns + 1):
        place = x + column * zoom
        canvas.line([(place, y), (place, y + rows * zoom)], FRAME, 0.5, alpha=0.5)


def _draw_boxes(
    canvas: Canvas, boxes: Mapping[str, Box], corner: tuple[float, float], zoom: float, edge: float
) -> None:
    """Every box in its own ink, with a line to its name right of the image's `edge`."""
    names_left = edge + 22
    inks = dict(zip(boxes, CATEGORICAL * (1 + len(boxes) // len(CATEGORICAL)), strict=False))
    ordered = sorted(boxes, key=lambda name: boxes[name][0] + boxes[name][2])
    wanted = [corner[1] + (boxes[name][0] + boxes[name][2]) / 2 * zoom for name in ordered]
    levels = spread(wanted, 30, 12, canvas.height - 22)
    for name, level, middle in zip(ordered, levels, wanted, strict=True):
        top, left, bottom, right = boxes[name]
        ink, end = inks[name], corner[0] + right * zoom
        corners = (corner[0] + left * zoom, corner[1] + top * zoom)
        size = ((right - left) * zoom, (bottom - top) * zoom)
        # Paper on both sides of the ink: it must show on black and on white pixels alike.
        canvas.box(*corners, *size, None, PAPER, linewidth=points(5), alpha=0.8)
        canvas.box(*corners, *size, None, ink, linewidth=points(2.5))
        canvas.line([(end, middle), (names_left - 6, level), (names_left, level)], ink, 1)
        bold = {"va": "center_baseline", "weight": "bold"}
        canvas.text(names_left + 6, level, name, ink, LABEL_PX, **bold)
        indent = text_width(name, LABEL_PX, "bold") + 14
        words = f"{bottom - top} {TIMES} {right - left} pixels"
        canvas.text(names_left + indent, level, words, MUTED, SMALL_PX, va="center_baseline")
