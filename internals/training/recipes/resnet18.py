"""How ResNet-18 and its plain twin are trained: all by one recipe, to be compared."""

from dataclasses import replace

from internals.training.recipe import Recipe

_PAPER = {
    "data": "ImageNet, 1,000 classes",
    "epochs": "about 120",
    "batch_size": "256",
    "optimizer": "sgd, momentum 0.9",
    "learning_rate": "0.1",
    "loss": "cross-entropy",
    "size": "224",
    "pipeline": "shorter side 256 to 480, crops, flips, PCA lighting",
    "weight_decay": "0.0001",
    "schedule": "a tenth whenever the error stalls",
    "crops": "10",
}

SEED = Recipe(
    network="resnet18",
    data="imagenette",
    epochs=30,
    batch_size=256,
    optimizer="adamw",
    learning_rate=1e-3,
    size=224,
    pipeline="resnet18",
    weight_decay=1e-4,
    schedule="plateau",
    patience=2,
    factor=0.1,
    micro_batch=64,
    test_precision="as trained",
    paper=_PAPER,
)

_FULL = replace(
    SEED,
    epochs=60,
    batch_size=64,
    weight_decay=5e-2,
    micro_batch=None,
    schedule="cosine",
    warm_up=0.05,
    sizes=((0.6, 128),),
    crops=10,
)


def _profiles(full: Recipe) -> dict[str, Recipe]:
    small = replace(full, sizes=(), crops=1)
    return {
        "smoke": replace(
            small, epochs=1, batch_size=8, size=64, most_images=16, most_tested=20, warm_up=0.0
        ),
        "quick": replace(small, epochs=2, batch_size=32, size=96, warm_up=0.2, most_images=4_400),
        "full": full,
    }


RECIPES = {
    name: _profiles(replace(_FULL, network=name)) for name in ("resnet18", "resnet18-a", "plain18")
}
