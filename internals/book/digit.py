"""The place on a page where one draws a digit and LeNet-5 runs: its element, and what it needs."""

import html
import json
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File
from mkdocs.utils import get_relative_url

from internals.errors import ChapterError

MARKER = "<!-- digit -->"
_FOLDER = "live"  # of the site, and of the published edition
_MANIFEST, _SHEET, _STILL = "lenet5.json", "first-look.webp", "still.webp"
_ALT = (
    "A drawn four on its way through LeNet-5: the maps of five layers, then 84 values that draw "
    "the bitmap of a four, then ten distances of which that to the four is the smallest."
)


def live_downloads(edition: Path, config: MkDocsConfig) -> list[File]:
    """The files of the network that runs in the page, as `internals live` published them."""
    return [
        File.generated(config, f"{_FOLDER}/{path.name}", abs_src_path=str(path))
        for path in sorted((edition / _FOLDER).glob("[!.]*"))
    ]


def draw_digit(edition: Path, page_url: str) -> str:
    """What stands in the marker's place; nothing where no network was published.

    Readers without scripts see a still picture. Styles and scripts are only on pages that have it.

    Args:
        edition: The folder of the published edition.
        page_url: The page's address on the site.

    Raises:
        ChapterError: The manifest is damaged.
    """
    path = edition / _FOLDER / _MANIFEST
    if not path.is_file():
        return ""
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        example = {
            "strokes": manifest["samples"][manifest["example"]],
            "penalties": manifest["penalties"],
            "limit": manifest["limit"],
        }
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ChapterError(f"{path} is damaged; `internals live` writes it anew") from error
    to = {
        name: get_relative_url(f"{_FOLDER}/{name}", page_url)
        for name in (_MANIFEST, _SHEET, _STILL)
    }
    style = get_relative_url("stylesheets/digit.css", page_url)
    script = get_relative_url("javascripts/digit.js", page_url)
    return (
        f'<div class="draw-digit" data-manifest="{to[_MANIFEST]}" data-sheet="{to[_SHEET]}" '
        f'data-example="{html.escape(json.dumps(example, separators=(",", ":")))}">'
        f'<noscript><img class="off-glb" src="{to[_STILL]}" alt="{_ALT}"></noscript></div>'
        f'<link rel="stylesheet" href="{style}"><script type="module" src="{script}"></script>'
    )
