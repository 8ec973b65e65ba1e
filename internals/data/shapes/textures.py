"""Ten families of texture as coverage: 0 shows the first colour, 1 the second.

A texture is a function of object coordinates (so it turns and grows with its object) whose edges
are as wide as one pixel, which is what averaging over the pixel's area would leave of a sharp one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from internals.data.shapes.noise import Field


@dataclass(frozen=True)
class Surface:
    """What a texture is a function of; lengths are in units of the object's radius.

    Args:
        u: Object coordinate along the object's own axis.
        v: Object coordinate across it.
        outline: The object's signed distance.
        grain: A smooth noise of about unit variance.
        pixel: Side of a pixel.
        period: Of the texture.
        phase: Of the texture (unit: periods).
        angle: By which free textures are turned against the object (unit: radians).
        tones: 64 random numbers in 0..1.
    """

    u: Field
    v: Field
    outline: Field
    grain: Field
    pixel: float
    period: float
    phase: float
    angle: float
    tones: Field

    def turned(self) -> tuple[Field, Field]:
        """Coordinates in periods, turned by `angle` and moved by `phase`."""
        cos, sin = np.cos(self.angle) / self.period, np.sin(self.angle) / self.period
        return (
            float(cos) * self.u + float(sin) * self.v + self.phase,
            float(cos) * self.v - float(sin) * self.u + self.phase,
        )

    def inside(self, distance: Field) -> Field:
        """Coverage of the region `distance` < 0; `distance` in periods."""
        return np.clip(0.5 - distance * (self.period / self.pixel), 0, 1)

    def tone(self, column: Field, row: Field) -> Field:
        """One random number for each whole (column, row)."""
        return self.tones[(column.astype(np.int32) + 13 * row.astype(np.int32)) & 63]


Texture = Callable[[Surface], Field]


def _wave(surface: Surface, cycles: Field) -> Field:
    """Equal bands: the sine's zeros, with its slope there taken as the distance."""
    sine = np.sin(np.float32(2 * np.pi) * cycles)
    return surface.inside(sine * np.float32(-1 / (2 * np.pi)))


def _spots(surface: Surface) -> Field:
    a, b = surface.turned()
    row = np.floor(b)
    a = a + 0.5 * np.mod(row, 2)
    return surface.inside(np.hypot(a - np.floor(a) - 0.5, b - row - 0.5) - 0.32)


def _rays(surface: Surface) -> Field:
    rays = max(6, round(2.6 / surface.period))
    angle = np.arctan2(surface.v, surface.u) + surface.phase
    arc = np.hypot(surface.u, surface.v) * np.float32(1 / (rays * surface.period))
    return surface.inside(np.sin(np.float32(rays) * angle) * arc)


def _bricks(surface: Surface) -> Field:
    a, b = surface.turned()
    b = b * np.float32(1.6)
    row = np.floor(b)
    a = a * np.float32(0.75) + 0.5 * np.mod(row, 2)
    column = np.floor(a)
    across = (0.5 - np.abs(a - column - 0.5)) * np.float32(1 / 0.75)
    along = (0.5 - np.abs(b - row - 0.5)) * np.float32(1 / 1.6)
    mortar = surface.inside(np.minimum(across, along) - 0.06)
    return np.maximum(mortar, 0.3 * surface.tone(column, row))


def _checks(surface: Surface) -> Field:
    a, b = surface.turned()
    product = np.sin(np.float32(np.pi) * a) * np.sin(np.float32(np.pi) * b)
    return surface.inside(product * np.float32(1 / np.pi))


def _ripples(surface: Surface) -> Field:
    return _wave(surface, surface.outline * np.float32(1.3 / surface.period) + surface.phase)


def _stripes(surface: Surface) -> Field:
    return _wave(surface, surface.turned()[0])


def _marble(surface: Surface) -> Field:
    a, _ = surface.turned()
    vein = np.abs(np.sin(np.float32(np.pi / 2) * a + np.float32(1.8) * surface.grain))
    return np.float32(1) - np.sqrt(vein)


def _scales(surface: Surface) -> Field:
    """Overlapping rows of half discs, each shaded from its root to its rim."""
    a, b = surface.turned()
    b = b * np.float32(2)
    row = np.floor(b)
    a = a + 0.5 * np.mod(row, 2)
    across = a - np.floor(a) - 0.5
    below = (b - row) * np.float32(0.5)
    own = np.hypot(across, below)
    under = np.hypot(np.float32(0.5) - np.abs(across), below - 0.5)
    lower = surface.inside(own - 0.5)
    distance = lower * own + (1 - lower) * under
    return np.clip(distance * np.float32(2.2) - 0.25, 0, 1) ** 2


def _honeycomb(surface: Surface) -> Field:
    """Walls where the two nearest points of a triangular lattice are equally far."""
    a, b = surface.turned()
    high = np.float32(np.sqrt(3))
    x0, y0 = a - np.round(a), b - high * np.round(b / high)
    x1 = a - np.floor(a) - np.float32(0.5)
    y1 = b - high * (np.floor(b / high) + np.float32(0.5))
    near = x0 * x0 + y0 * y0 < x1 * x1 + y1 * y1
    x, y = np.abs(np.where(near, x0, x1)), np.abs(np.where(near, y0, y1))
    wall = np.float32(0.5) - np.maximum(x, 0.5 * x + np.float32(np.sqrt(0.75)) * y)
    return surface.inside(wall - 0.09)


def _veins(surface: Surface) -> Field:
    """A midrib along u and side veins that leave it slantwise, alike on both sides."""
    away = np.abs(surface.v)
    side = (surface.u - np.float32(0.9) * away) * np.float32(1 / surface.period) + surface.phase
    nearest = np.abs(side - np.round(side))
    midrib = away * np.float32(1 / surface.period)
    return surface.inside(np.minimum(nearest - 0.13, midrib - 0.17))


TEXTURES: dict[str, Texture] = {
    "spots": _spots,
    "rays": _rays,
    "bricks": _bricks,
    "checks": _checks,
    "ripples": _ripples,
    "stripes": _stripes,
    "marble": _marble,
    "scales": _scales,
    "honeycomb": _honeycomb,
    "veins": _veins,
}
