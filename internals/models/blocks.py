"""Layers and initialisations that several networks share."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with torch's constants, printed by its channels alone."""

    def extra_repr(self) -> str:
        return str(self.num_features)


class MaxPool2d(nn.MaxPool2d):
    """Max pooling without dilation, printed with its padding where it has any."""

    def extra_repr(self) -> str:
        padding = f", padding={self.padding}" if self.padding else ""
        return f"kernel_size={self.kernel_size}, stride={self.stride}{padding}"


class LocalResponseNorm(nn.LocalResponseNorm):
    """torch's layer, with the neighbouring channels' squares summed by a convolution.

    torch pools them in three dimensions, which takes AlexNet nearly half of each training step
    on a CPU.
    """

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        channel = torch.arange(input.shape[1], device=input.device)
        offset = channel - channel[:, None]
        neighbours = (offset >= -(self.size // 2)) & (offset <= (self.size - 1) // 2)
        total = nn.functional.conv2d(input.square(), neighbours.to(input.dtype)[:, :, None, None])
        # In bfloat16, adding the small sum to k would lose it.
        total = total.to(torch.promote_types(total.dtype, torch.float32))
        divisor = (self.k + self.alpha / self.size * total) ** self.beta
        return input / divisor.to(input.dtype)


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int = 3, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, BatchNorm2d, nn.ReLU]:
    """A convolution, its batch normalisation and its rectifier.

    The convolution has no bias, which the normalisation would cancel (Ioffe and Szegedy 2015,
    section 3.2), and is padded so that at stride 1 the map keeps its size.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Side of the square kernel (unit: pixels), odd.
        stride: Of the convolution.
        groups: Of the convolution; `in_channels` makes it depthwise.
    """
    convolution = nn.Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        stride,
        padding=kernel_size // 2,
        groups=groups,
        bias=False,
    )
    return convolution, BatchNorm2d(out_channels), nn.ReLU()


def he_normal(module: nn.Module) -> None:
    """Normal weights of variance 2 / inputs, biases zero (He et al., ICCV 2015, eq. 10)."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def depthwise(module: nn.Module) -> bool:
    """Whether `module` is a depthwise convolution: each filter reads one channel of several.

    Howard et al. (2017, section 3.2) decay the few weights of these little or not at all.
    """
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
