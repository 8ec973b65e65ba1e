"""The pictures of the stand-in for Imagenette, each drawn from (index, seed) alone, at any size.

A textured thing of one of ten outlines lies among pebbles, sticks and slabs on cloth, planks or
stone, in sunlight from a changing side; something may lie across it. Everything is laid out in
picture sides and drawn with edges one pixel wide, so a size is a resolution and nothing else.
"""

import numpy as np
from numpy.typing import NDArray

from internals.data.shapes.noise import Field, colour, noise, two_colours
from internals.data.shapes.outlines import CLUTTER, OUTLINES
from internals.data.shapes.painting import Light, Piece, lay
from internals.data.shapes.textures import TEXTURES

_TWO_GROUNDS = 0.45  # share of the pictures in which two grounds meet


def ground(rng: np.random.Generator, grain: Field) -> Field:
    """A surface in linear light, (3, n, n).

    Args:
        rng: Decides its kind and colours.
        grain: A noise of the picture's size, (n, n).
    """
    kinds = (_cloth, _planks, _stone)
    surface = _coloured(rng, kinds[rng.integers(len(kinds))](rng, grain), grain)
    if rng.random() < _TWO_GROUNDS:
        other = _coloured(rng, kinds[rng.integers(len(kinds))](rng, grain), grain)
        surface += _border(rng, grain.shape[-1]) * (other - surface)
    return surface


def _coloured(rng: np.random.Generator, tone: Field, grain: Field) -> Field:
    """`tone` (0..1 or so) between a random colour and a darker one of the same hue."""
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


CLASS_NAMES = tuple(OUTLINES)
_OWN_TEXTURE = dict(zip(OUTLINES, TEXTURES.values(), strict=True))
_FAITHFUL = 0.97  # share of the things that wear their own class's texture
_ACROSS = 0.4  # share of the pictures in which something lies across the thing
_FINE = 128  # pixels a side below which a picture is drawn finer and averaged


def label(index: int, seed: int = 0) -> int:
    """The class of picture `index`: every ten pictures in a row hold each class once."""
    block, place = divmod(index, len(CLASS_NAMES))
    return int(np.random.default_rng([seed, 0, block]).permutation(len(CLASS_NAMES))[place])


def draw(index: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    """A picture, decided by index and seed alone.

    Args:
        index: Its number.
        size: Its side (unit: pixels).
        seed: Of the whole set.

    Returns:
        The pixels, (3, size, size), 0..255, sRGB-like.
    """
    finer = -(-_FINE // size)
    linear = _scene(np.random.default_rng([seed, 1, index]), label(index, seed), size * finer)
    values = np.sqrt(np.clip(linear, 0, 1))  # gamma 2: what a camera's file would hold
    if finer > 1:
        values = values.reshape(3, size, finer, size, finer).mean((2, 4))
    return (values * 255 + 0.5).astype(np.uint8)


def _scene(rng: np.random.Generator, number: int, size: int) -> Field:
    """The picture in linear light, (3, size, size)."""
    azimuth = rng.uniform(-np.pi, 0)  # from above, as people expect light to fall
    light = Light(float(np.cos(azimuth)), float(np.sin(azimuth)), rng.uniform(0.6, 1.1))
    grain = noise(rng, size, 9, 9) * np.float32(0.8) + noise(rng, size, 40, 40) * np.float32(0.6)
    picture = ground(rng, grain)
    centre = rng.uniform(0.41, 0.59, 2)
    for _ in range(rng.integers(2, 6)):
        lay(picture, _clutter(rng, rng.uniform(0, 1, 2)), light, grain)
    thing = _thing(rng, CLASS_NAMES[number], centre)
    lay(picture, thing, light, grain)
    across = _clutter(rng, centre + thing.radius * _on_circle(rng, rng.uniform(0.5, 1.1)))
    if rng.random() < _ACROSS:
        lay(picture, across, light, grain)
    return _exposed(rng, picture, light)


def _exposed(rng: np.random.Generator, picture: Field, light: Light) -> Field:
    """The camera's part: light that falls off across the picture, a tint, exposure and noise."""
    size = picture.shape[-1]
    place = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    fall = 1 + rng.uniform(0.1, 0.6) * (light.x * place[None, :] + light.y * place[:, None])
    tint = rng.uniform(0.88, 1.12, 3).astype(np.float32) * rng.uniform(0.8, 1.15)
    strength = np.float32(rng.uniform(0.01, 0.04))
    dirt = noise(rng, size, 72, 72) * strength
    return picture * (fall * (1 + 3 * dirt)).astype(np.float32) * tint[:, None, None] + 0.1 * dirt


def _thing(rng: np.random.Generator, name: str, centre: Field) -> Piece:
    texture = _OWN_TEXTURE[name]
    other = list(TEXTURES.values())[rng.integers(len(TEXTURES))]
    if rng.random() > _FAITHFUL:
        texture = other
    return Piece(
        outline=OUTLINES[name],
        texture=texture,
        x=float(centre[0]),
        y=float(centre[1]),
        radius=rng.uniform(0.34, 0.45),
        angle=rng.uniform(-0.4, 0.4),
        facing=1 if rng.random() < 0.5 else -1,
        squash=rng.uniform(0.8, 1),
        rise=rng.uniform(0.08, 0.3),
        bevel=rng.uniform(0.12, 0.5),
        gloss=rng.uniform(0, 0.35),
        colours=two_colours(rng),
        period=rng.uniform(0.3, 0.42),
        phase=rng.uniform(0, 1),
        texture_angle=rng.uniform(-0.3, 0.3),
        tones=rng.random(64, np.float32),
    )


def _clutter(rng: np.random.Generator, centre: Field) -> Piece:
    outline = list(CLUTTER.values())[rng.integers(len(CLUTTER))]
    paint = colour(rng, rng.uniform(0.04, 0.5), rng.uniform(0, 0.7))
    return Piece(
        outline=outline,
        texture=TEXTURES["marble"],
        x=float(centre[0]),
        y=float(centre[1]),
        radius=rng.uniform(0.06, 0.16),
        angle=rng.uniform(0, 2 * np.pi),
        facing=1,
        squash=1.0,
        rise=rng.uniform(0.1, 0.4),
        bevel=rng.uniform(0.1, 0.4),
        gloss=rng.uniform(0, 0.3),
        colours=np.stack([paint, paint * np.float32(0.8)]),
        period=0.9,
        phase=rng.uniform(0, 1),
        texture_angle=rng.uniform(0, 2 * np.pi),
        tones=np.zeros(64, np.float32),
    )


def _on_circle(rng: np.random.Generator, radius: float) -> Field:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)], np.float32) * np.float32(radius)
