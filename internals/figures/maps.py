"""Maps of numbers: projections compared, a layer's feature maps, a layer's filters.

Signed numbers are symmetric about zero, which is mid grey.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from internals.figures.canvas import DEVICE, Canvas, text_width
from internals.figures.illustration import Illustration
from internals.figures.inks import LABEL_PX, MUTED, SMALL_PX, TEXT, WIDTH, natural, signed
from internals.figures.table import TIMES, number, with_minus
from internals.figures.tiles import LINE, draw_tile, signed_key, tile_slot, tile_zoom

Rows = Sequence[Sequence[np.ndarray]]

_LEFT, _MAP_GAP = 140, 5  # feature maps: logical pixels for the layers' names, between two maps
_PROPORTIONAL = 8  # the largest ratio of map sizes that is drawn in true proportion
# Filters: logical pixels for the key, and between two kernels.
_FILTER_KEY, _FILTER_GAP = 24, 8


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
    """Rows of signed pictures side by side.

    Args:
        pictures: A row of pictures (c, h, w) each, all of one size.
        titles: The name of each column.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        images: Images in [0, 1], one a row, which come first.
        names: The name of each row.
        notes: Words under each picture, such as a rank correlation, a row a row.
        shared: Whether all pictures have one scale; otherwise each has its own, printed below it.

    Raises:
        ValueError: Lengths differ.
    """
    _check_comparison(pictures, titles, images, names, notes)
    headings = ["image"] * min(1, len(images)) + list(titles)
    lines = min(1, len(notes)) + (not shared)
    grid = _comparison_grid(pictures[0][0].shape[1:], headings, names, lines * LINE, 26 * shared)
    canvas = Canvas(grid.corner(len(pictures), 0)[1] - 6)
    largest = float(max(np.abs(picture).max() for row in pictures for picture in row))
    if shared:
        right = max(240, grid.corner(0, len(headings) - 1)[0] + grid.tile[1])
        signed_key(canvas, 11, largest, len(pictures[0][0]), right=right)
    _write_comparison(canvas, grid, headings, names)
    shift = len(headings) - len(titles)
    for index, row in enumerate(pictures):
        height, width = grid.tile
        for image in images[index : index + 1]:
            draw_tile(canvas, *grid.corner(index, 0), natural(image), width, height)
        for column, picture in enumerate(row):
            scale = largest if shared else float(np.abs(picture).max())
            below = [] if shared else [f"±{number(scale)}"]
            below += [with_minus(line[column]) for line in notes[index : index + 1]]
            corner = grid.corner(index, column + shift)
            draw_tile(canvas, *corner, signed(picture, scale), width, height, below)
    return Illustration(canvas.figure, caption, alt)


def _comparison_grid(
    size: tuple[int, ...], headings: Sequence[str], names: Sequence[str], below: float, key: float
) -> _Grid:
    left = max((text_width(name, LABEL_PX) for name in names), default=-12) + 12
    gap = 10
    zoom = tile_zoom(size, tile_slot(len(headings), gap=gap, left=left, largest=160))
    height, width = size[0] * zoom, size[1] * zoom
    across = max(width, *(text_width(title, LABEL_PX) for title in headings)) + gap
    return _Grid(left, 20 + key, (height, width), (height + below + gap, across))


def _write_comparison(
    canvas: Canvas, grid: _Grid, headings: Sequence[str], names: Sequence[str]
) -> None:
    for column, title in enumerate(headings):
        canvas.text(grid.corner(0, column)[0], grid.top - 7, title, TEXT, LABEL_PX)
    for index, name in enumerate(names):
        middle = grid.corner(index, 0)[1] + grid.tile[0] / 2
        canvas.text(0, middle, name, TEXT, LABEL_PX, va="center")


def _check_comparison(
    pictures: Rows,
    titles: Sequence[str],
    images: Sequence[np.ndarray],
    names: Sequence[str],
    notes: Sequence[Sequence[str]],
) -> None:
    if not pictures or not titles:
        raise ValueError("a comparison has at least one row and one title")
    for name, values in (("images", images), ("names", names), ("notes", notes)):
        if len(values) not in (0, len(pictures)):
            raise ValueError(f"{len(pictures)} rows of pictures, but {len(values)} {name}")
    for row in pictures:
        if len(row) != len(titles):
            raise ValueError(f"{len(titles)} titles, but a row of {len(row)} pictures")


@dataclass(frozen=True)
class LayerMaps:
    """The output of a layer for one image.

    Args:
        name: The layer's name.
        maps: (c, h, w), or (c,) for a layer without positions.
        magnified: How many times larger than in proportion its maps are drawn.
    """

    name: str
    maps: np.ndarray
    magnified: int = 1

    @property
    def grid(self) -> np.ndarray:
        """The maps as (c, h, w)."""
        return self.maps.reshape(len(self.maps), 1, 1) if self.maps.ndim == 1 else self.maps

    @property
    def shape(self) -> str:
        """The shape in words: 6 maps of 28 x 28, or 84 units."""
        count, height, width = self.grid.shape
        return (
            f"{count} units"
            if height == width == 1
            else f"{count} {'map' if count == 1 else 'maps'}, {height} {TIMES} {width}"
        )


def feature_maps(
    image: np.ndarray, layers: Sequence[LayerMaps], *, caption: str, alt: str, most: int = 16
) -> Illustration:
    """An image, then a row of maps for each layer, with one scale a layer.

    Layers with negative values are drawn on the signed scale, 0 mid grey; others from black (0)
    to white. Sizes are in true proportion where the largest map is at most 8 times the smallest.

    Args:
        image: (c, h, w) in [0, 1].
        layers: What the layers give for it.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        most: At most so many maps are shown of a layer, and no more than fit.
    """
    sides = [max(layer.grid.shape[1:]) for layer in layers if max(layer.grid.shape[1:]) > 1]
    largest = max(sides, default=1)
    proportional = largest <= _PROPORTIONAL * min(sides, default=1)
    slot = (WIDTH - _LEFT) * DEVICE // 8 - _MAP_GAP * DEVICE
    zooms = [_maps_zoom(layer, slot, largest if proportional else 0) for layer in layers]
    image_zoom = zooms[0] if proportional and zooms else slot / DEVICE / max(image.shape[1:])
    if max(image.shape[1:]) * image_zoom > 100:
        image_zoom = slot / DEVICE / max(image.shape[1:])
    heights = [
        max(34, _maps_height(layer, zoom)) for layer, zoom in zip(layers, zooms, strict=True)
    ]
    first = image.shape[1] * image_zoom
    space = 14
    canvas = Canvas(first + sum(heights) + space * len(layers) + 2)
    _name_layer(canvas, 0, "image", f"{image.shape[1]} {TIMES} {image.shape[2]} pixels", "")
    canvas.image(_LEFT, 0, natural(image), image.shape[2] * image_zoom, first)
    top = first + space
    for layer, zoom, height in zip(layers, zooms, heights, strict=True):
        _draw_maps(canvas, layer, zoom, top, most)
        top += height + space
    return Illustration(canvas.figure, caption, alt)


def _maps_zoom(layer: LayerMaps, slot: float, largest: int) -> float:
    """Logical pixels for one unit; `largest` is the side that all maps are measured by, 0: none."""
    count, height, width = layer.grid.shape
    if height == width == 1:
        return max(1.0, min(20.0, (WIDTH - _LEFT) * DEVICE // count / DEVICE))
    return tile_zoom((largest,) if largest else (height, width), slot) * layer.magnified


def _maps_height(layer: LayerMaps, zoom: float) -> float:
    return 20 if layer.grid.shape[1:] == (1, 1) else layer.grid.shape[1] * zoom


def _draw_maps(canvas: Canvas, layer: LayerMaps, zoom: float, top: float, most: int) -> None:
    maps = layer.grid
    scale = float(np.abs(maps).max())
    negative = bool((maps < 0).any())
    vector = maps.shape[1:] == (1, 1)
    width, height, gap = maps.shape[2] * zoom, _maps_height(layer, zoom), 0 if vector else _MAP_GAP
    fits = int((WIDTH - _LEFT + gap) // (width + gap))
    shown = min(len(maps), fits if vector else min(fits, most))
    extent = f"±{number(scale)}" if negative else f"0 to {number(scale)}"
    words = layer.shape if shown == len(maps) else f"{shown} of {layer.shape}"
    _name_layer(canvas, top, layer.name, words, extent)
    for index in range(shown):
        tile = maps[index : index + 1]
        pixels = signed(tile, scale) if negative else natural(tile / (scale or 1))
        x = _LEFT + index * (width + gap)
        canvas.image(x, top, pixels, width, height)
        if not vector:
            canvas.frame(x, top, width, height)
    if vector:
        canvas.frame(_LEFT, top, shown * width, height)


def _name_layer(canvas: Canvas, top: float, name: str, shape: str, extent: str) -> None:
    canvas.text(0, top + 10, name, TEXT, LABEL_PX, weight="bold")
    canvas.text(_LEFT - 12, top + 10, extent, MUTED, SMALL_PX, ha="right")
    canvas.text(0, top + 24, shape, MUTED, SMALL_PX)


def filters(weights: np.ndarray, *, caption: str, alt: str, noun: str = "filter") -> Illustration:
    """Every kernel of a layer on one signed scale, 0 mid grey.

    Kernels over 3 input channels are drawn as colours, over 1 as signed tones; over any other
    number of channels each kernel is a column with one tile an input channel.

    Args:
        weights: (n, c, h, w).
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        noun: What a kernel is called.

    Raises:
        ValueError: The weights are of another shape, or empty.
    """
    if weights.ndim != 4 or 0 in weights.shape:
        raise ValueError(f"kernels have shape (n, channels, height, width), not {weights.shape}")
    if weights.shape[1] in (1, 3):
        return _filter_sheet(weights, caption, alt)
    return _filter_matrix(weights, caption, alt, noun)


def _filter_zoom(weights: np.ndarray, columns: int, room: float) -> float:
    """Logical pixels for one weight: whole device pixels, as large as the room allows."""
    slot = min(104, (room - _FILTER_GAP * (columns - 1)) / columns)
    return max(1, int(slot * DEVICE // max(weights.shape[2:]))) / DEVICE


def _filter_sheet(weights: np.ndarray, caption: str, alt: str) -> Illustration:
    count, channels, height, width = weights.shape
    columns = min(count, 8 if count <= 32 else 16)
    zoom, scale = _filter_zoom(weights, columns, WIDTH), float(np.abs(weights).max())
    pitch, line = width * zoom + _FILTER_GAP, height * zoom + 20
    if columns * pitch > 0.8 * WIDTH:  # a nearly full line ends at the column's edge
        pitch = (WIDTH - width * zoom) / max(1, columns - 1)
    canvas = Canvas(_FILTER_KEY + -(-count // columns) * line)
    signed_key(canvas, 12, scale, channels, right=max(200, (columns - 1) * pitch + width * zoom))
    for index, kernel in enumerate(weights):
        x, y = index % columns * pitch, _FILTER_KEY + index // columns * line
        canvas.image(x, y, signed(kernel, scale), width * zoom, height * zoom)
        canvas.text(x, y + height * zoom + 13, str(index), TEXT, SMALL_PX)
    return Illustration(canvas.figure, caption, alt)


def _filter_matrix(weights: np.ndarray, caption: str, alt: str, noun: str) -> Illustration:
    """Kernels across, input maps down, as in Table I of the LeNet-5 paper."""
    count, sources, height, width = weights.shape
    gutter, gap, top = 78, 4, _FILTER_KEY + 18
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
