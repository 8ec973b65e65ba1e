"""Smooth noise that is the same field at every size, and random colours in linear light."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating]
_WITHIN = 4  # places in each pixel over which the spline is averaged


def noise(rng: np.random.Generator, pixels: int, across: int, down: int) -> Field:
    """A smooth random field of mean 0 and variance about 1.

    Args:
        rng: Decides the field, whatever its size.
        pixels: Side of the field.
        across: About how many waves it has from left to right.
        down: About how many from top to bottom.

    Returns:
        The field, (pixels, pixels).
    """
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


_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # Rec. ITU-R BT.709
_BRIGHTEST = 0.8  # of a channel


def colour(rng: np.random.Generator, luminance: float, saturation: float) -> Field:
    """A colour of random hue, (3,), in linear light.

    Args:
        rng: Decides the hue.
        luminance: 0 (black) to 1.
        saturation: 0 (grey) to 1.
    """
    turn = -0.06 + 0.82 * rng.random()  # 0 red, 1/3 green; magentas, rare in photographs, left out
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (turn - np.arange(3) / 3))
    away = luminance * (wheel / (wheel @ _LUMINANCE) - 1)
    room = (_BRIGHTEST - luminance) / away.max()  # light blue is pale, or it would glow
    return (luminance + min(saturation, room) * away).astype(np.float32)


def two_colours(rng: np.random.Generator) -> Field:
    """A dark colour and a light one (2, 3), so that a texture can always be seen."""
    dark = colour(rng, rng.uniform(0.02, 0.1), rng.uniform(0.2, 0.9))
    light = colour(rng, rng.uniform(0.45, 0.78), rng.uniform(0.2, 0.9))
    return np.stack([dark, light])
