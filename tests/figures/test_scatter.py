"""Oracle: the data themselves, read back from the artists, and NumPy's medians."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.colors import to_hex

from internals.figures.inks import CATEGORICAL, inked
from internals.figures.plots import lines, scatter

RNG = np.random.default_rng(1)
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
    with pytest.raises(ValueError, match=r"places of shape \(53, 3\)"):
        scatter(np.ones((53, 3)), LABELS, NAMES, **AXES, **words)
    with pytest.raises(ValueError, match=r"labels of shape \(52,\)"):
        scatter(PLACES, LABELS[1:], NAMES, **AXES, **words)
    with pytest.raises(ValueError, match="11 classes; 10 can be told apart"):
        scatter(PLACES, LABELS, [*NAMES, "a", "b", "c"], **AXES, **words)


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
