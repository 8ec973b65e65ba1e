"""What a chapter's page says: its prose as it is now, with the outputs of its stored run.

In this order: what a run's record tells a reader; the filters by which the nbconvert template
turns a notebook into one Markdown document; a chapter made ready for its page; the home page's
cards and the index of figures; and how MkDocs renders the document.
"""

import ast
import copy
import html
import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from mkdocs.structure.pages import Page
from nbconvert.exporters.templateexporter import default_filters

from internals.book.layout import PUBLISHED, Layout
from internals.book.outputs import FIGURE, TABLE
from internals.book.script import Script, read_script
from internals.book.stored import Status, StoredRun, latest, with_outputs
from internals.fingerprint import defines, public_names

_DATA_NAMES = {"mnist": "MNIST", "imagenette": "Imagenette", "digits": "digits", "shapes": "shapes"}
_MOST_LINES = 24  # lines of output that are shown unfolded
_THUMBNAIL = 320  # pixels: the largest width of a thumbnail
_THUMBNAIL_WORDS = 24  # of its caption

# Texts of several lines stand between brackets, which are removed with them.
_AROUND_TEXT = re.compile(rb"\(\s*\0\s*,?\s*\)(?=\s*[,)])|\0")
_DIRECTIVE = re.compile(r" *# (?:fmt: |noqa|type: ignore).*$", re.MULTILINE)  # for tools only
_INLINE = re.compile(r"([\\`*_$\[\]<>])")
_TITLE = re.compile(r"^# +(.+)$", re.MULTILINE)
_REFERENCE = re.compile(r"\[(Figure|Table)\]\(#((?:fig|tab)-[a-z0-9-]+)\)")
_BEFORE_CITATION = re.compile(r"\s+(?=\[@[a-zA-Z])")  # a citation becomes a raised number
_MARKUP = re.compile(r"[*_`]|\[([^\]]*)\]\([^)]*\)")
_REPOSITORY_LINK = re.compile(
    r"(?<!\!)\[([^\]]*)\]\(((?:\.\./)+)((?:docs|chapters|internals|tests)/[^)\s]*)\)"
)
_FOOTNOTE = re.compile(r"^\[\^[^\]]+\]:", re.MULTILINE)
_FOOTNOTES_GO_HERE = "///Footnotes Go Here///"  # Python-Markdown's own marker
_PROVENANCE = '<details class="provenance"'


# What a run's record tells a reader


def run_summary(record: Mapping[str, Any]) -> str:
    """One line: `Quick edition, run on the embedded digits, 20 November 2026, 42 s`."""
    return f"{edition(record)}, {day(record)}, {duration(record['seconds'])}"


def edition(record: Mapping[str, Any]) -> str:
    """`Full edition, run on MNIST`, or with the stand-in that was used in its place."""
    title = f"{record['profile'].capitalize()} edition"
    data = record["environment"]["data"]
    used = [_data_used(declared, fingerprint) for declared, fingerprint in data.items()]
    return f"{title}, run on {' and '.join(used)}" if used else title


def stands_in(record: Mapping[str, Any]) -> bool:
    """Whether any data set was replaced by its embedded stand-in."""
    data = record["environment"]["data"]
    return any(fingerprint.split()[0] != declared for declared, fingerprint in data.items())


def day(record: Mapping[str, Any]) -> str:
    """The day of the run: `20 November 2026`."""
    when = datetime.fromisoformat(record["when"])
    return f"{when.day} {when:%B %Y}"


def duration(seconds: float) -> str:
    """Seconds in readable units: `42 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The provenance at the foot of the page: pairs of name and value, in Markdown."""
    environment = record["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    slowest = max(record["cells"], key=lambda cell: cell["seconds"], default=None)
    time = f"{duration(record['seconds'])} in {len(record['cells'])} cells"
    if slowest:
        time += f", the slowest {duration(slowest['seconds'])} (line {slowest['line']})"
    rows = [
        ("Executed", f"{day(record)}, on {record['machine']}, in {time}"),
        ("Profile and seed", f"{record['profile']}, {record['seed']}"),
        ("Data", "; ".join(environment["data"].values()) or "none"),
        ("Software", f"Python {environment['python']}, {packages}"),
        ("Commit and key", f"`{record['commit']}`, `{record['key']}`"),
    ]
    if record["metrics"]:
        rows.append(
            ("Metrics", ", ".join(f"`{k}` {_rounded(v)}" for k, v in record["metrics"].items()))
        )
    return rows


def _data_used(declared: str, fingerprint: str) -> str:
    """The data set's name; a fingerprint begins with the data that were used in its place."""
    used = fingerprint.split()[0]
    name = _DATA_NAMES.get(declared, declared)
    if used == declared:
        return name
    return f"the embedded {_DATA_NAMES.get(used, used)} in place of {name}"


def _rounded(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# From a notebook to Markdown: the filters of the nbconvert template


def listing(source: str, tags: Sequence[str] = (), outputs: Sequence[Any] = ()) -> str:
    """A code cell's input as Markdown.

    Captions and alternative texts are left out of the code: the page has them below the picture.

    Args:
        source: The cell's code.
        tags: The cell's tags: `hide-input` folds the code, `remove-input` leaves it out.
        outputs: The cell's outputs, after which the folded block is named.
    """
    if not source.strip() or "remove-input" in tags:
        return ""
    code = fenced(_DIRECTIVE.sub("", without_captions(source)), "python")
    return folded(_summary(outputs), code, "code") if "hide-input" in tags else code


def _summary(outputs: Sequence[Any]) -> str:
    """What a folded cell is the code of."""
    data = [output.get("data", {}) for output in outputs]
    figures, tables = (sum(kind in shown for shown in data) for kind in (FIGURE, TABLE))
    if figures and tables:
        return "Code of these figures and tables"
    if figures or tables:
        noun = "figure" if figures else "table"
        return f"Code of these {noun}s" if figures + tables > 1 else f"Code of this {noun}"
    return "Code"


def without_captions(source: str) -> str:
    """`source` with `...` for every literal `caption=` or `alt=`; formatting is kept."""
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:n])) for n in range(len(lines) + 1)]
    spans = [
        (
            starts[value.lineno - 1] + value.col_offset,
            starts[value.end_lineno - 1] + value.end_col_offset,
        )
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.keyword) and node.arg in ("caption", "alt")
        if isinstance(value := node.value, ast.Constant | ast.JoinedStr)
        if value.end_lineno is not None and value.end_col_offset is not None
    ]
    text = b"".join(lines)
    for start, end in sorted(spans, reverse=True):
        text = _AROUND_TEXT.sub(b"...", text[:start] + b"\0" + text[end:])
    return text.decode()


def shown(output: Any) -> str:
    """An output as Markdown: a numbered figure, a captioned table, or quiet text."""
    if output.output_type == "stream":
        kind = "stderr" if output.name == "stderr" else "stdout"
        return text_output(output.text, kind)
    if output.output_type == "error":
        return text_output("\n".join(output.traceback), "stderr")
    if texts := output.data.get(FIGURE):
        return figure(texts)
    if texts := output.data.get(TABLE):
        return table(texts, output.data["text/markdown"])
    if markdown := output.data.get("text/markdown"):
        return str(markdown)
    return text_output(output.data.get("text/plain", ""), "value")


def figure(texts: Any) -> str:
    """A figure with its caption; MkDocs resolves and checks the file name.

    The browser adds the dark picture (`docs/javascripts/page.js`).
    """
    alt = _INLINE.sub(r"\\\1", " ".join(texts["alt"].split()))
    size = f'width="{texts["width"]}" height="{texts["height"]}" loading="lazy"'
    picture = f"![{alt}]({texts['file']}.webp#only-light){{ {size} }}"
    anchor = f"fig-{texts['name']}"
    caption = _caption("Figure", texts, anchor)
    return f'<figure id="{anchor}" markdown="span">\n{picture}\n{caption}\n</figure>'


def table(texts: Any, markdown: str) -> str:
    """A table under its caption."""
    anchor = f"tab-{texts['name']}"
    caption = _caption("Table", texts, anchor)
    opening = f'<figure class="table" id="{anchor}" markdown="block">'
    return f"{opening}\n{caption}\n\n{markdown}\n\n</figure>"


def text_output(text: str, kind: str) -> str:
    """Printed text; many lines are folded."""
    text = text.strip("\n")
    if not text.strip():
        return ""
    block = fenced(text, f"{{ .text .output .{kind} }}")
    lines = text.count("\n") + 1
    return folded(f"{lines} lines of output", block, "output") if lines > _MOST_LINES else block


def fenced(text: str, info: str) -> str:
    """A code block whose fence is longer than any in `text`."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence} {info}\n{text.rstrip()}\n{fence}"


def folded(summary: str, body: str, kind: str) -> str:
    """A block that opens when its summary is clicked."""
    lines = "\n".join(f"    {line}" if line else "" for line in body.splitlines())
    return f'??? {kind} "{summary}"\n\n{lines}'


def _caption(label: str, texts: Any, anchor: str) -> str:
    """`Figure 3.`, which links to itself, and the caption, in which Markdown holds."""
    number = f'<a class="number" href="#{anchor}">{label} {texts["number"]}.</a>'
    text = " ".join(html.escape(texts["caption"], quote=False).split())
    return f'<figcaption markdown="span">{number} {text}</figcaption>'


FILTERS = {"listing": listing, "shown": shown}


# A chapter made ready for its page


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


def prepare(layout: Layout, profile: str, path: Path) -> Prepared:
    """Read the chapter at `path` with the outputs of its run at `profile`.

    Raises:
        ChapterError: A code cell is not valid Python.
    """
    script = read_script(path)
    run, status = latest(layout, profile, script)
    as_written = copy.deepcopy(script)
    notebook = with_outputs(script, run) if run else script.notebook
    figures, numbers = _number(notebook, script.name)
    _insert_below_title(notebook, _head(script, run, status, profile))
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


def _head(script: Script, run: StoredRun | None, status: Status, profile: str) -> str:
    """Which edition the page shows, its downloads, and a warning where it is not fresh."""
    parts = []
    files = f"[Script]({script.name}/{script.name}.py){{ download }}"
    if run:
        files += f" [Notebook]({script.name}/{script.name}.ipynb){{ download }}"
        mark = " .stand-in" if stands_in(run.record) else ""
        when = f"{day(run.record)}, {duration(run.record['seconds'])}"
        parts.append(f"**{edition(run.record)}.** {when}. {files}\n{{ .edition{mark} }}")
    else:
        parts.append(f"{files}\n{{ .edition }}")
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
    return "\n\n".join(parts)


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


# Pages made of all chapters


def chapter_cards(chapters: Sequence[Prepared]) -> str:
    """A list of the chapters, each with its title, claim and edition."""
    if not chapters:
        return ""
    return '<ol class="cards" markdown="block">\n' + "\n".join(map(_card, chapters)) + "\n</ol>"


def figure_index(chapters: Sequence[Prepared]) -> str:
    """A page with a thumbnail of every figure; each links to its place in its chapter."""
    parts = ["---\nhide: [toc]\n---\n\n# All figures\n\nEvery picture of the book, in order."]
    parts.append("Each one leads to its place in the chapter.")
    for chapter in chapters:
        if not chapter.figures:
            continue
        page = f"chapters/{chapter.script.path.name}"
        parts.append(f"\n## [{chapter.title}]({page})\n\n" + '<div class="index" markdown="block">')
        parts += [_thumbnail(texts, page) for texts in chapter.figures]
        parts.append("</div>")
    if len(parts) == 2:
        parts.append("\nNo chapter has been executed yet: `internals execute` does it.")
    return "\n".join(parts) + "\n"


def _card(chapter: Prepared) -> str:
    page = f"chapters/{chapter.script.path.name}"
    note = f"{edition(chapter.run.record)}." if chapter.run else "Not executed yet."
    return (
        '<li markdown="block">\n\n'
        f"### [{chapter.title}]({page})\n\n"
        f"{html.escape(chapter.description, quote=False)}\n\n"
        f"{note}\n{{ .note }}\n\n</li>"
    )


def _thumbnail(texts: dict[str, object], page: str) -> str:
    width, height = int(str(texts["width"])), int(str(texts["height"]))
    scale = min(1.0, _THUMBNAIL / width)
    size = (
        f'width="{round(width * scale)}" height="{round(height * scale)}" loading="lazy" .off-glb'
    )
    target = f"{page}#fig-{texts['name']}"
    address = f"chapters/{texts['file']}.webp#only-light"
    picture = f"![Figure {texts['number']}]({address}){{ {size} }}"
    caption_words = str(texts["caption"]).split()
    caption = " ".join(caption_words[:_THUMBNAIL_WORDS]) + (
        " …" if len(caption_words) > _THUMBNAIL_WORDS else ""
    )
    return (
        '<figure markdown="span">\n'
        f"[{picture}]({target})\n"
        f'<figcaption markdown="span">Figure {texts["number"]}. '
        f"{html.escape(caption, quote=False)}</figcaption>\n</figure>"
    )


def api_reference(package: str, names: Sequence[str] = ()) -> str:
    """The public names of a lazy package, for mkdocstrings to describe.

    Constants are listed by name; names that another package defines are linked to its page.

    Args:
        package: Such as `internals.data`.
        names: The names to describe, in this order; all public names if empty.
    """
    described, constants, links = [], [], []
    origins = public_names(package)
    for name in names or origins:
        module = origins[name]
        if elsewhere := public_names(module).get(name):
            links.append(f"- [`{name}`][{elsewhere}.{name}]")
        elif defines(module, name):
            described.append(f"::: {module}.{name}\n")
        else:
            constants.append(f"`{name}`")
    if constants:
        described.append(f"## Constants\n\n{', '.join(constants)}\n")
    return "\n".join([*links, "", *described])


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
            return page.content or ""

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
