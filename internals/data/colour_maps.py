"""Changes of colour as one linear map an image: brightness, contrast, saturation and hue."""

from dataclasses import dataclass
from math import pi, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

# Luma of ITU-R BT.601. Its weights sum to 1, so that grey keeps its value.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class ColourJitter:
    """How far brightness, contrast, saturation and hue of an image may be changed at random.

    Factors of the first three are uniform in [1 - strength, 1 + strength]; the hue turns by a
    share of the full circle uniform in [-hue, hue].
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
    """Each image (unit: 0..255) with its own brightness, contrast, saturation and hue.

    `matrices` are those of `colour_matrices(factors)`, made beforehand for a whole batch.
    Brightness scales the pixels, contrast mixes them with the image's mean grey, saturation with
    their own grey, in that order. Hue turns the colours about the axis of greys, red to yellow to
    green: at each third of the circle what HSV does, in between linear, where HSV is not. The four
    are one matrix and one grey offset, so that values are cut to 0..255 once, at the end.
    """
    # Saturation and hue leave grey as it is, so the offset is that of contrast alone.
    share = (factors[:, 0] * (1 - factors[:, 1])).to(pixels)
    offset = share * (pixels.mean(dim=(2, 3)) @ pixels.new_tensor(_LUMA))
    found = torch.baddbmm(offset.view(-1, 1, 1), matrices.to(pixels), pixels.flatten(2))
    return found.clamp_(0, 255).view(pixels.shape)


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
