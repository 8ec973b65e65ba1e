"""Oracle: torchvision's functional transforms, Pillow, NumPy in float64, and laws of chance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from scipy.spatial.transform import Rotation
from torchvision.transforms.v2 import functional as reference

from internals.data.augment import (
    AreaAndAspect,
    Augmentation,
    ColourJitter,
    Shift,
    ShorterSide,
    colour_matrices,
    recolour,
)
from internals.data.image_set import ImageSet
from internals.data.normalization import ColourSums, PrincipalColours
from internals.data.resampling import (
    INTERPOLATIONS,
    Windows,
    centre_offset,
    crop,
    crop_by_gathering,
    resized,
    resized_crop,
    resized_crop_by_matrices,
)

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
        found = function(batch, windows_of(ROWS), size, [kind] * len(ROWS)).numpy()
        assert np.abs(found.astype(int) - expected).max() <= (kind != "nearest")
        assert np.abs(found.astype(int) - expected).mean() < 0.2


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
        found = function(batch, windows_of(ROWS), 19, kinds).numpy()
        for number, kind in enumerate(kinds):
            expected = pillows(batch[number], ROWS[number], 19, kind)
            assert np.abs(found[number].astype(int) - expected).max() <= 1


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
        found = function(batch, windows_of(rows), size).numpy()
        for image, (top, left, _, _, flip), cut in zip(batch.numpy(), rows, found, strict=True):
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
    found = policy.draw(50, side, size, seeded(seed))
    assert found.top.min() >= 0
    assert found.left.min() >= 0
    assert min(found.height.min(), found.width.min()) >= 1
    assert (found.top + found.height).max() <= side
    assert (found.left + found.width).max() <= side


def chi_square(values: torch.Tensor, choices: int) -> float:
    return stats.chisquare(np.bincount(values.numpy(), minlength=choices)).pvalue


def test_shifts_are_uniform_over_all_places_and_half_are_mirrored():
    found = Shift().draw(20_000, 16, 14, seeded())
    place = found.top * 6 + found.left * 2 + found.flipped
    assert found.height.unique().tolist() == found.width.unique().tolist() == [14]
    assert chi_square(place, 18) > 0.001


def test_scale_jitter_is_uniform_in_the_shorter_side():
    """At a stored side of 2^20 rounding to pixels vanishes: 224 of S are 224 / S of the whole."""
    side = 2**20
    found = ShorterSide(256, 480).draw(5000, side, 1, seeded())
    assert torch.equal(found.height, found.width)
    shorter = 224 * side / found.height.double().numpy()
    assert stats.kstest(shorter, stats.uniform(256, 224).cdf).pvalue > 0.001
    room = (side - found.height).double().numpy()
    assert stats.kstest(found.top.numpy() / room, "uniform").pvalue > 0.001
    assert stats.kstest(found.left.numpy() / room, "uniform").pvalue > 0.001
    assert abs(np.corrcoef(found.top.numpy() / room, found.left.numpy() / room)[0, 1]) < 0.05


def test_small_windows_are_uniform_in_area_and_log_uniform_in_aspect():
    """Where every window fits, nothing is drawn again and the two laws hold as they stand."""
    side = 2**20
    found = AreaAndAspect(0.1, 0.5).draw(5000, side, 1, seeded())
    height, width = found.height.double().numpy(), found.width.double().numpy()
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
    found = AreaAndAspect(0.5, 1.0).draw(4000, 146, 128, seeded())
    ours = [found.top, found.left, found.height, found.width]
    for mine, other in zip(ours, theirs, strict=True):
        assert stats.ks_2samp(mine.numpy(), other).pvalue > 0.001


def test_a_window_that_never_fits_is_the_whole_image():
    found = AreaAndAspect(1.0, 1.0).draw(200, 1000, 100, seeded())
    whole = found.height == 1000
    assert whole.all()
    assert (found.width == 1000).all()


def test_interpolations_are_equally_likely():
    found = Augmentation(Shift(), INTERPOLATIONS).draw(6000, 8, 7, seeded())
    kinds = torch.tensor([INTERPOLATIONS.index(kind) for kind in found.interpolations])
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
    found = recolour(pixels * 255, factors, colour_matrices(factors)) / 255
    for image, (bright, contrast, saturation, hue), mine in zip(
        pixels.numpy(), factors.numpy(), found.numpy(), strict=True
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
    found = ColourJitter(0.1, 0.2, 0.3, 0.05).draw(5000, seeded()).numpy()
    for column, (low, width) in zip(
        found.T, [(0.9, 0.2), (0.8, 0.4), (0.7, 0.6), (-0.05, 0.1)], strict=True
    ):
        assert stats.kstest(column, stats.uniform(low, width).cdf).pvalue > 0.001
    assert np.abs(np.corrcoef(found.T) - np.eye(4)).max() < 0.06


# Statistics of colours


def coloured(count: int = 41) -> ImageSet:
    """Images whose channels depend on one another, as those of photographs do."""
    grey = noise(count, 1, 11, 13, seed=1).int()
    own = noise(count, 3, 11, 13, seed=2).int() // torch.tensor([3, 7, 17])[:, None, None]
    pixels = ((grey + own) * 2 // 3).clamp(max=255).to(torch.uint8)
    return ImageSet(pixels, torch.zeros(count, dtype=torch.int64), ("a",), "coloured", "c")


def test_colour_sums_are_exact_over_many_blocks(monkeypatch):
    monkeypatch.setattr("internals.data.normalization._BLOCK", 3 * 11 * 13 * 7)
    images = coloured()
    found = ColourSums.of(images)
    colours = images.images.transpose(0, 1).reshape(3, -1).numpy().astype(object)
    assert found.pixels == colours.shape[1] == 41 * 11 * 13
    assert list(found.sums) == colours.sum(axis=1).tolist()
    assert [list(row) for row in found.products] == (colours @ colours.T).tolist()


def test_principal_colours_are_numpys_on_pixels_in_0_to_1():
    images = coloured()
    colours = images.images.transpose(0, 1).reshape(3, -1).numpy() / 255
    values, vectors = np.linalg.eigh(np.cov(colours, bias=True))
    found = PrincipalColours.fit(images)
    np.testing.assert_allclose(found.variances.numpy(), values[::-1], rtol=1e-10)
    overlap = found.directions.numpy().T @ vectors[:, ::-1]
    np.testing.assert_allclose(np.abs(overlap), np.eye(3), atol=1e-10)
    largest = np.abs(found.directions.numpy()).argmax(axis=0)
    assert (found.directions.numpy()[largest, range(3)] > 0).all()


def test_lighting_has_the_covariance_of_the_paper():
    """[p1 p2 p3] [a l] with a ~ N(0, 0.1): covariance P diag(0.01 l^2) P^T, three numbers each."""
    found = PrincipalColours.fit(coloured())
    amounts = 0.1 * torch.randn(200_000, 3, generator=seeded(), dtype=torch.float64)
    shifts = found.lighting(amounts).numpy()
    vectors, values = found.directions.numpy(), found.variances.numpy()
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
