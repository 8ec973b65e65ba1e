"""MkDocs' events: chapters become pages, rendered by mkdocs-jupyter. Nothing is executed."""

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mkdocs_jupyter.config
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page
from mkdocs.utils import get_markdown_title
from mkdocs.utils.meta import get_data
from nbconvert.exporters.templateexporter import default_filters

from internals.book import digit
from internals.book.contents import (
    api_reference,
    bibliography,
    chapter_cards,
    links_to_chapters,
    quoted_figure,
    thumbnail_figure,
)
from internals.book.gallery import figure_index
from internals.book.layout import PROFILES, PUBLISHED, Layout
from internals.book.markup import FILTERS
from internals.book.pages import Prepared, prepare_changed, render_through_mkdocs, site_links
from internals.book.stored import Status
from internals.book.thumbnails import Thumbnail, square_thumbnail, thumbnails
from internals.errors import ChapterError
from internals.figures.sheet_html import ASSETS, SCRIPT, STYLE
from internals.files import write_atomically

log = logging.getLogger("mkdocs.plugins.internals")
_CARDS, _BIBLIOGRAPHY = "<!-- chapters -->", "<!-- bibliography -->"
_FIGURE = re.compile(r"<!-- figure: (\w+) ([\w-]+) -->")  # a chapter, and one of its figures
_API = re.compile(r"<!-- api: ([a-z.]+)((?: \w+)*) -->")  # a package, and some of its names
_WIDE = re.compile(r"(<table\b(?![^>]*\btabindex)|<pre\b[^>]*>(?:<span></span>)?<code)")
_BEFORE_PERCENT = re.compile(r"<(pre|code)\b.*?</\1>|(?<=\d) (?=%)", re.DOTALL)
_SOURCE_MAP = re.compile(r"/\*# sourceMappingURL=.*?\*/")
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
    cards: dict[str, Thumbnail | None]


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
            prepared = prepare_changed(_site.layout, _site.profile, path, config.edit_uri or "")
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
    for uri, name in ((f"stylesheets/{STYLE}", STYLE), (f"javascripts/{SCRIPT}", SCRIPT)):
        files.append(File.generated(config, uri, abs_src_path=str(ASSETS / name)))
    for file in digit.live_downloads(_site.layout.edition, config):
        files.append(file)
    style_sheet = _style_sheet(config, files)
    files.append(File.generated(config, "stylesheets/site.css", content=style_sheet))
    folder = _site.layout.build("thumbnails")
    small = thumbnails(_site.chapters, folder)
    _site.cards = {
        chapter.script.name: square_thumbnail(chapter, thumbnail_figure(chapter), folder)
        for chapter in _site.chapters
    }
    for thumbnail in [*small.values(), *filter(None, _site.cards.values())]:
        for shown in filter(None, (thumbnail, thumbnail.dark)):
            files.append(File.generated(config, shown.uri, abs_src_path=str(shown.path)))
    index = figure_index(_site.chapters, small)
    files.append(File.generated(config, "figures.md", content=index))
    _keep_up_to_date(files, config)
    return files


def _style_sheet(config: MkDocsConfig, files: Files) -> str:
    """The theme's style sheets and the book's as one, which the pages' template links to.

    mkdocstrings' own is left out: the template links to it from the pages of the API.
    """
    themed = [
        path
        for name in ("main", "palette")
        for folder in config.theme.dirs
        for path in sorted(Path(folder).glob(f"assets/stylesheets/{name}.*.min.css"))
    ]
    texts = [path.read_text(encoding="utf-8") for path in themed]
    ours = [files.get_file_from_path(str(name)) for name in config.extra_css]
    texts += [file.content_string for file in ours if file is not None]
    config.extra_css = []
    return "\n".join(_SOURCE_MAP.sub("", text) for text in texts)


def _keep_up_to_date(files: Files, config: MkDocsConfig) -> None:
    """Let `mkdocs serve --dirty` also make again what depends on other files than its source.

    The home page holds the chapters' cards, and every page the configuration and the theme.
    """
    shared = [Path(config.config_file_path), Path(config.plugins["bibtex"].config.bib_file)]
    for folder in config.theme.dirs:
        if Path(folder).is_relative_to(config.docs_dir):
            shared += Path(folder).rglob("*.html")
    newest = max(file.stat().st_mtime for file in shared if file.is_file())
    for file in files.documentation_pages():
        page = Path(file.abs_dest_path)
        if file.src_uri == "index.md" or not page.is_file() or page.stat().st_mtime < newest:
            file.is_modified = lambda: True  # type: ignore[method-assign]


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Name all pages, also those that a dirty build does not read."""
    for page in nav.pages:
        if isinstance(page.file, ChapterFile):
            page.title = page.file.prepared.title
        elif page.title is None:
            text, meta = get_data(page.file.content_string)
            page.title = meta.get("title") or get_markdown_title(text)
    return nav


def on_page_read_source(page: Page, config: MkDocsConfig) -> str | None:
    """A chapter's front matter; mkdocs-jupyter renders its body."""
    if not isinstance(page.file, ChapterFile):
        return None
    meta = {"description": page.file.prepared.description, **page.file.prepared.script.meta}
    return f"---\n{yaml.safe_dump(meta, allow_unicode=True)}---\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Replace the markers by what they stand for, and correct links into the repository."""
    if _CARDS in markdown:
        markdown = markdown.replace(_CARDS, chapter_cards(_site.chapters, _site.cards))
    if digit.MARKER in markdown:
        there = digit.draw_digit(_site.layout.edition, page.url)
        markdown = markdown.replace(digit.MARKER, there)
    if _BIBLIOGRAPHY in markdown:
        references = Path(config.docs_dir) / "references.bib"
        markdown = markdown.replace(_BIBLIOGRAPHY, bibliography(references, _site.chapters))
    markdown = _FIGURE.sub(lambda match: quoted_figure(_site.chapters, *match.groups()), markdown)
    if not isinstance(page.file, ChapterFile):
        markdown = links_to_chapters(markdown, _site.chapters)
    markdown = _API.sub(lambda match: api_reference(match[1], match[2].split()), markdown)
    return site_links(markdown, page.file.src_uri, config.edit_uri or "", _site.layout.root)


@event_priority(-100)  # after the plugin that makes links of pictures
def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let wide things be reached by keyboard, and spare the page the lightbox's own files.

    The browser takes the stop away from what fits, and fetches the lightbox at the first click
    (`docs/javascripts/page.js`). Outside code no line ends between a number and its %.
    """
    page.meta["glightbox"] = False
    content = _BEFORE_PERCENT.sub(lambda m: m[0] if m[1] else "\N{NO-BREAK SPACE}", content)
    return _WIDE.sub(r'\1 tabindex="0"', content)


def on_pre_page(page: Page, config: MkDocsConfig, files: Files) -> Page:
    """Render a chapter through mkdocs-jupyter, once."""
    if isinstance(page.file, ChapterFile):
        render_through_mkdocs(page)
    return page


@event_priority(100)  # before the search plugin writes its index
def on_post_build(config: MkDocsConfig) -> None:
    """Keep in a dirty build's search index what was not built again.

    Material would do it, but for one page a build: with the home page it forgets all others.
    """
    search: Any = config.plugins["material/search"]
    if search.search_index_prev:
        built = {_page_of(entry) for entry in search.search_index.entries}
        kept = [e for e in search.search_index_prev.entries if _page_of(e) not in built]
        search.search_index.entries[:0] = kept
        search.search_index_prev = None


def _page_of(entry: Mapping[str, Any]) -> str:
    return str(entry["location"]).partition("#")[0]


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
    if not path.is_file() or path.read_text(encoding="utf-8") != prepared.text:
        write_atomically(path, prepared.text)
    return path


def _downloads(prepared: Prepared, config: MkDocsConfig) -> list[tuple[str, str]]:
    """The script, and the executed notebook with the site's addresses of its pictures."""
    name = prepared.script.name
    script = prepared.script.path.read_text(encoding="utf-8")
    files = [(f"{name}/{name}.py", script)]
    if prepared.run:
        notebook = prepared.executed
        if config.site_url:
            home = f"{config.site_url.rstrip('/')}/chapters/{name}/"
            notebook = re.sub(r"\]\(([a-z0-9-]+\.webp)\)", rf"]({home}\1)", notebook)
        files.append((f"{name}/{name}.ipynb", notebook))
    return files
