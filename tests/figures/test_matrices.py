"""Oracle: matrices set by hand, read back from the pixels, tints and printed words."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from internals.figures import (
    BLUE,
    GRID,
    TEXT,
    VERMILION,
    bitmaps,
    confusion,
    connections,
    pairs,
    shade,
    similarity,
)
from tests.figures.reading import middles, printed

RNG = np.random.default_rng(11)


def test_confusion_prints_every_count_in_its_cell(words) -> None:
    counts = np.array([[980, 0, 3], [1, 1100, 0], [7, 2, 0]])
    axes = confusion(counts, ["a", "b", "c"], **words).figure.axes[0]
    cells = axes.patches
    assert len(cells) == 9
    shown = np.zeros((3, 3), int)
    for index, cell in enumerate(cells):
        box = cell.get_bbox()
        for text in axes.texts:
            x, y = text.get_position()
            if box.x0 < x < box.x1 and box.y0 < y < box.y1:
                shown[index // 3, index % 3] = int(text.get_text().replace(",", ""))
    assert (shown == counts).all()
    tints = np.array([to_hex(cell.get_facecolor()) == VERMILION.light for cell in cells])
    mistakes = (counts > 0) & ~np.eye(3, dtype=bool)
    assert (tints.reshape(3, 3) == mistakes).all()
    alphas = np.array([cell.get_alpha() for cell in cells]).reshape(3, 3)
    assert alphas[2, 0] > alphas[0, 2] > alphas[2, 1] > alphas[1, 0] > 0
    texts = [text.get_text() for text in axes.texts]
    assert texts.count("99.7 %") == 1 and texts.count("99.9 %") == 1 and texts.count("0 %") == 1
    assert {"983", "1,101", "9"} <= set(texts)


def test_confusion_survives_a_class_without_images_and_without_mistakes(words, pixels) -> None:
    assert pixels(confusion(np.diag([5, 0]), ["a", "b"], **words)).any()
    with pytest.raises(ValueError, match="2 classes need 2 x 2 counts"):
        confusion(np.eye(3), ["a", "b"], **words)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bitmaps_can_be_read_back(scheme: str, words, pixels) -> None:
    codes = np.where(RNG.random((10, 12, 7)) < 0.4, 1, -1)
    figure = bitmaps(codes, [str(digit) for digit in range(10)], **words)
    page = pixels(figure, scheme)
    ink = np.array([int(getattr(TEXT, scheme)[index : index + 2], 16) for index in (1, 3, 5)])
    papers = [patch for patch in figure.figure.axes[0].patches if patch.get_width() > 20]
    for paper, code in zip(papers, codes, strict=True):
        x, y = round(2 * paper.get_x()), round(2 * paper.get_y())
        tile = page[y : y + round(2 * paper.get_height()), x : x + round(2 * paper.get_width())]
        read = (middles(tile, 12, 7)[..., :3] == ink).all(-1)
        assert (np.where(read, 1, -1) == code).all()


def test_bitmaps_hold_two_values(words) -> None:
    with pytest.raises(ValueError, match=r"only \+1"):
        bitmaps(np.zeros((1, 12, 7)), ["0"], **words)


def test_connections_are_filled_where_maps_are_joined(words) -> None:
    joined = RNG.random((3, 5)) < 0.5
    figure = connections(joined, rows="from", columns="to", **words)
    cells = [to_hex(cell.get_facecolor()) for cell in figure.figure.axes[0].patches]
    assert (np.array(cells).reshape(3, 5) == np.where(joined, BLUE.light, GRID.light)).all()
    sums = [str(count) for count in (*joined.sum(0), *joined.sum(1))]
    texts = printed(figure)
    assert all(texts.count(number) >= sums.count(number) for number in sums)


def test_a_similarity_matrix_has_each_value_in_its_cell(words, tiles) -> None:
    values = RNG.random((5, 5))
    figure = similarity(values, {"AlexNet": ["conv1", "conv2"], "VGG": ["c", "d", "e"]}, **words)
    _, *drawn = tiles(figure)
    for index, tile in enumerate(drawn):
        row, column = divmod(index, 5)
        want = shade(values[row : row + 1, column : column + 1])[0, 0]
        assert (tile == want).all()
    tops = [image.get_extent()[3] for image in figure.figure.axes[0].images[1::5]]
    steps = np.diff(tops)
    assert steps[1] == pytest.approx(steps[0] + 5) and steps[2] == pytest.approx(steps[0])
    assert printed(figure).count("conv1") == 2 and printed(figure).count("AlexNet") == 1
    with pytest.raises(ValueError, match="do not fit"):
        similarity(values, {"AlexNet": ["conv1"]}, **words)


def test_the_larger_the_darker() -> None:
    luminance = shade(np.linspace(0, 1, 50)[None])[0] @ [0.299, 0.587, 0.114]
    assert (np.diff(luminance) < 0).all()


def test_shares_are_printed_tinted_and_averaged_without_blanks(words) -> None:
    shares = np.array([[np.nan, 0.25, 1.0], [0.0, np.nan, 0.5], [np.nan] * 3])
    figure = pairs(shares, list("abc"), rows="class", columns="target", **words)
    actual = printed(figure)
    for wanted, count in (("25", 1), ("100", 1), ("0", 1), ("50", 1)):
        assert actual.count(wanted) == count
    # Rows: 62.5, 25 and nothing. Columns: 0, 25, 75.
    assert {"62 %", "25 %", "–", "0 %", "75 %", "class", "target"} <= set(actual)
    patches = figure.figure.axes[0].patches
    assert [round(p.get_alpha(), 3) for p in patches[:3]] == [0.45, 0.165, 0.54]
    assert patches[1].get_facecolor()[:3] != patches[0].get_facecolor()[:3]


def test_a_matrix_that_does_not_fit_is_refused(words) -> None:
    with pytest.raises(ValueError, match=r"3 names need 3 x 3 shares, not \(2, 3\)"):
        pairs(np.zeros((2, 3)), list("abc"), rows="", columns="", **words)
