"""LeNet-5 with each of its parts exchangeable, one at a time, for the laboratory chapters.

Departures from the paper: those of `LeNet5`, and whatever is chosen. As there, every layer up to
F6 ends in the non-linearity, sub-sampling and pooling layers too.
"""

from collections.abc import Callable, Iterator
from functools import partial
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.errors import ModelError
from internals.models.lenet5 import (
    TABLE_I,
    AvgPool2d,
    RBFOutputLayer,
    ScaledTanh,
    Subsampling,
    TableConv2d,
    fan_in_uniform,
)

SCHEMES = ("xavier", "kaiming", "orthogonal", "normal")
INPUT_SIZES = (32, 28)
CONNECTIONS = ("full", "table")
POOLINGS = ("average", "trainable", "max")
OUTPUTS = ("bitmaps", "random-codes", "learned-codes", "logits")
INITIALISATIONS = ("fan-in", *SCHEMES)

_ACTIVATION_MODULES = {
    "scaled-tanh": ScaledTanh,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
}
ACTIVATIONS = tuple(_ACTIVATION_MODULES)
_CHOICES: dict[str, tuple[object, ...]] = {
    "input_size": INPUT_SIZES,
    "connections": CONNECTIONS,
    "pooling": POOLINGS,
    "activation": ACTIVATIONS,
    "output": OUTPUTS,
    "initialisation": INITIALISATIONS,
}
# Of the scaled tanh the paper says "around 1 in normal operating conditions" (appendix A).
_GAINS = {"scaled-tanh": 1.0} | {
    name: float(nn.init.calculate_gain(name)) for name in ("tanh", "relu", "sigmoid")
}
_RANDOM_CODES = 0.1  # the notebooks that this book grew from drew theirs so, once
_DEVIATION = 0.01  # of "normal": Krizhevsky et al. 2012, section 5


def initialise(module: nn.Module, scheme: str, gain: float) -> None:
    """Draw one module's weights, with biases zero.

    "xavier": uniform, variance 2 `gain`^2 / (fan-in + fan-out) (Glorot and Bengio 2010, eq. 16);
    "kaiming": normal, variance `gain`^2 / fan-in (He et al. 2015, eq. 10, where the gain is that
    of the rectifier, sqrt 2); "orthogonal": `gain` times an orthogonal matrix (Saxe et al. 2014);
    "normal": standard deviation 0.01 in all layers, whatever the gain (Krizhevsky et al. 2012).
    A map that sees only some of the maps before it is drawn by itself, with its own fan-in. None
    of these papers says how sub-sampling starts: here as a plain average.

    Args:
        module: The module to initialise; one without weights stays as it is.
        scheme: One of `SCHEMES`.
        gain: Scales the weights, by the non-linearity that follows.
    """
    with torch.no_grad():
        for weight, fan_in, fan_out in _weights_with_fans(module):
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


def _weights_with_fans(
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


class LeNet5Softmax(nn.Module):
    """LeNet-5 with dense C3, plain tanh, Xavier weights and ten logits: 61,706 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5)
        self.tanh1 = nn.Tanh()
        self.pool1 = AvgPool2d(kernel_size=2, stride=2)
        self.tanh2 = nn.Tanh()
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.tanh3 = nn.Tanh()
        self.pool2 = AvgPool2d(kernel_size=2, stride=2)
        self.tanh4 = nn.Tanh()
        self.conv3 = nn.Conv2d(16, 120, kernel_size=5)
        self.tanh5 = nn.Tanh()
        self.linear1 = nn.Linear(120, 84)
        self.tanh6 = nn.Tanh()
        self.linear2 = nn.Linear(84, 10)
        self.apply(partial(initialise, scheme="xavier", gain=nn.init.calculate_gain("tanh")))

    def forward(self, x: Float[Tensor, "n 1 32 32"]) -> Float[Tensor, "n 10"]:
        x = self.tanh2(self.pool1(self.tanh1(self.conv1(x))))
        x = self.tanh4(self.pool2(self.tanh3(self.conv2(x))))
        x = self.tanh5(self.conv3(x))
        x = self.tanh6(self.linear1(torch.flatten(x, 1)))
        return self.linear2(x)


class LeNet5Max28(nn.Module):
    """LeNet-5 for unpadded 28 x 28 digits, with max pooling and ten logits: 61,706 parameters.

    Weights are Kaiming's for rectifiers, whatever the non-linearity.

    Args:
        activation: Makes the non-linearity of every layer.
    """

    def __init__(self, activation: Callable[[], nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=2)
        self.act1 = activation()
        self.pool1 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5)
        self.act2 = activation()
        self.pool2 = nn.MaxPool2d(kernel_size=2, stride=2)
        self.linear1 = nn.Linear(400, 120)
        self.act3 = activation()
        self.linear2 = nn.Linear(120, 84)
        self.act4 = activation()
        self.linear3 = nn.Linear(84, 10)
        self.apply(partial(initialise, scheme="kaiming", gain=nn.init.calculate_gain("relu")))

    def forward(self, x: Float[Tensor, "n 1 28 28"]) -> Float[Tensor, "n 10"]:
        x = self.pool1(self.act1(self.conv1(x)))
        x = self.pool2(self.act2(self.conv2(x)))
        x = self.act3(self.linear1(torch.flatten(x, 1)))
        x = self.act4(self.linear2(x))
        return self.linear3(x)


class LeNet5Variant(nn.Module):
    """LeNet-5 with the parts that are named; without arguments it is `LeNet5()`, bit by bit.

    Args:
        input_size: 32, or 28 pixels, to which `conv1` then adds a margin of 2.
        connections: Of C3: "full", or "table" (Table I).
        pooling: In S2 and S4: "average", "trainable" (one coefficient and bias a map), or "max".
        activation: In all six places: "scaled-tanh" (appendix A), "tanh", "relu" or "sigmoid".
        output: Squared distances to codes (eq. 7), for the MAP loss: the "bitmaps",
            "random-codes" from U(-0.1, 0.1), fixed, or "learned-codes", which start as the
            bitmaps; or ten "logits", for cross-entropy.
        initialisation: "fan-in" (appendix A), "xavier", "kaiming", "orthogonal" or "normal", the
            middle three scaled by the gain of the activation (`initialise`).
        dropout: Share of F6's inputs that each training step silences.

    Raises:
        ModelError: A choice is none of these.
    """

    def __init__(
        self,
        *,
        input_size: int = 32,
        connections: str = "full",
        pooling: str = "average",
        activation: str = "scaled-tanh",
        output: str = "bitmaps",
        initialisation: str = "fan-in",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _check_choices(
            input_size=input_size, connections=connections, pooling=pooling,
            activation=activation, output=output, initialisation=initialisation,
        )  # fmt: skip
        if not 0 <= dropout < 1:
            raise ModelError(f"dropout={dropout} is no share of the inputs; use 0 up to below 1")
        non_linearity = _ACTIVATION_MODULES[activation]
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5, padding=(32 - input_size) // 2)
        self.act1 = non_linearity()
        self.pool1 = _pooling(pooling, 6)
        self.act2 = non_linearity()
        full = connections == "full"
        self.conv2 = nn.Conv2d(6, 16, kernel_size=5) if full else TableConv2d(TABLE_I, 6, 5)
        self.act3 = non_linearity()
        self.pool2 = _pooling(pooling, 16)
        self.act4 = non_linearity()
        self.conv3 = nn.Conv2d(16, 120, kernel_size=5)
        self.act5 = non_linearity()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(120, 84)
        self.act6 = non_linearity()
        logits, learned = output == "logits", output == "learned-codes"
        self.output = nn.Linear(84, 10) if logits else RBFOutputLayer(learned=learned)
        self.apply(_initialiser(initialisation, _GAINS[activation]))
        if output == "random-codes":
            # Last, so that with one seed the networks of all kinds of codes start alike.
            codes = self.get_buffer("output.prototypes")
            nn.init.uniform_(codes, -_RANDOM_CODES, _RANDOM_CODES)

    def forward(self, x: Float[Tensor, "n 1 size size"]) -> Float[Tensor, "n 10"]:
        x = self.act1(self.conv1(x))
        x = self.act2(self.pool1(x))
        x = self.act3(self.conv2(x))
        x = self.act4(self.pool2(x))
        x = self.act5(self.conv3(x))
        x = self.dropout(torch.flatten(x, 1))
        x = self.act6(self.linear(x))
        return self.output(x)


def _check_choices(**choices: object) -> None:
    for name, value in choices.items():
        if value not in _CHOICES[name]:
            listed = ", ".join(map(str, _CHOICES[name]))
            raise ModelError(f"{name}={value!r} is not one of {listed}")


def _pooling(kind: str, maps: int) -> nn.Module:
    if kind == "trainable":
        return Subsampling(maps)
    return (AvgPool2d if kind == "average" else nn.MaxPool2d)(kernel_size=2, stride=2)


def _initialiser(initialisation: str, gain: float) -> Callable[[nn.Module], None]:
    if initialisation == "fan-in":
        return fan_in_uniform
    return partial(initialise, scheme=initialisation, gain=gain)
