"""How LeNet-5 and its relatives are trained."""

from dataclasses import replace

from internals.training.recipe import Recipe

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
    optimizer="adamw",
    learning_rate=1e-3,
    loss="map",
    size=32,
    pipeline="range",
    input_range=(-0.1, 1.175),
    weight_decay=1e-4,
    warm_up=0.05,
    rubbish_penalty=5.0,
    least_steps=2500,
    paper=_PAPER,
)
_LOGITS = replace(_FULL, loss="cross-entropy", rubbish_penalty=0.0)
_SOFTMAX = replace(_LOGITS, network="lenet5-softmax")


def _profiles(full: Recipe) -> dict[str, Recipe]:
    return {
        "smoke": replace(full, epochs=1, least_steps=40, most_images=640),
        "quick": replace(full, epochs=3, learning_rate=2e-3, least_steps=1200),
        "full": full,
    }


def _attacked(full: Recipe, kind: str) -> dict[str, Recipe]:
    """The same with half of each batch attacked; quick makes do with fewer images and steps."""
    profiles = {
        name: replace(recipe, adversary=kind, adversary_epsilon=0.2)
        for name, recipe in _profiles(full).items()
    }
    return profiles | {
        "smoke": replace(profiles["smoke"], adversary_steps=2),
        "quick": replace(
            profiles["quick"], epochs=1, least_steps=560, most_images=36_000, adversary_steps=3
        ),
        "full": replace(profiles["full"], adversary_steps=10),
    }


RECIPES = {
    "lenet5": _profiles(_FULL),
    "lenet5-fgsm": _attacked(_FULL, "fgsm"),
    "lenet5-pgd": _attacked(_FULL, "pgd"),
    "lenet5-paper": _profiles(replace(_FULL, network="lenet5-paper")),
    "lenet5-softmax": _profiles(_SOFTMAX),
    "lenet5-softmax-fgsm": _attacked(_SOFTMAX, "fgsm"),
    "lenet5-softmax-pgd": _attacked(_SOFTMAX, "pgd"),
    "lenet5-28": _profiles(
        replace(_LOGITS, network="lenet5-28", size=28, pipeline="mean-std", input_range=None)
    ),
}
