"""One arm with one seed, and a process that trains one after another.

Small networks are trained one after another on one thread each. Stacking replicas was measured
(torch.func.vmap, steps of 32 images, LeNet-5 in float32 on one core): 3 replicas a step took as
long as 3 steps, 16 replicas that shared their images a fifth less, and 8 with images of their own
a fifth more, because their convolutions become grouped ones. Processes side by side gain more, and
a run gives the same bits whatever runs beside it.

The process is started as `python -m internals.ablations.worker IMAGES`, not forked or spawned, so
that a chapter need not be guarded against being imported by its own children. It reads one run a
line and answers with one line.
"""

import contextlib
import json
import math
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from internals.ablations.diagonal_lm import StochasticDiagonalLM
from internals.data.image_set import ImageSet
from internals.environment import keep_freed_memory
from internals.errors import AblationError, InternalsError
from internals.files import write_atomically
from internals.models.lookup import build
from internals.training.adversary import FGSM, PGD
from internals.training.checkpoint import load_tensors
from internals.training.evaluate import evaluate
from internals.training.loop import DivergenceError, train
from internals.training.losses import CrossEntropy, Map
from internals.training.optim import SGD, Adam, AdamW, Constant, Cosine, Plateau, RMSprop, StepDecay
from internals.training.recipe import DigitAugmentation, InputRange, Recipe

_KINDS = {
    kind.__name__: kind
    for kind in (
        Recipe, InputRange, DigitAugmentation, FGSM, PGD, Map, CrossEntropy, SGD, RMSprop, Adam,
        AdamW, StochasticDiagonalLM, Constant, Cosine, StepDecay, Plateau,
    )
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What one run gave.

    Args:
        accuracy: The share of test images read rightly. A run that diverged has that of an answer
            without looking.
        lost: The number of classes of which no larger a share is read rightly than by guessing; for
            a run that diverged all but one.
        loss: The mean over the last tenth of the training, infinite for a run that diverged.
        diverged: Whether the loss stopped being a number.
        seconds: How long it took.
    """

    accuracy: float
    lost: int
    loss: float
    diverged: bool
    seconds: float


def run_arm(arm: Recipe, images: ImageSet, test: ImageSet, seed: int) -> Outcome:
    """Train by `arm` and score on test images; the same call gives the same numbers.

    Args:
        arm: How to train.
        images: The training images, digits padded to 32 x 32.
        test: The test images, likewise.
        seed: Decides the first weights, the order of the images and their distortions. Arms that
            share a seed share the order, and their first weights where they have the same ones.

    Raises:
        InternalsError: For choices that no network can have.
    """
    if arm.selection != "last":  # the test images would choose the epoch
        raise AblationError(f"selection={arm.selection!r} of an arm must be 'last'")
    began = time.perf_counter()
    torch.manual_seed(seed)
    model = build(arm.network, **dict(arm.arguments))
    images, test = (_at_side(part, arm.stored) for part in (images, test))
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    try:
        result = train(model, arm, images, test, fabric, seed=seed, folder=None)
    except DivergenceError:
        seconds = round(time.perf_counter() - began, 3)
        classes = len(test.class_names)
        return Outcome(1 / classes, classes - 1, math.inf, True, seconds)
    scores = evaluate(model, arm.loss, test, result.pipeline)
    there = scores.confusion.sum(axis=1)
    lost = int((len(there) * scores.confusion.diagonal() <= there)[there > 0].sum())
    loss = result.history.epochs[-1].final_loss
    return Outcome(scores.top1, lost, loss, False, round(time.perf_counter() - began, 3))


def _at_side(images: ImageSet, side: int) -> ImageSet:
    """Padded digits without so much of their margin that `side` pixels are left."""
    margin = (images.images.shape[-1] - side) // 2
    if margin == 0:
        return images
    inside = slice(margin, -margin)
    return replace(images, images=images.images[:, :, inside, inside])


def recipe_from(values: Any) -> Any:
    """The recipe, or the choice of one, that `internals.training.recipe.plain` wrote."""
    if isinstance(values, dict):
        fields = {name: recipe_from(value) for name, value in values.items() if name != "kind"}
        if values["kind"] not in _KINDS:
            raise AblationError(f"{values['kind']} is none of {', '.join(_KINDS)}; add it to them")
        return _KINDS[values["kind"]](**fields)
    return tuple(map(recipe_from, values)) if isinstance(values, list) else values


def main() -> None:
    """Work through standard input; an expected failure is answered, not raised."""
    torch.set_num_threads(1)
    keep_freed_memory()
    tensors, facts = load_tensors(Path(sys.argv[1]))
    images, test = (_images(tensors, name, facts["class_names"]) for name in ("train", "test"))
    answers = sys.stdout
    with Path(os.devnull).open("w") as silence, contextlib.redirect_stdout(silence):
        for line in sys.stdin:
            job = json.loads(line)
            try:
                outcome = run_arm(recipe_from(job["arm"]), images, test, job["seed"])
                write_atomically(Path(job["path"]), json.dumps(vars(outcome), indent=1))
                answer = ""
            except InternalsError as error:
                answer = str(error)
            print(json.dumps(answer), file=answers, flush=True)


def _images(tensors: dict[str, Tensor], name: str, class_names: list[str]) -> ImageSet:
    images, labels = tensors[f"{name}_images"], tensors[f"{name}_labels"]
    return ImageSet(images, labels, tuple(class_names), name, fingerprint="")


if __name__ == "__main__":
    main()
