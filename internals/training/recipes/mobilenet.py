"""How MobileNet is trained."""

from dataclasses import replace

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
    optimizer="rmsprop",
    learning_rate=0.045,
    size=224,
    pipeline="mobilenet",
    weight_decay=4e-5,
    decay_depthwise=False,
    momentum=0.9,
    smoothing=0.9,
    epsilon=1.0,
    schedule="step",
    step_size=2,
    factor=0.94,
    micro_batch=64,
    test_precision="as trained",
    paper=_PAPER,
)

_FULL = replace(
    SEED,
    epochs=60,
    batch_size=64,
    micro_batch=None,
    schedule="cosine",
    warm_up=0.05,
    sizes=((0.6, 128),),
)

_SMALL = replace(_FULL, sizes=())

RECIPES = {
    "mobilenet": {
        "smoke": replace(
            _SMALL, epochs=1, batch_size=8, size=64, most_images=16, most_tested=20, warm_up=0.0
        ),
        # RMSprop with epsilon 1 needs many epochs to gather speed; AdamW is there in two.
        "quick": replace(
            _SMALL,
            epochs=2,
            batch_size=32,
            optimizer="adamw",
            learning_rate=4e-3,
            weight_decay=1e-2,
            size=96,
            warm_up=0.2,
            least_steps=280,
            most_images=5_600,
        ),
        "full": _FULL,
    }
}
