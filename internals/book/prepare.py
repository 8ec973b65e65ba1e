"""What a chapter's page says: its prose as it is now, with the outputs of its kept run."""

import copy
import re
from dataclasses import dataclass
from typing import Any

from internals.book import provenance
from internals.book.layout import PUBLISHED, Layout
from internals.book.mime import FIGURE, TABLE
from internals.book.script import Script, read_script
from internals.book.stored import Run, Status, latest, with_outputs

_TITLE = re.compile(r"^# +(.+)$", re.MULTILINE)
_REFERENCE = re.compile(r"\[(Figure|Table)\]\(#((?:fig|tab)-[a-z0-9-]+)\)")
_BEFORE_CITATION = re.compile(r"\s+(?=\[@[a-zA-Z])")  # a citation becomes a raised number
_MARKUP = re.compile(r"[*_`]|\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True)
class Prepared:
    """A chapter ready for its page."""

    script: Script
    run: Run | None
    status: Status
    notebook: Any
    figures: tuple[dict[str, Any], ...]  # name, caption, alt, width, height, number, file

    @property
    def title(self) -> str:
        """The front matter's title, else the first heading."""
        return str(self.script.meta.get("title") or _first(_TITLE, self.notebook, self.script.name))

    @property
    def description(self) -> str:
        """The front matter's description, else the first sentence of prose."""
        if said := self.script.meta.get("description"):
            return str(said)
        return _opening(self.script)


def prepare(layout: Layout, profile: str, path: Any) -> Prepared:
    """Read the chapter at `path` with the outputs that `profile` keeps for it.

    Raises `ChapterError` for a chapter that is not Python.
    """
    script = read_script(path)
    run, status = latest(layout, profile, script)
    opening = copy.deepcopy(script)
    notebook = with_outputs(script, run) if run else script.notebook
    figures, numbers = _number(notebook, script.name)
    _insert_below_title(notebook, _head(script, run, status, profile))
    if run:
        notebook.cells.append(_markdown_cell(_foot(run), len(notebook.cells)))
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            source = _BEFORE_CITATION.sub("", cell.source)
            cell.source = _REFERENCE.sub(lambda m: _numbered(m, numbers), source)
    return Prepared(opening, run, status, notebook, tuple(figures))


def _number(notebook: Any, folder: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Number figures and tables in order of appearance; say where each picture's file will be."""
    figures: list[dict[str, Any]] = []
    numbers: dict[str, str] = {}
    tables = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if words := data.get(FIGURE):
                words |= {"number": len(figures) + 1, "file": f"{folder}/{words['name']}"}
                figures.append(dict(words))
                numbers[f"fig-{words['name']}"] = f"Figure {words['number']}"
            elif words := data.get(TABLE):
                tables += 1
                words["number"] = tables
                numbers[f"tab-{words['name']}"] = f"Table {tables}"
    return figures, numbers


def _numbered(match: re.Match[str], numbers: dict[str, str]) -> str:
    """`[Figure](#fig-x)` with the number of the figure it points at."""
    return f"[{numbers.get(match[2], match[1])}](#{match[2]})"


def _insert_below_title(notebook: Any, lines: str) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (title := _TITLE.search(cell.source)):
            cell.source = cell.source[: title.end()] + f"\n\n{lines}\n" + cell.source[title.end() :]
            return


def _head(script: Script, run: Run | None, status: Status, profile: str) -> str:
    """What was run, plainly, and what is not as it should be."""
    parts = []
    files = f"[Script]({script.name}/{script.name}.py){{ download }}"
    if run:
        files += f" [Notebook]({script.name}/{script.name}.ipynb){{ download }}"
        mark = " .stand-in" if provenance.stands_in(run.record) else ""
        words = provenance.edition(run.record)
        facts = f"{provenance.day(run.record)}, {provenance.duration(run.record['seconds'])}"
        parts.append(f"**{words}.** {facts}. {files}\n{{ .edition{mark} }}")
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
    elif status is Status.MISSING:
        where = "in the published edition" if profile == PUBLISHED else "here"
        parts.append(
            '!!! warning "No pictures yet"\n'
            f"    This chapter has not been executed {where}. {command} does it."
        )
    return "\n\n".join(parts)


def _foot(run: Run) -> str:
    rows = "\n".join(f"| {name} | {value} |" for name, value in provenance.facts(run.record))
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


def _opening(script: Script) -> str:
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
