"""Portraits: pictures that a network had made of its units, each with what it reached."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from internals.figures.canvas import Canvas, shorten
from internals.figures.illustration import Illustration
from internals.figures.inks import BODY_PX, GRID, LABEL_PX, MUTED, SMALL_PX, TEXT, WIDTH, natural
from internals.figures.patches import HEADING, SEPARATION, ChannelPatches, Panel, draw_rows
from internals.figures.table import number
from internals.figures.tiles import LINE, draw_tile, tile_slot, tile_zoom

_ACROSS, _FEW = 6, 3  # tiles in a line; of so few one line is made with larger tiles
_GAP, _TITLE = 10, 18  # between two tiles; for the words above each


class Made(Protocol):
    """What is read of an image that was made for a unit, as `optimise` makes it."""

    @property
    def value(self) -> float:
        """What the unit reaches on it."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the network's input."""

    @property
    def picture(self) -> Any:
        """Bytes (channels, height, width)."""

    def full(self) -> Any:
        """The network's whole input, the picture in its place."""

    def offset(self, size: tuple[int, int]) -> tuple[int, int]:
        """The picture's first row and column in a field of `size`."""


@dataclass(frozen=True)
class Portrait:
    """A picture of something in a network.

    Args:
        title: Of what: "channel 7".
        picture: (c, h, w) in [0, 1].
        note: Words below it, such as the value it reaches.
    """

    title: str
    picture: np.ndarray
    note: str = ""


def portraits(pictures: Sequence[Portrait], *, caption: str, alt: str) -> Illustration:
    """Pictures side by side, six a line or up to three, enlarged by one whole number.

    Args:
        pictures: All of one size.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.

    Raises:
        ValueError: There are none, or of several sizes.
    """
    canvas = Canvas(_height(pictures))
    _draw(canvas, pictures, 0)
    return Illustration(canvas.figure, caption, alt)


def with_portraits(panel: Panel, pictures: Sequence[Portrait], heading: str) -> Illustration:
    """A panel with a row of portraits below it.

    Args:
        panel: Channels with their strongest units.
        pictures: All of one size.
        heading: What the row shows.

    Raises:
        ValueError: There are no pictures, or of several sizes.
    """
    canvas, top = draw_rows(
        panel.rows, panel.noun, panel.stacked, more=SEPARATION + HEADING + _height(pictures)
    )
    top += SEPARATION
    canvas.line([(0, top + 0.5), (WIDTH, top + 0.5)], GRID)
    canvas.text(0, top + 15, heading, TEXT, BODY_PX, weight="bold")
    _draw(canvas, pictures, top + HEADING)
    return Illustration(canvas.figure, panel.caption, panel.alt)


def beside_strongest(
    rows: Sequence[ChannelPatches], made: Sequence[Made], *, projections: bool = False
) -> list[Portrait]:
    """Of each channel the strongest patch, and beside it what its unit would draw itself.

    Args:
        rows: The channels, all with receptive fields of one size.
        made: For each the image that was made for one of its units.
        projections: Whether the patch's projection stands between the two.

    Raises:
        ValueError: Rows and images are not one to one.
    """
    found = []
    for row, one in zip(rows, made, strict=True):
        patch = projection = np.full((1, *row.size), 0.5)
        words = "never fires"
        if row.patches and not row.is_silent(0):
            words = f"{number(row.values[0])}  {row.labels[0]}"
            patch = _on_field(row.patches[0], row.offsets[0], row.size)
            signed = row.projections[0] / (2 * max(float(np.abs(row.projections[0]).max()), 1e-12))
            projection = _on_field(signed + 0.5, row.offsets[0], row.size)
        found.append(Portrait(f"channel {row.channel}", patch, words))
        if projections:
            found.append(Portrait("projection", projection))
        whole = row.size == one.image_size
        picture = np.asarray(one.full() if whole else one.picture) / 255
        offset = (0, 0) if whole else one.offset(row.size)
        found.append(Portrait("optimised", _on_field(picture, offset, row.size), number(one.value)))
    return found


def _on_field(piece: np.ndarray, offset: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """A piece in its place in the field, the rest mid grey."""
    whole = np.full((len(piece), *size), 0.5)
    top, left = offset
    whole[:, top : top + piece.shape[1], left : left + piece.shape[2]] = piece
    return whole


def _across(pictures: Sequence[Portrait]) -> int:
    return _FEW if len(pictures) <= _FEW else _ACROSS


def _tile(pictures: Sequence[Portrait]) -> tuple[float, float]:
    """Height and width of each tile (unit: logical pixels)."""
    sizes = {portrait.picture.shape[1:] for portrait in pictures}
    if len(sizes) != 1:
        raise ValueError(f"portraits are of one size, not of {sorted(sizes)}")
    height, width = sizes.pop()
    zoom = tile_zoom((height, width), tile_slot(_across(pictures), gap=_GAP))
    return height * zoom, width * zoom


def _line_height(pictures: Sequence[Portrait]) -> float:
    return _TITLE + _tile(pictures)[0] + LINE * any(p.note for p in pictures) + _GAP


def _height(pictures: Sequence[Portrait]) -> float:
    return -(-len(pictures) // _across(pictures)) * _line_height(pictures) - _GAP + 4


def _draw(canvas: Canvas, pictures: Sequence[Portrait], top: float) -> None:
    height, width = _tile(pictures)
    across = _across(pictures)
    pitch = (WIDTH + _GAP) / across
    for place, portrait in enumerate(pictures):
        x = place % across * pitch
        y = top + place // across * _line_height(pictures) + _TITLE
        room = pitch - _GAP
        canvas.text(x, y - 5, shorten(portrait.title, room, LABEL_PX), TEXT, LABEL_PX)
        note = [shorten(portrait.note, room, SMALL_PX)] if portrait.note else []
        draw_tile(canvas, x, y, natural(portrait.picture), width, height, note, MUTED)
