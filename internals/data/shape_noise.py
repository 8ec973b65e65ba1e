"""Smooth noise that is the same at every size: a random grid under a cubic B-spline."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]
_WITHIN = 4  # places in each pixel over which the spline is averaged


def noise(rng: np.random.Generator, pixels: int, across: int, down: int) -> Field:
    """A field (pixels, pixels) of `across` x `down` waves or so, mean 0 and variance about 1."""
    grid = rng.standard_normal((down + 3, across + 3), dtype=np.float32)
    field: Field = _weights(down, pixels) @ grid @ _weights(across, pixels).T
    return field * np.float32(2)  # a cubic B-spline leaves about a quarter of the variance


@cache
def _weights(cells: int, pixels: int) -> Field:
    """(pixels, cells + 3): what each knot adds to each pixel, averaged over the pixel's side."""
    places = (np.arange(pixels * _WITHIN) + 0.5) * cells / (pixels * _WITHIN)
    distance = np.abs(places[:, None] - (np.arange(cells + 3) - 1))
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = np.clip(2 - distance, 0, None) ** 3 / 6
    spline = np.where(distance < 1, inner, outer)
    return spline.reshape(pixels, _WITHIN, -1).mean(1).astype(np.float32)
