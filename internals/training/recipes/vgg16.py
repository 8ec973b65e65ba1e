"""How VGG-16 is trained."""

from dataclasses import replace

from internals.training.losses import CrossEntropy
from internals.training.optim import SGD, AdamW, Cosine, Plateau
from internals.training.recipe import Recipe

_PAPER = {
    "data": "ImageNet, 1,000 classes",
    "epochs": "74",
    "batch_size": "256",
    "optimizer": "sgd",
    "learning_rate": "0.01",
    "loss": "cross-entropy",
    "size": "224",
    "pipeline": "random crops and flips, RGB shift, mean colour",
    "weight_decay": "0.0005",
    "momentum": "0.9",
    "schedule": "a tenth whenever validation stalls, three times",
}

SEED = Recipe(
    network="vgg16",
    data="imagenette",
    epochs=20,
    batch_size=256,
    optimizer=SGD(lr=0.01, weight_decay=5e-4, momentum=0.9),
    schedule=Plateau(patience=3, factor=0.1),
    size=224,
    pipeline="vgg16",
    micro_batch=32,
    test_precision="as trained",
    paper=_PAPER,
)

# Without normalisation layers the first steps decide: the rate rises slowly, and no single batch
# may throw the weights far. Smaller batches take more steps, and small pictures cost a third. The
# last three epochs, at the size of the test, begin while the rate is a fourteenth of its peak: with
# less the network would not adapt to the larger pictures.
_FULL = replace(
    SEED,
    epochs=18,
    batch_size=64,
    optimizer=AdamW(lr=3e-4, weight_decay=0.05),
    schedule=Cosine(warm_up=0.05),
    loss=CrossEntropy(smoothing=0.1),
    average=0.99,
    clip_norm=1.0,
    micro_batch=None,
    sizes=((10 / 18, 64), (5 / 18, 128)),
    snapshots=(1, 2, 5, 10, 18),
)
_SMALL = replace(_FULL, loss=CrossEntropy(), average=None, sizes=(), snapshots=())

RECIPES = {
    "vgg16": {
        "smoke": replace(
            _SMALL, epochs=1, batch_size=8, size=32, most_images=16,
            most_tested=20, schedule=Cosine(),
        ),
        # Some hundred steps must do: first weights fitted to the images, and nothing silenced.
        "quick": replace(
            _SMALL, epochs=2, batch_size=32, optimizer=AdamW(lr=1.2e-4, weight_decay=1e-2),
            schedule=Cosine(warm_up=0.1), size=48,
            data_dependent_init=True, arguments=(("dropout", 0.0),), most_images=2_800,
        ),
        "full": _FULL,
    }
}  # fmt: skip
