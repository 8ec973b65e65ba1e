"""Where in the chapter's file a run failed, in one line."""

import re
from typing import Any

from internals.book.script import Script

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
