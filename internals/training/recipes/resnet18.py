"""How ResNet-18 and its plain twin are trained: all by one recipe, to be compared."""

from dataclasses import replace

from internals.training.losses import CrossEntropy
from internals.training.optim import AdamW, Cosine, Plateau
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
    optimizer=AdamW(lr=1e-3, weight_decay=1e-4),
    schedule=Plateau(patience=2, factor=0.1),
    size=224,
    pipeline="resnet18",
    micro_batch=64,
    test_precision="as trained",
    paper=_PAPER,
)

_FULL = replace(
    SEED,
    epochs=40,
    batch_size=64,
    optimizer=AdamW(lr=1e-3, weight_decay=5e-2),
    schedule=Cosine(warm_up=0.05),
    loss=CrossEntropy(smoothing=0.1),
    average=0.99,
    micro_batch=None,
    sizes=((0.85, 128),),
    snapshots=(1, 2, 5, 10, 20, 40),
)


def _profiles(full: Recipe) -> dict[str, Recipe]:
    small = replace(full, sizes=(), loss=CrossEntropy(), average=None, snapshots=())
    return {
        "smoke": replace(
            small,
            epochs=1,
            batch_size=8,
            size=64,
            most_images=16,
            most_tested=20,
            schedule=Cosine(),
        ),
        "quick": replace(
            small,
            epochs=2,
            batch_size=32,
            schedule=Cosine(warm_up=0.2),
            size=96,
            most_images=4_400,
        ),
        "full": full,
    }


RECIPES = {
    name: _profiles(replace(_FULL, network=name)) for name in ("resnet18", "resnet18-a", "plain18")
}
