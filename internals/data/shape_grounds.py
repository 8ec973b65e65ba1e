"""What the things lie on: cloth, planks or stone, in quiet colours."""

import numpy as np

from internals.data.shape_colours import colour
from internals.data.shape_noise import Field, noise

_TWO_GROUNDS = 0.45  # share of the pictures in which two grounds meet


def ground(rng: np.random.Generator, grain: Field) -> Field:
    """A surface (3, n, n) in linear light; `grain` is a noise of the same size."""
    kinds = (_cloth, _planks, _stone)
    surface = _coloured(rng, kinds[rng.integers(len(kinds))](rng, grain), grain)
    if rng.random() < _TWO_GROUNDS:
        other = _coloured(rng, kinds[rng.integers(len(kinds))](rng, grain), grain)
        surface += _border(rng, grain.shape[-1]) * (other - surface)
    return surface


def _coloured(rng: np.random.Generator, tone: Field, grain: Field) -> Field:
    """`tone` (0..1 or so) between a colour and a darker kin of it."""
    light = colour(rng, rng.uniform(0.06, 0.55), rng.uniform(0.05, 0.35))
    dark = rng.uniform(0.6, 0.85)
    amount = (dark + (1 - dark) * tone) * (1 + 0.06 * grain)
    return light[:, None, None] * amount


def _cloth(rng: np.random.Generator, grain: Field) -> Field:
    """Threads over and under, and soft folds."""
    u, v = _turned(rng, grain.shape[-1])
    threads = 2 * np.pi * rng.uniform(22, 34)
    folds = noise(rng, grain.shape[-1], 3, 3)
    return 0.5 + 0.22 * np.sin(threads * u) * np.sin(threads * v) + 0.3 * folds


def _planks(rng: np.random.Generator, grain: Field) -> Field:
    """Boards with a seam between them; along each runs its grain."""
    size = grain.shape[-1]
    boards = rng.uniform(2.5, 5)
    across = (np.arange(size, dtype=np.float32) + 0.5) / size * boards + rng.random()
    place = across - np.floor(across)
    shade = rng.random(8, np.float32)[np.floor(across).astype(int)] * 0.5
    edge = np.minimum(place, 1 - place) * size / boards
    seam = np.clip((edge - 0.006 * size) / 2 + 0.5, 0, 1)
    lines = 0.25 + 0.3 * noise(rng, size, 3, 45) + 0.15 * noise(rng, size, 2, 14)
    field = (shade[:, None] + lines) * seam[:, None]
    return field if rng.random() < 0.5 else field.T


def _stone(rng: np.random.Generator, grain: Field) -> Field:
    """Clouds of lighter and darker mineral with a few cracks."""
    size = grain.shape[-1]
    clouds = noise(rng, size, 5, 5)
    cracks = np.clip(np.abs(noise(rng, size, 6, 6) + 0.3 * grain) * 6, 0, 1)
    return (0.55 + 0.25 * clouds + 0.12 * grain) * (0.7 + 0.3 * cracks)


def _border(rng: np.random.Generator, size: int) -> Field:
    """1 on one side of a straight edge through the picture, 0 on the other."""
    u, _ = _turned(rng, size)
    return np.clip((u - np.float32(rng.uniform(-0.3, 0.3))) * size + 0.5, 0, 1)


def _turned(rng: np.random.Generator, size: int) -> tuple[Field, Field]:
    """Picture coordinates from the centre, turned by a random angle."""
    place = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    x, y, angle = place[None, :], place[:, None], rng.uniform(0, 2 * np.pi)
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    return cos * x + sin * y, cos * y - sin * x
