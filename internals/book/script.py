"""A chapter's percent script as a notebook whose cells know their lines in the file.

So a failure can be reported as `chapters/01_lenet5.py:87: ...`, whichever cell it was in.

The code cells hold what Python runs, no more and no less. Jupytext alone would take some comments
for commands and some strings for cells, so it is shown numbers in place of statements.
"""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from internals.errors import ChapterError

_FRONT_MATTER = re.compile(r"---\n(.*?)\n---\s*", re.DOTALL)
_PRIVATE = range(0xE000, 0xF900)  # of Unicode: one stands before the number of a hidden line
_ENDS_A_LINE = re.compile("[\v\f\x1c-\x1e\x85\u2028\u2029]")  # for Jupytext, not for Python
_QUOTED = re.compile(r"[rR]?(\"{3}|'{3})\n?(.*?)\n?\1", re.DOTALL)
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
        return _label(self.path)

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
        ChapterError: The script is not valid Python, and the message has file and line; or it
            cannot be read.
    """
    import jupytext
    from nbformat import ValidationError

    label = _label(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines, statements = text.split("\n"), ast.parse(text).body
    except SyntaxError as error:
        message = f"{label}:{error.lineno or 1}: {type(error).__name__}: {error.msg}"
        raise ChapterError(message) from None
    except (OSError, ValueError) as error:  # not there; not UTF-8; a null byte
        raise ChapterError(f"cannot read {label}: {error}") from error
    mark = next((chr(code) for code in _PRIVATE if chr(code) not in text), chr(_PRIVATE.start))
    hidden = _hide(lines, statements, mark)
    percent = {"extension": ".py", "format_name": "percent", "comment_magics": False}
    try:
        notebook = jupytext.reads("\n".join(hidden), fmt=percent)
        meta = _pop_front_matter(notebook)
    except (ValueError, yaml.YAMLError, ValidationError) as error:
        reason = " ".join(str(getattr(error, "message", error)).split())
        if "Encodings other than utf-8" in reason:  # Jupytext's, of the first two lines
            raise ChapterError(
                f"cannot read {label}: its coding line is not utf-8; save it as UTF-8 without one"
            ) from error
        raise ChapterError(f"cannot read the front matter of {label}: {reason}") from error
    for index, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{index}"
        cell.source = cell.source.lstrip("\n")  # IPython drops them before it counts lines
        cell.metadata.pop("lines_to_next_cell", None)  # of what Jupytext was shown
    first_lines = _first_lines(hidden, notebook.cells, mark)
    texts = {n for statement in statements if _is_text(statement) for n in _lines_of(statement)}
    notebook.cells = [_shown(cell, lines, texts, mark) for cell in notebook.cells]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return Script(path, notebook, first_lines, meta)


def _label(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _lines_of(statement: ast.stmt) -> range:
    """The numbers of its lines in the file, from 0, with its decorators."""
    first = min(node.lineno for node in [statement, *getattr(statement, "decorator_list", [])])
    return range(first - 1, statement.end_lineno or first)


def _hide(lines: list[str], statements: list[ast.stmt], mark: str) -> list[str]:
    """The file's lines with `mark` and a number in place of each that belongs to a statement.

    What is left are comments: some begin cells, some are prose, and none is run.
    """
    python = {number for statement in statements for number in _lines_of(statement)}
    return [
        _ENDS_A_LINE.sub(" ", line)
        if _runs_nothing(line) and number not in python
        else f"{mark}{number}"
        for number, line in enumerate(lines)
    ]


def _runs_nothing(line: str) -> bool:
    return line.strip()[:1] in ("", "#")


def _shown(cell: Any, lines: list[str], texts: set[int], mark: str) -> Any:
    """`cell` with its statements: any that has some is code, in which all else is a comment.

    Prose may also be a string, which Python evaluates to no effect: the numbers `texts`.
    """
    from nbformat.v4 import new_code_cell

    parts = cell.source.split("\n")
    numbers = {i: int(part[1:]) for i, part in enumerate(parts) if part.startswith(mark)}
    if cell.cell_type != "code" and texts.issuperset(numbers.values()):
        prose = "\n".join(lines[numbers[i]] if i in numbers else p for i, p in enumerate(parts))
        quoted = _QUOTED.fullmatch(prose.strip())
        cell.source = quoted[2] if quoted else prose
        return cell
    source = [
        lines[numbers[i]] if i in numbers else part if _runs_nothing(part) else f"# {part}"
        for i, part in enumerate(parts)
    ]
    return new_code_cell("\n".join(source), metadata=cell.metadata, id=cell["id"])


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _pop_front_matter(notebook: Any) -> dict[str, Any]:
    """Take the front matter out of the notebook, where jupytext leaves it as a raw cell."""
    first = notebook.cells[0] if notebook.cells else None
    if first is None or first.cell_type != "raw":
        return {}
    front_matter = _FRONT_MATTER.fullmatch(first.source.strip() + "\n")
    if not front_matter:
        return {}
    del notebook.cells[0]
    meta = yaml.safe_load(front_matter[1]) or {}
    if not isinstance(meta, dict):
        raise ValueError("it is not a list of names and values")
    return meta


def _first_lines(lines: list[str], cells: list[Any], mark: str) -> tuple[int, ...]:
    """The line on which each cell begins, found by walking `lines` and `cells` in step.

    Prose is found by its marker: its lines are comments in the file and plain in the notebook.
    """
    first_lines, at = [], 0
    for cell in cells:
        source = cell.source.splitlines() or [""]
        known = next((i for i, line in enumerate(source) if line.startswith(mark)), None)
        if known is not None:
            start, length = int(source[known][1:]) - known, len(source)
        elif cell.cell_type == "code":
            starts = (i for i in range(at, len(lines)) if lines[i : i + len(source)] == source)
            start, length = next(starts, at), len(source)
        else:
            starts = (i for i in range(at, len(lines)) if lines[i].startswith("# %%"))
            start, length = next(starts, at), 1
        first_lines.append(start + 1)
        at = start + length
    return tuple(first_lines)


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
