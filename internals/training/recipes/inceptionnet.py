"""How InceptionNet (GoogLeNet) is trained."""

from dataclasses import replace

from internals.training.recipe import Recipe

_PAPER = {
    "data": "ImageNet, 1,000 classes",
    "epochs": "not given",
    "batch_size": "not given",
    "optimizer": "asynchronous sgd, averaged",
    "learning_rate": "not given",
    "loss": "cross-entropy, two auxiliary heads at 0.3",
    "size": "224",
    "pipeline": "8 to 100 % of the area, aspect 3/4 to 4/3, jitter",
    "weight_decay": "not given",
    "momentum": "0.9",
    "schedule": "4 % less every 8 epochs",
}

SEED = Recipe(
    network="inceptionnet",
    data="imagenette",
    epochs=30,
    batch_size=256,
    optimizer="sgd",
    learning_rate=0.01,
    size=224,
    pipeline="inceptionnet",
    weight_decay=2e-4,
    momentum=0.9,
    schedule="step",
    step_size=8,
    factor=0.96,
    micro_batch=64,
    test_precision="as trained",
    paper=_PAPER,
)

# The seeds' steps leave the rate at 0.885 of its start: a cosine brings it down to 0.
_FULL = replace(
    SEED,
    epochs=60,
    batch_size=64,
    learning_rate=0.05,
    micro_batch=None,
    schedule="cosine",
    warm_up=0.05,
    sizes=((0.6, 128),),
)


def _profiles(full: Recipe) -> dict[str, Recipe]:
    small = replace(full, sizes=(), micro_batch=None)
    return {
        "smoke": replace(
            small, epochs=1, batch_size=8, size=64, most_images=16, most_tested=20, warm_up=0.0
        ),
        "quick": replace(
            small,
            epochs=2,
            batch_size=32,
            optimizer="adamw",
            learning_rate=2e-3,
            weight_decay=1e-2,
            size=96,
            warm_up=0.2,
            most_images=4_400,
        ),
        "full": full,
    }


# Without normalisation layers: a gentler rate, and no batch that throws the weights far.
_GOOGLENET = replace(
    _FULL,
    network="googlenet-paper",
    arguments=(("num_classes", 10),),
    learning_rate=0.01,
    clip_norm=1.0,
)

RECIPES = {"inceptionnet": _profiles(_FULL), "googlenet-paper": _profiles(_GOOGLENET)}
