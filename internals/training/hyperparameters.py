"""The table of a recipe beside what the paper did."""

from collections.abc import Iterator
from typing import Any

from internals.data.image_set import ImageSet
from internals.training.losses import CrossEntropy, Map
from internals.training.optim import (
    SGD,
    Adam,
    AdamW,
    Cosine,
    DecayingOptimizer,
    Plateau,
    RMSprop,
    StepDecay,
)
from internals.training.recipe import InputRange, Recipe

_NAMES = {
    AdamW: "adamw",
    Adam: "adam",
    SGD: "sgd",
    RMSprop: "rmsprop",
    Cosine: "cosine",
    StepDecay: "step",
    Plateau: "plateau",
    Map: "map",
    CrossEntropy: "cross-entropy",
}
# What is shown only where it is not the default, or the paper says something of it.
_DEFAULTS: dict[str, Any] = {
    "decay_depthwise": True,
    "clip_norm": None,
    "standardised_start": False,
    "warm_up": 0.0,
    "sizes": (),
    "micro_batch": None,
    "crops": 1,
    "test_precision": "float32",
    "adversary": "none",
    "smoothing_of_labels": 0.0,
    "average_of_weights": None,
    "shift": 0,
    "rotation": 0.0,
    "duplicate": False,
}


def hyperparameters(recipe: Recipe, images: ImageSet | None = None) -> list[tuple[str, str, str]]:
    """Every hyperparameter that says something, for a table.

    Args:
        recipe: Whose.
        images: The training images that are really there, which may be a stand-in's: data and
            epochs are then what training on them takes.

    Returns:
        Rows of (name, value here, value in the paper).
    """
    values = dict(_values(recipe))
    if images is not None:
        used = recipe.images_of(len(images))
        values["data"] = f"{used:,} of {images.name}"
        values["epochs"] = recipe.epochs_on(used)
    return [
        (name.replace("_", " "), _written(value), recipe.paper.get(name, ""))
        for name, value in values.items()
        if name in recipe.paper or name not in _DEFAULTS or value != _DEFAULTS[name]
    ]


def _values(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """The hyperparameters in the order of the table."""
    optimizer, schedule, loss = recipe.optimizer, recipe.schedule, recipe.loss
    yield "data", recipe.data
    yield "epochs", recipe.epochs
    yield "batch_size", recipe.batch_size
    yield "optimizer", _NAMES.get(type(optimizer), type(optimizer).__name__)
    yield "learning_rate", optimizer.lr
    yield "loss", _NAMES[type(loss)]
    yield "size", recipe.size
    if isinstance(recipe.pipeline, InputRange):
        yield "input_range", (recipe.pipeline.black, recipe.pipeline.white)
    else:
        yield "pipeline", recipe.pipeline
    if isinstance(optimizer, DecayingOptimizer):
        yield "weight_decay", optimizer.weight_decay
        yield "decay_depthwise", optimizer.decay_depthwise
    if isinstance(optimizer, SGD | RMSprop):
        yield "momentum", optimizer.momentum
    if isinstance(optimizer, RMSprop):
        yield "alpha", optimizer.alpha
        yield "epsilon", optimizer.eps
    yield "clip_norm", recipe.clip_norm
    yield "schedule", _NAMES.get(type(schedule), "constant")
    if isinstance(schedule, StepDecay):
        yield "step_size", schedule.epochs
    if isinstance(schedule, Plateau):
        yield "patience", schedule.patience
    if isinstance(schedule, StepDecay | Plateau):
        yield "factor", schedule.factor
    yield "standardised_start", recipe.data_dependent_init
    yield "warm_up", schedule.warm_up
    yield "sizes", recipe.sizes
    yield "micro_batch", recipe.micro_batch
    yield "crops", recipe.crops
    yield "test_precision", recipe.test_precision
    if isinstance(loss, Map):
        yield "rubbish_penalty", loss.j
    else:
        yield "smoothing_of_labels", loss.smoothing
    yield "average_of_weights", recipe.average
    if recipe.augment is not None:
        yield "shift", recipe.augment.shift
        yield "rotation", recipe.augment.rotation
        yield "duplicate", recipe.augment.duplicate
    if recipe.adversary is not None:
        yield "adversary", type(recipe.adversary).__name__.lower()
        yield "adversary_epsilon", recipe.adversary.epsilon
        yield "adversary_share", recipe.adversary.share
        if hasattr(recipe.adversary, "steps"):
            yield "adversary_steps", recipe.adversary.steps


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        parts = [f"{size} px for {100 * share:.0f} % of the epochs" for share, size in value]
        return ", ".join(parts)
    if isinstance(value, tuple):
        return " to ".join(f"{part:g}" for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
