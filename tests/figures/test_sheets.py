"""Oracle: each pixel placed by hand in float64, and the page's text read by an HTML parser."""

import io
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from internals.figures import (
    ChannelPatches,
    Frame,
    full_ink,
    pairs_html,
    panels,
    projection_tiles,
    ramp_html,
    row_html,
    sheet,
    tile_size,
    to_webp,
)
from internals.figures import sheet_html as whole_html

RNG = np.random.default_rng(3)
GREY = [128, 128, 128]


# Frames


@st.composite
def pieces(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """A field, and the place and size of a piece within it."""
    field = draw(st.tuples(st.integers(1, 60), st.integers(1, 60)))
    offset = tuple(draw(st.integers(0, side - 1)) for side in field)
    size = tuple(draw(st.integers(1, s - at)) for s, at in zip(field, offset, strict=True))
    return field, offset, size


@given(pieces(), st.integers(1, 60))
def test_the_piece_and_what_lies_outside_make_up_the_tile(piece, most: int) -> None:
    field, offset, size = piece
    frame = Frame(field, tile_size(field, most), offset, size)
    top, right, bottom, left = frame.inset
    assert min(frame.inset) >= 0
    inside = frame.tile[0] - top - bottom, frame.tile[1] - left - right
    assert min(inside) >= 1, "a piece never vanishes"
    placed = frame.place(np.ones((1, *size)), outside=-1.0)[0]
    assert placed.shape == frame.tile
    assert (placed == 1).sum() == inside[0] * inside[1]
    assert (placed[top : top + inside[0], left : left + inside[1]] == 1).all()


@given(pieces())
def test_at_its_own_size_every_pixel_stays_where_it_is(piece) -> None:
    field, (top, left), size = piece
    frame = Frame(field, field, (top, left), size)
    pixels = np.arange(size[0] * size[1], dtype=float).reshape(1, *size)
    wanted = np.full((1, *field), -1.0)
    for row in range(size[0]):
        for column in range(size[1]):
            wanted[0, top + row, left + column] = pixels[0, row, column]
    assert (frame.place(pixels, -1.0) == wanted).all()
    bottom, right = field[0] - top - size[0], field[1] - left - size[1]
    assert frame.inset == (top, right, bottom, left)


@given(st.integers(1, 12), st.integers(1, 5), st.data())
def test_a_reduced_tile_is_the_mean_over_each_pixel(side: int, factor: int, data) -> None:
    field = (side * factor, side * factor)
    assume(max(field) > 1)
    seed = data.draw(st.integers(0, 99))
    pixels = np.random.default_rng(seed).normal(size=(3, *field))
    frame = Frame(field, (side, side), (0, 0), field)
    wanted = pixels.reshape(3, side, factor, side, factor).mean((2, 4))
    assert np.abs(frame.place(pixels, 0.0) - wanted).max() < 1e-5
    assert frame.inset == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("field", "most", "tile"),
    [
        ((7, 7), 64, (7, 7)),
        ((131, 131), 64, (64, 64)),
        ((200, 100), 64, (64, 32)),
        ((9, 1), 3, (3, 1)),
    ],
)
def test_tiles_are_never_enlarged(field, most: int, tile) -> None:
    assert tile_size(field, most) == tile


# Sheets


def test_a_sheet_is_filled_line_by_line_and_grey_where_no_tile_is() -> None:
    tiles = [np.full((2, 3, 3), 10 * number, np.uint8) for number in range(11)]
    pixels = sheet(tiles, (2, 3))
    assert pixels.shape == (4, 27, 3)
    for number in range(18):
        top, left = 2 * (number // 9), 3 * (number % 9)
        colour = [10 * number] * 3 if number < 11 else GREY
        assert (pixels[top : top + 2, left : left + 3] == colour).all()


def test_tiles_of_a_channel_share_a_scale_that_is_set_after_they_are_reduced() -> None:
    checks = np.where(np.indices((8, 8)).sum(0) % 2, 5.0, -5.0)[None]  # its mean is zero
    flat, twice = np.full((1, 8, 8), 1.0), np.full((1, 8, 8), -2.0)
    frame = Frame((8, 8), (4, 4), (0, 0), (8, 8))
    tiles, full, exceeded = projection_tiles([frame] * 3, [checks, flat, twice])
    assert (full, exceeded) == (2.0, False)
    assert [tile[0, 0].tolist() for tile in tiles] == [GREY, [222, 164, 84], [8, 20, 64]]


@given(st.integers(0, 99), st.integers(0, 3000))
def test_full_ink_is_the_smallest_magnitude_that_hardly_any_pixel_exceeds(seed, count) -> None:
    picture = np.random.default_rng(seed).normal(size=(1, 1, count)).round(3)
    sizes = sorted(abs(x) for x in picture.ravel() if x != 0)
    wanted = sizes[-1 - int(0.002 * (len(sizes) - 1))] if sizes else 0.0
    assert full_ink([picture]) == (wanted, bool(sizes) and wanted < sizes[-1])


# What a panel says of its tiles


def row(channel: int, count: int = 3, size: int = 6, **more) -> ChannelPatches:
    fields = {
        "projections": [RNG.normal(size=(3, size, size)) for _ in range(count)],
        "patches": [RNG.random((3, size, size)) for _ in range(count)],
        "values": [float(count - n) for n in range(count)],
        "labels": ["gas pump"] * count,
        "images": list(range(7, 7 + count)),
        "offsets": [(0, 0)] * count,
        "size": (size, size),
    } | more
    return ChannelPatches("conv4", channel, **fields)


def tile_of(panel, line: int, place: int) -> np.ndarray:
    height, width = panel.sheet.data["tile"]
    top, left = line * height, place * width
    return panel.sheet.pixels[top : top + height, left : left + width]


def test_patches_stand_below_their_projections_a_channel_after_the_other(words) -> None:
    rows = [row(5), row(0, count=11), row(2)]
    panel = panels(rows, **words)
    assert panel.sheet.pixels.shape == (8 * 6, 9 * 6, 3)
    assert panel.sheet.data["lines"] == 4
    places = {5: (0, range(3)), 0: (2, range(9)), 2: (6, range(3))}
    for given_row in rows:
        line, columns = places[given_row.channel]
        for place in columns:
            patch = np.rint(np.moveaxis(given_row.patches[place], 0, -1) * 255)
            assert (tile_of(panel, line + 1, place) == patch).all()
    tenth = np.rint(np.moveaxis(rows[1].patches[9], 0, -1) * 255)
    assert (tile_of(panel, 5, 0) == tenth).all(), "after nine pairs a channel goes on below"


def test_the_drawing_and_the_sheet_show_the_same_colours(words, tiles) -> None:
    panel = panels([row(1)], **words)
    _, *drawn = tiles(panel)
    for place in range(3):
        for line, picture in enumerate(drawn[2 * place : 2 * place + 2]):
            zoom = len(picture) // 6
            assert (tile_of(panel, line, place) == picture[::zoom, ::zoom]).all()


def test_a_panel_tells_all_that_a_page_has_to_write(words) -> None:
    cut = [np.ones((3, 4, 6)), np.ones((3, 6, 6)), np.ones((3, 6, 2))]
    offsets, silent = [(2, 0), (0, 0), (0, 1)], (False, True, False)
    told = row(3, projections=cut, patches=cut, offsets=offsets, silent=silent)
    data = panels([told, row(4, count=0)], noun="code", **words).sheet.data
    assert {k: data[k] for k in ("tile", "lines", "stacked", "noun")} == {
        "tile": [6, 6], "lines": 1, "stacked": True, "noun": "code",
    }  # fmt: skip
    first, second = data["rows"]
    assert first["units"] == [
        {"class": "gas pump", "value": "3.00", "image": 7, "inset": [2, 0, 0, 0]},
        {"class": "gas pump", "value": "2.00", "image": 8, "silent": True},
        {"class": "gas pump", "value": "1.00", "image": 9, "inset": [0, 3, 0, 1]},
    ]
    about = {k: first[k] for k in ("layer", "channel", "colours", "scale", "exceeded")}
    assert about == {
        "layer": "conv4", "channel": 3, "colours": 3, "scale": "1.00", "exceeded": False,
    }  # fmt: skip
    assert (second["units"], second["scale"]) == ([], None)


def test_a_silent_unit_has_no_picture_and_sets_no_scale(words) -> None:
    quiet = row(0)
    loud = [*quiet.projections[:2], 1000 * quiet.projections[2]]
    silent = row(0, projections=loud, patches=quiet.patches, silent=(False, False, True))
    panel = panels([silent], **words)
    assert (tile_of(panel, 0, 2) == GREY).all() and (tile_of(panel, 1, 2) == GREY).all()
    two = row(0, count=2, projections=loud[:2], patches=quiet.patches[:2])
    assert (
        panel.sheet.data["rows"][0]["scale"]
        == panels([two], **words).sheet.data["rows"][0]["scale"]
    )


def test_a_drawing_is_made_when_it_is_asked_for(words, monkeypatch) -> None:
    panel = panels([row(0)], **words)
    monkeypatch.setattr("internals.figures.canvas.Canvas.text", None)
    assert panel.sheet.pixels.any(), "without drawing a word"
    with pytest.raises(TypeError):
        panel.render()


def test_a_sheet_is_never_larger_than_its_file_may_be(words) -> None:
    many = panels([row(n, count=1, size=100) for n in range(90)], **words)
    assert max(many.sheet.pixels.shape) <= 16383
    assert many.sheet.data["tile"] == [91, 91]


# HTML


class Reader(HTMLParser):
    """The text of each element, with its tag and attributes, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str], str]] = []
        self.open: list[int] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.found.append((tag, dict(attrs), ""))
        if tag != "img":
            self.open.append(len(self.found) - 1)

    def handle_endtag(self, tag) -> None:
        assert self.found[self.open.pop()][0] == tag, "well-formed"

    def handle_data(self, data) -> None:
        for number in self.open:
            name, attributes, text = self.found[number]
            self.found[number] = name, attributes, text + data

    def of(self, tag: str) -> list[tuple[dict[str, str], str]]:
        assert not self.open
        return [(attributes, text) for name, attributes, text in self.found if name == tag]


def unit(name: str = "tench", value: str = "1.0", image: object = 5, **more) -> dict[str, object]:
    return {"class": name, "value": value, "image": image, **more}


def test_a_pair_costs_a_page_no_more_than_its_words_and_one_element() -> None:
    words = "English springer 12.3 #3204"
    html = pairs_html([unit("English springer", "12.3", 3204)] * 9, 0, "channel 0")
    assert (len(html) - len(pairs_html([], 0, "channel 0"))) / 9 < len(words) + 12


def test_pairs_say_class_value_and_image_and_only_odd_ones_carry_attributes() -> None:
    units = [
        unit(), unit("<a> & b", "0.5", "n01_7.JPEG"), unit(silent=True), unit(inset=[2, 0, 0, 11]),
        *[unit()] * 6,
    ]  # fmt: skip
    read = Reader(pairs_html(units, 4, "channel 7"))
    [(listed, _)] = read.of("ol")
    assert listed == {"class": "pairs", "style": "--y:4", "aria-label": "channel 7"}
    items = read.of("li")
    assert [text.split("\n") for _, text in items[:2]] == [
        ["tench", "1.0 #5"], ["<a> & b", "0.5 n01_7.JPEG"],
    ]  # fmt: skip
    odd = {2: {"class": "silent"}, 3: {"style": "--t:2;--l:11"}, 9: {"style": "--f:1"}}
    assert [attributes for attributes, _ in items] == [odd.get(n, {}) for n in range(10)]


def test_rows_begin_where_the_sheet_has_them_and_the_key_names_what_occurs() -> None:
    def data(**more) -> dict[str, object]:
        about = {"layer": "a", "colours": 1, "scale": "2", "exceeded": False}
        rows = [
            {**about, "channel": n, "units": [unit(**more)] * c}
            for n, c in ((3, 20), (1, 0), (2, 1))
        ]
        return {"tile": [5, 4], "lines": 4, "stacked": True, "noun": "channel", "rows": rows}

    read = Reader(whole_html(data(), '<img src="a.webp">'))
    assert [attributes["style"] for attributes, _ in read.of("ol")] == ["--y:0", "--y:3"]
    holder, text = read.of("div")[0]
    assert holder["class"] == "sheet stacked sharp"
    assert holder["style"] == "--w:4;--h:5;--lines:4;--step:4px"
    assert "never fires on these images" in text and "outside the image" not in text
    assert "outside the image" in whole_html(data(inset=[1, 0, 0, 0]), "")


@pytest.mark.parametrize(
    ("scale", "exceeded", "text"),
    [("0.5", False, "−0.5  +0.5"), ("0.5", True, "≤ −0.5  ≥ +0.5"), (None, False, "0 everywhere")],
)
def test_the_ramp_names_its_ends(scale, exceeded: bool, text: str) -> None:
    [(_, said)] = Reader(ramp_html(scale, exceeded=exceeded)).of("span")
    assert said == text


def test_a_row_may_have_another_heading() -> None:
    described = {"channel": 3, "colours": 3, "scale": "1", "exceeded": False, "units": [unit()]}
    assert '<a href="#3">' in row_html(described, 0, heading='<a href="#3">three</a>')


# Files


@pytest.mark.parametrize(
    ("size", "grey", "exact"), [(24, False, True), (30, True, True), (60, False, False)]
)
def test_small_and_grey_tiles_lose_nothing_in_their_file(
    size: int, grey: bool, exact: bool
) -> None:
    pixels = RNG.integers(0, 256, (2 * size, 9 * size, 3), dtype=np.uint8)
    webp = to_webp(pixels, (size, size), 55, grey=grey)
    with Image.open(io.BytesIO(webp)) as stored:
        assert (np.asarray(stored.convert("RGB")) == pixels).all() == exact
    assert (len(webp) < pixels.size / 4) != exact


def test_colours_of_single_pixels_survive_where_a_lossy_file_is_doubled():
    """A codec that keeps half the colours each way makes a chequerboard of two hues one hue."""
    red_and_blue = np.array([(230, 60, 60), (60, 60, 230)], np.uint8)
    pixels = red_and_blue[np.indices((80, 80)).sum(axis=0) % 2]
    errors = []
    for tile, size in ((40, 160), (80, 80)):
        with Image.open(io.BytesIO(to_webp(pixels, (tile, tile), 80))) as picture:
            assert picture.size == (size, size)
            seen = np.asarray(picture.convert("RGB").resize((80, 80), Image.Resampling.BOX))
        errors.append(np.abs(seen.astype(int) - pixels).mean())
    assert errors[0] < 0.8 * errors[1]
