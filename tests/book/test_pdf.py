"""Oracle: what a PDF file says of itself, and the anchors of the document it is printed from."""

import re
import shutil
import zlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from book.bookcase import TinyBook
from internals.book import join_pages
from internals.cli import app


@pytest.fixture
def document(tinybook: TinyBook, tmp_path: Path) -> str:
    site = shutil.copytree(tinybook.site, tmp_path / "site")
    text = join_pages(tinybook.layout, site)
    for source in re.findall(r'src="([^"]+)"', text) + re.findall(
        r'stylesheet" href="([^"]+)', text
    ):
        assert (site / source).is_file()
    return text


def test_the_document_has_all_chapters_in_order_and_nothing_folded(document: str) -> None:
    assert re.findall(r'<section class="chapter" id="([^"]+)"', document)[:2] == [
        "01_fine",
        "02_broken",
    ]
    assert "<title>CNN Internals</title>" in document
    folds = re.findall(r"<details[^>]*>", document)
    assert len(folds) >= 3 and all(" open" in fold for fold in folds)
    assert 'loading="lazy"' not in document
    [script] = re.findall("<script[^>]*>", document)
    assert "javascripts/sheets.js" in script, "which cuts the panels' tiles, and nothing else"
    assert 'class="contents"' not in document and "md-content__button" not in document
    assert 'src="chapters/01_fine/slope.print.jpg"' in document


def test_links_of_the_document_lead_to_places_in_it_or_to_the_site(document: str) -> None:
    anchors = re.findall(r' id="([^"]+)"', document)
    assert len(anchors) == len(set(anchors))
    links = re.findall(r'<a [^>]*href="([^"]+)"', document)
    inside = [link[1:] for link in links if link.startswith("#")]
    assert "01_fine--fig-slope" in inside and "02_broken--what-breaks" in inside
    assert {"01_fine", "02_broken", "glossary"} <= set(inside), "the contents, and a link"
    assert set(inside) <= set(anchors)
    assert all(link.startswith("https://") for link in links if not link.startswith("#"))


def test_no_browser_is_one_line(tinybook: TinyBook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROME_PATH", "/nowhere/chromium")
    monkeypatch.setenv("INTERNALS_BOOK", str(tinybook.layout.root))
    done = CliRunner().invoke(app, ["pdf"])
    assert done.exit_code == 1 and "CHROME_PATH=/nowhere/chromium is no program" in str(
        done.exception
    )
    monkeypatch.delenv("CHROME_PATH")
    monkeypatch.setenv("PATH", "/nowhere")
    done = CliRunner().invoke(app, ["pdf"])
    assert "install Chromium or Chrome" in str(done.exception)


@pytest.mark.skipif(
    not (shutil.which("chromium") or shutil.which("google-chrome")), reason="needs Chromium"
)
def test_the_book_is_printed_as_one_pdf(
    tinybook: TinyBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERNALS_BOOK", str(tinybook.layout.root))
    monkeypatch.setenv("INTERNALS_BUILD", str(tinybook.layout.output))
    out = tmp_path / "books" / "book.pdf"
    done = CliRunner().invoke(app, ["pdf", "--profile", "quick", "--out", str(out)])
    assert done.exit_code == 0, done.output
    pdf = out.read_bytes()
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    text = pdf + b"".join(unpacked(stream) for stream in streams)
    assert b"/Title (CNN Internals)" in text
    assert len(re.findall(rb"/Type\s*/Page\b", text)) >= 5, "cover, contents, chapters, appendices"
    assert re.search(rb"/MediaBox\s*\[0 0 59[45][.\d]* 84[12]", text), "A4"
    for title in (b"A chapter that runs", b"A chapter that breaks"):
        assert b"/Title (" + title + b")" in text, "in the outline, once"
    assert text.count(b"/Subtype /Link") > 10
    assert b"/DCTDecode" in text


def unpacked(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream.strip())
    except zlib.error:
        return b""
