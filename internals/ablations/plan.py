"""The factors of the ablation and their levels: each arm differs from the default in one of them.

An arm is a `Recipe`. What earlier notebooks swept is swept here too: activation, shift and rotation
with and without duplication, optimiser and learning rate; and what they never varied.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from internals.ablations.diagonal_lm import StochasticDiagonalLM
from internals.training.losses import CrossEntropy, Map
from internals.training.optim import SGD, AdamW, Cosine, OptimizerChoice
from internals.training.recipe import DigitAugmentation, InputRange, Recipe

# The default's learning rates: of 1e-3, 2e-3, 4e-3, 8e-3 and 1.6e-2 at quick, and of 6e-4, 1e-3,
# 2e-3, 4e-3, 6e-3, 8e-3 and 1.2e-2 at full, those that read held-out training digits best.
_QUICK_RATE, _FULL_RATE = 8e-3, 6e-3
_QUICK_SEEDS, _FULL_SEEDS = 3, 8  # 8 of each arm take two cores half an hour
_ETA = 5e-4  # of stochastic diagonal Levenberg-Marquardt in the paper's first passes
_WEIGHT_DECAY = 1e-4  # of AdamW, as in the recipes of LeNet-5


@dataclass(frozen=True)
class Factor:
    """One thing that is varied.

    Args:
        name: What it is.
        levels: (name, arm) pairs, the default's among them.
    """

    name: str
    levels: tuple[tuple[str, Recipe], ...]


@dataclass(frozen=True)
class Plan:
    """All arms of one profile.

    Args:
        default: The arm that all others are compared with.
        factors: What is varied.
        seeds: Every arm is trained once with each.
        presentations: Images shown in training, repeats counted; the same for every arm.
        images: The first so many training images are used, all where it is None.
        tested: The first so many test images, likewise.
    """

    default: Recipe
    factors: tuple[Factor, ...]
    seeds: tuple[int, ...]
    presentations: int
    images: int | None
    tested: int | None

    def arms(self) -> tuple[Recipe, ...]:
        """Every distinct arm once, the default first."""
        every = [arm for factor in self.factors for _, arm in factor.levels]
        return tuple(dict.fromkeys([self.default, *every]))

    def factor(self, name: str) -> Factor:
        """The factor called `name`; raises `KeyError` when the plan has none."""
        return {factor.name: factor for factor in self.factors}[name]

    def names(self) -> dict[Recipe, str]:
        """Every arm but the default by a name of its own, "factor: level"."""
        names: dict[Recipe, str] = {}
        for factor in self.factors:
            for level, arm in factor.levels:
                if arm != self.default:
                    names.setdefault(arm, f"{factor.name}: {level}")
        return names


def plan(profile: str) -> Plan:
    """What "smoke", "quick" and "full" compare; raises `KeyError` for another profile."""
    return {"smoke": _smoke, "quick": _quick, "full": _full}[profile]()


def default_arm(lr: float, batch_size: int, presentations: int) -> Recipe:
    """The LeNet-5 that the others are compared with, trained for so many presentations."""
    arm = Recipe(
        network="lenet5-variant",
        data="mnist",
        epochs=1,
        batch_size=batch_size,
        optimizer=AdamW(lr, _WEIGHT_DECAY),
        schedule=Cosine(warm_up=0.05),
        loss=Map(j=5.0),
        size=32,
        pipeline=InputRange(-0.1, 1.175),  # section II-B
        selection="last",
    )
    return _lasting(arm, presentations)


def _lasting(arm: Recipe, presentations: int) -> Recipe:
    """`arm` for so many images, repeats counted: however long a pass, all arms see as many."""
    steps = ceil(presentations / arm.batch_size)
    return replace(arm, least_steps=steps, most_steps=steps)


def _smoke() -> Plan:
    """Every arm of "quick", for two steps: enough to run every line."""
    return replace(_quick(presentations=32), images=200, tested=60)


def _quick(presentations: int = 3_200) -> Plan:
    default = default_arm(_QUICK_RATE, 16, presentations)
    factors = (
        *_parts(default),
        *_optimizers(default, (2e-3, _QUICK_RATE, 3.2e-2)),
        *_distortions(default, shifts=(2, 5), rotations=(10,)),
        *_regularities(default, presentations, batches=(8, 16, 64), dropouts=(0.5,)),
    )
    seeds = tuple(range(_QUICK_SEEDS))
    return Plan(default, factors, seeds, presentations, images=4_000, tested=1_000)


def _full() -> Plan:
    presentations = 64_000
    default = default_arm(_FULL_RATE, 32, presentations)
    rates = (2e-4, 6e-4, 2e-3, _FULL_RATE, 2e-2, 6e-2)
    factors = (
        *_parts(default),
        *_optimizers(default, rates),
        *_distortions(default, shifts=(1, 2, 3, 5), rotations=(5, 10)),
        *_regularities(
            default, presentations, batches=(16, 32, 64, 128, 256), dropouts=(0.1, 0.25, 0.5)
        ),
    )
    seeds = tuple(range(_FULL_SEEDS))
    return Plan(default, factors, seeds, presentations, images=None, tested=None)


def _factor(name: str, default: Recipe, levels: Mapping[str, Mapping[str, Any]]) -> Factor:
    """A factor of changed fields of the recipe, by level."""
    return Factor(
        name, tuple((level, replace(default, **fields)) for level, fields in levels.items())
    )


def _argument(name: str, default: Recipe, levels: Mapping[str, str | float | None]) -> Factor:
    """A factor of the network: values of one argument of `LeNet5Variant`, None for its default."""
    return _factor(
        name,
        default,
        {
            level: {"arguments": () if value is None else ((name, value),)}
            for level, value in levels.items()
        },
    )


def _parts(default: Recipe) -> Iterable[Factor]:
    """What the network is made of."""
    yield _factor(
        "input",
        default,
        {
            "padded to 32": {},
            "28 × 28": {"size": 28, "arguments": (("input_size", 28),)},
            "28 × 28 enlarged to 32": {"source_size": 28},
        },
    )
    yield _argument("connections", default, {"full": None, "Table I": "table"})
    yield _argument(
        "pooling",
        default,
        {"average": None, "trainable sub-sampling": "trainable", "maximum": "max"},
    )
    yield _argument(
        "activation",
        default,
        {"scaled tanh": None, "tanh": "tanh", "ReLU": "relu", "sigmoid": "sigmoid"},
    )
    yield _factor(
        "output",
        default,
        {
            "bitmaps": {},
            "codes of U(−0.1, 0.1)": {"arguments": (("output", "random-codes"),)},
            "learned codes": {"arguments": (("output", "learned-codes"),)},
            "softmax": {"arguments": (("output", "logits"),), "loss": CrossEntropy()},
        },
    )
    yield _argument(
        "initialisation",
        default,
        {
            "2.4 / F": None,
            "Xavier": "xavier",
            "Kaiming": "kaiming",
            "orthogonal": "orthogonal",
            "normal": "normal",
        },
    )


def _optimizers(default: Recipe, rates: tuple[float, ...]) -> Iterable[Factor]:
    """A sweep of learning rates for each optimiser, and the paper's own method as one row.

    Adam is not swept beside AdamW: all that a decay of 1e-4 takes from a weight in one run is less
    than 1 %, so every rate would be compared twice.
    """

    def choice(name: str, rate: float) -> OptimizerChoice:
        return AdamW(rate, _WEIGHT_DECAY) if name == "AdamW" else SGD(rate, momentum=0.9)

    for name in ("AdamW", "SGD"):
        levels = {f"{name} {rate:g}": {"optimizer": choice(name, rate)} for rate in rates}
        yield _factor(name.lower(), default, levels)
    paper = StochasticDiagonalLM(_ETA)
    yield _factor("curvature", default, {"AdamW": {}, "diagonal LM": {"optimizer": paper}})


def _distortions(
    default: Recipe, shifts: tuple[int, ...], rotations: tuple[int, ...]
) -> Iterable[Factor]:
    """Shifts (unit: pixels) and rotations (unit: degrees), on all images or on every second."""
    for name, unit, augmentations in (
        ("shift", " px", {n: DigitAugmentation(shift=n) for n in shifts}),
        ("rotation", "°", {n: DigitAugmentation(rotation=float(n)) for n in rotations}),
    ):
        levels: dict[str, dict[str, Any]] = {"none": {}}
        for amount, augment in augmentations.items():
            levels[f"{amount}{unit}"] = {"augment": augment}
            levels[f"{amount}{unit}, half as is"] = {"augment": replace(augment, duplicate=True)}
        yield _factor(name, default, levels)


def _regularities(
    default: Recipe,
    presentations: int,
    batches: tuple[int, ...],
    dropouts: tuple[float, ...],
) -> Iterable[Factor]:
    """The size of a batch, and dropout."""
    sized = {size: _lasting(replace(default, batch_size=size), presentations) for size in batches}
    yield Factor("batch", tuple((f"{size} a batch", arm) for size, arm in sized.items()))
    shares = {f"{100 * share:.0f} % of F6's inputs": share for share in dropouts}
    yield _argument("dropout", default, {"none": None, **shares})
