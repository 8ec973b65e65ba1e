"""Oracle: scikit-learn's isotonic regression for the names' places, the data for the lines."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from sklearn.isotonic import IsotonicRegression

from internals.figures.inks import BLUE, VERMILION
from internals.figures.plots import curves, lines, spread


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
