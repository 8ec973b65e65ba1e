"""Oracle: what a page must be, read from the built HTML: links, weights, hosts, words."""

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

from book.bookcase import TinyBook, build_site, copy_book
from internals.environment import ROOT

LOADING = {
    ("img", "src"),
    ("script", "src"),
    ("link", "href"),
    ("iframe", "src"),
    ("source", "src"),
}
NOT_LOADED = {"canonical", "prev", "next", "edit"}
SITE_URL = "https://book.example/cnn/"


class Page(HTMLParser):
    """Identifiers, links, loaded addresses, images and headings of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.images: list[dict[str, str]] = []
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if found.get("id"):
            self.ids.append(found["id"])
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "img":
            self.images.append(found)
        for name, attribute in LOADING:
            if tag == name and attribute in found and found.get("rel") not in NOT_LOADED:
                self.loads.append(found[attribute])


@pytest.fixture(scope="module")
def pages(tinybook: TinyBook) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(tinybook.site.rglob("*.html"))}


@pytest.fixture(scope="module")
def fine(tinybook: TinyBook, pages: dict[Path, Page]) -> Page:
    return pages[tinybook.site / "chapters/01_fine/index.html"]


def test_links_and_anchors_lead_somewhere(tinybook: TinyBook, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":  # its links are absolute
            continue
        for link in page.links:
            if urlsplit(link).scheme:
                continue
            address, anchor = urldefrag(link)
            target = (path.parent / unquote(address)).resolve() if address else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                broken.append((path.name, link))
            elif anchor.startswith(("__", "only-")):  # Material's own: a drawer, a colour scheme
                continue
            elif anchor and unquote(anchor) not in pages[target].ids:
                broken.append((str(path.relative_to(tinybook.site)), link))
    assert not broken


def test_nothing_is_loaded_from_another_host(tinybook: TinyBook, pages: dict[Path, Page]) -> None:
    loaded = [address for page in pages.values() for address in page.loads]
    assert [a for a in loaded if urlsplit(a).netloc or a.startswith("data:image/")] == []
    for sheet in tinybook.site.rglob("*.css"):
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//[^)]+\)", sheet.read_text()) == [], sheet
    scripts = " ".join(p.text for p in pages.values())
    assert not re.search(r"<script[^>]*>[^<]*https?://(?!book\.example)", scripts)


def test_images_have_alternative_text_width_and_height(pages: dict[Path, Page]) -> None:
    images = [image for page in pages.values() for image in page.images]
    assert len(images) >= 2
    for image in images:
        assert image["alt"].strip() and image["width"].isdecimal() and image["height"].isdecimal()
        first = image.get("fetchpriority") == "high"  # what a page opens with
        assert ("loading" in image) != first and image.get("loading") in (None, "lazy")


def test_identifiers_are_unique_also_for_equal_headings(
    pages: dict[Path, Page], fine: Page
) -> None:
    for path, page in pages.items():
        assert len(page.ids) == len(set(page.ids)), path
    assert {"a-picture", "a-picture_1"} <= set(fine.ids)
    assert {"#a-picture", "#a-picture_1"} <= set(fine.links), "as the table of contents says"


def test_a_figure_has_number_caption_and_anchor(tinybook: TinyBook, fine: Page) -> None:
    [figure] = re.findall(r'<figure id="fig-slope">.*?</figure>', fine.text, re.DOTALL)
    assert re.findall(r'<img[^>]*src="([^"]+)"', figure) == ["slope.webp#only-light"]
    assert (tinybook.site / "chapters/01_fine/slope-dark.webp").is_file()
    assert 'width="344"' in figure and 'height="200"' in figure
    caption = re.sub(r"<[^>]+>", "", figure[figure.index("<figcaption") :])
    assert caption.strip().startswith("Figure 1. A straight line from the lower left")
    assert '<a href="#fig-slope">Figure 1</a>' in fine.text


def test_a_panel_is_one_picture_with_its_words_beside_it(tinybook: TinyBook, fine: Page) -> None:
    [figure] = re.findall(
        r'<figure data-layer="conv1" id="fig-panel">.*?</figure>', fine.text, re.DOTALL
    )
    [picture] = [image for image in fine.images if image["src"] == "panel.webp"]
    assert "off-glb" in picture["class"] and "glightbox" not in figure
    assert not (tinybook.site / "chapters/01_fine/panel-dark.webp").exists()
    pairs = re.findall(r"<li(?: [^>]*)?>([^<]*)</li>", figure)
    assert pairs == [f"tench\n{9 - n}.00 #{n}" for n in range(9)] * 2
    assert re.search(r">outside the image<.*Figure 2.</a> Two channels", figure, re.DOTALL)
    assert "panel.webp" in {image["src"].split("/")[-1] for image in index_images(tinybook)}
    found = (tinybook.site / "search/search_index.json").read_text()
    assert "grow brighter" in found and "9.00 #0" not in found, "a list of labels is no answer"


def index_images(tinybook: TinyBook) -> list[dict[str, str]]:
    return Page(tinybook.site / "figures/index.html").images


def test_the_style_sheet_and_the_script_of_sheets_come_with_the_package(tinybook: TinyBook) -> None:
    for name in ("stylesheets/sheets.css", "javascripts/sheets.js"):
        stored = ROOT / "internals/figures/assets" / Path(name).name
        assert (tinybook.site / name).read_bytes() == stored.read_bytes()


def test_findings_stand_below_the_figure_and_their_code_nowhere(fine: Page) -> None:
    rises, falls = re.findall(r'<p class="finding">(.*?)</p>', fine.text)
    assert rises == "The line <em>rises</em> by as much as it goes on."
    assert re.fullmatch(r'It falls\. <span class="elsewhere">\(In the published .*\)</span>', falls)
    places = [fine.text.index(text) for text in ('id="fig-slope"', rises, falls, "Code of figure")]
    assert places == sorted(places)
    assert "finding" not in re.sub(r"<[^>]+>", "", fine.text), "not the call"


def test_a_table_has_caption_and_anchor(fine: Page) -> None:
    [table] = re.findall(
        r'<figure class="table" id="tab-numbers">.*?</figure>', fine.text, re.DOTALL
    )
    assert "Table 1.</a> Two numbers." in table
    assert table.count("<tr>") == 3


def test_equations_are_mathml_with_their_tex(fine: Page) -> None:
    assert fine.text.count("<math ") == 3
    assert r'alttext="x_i^2 = \arg\min_j y_j"' in fine.text
    assert re.search(r'<div class="equation" tabindex="0"><math [^>]*display="block"', fine.text)
    assert "arithmatex" not in fine.text and r"\(" not in fine.text


def test_prose_is_markdown_over_the_whole_page(fine: Page) -> None:
    assert re.search(
        r'<div class="admonition tip">\s*<p class="admonition-title">Takeaway', fine.text
    )
    references = re.findall(r'<li id="fn:([a-z0-9]+)">', fine.text)
    assert references == ["lecun1998", "one"], "numbered in the order of their first mention"
    assert 'paper<sup id="fnref:lecun1998">' in fine.text, "no space before a raised number"
    assert "Gradient-based learning applied to document recognition" in fine.text
    assert fine.text.index('class="footnote"') < fine.text.index('class="provenance"')
    assert '<a href="../../glossary/">glossary</a>' in fine.text
    assert "../internals/book" not in fine.text, "package sources have no page"


def test_code_has_no_prompts_and_captions_are_said_once_below(fine: Page) -> None:
    article = fine.text[fine.text.index("<article") : fine.text.index("</article>")]
    assert "In [" not in article and "Out[" not in article
    assert "caption=..." in re.sub(r"<[^>]+>", "", article)
    [code_of_figure] = re.findall(
        r"<details class=\"code\">\s*<summary>Code of figure 1</summary>(.*?)</details>",
        article,
        re.DOTALL,
    )
    assert "chapter" not in code_of_figure and "Illustration" in code_of_figure
    assert article.index('id="fig-slope"') < article.index("Code of figure 1")
    assert article.count("A straight line from the lower left") == 1


def test_no_line_ends_before_a_percent_sign_and_code_is_left_alone(fine: Page) -> None:
    assert "rises by 100\N{NO-BREAK SPACE}% and" in fine.text
    assert "<code>7 % 2</code>" in fine.text


def test_output_is_quiet_and_folded_when_long(fine: Page) -> None:
    assert "01_fine at quick, seed 7" in fine.text
    assert re.search(r'<details class="output">\s*<summary>60 lines of output</summary>', fine.text)


def test_the_page_says_what_was_run(fine: Page) -> None:
    assert re.search(
        r'<p class="edition"><strong>Quick edition.</strong> \d+ \w+ 20\d\d\. Download', fine.text
    )
    facts = re.findall(r"<dt>([^<]+)</dt><dd>([^<]+)</dd>", fine.text)
    assert [what.split(",")[0] for what, _ in facts] == ["to reproduce", "to read"]
    assert facts[1][1] == "1 min"
    foot = fine.text[fine.text.index('class="provenance"') :]
    for fact in ("<td>7</td>", "matplotlib", "Python 3.", "cores", "<code>slope</code> 1"):
        assert fact in foot


def test_one_banner_says_that_the_text_describes_another_edition(
    pages: dict[Path, Page], fine: Page
) -> None:
    assert fine.text.count('class="banner"') == 1
    assert "The text describes the full edition" in fine.text
    assert not any('class="banner"' in p.text for p in pages.values() if p is not fine)


def test_contents_stand_beside_the_text_and_folded_above_it(fine: Page) -> None:
    above = fine.text[fine.text.index('class="contents"') :]
    for contents in (above, fine.text[fine.text.index("md-sidebar--secondary") :]):
        assert re.search(r'<a href="#a-picture_1"[^>]*>', contents)
    assert "[TOC]" not in fine.text


def test_title_and_description_come_from_the_chapter(fine: Page) -> None:
    assert "<title>A fine chapter - CNN Internals</title>" in fine.text
    assert '<meta name="description" content="A chapter that runs.">' in fine.text


def test_script_and_notebook_can_be_downloaded(tinybook: TinyBook) -> None:
    folder = tinybook.site / "chapters/01_fine"
    source = tinybook.layout.chapters / "01_fine.py"
    assert (folder / "01_fine.py").read_text() == source.read_text()
    notebook = (folder / "01_fine.ipynb").read_text()
    assert f"]({SITE_URL}chapters/01_fine/slope.webp)" in notebook


def test_colab_opens_the_committed_notebook_where_the_repository_is_known(
    tinybook: TinyBook, tmp_path: Path, fine: Page
) -> None:
    assert "colab" not in fine.text, "the address of the repository is not known"
    layout = copy_book(tmp_path)
    [run] = tinybook.layout.store("quick", "01_fine").iterdir()
    layout.edition.mkdir()
    (layout.edition / "01_fine").symlink_to(run)
    edit_uri = "https://github.com/me/book/edit/main/"
    made = build_site(layout, profile="full", EDIT_URI=edit_uri)
    assert made.returncode == 0, made.stderr
    page = Page(layout.site("full") / "chapters/01_fine/index.html")
    assert (
        "https://colab.research.google.com/github/me/book/blob/main/"
        "chapters/edition/01_fine/01_fine.ipynb"
    ) in page.links
    assert "%pip install git+https://github.com/me/book@main" in page.text


def test_a_page_is_light(tinybook: TinyBook, fine: Page) -> None:
    assert len(gzip.compress(fine.text.encode())) < 40_000, "as a server sends it"
    assert "jp-" not in fine.text and "<style>" not in fine.text
    first = [tinybook.site / "chapters/01_fine" / urldefrag(a)[0] for a in fine.loads]
    assert sum(path.stat().st_size for path in set(first)) < 600_000


def test_the_home_page_and_the_index_lead_to_the_chapters(
    tinybook: TinyBook, pages: dict[Path, Page]
) -> None:
    home = pages[tinybook.site / "index.html"]
    assert "chapters/01_fine/" in home.links and "chapters/02_broken/" in home.links
    index = pages[tinybook.site / "figures/index.html"]
    assert "../chapters/01_fine/#fig-slope" in index.links


def test_a_chapter_that_never_ran_says_so(tinybook: TinyBook, pages: dict[Path, Page]) -> None:
    page = pages[tinybook.site / "chapters/02_broken/index.html"]
    assert "No pictures yet" in page.text and "internals execute 02_broken" in page.text


def test_what_only_the_builder_reads_is_not_published(tinybook: TinyBook) -> None:
    assert not (tinybook.site / "theme").exists()
    assert not (tinybook.site / "references.bib").exists()


def test_a_build_executes_nothing(tinybook: TinyBook) -> None:
    before = sorted(p for p in tinybook.layout.build("quick").rglob("run.json"))
    assert len(before) == 1, "the broken chapter was built, not executed"


def test_a_stale_page_keeps_the_pictures_of_unchanged_cells(
    tinybook: TinyBook, tmp_path: Path
) -> None:
    layout = copy_book(tmp_path)
    folder = layout.store("quick", "01_fine")
    folder.parent.mkdir(parents=True)
    folder.symlink_to(tinybook.layout.store("quick", "01_fine"))
    chapter = layout.chapters / "01_fine.py"
    chapter.write_text(chapter.read_text().replace("range(60)", "range(61)"))
    made = build_site(layout)
    assert made.returncode == 0, made.stderr
    page = Page(layout.site("quick") / "chapters/01_fine/index.html")
    assert "Some pictures are older than the code" in page.text
    assert 'id="fig-slope"' in page.text and "lines of output" not in page.text
    made = build_site(layout, "--strict", INTERNALS_REQUIRE_FRESH="1")
    assert made.returncode == 1
    assert "chapters/01_fine.py is stale in the quick edition" in made.stderr


@pytest.mark.slow
def test_a_strict_build_fails_on_what_leads_nowhere(tmp_path: Path) -> None:
    layout = copy_book(tmp_path)
    chapter = layout.chapters / "01_fine.py"
    text = chapter.read_text()
    for old, new in [
        ("[the broken one](02_broken.py#what-breaks)", "[a](03_none.py) [b](02_broken.py#no)"),
        ("#fig-slope", "#fig-none"),
        ("@lecun1998", "@nobody1900"),
        (r"\arg\min_j", r"\notacommand"),
    ]:
        assert old in text
        text = text.replace(old, new)
    chapter.write_text(text)
    made = build_site(layout, "--strict")
    assert made.returncode == 1
    for warning in [
        "contains a link '03_none.py', but the target",
        "does not contain an anchor '#no'",
        "contains a link '#fig-none', but there is no such anchor",
        "unknown reference key nobody1900",
        r"holds \notacommand, which is not known",
    ]:
        assert warning in made.stderr, made.stderr


def test_a_second_build_of_the_same_book_writes_the_same_bytes(tinybook: TinyBook) -> None:
    prepared = tinybook.layout.build("pages") / "quick" / "01_fine.ipynb"
    page = tinybook.site / "chapters/01_fine/index.html"
    before = page.read_bytes(), prepared.stat().st_mtime_ns
    assert build_site(tinybook.layout, "--strict", PYTHONHASHSEED="1").returncode == 0
    assert (page.read_bytes(), prepared.stat().st_mtime_ns) == before
