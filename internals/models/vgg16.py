"""VGG-16 and its sisters (Simonyan and Zisserman, ICLR 2015).

Departures from the paper:

* He et al.'s (2015) normal weights, but a deviation of 0.01 in the last layer; all biases zero.
  The paper's are normal as well ("variance 10^-2", read by most as a deviation of 10^-2), and since
  a bad start can stall learning, seven layers come from a trained configuration A. With deviations
  of 0.01 every layer shrinks the signal, to 1e-7 after the thirteenth convolution; a variance of
  2 / inputs keeps its size through rectifiers. No rectifier follows the last layer, and its smaller
  weights keep the first scores, and with them the first gradients, from overwhelming the start;
* an average over 7 x 7 regions before fc1, which changes nothing at 224 pixels and lets the same
  network train on smaller images;
* ten classes in `VGG16`;
* batch normalisation on request: it was published a few months later (Ioffe and Szegedy, 2015).
"""

import copy
from collections import OrderedDict
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.errors import InternalsError
from internals.models.blocks import MaxPool2d, he_normal

# Table 1: the convolutions of the five blocks, conv<size>-<channels> as it prints them.
CONFIGURATIONS: Mapping[str, tuple[str, str, str, str, str]] = {
    "A": (
        "conv3-64",
        "conv3-128",
        "conv3-256 conv3-256",
        "conv3-512 conv3-512",
        "conv3-512 conv3-512",
    ),
    "B": (
        "conv3-64 conv3-64",
        "conv3-128 conv3-128",
        "conv3-256 conv3-256",
        "conv3-512 conv3-512",
        "conv3-512 conv3-512",
    ),
    "C": (
        "conv3-64 conv3-64",
        "conv3-128 conv3-128",
        "conv3-256 conv3-256 conv1-256",
        "conv3-512 conv3-512 conv1-512",
        "conv3-512 conv3-512 conv1-512",
    ),
    "D": (
        "conv3-64 conv3-64",
        "conv3-128 conv3-128",
        "conv3-256 conv3-256 conv3-256",
        "conv3-512 conv3-512 conv3-512",
        "conv3-512 conv3-512 conv3-512",
    ),
    "E": (
        "conv3-64 conv3-64",
        "conv3-128 conv3-128",
        "conv3-256 conv3-256 conv3-256 conv3-256",
        "conv3-512 conv3-512 conv3-512 conv3-512",
        "conv3-512 conv3-512 conv3-512 conv3-512",
    ),
}


class VGG(nn.Module):
    """A column of Table 1, from 3 x 224 x 224 pixels to a score for each class.

    The layers are numbered through the whole network and run in the order in which they stand.

    Args:
        configuration: A column of Table 1, "A" to "E".
        num_classes: Number of classes.
        batch_norm: Whether a batch normalisation follows each convolution: bn1, bn2, ...
        dropout: Share of the units of the first two linear layers that each training step
            silences.

    Raises:
        InternalsError: The configuration is not one of the table's.
    """

    def __init__(
        self,
        configuration: str = "D",
        num_classes: int = 1000,
        *,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if configuration not in CONFIGURATIONS:
            known = ", ".join(CONFIGURATIONS)
            raise InternalsError(f"unknown VGG configuration {configuration!r}; known are {known}")
        channels, conv = 3, 0
        for pool, block in enumerate(CONFIGURATIONS[configuration], start=1):
            for published in block.split():
                conv += 1
                size, width = map(int, published.removeprefix("conv").split("-"))
                self.add_module(f"conv{conv}", nn.Conv2d(channels, width, size, padding=size // 2))
                if batch_norm:
                    self.add_module(f"bn{conv}", nn.BatchNorm2d(width))
                self.add_module(f"relu{conv}", nn.ReLU())
                channels = width
            self.add_module(f"pool{pool}", MaxPool2d(kernel_size=2, stride=2))
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.fc1 = nn.Linear(512 * 7 * 7, 4096)
        self.add_module(f"relu{conv + 1}", nn.ReLU())
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(4096, 4096)
        self.add_module(f"relu{conv + 2}", nn.ReLU())
        self.drop2 = nn.Dropout(dropout)
        self.fc3 = nn.Linear(4096, num_classes)
        self.apply(he_normal)
        nn.init.normal_(self.fc3.weight, std=0.01)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        for layer in self.children():
            x = layer(torch.flatten(x, 1) if layer is self.fc1 else x)
        return x


class VGG16(VGG):
    """Configuration D: thirteen convolutions, all 3 x 3, and three linear layers.

    Args:
        num_classes: Number of classes.
        batch_norm: Whether a batch normalisation follows each convolution.
        dropout: Share of the units of the first two linear layers silenced in training.
    """

    def __init__(
        self, num_classes: int = 10, *, batch_norm: bool = False, dropout: float = 0.5
    ) -> None:
        super().__init__("D", num_classes, batch_norm=batch_norm, dropout=dropout)


def fully_convolutional(model: VGG) -> nn.Sequential:
    """A network for images of any size from 224 pixels up (section 3.2).

    The linear layers become a 7 x 7 and two 1 x 1 convolutions; each position of the output looks
    at 7 x 7 positions of pool5. The paper's score is the average over the map.

    Args:
        model: The network to convert; it stays as it is.

    Returns:
        The converted network in evaluation mode: images to a map of scores for each class. It
        shares the memory of the weights with `model`.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in model.named_children():
        if isinstance(layer, nn.Linear):
            layers[name] = _as_convolution(layer, size=7 if layer is model.fc1 else 1)
        elif layer is not model.avgpool:
            layers[name] = copy.copy(layer)
    return nn.Sequential(layers).eval()


def _as_convolution(linear: nn.Linear, size: int) -> nn.Conv2d:
    """The convolution with `linear`'s weights, whose inputs were maps of `size` x `size`."""
    channels = linear.in_features // size**2
    with torch.device("meta"):  # no memory for weights that are replaced at once
        convolution = nn.Conv2d(channels, linear.out_features, size)
    convolution.weight = nn.Parameter(linear.weight.detach().unflatten(1, (channels, size, size)))
    convolution.bias = nn.Parameter(linear.bias.detach())
    return convolution
