"""Oracle: a board of tiles laid out by hand, each of one colour or of one known number."""

import numpy as np
import pytest

from internals.figures import ZERO, Band, ChannelPatches, bands, mosaic


def _channel(number: int, *, offset: tuple[int, int] = (0, 0), side: int = 4) -> ChannelPatches:
    """A channel whose patch is of the brightness `number / 100`, and its projection all one."""
    piece = (side - offset[0], side - offset[1])
    return ChannelPatches(
        "conv", number, [np.full((3, *piece), 2.0)], [np.full((3, *piece), number / 100)],
        [1.0], ["x"], [0], [offset], (side, side),
    )  # fmt: skip


def _tiles(pixels: np.ndarray, side: int) -> list[list[int]]:
    """The middle of each tile of a board."""
    return pixels[side // 2 :: side, side // 2 :: side, 0].tolist()


def test_pairs_alternate_as_on_a_chequered_board_and_missing_ones_are_grey() -> None:
    wall = mosaic([(Band(tile=4, lines=4), [_channel(n) for n in (10, 20, 30, 40, 50)])], 12)
    ink, p = 255, [round(255 * n / 100) for n in (10, 20, 30, 40, 50)]
    assert _tiles(wall, 4) == [
        [ink, p[0], ink, p[1]],
        [p[2], ink, p[3], ink],
        [ink, p[4], ZERO, ZERO],
    ]


def test_upright_the_same_pairs_stand_one_above_the_other() -> None:
    band = Band(tile=4, lines=2)
    wall = mosaic([(band, [_channel(10), _channel(20)])], 8, upright=True)
    assert _tiles(wall, 4) == [[255, 51], [26, 255]]


def test_layers_stand_side_by_side_in_their_order_centred_on_grey() -> None:
    first, second = Band(tile=4, lines=2), Band(tile=6, lines=2)
    wall = mosaic([(first, [_channel(10)]), (second, [_channel(20)])], 10)
    assert wall.shape == (10, 8 + 12, 3)
    assert wall[1:5, 4:8].min() == wall[1:5, 4:8].max() == 26, "8 of 10 pixels: one is left above"
    assert (wall[0, :8] == ZERO).all() and (wall[9, :8] == ZERO).all()
    assert wall[2:8, 14:20].min() == wall[2:8, 14:20].max() == 51
    assert mosaic([(first, []), (second, [])], 12, upright=True).shape == (8 + 12, 12, 3)


def test_what_lies_outside_the_image_is_grey() -> None:
    wall = mosaic([(Band(tile=4, lines=2), [_channel(100, offset=(0, 1))])], 4)
    assert (wall[:, 4] == ZERO).all() and (wall[:, 5:] == 255).all()


@pytest.mark.parametrize("layers", [1, 2, 6, 9])
def test_bands_grow_with_depth_and_leave_no_pixel_over(layers: int) -> None:
    plan = bands(layers, 720, 4)
    tiles = [band.tile for band in plan]
    assert len(plan) == layers and tiles == sorted(tiles) and tiles[0] == 36
    assert all(720 % tile == 0 for tile in tiles) and (layers == 1 or tiles[-1] == 120)
    assert plan[0].pairs(720) == 20 * 2
