"""MobileNet (Howard et al., MobileNets: Efficient Convolutional Neural Networks, arXiv 2017).

Departures from the paper:

* ten classes, for Imagenette;
* the last depthwise convolution has stride 1: table 1 prints 2, but also that a 7 x 7 map goes in
  and comes out.

The paper's resolution multiplier is the size of the images: the average pool takes any map.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.errors import ModelError
from internals.models.blocks import conv_bn_relu

# Table 1: the stride of each depthwise convolution, the filters of the pointwise one that follows.
_TABLE_1 = (
    (1, 64),
    (2, 128), (1, 128),
    (2, 256), (1, 256),
    (2, 512), (1, 512), (1, 512), (1, 512), (1, 512), (1, 512),
    (2, 1024), (1, 1024),
)  # fmt: skip


class MobileNet(nn.Module):
    """27 convolutions, 13 of them depthwise, and one linear layer (table 1): images to logits.

    Args:
        num_classes: Number of classes.
        width: Scales the number of channels of every layer (section 3.3, alpha).
        shallow: Leave out the five equal blocks of 512 channels (table 5).
        separable: Whether convolutions are depthwise separable; otherwise each block is one full
            3 x 3 convolution, the "Conv MobileNet" of table 4.

    Raises:
        ModelError: `width` leaves no channel.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        width: float = 1.0,
        shallow: bool = False,
        separable: bool = True,
    ) -> None:
        super().__init__()
        self.convolutions = 0
        channels = round(32 * width)
        if channels < 1:
            raise ModelError(f"width={width} leaves no channel; the paper's are 1 to 0.25")
        self._append(3, channels, stride=2)
        for stride, filters in _TABLE_1[:6] + _TABLE_1[11:] if shallow else _TABLE_1:
            out_channels = round(filters * width)
            if separable:
                self._append(channels, channels, stride=stride, groups=channels)
                self._append(channels, out_channels, kernel_size=1)
            else:
                self._append(channels, out_channels, stride=stride)
            channels = out_channels
        self.avgpool = nn.AdaptiveAvgPool2d(output_size=(1, 1))
        self.fc = nn.Linear(channels, num_classes)
        self.apply(kaiming_by_inputs)
        # Normalisation makes the output indifferent to a filter's scale, while its gradient grows
        # as the filter shrinks. From Kaiming's scale these filters would keep much of the noise
        # that they begin as; from here they are learned.
        first = self.get_submodule("conv1")
        assert isinstance(first, nn.Conv2d)
        nn.init.normal_(first.weight, std=0.01)

    def _append(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        groups: int = 1,
    ) -> None:
        """One more convolution with its normalisation and rectifier (figure 3)."""
        self.convolutions += 1
        layers = conv_bn_relu(in_channels, out_channels, kernel_size, stride=stride, groups=groups)
        for kind, layer in zip(("conv", "bn", "relu"), layers, strict=True):
            self.add_module(f"{kind}{self.convolutions}", layer)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        for number in range(1, self.convolutions + 1):
            for kind in ("conv", "bn", "relu"):
                x = self.get_submodule(f"{kind}{number}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


def kaiming_by_inputs(module: nn.Module) -> None:
    """Draw convolutions from N(0, 2 / inputs), so that the signal keeps its size.

    He et al. (ICCV 2015, eq. 10). By outputs instead, torch would count all the channels of a
    depthwise convolution, each of whose inputs feeds one: its weights would start 23 times too
    small at 512 channels. Batch normalisation starts at scale 1 and shift 0, as torch's.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
