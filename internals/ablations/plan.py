"""The factors of the ablation and their levels: each arm differs from the default in one of them.

What earlier notebooks swept is swept here too: activation, shift and rotation with and without
duplication, optimiser and learning rate; and what they never varied.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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


# The default's learning rates: of 1e-3, 2e-3, 4e-3, 8e-3 and 1.6e-2 at quick, and of 6e-4, 1e-3,
# 2e-3, 4e-3, 6e-3, 8e-3 and 1.2e-2 at full, those that read held-out training digits best.
_QUICK_RATE, _FULL_RATE = 8e-3, 6e-3
_ETA = 5e-4  # of stochastic diagonal Levenberg-Marquardt in the paper's first passes


@dataclass(frozen=True)
class Factor:
    """One thing that is varied: `levels` are (name, settings), the default's among them."""

    name: str
    levels: tuple[tuple[str, Settings], ...]


@dataclass(frozen=True)
class Plan:
    """All arms of one profile; `images` and `tested` say how much of the data is used."""

    default: Settings
    factors: tuple[Factor, ...]
    seeds: tuple[int, ...]
    images: int | None  # the first so many training images, all where it is None
    tested: int | None  # the first so many test images, likewise

    def arms(self) -> tuple[Settings, ...]:
        """Every distinct setting once, the default first."""
        every = [settings for factor in self.factors for _, settings in factor.levels]
        return tuple(dict.fromkeys([self.default, *every]))

    def factor(self, name: str) -> Factor:
        """The factor called `name`; raises `KeyError` when the plan has none."""
        return {factor.name: factor for factor in self.factors}[name]

    def names(self) -> dict[Settings, str]:
        """Every arm but the default by a name of its own, "factor: level"."""
        found: dict[Settings, str] = {}
        for factor in self.factors:
            for level, settings in factor.levels:
                if settings != self.default:
                    found.setdefault(settings, f"{factor.name}: {level}")
        return found


def plan(profile: str) -> Plan:
    """What "smoke", "quick" and "full" compare; raises `KeyError` for another profile."""
    return {"smoke": _smoke, "quick": _quick, "full": _full}[profile]()


def _smoke() -> Plan:
    """Every arm of "quick", for two steps: enough to run every line."""
    plan = _quick(presentations=32)
    return replace(plan, images=200, tested=60)


def _quick(presentations: int = 3_200) -> Plan:
    default = Settings(learning_rate=_QUICK_RATE, batch_size=16, presentations=presentations)
    factors = (
        *_parts(default),
        *_optimizers(default, (2e-3, _QUICK_RATE, 3.2e-2)),
        *_distortions(default, shifts=(2, 5), rotations=(10,)),
        *_regularities(default, batches=(8, 16, 64), dropouts=(0.5,)),
    )
    return Plan(default, factors, (0, 1, 2), images=4_000, tested=1_000)


def _full() -> Plan:
    default = Settings(learning_rate=_FULL_RATE, batch_size=32, presentations=64_000)
    rates = (2e-4, 6e-4, 2e-3, _FULL_RATE, 2e-2, 6e-2)
    factors = (
        *_parts(default),
        *_optimizers(default, rates),
        *_distortions(default, shifts=(1, 2, 3, 4, 5), rotations=(2, 4, 6, 8, 10)),
        *_regularities(default, batches=(16, 32, 64, 128, 256), dropouts=(0.1, 0.25, 0.5)),
    )
    return Plan(default, factors, (0, 1, 2, 3, 4), images=None, tested=None)


def _factor(name: str, default: Settings, levels: Mapping[str, Mapping[str, Any]]) -> Factor:
    return Factor(name, tuple((said, replace(default, **how)) for said, how in levels.items()))


def _choices(name: str, default: Settings, field: str, choices: Mapping[str, str]) -> Factor:
    return _factor(name, default, {said: {field: value} for said, value in choices.items()})


def _parts(default: Settings) -> Iterable[Factor]:
    """What the network is made of."""
    named: dict[str, tuple[str, dict[str, str]]] = {
        "input": (
            "input",
            {"padded to 32": "padded", "28 × 28": "unpadded", "28 × 28 enlarged to 32": "resized"},
        ),
        "connections": ("connections", {"full": "full", "Table I": "table"}),
        "pooling": (
            "pooling",
            {"average": "average", "trainable sub-sampling": "trainable", "maximum": "max"},
        ),
        "activation": (
            "activation",
            {"scaled tanh": "scaled-tanh", "tanh": "tanh", "ReLU": "relu", "sigmoid": "sigmoid"},
        ),
        "output": (
            "output",
            {
                "bitmaps": "bitmaps",
                "codes of U(−0.1, 0.1)": "random-codes",
                "learned codes": "learned-codes",
                "softmax": "logits",
            },
        ),
        "initialisation": (
            "initialisation",
            {
                "2.4 / F": "fan-in",
                "Xavier": "xavier",
                "Kaiming": "kaiming",
                "orthogonal": "orthogonal",
                "normal": "normal",
            },
        ),
    }
    for name, (field, choices) in named.items():
        yield _choices(name, default, field, choices)


def _optimizers(default: Settings, rates: tuple[float, ...]) -> Iterable[Factor]:
    """A sweep of learning rates for each optimiser, and the paper's own method as one row."""
    for name, said in (("adamw", "AdamW"), ("adam", "Adam"), ("sgd", "SGD")):
        levels = {f"{said} {rate:g}": {"optimizer": name, "learning_rate": rate} for rate in rates}
        yield _factor(name, default, levels)
    levels = {"AdamW": {}, "diagonal LM": {"optimizer": "sdlm", "learning_rate": _ETA}}
    yield _factor("curvature", default, levels)


def _distortions(
    default: Settings, shifts: tuple[int, ...], rotations: tuple[int, ...]
) -> Iterable[Factor]:
    """Shifts (unit: pixels) and rotations (unit: degrees), on all images or on every second."""
    for name, field, amounts, unit in (
        ("shift", "shift", shifts, " px"),
        ("rotation", "rotation", rotations, "°"),
    ):
        levels: dict[str, dict[str, Any]] = {"none": {}}
        for amount in amounts:
            value = float(amount) if field == "rotation" else amount
            levels[f"{amount}{unit}"] = {field: value}
            levels[f"{amount}{unit}, half as is"] = {field: value, "duplicate": True}
        yield _factor(name, default, levels)


def _regularities(
    default: Settings, batches: tuple[int, ...], dropouts: tuple[float, ...]
) -> Iterable[Factor]:
    yield _factor("batch", default, {f"{size} a batch": {"batch_size": size} for size in batches})
    shares = {f"{share:.0%} of F6's inputs": {"dropout": share} for share in dropouts}
    yield _factor("dropout", default, {"none": {}, **shares})
