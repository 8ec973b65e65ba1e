"""Oracle: `np.repeat` for enlarged pictures, block means for reduced ones, ink in the PNG."""

import io
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.cbook import is_math_text
from matplotlib.text import Text
from PIL import Image

from internals.figures import (
    BLUE,
    GREEN,
    TEXT,
    Canvas,
    Illustration,
    lines,
    on_paper,
    text_width,
    wrap,
)

Draw = Callable[[Canvas], np.ndarray]


@pytest.fixture(scope="session")
def drawn(pixels: Callable[..., np.ndarray], words: dict[str, str]) -> Draw:
    return lambda canvas: pixels(Illustration(canvas.figure, **words))


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(90, 140),
)
def test_enlarged_pixels_are_sharp_squares(
    drawn: Draw, height: int, width: int, zoom: int, left: int, top: int, page: int
) -> None:
    rng = np.random.default_rng(height * width)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    canvas = Canvas(page, 151)
    canvas.image(left / 2, top / 2, image, width * zoom / 2, height * zoom / 2)
    got = drawn(canvas)
    want = np.zeros((2 * page, 302, 4), dtype=np.uint8)
    large = np.repeat(np.repeat(image, zoom, 0), zoom, 1)
    want[top : top + height * zoom, left : left + width * zoom, :3] = large
    want[top : top + height * zoom, left : left + width * zoom, 3] = 255
    assert (got[..., 3] == want[..., 3]).all()
    assert (got[want[..., 3] == 255] == want[want[..., 3] == 255]).all()


def test_reduced_pixels_are_averaged(drawn: Draw) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 18, 3), dtype=np.uint8)
    canvas = Canvas(10, 10)
    canvas.image(1, 1, image, 3, 2)  # 6 x 4 device pixels: blocks of 3 x 3
    means = image.reshape(4, 3, 6, 3, 3).mean((1, 3))
    assert np.abs(drawn(canvas)[2:6, 2:8, :3] - means).max() <= 1  # rounded once a direction


def test_a_frame_covers_no_pixel_of_its_picture(drawn: Draw) -> None:
    canvas = Canvas(20, 20)
    canvas.image(5, 5, np.full((10, 10, 3), 77, np.uint8), 10, 10)
    canvas.frame(5, 5, 10, 10, BLUE)
    page = drawn(canvas)
    assert (page[10:30, 10:30, :3] == 77).all()
    blue = np.array([int(BLUE.light[i : i + 2], 16) for i in (1, 3, 5)])
    for edge in (page[9, 9:31], page[30, 9:31], page[9:31, 9], page[9:31, 30]):
        assert (edge[:, :3] == blue).all() and (edge[1:-1, 3] == 255).all()


def test_later_strokes_cover_earlier_ones(drawn: Draw) -> None:
    canvas = Canvas(10, 10)
    canvas.image(0, 0, np.zeros((10, 10, 3), np.uint8), 10, 10)
    canvas.box(0, 0, 10, 10, BLUE)
    canvas.image(2, 2, np.full((6, 6, 3), 200, np.uint8), 6, 6)
    canvas.polygon([(4, 4), (6, 4), (6, 6), (4, 6)], GREEN)
    page = drawn(canvas)
    assert [page[y, y, 0] for y in (1, 5, 10)] == [0x0B, 200, 0x0A]


@pytest.mark.parametrize("label", ["English springer", "\N{MINUS SIGN}0.481", "#59999", "8"])
def test_text_is_as_wide_as_it_says(drawn: Draw, label: str) -> None:
    canvas = Canvas(40, 200)
    canvas.text(10, 25, label, TEXT, 11)
    ink = np.flatnonzero(drawn(canvas)[..., 3].any(0))
    assert abs((ink.max() + 1) / 2 - 10 - text_width(label, 11)) <= 2


def test_words_wrap_at_spaces_and_long_ones_are_cut() -> None:
    assert wrap("English springer", 69, 10) == ["English", "springer"]
    assert wrap("English springer", 200, 10) == ["English springer"]
    assert wrap("", 69, 10) == [""]
    [cut] = wrap("Donaudampfschiff", 50, 10)
    assert cut.endswith("…") and text_width(cut, 10) <= 50 < text_width(cut[:-1] + "mm…", 10)


ODD = ["$100 and $200", "a_b^c", r"\frac{1}{2}", "$x$ and 5 $", "caf\udce9", "bell\a", "\ufffe"]
ESCAPED = {"caf\udce9": r"caf\udce9", "bell\a": r"bell\x07", "\ufffe": r"\ufffe"}


@pytest.mark.parametrize("words_", ODD)
def test_odd_names_are_written_letter_by_letter(drawn: Draw, words_: str) -> None:
    """A formula would lose its signs and be narrower; half a character has no outline at all."""
    canvas = Canvas(40, 260)
    canvas.text(10, 25, words_, TEXT, 11)
    ink = np.flatnonzero(drawn(canvas)[..., 3].any(0))
    assert abs((ink.max() + 1) / 2 - 10 - text_width(words_, 11)) <= 2
    assert text_width(words_, 11) > text_width("".join(filter(str.isalnum, words_)), 11)
    assert len(wrap(words_ + " " + words_, 400)) == 1


@pytest.mark.parametrize("kind", ["png", "webp", "pdf", "svg"])
def test_odd_captions_and_alternative_texts_are_written(words: dict[str, str], kind: str) -> None:
    canvas = Canvas(40, 260)
    texts = {name: f"{text} {' '.join(ODD)}" for name, text in words.items()}
    file = on_paper(Illustration(canvas.figure, **texts), kind)
    if kind == "svg":
        ElementTree.fromstring(file)  # is it XML?
        assert rb"caf\udce9" in file
    if kind == "png":
        with Image.open(io.BytesIO(file)) as picture:
            assert picture.info["Description"].endswith(
                r"$100 and $200 a_b^c \frac{1}{2} $x$ and 5 $ caf\udce9 bell\x07 \ufffe"
            )


@pytest.mark.parametrize("name", ODD)
def test_odd_names_in_plots_are_no_formulas(words: dict[str, str], name: str) -> None:
    """Axis, heading, tick, mark and end of a line, by Matplotlib's own test for a formula."""
    odd = {"xlabel": name, "ylabel": name, "ticks": [name, "b"], "marks": {name: 0.5}}
    shown = lines(np.arange(2), {name: np.arange(2)}, **odd, **words)
    shown.render()
    written = [text.get_text() for text in shown.figure.findobj(Text)]
    assert not any(map(is_math_text, written))
    assert sum(text.replace(r"\$", "$") == ESCAPED.get(name, name) for text in written) >= 5
