"""Oracle: maps, shares and matrices set by hand, read back from pixels and printed words."""

import numpy as np
import pytest

from internals.figures.dots import dots, shares
from internals.figures.images import OPAQUE, laid_over, overlays
from internals.figures.inks import natural
from internals.figures.matrices import shade, similarity
from internals.figures.plots import lines

RNG = np.random.default_rng(5)


def printed(illustration) -> list[str]:
    return [text.get_text() for text in illustration.figure.axes[0].texts]


def test_where_a_map_is_zero_the_image_is_grey_and_full_ink_is_one_of_two_colours() -> None:
    image = RNG.random((3, 4, 6))
    evidence = np.zeros((4, 6))
    evidence[0, 0], evidence[3, 5], evidence[1, 1] = 2.0, -2.0, 1.0
    drawn = laid_over(image, evidence).astype(float)
    grey = natural(image) @ [0.299, 0.587, 0.114]
    amber, blue = np.array([222.0, 164, 84]), np.array([52.0, 88, 150])
    for place, ink, share in [((0, 0), amber, 1), ((3, 5), blue, 1), ((1, 1), amber, 0.5)]:
        want = (1 - OPAQUE * share) * grey[place] + OPAQUE * share * ink
        assert np.abs(drawn[place] - want).max() <= 0.5
    assert np.abs(drawn[2] - grey[2, :, None]).max() <= 0.5
    assert (laid_over(image, np.zeros((4, 6))).std(axis=2) == 0).all()


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
            want = laid_over(images[row], maps[row][column])
            assert (drawn[3 * row + column + 1][8::16, 8::16] == want).all()
    assert {"church", "tench", "a", "d", "Grad-CAM"} <= set(printed(figure))
    assert f"±{np.abs(maps[0][0]).max():.2f}" in printed(figure)


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


def test_dots_stand_where_their_values_are(words) -> None:
    values = [58.3, 134.3, 6.0, 11.2, 3.2]
    assert shares([1, 10, 100], True) == pytest.approx([0, 0.5, 1])
    assert shares([1, 10, 100], False) == pytest.approx([0, 1 / 11, 1])
    assert shares([3, 3], False) == [0, 0]
    figure = dots(
        list("abcde"), {"size": values, "time": values}, {n: [f"{v} M" for v in values] for n in
        ("size", "time")}, logarithmic=["size"], **words,
    )  # fmt: skip
    centres = [patch.get_xy()[:-1].mean(axis=0) for patch in figure.figure.axes[0].patches]
    size, time = np.array(centres[:5]), np.array(centres[5:])
    assert (np.argsort(size[:, 0]) == np.argsort(values)).all()
    for column, places in ((size, shares(values, True)), (time, shares(values, False))):
        x = column[:, 0]
        assert (x - x.min()) / (x.max() - x.min()) == pytest.approx(np.array(places))
    assert {"size (log)", "time", "134.3 M"} <= set(printed(figure))


def test_dots_refuse_what_does_not_fit(words) -> None:
    for columns, said in [
        ({"n": [1.0]}, {"n": ["1", "2"]}),
        ({"n": [0.0, 1.0]}, {"n": ["0", "1"]}),
        ({"n": [1.0, 1.0]}, {}),
    ]:
        with pytest.raises(ValueError, match=r"names|logarithm"):
            dots(["a", "b"], columns, said, logarithmic=["n"], **words)


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


def test_each_line_may_have_its_own_x(words) -> None:
    x = {"short": np.array([0.0, 1.0]), "long": np.array([0.0, 0.5, 1.0])}
    figure = lines(
        x, {"short": np.array([1.0, 100]), "long": np.array([1.0, 10, 50])},
        logarithmic=True, **words,
    )  # fmt: skip
    [axes] = figure.figure.axes
    for line, name in zip(axes.lines, x, strict=True):
        assert (line.get_xdata() == x[name]).all()
    assert axes.get_yscale() == "log"
