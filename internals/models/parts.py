"""The building blocks that several networks share."""

from torch import nn


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation with torch's constants, printed by its channels alone."""

    def extra_repr(self) -> str:
        return str(self.num_features)


class MaxPool2d(nn.MaxPool2d):
    """Max pooling without dilation, whose last window ends within the padded map."""

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int = 3, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, BatchNorm2d, nn.ReLU]:
    """A convolution without bias, the normalisation that makes one needless, and its rectifier.

    Padded so that at stride 1 the map keeps its size (Ioffe and Szegedy 2015, section 3.2).
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


def depthwise(module: nn.Module) -> bool:
    """Whether `module` is a depthwise convolution: each filter reads one channel of several.

    Howard et al. (2017, section 3.2) decay the few weights of these little or not at all.
    """
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
