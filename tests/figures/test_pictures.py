"""Oracle: matrices and boxes set by hand, read back from the pixels and the printed words."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from internals.figures.diagrams import Stage, field, stack
from internals.figures.images import gallery, samples
from internals.figures.inks import BLUE, GRID, PADDING, TEXT, VERMILION, natural, signed
from internals.figures.maps import LayerMaps, comparison, feature_maps, filters
from internals.figures.matrices import bitmaps, confusion, connections

RNG = np.random.default_rng(11)


def printed(illustration) -> list[str]:
    return [text.get_text() for text in illustration.figure.axes[0].texts]


def middles(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """The colour at the middle of each of height x width equal cells of a rendered tile."""
    rows = ((np.arange(height) + 0.5) * len(tile) / height).astype(int)
    columns = ((np.arange(width) + 0.5) * tile.shape[1] / width).astype(int)
    return tile[np.ix_(rows, columns)]


@pytest.mark.parametrize(("count", "channels"), [(6, 1), (64, 3), (96, 3), (1, 1)])
def test_filters_share_one_scale(count: int, channels: int, words, tiles) -> None:
    weights = RNG.normal(size=(count, channels, 5, 7))
    _, *drawn = tiles(filters(weights, **words))
    assert len(drawn) == count
    for tile, kernel in zip(drawn, weights, strict=True):
        assert (middles(tile, 5, 7) == signed(kernel, np.abs(weights).max())).all()


def test_filters_over_many_maps_are_columns(words, tiles) -> None:
    weights = RNG.normal(size=(4, 2, 3, 3))
    figure = filters(weights, **words)
    _, *drawn = tiles(figure)
    for index, tile in enumerate(drawn):
        source, kernel = divmod(index, 4)
        want = signed(weights[kernel, source : source + 1], np.abs(weights).max())
        assert (middles(tile, 3, 3) == want).all()
    lefts = [image.get_extent()[0] for image in figure.figure.axes[0].images[1:]]
    assert lefts[:4] == lefts[4:] == sorted(set(lefts))


def test_filters_refuse_other_shapes(words) -> None:
    for shape in ((6, 5, 5), (0, 1, 5, 5)):
        with pytest.raises(ValueError, match="kernels have shape"):
            filters(np.zeros(shape), **words)


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


def test_gallery_shows_images_as_they_are_and_counts_the_rest(words, tiles) -> None:
    images = RNG.random((12, 1, 8, 8))
    drawn = gallery(
        images, ["4"] * 12, ["9"] * 12, [0.5] * 11 + [0.9999], ids=range(12), total=1080, **words
    )
    for tile, image in zip(tiles(drawn), images, strict=True):
        assert (middles(tile, 8, 8) == natural(image)).all()
    texts = printed(drawn)
    assert texts.count("50 %") == 11 and ">99 %" in texts
    assert "12 of 1,080 shown" in texts and "#11" in texts


def test_gallery_writes_long_names_out(words) -> None:
    images = np.ones((1, 3, 32, 32))
    drawn = gallery(images, ["English springer"], ["cassette player"], [0.5], **words)
    assert {"English springer", "→ cassette player"} <= set(printed(drawn))


def test_gallery_refuses_lists_of_different_length(words) -> None:
    with pytest.raises(ValueError, match="equally long"):
        gallery(np.zeros((2, 1, 8, 8)), ["1", "2"], ["2"], [0.1, 0.2], **words)


def test_feature_maps_in_proportion_on_one_scale_a_layer(words, tiles) -> None:
    image, first, second = (
        RNG.random((1, 32, 32)),
        RNG.normal(size=(6, 28, 28)),
        RNG.random((16, 5, 5)),
    )
    vector = RNG.normal(size=84)
    layers = [LayerMaps("conv1", first), LayerMaps("pool2", second), LayerMaps("fc1", vector)]
    figure = feature_maps(image, layers, **words)
    drawn = tiles(figure)
    assert len(drawn) == 1 + 6 + 16 + 84
    assert (middles(drawn[0], 32, 32) == natural(image)).all()
    for tile, pixels in zip(drawn[1:7], first, strict=True):
        assert (middles(tile, 28, 28) == signed(pixels[None], np.abs(first).max())).all()
    for tile, pixels in zip(drawn[7:23], second, strict=True):
        assert (middles(tile, 5, 5) == natural(pixels[None] / second.max())).all()
    for tile, value in zip(drawn[23:], vector, strict=True):
        assert (tile == signed(value.reshape(1, 1, 1), np.abs(vector).max())).all()
    assert {len(tile) / side for tile, side in ((drawn[0], 32), (drawn[1], 28), (drawn[7], 5))} == {
        4.0
    }


def test_feature_maps_say_what_they_leave_out(words) -> None:
    layers = [LayerMaps("conv1", np.ones((64, 55, 55))), LayerMaps("conv5", np.ones((256, 6, 6)))]
    texts = printed(feature_maps(np.ones((3, 224, 224)), layers, **words))
    assert [text.split(" maps")[0] for text in texts if " of " in text] == ["9 of 64", "8 of 256"]


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


def test_samples_are_a_row_a_class(words, tiles) -> None:
    images, labels = RNG.random((9, 1, 28, 28)), np.array([1, 0, 1, 1, 0, 2, 1, 0, 1])
    drawn = tiles(samples(images, labels, ["a", "b", "c"], each=3, **words))
    for tile, index in zip(drawn, [1, 4, 7, 0, 2, 3, 5], strict=True):
        assert len(tile) % 28 == 0
        assert (middles(tile, 28, 28) == natural(images[index])).all()


def test_sides_of_a_stack_are_in_proportion(words) -> None:
    stages = [Stage("input", 1, 32, 32, "5 x 5", 5), Stage("conv1", 6, 28, 28), Stage("fc", 10)]
    sheets = stack(stages, **words).figure.axes[0].patches
    widths = [patch.get_width() for patch in sheets if hasattr(patch, "get_width")]
    assert widths[0] / widths[1] == pytest.approx(32 / 28)
    assert len({round(width, 9) for width in widths[1:7]}) == 1
    window = next(patch for patch in sheets if not hasattr(patch, "get_width"))
    assert np.ptp(window.get_xy()[:, 0]) / widths[0] == pytest.approx(5 / 32)


def test_shapes_of_a_stack_are_written(words) -> None:
    texts = printed(stack([Stage("conv1", 6, 28, 28, "full"), Stage("fc", 10)], **words))
    assert texts == ["conv1", "6@28\N{MULTIPLICATION SIGN}28", "fc", "10", "full"]
    with pytest.raises(ValueError, match="at least one stage"):
        stack([], **words)


def test_a_field_is_drawn_around_its_pixels(words, pixels) -> None:
    image = np.zeros((1, 32, 32))
    figure = field(image, {"unit": (-2, 4, 7, 12)}, **words)
    page, picture = pixels(figure), figure.figure.axes[0].images[0]
    left, right, bottom, top = (round(2 * edge) for edge in picture.get_extent())
    zoom = (right - left) // 32
    assert (bottom - top, right - left) == (32 * zoom, 32 * zoom)
    blue = np.array([int(BLUE.light[index : index + 2], 16) for index in (1, 3, 5)])
    upper, lower = top - 2 * zoom, top + 7 * zoom
    first, last = left + 4 * zoom, left + 12 * zoom
    for y, x in ((upper, first + 9), (lower, last - 9), (upper + 9, first), (lower - 9, last)):
        assert (page[y, x, :3] == blue).all()
    paper = np.array([int(PADDING.light[index : index + 2], 16) for index in (1, 3, 5)])
    assert (page[top - zoom, right - zoom, :3] == paper).all()
    assert (page[top + zoom // 2, right - zoom // 2, :3] == 0).all()
    assert "outside the image" in printed(figure)


def test_an_empty_box_is_refused(words) -> None:
    with pytest.raises(ValueError, match="'unit' is empty"):
        field(np.zeros((1, 8, 8)), {"unit": (3, 3, 3, 5)}, **words)


def test_a_comparison_shares_its_scale_or_says_so(words, tiles) -> None:
    weak, strong = np.full((1, 4, 4), 1.5), np.full((1, 4, 4), -3.0)
    shared = comparison([[weak, strong]], ["a", "b"], images=[np.full((1, 4, 4), 0.6)], **words)
    _, image, first, second = tiles(shared)
    assert (image == 153).all()
    assert first[0, 0].tolist() == [222, 164, 84] and second[0, 0].tolist() == [8, 20, 64]
    own = comparison([[weak, strong]], ["a", "b"], shared=False, **words)
    first, second = tiles(own)
    assert first[0, 0].tolist() == [255, 240, 204] and second[0, 0].tolist() == [8, 20, 64]
    assert {"±1.50", "±3.00"} <= set(printed(own))


def test_a_comparison_counts(words) -> None:
    tile = np.ones((1, 4, 4))
    with pytest.raises(ValueError, match="2 titles, but a row of 1"):
        comparison([[tile]], ["a", "b"], **words)
    with pytest.raises(ValueError, match="1 rows of pictures, but 2 notes"):
        comparison([[tile]], ["a"], notes=[["x"], ["y"]], **words)
