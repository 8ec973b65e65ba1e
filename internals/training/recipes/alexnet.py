"""How AlexNet is trained."""

from dataclasses import replace

from internals.training.recipe import Recipe

_PAPER = {
    "data": "ImageNet, 1,000 classes",
    "epochs": "about 90",
    "batch_size": "128",
    "optimizer": "sgd",
    "learning_rate": "0.01",
    "loss": "cross-entropy",
    "size": "224 (its arithmetic needs 227)",
    "pipeline": "random crops and flips, mean image, PCA lighting",
    "weight_decay": "0.0005",
    "momentum": "0.9",
    "schedule": "a tenth whenever validation stalls, three times",
    "crops": "10",
}

_FULL = Recipe(
    network="alexnet",
    data="imagenette",
    epochs=90,
    batch_size=128,
    optimizer="sgd",
    learning_rate=0.01,
    size=224,
    pipeline="alexnet",
    weight_decay=5e-4,
    momentum=0.9,
    clip_norm=5.0,
    warm_up=0.02,
    crops=10,
    test_precision="as trained",
    paper=_PAPER,
)

# The seeds leave the optimiser open: it is the paper's.
SEED = replace(_FULL, schedule="plateau", patience=3, warm_up=0.0, clip_norm=None, crops=1)


def _profiles(full: Recipe) -> dict[str, Recipe]:
    one_crop = replace(full, crops=1)
    return {
        "smoke": replace(
            one_crop, epochs=1, batch_size=8, most_images=16, most_tested=20, warm_up=0.0
        ),
        "quick": replace(
            one_crop,
            epochs=2,
            batch_size=32,
            optimizer="adamw",
            learning_rate=3e-4,
            weight_decay=1e-2,
            clip_norm=1.0,
            warm_up=0.1,
            most_images=1_500,
        ),
        "full": full,
    }


RECIPES = {
    "alexnet": _profiles(_FULL),
    "alexnet-paper": _profiles(
        replace(_FULL, network="alexnet-paper", arguments=(("num_classes", 10),), size=227)
    ),
}
