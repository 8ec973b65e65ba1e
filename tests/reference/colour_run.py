"""A short training run on small colour pictures, with all that is random in it."""

import torch
from torch import nn

from internals.data import ImageSet
from internals.training import Plateau, Recipe, RMSprop

COLOUR_RECIPE = Recipe(
    network="small",
    data="colours",
    epochs=6,
    batch_size=29,
    optimizer=RMSprop(lr=3e-3, weight_decay=1e-3, eps=0.1, momentum=0.5),
    schedule=Plateau(patience=0),
    size=32,
    pipeline="alexnet",
    micro_batch=11,
    clip_norm=3.0,
    sizes=((0.5, 24),),
)


def colour_images(count: int, side: int) -> ImageSet:
    """Noise on a colour that the class decides: `count` pictures of ten classes."""
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(count) * 7 % 10
    colours = torch.randint(40, 216, (10, 3, 1, 1), generator=generator)
    noise = torch.randint(-40, 40, (count, 3, side, side), generator=generator)
    pixels = (colours[labels] + noise).to(torch.uint8)
    return ImageSet(pixels, labels, tuple("abcdefghij"), "colours", "colours 5")


def small_colour_network() -> nn.Module:
    """A convolution, a depthwise one, dropout and a linear layer: logits at any size."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(3),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(72, 10),
    )
