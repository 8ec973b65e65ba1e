"""Maps of evidence laid over the images that they speak of."""

from collections.abc import Sequence

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, shorten
from internals.figures.illustration import Illustration
from internals.figures.numerals import number
from internals.figures.palette import LABEL_PX, MUTED, SMALL_PX, TEXT, WIDTH, natural, signed

GAP, LARGEST, TOP, LINE = 10, 160, 32, 15
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
    _check(images, maps, titles, names, notes)
    columns = 1 + len(titles)
    height, width = images[0].shape[1:]
    slot = min(LARGEST, (WIDTH - GAP * (columns - 1)) / columns) * DEVICE
    zoom = (slot // max(height, width) or slot / max(height, width)) / DEVICE
    tall, wide = height * zoom, width * zoom
    pitch = tall + LINE * (1 + bool(notes)) + GAP
    canvas = Canvas(TOP + pitch * len(images) - 6)
    _key(canvas, max(320, columns * (wide + GAP) - GAP))
    for column, title in enumerate(["image", *titles]):
        canvas.text(column * (wide + GAP), TOP - 7, title, TEXT, LABEL_PX)
    for row, (image, mine) in enumerate(zip(images, maps, strict=True)):
        top = TOP + row * pitch
        pictures = [natural(image), *(laid_over(image, one) for one in mine)]
        under = [[names[row]] if names else []]
        under += [[f"±{number(float(np.abs(one).max()))}"] for one in mine]
        for column, (pixels, words) in enumerate(zip(pictures, under, strict=True)):
            left = column * (wide + GAP)
            words = [*words, notes[row][column - 1]] if notes and column else words
            canvas.image(left, top, pixels, wide, tall)
            canvas.frame(left, top, wide, tall)
            for line, said in enumerate(words):
                place = top + tall + 13 + LINE * line
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


def _check(
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
