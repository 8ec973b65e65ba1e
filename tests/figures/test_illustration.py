"""Oracle: the PNG that comes out, read back with Pillow and compared with colours set by hand."""

import io
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from internals.figures import (
    BLUE,
    GREEN,
    INKS,
    MARGIN,
    PADDING,
    TEXT,
    VERMILION,
    Canvas,
    Illustration,
    on_paper,
    samples,
)

TWELVE = "one two three four five six seven eight nine ten eleven twelve"


def colours(page: np.ndarray) -> set[str]:
    opaque = page[page[..., 3] == 255][:, :3]
    return {"#" + bytes(pixel).hex() for pixel in np.unique(opaque, axis=0)}


def everything() -> Illustration:
    """One of each kind of artist: text with a box, line and marker, patch, legend, colour-bar."""
    figure = Figure(figsize=(5, 3), dpi=100, facecolor="white")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=BLUE.light, lw=8, marker="s", ms=20, mfc=GREEN.light)
    axes.fill_between([0, 1], [0, 0.2], color=VERMILION.light)
    axes.add_collection(LineCollection([[(0, 1), (1, 0)]], colors=[TEXT.light], linewidths=9))
    axes.text(0.3, 0.8, "█", color=TEXT.light, size=40, bbox={"facecolor": PADDING.light})
    axes.plot([0, 1], [0.5, 0.5], color="#123456", lw=6, label="not ours")
    axes.legend(labelcolor=TEXT.light)
    axes.tick_params(colors=TEXT.light, width=4)
    axes.spines[:].set_color(TEXT.light)
    mapped = axes.imshow([[0, 1]], extent=(0.6, 0.9, 0.6, 0.9), cmap="gray")
    axes.set(xlim=(-0.2, 1.2), ylim=(-0.2, 1.2), aspect="auto")
    figure.colorbar(mapped).outline.set_edgecolor(TEXT.light)
    return Illustration(figure, TWELVE, "alt")


@pytest.mark.parametrize(
    ("caption", "alt", "message"),
    [
        ("Eleven words are one too few for it to be accepted.", "alt", "11 words"),
        ("", "alt", "0 words"),
        (TWELVE, "", "alt text is empty"),
        (TWELVE, " \n", "alt text is empty"),
    ],
)
def test_words_are_demanded(caption: str, alt: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Illustration(Figure(), caption, alt)


def test_twelve_words_are_enough() -> None:
    assert Illustration(Figure(), TWELVE, "alt").caption == TWELVE


def test_same_bytes_every_time_and_nothing_but_the_picture() -> None:
    first, second = everything(), everything()
    assert first.render() == first.render() == second.render()
    assert first.render("dark") == second.render("dark")
    picture = Image.open(io.BytesIO(first.render()))
    assert set(picture.info) == {"dpi"}


def test_dark_has_the_partners_and_light_comes_back(pixels) -> None:
    illustration = everything()
    light = illustration.render()
    bright, dark = colours(pixels(illustration)), colours(pixels(illustration, "dark"))
    for ink in (TEXT, BLUE, GREEN, VERMILION, PADDING):
        assert ink.light in bright and ink.light not in dark
        assert ink.dark in dark and ink.dark not in bright
    assert {"#123456", "#000000", "#ffffff"} <= bright & dark  # not ours; the image's two pixels
    assert illustration.render() == light


def test_every_artist_of_ours_is_turned(pixels) -> None:
    dark = colours(pixels(everything(), "dark"))
    assert not dark & {ink.light for ink in INKS}


def test_light_comes_back_after_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    illustration = everything()
    light = illustration.render()
    line = illustration.figure.axes[0].lines[0]
    seen = []

    def fail(*_: object, **__: object) -> None:
        seen.append(to_hex(line.get_color()))
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", fail)
        with pytest.raises(OSError, match="disk full"):
            illustration.render("dark")
    assert seen == [BLUE.dark]
    assert to_hex(line.get_color()) == BLUE.light
    assert illustration.render() == light


def test_the_paper_is_transparent(pixels) -> None:
    for scheme in ("light", "dark"):
        assert pixels(everything(), scheme)[0, 0, 3] == 0


def test_settings_of_the_user_do_not_show() -> None:
    plain = everything()
    want = plain.render()
    with matplotlib.rc_context({"savefig.dpi": 37, "savefig.bbox": "tight", "text.antialiased": 0}):
        assert plain.render() == want


def test_unknown_scheme() -> None:
    with pytest.raises(ValueError, match="unknown scheme 'sepia'; choose one of light, dark"):
        everything().render("sepia")


@given(st.integers(1, 4000), st.integers(1, 1400))
def test_two_device_pixels_for_each_logical_one(height: int, width: int) -> None:
    illustration = Illustration(Canvas(height, width).figure, TWELVE, "alt")
    inches = illustration.figure.get_size_inches()
    assert (int(inches[0] * 200), int(inches[1] * 200)) == (2 * width, 2 * height)
    assert illustration.size == (width, height)


def test_a_notebook_is_told_the_logical_size() -> None:
    png, metadata = Illustration(Canvas(30).figure, TWELVE, "alt")._repr_png_()
    assert metadata == {"width": 688, "height": 30}
    assert Image.open(io.BytesIO(png)).size == (1376, 60)


# Files of their own


CAPTION = "Nine flat squares in nine tones of grey, from the darkest to the lightest of them all. "


@pytest.fixture
def squares() -> Illustration:
    tones = np.linspace(0, 1, 9).reshape(9, 1, 1, 1) * np.ones((1, 1, 5, 5))
    names = [str(number) for number in range(9)]
    return samples(tones, np.arange(9), names, caption=CAPTION * 3, alt="Nine <squares>.")


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


def drawn(illustration: Illustration) -> np.ndarray:
    """The picture itself on white, as the page shows it."""
    with Image.open(io.BytesIO(illustration.render())) as picture:
        paper = Image.new("RGBA", picture.size, "white")
        return np.asarray(Image.alpha_composite(paper, picture.convert("RGBA")).convert("RGB"))


def test_the_picture_lies_on_white_paper_with_its_caption_beneath(squares):
    sheet, picture = pixels(on_paper(squares)), drawn(squares)
    edge = 2 * MARGIN
    height, width = picture.shape[:2]
    inner = sheet[edge : edge + height, edge : edge + width]
    assert np.abs(inner.astype(int) - picture).max() <= 1  # blended here, composited there
    assert (sheet[:edge] == 255).all() and (sheet[:, :edge] == 255).all()
    below = sheet[edge + height :]
    ink = np.array([int(TEXT.light[i : i + 2], 16) for i in (1, 3, 5)])
    rows = (np.abs(below.astype(int) - ink).max(axis=2) < 40).any(axis=1)
    lines = np.count_nonzero(np.diff(rows.astype(int)) == 1)
    assert lines >= 3  # thrice fifteen words do not fit on two lines
    assert not rows[-edge:].any() and (sheet[:, -edge:] == 255).all()


def test_the_figure_is_left_as_it_was_and_the_bytes_are_the_same(squares):
    before, texts = squares.render(), len(squares.figure.texts)
    assert on_paper(squares) == on_paper(squares)
    assert squares.render() == before
    assert len(squares.figure.texts) == texts


def test_webp_loses_nothing(squares):
    assert (pixels(on_paper(squares, "webp")) == pixels(on_paper(squares))).all()


def test_every_format_with_a_place_for_it_holds_the_alternative_text(squares):
    with Image.open(io.BytesIO(on_paper(squares))) as picture:
        assert picture.info["Description"] == "Nine <squares>."
    assert b"(Nine <squares>.)" in on_paper(squares, "pdf")
    drawing = ElementTree.fromstring(on_paper(squares, "svg"))
    assert "Nine <squares>." in [element.text for element in drawing.iter()]
    for kind in ("pdf", "svg"):
        assert on_paper(squares, kind) == on_paper(squares, kind)


def test_an_unknown_kind_is_refused(squares):
    with pytest.raises(ValueError, match="unknown kind of picture 'jpg'; choose one of png"):
        on_paper(squares, "jpg")
