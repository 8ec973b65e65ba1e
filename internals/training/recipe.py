"""Every hyperparameter of a training run, in one frozen record: a sum of choices."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from math import ceil
from typing import Any, Literal

from internals.data.image_set import ImageSet
from internals.data.pipeline import PIPELINES, Pipeline, stored_side
from internals.errors import TrainingError
from internals.training.losses import CrossEntropy, Loss, Map
from internals.training.optim import Cosine, OptimizerChoice, Plateau, Schedule


@dataclass(frozen=True)
class InputRange:
    """Pixel 0 becomes `black` and 255 `white`; for one channel, without augmentation."""

    black: float
    white: float


@dataclass(frozen=True)
class DigitAugmentation:
    """Digits moved and turned at random, anew each time, filled with background.

    Args:
        shift: Whole pixels, at most so many either way, down and across.
        rotation: Degrees, at most so many either way.
        duplicate: An epoch has each image twice, as it is and augmented.
    """

    shift: int = 0
    rotation: float = 0.0
    duplicate: bool = False

    def __post_init__(self) -> None:
        if self.shift < 0:
            raise TrainingError(f"shift={self.shift} must be 0 pixels or more")
        if not 0 <= self.rotation <= 180:
            raise TrainingError(f"rotation={self.rotation} must be 0 to 180 degrees")
        if not (self.shift or self.rotation):
            raise TrainingError("a digit augmentation needs a shift or a rotation above 0")


@dataclass(frozen=True)
class Recipe:
    """How one network is trained; `paper` says what the paper did.

    Args:
        network: A name of `internals.models.MODELS`.
        data: A name of `internals.data.DATASETS`.
        epochs: Passes over the training images.
        batch_size: Images an optimiser step.
        optimizer: What turns gradients into steps, with the learning rate: `SGD`, `RMSprop`,
            `Adam`, `AdamW`, or a subclass of `OptimizerChoice`.
        schedule: How the rate moves: `Constant`, `Cosine`, `StepDecay` or `Plateau`.
        loss: `CrossEntropy` or `Map`.
        size: Side of the network's input (unit: pixels).
        pipeline: A name of `PIPELINES`, augmentation and input statistics, or an `InputRange`.
        augment: What moves digits, for pipelines that have no augmentation of their own.
        adversary: What attacks part of each batch: an `FGSM` or a `PGD` of
            `internals.training.adversary`.
        clip_norm: The gradient's norm over all weights is cut to this.
        data_dependent_init: Whether the first weights are fitted to the first images.
        average: The decay of an exponential moving average of the weights, a step. Where there is
            one it is what is scored and kept.
        sizes: (share of the epochs, input side) of earlier phases at other sizes.
        micro_batch: Images a backward pass at most: gradients are then accumulated.
        selection: Which epoch is kept: the best on the validation images ("validation"), among
            those trained at `size`, or the last, without looking ("last").
        crops: Views of each test image whose posteriors are averaged: 1, or 10.
        test_precision: "float32", or that of training ("as trained").
        arguments: (name, value) pairs for the network's class.
        source_size: Side of the images that are loaded, where it is not what `pipeline` needs.
        least_steps: Epochs are added on a small stand-in until so many steps are taken.
        most_steps: Training ends after so many steps, within an epoch if need be.
        most_images: Train on the first so many images only.
        most_tested: Validate and test on the first so many images only.
        snapshots: Epochs whose weights are kept beside the final ones.
        paper: What the paper did, by the names of the table of hyperparameters.

    Raises:
        TrainingError: For a value out of range, and for choices that do not go together.
    """

    network: str
    data: str
    epochs: int
    batch_size: int
    optimizer: OptimizerChoice
    schedule: Schedule = field(default_factory=Cosine)
    loss: Loss = field(default_factory=CrossEntropy)
    size: int = 224
    pipeline: str | InputRange = "mean-std"
    augment: DigitAugmentation | None = None
    adversary: Any = None
    clip_norm: float | None = None
    data_dependent_init: bool = False
    average: float | None = None
    sizes: tuple[tuple[float, int], ...] = ()
    micro_batch: int | None = None
    selection: Literal["validation", "last"] = "validation"
    crops: int = 1
    test_precision: Literal["float32", "as trained"] = "float32"
    arguments: tuple[tuple[str, Any], ...] = ()
    source_size: int | None = None
    least_steps: int = 0
    most_steps: int | None = None
    most_images: int | None = None
    most_tested: int | None = None
    snapshots: tuple[int, ...] = ()
    paper: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._check_choices()
        for name in ("epochs", "batch_size", "size"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value > 0):
                raise TrainingError(f"{name}={value} must be a whole number above 0")
        optional = (
            "micro_batch", "clip_norm", "most_images", "most_tested", "most_steps", "source_size",
        )  # fmt: skip
        for name in optional:
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise TrainingError(f"{name}={getattr(self, name)} must be above 0, or None")
        if self.average is not None and not 0 < self.average < 1:
            raise TrainingError(f"average={self.average} must be a decay between 0 and 1, or None")
        if any(epoch < 1 for epoch in self.snapshots):
            raise TrainingError(f"snapshots={self.snapshots} must be numbers of epochs, from 1")
        shares = [share for share, _ in self.sizes]
        if sum(shares) > 1 or any(not number > 0 for pair in self.sizes for number in pair):
            raise TrainingError(
                f"sizes={self.sizes} must be (share of the epochs, pixels) pairs, 1 in all at most"
            )

    def _check_choices(self) -> None:
        kinds = (
            ("optimizer", OptimizerChoice, "SGD, RMSprop, Adam, AdamW"),
            ("schedule", Schedule, "Constant, Cosine, StepDecay, Plateau"),
            ("loss", (CrossEntropy, Map), "CrossEntropy, Map"),
        )
        for name, kind, choices in kinds:
            if not isinstance(getattr(self, name), kind):
                raise TrainingError(f"{name}={getattr(self, name)!r} is none of {choices}")
        for name, values in [
            ("pipeline", tuple(PIPELINES)),
            ("selection", ("validation", "last")),
            ("crops", (1, 10)),
            ("test_precision", ("float32", "as trained")),
        ]:
            value = getattr(self, name)
            if value not in values and not isinstance(value, InputRange):
                listed = ", ".join(str(one) for one in values if one != "range")
                raise TrainingError(f"{name}={value!r} is not one of {listed}")
        if self.pipeline == "range":
            raise TrainingError("pipeline='range' needs two numbers; use InputRange(black, white)")
        if self.crops != 1 and isinstance(self.loss, Map):
            raise TrainingError("crops=10 averages a softmax, which the loss Map has not; use 1")
        if self.selection == "last" and isinstance(self.schedule, Plateau):
            raise TrainingError(
                "the schedule Plateau waits for validation scores, which selection='last' does "
                "not take; use another schedule"
            )
        for name in ("augment", "adversary"):
            if getattr(self, name) is not None and PIPELINES[self.pipeline_name] is not None:
                raise TrainingError(
                    f"pipeline={self.pipeline!r} augments and colours images itself, which does "
                    f"not go with {name}; use an InputRange or 'mean-std'"
                )
        if self.augment and self.augment.shift > self.size / 2:
            raise TrainingError(
                f"shift={self.augment.shift} must be 0 to {self.size // 2} pixels, half the "
                "input's side"
            )

    @property
    def pipeline_name(self) -> str:
        """The pipeline's name in `PIPELINES`."""
        return "range" if isinstance(self.pipeline, InputRange) else self.pipeline

    @property
    def stored(self) -> int:
        """Side of the squares to load: what inputs of `size` are cut from (unit: pixels)."""
        return self.source_size or stored_side(self.pipeline_name, self.size)

    def fit_pipeline(self, images: ImageSet) -> Pipeline:
        """The pipeline with the statistics of `images`, which must be the training split."""
        if isinstance(self.pipeline, InputRange):
            return Pipeline.from_range(self.pipeline.black, self.pipeline.white, self.size)
        return Pipeline.fit(self.pipeline, images, self.size)

    def images_of(self, count: int) -> int:
        """How many of `count` training images are used."""
        return min(count, self.most_images or count)

    def steps_an_epoch(self, images: int) -> int:
        """Optimiser steps in one pass over `images` training images, and over their doubles."""
        twice = self.augment is not None and self.augment.duplicate
        return ceil(images * (1 + twice) / self.batch_size)

    def epochs_on(self, images: int) -> int:
        """Passes over `images` training images: `epochs`, or as many as `least_steps` asks for."""
        return max(self.epochs, ceil(self.least_steps / self.steps_an_epoch(images)))

    def steps_on(self, images: int) -> int:
        """Optimiser steps of the whole run on `images` training images."""
        steps = self.epochs_on(images) * self.steps_an_epoch(images)
        return min(steps, self.most_steps or steps)

    def size_in(self, epoch: int, epochs: int) -> int:
        """Side of the training inputs in epoch number `epoch`, counted from 1, of `epochs`."""
        end = 0.0
        for share, size in self.sizes:
            end += share
            if epoch <= round(end * epochs):
                return size
        return self.size


def plain(value: Any) -> Any:
    """A recipe or one of its choices as plain values, for files and hashes.

    A choice becomes a mapping of its fields with its class under "kind"; `paper` and `snapshots`,
    which decide nothing, are left out.
    """
    if is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in fields(value) if f.name not in ("paper", "snapshots")]
        return {"kind": type(value).__name__} | {n: plain(getattr(value, n)) for n in names}
    if isinstance(value, tuple | list):
        return [plain(part) for part in value]
    return value
