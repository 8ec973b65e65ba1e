"""Many things by two numbers each: where the classes lie, and which of them touch."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from internals.figures.canvas import text_width
from internals.figures.illustration import Illustration
from internals.figures.palette import (
    CATEGORICAL,
    LABEL_PX,
    LOGICAL_DPI,
    PAPER,
    TEXT,
    WIDTH,
    Ink,
    points,
)
from internals.figures.plots import Plot

_SHAPES = ("o", "^")  # five inks, twice
_DOT = 14  # area of a dot in square points
_LINE = 22  # logical pixels from one name to one that stands over it

_Name = tuple[np.ndarray, str, Ink]  # where it belongs, the name, the ink of its dots


def scatter(
    places: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    caption: str,
    alt: str,
    height: int = 460,
) -> Illustration:
    """A dot at each of `places` (n, 2), coloured by its class, the class's name at their median.

    A name that would cover another steps up. Both axes have one scale. Of the classes, the first
    five are discs and the next five triangles. Raises `ValueError` for other shapes, and for more
    than ten classes.
    """
    _check(places, labels, class_names)
    plot = Plot(height)
    axes = plot.axes(50, 10, WIDTH - 8, height - 42)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)
    names: list[_Name] = []
    for number, name in enumerate(class_names):
        mine = places[labels == number]
        if not len(mine):
            continue
        ink = CATEGORICAL[number % len(CATEGORICAL)]
        shape = _SHAPES[number // len(CATEGORICAL)]
        axes.scatter(
            mine[:, 0], mine[:, 1], s=_DOT, color=ink.light, marker=shape, alpha=0.5, linewidths=0
        )
        names.append((np.median(mine, axis=0), name, ink))
    _write(axes, names)
    return Illustration(plot.figure, caption, alt)


def _write(axes: Axes, names: Sequence[_Name]) -> None:
    """Each name over its place, last of all, so that no dot covers it."""
    axes.apply_aspect()
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())  # places are in pixels from here on
    pixel = axes.figure.dpi / LOGICAL_DPI
    taken: list[tuple[float, float, float]] = []
    for place, name, ink in sorted(names, key=lambda entry: float(entry[0][1])):
        x, y = axes.transData.transform(place) / pixel
        width, up = text_width(name, LABEL_PX) + 14, 0.0
        for left, low, wide in sorted(taken, key=lambda box: box[1]):
            if abs(left - x) < (wide + width) / 2 and abs(low - y - up) < _LINE:
                up = low + _LINE - y
        taken.append((x, y + up, width))
        axes.annotate(
            name,
            (place[0], place[1]),
            xytext=(0, points(up)),
            textcoords="offset points",
            color=TEXT.light,
            fontsize=points(LABEL_PX),
            weight="bold",
            ha="center",
            va="center",
            parse_math=False,
            bbox={"facecolor": PAPER.light, "edgecolor": ink.light, "boxstyle": "round,pad=0.25"},
        )


def _check(places: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> None:
    if places.ndim != 2 or places.shape[1] != 2 or labels.shape != places.shape[:1]:
        raise ValueError(
            f"places of shape {places.shape} and labels of shape {labels.shape}; "
            "a scatter needs (n, 2) and (n,)"
        )
    most = len(CATEGORICAL) * len(_SHAPES)
    if len(class_names) > most:
        raise ValueError(f"{len(class_names)} classes; {most} can be told apart")
