"""Oracle: Markdown and HTML written by hand."""

from pathlib import Path

import pytest
from nbformat.v4 import new_output

from internals.book import (
    FIGURE,
    TABLE,
    duration,
    edition,
    listing,
    shown,
    site_links,
    stands_in,
    tidy,
)
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
    assert listing(source) == f"``` python\n{expected}\n```"


def test_directives_for_tools_are_not_shown() -> None:
    code = listing("x = [\n    1,\n]  # fmt: skip\ny = 2  # why", [])
    assert code == "``` python\nx = [\n    1,\n]\ny = 2  # why\n```"


def test_a_fence_is_longer_than_any_in_the_output() -> None:
    assert shown(stream("stdout", "```\nx\n```")).startswith("````")


def stream(name: str, text: str) -> object:
    return new_output("stream", name=name, text=text)


def test_streams_are_merged_and_progress_bars_end_in_their_last_line() -> None:
    outputs = [
        stream("stdout", "10 %\r50 %"), stream("stdout", "\r100 %\n\x1b[31mred\x1b[0m\n"),
        stream("stderr", "  \n"), stream("stdout", "last"),
    ]  # fmt: skip
    kept = tidy(outputs)
    assert [o.text for o in kept] == ["100 %\nred\n", "last"]


def test_an_output_without_words_is_its_plain_text() -> None:
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


def figure_output(kind: str) -> object:
    return new_output("display_data", data={kind: {"name": "x", "caption": "C.", "alt": "A."}})


@pytest.mark.parametrize(
    ("kinds", "summary"),
    [
        ([], "Code"),
        ([FIGURE], "Code of this figure"),
        ([FIGURE, FIGURE], "Code of these figures"),
        ([TABLE], "Code of this table"),
        ([TABLE, FIGURE], "Code of these figures and tables"),
    ],
)
def test_a_folded_cell_says_what_it_is_the_code_of(kinds: list[str], summary: str) -> None:
    outputs = [stream("stdout", "printed"), *map(figure_output, kinds)]
    folded = listing("x = 1", ["hide-input"], outputs)
    assert folded == f'??? code "{summary}"\n\n    ``` python\n    x = 1\n    ```'
    assert listing("x = 1", [], outputs) == "``` python\nx = 1\n```"
    assert listing("x = 1", ["remove-input"], outputs) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(4.21, "4.2 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("data", "text", "substituted"),
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
def test_a_stand_in_is_named(data: dict[str, str], text: str, substituted: bool) -> None:
    record = {"profile": "quick", "environment": {"data": data}}
    assert edition(record) == text
    assert stands_in(record) is substituted
