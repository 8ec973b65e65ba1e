"""A chapter's percent script as a notebook whose cells know their lines in the file.

So a failure can be reported as `chapters/01_lenet5.py:87: ...`, whichever cell it was in.
"""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from internals.errors import ChapterError

_FRONT_MATTER = re.compile(r"---\n(.*?)\n---\s*", re.DOTALL)
_FRAME = re.compile(r"Cell In\[(\d+)\], line (\d+)")  # in IPython's tracebacks
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Script:
    """A chapter as it is written.

    Attributes:
        path: The percent script.
        notebook: Its cells without outputs, an `nbformat.NotebookNode`.
        first_lines: The line of the file on which each cell begins.
        meta: The front matter: title, description, data, after.
    """

    path: Path
    notebook: Any
    first_lines: tuple[int, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The chapter's name: `01_lenet5`."""
        return self.path.stem

    @property
    def label(self) -> str:
        """The file as messages name it: `chapters/01_lenet5.py`."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def places(self) -> list[str]:
        """File and line where each cell begins: `chapters/01_lenet5.py:87`."""
        return [f"{self.label}:{line}" for line in self.first_lines]

    def code(self) -> list[tuple[int, str]]:
        """Index and source of each code cell that is not empty."""
        cells = enumerate(self.notebook.cells)
        return [(i, c.source) for i, c in cells if c.cell_type == "code" and c.source.strip()]


def read_script(path: Path) -> Script:
    """Read the percent script at `path`.

    Cell identifiers are positions: jupytext's random ones would change the notebook every time.

    Raises:
        ChapterError: A code cell is not valid Python; the message has file and line.
    """
    import jupytext

    text = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    meta = _pop_front_matter(notebook)
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index}"
        cell.source = cell.source.lstrip("\n")  # IPython drops them before it counts lines
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    script = Script(path, notebook, _first_lines(text, notebook.cells), meta)
    _check_syntax(script)
    return script


def _pop_front_matter(notebook: Any) -> dict[str, Any]:
    """Take the front matter out of the notebook, where jupytext leaves it as a raw cell."""
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "raw":
        return {}
    front_matter = _FRONT_MATTER.fullmatch(first.source.strip() + "\n")
    if not front_matter:
        return {}
    del notebook.cells[0]
    return yaml.safe_load(front_matter[1]) or {}


def _first_lines(text: str, cells: list[Any]) -> tuple[int, ...]:
    """The line in `text` on which each cell begins, found by walking both in step.

    Prose is found by its marker: its lines are comments in the file and plain in the notebook.
    """
    lines = text.splitlines()
    first_lines, at = [], 0
    for cell in cells:
        source = cell.source.splitlines() or [""]
        if cell.cell_type == "code":
            starts = (i for i in range(at, len(lines)) if lines[i : i + len(source)] == source)
            length = len(source)
        else:
            starts = (i for i in range(at, len(lines)) if lines[i].startswith("# %%"))
            length = 1
        start = next(starts, at)
        first_lines.append(start + 1)
        at = start + length
    return tuple(first_lines)


def _check_syntax(script: Script) -> None:
    for index, source in script.code():
        try:
            ast.parse(source)
        except SyntaxError as error:
            line = script.first_lines[index] + (error.lineno or 1) - 1
            message = f"{script.label}:{line}: {type(error).__name__}: {error.msg}"
            raise ChapterError(message) from None


def describe_failure(script: Script, error: Exception, cell: int) -> str:
    """One line on the `error` that stopped cell number `cell` of the executed script.

    It reads like `chapters/01_lenet5.py:87: ValueError: message`.
    """
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    start = script.first_lines[cell]
    if isinstance(error, CellTimeoutError):
        return f"{script.label}:{start}: the cell ran out of time; allow more with --timeout"
    if isinstance(error, DeadKernelError):
        return f"{script.label}:{start}: the kernel died in this cell, perhaps for lack of memory"
    if isinstance(error, CellExecutionError):
        line = _failing_line(script, error.traceback) or start
        message = " ".join(_ANSI.sub("", error.evalue or "").split())
        return f"{script.label}:{line}: {error.ename}: {message or _source_line(script, line)}"
    return f"{script.label}:{start}: {type(error).__name__}: {error}"


def _source_line(script: Script, line: int) -> str:
    """The code on a line as it was executed: a bare `assert` has no other message."""
    for first, cell in zip(script.first_lines, script.notebook.cells, strict=True):
        lines = cell.source.splitlines()
        if first <= line < first + len(lines):
            return str(lines[line - first].strip())
    return ""


def _failing_line(script: Script, traceback: str) -> int | None:
    """The line of the innermost frame that is the chapter's own."""
    frames = _FRAME.findall(_ANSI.sub("", traceback))
    if not frames:
        return None
    count, line = map(int, frames[-1])
    for index, cell in enumerate(script.notebook.cells):
        if cell.get("execution_count") == count:
            return script.first_lines[index] + line - 1
    return None
