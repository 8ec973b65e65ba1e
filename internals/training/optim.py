"""How the learning rate moves during a run."""

from collections.abc import Sequence
from math import cos, pi

import torch
from torch import nn

from internals.models.blocks import depthwise
from internals.training.recipe import Recipe


def build_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that `recipe` names, over all weights of `model`."""
    # Fused, a step over VGG-16's 134 million weights takes a quarter of the time.
    groups = parameter_groups(recipe, model)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=True
        )
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            groups,
            lr=recipe.learning_rate,
            alpha=recipe.smoothing,
            eps=recipe.epsilon,
            momentum=recipe.momentum,
        )
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.learning_rate, fused=True)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, fused=True)


def parameter_groups(recipe: Recipe, model: nn.Module) -> list[dict]:
    """All parameters with the recipe's weight decay, depthwise filters apart where it spares them.

    Howard et al. (2017, section 3.2): "very little or no weight decay on the depthwise filters".
    """
    spared = {
        id(module.weight)
        for module in model.modules()
        if depthwise(module) and not recipe.decay_depthwise
    }
    decayed = [p for p in model.parameters() if id(p) not in spared]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}]
    if spared:
        rest = [p for p in model.parameters() if id(p) in spared]
        groups.append({"params": rest, "weight_decay": 0.0})
    return groups


def learning_rate(
    recipe: Recipe, step: int, epochs: int, steps_an_epoch: int, scores: Sequence[float] = ()
) -> float:
    """The rate of optimiser step number `step`, counted from 0 over all `epochs`.

    `scores` are the validation top-1 of the epochs that are over: they alone decide schedule
    "plateau", so that a run that goes on after a kill needs no other memory.
    """
    steps = epochs * steps_an_epoch
    warming = recipe.warm_up * steps
    if step < warming:
        return recipe.learning_rate * (step + 1) / (warming + 1)
    if recipe.schedule == "cosine":
        share = 0.5 * (1 + cos(pi * (step - warming) / (steps - warming)))
    elif recipe.schedule == "step":
        share = recipe.factor ** (step // steps_an_epoch // recipe.step_size)
    elif recipe.schedule == "plateau":
        share = recipe.factor ** plateaus(scores, recipe.patience)
    else:
        share = 1.0
    return recipe.learning_rate * share


def plateaus(scores: Sequence[float], patience: int) -> int:
    """How often more than `patience` epochs in a row brought no score above the best before them.

    After each such stretch the count begins anew, as in torch's `ReduceLROnPlateau` in mode "max"
    with threshold 0.
    """
    best, waited, found = float("-inf"), 0, 0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited > patience:
            found, waited = found + 1, 0
    return found
