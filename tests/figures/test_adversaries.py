"""Oracle: pictures and shares set by hand, read back from pixels, tints and printed words."""

import numpy as np
import pytest

from internals.figures.images import perturbations
from internals.figures.inks import natural, signed
from internals.figures.matrices import pairs

RNG = np.random.default_rng(7)


def printed(illustration) -> list[str]:
    return [text.get_text() for text in illustration.figure.axes[0].texts]


def _pictures() -> tuple[np.ndarray, np.ndarray]:
    images = RNG.uniform(0.2, 0.8, (3, 1, 12, 12))
    added = RNG.uniform(-0.05, 0.05, images.shape)
    added[1, 0, 2, 3], added[2, 0, 0, 0] = 0.1, 0.0  # the largest of all, and none
    return images, images + added


def test_a_column_is_an_image_what_is_added_and_their_sum(words, tiles) -> None:
    images, changed = _pictures()
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
        for found, wanted in (
            (image, natural(images[column])),
            (difference, signed(added, 0.1)),
            (total, natural(changed[column])),
        ):
            assert (found[pixel // 2 :: pixel, pixel // 2 :: pixel] == wanted).all()
    assert {"× 10.0", "+0.100", "−0.100", "a 1", "f 2", "image", "added", "sum"} <= set(
        printed(figure)
    )


def test_only_what_is_fooled_is_red(words) -> None:
    images, changed = _pictures()
    figure = perturbations(
        images, changed, list("abc"), list("def"), fooled=[True, False, True], **words
    )
    inks = {text.get_text(): text.get_color() for text in figure.figure.axes[0].texts}
    assert inks["d"] == inks["f"] != inks["e"] == inks["a"]


def test_nothing_added_is_said(words) -> None:
    images, _ = _pictures()
    figure = perturbations(images, images, list("abc"), list("abc"), **words)
    assert "0 everywhere" in printed(figure)


def test_pictures_that_do_not_belong_together_are_refused(words) -> None:
    images, changed = _pictures()
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


def test_shares_are_printed_tinted_and_averaged_without_blanks(words) -> None:
    shares = np.array([[np.nan, 0.25, 1.0], [0.0, np.nan, 0.5], [np.nan] * 3])
    figure = pairs(shares, list("abc"), rows="class", columns="target", **words)
    found = printed(figure)
    for wanted, count in (("25", 1), ("100", 1), ("0", 1), ("50", 1)):
        assert found.count(wanted) == count
    # Rows: 62.5, 25 and nothing. Columns: 0, 25, 75.
    assert {"62 %", "25 %", "–", "0 %", "75 %", "class", "target"} <= set(found)
    patches = figure.figure.axes[0].patches
    assert [round(p.get_alpha(), 3) for p in patches[:3]] == [0.45, 0.165, 0.54]
    assert patches[1].get_facecolor()[:3] != patches[0].get_facecolor()[:3]


def test_a_matrix_that_does_not_fit_is_refused(words) -> None:
    with pytest.raises(ValueError, match=r"3 names need 3 x 3 shares, not \(2, 3\)"):
        pairs(np.zeros((2, 3)), list("abc"), rows="", columns="", **words)
