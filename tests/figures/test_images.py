"""Oracle: images and maps set by hand, read back from the pixels and the printed words."""

import numpy as np
import pytest

from internals.figures import (
    OPAQUE,
    blended,
    gallery,
    natural,
    overlays,
    perturbations,
    samples,
    signed,
)
from tests.figures.reading import middles, printed

RNG = np.random.default_rng(11)


def test_where_a_map_is_zero_the_image_is_grey_and_full_ink_is_one_of_two_colours() -> None:
    image = RNG.random((3, 4, 6))
    evidence = np.zeros((4, 6))
    evidence[0, 0], evidence[3, 5], evidence[1, 1] = 2.0, -2.0, 1.0
    drawn = blended(image, evidence).astype(float)
    grey = natural(image) @ [0.299, 0.587, 0.114]
    amber, blue = np.array([222.0, 164, 84]), np.array([52.0, 88, 150])
    for place, ink, share in [((0, 0), amber, 1), ((3, 5), blue, 1), ((1, 1), amber, 0.5)]:
        want = (1 - OPAQUE * share) * grey[place] + OPAQUE * share * ink
        assert np.abs(drawn[place] - want).max() <= 0.5
    assert np.abs(drawn[2] - grey[2, :, None]).max() <= 0.5
    assert (blended(image, np.zeros((4, 6))).std(axis=2) == 0).all()


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


def test_samples_are_a_row_a_class(words, tiles) -> None:
    images, labels = RNG.random((9, 1, 28, 28)), np.array([1, 0, 1, 1, 0, 2, 1, 0, 1])
    drawn = tiles(samples(images, labels, ["a", "b", "c"], each=3, **words))
    for tile, index in zip(drawn, [1, 4, 7, 0, 2, 3, 5], strict=True):
        assert len(tile) % 28 == 0
        assert (middles(tile, 28, 28) == natural(images[index])).all()


def test_overlays_show_each_map_over_its_own_image(words, tiles) -> None:
    images = [RNG.random((3, 20, 20)) for _ in range(2)]
    maps = [[RNG.normal(size=(20, 20)) * 10**-k for k in range(2)] for _ in images]
    figure = overlays(
        images, maps, ["Grad-CAM", "occlusion"], names=["church", "tench"],
        notes=[["a", "b"], ["c", "d"]], **words,
    )  # fmt: skip
    _, *drawn = tiles(figure)
    assert len(drawn) == 6
    for row in range(2):
        assert (drawn[3 * row][8::16, 8::16] == natural(images[row])).all()
        for column in range(2):
            want = blended(images[row], maps[row][column])
            assert (drawn[3 * row + column + 1][8::16, 8::16] == want).all()
    assert {"church", "tench", "a", "d", "Grad-CAM"} <= set(printed(figure))
    assert f"±{np.abs(maps[0][0]).max():.2f}" in printed(figure)


def test_a_name_that_is_longer_than_its_image_goes_on_below(words, tiles) -> None:
    images = [RNG.random((3, 20, 20)) for _ in range(2)]
    maps = [[RNG.normal(size=(20, 20))] * 4 for _ in images]
    long = "cassette player → garbage truck"
    short, wrapped = (
        overlays(images, maps, list("abcd"), names=names, **words)
        for names in (["church", "tench"], ["church", long])
    )
    lines = [word for word in printed(wrapped) if len(word) > 1 and word in long]
    assert " ".join(lines) == long and len(lines) == 2
    assert wrapped.figure.get_figheight() > short.figure.get_figheight()
    assert len(tiles(wrapped)) == len(tiles(short))


def test_overlays_refuse_what_does_not_fit(words) -> None:
    image, good = np.zeros((3, 8, 8)), np.zeros((8, 8))
    for images, maps, titles in [
        ([image], [[good, good]], ["one"]),
        ([image], [[np.zeros((4, 4))]], ["one"]),
        ([image], [], ["one"]),
        ([], [], ["one"]),
    ]:
        with pytest.raises(ValueError, match=r"overlays|map|titles|images"):
            overlays(images, maps, titles, **words)


def images_and_changed() -> tuple[np.ndarray, np.ndarray]:
    images = RNG.uniform(0.2, 0.8, (3, 1, 12, 12))
    added = RNG.uniform(-0.05, 0.05, images.shape)
    added[1, 0, 2, 3], added[2, 0, 0, 0] = 0.1, 0.0  # the largest of all, and none
    return images, images + added


def test_a_column_is_an_image_what_is_added_and_their_sum(words, tiles) -> None:
    images, changed = images_and_changed()
    figure = perturbations(
        images, changed, ["a 1", "b 1", "c 1"], ["d 2", "e 2", "f 2"],
        fooled=[True, False, True], **words,
    )  # fmt: skip
    _, *drawn = tiles(figure)
    assert len(drawn) == 9
    pixel = drawn[0].shape[0] // 12
    for column in range(3):
        image, difference, total = drawn[3 * column : 3 * column + 3]
        added = changed[column] - images[column]
        for actual, wanted in (
            (image, natural(images[column])),
            (difference, signed(added, 0.1)),
            (total, natural(changed[column])),
        ):
            assert (actual[pixel // 2 :: pixel, pixel // 2 :: pixel] == wanted).all()
    assert {"× 10.0", "+0.100", "−0.100", "a 1", "f 2", "image", "added", "sum"} <= set(
        printed(figure)
    )


def test_only_what_is_fooled_is_red(words) -> None:
    images, changed = images_and_changed()
    figure = perturbations(
        images, changed, list("abc"), list("def"), fooled=[True, False, True], **words
    )
    inks = {text.get_text(): text.get_color() for text in figure.figure.axes[0].texts}
    assert inks["d"] == inks["f"] != inks["e"] == inks["a"]


def test_nothing_added_is_said(words) -> None:
    images, _ = images_and_changed()
    figure = perturbations(images, images, list("abc"), list("abc"), **words)
    assert "0 everywhere" in printed(figure)


def test_pictures_that_do_not_belong_together_are_refused(words) -> None:
    images, changed = images_and_changed()
    for given in (
        (images, changed[:2], list("abc"), list("abc")),
        (images, changed, list("ab"), list("abc")),
        (images, changed, list("abc"), list("ab")),
        (images[:0], changed[:0], [], []),
    ):
        with pytest.raises(ValueError, match=r"compared|images, but"):
            perturbations(*given, **words)
    with pytest.raises(ValueError, match="3 images, but 1 of fooled"):
        perturbations(images, changed, list("abc"), list("abc"), fooled=[True], **words)
