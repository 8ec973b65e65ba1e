"""How MobileNet is trained."""

from dataclasses import replace

from internals.training.losses import CrossEntropy
from internals.training.optim import AdamW, Cosine, RMSprop, StepDecay
from internals.training.recipe import Recipe

_PAPER = {
    "data": "ImageNet, 1,000 classes",
    "epochs": "not given",
    "batch_size": "not given",
    "optimizer": "asynchronous rmsprop",
    "learning_rate": "not given",
    "loss": "cross-entropy",
    "size": "224",
    "pipeline": "less augmentation than Inception's",
    "weight_decay": "not given",
    "decay_depthwise": "very little or none",
    "schedule": "not given",
}

SEED = Recipe(
    network="mobilenet",
    data="imagenette",
    epochs=30,
    batch_size=256,
    optimizer=RMSprop(
        lr=0.045, weight_decay=4e-5, decay_depthwise=False, alpha=0.9, eps=1.0, momentum=0.9
    ),
    schedule=StepDecay(epochs=2, factor=0.94),
    size=224,
    pipeline="mobilenet",
    micro_batch=64,
    test_precision="as trained",
    paper=_PAPER,
)

# RMSprop with epsilon 1 hardly moves the depthwise kernels: after 36 epochs they were still the
# random numbers that they began as, and 21 % of the test images were wrong. Nor is this network too
# small to overfit 8,680 images: it gets Inception's windows.
_FULL = replace(
    SEED,
    epochs=54,
    batch_size=64,
    optimizer=AdamW(lr=2e-3, weight_decay=0.05, decay_depthwise=False),
    pipeline="inceptionnet",
    schedule=Cosine(warm_up=0.05),
    loss=CrossEntropy(smoothing=0.1),
    average=0.99,
    micro_batch=None,
    sizes=((48 / 54, 128),),
    snapshots=(1, 2, 5, 10, 20, 54),
)

_SMALL = replace(
    _FULL, pipeline="mobilenet", sizes=(), loss=CrossEntropy(), average=None, snapshots=()
)

RECIPES = {
    "mobilenet": {
        "smoke": replace(
            _SMALL,
            epochs=1,
            batch_size=8,
            size=64,
            most_images=16,
            most_tested=20,
            schedule=Cosine(),
        ),
        "quick": replace(
            _SMALL,
            epochs=2,
            batch_size=32,
            optimizer=AdamW(lr=4e-3, weight_decay=1e-2, decay_depthwise=False),
            schedule=Cosine(warm_up=0.2),
            size=96,
            least_steps=280,
            most_images=5_600,
        ),
        "full": _FULL,
    }
}
