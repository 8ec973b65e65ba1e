"""Oracle: the files themselves, compressed as a host sends them, against the edition's budgets."""

import re
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import nbformat
import pytest

from internals.book import Layout
from internals.environment import ROOT
from tests.reference.web_host import packed

MEGABYTE = 1_000_000
MOST_HTML = 40_000
FIGURE = "application/vnd.internals.figure+json"


def test_the_html_of_a_page_is_light_as_sent(site: Path, pages: dict[str, str]) -> None:
    files = {page: site / page / "index.html" if page.endswith("/") or not page else site / page
             for page in pages}  # fmt: skip
    weights = {page: len(packed(file)[0]) for page, file in files.items()}
    assert {page: weight for page, weight in weights.items() if weight > MOST_HTML} == {}


def test_everything_that_a_page_links_to_or_loads_is_there(
    site: Path, pages: dict[str, str]
) -> None:
    """Also what is loaded only when it comes near, which no browser that stays on top asks for."""
    ids = {page: set(re.findall(r'\bid="([^"]*)"', text)) for page, text in pages.items()}
    broken = []
    for page, text in pages.items():
        if page == "404.html":  # its addresses are absolute
            continue
        folder = site / page
        for address in set(re.findall(r'\b(?:src|href|poster)="([^"]*)"', text)):
            where, anchor = urldefrag(address.replace("&amp;", "&"))
            if urlsplit(where).scheme:
                continue
            target = (folder / unquote(urlsplit(where).path)).resolve() if where else folder
            name = str(target.relative_to(site)) if target != site.resolve() else ""
            name = f"{name}/" if target.is_dir() and name else name
            file = target / "index.html" if target.is_dir() else target
            known = ids.get(name.removesuffix("index.html"))
            if not file.is_file():
                broken.append((page, address))
            elif anchor and known is not None and not anchor.startswith(("__", "only-")):
                broken += [(page, address)] if unquote(anchor) not in known else []
    assert broken == []


def _panels(edition: Path) -> set[Path]:
    """The sheets of photographs' tiles that chapters show, which a page labels itself."""
    panels = set()
    for path in edition.glob("*/*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            shown = [output.get("data", {}).get(FIGURE) for output in cell.get("outputs", [])]
            panels |= {path.parent / f"{t['name']}.webp" for t in shown if t and "sheet" in t}
    return panels


PARTS = {"panels": 7, "other figures": 9, "atlas": 16, "weights": 1, "notebooks and data": 7}


@pytest.fixture(scope="module")
def parts() -> dict[str, int]:
    """Bytes of the committed edition, by what they are for."""
    edition = Layout.at(ROOT).edition
    panels, sizes = _panels(edition), dict.fromkeys(PARTS, 0)
    for path in edition.rglob("*"):
        if path.is_file():
            sizes[_part(path.relative_to(edition), path in panels)] += path.stat().st_size
    return sizes


def _part(path: Path, panel: bool) -> str:
    if panel:
        return "panels"
    if path.parts[0] == "atlas":
        return "atlas"
    if path.suffix in (".webp", ".avif", ".png", ".svg"):
        return "other figures"
    return "weights" if path.suffix in (".f32", ".safetensors") else "notebooks and data"


def test_the_committed_edition_is_light(parts: dict[str, int]) -> None:
    assert sum(parts.values()) <= 40 * MEGABYTE, parts


@pytest.mark.parametrize("part", PARTS)
def test_each_part_of_the_edition_keeps_to_its_share(parts: dict[str, int], part: str) -> None:
    assert parts[part] <= PARTS[part] * MEGABYTE
