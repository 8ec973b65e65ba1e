"""Random changes of training images: windows, mirroring and colours of photographs, slanted digits.

Random numbers are drawn first, for a whole batch and on the CPU, and only then applied: the same
generator state gives the same images on any device, and a batch can be made in parts.
"""

from dataclasses import dataclass
from math import log, pi, sqrt

import torch
from jaxtyping import Float, Int64, Real, UInt8
from torch import Tensor
from torch.nn import functional

from internals.data.resampling import Windows, crop, resized_crop
from internals.errors import DataError

# Luma of ITU-R BT.601. Its weights sum to 1, so that grey keeps its value.
_LUMA = (0.299, 0.587, 0.114)

_TRIES = 10  # windows drawn before the whole image is taken, as torchvision does


@dataclass(frozen=True)
class ColourJitter:
    """How far brightness, contrast, saturation and hue of an image may be changed at random.

    Args:
        brightness: The factor is uniform in [1 - brightness, 1 + brightness].
        contrast: Likewise.
        saturation: Likewise.
        hue: The hue turns by a share of the full circle uniform in [-hue, hue].
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0

    def draw(self, count: int, generator: torch.Generator) -> Float[Tensor, "images 4"]:
        """Brightness, contrast, saturation and hue for each of `count` images."""
        strength = torch.tensor([self.brightness, self.contrast, self.saturation, self.hue])
        unit = torch.rand(count, 4, generator=generator) * 2 - 1
        return unit * strength + torch.tensor([1.0, 1.0, 1.0, 0.0])


def recolour(
    pixels: Float[Tensor, "images 3 height width"],
    factors: Float[Tensor, "images 4"],
    matrices: Float[Tensor, "images 3 3"],
) -> Float[Tensor, "images 3 height width"]:
    """Each image with its own brightness, contrast, saturation and hue.

    Brightness scales the pixels, contrast mixes them with the image's mean grey, saturation with
    their own grey, in that order. Hue turns the colours about the axis of greys, red to yellow to
    green: at each third of the circle what HSV does, in between linear, where HSV is not. The four
    are one matrix and one grey offset, so that values are cut to 0..255 once, at the end.

    Args:
        pixels: The images (unit: 0..255).
        factors: Brightness, contrast, saturation and hue of each image, as `ColourJitter` draws.
        matrices: `colour_matrices(factors)`, made beforehand for a whole batch.
    """
    # Saturation and hue leave grey as it is, so the offset is that of contrast alone.
    share = (factors[:, 0] * (1 - factors[:, 1])).to(pixels)
    offset = share * (pixels.mean(dim=(2, 3)) @ pixels.new_tensor(_LUMA))
    recoloured = torch.baddbmm(offset.view(-1, 1, 1), matrices.to(pixels), pixels.flatten(2))
    return recoloured.clamp_(0, 255).view(pixels.shape)


def colour_matrices(factors: Float[Tensor, "images 4"]) -> Float[Tensor, "images 3 3"]:
    """The linear part of brightness, contrast, saturation and hue, in that order, as one map."""
    brightness, contrast, saturation, turn = factors.view(-1, 4, 1, 1).unbind(1)
    grey = factors.new_tensor(_LUMA).expand(3, 3)
    saturated = saturation * torch.eye(3, dtype=factors.dtype) + (1 - saturation) * grey
    return brightness * contrast * (_turned(turn) @ saturated)


def _turned(turn: Float[Tensor, "images 1 1"]) -> Float[Tensor, "images 3 3"]:
    """Rodrigues' rotation about the grey axis (1, 1, 1) by `turn` full circles."""
    cosine, sine = torch.cos(2 * pi * turn), torch.sin(2 * pi * turn)
    identity = torch.eye(3, dtype=turn.dtype)
    across = torch.tensor([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], dtype=turn.dtype) / sqrt(3)
    return cosine * identity + sine * across + (1 - cosine) / 3


@dataclass(frozen=True)
class Shift:
    """A window of the network's input size, at a place of its own in each image."""

    def draw(self, count: int, side: int, size: int, generator: torch.Generator) -> Windows:
        """`count` windows of `size` in a square of `side` (unit: pixels)."""
        extent = torch.full((count,), size)
        return _placed(extent, extent, side, generator)


@dataclass(frozen=True)
class ShorterSide:
    """Scale jitter: the image is as large as if its shorter side were uniform in a range.

    Cutting 224 from an image scaled to S and cutting 224 / S of the image and scaling that to 224
    is the same (He et al. 2015, section 3.4).

    Args:
        low: The smallest shorter side (unit: pixels for an input of 224).
        high: The largest.
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
    """A window of random area, and of an aspect ratio (width to height) within 3/4..4/3.

    Area uniform, aspect ratio log-uniform (Szegedy et al. 2014, section 6, as torchvision reads
    it); a window that does not fit is drawn again, ten times, then the whole image is taken.

    Args:
        low: The smallest share of the image's area.
        high: The largest.
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
        none_fits = ~fits.any(dim=1)
        height = height.gather(1, first)[:, 0].masked_fill(none_fits, side)
        width = width.gather(1, first)[:, 0].masked_fill(none_fits, side)
        return _placed(height, width, side, generator)


@dataclass(frozen=True)
class Draw:
    """All random numbers of one batch, so that it can be made in parts, on any device.

    Args:
        windows: What is cut out of each image.
        interpolations: How each window is scaled.
        factors: Brightness, contrast, saturation and hue of each image.
        matrices: `colour_matrices(factors)`.
        lighting: How far each image goes along each of the data set's principal colours.
    """

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
    """What is random about a training image; every one is mirrored with probability 1/2.

    Args:
        windows: How the window that is cut out is chosen.
        interpolations: What it may be scaled by, each with equal probability.
        jitter: How colours may change; None: they do not.
        lighting: Standard deviation of the amounts by which the data set's principal colours are
            added (Krizhevsky et al. 2012, section 4.1).
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
    position = _uniform((2, len(height)), generator)
    top = (position[0] * (side - height + 1)).long()
    left = (position[1] * (side - width + 1)).long()
    flipped = torch.rand(len(height), generator=generator) < 0.5
    return Windows(top, left, height, width, flipped)


def augment_digits(
    batch: Real[Tensor, "images channels side side"],
    shift: int,
    rotation: float,
    generator: torch.Generator,
) -> Real[Tensor, "images channels side side"]:
    """Each image turned about its centre, then moved, by random amounts of its own.

    What comes in from outside is background, 0. The same state of `generator` gives the same
    pictures, whatever the number of threads.

    Args:
        batch: Bytes, or pixels before they are normalised. Bytes stay bytes.
        shift: The largest move (unit: whole pixels); down and right are each uniform in
            -shift..shift.
        rotation: The largest angle (unit: degrees), uniform in -rotation..rotation; bilinear.
        generator: A generator on the CPU.

    Raises:
        DataError: An image could be moved by more than half its side, or a limit is below 0.
    """
    side = batch.shape[-1]
    if not 0 <= shift <= side / 2 or not 0 <= rotation <= 180:
        raise DataError(
            f"shift={shift}, rotation={rotation} is too much for {side} x {side} pixels; "
            f"use a shift of 0 to {side // 2} pixels and a rotation of 0 to 180 degrees"
        )
    drawn = torch.rand((3, len(batch)), generator=generator, dtype=torch.float64)
    down, right = (drawn[:2] * (2 * shift + 1)).long() - shift
    if rotation == 0:
        return _moved(batch, shift, down.to(batch.device), right.to(batch.device))
    angle = torch.deg2rad(rotation * (2 * drawn[2] - 1))
    grid = _source_grid(angle, down, right, side).to(batch.device)
    if batch.is_floating_point():
        return _sampled(batch, grid)
    return _sampled(batch.float(), grid).round_().to(batch.dtype)


def _moved(
    batch: Real[Tensor, "images channels side side"],
    margin: int,
    down: Int64[Tensor, " images"],
    right: Int64[Tensor, " images"],
) -> Real[Tensor, "images channels side side"]:
    """Every pixel moved by `down` and `right`, none changed."""
    framed = functional.pad(batch, (margin,) * 4)
    line = torch.arange(batch.shape[-1], device=batch.device) + margin
    rows, columns = line - down[:, None], line - right[:, None]
    number = torch.arange(len(batch), device=batch.device)[:, None, None]
    cut = framed.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None]]
    return cut.permute(0, 3, 1, 2).contiguous()


def _source_grid(
    angle: Float[Tensor, " images"],
    down: Int64[Tensor, " images"],
    right: Int64[Tensor, " images"],
    side: int,
) -> Float[Tensor, "images side side 2"]:
    """Where each pixel comes from, as (x, y) with the image's edges at -1 and 1."""
    line = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    x = (line - right[:, None])[:, None]
    y = (line - down[:, None])[:, :, None]
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return torch.stack([x * cosine - y * sine, x * sine + y * cosine], dim=3) * (2 / side)


def _sampled(batch: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(batch, grid.to(batch.dtype), align_corners=False)
