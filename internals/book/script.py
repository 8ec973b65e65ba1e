"""A chapter's percent script as a notebook whose cells know their lines in the file."""

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
