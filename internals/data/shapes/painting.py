"""One lit thing laid on a picture: its shadow, its rounded edge, its texture, its gloss."""

from dataclasses import dataclass

import numpy as np

from internals.data.shapes.noise import Field
from internals.data.shapes.outlines import Outline
from internals.data.shapes.textures import Surface, Texture

_SHADOW_SOFTNESS = 0.09  # half the width of a shadow's rim, in radii
_KEPT_IN_SHADOW = np.array([0.34, 0.36, 0.42], np.float32)  # the sky's share, a little blue


@dataclass(frozen=True)
class Light:
    """The sun.

    Args:
        x: Of the direction to it in the picture's plane.
        y: Of the same direction.
        height: Above the plane (unit: radians).
    """

    x: float
    y: float
    height: float


@dataclass(frozen=True)
class Piece:
    """A thing of one outline and texture.

    Args:
        outline: Its signed distance.
        texture: Its pattern.
        x: Of its centre (unit: sides of the picture).
        y: Of its centre (unit: sides of the picture).
        radius: Its size (unit: sides of the picture).
        angle: By which it is turned (unit: radians).
        facing: 1 or, mirrored, -1.
        squash: Below 1, how much a slanted view shortens it.
        rise: Its height above the ground (unit: radii).
        bevel: The width of its rounded edge (unit: radii).
        gloss: Strength of its highlight.
        colours: Two colours in linear light, (2, 3).
        period: Of the texture (unit: radii).
        phase: Of the texture (unit: periods).
        texture_angle: By which the texture is turned against the thing (unit: radians).
        tones: 64 random numbers in 0..1.
    """

    outline: Outline
    texture: Texture
    x: float
    y: float
    radius: float
    angle: float
    facing: int
    squash: float
    rise: float
    bevel: float
    gloss: float
    colours: Field
    period: float
    phase: float
    texture_angle: float
    tones: Field

    def local(self, x: Field, y: Field) -> tuple[Field, Field]:
        """Object coordinates of picture coordinates."""
        cos, sin = float(np.cos(self.angle)), float(np.sin(self.angle))
        dx, dy = (x - self.x) / self.radius, (y - self.y) / (self.radius * self.squash)
        return self.facing * (cos * dx + sin * dy), cos * dy - sin * dx

    def surface(self, u: Field, v: Field, outline: Field, grain: Field, pixel: float) -> Surface:
        """What the texture is a function of."""
        return Surface(
            u, v, outline, grain, pixel, self.period, self.phase, self.texture_angle, self.tones
        )


def lay(picture: Field, piece: Piece, light: Light, grain: Field) -> None:
    """Paint a thing, and before it its shadow.

    Args:
        picture: Where it is painted, (3, n, n) in linear light.
        piece: The thing.
        light: The sun.
        grain: A noise of the picture's size.
    """
    size = picture.shape[-1]
    reach = piece.radius * (1.15 + piece.rise)
    rows = _overlap(piece.y - reach, piece.y + reach, size)
    columns = _overlap(piece.x - reach, piece.x + reach, size)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    x = ((np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5) / size)[None, :]
    y = ((np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) / size)[:, None]
    canvas = picture[:, rows, columns]

    length = piece.rise * piece.radius
    cast = piece.outline(*piece.local(x + light.x * length, y + light.y * length))
    shade = _smooth(0.5 - cast * (0.5 / _SHADOW_SOFTNESS))
    canvas *= 1 - shade * (1 - _KEPT_IN_SHADOW[:, None, None])

    pixel = 1 / (size * piece.radius)
    u, v = piece.local(x, y)
    outline = piece.outline(u, v)
    speckle = grain[rows, columns]
    tone = piece.texture(piece.surface(u, v, outline, speckle, pixel))
    first, second = piece.colours[:, :, None, None]
    colour = (first + tone * (second - first)) * (1 + 0.07 * speckle)
    bright, gloss = _shading(outline, pixel, piece, light)
    cover = np.clip(0.5 - outline / pixel, 0, 1)
    canvas += cover * (colour * bright + gloss - canvas)


def _shading(outline: Field, pixel: float, piece: Piece, light: Light) -> tuple[Field, Field]:
    """Lambert's diffuse light, 1 where the surface lies flat, and a highlight.

    The edge is rounded: over the width of the bevel the slope grows from 0 to about 60 degrees.
    """
    down, right = np.gradient(outline, np.float32(pixel))
    slope = np.float32(1.7) * np.clip(1 + outline / piece.bevel, 0, 1)
    towards = slope * (right * light.x + down * light.y)
    upright = 1 / np.sqrt(1 + slope * slope)
    diffuse = (towards * np.float32(1 / np.tan(light.height)) + 1) * upright
    bright = 0.32 + 0.68 * np.clip(diffuse, 0, None)
    # Half-way between the sun and the eye, which looks straight down.
    half = (np.pi / 2 - light.height) / 2
    facing = (towards * float(np.sin(half)) + float(np.cos(half))) * upright
    shine = np.clip(facing, 0, 1) ** 2
    for _ in range(4):
        shine = shine * shine
    return bright, piece.gloss * shine


def _smooth(t: Field) -> Field:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def _overlap(low: float, high: float, size: int) -> slice:
    return slice(max(0, int(low * size)), min(size, int(high * size) + 2))
