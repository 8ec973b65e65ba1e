"""Plots in axes: training curves, functions, sweeps and scattered points, named where they lie."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from internals.figures.canvas import plain, text_width
from internals.figures.illustration import Illustration
from internals.figures.inks import (
    BLUE,
    BODY_PX,
    CATEGORICAL,
    LABEL_PX,
    LOGICAL_DPI,
    MUTED,
    PAPER,
    SMALL_PX,
    TEXT,
    VERMILION,
    WIDTH,
    Ink,
    points,
    style,
)
from internals.figures.table import percent

_END_GAP, _END_PITCH = 6, 14  # logical pixels: axes to names, and from one name to the next
_MOST_MARKED = 40  # up to as many points, each is marked; more would only thicken the line

_SCATTER_MARKERS = ("o", "^")  # five inks, twice
_SCATTER_AREA = 14  # of a dot in square points
_SCATTER_LINE = 22  # logical pixels from one name to one that stands over it

Ending = tuple[float, str, Ink]  # the height a name belongs to in data units, the name, its ink
_Label = tuple[np.ndarray, str, Ink]  # where a name belongs, the name, the ink of its dots


class Plot:
    """A figure that holds axes placed by logical pixels.

    Args:
        height: Of the figure (unit: logical pixels).
    """

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
                plain(title), loc="left", pad=points(26), fontsize=points(BODY_PX), weight="bold"
            )
        return axes


def room_for(names: Sequence[str]) -> float:
    """The logical pixels that `name_ends` needs to the right of the axes."""
    return _END_GAP + max((text_width(name, LABEL_PX) for name in names), default=0) + 4


def name_ends(axes: Axes, endings: Sequence[Ending]) -> None:
    """Write each name right of the axes at its height; names that would touch move apart."""
    if not endings:
        return
    axes.set_ylim(axes.get_ylim())  # positions are in pixels: the scale must not move afterwards
    low, high = axes.get_window_extent().get_points()[:, 1] * LOGICAL_DPI / axes.figure.dpi
    ordered = sorted(endings, key=lambda ending: ending[0])
    wanted = [float(axes.transData.transform((0, y))[1]) for y, _, _ in ordered]
    positions = spread(wanted, _END_PITCH, float(low), float(high))
    for position, (_, name, ink) in zip(positions, ordered, strict=True):
        axes.annotate(
            plain(name),
            (1, (position - low) / (high - low)),
            xycoords="axes fraction",
            xytext=(points(_END_GAP), 0),
            textcoords="offset points",
            color=ink.light,
            fontsize=points(LABEL_PX),
            va="center",
            annotation_clip=False,
        )


def spread(wanted: Sequence[float], pitch: float, low: float, high: float) -> list[float]:
    """Move positions apart, each as little as can be.

    Args:
        wanted: The positions, rising.
        pitch: The least distance between two of them.
        low: The lowest that a position may be.
        high: The highest; where there is not room for all of them, they keep the pitch and pass it.
    """
    groups: list[list[float]] = []  # for each member, where it would have the group start

    def start(group: list[float]) -> float:
        middle = sum(group) / len(group)
        return max(low, min(middle, high - pitch * (len(group) - 1)))

    for position in wanted:
        groups.append([position])
        while len(groups) > 1 and start(groups[-2]) + pitch * len(groups[-2]) > start(groups[-1]):
            joining = groups.pop()
            groups[-1] += [begin - pitch * len(groups[-1]) for begin in joining]
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
        plain(name),
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


def curves(
    *,
    loss: Mapping[str, Sequence[float]],
    accuracy: Mapping[str, Sequence[float]],
    best: int | None = None,
    references: Mapping[str, float] | None = None,
    caption: str,
    alt: str,
) -> Illustration:
    """A training run by epoch, from 1: loss on the left, accuracy on the right.

    The same name has the same colour on both sides.

    Args:
        loss: For each name ("train", "validation") one number an epoch.
        accuracy: The same, in [0, 1].
        best: The epoch whose weights were kept.
        references: Levels of accuracy to compare with, such as the paper's.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
    """
    levels = dict(references or {})
    inks = dict(
        zip(dict.fromkeys([*loss, *accuracy]), (BLUE, VERMILION, *CATEGORICAL[2:]), strict=False)
    )
    named = {f"{name} {percent(level, 2)}": level for name, level in levels.items()}
    height, top, bottom = 284, 54, 246
    plot = Plot(height)
    left_room, right_room = room_for(list(loss)), room_for([*accuracy, *named])
    share = (WIDTH - 44 - left_room - 30 - 48 - right_room) / 2
    split = 44 + share + left_room + 30 + 48
    left = plot.axes(44, top, 44 + share, bottom, "Loss")
    right = plot.axes(split, top, split + share, bottom, "Accuracy")
    _number_axes(left, right, logarithmic=_spans_decades(loss))
    left_ends, right_ends = _draw_series(left, loss, inks), _draw_series(right, accuracy, inks)
    for name, level in named.items():
        rule(right, level, MUTED)
        right_ends.append((level, name, MUTED))
    for axes, ends in ((left, left_ends), (right, right_ends)):
        if best is not None:
            mark(axes, best, f"epoch {best} kept", MUTED)
        name_ends(axes, ends)
    return Illustration(plot.figure, caption, alt)


def _number_axes(loss: Axes, accuracy: Axes, logarithmic: bool) -> None:
    if logarithmic:
        loss.set_yscale("log")
        loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        loss.yaxis.set_minor_locator(NullLocator())
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    accuracy.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    for axes in (loss, accuracy):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))


def lines(
    x: np.ndarray | Mapping[str, np.ndarray],
    functions: Mapping[str, np.ndarray],
    *,
    caption: str,
    alt: str,
    xlabel: str = "",
    ylabel: str = "",
    levels: Mapping[str, float] | None = None,
    marks: Mapping[str, float] | None = None,
    logarithmic: bool = False,
    ticks: Sequence[str] = (),
    height: int = 300,
) -> Illustration:
    """Functions in one pair of axes, each named at its right end.

    Args:
        x: Where they are known: one array for all, or one for each by its name.
        functions: The values of each.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        xlabel: What x is.
        ylabel: What the values are.
        levels: Named heights, drawn dashed.
        marks: Named positions on the x axis.
        logarithmic: Whether equal ratios have equal heights.
        ticks: Names of the positions 0, 1, ... of x, such as layers; every point is then marked.
        height: Of the figure (unit: logical pixels).
    """
    plot, heights = Plot(height), dict(levels or {})
    right = WIDTH - room_for([*functions, *heights])
    axes = plot.axes(44, 30 if marks or ylabel else 12, right, height - 42, "")
    inks = dict(zip(functions, CATEGORICAL * (1 + len(functions) // 5), strict=False))
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        if _ratio(functions) < 100:  # powers of ten alone would be one or two
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ends = _draw_series(axes, functions, inks, x, dotted=bool(ticks))
    axes.margins(x=0.03 if ticks else 0)
    if ticks:
        axes.set_xticks(range(len(ticks)), list(map(plain, ticks)))
    for name, level in heights.items():
        rule(axes, level, MUTED)
        ends.append((level, name, MUTED))
    for name, place in (marks or {}).items():
        mark(axes, place, name, MUTED)
    axes.set_xlabel(plain(xlabel))
    axes.set_title(
        plain(ylabel), loc="left", pad=points(10), color=MUTED.light, fontsize=points(11)
    )
    name_ends(axes, ends)
    return Illustration(plot.figure, caption, alt)


def _draw_series(
    axes: Axes,
    series: Mapping[str, Sequence[float]] | Mapping[str, np.ndarray],
    inks: Mapping[str, Ink],
    x: np.ndarray | Mapping[str, np.ndarray] | None = None,
    *,
    dotted: bool = False,
) -> list[Ending]:
    """Draw every series, against the epochs where there is no `x`; where each name belongs."""
    ends: list[Ending] = []
    for name, values in series.items():
        heights = np.asarray(values, dtype=float)
        abscissae = x[name] if isinstance(x, Mapping) else x
        if abscissae is None:
            abscissae = np.arange(1, len(heights) + 1)
        marker = "o" if (x is None or dotted) and len(heights) <= _MOST_MARKED else ""
        axes.plot(
            np.asarray(abscissae), heights, color=inks[name].light, marker=marker,
            markersize=points(5),
        )  # fmt: skip
        finite = heights[np.isfinite(heights)]
        if finite.size:
            ends.append((float(finite[-1]), name, inks[name]))
    return ends


def _spans_decades(series: Mapping[str, Sequence[float]]) -> bool:
    return _ratio(series) > 20


def _ratio(series: Mapping[str, Sequence[float]] | Mapping[str, np.ndarray]) -> float:
    """The largest number of all series over the smallest; 1 where one is not positive."""
    values = np.array([value for line in series.values() for value in line], dtype=float)
    values = values[np.isfinite(values)]
    return float(values.max() / values.min()) if values.size and values.min() > 0 else 1.0


def sweeps(
    series: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    caption: str,
    alt: str,
) -> Illustration:
    """A line for each series through its mean scores, and a dot for each single score.

    Args:
        series: For each name, {number: its scores in [0, 1]}; the numbers stand on a logarithmic
            axis.
        xlabel: What the numbers are.
        ylabel: What the scores are.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.

    Raises:
        ValueError: A series has no scores, or a number that has no logarithm.
    """
    for name, sweep in series.items():
        if not sweep or not all(sweep.values()) or min(sweep) <= 0:
            raise ValueError(f"{name!r} needs positive numbers with one score or more each")
    height = 300
    plot = Plot(height)
    axes = plot.axes(44, 30, WIDTH - room_for(list(series)), height - 42)
    axes.set_xscale("log")
    ends: list[Ending] = []
    for (name, sweep), ink in zip(series.items(), CATEGORICAL, strict=False):
        numbers = sorted(sweep)
        means = [fmean(sweep[number]) for number in numbers]
        axes.plot(numbers, means, color=ink.light)
        for number in numbers:
            scores = sweep[number]
            axes.plot([number] * len(scores), scores, "o", color=ink.light, markersize=points(5))
        ends.append((means[-1], name, ink))
    axes.set_xticks(sorted({number for sweep in series.values() for number in sweep}))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel(plain(xlabel))
    axes.set_title(
        plain(ylabel), loc="left", pad=points(10), color=MUTED.light, fontsize=points(11)
    )
    name_ends(axes, ends)
    return Illustration(plot.figure, caption, alt)


def scatter(
    coordinates: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    caption: str,
    alt: str,
    height: int = 460,
) -> Illustration:
    """A dot for each thing, coloured by its class, the class's name at their median.

    A name that would cover another steps up. Both axes have one scale. Of the classes, the first
    five are discs and the next five triangles.

    Args:
        coordinates: (n, 2).
        labels: The class number of each thing, (n,).
        class_names: The name of each class number, ten at most.
        xlabel: What the first coordinate is.
        ylabel: What the second is.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        height: Of the figure (unit: logical pixels).

    Raises:
        ValueError: Shapes do not fit, or there are more than ten classes.
    """
    _check_scatter(coordinates, labels, class_names)
    plot = Plot(height)
    axes = plot.axes(50, 10, WIDTH - 8, height - 42)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(plain(xlabel))
    axes.set_ylabel(plain(ylabel))
    names: list[_Label] = []
    for number, name in enumerate(class_names):
        members = coordinates[labels == number]
        if not len(members):
            continue
        ink = CATEGORICAL[number % len(CATEGORICAL)]
        marker = _SCATTER_MARKERS[number // len(CATEGORICAL)]
        axes.scatter(
            members[:, 0],
            members[:, 1],
            s=_SCATTER_AREA,
            color=ink.light,
            marker=marker,
            alpha=0.5,
            linewidths=0,
        )
        names.append((np.median(members, axis=0), name, ink))
    _write_labels(axes, names)
    return Illustration(plot.figure, caption, alt)


def _write_labels(axes: Axes, names: Sequence[_Label]) -> None:
    """Each name over its place, last of all, so that no dot covers it."""
    axes.apply_aspect()
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # positions are in pixels from here on
    pixel = axes.figure.dpi / LOGICAL_DPI
    taken: list[tuple[float, float, float]] = []
    for median, name, ink in sorted(names, key=lambda label: float(label[0][1])):
        x, y = axes.transData.transform(median) / pixel
        width, up = text_width(name, LABEL_PX) + 14, 0.0
        for left, low, wide in sorted(taken, key=lambda box: box[1]):
            if abs(left - x) < (wide + width) / 2 and abs(low - y - up) < _SCATTER_LINE:
                up = low + _SCATTER_LINE - y
        taken.append((x, y + up, width))
        axes.annotate(
            plain(name),
            (median[0], median[1]),
            xytext=(0, points(up)),
            textcoords="offset points",
            color=TEXT.light,
            fontsize=points(LABEL_PX),
            weight="bold",
            ha="center",
            va="center",
            bbox={"facecolor": PAPER.light, "edgecolor": ink.light, "boxstyle": "round,pad=0.25"},
        )


def _check_scatter(coordinates: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> None:
    if coordinates.ndim != 2 or coordinates.shape[1] != 2 or labels.shape != coordinates.shape[:1]:
        raise ValueError(
            f"coordinates of shape {coordinates.shape} and labels of shape {labels.shape}; "
            "a scatter needs (n, 2) and (n,)"
        )
    most = len(CATEGORICAL) * len(_SCATTER_MARKERS)
    if len(class_names) > most:
        raise ValueError(f"{len(class_names)} classes; {most} can be told apart")
