"""What each network's training images undergo at random."""

from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from internals.data.colour_maps import ColourJitter, colour_matrices
from internals.data.resampling import Windows, crop, resized_crop

_TRIES = 10  # windows drawn before the whole image is taken, as torchvision does


@dataclass(frozen=True)
class Shift:
    """A window of the network's input size, at a place of its own in each image."""

    def draw(self, count: int, side: int, size: int, generator: torch.Generator) -> Windows:
        """`count` windows of `size` in a square of `side` (unit: pixels)."""
        extent = torch.full((count,), size)
        return _placed(extent, extent, side, generator)


@dataclass(frozen=True)
class ShorterSide:
    """Scale jitter: the image is as large as if its shorter side were uniform in `low`..`high`.

    Unit: pixels for an input of 224 (He et al. 2015, section 3.4). Cutting 224 from an image
    scaled to S and cutting 224 / S of the image and scaling that to 224 is the same.
    """

    low: int
    high: int

    def draw(self, count: int, side: int, size: int, generator: torch.Generator) -> Windows:
        """`count` square windows in a square of `side`, whatever `size` they are brought to."""
        scale = self.low + (self.high - self.low) * _uniform((count,), generator)
        extent = (side * 224 / scale).round().long().clamp(1, side)
        return _placed(extent, extent, side, generator)


@dataclass(frozen=True)
class AreaAndAspect:
    """A window of `low`..`high` of the image's area and 3/4..4/3 in width to height.

    Area uniform, aspect ratio log-uniform (Szegedy et al. 2014, section 6, as torchvision reads
    it); a window that does not fit is drawn again, ten times, then the whole image is taken.
    """

    low: float
    high: float

    def draw(self, count: int, side: int, size: int, generator: torch.Generator) -> Windows:
        """`count` windows in a square of `side`, whatever `size` they are brought to."""
        shape = (count, _TRIES)
        area = side**2 * (self.low + (self.high - self.low) * _uniform(shape, generator))
        aspect = torch.exp(log(4 / 3) * (2 * _uniform(shape, generator) - 1))
        width = (area * aspect).sqrt().round().long()
        height = (area / aspect).sqrt().round().long()
        fits = (width > 0) & (width <= side) & (height > 0) & (height <= side)
        first = fits.int().argmax(dim=1, keepdim=True)
        none = ~fits.any(dim=1)
        height = height.gather(1, first)[:, 0].masked_fill(none, side)
        width = width.gather(1, first)[:, 0].masked_fill(none, side)
        return _placed(height, width, side, generator)


@dataclass(frozen=True)
class Draw:
    """All random numbers of one batch, so that it can be made in parts, on any device."""

    windows: Windows
    interpolations: tuple[str, ...]
    factors: Float[Tensor, "images 4"]
    matrices: Float[Tensor, "images 3 3"]
    lighting: Float[Tensor, "images 3"]

    def __getitem__(self, part: slice) -> "Draw":
        return Draw(
            self.windows[part],
            self.interpolations[part],
            self.factors[part],
            self.matrices[part],
            self.lighting[part],
        )


@dataclass(frozen=True)
class Augmentation:
    """What is random about a training image: its window, flip, interpolation and colours.

    Every image is mirrored with probability 1/2. `interpolations` are drawn with equal
    probability. `lighting` is the standard deviation of the amounts by which the data set's
    principal colours are added (Krizhevsky et al. 2012, section 4.1).
    """

    windows: Shift | ShorterSide | AreaAndAspect
    interpolations: tuple[str, ...] = ("bilinear",)
    jitter: ColourJitter | None = None
    lighting: float = 0.0

    def draw(self, count: int, side: int, size: int, generator: torch.Generator) -> Draw:
        """The random numbers for `count` squares of `side` that become inputs of `size`."""
        windows = self.windows.draw(count, side, size, generator)
        kinds = torch.randint(len(self.interpolations), (count,), generator=generator).tolist()
        factors = (self.jitter or ColourJitter()).draw(count, generator)
        lighting = self.lighting * torch.randn(count, 3, generator=generator)
        names = tuple(self.interpolations[kind] for kind in kinds)
        return Draw(windows, names, factors, colour_matrices(factors), lighting)

    def cut(
        self, squares: UInt8[Tensor, "images channels side side"], draw: Draw, size: int
    ) -> UInt8[Tensor, "images channels size size"]:
        """The drawn windows of `squares` at `size`, mirrored where that was drawn."""
        if isinstance(self.windows, Shift):
            return crop(squares, draw.windows, size)
        return resized_crop(squares, draw.windows, size, draw.interpolations)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _placed(
    height: Int64[Tensor, " images"],
    width: Int64[Tensor, " images"],
    side: int,
    generator: torch.Generator,
) -> Windows:
    """Windows at places drawn uniformly from all within the square, half of them mirrored."""
    where = _uniform((2, len(height)), generator)
    top = (where[0] * (side - height + 1)).long()
    left = (where[1] * (side - width + 1)).long()
    flipped = torch.rand(len(height), generator=generator) < 0.5
    return Windows(top, left, height, width, flipped)
