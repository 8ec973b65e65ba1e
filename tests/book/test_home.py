"""Oracle: the stored runs' records, the chapters' scripts and the files that pages name."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from internals.book import (
    Layout,
    Prepared,
    bibliography,
    chapter_cards,
    links_to_chapters,
    our_score,
    prepare,
    quoted_figure,
    square_thumbnail,
    thumbnail_figure,
)
from internals.environment import ROOT
from internals.figures import ZERO

NETWORKS = (
    "01_lenet5", "02_alexnet", "03_vgg16", "04_inceptionnet", "05_resnet18", "06_mobilenet",
)  # fmt: skip
PROSE = {path: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}


@pytest.fixture(scope="module")
def chapters() -> list[Prepared]:
    """The published edition's chapters."""
    layout = Layout(ROOT, ROOT / "build")
    return [prepare(layout, "full", path) for path in layout.scripts()]


def _figures(chapter: str) -> set[str]:
    """The names under which a chapter's script shows its figures and tables."""
    return set(re.findall(r'"([a-z0-9-]+)"', (ROOT / "chapters" / f"{chapter}.py").read_text()))


def test_a_network_s_card_has_the_errors_of_its_record_beside_the_paper_s(
    chapters: list[Prepared],
) -> None:
    by_name = {chapter.script.name: chapter for chapter in chapters}
    for name in NETWORKS:
        record = json.loads((ROOT / "chapters/edition" / name / "run.json").read_text())
        errors, words = our_score(record).split(" % errors on ")
        decimals = len(errors.partition(".")[2])
        assert float(errors) == pytest.approx(
            100 * (1 - record["metrics"]["test_top1"]), abs=0.5001 * 10**-decimals
        )
        used = [print_.split()[0] for print_ in record["environment"]["data"].values()]
        assert words.lower().startswith(used[0])
        assert ("short training" in words) == (record["profile"] != "full")
        card = chapter_cards([by_name[name]], {})
        assert f"Here\n:   {our_score(record)}" in card
        [stated] = re.findall(r"^# paper_score: (.+)$", by_name[name].script.path.read_text(), re.M)
        assert f"Paper\n:   {stated}" in card and " % errors" in stated


def test_a_chapter_without_a_paper_has_no_scores(chapters: list[Prepared]) -> None:
    card = chapter_cards([c for c in chapters if c.script.name == "10_side_by_side"], {})
    assert "### [Side by side](chapters/10_side_by_side.py)" in card
    assert "\n:   " not in card


def test_the_figure_on_a_card_is_the_one_that_the_chapter_names(
    chapters: list[Prepared], tmp_path: Path
) -> None:
    for chapter in chapters:
        [stated] = re.findall(r"^# thumbnail: (.+)$", chapter.script.path.read_text(), re.M)
        assert thumbnail_figure(chapter) == stated
    chapter = chapters[3]
    chapter.script.meta.pop("thumbnail")
    first = next(f["name"] for f in chapter.figures if f["name"].endswith("-strongest"))
    assert thumbnail_figure(chapter) == first, "else the first panel"
    small = square_thumbnail(chapter, first, tmp_path)
    assert small is not None
    with Image.open(small.path) as picture:
        assert picture.width == picture.height == 2 * small.width
    assert square_thumbnail(chapter, "none", tmp_path) is None


@pytest.mark.parametrize("name", ["mosaic", "mosaic-upright"])
def test_the_large_picture_is_light_grey_where_nothing_is_and_of_the_size_stated(name: str) -> None:
    path = ROOT / "docs/assets" / f"{name}.webp"
    assert path.stat().st_size <= 150_000
    with Image.open(path) as picture:
        size = picture.size
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    home = PROSE[ROOT / "docs/index.md"]
    assert re.search(rf'"assets/{name}.webp" width="{size[0]}" height="{size[1]}"', home)
    near_zero = (np.abs(pixels - ZERO).max(axis=2) <= 3).mean()
    assert near_zero > 0.15, "projections are grey where nothing drives their channel"


def test_pages_name_chapters_and_figures_that_there_are() -> None:
    links = [link for text in PROSE.values() for link in re.findall(r"\(chapters/([^)]+)\)", text)]
    quoted = [
        q for text in PROSE.values() for q in re.findall(r"<!-- figure: (\S+) (\S+) -->", text)
    ]
    assert links and quoted
    for link in links:
        script, _, anchor = link.partition("#")
        assert (ROOT / "chapters" / script).is_file(), link
        if anchor.startswith(("fig-", "tab-")):
            assert anchor[4:] in _figures(script.removesuffix(".py")), link
    for chapter, figure in quoted:
        assert figure in _figures(chapter), (chapter, figure)


def test_a_quoted_figure_leads_to_its_place_and_a_missing_one_leaves_nothing(
    chapters: list[Prepared],
) -> None:
    quoted = quoted_figure(chapters, "03_vgg16", "cascade")
    assert "](chapters/03_vgg16.py#fig-cascade)" in quoted
    assert "](chapters/03_vgg16/cascade.webp#only-light){" in quoted
    assert quoted_figure(chapters, "03_vgg16", "none") == ""
    assert quoted_figure([], "03_vgg16", "cascade") == ""


def test_a_link_to_a_chapter_of_another_book_is_its_words(chapters: list[Prepared]) -> None:
    text = "See [VGG](chapters/03_vgg16.py#fig-cascade) and [none](chapters/99_none.py)."
    assert links_to_chapters(text, chapters) == text.replace("[none](chapters/99_none.py)", "none")


def test_the_bibliography_has_every_entry_once_with_the_chapters_that_cite_it(
    chapters: list[Prepared],
) -> None:
    references = ROOT / "docs/references.bib"
    keys = re.findall(r"^@\w+\{(\w+),", references.read_text(), re.M)
    page = bibliography(references, chapters)
    assert sorted(re.findall(r'<li id="(\w+)"', page)) == sorted(keys)
    [entry] = re.findall(r'<li id="howard2017".*?</li>', page)
    assert "MobileNets" in entry and "[MobileNet](chapters/06_mobilenet.py)" in entry
    assert "08_lenet5_inside" not in entry


def test_the_citation_file_has_what_the_format_demands() -> None:
    """Oracle: the Citation File Format 1.2.0, which demands four keys and names for authors."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"] and citation["title"]
    assert citation["authors"] == [{"name": "The CNN Internals authors"}]
    assert citation["license"] == "MIT" and "MIT" in (ROOT / "LICENSE").read_text()
    assert citation["type"] in ("software", "dataset")
    assert not {"doi", "url", "repository-code"} & set(citation), "none is known"
