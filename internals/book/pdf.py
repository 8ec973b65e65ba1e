"""The book as one PDF: the built site's pages joined into one document, which Chromium prints.

Chromium is asked for by its command line, so nothing but the browser has to be installed.
"""

import html
import os
import posixpath
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from PIL import Image

from internals.book.layout import Layout
from internals.environment import cores
from internals.errors import ChapterError
from internals.files import write_atomically

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_MAC = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
_CUTS = "javascripts/sheets.js"  # hands each sheet of tiles to its style sheet
_QUALITY = 78  # of JPEG, at two pixels for each of the page
_SECONDS = 900  # for all chapters on a slow machine
_APPENDICES = ("library", "glossary", "bibliography")  # those of them that the site has
_SHEETS = re.compile(r'<link rel="stylesheet" href="([^"]+)"')
_TITLE = re.compile(r"<title>([^<]*)</title>")
_ABOUT = re.compile(r'<meta name="description" content="([^"]*)"')
_ADDRESS = re.compile(r'<link rel="canonical" href="([^"]*)"')
_VOID = {"br", "col", "hr", "img", "input", "source", "wbr"}
_LEFT_OUT = {"contents", "md-content__button", "md-source-file", "headerlink"}  # classes
_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
{sheets}
<link rel="stylesheet" href="stylesheets/print.css">
</head><body dir="ltr" data-md-color-scheme="default" data-md-color-primary="custom">
<main class="md-typeset">
<section class="cover"><h1>{title}</h1><p>{description}</p><p class="when">{when}</p></section>
<nav class="book-contents"><h2>Contents</h2><ol>{contents}</ol></nav>
{pages}
</main>{script}</body></html>
"""


@dataclass
class _Joined(HTMLParser):
    """The article of one page, with addresses and anchors that hold in the joined document.

    Attributes:
        page: The page's folder in the site, such as `chapters/01_lenet5`.
        inside: The identifiers of all pages that are joined, by folder.
        site_url: The site's address, to which links to other pages lead; "": they lead nowhere.
        headings: Identifier and text of each section.
        pictures: The pictures that are printed as JPEG, as paths in the site.
    """

    page: str
    inside: Mapping[str, str]
    site_url: str
    parts: list[str] = field(default_factory=list)
    headings: list[tuple[str, str]] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    _open: bool = False
    _skipped: int = 0  # how many elements deep in what is left out
    _sheet: int = 0  # how many elements deep in a sheet, whose tiles JPEG would blur
    _heading: str = ""
    _words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=False)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "article":
            self._open = True
            return
        if not self._open:
            return
        classes = set((found.get("class") or "").split())
        if self._skipped or tag == "script" or classes & _LEFT_OUT:
            self._skipped += tag not in _VOID
            return
        if tag == "div" and (self._sheet or "sheet" in classes):
            self._sheet += 1
        if tag == "h2":
            self._heading, self._words = found.get("id") or "", []
        self.parts.append(f"<{tag}{_written(self._moved(tag, found, classes))}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._open = False
        elif self._skipped:
            self._skipped -= tag not in _VOID
        elif self._open:
            if tag == "h2" and self._heading:
                self.headings.append((self._anchor(self._heading), "".join(self._words)))
                self._heading = ""
            self._sheet -= tag == "div" and self._sheet > 0
            self.parts.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self._text(data)

    def handle_entityref(self, name: str) -> None:
        self._text(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self._text(f"&#{name};")

    def _text(self, text: str) -> None:
        if self._open and not self._skipped:
            self.parts.append(text)
            if self._heading:
                self._words.append(text)

    def _moved(
        self, tag: str, found: dict[str, str | None], classes: set[str]
    ) -> dict[str, str | None]:
        moved = {name: value for name, value in found.items() if name != "loading"}
        if found.get("id"):
            moved["id"] = self._anchor(found["id"] or "")
        if tag == "details":
            moved["open"] = None
        if src := found.get("src"):
            moved["src"] = self._picture(urlsplit(src).path)
        if href := found.get("href"):
            moved.pop("href")
            target = None if "glightbox" in classes else self._target(href)
            if target:
                moved["href"] = target
        return moved

    def _picture(self, src: str) -> str:
        path = posixpath.normpath(f"{self.page}/{unquote(src)}")
        if self._sheet or not path.endswith(".webp"):
            return path
        self.pictures.append(path)
        return _jpeg(path)

    def _anchor(self, name: str) -> str:
        return f"{self.inside[self.page]}--{name}"

    def _target(self, href: str) -> str | None:
        """Where a link leads in the document, on the site or elsewhere; None: nowhere."""
        parts = urlsplit(href)
        if parts.scheme or parts.netloc:
            return href
        page = posixpath.normpath(f"{self.page}/{unquote(parts.path)}") if parts.path else self.page
        if page in self.inside:
            anchor = f"--{unquote(parts.fragment)}" if parts.fragment else ""
            return f"#{self.inside[page]}{anchor}"
        return f"{self.site_url.rstrip('/')}/{page}" if self.site_url else None


def _jpeg(path: str) -> str:
    return path.removesuffix(".webp") + ".print.jpg"


def _write_jpeg(webp: Path) -> None:
    """The picture on white: Chromium prints JPEG as it is, and unpacks everything else."""
    with Image.open(webp) as picture:
        drawing = picture.convert("RGBA")
    paper = Image.new("RGBA", drawing.size, "white")
    paper.alpha_composite(drawing)
    paper.convert("RGB").save(_jpeg(str(webp)), "JPEG", quality=_QUALITY)


def _written(attributes: Mapping[str, str | None]) -> str:
    return "".join(
        f" {name}" if value is None else f' {name}="{html.escape(value)}"'
        for name, value in attributes.items()
    )


def find_browser() -> str:
    """The program that prints: what `CHROME_PATH` names, else Chromium or Chrome.

    Raises:
        ChapterError: There is none.
    """
    named = os.environ.get("CHROME_PATH")
    for name in [named] if named else [*_BROWSERS, _MAC]:
        if found := shutil.which(name):
            return found
    if named:
        raise ChapterError(f"CHROME_PATH={named} is no program; correct it, or unset it")
    raise ChapterError(
        "the PDF is printed by Chromium, which is not on the PATH; install Chromium or Chrome, "
        "or name it in CHROME_PATH"
    )


def join_pages(layout: Layout, site: Path) -> str:
    """The chapters and appendices of the built `site` as one HTML document beside its files.

    Raises:
        ChapterError: The site has no chapters.
    """
    home = (site / "index.html").read_text(encoding="utf-8")
    title, description, site_url = (_first(pattern, home) for pattern in (_TITLE, _ABOUT, _ADDRESS))
    title = title.rpartition(" - ")[2]  # the page's name stands before the site's
    folders = [f"chapters/{path.stem}" for path in layout.scripts()]
    folders = [f for f in [*folders, *_APPENDICES] if (site / f / "index.html").is_file()]
    if not folders:
        raise ChapterError(f"the site in {site} has no chapters; internals build makes it")
    inside = {folder: posixpath.basename(folder) for folder in folders}
    pages, contents, sheets, pictures = [], [], list[str](), list[str]()
    for folder in folders:
        source = (site / folder / "index.html").read_text(encoding="utf-8")
        sheets += [posixpath.normpath(f"{folder}/{sheet}") for sheet in _SHEETS.findall(source)]
        page = _Joined(folder, inside, site_url)
        page.feed(source)
        text = "".join(page.parts)
        pages.append(f'<section class="chapter" id="{inside[folder]}">{text}</section>')
        pictures += page.pictures
        contents.append(_entry(inside[folder], text, page.headings))
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(_write_jpeg, {site / picture for picture in pictures}))
    script = f'<script src="{_CUTS}"></script>' if (site / _CUTS).is_file() else ""
    return _PAGE.format(
        script=script,
        title=title,
        description=description,
        when=f"{date.today():%B %Y}",
        sheets="\n".join(f'<link rel="stylesheet" href="{s}">' for s in dict.fromkeys(sheets)),
        contents="".join(contents),
        pages="\n".join(pages),
    )


def _first(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match else ""


def _entry(anchor: str, page: str, headings: Sequence[tuple[str, str]]) -> str:
    title = re.search(r"<h1[^>]*>(.*?)</h1>", page, re.DOTALL)
    name = re.sub(r"<[^>]+>", "", title[1]) if title else anchor
    sections = "".join(f'<li><a href="#{a}">{words}</a></li>' for a, words in headings)
    return f'<li><a href="#{anchor}">{name}</a><ol>{sections}</ol></li>'


def print_pdf(document: str, site: Path, out: Path) -> None:
    """Print an HTML `document` that lies in the folder `site` to the file `out`.

    Raises:
        ChapterError: There is no browser, or it does not print.
        OutputError: The file cannot be written.
    """
    browser = find_browser()
    page = site / "print.html"
    page.write_text(document, encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="internals-") as folder:
        printed = Path(folder) / "book.pdf"
        command = [
            browser, "--headless", "--disable-gpu", "--disable-background-networking",
            "--no-first-run", f"--user-data-dir={folder}/profile", "--no-pdf-header-footer",
            "--generate-pdf-document-outline", f"--timeout={_SECONDS * 1000}",
            f"--print-to-pdf={printed}", page.resolve().as_uri(),
        ]  # fmt: skip
        if getattr(os, "geteuid", lambda: 1)() == 0:
            command.insert(1, "--no-sandbox")  # which Chromium refuses to root
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", check=False,
                timeout=_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ChapterError(
                f"{browser} did not print the book within {_SECONDS // 60} minutes; "
                "is the machine out of memory?"
            ) from None
        if done.returncode or not printed.is_file() or not printed.stat().st_size:
            reason = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
            raise ChapterError(f"{browser} did not print the book: {reason}")
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, printed.read_bytes())
