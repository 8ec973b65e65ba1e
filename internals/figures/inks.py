"""The palette: colours by their role on light and dark pages, and how pixels become colours.

A figure is drawn in the light inks; for a dark page every artist in one of them is re-inked.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

WIDTH = 688  # logical pixels: the text column of the book
LOGICAL_DPI = 100  # one logical pixel is 1/100 inch on the figure
RENDER_DPI = 2 * LOGICAL_DPI


class Ink(NamedTuple):
    """A colour on white paper and its partner on the dark page (#1b1d22)."""

    light: str
    dark: str


TEXT = Ink("#1c1f26", "#e7e9ee")
MUTED = Ink("#5a6170", "#a6adba")
FRAME = Ink("#868d9b", "#7b8393")
GRID = Ink("#dde1e8", "#353a45")
PAPER = Ink("#fffffe", "#1b1d22")
PADDING = Ink("#dfe6f2", "#343c4e")
# Apart in lightness as well as hue, for readers who see fewer hues.
BLUE = Ink("#0b4a94", "#a8d3ff")
VERMILION = Ink("#972f00", "#ea7238")
GREEN = Ink("#0a7f68", "#25dca0")
PURPLE = Ink("#b83ccf", "#d568f8")
GOLD = Ink("#877000", "#ffdc50")

INKS = (TEXT, MUTED, FRAME, GRID, PAPER, PADDING, BLUE, VERMILION, GREEN, PURPLE, GOLD)
CATEGORICAL = (BLUE, VERMILION, GREEN, PURPLE, GOLD)
SCHEMES = ("light", "dark")
_DARK = {ink.light: ink.dark for ink in INKS}

FONT = "DejaVu Sans"  # comes with Matplotlib: the same picture on every machine
TITLE_PX, BODY_PX, LABEL_PX, SMALL_PX = 13, 12, 11, 10

ZERO = 128  # the 8-bit grey that means "exactly nothing" in every signed picture
# Luminance rises from minus to plus, so the scale also reads in grey print and to every eye.
_SIGNED_STOPS = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
_SIGNED_COLOURS = np.array(
    [(8, 20, 64), (52, 88, 150), (ZERO, ZERO, ZERO), (222, 164, 84), (255, 240, 204)], dtype=float
)


def points(pixels: float) -> float:
    """A length in logical pixels as typographic points, the unit of Matplotlib's text and lines."""
    return pixels * 72 / LOGICAL_DPI


def style() -> dict[Any, Any]:
    """Matplotlib settings of the book, complete, so that no user's own settings show through."""
    defaults = {
        key: value
        for key, value in matplotlib.rcParamsDefault.items()
        if "backend" not in key and key not in ("interactive", "toolbar", "webagg.open_in_browser")
    }
    return defaults | {
        "figure.dpi": LOGICAL_DPI,
        "font.family": [FONT],
        "font.size": points(LABEL_PX),
        "text.color": TEXT.light,
        "axes.edgecolor": FRAME.light,
        "axes.facecolor": "none",
        "axes.labelcolor": MUTED.light,
        "axes.linewidth": points(1),
        "axes.unicode_minus": True,
        "grid.color": GRID.light,
        "hatch.color": FRAME.light,
        "legend.edgecolor": GRID.light,
        "lines.linewidth": points(2),
        "patch.edgecolor": FRAME.light,
        "patch.facecolor": BLUE.light,
        "xtick.color": FRAME.light,
        "ytick.color": FRAME.light,
        "xtick.labelcolor": MUTED.light,
        "ytick.labelcolor": MUTED.light,
        "xtick.labelsize": points(SMALL_PX),
        "ytick.labelsize": points(SMALL_PX),
    }


def signed(pixels: np.ndarray, scale: float) -> np.ndarray:
    """Signed numbers as colours, symmetric about zero, which is mid grey.

    Three channels are drawn as 0.5 + x / (2 scale); one channel runs from dark blue to pale amber.

    Args:
        pixels: (c, h, w), c = 1 or 3.
        scale: The magnitude that gets full ink; 0 where all pixels are 0.

    Returns:
        RGB bytes (h, w, 3).

    Raises:
        ValueError: The pixels are of another shape.
    """
    share = np.clip(pixels / scale, -1, 1) if scale > 0 else np.zeros(pixels.shape)
    if _channels(pixels) == 3:
        return _bytes(0.5 + np.moveaxis(share, 0, -1) / 2)
    ramp = [np.interp(share[0], _SIGNED_STOPS, column) for column in _SIGNED_COLOURS.T]
    return _bytes(np.stack(ramp, axis=-1) / 255)


def natural(pixels: np.ndarray) -> np.ndarray:
    """An image as it is.

    Args:
        pixels: (c, h, w) in [0, 1], c = 1 or 3.

    Returns:
        RGB bytes (h, w, 3).

    Raises:
        ValueError: The pixels are of another shape.
    """
    colours = 3 // _channels(pixels)
    return np.repeat(_bytes(np.moveaxis(np.clip(pixels, 0, 1), 0, -1)), colours, axis=-1)


def _channels(pixels: np.ndarray) -> int:
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
        raise ValueError(f"a picture has shape (1 or 3, height, width), not {pixels.shape}")
    return int(pixels.shape[0])


def _bytes(values: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = np.rint(values * 255).astype(np.uint8)
    return pixels


@contextmanager
def inked(figure: Figure, scheme: str) -> Iterator[None]:
    """Draw `figure` in the inks of a scheme within the block; afterwards it is light again.

    Colours that are not in the palette, and the pixels of images and colour-bars, stay as they are.

    Args:
        figure: What is re-inked.
        scheme: One of `SCHEMES`.

    Raises:
        ValueError: There is no such scheme.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; choose one of {', '.join(SCHEMES)}")
    undo: list[Callable[[], None]] = []
    try:
        if scheme == "dark":
            figure.draw_without_rendering()  # ticks and their labels only exist once drawn
            for artist in _artists(figure):
                _darken(artist, undo)
        yield
    finally:
        for restore in reversed(undo):
            restore()


def _artists(figure: Figure) -> Iterator[Artist]:
    for artist in figure.findobj():
        yield artist
        if isinstance(artist, Text) and (box := artist.get_bbox_patch()) is not None:
            yield box


def _darken(artist: Artist, undo: list[Callable[[], None]]) -> None:
    if isinstance(artist, Text):
        _swap(artist.get_color(), artist.set_color, undo)
    elif isinstance(artist, Line2D):
        # The marker's own colours may be "auto", which follows the line: read before it changes.
        edge, face = artist.get_markeredgecolor(), artist.get_markerfacecolor()
        _swap(artist.get_color(), artist.set_color, undo)
        _swap(edge, artist.set_markeredgecolor, undo)
        _swap(face, artist.set_markerfacecolor, undo)
    elif isinstance(artist, Patch):
        _swap(artist.get_facecolor(), artist.set_facecolor, undo)
        _swap(artist.get_edgecolor(), artist.set_edgecolor, undo)
    elif isinstance(artist, Collection) and artist.get_array() is None:
        _swap_all(artist.get_facecolor(), artist.set_facecolor, undo)
        _swap_all(artist.get_edgecolor(), artist.set_edgecolor, undo)


def _swap(colour: Any, setter: Callable[[Any], None], undo: list[Callable[[], None]]) -> None:
    dark = _partner(colour)
    if dark is not None:
        undo.append(lambda: setter(colour))
        setter(dark)


def _swap_all(colours: Any, setter: Callable[[Any], None], undo: list[Callable[[], None]]) -> None:
    old = to_rgba_array(colours)
    new = [_partner(colour) or tuple(colour) for colour in old]
    if new:
        undo.append(lambda: setter(old))
        setter(new)


def _partner(colour: Any) -> tuple[float, ...] | None:
    """The dark partner of a light ink, with the same opacity; None for any other colour."""
    red, green, blue, alpha = to_rgba(colour)
    dark = _DARK.get(to_hex((red, green, blue)))
    return None if dark is None else to_rgba(dark, alpha)
