"""The images that a network gets wrong, with what it took them for and how sure it was."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, shorten, text_width
from internals.figures.illustration import Illustration
from internals.figures.numerals import percent
from internals.figures.palette import MUTED, SMALL_PX, TEXT, VERMILION, WIDTH, natural

LINE, GAP = 13, 8
ARROW = "→"


@dataclass(frozen=True)
class _Mistake:
    image: np.ndarray
    true: str
    predicted: str
    confidence: float
    label: str  # the image id, or nothing

    @property
    def inline(self) -> str:
        return f"{self.true} {ARROW} {self.predicted}"


def gallery(
    images: np.ndarray,
    true: Sequence[str],
    predicted: Sequence[str],
    confidence: Sequence[float],
    *,
    caption: str,
    alt: str,
    ids: Sequence[int] = (),
    total: int | None = None,
) -> Illustration:
    """Each of `images` (n, c, h, w) over "true → predicted" and the `confidence` in [0, 1].

    `total` is how many mistakes there are in all, where not every one is shown; `ids` are image
    ids to print. Raises `ValueError` when the lists differ in length.
    """
    mistakes = _mistakes(images, true, predicted, confidence, ids)
    short = all(text_width(mistake.inline, SMALL_PX) <= 56 for mistake in mistakes)
    side = max(images.shape[2:])
    across = 9 if short and side <= 46 else 5
    slot = (WIDTH - GAP * (across - 1)) / across * DEVICE
    zoom = (slot // side or slot / side) / DEVICE
    height, width = images.shape[2] * zoom, images.shape[3] * zoom
    pitch = (WIDTH - width) / (across - 1)
    lines = 3 if len(ids) or not short else 2
    line_height = height + LINE * lines + 14
    partial = total is not None and total > len(images)
    canvas = Canvas(-(-len(images) // across) * line_height - 8 + (20 if partial else 0))
    for index, mistake in enumerate(mistakes):
        x, y = index % across * pitch, index // across * line_height
        canvas.image(x, y, natural(mistake.image), width, height)
        canvas.frame(x, y, width, height)
        (_tell_short if short else _tell_long)(canvas, mistake, x, y + height + LINE, width)
    if partial:
        words = f"{len(images):,} of {total:,} shown"
        canvas.text(0, canvas.height - 5, words, MUTED, SMALL_PX)
    return Illustration(canvas.figure, caption, alt)


def _mistakes(
    images: np.ndarray,
    true: Sequence[str],
    predicted: Sequence[str],
    confidence: Sequence[float],
    ids: Sequence[int],
) -> list[_Mistake]:
    lengths = {len(images), len(true), len(predicted), len(confidence), len(ids) or len(images)}
    if len(lengths) > 1:
        raise ValueError("images, true, predicted, confidence and ids must be equally long")
    labels = [f"#{image}" for image in ids] if len(ids) else [""] * len(images)
    told = zip(images, true, predicted, confidence, labels, strict=True)
    return [_Mistake(*mistake) for mistake in told]


def _tell_short(canvas: Canvas, mistake: _Mistake, x: float, y: float, width: float) -> None:
    """Both classes on one line."""
    start = f"{mistake.true} {ARROW}"
    canvas.text(x, y, start, TEXT, SMALL_PX)
    indent = text_width(start + " ", SMALL_PX) + 4
    canvas.text(x + indent, y, mistake.predicted, VERMILION, SMALL_PX, weight="bold")
    canvas.text(x, y + LINE, percent(mistake.confidence, 0), MUTED, SMALL_PX)
    canvas.text(x, y + 2 * LINE, mistake.label, MUTED, SMALL_PX)


def _tell_long(canvas: Canvas, mistake: _Mistake, x: float, y: float, width: float) -> None:
    """A line for each class, the image id beside the confidence."""
    canvas.text(x, y, shorten(mistake.true, width, SMALL_PX), TEXT, SMALL_PX)
    guess = shorten(f"{ARROW} {mistake.predicted}", width, SMALL_PX)
    canvas.text(x, y + LINE, guess, VERMILION, SMALL_PX)
    canvas.text(x, y + 2 * LINE, percent(mistake.confidence, 0), MUTED, SMALL_PX)
    canvas.text(x + width, y + 2 * LINE, mistake.label, MUTED, SMALL_PX, ha="right")
