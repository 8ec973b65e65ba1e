"""How LeNet-5 and its relatives are trained."""

from dataclasses import replace

from internals.training.adversary import FGSM, PGD
from internals.training.losses import CrossEntropy, Map
from internals.training.optim import AdamW, Cosine
from internals.training.recipe import InputRange, Recipe

_PAPER = {
    "data": "MNIST",
    "epochs": "20",
    "batch_size": "1",
    "optimizer": "stochastic diagonal Levenberg-Marquardt",
    "learning_rate": "0.0005 over curvature",
    "loss": "MAP (eq. 9)",
    "size": "32",
    "input_range": "-0.1 to 1.175",
    "weight_decay": "none",
    "schedule": "5 steps down to 0.00001",
    "rubbish_penalty": "positive, no value given",
}

_FULL = Recipe(
    network="lenet5",
    data="mnist",
    epochs=20,
    batch_size=64,
    optimizer=AdamW(lr=1e-3, weight_decay=1e-4),
    schedule=Cosine(warm_up=0.05),
    loss=Map(j=5.0),
    size=32,
    pipeline=InputRange(-0.1, 1.175),
    least_steps=2500,
    snapshots=(1, 2, 5, 10, 20),
    paper=_PAPER,
)
_LOGITS = replace(_FULL, loss=CrossEntropy())
_SOFTMAX = replace(_LOGITS, network="lenet5-softmax")


def _profiles(full: Recipe) -> dict[str, Recipe]:
    short = replace(full, snapshots=())
    return {
        "smoke": replace(short, epochs=1, least_steps=40, most_images=640),
        "quick": replace(
            short, epochs=3, optimizer=AdamW(lr=2e-3, weight_decay=1e-4), least_steps=1200
        ),
        "full": full,
    }


def _attacked(full: Recipe, adversary: type[FGSM]) -> dict[str, Recipe]:
    """The same with half of each batch attacked; quick makes do with fewer images and steps."""
    steps = {"smoke": 2, "quick": 3, "full": 10}
    profiles = {
        name: replace(
            recipe,
            adversary=(
                PGD(epsilon=0.2, steps=steps[name]) if adversary is PGD else FGSM(epsilon=0.2)
            ),
        )
        for name, recipe in _profiles(full).items()
    }
    quick = replace(profiles["quick"], epochs=1, least_steps=560, most_images=36_000)
    return profiles | {"quick": quick}


RECIPES = {
    "lenet5": _profiles(_FULL),
    "lenet5-fgsm": _attacked(_FULL, FGSM),
    "lenet5-pgd": _attacked(_FULL, PGD),
    "lenet5-paper": _profiles(replace(_FULL, network="lenet5-paper")),
    "lenet5-softmax": _profiles(_SOFTMAX),
    "lenet5-softmax-fgsm": _attacked(_SOFTMAX, FGSM),
    "lenet5-softmax-pgd": _attacked(_SOFTMAX, PGD),
    "lenet5-28": _profiles(replace(_LOGITS, network="lenet5-28", size=28, pipeline="mean-std")),
}
