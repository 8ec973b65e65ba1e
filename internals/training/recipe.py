"""Every hyperparameter of a training run, in one frozen record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, cos, pi

from internals.errors import TrainingError

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("constant", "cosine")
LOSSES = ("map", "cross-entropy")


@dataclass(frozen=True)
class Recipe:
    """How one network is trained; `paper` says what the paper did, under the same names."""

    network: str  # a name of MODELS
    data: str  # a name of DATASETS
    epochs: int  # passes over the training images
    batch_size: int  # images an optimiser step
    optimizer: str  # one of OPTIMIZERS
    learning_rate: float  # the highest, for a step of batch_size images
    loss: str  # one of LOSSES
    input_range: tuple[float, float]  # what pixel values 0 and 255 become
    weight_decay: float = 0.0  # decoupled for adamw, a gradient term for sgd
    momentum: float = 0.9  # of sgd only
    schedule: str = "cosine"  # one of SCHEDULES: how the learning rate falls to 0
    warm_up: float = 0.0  # the share of all steps in which the rate rises from 0
    rubbish_penalty: float = 0.0  # j of the MAP loss
    least_steps: int = 0  # epochs are added on a small stand-in until so many steps are taken
    most_images: int | None = None  # train on the first so many images only
    paper: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        for name, choices in [
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("loss", LOSSES),
        ]:
            if getattr(self, name) not in choices:
                raise TrainingError(
                    f"{name}={getattr(self, name)!r} is not one of {', '.join(choices)}"
                )
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name}={getattr(self, name)} must be above 0")
        if not 0 <= self.warm_up < 1:
            raise TrainingError(f"warm_up={self.warm_up} must be a share of all steps, 0 to 1")

    def steps_an_epoch(self, images: int) -> int:
        """Optimiser steps in one pass over `images` training images."""
        return ceil(images / self.batch_size)

    def epochs_on(self, images: int) -> int:
        """Passes over `images` training images: `epochs`, or as many as `least_steps` asks for."""
        return max(self.epochs, ceil(self.least_steps / self.steps_an_epoch(images)))

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of optimiser step number `step`, counted from 0, of `steps`."""
        warming = self.warm_up * steps
        if step < warming:
            return self.learning_rate * (step + 1) / (warming + 1)
        if self.schedule == "constant":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + cos(pi * (step - warming) / (steps - warming)))

    def rows(self) -> list[tuple[str, str, str]]:
        """(name, value here, value in the paper) of every hyperparameter, for a table."""
        return [
            (name.replace("_", " "), _written(getattr(self, name)), self.paper.get(name, ""))
            for name in self.__dataclass_fields__
            if name not in self._not_shown()
        ]

    def _not_shown(self) -> tuple[str, ...]:
        """What says nothing of the method, or does not matter to it."""
        idle = () if self.optimizer == "sgd" else ("momentum",)
        rubbish = () if self.loss == "map" else ("rubbish_penalty",)
        return ("paper", "network", "least_steps", "most_images", *idle, *rubbish)


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return " to ".join(f"{part:g}" for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
