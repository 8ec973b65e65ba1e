"""Oracle: explicit means and slices in NumPy's float64, and torchvision's ten crops."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from internals.data import (
    PIPELINES,
    Augmentation,
    ImageSet,
    MeanImage,
    Normalization,
    Normalized,
    Pipeline,
    Shift,
    recolour,
    resized,
    stored_side,
)
from internals.errors import CheckpointError, DataError

SIZE, STORED = 28, 32
FITTED = [name for name in PIPELINES if name != "range"]
RANDOM = [name for name, augmentation in PIPELINES.items() if augmentation is not None]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 11, side: int = STORED, channels: int = 3, seed: int = 0) -> ImageSet:
    """Smooth blobs: what a picture is like, and kind to a resampling."""
    coarse = torch.randint(
        0, 256, (count, channels, 5, 5), dtype=torch.uint8, generator=seeded(seed)
    )
    coarse[:, -1] //= 2
    labels = torch.zeros(count, dtype=torch.int64)
    return ImageSet(resized(coarse, side), labels, ("a",), "blobs", "f")


def exact(images: ImageSet) -> np.ndarray:
    return images.images.numpy().astype(np.float64) / 255


# Statistics


def test_mean_image_is_the_mean_of_every_pixel():
    """Of 6 MB, of which 4 MiB are read at a time."""
    images = pictures(2000)
    mean = MeanImage.fit(images, STORED)
    np.testing.assert_allclose(mean.image.numpy(), exact(images).mean(axis=0), atol=1e-7)
    inputs = mean.apply(images.images).double()
    np.testing.assert_allclose(inputs.mean(dim=0).numpy(), 0, atol=1e-6)
    np.testing.assert_allclose(
        inputs.numpy(), exact(images) - exact(images).mean(axis=0), atol=1e-6
    )


def test_mean_image_of_a_smaller_input_is_its_centre_and_comes_back():
    images = pictures()
    actual = MeanImage.fit(images, STORED)
    centre = images.images[:, :, 2:30, 2:30]
    expected = (exact(images) - exact(images).mean(axis=0))[:, :, 2:30, 2:30]
    inputs = actual.apply(centre)
    np.testing.assert_allclose(inputs.numpy(), expected, atol=1e-6)
    torch.testing.assert_close(actual.invert(inputs) * 255, centre.float(), rtol=0, atol=1e-4)


def test_mean_image_refuses_what_is_larger_than_itself():
    actual = MeanImage.fit(pictures(), STORED)
    with pytest.raises(DataError, match="a 33 x 33 input is larger than the mean image of side 32"):
        actual.apply(torch.zeros(1, 3, 33, 33, dtype=torch.uint8))


@pytest.mark.parametrize("map_", [Normalization((0.2, 0.5), (0.3, 0.1)), "mean"])
def test_real_numbers_are_mapped_as_bytes_are_and_left_unchanged(map_):
    images = pictures(channels=2)
    if map_ == "mean":
        map_ = MeanImage.fit(images, STORED)
    floats = images.images.float()
    torch.testing.assert_close(map_.apply(floats), map_.apply(images.images), rtol=0, atol=0)
    torch.testing.assert_close(floats, images.images.float(), rtol=0, atol=0)
    torch.testing.assert_close(
        map_.invert(map_.apply(floats.double())) * 255, floats.double(), rtol=0, atol=2e-5
    )


def test_statistics_come_from_no_image_but_those_given():
    train, other = pictures(seed=1), pictures(seed=2)
    pixels, labels = torch.cat([train.images, other.images]), torch.zeros(22, dtype=torch.int64)
    both = ImageSet(pixels, labels, ("a",), "both", "f")
    split = both.head(11, "train")
    for name in FITTED:
        expected, actual = (Pipeline.fit(name, images, SIZE).state() for images in (train, split))
        assert expected.keys() == actual.keys()
        for key, value in expected.items():
            torch.testing.assert_close(actual[key], value, rtol=0, atol=0)


def test_one_flat_channel_has_no_scale():
    flat = pictures()
    flat.images[:, 1] = 7
    with pytest.raises(DataError, match="channel 1 of blobs has one value in all pixels"):
        Normalization.fit(flat)


def test_no_image_has_no_statistics():
    for name in FITTED:
        with pytest.raises(DataError, match="blobs holds no image"):
            Pipeline.fit(name, pictures().head(0), SIZE)


@pytest.mark.parametrize("name", PIPELINES)
def test_state_makes_the_same_pipeline_bit_for_bit(name):
    images = pictures(channels=1 if name == "range" else 3)
    pipeline = (
        Pipeline.from_range(-0.1, 1.175, SIZE)
        if name == "range"
        else Pipeline.fit(name, images, SIZE)
    )
    again = Pipeline.from_state(name, SIZE, pipeline.state())
    for size in (SIZE, 35):
        ours, theirs = pipeline.at(size), again.at(size)
        inputs = ours.training(images.images, seeded()), theirs.training(images.images, seeded())
        torch.testing.assert_close(*inputs, rtol=0, atol=0)
        torch.testing.assert_close(
            ours.evaluation(images.images), theirs.evaluation(images.images), rtol=0, atol=0
        )


def test_a_state_of_another_kind_is_refused():
    state = Pipeline.fit("vgg16", pictures(), SIZE).state()
    with pytest.raises(CheckpointError, match="of pipeline 'alexnet' lack 'colour_variances'"):
        Pipeline.from_state("alexnet", SIZE, state)


# Training


@pytest.mark.parametrize("name", RANDOM)
def test_the_generator_decides_and_nothing_else(name):
    """Not the number of threads, and not torch's own generator."""
    images = pictures(23).images
    before = images.clone()
    pipeline = Pipeline.fit(name, pictures(), SIZE)
    first = pipeline.training(images, seeded())
    torch.manual_seed(99)
    torch.set_num_threads(2)
    torch.testing.assert_close(pipeline.training(images, seeded()), first, rtol=0, atol=0)
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    assert (pipeline.training(images, seeded(1)) - first).abs().mean() > 0.05


@pytest.mark.parametrize("name", RANDOM)
def test_a_large_batch_made_in_parts_is_the_batch(name):
    """Of inputs of 28 pixels, 222 are made at a time; the statistics change nothing here."""
    images = pictures(500).images
    pipeline = Pipeline.fit(name, pictures(), SIZE)
    augmentation, inputs = PIPELINES[name], pipeline.training(images, seeded())
    draw = augmentation.draw(500, STORED, SIZE, seeded())
    pixels = augmentation.cut(images, draw, SIZE).float()
    if augmentation.jitter is not None:
        pixels = recolour(pixels, draw.factors, draw.matrices)
    if pipeline.colours is not None:
        pixels += 255 * pipeline.colours.lighting(draw.lighting)[:, :, None, None]
    if isinstance(pipeline.normalization, MeanImage):
        expected = pipeline.normalization.apply_at_(pixels, draw.windows)
    else:
        expected = pipeline.normalization.apply(pixels)
    torch.testing.assert_close(inputs, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", RANDOM)
def test_equal_images_in_a_batch_are_augmented_each_in_its_own_way(name):
    images = pictures(1).images.expand(9, -1, -1, -1)
    actual = Pipeline.fit(name, pictures(), SIZE).training(images, seeded())
    assert len({image.numpy().tobytes() for image in actual}) > 5


def test_alexnets_training_input_is_the_papers():
    """Each of the 25 windows, mirrored or not, less the mean image's, plus one lit colour."""
    images = pictures()
    pipeline = Pipeline.fit("alexnet", images, SIZE)
    actual = pipeline.training(images.images, seeded()).double().numpy()
    whole = exact(images) - exact(images).mean(axis=0)
    vectors, values = pipeline.colours.directions.numpy(), pipeline.colours.variances.numpy()
    seen, amounts = set(), []
    for number, image in enumerate(actual):
        for place in np.ndindex(5, 5, 2):
            top, left, mirrored = place
            cut = whole[number, :, top : top + SIZE, left : left + SIZE]
            shift = image - (cut[:, :, ::-1] if mirrored else cut)
            if np.abs(shift - shift.mean(axis=(1, 2), keepdims=True)).max() < 1e-5:
                seen.add(place)
                amounts.append(vectors.T @ shift.mean(axis=(1, 2)) / values)
                break
        else:
            pytest.fail(f"image {number} is none of its windows")
    assert len(seen) > 6
    assert {mirrored for *_, mirrored in seen} == {0, 1}
    assert 0.06 < np.std(amounts) < 0.14


def test_vggs_training_input_is_a_window_with_other_colours(monkeypatch):
    """With the jitter at rest every input is one of the windows, normalised."""
    images = pictures()
    monkeypatch.setitem(PIPELINES, "vgg16", Augmentation(Shift()))
    actual = Pipeline.fit("vgg16", images, SIZE).training(images.images, seeded()).numpy()
    pixels = exact(images)
    mean, std = pixels.mean((0, 2, 3))[:, None, None], pixels.std((0, 2, 3))[:, None, None]
    for number, image in enumerate(actual):
        whole = (pixels[number] - mean) / std
        differences = [
            np.abs(whole[:, y : y + SIZE, x : x + SIZE][:, :, ::step] - image)
            for y in range(5) for x in range(5) for step in (1, -1)
        ]  # fmt: skip
        assert min(difference.max() for difference in differences) < 1e-5


@pytest.mark.parametrize("name", ["vgg16", "inceptionnet", "mobilenet"])
def test_jitter_changes_colours_about_the_picture_as_it_is(name):
    """Over many draws the mean colour stays; within one draw it moves by some levels."""
    images = ImageSet(
        torch.full((600, 3, STORED, STORED), 100, dtype=torch.uint8),
        torch.zeros(600, dtype=torch.int64), ("a",), "flat", "f",
    )  # fmt: skip
    images.images[:, 0] += 40
    pipeline = Pipeline.fit(name, pictures(), SIZE)
    shown = 255 * pipeline.normalization.invert(pipeline.training(images.images, seeded()))
    colours = shown.mean(dim=(2, 3))
    expected = torch.tensor([140.0, 100.0, 100.0])
    assert (colours.mean(dim=0) - expected).abs().max() < 3
    assert colours.std(dim=0).min() > 4


# Testing


@pytest.mark.parametrize("name", FITTED)
def test_the_test_input_is_the_centre(name):
    images = pictures()
    pipeline = Pipeline.fit(name, images, SIZE)
    side, margin = pipeline.stored, (pipeline.stored - SIZE) // 2
    squares = pictures(side=side).images
    centre = squares[:, :, margin : margin + SIZE, margin : margin + SIZE]
    torch.testing.assert_close(pipeline.centred(squares), centre, rtol=0, atol=0)
    pixels = exact(images)
    if name == "alexnet":
        expected = centre.numpy() / 255 - pixels.mean(axis=0)[:, 2:30, 2:30]
    else:
        mean, std = pixels.mean((0, 2, 3))[:, None, None], pixels.std((0, 2, 3))[:, None, None]
        expected = (centre.numpy() / 255 - mean) / std
    np.testing.assert_allclose(pipeline.evaluation(squares).numpy(), expected, atol=1e-5)
    torch.testing.assert_close(pipeline.centred(centre), centre, rtol=0, atol=0)


def test_squares_of_another_side_keep_the_proportion_256_to_224():
    pipeline = Pipeline.fit("resnet18", pictures(), SIZE)
    large = pictures(side=64).images
    expected = reference.center_crop(
        reference.resize(large, [STORED, STORED], antialias=True), [SIZE, SIZE]
    )
    actual = pipeline.centred(large).int()
    assert (actual - expected.int()).abs().max() <= 1
    assert [stored_side(name, 224) for name in PIPELINES] == [224, 224, *[256] * 5]


def test_range_is_lenets():
    pipeline = Pipeline.from_range(-0.1, 1.175, STORED)
    digits = pictures(channels=1).images
    expected = -0.1 + 1.275 * digits.numpy() / 255
    for inputs in (pipeline.evaluation(digits), pipeline.training(digits, seeded())):
        np.testing.assert_allclose(inputs.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("name", RANDOM)
def test_ten_crops_are_torchvisions(name):
    """Torchvision's crops of the normalised square, whose mean image is mirrored with it."""
    images = pictures(3)
    pipeline = Pipeline.fit(name, pictures(), SIZE)
    whole = pipeline.normalization.apply(images.images)
    expected = torch.stack(reference.ten_crop(whole, [SIZE, SIZE]), dim=1)
    actual = pipeline.ten_crop(images.images)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    torch.testing.assert_close(actual[:, 4], pipeline.evaluation(images.images), rtol=0, atol=1e-6)
    assert len({crop.numpy().tobytes() for crop in actual[0]}) == 10


def test_ten_crops_need_a_margin():
    pipeline = Pipeline.fit("mean-std", pictures(), STORED)
    with pytest.raises(DataError, match=r"'mean-std' keeps no margin .* test with crops=1"):
        pipeline.ten_crop(pictures().images)


# Sizes and views


@pytest.mark.parametrize("name", FITTED)
def test_another_size_keeps_the_statistics(name):
    """The mean image goes to the other size as images do: smaller inputs still average to zero."""
    images = pictures(side=64)
    pipeline = Pipeline.fit(name, images, 56)
    small = pipeline.at(SIZE)
    assert small.evaluation(images.images).shape[-2:] == (SIZE, SIZE)
    assert pipeline.at(SIZE).at(56).state().keys() == pipeline.state().keys()
    back = small.at(56).evaluation(images.images)
    torch.testing.assert_close(back, pipeline.evaluation(images.images), rtol=0, atol=0)
    if name == "alexnet":
        assert small.evaluation(images.images).mean(dim=0).abs().max() < 0.003
    else:
        assert small.normalization == pipeline.normalization


@pytest.mark.parametrize("side", [SIZE, STORED, 47])
def test_a_view_is_every_image_centred(side):
    """Those of 47 pixels are resized, 4 MiB at a time."""
    images = pictures(700, side)
    pipeline = Pipeline.fit("alexnet", pictures(), SIZE)
    view = pipeline.view(images, "seen")
    assert (view.name, view.fingerprint) == ("seen", images.fingerprint)
    torch.testing.assert_close(view.images, pipeline.centred(images.images), rtol=0, atol=0)
    shared = view.images.untyped_storage().data_ptr() == images.images.untyped_storage().data_ptr()
    assert shared == (side != 47)
    seen = Normalized(view, pipeline.normalization)
    torch.testing.assert_close(
        seen[3:5], pipeline.evaluation(images.images)[3:5], rtol=0, atol=1e-6
    )


# Refusals


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(DataError, match=r"unknown pipeline 'zfnet'; known are range, mean-std, a"):
        Pipeline.fit("zfnet", pictures(), SIZE)


def test_the_range_is_not_fitted():
    with pytest.raises(DataError, match=r"use Pipeline\.from_range"):
        Pipeline.fit("range", pictures(channels=1), SIZE)


def test_grey_images_have_no_colours_to_change():
    with pytest.raises(DataError, match="those of blobs have 1 channel"):
        Pipeline.fit("vgg16", pictures(channels=1), SIZE)


def test_oblong_images_are_refused(unchecked_shapes):
    pipeline = Pipeline.fit("resnet18", pictures(), SIZE)
    with pytest.raises(DataError, match="takes square images, not 32 x 40"):
        pipeline.evaluation(torch.zeros(1, 3, 32, 40, dtype=torch.uint8))
