"""MkDocs' events: chapters become pages, rendered by mkdocs-jupyter. Nothing is executed."""

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

from internals.book.contents import api_reference, chapter_cards, figure_index
from internals.book.layout import PROFILES, PUBLISHED, Layout
from internals.book.markup import FILTERS
from internals.book.pages import Prepared, prepare, render_through_mkdocs, site_links
from internals.book.stored import Status
from internals.errors import ChapterError
from internals.files import write_atomically

log = logging.getLogger("mkdocs.plugins.internals")
_CARDS = "<!-- chapters -->"
_API = re.compile(r"<!-- api: ([a-z.]+)((?: \w+)*) -->")  # a package, and some of its names
_EVERY_CHAPTER = "chapters/*.py"


class ChapterFile(File):
    """A chapter among MkDocs' files: named after its script, read from its prepared notebook.

    Links, navigation and the edit button then name `chapters/01_lenet5.py`, as they do on GitHub,
    while mkdocs-jupyter reads a notebook.
    """

    def __init__(self, prepared: Prepared, notebook: Path, config: MkDocsConfig) -> None:
        self.prepared = prepared
        src_uri = f"chapters/{prepared.script.path.name}"
        super().__init__(src_uri, None, config.site_dir, config.use_directory_urls)
        self.abs_src_path = str(notebook)

    def is_documentation_page(self) -> bool:
        """True: its extension is `.py`, which MkDocs would take for a download."""
        return True


class _Site:
    """The state that the events of one build share."""

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
        _log_status(prepared)
        _site.chapters.append(prepared)
        files.append(ChapterFile(prepared, _write_notebook(prepared), config))
        for name, content in _downloads(prepared, config):
            files.append(File.generated(config, f"chapters/{name}", content=content))
        for picture in prepared.run.pictures if prepared.run else []:
            uri = f"chapters/{prepared.script.name}/{picture.name}"
            files.append(File.generated(config, uri, abs_src_path=str(picture)))
    files.append(File.generated(config, "figures.md", content=figure_index(_site.chapters)))
    return files


def on_page_read_source(page: Page, config: MkDocsConfig) -> str | None:
    """A chapter's front matter; mkdocs-jupyter renders its body."""
    if not isinstance(page.file, ChapterFile):
        return None
    meta = {"description": page.file.prepared.description, **page.file.prepared.script.meta}
    return f"---\n{yaml.safe_dump(meta, allow_unicode=True)}---\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace the markers for chapters and API names, and correct links into the repository."""
    if _CARDS in markdown:
        markdown = markdown.replace(_CARDS, chapter_cards(_site.chapters))
    markdown = _API.sub(lambda match: api_reference(match[1], match[2].split()), markdown)
    return site_links(markdown, page.file.src_uri, config.edit_uri or "", _site.layout.root)


def on_pre_page(page: Page, config: MkDocsConfig, files: Files) -> Page:
    """Render a chapter through mkdocs-jupyter, once."""
    if isinstance(page.file, ChapterFile):
        render_through_mkdocs(page)
    return page


def on_serve(server: Any, config: MkDocsConfig, builder: Any) -> Any:
    """Rebuild when a chapter is edited, or when `internals execute` stores a new run."""
    server.watch(str(_site.layout.chapters))
    runs = _site.layout.build(_site.profile) / "chapters"
    if _site.profile != PUBLISHED and runs.is_dir():
        server.watch(str(runs))
    return server


def _expanded(nav: Any, pages: list[str]) -> Any:
    """The nav with the entry `chapters/*.py` replaced by all chapters."""
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


def _log_status(prepared: Prepared) -> None:
    """Log a page that is not fresh: as a warning, which fails strict builds, where required.

    A damaged run always is a warning: nobody damages it on purpose.
    """
    if prepared.status is Status.FRESH:
        return
    required = os.environ.get("INTERNALS_REQUIRE_FRESH") == "1"
    required |= prepared.status is Status.DAMAGED
    log.log(
        logging.WARNING if required else logging.INFO,
        "%s is %s in the %s edition; `internals execute %s --profile %s` executes it",
        prepared.script.label,
        prepared.status.value,
        _site.profile,
        prepared.script.name,
        _site.profile,
    )


def _write_notebook(prepared: Prepared) -> Path:
    """Write the prepared notebook, if it has changed, and return its path."""
    path = _site.layout.build("pages") / _site.profile / f"{prepared.script.name}.ipynb"
    text = nbformat.writes(prepared.notebook)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_atomically(path, text)
    return path


def _downloads(prepared: Prepared, config: MkDocsConfig) -> list[tuple[str, str]]:
    """The script, and the executed notebook with the site's addresses of its pictures."""
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
