"""The kernels of a layer, seen as pictures: grey is a weight of zero."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, signed_key, text_width
from internals.figures.illustration import Illustration
from internals.figures.inks import LABEL_PX, MUTED, SMALL_PX, TEXT, WIDTH, natural, signed
from internals.figures.table import TIMES, number

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


LEFT, LAYER_MAPS_GAP, SPACE, LEAST = 140, 5, 14, 34
RANGE = 8  # the largest ratio of map sizes that is drawn in true proportion


@dataclass(frozen=True)
class LayerMaps:
    """What one layer says of one image: `maps` (c, h, w), or (c,) for a layer without positions."""

    name: str
    maps: np.ndarray

    @property
    def grid(self) -> np.ndarray:
        """The maps as (c, h, w)."""
        return self.maps.reshape(len(self.maps), 1, 1) if self.maps.ndim == 1 else self.maps

    @property
    def shape(self) -> str:
        """The shape in words: 6 maps of 28 x 28, or 84 units."""
        count, height, width = self.grid.shape
        return (
            f"{count} units" if height == width == 1 else f"{count} maps, {height} {TIMES} {width}"
        )


def feature_maps(
    image: np.ndarray, layers: Sequence[LayerMaps], *, caption: str, alt: str, most: int = 16
) -> Illustration:
    """`image` (c, h, w) in [0, 1], then a row of maps a layer, one scale a layer.

    Layers with negative values are drawn on the signed scale, 0 mid grey; others from black (0)
    to white. Sizes are in true proportion where the largest map is at most 8 times the smallest.
    At most `most` maps are shown a layer, and no more than fit.
    """
    sides = [max(layer.grid.shape[1:]) for layer in layers if max(layer.grid.shape[1:]) > 1]
    largest = max(sides, default=1)
    proportional = largest <= RANGE * min(sides, default=1)
    slot = (WIDTH - LEFT) * DEVICE // 8 - LAYER_MAPS_GAP * DEVICE
    zooms = [_zoom(layer, slot, largest if proportional else 0) for layer in layers]
    image_zoom = zooms[0] if proportional and zooms else slot / DEVICE / max(image.shape[1:])
    if max(image.shape[1:]) * image_zoom > 100:
        image_zoom = slot / DEVICE / max(image.shape[1:])
    heights = [max(LEAST, _tall(layer, zoom)) for layer, zoom in zip(layers, zooms, strict=True)]
    first = image.shape[1] * image_zoom
    canvas = Canvas(first + sum(heights) + SPACE * len(layers) + 2)
    _name(canvas, 0, "image", f"{image.shape[1]} {TIMES} {image.shape[2]} pixels", "")
    canvas.image(LEFT, 0, natural(image), image.shape[2] * image_zoom, first)
    top = first + SPACE
    for layer, zoom, height in zip(layers, zooms, heights, strict=True):
        _draw_layer_maps(canvas, layer, zoom, top, most)
        top += height + SPACE
    return Illustration(canvas.figure, caption, alt)


def _zoom(layer: LayerMaps, slot: float, largest: int) -> float:
    """Logical pixels for one unit; `largest` is the common yardstick, 0 for none."""
    count, height, width = layer.grid.shape
    if height == width == 1:
        return max(1.0, min(20.0, (WIDTH - LEFT) * DEVICE // count / DEVICE))
    side = largest or max(height, width)
    return (slot // side or slot / side) / DEVICE


def _tall(layer: LayerMaps, zoom: float) -> float:
    return 20 if layer.grid.shape[1:] == (1, 1) else layer.grid.shape[1] * zoom


def _draw_layer_maps(canvas: Canvas, layer: LayerMaps, zoom: float, top: float, most: int) -> None:
    maps = layer.grid
    scale = float(np.abs(maps).max())
    negative = bool((maps < 0).any())
    vector = maps.shape[1:] == (1, 1)
    width, height, gap = maps.shape[2] * zoom, _tall(layer, zoom), 0 if vector else LAYER_MAPS_GAP
    fits = int((WIDTH - LEFT + gap) // (width + gap))
    shown = min(len(maps), fits if vector else min(fits, most))
    extent = f"±{number(scale)}" if negative else f"0 to {number(scale)}"
    words = layer.shape if shown == len(maps) else f"{shown} of {layer.shape}"
    _name(canvas, top, layer.name, words, extent)
    for index in range(shown):
        tile = maps[index : index + 1]
        pixels = signed(tile, scale) if negative else natural(tile / (scale or 1))
        x = LEFT + index * (width + gap)
        canvas.image(x, top, pixels, width, height)
        if not vector:
            canvas.frame(x, top, width, height)
    if vector:
        canvas.frame(LEFT, top, shown * width, height)


def _name(canvas: Canvas, top: float, name: str, shape: str, extent: str) -> None:
    canvas.text(0, top + 10, name, TEXT, LABEL_PX, weight="bold")
    canvas.text(LEFT - 12, top + 10, extent, MUTED, SMALL_PX, ha="right")
    canvas.text(0, top + 24, shape, MUTED, SMALL_PX)


FILTER_SHEET_KEY, LABEL, FILTER_SHEET_GAP, FILTER_SHEET_LARGEST = 24, 20, 8, 104


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


def _zoom_filter_sheet(weights: np.ndarray, columns: int, room: float) -> float:
    """Logical pixels for one weight: whole device pixels, as large as the room allows."""
    slot = min(FILTER_SHEET_LARGEST, (room - FILTER_SHEET_GAP * (columns - 1)) / columns)
    return max(1, int(slot * DEVICE // max(weights.shape[2:]))) / DEVICE


def _sheet(weights: np.ndarray, caption: str, alt: str) -> Illustration:
    count, channels, height, width = weights.shape
    columns = min(count, 8 if count <= 32 else 16)
    zoom, scale = _zoom_filter_sheet(weights, columns, WIDTH), float(np.abs(weights).max())
    pitch, line = width * zoom + FILTER_SHEET_GAP, height * zoom + LABEL
    if columns * pitch > 0.8 * WIDTH:  # a nearly full line ends at the column's edge
        pitch = (WIDTH - width * zoom) / max(1, columns - 1)
    canvas = Canvas(FILTER_SHEET_KEY + -(-count // columns) * line)
    signed_key(canvas, 12, scale, channels, right=max(200, (columns - 1) * pitch + width * zoom))
    for index, kernel in enumerate(weights):
        x, y = index % columns * pitch, FILTER_SHEET_KEY + index // columns * line
        canvas.image(x, y, signed(kernel, scale), width * zoom, height * zoom)
        canvas.text(x, y + height * zoom + 13, str(index), TEXT, SMALL_PX)
    return Illustration(canvas.figure, caption, alt)


def _matrix(weights: np.ndarray, caption: str, alt: str, noun: str) -> Illustration:
    """Kernels across, input maps down, as in Table I of the LeNet-5 paper."""
    count, sources, height, width = weights.shape
    gutter, gap, top = 78, 4, FILTER_SHEET_KEY + 18
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
