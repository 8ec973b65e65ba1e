"""Oracle: the form of a chapter as counted by Jupytext's own reader.

Prose, code, prose; prose in small portions; code a reader takes in at one look.
"""

import ast
import statistics
from itertools import pairwise
from pathlib import Path

import jupytext
import pytest

from internals.environment import ROOT

CHAPTERS = sorted((ROOT / "chapters").glob("[0-9][0-9]_*.py"))
MOST_PROSE, MOST_CODE, MEDIAN_CODE = 12, 25, 10


def cells(path: Path) -> list:
    return [cell for cell in jupytext.read(path).cells if cell.cell_type != "raw"]


def prose_lines(source: str) -> list[str]:
    """Lines of running text: tables, lists, headings and equations are taken in otherwise."""
    lines, in_equation = [], False
    for line in source.splitlines():
        if line.startswith("$$"):
            in_equation = not in_equation
        elif line and not in_equation and not line.startswith(("|", "#", "- ", "    ", "[^")):
            lines.append(line)
    return lines


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_prose_and_code_alternate(path: Path) -> None:
    kinds = [cell.cell_type for cell in cells(path)]
    assert kinds[0] == "markdown"
    pairs = list(pairwise(kinds))
    assert ("code", "code") not in pairs, f"cell {pairs.index(('code', 'code'))}"
    assert ("markdown", "markdown") not in pairs


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_cells_are_small(path: Path) -> None:
    for cell in cells(path):
        if cell.cell_type == "markdown":
            assert len(prose_lines(cell.source)) <= MOST_PROSE, cell.source[:80]
    code = [c.source.splitlines() for c in cells(path) if c.cell_type == "code"]
    assert max(map(len, code)) <= MOST_CODE
    # Lines that only go on with a caption are prose, and read as such.
    spoken = [[line for line in lines if not line.lstrip().startswith('"')] for lines in code]
    assert statistics.median(map(len, spoken)) <= MEDIAN_CODE


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_plot_plumbing_stays_in_the_package(path: Path) -> None:
    """A figure is one call of `internals.figures`: no Matplotlib in a chapter."""
    names = {
        alias.name.partition(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        for alias in (node.names if isinstance(node, ast.Import) else [])
    } | {
        (node.module or "").partition(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    assert "matplotlib" not in names
