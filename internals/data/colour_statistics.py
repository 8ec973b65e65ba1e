"""Exact statistics of the colours of a set of images, in little memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from internals.data.images import ImageSet
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
