"""Oracle: proportions worked out by hand, read back from the patches, pixels and printed words."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.patches import Polygon, Rectangle

from internals.figures import (
    BAR,
    BLUE,
    PADDING,
    VERMILION,
    WIDTH,
    Block,
    Stage,
    branches,
    field,
    stack,
    wiring,
)
from tests.figures.reading import printed


def test_sides_of_a_stack_are_in_proportion(words) -> None:
    stages = [Stage("input", 1, 32, 32, "5 x 5", 5), Stage("conv1", 6, 28, 28), Stage("fc", 10)]
    sheets = stack(stages, **words).figure.axes[0].patches
    widths = [patch.get_width() for patch in sheets if hasattr(patch, "get_width")]
    assert widths[0] / widths[1] == pytest.approx(32 / 28)
    assert len({round(width, 9) for width in widths[1:7]}) == 1
    window = next(patch for patch in sheets if not hasattr(patch, "get_width"))
    assert np.ptp(window.get_xy()[:, 0]) / widths[0] == pytest.approx(5 / 32)


def test_shapes_of_a_stack_are_written(words) -> None:
    texts = printed(stack([Stage("conv1", 6, 28, 28, "full"), Stage("fc", 10)], **words))
    assert texts == ["conv1", "6@28\N{MULTIPLICATION SIGN}28", "fc", "10", "full"]
    with pytest.raises(ValueError, match="at least one stage"):
        stack([], **words)


def test_a_field_is_drawn_around_its_pixels(words, pixels) -> None:
    image = np.zeros((1, 32, 32))
    figure = field(image, {"unit": (-2, 4, 7, 12)}, **words)
    page, picture = pixels(figure), figure.figure.axes[0].images[0]
    left, right, bottom, top = (round(2 * edge) for edge in picture.get_extent())
    zoom = (right - left) // 32
    assert (bottom - top, right - left) == (32 * zoom, 32 * zoom)
    blue = np.array([int(BLUE.light[index : index + 2], 16) for index in (1, 3, 5)])
    upper, lower = top - 2 * zoom, top + 7 * zoom
    first, last = left + 4 * zoom, left + 12 * zoom
    for y, x in ((upper, first + 9), (lower, last - 9), (upper + 9, first), (lower - 9, last)):
        assert (page[y, x, :3] == blue).all()
    paper = np.array([int(PADDING.light[index : index + 2], 16) for index in (1, 3, 5)])
    assert (page[top - zoom, right - zoom, :3] == paper).all()
    assert (page[top + zoom // 2, right - zoom // 2, :3] == 0).all()
    assert "outside the image" in printed(figure)


def test_an_empty_box_is_refused(words) -> None:
    with pytest.raises(ValueError, match="'unit' is empty"):
        field(np.zeros((1, 8, 8)), {"unit": (3, 3, 3, 5)}, **words)


def test_a_shortcut_leads_from_the_input_of_a_block_to_the_sum_below_its_layers(words) -> None:
    blocks = [Block("plain", ["a", "b"], "r"), Block("with", ["a", "b"], "r", ""),
              Block("project", ["a"], "r", "1 x 1")]  # fmt: skip
    figure = wiring(blocks, **words)
    assert printed(figure) == [
        "plain", "x", "a", "b", "r", "next x",
        "with", "x", "a", "b", "+", "x, as it is", "r", "next x",
        "project", "x", "a", "+", "1 x 1", "r", "next x",
    ]  # fmt: skip
    axes = figure.figure.axes[0]
    boxes = [p for p in axes.patches if isinstance(p, Rectangle)]
    assert len(boxes) == 3 + 3 + 2
    middles = sorted({round(box.get_x() + box.get_width() / 2) for box in boxes})
    around = [line for line in axes.lines if line.get_color() == VERMILION.light]
    assert [round(line.get_xdata()[0]) for line in around] == middles[1:]
    for line in around:
        own = [b for b in boxes if abs(b.get_x() + b.get_width() / 2 - line.get_xdata()[0]) < 1]
        *layers, last = sorted(box.get_y() for box in own)
        y = line.get_ydata()
        assert y[0] == y[1] < layers[0] and layers[-1] < y[2] == y[3] < last
        assert max(line.get_xdata()) > own[0].get_x() + own[0].get_width()


def test_a_wiring_without_layers_is_refused(words) -> None:
    for blocks in ([], [Block("none", [], "r")]):
        with pytest.raises(ValueError, match="one block or more, each of one layer or more"):
            wiring(blocks, **words)


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
