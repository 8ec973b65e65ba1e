"""Everything that decides one run of an ablation, in one frozen record."""

from dataclasses import dataclass
from typing import Any

from internals.errors import AblationError

INPUTS = ("padded", "unpadded", "resized")
OPTIMIZERS = ("adamw", "adam", "sgd", "sdlm")
RUBBISH_PENALTY = 5.0  # j of the MAP loss, as in the recipes of LeNet-5

_OF_THE_NETWORK = (
    "connections", "pooling", "activation", "output", "initialisation", "dropout",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """One arm: a LeNet-5, how it is trained, and for how long.

    `input` is how a 28 x 28 digit is brought in: "padded" with background to 32, "unpadded", as it
    is, with `conv1` adding its own margin, or "resized" to 32. The fields from `connections` to
    `dropout` are those of `LeNet5Variant`. Raises `AblationError` for what no run can have.
    """

    input: str = "padded"  # one of INPUTS
    connections: str = "full"
    pooling: str = "average"
    activation: str = "scaled-tanh"
    output: str = "bitmaps"
    initialisation: str = "fan-in"
    dropout: float = 0.0
    optimizer: str = "adamw"  # one of OPTIMIZERS
    learning_rate: float = 1e-3  # the highest of the run; for sdlm eta of eq. 21
    batch_size: int = 64  # images a step
    shift: int = 0  # pixels, at most so many in each direction
    rotation: float = 0.0  # degrees, at most so many either way
    duplicate: bool = False  # every second image is shown as it is
    presentations: int = 64_000  # images shown in training, repeats counted

    def __post_init__(self) -> None:
        for name, choices in (("input", INPUTS), ("optimizer", OPTIMIZERS)):
            if getattr(self, name) not in choices:
                raise AblationError(
                    f"{name}={getattr(self, name)!r} is not one of {', '.join(choices)}"
                )
        for name in ("learning_rate", "batch_size", "presentations"):
            if not getattr(self, name) > 0:
                raise AblationError(f"{name}={getattr(self, name)} must be above 0")

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `LeNet5Variant`."""
        size = 28 if self.input == "unpadded" else 32
        return {"input_size": size} | {name: getattr(self, name) for name in _OF_THE_NETWORK}

    @property
    def loss(self) -> str:
        """The loss that goes with the output layer: "map" for distances, else "cross-entropy"."""
        return "cross-entropy" if self.output == "logits" else "map"
