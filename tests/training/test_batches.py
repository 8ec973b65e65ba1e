"""Oracle: one pass over the whole batch, in float64, batches unshared, images as they were."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from internals.data.pipeline import Pipeline
from internals.models.lenet5 import LeNet5
from internals.training import loop
from internals.training.batches import Batches, first
from internals.training.losses import MapLoss
from tests.reference.colour_run import colour_images

CPU = torch.device("cpu")


@pytest.mark.parametrize("most", [None, 13, 5, 2, 1])
def test_accumulated_gradients_are_those_of_the_whole_batch(
    few, fabric, tiny_recipe, tmp_path, monkeypatch, most
):
    """13 images in micro-batches of at most 5 are 5 + 4 + 4: each image counts alike."""
    exact = Pipeline.training
    monkeypatch.setattr(Pipeline, "training", lambda *given: exact(*given).double())
    torch.manual_seed(3)
    model = LeNet5().double()
    images = few.train.subset(torch.arange(13))
    inputs = Pipeline.from_range(-0.1, 1.175, 32).evaluation(images.images).double()
    loss = MapLoss(5.0)(model(inputs), images.labels)
    wanted = torch.autograd.grad(loss, list(model.parameters()))
    recipe = replace(tiny_recipe, batch_size=13, micro_batch=most)
    run = loop._Training(
        model, recipe, images, few.validation, fabric, 1, tmp_path / "checkpoint.pt"
    )
    run.resume()
    monkeypatch.setattr(run.optimizer, "step", lambda: None)
    total, right = run.one_step(0, torch.randperm(13), run.pipeline)
    assert total.item() == pytest.approx(loss.item(), rel=1e-6)
    assert right == (model(inputs).argmin(dim=1) == images.labels).sum()
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        error = (parameter.grad - gradient).abs().max() / gradient.abs().max()
        assert error < 1e-12


@pytest.mark.parametrize("count", [1, 16, 17, 60])
def test_processes_share_the_very_batch_of_one(count):
    """The same augmented pictures, each once, each of the same weight; the idle one has none."""
    images = colour_images(60, 37)
    pipeline = Pipeline.fit("alexnet", images, 32)
    numbers = torch.randperm(60)[:count]
    whole, labels, weight = Batches(images, 60, 7, CPU, 0, 1).inputs(numbers, pipeline, 2, 5)
    assert weight == pytest.approx(1 / count)
    shares = [Batches(images, 60, 7, CPU, rank, 3) for rank in range(3)]
    shares = [batches.inputs(numbers, pipeline, 2, 5) for batches in shares]
    working = [share for share in shares if share[2] > 0]
    assert len(working) == min(3, -(-count // 16))
    assert all(share[2] == weight for share in working)
    found = torch.cat([inputs for inputs, _, _ in working])
    mine = torch.cat([answers for _, answers, _ in working])
    assert len(found) == count
    for picture, label in zip(whole, labels, strict=True):
        same = (found == picture).flatten(1).all(dim=1)
        assert same.sum() == 1
        assert mine[same] == label


def test_each_step_draws_pictures_of_its_own():
    images = colour_images(16, 37)
    pipeline = Pipeline.fit("alexnet", images, 32)
    batches = {seed: Batches(images, 16, seed, CPU, 0, 1) for seed in (1, 2)}
    places = [(1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1)]
    drawn = [
        batches[seed].inputs(torch.arange(16), pipeline, epoch, step)[0]
        for seed, epoch, step in places
    ]
    for index, one in enumerate(drawn):
        assert all((one != other).any() for other in drawn[:index])
    again = batches[1].inputs(torch.arange(16), pipeline, 1, 1)[0]
    torch.testing.assert_close(again, drawn[0], rtol=0, atol=0)


_RANGE = Pipeline.from_range(0.0, 255.0, 32)  # inputs are the bytes themselves


def _epoch(batches: Batches, epoch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Numbers, pictures and labels of a whole epoch."""
    order = list(batches.order(epoch))
    made = [batches.inputs(part, _RANGE, epoch, step)[:2] for step, part in enumerate(order)]
    return torch.cat(order), torch.cat([x for x, _ in made]), torch.cat([y for _, y in made])


def test_an_epoch_has_each_digit_as_it_is_and_once_augmented(digits):
    images = digits.train.subset(torch.arange(50))
    batches = Batches(images, 32, 7, CPU, 0, 1, shift=2, rotation=10.0, duplicate=True)
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
    images = digits.train.subset(torch.arange(40))
    batches = Batches(images, 16, 7, CPU, 0, 1, rotation=10.0)
    numbers, pictures, labels = _epoch(batches, 1)
    torch.testing.assert_close(numbers.sort().values, torch.arange(40), rtol=0, atol=0)
    changed = (pictures - images.images[numbers].float()).abs().flatten(1).amax(dim=1)
    assert changed.min() > 1
    torch.testing.assert_close(labels, images.labels[numbers], rtol=0, atol=0)


@pytest.mark.parametrize("duplicate", [False, True])
def test_what_a_run_counts_are_pictures_not_images(
    few, fabric, tiny_recipe, tmp_path, monkeypatch, duplicate
):
    """The mean loss and the share right of an epoch, from every batch that the network was fed."""
    fed: list[tuple[torch.Tensor, torch.Tensor]] = []
    real = Batches.inputs

    def watched(self, *given):
        found = real(self, *given)
        fed.append(found[:2])
        return found

    monkeypatch.setattr(Batches, "inputs", watched)
    # Steps so small that the network stays what it was.
    recipe = replace(
        tiny_recipe, epochs=1, optimizer="sgd", learning_rate=1e-12, shift=1, duplicate=duplicate
    )
    torch.manual_seed(3)
    model = LeNet5()
    history, _ = loop.train(
        model, recipe, few.train, few.validation, fabric, seed=1, checkpoint=tmp_path / "c.pt"
    )
    pictures, labels = (torch.cat(parts) for parts in zip(*fed, strict=True))
    assert len(pictures) == 96 * (1 + duplicate)
    with torch.no_grad():
        penalties = model(pictures)
    right = (penalties.argmin(dim=1) == labels).float().mean().item()
    assert history.column("train_top1") == [pytest.approx(right)]
    loss = MapLoss(5.0)(penalties, labels).item()
    assert history.column("train_loss") == [pytest.approx(loss, rel=1e-5)]


def test_the_first_images_are_no_copy():
    images = colour_images(20, 5)
    part = first(images, 7)
    assert len(part) == 7
    assert part.images.data_ptr() == images.images.data_ptr()
    torch.testing.assert_close(part.labels, images.labels[:7], rtol=0, atol=0)
    assert first(images, None) is images


def test_small_sizes_come_first(fabric, tiny_recipe, tmp_path):
    """The shape of what the network is fed, epoch by epoch; validation is at full size."""
    seen: list[tuple[bool, int]] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 10)

        def forward(self, x):
            seen.append((self.training, x.shape[-1]))
            return self.fc(x.mean(dim=(2, 3)))

    recipe = replace(
        tiny_recipe, loss="cross-entropy", pipeline="resnet18", input_range=None, size=32,
        epochs=4, batch_size=30, sizes=((0.5, 16), (0.25, 24)), most_images=30,
    )  # fmt: skip
    images = colour_images(40, 37)
    loop.train(Watching(), recipe, images, images, fabric, seed=1, checkpoint=tmp_path / "c.pt")
    assert [side for training, side in seen if training] == [16, 16, 24, 32]
    assert {side for training, side in seen if not training} == {32}


def _vgg_like() -> nn.Sequential:
    """Eight 3 x 3 convolutions and two linear layers, He's initialisation, no normalisation."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (16, 16, 0, 24, 24, 0, 32, 32, 0, 32, 32, 0):
        if not width:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width
    layers += [nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.normal_(layers[-1].weight, std=0.01)
    return nn.Sequential(*layers)


def test_a_deep_network_without_normalisation_starts(fabric, tiny_recipe, tmp_path):
    """Under ln 10, the loss of one that says nothing, with the recipe's warm-up and clipping."""
    recipe = replace(
        tiny_recipe, loss="cross-entropy", pipeline="vgg16", input_range=None, size=32, epochs=5,
        batch_size=16, optimizer="sgd", learning_rate=0.02, momentum=0.9, weight_decay=5e-4,
        clip_norm=1.0, warm_up=0.1, most_images=None,
    )  # fmt: skip
    images = colour_images(160, 37)
    torch.manual_seed(0)
    history, _ = loop.train(
        _vgg_like(), recipe, images, images, fabric, seed=1, checkpoint=tmp_path / "c.pt"
    )
    chance = functional.cross_entropy(torch.zeros(1, 10), torch.zeros(1, dtype=torch.long))
    assert history.column("validation_loss")[-1] < 0.8 * chance.item()
