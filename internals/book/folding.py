"""Which of a chapter's code its page folds: what only lays out a figure or a table.

Folded is a statement `show(...)`, and in the same cell what only serves it: an import, or a value
that no code in sight reads. Left out is `chapter.finding(...)`, whose sentence the page has below
the figure. All else is the cell's idea and stays in sight, so visible code never reads a name that
only folded code defines. A cell's tags overrule the rule.
"""

import ast
import symtable
from collections.abc import Sequence
from dataclasses import dataclass

HIDE, SHOW, REMOVE = "hide-input", "show-input", "remove-input"
_BINDING = (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom)


@dataclass(frozen=True)
class Parts:
    """A code cell's source as its page shows it: what is in sight, and what is folded."""

    visible: str
    folded: str


@dataclass(frozen=True)
class _Statement:
    """A top-level statement, and the module's names that it reads, binds, and reads when called."""

    node: ast.stmt
    text: str
    reads: frozenset[str]
    binds: frozenset[str]
    captures: frozenset[str]


def divide(cells: Sequence[tuple[str, Sequence[str]]]) -> list[Parts]:
    """Divide the code cells of a chapter, in order, each given as its source and its tags.

    The chapter is read backwards, with the names that later code in sight reads.
    """
    statements = [_statements(source) for source, _ in cells]
    captured = {name for cell in statements for s in cell for name in s.captures}
    parts: list[Parts] = []
    needed: set[str] = set()
    for (source, tags), cell in zip(reversed(cells), reversed(statements), strict=True):
        folded = _folded(cell, tags, needed | captured)
        parts.append(_parts(source, cell, folded) if REMOVE not in tags else Parts("", ""))
        for statement, hidden in zip(reversed(cell), reversed(folded), strict=True):
            needed -= statement.binds
            needed |= set() if hidden else statement.reads
    return parts[::-1]


def _folded(cell: list[_Statement], tags: Sequence[str], needed: set[str]) -> list[bool]:
    """Of each statement of a cell, whether it is folded; `needed` are the names read later."""
    if SHOW in tags or HIDE in tags:
        return [HIDE in tags] * len(cell)
    if not all(statement.text for statement in cell):  # two on one line
        return [False] * len(cell)
    needed, serves, folded = set(needed), set[str](), []
    for statement in reversed(cell):
        hidden = _shows(statement.node) or (
            isinstance(statement.node, _BINDING)
            and bool(statement.binds & serves)
            and not statement.binds & needed
        )
        folded.append(hidden)
        reads = serves if hidden else needed
        needed -= statement.binds
        serves -= statement.binds
        reads |= statement.reads
    return folded[::-1]


def _parts(source: str, cell: list[_Statement], folded: list[bool]) -> Parts:
    if not cell:
        return Parts(source, "")  # comments
    texts: tuple[list[str], list[str]] = ([], [])
    for statement, hidden in zip(cell, folded, strict=True):
        if not _states_finding(statement.node):
            texts[hidden].append(statement.text)
    visible, folded_text = ("".join(lines).strip("\n") for lines in texts)
    return Parts(visible, folded_text)


def _statements(source: str) -> list[_Statement]:
    """The statements of a cell, each with the lines above it that belong to no other."""
    lines, out, start = source.splitlines(keepends=True), [], 0
    body = ast.parse(source).body
    for node, following in zip(body, [*body[1:], None], strict=False):
        end = len(lines) if following is None else node.end_lineno or len(lines)
        text = "".join(lines[start:end])
        names = symtable.symtable(ast.unparse(node), "cell", "exec")
        binds = {s.get_name() for s in names.get_symbols() if s.is_assigned() or s.is_imported()}
        captures = _globals(names)
        reads = {s.get_name() for s in names.get_symbols() if s.is_referenced()} | captures
        deferred = captures if isinstance(node, ast.FunctionDef | ast.ClassDef) else set()
        out.append(_Statement(node, text, frozenset(reads), frozenset(binds), frozenset(deferred)))
        start = max(start, end)
    return out


def _globals(table: symtable.SymbolTable) -> set[str]:
    """The module's names that functions and comprehensions inside `table` read."""
    return {
        name
        for child in table.get_children()
        for name in {s.get_name() for s in child.get_symbols() if s.is_global()} | _globals(child)
    }


def _shows(node: ast.stmt) -> bool:
    """Whether a statement is `show(...)`, or a loop or condition over nothing else."""
    if isinstance(node, ast.For | ast.If | ast.With):
        return all(map(_shows, node.body + getattr(node, "orelse", [])))
    return _calls(node, "show")


def _states_finding(node: ast.stmt) -> bool:
    """Whether a statement is `chapter.finding(...)`, which the page has as a sentence."""
    return _calls(node, "finding")


def _calls(node: ast.stmt, name: str) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == name
