"""Maps of evidence laid over the images that they speak of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, shorten, signed_key, text_width
from internals.figures.illustration import Illustration
from internals.figures.inks import (
    BODY_PX,
    LABEL_PX,
    MUTED,
    SMALL_PX,
    TEXT,
    VERMILION,
    WIDTH,
    natural,
    signed,
)
from internals.figures.table import number, percent

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
    for row, name in enumerate(class_names):
        top = row * (height + GAP)
        canvas.text(0, top + height / 2, name, TEXT, BODY_PX, va="center_baseline")
        for column, index in enumerate(np.flatnonzero(labels == row)[:each]):
            canvas.image(left + column * pitch, top, natural(images[index]), width, height)
    return Illustration(canvas.figure, caption, alt)


LINE, ERROR_GALLERY_GAP = 13, 8
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
    slot = (WIDTH - ERROR_GALLERY_GAP * (across - 1)) / across * DEVICE
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


PERTURBED_IMAGES_GAP, LARGEST, TOP, PERTURBED_IMAGES_LINE = 10, 132, 26, 18
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
    slot = min(LARGEST, (WIDTH - left - PERTURBED_IMAGES_GAP * (count - 1)) / count) * DEVICE
    zoom = (slot // max(height, width) or slot / max(height, width)) / DEVICE
    tall, wide = height * zoom, width * zoom
    pitch = tall + PERTURBED_IMAGES_LINE + PERTURBED_IMAGES_GAP / 2
    canvas = Canvas(TOP + 3 * pitch)
    right = left + count * (wide + PERTURBED_IMAGES_GAP) - PERTURBED_IMAGES_GAP
    signed_key(canvas, 12, scale, images.shape[1], right=max(right, left + 200))
    for row, (heading, note) in enumerate(zip(HEADINGS, ("", magnified, ""), strict=True)):
        middle = TOP + row * pitch + tall / 2
        canvas.text(0, middle, heading, TEXT, LABEL_PX, va="center_baseline")
        canvas.text(0, middle + 15, note, MUTED, SMALL_PX, va="center_baseline")
    red = list(fooled) or [False] * count
    for column, image in enumerate(images):
        x = left + column * (wide + PERTURBED_IMAGES_GAP)
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


HEAT_OVERLAYS_GAP, HEAT_OVERLAYS_LARGEST, HEAT_OVERLAYS_TOP, HEAT_OVERLAYS_LINE = 10, 160, 32, 15
OPAQUE = 0.8  # of the ink where a map is strongest: the image must not vanish under it
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def overlays(
    images: Sequence[np.ndarray],
    maps: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    *,
    caption: str,
    alt: str,
    names: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
) -> Illustration:
    """A row for each of `images` (c, h, w) in [0, 1]: the image, then each of its `maps` over it.

    A map is (h, w), signed or not, under one of `titles`; amber speaks for, blue against, and full
    ink is the map's own largest magnitude, printed below it. The image beneath is grey, so that
    every colour is evidence. `names` stand under the images, `notes` under the maps. Raises
    `ValueError` when lengths or sizes differ.
    """
    _check_heat_overlays(images, maps, titles, names, notes)
    columns = 1 + len(titles)
    height, width = images[0].shape[1:]
    slot = (
        min(HEAT_OVERLAYS_LARGEST, (WIDTH - HEAT_OVERLAYS_GAP * (columns - 1)) / columns) * DEVICE
    )
    zoom = (slot // max(height, width) or slot / max(height, width)) / DEVICE
    tall, wide = height * zoom, width * zoom
    pitch = tall + HEAT_OVERLAYS_LINE * (1 + bool(notes)) + HEAT_OVERLAYS_GAP
    canvas = Canvas(HEAT_OVERLAYS_TOP + pitch * len(images) - 6)
    _key(canvas, max(320, columns * (wide + HEAT_OVERLAYS_GAP) - HEAT_OVERLAYS_GAP))
    for column, title in enumerate(["image", *titles]):
        canvas.text(
            column * (wide + HEAT_OVERLAYS_GAP), HEAT_OVERLAYS_TOP - 7, title, TEXT, LABEL_PX
        )
    for row, (image, mine) in enumerate(zip(images, maps, strict=True)):
        top = HEAT_OVERLAYS_TOP + row * pitch
        pictures = [natural(image), *(laid_over(image, one) for one in mine)]
        under = [[names[row]] if names else []]
        under += [[f"±{number(float(np.abs(one).max()))}"] for one in mine]
        for column, (pixels, words) in enumerate(zip(pictures, under, strict=True)):
            left = column * (wide + HEAT_OVERLAYS_GAP)
            words = [*words, notes[row][column - 1]] if notes and column else words
            canvas.image(left, top, pixels, wide, tall)
            canvas.frame(left, top, wide, tall)
            for line, said in enumerate(words):
                place = top + tall + 13 + HEAT_OVERLAYS_LINE * line
                canvas.text(left, place, shorten(said, wide, SMALL_PX), MUTED, SMALL_PX)
    return Illustration(canvas.figure, caption, alt)


def laid_over(image: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """RGB bytes (h, w, 3): `image` (c, h, w) in grey under the ink of `evidence` (h, w)."""
    largest = float(np.abs(evidence).max())
    # One amber and one blue, the middles of the book's signed scale; strength alone varies.
    ink = signed(np.sign(evidence)[None], 2.0).astype(float)
    grey = natural(image) @ _LUMA
    strength = OPAQUE * np.abs(evidence) / largest if largest > 0 else np.zeros(evidence.shape)
    mixed = (1 - strength[..., None]) * grey[..., None] + strength[..., None] * ink
    pixels: np.ndarray = np.rint(mixed).astype(np.uint8)
    return pixels


def _key(canvas: Canvas, right: float) -> None:
    """Both inks from full to none over a middle grey, and what they mean, ending at `right`."""
    ramp = laid_over(np.full((1, 1, 65), 0.5), np.linspace(-1, 1, 65)[None])
    canvas.text(right, 11, "for", MUTED, SMALL_PX, ha="right")
    canvas.image(right - 88, 3, ramp, 65, 8)
    canvas.text(right - 94, 11, "against", MUTED, SMALL_PX, ha="right")


def _check_heat_overlays(
    images: Sequence[np.ndarray],
    maps: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    names: Sequence[str],
    notes: Sequence[Sequence[str]],
) -> None:
    if not images or not titles:
        raise ValueError("overlays need at least one image and one title")
    for what, given in (("maps", maps), ("names", names), ("notes", notes)):
        if len(given) != len(images) and (given or what == "maps"):
            raise ValueError(f"{len(images)} images, but {len(given)} rows of {what}")
    for image, mine in zip(images, maps, strict=True):
        if len(mine) != len(titles):
            raise ValueError(f"{len(titles)} titles, but a row of {len(mine)} maps")
        for one in mine:
            if one.shape != image.shape[1:]:
                raise ValueError(f"a map of {one.shape} does not fit an image of {image.shape}")
