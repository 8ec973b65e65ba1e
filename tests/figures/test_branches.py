"""Oracle: proportions worked out by hand from the numbers of maps, read back from the patches."""

from itertools import pairwise

import pytest
from matplotlib.patches import Polygon, Rectangle

from internals.figures.diagrams import BAR, branches
from internals.figures.inks import WIDTH

MODULE = ("reads", 12), [[("1", 4)], [("1", 6), ("3", 8)], [("5", 2)]], "all"


def drawn(kind: type, **words: str) -> list:
    axes = branches(*MODULE, **words).figure.axes[0]
    return [patch for patch in axes.patches if isinstance(patch, kind)]


def test_bars_count_maps(words) -> None:
    heights = [bar.get_height() for bar in drawn(Rectangle, **words)]
    # The stack's three parts, the four bars of the paths, and what they read.
    maps = [4, 8, 2, 4, 6, 8, 2, 12]
    for height, count in zip(heights, maps, strict=True):
        assert height / count == pytest.approx(heights[-1] / 12)


def test_ends_are_stacked_without_gaps(words) -> None:
    parts = drawn(Rectangle, **words)[:3]
    assert {part.get_x() for part in parts} == {WIDTH - BAR}
    for upper, lower in pairwise(parts):
        assert lower.get_y() == pytest.approx(upper.get_y() + upper.get_height())


def test_a_flow_begins_as_wide_as_what_it_takes_and_ends_as_what_it_gives(words) -> None:
    bars, flows = drawn(Rectangle, **words), drawn(Polygon, **words)
    scale = bars[-1].get_height() / 12
    taken_and_given = [(12, 4), (4, 4), (12, 6), (6, 8), (8, 8), (12, 2), (2, 2)]
    for flow, (takes, gives) in zip(flows, taken_and_given, strict=True):
        corners = flow.get_xy()[:-1]  # matplotlib repeats the first corner
        upper, lower = corners[: len(corners) // 2], corners[len(corners) // 2 :][::-1]
        widths = (lower - upper)[:, 1]
        assert widths[[0, -1]] == pytest.approx([takes * scale, gives * scale])


def test_what_is_done_is_written_with_how_many_maps_come_out(words) -> None:
    texts = [text.get_text() for text in branches(*MODULE, **words).figure.axes[0].texts]
    assert texts[:2] == ["1", "4 maps"]
    assert texts[-4:] == ["reads", "12 maps", "all", "14 maps"]


@pytest.mark.parametrize("paths", [[], [[]], [[("1", 0)]]])
def test_paths_without_steps_or_maps_are_refused(paths, words) -> None:
    with pytest.raises(ValueError, match="branches need one path or more"):
        branches(("reads", 3), paths, "all", **words)
