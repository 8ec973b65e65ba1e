"""One figure, two papers: every artist in the palette's light ink is re-inked for a dark page."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.colors import to_hex, to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from internals.figures.palette import INKS

SCHEMES = ("light", "dark")
Undo = Callable[[], None]

_DARK = {ink.light: ink.dark for ink in INKS}


@contextmanager
def inked(figure: Figure, scheme: str) -> Iterator[None]:
    """Draw `figure` in `scheme` ("light" or "dark") within the block; afterwards it is light again.

    Colours that are not in the palette, and the pixels of images and colour-bars, stay as they are.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; choose one of {', '.join(SCHEMES)}")
    undo: list[Undo] = []
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


def _darken(artist: Artist, undo: list[Undo]) -> None:
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


def _swap(colour: Any, setter: Callable[[Any], None], undo: list[Undo]) -> None:
    dark = _partner(colour)
    if dark is not None:
        undo.append(lambda: setter(colour))
        setter(dark)


def _swap_all(colours: Any, setter: Callable[[Any], None], undo: list[Undo]) -> None:
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
