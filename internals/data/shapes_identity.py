"""Which pictures the stand-in for Imagenette holds, told without drawing one: no torch."""

from importlib import metadata

from internals.fingerprint import digest, reach

DRAWN_AT = 256  # pixels a side; smaller pictures are made of these, larger ones are drawn anew
_DRAWING = "internals.data.shape_scenes"


def fingerprint() -> str:
    """Changes with the drawing code, and with NumPy, whose random streams may change with it."""
    parts = {
        name: tree for name, tree in reach(modules=[_DRAWING]).modules.items() if "shape_" in name
    }
    return f"shapes {digest(parts)} at {DRAWN_AT} numpy {metadata.version('numpy')}"
