"""Oracle: Markdown and HTML written by hand."""

import re
from html import unescape
from pathlib import Path

import markdown
import pytest
from nbformat.v4 import new_output

from internals.book import (
    FIGURE,
    TABLE,
    duration,
    edition,
    facts,
    folded_listing,
    headline,
    listing,
    reading_minutes,
    shown,
    site_links,
    stands_in,
    tidy,
)
from internals.environment import ROOT
from internals.progress import Progress


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


def test_code_is_marked_only_where_it_has_a_colour_and_every_letter_stays() -> None:
    code = 'from a.b import c\n\nx = [1 < n, "t<n>", 2.5 in y]  # why\ndef f(y: int) -> None: ...\n'
    extensions = ["pymdownx.superfences", "pymdownx.highlight", "internals.book.plain_code"]
    html = markdown.markdown(f"```python\n{code}```\n\n`x`", extensions=extensions)
    assert unescape(re.sub(r"<[^>]+>", "", html)).strip() == f"{code}\nx"
    marks = re.findall(r'<span class="([a-z0-9]+)">([^<]*)</span>', html)
    assert ("s2", '"t&lt;n&gt;"') in marks or ("s2", "&quot;t&lt;n&gt;&quot;") in marks
    assert ("k", "def") in marks and ("c1", "# why") in marks
    inked = {"n", "p", "w", "o", "ow", "nn", "nb", "kc", "mi", "mf"}
    assert {kind for kind, _ in marks} & inked == set()


def test_directives_for_tools_are_not_shown() -> None:
    code = listing("x = [\n    1,\n]  # fmt: skip\ny = 2  # why")
    assert code == "``` python\nx = [\n    1,\n]\ny = 2  # why\n```"


def test_a_fence_is_longer_than_any_in_the_output() -> None:
    assert shown(stream("stdout", "```\nx\n```")).startswith("````")


def test_what_only_said_how_far_the_work_was_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Progress("decoding train at 96 px", 8, "image") as bar:
        print("kernels: 3 of 4")
        for _ in range(8):
            bar.advance(loss="0.5")
    print("seed 0: 97.2 % of 1,000")
    text = capsys.readouterr().out
    assert text.count("decoding train at 96 px: ") == 4 and ": 8/8 images, loss 0.5\n" in text
    page = shown(stream("stdout", text))
    assert page.splitlines()[1:-1] == ["kernels: 3 of 4", "seed 0: 97.2 % of 1,000"]
    assert shown(stream("stdout", "mining: 20/20 images\n")) == ""


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


def test_a_panel_is_written_out() -> None:
    unit = {"class": "tench", "value": "1.0", "image": 3}
    row = {"layer": "conv4", "channel": 7, "colours": 3, "scale": "2", "exceeded": False}
    sheet = {"tile": [5, 5], "lines": 1, "stacked": True, "noun": "channel"}
    sheet["rows"] = [{**row, "units": [unit, unit]}]
    texts = {
        "name": "x", "caption": "A *word*.", "alt": "B.", "width": 45, "height": 10, "number": 4,
        "file": "01/x", "sheet": sheet,
    }  # fmt: skip
    page = shown(new_output("display_data", data={FIGURE: texts}))
    assert '<figure id="fig-x" data-layer="conv4" markdown="block">' in page
    assert '![B.](01/x.webp){ width="45" height="10" loading="lazy" .off-glb }' in page
    assert page.count("<li>tench\n1.0 #3</li>") == 2
    assert 'href="#fig-x">Figure 4.</a> A *word*.</figcaption>' in page and "atlas" not in page


def numbered(kind: str, number: int) -> object:
    return new_output("display_data", data={kind: {"name": "x", "number": number}})


@pytest.mark.parametrize(
    ("shown", "summary"),
    [
        ([], "Code"),
        ([(FIGURE, 12)], "Code of figure 12"),
        ([(FIGURE, 1), (FIGURE, 2), (FIGURE, 3)], "Code of figures 1, 2 and 3"),
        ([(TABLE, 4)], "Code of table 4"),
        ([(TABLE, 1), (FIGURE, 2)], "Code of figure 2 and table 1"),
    ],
)
def test_folded_code_is_named_after_what_it_shows(
    shown: list[tuple[str, int]], summary: str
) -> None:
    outputs = [stream("stdout", "printed"), *(numbered(*pair) for pair in shown)]
    folded = folded_listing("x = 1", outputs)
    assert folded == f'??? code "{summary}"\n\n    ``` python\n    x = 1\n    ```'
    assert folded_listing("", outputs) == ""


@pytest.mark.parametrize(
    ("prose", "figures", "minutes"),
    [
        ("word " * 2200, 0, 10),
        ("word " * 2200, 20, 12),
        ("few", 0, 1),
        ("word " * 2200 + "$$ x_a + y_b $$ [a](http://one.two/three) <b>" * 1000, 0, 15),
    ],
)
def test_reading_takes_words_and_a_look_at_each_figure(
    prose: str, figures: int, minutes: int
) -> None:
    assert reading_minutes([prose], figures) == minutes


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


def record(trained: float, slowest: float) -> dict[str, object]:
    return {
        "profile": "full",
        "environment": {"data": {"mnist": "mnist 60000"}},
        "metrics": {"test_top1": 0.9917, "seconds": trained},
        "cells": [{"seconds": slowest}],
        "seconds": slowest + 4,
        "machine": "Linux x86_64, 2 cores",
    }


@pytest.mark.parametrize(
    ("trained", "slowest", "cost"), [(100.0, 6.0, "1 min 50 s"), (100.0, 101.0, "1 min 45 s")]
)
def test_a_page_costs_its_training_once(trained: float, slowest: float, cost: str) -> None:
    assert headline(record(trained, slowest), {}, 9)[0] == (cost, "to reproduce, 2 cores")


def test_the_foot_of_a_page_tells_how_its_networks_were_trained() -> None:
    training = {
        "network": "resnet18", "epochs": 40, "seed": 1, "seconds": 2400.0, "machine": "one",
        "recipe": {"batch_size": 64, "optimizer": {"kind": "AdamW", "lr": 1e-3}},
        "metrics": {"top1": 0.88943, "loss": 1.0}, "weights_sha256": "ab" * 32,
    }  # fmt: skip
    made = {
        **record(2400.0, 6.0), "trainings": [training], "seed": 0, "commit": "c", "key": "k",
        "when": "2026-11-30T10:00:00+00:00", "cells": [{"seconds": 6.0, "line": 7}],
        "environment": {"data": {}, "packages": {}, "python": "3.11"},
    }  # fmt: skip
    rows = dict(facts(made))
    assert rows["Trained: `resnet18`"] == (
        "40 epochs, batches of 64, AdamW from a rate of 0.001, seed 1, 40 min 0 s on one, 88.94 % "
        "of the test images, tensors’ SHA-256 `abababababababab`"
    )
    assert rows["Metrics"] == "`test_top1` 0.9917"


def test_our_score_stands_beside_the_papers() -> None:
    meta = {"network": "lenet5", "paper_score": "0.95 % errors on MNIST", "year": 1998}
    assert headline(record(9.0, 1.0), meta, 9)[:2] == [
        ("0.83 %", "errors on MNIST"),
        ("0.95 %", "errors on MNIST: the paper, 1998"),
    ]
    assert headline(None, meta, 9) == [
        ("0.95 %", "errors on MNIST: the paper, 1998"),
        ("9 min", "to read"),
    ]
