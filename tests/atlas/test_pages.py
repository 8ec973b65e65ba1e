"""Oracle: the stored tables, read by hand, and Python's own parser of HTML."""

import gzip
import posixpath
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from internals.atlas import (
    Atlas,
    Links,
    Page,
    PictureList,
    atlas_files,
    atlas_pages,
    find_atlases,
    project_command,
    search_data,
    strip,
)
from internals.figures import number
from tests.reference.paper_atlas import CLASSES, paper_layer, picture_list, store_paper_atlas


class _Document(HTMLParser):
    """What a page refers to, what it can be referred to by, and its words."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        self.tags.append((tag, own))
        self.addresses += [own[name] or "" for name in ("href", "src") if name in own]
        self.ids += [own["id"] or ""] if "id" in own else []

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def atlases(tmp_path_factory: pytest.TempPathFactory) -> list[Atlas]:
    folder = tmp_path_factory.mktemp("atlases")
    pictures = picture_list()
    edge = paper_layer("conv1", channels=20, shown=4, field=11, map_side=56, pictures=pictures)
    part = paper_layer("features.3", channels=6, shown=6, field=99, pictures=pictures, seed=1)
    hidden = paper_layer("reduce", channels=8, shown=0, field=1, pictures=pictures)
    wide = paper_layer("conv5", channels=5, shown=5, field=300, pictures=pictures)
    digits = picture_list(("0", "1"), 20, "train {number}")
    small = paper_layer(
        "conv1", channels=3, shown=3, side=32, field=5, map_side=28, grey=True, rectified=False,
        pictures=digits,
    )  # fmt: skip
    return [
        store_paper_atlas(folder, "alexnet", [edge, part, hidden, wide], pictures),
        store_paper_atlas(folder, "lenet5", [small], digits),
    ]


@pytest.fixture(scope="module")
def pages(atlases: list[Atlas]) -> dict[str, Page]:
    return {page.path: page for page in atlas_pages(atlases, Links())}


def _section(page: Page, channel: int) -> str:
    found = re.search(rf'<section id="{channel}".*?</section>', page.content, re.DOTALL)
    assert found
    return found[0]


def _pairs(section: str) -> list[str]:
    listed = re.search(r'<ol class="pairs".*?</ol>', section, re.DOTALL)
    assert listed
    return re.findall(r"<li.*?</li>", listed[0], re.DOTALL)


@pytest.mark.parametrize("links", [Links(), Links(index="index.html", data="js")])
def test_every_link_leads_to_a_page_or_file_and_every_fragment_to_an_id(
    atlases: list[Atlas], links: Links
) -> None:
    made = list(atlas_pages(atlases, links))
    pages = {page.path: _Document(page.content) for page in made}
    files = {path for path, _ in atlas_files(atlases, links)}
    for path, content in ((page.path, page.content) for page in made):
        document, styled = pages[path], re.findall(r"url\(([^)]+)\)", content)
        data = [own.get("data-search") or own.get("data-channels") for _, own in document.tags]
        for address in [*document.addresses, *styled, *filter(None, data)]:
            target, _, fragment = address.partition("#")
            where = posixpath.normpath(posixpath.join("/", path, target))[1:]
            if target and links.index:
                where = where.removesuffix("index.html").rstrip("/")
            page = pages.get(f"{where}/" if where else "")
            assert page or where in files, (path, address)
            if fragment and page:
                assert fragment in page.ids, (path, address)


def test_a_shown_channel_is_a_section_under_its_number(
    atlases: list[Atlas], pages: dict[str, Page]
) -> None:
    for atlas in atlases:
        for layer in atlas.main:
            document = _Document(pages[f"{atlas.network}/{layer.name}/"].content)
            sections = [own for tag, own in document.tags if tag == "section"]
            numbers = [str(channel) for channel in range(layer.shown)]
            assert [own["id"] for own in sections] == numbers
            assert [own["data-channel"] for own in sections] == numbers
            assert len(document.ids) == len(set(document.ids))


def test_a_pair_names_its_class_value_and_picture(
    atlases: list[Atlas], pages: dict[str, Page]
) -> None:
    layer, pictures = atlases[0].layers["features.3"], atlases[0].pictures
    section = _section(pages["alexnet/features.3/"], 4)
    for place, item in enumerate(_pairs(section)):
        image = int(layer.image[4, place])
        words = _Document(item).words.split("\n")
        assert words[0] == CLASSES[pictures.labels[image]]
        assert words[1] == f"{number(float(layer.value[4, place]))} {image}"
    listed = section.partition('class="files">')[2].partition("</p>")[0].replace("<wbr>", "")
    expected = ", ".join(pictures.files[image] for image in layer.image[4])
    assert listed == f"Pictures, strongest first: {expected}."


def test_what_lies_outside_the_image_is_told_in_pixels_of_the_tile(
    atlases: list[Atlas], pages: dict[str, Page]
) -> None:
    """Field 11, stride 4, start -4: the first unit sees rows and columns -4 to 6."""
    layer = atlases[0].layers["conv1"]
    assert layer.field is not None
    assert layer.field["start"] == (-4, -4)
    seen = set()
    for channel in (0, 2, 3):
        for place, item in enumerate(_pairs(_section(pages["alexnet/conv1/"], channel))):
            row, column = int(layer.row[channel, place]), int(layer.column[channel, place])
            sides = {
                "t": max(0, 4 - 4 * row), "r": max(0, 4 * column - 4 + 11 - 224),
                "b": max(0, 4 * row - 4 + 11 - 224), "l": max(0, 4 - 4 * column),
            }  # fmt: skip
            told = {side: int(width) for side, width in re.findall(r"--([trbl]):(\d+)", item)}
            assert told == {side: width for side, width in sides.items() if width}
            seen |= set(told)
    assert seen, "no unit at the border: the test shows nothing"


def test_bars_and_share_are_counts_of_pictures(
    atlases: list[Atlas], pages: dict[str, Page]
) -> None:
    layer = atlases[0].layers["features.3"]
    assert layer.fires is not None and layer.excited is not None
    section = _section(pages["alexnet/features.3/"], 3)
    fired = int(layer.fires[3].sum())
    assert f"fires in {round(100 * fired / 40)} % of pictures" in section
    excited = int(layer.excited[3].sum())
    assert f"reaches half of its strongest in {round(100 * excited / 40)} %" in section
    bars = re.findall(r'<li style="--v:(\d+)">([^<]+) <b>(\d+) %</b>', section)
    rates = [round(100 * int(count) / 10) for count in layer.excited[3]]
    assert bars == [(str(r), n, str(r)) for r, n in zip(rates, CLASSES, strict=True)]


def test_a_silent_channel_has_no_pictures_to_believe_in(pages: dict[str, Page]) -> None:
    section = _section(pages["alexnet/features.3/"], 1)
    assert "Silent: no picture drives it above zero." in section
    assert 'class="pairs"' not in section
    # Below a tanh a value under zero is an answer like any other.
    assert "Silent" not in pages["lenet5/conv1/"].content


def test_the_place_is_said_and_drawn(atlases: list[Atlas], pages: dict[str, Page]) -> None:
    assert _section(pages["alexnet/conv5/"], 0).count("It sees the whole picture.") == 1
    layer = atlases[0].layers["features.3"]
    outside = 0
    for channel in range(layer.shown):
        top, left = (int(table[channel, 0]) * 17 - 41 for table in (layer.row, layer.column))
        section = _section(pages["alexnet/features.3/"], channel)
        rows, columns = ((max(0, first), min(224, first + 99) - 1) for first in (top, left))
        assert f"rows {rows[0]} to {rows[1]} and columns {columns[0]} to {columns[1]} of" in section
        drawn = re.search(r'<i style="top:(\S+)%;left:(\S+)%;height:(\S+)%;width:(\S+)%">', section)
        assert drawn
        for share, pixels in zip(drawn.groups(), (top, left, 99, 99), strict=True):
            assert float(share) * 2.24 == pytest.approx(pixels, abs=1.2)
        outside += min(top, left) < 0
    assert outside, "no field beyond the image: the test shows little"


def test_odd_names_stay_words(tmp_path: Path) -> None:
    pictures = PictureList(
        "<i>mine</i>", ('<b>"&', "it's"), ('"><script>alert(1)</script>.png', "a&b_7.png"), (0, 1),
        "<u>",
    )  # fmt: skip
    layer = paper_layer("conv1", channels=6, shown=6, k=2, field=9, pictures=pictures)
    atlas = store_paper_atlas(tmp_path, "odd", [layer], pictures, title="<h6>odd</h6>")
    for page in atlas_pages([atlas], Links()):
        document = _Document(page.content)
        assert not {tag for tag, _ in document.tags} & {"script", "u", "h6"}
        for _, own in document.tags:
            assert not any(name.startswith("on") or "alert" in name for name in own)
    words = _Document(next(p.content for p in atlas_pages([atlas], Links()) if "conv1" in p.path))
    assert '"><script>alert(1)</script>.png' in words.words
    assert '<b>"&' in words.words


def test_a_layer_of_120_channels_is_light(tmp_path: Path) -> None:
    """Of 40 KB as sent the frame takes 10; a channel takes 300 bytes beside its pairs."""
    pictures = picture_list(tuple("0123456789"), 55000, "train {number}")
    layer = paper_layer("conv3", channels=120, shown=120, side=32, field=32, pictures=pictures)
    atlas = store_paper_atlas(tmp_path, "lenet5", [layer], pictures)
    page = next(p for p in atlas_pages([atlas], Links()) if p.path == "lenet5/conv3/")
    whole = len(gzip.compress(page.content.encode()))
    pairs = "\n".join(re.findall(r'<ol class="pairs".*?</ol>', page.content, re.DOTALL))
    assert whole < 30_000
    assert (whole - len(gzip.compress(pairs.encode()))) / 120 < 300


def test_a_layer_of_very_many_channels_has_several_pages(tmp_path: Path) -> None:
    pictures = picture_list()
    layer = paper_layer("conv", channels=200, shown=200, side=8, field=3, pictures=pictures)
    atlas = store_paper_atlas(tmp_path, "wide", [layer], pictures)
    pages = {page.path: page.content for page in atlas_pages([atlas], Links())}
    assert {"wide/conv/", "wide/conv/128/"} <= set(pages)
    assert '<a href="128/#199">199</a>' in pages["wide/conv/"]
    assert '<a href="../#3">3</a>' in pages["wide/conv/128/"]
    assert 'id="199"' in pages["wide/conv/128/"]
    assert "url(../patches.webp)" in pages["wide/conv/128/"]


def test_neighbours_are_links_where_they_are_shown(tmp_path: Path) -> None:
    pictures = picture_list()
    layer = paper_layer("conv1", channels=6, shown=2, field=11, pictures=pictures)
    store_paper_atlas(tmp_path, "alexnet", [layer], pictures)
    near = '{"vgg16/conv1": [[["alexnet", "conv1", 1, 0.81], ["alexnet", "conv1", 5, 0.5]]]}'
    (tmp_path / "neighbours.json").write_text(near)
    store_paper_atlas(tmp_path, "vgg16", [layer], pictures)
    pages = {p.path: p.content for p in atlas_pages(find_atlases(tmp_path), Links())}
    section = re.search(r'<section id="0".*?</section>', pages["vgg16/conv1/"], re.DOTALL)
    assert section
    assert '<a href="../../alexnet/conv1/#1">Alexnet conv1 1</a> (0.81)' in section[0]
    assert "Alexnet conv1 5 (0.50)" in section[0]


def test_the_command_names_what_is_needed_to_see_the_channel_again(
    atlases: list[Atlas], tmp_path: Path
) -> None:
    atlas = replace(atlases[0], record={**atlases[0].record, "profile": "quick", "limit": 256})
    assert project_command(atlas, atlas.layers["features.3"], 4) == (
        "internals project alexnet --profile quick --limit 256 --layer features.3 "
        "--channels 4 --rule guided --out features.3-4.png"
    )
    pictures = picture_list()
    layer = paper_layer("conv1", channels=2, shown=2, k=3, field=9, pictures=pictures)
    own = store_paper_atlas(
        tmp_path, "resnet18", [layer], pictures, rules={"rule": "deconvnet", "tanh": None},
        command="internals atlas resnet18 --images photos --weights r.pth",
    )  # fmt: skip
    assert project_command(own, layer, 1) == (
        "internals project resnet18 --images photos --weights r.pth --layer conv1 --channels 1 "
        "--rule deconvnet --k 3 --out conv1-1.png"
    )


def test_nothing_in_a_command_of_the_book_is_left_to_be_filled_in(pages: dict[str, Page]) -> None:
    for path, page in pages.items():
        assert not {"WEIGHTS", "PICTURES"} & set(re.findall("[A-Z]+", page.content)), path
    foot = pages["alexnet/conv1/"].content.rpartition("<footer>")[2]
    assert "<code>internals train alexnet --profile full</code>" in foot


def test_all_layers_can_be_downloaded_and_shown_channels_searched(atlases: list[Atlas]) -> None:
    files = dict(atlas_files(atlases, Links()))
    for atlas in atlases:
        for name in atlas.layers:
            assert f"data/{atlas.network}/{name}.json" in files
    found = search_data(atlases, Links())["channels"]
    assert len(found) == 4 + 6 + 5 + 3
    layer = atlases[0].layers["features.3"]
    n, at, channel, value, labels, excited = found[4 + 2]
    assert (n, at, channel) == (0, 1, 2)
    assert value == pytest.approx(float(layer.value[2, 0]), rel=0.005)
    assert labels == [atlases[0].pictures.labels[image] for image in layer.image[2]]
    assert layer.excited is not None
    assert excited == layer.excited[2].tolist()


def test_the_strip_shows_no_silent_channel_and_leads_to_each(atlases: list[Atlas]) -> None:
    moving = _Document(strip(atlases, Links(), "../atlas/"))
    targets = [address for address in moving.addresses if "#" in address]
    assert targets
    assert all(re.fullmatch(r"\.\./atlas/\w+/[\w.]+/#\d+", target) for target in targets)
    silent = {"alexnet/conv1/#1", "alexnet/features.3/#1", "alexnet/conv5/#1"}
    assert not silent & {target.removeprefix("../atlas/") for target in targets}


def test_without_an_atlas_the_page_says_how_to_make_one() -> None:
    (page,) = atlas_pages([], Links())
    assert "internals atlas" in page.content
    assert strip([], Links(), "atlas/") == ""
