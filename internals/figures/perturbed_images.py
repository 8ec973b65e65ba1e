"""An image, what an adversary adds to it, and the sum."""

from collections.abc import Sequence

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, shorten, text_width
from internals.figures.illustration import Illustration
from internals.figures.legends import signed_key
from internals.figures.numerals import number
from internals.figures.palette import (
    LABEL_PX,
    MUTED,
    SMALL_PX,
    TEXT,
    VERMILION,
    WIDTH,
    natural,
    signed,
)

GAP, LARGEST, TOP, LINE = 10, 132, 26, 18
HEADINGS = ("image", "added", "sum")


def perturbations(
    images: np.ndarray,
    changed: np.ndarray,
    before: Sequence[str],
    after: Sequence[str],
    *,
    caption: str,
    alt: str,
    fooled: Sequence[bool] = (),
) -> Illustration:
    """A column for each of `images` (n, c, h, w) in [0, 1]: it, `changed` minus it, and `changed`.

    The differences share one signed scale, whose end is the largest of them; how many times it is
    magnified against the images stands beside the row. `before` and `after` say under an image
    what it is taken for, in colour where `fooled`. Raises `ValueError` when lengths differ.
    """
    _check(images, changed, before, after, fooled)
    added = changed - images
    scale = float(np.abs(added).max())
    magnified = f"× {number(1 / scale)}" if scale else ""
    left = max(text_width(name, LABEL_PX) for name in (*HEADINGS, magnified)) + 14
    count, (height, width) = len(images), images.shape[2:]
    slot = min(LARGEST, (WIDTH - left - GAP * (count - 1)) / count) * DEVICE
    zoom = (slot // max(height, width) or slot / max(height, width)) / DEVICE
    tall, wide = height * zoom, width * zoom
    pitch = tall + LINE + GAP / 2
    canvas = Canvas(TOP + 3 * pitch)
    right = left + count * (wide + GAP) - GAP
    signed_key(canvas, 12, scale, images.shape[1], right=max(right, left + 200))
    for row, (heading, note) in enumerate(zip(HEADINGS, ("", magnified, ""), strict=True)):
        middle = TOP + row * pitch + tall / 2
        canvas.text(0, middle, heading, TEXT, LABEL_PX, va="center_baseline")
        canvas.text(0, middle + 15, note, MUTED, SMALL_PX, va="center_baseline")
    red = list(fooled) or [False] * count
    for column, image in enumerate(images):
        x = left + column * (wide + GAP)
        pictures = (natural(image), signed(added[column], scale), natural(changed[column]))
        inks = (MUTED, MUTED, VERMILION if red[column] else MUTED)
        said = (before[column], "", after[column])
        for row, (pixels, ink, words) in enumerate(zip(pictures, inks, said, strict=True)):
            y = TOP + row * pitch
            canvas.image(x, y, pixels, wide, tall)
            canvas.frame(x, y, wide, tall)
            canvas.text(x, y + tall + 13, shorten(words, wide, SMALL_PX), ink, SMALL_PX)
    return Illustration(canvas.figure, caption, alt)


def _check(
    images: np.ndarray,
    changed: np.ndarray,
    before: Sequence[str],
    after: Sequence[str],
    fooled: Sequence[bool],
) -> None:
    if not len(images) or images.shape != changed.shape:
        raise ValueError(f"images of {images.shape} and of {changed.shape} cannot be compared")
    for what, given in (("before", before), ("after", after), ("fooled", fooled)):
        if len(given) != len(images) and (len(given) or what != "fooled"):
            raise ValueError(f"{len(images)} images, but {len(given)} of {what}")
