"""Oracle: batches unshared, images as they were."""

import pytest
import torch
from torch.nn import functional

from internals.data import Pipeline
from internals.training import Batches, DigitAugmentation
from tests.reference.colour_run import colour_images

CPU = torch.device("cpu")
_RANGE = Pipeline.from_range(0.0, 255.0, 32)  # inputs are the bytes themselves


@pytest.mark.parametrize("count", [1, 16, 17, 60])
def test_processes_share_the_very_batch_of_one(count):
    """The same augmented pictures, each once, each of the same weight; the idle one has none."""
    images = colour_images(60, 37)
    pipeline = Pipeline.fit("alexnet", images, 32)
    numbers = torch.randperm(60)[:count]
    whole, labels, weight = Batches(images, 60, 7, CPU).inputs(numbers, pipeline, 2, 5)
    assert weight == pytest.approx(1 / count)
    shares = [Batches(images, 60, 7, CPU, rank, 3) for rank in range(3)]
    shares = [batches.inputs(numbers, pipeline, 2, 5) for batches in shares]
    working = [share for share in shares if share[2] > 0]
    assert len(working) == min(3, -(-count // 16))
    assert all(share[2] == weight for share in working)
    shared = torch.cat([inputs for inputs, _, _ in working])
    answers = torch.cat([labels for _, labels, _ in working])
    assert len(shared) == count
    for picture, label in zip(whole, labels, strict=True):
        same = (shared == picture).flatten(1).all(dim=1)
        assert same.sum() == 1
        assert answers[same] == label


def test_each_step_draws_pictures_of_its_own():
    images = colour_images(16, 37)
    pipeline = Pipeline.fit("alexnet", images, 32)
    batches = {seed: Batches(images, 16, seed, CPU) for seed in (1, 2)}
    places = [(1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1)]
    drawn = [
        batches[seed].inputs(torch.arange(16), pipeline, epoch, step)[0]
        for seed, epoch, step in places
    ]
    for index, pictures in enumerate(drawn):
        assert all((pictures != other).any() for other in drawn[:index])
    again = batches[1].inputs(torch.arange(16), pipeline, 1, 1)[0]
    torch.testing.assert_close(again, drawn[0], rtol=0, atol=0)


def test_all_processes_take_the_images_in_one_order():
    images = colour_images(60, 37)
    orders = [list(Batches(images, 16, 7, CPU, rank, 3).order(4)) for rank in range(3)]
    for order in orders:
        assert [len(batch) for batch in order] == [16, 16, 16, 12]
        torch.testing.assert_close(torch.cat(order), torch.cat(orders[0]), rtol=0, atol=0)


def _epoch(batches: Batches, epoch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Numbers, pictures and labels of a whole epoch."""
    order = list(batches.order(epoch))
    made = [batches.inputs(part, _RANGE, epoch, step)[:2] for step, part in enumerate(order)]
    return torch.cat(order), torch.cat([x for x, _ in made]), torch.cat([y for _, y in made])


def test_an_epoch_has_each_digit_as_it_is_and_once_augmented(digits):
    images = digits.train.head(50)
    batches = Batches(images, 32, 7, CPU, augment=DigitAugmentation(2, 10.0, duplicate=True))
    numbers, pictures, labels = _epoch(batches, 3)
    torch.testing.assert_close(numbers.sort().values, torch.arange(100), rtol=0, atol=0)
    originals = images.images[numbers % 50].float()
    torch.testing.assert_close(labels, images.labels[numbers % 50], rtol=0, atol=0)
    same = (pictures - originals).abs().flatten(1).amax(dim=1) < 0.01
    torch.testing.assert_close(same, numbers < 50, rtol=0, atol=0)
    # Not other digits: most of the ink is within a step of where it was.
    thick = functional.max_pool2d(originals, 9, stride=1, padding=4)
    assert (pictures * (thick > 0)).sum() > 0.97 * pictures.sum()
    _, again, _ = _epoch(batches, 4)
    assert (again.sum(dim=(1, 2, 3)) != pictures.sum(dim=(1, 2, 3))).any()


def test_without_duplicates_every_digit_is_augmented(digits):
    images = digits.train.head(40)
    batches = Batches(images, 16, 7, CPU, augment=DigitAugmentation(rotation=10.0))
    numbers, pictures, labels = _epoch(batches, 1)
    torch.testing.assert_close(numbers.sort().values, torch.arange(40), rtol=0, atol=0)
    changed = (pictures - images.images[numbers].float()).abs().flatten(1).amax(dim=1)
    assert changed.min() > 1
    torch.testing.assert_close(labels, images.labels[numbers], rtol=0, atol=0)
