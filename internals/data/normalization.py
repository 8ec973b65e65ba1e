"""Pixels to a network's input range and back."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from internals.data.images import ImageSet


@dataclass(frozen=True)
class Normalization:
    """The affine map (pixel / 255 - mean) / std, a mean and a std for each channel (unit: 0..1)."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def fit(cls, images: ImageSet) -> "Normalization":
        """Zero mean and unit variance a channel over all pixels of `images`."""
        means, stds = [], []
        for channel in range(images.images.shape[1]):
            # A histogram gives exact moments of any number of uint8 pixels in little memory.
            counts = torch.bincount(images.images[:, channel].flatten(), minlength=256).double()
            values = torch.arange(256, dtype=torch.float64) / 255
            mean = (counts * values).sum() / counts.sum()
            means.append(mean.item())
            stds.append(((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt().item())
        return cls(tuple(means), tuple(stds))

    @classmethod
    def from_range(cls, black: float, white: float) -> "Normalization":
        """The map that sends pixel 0 to `black` and pixel 255 to `white`, for one channel."""
        return cls((-black / (white - black),), (1 / (white - black),))

    def apply(
        self, pixels: UInt8[Tensor, "images channels height width"]
    ) -> Float[Tensor, "images channels height width"]:
        """Bytes to the network's input."""
        mean, std = self._shaped(pixels)
        return pixels.float().div_(255).sub_(mean).div_(std)

    def invert(
        self, inputs: Float[Tensor, "*images channels height width"]
    ) -> Float[Tensor, "*images channels height width"]:
        """The network's input back to pixel values, 0 for black and 1 for white."""
        mean, std = self._shaped(inputs)
        return inputs * std + mean

    def _shaped(self, like: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.tensor(self.mean, device=like.device).view(-1, 1, 1)
        std = torch.tensor(self.std, device=like.device).view(-1, 1, 1)
        return mean, std


@dataclass(frozen=True)
class Normalized:
    """An `ImageSet` seen through a `Normalization`, a slice at a time: what a network is fed."""

    source: ImageSet
    normalization: Normalization

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: slice | Tensor) -> Float[Tensor, "images channels height width"]:
        return self.normalization.apply(self.source.images[index])
