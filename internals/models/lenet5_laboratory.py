"""LeNet-5 with each of its parts exchangeable, one at a time, for the laboratory chapters.

Departures from the paper: those of `LeNet5`, and whatever is chosen. As there, every layer up to
F6 ends in the non-linearity, sub-sampling and pooling layers too.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.errors import ModelError
from internals.models.lenet5 import fan_in_uniform
from internals.models.lenet5_initialisations import SCHEMES, scale_by
from internals.models.lenet5_parts import (
    TABLE_I,
    AvgPool2d,
    RBFOutputLayer,
    ScaledTanh,
    Subsampling,
    TableConv2d,
)

INPUT_SIZES = (32, 28)
CONNECTIONS = ("full", "table")
POOLINGS = ("average", "trainable", "max")
OUTPUTS = ("bitmaps", "random-codes", "learned-codes", "logits")
INITIALISATIONS = ("fan-in", *SCHEMES)

_MODULES = {"scaled-tanh": ScaledTanh, "tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
ACTIVATIONS = tuple(_MODULES)
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
_RANDOM_CODES = 0.1  # the first edition drew its codes, once, from U(-0.1, 0.1)


class LeNet5Variant(nn.Module):
    """LeNet-5 with the parts that are named; without arguments it is `LeNet5()`, bit by bit.

    * `input_size`: 32, or 28 pixels, to which `conv1` then adds a margin of 2;
    * `connections` of C3: "full", or "table" (Table I);
    * `pooling` in S2 and S4: "average", "trainable" (one coefficient and bias a map), or "max";
    * `activation`, in all six places: "scaled-tanh" (appendix A), "tanh", "relu", "sigmoid";
    * `output`: squared distances to codes (eq. 7), for the MAP loss: the "bitmaps",
      "random-codes" from U(-0.1, 0.1), fixed, or "learned-codes", which start as the bitmaps; or
      ten "logits", for cross-entropy;
    * `initialisation`: "fan-in" (appendix A), "xavier", "kaiming", "orthogonal", "normal", the
      middle three scaled by the gain of the activation (`scale_by`);
    * `dropout`: the share of F6's inputs that training leaves out.

    Raises `ModelError` for any other choice.
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
        _check(
            input_size=input_size, connections=connections, pooling=pooling,
            activation=activation, output=output, initialisation=initialisation,
        )  # fmt: skip
        if not 0 <= dropout < 1:
            raise ModelError(f"dropout={dropout} is no share of the inputs; use 0 up to below 1")
        non_linearity = _MODULES[activation]
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
        self.apply(_start(initialisation, _GAINS[activation]))
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


def _check(**chosen: object) -> None:
    for name, value in chosen.items():
        if value not in _CHOICES[name]:
            listed = ", ".join(map(str, _CHOICES[name]))
            raise ModelError(f"{name}={value!r} is not one of {listed}")


def _pooling(kind: str, maps: int) -> nn.Module:
    if kind == "trainable":
        return Subsampling(maps)
    return (AvgPool2d if kind == "average" else nn.MaxPool2d)(kernel_size=2, stride=2)


def _start(initialisation: str, gain: float) -> Callable[[nn.Module], None]:
    if initialisation == "fan-in":
        return fan_in_uniform
    return partial(scale_by, scheme=initialisation, gain=gain)
