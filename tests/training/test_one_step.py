"""Oracle: AdamW (Loshchilov and Hutter, alg. 2) and SGD with momentum by formula in float64."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import functional_call

from internals.models.lenet5 import LeNet5
from internals.training import loop
from internals.training.loop import train
from internals.training.losses import MapLoss

LOW, HIGH = -0.1, 1.175


def _gradient(weights: dict[str, np.ndarray], images) -> tuple[dict[str, np.ndarray], float]:
    """The gradient of equation 9 at `weights` for one batch, in float64."""
    tensors = {k: torch.tensor(v, requires_grad=True) for k, v in weights.items()}
    model = LeNet5().double()
    inputs = images.images.double() / 255 * (HIGH - LOW) + LOW
    penalties = functional_call(model, tensors, (inputs,))
    loss = MapLoss(5.0)(penalties, images.labels)
    gradients = torch.autograd.grad(loss, list(tensors.values()))
    found = {k: g.numpy() for k, g in zip(tensors, gradients, strict=True)}
    return found, loss.item()


def _cosine(rate: float, step: int, steps: int) -> float:
    return rate * 0.5 * (1 + math.cos(math.pi * step / steps))


def _train(few, recipe, fabric, tmp_path) -> tuple[dict, dict, object, object]:
    torch.manual_seed(3)
    model = LeNet5()
    before = {k: p.detach().double().numpy() for k, p in model.named_parameters()}
    before = {k: v.copy() for k, v in before.items()}
    images = few.train.subset(torch.arange(32))
    history, _ = train(
        model, recipe, images, few.validation, fabric, seed=1, checkpoint=tmp_path / "c.pt"
    )
    after = {k: p.detach().double().numpy() for k, p in model.named_parameters()}
    return before, after, history, images


def _check_change(before, after, expected) -> None:
    """Relative to the largest change of each tensor: the signal is the change, not the weight."""
    for name in before:
        change, wanted = after[name] - before[name], expected[name] - before[name]
        error = np.abs(change - wanted).max() / np.abs(wanted).max()
        assert error < 2e-3, f"{name}: {error:.1e}"


def test_one_adamw_step_by_hand(few, fabric, tiny_recipe, tmp_path):
    recipe = replace(
        tiny_recipe, epochs=1, warm_up=0.0, weight_decay=0.3, learning_rate=5e-3, most_images=None
    )
    before, after, history, images = _train(few, recipe, fabric, tmp_path)
    gradient, loss = _gradient(before, images)
    expected = {}
    for name, w in before.items():
        g = gradient[name]
        m, v = (1 - 0.9) * g, (1 - 0.999) * g * g
        m_hat, v_hat = m / (1 - 0.9), v / (1 - 0.999)
        expected[name] = w - 5e-3 * 0.3 * w - 5e-3 * m_hat / (np.sqrt(v_hat) + 1e-8)
    # Where a gradient is next to nothing, its sign, all that Adam's first step keeps, is noise.
    for name, g in gradient.items():
        noise = np.abs(g) < 1e-4 * np.abs(g).max()
        expected[name][noise] = after[name][noise]
    _check_change(before, after, expected)
    assert history.epochs[0].learning_rate == 5e-3
    assert abs(history.epochs[0].train_loss / loss - 1) < 1e-5


def test_two_sgd_steps_with_momentum_by_hand(few, fabric, tiny_recipe, tmp_path):
    recipe = replace(
        tiny_recipe, epochs=2, warm_up=0.0, weight_decay=0.1, learning_rate=1e-3,
        optimizer="sgd", momentum=0.8, most_images=None,
    )  # fmt: skip
    before, after, history, images = _train(few, recipe, fabric, tmp_path)
    if history.best.number == 1:
        pytest.fail("the fixture should improve in its second epoch")
    weights, speed = dict(before), {k: np.zeros_like(v) for k, v in before.items()}
    for step in range(2):
        gradient, loss = _gradient(weights, images)
        for name, w in weights.items():
            g = gradient[name] + 0.1 * w
            speed[name] = g if step == 0 else 0.8 * speed[name] + g
            weights[name] = w - _cosine(1e-3, step, 2) * speed[name]
        assert abs(history.epochs[step].train_loss / loss - 1) < 1e-5
    _check_change(before, after, weights)
    assert history.column("learning_rate") == [1e-3, 0.5e-3]


def test_every_epoch_takes_each_image_once_in_an_order_of_its_own(
    few, fabric, tiny_recipe, tmp_path, monkeypatch
):
    taken = []
    right = loop._Training.one_step

    def noted(self, step, batch, pipeline):
        taken.append((step, batch.tolist()))
        return right(self, step, batch, pipeline)

    monkeypatch.setattr(loop._Training, "one_step", noted)
    recipe = replace(tiny_recipe, batch_size=7)  # 13 batches of 7 and one of 5
    orders = []
    for seed, path in ((1, "a"), (1, "b"), (2, "c")):
        taken.clear()
        checkpoint = tmp_path / path
        train(LeNet5(), recipe, few.train, few.validation, fabric, seed=seed, checkpoint=checkpoint)
        assert [step for step, _ in taken] == list(range(28))
        assert [len(batch) for _, batch in taken] == ([7] * 13 + [5]) * 2
        numbers = [number for _, batch in taken for number in batch]
        orders += [numbers[:96], numbers[96:]]
    assert all(sorted(order) == list(range(96)) for order in orders)
    assert orders[:2] == orders[2:4]
    assert len({tuple(order) for order in orders}) == 4


def test_the_loss_of_an_epoch_is_the_mean_over_images(few, fabric, tiny_recipe, tmp_path):
    """With next to no learning rate it is the loss of all images at once, the short batch too."""
    recipe = replace(tiny_recipe, learning_rate=1e-12, batch_size=7, weight_decay=0.0)
    torch.manual_seed(3)
    model = LeNet5()
    start = {k: p.detach().double().numpy().copy() for k, p in model.named_parameters()}
    history, _ = train(
        model, recipe, few.train, few.validation, fabric, seed=1, checkpoint=tmp_path / "c.pt"
    )
    _, loss = _gradient(start, few.train)
    for epoch in history.epochs:
        assert abs(epoch.train_loss / loss - 1) < 1e-5
