"""From pixels to a network's input and back, and the statistics of a data set that this takes.

All statistics are exact: they are sums of whole numbers, taken a few megabytes at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import sqrt

import torch
from jaxtyping import Float, Float64, Real, UInt8
from torch import Tensor
from torch.nn import functional

from internals.data.image_set import ImageSet
from internals.data.resampling import Windows, centre_offset, crop
from internals.errors import DataError

_BLOCK_BYTES = 2**22  # of images read at once: a memory-mapped set is never copied whole


def blocks(images: ImageSet) -> Iterator[UInt8[Tensor, "block channels height width"]]:
    """The pixels of `images` in order, a few megabytes at a time."""
    image_bytes = max(1, images.images[:1].numel())
    yield from images.images.split(max(1, _BLOCK_BYTES // image_bytes))


@dataclass(frozen=True)
class ColourSums:
    """Sums over all pixels of a set of images, as exact whole numbers.

    Args:
        pixels: How many pixels were summed.
        sums: The sum of each channel (unit: 0..255).
        products: `products[i][j]` is the sum of channel i times channel j.
    """

    pixels: int
    sums: tuple[int, ...]
    products: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, images: ImageSet) -> "ColourSums":
        """The sums over every pixel of `images`.

        Raises:
            DataError: `images` is empty.
        """
        if not len(images):
            raise DataError(f"{images.name} holds no image to take statistics from; load some")
        channels = images.images.shape[1]
        pixels, total = 0, torch.zeros(channels + 1, channels + 1, dtype=torch.float64)
        for block in blocks(images):
            colours = block.transpose(0, 1).flatten(1).double()
            # Every partial sum is a whole number below 2^53, so that no rounding can happen.
            total[:channels, :channels] += colours @ colours.T
            total[channels, :channels] += colours.sum(dim=1)
            pixels += colours.shape[1]
        whole = [[int(value) for value in row] for row in total.tolist()]
        return cls(
            pixels,
            tuple(whole[channels][:channels]),
            tuple(tuple(row[:channels]) for row in whole[:channels]),
        )

    def covariance(self) -> Float64[Tensor, "channels channels"]:
        """The covariance of the channels over all pixels (unit: (0..1) squared)."""
        # In whole numbers: in floating point the difference would lose digits.
        return torch.tensor(
            [
                [
                    (self.pixels * product - row_sum * column_sum) / (self.pixels * 255) ** 2
                    for product, column_sum in zip(row, self.sums, strict=True)
                ]
                for row, row_sum in zip(self.products, self.sums, strict=True)
            ],
            dtype=torch.float64,
        )


@dataclass(frozen=True, eq=False)
class PrincipalColours:
    """The principal components of a data set's colours (Krizhevsky et al. 2012, section 4.1).

    Pixels are taken in 0..1. In 0..255 the eigenvalues would be 65,025 times as large: the paper's
    formula is not free of units.

    Args:
        variances: The eigenvalues of the channels' covariance, largest first.
        directions: Its unit eigenvectors, one a column.
    """

    variances: Float64[Tensor, " channels"]
    directions: Float64[Tensor, "channels channels"]

    @classmethod
    def fit(cls, images: ImageSet) -> "PrincipalColours":
        """The components of all pixels of `images`.

        Raises:
            DataError: `images` is empty.
        """
        variances, directions = torch.linalg.eigh(ColourSums.of(images).covariance())
        variances, directions = variances.flip(0).clamp(min=0), directions.flip(1)
        # An eigenvector's sign is arbitrary: its largest entry is made positive.
        largest = directions.abs().argmax(dim=0)
        return cls(variances, directions * directions.gather(0, largest[None]).sign())

    def lighting(
        self, amounts: Float[Tensor, "images channels"]
    ) -> Float[Tensor, "images channels"]:
        """The change of colour `[p1, p2, p3][a1 l1, a2 l2, a3 l3]` of each image (unit: 0..1).

        Args:
            amounts: How far each image goes along each component (the paper's alpha).
        """
        return ((amounts.double() * self.variances) @ self.directions.T).to(amounts.dtype)


@dataclass(frozen=True)
class Normalization:
    """The affine map (pixel / 255 - mean) / std.

    Args:
        mean: One number a channel (unit: 0..1).
        std: One number a channel (unit: 0..1).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, images: ImageSet) -> "Normalization":
        """Zero mean and unit variance a channel over all pixels of `images`, exactly.

        Raises:
            DataError: `images` is empty, or a channel has one value in all pixels.
        """
        colours = ColourSums.of(images)
        variances = colours.covariance().diagonal().tolist()
        if 0 in variances:
            raise DataError(
                f"channel {variances.index(0)} of {images.name} has one value in all pixels, "
                "which no scale brings to unit variance; give other images"
            )
        return cls(
            tuple(total / (255 * colours.pixels) for total in colours.sums),
            tuple(sqrt(variance) for variance in variances),
        )

    @classmethod
    def from_range(cls, black: float, white: float) -> "Normalization":
        """The map of one channel that sends pixel 0 to `black` and pixel 255 to `white`."""
        return cls((-black / (white - black),), (1 / (white - black),))

    def apply(
        self, pixels: Real[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images channels height width"]:
        """Pixels to the network's input.

        Args:
            pixels: Bytes, or real numbers on the same scale 0..255.
        """
        return self.apply_(_floats(pixels))

    def apply_(
        self, pixels: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images channels height width"]:
        """The same as `apply` in place, for real numbers in 0..255."""
        channels = list(zip(self.mean, self.std, strict=True))
        scale = pixels.new_tensor([1 / (255 * std) for _, std in channels]).view(-1, 1, 1)
        shift = pixels.new_tensor([-mean / std for mean, std in channels]).view(-1, 1, 1)
        return pixels.mul_(scale).add_(shift)

    def invert(
        self, inputs: Float[Tensor, "*images channels height width"]
    ) -> Float[Tensor, "*images channels height width"]:
        """The network's input back to pixel values, 0 for black and 1 for white."""
        mean = torch.tensor(self.mean, device=inputs.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=inputs.device).view(-1, 1, 1)
        return inputs * std + mean


# The statistics of ImageNet's training images, as torchvision's networks were trained with.
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, eq=False)
class MeanImage:
    """The map pixel / 255 - mean, with a mean for each pixel of a square.

    Nothing is divided by: only the mean activity is subtracted (Krizhevsky et al. 2012, section
    2). Inputs smaller than the square are taken for its centre.

    Args:
        image: The mean as it was measured (unit: 0..1).
        side: Side of the square that inputs are cut from (unit: pixels); the mean is resized to it
            as images are.
    """

    image: Float[Tensor, "channels height width"]
    side: int
    _resized: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def fit(cls, images: ImageSet, side: int) -> "MeanImage":
        """The mean of `images`, pixel by pixel.

        Args:
            images: All of one size.
            side: Side of the square that inputs will be cut from (unit: pixels).

        Raises:
            DataError: `images` is empty.
        """
        if not len(images):
            raise DataError(f"{images.name} holds no image to take the mean of; load some")
        total = torch.zeros(images.images.shape[1:], dtype=torch.int64)
        for block in blocks(images):
            total += block.sum(dim=0, dtype=torch.int32)  # exact: a block holds few images
        return cls((total.double() / (255 * len(images))).float(), side)

    def apply(
        self, pixels: Real[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images channels height width"]:
        """Central parts of squares to the network's input.

        Args:
            pixels: Bytes, or real numbers on the same scale 0..255.

        Raises:
            DataError: The pixels are larger than the square.
        """
        return _floats(pixels).div_(255).sub_(self._centre(pixels))

    def apply_at_(
        self, pixels: Float[Tensor, "images channels height width"], windows: Windows
    ) -> Float[Tensor, "images channels height width"]:
        """Parts of squares to the network's input, in place.

        Args:
            pixels: Real numbers in 0..255.
            windows: Where the pixels were cut out of their squares; the mean is cut alike.
        """
        whole = self._mean_on(pixels.device).expand(len(pixels), -1, -1, -1)
        return pixels.div_(255).sub_(crop(whole, windows, pixels.shape[-1]))

    def invert(
        self, inputs: Float[Tensor, "*images channels height width"]
    ) -> Float[Tensor, "*images channels height width"]:
        """The network's input back to pixel values, 0 for black and 1 for white."""
        return inputs + self._centre(inputs)

    def _centre(self, like: Tensor) -> Tensor:
        """The part of the mean that lies under the central pixels `like`."""
        height, width = like.shape[-2:]
        if max(height, width) > self.side:
            raise DataError(
                f"a {height} x {width} input is larger than the mean image of side {self.side}; "
                "give images of that side or their centre"
            )
        top, left = centre_offset(self.side, height), centre_offset(self.side, width)
        return self._mean_on(like.device)[:, top : top + height, left : left + width]

    def _mean_on(self, device: torch.device) -> Tensor:
        """The mean at `side`, brought to each device once."""
        if device not in self._resized:
            size = (self.side, self.side)
            fits = tuple(self.image.shape[1:]) == size
            image = (
                self.image
                if fits
                else functional.interpolate(
                    self.image[None], size, mode="bilinear", antialias=True
                )[0]
            )
            self._resized[device] = image.to(device)
        return self._resized[device]


InputMap = Normalization | MeanImage


@dataclass(frozen=True)
class Normalized:
    """What a network is fed: an `ImageSet` through an `InputMap`, a slice at a time.

    Args:
        source: The images as they were recorded.
        normalization: Turns their pixels into the network's input.
    """

    source: ImageSet
    normalization: InputMap

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: slice | Tensor) -> Float[Tensor, "images channels height width"]:
        return self.normalization.apply(self.source.images[index])


def _floats(pixels: Tensor) -> Tensor:
    """A copy as real numbers, single precision where they were whole."""
    return pixels.to(pixels.dtype if pixels.is_floating_point() else torch.float32, copy=True)
