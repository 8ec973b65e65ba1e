"""Oracle: torchvision's transforms, Pillow, NumPy in float64, slicing, and laws of chance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from scipy.spatial.transform import Rotation
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate
from torchvision.transforms.v2 import functional as reference

from internals.data import (
    INTERPOLATIONS,
    AreaAndAspect,
    Augmentation,
    ColourJitter,
    ColourSums,
    ImageSet,
    PrincipalColours,
    Shift,
    ShorterSide,
    Windows,
    augment_digits,
    centre_offset,
    colour_matrices,
    crop,
    crop_by_gathering,
    recolour,
    resized,
    resized_crop,
    resized_crop_by_matrices,
)
from internals.errors import DataError

LUMA = np.array([0.299, 0.587, 0.114])
PILLOWS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC,
           "nearest": Image.Resampling.NEAREST}  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(seed))


def windows_of(rows: list[tuple[int, int, int, int, bool]]) -> Windows:
    top, left, height, width, flipped = zip(*rows, strict=True)
    whole = [torch.tensor(values) for values in (top, left, height, width)]
    return Windows(*whole, torch.tensor(flipped))


def pillows(image: torch.Tensor, row: tuple, size: int, kind: str) -> np.ndarray:
    """One window cut, resized and mirrored by Pillow alone."""
    top, left, height, width, flipped = row
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    picture = picture.crop((left, top, left + width, top + height))
    picture = picture.resize((size, size), PILLOWS[kind])
    if flipped:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(picture).transpose(2, 0, 1)


# Windows


# Odd extents: in an even one "nearest" can fall between two pixels, where rounding decides.
ROWS = [
    (0, 0, 37, 37, False), (3, 5, 31, 29, True), (11, 2, 13, 17, False), (36, 36, 1, 1, True),
    (0, 20, 37, 17, True), (7, 0, 9, 37, False),
]  # fmt: skip


@pytest.mark.parametrize("size", [11, 23, 41])
@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_resized_windows_are_pillows(kind, size):
    """Of soft noise: where a cubic overshoots 0..255, it matters which way Pillow goes first."""
    batch = noise(len(ROWS), 3, 37, 37) // 2 + 64
    expected = np.stack(
        [pillows(image, row, size, kind) for image, row in zip(batch, ROWS, strict=True)]
    )
    for function in (resized_crop, resized_crop_by_matrices):
        actual = function(batch, windows_of(ROWS), size, [kind] * len(ROWS)).numpy()
        assert np.abs(actual.astype(int) - expected).max() <= (kind != "nearest")
        assert np.abs(actual.astype(int) - expected).mean() < 0.2


@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_one_by_one_and_by_matrices_are_the_same_where_cubics_overshoot(kind):
    batch = noise(len(ROWS), 3, 37, 37)
    one_by_one, matrices = (
        function(batch, windows_of(ROWS), 23, [kind] * len(ROWS)).int()
        for function in (resized_crop, resized_crop_by_matrices)
    )
    assert (one_by_one - matrices).abs().max() <= 1


def test_each_window_has_its_own_interpolation():
    batch = noise(len(ROWS), 3, 37, 37) // 2 + 64
    kinds = ["bicubic", "nearest", "bilinear", "nearest", "bilinear", "bicubic"]
    for function in (resized_crop, resized_crop_by_matrices):
        actual = function(batch, windows_of(ROWS), 19, kinds).numpy()
        for number, kind in enumerate(kinds):
            expected = pillows(batch[number], ROWS[number], 19, kind)
            assert np.abs(actual[number].astype(int) - expected).max() <= 1


def test_shrunken_images_do_not_alias():
    """A grid of lines one pixel apart averages to grey; picking pixels would give black or white"""
    lines = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    lines[..., ::2] = 255
    grey = resized(lines, 16)[..., 2:-2].int()
    assert (grey - 128).abs().max() <= 8


@given(
    side=st.integers(1, 40),
    size=st.integers(1, 40),
    corners=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans()), min_size=1),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_crops_are_slices(side, size, corners):
    size = min(side, size)
    room = side - size
    rows = [(round(y * room), round(x * room), size, size, flip) for y, x, flip in corners]
    batch = noise(len(rows), 2, side, side)
    for function in (crop, crop_by_gathering):
        actual = function(batch, windows_of(rows), size).numpy()
        for image, (top, left, _, _, flip), cut in zip(batch.numpy(), rows, actual, strict=True):
            expected = image[:, top : top + size, left : left + size]
            np.testing.assert_array_equal(cut, expected[:, :, ::-1] if flip else expected)


def test_the_centre_is_torchvisions():
    for side in range(1, 30):
        line = torch.arange(side).expand(1, side, side)
        for size in range(1, side + 1):
            begin = centre_offset(side, size)
            expected = reference.center_crop(line, [size, size])[0, 0].tolist()
            assert list(range(begin, begin + size)) == expected


POLICIES = [Shift(), ShorterSide(256, 480), AreaAndAspect(0.08, 1.0), AreaAndAspect(0.5, 1.0)]


@given(policy=st.sampled_from(POLICIES), size=st.integers(1, 300), seed=st.integers(0, 99))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_windows_lie_in_the_square(policy, size, seed):
    side = round(size * 256 / 224)
    actual = policy.draw(50, side, size, seeded(seed))
    assert actual.top.min() >= 0
    assert actual.left.min() >= 0
    assert min(actual.height.min(), actual.width.min()) >= 1
    assert (actual.top + actual.height).max() <= side
    assert (actual.left + actual.width).max() <= side


def chi_square(values: torch.Tensor, choices: int) -> float:
    return stats.chisquare(np.bincount(values.numpy(), minlength=choices)).pvalue


def test_shifts_are_uniform_over_all_places_and_half_are_mirrored():
    actual = Shift().draw(20_000, 16, 14, seeded())
    place = actual.top * 6 + actual.left * 2 + actual.flipped
    assert actual.height.unique().tolist() == actual.width.unique().tolist() == [14]
    assert chi_square(place, 18) > 0.001


def test_scale_jitter_is_uniform_in_the_shorter_side():
    """At a stored side of 2^20 rounding to pixels vanishes: 224 of S are 224 / S of the whole."""
    side = 2**20
    actual = ShorterSide(256, 480).draw(5000, side, 1, seeded())
    assert torch.equal(actual.height, actual.width)
    shorter = 224 * side / actual.height.double().numpy()
    assert stats.kstest(shorter, stats.uniform(256, 224).cdf).pvalue > 0.001
    room = (side - actual.height).double().numpy()
    assert stats.kstest(actual.top.numpy() / room, "uniform").pvalue > 0.001
    assert stats.kstest(actual.left.numpy() / room, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(actual.top.numpy() / room, actual.left.numpy() / room)[0, 1]) < 0.05


def test_small_windows_are_uniform_in_area_and_log_uniform_in_aspect():
    """Where every window fits, nothing is drawn again and the two laws hold as they stand."""
    side = 2**20
    actual = AreaAndAspect(0.1, 0.5).draw(5000, side, 1, seeded())
    height, width = actual.height.double().numpy(), actual.width.double().numpy()
    area, aspect = height * width / side**2, np.log(width / height)
    assert stats.kstest(area, stats.uniform(0.1, 0.4).cdf).pvalue > 0.001
    third = np.log(4 / 3)
    assert stats.kstest(aspect, stats.uniform(-third, 2 * third).cdf).pvalue > 0.001
    assert abs(np.corrcoef(area, aspect)[0, 1]) < 0.05


def test_large_windows_are_drawn_as_torchvision_draws_them():
    from torchvision.transforms import RandomResizedCrop

    image = torch.zeros(3, 146, 146)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, [0.5, 1.0], [3 / 4, 4 / 3]) for _ in range(4000)]
    ).T
    actual = AreaAndAspect(0.5, 1.0).draw(4000, 146, 128, seeded())
    ours = [actual.top, actual.left, actual.height, actual.width]
    for mine, other in zip(ours, theirs, strict=True):
        assert stats.ks_2samp(mine.numpy(), other).pvalue > 0.001


def test_a_window_that_never_fits_is_the_whole_image():
    actual = AreaAndAspect(1.0, 1.0).draw(200, 1000, 100, seeded())
    whole = actual.height == 1000
    assert whole.all()
    assert (actual.width == 1000).all()


def test_interpolations_are_equally_likely():
    actual = Augmentation(Shift(), INTERPOLATIONS).draw(6000, 8, 7, seeded())
    kinds = torch.tensor([INTERPOLATIONS.index(kind) for kind in actual.interpolations])
    assert chi_square(kinds, 3) > 0.001


# Colours


def recoloured(pixels: torch.Tensor, **wanted: float) -> torch.Tensor:
    """One change of colour on pixels in 0..1."""
    names = ["brightness", "contrast", "saturation", "hue"]
    one = [wanted.get(name, 0.0 if name == "hue" else 1.0) for name in names]
    factors = torch.tensor([one], dtype=pixels.dtype).repeat(len(pixels), 1)
    return recolour(pixels * 255, factors, colour_matrices(factors)) / 255


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.3, 2.5])
def test_brightness_contrast_and_saturation_are_torchvisions(name, factor):
    """torchvision's grey weights sum to 0.9999, which the tolerance allows for."""
    pixels = torch.rand(5, 3, 13, 17, generator=seeded(), dtype=torch.float64)
    expected = getattr(reference, f"adjust_{name}")(pixels, factor)
    torch.testing.assert_close(recoloured(pixels, **{name: factor}), expected, rtol=0, atol=3e-4)


def test_jitter_is_the_four_steps_in_order_in_float64():
    """Where nothing is cut off, explicit arithmetic pixel by pixel gives the same."""
    pixels = 0.4 + 0.2 * torch.rand(7, 3, 5, 11, generator=seeded(), dtype=torch.float64)
    factors = ColourJitter(0.2, 0.2, 0.2, 0.05).draw(7, seeded(1)).double()
    actual = recolour(pixels * 255, factors, colour_matrices(factors)) / 255
    for image, (bright, contrast, saturation, hue), mine in zip(
        pixels.numpy(), factors.numpy(), actual.numpy(), strict=True
    ):
        value = image * bright
        mean = np.einsum("c,chw->hw", LUMA, value).mean()
        value = contrast * value + (1 - contrast) * mean
        value = saturation * value + (1 - saturation) * np.einsum("c,chw->hw", LUMA, value)
        turned = Rotation.from_rotvec(2 * np.pi * hue * np.ones(3) / np.sqrt(3))
        value = turned.as_matrix() @ value.reshape(3, -1)
        np.testing.assert_allclose(mine.reshape(3, -1), value, rtol=0, atol=1e-9)


def test_hue_is_torchvisions_at_thirds_of_the_circle_and_near_it_elsewhere():
    """Turning about the axis of greys is not HSV's map, but the two move a colour the same way."""
    pixels = 0.3 + 0.4 * torch.rand(4, 3, 23, 19, generator=seeded(), dtype=torch.float64)
    for third in (-1 / 3, 1 / 3):
        expected = reference.adjust_hue(pixels, third)
        torch.testing.assert_close(recoloured(pixels, hue=third), expected, rtol=0, atol=1e-6)
    for hue in (-0.1, -0.05, 0.02, 0.05, 0.1):
        ours = (recoloured(pixels, hue=hue) - pixels).flatten()
        theirs = (reference.adjust_hue(pixels, hue) - pixels).flatten()
        assert torch.cosine_similarity(ours, theirs, dim=0) > 0.75
        assert ours.norm() == pytest.approx(theirs.norm().item(), rel=0.25)


def test_factors_are_uniform_and_independent():
    actual = ColourJitter(0.1, 0.2, 0.3, 0.05).draw(5000, seeded()).numpy()
    for column, (low, width) in zip(
        actual.T, [(0.9, 0.2), (0.8, 0.4), (0.7, 0.6), (-0.05, 0.1)], strict=True
    ):
        assert stats.kstest(column, stats.uniform(low, width).cdf).pvalue > 0.001
    assert np.abs(np.corrcoef(actual.T) - np.eye(4)).max() < 0.06


# Statistics of colours


def coloured(count: int = 41) -> ImageSet:
    """Images whose channels depend on one another, as those of photographs do."""
    grey = noise(count, 1, 11, 13, seed=1).int()
    own = noise(count, 3, 11, 13, seed=2).int() // torch.tensor([3, 7, 17])[:, None, None]
    pixels = ((grey + own) * 2 // 3).clamp(max=255).to(torch.uint8)
    return ImageSet(pixels, torch.zeros(count, dtype=torch.int64), ("a",), "coloured", "c")


def test_colour_sums_are_exact_over_many_blocks():
    """4 MiB are read at a time; these are 6."""
    images = coloured(count=15_000)
    sums = ColourSums.of(images)
    colours = images.images.transpose(0, 1).reshape(3, -1).numpy().astype(np.int64)
    assert sums.pixels == colours.shape[1] == 15_000 * 11 * 13
    assert list(sums.sums) == colours.sum(axis=1).tolist()
    assert [list(row) for row in sums.products] == (colours @ colours.T).tolist()


def test_principal_colours_are_numpys_on_pixels_in_0_to_1():
    images = coloured()
    colours = images.images.transpose(0, 1).reshape(3, -1).numpy() / 255
    values, vectors = np.linalg.eigh(np.cov(colours, bias=True))
    actual = PrincipalColours.fit(images)
    np.testing.assert_allclose(actual.variances.numpy(), values[::-1], rtol=1e-10)
    overlap = actual.directions.numpy().T @ vectors[:, ::-1]
    np.testing.assert_allclose(np.abs(overlap), np.eye(3), atol=1e-10)
    largest = np.abs(actual.directions.numpy()).argmax(axis=0)
    assert (actual.directions.numpy()[largest, range(3)] > 0).all()


def test_lighting_has_the_covariance_of_the_paper():
    """[p1 p2 p3] [a l] with a ~ N(0, 0.1): covariance P diag(0.01 l^2) P^T, three numbers each."""
    actual = PrincipalColours.fit(coloured())
    amounts = 0.1 * torch.randn(200_000, 3, generator=seeded(), dtype=torch.float64)
    shifts = actual.lighting(amounts).numpy()
    vectors, values = actual.directions.numpy(), actual.variances.numpy()
    expected = vectors @ np.diag(0.01 * values**2) @ vectors.T
    np.testing.assert_allclose(np.cov(shifts.T), expected, atol=0.02 * expected.max())
    one = vectors @ (amounts[0].numpy() * values)
    np.testing.assert_allclose(shifts[0], one, rtol=1e-12)


def test_lighting_of_imagenets_constants_is_a_small_shift():
    """The constants usual on 0..1 shift by about 0.02, five grey levels, and not by hundreds."""
    usual = PrincipalColours(
        torch.tensor([0.2175, 0.0188, 0.0045], dtype=torch.float64),
        torch.tensor(
            [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
            dtype=torch.float64,
        ),
    )
    drawn = Augmentation(Shift(), lighting=0.1).draw(20_000, 8, 7, seeded())
    shifts = usual.lighting(drawn.lighting).double()
    assert shifts.norm(dim=1).square().mean().sqrt().item() == pytest.approx(0.0218, rel=0.02)


# Digits


def digit_bytes(count: int, side: int, channels: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (count, channels, side, side)
    return torch.randint(1, 256, shape, generator=generator, dtype=torch.uint8)


def shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """By slicing: what leaves is lost, what comes in is 0."""
    side = image.shape[-1]
    actual = torch.zeros_like(image)
    into = [slice(max(0, by), side + min(0, by)) for by in (down, right)]
    out_of = [slice(max(0, -by), side + min(0, -by)) for by in (down, right)]
    actual[:, into[0], into[1]] = image[:, out_of[0], out_of[1]]
    return actual


def shift_between(image: torch.Tensor, moved: torch.Tensor, most: int) -> tuple[int, int]:
    span = range(-most, most + 1)
    fits = [(d, r) for d in span for r in span if torch.equal(shifted(image, d, r), moved)]
    assert len(fits) == 1
    return fits[0]


@given(st.integers(1, 13), st.integers(0, 6), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_shift_is_a_slice_with_background_around_it(side, shift, seed):
    shift = min(shift, side // 2)
    batch = digit_bytes(3, side, channels=2)
    moved = augment_digits(batch, shift, 0.0, seeded(seed))
    for image, other in zip(batch, moved, strict=True):
        shift_between(image, other, shift)


def test_all_shifts_are_equally_likely_both_ways():
    batch = digit_bytes(1, 7).expand(5_000, 1, 7, 7)
    moved = augment_digits(batch, 2, 0.0, seeded())
    kinds, counts = torch.unique(moved.flatten(1), dim=0, return_counts=True)
    assert len(kinds) == 25
    expected = 5_000 / 25
    assert ((counts - expected).square() / expected).sum() < 51.2  # chi squared, 24: 0.1 %
    seen = {shift_between(batch[0], kind.view(1, 7, 7), 2) for kind in kinds}
    assert seen == {(d, r) for d in range(-2, 3) for r in range(-2, 3)}


def rotated(image: torch.Tensor, degrees: float) -> torch.Tensor:
    return rotate(image, degrees, InterpolationMode.BILINEAR)


def drawn_angles(rotation: float, count: int) -> list[float]:
    """The third row of numbers that are drawn, as counterclockwise degrees."""
    drawn = torch.rand((3, count), generator=seeded(), dtype=torch.float64)[2]
    return (rotation * (2 * drawn - 1)).tolist()


@pytest.mark.parametrize("rotation", [10.0, 180.0])
@pytest.mark.parametrize("side", [7, 32])
def test_a_rotation_is_torchvisions(rotation, side):
    batch = digit_bytes(5, side, channels=2).double()
    actual = augment_digits(batch, 0, rotation, seeded())
    for image, ours, degrees in zip(batch, actual, drawn_angles(rotation, 5), strict=True):
        # Its grid is of single precision: 3e-7 of a half side times the steepest edge.
        torch.testing.assert_close(ours, rotated(image, degrees), rtol=0, atol=2e-3)


def test_angles_are_uniform_both_ways():
    """A point on the rim, at a quarter to, is found again by its centre of gravity."""
    image = torch.zeros(1, 1, 33, 33)
    image[..., 16, 30] = 1.0
    turned = augment_digits(image.expand(4_000, 1, 33, 33), 0, 30.0, seeded(2))
    line = torch.arange(33.0) - 16
    mass = turned.sum(dim=(1, 2, 3))
    x = (turned.sum(dim=(1, 2)) @ line) / mass
    y = (turned.sum(dim=(1, 3)) @ line) / mass
    share = (torch.rad2deg(torch.atan2(-y, x)) / 60 + 0.5).sort().values
    steps = torch.arange(1, 4_001) / 4_000
    assert (share - steps).abs().max() < 1.95 / 4_000**0.5  # Kolmogorov and Smirnov: 0.1 %


def test_turned_first_then_moved():
    """What a turn carries beyond the frame comes back when it is moved in again."""
    batch = digit_bytes(40, 11)
    actual = augment_digits(batch, 3, 25.0, seeded())
    drawn = torch.rand((3, 40), generator=seeded(), dtype=torch.float64)
    moves = (drawn[:2] * 7).floor().long() - 3
    assert {-3, 3} <= set(moves.flatten().tolist())
    for image, ours, move, degrees in zip(
        batch, actual, moves.T, drawn_angles(25.0, 40), strict=True
    ):
        wide = rotated(functional.pad(image.double(), (8,) * 4), degrees)
        theirs = shifted(wide, *move.tolist())[:, 8:-8, 8:-8]
        torch.testing.assert_close(ours.double(), theirs, rtol=0, atol=0.502)  # rounded to bytes


def test_no_shift_and_no_turn_change_nothing():
    batch = digit_bytes(4, 9)
    torch.testing.assert_close(augment_digits(batch, 0, 0.0, seeded()), batch, rtol=0, atol=0)
    nearly = augment_digits(batch, 0, 1e-9, seeded())
    torch.testing.assert_close(nearly, batch, rtol=0, atol=0)


@pytest.mark.parametrize("rotation", [0.0, 15.0])
def test_the_number_of_threads_changes_no_bit(rotation):
    batch = digit_bytes(64, 32)
    one = augment_digits(batch, 2, rotation, seeded(4))
    torch.set_num_threads(3)
    three = augment_digits(batch, 2, rotation, seeded(4))
    torch.testing.assert_close(three, one, rtol=0, atol=0)
    assert (augment_digits(batch, 2, rotation, seeded(5)) != one).any()


@pytest.mark.parametrize(
    ("shift", "rotation"), [(-1, 0.0), (5, 0.0), (0, -0.1), (0, 180.5), (0, float("nan"))]
)
def test_more_than_an_image_bears_is_refused(shift, rotation):
    with pytest.raises(DataError, match="a shift of 0 to 4 pixels and a rotation of 0 to 180 deg"):
        augment_digits(digit_bytes(1, 9), shift, rotation, seeded())
