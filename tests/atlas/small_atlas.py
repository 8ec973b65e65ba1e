"""A network, pictures and an atlas of them that are small enough to be worked out by hand."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from internals import Network
from internals.atlas import Subject, make_atlas
from internals.data import ImageSet, Normalization

SIDE, COUNT = 24, 14
PLAIN = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Small(nn.Module):
    """A convolution of each sort: normalised, rectified at once, and squashed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 5, 3, stride=2, padding=1)
        self.bn1 = nn.BatchNorm2d(5)
        self.conv2 = nn.Conv2d(5, 6, 3, padding=1)
        self.conv3 = nn.Conv2d(6, 4, 1)
        self.conv4 = nn.Conv2d(4, 3, 9, padding=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 3, 24, 24) to (n, 3, 12, 12)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.conv2(x))
        return self.conv4(torch.tanh(self.conv3(x)))


def small_network() -> Network:
    """With random weights and statistics; two of the normalisation's scales are negative."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = Small().eval()
        with torch.no_grad():
            model.bn1.weight.copy_(torch.tensor([1.0, -0.7, 0.4, -2.0, 0.3]))
            model.bn1.bias.normal_()
            model.bn1.running_mean.normal_()
            model.bn1.running_var.uniform_(0.3, 2)
            # Smoothed filters, so that fields are no noise.
            model.conv4.weight.copy_(nn.functional.avg_pool2d(model.conv4.weight, 3, 1, 1))
    return Network(model, normalization=PLAIN, input_shape=(3, SIDE, SIDE))


def some_pictures(count: int = COUNT, side: int = SIDE, channels: int = 3) -> ImageSet:
    """Soft colours, of three classes in turn."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, channels, 5, 5, generator=generator)
    soft = nn.functional.interpolate(coarse, (side, side), mode="bilinear")
    return ImageSet(
        (soft * 255).round().to(torch.uint8),
        torch.arange(count) % 3,
        ("cat", "dog", "owl"),
        "zoo",
        f"zoo {count} {side}",
        tuple(f"{number}.png" for number in range(count)),
    )


def small_subject(**changes: Any) -> Subject:
    """Four channels of each convolution of `small_network`, by the true gradient."""
    options = {
        "name": "small", "title": "Small", "network": small_network(),
        "pictures": some_pictures(), "shown": 4, "k": 5, "rules": {"rule": "gradient"},
        "show_images": True, **changes,
    }  # fmt: skip
    return Subject(**options)


if __name__ == "__main__":  # small_atlas.py ATLASES WORK: stops at the second sheet, to be killed
    import time

    from internals.atlas import make

    pack, packed = make.to_webp, []

    def pack_slowly(*arguments: Any, **options: Any) -> bytes:
        """The second layer's first sheet is never done."""
        packed.append(arguments)
        if len(packed) == 6:
            print("waiting", flush=True)
            time.sleep(60)
        return pack(*arguments, **options)

    make.to_webp = pack_slowly
    torch.set_num_threads(1)
    make_atlas(small_subject(), Path(sys.argv[1]), Path(sys.argv[2]))
