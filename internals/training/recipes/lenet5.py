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


def _profiles(full: Recipe) -> dict[str, Recipe]:
    return {
        "smoke": replace(full, epochs=1, least_steps=40, most_images=640),
        "quick": replace(full, epochs=3, learning_rate=2e-3),
        "full": full,
    }


RECIPES = {
    "lenet5": _profiles(_FULL),
    "lenet5-paper": _profiles(replace(_FULL, network="lenet5-paper")),
    "lenet5-softmax": _profiles(
        replace(_FULL, network="lenet5-softmax", loss="cross-entropy", rubbish_penalty=0.0)
    ),
}
