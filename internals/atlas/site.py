"""All files of an atlas's site, and a site of its own that needs nothing but a browser."""

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from internals.atlas.addresses import Links, Page, sheet_path
from internals.atlas.pages import (
    STRIP_GAP,
    STRIP_TILE,
    atlas_pages,
    card_rows,
    search_data,
    strip_tiles,
)
from internals.atlas.stored import OVERVIEW, Atlas, find_atlases, layer_json
from internals.atlas.words import escaped
from internals.errors import OutputError
from internals.figures.sheet_html import ASSETS as SHEET_ASSETS
from internals.figures.sheet_html import SCRIPT as SHEET_SCRIPT
from internals.figures.sheet_html import STYLE as SHEET_STYLE
from internals.files import new_folder, writing

ASSETS = Path(__file__).parent / "assets"
_OVERVIEW_TILE = 32  # pixels
_QUALITY = 60  # of WebP: tiles that were packed once already

Content = bytes | str | Path


def atlas_files(atlases: Sequence[Atlas], links: Links) -> Iterator[tuple[str, Content]]:
    """Every file beside the pages, by its path in the atlas: sheets, data, scripts and styles."""
    yield "atlas.css", ASSETS / "atlas.css"
    yield "atlas.js", ASSETS / "atlas.js"
    yield SHEET_STYLE, SHEET_ASSETS / SHEET_STYLE
    yield SHEET_SCRIPT, SHEET_ASSETS / SHEET_SCRIPT
    if not atlases:
        return
    yield f"search.{links.data}", _data(search_data(atlases, links), links)
    yield "strip.webp", _strip(atlases)
    for atlas in atlases:
        yield f"{atlas.network}/overview.webp", atlas.folder / OVERVIEW
        yield f"{atlas.network}/card.webp", _card(atlas)
        for layer in atlas.main:
            for kind, file in layer.sheets.items():
                yield sheet_path(atlas, layer, kind), atlas.folder / file
        for layer in atlas.layers.values():
            path = f"data/{atlas.network}/{layer.name}"
            values = layer_json(atlas, layer.name)
            yield f"{path}.json", json.dumps(values, separators=(",", ":"))
            if links.data != "json" and layer.shown < layer.channels:
                yield f"{path}.{links.data}", _data(values, links)


def write_site(atlases: Path, out: Path) -> None:
    """Write the atlases in a folder as a site that can be browsed from any place, also as files.

    Args:
        atlases: The folder with one folder a network.
        out: The site's folder, which is replaced.

    Raises:
        OutputError: There is no atlas, one is damaged, or the site cannot be written.
    """
    found = find_atlases(atlases)
    if not found:
        raise OutputError(f"{atlases} holds no atlas; make one with `internals atlas`")
    links = Links(index="index.html", data="js", alone=len(found) == 1)
    with new_folder(out) as draft:
        for path, content in atlas_files(found, links):
            _write(draft / path, content)
        for name in ("site.css", "site.js"):
            _write(draft / name, ASSETS / name)
        for page in atlas_pages(found, links):
            _write(draft / page.path / "index.html", _framed(page, found, links))


def _write(path: Path, content: Content) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            content = content.read_bytes()
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def _framed(page: Page, atlases: Sequence[Atlas], links: Links) -> str:
    """A whole document around a page."""

    def at(file: str) -> str:
        return links.to(file, page.path)

    styles = "".join(
        f'<link rel="stylesheet" href="{at(name)}">\n'
        for name in ("site.css", SHEET_STYLE, "atlas.css")
    )
    scripts = "".join(
        f'<script defer src="{at(name)}"></script>\n' for name in (SHEET_SCRIPT, "atlas.js")
    )
    name = "Atlas" if len(atlases) > 1 else escaped(atlases[0].record.get("title") or "Atlas")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(page.title)}</title>
<meta name="description" content="{escaped(page.description)}">
<meta name="generator" content="CNN Internals">
<link rel="icon" href="data:,">
<script src="{at("site.js")}"></script>
{styles}{scripts}</head>
<body>
<header class="site-head"><a href="{at("")}">{name}</a>\
<button type="button" hidden>Light or dark</button></header>
<main>
{page.content}
</main>
<footer class="site-foot">Made by <code>internals atlas</code> of CNN Internals.</footer>
</body>
</html>
"""


def _data(values: dict[str, Any], links: Links) -> str:
    """Data for the page's script, as JSON or as a script that hands them over."""
    text = json.dumps(values, separators=(",", ":"))
    return text if links.data == "json" else f"atlasData({text})\n"


def _card(atlas: Atlas) -> bytes:
    """Some tiles of the overview, for the card of a network."""
    overview = _pixels(atlas.folder / OVERVIEW)
    side = _OVERVIEW_TILE
    lines = [
        np.hstack(
            [
                overview[row * side : (row + 1) * side, column * side : (column + 1) * side]
                for row, column in line
            ]
        )
        for line in card_rows(atlas)
    ]
    return _webp(np.vstack(lines))


def _strip(atlases: Sequence[Atlas]) -> bytes:
    """Of some channels the strongest projection above its patch, side by side."""
    pairs = []
    for tile in strip_tiles(atlases):
        height, width = tile.layer.tile
        top = tile.channel * height
        pair = []
        for kind in ("projections", "patches"):
            sheet = _pixels(tile.atlas.folder / tile.layer.sheets[kind])
            piece = Image.fromarray(sheet[top : top + height, :width])
            pair.append(np.asarray(piece.resize((STRIP_TILE, STRIP_TILE))))
        pairs += [np.vstack(pair), np.full((2 * STRIP_TILE, STRIP_GAP, 3), 128, np.uint8)]
    return _webp(np.hstack(pairs))


def _pixels(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"))


def _webp(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=_QUALITY, method=4)
    return file.getvalue()
