"""Oracle: shifts by slicing, torchvision's rotation, and tests of the uniform distribution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

from internals.data.augment import augment_digits
from internals.errors import DataError


def _bytes(count: int, side: int, channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (count, channels, side, side)
    return torch.randint(1, 256, shape, generator=generator, dtype=torch.uint8)


def _seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """By slicing: what leaves is lost, what comes in is 0."""
    side = image.shape[-1]
    found = torch.zeros_like(image)
    into = [slice(max(0, by), side + min(0, by)) for by in (down, right)]
    out_of = [slice(max(0, -by), side + min(0, -by)) for by in (down, right)]
    found[:, into[0], into[1]] = image[:, out_of[0], out_of[1]]
    return found


def _found_shift(image: torch.Tensor, moved: torch.Tensor, most: int) -> tuple[int, int]:
    span = range(-most, most + 1)
    fits = [(d, r) for d in span for r in span if torch.equal(_shifted(image, d, r), moved)]
    assert len(fits) == 1
    return fits[0]


@given(st.integers(1, 13), st.integers(0, 6), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_shift_is_a_slice_with_background_around_it(side, shift, seed):
    shift = min(shift, side // 2)
    batch = _bytes(3, side, channels=2)
    moved = augment_digits(batch, shift, 0.0, _seeded(seed))
    for image, other in zip(batch, moved, strict=True):
        _found_shift(image, other, shift)


def test_all_shifts_are_equally_likely_both_ways():
    batch = _bytes(1, 7).expand(5_000, 1, 7, 7)
    moved = augment_digits(batch, 2, 0.0, _seeded())
    kinds, counts = torch.unique(moved.flatten(1), dim=0, return_counts=True)
    assert len(kinds) == 25
    expected = 5_000 / 25
    assert ((counts - expected).square() / expected).sum() < 51.2  # chi squared, 24: 0.1 %
    seen = {_found_shift(batch[0], kind.view(1, 7, 7), 2) for kind in kinds}
    assert seen == {(d, r) for d in range(-2, 3) for r in range(-2, 3)}


def _turned(image: torch.Tensor, degrees: float) -> torch.Tensor:
    return rotate(image, degrees, InterpolationMode.BILINEAR)


def _angles(rotation: float, count: int) -> list[float]:
    """The third row of numbers that are drawn, as counterclockwise degrees."""
    drawn = torch.rand((3, count), generator=_seeded(), dtype=torch.float64)[2]
    return (rotation * (2 * drawn - 1)).tolist()


@pytest.mark.parametrize("rotation", [10.0, 180.0])
@pytest.mark.parametrize("side", [7, 32])
def test_a_rotation_is_torchvisions(rotation, side):
    batch = _bytes(5, side, channels=2).double()
    found = augment_digits(batch, 0, rotation, _seeded())
    for image, ours, degrees in zip(batch, found, _angles(rotation, 5), strict=True):
        # Its grid is of single precision: 3e-7 of a half side times the steepest edge.
        torch.testing.assert_close(ours, _turned(image, degrees), rtol=0, atol=2e-3)


def test_angles_are_uniform_both_ways():
    """A point on the rim, at a quarter to, is found again by its centre of gravity."""
    image = torch.zeros(1, 1, 33, 33)
    image[..., 16, 30] = 1.0
    turned = augment_digits(image.expand(4_000, 1, 33, 33), 0, 30.0, _seeded(2))
    line = torch.arange(33.0) - 16
    mass = turned.sum(dim=(1, 2, 3))
    x = (turned.sum(dim=(1, 2)) @ line) / mass
    y = (turned.sum(dim=(1, 3)) @ line) / mass
    share = (torch.rad2deg(torch.atan2(-y, x)) / 60 + 0.5).sort().values
    steps = torch.arange(1, 4_001) / 4_000
    assert (share - steps).abs().max() < 1.95 / 4_000**0.5  # Kolmogorov and Smirnov: 0.1 %


def test_turned_first_then_moved():
    """What a turn carries beyond the frame comes back when it is moved in again."""
    batch = _bytes(40, 11)
    found = augment_digits(batch, 3, 25.0, _seeded())
    drawn = torch.rand((3, 40), generator=_seeded(), dtype=torch.float64)
    moves = (drawn[:2] * 7).floor().long() - 3
    assert {-3, 3} <= set(moves.flatten().tolist())
    for image, ours, move, degrees in zip(batch, found, moves.T, _angles(25.0, 40), strict=True):
        wide = _turned(functional.pad(image.double(), (8,) * 4), degrees)
        theirs = _shifted(wide, *move.tolist())[:, 8:-8, 8:-8]
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=0.502)  # rounded to bytes


def test_no_shift_and_no_turn_change_nothing():
    batch = _bytes(4, 9)
    torch.testing.assert_close(augment_digits(batch, 0, 0.0, _seeded()), batch, rtol=0, atol=0)
    nearly = augment_digits(batch, 0, 1e-9, _seeded())
    torch.testing.assert_close(nearly, batch, rtol=0, atol=0)


@pytest.mark.parametrize("rotation", [0.0, 15.0])
def test_the_number_of_threads_changes_no_bit(rotation):
    batch = _bytes(64, 32)
    one = augment_digits(batch, 2, rotation, _seeded(4))
    torch.set_num_threads(3)
    three = augment_digits(batch, 2, rotation, _seeded(4))
    torch.testing.assert_close(three, one, rtol=0, atol=0)
    assert (augment_digits(batch, 2, rotation, _seeded(5)) != one).any()


@pytest.mark.parametrize(
    ("shift", "rotation"), [(-1, 0.0), (5, 0.0), (0, -0.1), (0, 180.5), (0, float("nan"))]
)
def test_more_than_an_image_bears_is_refused(shift, rotation):
    with pytest.raises(DataError, match="a shift of 0 to 4 pixels and a rotation of 0 to 180 deg"):
        augment_digits(_bytes(1, 9), shift, rotation, _seeded())
