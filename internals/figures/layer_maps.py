"""One image on its way through every layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from internals.figures.canvas import DEVICE, Canvas
from internals.figures.illustration import Illustration
from internals.figures.numerals import TIMES, number
from internals.figures.palette import (
    LABEL_PX,
    MUTED,
    SMALL_PX,
    TEXT,
    WIDTH,
    natural,
    signed,
)

LEFT, GAP, SPACE, LEAST = 140, 5, 14, 34
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
    slot = (WIDTH - LEFT) * DEVICE // 8 - GAP * DEVICE
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
        _draw(canvas, layer, zoom, top, most)
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


def _draw(canvas: Canvas, layer: LayerMaps, zoom: float, top: float, most: int) -> None:
    maps = layer.grid
    scale = float(np.abs(maps).max())
    negative = bool((maps < 0).any())
    vector = maps.shape[1:] == (1, 1)
    width, height, gap = maps.shape[2] * zoom, _tall(layer, zoom), 0 if vector else GAP
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
