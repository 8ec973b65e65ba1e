"""Oracle: the public names as the packages' stubs list them, looked up in the built pages."""

import ast
import gzip
import re
from pathlib import Path

import pytest
import yaml

from book.bookcase import build_site, copy_book
from internals.book import api_reference
from internals.environment import ROOT

PAGES = sorted(path.stem for path in (ROOT / "docs" / "api").glob("*.md"))


def test_every_package_with_public_names_has_a_page() -> None:
    packages = {path.parent.name for path in (ROOT / "internals").glob("*/__init__.pyi")}
    assert set(PAGES) == packages | {"index"}


def test_names_of_other_packages_are_links_and_constants_a_list() -> None:
    root = api_reference("internals").splitlines()
    assert "- [`load`][internals.data.load.load]" in root
    assert api_reference("internals.data", ["load"]).strip() == "::: internals.data.load.load"
    assert api_reference("internals.data", ["MODES"]).strip() == "## Constants\n\n`MODES`"


@pytest.mark.slow
def test_every_public_name_is_described_on_a_light_page(tmp_path: Path) -> None:
    """A strict build also holds each `Args` section to the signature."""
    layout = copy_book(tmp_path, api=True)
    chapter = layout.chapters / "01_fine.py"  # not executed: it has no figure to refer to
    chapter.write_text(chapter.read_text().replace("[Figure](#fig-slope)", "the figure"))
    built = build_site(layout, "--strict")
    assert built.returncode == 0, built.stderr
    for name in set(PAGES) - {"index", "book"}:
        page = (layout.site("quick") / "api" / name / "index.html").read_text()
        stub = ast.parse((ROOT / "internals" / name / "__init__.pyi").read_text())
        headings = {path.rpartition(".")[2] for path in re.findall(r'<h2 id="([\w.]+)"', page)}
        names = {a.name for node in stub.body for a in getattr(node, "names", [])}
        assert {n for n in names - headings if f"<code>{n}</code>" not in page} == set()
        assert len(headings) > 1
        assert len(gzip.compress(page.encode())) < 40_000


def test_every_page_has_front_matter_that_yaml_can_read():
    """Oracle: PyYAML; MkDocs prints what it cannot read at the head of the page."""
    for page in sorted((ROOT / "docs").rglob("*.md")):
        text = page.read_text()
        if text.startswith("---\n"):
            meta = yaml.safe_load(text[4:].partition("\n---\n")[0])
            assert isinstance(meta, dict) and meta, page
