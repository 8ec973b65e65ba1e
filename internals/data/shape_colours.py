"""Random colours of a given lightness, in linear light."""

import numpy as np

from internals.data.shape_noise import Field

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # Rec. ITU-R BT.709
_BRIGHTEST = 0.8  # of a channel


def colour(rng: np.random.Generator, luminance: float, saturation: float) -> Field:
    """A random hue, (3,); luminance and saturation are 0..1, 0 being black and grey."""
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
