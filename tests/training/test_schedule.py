"""Oracle: torch's own schedulers, and learning rates written out by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch.optim import lr_scheduler

from internals.training.optim import learning_rate, plateaus


def test_warm_up_and_cosine(tiny_recipe):
    recipe = replace(tiny_recipe, learning_rate=1.0, warm_up=0.3)
    root = math.sqrt(0.5)
    # Ten steps: three rise by quarters, then half a cosine over seven.
    by_hand = [0.25, 0.5, 0.75, 1.0]
    by_hand += [0.5 * (1 + math.cos(math.pi * n / 7)) for n in range(1, 7)]
    assert [learning_rate(recipe, n, 2, 5) for n in range(10)] == pytest.approx(by_hand, rel=1e-14)
    eight = replace(recipe, warm_up=0.0)
    found = [learning_rate(eight, n, 8, 1) for n in (0, 2, 4, 6)]
    assert found == pytest.approx([1.0, 0.5 * (1 + root), 0.5, 0.5 * (1 - root)], rel=1e-14)


def test_constant_schedule(tiny_recipe):
    recipe = replace(tiny_recipe, schedule="constant", warm_up=0.5, learning_rate=0.6)
    found = [learning_rate(recipe, n, 2, 2) for n in range(4)]
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.6])


def _optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)


def test_steps_are_those_of_torch(tiny_recipe):
    recipe = replace(tiny_recipe, schedule="step", step_size=3, factor=0.7, learning_rate=0.01)
    recipe = replace(recipe, warm_up=0.0)
    optimizer = _optimizer()
    scheduler = lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.7)
    for epoch in range(11):
        wanted = optimizer.param_groups[0]["lr"]
        steps = range(epoch * 5, epoch * 5 + 5)
        found = [learning_rate(recipe, step, 11, 5) for step in steps]
        assert found == pytest.approx([wanted] * 5, rel=1e-13)
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
def test_plateaus_are_those_of_torch(tiny_recipe, patience):
    recipe = replace(tiny_recipe, schedule="plateau", patience=patience, factor=0.5, warm_up=0.0)
    recipe = replace(recipe, learning_rate=0.01)
    # Ties, small gains, long standstills and falls.
    scores = (torch.randint(0, 12, (60,)).cumsum(0) % 17 / 17).sort().values.tolist()
    scores += torch.randint(0, 20, (60,)).div(20).tolist()
    optimizer = _optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=patience, threshold=0, eps=0
    )
    for epoch, score in enumerate(scores):
        wanted = optimizer.param_groups[0]["lr"]
        found = learning_rate(recipe, epoch * 2, 120, 2, scores[:epoch])
        assert found == pytest.approx(wanted, rel=1e-12), epoch
        scheduler.step(score)
    assert plateaus(scores, patience) > 5
