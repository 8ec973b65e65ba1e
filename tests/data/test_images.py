"""Oracle: counting in NumPy, identities of a partition, and facts of MNIST and of the digits."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from internals.data import ImageSet, Normalization, Normalized, load
from internals.errors import DataError

CLASSES = tuple("abcd")


def numbered(labels: list[int]) -> ImageSet:
    """Image number n holds n in its two pixels, so that every image can be told again."""
    numbers = torch.arange(len(labels))
    pixels = torch.stack([numbers // 256, numbers % 256], dim=1).to(torch.uint8)
    return ImageSet(pixels.view(-1, 1, 1, 2), torch.tensor(labels), CLASSES, "numbered", "n")


def numbers_of(images: ImageSet) -> list[int]:
    high, low = images.images[:, 0, 0].long().unbind(1)
    return (high * 256 + low).tolist()


@given(
    labels=st.lists(st.integers(0, 3), min_size=2, max_size=300),
    share=st.floats(0, 1),
    seed=st.integers(0, 5),
)
@settings(max_examples=80, deadline=None, derandomize=True)
def test_hold_out_is_a_stratified_partition(labels, share, seed):
    whole = numbered(labels)
    count = 1 + round(share * (len(labels) - 2))
    rest, held = whole.hold_out(count, seed)
    kept_files, taken = numbers_of(rest), numbers_of(held)
    assert len(taken) == count
    assert sorted(kept_files + taken) == list(range(len(labels)))
    assert kept_files == sorted(kept_files)
    for part in (rest, held):
        assert part.labels.tolist() == [labels[n] for n in numbers_of(part)]
    sizes, actual = Counter(labels), Counter(held.labels.tolist())
    for label, size in sizes.items():
        assert abs(actual[label] - size * count / len(labels)) < 1 + 1e-9


def test_hold_out_depends_on_the_seed_and_on_nothing_else():
    whole = numbered([n % 4 for n in range(200)])
    first = numbers_of(whole.hold_out(40, 1)[1])
    torch.randn(5)
    assert numbers_of(whole.hold_out(40, 1)[1]) == first
    assert numbers_of(whole.hold_out(40, 2)[1]) != first


@pytest.mark.parametrize("count", [0, -1, 5, 6])
def test_hold_out_refuses_to_take_nothing_or_everything(count):
    with pytest.raises(DataError, match=f"cannot hold out {count} of 5 images of numbered"):
        numbered([0, 1, 2, 3, 0]).hold_out(count, 0)


def test_labels_are_checked(unchecked_shapes):
    pixels = torch.zeros(2, 1, 1, 1, dtype=torch.uint8)
    with pytest.raises(DataError, match="x: 2 images but 1 labels"):
        ImageSet(pixels, torch.tensor([0]), CLASSES, "x", "f")
    for labels in ([0, 4], [-1, 0]):
        with pytest.raises(DataError, match="outside its 4 classes"):
            ImageSet(pixels, torch.tensor(labels), CLASSES, "x", "f")


def test_padding_is_background_all_round():
    images = ImageSet(
        torch.full((1, 1, 2, 3), 9, dtype=torch.uint8), torch.tensor([0]), CLASSES, "x", "f"
    )
    expected = np.zeros((6, 7))
    expected[2:4, 2:5] = 9
    np.testing.assert_array_equal(images.padded(2).images[0, 0].numpy(), expected)


@pytest.mark.parametrize("count", [0, 3, 7, 9, None])
def test_the_head_is_the_first_images_in_the_same_memory(count):
    whole = replace(numbered([0, 1, 2, 3, 0, 1, 2]), files=tuple("abcdefg"))
    head = whole.head(count, "few")
    expected = list(range(7))[:count]
    assert numbers_of(head) == expected and len(head) == len(expected)
    assert head.files == tuple("abcdefg")[:count]
    assert head.labels.tolist() == [n % 4 for n in expected]
    assert (head.name, whole.head(count).name) == ("few", "numbered")
    if expected:
        assert head.images.data_ptr() == whole.images.data_ptr()


# Normalisation


def test_paper_range_sends_paper_to_minus_a_tenth_and_ink_to_1175():
    map_ = Normalization.from_range(-0.1, 1.175)
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    expected = np.arange(256) / 255 * 1.275 - 0.1
    actual = map_.apply(pixels)
    np.testing.assert_allclose(actual.numpy().ravel(), expected, atol=2e-7)
    np.testing.assert_allclose(map_.invert(actual).numpy().ravel(), np.arange(256) / 255, atol=2e-7)


def test_frame_is_background_too(digits):
    """Padding comes before normalising, so the frame is -0.1 and not 0."""
    inputs = Normalization.from_range(-0.1, 1.175).apply(digits.train.images[:50])
    frame = torch.cat([inputs[..., :2, :].flatten(), inputs[..., -2:].flatten()])
    assert frame.unique().tolist() == pytest.approx([-0.1], abs=1e-7)
    assert inputs.max().item() == pytest.approx(1.175, abs=1e-6)


def test_fit_is_numpys_mean_and_standard_deviation():
    pixels = torch.randint(0, 256, (37, 3, 5, 7), dtype=torch.uint8)
    pixels[:, 1] //= 3
    images = ImageSet(pixels, torch.zeros(37, dtype=torch.int64), CLASSES, "x", "f")
    actual = Normalization.fit(images)
    exact = pixels.numpy().astype(np.float64) / 255
    np.testing.assert_allclose(actual.mean, exact.mean((0, 2, 3)), rtol=1e-13)
    np.testing.assert_allclose(actual.std, exact.std((0, 2, 3)), rtol=1e-13)
    inputs = actual.apply(pixels).double()
    np.testing.assert_allclose(inputs.mean((0, 2, 3)).numpy(), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.var((0, 2, 3), correction=0).numpy(), 1, rtol=1e-6)


def test_normalized_is_the_same_a_slice_at_a_time(digits):
    map_ = Normalization.from_range(-0.1, 1.175)
    seen = Normalized(digits.test, map_)
    assert len(seen) == len(digits.test)
    torch.testing.assert_close(seen[10:14], map_.apply(digits.test.images)[10:14], rtol=0, atol=0)


# The digits


def test_digits_are_scikit_learns_all_of_them_once(digits):
    assert [len(split) for split in digits] == [1318, 119, 360]
    assert {split.fingerprint for split in digits} == {digits.train.fingerprint}
    actual = Counter(torch.cat([split.labels for split in digits]).tolist())
    assert actual == Counter(load_digits().target.tolist())
    together = torch.cat([split.images for split in digits]).flatten(1)
    originals = load_digits().images.reshape(1797, -1)
    assert len(together.unique(dim=0)) == len(np.unique(originals, axis=0))


def test_digits_are_enlarged_by_bilinear_interpolation(digits):
    """Pixel centres: output i lies at (i + 0.5) * 8 / 20 - 0.5 of the original, clamped."""
    at = np.clip((np.arange(20) + 0.5) * 8 / 20 - 0.5, 0, 7)
    low = np.floor(at).astype(int)
    high, part = np.minimum(low + 1, 7), at - low
    weights = np.zeros((20, 8))
    weights[np.arange(20), low] += 1 - part
    weights[np.arange(20), high] += part
    enlarged = weights @ (load_digits().images / 16) @ weights.T
    bodies = digits.test.images[:40, 0, 6:26, 6:26].numpy().astype(np.float64)
    for body in bodies:
        errors = np.abs(enlarged * 255 - body).max((1, 2))
        assert errors.min() < 0.5 + 1e-4  # rounding to a whole number is all
    frame = digits.test.images.clone()
    frame[:, 0, 6:26, 6:26] = 0
    assert not frame.any()


def test_test_images_are_the_same_for_every_seed(digits, capsys):
    other = load("digits", seed=1)
    torch.testing.assert_close(other.test.images, digits.test.images, rtol=0, atol=0)
    assert (other.validation.labels != digits.validation.labels).any() or (
        other.validation.images != digits.validation.images
    ).any()
    assert "1,318 + 119 of digits train, 360 of digits test" in capsys.readouterr().out


def test_as_many_are_held_out_as_asked_for(digits, capsys):
    splits = load("digits", held_out=0.25, seed=3)
    assert [len(part) for part in splits] == [1_078, 359, 360]  # of 1,437
    capsys.readouterr()
    with pytest.raises(DataError, match="cannot hold out 0 of 1437 images"):
        load("digits", held_out=0.0003)


def test_size_28_is_the_unpadded_field(digits, capsys):
    small = load("digits", size=28)
    torch.testing.assert_close(
        small.test.images, digits.test.images[:, :, 2:30, 2:30], rtol=0, atol=0
    )
    for size in (27, 29, 20):
        with pytest.raises(DataError, match=f"size={size} cannot hold the 28 x 28 digits"):
            load("digits", size=size)


# MNIST itself


def test_real_mnist_has_the_mean_and_variance_of_the_paper(real_mnist):
    """LeCun et al. say mean 0 and variance 1; on today's files it is 0.028 and 0.123."""
    images = torch.cat([real_mnist.train.images, real_mnist.validation.images])
    counts = np.bincount(images.numpy().ravel(), minlength=256)
    values = np.arange(256) / 255 * 1.275 - 0.1
    mean = (counts * values).sum() / counts.sum()
    variance = (counts * (values - mean) ** 2).sum() / counts.sum()
    assert abs(mean - 0.028) < 0.005
    assert abs(variance - 0.123) < 0.01
    inputs = Normalization.from_range(-0.1, 1.175).apply(real_mnist.test.images).double()
    assert abs(inputs.mean().item() - 0.028) < 0.005
    assert abs(inputs.var().item() - 0.123) < 0.01


def test_real_mnist_is_whole_and_its_hold_out_a_twelfth(real_mnist):
    assert [len(split) for split in real_mnist] == [55_000, 5_000, 10_000]
    # The first labels of the training file, known to all: 5 0 4 1 9; of the test file: 7 2 1 0 4.
    assert real_mnist.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    sizes = torch.bincount(torch.cat([real_mnist.train.labels, real_mnist.validation.labels]))
    assert sizes.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    held = torch.bincount(real_mnist.validation.labels)
    assert ((held - sizes / 12).abs() < 1).all()


def test_digits_are_known_by_their_place_in_the_published_files(real_mnist):
    """Of a training digit the number is that in the file, whatever was held out before it."""
    raw = np.fromfile(
        Path(os.environ["INTERNALS_DATA"]).expanduser() / "MNIST/raw/train-images-idx3-ubyte",
        np.uint8, offset=16,
    ).reshape(-1, 28, 28)  # fmt: skip
    for images in real_mnist[:2]:
        for number in (0, 1000, len(images) - 1):
            split, place = images.files[number].split()
            assert split == "train"
            assert np.array_equal(images.images[number, 0, 2:-2, 2:-2].numpy(), raw[int(place)])
    assert real_mnist.test.files[7] == "test 7"
