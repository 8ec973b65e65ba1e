"""Images: samples of a data set, mistakes, perturbations, and heat maps laid over images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from internals.figures.canvas import Canvas, shorten, text_width, wrap
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
from internals.figures.tiles import (
    LINE,
    RAMP,
    RAMP_HEIGHT,
    draw_tile,
    signed_key,
    tile_slot,
    tile_zoom,
)

ARROW = "→"
OPAQUE = 0.8  # of the ink where a map is strongest: the image must not vanish under it

_MISTAKE_LINE = 13  # logical pixels from one line below a mistake to the next
_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def samples(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    caption: str,
    alt: str,
    each: int = 12,
) -> Illustration:
    """A few images of every class, a row a class.

    Args:
        images: (n, c, h, w) in [0, 1].
        labels: The class number of each image.
        class_names: The name of each class number.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        each: How many of each class: the first ones.
    """
    gap, left = 4, max(text_width(name, BODY_PX) for name in class_names) + 16
    zoom = tile_zoom(images.shape[2:], tile_slot(each, gap=gap, left=left))
    height, width = (side * zoom for side in images.shape[2:])
    pitch = (WIDTH - left - width) / max(1, each - 1)
    canvas = Canvas(len(class_names) * (height + gap) - gap)
    for row, name in enumerate(class_names):
        top = row * (height + gap)
        canvas.text(0, top + height / 2, name, TEXT, BODY_PX, va="center_baseline")
        for column, index in enumerate(np.flatnonzero(labels == row)[:each]):
            canvas.image(left + column * pitch, top, natural(images[index]), width, height)
    return Illustration(canvas.figure, caption, alt)


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
    """Images with the class that they have and the one that they are taken for.

    Args:
        images: (n, c, h, w) in [0, 1].
        true: The class of each image.
        predicted: What the network takes it for.
        confidence: The probability of that, in [0, 1].
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        ids: Image ids to print.
        total: How many mistakes there are in all, where not every one is shown.

    Raises:
        ValueError: The lists differ in length.
    """
    mistakes = _mistakes(images, true, predicted, confidence, ids)
    short = all(text_width(mistake.inline, SMALL_PX) <= 56 for mistake in mistakes)
    side = max(images.shape[2:])
    across = 9 if short and side <= 46 else 5
    zoom = tile_zoom(images.shape[2:], tile_slot(across, gap=8))
    height, width = images.shape[2] * zoom, images.shape[3] * zoom
    pitch = (WIDTH - width) / (across - 1)
    lines = 3 if len(ids) or not short else 2
    line_height = height + _MISTAKE_LINE * lines + 14
    partial = total is not None and total > len(images)
    canvas = Canvas(-(-len(images) // across) * line_height - 8 + (20 if partial else 0))
    for index, mistake in enumerate(mistakes):
        x, y = index % across * pitch, index // across * line_height
        draw_tile(canvas, x, y, natural(mistake.image), width, height)
        label = _label_short if short else _label_long
        label(canvas, mistake, x, y + height + _MISTAKE_LINE, width)
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
    fields = zip(images, true, predicted, confidence, labels, strict=True)
    return [_Mistake(*mistake) for mistake in fields]


def _label_short(canvas: Canvas, mistake: _Mistake, x: float, y: float, width: float) -> None:
    """Both classes on one line."""
    start = f"{mistake.true} {ARROW}"
    canvas.text(x, y, start, TEXT, SMALL_PX)
    indent = text_width(start + " ", SMALL_PX) + 4
    canvas.text(x + indent, y, mistake.predicted, VERMILION, SMALL_PX, weight="bold")
    canvas.text(x, y + _MISTAKE_LINE, percent(mistake.confidence, 0), MUTED, SMALL_PX)
    canvas.text(x, y + 2 * _MISTAKE_LINE, mistake.label, MUTED, SMALL_PX)


def _label_long(canvas: Canvas, mistake: _Mistake, x: float, y: float, width: float) -> None:
    """A line for each class, the image id beside the confidence."""
    canvas.text(x, y, shorten(mistake.true, width, SMALL_PX), TEXT, SMALL_PX)
    guess = shorten(f"{ARROW} {mistake.predicted}", width, SMALL_PX)
    canvas.text(x, y + _MISTAKE_LINE, guess, VERMILION, SMALL_PX)
    canvas.text(x, y + 2 * _MISTAKE_LINE, percent(mistake.confidence, 0), MUTED, SMALL_PX)
    canvas.text(x + width, y + 2 * _MISTAKE_LINE, mistake.label, MUTED, SMALL_PX, ha="right")


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
    """A column for each image: the image, what is added to it, and the sum.

    The differences share one signed scale, whose end is the largest of them; how many times it is
    magnified against the images stands beside the row.

    Args:
        images: (n, c, h, w) in [0, 1].
        changed: The images after the change, of the same shape.
        before: What each image is taken for.
        after: What it is taken for after the change.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        fooled: Whether to print `after` in colour, for each image.

    Raises:
        ValueError: Lengths or shapes differ.
    """
    _check_perturbations(images, changed, before, after, fooled)
    headings, top, gap = ("image", "added", "sum"), 26, 10
    added = changed - images
    scale = float(np.abs(added).max())
    magnified = f"× {number(1 / scale)}" if scale else ""
    left = max(text_width(name, LABEL_PX) for name in (*headings, magnified)) + 14
    count = len(images)
    zoom = tile_zoom(images.shape[2:], tile_slot(count, gap=gap, left=left, largest=132))
    height, width = (side * zoom for side in images.shape[2:])
    pitch = height + 18 + gap / 2
    canvas = Canvas(top + 3 * pitch)
    right = left + count * (width + gap) - gap
    signed_key(canvas, 12, scale, images.shape[1], right=max(right, left + 200))
    for row, (heading, note) in enumerate(zip(headings, ("", magnified, ""), strict=True)):
        middle = top + row * pitch + height / 2
        canvas.text(0, middle, heading, TEXT, LABEL_PX, va="center_baseline")
        canvas.text(0, middle + 15, note, MUTED, SMALL_PX, va="center_baseline")
    coloured = list(fooled) or [False] * count
    for column, image in enumerate(images):
        x = left + column * (width + gap)
        pictures = (natural(image), signed(added[column], scale), natural(changed[column]))
        inks = (MUTED, MUTED, VERMILION if coloured[column] else MUTED)
        classes = (before[column], "", after[column])
        for row, (pixels, ink, words) in enumerate(zip(pictures, inks, classes, strict=True)):
            below = [shorten(words, width, SMALL_PX)]
            draw_tile(canvas, x, top + row * pitch, pixels, width, height, below, ink)
    return Illustration(canvas.figure, caption, alt)


def _check_perturbations(
    images: np.ndarray,
    changed: np.ndarray,
    before: Sequence[str],
    after: Sequence[str],
    fooled: Sequence[bool],
) -> None:
    if not len(images) or images.shape != changed.shape:
        raise ValueError(f"images of {images.shape} and of {changed.shape} cannot be compared")
    for name, values in (("before", before), ("after", after), ("fooled", fooled)):
        if len(values) != len(images) and (len(values) or name != "fooled"):
            raise ValueError(f"{len(images)} images, but {len(values)} of {name}")


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
    """A row for each image: the image, then heat maps laid over it.

    Amber speaks for, blue against, and full ink is the map's own largest magnitude, printed below
    it. The image beneath is grey, so that every colour is the map's.

    Args:
        images: (c, h, w) in [0, 1] each, all of one size.
        maps: For each image a row of maps (h, w), signed or not.
        titles: The name of each column of maps.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        names: Words under each image, on as many lines as they need.
        notes: Words under each map, a row an image.

    Raises:
        ValueError: Lengths or sizes differ.
    """
    _check_overlays(images, maps, titles, names, notes)
    columns, gap = 1 + len(titles), 10
    zoom = tile_zoom(images[0].shape[1:], tile_slot(columns, gap=gap, largest=160))
    height, width = (side * zoom for side in images[0].shape[1:])
    headings = [wrap(title, width, LABEL_PX) for title in ["image", *titles]]
    first = 32 + LINE * (max(map(len, headings)) - 1)
    named = [wrap(name, width, SMALL_PX) for name in names] or [[""]] * len(images)
    pitch = height + LINE * max(1 + bool(notes), *map(len, named)) + gap
    canvas = Canvas(first + pitch * len(images) - 6)
    _overlay_key(canvas, max(320, columns * (width + gap) - gap))
    for column, heading in enumerate(headings):
        for line, words in enumerate(reversed(heading)):
            canvas.text(column * (width + gap), first - 7 - LINE * line, words, TEXT, LABEL_PX)
    for row, (image, heat_maps) in enumerate(zip(images, maps, strict=True)):
        pictures = [natural(image), *(blended(image, heat_map) for heat_map in heat_maps)]
        below = [named[row]]
        below += [[f"±{number(float(np.abs(heat_map).max()))}"] for heat_map in heat_maps]
        for column, (pixels, words) in enumerate(zip(pictures, below, strict=True)):
            if notes and column:
                words = [*words, shorten(notes[row][column - 1], width, SMALL_PX)]
            left, top = column * (width + gap), first + row * pitch
            draw_tile(canvas, left, top, pixels, width, height, words)
    return Illustration(canvas.figure, caption, alt)


def blended(image: np.ndarray, heat_map: np.ndarray) -> np.ndarray:
    """An image in grey under the ink of a heat map.

    Args:
        image: (c, h, w) in [0, 1].
        heat_map: (h, w), signed.

    Returns:
        RGB bytes (h, w, 3).
    """
    largest = float(np.abs(heat_map).max())
    # One amber and one blue, the middles of the book's signed scale; strength alone varies.
    ink = signed(np.sign(heat_map)[None], 2.0).astype(float)
    grey = natural(image) @ _LUMA
    strength = OPAQUE * np.abs(heat_map) / largest if largest > 0 else np.zeros(heat_map.shape)
    mixed = (1 - strength[..., None]) * grey[..., None] + strength[..., None] * ink
    pixels: np.ndarray = np.rint(mixed).astype(np.uint8)
    return pixels


def _overlay_key(canvas: Canvas, right: float) -> None:
    """Both inks from full to none over a middle grey, and what they mean, ending at `right`."""
    ramp = blended(np.full((1, 1, RAMP), 0.5), np.linspace(-1, 1, RAMP)[None])
    canvas.text(right, 11, "for", MUTED, SMALL_PX, ha="right")
    canvas.image(right - 88, 3, ramp, RAMP, RAMP_HEIGHT)
    canvas.text(right - 94, 11, "against", MUTED, SMALL_PX, ha="right")


def _check_overlays(
    images: Sequence[np.ndarray],
    maps: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    names: Sequence[str],
    notes: Sequence[Sequence[str]],
) -> None:
    if not images or not titles:
        raise ValueError("overlays need at least one image and one title")
    for name, rows in (("maps", maps), ("names", names), ("notes", notes)):
        if len(rows) != len(images) and (rows or name == "maps"):
            raise ValueError(f"{len(images)} images, but {len(rows)} rows of {name}")
    for image, row in zip(images, maps, strict=True):
        if len(row) != len(titles):
            raise ValueError(f"{len(titles)} titles, but a row of {len(row)} maps")
        for heat_map in row:
            if heat_map.shape != image.shape[1:]:
                raise ValueError(
                    f"a map of {heat_map.shape} does not fit an image of {image.shape}"
                )
