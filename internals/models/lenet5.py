"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE 86(11), 1998).

Departures of the default form from the paper, each absent from `LeNet5(paper=True)`:

* C3 sees all six maps of S2 (2,416 parameters) where Table I connects 60 pairs (1,516);
* S2 and S4 are plain averages where the paper trains a coefficient and a bias for each map.

Both forms take digits in a 32 x 32 field, background -0.1 and ink 1.175, and answer with the
squared distance to ten fixed bitmaps, which are our own drawing.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.models.lenet5_parts import (
    TABLE_I,
    AvgPool2d,
    RBFOutputLayer,
    ScaledTanh,
    Subsampling,
    TableConv2d,
)


class LeNet5(nn.Module):
    """Seven layers, from a 1 x 32 x 32 digit to ten penalties; the smallest is the answer."""

    def __init__(self, *, paper: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5)
        self.tanh1 = ScaledTanh()
        self.pool1 = Subsampling(6) if paper else AvgPool2d(kernel_size=2, stride=2)
        self.tanh2 = ScaledTanh()
        self.conv2 = TableConv2d(TABLE_I, 6, 5) if paper else nn.Conv2d(6, 16, kernel_size=5)
        self.tanh3 = ScaledTanh()
        self.pool2 = Subsampling(16) if paper else AvgPool2d(kernel_size=2, stride=2)
        self.tanh4 = ScaledTanh()
        self.conv3 = nn.Conv2d(16, 120, kernel_size=5)
        self.tanh5 = ScaledTanh()
        self.linear = nn.Linear(120, 84)
        self.tanh6 = ScaledTanh()
        self.rbf = RBFOutputLayer()
        self.apply(fan_in_uniform)

    def forward(self, x: Float[Tensor, "n 1 32 32"]) -> Float[Tensor, "n 10"]:
        x = self.tanh1(self.conv1(x))
        x = self.tanh2(self.pool1(x))
        x = self.tanh3(self.conv2(x))
        x = self.tanh4(self.pool2(x))
        x = self.tanh5(self.conv3(x))
        x = self.tanh6(self.linear(torch.flatten(x, 1)))
        return self.rbf(x)


def fan_in_uniform(module: nn.Module) -> None:
    """Draw weights and biases from U(-2.4 / F, 2.4 / F), F the unit's number of inputs (app. A)."""
    with torch.no_grad():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 2.4 / module.weight[0].numel()
            module.weight.uniform_(-bound, bound)
            assert module.bias is not None
            module.bias.uniform_(-bound, bound)
        elif isinstance(module, Subsampling):
            bound = 2.4 / 4
            module.coefficient.uniform_(-bound, bound)
            module.bias.uniform_(-bound, bound)
        elif isinstance(module, TableConv2d):
            kernel = 0
            for unit, sources in enumerate(module.table):
                bound = 2.4 / (len(sources) * module.size**2)
                module.weight[kernel : kernel + len(sources)].uniform_(-bound, bound)
                module.bias[unit].uniform_(-bound, bound)
                kernel += len(sources)
