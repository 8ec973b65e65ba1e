"""Oracle: the form of a chapter as counted by Jupytext's own reader.

Prose, code, prose; prose in small portions; code a reader takes in at one look. Cells that only lay
out a figure or a table are folded on the page by their tag.
"""

import ast
import re
import statistics
from itertools import pairwise
from pathlib import Path

import jupytext
import markdown
import pytest
from nbformat import NotebookNode

from internals.book import data_sets, read_script
from internals.environment import ROOT

CHAPTERS = sorted((ROOT / "chapters").glob("[0-9][0-9]_*.py"))
MOST_PROSE, MOST_CODE, MEDIAN_CODE = 12, 25, 10
FOLDED = "hide-input"


def cells(path: Path) -> list[NotebookNode]:
    return [cell for cell in jupytext.read(path).cells if cell.cell_type != "raw"]


def is_folded(cell: NotebookNode) -> bool:
    return FOLDED in cell.metadata.get("tags", [])


def prose_lines(source: str) -> list[int]:
    """How many lines of running text there are below each heading.

    Tables, lists, commands and equations are taken in otherwise.
    """
    counts, is_inside = [0], False
    for line in source.splitlines():
        counts += [0] * (line.startswith("## ") and not is_inside)
        if line.startswith(("$$", "```")):
            is_inside = not is_inside
        elif line and not is_inside and not line.startswith(("|", "#", "- ", "  ", "[^")):
            counts[-1] += 1
    return counts


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_prose_and_code_alternate(path: Path) -> None:
    kinds = [cell.cell_type for cell in cells(path)]
    assert kinds[0] == "markdown"
    pairs = list(pairwise(kinds))
    assert ("code", "code") not in pairs, f"cell {pairs.index(('code', 'code'))}"
    assert ("markdown", "markdown") not in pairs


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_no_line_becomes_an_item_of_a_list_by_its_number(path: Path) -> None:
    """Oracle: Python-Markdown, which draws the pages. A line "100. But" would be an item."""
    for cell in cells(path):
        if cell.cell_type == "markdown":
            page = markdown.markdown(cell.source, extensions=["fenced_code"])
            numbers = re.findall(r"^([0-9]+)\. ", cell.source, flags=re.MULTILINE)
            bullets = re.findall(r"^- ", cell.source, flags=re.MULTILINE)
            assert numbers == [str(n) for n in range(1, len(numbers) + 1)]
            assert page.count("<li>") == len(numbers) + len(bullets), cell.source[:80]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_cells_are_small(path: Path) -> None:
    for cell in cells(path):
        if cell.cell_type == "markdown":
            assert max(prose_lines(cell.source)) <= MOST_PROSE, cell.source[:80]
    shown = [c for c in cells(path) if c.cell_type == "code" and not is_folded(c)]
    code = [cell.source.splitlines() for cell in shown]
    longest = max(code, key=len)
    assert len(longest) <= MOST_CODE, longest[0]
    # Lines that only go on with a caption are prose, and read as such.
    spoken = [[line for line in lines if not line.lstrip().startswith('"')] for lines in code]
    assert statistics.median(map(len, spoken)) <= MEDIAN_CODE


def test_every_data_set_that_is_loaded_is_declared() -> None:
    declared = {path.name[:2]: data_sets(read_script(path)) for path in CHAPTERS}
    assert declared["02"] == ["imagenette"] and declared["10"] == ["imagenette", "mnist"]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_cells_are_tagged_by_what_the_page_does(path: Path) -> None:
    tags = {tag for cell in cells(path) for tag in cell.metadata.get("tags", [])}
    assert tags <= {FOLDED}


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_folded_cell_shows_something(path: Path) -> None:
    """What is folded lays out a figure or a table; a step of the argument stays open."""
    for cell in filter(is_folded, cells(path)):
        calls = {
            node.func.id
            for node in ast.walk(ast.parse(cell.source))
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert calls & {"show", "over_budgets", "draw"}, cell.source[:80]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapters_import_from_packages(path: Path) -> None:
    """A figure is one call of the package, which is entered by its doors: no Matplotlib."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    imported = {
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    for name in imported:
        package, *below = name.split(".")
        assert package != "matplotlib"
        assert package != "internals" or len(below) < 2, name
