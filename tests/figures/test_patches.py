"""Oracle: tiles computed by hand from tiny arrays, found again in the rendered pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from internals.figures import PADDING, ChannelPatches, natural, panels, signed

RNG = np.random.default_rng(7)


def loudest(projections) -> float:
    """The smallest magnitude that no more than two pixels in a thousand exceed."""
    ordered = sorted(float(abs(x)) for pixels in projections for x in pixels.ravel() if x != 0)
    return ordered[-1 - int(0.002 * (len(ordered) - 1))]


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[index : index + 2], 16) for index in (1, 3, 5)])


def row(channel: int, projections: list, patches: list | None = None, **more) -> ChannelPatches:
    count = len(projections)
    blank = [np.full(pixels.shape, 0.3) for pixels in projections]
    fields = {
        "patches": blank if patches is None else patches,
        "values": [3.0] * count,
        "labels": ["7"] * count,
        "images": list(range(count)),
        "offsets": [(0, 0)] * count,
        "size": projections[0].shape[1:] if projections else (5, 5),
    } | more
    return ChannelPatches("conv1", channel, projections, **fields)


def small(tile: np.ndarray, size: int) -> np.ndarray:
    """A rendered tile back at one pixel a pixel; it must be made of whole squares."""
    zoom = len(tile) // size
    assert tile.shape == (size * zoom, size * zoom, 3)
    back = tile[::zoom, ::zoom]
    assert (np.repeat(np.repeat(back, zoom, 0), zoom, 1) == tile).all()
    return back


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [1, 5, 14, 32, 60, 112, 224])
def test_what_is_drawn_is_what_was_given(size: int, channels: int, words, tiles) -> None:
    projections = [RNG.normal(size=(channels, size, size)) for _ in range(2)]
    patches = [RNG.random((channels, size, size)) for _ in range(2)]
    panel = panels([row(3, projections, patches)], **words)
    key, *drawn = tiles(panel)
    scale = loudest(projections)
    want = [
        picture
        for projection, patch in zip(projections, patches, strict=True)
        for picture in (signed(projection, scale), natural(patch))
    ]
    assert len(drawn) == len(want)
    for tile, picture in zip(drawn, want, strict=True):
        assert (small(tile, size) == picture).all()
    assert (key[0, key.shape[1] // 2] == 128).all()


def test_one_scale_a_channel(words, tiles) -> None:
    weak, strong = np.zeros((1, 3, 3)), np.zeros((1, 3, 3))
    weak[0, 0, 0], strong[0, 1, 1], strong[0, 2, 2] = 1.0, 2.0, -2.0
    other = np.full((1, 3, 3), 100.0)
    panel = panels([row(0, [weak, strong]), row(1, [other])], **words)
    _, first, _, second, _, _, third, _ = (
        small(t, 3) if len(t) % 3 == 0 else t for t in tiles(panel)
    )
    assert first[0, 0].tolist() == [222, 164, 84]  # half of the channel's largest
    assert second[1, 1].tolist() == [255, 240, 204]
    assert second[2, 2].tolist() == [8, 20, 64]
    assert third[0, 0].tolist() == [255, 240, 204]  # the other channel has a scale of its own
    rest = np.ones((3, 3), bool)
    rest[0, 0] = False
    assert (first[rest] == 128).all()


def test_patches_are_not_stretched(words, tiles) -> None:
    panel = panels([row(0, [np.zeros((1, 4, 4))], [np.full((1, 4, 4), 0.3)])], **words)
    projection, patch = tiles(panel)
    assert (projection == 128).all()
    assert (patch == round(0.3 * 255)).all()


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_a_piece_keeps_its_place_in_the_field(data: st.DataObject, words, pixels) -> None:
    size = data.draw(st.integers(2, 40))
    top, left = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    height, width = (data.draw(st.integers(1, size - start)) for start in (top, left))
    patch = np.full((1, height, width), 0.2)
    cut = row(0, [np.zeros((1, height, width))], [patch], offsets=[(top, left)], size=(size, size))
    panel = panels([cut], **words)
    page = pixels(panel)
    zoom = 138 // size
    picture = panel.figure.axes[0].images[-1]
    x, _, _, y = (round(2 * edge) for edge in picture.get_extent())
    tile = page[y - top * zoom :, x - left * zoom :][: size * zoom, : size * zoom, :3]
    want = np.broadcast_to(rgb(PADDING.light), (size, size, 3)).copy()
    want[top : top + height, left : left + width] = 51
    assert (small(tile, size) == want).all()


def test_paper_is_named_only_where_there_is_some(words) -> None:
    whole, cut = np.zeros((1, 4, 4)), np.zeros((1, 3, 4))
    texts = [
        {
            text.get_text()
            for text in panels([row(0, [pixels], size=(4, 4))], **words).figure.axes[0].texts
        }
        for pixels in (whole, cut)
    ]
    assert texts[1] - texts[0] == {"outside the image"}


def test_numbers_names_and_ids_are_printed(words) -> None:
    tile = np.zeros((1, 5, 5))
    named = row(
        11, [tile, tile], values=[12.34, 0.5], labels=["gas pump", "tench"], images=[59999, 3]
    )
    texts = [text.get_text() for text in panels([named], **words).figure.axes[0].texts]
    for words_ in ("channel 11", "12.3", "0.500", "gas pump", "tench", "#59999", "#3"):
        assert words_ in texts


def test_a_silent_channel_says_so_and_the_others_stay(words, tiles) -> None:
    panel = panels([row(4, []), row(5, [np.ones((1, 5, 5))])], **words)
    texts = [text.get_text() for text in panel.figure.axes[0].texts]
    assert "never fires on these images" in texts and "channel 4" in texts
    assert len(tiles(panel)) == 3


def test_nothing_but_silent_channels(words) -> None:
    assert panels([row(0, [])], **words).size[1] > 0


def test_large_tiles_stand_side_by_side_and_small_ones_are_stacked(words) -> None:
    for size, stacked in ((5, True), (51, True), (96, False), (138, True), (139, False)):
        figure = panels([row(0, [np.ones((3, size, size))])], **words).figure
        _, projection, patch = (image.get_extent() for image in figure.axes[0].images)
        assert (projection[0] == patch[0]) == stacked
        assert (projection[3] == patch[3]) == (not stacked)


def test_a_field_larger_than_the_page_is_averaged(words, tiles) -> None:
    patch = RNG.random((1, 448, 448))
    *_, drawn = tiles(panels([row(0, [np.zeros((1, 448, 448))], [patch])], **words))
    want = natural(patch).reshape(224, 2, 224, 2, 3).mean((1, 3))
    assert drawn.shape == (224, 224, 3)
    assert np.abs(drawn - want).max() <= 1


def test_refusals(words) -> None:
    tile = np.zeros((1, 5, 5))

    def refuse(message: str, *rows: ChannelPatches) -> None:
        with pytest.raises(ValueError, match=message):
            panels(rows, **words)

    refuse("channel 2 has 1 projections but 2 labels", row(2, [tile], labels=["a", "b"]))
    refuse("channel 2 has 1 projections but 2 offsets", row(2, [tile], offsets=[(0, 0)] * 2))
    refuse("5 x 5 pixels beside a patch of 4 x 5", row(2, [tile], [np.zeros((1, 4, 5))]))
    refuse(r"one receptive field, not of \[\]")
    refuse("one receptive field", row(0, [tile]), row(1, [tile], size=(6, 6)))
    for offset, size in (((1, 0), (5, 5)), ((0, -1), (9, 9)), ((0, 0), (5, 4))):
        refuse("does not lie in a field", row(0, [tile], offsets=[offset], size=size))


def test_a_silent_unit_is_a_word_and_not_evidence(words, tiles) -> None:
    pieces = [RNG.normal(size=(1, 8, 8)) for _ in range(3)]

    def drawn(projections, silent):
        panel = panels([row(0, projections, silent=silent)], **words)
        return panel, [text.get_text() for text in panel.figure.axes[0].texts]

    whole, _ = drawn(pieces, ())
    shown, texts = drawn(pieces, (False, False, True))
    assert texts.count("silent") == 2, "in the place of its projection and of its patch"
    assert len(tiles(shown)) == len(tiles(whole)) - 2
    _, same = drawn([*pieces[:2], 1000 * pieces[2]], (False, False, True))
    assert same == texts, "nor does it set the scale of the others"
    with pytest.raises(ValueError, match="3 projections but 1 silent"):
        drawn(pieces, (True,))
