"""Oracle: cells written by hand, and the invariant that visible code needs nothing folded."""

import ast
import builtins
import symtable

import pytest

from internals.book import Layout, divide, read_script
from internals.environment import ROOT

DRAW = "from figures import draw\n\nshow(\n    draw(maps),\n    'a',\n)"


def parts(*cells: str, tags: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    return [(part.visible, part.folded) for part in divide([(cell, tags) for cell in cells])]


def test_a_cell_that_only_builds_and_shows_is_folded() -> None:
    cell = f"# Why\nscale = 2\nmaps = scale * ours\n{DRAW}"
    assert parts(cell) == [("", cell)]


def test_what_a_later_cell_in_sight_reads_stays_in_sight() -> None:
    [(visible, folded), _] = parts(f"maps = look()  # slow\n{DRAW}", "assert maps.sum() == 1")
    assert (visible, folded) == ("maps = look()  # slow", DRAW)


def test_what_only_later_folded_code_reads_is_folded() -> None:
    assert parts(DRAW, "show(draw(1), 'b')") == [("", DRAW), ("", "show(draw(1), 'b')")]


def test_a_name_bound_again_before_it_is_read_is_another_value() -> None:
    [first, _] = parts(f"maps = 1\n{DRAW}", "maps = 2\nassert maps == 2")
    assert first == ("", f"maps = 1\n{DRAW}")


def test_what_a_function_in_sight_reads_stays_in_sight() -> None:
    cells = ("def f():\n    return maps", f"maps = 1\n{DRAW}", "maps = 2", "print(f())")
    assert parts(*cells)[1][0] == "maps = 1"


@pytest.mark.parametrize(
    "idea",
    ["assert maps == 1", "print(maps)", "def f():\n    return 1", "maps[0] = 1", "maps += 1"],
)
def test_an_idea_stays_in_sight_and_the_drawing_is_folded(idea: str) -> None:
    assert parts(f"{idea}\n{DRAW}") == [(idea, DRAW)]
    assert parts(f"{DRAW}\n{idea}") == [(idea, DRAW)]


def test_code_that_shows_nothing_is_not_folded() -> None:
    assert parts("x = 1", "# a comment", "") == [("x = 1", ""), ("# a comment", ""), ("", "")]


def test_a_finding_is_neither_in_sight_nor_folded() -> None:
    found = "chapter.finding('It is one.', holds=maps == 1)"
    assert parts(f"assert maps == 1\n{DRAW}\n{found}") == [("assert maps == 1", DRAW)]


def test_statements_on_one_line_are_not_torn_apart() -> None:
    assert parts("maps = 1; show(maps, 'a')") == [("maps = 1; show(maps, 'a')", "")]


def test_a_loop_that_only_shows_is_folded() -> None:
    loop = "for name in names:\n    show(draw(name), name)"
    assert parts(loop) == [("", loop)]
    assert parts(loop + "\n    print(name)")[0][1] == ""


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("hide-input", ("", f"assert ours\n{DRAW}")),
        ("show-input", (f"assert ours\n{DRAW}", "")),
        ("remove-input", ("", "")),
    ],
)
def test_a_tag_overrules(tag: str, expected: tuple[str, str]) -> None:
    assert parts(f"assert ours\n{DRAW}", tags=(tag,)) == [expected]


@pytest.mark.parametrize("path", Layout(ROOT, ROOT).scripts(), ids=lambda path: path.stem)
def test_the_code_in_sight_of_a_chapter_reads_nothing_that_is_only_folded(path) -> None:
    cells = [(source, ()) for _, source in read_script(path).code()]
    divided = divide(cells)
    lines = sum(len(part.folded.splitlines()) for part in divided)
    assert lines > 0.2 * sum(len(source.splitlines()) for source, _ in cells)
    text = "\n".join(part.visible for part in divided)
    bound, read = names(symtable.symtable(text, "chapter", "exec"))
    assert read - bound - set(dir(builtins)) == set()
    for source, part in zip(cells, divided, strict=True):
        kept = ast.parse(part.visible).body + ast.parse(part.folded).body
        written = [s for s in ast.parse(source[0]).body if not states_finding(s)]
        assert sorted(map(ast.dump, kept)) == sorted(map(ast.dump, written))


def states_finding(statement: ast.stmt) -> bool:
    return ast.unparse(statement).startswith("chapter.finding(")


def names(table: symtable.SymbolTable) -> tuple[set[str], set[str]]:
    """The names that a module binds, and those that it or its functions read."""
    symbols = table.get_symbols()
    bound = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    read = {s.get_name() for s in symbols if s.is_referenced()}
    children = list(table.get_children())
    while children:
        child = children.pop()
        read |= {s.get_name() for s in child.get_symbols() if s.is_global()}
        children += child.get_children()
    return bound, read
