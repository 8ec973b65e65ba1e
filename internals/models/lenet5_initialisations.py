"""How the weights of LeNet-5's relatives may start; the paper's own way is `fan_in_uniform`."""

from collections.abc import Iterator
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.models.lenet5_parts import Subsampling, TableConv2d

SCHEMES = ("xavier", "kaiming", "orthogonal", "normal")

_DEVIATION = 0.01  # of "normal": Krizhevsky et al. 2012, section 5


def scale_by(module: nn.Module, scheme: str, gain: float) -> None:
    """Draw one module's weights by `scheme`, one of `SCHEMES`, with biases zero.

    "xavier": uniform, variance 2 `gain`^2 / (fan-in + fan-out) (Glorot and Bengio 2010, eq. 16);
    "kaiming": normal, variance `gain`^2 / fan-in (He et al. 2015, eq. 10, where the gain is that
    of the rectifier, sqrt 2); "orthogonal": `gain` times an orthogonal matrix (Saxe et al. 2014);
    "normal": standard deviation 0.01 in all layers, whatever the gain (Krizhevsky et al. 2012).
    A map that sees only some of the maps before it is drawn by itself, with its own fan-in. None
    of this says how sub-sampling starts: here as a plain average.
    """
    with torch.no_grad():
        for weight, fan_in, fan_out in _units(module):
            if scheme == "xavier":
                bound = gain * sqrt(6 / (fan_in + fan_out))
                weight.uniform_(-bound, bound)
            elif scheme == "kaiming":
                weight.normal_(0, gain / sqrt(fan_in))
            elif scheme == "orthogonal":
                nn.init.orthogonal_(weight, gain)
            else:
                weight.normal_(0, _DEVIATION)
        if isinstance(module, nn.Conv2d | nn.Linear | TableConv2d | Subsampling):
            assert module.bias is not None
            module.bias.zero_()
        if isinstance(module, Subsampling):
            module.coefficient.fill_(1 / module.kernel_size**2)


def _units(
    module: nn.Module,
) -> Iterator[tuple[Float[Tensor, "outputs inputs *kernel"], int, int]]:
    """The weights that are drawn together, with their fan-in and fan-out."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        yield module.weight, module.weight[0].numel(), module.weight[:, 0].numel()
    elif isinstance(module, TableConv2d):
        fan_out = module.weight.numel() // module.in_channels
        kernel = 0
        for sources in module.table:
            unit = module.weight[kernel : kernel + len(sources)].unsqueeze(0)
            yield unit, unit.numel(), fan_out
            kernel += len(sources)
