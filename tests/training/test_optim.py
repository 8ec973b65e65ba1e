"""Oracle: formulas in float64, torch's own schedulers, weights counted and rates taken by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from internals.models import LeNet5, MobileNet
from internals.training import (
    SEED_RECIPES,
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    OptimizerChoice,
    Plateau,
    RMSprop,
    StepDecay,
    learning_rate,
    plateaus,
    train,
)


def test_rmsprop_adds_epsilon_outside_the_root():
    """Inside it, as TensorFlow has it, the first step would be .0099999 and not .0099685."""
    weight = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(weight.weight)
    optimizer = RMSprop(lr=1.0, alpha=0.9, eps=1.0, momentum=0.9).build(weight)
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


@pytest.mark.parametrize(("choice", "first"), [(Adam, -1.0), (AdamW, -1.0 - 0.5 * 2.0)])
def test_adam_decays_through_the_gradient_and_adamw_beside_it(choice, first):
    """Adam's first step is as long as the rate; AdamW adds rate x decay x weight to it."""
    weight = nn.Linear(1, 1, bias=False)
    nn.init.constant_(weight.weight, 2.0)
    optimizer = choice(lr=1.0, weight_decay=0.5).build(weight)
    weight.weight.grad = torch.full((1, 1), 3.0)
    optimizer.step()
    assert weight.weight.item() == pytest.approx(2.0 + first, abs=1e-6)


@pytest.mark.parametrize(
    ("choice", "oracle"),
    [
        (AdamW(0.01, 0.1), lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
        (Adam(0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
        (SGD(0.01), lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
        (SGD(0.01, 0.1, momentum=0.0), lambda p: torch.optim.SGD(p, lr=0.01, weight_decay=0.1)),
        (
            RMSprop(0.01, alpha=0.8, eps=0.1, momentum=0.5),
            lambda p: torch.optim.RMSprop(p, lr=0.01, alpha=0.8, eps=0.1, momentum=0.5),
        ),
    ],
)
def test_optimizers_are_torchs(choice, oracle):
    ours, theirs = (nn.Linear(3, 2).double() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    for model, optimizer in [(ours, choice.build(ours)), (theirs, oracle(theirs.parameters()))]:
        for step in range(5):
            torch.manual_seed(step)
            optimizer.zero_grad()
            model(torch.randn(4, 3, dtype=torch.float64)).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_depthwise_filters_are_spared():
    """13 filters: 9 weights for each of 32 + 64 + 2*128 + 2*256 + 6*512 + 1024 channels."""
    with torch.device("meta"):
        model = MobileNet()
    choice = SEED_RECIPES["mobilenet"].optimizer
    decayed, spared = choice.parameter_groups(model)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (4e-5, 0.0)
    assert len(spared["params"]) == 13
    assert sum(p.numel() for p in spared["params"]) == 44_640
    assert sum(p.numel() for p in decayed["params"]) == 3_217_226 - 44_640
    (everything,) = replace(choice, decay_depthwise=True).parameter_groups(model)
    assert sum(p.numel() for p in everything["params"]) == 3_217_226


def test_grouped_but_not_depthwise_is_not_spared():
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(1, 5, 3, groups=1))
    assert len(SGD(0.1, decay_depthwise=False).parameter_groups(grouped)) == 1


def test_an_optimizer_that_builds_nothing_says_so():
    with pytest.raises(NotImplementedError):
        OptimizerChoice(0.1).build(nn.Linear(1, 1))


def _flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def test_a_gradient_that_is_too_long_is_cut_to_length(few, fabric, tiny_recipe):
    """One SGD step without momentum moves the weights by rate x clip, in the gradient's line."""
    recipe = replace(
        tiny_recipe, epochs=1, batch_size=96, optimizer=SGD(0.01, momentum=0.0), schedule=Constant()
    )
    moved = {}
    for name, norm in (("free", None), ("cut", 0.5), ("loose", 1e6)):
        torch.manual_seed(3)
        model = LeNet5()
        before = _flat(model)
        train(
            model, replace(recipe, clip_norm=norm), few.train, few.validation, fabric,
            seed=1, folder=None,
        )  # fmt: skip
        moved[name] = _flat(model) - before
    assert moved["free"].norm() > 2 * 0.005
    torch.testing.assert_close(moved["loose"], moved["free"], rtol=0, atol=0)
    wanted = moved["free"] * (0.005 / moved["free"].norm())
    torch.testing.assert_close(moved["cut"], wanted, rtol=1e-4, atol=1e-7)


def test_warm_up_and_cosine():
    root = math.sqrt(0.5)
    # Ten steps: three rise by quarters, then half a cosine over seven.
    by_hand = [0.25, 0.5, 0.75, 1.0]
    by_hand += [0.5 * (1 + math.cos(math.pi * n / 7)) for n in range(1, 7)]
    rates = [learning_rate(1.0, Cosine(warm_up=0.3), n, 10, 5) for n in range(10)]
    assert rates == pytest.approx(by_hand, rel=1e-14)
    rates = [learning_rate(1.0, Cosine(), n, 8, 1) for n in (0, 2, 4, 6)]
    assert rates == pytest.approx([1.0, 0.5 * (1 + root), 0.5, 0.5 * (1 - root)], rel=1e-14)


def test_a_constant_rate_rises_and_stays():
    rates = [learning_rate(0.6, Constant(warm_up=0.5), n, 4, 2) for n in range(4)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.6])


def _optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)


def test_steps_are_those_of_torch():
    schedule = StepDecay(epochs=3, factor=0.7)
    optimizer = _optimizer()
    scheduler = lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.7)
    for epoch in range(11):
        wanted = optimizer.param_groups[0]["lr"]
        steps = range(epoch * 5, epoch * 5 + 5)
        rates = [learning_rate(0.01, schedule, step, 55, 5) for step in steps]
        assert rates == pytest.approx([wanted] * 5, rel=1e-13)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
def test_plateaus_are_those_of_torch(patience):
    schedule = Plateau(patience=patience, factor=0.5)
    # Ties, small gains, long standstills and falls.
    scores = (torch.randint(0, 12, (60,)).cumsum(0) % 17 / 17).sort().values.tolist()
    scores += torch.randint(0, 20, (60,)).div(20).tolist()
    optimizer = _optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=patience, threshold=0, eps=0
    )
    for epoch, score in enumerate(scores):
        wanted = optimizer.param_groups[0]["lr"]
        rate = learning_rate(0.01, schedule, epoch * 2, 240, 2, scores[:epoch])
        assert rate == pytest.approx(wanted, rel=1e-12), epoch
        scheduler.step(score)
    assert plateaus(scores, patience) > 5
