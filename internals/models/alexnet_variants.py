"""AlexNet with its first layer, its depth and its widths exchangeable, one at a time.

What Zeiler and Fergus (ECCV 2014) change in it: the first layer's window and stride (section 4.1,
figure 6), and which layers it has and how wide they are (section 5.1, table 3).

Departures from their networks: the response normalisation stands before the maximum, as in AlexNet,
and weights are He et al.'s (2015), as in `AlexNet`.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from internals.errors import ModelError
from internals.models.alexnet import initialise_for_unit_pixels
from internals.models.blocks import LocalResponseNorm

FIRST_LAYERS = ("11x11/4", "7x7/2")


class AlexNetVariant(nn.Module):
    """`AlexNet` with other choices, from 3 x 224 x 224 pixels to a score for each class.

    With the choices as they are by default it computes what `AlexNet` does, from as many weights;
    layers that are left out are `nn.Identity`.

    Args:
        num_classes: Number of classes.
        first: Window and stride of conv1. "7x7/2" has a stride of two in conv2 as well, so that
            conv3 sees 13 x 13 places either way.
        without: Layers to leave out, of conv3 and conv4; what follows takes the maps as they come.
        widths: Channels of conv3, conv4 and conv5.
        hidden: Units of each fully connected layer before the last; none: the maps go straight to
            the classes.

    Raises:
        ModelError: A choice that there is not.
    """

    def __init__(
        self,
        num_classes: int = 10,
        *,
        first: str = "11x11/4",
        without: Sequence[str] = (),
        widths: Sequence[int] = (384, 384, 256),
        hidden: Sequence[int] = (4096, 4096),
    ) -> None:
        super().__init__()
        if first not in FIRST_LAYERS:
            raise ModelError(f"first={first!r} is not one of {', '.join(FIRST_LAYERS)}")
        if unknown := [name for name in without if name not in ("conv3", "conv4")]:
            raise ModelError(f"without={unknown} cannot be left out; conv3 and conv4 can")
        if len(widths) != 3 or min([*widths, *hidden, num_classes]) < 1:
            raise ModelError(
                f"widths={tuple(widths)} and hidden={tuple(hidden)} must be three channel numbers "
                "and numbers of units, all above 0"
            )
        stride, (window, step, padding) = (1, (11, 4, 2)) if first == "11x11/4" else (2, (7, 2, 3))
        self.conv1 = nn.Conv2d(3, 96, kernel_size=window, stride=step, padding=padding)
        self.relu1 = nn.ReLU()
        self.lrn1 = LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2)
        self.pool1 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.conv2 = nn.Conv2d(96, 256, kernel_size=5, stride=stride, padding=2)
        self.relu2 = nn.ReLU()
        self.lrn2 = LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2)
        self.pool2 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.conv3, self.relu3, channels = _convolution(256, widths[0], "conv3" in without)
        self.conv4, self.relu4, channels = _convolution(channels, widths[1], "conv4" in without)
        self.conv5, self.relu5, channels = _convolution(channels, widths[2], left_out=False)
        self.pool3 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.head = nn.Sequential(nn.Flatten(), *_head(channels * 6 * 6, hidden, num_classes))
        initialise_for_unit_pixels(self)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        x = self.pool1(self.lrn1(self.relu1(self.conv1(x))))
        x = self.pool2(self.lrn2(self.relu2(self.conv2(x))))
        x = self.relu3(self.conv3(x))
        x = self.relu4(self.conv4(x))
        x = self.pool3(self.relu5(self.conv5(x)))
        return self.head(x)


def _convolution(before: int, width: int, left_out: bool) -> tuple[nn.Module, nn.Module, int]:
    """A 3 x 3 convolution with its rectifier, and how many channels come out."""
    if left_out:
        return nn.Identity(), nn.Identity(), before
    return nn.Conv2d(before, width, kernel_size=3, padding=1), nn.ReLU(), width


def _head(units: int, hidden: Sequence[int], classes: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(units, width), nn.ReLU(), nn.Dropout(0.5)]
        units = width
    return [*layers, nn.Linear(units, classes)]
