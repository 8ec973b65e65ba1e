"""How stored bytes become a network's input, in training and in testing.

A pipeline is a name (which augmentation), an input size and the statistics of the training split.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from internals.data.augment import (
    AreaAndAspect,
    Augmentation,
    ColourJitter,
    Draw,
    Shift,
    ShorterSide,
    recolour,
)
from internals.data.image_set import ImageSet
from internals.data.normalization import (
    InputMap,
    MeanImage,
    Normalization,
    PrincipalColours,
    blocks,
)
from internals.data.resampling import centre_offset, resized
from internals.errors import CheckpointError, DataError

# The papers print no numbers. Mild: up to a fifth, and a twentieth of the hue's circle.
_MILD = ColourJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.05)
# Howard et al. (2017, section 3.2) augment less, because small networks overfit less.
_MILDER = ColourJitter(brightness=0.1, contrast=0.1, saturation=0.1)

PIPELINES: dict[str, Augmentation | None] = {
    "range": None,  # black and white become two numbers of the recipe's: LeNet-5
    "mean-std": None,
    "alexnet": Augmentation(Shift(), lighting=0.1),
    "vgg16": Augmentation(Shift(), jitter=_MILD),
    # The paper's fourth interpolation, area, is nearest wherever a window is enlarged: left out.
    "inceptionnet": Augmentation(
        AreaAndAspect(0.08, 1.0), ("nearest", "bilinear", "bicubic"), jitter=_MILD
    ),
    "resnet18": Augmentation(ShorterSide(256, 480)),
    "mobilenet": Augmentation(AreaAndAspect(0.5, 1.0), jitter=_MILDER),
}

_FLOATS_AT_ONCE = 2**19  # a part of a batch that stays in a core's cache from step to step


def stored_side(name: str, size: int) -> int:
    """Side of the squares that inputs are cut from (unit: pixels).

    Args:
        name: One of `PIPELINES`.
        size: Side of the inputs (unit: pixels).

    Returns:
        256 for every 224 where windows are cut at random, else `size` itself.

    Raises:
        DataError: The name is unknown.
    """
    if name not in PIPELINES:
        raise DataError(f"unknown pipeline {name!r}; known are {', '.join(PIPELINES)}")
    return size if PIPELINES[name] is None else round(size * 256 / 224)


@dataclass(frozen=True, eq=False)
class Pipeline:
    """The way from a square uint8 image to a network's input.

    Every statistic comes from the training split.

    Args:
        name: One of `PIPELINES`.
        size: Side of the inputs (unit: pixels).
        normalization: From pixels to the network's input.
        colours: The principal colours, where the augmentation's lighting needs them.
    """

    name: str
    size: int
    normalization: InputMap
    colours: PrincipalColours | None = None

    @classmethod
    def fit(cls, name: str, images: ImageSet, size: int) -> "Pipeline":
        """The pipeline `name` with the statistics of the training split.

        Args:
            name: One of `PIPELINES`, but not "range", which has no statistics (`from_range`).
            images: The training split.
            size: Side of the inputs (unit: pixels).

        Raises:
            DataError: The name is unknown or "range", or colours are to be changed in images that
                have none.
        """
        stored = stored_side(name, size)
        augmentation = PIPELINES[name]
        if name == "range":
            raise DataError("pipeline 'range' has no statistics; use Pipeline.from_range")
        if augmentation is not None and images.images.shape[1] != 3:
            raise DataError(
                f"pipeline {name!r} is for colour images, and those of {images.name} have "
                f"{images.images.shape[1]} channel(s); use 'mean-std' or 'range'"
            )
        if augmentation is None or not augmentation.lighting:
            return cls(name, size, Normalization.fit(images))
        return cls(name, size, MeanImage.fit(images, stored), PrincipalColours.fit(images))

    @classmethod
    def from_range(cls, black: float, white: float, size: int) -> "Pipeline":
        """The pipeline "range", of one channel: pixel 0 becomes `black` and 255 becomes `white`."""
        return cls("range", size, Normalization.from_range(black, white))

    @property
    def stored(self) -> int:
        """Side of the squares that inputs are cut from (unit: pixels)."""
        return stored_side(self.name, self.size)

    def training(
        self, batch: UInt8[Tensor, "images channels side side"], generator: torch.Generator
    ) -> Float[Tensor, "images channels size size"]:
        """Inputs to train on, augmented at random.

        The same generator state gives the same inputs, on any device, whatever the number of
        threads.

        Args:
            batch: Squares; those of another side than `stored` are first brought to it.
            generator: A generator on the CPU.
        """
        augmentation = PIPELINES[self.name]
        if augmentation is None:
            return self.evaluation(batch)
        squares = self._squares(batch)
        draw = augmentation.draw(len(squares), self.stored, self.size, generator)
        count, channels = squares.shape[:2]
        image_floats = channels * self.size**2
        at_once = max(1, _FLOATS_AT_ONCE // image_floats) if squares.device.type == "cpu" else count
        inputs = squares.new_empty((count, channels, self.size, self.size), dtype=torch.float32)
        for start in range(0, count, at_once):
            part = slice(start, start + at_once)
            inputs[part].copy_(augmentation.cut(squares[part], draw[part], self.size))
            self._colour(augmentation, inputs[part], draw[part])
        return inputs

    def _colour(self, augmentation: Augmentation, pixels: Tensor, draw: Draw) -> None:
        """Bring `pixels` (unit: 0..255) to the input range in place, as `draw` colours them.

        In place, because on a CPU fetching fresh memory costs more than all the arithmetic.
        """
        if augmentation.jitter is not None:
            pixels.copy_(recolour(pixels, draw.factors, draw.matrices))
        if self.colours is not None:
            shift = 255 * self.colours.lighting(draw.lighting)
            pixels.add_(shift.to(pixels.device)[:, :, None, None])
        if isinstance(self.normalization, MeanImage):
            self.normalization.apply_at_(pixels, draw.windows)
        else:
            self.normalization.apply_(pixels)

    def centred(
        self, batch: UInt8[Tensor, "images channels side side"]
    ) -> UInt8[Tensor, "images channels size size"]:
        """The pixels that are tested and looked at: the centre of each square.

        Args:
            batch: Squares; those of side `size` are taken as they are, those of any other side are
                first brought to `stored`.
        """
        if batch.shape[-2:] == (self.size, self.size):
            return batch
        squares = self._squares(batch)
        begin = centre_offset(self.stored, self.size)
        middle = slice(begin, begin + self.size)
        return squares[:, :, middle, middle]

    def evaluation(
        self, batch: UInt8[Tensor, "images channels side side"]
    ) -> Float[Tensor, "images channels size size"]:
        """Inputs to test on: centred, with nothing random."""
        return self.normalization.apply(self.centred(batch))

    def ten_crop(
        self, batch: UInt8[Tensor, "images channels side side"]
    ) -> Float[Tensor, "images 10 channels size size"]:
        """The four corners and the centre of each square, and those of its mirror image.

        The network's ten softmax outputs are to be averaged (Krizhevsky et al. 2012, section 4.1).

        Raises:
            DataError: The pipeline's squares have no margin to cut from.
        """
        if self.stored == self.size:
            raise DataError(
                f"pipeline {self.name!r} keeps no margin around its inputs, so that ten crops "
                "would be two; test with crops=1"
            )
        whole = self.normalization.apply(self._squares(batch))
        far, middle = self.stored - self.size, centre_offset(self.stored, self.size)
        corners = [(0, 0), (0, far), (far, 0), (far, far), (middle, middle)]
        return torch.stack(
            [
                view[:, :, top : top + self.size, left : left + self.size]
                for view in (whole, whole.flip(-1))
                for top, left in corners
            ],
            dim=1,
        )

    def at(self, size: int) -> "Pipeline":
        """This pipeline, with the same statistics, for inputs of another `size` (unit: pixels)."""
        if size == self.size:
            return self
        if not isinstance(self.normalization, MeanImage):
            return replace(self, size=size)
        mean = MeanImage(self.normalization.image, stored_side(self.name, size))
        return replace(self, size=size, normalization=mean)

    def view(self, images: ImageSet, name: str | None = None) -> ImageSet:
        """All of `images` centred, for looking inside and for figures.

        Args:
            images: Squares of any side; nothing is copied unless they are resized.
            name: What the result is called; by default as `images`.
        """
        if images.images.shape[-1] in (self.size, self.stored):
            centred = self.centred(images.images)
        else:
            centred = torch.cat([self.centred(block) for block in blocks(images)])
        return replace(images, images=centred, name=name or images.name)

    def state(self) -> dict[str, Tensor]:
        """The statistics, for a checkpoint; `from_state` makes the same pipeline of them."""
        statistics: dict[str, Tensor] = {}
        if isinstance(self.normalization, MeanImage):
            statistics["mean_image"] = self.normalization.image
        else:
            statistics["mean"] = torch.tensor(self.normalization.mean, dtype=torch.float64)
            statistics["std"] = torch.tensor(self.normalization.std, dtype=torch.float64)
        if self.colours is not None:
            statistics["colour_variances"] = self.colours.variances
            statistics["colour_directions"] = self.colours.directions
        return statistics

    @classmethod
    def from_state(cls, name: str, size: int, state: Mapping[str, Tensor]) -> "Pipeline":
        """The pipeline whose statistics `state()` gave.

        Args:
            name: One of `PIPELINES`.
            size: Side of the inputs (unit: pixels).
            state: The statistics.

        Raises:
            CheckpointError: The statistics are those of another kind of pipeline.
            DataError: The name is unknown.
        """
        stored = stored_side(name, size)
        augmentation = PIPELINES[name]
        try:
            if augmentation is None or not augmentation.lighting:
                mean, std = (tuple(state[key].tolist()) for key in ("mean", "std"))
                return cls(name, size, Normalization(mean, std))
            colours = PrincipalColours(state["colour_variances"], state["colour_directions"])
            return cls(name, size, MeanImage(state["mean_image"], stored), colours)
        except KeyError as error:
            raise CheckpointError(
                f"the statistics of pipeline {name!r} lack {error}; delete them to train again"
            ) from error

    def _squares(self, batch: Tensor) -> Tensor:
        """The batch as squares of side `stored`."""
        height, width = batch.shape[-2:]
        if height != width:
            raise DataError(
                f"pipeline {self.name!r} takes square images, not {height} x {width}; "
                "cut out their centre first"
            )
        return batch if height == self.stored else resized(batch, self.stored)
