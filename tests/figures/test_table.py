"""Oracle: numbers and tables written by hand, parsed back by Python and from Markdown."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from internals.figures import Table, number, percent, with_minus


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3.14159, "3.14"),
        (-0.48149, "\N{MINUS SIGN}0.481"),
        (0.99999, "1.00"),
        (9.996, "10.0"),
        (59999.0, "59,999"),
        (0.0012, "0.00120"),
        (0.00012, "1.2e\N{MINUS SIGN}04"),
        (float("nan"), "nan"),
        (float("-inf"), "\N{MINUS SIGN}inf"),
    ],
)
def test_number_by_hand(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(1e-3, 999_000) | st.floats(-999_000, -1e-3))
def test_three_digits_are_kept(value: float) -> None:
    back = float(number(value).replace("\N{MINUS SIGN}", "-").replace(",", ""))
    assert back == pytest.approx(value, rel=0.00501)


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (1.0, 1, "100 %"),
        (0.0, 1, "0 %"),
        (0.9912, 1, "99.1 %"),
        (0.9999, 1, ">99.9 %"),
        (0.004, 0, "<1 %"),
        (0.996, 0, ">99 %"),
        (0.9905, 2, "99.05 %"),
    ],
)
def test_percent_by_hand(share: float, decimals: int, text: str) -> None:
    assert percent(share, decimals) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rho = -0.37", "rho = \N{MINUS SIGN}0.37"),
        ("-3 to -1 (-.5)", "\N{MINUS SIGN}3 to \N{MINUS SIGN}1 (\N{MINUS SIGN}.5)"),
        (
            "pages 3-5, conv-1, 1e-04, ResNet-18, 2-6-1",
            "pages 3-5, conv-1, 1e-04, ResNet-18, 2-6-1",
        ),
    ],
)
def test_negative_numbers_have_a_minus_sign_and_names_their_hyphen(
    text: str, expected: str
) -> None:
    assert with_minus(text) == expected


def test_a_negative_cell_has_a_minus_sign() -> None:
    table = Table.of(("a", "b"), [("x", -0.4814)], "Negative.")
    assert table.rows[0][1] == "\N{MINUS SIGN}0.481" and table.align == ("left", "right")


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
            "| --- | --- | ---: | ---: |",
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
    assert table.markdown().splitlines()[1] == "| --- | ---: |"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("a", "b"), (("1",),), "Caption."), "header has 2 cells"),
        ((("a",), (("1",),), " "), "no caption"),
        ((("a", " "), (("1", "2"),), "Caption."), "column 2 of the table has no name"),
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
