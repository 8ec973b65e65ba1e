"""Oracle: MathML written by hand after the rules of TeX's spacing and of MathML Core."""

import logging
from xml.etree.ElementTree import tostring

import markdown
import pytest

from internals.book import mathml


def inner(tex: str, block: bool = False) -> str:
    [row] = mathml(tex, block)
    return tostring(row, encoding="unicode").removeprefix("<mrow>").removesuffix("</mrow>")


@pytest.mark.parametrize(
    ("tex", "block", "expected"),
    [
        ("x^{2}", False, "<msup><mi>x</mi><mn>2</mn></msup>"),
        ("5 \\times 5", False, "<mn>5</mn><mo>×</mo><mn>5</mn>"),
        ("a = -1", False, '<mi>a</mi><mo>=</mo><mo form="prefix">−</mo><mn>1</mn>'),
        ("a - 1", False, "<mi>a</mi><mo>−</mo><mn>1</mn>"),
        ("= \\pm 1", False, '<mo>=</mo><mo form="prefix">±</mo><mn>1</mn>'),
        ("\\log x", False, '<mo lspace=".17em" rspace=".17em">log</mo><mi>x</mi>'),
        (
            "\\tanh^2(a)", False,
            '<msup><mo lspace=".17em" rspace="0">tanh</mo><mn>2</mn></msup>'
            '<mo stretchy="false">(</mo><mi>a</mi><mo stretchy="false">)</mo>',
        ),
        (
            "\\arg\\min_i y", True,
            '<munder><mo lspace=".17em" rspace=".17em">arg\u2009min</mo><mi>i</mi></munder>'
            "<mi>y</mi>",
        ),
        (
            "\\big(a\\big)", False,
            '<mo minsize="1.2em" maxsize="1.2em" lspace="0" rspace="0">(</mo><mi>a</mi>'
            '<mo minsize="1.2em" maxsize="1.2em" lspace="0" rspace="0">)</mo>',
        ),
    ],
)  # fmt: skip
def test_equations(tex: str, block: bool, expected: str) -> None:
    assert inner(tex, block) == expected


def test_aligned_equations_have_one_row_a_line_and_no_numbers() -> None:
    table = inner("\\begin{aligned} a &= b \\\\ c &= d \\end{aligned}", block=True)
    assert table.count("<mtr>") == 2 and table.count("<mtd") == 4
    assert "(1)" not in table and "&amp;" not in table


def test_the_tex_is_kept_for_who_cannot_see_it() -> None:
    assert mathml("a < b", False).get("alttext") == "a < b"


@pytest.mark.parametrize("tex", ["\\unheardof x", "a & b", "\\frac{1"])
def test_what_cannot_be_converted_is_a_warning(tex: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mkdocs.plugins.internals.mathml"):
        mathml(tex, block=False)
    assert tex.split()[0] in caplog.text


def test_markdown_pages_get_equations_in_text_tables_and_blocks() -> None:
    html = markdown.markdown(
        "Price $5 and $6; $a_1 * b_1 * c_1$ in `$code$`.\n\n"
        "$$\na < b\n$$\n\n| $x$ |\n|---|\n| $y$ |\n",
        extensions=["tables", "pymdownx.arithmatex", "internals.book.mathml"],
        extension_configs={"pymdownx.arithmatex": {"generic": True}},
    )
    assert html.count("<math ") == 4
    assert "Price $5 and $6" in html and "<code>$code$</code>" in html
    assert "<mi>a</mi><mo>&lt;</mo><mi>b</mi>" in html
