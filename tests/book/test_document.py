"""Oracle: Markdown and HTML written by hand."""

from pathlib import Path

import pytest
from internals.book.compact import compact

from internals.book import provenance
from internals.book.outputs import tidy
from internals.book.pages import listing, shown, site_links, text_output, without_captions
from internals.environment import ROOT


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('f(x, caption="One.", alt="Two.")', "f(x, caption=..., alt=...)"),
        ('f(caption="Ä, ö",\n  alt=f"{n} é") # ü', "f(caption=...,\n  alt=...) # ü"),
        ('f(\n    caption=(\n        "One "\n        "two."\n    ),\n)', "f(\n    caption=...,\n)"),
        ('f(caption="One "\n  "two.", n=1)', "f(caption=..., n=1)"),
        ("f(caption=words, alt=say(1))", "f(caption=words, alt=say(1))"),
        ('caption = "kept"', 'caption = "kept"'),
    ],
)
def test_captions_are_left_out_of_the_code(source: str, expected: str) -> None:
    assert without_captions(source) == expected


def test_directives_for_tools_are_not_shown() -> None:
    shown_code = listing("x = [\n    1,\n]  # fmt: skip\ny = 2  # why", [])
    assert shown_code == "``` python\nx = [\n    1,\n]\ny = 2  # why\n```"


def test_a_fence_is_longer_than_any_in_the_output() -> None:
    assert text_output("```\nx\n```", "stdout").startswith("````")


def stream(name: str, text: str) -> object:
    from nbformat.v4 import new_output

    return new_output("stream", name=name, text=text)


def test_streams_are_merged_and_progress_bars_end_in_their_last_line() -> None:
    outputs = [
        stream("stdout", "10 %\r50 %"), stream("stdout", "\r100 %\n\x1b[31mred\x1b[0m\n"),
        stream("stderr", "  \n"), stream("stdout", "last"),
    ]  # fmt: skip
    kept = tidy(outputs)
    assert [o.text for o in kept] == ["100 %\nred\n", "last"]


def test_an_output_without_words_is_its_plain_text() -> None:
    from nbformat.v4 import new_output

    value = new_output("execute_result", data={"text/plain": "(6, 2)"}, execution_count=1)
    assert shown(value) == "``` { .text .output .value }\n(6, 2)\n```"


@pytest.mark.parametrize(
    ("src_uri", "markdown", "expected"),
    [
        ("chapters/01_a.py", "[g](../docs/glossary.md#unit)", "[g](../glossary.md#unit)"),
        ("index.md", "[one](../chapters/01_a.py#x)", "[one](chapters/01_a.py#x)"),
        ("chapters/01_a.py", "[b](02_b.py)", "[b](02_b.py)"),
        (
            "chapters/01_a.py",
            "[`files`](../internals/files.py)",
            "[`files`](https://host/o/r/blob/main/internals/files.py)",
        ),
        ("chapters/01_a.py", "[gone](../internals/gone.py)", "gone"),
    ],
)
def test_links_of_the_repository_are_right_on_the_site(
    src_uri: str, markdown: str, expected: str
) -> None:
    edit_uri = "https://host/o/r/edit/main/"
    assert site_links(markdown, src_uri, edit_uri, ROOT) == expected


def test_sources_are_named_but_not_linked_where_the_repository_is_not_known() -> None:
    assert site_links("[f](../internals/files.py)", "chapters/a.py", "", Path()) == "f"


def test_compacting_shortens_marks_and_leaves_the_words_of_code_and_scripts() -> None:
    code = (
        '<pre><span></span><code><span class="k">if</span> <span class="n">x</span>:\n\n'
        '    <span class="s2">"y"</span>  <span class="c1"># (1)</span>\n</code></pre>'
    )
    page = f"<p>a\n   <b>b</b>\n c</p>\n\n   {code}\n\n <script>a\n\n  b</script>  \n  <p>"
    assert compact(page) == (
        "<p>a\n<b>b</b>\nc</p>\n"
        '<pre><code><b>if</b> x:\n\n    <i>"y"</i>  <span class="c1"># (1)</span>\n</code></pre>'
        "\n<script>a\n\n  b</script><p>"
    )


def test_compacting_keeps_the_sides_of_a_table() -> None:
    cells = '<tr><td style="text-align: left;">a</td>\n<td style="text-align: right;">1</td>\n</tr>'
    assert compact(cells) == '<tr><td>a<td class="right">1</tr>'


@pytest.mark.parametrize(
    ("seconds", "said"), [(4.21, "4.2 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, said: str) -> None:
    assert provenance.duration(seconds) == said


@pytest.mark.parametrize(
    ("data", "said", "stands_in"),
    [
        ({}, "Quick edition", False),
        ({"mnist": "mnist md5s ab"}, "Quick edition, run on MNIST", False),
        (
            {"mnist": "digits scikit-learn 1.9"},
            "Quick edition, run on the embedded digits in place of MNIST",
            True,
        ),
    ],
)
def test_a_stand_in_is_named(data: dict[str, str], said: str, stands_in: bool) -> None:
    record = {"profile": "quick", "environment": {"data": data}}
    assert provenance.edition(record) == said
    assert provenance.stands_in(record) is stands_in
