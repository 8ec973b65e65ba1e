"""From a notebook's cells to Markdown: the filters of the nbconvert template."""

import ast
import html
import re
from collections.abc import Sequence
from typing import Any

from internals.book.outputs import ELSEWHERE, FIGURE, FINDING, TABLE
from internals.figures.sheet_html import opening_tag, rows_html

_MOST_LINES = 24  # lines of output that are shown unfolded

# Texts of several lines stand between brackets, which are removed with them.
_AROUND_TEXT = re.compile(rb"\(\s*\0\s*,?\s*\)(?=\s*[,)])|\0")
_DIRECTIVE = re.compile(r" *# (?:fmt: |noqa|type: ignore).*$", re.MULTILINE)  # for tools only
# What `internals.progress` prints off a terminal: "strongest: 20/80 images, 0:05 left".
_PROGRESS = re.compile(r"^[^:\n]+: \d+/\d+ \w+(?:, [^\n]*)?\n?", re.MULTILINE)
_INLINE = re.compile(r"([\\`*_$\[\]<>])")


def listing(source: str) -> str:
    """The code in sight of a cell as Markdown.

    Captions and alternative texts are left out of the code: the page has them below the picture.

    Args:
        source: What `internals.book.folding` leaves in sight.
    """
    if not source.strip():
        return ""
    return fenced(_DIRECTIVE.sub("", without_captions(source)), "python")


def folded_listing(source: str, outputs: Sequence[Any] = ()) -> str:
    """The folded code of a cell as Markdown: one quiet line, named after what the code shows.

    Args:
        source: What `internals.book.folding` folds.
        outputs: The cell's outputs.
    """
    code = listing(source)
    return folded(_summary(outputs), code, "code") if code else ""


def _summary(outputs: Sequence[Any]) -> str:
    """`Code of figures 3 and 4 and table 2`, by the numbers of what is shown."""
    names = []
    for kind, noun in ((FIGURE, "figure"), (TABLE, "table")):
        shown = [output.get("data", {}).get(kind) for output in outputs]
        numbers = [str(texts["number"]) for texts in shown if texts]
        if numbers:
            *most, last = numbers
            noun += "s" if most else ""
            names.append(f"{noun} {', '.join(most)} and {last}" if most else f"{noun} {last}")
    return f"Code of {' and '.join(names)}" if names else "Code"


def without_captions(source: str) -> str:
    """`source` with `...` for every literal `caption=` or `alt=`; formatting is kept."""
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:n])) for n in range(len(lines) + 1)]
    spans = [
        (
            starts[value.lineno - 1] + value.col_offset,
            starts[value.end_lineno - 1] + value.end_col_offset,
        )
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.keyword) and node.arg in ("caption", "alt")
        if isinstance(value := node.value, ast.Constant | ast.JoinedStr)
        if value.end_lineno is not None and value.end_col_offset is not None
    ]
    text = b"".join(lines)
    for start, end in sorted(spans, reverse=True):
        text = _AROUND_TEXT.sub(b"...", text[:start] + b"\0" + text[end:])
    return text.decode()


def shown(output: Any) -> str:
    """An output as Markdown: a numbered figure, a captioned table, or quiet text.

    Lines that only said how far a piece of work was are left out.
    """
    if output.output_type == "stream":
        kind = "stderr" if output.name == "stderr" else "stdout"
        return text_output(_PROGRESS.sub("", output.text), kind)
    if output.output_type == "error":
        return text_output("\n".join(output.traceback), "stderr")
    if texts := output.data.get(FIGURE):
        return figure(texts)
    if texts := output.data.get(TABLE):
        return table(texts, output.data["text/markdown"])
    if texts := output.data.get(FINDING):
        return finding(texts)
    if markdown := output.data.get("text/markdown"):
        return str(markdown)
    return text_output(output.data.get("text/plain", ""), "value")


def figure(texts: Any) -> str:
    """A figure with its caption; MkDocs resolves and checks the file name.

    The browser adds the dark picture (`docs/javascripts/page.js`).
    """
    if "sheet" in texts:
        return sheet_figure(texts)
    picture = _picture(texts, "#only-light")
    anchor = f"fig-{texts['name']}"
    caption = _caption("Figure", texts, anchor)
    return f'<figure id="{anchor}" markdown="span">\n{picture}\n{caption}\n</figure>'


def sheet_figure(texts: Any) -> str:
    """A figure whose page labels the tiles of a sheet."""
    anchor, sheet = f"fig-{texts['name']}", texts["sheet"]
    layers = " ".join(dict.fromkeys(row["layer"] for row in sheet["rows"]))
    caption = _caption("Figure", texts, anchor)
    opening = opening_tag(sheet, attributes='markdown="block"')
    return (
        f'<figure id="{anchor}" data-layer="{html.escape(layers)}" markdown="block">\n{opening}\n\n'
        f"{_picture(texts, '', ' .off-glb')}\n\n{rows_html(sheet)}\n</div>\n{caption}\n</figure>"
    )


def _picture(texts: Any, scheme: str, more: str = "") -> str:
    alt = _INLINE.sub(r"\\\1", " ".join(texts["alt"].split()))
    size = f'width="{texts["width"]}" height="{texts["height"]}" loading="lazy"'
    return f"![{alt}]({texts['file']}.webp{scheme}){{ {size}{more} }}"


def table(texts: Any, markdown: str) -> str:
    """A table under its caption."""
    anchor = f"tab-{texts['name']}"
    caption = _caption("Table", texts, anchor)
    opening = f'<figure class="table" id="{anchor}" markdown="block">'
    return f"{opening}\n{caption}\n\n{markdown}\n\n</figure>"


def finding(texts: Any) -> str:
    """The sentence below a figure that says what it shows, and whether it does so in this run."""
    note = "" if texts["holds"] else f' <span class="elsewhere">{ELSEWHERE}</span>'
    sentence = " ".join(html.escape(texts["sentence"], quote=False).split())
    return f'<p class="finding" markdown="span">{sentence}{note}</p>'


def text_output(text: str, kind: str) -> str:
    """Printed text; many lines are folded."""
    text = text.strip("\n")
    if not text.strip():
        return ""
    block = fenced(text, f"{{ .text .output .{kind} }}")
    lines = text.count("\n") + 1
    return folded(f"{lines} lines of output", block, "output") if lines > _MOST_LINES else block


def fenced(text: str, info: str) -> str:
    """A code block whose fence is longer than any in `text`."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence} {info}\n{text.rstrip()}\n{fence}"


def folded(summary: str, body: str, kind: str) -> str:
    """A block that opens when its summary is clicked."""
    lines = "\n".join(f"    {line}" if line else "" for line in body.splitlines())
    return f'??? {kind} "{summary}"\n\n{lines}'


def _caption(label: str, texts: Any, anchor: str) -> str:
    """`Figure 3.`, which links to itself, and the caption, in which Markdown holds."""
    number = f'<a class="number" href="#{anchor}">{label} {texts["number"]}.</a>'
    text = " ".join(html.escape(texts["caption"], quote=False).split())
    return f'<figcaption markdown="span">{number} {text}</figcaption>'


FILTERS = {"listing": listing, "folded_listing": folded_listing, "shown": shown}
