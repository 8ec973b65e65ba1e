"""Small pictures of the figures, made with the site and kept from one build to the next."""

import hashlib
import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from internals.book.pages import Prepared
from internals.environment import cores
from internals.figures.sheet_html import COLUMNS
from internals.files import write_atomically

_WIDTH, _SIDE = 480, 288  # pixels, of a thumbnail and of a square one: twice their place's
_TALLEST = 1.25  # of the width: what is taller is a list of channels, and shows the first of them
_SHOWN = 0.66  # of the width: how much of it
_SQUARE = 4  # tiles of a sheet a side, an even number: projections stand above their patches
_QUALITY = 62
_DARK = "-dark"  # what the name of a figure's twin for dark paper ends in

Tile = tuple[int, int] | None  # height and width of a sheet's tiles; None for other figures


@dataclass(frozen=True)
class Thumbnail:
    """A small picture of a figure.

    Attributes:
        uri: Its address on the site.
        path: Its file.
        width: In pixels of the page, half of its own.
        height: Likewise.
        dark: The same of the figure's twin for dark paper, where it has one.
    """

    uri: str
    path: Path
    width: int
    height: int
    dark: "Thumbnail | None" = None

    @property
    def source(self) -> str:
        """What Markdown names; the browser adds the twin (`docs/javascripts/page.js`)."""
        return f"{self.uri}#only-light" if self.dark else self.uri


def thumbnails(chapters: Iterable[Prepared], folder: Path) -> dict[tuple[str, str], Thumbnail]:
    """A thumbnail of every figure, by the names of its chapter and of the figure.

    A figure is shown whole, but a tall panel by its first channels.

    Args:
        chapters: With their runs.
        folder: Where thumbnails are kept, under a key of what they are made of.
    """
    wanted = [(chapter, figure) for chapter in chapters for figure in chapter.figures]
    with ThreadPoolExecutor(cores()) as pool:
        made = pool.map(lambda pair: _with_twin(pair[0], pair[1], folder, square=False), wanted)
        return {
            (chapter.script.name, str(figure["name"])): thumbnail
            for (chapter, figure), thumbnail in zip(wanted, made, strict=True)
            if thumbnail
        }


def square_thumbnail(chapter: Prepared, name: str, folder: Path) -> Thumbnail | None:
    """The upper left of a figure as a square, for the chapter's card; None where there is none."""
    figure = next((figure for figure in chapter.figures if figure["name"] == name), None)
    return _with_twin(chapter, figure, folder, square=True) if figure else None


def _with_twin(
    chapter: Prepared, figure: Mapping[str, Any], folder: Path, *, square: bool
) -> Thumbnail | None:
    name = str(figure["name"])
    if not chapter.run or not (light := chapter.run.folder / f"{name}.webp").is_file():
        return None
    tile = tuple(figure["sheet"]["tile"]) if "sheet" in figure else None
    place = f"chapters/{chapter.script.name}/thumbnails/{'square-' if square else ''}{name}"
    twin = light.with_name(f"{name}{_DARK}.webp")
    dark = None
    if twin.is_file():
        dark = _thumbnail(twin, f"{place}{_DARK}.webp", folder, square, tile)
    return _thumbnail(light, f"{place}.webp", folder, square, tile, dark)


def _thumbnail(
    source: Path, uri: str, folder: Path, square: bool, tile: Tile, dark: Thumbnail | None = None
) -> Thumbnail:
    content = source.read_bytes()
    choices = (_WIDTH, _SIDE, _TALLEST, _SHOWN, _SQUARE, _QUALITY, square, tile)
    key = hashlib.sha256(content + repr(choices).encode()).hexdigest()
    path = folder / f"{key[:20]}.webp"
    if not path.is_file():
        write_atomically(path, _reduced(content, square, tile))
    with Image.open(path) as picture:
        width, height = picture.size
    return Thumbnail(uri, path, round(width / 2), round(height / 2), dark)


def _reduced(content: bytes, square: bool, tile: Tile) -> bytes:
    with Image.open(io.BytesIO(content)) as picture:
        if tile:  # which may be stored larger than it is
            scale = max(1, picture.width // (COLUMNS * tile[1]))
            tile = (scale * tile[0], scale * tile[1])
        shown = picture.crop((0, 0, *_part(picture, square, tile)))
    width, height = (_SIDE, _SIDE) if square else (_WIDTH, shown.height)
    if tile and width >= 2 * shown.width:  # pixels of a small field, as large as on their page
        zoom = width // shown.width
        shown = shown.resize((shown.width * zoom, shown.height * zoom), Image.Resampling.NEAREST)
    else:
        shown.thumbnail((width, height), reducing_gap=2)
    file = io.BytesIO()
    shown.save(file, "WEBP", quality=_QUALITY, alpha_quality=_QUALITY, method=3)
    return file.getvalue()


def _part(picture: Image.Image, square: bool, tile: Tile) -> tuple[int, int]:
    """Width and height of what is shown of a figure, from its upper left."""
    width, height = picture.size
    if square:
        if tile:
            return min(width, _SQUARE * tile[1]), min(height, _SQUARE * tile[0])
        return min(width, height), min(width, height)
    if height <= _TALLEST * width:
        return width, height
    if tile:
        pair = 2 * tile[0]
        return width, min(height, max(1, round(_SHOWN * width / pair)) * pair)
    return width, _between_tiles(picture, round(_SHOWN * width))


def _between_tiles(picture: Image.Image, limit: int) -> int:
    """Where to cut a tall figure: in the last row above `limit` that is of one colour."""
    pixels = np.asarray(picture.crop((0, 0, picture.width, limit)))
    empty = (pixels == pixels[:, :1]).all(axis=(1, 2))
    return limit - int(np.argmax(empty[::-1])) if empty.any() else limit
