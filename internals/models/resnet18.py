"""ResNet-18 (He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, CVPR 2016).

Departures of the default form from the paper:

* ten classes, for Imagenette;
* where the dimensions grow the shortcut is projected (option B), as in all but the first of the
  paper's tables; its one result for 18 layers, 27.88 % (table 2), has `shortcut="A"`;
* conv1 starts from smaller weights than the rest, so that its filters are learned ones.

`shortcut="none"` is the plain network of the same table, which differs in nothing else.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from internals.errors import ModelError
from internals.models.blocks import BatchNorm2d, MaxPool2d, conv_bn_relu

_SHORTCUTS = ("A", "B", "none")


class ResNet18(nn.Module):
    """Seventeen convolutions in sequence and one linear layer (table 1): images to logits.

    Args:
        num_classes: Number of classes.
        shortcut: What is added to each pair of convolutions (section 3.3): their input, where the
            channels double at half the size zero-padded ("A") or projected ("B"), or nothing
            ("none").

    Raises:
        ModelError: `shortcut` is none of these.
    """

    def __init__(self, num_classes: int = 10, *, shortcut: Literal["A", "B", "none"] = "B") -> None:
        super().__init__()
        if shortcut not in _SHORTCUTS:
            raise ModelError(f"unknown shortcut {shortcut!r}; known are {', '.join(_SHORTCUTS)}")
        self.shortcut = shortcut
        self.conv1, self.bn1, self.relu1 = conv_bn_relu(3, 64, kernel_size=7, stride=2)
        self.pool1 = MaxPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
        self.conv2, self.bn2, self.relu2 = conv_bn_relu(64, 64)
        self.conv3, self.bn3, self.relu3 = conv_bn_relu(64, 64)
        self.conv4, self.bn4, self.relu4 = conv_bn_relu(64, 64)
        self.conv5, self.bn5, self.relu5 = conv_bn_relu(64, 64)
        self.conv6, self.bn6, self.relu6 = conv_bn_relu(64, 128, stride=2)
        self.conv7, self.bn7, self.relu7 = conv_bn_relu(128, 128)
        self.conv_proj1, self.bn_proj1 = self._projection(64, 128)
        self.conv8, self.bn8, self.relu8 = conv_bn_relu(128, 128)
        self.conv9, self.bn9, self.relu9 = conv_bn_relu(128, 128)
        self.conv10, self.bn10, self.relu10 = conv_bn_relu(128, 256, stride=2)
        self.conv11, self.bn11, self.relu11 = conv_bn_relu(256, 256)
        self.conv_proj2, self.bn_proj2 = self._projection(128, 256)
        self.conv12, self.bn12, self.relu12 = conv_bn_relu(256, 256)
        self.conv13, self.bn13, self.relu13 = conv_bn_relu(256, 256)
        self.conv14, self.bn14, self.relu14 = conv_bn_relu(256, 512, stride=2)
        self.conv15, self.bn15, self.relu15 = conv_bn_relu(512, 512)
        self.conv_proj3, self.bn_proj3 = self._projection(256, 512)
        self.conv16, self.bn16, self.relu16 = conv_bn_relu(512, 512)
        self.conv17, self.bn17, self.relu17 = conv_bn_relu(512, 512)
        self.avgpool = nn.AdaptiveAvgPool2d(output_size=(1, 1))
        self.fc = nn.Linear(512, num_classes)
        self.apply(kaiming_by_outputs)
        # Normalisation makes the output indifferent to a filter's scale, while its gradient grows
        # as the filter shrinks. From Kaiming's scale these wide filters would keep much of the
        # noise that they begin as; from here they are learned.
        nn.init.normal_(self.conv1.weight, std=0.005)

    def _projection(
        self, in_channels: int, out_channels: int
    ) -> tuple[nn.Conv2d | None, BatchNorm2d | None]:
        if self.shortcut != "B":
            return None, None
        convolution = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=2, bias=False)
        return convolution, BatchNorm2d(out_channels)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))
        y = self.bn3(self.conv3(self.relu2(self.bn2(self.conv2(x)))))
        x = self.relu3(self.add(y, x))
        y = self.bn5(self.conv5(self.relu4(self.bn4(self.conv4(x)))))
        x = self.relu5(self.add(y, x))
        y = self.bn7(self.conv7(self.relu6(self.bn6(self.conv6(x)))))
        x = self.relu7(self.add(y, x, self.conv_proj1, self.bn_proj1))
        y = self.bn9(self.conv9(self.relu8(self.bn8(self.conv8(x)))))
        x = self.relu9(self.add(y, x))
        y = self.bn11(self.conv11(self.relu10(self.bn10(self.conv10(x)))))
        x = self.relu11(self.add(y, x, self.conv_proj2, self.bn_proj2))
        y = self.bn13(self.conv13(self.relu12(self.bn12(self.conv12(x)))))
        x = self.relu13(self.add(y, x))
        y = self.bn15(self.conv15(self.relu14(self.bn14(self.conv14(x)))))
        x = self.relu15(self.add(y, x, self.conv_proj3, self.bn_proj3))
        y = self.bn17(self.conv17(self.relu16(self.bn16(self.conv16(x)))))
        x = self.relu17(self.add(y, x))
        return self.fc(torch.flatten(self.avgpool(x), 1))

    def add(
        self,
        residual: Float[Tensor, "n c h w"],
        x: Float[Tensor, "n c_x h_x w_x"],
        conv_proj: nn.Conv2d | None = None,
        bn_proj: BatchNorm2d | None = None,
    ) -> Float[Tensor, "n c h w"]:
        """F(x) + x (eq. 1), or F(x) + W x where the channels double at half the size (eq. 2).

        Args:
            residual: F(x), what the pair of convolutions gives.
            x: What the pair was given.
            conv_proj: The projection W, where there is one.
            bn_proj: The batch normalisation after it.
        """
        if self.shortcut == "none":
            return residual
        if conv_proj is not None and bn_proj is not None:
            return residual + bn_proj(conv_proj(x))
        return residual + (x if x.shape == residual.shape else zero_padded(x))


def zero_padded(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 2*c h_half w_half"]:
    """Option A (section 3.3): every second row and column, and as many zero channels again."""
    return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, x.shape[1]))


def kaiming_by_outputs(module: nn.Module) -> None:
    """Draw convolutions from N(0, 2 / (k^2 outputs)), so that gradients keep their size.

    He et al. (ICCV 2015, eq. 14). Batch normalisation starts at scale 1 and shift 0, as torch's.
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
