"""Oracle: the data themselves: equal ratios at equal distances, NumPy's mean and deviation."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from internals.figures import BLUE, MUTED, VERMILION, dots, replicates, shares
from tests.figures.reading import printed

GROUPS = {
    "pooling": {"average": (0.01, 0.02), "maximum": (0.04, 0.08)},
    "output": {"none": (0.16, 0.02, 0.04)},
}


SAID = {"reference": 0.02, "referred": "default", "measured": "test errors"}


def test_replicates_stand_at_their_values(words) -> None:
    axes = replicates(GROUPS, **SAID, **words).figure.axes[0]
    dots = [patch for patch in axes.patches if to_hex(patch.get_facecolor()) == BLUE.light]
    centres = [patch.get_xy()[:-1].mean(axis=0) for patch in dots]
    values = np.array([0.01, 0.02, 0.04, 0.08, 0.16, 0.02, 0.04])
    x, y = np.array(centres).T
    # One straight line from log value to pixels, and every octave as wide.
    slope, offset = np.polyfit(np.log2(values), x, 1)
    np.testing.assert_allclose(x, slope * np.log2(values) + offset, atol=1e-6)
    assert slope > 20
    assert [len({*y[rows].round(6)}) for rows in (slice(2), slice(2, 4), slice(4, 7))] == [1, 1, 1]
    assert y[0] < y[2] < y[4]

    means = [line for line in axes.lines if to_hex(line.get_color()) == VERMILION.light]
    places = [float(line.get_xdata()[0]) for line in means]
    want = [slope * np.log2(np.mean(v)) + offset for g in GROUPS.values() for v in g.values()]
    np.testing.assert_allclose(places, want, atol=1e-6)
    rules = [
        line for line in axes.lines if to_hex(line.get_color()) == MUTED.light and line.is_dashed()
    ]
    np.testing.assert_allclose([line.get_xdata()[0] for line in rules], [x[1]], atol=1e-6)


def test_replicates_write_mean_and_sample_deviation(words) -> None:
    axes = replicates(GROUPS, **SAID, **words).figure.axes[0]
    message = {text.get_text() for text in axes.texts}
    assert {"pooling", "output", "average", "maximum", "none", "default"} <= message
    for group in GROUPS.values():
        for values in group.values():
            spread = 100 * np.std(values, ddof=1)
            assert f"{100 * np.mean(values):.2f} % ± {spread:.2f}" in message
    assert {"1 %", "10 %"} <= message
    narrow = {"pooling": {"average": (0.12, 0.2), "maximum": (0.1, 0.21)}}
    axes = replicates(narrow, **SAID | {"reference": 0.15}, **words).figure.axes[0]
    assert {"10 %", "15 %", "20 %"} <= {text.get_text() for text in axes.texts}


def test_a_row_without_a_mean_has_words_and_no_stroke(words) -> None:
    instead = {"output": {"none": "1 of 3 collapses"}}
    axes = replicates(GROUPS, instead=instead, **SAID, **words).figure.axes[0]
    message = {text.get_text() for text in axes.texts}
    assert "1 of 3 collapses" in message
    assert [text for text in message if "±" in text and "7.33" in text] == []
    strokes = [line for line in axes.lines if to_hex(line.get_color()) == VERMILION.light]
    assert len(strokes) == 2


@pytest.mark.parametrize(
    ("groups", "complaint"),
    [
        ({}, "a group with a row"),
        ({"a": {"b": (0.5,)}}, "needs two"),
        ({"a": {"b": (0.5, 0.0)}}, "no logarithm"),
    ],
)
def test_replicates_refuse_what_they_cannot_draw(groups, complaint: str, words) -> None:
    with pytest.raises(ValueError, match=complaint):
        replicates(groups, **SAID, **words)


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
    for columns, message in [
        ({"n": [1.0]}, {"n": ["1", "2"]}),
        ({"n": [0.0, 1.0]}, {"n": ["0", "1"]}),
        ({"n": [1.0, 1.0]}, {}),
    ]:
        with pytest.raises(ValueError, match=r"names|logarithm"):
            dots(["a", "b"], columns, message, logarithmic=["n"], **words)
