"""Oracle: the extents Matplotlib measures: no word leaves the sheet, and no two words touch."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from internals.figures import (
    ChannelPatches,
    Illustration,
    LayerMaps,
    Stage,
    bitmaps,
    branches,
    comparison,
    confusion,
    connections,
    curves,
    feature_maps,
    field,
    filters,
    gallery,
    lines,
    overlays,
    pairs,
    panels,
    perturbations,
    samples,
    scatter,
    stack,
)

pytestmark = pytest.mark.slow

NAMES = ["tench", "English springer", "cassette player", "chain saw", "church"]
NAMES += ["French horn", "garbage truck", "gas pump", "golf ball", "parachute"]
DIGITS = list("0123456789")
SIX = ["C1", "S2", "C3", "S4", "C5", "F6"]
RNG = np.random.default_rng(3)


def panel(size: int, names: list[str], channels: int, **words: str) -> Illustration:
    tiles = [RNG.normal(size=(channels, size, size)) for _ in range(9)]
    values = [1234.5, 12.3, -0.0481, 0.00012, 9.99, 100.0, 5.0, 0.5, 0.0]
    field = (size + 2, size + 2)
    location = ([59999] * 9, [(0, 2)] * 9, field)
    rows = [
        ChannelPatches("conv1", n, tiles, tiles, values, names[:9], *location) for n in (0, 511)
    ]
    return panels([*rows, ChannelPatches("conv1", 1, [], [], [], [], [], [], field)], **words)


def run(epochs: int, best: int, **words: str) -> Illustration:
    falling = list(1 / np.arange(1, epochs + 1) ** 2)
    near = {"train": falling, "validation": [value * 1.01 for value in falling]}
    high = {"train": [0.99] * epochs, "validation": [0.9905] * epochs}
    levels = {"paper, test": 0.9905, "this run, test": 0.991, "without LRN": 0.9902}
    return curves(loss=near, accuracy=high, best=best, references=levels, **words)


def lenet(**words: str) -> Illustration:
    convolution, average = "5x5 convolution", "2x2 average"
    stages = [
        Stage("input", 1, 32, 32, convolution, 5),
        Stage("conv1", 6, 28, 28, average, 2),
        Stage("pool1", 6, 14, 14, convolution, 5),
        Stage("conv2", 16, 10, 10, average, 2),
        Stage("pool2", 16, 5, 5, convolution, 5),
        Stage("conv3", 120, operation="full"),
        Stage("fc1", 84, operation="distances"),
        Stage("rbf", 10),
    ]
    return stack(stages, **words)


def maps(**words: str) -> Illustration:
    layers = [LayerMaps("conv2", np.ones((16, 10, 10))), LayerMaps("pool2", np.ones((16, 5, 5)))]
    layers += [LayerMaps("layer4.1.conv2", -np.ones((512, 7, 7))), LayerMaps("fc", np.ones(4096))]
    return feature_maps(np.ones((3, 32, 32)), layers, **words)


COUNTS = RNG.integers(0, 9, (10, 10)) + 1000 * np.eye(10, dtype=int)
WRONG = [*NAMES[1:], NAMES[0]]
SIGNED = [[RNG.normal(size=(1, 32, 32)) for _ in range(3)]] * 2
BOXES = {f"conv{index}": (index, 0, index + 5, 5) for index in range(8)}
DRAWINGS: dict[str, Callable[..., Illustration]] = {
    "panels of digits": lambda **w: panel(5, DIGITS, 1, **w),
    "panels of names": lambda **w: panel(31, NAMES, 3, **w),
    "panels side by side": lambda **w: panel(97, NAMES, 3, **w),
    "panels of whole images": lambda **w: panel(222, NAMES, 3, **w),
    "six filters": lambda **w: filters(RNG.normal(size=(6, 1, 5, 5)), **w),
    "96 filters": lambda **w: filters(RNG.normal(size=(96, 3, 11, 11)), **w),
    "one filter": lambda **w: filters(RNG.normal(size=(1, 1, 5, 5)), **w),
    "filters over maps": lambda **w: filters(RNG.normal(size=(16, 6, 5, 5)), **w),
    "filters over many maps": lambda **w: filters(RNG.normal(size=(64, 24, 3, 3)), **w),
    "long run": lambda **w: run(60, 58, **w),
    "short run": lambda **w: run(1, 1, **w),
    "early best": lambda **w: run(20, 1, **w),
    "functions": lambda **w: lines(
        np.arange(9), {"f": np.arange(9), "g": np.arange(9) + 0.01}, xlabel="x", **w
    ),
    "functions of layers": lambda **w: lines(
        np.arange(7), {"f": np.arange(7)}, ticks=["pixels", *SIX], xlabel="layer", **w
    ),
    "scatter": lambda **w: scatter(
        RNG.normal(size=(40, 2)), np.arange(40) % 10, NAMES, xlabel="first", ylabel="second", **w
    ),
    "confusion of digits": lambda **w: confusion(COUNTS, DIGITS, **w),
    "confusion of names": lambda **w: confusion(COUNTS, NAMES, **w),
    "gallery of digits": lambda **w: gallery(
        np.ones((10, 1, 32, 32)), DIGITS, DIGITS, [0.999] * 10, ids=[9999] * 10, total=1080, **w
    ),
    "gallery of names": lambda **w: gallery(
        np.ones((10, 3, 64, 64)), NAMES, WRONG, [0.999] * 10, ids=[9999] * 10, **w
    ),
    "small gallery of names": lambda **w: gallery(
        np.ones((10, 3, 32, 32)), NAMES, WRONG, [0.999] * 10, ids=[9999] * 10, **w
    ),
    "feature maps": maps,
    "bitmaps": lambda **w: bitmaps(np.ones((10, 12, 7)), DIGITS, **w),
    "comparison": lambda **w: comparison(
        SIGNED,
        ["trained", "randomised from fc1", "randomised"],
        images=[np.ones((1, 32, 32))] * 2,
        names=["channel 3", "channel 12"],
        notes=[["rank correlation 0.83"] * 3] * 2,
        shared=False,
        **w,
    ),
    "overlays": lambda **w: overlays(
        [np.ones((3, 32, 32))] * 2,
        [[RNG.normal(size=(32, 32))] * 4] * 2,
        ["Grad-CAM", "score lost where it is covered", "saliency", "guided Grad-CAM"],
        names=["church", "cassette player → garbage truck"],
        notes=[["ρ = 0.12"] * 4] * 2,
        **w,
    ),
    "network": lenet,
    "branches": lambda **w: branches(
        ("read", 832),
        [[("1x1", 384)], [("1x1", 48), ("5x5", 128)], [("max", 832), ("1x1", 1)]],
        "stacked",
        **w,
    ),
    "connections": lambda **w: connections(
        np.ones((6, 16), bool), rows="map of pool1", columns="map of conv2", **w
    ),
    "perturbations": lambda **w: perturbations(
        np.ones((6, 1, 32, 32)),
        np.full((6, 1, 32, 32), 0.9),
        ["8 >99.9 %"] * 6,
        ["8 as rubbish, 4 %"] * 6,
        fooled=[True] * 6,
        **w,
    ),
    "shares of pairs": lambda **w: pairs(
        np.where(np.eye(10) == 1, np.nan, 1.0), DIGITS, rows="class", columns="target", **w
    ),
    "samples": lambda **w: samples(np.ones((40, 1, 32, 32)), np.arange(40) % 10, NAMES, **w),
    "fields": lambda **w: field(np.ones((1, 32, 32)), BOXES, **w),
    "fields over the border": lambda **w: field(np.ones((1, 8, 8)), {"unit": (-3, -3, 4, 4)}, **w),
}


def ticks_out_of_view(figure: Figure) -> Iterator[Text]:
    """Labels of ticks beyond the ends of an axis: they exist, but are not drawn."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if not low <= tick.get_loc() <= high:
                    yield tick.label1


@pytest.mark.parametrize("name", DRAWINGS)
def test_words_stay_on_the_sheet_and_apart(name: str, words) -> None:
    figure = DRAWINGS[name](**words).figure
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    boxes, hidden = [], set(ticks_out_of_view(figure))
    for text in figure.findobj(lambda artist: hasattr(artist, "get_bbox_patch")):
        if not text.get_text() or not text.get_visible() or text in hidden:
            continue
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.y0 >= -1, text
        assert box.x1 <= width + 1 and box.y1 <= height + 1, text
        if text.get_rotation() in (0, 90):  # the boxes of slanted words overlap, the words do not
            boxes.append((text.get_text(), box.padded(-0.5)))
    assert boxes
    for (one, first), (other, second) in combinations(boxes, 2):
        assert not first.overlaps(second), f"{one!r} touches {other!r}"


@pytest.mark.parametrize("name", DRAWINGS)
def test_sheets_are_as_wide_as_the_column(name: str, words) -> None:
    assert DRAWINGS[name](**words).size[0] == 688


def test_figures_need_neither_torch_nor_pyplot() -> None:
    script = (
        "import sys, internals.figures as figures\n"
        "assert all(getattr(figures, name) is not None for name in figures.__all__)\n"
        "assert not {'torch', 'matplotlib.pyplot'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
