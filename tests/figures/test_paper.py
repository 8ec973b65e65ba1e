"""Oracle: the picture that `render` draws, and white paper around it."""

import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from internals.figures.illustration import MARGIN, Illustration, on_paper
from internals.figures.images import samples
from internals.figures.inks import TEXT

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
