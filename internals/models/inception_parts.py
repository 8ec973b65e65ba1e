"""The building blocks of GoogLeNet (Szegedy et al., 2015), and how their weights start."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.errors import ModelError


class Inception(nn.Module):
    """The Inception module with dimension reduction (figure 2b): four branches, side by side.

    The numbers of channels come in the order of table 1. Kernels of 1, 3 and 5 pixels and a
    pooling see the same maps; padding keeps their grid, so what they find is stacked.
    """

    def __init__(
        self, inputs: int, n1x1: int, n3x3_reduce: int, n3x3: int,
        n5x5_reduce: int, n5x5: int, n_proj: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv1x1 = nn.Conv2d(inputs, n1x1, kernel_size=1)
        self.relu1x1 = nn.ReLU(inplace=False)

        self.conv3x3_reduce = nn.Conv2d(inputs, n3x3_reduce, kernel_size=1)
        self.relu3x3_reduce = nn.ReLU(inplace=False)
        self.conv3x3 = nn.Conv2d(n3x3_reduce, n3x3, kernel_size=3, padding=1)
        self.relu3x3 = nn.ReLU(inplace=False)

        self.conv5x5_reduce = nn.Conv2d(inputs, n5x5_reduce, kernel_size=1)
        self.relu5x5_reduce = nn.ReLU(inplace=False)
        self.conv5x5 = nn.Conv2d(n5x5_reduce, n5x5, kernel_size=5, padding=2)
        self.relu5x5 = nn.ReLU(inplace=False)

        self.pool = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
        self.conv_proj = nn.Conv2d(inputs, n_proj, kernel_size=1)
        self.relu_proj = nn.ReLU(inplace=False)

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs h w"]:
        branch1 = self.relu1x1(self.conv1x1(x))
        branch2 = self.relu3x3_reduce(self.conv3x3_reduce(x))
        branch2 = self.relu3x3(self.conv3x3(branch2))
        branch3 = self.relu5x5_reduce(self.conv5x5_reduce(x))
        branch3 = self.relu5x5(self.conv5x5(branch3))
        branch4 = self.relu_proj(self.conv_proj(self.pool(x)))
        return torch.cat([branch1, branch2, branch3, branch4], dim=1)


class BatchNormInception(nn.Module):
    """The same four branches with batch normalisation after each convolution.

    Convolutions keep their biases, as in the first edition, though normalisation cancels them.
    """

    def __init__(
        self, inputs: int, n1x1: int, n3x3_reduce: int, n3x3: int,
        n5x5_reduce: int, n5x5: int, n_proj: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.conv1x1 = nn.Conv2d(inputs, n1x1, kernel_size=1)
        self.bn1x1 = nn.BatchNorm2d(n1x1)
        self.relu1x1 = nn.ReLU(inplace=False)

        self.conv3x3_reduce = nn.Conv2d(inputs, n3x3_reduce, kernel_size=1)
        self.bn3x3_reduce = nn.BatchNorm2d(n3x3_reduce)
        self.relu3x3_reduce = nn.ReLU(inplace=False)
        self.conv3x3 = nn.Conv2d(n3x3_reduce, n3x3, kernel_size=3, padding=1)
        self.bn3x3 = nn.BatchNorm2d(n3x3)
        self.relu3x3 = nn.ReLU(inplace=False)

        self.conv5x5_reduce = nn.Conv2d(inputs, n5x5_reduce, kernel_size=1)
        self.bn5x5_reduce = nn.BatchNorm2d(n5x5_reduce)
        self.relu5x5_reduce = nn.ReLU(inplace=False)
        self.conv5x5 = nn.Conv2d(n5x5_reduce, n5x5, kernel_size=5, padding=2)
        self.bn5x5 = nn.BatchNorm2d(n5x5)
        self.relu5x5 = nn.ReLU(inplace=False)

        self.pool = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)
        self.conv_proj = nn.Conv2d(inputs, n_proj, kernel_size=1)
        self.bn_proj = nn.BatchNorm2d(n_proj)
        self.relu_proj = nn.ReLU(inplace=False)

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n outputs h w"]:
        branch1 = self.relu1x1(self.bn1x1(self.conv1x1(x)))
        branch2 = self.relu3x3_reduce(self.bn3x3_reduce(self.conv3x3_reduce(x)))
        branch2 = self.relu3x3(self.bn3x3(self.conv3x3(branch2)))
        branch3 = self.relu5x5_reduce(self.bn5x5_reduce(self.conv5x5_reduce(x)))
        branch3 = self.relu5x5(self.bn5x5(self.conv5x5(branch3)))
        branch4 = self.relu_proj(self.bn_proj(self.conv_proj(self.pool(x))))
        return torch.cat([branch1, branch2, branch3, branch4], dim=1)


class AuxiliaryHead(nn.Module):
    """A small classifier on maps half-way up, which brings them gradients in training (section 5).

    It takes maps of 14 x 14, which images of 224 x 224 pixels give. Raises `ModelError` for others.
    """

    def __init__(self, inputs: int, num_classes: int) -> None:
        super().__init__()
        self.avgpool = nn.AvgPool2d(kernel_size=5, stride=3)
        self.conv = nn.Conv2d(inputs, 128, kernel_size=1)
        self.relu1 = nn.ReLU(inplace=False)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu2 = nn.ReLU(inplace=False)
        self.dropout = nn.Dropout(p=0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Float[Tensor, "n inputs h w"]) -> Float[Tensor, "n classes"]:
        height, width = x.shape[-2:]
        if (height, width) != (14, 14):
            raise ModelError(
                f"an auxiliary head got maps of {height} x {width} and takes 14 x 14; "
                "train on images of 224 x 224 pixels, or build with auxiliary=False"
            )
        x = self.relu1(self.conv(self.avgpool(x)))
        x = self.relu2(self.fc1(torch.flatten(x, 1)))
        return self.fc2(self.dropout(x))


def kaiming_normal(module: nn.Module) -> None:
    """He et al.'s normal weights for convolutions, N(0, 0.01) for dense layers, biases zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        else:
            nn.init.normal_(module.weight, std=0.01)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def caffe_xavier(module: nn.Module) -> None:
    """U(-sqrt(3 / F), sqrt(3 / F)), F the unit's number of inputs, and biases of 0.2.

    The paper does not say how weights start; this is Caffe's "xavier", with the biases of its
    replication (bvlc_googlenet).
    """
    if isinstance(module, nn.Conv2d | nn.Linear):
        bound = (3 / module.weight[0].numel()) ** 0.5
        nn.init.uniform_(module.weight, -bound, bound)
        assert module.bias is not None
        nn.init.constant_(module.bias, 0.2)
