"""Parts of networks that look like layers and are not: each keeps two channels.

Each says by its group what is odd about it, and by `is_linear` whether it is linear in the signal,
so that the rules for rectifiers have nothing to say about it.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


@torch.jit.script
def _scripted_blur(x):
    return torch.nn.functional.avg_pool2d(x, [3, 3], [1, 1], [1, 1])


@torch.jit.script
def _scripted_rectifier(x):
    return torch.clamp(x, min=0.0)


@torch.jit.script
def _scripted_width(x) -> int:
    return x.size(-1)


@torch.jit.script
def _scripted_peak(x) -> float:
    return float(x.max())


class Part(nn.Module):
    """A function of a tensor, and of a convolution of its own."""

    def __init__(self, function, is_linear=True) -> None:
        super().__init__()
        self.function, self.is_linear = function, is_linear
        self.conv = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        return self.function(self, x)


def _padded_to_whole_strides(part, x):
    after, before = (-x.shape[-1]) % 4, (-x.shape[-2]) % 4
    return functional.conv2d(
        functional.pad(x, (after // 2, after - after // 2, before, 0)), part.conv.weight, stride=2
    )


def _by_size(part, x):
    return part.conv(x) if x.shape[-1] > 25 else x


def _with_coordinates(part, x):
    ramp = torch.linspace(-1, 1, x.shape[-1], device=x.device, dtype=x.dtype)
    return part.conv(x) + ramp


def _by_a_number_of_the_image(part, x):
    return part.conv(x) * float(x.mean() > 0)


def _by_another_thread(part, x):
    with ThreadPoolExecutor(1) as pool:
        return part.conv(x) * pool.submit(lambda: x.mean((1, 2, 3), True)).result()


def _neighbours_added(part, x):
    y = part.conv(x)
    y[1:].add_(x[:-1])
    return y


SIZES = {
    "padded to whole strides": _padded_to_whole_strides,
    "the lower part": lambda part, x: part.conv(x)[:, :, x.shape[2] // 3 :],
    "scaled by its size": lambda part, x: part.conv(x) * (x.shape[-1] / 40),
    "another path for small images": _by_size,
    "with coordinates": _with_coordinates,
    "scaled by the length of a row": lambda part, x: x * (len(x[0, 0].T) / 40),
    "scaled by the size of its like": lambda part, x: x * torch.zeros_like(x).shape[-1] / 40,
    "less a sum of ones": lambda part, x: x - torch.ones_like(x[:, :1]).sum((2, 3), True) / 900,
    "scaled by a number of NumPy's": lambda part, x: (
        x * torch.from_numpy(np.array(x.shape[-1] / 40.0)).to(x.device)
    ),
    "scaled by a width that a script reads": lambda part, x: x * (_scripted_width(x) / 40),
    "turned by keywords": lambda part, x: part.conv(x.swapaxes(axis0=2, axis1=3)),
    "a constant of its size added": lambda part, x: x + torch.full((1,), x.shape[-1] / 9).to(x),
}
IMAGES = {
    "a kernel scaled by the mean": (
        lambda part, x: functional.conv2d(x, part.conv.weight * x.mean((1, 2, 3))[0], padding=1),
        False,
    ),
    "gated by its mean": (lambda part, x: x * x.mean((2, 3), keepdim=True), False),
    "a scripted blur": (lambda part, x: part.conv(x) + _scripted_blur(x), True),
    "a number read from the image": (_by_a_number_of_the_image, False),
    "a number that a script reads": (lambda part, x: part.conv(x) * _scripted_peak(x), False),
    "a number that is printed": (lambda part, x: part.conv(x) * float(f"{x.mean():.6f}"), False),
    "a mean of another thread": (_by_another_thread, False),
}
COMPANY = {
    "less the mean of all": lambda part, x: part.conv(x) - x.mean(),
    "the mean image added": lambda part, x: x + part.conv(x).mean(0, keepdim=True),
    "the next image added": lambda part, x: part.conv(x) + x.roll(1, 0),
    "the other image added": lambda part, x: part.conv(x) + x.flip(0),
    "the image before written into": _neighbours_added,
    "divided by their number": lambda part, x: part.conv(x) / len(x),
    "numbered": lambda part, x: x + torch.arange(len(x)).to(x.device).view(-1, 1, 1, 1),
    "another way in company": lambda part, x: part.conv(x) if len(x) > 1 else x,
    "the channels of all images at once": lambda part, x: functional.conv2d(
        x.reshape(1, -1, *x.shape[2:]), part.conv.weight.repeat(len(x), 1, 1, 1), padding=1,
        groups=len(x),
    ).view(x.shape),
}  # fmt: skip
UNKNOWN = {
    "erf": torch.erf,
    "exp": lambda x: torch.exp(-x.abs()),
    "a square": lambda x: x * x,
    "a power": lambda x: x.pow(3),
    "a root": lambda x: (x.square() + 1).sqrt(),
    "log and exp": lambda x: torch.log1p(x.exp()),
    "where the sign is set": lambda x: torch.where(torch.signbit(x), 0.1 * x, x),
    "masked": lambda x: x.masked_fill(x < 0, 0.0),
    "written where it is negative": lambda x: x.clone().index_put((x < 0,), torch.zeros(()).to(x)),
    "a sine": torch.sin,
    "rounded": lambda x: x + torch.frac(x),
    "sorted": lambda x: x.sort(dim=-1).values,
    "cumulated maxima": lambda x: x.cummax(dim=-1).values,
    "a scripted rectifier": _scripted_rectifier,
    "torch's own sigmoid": torch.ops.aten.sigmoid.default,
    "a distance": lambda x: torch.hypot(x, x.new_ones(())),
    "the larger of it and nothing": lambda x: torch.stack([x, 0 * x]).amax(0),
    "a maximum of channels": lambda x: x - x.amax(1, keepdim=True),
    "a division that rounds": lambda x: x + torch.div(x, 0.5, rounding_mode="floor"),
    "whole numbers": lambda x: x + x.int().to(x.dtype),
    "a softmax": lambda x: x.flatten(2).softmax(-1).view(x.shape) * x.shape[-1],
    "gated by what is detached": lambda x: x * math.pi * x.tanh().detach(),
}


class Cut(nn.Module):
    """A branch that gradients do not pass, beside one that they do."""

    def __init__(self, how: str, *, beside: bool) -> None:
        super().__init__()
        self.how, self.beside = how, beside
        self.conv, self.side = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        if self.how == "checkpoint":
            cut = checkpoint(self.side, x, use_reentrant=True)
        elif self.how == "no_grad":
            with torch.no_grad():
                cut = self.side(x)
        elif self.how == "inference_mode":
            with torch.inference_mode():
                cut = self.side(x)
            cut = cut.clone()
        elif self.how == "given a gradient again":
            cut = self.side(x.detach().requires_grad_())
        elif self.how == "data":
            cut = self.side(x).data
        else:
            cut = self.side(x).detach()
        return self.conv(x) + cut if self.beside else cut * 2
