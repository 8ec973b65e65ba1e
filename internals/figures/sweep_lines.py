"""How a score depends on a number that was swept over decades, with its spread."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.ticker import FuncFormatter, NullLocator

from internals.figures.illustration import Illustration
from internals.figures.palette import CATEGORICAL, MUTED, WIDTH, points
from internals.figures.plots import Ending, Plot, name_ends, room_for

HEIGHT = 300


def sweeps(
    series: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    caption: str,
    alt: str,
) -> Illustration:
    """A line for each of `series` through the mean scores, and a dot for each single score.

    `series` maps a name to {number: its scores in [0, 1]}; the numbers stand on a logarithmic
    axis. Raises `ValueError` for a series without scores or a number that has no logarithm.
    """
    for name, sweep in series.items():
        if not sweep or not all(sweep.values()) or min(sweep) <= 0:
            raise ValueError(f"{name!r} needs positive numbers with one score or more each")
    plot = Plot(HEIGHT)
    axes = plot.axes(44, 30, WIDTH - room_for(list(series)), HEIGHT - 42)
    axes.set_xscale("log")
    ends: list[Ending] = []
    for (name, sweep), ink in zip(series.items(), CATEGORICAL, strict=False):
        places = sorted(sweep)
        means = [fmean(sweep[place]) for place in places]
        axes.plot(places, means, color=ink.light)
        for place in places:
            scores = sweep[place]
            axes.plot([place] * len(scores), scores, "o", color=ink.light, markersize=points(5))
        ends.append((means[-1], name, ink))
    shown = sorted({place for sweep in series.values() for place in sweep})
    axes.set_xticks(shown)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel(xlabel)
    axes.set_title(ylabel, loc="left", pad=points(10), color=MUTED.light, fontsize=points(11))
    name_ends(axes, ends)
    return Illustration(plot.figure, caption, alt)
