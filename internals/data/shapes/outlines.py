"""Ten outlines, and the clutter's three, as signed distances: below zero inside.

Each takes object coordinates (u, v), in units of the object's radius, and returns how far outside
the outline that point lies, in the same unit. Every outline is its own mirror image, so a picture
keeps its class when it is flipped. Plane geometry; exact inside, near enough outside.
"""

from collections.abc import Callable

import numpy as np

from internals.data.shapes.noise import Field

Outline = Callable[[Field, Field], Field]


def _disc(u: Field, v: Field) -> Field:
    return np.hypot(u, v) - 0.85


def _ring(u: Field, v: Field) -> Field:
    return np.abs(np.hypot(u, v) - 0.68) - 0.27


def _polygon(u: Field, v: Field, sides: int, inradius: float) -> Field:
    """A regular polygon, the intersection of its half-planes; one side faces +v."""
    nearest = np.full(np.broadcast_shapes(u.shape, v.shape), -np.inf, np.float32)
    for side in range(sides):
        angle = np.pi / 2 + 2 * np.pi * side / sides
        np.maximum(nearest, float(np.cos(angle)) * u + float(np.sin(angle)) * v, out=nearest)
    return nearest - inradius


def _triangle(u: Field, v: Field) -> Field:
    return _polygon(u, v - 0.1, 3, 0.52)


def _hexagon(u: Field, v: Field) -> Field:
    return _polygon(u, v, 6, 0.8)


def _square(u: Field, v: Field) -> Field:
    return np.maximum(np.abs(u), np.abs(v)) - 0.72


def _star(u: Field, v: Field) -> Field:
    """Five arms: the plane is folded into one tenth of the star, which has one straight edge."""
    sector = 2 * np.pi / 5
    angle = np.arctan2(u, -v)
    folded = np.abs(np.mod(angle + sector / 2, sector) - sector / 2)
    radius = np.hypot(u, v)
    tip, notch = 1.05, 0.5
    edge = np.array([notch * np.cos(sector / 2) - tip, notch * np.sin(sector / 2)])
    along, across = edge / np.hypot(*edge)
    return float(across) * (radius * np.cos(folded) - tip) - float(along) * radius * np.sin(folded)


def _cross(u: Field, v: Field) -> Field:
    length, width = 0.95, 0.32
    a, b = np.abs(u), np.abs(v)
    return np.minimum(
        np.maximum(a - length, b - width), np.maximum(a - width, b - length)
    )  # two bars


def _crescent(u: Field, v: Field) -> Field:
    return np.maximum(np.hypot(u, v) - 0.92, 0.74 - np.hypot(u - 0.5, v))


def _heart(u: Field, v: Field) -> Field:
    """A square standing on its corner, and a half disc on each of its upper sides.

    Right of the axis that is one strip, slanting up and outward, with a round end.
    """
    half, diagonal = 0.52, float(np.sqrt(0.5))
    a, down = np.abs(u), v - 0.12
    across, along = (a + down) * diagonal, (a - down) * diagonal
    return np.hypot(across, np.maximum(along - half, 0)) - half


def _leaf(u: Field, v: Field) -> Field:
    """What two discs have in common, and a stalk."""
    blade = np.hypot(u - 0.1, np.abs(v) + 0.62) - 1.08
    stalk = np.hypot(np.maximum(np.abs(u + 0.95) - 0.2, 0), v) - 0.05
    return np.minimum(blade, stalk)


def _pebble(u: Field, v: Field) -> Field:
    return np.hypot(u, v * 1.5) - 0.7


def _stick(u: Field, v: Field) -> Field:
    return np.hypot(np.maximum(np.abs(u) - 0.9, 0), v) - 0.1


def _slab(u: Field, v: Field) -> Field:
    return np.maximum(np.abs(u) - 0.85, np.abs(v) - 0.28)


OUTLINES: dict[str, Outline] = {
    "disc": _disc,
    "ring": _ring,
    "triangle": _triangle,
    "square": _square,
    "star": _star,
    "cross": _cross,
    "crescent": _crescent,
    "heart": _heart,
    "hexagon": _hexagon,
    "leaf": _leaf,
}
CLUTTER: dict[str, Outline] = {"pebble": _pebble, "stick": _stick, "slab": _slab}
