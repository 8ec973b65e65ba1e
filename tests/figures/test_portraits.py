"""Oracle: tiles found again in the rendered pixels, and the words beside them."""

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from internals.figures import (
    ChannelPatches,
    Portrait,
    beside_strongest,
    natural,
    panels,
    portraits,
    with_portraits,
)
from internals.projection import Optimised

RNG = np.random.default_rng(3)


def one(number: int, side: int = 12) -> Portrait:
    return Portrait(f"channel {number}", RNG.random((3, side, side)), f"{number}.5")


def texts(illustration) -> list[str]:
    return [text.get_text() for text in illustration.figure.findobj(Text)]


def shown(tile: np.ndarray, side: int) -> np.ndarray:
    zoom = len(tile) // side
    return tile[::zoom, ::zoom]


def test_each_picture_is_drawn_as_it_is_under_its_title(words, tiles) -> None:
    pictures = [one(n) for n in range(8)]
    drawn = portraits(pictures, **words)
    found = tiles(drawn)
    assert len(found) == 8
    for tile, portrait in zip(found, pictures, strict=True):
        assert np.array_equal(shown(tile, 12), natural(portrait.picture))
    assert {p.title for p in pictures} | {p.note for p in pictures} <= set(texts(drawn))


def test_a_panel_keeps_its_tiles_and_gets_a_row_below(words, tiles) -> None:
    row = ChannelPatches(
        "conv1", 3, [RNG.normal(size=(3, 12, 12))], [RNG.random((3, 12, 12))], [2.0], ["cat"], [0],
        [(0, 0)], (12, 12),
    )  # fmt: skip
    panel = panels([row], **words)
    pictures = [one(3)]
    both = with_portraits(panel, pictures, "optimised")
    before, after = tiles(panel), tiles(both)
    assert len(after) == len(before) + 1
    for old, new in zip(before, after, strict=False):
        assert np.array_equal(old, new)
    assert np.array_equal(shown(after[-1], 12), natural(pictures[0].picture))
    assert "optimised" in texts(both) and "optimised" not in texts(panel)
    assert both.caption == panel.caption


def test_pictures_of_several_sizes_are_refused(words) -> None:
    with pytest.raises(ValueError, match=r"of one size, not of \[\(5, 5\), \(12, 12\)\]"):
        portraits([one(0), one(1, side=5)], **words)
    with pytest.raises(ValueError, match="of one size"):
        portraits([], **words)


def made(picture: np.ndarray, box: tuple[int, int, int, int]) -> Optimised:
    """An image for a unit, made on an input of 20 x 30."""
    ground = torch.full((3,), 128, dtype=torch.uint8)
    return Optimised(
        "conv1[4, 5, 0]", False, torch.tensor(picture), 7.5, box, ground, (20, 30), 0, 8
    )


def test_a_patch_and_an_image_stand_where_they_lie_in_the_field() -> None:
    """A field of 6 x 8 that the left side of the image cuts, and one that its bottom cuts."""
    patch = RNG.random((3, 6, 5))
    row = ChannelPatches(
        "conv1", 4, [patch], [patch], [2.5], ["cat"], [0], [(0, 3)], (6, 8), [False]
    )
    bottom = np.full((3, 4, 8), 255, np.uint8)
    strongest, optimised = beside_strongest([row], [made(bottom, (16, 2, 20, 10))])
    assert np.array_equal(strongest.picture[:, :, 3:], patch)
    assert (strongest.picture[:, :, :3] == 0.5).all()
    assert (optimised.picture[:, :4] == 1).all() and (optimised.picture[:, 4:] == 0.5).all()
    assert (strongest.title, strongest.note) == ("channel 4", "2.50  cat")
    assert (optimised.title, optimised.note) == ("optimised", "7.50")
    (_, cut) = beside_strongest([row], [made(bottom[:, :, :5], (0, 0, 4, 5))])
    assert (cut.picture[:, 2:, 3:] == 1).all() and (cut.picture[:, :2] == 0.5).all()
    silent = ChannelPatches("conv1", 5, [], [], [], [], [], [], (6, 8))
    empty, _ = beside_strongest([silent], [made(bottom, (16, 2, 20, 10))])
    assert (empty.picture == 0.5).all() and empty.note == "never fires"
    with pytest.raises(ValueError, match="shorter"):
        beside_strongest([row], [])


def test_the_projection_stands_between_on_its_own_scale_and_its_own_place() -> None:
    patch, projection = RNG.random((3, 6, 5)), RNG.normal(size=(3, 6, 5))
    row = ChannelPatches(
        "conv1", 4, [projection], [patch], [2.5], ["cat"], [0], [(0, 3)], (6, 8), [False]
    )
    image = made(np.full((3, 4, 8), 255, np.uint8), (16, 2, 20, 10))
    strongest, between, optimised = beside_strongest([row], [image], projections=True)
    plain = beside_strongest([row], [image])
    assert [p.title for p in plain] == ["channel 4", "optimised"]
    assert np.array_equal(plain[0].picture, strongest.picture)
    assert np.array_equal(plain[1].picture, optimised.picture)
    assert between.title == "projection" and (between.picture[:, :, :3] == 0.5).all()
    largest = np.abs(projection).max()
    assert np.allclose((between.picture[:, :, 3:] - 0.5) * 2 * largest, projection)
    assert np.abs(between.picture - 0.5).max() == pytest.approx(0.5)
