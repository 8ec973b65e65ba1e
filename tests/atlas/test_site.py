"""Oracle: the files of a site, and the site that MkDocs builds of a book with an atlas."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from internals.atlas import Atlas, write_site
from internals.book import Layout
from internals.environment import ROOT
from internals.errors import OutputError
from tests.book.bookcase import build_site, copy_book
from tests.reference.paper_atlas import paper_layer, picture_list, store_paper_atlas


def _store(atlases: Path, *networks: str) -> list[Atlas]:
    pictures = picture_list()
    layers = [
        paper_layer("conv1", channels=6, shown=4, field=11, pictures=pictures),
        paper_layer("body.0.conv", channels=5, shown=5, field=99, pictures=pictures),
    ]
    layers[1] = replace(layers[1], normaliser="body.0.bn")
    return [store_paper_atlas(atlases, network, layers, pictures) for network in networks]


def _references(site: Path) -> list[tuple[Path, str]]:
    found = []
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        found += [
            (page, a) for a in re.findall(r'(?:href|src|data-search|data-channels)="([^"#]+)', text)
        ]
        found += [(page, a) for a in re.findall(r"url\(([^)]+)\)", text)]
    return found


@pytest.mark.parametrize("networks", [["tiny"], ["tiny", "other"]])
def test_a_site_of_its_own_is_complete_and_needs_no_server(
    tmp_path: Path, networks: list[str]
) -> None:
    _store(tmp_path / "atlas", *networks)
    write_site(tmp_path / "atlas", tmp_path / "site")
    references = _references(tmp_path / "site")
    assert len(references) > 50
    for page, address in references:
        assert address == "data:," or (page.parent / address).is_file(), (page, address)
    for file in (tmp_path / "site").rglob("*"):
        if file.suffix in (".html", ".css", ".js"):
            assert "http" not in file.read_text(encoding="utf-8"), file
    first = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert ('class="layers"' in first) is (len(networks) == 1)


def test_data_of_a_site_of_its_own_are_scripts_and_downloads(tmp_path: Path) -> None:
    """Of files opened from a disk a page may load scripts only."""
    (atlas,) = _store(tmp_path / "atlas", "tiny")
    write_site(tmp_path / "atlas", tmp_path / "site")
    for script in [tmp_path / "site/search.js", tmp_path / "site/data/tiny/conv1.js"]:
        text = script.read_text()
        assert text.startswith("atlasData(")
        assert json.loads(text[len("atlasData(") :].removesuffix(")\n"))
    values = json.loads((tmp_path / "site/data/tiny/conv1.json").read_text())
    assert len(values["channels"]) == 6
    images = [values["files"][place] for place in values["channels"][5]["images"]]
    layer = atlas.layers["conv1"]
    assert images == [atlas.pictures.files[image] for image in layer.image[5]]


def test_the_strip_and_the_card_are_cut_from_the_sheets(tmp_path: Path) -> None:
    (atlas,) = _store(tmp_path / "atlas", "tiny")
    write_site(tmp_path / "atlas", tmp_path / "site")
    with Image.open(tmp_path / "site/strip.webp") as picture:
        strip = np.asarray(picture.convert("RGB")).astype(int)
    with Image.open(atlas.folder / "body.0.conv.patches.webp") as picture:
        patches = np.asarray(picture.convert("RGB")).astype(int)
    assert np.abs(strip[64:, :64] - patches[:64, :64]).mean() < 12  # both went through WebP
    # Channel 1 is silent: the second place is channel 2's.
    assert np.abs(strip[64:, 72:136] - patches[128:192, :64]).mean() < 12
    with Image.open(tmp_path / "site/tiny/card.webp") as card:
        assert card.size == ((4 + 5) * 32, 32)


def test_a_folder_without_an_atlas_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no atlas; make one with `internals atlas`"):
        write_site(tmp_path, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def _book(folder: Path) -> Layout:
    """A copy of the tiny book with the atlas's hook in its configuration."""
    layout = copy_book(folder)
    config = layout.root / "mkdocs.yml"
    book_hook = f"{ROOT}/internals/book/hook.py"
    text = config.read_text().replace(
        f"[{book_hook}]", f"[{book_hook}, {ROOT}/internals/atlas/hook.py]"
    )
    assert "atlas/hook.py" in text
    config.write_text(text)
    return layout


@pytest.mark.slow
def test_the_book_has_the_atlas_of_its_profile(tmp_path: Path) -> None:
    layout = _book(tmp_path)
    _store(layout.build("quick") / "atlas", "fine", "other")
    built = build_site(layout)
    assert built.returncode == 0, built.stderr
    site = layout.site("quick")
    page = (site / "atlas/fine/body.0.conv/index.html").read_text()
    assert 'id="4" data-channel="4"' in page
    assert '<link rel="stylesheet" href="../../atlas.css">' in page
    for name in ("atlas.css", "atlas.js", "search.json", "strip.webp", "fine/conv1/patches.webp"):
        assert (site / "atlas" / name).is_file(), name
    index = (site / "atlas/index.html").read_text()
    assert 'href="fine/"' in index
    # The network named after a chapter comes first, and tells where it was built.
    assert index.index('href="fine/"') < index.index('href="other/"')
    assert '<a href="../../chapters/01_fine/">' in (site / "atlas/fine/index.html").read_text()
    found = json.loads((site / "search/search_index.json").read_text())["docs"]
    assert {doc["location"] for doc in found if doc["location"].startswith("atlas/f")} == set()


@pytest.mark.slow
def test_a_chapter_leads_into_the_atlas(tmp_path: Path) -> None:
    layout = _book(tmp_path)
    _store(layout.build("quick") / "atlas", "fine", "other")
    chapter = layout.chapters / "01_fine.py"
    panels = "".join(
        f'# <figure data-layer="{layers}"><figcaption>Panel {n}</figcaption></figure>\n'
        for n, layers in enumerate(("conv1", "elsewhere body.0.bn"))
    )
    text = chapter.read_text(encoding="utf-8")
    chapter.write_text(f"{text}\n# %% [markdown]\n{panels}#\n# <!-- atlas -->\n")
    built = build_site(layout)
    assert built.returncode == 0, built.stderr
    page = (layout.site("quick") / "chapters/01_fine/index.html").read_text()
    links = re.findall(r'class="to-atlas" href="([^"]+)">([^<]+)</a></figcaption>', page)
    assert links == [
        ("../../atlas/fine/conv1/", "All channels of conv1 in the atlas"),
        ("../../atlas/fine/body.0.conv/", "All channels of body.0.bn in the atlas"),
    ]
    # The moving piece, and what it moves by, on this page alone.
    assert '<img class="off-glb" src="../../atlas/strip.webp"' in page
    assert '<a href="../../atlas/other/body.0.conv/#0">' in page
    assert page.count("../../atlas/atlas.js") == 1
    assert "atlas.js" not in (layout.site("quick") / "glossary/index.html").read_text()


@pytest.mark.slow
def test_a_damaged_atlas_is_named_and_not_shown(tmp_path: Path) -> None:
    layout = _book(tmp_path)
    (atlas,) = _store(layout.build("quick") / "atlas", "fine")
    (atlas.folder / "conv1.patches.webp").write_bytes(b"RIFF")
    built = build_site(layout)
    assert "conv1.patches.webp is not what was stored" in built.stderr
    index = (layout.site("quick") / "atlas/index.html").read_text()
    assert "No atlas has been made yet" in index
    assert "internals atlas" in index
