"""Every hyperparameter of a training run, in one frozen record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from internals.data.image_set import ImageSet
from internals.data.pipeline import PIPELINES, stored_side
from internals.errors import TrainingError

OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
SCHEDULES = ("constant", "cosine", "step", "plateau")
LOSSES = ("map", "cross-entropy")
TEST_PRECISIONS = ("float32", "as trained")
ADVERSARIES = ("none", "fgsm", "pgd")

# Which fields belong to one choice only: field -> (the field that chooses, its value).
_BELONGS = {
    "input_range": ("pipeline", ("range",)),
    "momentum": ("optimizer", ("sgd", "rmsprop")),
    "smoothing": ("optimizer", ("rmsprop",)),
    "epsilon": ("optimizer", ("rmsprop",)),
    "step_size": ("schedule", ("step",)),
    "patience": ("schedule", ("plateau",)),
    "factor": ("schedule", ("step", "plateau")),
    "rubbish_penalty": ("loss", ("map",)),
    "adversary_epsilon": ("adversary", ("fgsm", "pgd")),
    "adversary_share": ("adversary", ("fgsm", "pgd")),
    "adversary_steps": ("adversary", ("pgd",)),
}
# What says nothing of the method.
_HOUSEKEEPING = ("paper", "network", "arguments", "least_steps", "most_images", "most_tested")
# What is no news while it stands at its default.
_ONLY_WHEN_SET = (
    "micro_batch", "decay_depthwise", "warm_up", "clip_norm", "sizes", "crops", "test_precision",
    "adversary", "shift", "rotation", "duplicate", "standardised_start",
)  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """How one network is trained; `paper` says what the paper did, under the same names."""

    network: str  # a name of MODELS
    data: str  # a name of DATASETS
    epochs: int  # passes over the training images
    batch_size: int  # images an optimiser step
    optimizer: str  # one of OPTIMIZERS
    learning_rate: float  # the highest, for a step of batch_size images
    loss: str = "cross-entropy"  # one of LOSSES
    size: int = 224  # side of the network's input in pixels
    pipeline: str = "mean-std"  # one of PIPELINES: augmentation and input statistics
    input_range: tuple[float, float] | None = None  # what pixels 0 and 255 become, for "range"
    weight_decay: float = 0.0  # decoupled for adamw, a gradient term for the others
    decay_depthwise: bool = True  # whether weight decay acts on depthwise filters too
    momentum: float = 0.9  # of sgd and rmsprop
    smoothing: float = 0.9  # of rmsprop's mean of squared gradients: torch calls it alpha
    epsilon: float = 1.0  # of rmsprop, added outside the root
    clip_norm: float | None = None  # the gradient's norm over all weights is cut to this
    schedule: str = "cosine"  # one of SCHEDULES: how the learning rate falls
    step_size: int = 1  # epochs after which schedule "step" multiplies the rate by `factor`
    patience: int = 0  # epochs without a better validation top-1 that "plateau" lets pass
    factor: float = 0.1  # what "step" and "plateau" multiply the rate by
    standardised_start: bool = False  # first weights fitted to the first images (`standardise`)
    warm_up: float = 0.0  # the share of all steps in which the rate rises from 0
    sizes: tuple[tuple[float, int], ...] = ()  # (share of the epochs, input side) before `size`
    micro_batch: int | None = None  # images a backward pass at most: gradients are accumulated
    crops: int = 1  # views of each test image that are averaged: 1, or 10
    test_precision: str = "float32"  # one of TEST_PRECISIONS
    rubbish_penalty: float = 0.0  # j of the MAP loss
    shift: int = 0  # digits are moved by up to so many pixels, either way
    rotation: float = 0.0  # digits are turned by up to so many degrees, either way
    duplicate: bool = False  # an epoch has each image as it is too, not only as augmented
    adversary: str = "none"  # one of ADVERSARIES: what attacks part of each batch
    adversary_epsilon: float = 0.0  # the most it changes a pixel (unit: black to white is 1)
    adversary_share: float = 0.5  # the part of each batch that is attacked
    adversary_steps: int = 7  # of pgd, each 2.5 epsilon / steps long
    arguments: tuple[tuple[str, Any], ...] = ()  # (name, value) for the network's class
    least_steps: int = 0  # epochs are added on a small stand-in until so many steps are taken
    most_images: int | None = None  # train on the first so many images only
    most_tested: int | None = None  # validate and test on the first so many images only
    paper: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._check_choices()
        for name in ("epochs", "batch_size", "learning_rate", "size", "step_size", "factor"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name}={getattr(self, name)} must be above 0")
        for name in ("micro_batch", "clip_norm", "most_images", "most_tested"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise TrainingError(f"{name}={getattr(self, name)} must be above 0, or None")
        if not 0 <= self.warm_up < 1:
            raise TrainingError(f"warm_up={self.warm_up} must be a share of all steps, 0 to 1")
        shares = [share for share, _ in self.sizes]
        if sum(shares) > 1 or any(not number > 0 for pair in self.sizes for number in pair):
            raise TrainingError(
                f"sizes={self.sizes} must be (share of the epochs, pixels) pairs, 1 in all at most"
            )
        if (self.pipeline == "range") != (self.input_range is not None):
            raise TrainingError(
                f"pipeline={self.pipeline!r} does not go with input_range={self.input_range}; "
                "'range' needs one, and no other pipeline takes it"
            )

    def _check_choices(self) -> None:
        for name, choices in [
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("loss", LOSSES),
            ("pipeline", tuple(PIPELINES)),
            ("crops", (1, 10)),
            ("test_precision", TEST_PRECISIONS),
            ("adversary", ADVERSARIES),
        ]:
            if getattr(self, name) not in choices:
                raise TrainingError(
                    f"{name}={getattr(self, name)!r} is not one of {', '.join(map(str, choices))}"
                )
        if self.crops != 1 and self.loss == "map":
            raise TrainingError("crops=10 averages a softmax, which loss='map' has not; use 1")
        self._check_adversary()
        self._check_digits()

    def _check_digits(self) -> None:
        if not 0 <= self.shift <= self.size / 2:
            raise TrainingError(
                f"shift={self.shift} must be 0 to {self.size // 2} pixels, half the input's side"
            )
        if not 0 <= self.rotation <= 180:
            raise TrainingError(f"rotation={self.rotation} must be 0 to 180 degrees")
        if (self.shift or self.rotation) and PIPELINES[self.pipeline] is not None:
            raise TrainingError(
                f"pipeline={self.pipeline!r} has an augmentation of its own; shift and rotation "
                "go with 'range' and 'mean-std'"
            )

    def _check_adversary(self) -> None:
        epsilon, share = self.adversary_epsilon, self.adversary_share
        if not 0 <= epsilon <= 1 or (self.adversary == "none") != (epsilon == 0):
            raise TrainingError(
                f"adversary_epsilon={epsilon} does not go with adversary={self.adversary!r}; "
                "fgsm and pgd need one in (0, 1], none has 0"
            )
        if not 0 < share <= 1:
            raise TrainingError(f"adversary_share={share} must be a share of the batch, above 0")
        if self.adversary_steps < 1:
            raise TrainingError(f"adversary_steps={self.adversary_steps} must be 1 or more")
        if self.adversary != "none" and PIPELINES[self.pipeline] is not None:
            raise TrainingError(
                f"pipeline={self.pipeline!r} changes colours beyond a pixel's range, where an "
                "adversary has no bounds; use 'range' or 'mean-std'"
            )

    @property
    def stored(self) -> int:
        """Side of the squares to load: what inputs of `size` are cut from (unit: pixels)."""
        return stored_side(self.pipeline, self.size)

    def steps_an_epoch(self, images: int) -> int:
        """Optimiser steps in one pass over `images` training images, and over their doubles."""
        return ceil(images * (1 + self.duplicate) / self.batch_size)

    def epochs_on(self, images: int) -> int:
        """Passes over `images` training images: `epochs`, or as many as `least_steps` asks for."""
        return max(self.epochs, ceil(self.least_steps / self.steps_an_epoch(images)))

    def size_in(self, epoch: int, epochs: int) -> int:
        """Side of the training inputs in epoch number `epoch`, counted from 1, of `epochs`."""
        end = 0.0
        for share, size in self.sizes:
            end += share
            if epoch <= round(end * epochs):
                return size
        return self.size

    def rows(self, images: ImageSet | None = None) -> list[tuple[str, str, str]]:
        """(name, value here, value in the paper) of every hyperparameter that says something.

        With the training `images` that are really there, which may be a stand-in's, data and epochs
        are what training on them takes.
        """
        here = {name: getattr(self, name) for name in self.__dataclass_fields__}
        if images is not None:
            used = min(len(images), self.most_images or len(images))
            here["data"] = f"{used:,} of {images.name}"
            here["epochs"] = self.epochs_on(used)
        return [
            (name.replace("_", " "), _written(value), self.paper.get(name, ""))
            for name, value in here.items()
            if self._says_something(name)
        ]

    def _says_something(self, name: str) -> bool:
        if name in _BELONGS:
            chooser, values = _BELONGS[name]
            return getattr(self, chooser) in values
        if name in _ONLY_WHEN_SET and name not in self.paper:
            return getattr(self, name) != self.__dataclass_fields__[name].default
        if name == "pipeline":
            return self.pipeline != "range"  # the input range says it all
        return name not in _HOUSEKEEPING


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return ", ".join(f"{size} px for {share:.0%} of the epochs" for share, size in value)
    if isinstance(value, tuple):
        return " to ".join(f"{part:g}" for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
