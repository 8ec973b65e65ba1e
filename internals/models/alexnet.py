"""AlexNet (Krizhevsky, Sutskever and Hinton, NIPS 2012).

Departures of the default form from the paper, each absent from `AlexNet(paper=True)`:

* one group in every convolution, where the paper splits conv2, conv4 and conv5 over two GPUs;
* 224 pixels with two of padding, where 55 positions of conv1 need 227 pixels without padding (the
  paper says 224, from which its own sizes do not follow);
* He et al.'s (2015) weights, but N(0, 0.005) in conv1, and biases of zero, where the paper draws
  from N(0, 0.01) and starts five layers' biases at one (see `initialise_for_unit_pixels`);
* ten classes.

Both forms divide by the dropout rate's complement while training, where the paper multiplies by it
while testing: equal in expectation. The response normalisation is section 3.3's formula, whose
alpha of 1e-4 multiplies a sum over five channels; torch's multiplies their mean, hence 5e-4.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.models.blocks import LocalResponseNorm, he_normal


class AlexNet(nn.Module):
    """Eight layers of weights, from 3 x 224 x 224 pixels to a score for each class.

    Args:
        num_classes: Number of classes; by default ten, and 1,000 in the paper's form.
        paper: Build the paper's network, for 227 x 227 pixels.
        lrn: Whether to normalise the first two layers' responses (section 3.3).
        dropout: Share of the units of the first two linear layers that each training step
            silences (section 4.2).
    """

    def __init__(
        self,
        num_classes: int | None = None,
        *,
        paper: bool = False,
        lrn: bool = True,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        groups, padding = (2, 0) if paper else (1, 2)
        classes = num_classes or (1000 if paper else 10)
        self.conv1 = nn.Conv2d(3, 96, kernel_size=11, stride=4, padding=padding)
        self.relu1 = nn.ReLU()
        self.lrn1 = _response_normalisation() if lrn else nn.Identity()
        self.pool1 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.conv2 = nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=groups)
        self.relu2 = nn.ReLU()
        self.lrn2 = _response_normalisation() if lrn else nn.Identity()
        self.pool2 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.conv3 = nn.Conv2d(256, 384, kernel_size=3, padding=1)
        self.relu3 = nn.ReLU()
        self.conv4 = nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=groups)
        self.relu4 = nn.ReLU()
        self.conv5 = nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=groups)
        self.relu5 = nn.ReLU()
        self.pool3 = nn.MaxPool2d(kernel_size=3, stride=2)
        self.lin1 = nn.Linear(256 * 6 * 6, 4096)
        self.relu6 = nn.ReLU()
        self.drop1 = nn.Dropout(dropout)
        self.lin2 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU()
        self.drop2 = nn.Dropout(dropout)
        self.lin3 = nn.Linear(4096, classes)
        initialise_as_published(self) if paper else initialise_for_unit_pixels(self)

    def forward(self, x: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n classes"]:
        x = self.pool1(self.lrn1(self.relu1(self.conv1(x))))
        x = self.pool2(self.lrn2(self.relu2(self.conv2(x))))
        x = self.relu3(self.conv3(x))
        x = self.relu4(self.conv4(x))
        x = self.pool3(self.relu5(self.conv5(x)))
        x = self.drop1(self.relu6(self.lin1(torch.flatten(x, 1))))
        x = self.drop2(self.relu7(self.lin2(x)))
        return self.lin3(x)


def _response_normalisation() -> LocalResponseNorm:
    """B = a / (2 + 1e-4 x the sum of a^2 over five neighbouring channels)^0.75 (section 3.3)."""
    return LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2)


def initialise_for_unit_pixels(model: nn.Module) -> None:
    """He et al.'s weights and biases of zero, but `conv1`'s weights from N(0, 0.005).

    The paper's pixels run to 255 and change `conv1` fast. With pixels from 0 to 1 it moves by
    hundredths in a whole training, so He's deviation of 0.074 would be seen in its filters for
    good: noise of waves that a stride of four cannot tell from longer ones.
    """
    model.apply(he_normal)
    nn.init.normal_(model.get_submodule("conv1").weight, std=0.005)  # type: ignore[arg-type]


def initialise_as_published(model: AlexNet) -> None:
    """Weights from N(0, 0.01); biases one where section 5 feeds rectifiers, else zero."""
    with_ones = (model.conv2, model.conv4, model.conv5, model.lin1, model.lin2)
    for layer in model.children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.constant_(layer.bias, 1.0 if layer in with_ones else 0.0)
