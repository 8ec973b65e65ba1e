"""Axes in the book's type, with names written beside the lines they name."""

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from internals.figures.canvas import text_width
from internals.figures.palette import (
    BODY_PX,
    LABEL_PX,
    LOGICAL_DPI,
    SMALL_PX,
    TEXT,
    WIDTH,
    Ink,
    points,
    style,
)

END_GAP, END_PITCH = 6, 14


class Plot:
    """A figure `height` logical pixels high that holds axes placed by logical pixels."""

    def __init__(self, height: int) -> None:
        self.height = height
        with matplotlib.rc_context(style()):
            size = [side / LOGICAL_DPI * (1 + 1e-12) for side in (WIDTH, height)]
            self.figure = Figure(figsize=(size[0], size[1]), dpi=LOGICAL_DPI)

    def axes(self, left: float, top: float, right: float, bottom: float, title: str = "") -> Axes:
        """Axes that span from (left, top) to (right, bottom), y counted downwards."""
        place = (
            left / WIDTH,
            1 - bottom / self.height,
            (right - left) / WIDTH,
            (bottom - top) / self.height,
        )
        with matplotlib.rc_context(style()):
            axes = self.figure.add_axes(place)
            axes.grid(True, axis="y")
            axes.set_axisbelow(True)
            axes.spines[["top", "right", "left"]].set_visible(False)
            axes.tick_params(length=0, pad=points(6))
            axes.set_title(
                title, loc="left", pad=points(26), fontsize=points(BODY_PX), weight="bold"
            )
        return axes


Ending = tuple[float, str, Ink]  # the height a name belongs to in data units, the name, its ink


def room_for(names: Sequence[str]) -> float:
    """The logical pixels that `name_ends` needs to the right of the axes."""
    return END_GAP + max((text_width(name, LABEL_PX) for name in names), default=0) + 4


def name_ends(axes: Axes, endings: Sequence[Ending]) -> None:
    """Write each name right of the axes at its height; names that would touch move apart."""
    if not endings:
        return
    axes.set_ylim(axes.get_ylim())  # places are in pixels: the scale must not move afterwards
    low, high = axes.get_window_extent().get_points()[:, 1] * LOGICAL_DPI / axes.figure.dpi
    ordered = sorted(endings, key=lambda ending: ending[0])
    wanted = [float(axes.transData.transform((0, y))[1]) for y, _, _ in ordered]
    places = spread(wanted, END_PITCH, float(low), float(high))
    for place, (_, name, ink) in zip(places, ordered, strict=True):
        axes.annotate(
            name,
            (1, (place - low) / (high - low)),
            xycoords="axes fraction",
            xytext=(points(END_GAP), 0),
            textcoords="offset points",
            color=ink.light,
            fontsize=points(LABEL_PX),
            va="center",
            annotation_clip=False,
        )


def spread(wanted: Sequence[float], pitch: float, low: float, high: float) -> list[float]:
    """Places at least `pitch` apart, within [low, high], as near as can be to the rising `wanted`.

    Where there is not room for all of them, they keep the pitch and stand out at the top.
    """
    groups: list[list[float]] = []  # for each member, where the group would start for its sake

    def start(group: list[float]) -> float:
        middle = sum(group) / len(group)
        return max(low, min(middle, high - pitch * (len(group) - 1)))

    for place in wanted:
        groups.append([place])
        while len(groups) > 1 and start(groups[-2]) + pitch * len(groups[-2]) > start(groups[-1]):
            joining = groups.pop()
            groups[-1] += [wish - pitch * len(groups[-1]) for wish in joining]
    return [start(group) + pitch * index for group in groups for index in range(len(group))]


def rule(axes: Axes, y: float, ink: Ink) -> None:
    """A dashed level across the axes."""
    axes.axhline(y, color=ink.light, lw=points(1.25), dashes=(4, 3), zorder=1.5)


def mark(axes: Axes, x: float, name: str, ink: Ink = TEXT) -> None:
    """A thin vertical line at `x`, named above the axes, and clear of the names at their right."""
    first, last = axes.get_xlim()
    near_the_end = x > first + 0.8 * (last - first)
    axes.axvline(x, color=ink.light, lw=points(1), dashes=(1, 2), zorder=1.5)
    axes.annotate(
        name,
        (x, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, points(3)),
        textcoords="offset points",
        color=ink.light,
        fontsize=points(SMALL_PX),
        ha="right" if near_the_end else "center",
        va="bottom",
        annotation_clip=False,
    )
