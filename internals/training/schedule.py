"""How the learning rate moves during a run."""

from collections.abc import Sequence
from math import cos, pi

from internals.training.recipe import Recipe


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
