"""Oracle: tables written by hand, and Markdown parsed back into its cells."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from internals.figures.table import Table

LAYERS = Table.of(
    ("layer", "shape", "parameters", "share"),
    [
        ("conv1", (6, 28, 28), 156, 0.0025),
        ("conv3", (120,), 48120, 0.78),
        ("rbf", (10,), None, 1.0),
    ],
    "The layers of LeNet-5.",
)


def test_text_by_hand() -> None:
    assert LAYERS.text() == "\n".join(
        [
            "layer  shape        parameters   share",
            "─────  ───────────  ──────────  ──────",
            "conv1  (6, 28, 28)         156  0.0025",
            "conv3  (120,)           48,120    0.78",
            "rbf    (10,)                 \N{EN DASH}       1",
        ]
    )


def test_markdown_by_hand() -> None:
    assert LAYERS.markdown() == "\n".join(
        [
            "| layer | shape | parameters | share |",
            "| :--- | :--- | ---: | ---: |",
            "| conv1 | (6, 28, 28) | 156 | 0.0025 |",
            "| conv3 | (120,) | 48,120 | 0.78 |",
            "| rbf | (10,) | \N{EN DASH} | 1 |",
        ]
    )


@pytest.mark.parametrize(
    ("cells", "side"),
    [
        (["1", "\N{MINUS SIGN}2.5", "1,234"], "right"),
        (["98.9 %", "\N{EN DASH}", "100 %"], "right"),
        (["1.2e-05", "3 ms", "2 \N{MULTIPLICATION SIGN}"], "right"),
        (["1", "two"], "left"),
        (["5\N{MULTIPLICATION SIGN}5", "2\N{MULTIPLICATION SIGN}2"], "left"),
        (["\N{EN DASH}", ""], "left"),
        ([], "left"),
    ],
)
def test_numbers_go_to_the_right(cells: list[str], side: str) -> None:
    assert Table(("x",), tuple((cell,) for cell in cells), "Caption.").align == (side,)


def test_alignment_can_be_chosen() -> None:
    table = Table(("a", "b"), (("1", "x"),), "Caption.", align=("left", "right"))
    assert table.markdown().splitlines()[1] == "| :--- | ---: |"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("a", "b"), (("1",),), "Caption."), "header has 2 cells"),
        ((("a",), (("1",),), " "), "no caption"),
        ((("a",), (("1",),), "Caption.", ("middle",)), "align needs"),
        ((("a",), (("1",),), "Caption.", ("left", "left")), "align needs"),
    ],
)
def test_refusals(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Table(*arguments)


CELL = st.text(
    st.characters(codec="ascii", categories=("L", "N", "P", "S"), exclude_characters="\\")
)


@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=5))
def test_cells_come_back_from_markdown(rows: list[tuple[str, str, str]]) -> None:
    lines = Table(("a", "b", "c"), tuple(rows), "Caption.").markdown().splitlines()
    for row, line in zip(rows, lines[2:], strict=True):
        cells = re.split(r"(?<!\\)\|", line)[1:-1]
        assert tuple(cell.strip().replace("\\|", "|") for cell in cells) == row


@given(st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5))
def test_columns_of_text_line_up(rows: list[tuple[str, str]]) -> None:
    lines = Table(("first", "second"), tuple(rows), "Caption.").text().splitlines()
    start = lines[1].index("  ") + 2
    for line in lines:
        assert line.ljust(start)[start - 2 : start] == "  "
        assert len(line) <= len(lines[1])
