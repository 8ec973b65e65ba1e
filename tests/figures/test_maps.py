"""Oracle: weights and maps set by hand, read back from the pixels and the printed words."""

import numpy as np
import pytest

from internals.figures import LayerMaps, comparison, feature_maps, filters, natural, signed
from tests.figures.reading import middles, printed

RNG = np.random.default_rng(11)


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


def test_a_layer_of_small_maps_can_be_drawn_larger_than_in_proportion(words, tiles) -> None:
    code = RNG.normal(size=(1, 12, 7))
    layers = [LayerMaps("conv1", np.ones((1, 28, 28))), LayerMaps("tanh6", code, magnified=3)]
    figure = feature_maps(np.ones((1, 32, 32)), layers, **words)
    _, plain, large = tiles(figure)
    assert (len(plain) / 28, len(large) / 12) == (4.0, 12.0)
    assert (middles(large, 12, 7) == signed(code, np.abs(code).max())).all()
    assert "1 map, 12 × 7" in printed(figure)


def test_feature_maps_say_what_they_leave_out(words) -> None:
    layers = [LayerMaps("conv1", np.ones((64, 55, 55))), LayerMaps("conv5", np.ones((256, 6, 6)))]
    texts = printed(feature_maps(np.ones((3, 224, 224)), layers, **words))
    assert [text.split(" maps")[0] for text in texts if " of " in text] == ["9 of 64", "8 of 256"]


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
