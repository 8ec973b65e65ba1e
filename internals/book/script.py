"""Where in the chapter's file a run failed, in one line."""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from internals.errors import ChapterError

_FRONT_MATTER = re.compile(r"---\n(.*?)\n---\s*", re.DOTALL)


@dataclass(frozen=True)
class Script:
    """A chapter: its notebook without outputs, and the first line of each cell in the file."""

    path: Path
    notebook: Any  # nbformat.NotebookNode
    first_lines: tuple[int, ...]
    meta: dict[str, Any] = field(default_factory=dict)  # front matter: title, description

    @property
    def name(self) -> str:
        """The chapter's name: `01_lenet5`."""
        return self.path.stem

    @property
    def label(self) -> str:
        """How messages name the file: `chapters/01_lenet5.py`."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def places(self) -> list[str]:
        """Where each cell begins: `chapters/01_lenet5.py:87`."""
        return [f"{self.label}:{line}" for line in self.first_lines]

    def code(self) -> list[tuple[int, str]]:
        """The position and source of each code cell that holds code."""
        cells = enumerate(self.notebook.cells)
        return [(i, c.source) for i, c in cells if c.cell_type == "code" and c.source.strip()]


def read_script(path: Path) -> Script:
    """Read the percent script at `path`; cell identifiers are positions, the same every time.

    Raises `ChapterError` with file and line when a code cell is not Python.
    """
    import jupytext

    text = path.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    meta: dict[str, Any] = {}
    raw = (
        notebook.cells[0].source if notebook.cells and notebook.cells[0].cell_type == "raw" else ""
    )
    if front := _FRONT_MATTER.fullmatch(raw.strip() + "\n"):
        meta = yaml.safe_load(front[1]) or {}
        del notebook.cells[0]
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


def _first_lines(text: str, cells: list[Any]) -> tuple[int, ...]:
    """The line in `text` on which each cell begins, found by walking both in step.

    Prose is found by its marker: its lines are comments in the file and plain in the notebook.
    """
    lines = text.splitlines()
    found, at = [], 0
    for cell in cells:
        source = cell.source.splitlines() or [""]
        if cell.cell_type == "code":
            starts = (i for i in range(at, len(lines)) if lines[i : i + len(source)] == source)
            length = len(source)
        else:
            starts = (i for i in range(at, len(lines)) if lines[i].startswith("# %%"))
            length = 1
        start = next(starts, at)
        found.append(start + 1)
        at = start + length
    return tuple(found)


def _check_syntax(script: Script) -> None:
    for index, source in script.code():
        try:
            ast.parse(source)
        except SyntaxError as error:
            line = script.first_lines[index] + (error.lineno or 1) - 1
            message = f"{script.label}:{line}: {type(error).__name__}: {error.msg}"
            raise ChapterError(message) from None


_FRAME = re.compile(r"Cell In\[(\d+)\], line (\d+)")
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def describe(script: Script, notebook: Any, error: Exception, cell: int) -> str:
    """`chapters/01_lenet5.py:87: ValueError: message` for the `error` that stopped cell `cell`."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    start = script.first_lines[cell]
    if isinstance(error, CellTimeoutError):
        return f"{script.label}:{start}: the cell ran out of time; allow more with --timeout"
    if isinstance(error, DeadKernelError):
        return f"{script.label}:{start}: the kernel died in this cell, perhaps for want of memory"
    if isinstance(error, CellExecutionError):
        line = _line(script, notebook, error.traceback) or start
        message = " ".join(_ANSI.sub("", error.evalue or "").split())
        return f"{script.label}:{line}: {error.ename}: {message or _source(script, line)}"
    return f"{script.label}:{start}: {type(error).__name__}: {error}"


def _source(script: Script, line: int) -> str:
    """What stands there: all that a bare `assert` has to say. The file may have changed since."""
    for first, cell in zip(script.first_lines, script.notebook.cells, strict=True):
        lines = cell.source.splitlines()
        if first <= line < first + len(lines):
            return str(lines[line - first].strip())
    return ""


def _line(script: Script, notebook: Any, traceback: str) -> int | None:
    """The line of the innermost frame that is the chapter's own."""
    frames = _FRAME.findall(_ANSI.sub("", traceback))
    if not frames:
        return None
    count, line = map(int, frames[-1])
    for index, cell in enumerate(notebook.cells):
        if cell.get("execution_count") == count:
            return script.first_lines[index] + line - 1
    return None
