"""How a network learned, and functions of one variable, with their names on the lines."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from internals.figures.illustration import Illustration
from internals.figures.numerals import percent
from internals.figures.palette import BLUE, CATEGORICAL, MUTED, VERMILION, WIDTH, Ink, points
from internals.figures.plots import Ending, Plot, mark, name_ends, room_for, rule

DOTS = 40  # up to as many points, each is marked; more would only thicken the line


def curves(
    *,
    loss: Mapping[str, Sequence[float]],
    accuracy: Mapping[str, Sequence[float]],
    best: int | None = None,
    references: Mapping[str, float] | None = None,
    caption: str,
    alt: str,
) -> Illustration:
    """A training run: loss on the left, accuracy in [0, 1] on the right, by epoch from 1.

    `loss` and `accuracy` map a name ("train", "validation") to one number an epoch; the same name
    has the same colour on both sides. `best` is the epoch that was kept, `references` are levels
    of accuracy to compare with, such as the paper's and the test set's.
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
    left_ends, right_ends = _draw(left, loss, inks), _draw(right, accuracy, inks)
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
    """The `functions` of `x` in one pair of axes, each named at its right end.

    `x` is one for all, or one for each by its name. `levels` are named heights drawn dashed,
    `marks` named places on the x axis; with `logarithmic` equal ratios have equal heights. `ticks`
    name the places 0, 1, ... of x, such as layers, and then every point is marked.
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
    ends = _draw(axes, functions, inks, x, dotted=bool(ticks))
    axes.margins(x=0.03 if ticks else 0)
    if ticks:
        axes.set_xticks(range(len(ticks)), ticks)
    for name, level in heights.items():
        rule(axes, level, MUTED)
        ends.append((level, name, MUTED))
    for name, place in (marks or {}).items():
        mark(axes, place, name, MUTED)
    axes.set_xlabel(xlabel)
    axes.set_title(ylabel, loc="left", pad=points(10), color=MUTED.light, fontsize=points(11))
    name_ends(axes, ends)
    return Illustration(plot.figure, caption, alt)


def _draw(
    axes: Axes,
    series: Mapping[str, Sequence[float]] | Mapping[str, np.ndarray],
    inks: Mapping[str, Ink],
    x: np.ndarray | Mapping[str, np.ndarray] | None = None,
    *,
    dotted: bool = False,
) -> list[Ending]:
    """Draw every series (against the epochs, if there is no `x`) and say where its name belongs."""
    ends: list[Ending] = []
    for name, values in series.items():
        heights = np.asarray(values, dtype=float)
        mine = x[name] if isinstance(x, Mapping) else x
        places = np.arange(1, len(heights) + 1) if mine is None else np.asarray(mine)
        dots = "o" if (x is None or dotted) and len(heights) <= DOTS else ""
        axes.plot(places, heights, color=inks[name].light, marker=dots, markersize=points(5))
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
