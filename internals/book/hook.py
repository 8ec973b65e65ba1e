"""MkDocs' events: chapters become pages, rendered by mkdocs-jupyter; nothing is executed."""

import logging
import os
import re
from pathlib import Path
from typing import Any

import mkdocs_jupyter.config
import nbformat
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert.exporters.templateexporter import default_filters

from internals.book.layout import PROFILES, PUBLISHED, Layout
from internals.book.pages import (
    FILTERS,
    Prepared,
    chapter_cards,
    figure_index,
    prepare,
    rendered_once,
    site_links,
)
from internals.book.stored import Status
from internals.errors import ChapterError
from internals.files import write_atomically

log = logging.getLogger("mkdocs.plugins.internals")
_CARDS = "<!-- chapters -->"
_EVERY_CHAPTER = "chapters/*.py"


class ChapterFile(File):
    """A chapter among MkDocs' files: called by its script, read from its prepared notebook.

    So links, navigation and the edit button say `chapters/01_lenet5.py`, as they do on GitHub,
    while mkdocs-jupyter finds a notebook.
    """

    def __init__(self, prepared: Prepared, notebook: Path, config: MkDocsConfig) -> None:
        self.prepared = prepared
        src_uri = f"chapters/{prepared.script.path.name}"
        super().__init__(src_uri, None, config.site_dir, config.use_directory_urls)
        self.abs_src_path = str(notebook)

    def is_documentation_page(self) -> bool:
        """Its extension is `.py`, which MkDocs would take for a download."""
        return True


class _Site:
    """What the events of one build share."""

    layout: Layout
    profile: str
    chapters: list[Prepared]


_site = _Site()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Choose the edition, hand the template its filters, and put the chapters into the nav."""
    _site.layout = Layout.at(Path(config.config_file_path).parent)
    _site.profile = os.environ.get("INTERNALS_EDITION") or PUBLISHED
    if _site.profile not in PROFILES:
        raise PluginError(f"INTERNALS_EDITION={_site.profile} is not one of {', '.join(PROFILES)}")
    mkdocs_jupyter.config.settings.templates_dir = str(Path(__file__).parent / "templates")
    default_filters.update(FILTERS)
    pages = [f"chapters/{path.name}" for path in _site.layout.scripts()]
    config.nav = _expanded(config.nav, pages)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add each chapter's page, pictures and downloads, and the index of figures."""
    for file in files.documentation_pages():
        file.edit_uri = f"docs/{file.src_uri}"
    _site.chapters = []
    for path in _site.layout.scripts():
        try:
            prepared = prepare(_site.layout, _site.profile, path)
        except ChapterError as error:
            log.warning("%s", error)
            continue
        _complain(prepared)
        _site.chapters.append(prepared)
        files.append(ChapterFile(prepared, _written(prepared), config))
        for name, content in _downloads(prepared, config):
            files.append(File.generated(config, f"chapters/{name}", content=content))
        for picture in prepared.run.pictures if prepared.run else []:
            uri = f"chapters/{prepared.script.name}/{picture.name}"
            files.append(File.generated(config, uri, abs_src_path=str(picture)))
    files.append(File.generated(config, "figures.md", content=figure_index(_site.chapters)))
    return files


def on_page_read_source(page: Page, config: MkDocsConfig) -> str | None:
    """A chapter's front matter; its body is made when mkdocs-jupyter renders it."""
    if not isinstance(page.file, ChapterFile):
        return None
    meta = {"description": page.file.prepared.description, **page.file.prepared.script.meta}
    return f"---\n{yaml.safe_dump(meta, allow_unicode=True)}---\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """List the chapters where a page asks for them, and set the repository's links right."""
    if _CARDS in markdown:
        markdown = markdown.replace(_CARDS, chapter_cards(_site.chapters))
    return site_links(markdown, page.file.src_uri, config.edit_uri or "", _site.layout.root)


def on_pre_page(page: Page, config: MkDocsConfig, files: Files) -> Page:
    """Render a chapter through mkdocs-jupyter, once."""
    if isinstance(page.file, ChapterFile):
        rendered_once(page)
    return page


def on_serve(server: Any, config: MkDocsConfig, builder: Any) -> Any:
    """Rebuild when a chapter's prose is edited, or when `internals execute` keeps a new run."""
    server.watch(str(_site.layout.chapters))
    runs = _site.layout.build(_site.profile) / "chapters"
    if _site.profile != PUBLISHED and runs.is_dir():
        server.watch(str(runs))
    return server


def _expanded(nav: Any, pages: list[str]) -> Any:
    """The nav with the entry `chapters/*.py` replaced by the chapters that there are."""
    if isinstance(nav, list):
        out: list[Any] = []
        for item in nav:
            out += pages if item == _EVERY_CHAPTER else [_expanded(item, pages)]
        return out
    if isinstance(nav, dict):
        return {
            title: pages if entry == _EVERY_CHAPTER else _expanded(entry, pages)
            for title, entry in nav.items()
        }
    return nav


def _complain(prepared: Prepared) -> None:
    """Say that a page is stale or missing: a warning, so a failure, where fresh ones are due."""
    if prepared.status is Status.FRESH:
        return
    required = os.environ.get("INTERNALS_REQUIRE_FRESH") == "1"
    log.log(
        logging.WARNING if required else logging.INFO,
        "%s is %s in the %s edition; `internals execute %s --profile %s` executes it",
        prepared.script.label,
        prepared.status.value,
        _site.profile,
        prepared.script.name,
        _site.profile,
    )


def _written(prepared: Prepared) -> Path:
    """The prepared notebook in a file; one that has not changed is not written again."""
    path = _site.layout.build("pages") / _site.profile / f"{prepared.script.name}.ipynb"
    text = nbformat.writes(prepared.notebook)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, text)
    return path


def _downloads(prepared: Prepared, config: MkDocsConfig) -> list[tuple[str, str]]:
    """The script, and the executed notebook; its pictures are then found on the site."""
    name = prepared.script.name
    script = prepared.script.path.read_text(encoding="utf-8")
    files = [(f"{name}/{name}.py", script)]
    if prepared.run:
        notebook = nbformat.writes(prepared.run.notebook())
        if config.site_url:
            home = f"{config.site_url.rstrip('/')}/chapters/{name}/"
            notebook = re.sub(r"\]\(([a-z0-9-]+\.webp)\)", rf"]({home}\1)", notebook)
        files.append((f"{name}/{name}.ipynb", notebook))
    return files
