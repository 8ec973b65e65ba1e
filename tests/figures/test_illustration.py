"""Oracle: the PNG that comes out, read back with Pillow and compared with colours set by hand."""

import io

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from internals.figures.canvas import Canvas
from internals.figures.illustration import Illustration
from internals.figures.inks import BLUE, GREEN, INKS, PADDING, TEXT, VERMILION

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
