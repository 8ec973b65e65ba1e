"""Oracle: the data themselves: equal ratios at equal distances, NumPy's mean and deviation."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

from internals.figures.dots import replicates
from internals.figures.inks import BLUE, CATEGORICAL, MUTED, VERMILION
from internals.figures.plots import sweeps

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
    said = {text.get_text() for text in axes.texts}
    assert {"pooling", "output", "average", "maximum", "none", "default"} <= said
    for group in GROUPS.values():
        for values in group.values():
            spread = 100 * np.std(values, ddof=1)
            assert f"{100 * np.mean(values):.2f} % ± {spread:.2f}" in said
    assert {"1 %", "10 %"} <= said
    narrow = {"pooling": {"average": (0.12, 0.2), "maximum": (0.1, 0.21)}}
    axes = replicates(narrow, **SAID | {"reference": 0.15}, **words).figure.axes[0]
    assert {"10 %", "15 %", "20 %"} <= {text.get_text() for text in axes.texts}


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


SWEEPS = {
    "Adam": {0.001: (0.9, 0.8), 0.1: (0.1, 0.3), 0.01: (0.95, 0.97)},
    "SGD": {0.01: (0.7, 0.75)},
}


def test_sweeps_go_through_the_means_in_rising_order(words) -> None:
    illustration = sweeps(SWEEPS, xlabel="rate", ylabel="accuracy", **words)
    axes = illustration.figure.axes[0]
    assert axes.get_xscale() == "log"
    lines = iter(axes.lines)
    for (_, sweep), ink in zip(SWEEPS.items(), CATEGORICAL, strict=False):
        mean = next(lines)
        assert mean.get_xdata().tolist() == sorted(sweep)
        np.testing.assert_allclose(mean.get_ydata(), [np.mean(sweep[x]) for x in sorted(sweep)])
        for rate in sorted(sweep):
            dots = next(lines)
            assert set(dots.get_xdata()) == {rate} and tuple(dots.get_ydata()) == sweep[rate]
            assert dots.get_marker() == "o" and to_hex(dots.get_color()) == ink.light
    assert {"Adam", "SGD"} <= {text.get_text() for text in axes.texts}


@pytest.mark.parametrize("sweep", [{}, {0.0: (0.5,)}, {0.1: ()}])
def test_sweeps_refuse_what_they_cannot_draw(sweep, words) -> None:
    with pytest.raises(ValueError, match="positive numbers"):
        sweeps({"Adam": sweep}, xlabel="rate", ylabel="accuracy", **words)
