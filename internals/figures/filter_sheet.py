"""The kernels of a layer, seen as pictures: grey is a weight of zero."""

import numpy as np

from internals.figures.canvas import DEVICE, Canvas
from internals.figures.illustration import Illustration
from internals.figures.legends import signed_key
from internals.figures.palette import MUTED, SMALL_PX, TEXT, WIDTH, signed

KEY, LABEL, GAP, LARGEST = 24, 20, 8, 104


def filters(weights: np.ndarray, *, caption: str, alt: str, noun: str = "filter") -> Illustration:
    """Every kernel of `weights` (n, c, h, w) on one signed scale, 0 mid grey.

    Kernels over 3 input channels are drawn as colours, over 1 as signed tones; over any other
    number of channels each kernel is a column with one tile an input channel.
    """
    if weights.ndim != 4 or 0 in weights.shape:
        raise ValueError(f"kernels have shape (n, channels, height, width), not {weights.shape}")
    if weights.shape[1] in (1, 3):
        return _sheet(weights, caption, alt)
    return _matrix(weights, caption, alt, noun)


def _zoom(weights: np.ndarray, columns: int, room: float) -> float:
    """Logical pixels for one weight: whole device pixels, as large as the room allows."""
    slot = min(LARGEST, (room - GAP * (columns - 1)) / columns)
    return max(1, int(slot * DEVICE // max(weights.shape[2:]))) / DEVICE


def _sheet(weights: np.ndarray, caption: str, alt: str) -> Illustration:
    count, channels, height, width = weights.shape
    columns = min(count, 8 if count <= 32 else 16)
    zoom, scale = _zoom(weights, columns, WIDTH), float(np.abs(weights).max())
    pitch, line = width * zoom + GAP, height * zoom + LABEL
    if columns * pitch > 0.8 * WIDTH:  # a nearly full line ends at the column's edge
        pitch = (WIDTH - width * zoom) / max(1, columns - 1)
    canvas = Canvas(KEY + -(-count // columns) * line)
    signed_key(canvas, 12, scale, channels, right=max(200, (columns - 1) * pitch + width * zoom))
    for index, kernel in enumerate(weights):
        x, y = index % columns * pitch, KEY + index // columns * line
        canvas.image(x, y, signed(kernel, scale), width * zoom, height * zoom)
        canvas.text(x, y + height * zoom + 13, str(index), TEXT, SMALL_PX)
    return Illustration(canvas.figure, caption, alt)


def _matrix(weights: np.ndarray, caption: str, alt: str, noun: str) -> Illustration:
    """Kernels across, input maps down, as in Table I of the LeNet-5 paper."""
    count, sources, height, width = weights.shape
    gutter, gap, top = 78, 4, KEY + 18
    room = (WIDTH - gutter + gap) / count - gap
    zoom = max(1, int(min(60, room) * DEVICE // max(height, width))) / DEVICE
    scale = float(np.abs(weights).max())
    pitch = (width * zoom + gap, height * zoom + gap)
    canvas = Canvas(top + sources * pitch[1])
    signed_key(canvas, 12, scale, right=max(gutter + 200, gutter + count * pitch[0] - gap))
    canvas.text(0, top - 8, noun, TEXT, SMALL_PX)
    for source in range(sources):
        y = top + source * pitch[1]
        if source % _every(pitch[1], 14) == 0:
            name, middle = f"input map {source}", y + height * zoom / 2
            canvas.text(0, middle, name, MUTED, SMALL_PX, va="center")
        for index, kernel in enumerate(weights):
            tile = signed(kernel[source : source + 1], scale)
            x = gutter + index * pitch[0]
            canvas.image(x, y, tile, width * zoom, height * zoom)
    for index in range(0, count, _every(pitch[0], 22)):
        x = gutter + index * pitch[0] + width * zoom / 2
        canvas.text(x, top - 8, str(index), TEXT, SMALL_PX, ha="center")
    return Illustration(canvas.figure, caption, alt)


def _every(pitch: float, room: float) -> int:
    """How many steps of `pitch` make the room that a number needs."""
    return max(1, -int(-room // pitch))
