"""Oracle: the data themselves, NumPy's medians, and scikit-learn's isotonic regression."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from sklearn.isotonic import IsotonicRegression

from internals.figures import (
    BLUE,
    CATEGORICAL,
    VERMILION,
    curves,
    inked,
    lines,
    scatter,
    spread,
    sweeps,
)

RNG = np.random.default_rng(1)


@given(st.lists(st.floats(-50, 350), min_size=1, max_size=12), st.floats(1, 20))
def test_names_move_apart_as_little_as_can_be(wanted: list[float], pitch: float) -> None:
    wanted.sort()
    low, high = 0.0, 300.0
    steps = pitch * np.arange(len(wanted))
    # Places a pitch apart are a rising sequence plus the steps: least squares has one best answer.
    best = IsotonicRegression().fit_transform(np.arange(len(wanted)), np.array(wanted) - steps)
    want = np.clip(best, low, high - steps[-1]) + steps
    np.testing.assert_allclose(spread(wanted, pitch, low, high), want, atol=1e-6)


def test_without_room_names_keep_their_pitch() -> None:
    assert spread([1.0, 2.0, 3.0], 10, 0, 15) == [0, 10, 20]


RUN = {
    "loss": {"train": [0.9, 0.02, 0.01], "validation": [0.8, 0.3, 0.4]},
    "accuracy": {"train": [0.7, 0.8, 0.995], "validation": [0.65, 0.75, 0.7]},
    "references": {"paper": 0.9905},
}


def test_curves_hold_the_run(words) -> None:
    loss, accuracy = curves(**RUN, best=2, **words).figure.axes
    for axes, series in ((loss, RUN["loss"]), (accuracy, RUN["accuracy"])):
        for line, (name, ink) in zip(
            axes.lines, (("train", BLUE), ("validation", VERMILION)), strict=False
        ):
            assert line.get_xdata().tolist() == [1, 2, 3]
            assert line.get_ydata().tolist() == series[name]
            assert to_hex(line.get_color()) == ink.light
    assert accuracy.lines[2].get_ydata() == [0.9905, 0.9905]
    assert loss.lines[2].get_xdata() == accuracy.lines[3].get_xdata() == [2, 2]
    assert {text.get_text() for text in accuracy.texts} == {
        "train",
        "validation",
        "paper 99.05 %",
        "epoch 2 kept",
    }
    assert (loss.get_yscale(), accuracy.get_yscale()) == ("log", "linear")


def test_names_stand_at_the_ends_of_their_lines(words) -> None:
    figure = curves(**RUN, **words).figure
    figure.draw_without_rendering()
    loss, accuracy = figure.axes
    for axes, series in ((loss, RUN["loss"]), (accuracy, RUN["accuracy"])):
        for text in axes.texts:
            if text.get_text() in series:
                height = text.get_window_extent().get_points()[:, 1].mean()
                end = axes.transData.transform((3, series[text.get_text()][-1]))[1]
                assert abs(height - end) < 12


@pytest.mark.parametrize("values", [[0.5], [float("nan")], [float("inf"), 0.2]])
def test_short_and_broken_runs_are_drawn(values: list[float], words, pixels) -> None:
    run = curves(loss={"train": values}, accuracy={"train": [0.1] * len(values)}, best=1, **words)
    assert pixels(run).any()


def test_lines_hold_the_functions(words) -> None:
    x = np.linspace(-2, 2, 9)
    drawing = lines(x, {"f": x**2, "g": x}, levels={"one": 1}, marks={"here": 0.5}, **words)
    [axes] = drawing.figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), x**2)
    np.testing.assert_array_equal(axes.lines[1].get_xdata(), x)
    assert axes.lines[2].get_ydata() == [1, 1]
    assert axes.lines[3].get_xdata() == [0.5, 0.5]
    assert axes.get_xlim() == (-2, 2)


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


def test_lines_over_named_places_mark_every_point(words) -> None:
    x = {"f": np.arange(3), "g": np.array([0.5, 2])}
    drawing = lines(x, {"f": np.arange(3), "g": np.ones(2)}, ticks=["C1", "S2", "C3"], **words)
    drawing.figure.draw_without_rendering()
    [axes] = drawing.figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["C1", "S2", "C3"]
    assert axes.get_xticks().tolist() == [0, 1, 2]
    assert [line.get_marker() for line in axes.lines] == ["o", "o"]
    assert axes.lines[1].get_xdata().tolist() == [0.5, 2]


@pytest.mark.parametrize(("top", "ticks"), [(30, [2, 5, 10, 20]), (3000, [10, 100, 1000])])
def test_a_short_logarithmic_axis_has_more_ticks_than_powers_of_ten(top, ticks, words) -> None:
    drawing = lines(np.arange(2), {"f": np.array([1.9, top])}, logarithmic=True, **words)
    [axes] = drawing.figure.axes
    low, high = axes.get_ylim()
    assert [t for t in axes.get_yticks() if low <= t <= high] == ticks


# Sweeps


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


# Scatters


LABELS = np.arange(53) % 7
PLACES = RNG.normal(size=(53, 2)) * [5, 1]
NAMES = [f"class {number}" for number in range(8)]  # one of them has no dots
AXES = {"xlabel": "first", "ylabel": "second"}


def test_every_dot_is_where_its_numbers_say_in_its_classs_ink(words) -> None:
    [axes] = scatter(PLACES, LABELS, NAMES, **AXES, **words).figure.axes
    assert len(axes.collections) == 7
    for number, dots in enumerate(axes.collections):
        np.testing.assert_array_equal(dots.get_offsets(), PLACES[number == LABELS])
        assert to_hex(dots.get_facecolor()[0]) == CATEGORICAL[number % 5].light
    paths = [len(dots.get_paths()[0].vertices) for dots in axes.collections]
    assert paths[0] != paths[5] and paths[:5] == paths[:1] * 5 and paths[5:] == paths[5:6] * 2


def test_names_stand_at_the_medians_and_the_axes_have_one_scale(words) -> None:
    figure = scatter(PLACES, LABELS, NAMES, **AXES, **words).figure
    [axes] = figure.axes
    assert sorted(text.get_text() for text in axes.texts) == NAMES[:7]
    for text in axes.texts:
        want = np.median(PLACES[NAMES.index(text.get_text()) == LABELS], axis=0)
        np.testing.assert_allclose(text.xy, want)
    figure.draw_without_rendering()
    corner, unit = axes.transData.transform([(0, 0), (1, 1)])
    assert unit[0] - corner[0] == pytest.approx(unit[1] - corner[1])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("first", "second")


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.3, 5.0])
def test_no_name_covers_another(spread: float, words) -> None:
    centres = spread * RNG.normal(size=(10, 2))
    far = np.array([[-9.0, -9.0], [9.0, 9.0]])
    places = np.concatenate([centres, far])
    labels = np.array([*range(10), 0, 0])
    names = [str(n) for n in range(10)]
    figure = scatter(places, labels, names, **AXES, **words).figure
    figure.draw_without_rendering()
    boxes = [text.get_bbox_patch().get_window_extent() for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_dots_are_inked_again_on_the_dark_page(words) -> None:
    figure = scatter(PLACES, LABELS, NAMES, **AXES, **words).figure
    with inked(figure, "dark"):
        dots = figure.axes[0].collections[6]
        assert to_hex(dots.get_facecolor()[0]) == CATEGORICAL[1].dark


def test_what_is_no_scatter_is_refused(words) -> None:
    with pytest.raises(ValueError, match=r"coordinates of shape \(53, 3\)"):
        scatter(np.ones((53, 3)), LABELS, NAMES, **AXES, **words)
    with pytest.raises(ValueError, match=r"labels of shape \(52,\)"):
        scatter(PLACES, LABELS[1:], NAMES, **AXES, **words)
    with pytest.raises(ValueError, match="11 classes; 10 can be told apart"):
        scatter(PLACES, LABELS, [*NAMES, "a", "b", "c"], **AXES, **words)
