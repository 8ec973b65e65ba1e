"""The figure of the book: what drives a channel hardest, projections beside their patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from internals.figures.canvas import Canvas, text_width, whole, wrap
from internals.figures.illustration import Illustration
from internals.figures.inks import (
    BODY_PX,
    GRID,
    MUTED,
    PADDING,
    SMALL_PX,
    TEXT,
    WIDTH,
    ZERO,
    natural,
    signed,
)
from internals.figures.sheet_html import pair_lines
from internals.figures.sheets import (
    COLUMNS,
    Frame,
    Sheet,
    full_ink,
    patch_tile,
    projection_tiles,
    sheet,
    tile_size,
)
from internals.figures.table import number
from internals.figures.tiles import padding_key, signed_key, tile_zoom

# Logical pixels: above each channel's tiles, of a line of words, left of stacked tiles, and
# between two channels.
HEADING, LINE, GUTTER, SEPARATION = 22, 13, 16, 16
STACKED_SLOT = 138  # device pixels: nine such tiles fill a line
SIDE_SLOT = 224
_FILLED = 0.72  # of a slot: tiles that fill less of a small one get a large one
MOST = 128  # pixels of a sheet's tile: on a page it is shown a little smaller
_LARGEST_SHEET = 16383  # pixels: WebP holds no side that is longer


@dataclass(frozen=True)
class ChannelPatches:
    """One channel and its strongest units, the strongest first; empty where it never fires.

    Args:
        layer: The layer's name.
        channel: The channel's number.
        projections: (c, h, w), signed, cut to the image.
        patches: (c, h, w) in [0, 1], the same pieces of the images.
        values: The units' activations.
        labels: The images' classes.
        images: The images' ids.
        offsets: (top, left) of each piece in the whole receptive field.
        size: Height and width of the receptive field (unit: pixels of the image).
        silent: Which units do not fire even here, where the channel is strongest; by default none.
            In their place stands the word: their pieces are evidence of nothing.
    """

    layer: str
    channel: int
    projections: Sequence[np.ndarray]
    patches: Sequence[np.ndarray]
    values: Sequence[float]
    labels: Sequence[str]
    images: Sequence[int]
    offsets: Sequence[tuple[int, int]]
    size: tuple[int, int]
    silent: Sequence[bool] = ()

    def is_silent(self, index: int) -> bool:
        """Whether unit `index` of the row does not fire."""
        return bool(self.silent) and self.silent[index]


@dataclass(frozen=True)
class _Layout:
    """Where pairs go: stacked, nine a line, for small tiles; side by side, three a line, else."""

    size: tuple[int, int]  # the whole receptive field: height, width in image pixels
    stacked: bool
    label_lines: int
    inline: bool  # the class name is so short that the image id fits beside it

    @property
    def per_line(self) -> int:
        return 9 if self.stacked else 3

    @property
    def slot(self) -> int:
        """The room for the longer side of one tile, in device pixels."""
        return STACKED_SLOT if self.stacked else SIDE_SLOT

    @property
    def zoom(self) -> float:
        """Logical pixels for one image pixel: whole device pixels, unless tiles must shrink."""
        return tile_zoom(self.size, self.slot)

    @property
    def tile(self) -> tuple[float, float]:
        return self.size[0] * self.zoom, self.size[1] * self.zoom

    @property
    def gap(self) -> float:
        """Between the two pictures of one pair."""
        return 4 if self.stacked else 1

    @property
    def line_height(self) -> float:
        if not self.stacked:
            return self.tile[0] + LINE + 12
        return 2 * self.tile[0] + self.gap + LINE * (self.label_lines + 2 - self.inline) + 12

    @property
    def pair_width(self) -> float:
        return self.tile[1] if self.stacked else 2 * self.tile[1] + self.gap

    def corner(self, index: int, top: float) -> tuple[float, float]:
        """The top left corner of pair `index` below `top`."""
        left = GUTTER if self.stacked else 0
        room = WIDTH - left - self.pair_width
        column, line = index % self.per_line, index // self.per_line
        above = LINE if self.stacked else 0  # the values stand over the projections
        x = left + column * room / (self.per_line - 1)
        return whole(x), whole(top + line * self.line_height + above)

    def height(self, pairs: int) -> float:
        lines = -(-pairs // self.per_line)
        return HEADING + (lines * self.line_height if lines else LINE) + SEPARATION


class Panel(Illustration):
    """Channels with their strongest units: a drawing, or a sheet of tiles that a page labels.

    Either is made when it is first asked for.
    """

    rows: tuple[ChannelPatches, ...]
    noun: str
    stacked: bool

    def __init__(
        self,
        rows: Sequence[ChannelPatches],
        *,
        caption: str,
        alt: str,
        noun: str,
        stacked: bool | None,
    ) -> None:
        size = _common_size(rows)
        stacked = _fills_slot(max(size)) if stacked is None else stacked
        words = {"caption": caption, "alt": alt, "noun": noun}
        for name, value in {"rows": tuple(rows), "stacked": stacked, **words}.items():
            object.__setattr__(self, name, value)  # an illustration is frozen
        self.__post_init__()

    @cached_property
    def figure(self) -> Figure:  # type: ignore[override]
        """The drawing."""
        return draw_rows(self.rows, self.noun, self.stacked)[0].figure

    @cached_property
    def sheet(self) -> Sheet:
        """The tiles, and what a page says of them."""
        lines = [pair_lines(len(row.projections)) for row in self.rows]
        most = max(1, min(MOST, _LARGEST_SHEET // (2 * sum(lines) or 1)))
        tile = tile_size(self.rows[0].size, most)
        tiles: list[np.ndarray] = []
        rows = []
        for row in self.rows:
            made, described = _tiles(row, tile)
            tiles += made
            rows.append(described)
        data = {"tile": list(tile), "lines": sum(lines), "stacked": self.stacked}
        return Sheet(sheet(tiles, tile), data | {"noun": self.noun, "rows": rows})


def panels(
    rows: Sequence[ChannelPatches],
    *,
    caption: str,
    alt: str,
    noun: str = "channel",
    stacked: bool | None = None,
) -> Panel:
    """For each channel, its strongest units: the projection with the patch it comes from.

    Pieces cut at the image's border keep their place in the receptive field, and the rest is
    paper. Projections of a channel share one signed scale on which 0 is mid grey and the loudest
    two pixels in a thousand have full ink; patches are shown as they are. Tiles are enlarged by
    whole numbers.

    Args:
        rows: The channels, all with receptive fields of one size.
        caption: How to read the figure and what to notice, in twelve words or more.
        alt: The same for a reader who cannot see it.
        noun: What a channel is called.
        stacked: Whether projections stand above their patches, nine a line, or beside them, three
            a line; by default stacked where the tiles fill their room.

    Raises:
        ValueError: The rows are of several receptive fields, differ in length, or hold pieces that
            do not lie within their field.
    """
    return Panel(rows, caption=caption, alt=alt, noun=noun, stacked=stacked)


def _common_size(rows: Sequence[ChannelPatches]) -> tuple[int, int]:
    """The receptive field of all rows, which are checked."""
    sizes = {row.size for row in rows}
    if len(sizes) != 1:
        raise ValueError(f"a panel shows units of one receptive field, not of {sorted(sizes)}")
    for row in rows:
        _check_row(row)
    return sizes.pop()


def _tiles(row: ChannelPatches, tile: tuple[int, int]) -> tuple[list[np.ndarray], dict[str, Any]]:
    """The tiles of a channel, in whole lines of a sheet, and what a page says of it."""
    blank = np.full((*tile, 3), ZERO, np.uint8)
    frames = [
        Frame(row.size, tile, offset, patch.shape[1:])
        for offset, patch in zip(row.offsets, row.patches, strict=True)
    ]
    fires = [n for n in range(len(frames)) if not row.is_silent(n)]
    signed_tiles, full, exceeded = projection_tiles(
        [frames[n] for n in fires], [row.projections[n] for n in fires]
    )
    room = COLUMNS * pair_lines(len(frames))
    projections, patches = [blank] * room, [blank] * room
    for n, projection in zip(fires, signed_tiles, strict=True):
        projections[n], patches[n] = projection, patch_tile(frames[n], row.patches[n])
    lines = range(0, room, COLUMNS)
    tiles = [t for at in lines for kind in (projections, patches) for t in kind[at : at + COLUMNS]]
    return tiles, {
        "layer": row.layer,
        "channel": row.channel,
        "colours": len(row.projections[0]) if row.projections else 1,
        "scale": number(full) if full else None,
        "exceeded": exceeded,
        "units": [_unit(row, n, frames[n]) for n in range(len(frames))],
    }


def _unit(row: ChannelPatches, index: int, frame: Frame) -> dict[str, Any]:
    unit: dict[str, Any] = {
        "class": row.labels[index],
        "value": number(row.values[index]),
        "image": int(row.images[index]),
    }
    if row.is_silent(index):
        unit["silent"] = True
    elif any(frame.inset):
        unit["inset"] = list(frame.inset)
    return unit


def draw_rows(
    rows: Sequence[ChannelPatches], noun: str, stacked: bool, *, more: float = 0
) -> tuple[Canvas, float]:
    """The drawing of a panel.

    Args:
        rows: As `panels` takes them.
        noun: Likewise.
        stacked: Whether projections stand above their patches.
        more: The height of what is to be drawn below (unit: logical pixels).

    Returns:
        The canvas, and where the room below begins.
    """
    size = rows[0].size
    names = [name for row in rows for name in row.labels]
    lines = max((len(wrap(name, 69, SMALL_PX)) for name in names), default=1)
    inline = all(text_width(name, SMALL_PX) < 16 for name in names)
    layout = _Layout(size, stacked, lines, inline)
    padded = any(patch.shape[1:] != size for row in rows for patch in row.patches)
    footer = LINE + 4 if padded else 0
    total = sum(layout.height(len(row.projections)) for row in rows) - SEPARATION + footer
    canvas = Canvas(total + more)
    top = 0.0
    for row in rows:
        _draw_row(canvas, layout, row, top, noun)
        top += layout.height(len(row.projections))
    if padded:
        padding_key(canvas, total - 4)
    return canvas, total


def _check_row(row: ChannelPatches) -> None:
    for name in ("patches", "values", "labels", "images", "offsets", "silent"):
        if name == "silent" and not row.silent:
            continue
        if len(getattr(row, name)) != len(row.projections):
            raise ValueError(
                f"channel {row.channel} has {len(row.projections)} projections "
                f"but {len(getattr(row, name))} {name}"
            )
    for projection, patch, (top, left) in zip(
        row.projections, row.patches, row.offsets, strict=True
    ):
        height, width = projection.shape[1:]
        if patch.shape[1:] != (height, width):
            raise ValueError(
                f"channel {row.channel}: a projection of {height} x {width} pixels "
                f"beside a patch of {patch.shape[1]} x {patch.shape[2]}"
            )
        if min(top, left) < 0 or top + height > row.size[0] or left + width > row.size[1]:
            raise ValueError(
                f"channel {row.channel}: a piece of {height} x {width} pixels at {(top, left)} "
                f"does not lie in a field of {row.size[0]} x {row.size[1]}"
            )


def _fills_slot(side: int) -> bool:
    """Whether tiles of `side` image pixels, enlarged by a whole number, fill a stacked slot."""
    return side * (STACKED_SLOT // side) >= _FILLED * STACKED_SLOT


def _draw_row(canvas: Canvas, layout: _Layout, row: ChannelPatches, top: float, noun: str) -> None:
    canvas.line([(0, top + 0.5), (WIDTH, top + 0.5)], GRID)
    canvas.text(0, top + 15, f"{noun} {row.channel}", TEXT, BODY_PX, weight="bold")
    top += HEADING
    if not row.projections:
        canvas.text(0, top + LINE - 4, "never fires on these images", MUTED)
        return
    channels = row.projections[0].shape[0]
    shown = [p for n, p in enumerate(row.projections) if not row.is_silent(n)]
    full, exceeded = full_ink(shown)
    signed_key(canvas, top - HEADING + 15, full, channels, exceeded=exceeded)
    for index in range(len(row.projections)):
        _draw_pair(canvas, layout, row, index, layout.corner(index, top), full)
    if layout.stacked:
        height, turned = layout.tile[0], {"rotation": 90, "ha": "center", "va": "center"}
        middle = top + LINE + height / 2
        canvas.text(5, middle, "projection", MUTED, SMALL_PX, **turned)
        canvas.text(5, middle + height + layout.gap, "patch", MUTED, SMALL_PX, **turned)


def _draw_pair(
    canvas: Canvas,
    layout: _Layout,
    row: ChannelPatches,
    index: int,
    corner: tuple[float, float],
    full: float,
) -> None:
    x, y = corner
    height, width = layout.tile
    second = (x, y + height + layout.gap) if layout.stacked else (x + width + layout.gap, y)
    if row.is_silent(index):
        for left, above in (corner, second):
            canvas.box(left, above, width, height, PADDING)
            canvas.frame(left, above, width, height)
            middle = (left + width / 2, above + height / 2)
            canvas.text(*middle, "silent", MUTED, SMALL_PX, ha="center", va="center")
    else:
        offset = row.offsets[index]
        _draw_piece(canvas, layout, signed(row.projections[index], full), offset, corner)
        _draw_piece(canvas, layout, natural(row.patches[index]), offset, second)
    value, image = number(row.values[index]), f"#{row.images[index]}"
    below, right = second[1] + height + LINE, x + layout.pair_width
    if not layout.stacked:
        canvas.text(x, below, row.labels[index], TEXT, SMALL_PX)
        canvas.text(right, below, f"{value}   {image}", MUTED, SMALL_PX, ha="right")
        return
    canvas.text(x, y - 4, value, MUTED, SMALL_PX)
    names = wrap(row.labels[index], width, SMALL_PX)
    for line, name in enumerate(names):
        canvas.text(x, below + line * LINE, name, TEXT, SMALL_PX)
    if layout.inline:
        canvas.text(right, below, image, MUTED, SMALL_PX, ha="right")
    else:
        canvas.text(x, below + len(names) * LINE, image, MUTED, SMALL_PX)


def _draw_piece(
    canvas: Canvas,
    layout: _Layout,
    pixels: np.ndarray,
    offset: tuple[int, int],
    corner: tuple[float, float],
) -> None:
    (x, y), zoom, (height, width) = corner, layout.zoom, pixels.shape[:2]
    if (height, width) != layout.size:
        canvas.box(x, y, layout.tile[1], layout.tile[0], PADDING)
    canvas.image(x + offset[1] * zoom, y + offset[0] * zoom, pixels, width * zoom, height * zoom)
    canvas.frame(x, y, layout.tile[1], layout.tile[0])
