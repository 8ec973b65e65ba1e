"""The statistics that published weights expect of their input."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import sqrt

import torch
from jaxtyping import Float, Float64, Real
from torch import Tensor
from torch.nn import functional

from internals.data.image_set import ImageSet
from internals.data.resampling import Windows, centre_offset, crop
from internals.errors import DataError

_BLOCK = 2**22  # bytes of images read at once: a memory-mapped set is never copied whole


@dataclass(frozen=True)
class ColourSums:
    """Sums over all pixels of a set of images (unit: 0..255), as exact whole numbers.

    `products[i][j]` is the sum of channel i times channel j.
    """

    pixels: int
    sums: tuple[int, ...]
    products: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, images: ImageSet) -> "ColourSums":
        """The sums over every pixel of `images`; raises `DataError` when there is none."""
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
        # Over whole numbers, for in floating point the difference would lose digits.
        return torch.tensor(
            [
                [
                    (self.pixels * product - mine * other) / (self.pixels * 255) ** 2
                    for product, other in zip(row, self.sums, strict=True)
                ]
                for row, mine in zip(self.products, self.sums, strict=True)
            ],
            dtype=torch.float64,
        )


@dataclass(frozen=True, eq=False)
class PrincipalColours:
    """The principal components of a data set's colours on pixels in 0..1.

    `variances` are the eigenvalues of the channels' covariance, largest first; the columns of
    `directions` are its unit eigenvectors (Krizhevsky et al. 2012, section 4.1). On pixels in
    0..255 the eigenvalues would be 65,025 times as large: the paper's formula is not free of units.
    """

    variances: Float64[Tensor, " channels"]
    directions: Float64[Tensor, "channels channels"]

    @classmethod
    def fit(cls, images: ImageSet) -> "PrincipalColours":
        """The components of all pixels of `images`; raises `DataError` when there is none."""
        variances, directions = torch.linalg.eigh(ColourSums.of(images).covariance())
        variances, directions = variances.flip(0).clamp(min=0), directions.flip(1)
        # An eigenvector is known but for its sign: its largest entry is made positive.
        largest = directions.abs().argmax(dim=0)
        return cls(variances, directions * directions.gather(0, largest[None]).sign())

    def lighting(
        self, amounts: Float[Tensor, "images channels"]
    ) -> Float[Tensor, "images channels"]:
        """The change of colour [p1, p2, p3][a1 l1, a2 l2, a3 l3] for each image's `amounts` a."""
        return ((amounts.double() * self.variances) @ self.directions.T).to(amounts.dtype)


def blocks(images: ImageSet) -> Iterator[Tensor]:
    """The images, uint8, a few megabytes at a time."""
    one = max(1, images.images[:1].numel())
    yield from images.images.split(max(1, _BLOCK // one))


@dataclass(frozen=True)
class Normalization:
    """The affine map (pixel / 255 - mean) / std, a mean and a std for each channel (unit: 0..1)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, images: ImageSet) -> "Normalization":
        """Zero mean and unit variance a channel over all pixels of `images`, exactly.

        Raises `DataError` when there is no image, or a channel is one flat colour.
        """
        found = ColourSums.of(images)
        variances = found.covariance().diagonal().tolist()
        if 0 in variances:
            raise DataError(
                f"channel {variances.index(0)} of {images.name} has one value in all pixels, "
                "which no scale brings to unit variance; give other images"
            )
        return cls(
            tuple(total / (255 * found.pixels) for total in found.sums),
            tuple(sqrt(variance) for variance in variances),
        )

    @classmethod
    def from_range(cls, black: float, white: float) -> "Normalization":
        """The map that sends pixel 0 to `black` and pixel 255 to `white`, for one channel."""
        return cls((-black / (white - black),), (1 / (white - black),))

    def apply(
        self, pixels: Real[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images channels height width"]:
        """Bytes, or real numbers on the same 0..255 scale, to the network's input."""
        return self.apply_(_floats(pixels))

    def apply_(
        self, pixels: Float[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images channels height width"]:
        """The same as `apply` in place, for real numbers in 0..255."""
        both = list(zip(self.mean, self.std, strict=True))
        scale = pixels.new_tensor([1 / (255 * std) for _, std in both]).view(-1, 1, 1)
        shift = pixels.new_tensor([-mean / std for mean, std in both]).view(-1, 1, 1)
        return pixels.mul_(scale).add_(shift)

    def invert(
        self, inputs: Float[Tensor, "*images channels height width"]
    ) -> Float[Tensor, "*images channels height width"]:
        """The network's input back to pixel values, 0 for black and 1 for white."""
        mean = torch.tensor(self.mean, device=inputs.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=inputs.device).view(-1, 1, 1)
        return inputs * std + mean


@dataclass(frozen=True, eq=False)
class MeanImage:
    """The map pixel / 255 - mean, a mean for each pixel of the square that images are cut from.

    Nothing is divided by: only the mean activity is subtracted (Krizhevsky et al. 2012, section
    2). `image` (unit: 0..1) is the mean as it was measured; `side` the square's side where the map
    is used, to which the mean is resized as images are. Smaller inputs are taken for the square's
    centre.
    """

    image: Float[Tensor, "channels height width"]
    side: int
    _there: dict[torch.device, Tensor] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def fit(cls, images: ImageSet, side: int) -> "MeanImage":
        """The mean of `images` pixel by pixel; raises `DataError` when there is none."""
        if not len(images):
            raise DataError(f"{images.name} holds no image to take the mean of; load some")
        total = torch.zeros(images.images.shape[1:], dtype=torch.int64)
        for block in blocks(images):
            total += block.sum(dim=0, dtype=torch.int32)  # exact: a block holds few images
        return cls((total.double() / (255 * len(images))).float(), side)

    def apply(
        self, pixels: Real[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images channels height width"]:
        """Central squares, bytes or real numbers in 0..255, to the network's input."""
        return _floats(pixels).div_(255).sub_(self._centre(pixels))

    def apply_at_(
        self, pixels: Float[Tensor, "images channels height width"], windows: Windows
    ) -> Float[Tensor, "images channels height width"]:
        """In place, what `windows` cut out of the square (unit: 0..255): the mean is cut alike."""
        whole = self._on(pixels.device).expand(len(pixels), -1, -1, -1)
        return pixels.div_(255).sub_(crop(whole, windows, pixels.shape[-1]))

    def invert(
        self, inputs: Float[Tensor, "*images channels height width"]
    ) -> Float[Tensor, "*images channels height width"]:
        """The network's input back to pixel values, 0 for black and 1 for white."""
        return inputs + self._centre(inputs)

    def _centre(self, like: Tensor) -> Tensor:
        height, width = like.shape[-2:]
        if max(height, width) > self.side:
            raise DataError(
                f"a {height} x {width} input is larger than the mean image of side {self.side}; "
                "give images of that side or their centre"
            )
        top, left = centre_offset(self.side, height), centre_offset(self.side, width)
        return self._on(like.device)[:, top : top + height, left : left + width]

    def _on(self, device: torch.device) -> Tensor:
        """The mean at `side`, brought to each device once."""
        if device not in self._there:
            size = (self.side, self.side)
            fits = tuple(self.image.shape[1:]) == size
            image = (
                self.image
                if fits
                else functional.interpolate(
                    self.image[None], size, mode="bilinear", antialias=True
                )[0]
            )
            self._there[device] = image.to(device)
        return self._there[device]


InputMap = Normalization | MeanImage


@dataclass(frozen=True)
class Normalized:
    """An `ImageSet` seen through an `InputMap`, a slice at a time: what a network is fed."""

    source: ImageSet
    normalization: InputMap

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: slice | Tensor) -> Float[Tensor, "images channels height width"]:
        return self.normalization.apply(self.source.images[index])


def _floats(pixels: Tensor) -> Tensor:
    """A copy as real numbers, single precision where they were whole."""
    return pixels.to(pixels.dtype if pixels.is_floating_point() else torch.float32, copy=True)


# What torchvision's networks were trained on: those of ImageNet's training images.
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
