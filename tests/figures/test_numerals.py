"""Oracle: numbers written by hand, and Python's own parser reading them back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from internals.figures.table import number, percent


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
