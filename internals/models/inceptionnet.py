"""GoogLeNet (Szegedy et al., "Going Deeper with Convolutions", CVPR 2015), Inception's first form.

Departures of the default form from the paper, each absent from `InceptionNet(paper=True)`:

* batch normalisation follows each convolution, where the paper has none, and takes the place of
  local response normalisation in the stem;
* dropout silences half of the last features, where table 1 says 40 %.

In both, the auxiliary heads that the paper trains with are there only when asked for, and the last
average is over the whole map, which is 7 x 7 for the paper's images of 224 x 224 pixels.

What the paper leaves open: pools pad by one pixel; weights start by Kaiming's rule, smaller in
conv1, or in the paper's form as in Caffe's replication (bvlc_googlenet), which also gives LRN its
constants.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.errors import LayerError, ModelError
from internals.models.blocks import LocalResponseNorm


class Inception(nn.Module):
    """The Inception module with dimension reduction (figure 2b): four branches, side by side.

    Kernels of 1, 3 and 5 pixels and a pooling see the same maps; padding keeps their grid, so that
    their channels can be stacked.

    Args:
        inputs: Channels of the input.
        n1x1: Channels of the 1 x 1 convolution; this and the next as in table 1.
        n3x3_reduce: Channels of the 1 x 1 convolution before the 3 x 3 one.
        n3x3: Channels of the 3 x 3 convolution.
        n5x5_reduce: Channels of the 1 x 1 convolution before the 5 x 5 one.
        n5x5: Channels of the 5 x 5 convolution.
        n_proj: Channels of the 1 x 1 convolution after the pooling.
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

    Args:
        inputs: Channels of the input.
        n1x1: Channels of the 1 x 1 convolution; this and the next as in table 1.
        n3x3_reduce: Channels of the 1 x 1 convolution before the 3 x 3 one.
        n3x3: Channels of the 3 x 3 convolution.
        n5x5_reduce: Channels of the 1 x 1 convolution before the 5 x 5 one.
        n5x5: Channels of the 5 x 5 convolution.
        n_proj: Channels of the 1 x 1 convolution after the pooling.
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

    Args:
        inputs: Channels of the input.
        num_classes: Number of classes.

    Raises:
        ModelError: When called on maps other than 14 x 14, which images of 224 x 224 pixels give.
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


class InceptionLogits(NamedTuple):
    """The outputs of a network with auxiliary heads in training: its own logits and the heads'."""

    main: Float[Tensor, "n classes"]
    auxiliary4a: Float[Tensor, "n classes"]
    auxiliary4d: Float[Tensor, "n classes"]


_MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
_CONVOLUTIONS = ("conv1x1", "conv3x3_reduce", "conv3x3", "conv5x5_reduce", "conv5x5", "conv_proj")


def _numbered() -> Mapping[str, str]:
    layers = ["conv1", "conv2", "conv3"]
    layers += [f"inception{module}.{conv}" for module in _MODULES for conv in _CONVOLUTIONS]
    return MappingProxyType({f"conv{number}": layer for number, layer in enumerate(layers, 1)})


class InceptionNet(nn.Module):
    """22 layers with weights, nine Inception modules among them, from an RGB image to logits.

    Args:
        num_classes: Number of classes.
        paper: Build the paper's network, without batch normalisation.
        auxiliary: Add the two auxiliary heads, which take images of 224 x 224 pixels. In training
            mode the output is then an `InceptionLogits`; the paper's loss adds 0.3 times each
            head's. In evaluation mode, and without heads, it is the logits alone.
    """

    # The module path of each of the 57 convolutions by its running number, "conv1" to "conv57",
    # six a module in the order of table 1.
    numbered: ClassVar[Mapping[str, str]] = _numbered()

    def __init__(
        self, num_classes: int = 10, *, paper: bool = False, auxiliary: bool = False
    ) -> None:
        super().__init__()
        self.paper, self.auxiliary = paper, auxiliary
        self._add_stem()
        module = Inception if paper else BatchNormInception
        self.inception3a = module(192, 64, 96, 128, 16, 32, 32)
        self.inception3b = module(256, 128, 128, 192, 32, 96, 64)
        self.maxpool3 = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.inception4a = module(480, 192, 96, 208, 16, 48, 64)
        self.inception4b = module(512, 160, 112, 224, 24, 64, 64)
        self.inception4c = module(512, 128, 128, 256, 24, 64, 64)
        self.inception4d = module(512, 112, 144, 288, 32, 64, 64)
        self.inception4e = module(528, 256, 160, 320, 32, 128, 128)
        self.maxpool4 = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.inception5a = module(832, 256, 160, 320, 32, 128, 128)
        self.inception5b = module(832, 384, 192, 384, 48, 128, 128)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(p=0.4 if paper else 0.5)
        self.fc = nn.Linear(1024, num_classes)
        if auxiliary:
            self.auxiliary4a = AuxiliaryHead(512, num_classes)
            self.auxiliary4d = AuxiliaryHead(528, num_classes)
        self._start_weights()

    def _add_stem(self) -> None:
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3)
        if not self.paper:
            self.bn1 = nn.BatchNorm2d(64)
        self.relu1 = nn.ReLU(inplace=False)
        self.maxpool1 = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        if self.paper:
            self.lrn1 = LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.conv2 = nn.Conv2d(64, 64, kernel_size=1)
        if not self.paper:
            self.bn2 = nn.BatchNorm2d(64)
        self.relu2 = nn.ReLU(inplace=False)
        self.conv3 = nn.Conv2d(64, 192, kernel_size=3, padding=1)
        if not self.paper:
            self.bn3 = nn.BatchNorm2d(192)
        self.relu3 = nn.ReLU(inplace=False)
        if self.paper:
            self.lrn2 = LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
        self.maxpool2 = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def _start_weights(self) -> None:
        self.apply(caffe_xavier if self.paper else kaiming_normal)
        heads = [self.auxiliary4a.fc2, self.auxiliary4d.fc2] if self.auxiliary else []
        for classifier in [self.fc, *heads]:
            nn.init.zeros_(classifier.bias)
        if not self.paper:
            # Normalisation makes the output indifferent to a filter's scale, while its gradient
            # grows as the filter shrinks. From Kaiming's scale these wide filters would keep much
            # of the noise that they begin as; from here they are learned.
            nn.init.normal_(self.conv1.weight, std=0.005)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"] | InceptionLogits:
        x = self._stem(x)
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        maps_4a = self.inception4a(x)
        maps_4d = self.inception4d(self.inception4c(self.inception4b(maps_4a)))
        x = self.maxpool4(self.inception4e(maps_4d))
        x = self.avgpool(self.inception5b(self.inception5a(x)))
        logits = self.fc(self.dropout(torch.flatten(x, 1)))
        if self.auxiliary and self.training:
            return InceptionLogits(logits, self.auxiliary4a(maps_4a), self.auxiliary4d(maps_4d))
        return logits

    def _stem(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c y x"]:
        if self.paper:
            x = self.lrn1(self.maxpool1(self.relu1(self.conv1(x))))
            x = self.relu2(self.conv2(x))
            return self.maxpool2(self.lrn2(self.relu3(self.conv3(x))))
        x = self.maxpool1(self.relu1(self.bn1(self.conv1(x))))
        x = self.relu2(self.bn2(self.conv2(x)))
        return self.maxpool2(self.relu3(self.bn3(self.conv3(x))))

    @classmethod
    def running_number(cls, layer: str) -> int:
        """The running number of a convolution: 18 for "inception4a.conv3x3".

        Args:
            layer: Its module path.

        Raises:
            LayerError: The layer is none of the 57 convolutions.
        """
        for name, path in cls.numbered.items():
            if path == layer:
                return int(name.removeprefix("conv"))
        raise LayerError(
            f"{layer!r} is none of the 57 numbered convolutions of {cls.__name__}; "
            "they are conv1, conv2, conv3 and such as inception4a.conv3x3"
        )
