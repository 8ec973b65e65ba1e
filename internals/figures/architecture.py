"""A network drawn to scale, as a row of stacked feature maps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from internals.figures.canvas import Canvas, text_width, wrap
from internals.figures.illustration import Illustration
from internals.figures.numerals import TIMES
from internals.figures.palette import (
    BLUE,
    FRAME,
    LABEL_PX,
    MUTED,
    PADDING,
    PAPER,
    SMALL_PX,
    TEXT,
    VERMILION,
    WIDTH,
)

SHEETS, SHIFT, TALLEST, LINE = 6, 4, 96, 13
BAR, BAR_LEAST, BAR_MOST = 9, 16, 120
CENTRED_BOLD = {"ha": "center", "weight": "bold"}


@dataclass(frozen=True)
class Stage:
    """What stands between two operations: `maps` feature maps of `height` x `width`.

    `operation` names what makes the next stage of this one; `window` is the side of the piece of
    this stage that one unit of the next looks at, drawn as a box (None: every unit is looked at).
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


Point = tuple[float, float]


@dataclass(frozen=True)
class _Place:
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
        count = 1 if self.stage.flat else min(self.stage.maps, SHEETS)
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
    """The network in the manner of LeCun et al. (1998), Fig. 2: sheets for maps, bars for vectors.

    Map sides are in true proportion; at most six sheets are drawn for a stage, its name says how
    many there are. A bar's length grows with the square root of its number of units.
    """
    if not stages:
        raise ValueError("a network has at least one stage")
    places = _arrange(stages)
    reach = max(place.middle - place.sheets[0][1] for place in places)
    steps = [
        wrap(place.stage.operation, following.centre - place.centre - 4, SMALL_PX)
        for place, following in pairwise(places)
    ]
    floor = places[0].middle + reach + 24
    canvas = Canvas(floor + LINE * max((len(step) for step in steps), default=0) - 4)
    for place in places:
        _draw_sheets(canvas, place)
        top = place.sheets[0][1]
        canvas.text(place.centre, top - 22, place.stage.name, TEXT, LABEL_PX, **CENTRED_BOLD)
        canvas.text(place.centre, top - 8, place.stage.shape, MUTED, SMALL_PX, ha="center")
    for step, (place, following) in zip(steps, pairwise(places), strict=True):
        _draw_step(canvas, place, following)
        middle = (place.centre + following.centre) / 2
        for line, words in enumerate(step):
            canvas.text(middle, floor + line * LINE, words, BLUE, SMALL_PX, ha="center")
    return Illustration(canvas.figure, caption, alt)


def _arrange(stages: Sequence[Stage]) -> list[_Place]:
    """Stages from the left to the right edge of the page, with equal gaps between their rooms."""
    largest = max((max(stage.height, stage.width) for stage in stages if not stage.flat), default=1)
    most = max((stage.maps for stage in stages if stage.flat), default=1)
    scale = TALLEST / largest
    places: list[_Place] = []
    for stage in stages:
        width, height = max(3, stage.width * scale), max(3, stage.height * scale)
        if stage.flat:
            width, height = BAR, BAR_LEAST + (BAR_MOST - BAR_LEAST) * (stage.maps / most) ** 0.5
        shift = min(SHIFT, max(1.5, width / 6))
        words = max(text_width(stage.name, LABEL_PX, "bold"), text_width(stage.shape, SMALL_PX))
        room = max(words, width + shift * (min(stage.maps, SHEETS) - 1) * (not stage.flat))
        places.append(_Place(stage, 0, room + 2, width, height, shift, 0))
    reach = max(place.middle - place.sheets[0][1] for place in places)
    gap = (WIDTH - sum(place.room for place in places)) / max(1, len(places) - 1)
    left = 0.0
    for index, place in enumerate(places):
        places[index] = replace(place, left=left, middle=reach + 38)
        left += place.room + gap
    return places


def _draw_sheets(canvas: Canvas, place: _Place) -> None:
    for corner in place.sheets:
        face = PADDING if corner == place.sheets[-1] else PAPER
        canvas.box(*corner, place.width, place.height, face, FRAME)


def _draw_step(canvas: Canvas, place: _Place, following: _Place) -> None:
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
