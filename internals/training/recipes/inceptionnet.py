"""How InceptionNet (GoogLeNet) is trained."""

from dataclasses import replace

from internals.training.losses import CrossEntropy
from internals.training.optim import SGD, AdamW, Cosine, StepDecay
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
    optimizer=SGD(lr=0.01, weight_decay=2e-4, momentum=0.9),
    schedule=StepDecay(epochs=8, factor=0.96),
    size=224,
    pipeline="inceptionnet",
    micro_batch=64,
    test_precision="as trained",
    paper=_PAPER,
)

# The seeds' steps leave the rate at 0.885 of its start: a cosine brings it down to 0. By SGD, 30
# epochs left 15 % of the test images wrong.
_FULL = replace(
    SEED,
    epochs=45,
    batch_size=64,
    optimizer=AdamW(lr=1e-3, weight_decay=0.05),
    schedule=Cosine(warm_up=0.05),
    loss=CrossEntropy(smoothing=0.1),
    average=0.99,
    micro_batch=None,
    clip_norm=1.0,
    sizes=((39 / 45, 128),),
    snapshots=(1, 2, 5, 10, 20, 45),
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
            clip_norm=None,
            epochs=2,
            batch_size=32,
            optimizer=AdamW(lr=2e-3, weight_decay=1e-2),
            schedule=Cosine(warm_up=0.2),
            size=96,
            most_images=4_400,
        ),
        "full": full,
    }


# Without normalisation layers: the paper's kind of optimiser, at a gentle rate.
_GOOGLENET = replace(
    _FULL,
    network="googlenet-paper",
    arguments=(("num_classes", 10),),
    optimizer=SGD(lr=0.01, weight_decay=2e-4, momentum=0.9),
)

RECIPES = {"inceptionnet": _profiles(_FULL), "googlenet-paper": _profiles(_GOOGLENET)}
