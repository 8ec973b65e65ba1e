"""MkDocs' events: the stored atlas becomes pages of the book. Nothing is computed by a network."""

import html
import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page as MkDocsPage
from mkdocs.structure.toc import TableOfContents

from internals.atlas.addresses import Links, Page, layer_path
from internals.atlas.pages import atlas_pages, strip
from internals.atlas.site import Content, atlas_files
from internals.atlas.stored import RECORD, Atlas, DamagedAtlasError, read_atlas
from internals.book.layout import PUBLISHED, Layout
from internals.files import put_back

log = logging.getLogger("mkdocs.plugins.internals")
_EVERY_NETWORK = "atlas/*"  # in the nav
_STRIP = "<!-- atlas -->"
_PANEL = re.compile(r'<figure [^>]*data-layer="([^"]+)"[^>]*>.*?(?=</figcaption>)', re.DOTALL)
_FOLDER = "atlas/"


class AtlasFile(File):
    """A page of the atlas among MkDocs' files: HTML already, so no Markdown is parsed."""

    def __init__(self, atlas_page: Page, config: MkDocsConfig, inclusion: InclusionLevel) -> None:
        self.atlas_page = atlas_page
        super().__init__(
            f"{_FOLDER}{atlas_page.path}index.md",
            None,
            config.site_dir,
            config.use_directory_urls,
            inclusion=inclusion,
        )
        self.generated_by = "internals.atlas"
        self._content = _front_matter(atlas_page)


@dataclass
class _Shown:
    """The atlases of one build. What is made of them is kept for when the site is built again."""

    folder: Path = Path()
    atlases: list[Atlas] = field(default_factory=list)
    key: object = None
    pages: list[Page] = field(default_factory=list)
    files: list[tuple[str, Content]] = field(default_factory=list)


_shown = _Shown()


def atlas_folder(layout: Layout, profile: str) -> Path:
    """Where the atlases that belong to the runs at `profile` are stored."""
    return (layout.edition if profile == PUBLISHED else layout.build(profile)) / "atlas"


def atlas_link(network: str, layer: str, channel: int | None = None) -> str | None:
    """The address of a layer in the atlas that is being built, from the site's root.

    Args:
        network: Such as "alexnet".
        layer: Its module path, or that of its normalisation.
        channel: One of its channels.

    Returns:
        None where the atlas has no page of it.
    """
    for atlas in _shown.atlases:
        if atlas.network != network:
            continue
        for found in atlas.main:
            if layer not in (found.name, found.normaliser):
                continue
            if channel is None:
                return _FOLDER + Links().to(layer_path(network, found.name), "")
            if channel < found.shown:
                part = layer_path(network, found.name, channel)
                return _FOLDER + Links().to(part, "", str(channel))
    return None


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Read the atlas of the edition, and put its networks into the nav."""
    layout = Layout.at(Path(config.config_file_path).parent)
    profile = os.environ.get("INTERNALS_EDITION") or PUBLISHED
    _shown.folder = atlas_folder(layout, profile)
    _shown.atlases = _read(_shown.folder, layout)
    chapters = _chapters(layout)
    key = [str(atlas.record["checksum"]) for atlas in _shown.atlases]
    if [key, chapters] != _shown.key:
        links = Links(chapters=chapters)
        _shown.key = [key, chapters]
        _shown.pages = list(atlas_pages(_shown.atlases, links))
        _shown.files = list(atlas_files(_shown.atlases, links))
    pages: list[Any] = [{"All networks": f"{_FOLDER}index.md"}]
    pages += [{a.record["title"]: f"{_FOLDER}{a.network}/index.md"} for a in _shown.atlases]
    config.nav = _expanded(config.nav, pages)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and every file beside them."""
    for page in _shown.pages:
        deep = page.path.count("/") > 1
        level = InclusionLevel.NOT_IN_NAV if deep else InclusionLevel.INCLUDED
        files.append(AtlasFile(page, config, level))
    for path, content in _shown.files:
        uri = _FOLDER + path
        if isinstance(content, Path):
            files.append(File.generated(config, uri, abs_src_path=str(content)))
        else:
            files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(
    markdown: str, page: MkDocsPage, config: MkDocsConfig, files: Files
) -> str | None:
    """Replace the marker for a moving piece of the atlas."""
    return markdown.replace(_STRIP, _moving_piece(page)) if _STRIP in markdown else markdown


def on_page_content(content: str, page: MkDocsPage, config: MkDocsConfig, files: Files) -> str:
    """Link each panel of a network's chapter to its layer in the atlas."""
    network = re.fullmatch(r"chapters/\d\d_(\w+)\.py", page.file.src_uri)
    if network is None or network[1] not in [atlas.network for atlas in _shown.atlases]:
        return content
    root = "../" * page.url.count("/")
    return _PANEL.sub(lambda panel: panel[0] + _panel_links(network[1], panel[1], root), content)


def on_pre_page(page: MkDocsPage, config: MkDocsConfig, files: Files) -> MkDocsPage:
    """Let a page of the atlas be what it is: nothing is left to render."""
    if isinstance(page.file, AtlasFile):
        own = page.file.atlas_page

        def render(config: Any, files: Any) -> None:
            page.content = own.content
            page.toc = TableOfContents([])

        page.render = render  # type: ignore[method-assign]
    return page


def on_post_page(output: str, page: MkDocsPage, config: MkDocsConfig) -> str:
    """Give a page with the moving piece what it moves by."""
    if 'class="atlas-strip"' not in output:
        return output
    root = "../" * page.url.count("/")
    style = f'<link rel="stylesheet" href="{root}{_FOLDER}atlas.css">'
    script = f'<script defer src="{root}{_FOLDER}atlas.js"></script>'
    return output.replace("</head>", f"{style}{script}</head>", 1)


def on_serve(server: Any, config: MkDocsConfig, builder: Any) -> Any:
    """Rebuild when an atlas is made again."""
    if _shown.folder.is_dir():
        server.watch(str(_shown.folder))
    return server


def _front_matter(page: Page) -> str:
    """What MkDocs and its plugins are told of a page."""
    meta: dict[str, Any] = {
        "title": page.title,
        "description": page.description,
        "template": "atlas.html",
        "hide": ["toc"],
        "glightbox": False,
    }
    if page.path:
        meta["search"] = {"exclude": True}  # the atlas has a search of its own
    return f"---\n{yaml.safe_dump(meta, allow_unicode=True)}---\n"


def _read(folder: Path, layout: Layout) -> list[Atlas]:
    """The atlases, in the order of the chapters; damaged ones are named, and shown nowhere."""
    found = []
    put_back(folder)
    for path in sorted(folder.glob(f"[!.]*/{RECORD}")):
        try:
            found.append(read_atlas(path.parent))
        except DamagedAtlasError as error:
            log.warning("%s", error)
    order = list(_chapters(layout))
    return sorted(found, key=lambda a: order.index(a.network) if a.network in order else 99)


def _chapters(layout: Layout) -> dict[str, str]:
    """Network to the address of its chapter, seen from the atlas's folder: 02_alexnet is AlexNet's.

    Chapters about one network only are named after it.
    """
    names = [path.stem for path in layout.scripts()]
    return {name.partition("_")[2]: f"../chapters/{name}" for name in names}


def _expanded(nav: Any, pages: list[Any]) -> Any:
    """The nav with the entry `atlas/*` replaced by the atlas's pages."""
    if isinstance(nav, list):
        return [_expanded(entry, pages) for entry in nav]
    if isinstance(nav, dict):
        return {
            title: pages if entry == _EVERY_NETWORK else _expanded(entry, pages)
            for title, entry in nav.items()
        }
    return nav


def _moving_piece(page: MkDocsPage) -> str:
    """Some channels side by side, under a heading, as Markdown; nothing where there is no atlas."""
    if not _shown.atlases:
        return ""
    shown = sum(layer.shown for atlas in _shown.atlases for layer in atlas.main)
    root = "../" * page.url.count("/")
    return (
        f"## Every channel a page\n\n[The atlas]({root}{_FOLDER}index.md) shows {shown:,} "
        "channels. Above, what in a patch drives one; below, the patch. Open it for the other "
        "eight.\n\n"
        f"{strip(_shown.atlases, Links(), root + _FOLDER)}\n"
    )


def _panel_links(network: str, layers: str, root: str) -> str:
    """What leads on from a panel of one or more layers, as far as the atlas has them."""
    links = ""
    for layer in html.unescape(layers).split():
        if address := atlas_link(network, layer):
            words = f"All channels of {html.escape(layer)} in the atlas"
            links += f' <a class="to-atlas" href="{root}{address}">{words}</a>'
    return links
