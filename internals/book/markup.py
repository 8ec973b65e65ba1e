"""From a notebook's cells to Markdown: the filters of the nbconvert template."""

import ast
import html
import re
from collections.abc import Sequence
from typing import Any

from internals.book.outputs import FIGURE, TABLE

_MOST_LINES = 24  # lines of output that are shown unfolded

# Texts of several lines stand between brackets, which are removed with them.
_AROUND_TEXT = re.compile(rb"\(\s*\0\s*,?\s*\)(?=\s*[,)])|\0")
_DIRECTIVE = re.compile(r" *# (?:fmt: |noqa|type: ignore).*$", re.MULTILINE)  # for tools only
_INLINE = re.compile(r"([\\`*_$\[\]<>])")


def listing(source: str, tags: Sequence[str] = (), outputs: Sequence[Any] = ()) -> str:
    """A code cell's input as Markdown.

    Captions and alternative texts are left out of the code: the page has them below the picture.

    Args:
        source: The cell's code.
        tags: The cell's tags: `hide-input` folds the code, `remove-input` leaves it out.
        outputs: The cell's outputs, after which the folded block is named.
    """
    if not source.strip() or "remove-input" in tags:
        return ""
    code = fenced(_DIRECTIVE.sub("", without_captions(source)), "python")
    return folded(_summary(outputs), code, "code") if "hide-input" in tags else code


def _summary(outputs: Sequence[Any]) -> str:
    """What a folded cell is the code of."""
    data = [output.get("data", {}) for output in outputs]
    figures, tables = (sum(kind in shown for shown in data) for kind in (FIGURE, TABLE))
    if figures and tables:
        return "Code of these figures and tables"
    if figures or tables:
        noun = "figure" if figures else "table"
        return f"Code of these {noun}s" if figures + tables > 1 else f"Code of this {noun}"
    return "Code"


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
    """An output as Markdown: a numbered figure, a captioned table, or quiet text."""
    if output.output_type == "stream":
        kind = "stderr" if output.name == "stderr" else "stdout"
        return text_output(output.text, kind)
    if output.output_type == "error":
        return text_output("\n".join(output.traceback), "stderr")
    if texts := output.data.get(FIGURE):
        return figure(texts)
    if texts := output.data.get(TABLE):
        return table(texts, output.data["text/markdown"])
    if markdown := output.data.get("text/markdown"):
        return str(markdown)
    return text_output(output.data.get("text/plain", ""), "value")


def figure(texts: Any) -> str:
    """A figure with its caption; MkDocs resolves and checks the file name.

    The browser adds the dark picture (`docs/javascripts/page.js`).
    """
    alt = _INLINE.sub(r"\\\1", " ".join(texts["alt"].split()))
    size = f'width="{texts["width"]}" height="{texts["height"]}" loading="lazy"'
    picture = f"![{alt}]({texts['file']}.webp#only-light){{ {size} }}"
    anchor = f"fig-{texts['name']}"
    caption = _caption("Figure", texts, anchor)
    return f'<figure id="{anchor}" markdown="span">\n{picture}\n{caption}\n</figure>'


def table(texts: Any, markdown: str) -> str:
    """A table under its caption."""
    anchor = f"tab-{texts['name']}"
    caption = _caption("Table", texts, anchor)
    opening = f'<figure class="table" id="{anchor}" markdown="block">'
    return f"{opening}\n{caption}\n\n{markdown}\n\n</figure>"


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


FILTERS = {"listing": listing, "shown": shown}
