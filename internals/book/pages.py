"""A chapter's page: its prose as it is now, with the outputs of its stored run."""

import copy
import html
import posixpath
import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.pages import Page
from nbconvert.exporters.templateexporter import default_filters

from internals.book.folding import divide
from internals.book.layout import PUBLISHED, Layout
from internals.book.outputs import FIGURE, FINDING, TABLE
from internals.book.script import Script, read_script
from internals.book.stored import RECORD, Status, StoredRun, latest, with_outputs
from internals.book.summaries import (
    banner,
    day,
    edition,
    facts,
    headline,
    reading_minutes,
    stands_in,
)
from internals.environment import ROOT

_TITLE = re.compile(r"^# +(.+)$", re.MULTILINE)
_REFERENCE = re.compile(r"\[(Figure|Table)\]\(#((?:fig|tab)-[a-z0-9-]+)\)")
_BEFORE_CITATION = re.compile(r"\s+(?=\[@[a-zA-Z])")  # a citation becomes a raised number
_MARKUP = re.compile(r"[*_`]|\[([^\]]*)\]\([^)]*\)")
_REPOSITORY_LINK = re.compile(
    r"(?<!\!)\[([^\]]*)\]\(((?:\.\./)+)((?:docs|chapters|internals|tests)/[^)\s]*)\)"
)
_FOOTNOTE = re.compile(r"^\[\^[^\]]+\]:", re.MULTILINE)
_FOOTNOTES_GO_HERE = "///Footnotes Go Here///"  # Python-Markdown's own marker
_ON_GITHUB = re.compile(r"https://github\.com/([^/]+/[^/]+)/(?:edit|blob)/([^/]+)/?")
_CONTENTS = (  # for narrow screens, which have no room beside the text
    '<details class="contents" markdown="block">\n<summary>Contents</summary>\n\n'
    "[TOC]\n\n</details>"
)
_PROVENANCE = '<details class="provenance"'


@dataclass(frozen=True)
class Prepared:
    """A chapter ready for its page.

    Attributes:
        script: The chapter as it is written.
        run: The run whose outputs are shown, if there is one.
        status: How that run relates to the script.
        notebook: The cells as the page shows them.
        figures: Name, caption, alt, width, height, number and file of each figure.
    """

    script: Script
    run: StoredRun | None
    status: Status
    notebook: Any
    figures: tuple[dict[str, Any], ...]

    @property
    def title(self) -> str:
        """The front matter's title, else the first heading."""
        return str(self.script.meta.get("title") or _first(_TITLE, self.notebook, self.script.name))

    @property
    def description(self) -> str:
        """The front matter's description, else the first sentence of prose."""
        return str(self.script.meta.get("description") or _first_sentence(self.script))

    @cached_property
    def text(self) -> str:
        """The notebook of the page as a file's text."""
        return nbformat.writes(self.notebook)

    @cached_property
    def executed(self) -> str:
        """The executed notebook as a file's text, "" where there is no run."""
        return nbformat.writes(self.run.notebook()) if self.run else ""


_prepared: dict[Path, tuple[object, Prepared]] = {}  # by earlier builds in this process


def prepare_changed(layout: Layout, profile: str, path: Path, edit_uri: str = "") -> Prepared:
    """`prepare`, or what it gave before if no file has changed on which that depends.

    A server that builds again and again then reads one chapter where one was edited.
    """
    records = [
        layout.edition / path.stem / RECORD,
        *layout.store(profile, path.stem).glob(f"*/{RECORD}"),
    ]
    files = [path, *records, *(ROOT / "internals").rglob("*.py")]
    times = [(str(file), file.stat().st_mtime_ns) for file in files if file.is_file()]
    stamp = (layout, profile, edit_uri, times)
    kept, prepared = _prepared.get(path, (None, None))
    if prepared is None or kept != stamp:
        prepared = prepare(layout, profile, path, edit_uri)
        _prepared[path] = stamp, prepared
    return prepared


def prepare(layout: Layout, profile: str, path: Path, edit_uri: str = "") -> Prepared:
    """Read the chapter at `path` with the outputs of its run at `profile`.

    Args:
        layout: Where the book lies.
        profile: Whose runs are shown.
        path: The chapter's script.
        edit_uri: The repository's address for editing, or "".

    Raises:
        ChapterError: A code cell is not valid Python.
    """
    script = read_script(path)
    run, status = latest(layout, profile, script)
    as_written = copy.deepcopy(script)
    notebook = with_outputs(script, run) if run else script.notebook
    _fold(notebook)
    _put_findings_below_figures(notebook)
    figures, numbers = _number(notebook, script.name)
    head = [_facts(script, run, len(figures)), _edition(script, run, _colab(layout, run, edit_uri))]
    head += [*_warnings(script, run, status, profile), _CONTENTS]
    _insert_below_title(notebook, "\n\n".join(head))
    if run:
        notebook.cells.append(_markdown_cell(_foot(run), len(notebook.cells)))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            source = _BEFORE_CITATION.sub("", cell.source)
            cell.source = _REFERENCE.sub(lambda m: _numbered(m, numbers), source)
    return Prepared(as_written, run, status, notebook, tuple(figures))


def _number(notebook: Any, folder: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Number figures and tables in order of appearance, and name each picture's file."""
    figures: list[dict[str, Any]] = []
    numbers: dict[str, str] = {}
    tables = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if texts := data.get(FIGURE):
                texts |= {"number": len(figures) + 1, "file": f"{folder}/{texts['name']}"}
                figures.append(dict(texts))
                numbers[f"fig-{texts['name']}"] = f"Figure {texts['number']}"
            elif texts := data.get(TABLE):
                tables += 1
                texts["number"] = tables
                numbers[f"tab-{texts['name']}"] = f"Table {tables}"
    return figures, numbers


def _numbered(match: re.Match[str], numbers: dict[str, str]) -> str:
    """`[Figure](#fig-x)` with the number of the figure it points at."""
    return f"[{numbers.get(match[2], match[1])}](#{match[2]})"


def _insert_below_title(notebook: Any, lines: str) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (title := _TITLE.search(cell.source)):
            cell.source = cell.source[: title.end()] + f"\n\n{lines}\n" + cell.source[title.end() :]
            return


def _fold(notebook: Any) -> None:
    """Divide each code cell into what the page has in sight and what it folds."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    parts = divide([(cell.source, cell.metadata.get("tags", [])) for cell in cells])
    for cell, part in zip(cells, parts, strict=True):
        cell.metadata.update(visible=part.visible, folded=part.folded)


def _put_findings_below_figures(notebook: Any) -> None:
    """Give the finding of a cell that shows nothing itself to the code cell before it."""
    for before, cell in pairwise(notebook.cells):
        outputs = cell.get("outputs", [])
        kinds = {kind for output in outputs for kind in output.get("data", {})}
        if before.cell_type == "code" and FINDING in kinds and not kinds & {FIGURE, TABLE}:
            before.outputs += [o for o in outputs if FINDING in o.get("data", {})]
            cell.outputs = [o for o in outputs if FINDING not in o.get("data", {})]


def _facts(script: Script, run: StoredRun | None, figures: int) -> str:
    """Score, the paper's score, cost and reading time, side by side below the title."""
    prose = [cell.source for cell in script.notebook.cells if cell.cell_type == "markdown"]
    pairs = headline(run.record if run else None, script.meta, reading_minutes(prose, figures))
    cells = "".join(
        f"<div><dt>{html.escape(what)}</dt><dd>{html.escape(value)}</dd></div>"
        for value, what in pairs
    )
    return f'<dl class="facts">{cells}</dl>'


def _edition(script: Script, run: StoredRun | None, colab: str) -> str:
    """Which edition the page shows and when it was made, and its downloads."""
    files = f"[.py]({script.name}/{script.name}.py){{ download }}"
    if not run:
        return f"Download {files}\n{{ .edition }}"
    files += f" [.ipynb]({script.name}/{script.name}.ipynb){{ download }}"
    mark = " .stand-in" if stands_in(run.record) else ""
    return (
        f"**{edition(run.record)}.** {day(run.record)}. Download {files}{colab}\n"
        f"{{ .edition{mark} }}"
    )


def _colab(layout: Layout, run: StoredRun | None, edit_uri: str) -> str:
    """A link that opens the committed notebook in Colab, where the repository is on GitHub.

    The notebook cannot know where the package is to be had, so the page says what to run first.
    """
    repository = _ON_GITHUB.fullmatch(edit_uri)
    if not repository or not run or run.folder.parent != layout.edition:
        return ""
    owner_and_name, branch = repository.groups()
    notebook = f"{run.folder.relative_to(layout.root)}/{run.folder.name}.ipynb"
    address = f"https://colab.research.google.com/github/{owner_and_name}/blob/{branch}/{notebook}"
    install = f"%pip install git+https://github.com/{owner_and_name}@{branch}"
    return f" [Open in Colab]({address}) and run `{install}` first"


def _warnings(script: Script, run: StoredRun | None, status: Status, profile: str) -> list[str]:
    """Why the pictures are not those of the text: another edition, older code, no run."""
    parts = []
    if run and (text := banner(run.record)):
        parts.append(f'<p class="banner" role="note">{html.escape(text)}</p>')
    command = (
        f"`internals execute {script.name}{'' if profile == 'quick' else f' --profile {profile}'}`"
    )
    if status is Status.STALE:
        parts.append(
            '!!! warning "Some pictures are older than the code"\n'
            "    The code has changed since this chapter was executed. Cells that are as they were "
            f"show what they showed; the others show nothing. {command} makes them new."
        )
    elif status in (Status.MISSING, Status.DAMAGED):
        where = "in the published edition" if profile == PUBLISHED else "here"
        why = f"This chapter has not been executed {where}."
        if status is Status.DAMAGED:
            why = "What was stored of this chapter's execution is damaged."
        parts.append(f'!!! warning "No pictures yet"\n    {why} {command} does it.')
    return parts


def _foot(run: StoredRun) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts(run.record))
    return (
        '<details class="provenance" markdown="block">\n'
        "<summary>How these pictures were made</summary>\n\n"
        f"| | |\n|---|---|\n{rows}\n\n</details>"
    )


def _markdown_cell(source: str, index: int) -> Any:
    from nbformat.v4 import new_markdown_cell

    return new_markdown_cell(source, id=f"cell-{index}")


def _first(pattern: re.Pattern[str], notebook: Any, otherwise: str) -> str:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (match := pattern.search(cell.source)):
            return match[1]
    return otherwise


def _first_sentence(script: Script) -> str:
    """The first sentence of prose below the title, without markup."""
    for cell in script.notebook.cells:
        if cell.cell_type != "markdown":
            continue
        for paragraph in re.split(r"\n\s*\n", cell.source):
            text = " ".join(paragraph.split())
            if text and text[0] not in "#!|<>$-*[":
                plain = _MARKUP.sub(lambda m: m[1] or "", text)
                return re.split(r"(?<=[.!?]) ", plain)[0]
    return ""


# Rendering


def render_through_mkdocs(page: Page) -> None:
    """Let mkdocs-jupyter render the notebook, and MkDocs the Markdown that its template makes.

    The plugin would replace title and table of contents, and add style sheets; here those that
    MkDocs makes of the same headings are restored.
    """
    render_notebook = page.render

    def render(config: Any, files: Any) -> None:
        rendered: dict[str, Any] = {}

        def book_page(markdown: str) -> str:
            markdown = config.plugins.on_page_markdown(
                markdown, page=page, config=config, files=files
            )
            page.markdown = _footnotes_above_provenance(markdown)
            Page.render(page, config, files)
            rendered.update(content=page.content, toc=page.toc)
            return ""  # nbconvert would only parse it

        default_filters["book_page"] = book_page
        render_notebook(config, files)
        page.content, page.toc = rendered["content"], rendered["toc"]

    page.render = render  # type: ignore[method-assign]


def _footnotes_above_provenance(markdown: str) -> str:
    """Put the footnotes above the provenance, which ends the page."""
    if not _FOOTNOTE.search(markdown) or _FOOTNOTES_GO_HERE in markdown:
        return markdown
    return markdown.replace(_PROVENANCE, f"{_FOOTNOTES_GO_HERE}\n\n{_PROVENANCE}", 1)


def site_links(markdown: str, src_uri: str, edit_uri: str, root: Path) -> str:
    """Turn links that are right in the repository into links that are right on the site.

    `../docs/x.md` and `../chapters/x.py` lose a folder. Package sources have no page: their links
    lead to the repository, and are removed where its address is not known.

    Args:
        markdown: The page's text.
        src_uri: The page's path, as MkDocs names it.
        edit_uri: The repository's address for editing, or "".
        root: The checkout.
    """
    folder = posixpath.dirname(src_uri)

    def relink(match: re.Match[str]) -> str:
        text, target = match[1], match[3]
        if target.startswith(("internals/", "tests/")):
            if not edit_uri or not (root / target.partition("#")[0]).exists():
                return text
            return f"[{text}]({edit_uri.replace('/edit/', '/blob/')}{target})"
        return f"[{text}]({posixpath.relpath(target.removeprefix('docs/'), folder or '.')})"

    return _REPOSITORY_LINK.sub(relink, markdown)
