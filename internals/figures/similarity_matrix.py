"""How alike every layer is to every other, network by network."""

from collections.abc import Mapping, Sequence

import numpy as np

from internals.figures.canvas import Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.palette import FRAME, LABEL_PX, MUTED, SMALL_PX, TEXT, WIDTH

BREAK, KEY, LARGEST = 5, 34, 22
# From paper-like to dark: luminance falls with the value, in print and to every eye.
_STOPS = np.array([0.0, 0.35, 0.7, 1.0])
_COLOURS = np.array([(252, 243, 222), (226, 170, 92), (150, 64, 62), (38, 16, 62)], dtype=float)


def similarity(
    values: np.ndarray, groups: Mapping[str, Sequence[str]], *, caption: str, alt: str
) -> Illustration:
    """The matrix `values` (layers, layers) in [0, 1], its layers listed by network in `groups`.

    Row 0 is on top; a gap parts one network from the next. Raises `ValueError` when the matrix does
    not fit the layers.
    """
    layers = [layer for group in groups.values() for layer in group]
    if values.shape != (len(layers), len(layers)):
        raise ValueError(f"{len(layers)} layers do not fit a matrix of {values.shape}")
    left = max(text_width(name, SMALL_PX) for name in layers) + 30
    bottom = max(text_width(name, SMALL_PX) for name in layers) + 12
    breaks = BREAK * (len(groups) - 1)
    pitch = min(LARGEST, (WIDTH - left - breaks) / len(layers))
    places = _places(groups, pitch)
    canvas = Canvas(KEY + places[-1] + pitch + bottom)
    _key(canvas)
    for row, y in enumerate(places):
        for column, x in enumerate(places):
            pixels = shade(values[row : row + 1, column : column + 1])
            canvas.image(left + x, KEY + y, pixels, pitch, pitch)
    _write(canvas, groups, places, left, pitch)
    return Illustration(canvas.figure, caption, alt)


def shade(values: np.ndarray) -> np.ndarray:
    """RGB bytes (h, w, 3) of `values` (h, w) in [0, 1]: the larger, the darker."""
    ramp = [np.interp(values, _STOPS, column) for column in _COLOURS.T]
    pixels: np.ndarray = np.rint(np.stack(ramp, axis=-1)).astype(np.uint8)
    return pixels


def _places(groups: Mapping[str, Sequence[str]], pitch: float) -> list[float]:
    """Where each layer's row begins, the gaps between networks counted in."""
    places: list[float] = []
    for number, group in enumerate(groups.values()):
        places += [(len(places) + i) * pitch + number * BREAK for i in range(len(group))]
    return places


def _write(
    canvas: Canvas,
    groups: Mapping[str, Sequence[str]],
    places: Sequence[float],
    left: float,
    pitch: float,
) -> None:
    """Layer names at the left and below, the network's name along its rows."""
    end, first = KEY + places[-1] + pitch, 0
    for network, layers in groups.items():
        top, bottom = places[first], places[first + len(layers) - 1] + pitch
        middle = KEY + (top + bottom) / 2
        canvas.text(6, middle, network, MUTED, LABEL_PX, rotation=90, ha="center", va="center")
        canvas.line([(16, KEY + top), (16, KEY + bottom)], FRAME)
        for index, layer in enumerate(layers):
            place = places[first + index] + pitch / 2
            canvas.text(left - 6, KEY + place, layer, TEXT, SMALL_PX, ha="right", va="center")
            canvas.text(
                left + place, end + 5, layer, TEXT, SMALL_PX, rotation=90, ha="center", va="top"
            )
        first += len(layers)


def _key(canvas: Canvas) -> None:
    """The ramp from 0 to 1, at the top right."""
    ramp = shade(np.linspace(0, 1, 64)[None])
    canvas.text(WIDTH, 12, "1", MUTED, SMALL_PX, ha="right")
    canvas.image(WIDTH - 78, 4, ramp, 64, 8)
    canvas.text(WIDTH - 84, 12, "0", MUTED, SMALL_PX, ha="right")
