"""The same thing seen in several ways, on one scale."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.legends import signed_key
from internals.figures.numerals import number
from internals.figures.palette import LABEL_PX, MUTED, SMALL_PX, TEXT, WIDTH, natural, signed

GAP, LARGEST, KEY, LINE = 10, 160, 26, 15

Rows = Sequence[Sequence[np.ndarray]]


@dataclass(frozen=True)
class _Grid:
    """Where the pictures of a comparison stand, in logical pixels."""

    left: float  # of the first picture: row names stand before it
    top: float
    tile: tuple[float, float]  # height, width
    pitch: tuple[float, float]  # down, across

    def corner(self, row: int, column: int) -> tuple[float, float]:
        return self.left + column * self.pitch[1], self.top + row * self.pitch[0]


def comparison(
    pictures: Rows,
    titles: Sequence[str],
    *,
    caption: str,
    alt: str,
    images: Sequence[np.ndarray] = (),
    names: Sequence[str] = (),
    notes: Sequence[Sequence[str]] = (),
    shared: bool = True,
) -> Illustration:
    """Rows of signed `pictures` (c, h, w), a column for each of `titles`; 0 is mid grey.

    `images` in [0, 1], one a row, come first, `names` before them. All pictures share one scale,
    or with `shared=False` each has its own, printed below, where `notes` (such as a rank
    correlation) stand too. Raises `ValueError` when lengths differ.
    """
    _check(pictures, titles, images, names, notes)
    headings = ["image"] * min(1, len(images)) + list(titles)
    lines = min(1, len(notes)) + (not shared)
    grid = _arrange(pictures[0][0].shape[1:], headings, names, lines * LINE, KEY * shared)
    canvas = Canvas(grid.corner(len(pictures), 0)[1] - 6)
    largest = float(max(np.abs(picture).max() for row in pictures for picture in row))
    if shared:
        right = max(240, grid.corner(0, len(headings) - 1)[0] + grid.tile[1])
        signed_key(canvas, 11, largest, len(pictures[0][0]), right=right)
    _write(canvas, grid, headings, names)
    shift = len(headings) - len(titles)
    for index, row in enumerate(pictures):
        for image in images[index : index + 1]:
            _draw(canvas, grid, (index, 0), natural(image))
        for column, picture in enumerate(row):
            scale = largest if shared else float(np.abs(picture).max())
            under = [] if shared else [f"±{number(scale)}"]
            under += [line[column] for line in notes[index : index + 1]]
            _draw(canvas, grid, (index, column + shift), signed(picture, scale), under)
    return Illustration(canvas.figure, caption, alt)


def _arrange(
    size: tuple[int, ...], headings: Sequence[str], names: Sequence[str], below: float, key: float
) -> _Grid:
    left = max((text_width(name, LABEL_PX) for name in names), default=-12) + 12
    slot = min(LARGEST, (WIDTH - left - GAP * (len(headings) - 1)) / len(headings)) * DEVICE
    zoom = (slot // max(size) or slot / max(size)) / DEVICE
    height, width = size[0] * zoom, size[1] * zoom
    across = max(width, *(text_width(title, LABEL_PX) for title in headings)) + GAP
    return _Grid(left, 20 + key, (height, width), (height + below + GAP, across))


def _write(canvas: Canvas, grid: _Grid, headings: Sequence[str], names: Sequence[str]) -> None:
    for column, title in enumerate(headings):
        canvas.text(grid.corner(0, column)[0], grid.top - 7, title, TEXT, LABEL_PX)
    for index, name in enumerate(names):
        middle = grid.corner(index, 0)[1] + grid.tile[0] / 2
        canvas.text(0, middle, name, TEXT, LABEL_PX, va="center")


def _draw(
    canvas: Canvas,
    grid: _Grid,
    place: tuple[int, int],
    pixels: np.ndarray,
    under: Sequence[str] = (),
) -> None:
    (x, y), (height, width) = grid.corner(*place), grid.tile
    canvas.image(x, y, pixels, width, height)
    canvas.frame(x, y, width, height)
    for line, words in enumerate(under):
        canvas.text(x, y + height + 13 + LINE * line, words, MUTED, SMALL_PX)


def _check(
    pictures: Rows,
    titles: Sequence[str],
    images: Sequence[np.ndarray],
    names: Sequence[str],
    notes: Sequence[Sequence[str]],
) -> None:
    if not pictures or not titles:
        raise ValueError("a comparison has at least one row and one title")
    for what, given in (("images", images), ("names", names), ("notes", notes)):
        if len(given) not in (0, len(pictures)):
            raise ValueError(f"{len(pictures)} rows of pictures, but {len(given)} {what}")
    for row in pictures:
        if len(row) != len(titles):
            raise ValueError(f"{len(titles)} titles, but a row of {len(row)} pictures")
