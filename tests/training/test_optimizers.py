"""Oracle: RMSprop and Adam by formula, weights counted by hand, and a gradient cut by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from internals.models.lenet5 import LeNet5
from internals.models.mobilenet import MobileNet
from internals.training.loop import train
from internals.training.optim import build_optimizer, parameter_groups
from internals.training.recipes import SEED_RECIPES


def test_rmsprop_adds_epsilon_outside_the_root():
    """Inside it, as TensorFlow has it, the first step would be .0099999 and not .0099685."""
    weight = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(weight.weight)
    recipe = replace(SEED_RECIPES["mobilenet"], learning_rate=1.0, weight_decay=0.0)
    optimizer = build_optimizer(recipe, weight)
    square = speed = place = 0.0
    for step in range(3):
        gradient = 0.01 * (step + 1)
        weight.weight.grad = torch.full((1, 1), gradient, dtype=torch.float64)
        optimizer.step()
        square = 0.9 * square + 0.1 * gradient**2
        speed = 0.9 * speed + gradient / (square**0.5 + 1.0)
        place -= speed
        assert weight.weight.item() == pytest.approx(place, rel=1e-12)
        if step == 0:
            assert -weight.weight.item() == pytest.approx(0.0099685, abs=5e-8)


@pytest.mark.parametrize(("name", "first"), [("adam", -1.0), ("adamw", -1.0 - 0.5 * 2.0)])
def test_adam_decays_through_the_gradient_and_adamw_beside_it(name, first):
    """Adam's first step is as long as the rate; AdamW adds rate x decay x weight to it."""
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 2.0)
    recipe = replace(SEED_RECIPES["mobilenet"], optimizer=name, learning_rate=1.0, weight_decay=0.5)
    optimizer = build_optimizer(recipe, weight)
    weight.weight.grad = torch.full((1, 1), 3.0)
    optimizer.step()
    assert weight.weight.item() == pytest.approx(2.0 + first, abs=1e-6)


def test_depthwise_filters_are_spared():
    """13 filters: 9 weights for each of 32 + 64 + 2*128 + 2*256 + 6*512 + 1024 channels."""
    with torch.device("meta"):
        model = MobileNet()
    decayed, spared = parameter_groups(SEED_RECIPES["mobilenet"], model)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (4e-5, 0.0)
    assert len(spared["params"]) == 13
    assert sum(p.numel() for p in spared["params"]) == 44_640
    assert sum(p.numel() for p in decayed["params"]) == 3_217_226 - 44_640
    (everything,) = parameter_groups(
        replace(SEED_RECIPES["mobilenet"], decay_depthwise=True), model
    )
    assert sum(p.numel() for p in everything["params"]) == 3_217_226


def test_grouped_but_not_depthwise_is_not_spared():
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(1, 5, 3, groups=1))
    assert len(parameter_groups(SEED_RECIPES["mobilenet"], grouped)) == 1


def _flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def test_a_gradient_that_is_too_long_is_cut_to_length(few, fabric, tiny_recipe, tmp_path):
    """One SGD step without momentum moves the weights by rate x clip, in the gradient's line."""
    recipe = replace(
        tiny_recipe, epochs=1, batch_size=96, optimizer="sgd", momentum=0.0, weight_decay=0.0,
        learning_rate=0.01, warm_up=0.0, schedule="constant",
    )  # fmt: skip
    moved = {}
    for name, norm in (("free", None), ("cut", 0.5), ("loose", 1e6)):
        torch.manual_seed(3)
        model = LeNet5()
        before = _flat(model)
        train(
            model, replace(recipe, clip_norm=norm), few.train, few.validation, fabric,
            seed=1, checkpoint=tmp_path / name,
        )  # fmt: skip
        moved[name] = _flat(model) - before
    assert moved["free"].norm() > 2 * 0.005
    torch.testing.assert_close(moved["loose"], moved["free"], rtol=0, atol=0)
    wanted = moved["free"] * (0.005 / moved["free"].norm())
    torch.testing.assert_close(moved["cut"], wanted, rtol=1e-4, atol=1e-7)
