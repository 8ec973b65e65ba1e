"""What a data set looks like: a few images of each class."""

from collections.abc import Sequence

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.palette import BODY_PX, TEXT, WIDTH, natural

GAP = 4


def samples(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    caption: str,
    alt: str,
    each: int = 12,
) -> Illustration:
    """The first `each` of `images` (n, c, h, w) in [0, 1] of every class, a row a class."""
    left = max(text_width(name, BODY_PX) for name in class_names) + 16
    room, side = (WIDTH - left - GAP * (each - 1)) / each * DEVICE, max(images.shape[2:])
    zoom = (room // side or room / side) / DEVICE  # whole device pixels, unless images must shrink
    height, width = (side * zoom for side in images.shape[2:])
    pitch = (WIDTH - left - width) / max(1, each - 1)
    canvas = Canvas(len(class_names) * (height + GAP) - GAP)
    for number, name in enumerate(class_names):
        top = number * (height + GAP)
        canvas.text(0, top + height / 2, name, TEXT, BODY_PX, va="center_baseline")
        for column, index in enumerate(np.flatnonzero(labels == number)[:each]):
            canvas.image(left + column * pitch, top, natural(images[index]), width, height)
    return Illustration(canvas.figure, caption, alt)
