"""Numbers in words, and tables: Markdown for the page, aligned text for the terminal."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
DASH = "\N{EN DASH}"  # where a number would stand, if there were one

_NUMBER = re.compile(rf"[-+±{MINUS}]?[\d.,]*\d([eE][-+]?\d+)?( ?(%|s|ms|min|MB|px|{TIMES}))?")
_BLANK = ("", "-", DASH)
_HYPHEN = re.compile(r"(?<![\w.,)\]-])-(?=\.?\d)")


def number(value: float) -> str:
    """`value` to three significant digits, without an exponent wherever that stays short."""
    if not math.isfinite(value):
        return str(value).replace("-", MINUS)
    size = abs(value)
    if size == 0:
        return "0"
    if size < 0.001 or size >= 1e6:
        return f"{value:.1e}".replace("-", MINUS)
    exponent = int(f"{size:.2e}".partition("e")[2])  # of the rounded value: 0.9999 is 1.00
    decimals = max(0, 2 - exponent)
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def with_minus(text: str) -> str:
    """`text` with a minus sign before each negative number, where Python prints a hyphen."""
    return _HYPHEN.sub(MINUS, text)


def percent(share: float, decimals: int = 1) -> str:
    """A share as a percentage; 0 % and 100 % are only printed where they are exact.

    Args:
        share: In [0, 1].
        decimals: Digits after the decimal point.
    """
    step = 10.0**-decimals
    shown = round(100 * share, decimals)
    if shown == 100 and share < 1:
        return f">{100 - step:.{decimals}f} %"
    if shown == 0 and share > 0:
        return f"<{step:.{decimals}f} %"
    return f"{shown:.{0 if shown in (0, 100) else decimals}f} %"


@dataclass(frozen=True)
class Table:
    """Cells of text under a header.

    Args:
        header: The name of each column.
        rows: The cells.
        caption: What the columns hold.
        align: "left" or "right" for each column; by default, columns that hold only numbers go to
            the right.

    Raises:
        ValueError: A row or `align` is not as long as the header, or a column has no name, or the
            caption is empty.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    align: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(
                    f"the header has {len(self.header)} cells, the row {row} {len(row)}"
                )
        if nameless := [i for i, name in enumerate(self.header, 1) if not name.strip()]:
            raise ValueError(f"column {nameless[0]} of the table has no name; say what it holds")
        if not self.caption.strip():
            raise ValueError("the table has no caption; say what its columns hold")
        if not self.align:
            object.__setattr__(self, "align", tuple(_side(column) for column in self._body()))
        if len(self.align) != len(self.header) or not set(self.align) <= {"left", "right"}:
            raise ValueError(
                f'align needs "left" or "right" for {len(self.header)} columns, not {self.align}'
            )

    @classmethod
    def of(
        cls, header: Iterable[object], rows: Iterable[Iterable[object]], caption: str
    ) -> "Table":
        """A table of any values: integers get thousands commas, floats three significant digits.

        Args:
            header: The name of each column.
            rows: The values; None is a dash.
            caption: What the columns hold.
        """
        cells = tuple(tuple(_cell(value) for value in row) for row in rows)
        return cls(tuple(str(name) for name in header), cells, caption)

    def markdown(self) -> str:
        """A Markdown pipe table, without the caption."""
        rules = ["---:" if side == "right" else "---" for side in self.align]
        lines = [self.header, rules, *self.rows]
        return "\n".join(f"| {' | '.join(_escape(cell) for cell in line)} |" for line in lines)

    def text(self) -> str:
        """Columns aligned with spaces for a terminal, a rule under the header, no caption."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        justify: list[Callable[[str, int], str]] = [
            str.rjust if side == "right" else str.ljust for side in self.align
        ]

        def line(cells: Iterable[str]) -> str:
            aligned = (put(cell, w) for put, cell, w in zip(justify, cells, widths, strict=True))
            return "  ".join(aligned).rstrip()

        rule = "  ".join("─" * width for width in widths)
        return "\n".join([line(self.header), rule, *(line(row) for row in self.rows)])

    def _repr_markdown_(self) -> str:
        """What a notebook displays: the table, the caption below it."""
        return f"{self.markdown()}\n\n*{self.caption}*"

    def _body(self) -> list[tuple[str, ...]]:
        return [tuple(row[index] for row in self.rows) for index in range(len(self.header))]


def _side(column: Sequence[str]) -> str:
    cells = [cell for cell in column if cell not in _BLANK]
    return "right" if cells and all(_NUMBER.fullmatch(cell) for cell in cells) else "left"


def _cell(value: object) -> str:
    if isinstance(value, str):
        return with_minus(value)
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return with_minus(f"{value:.3g}")
    return DASH if value is None else str(value)


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
