"""The scores of an arm over its seeds, and which differences exceed the noise between seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, stdev

EXCEEDS, PERHAPS, WITHIN = "exceeds the noise", "perhaps", "within the noise"


@dataclass(frozen=True)
class ArmResult:
    """The scores of an arm, one a seed, under the name it is shown with."""

    name: str
    scores: tuple[float, ...]

    @property
    def n(self) -> int:
        """How many seeds."""
        return len(self.scores)

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return fmean(self.scores)

    @property
    def std(self) -> float:
        """The sample standard deviation over seeds (n - 1 below the line)."""
        return stdev(self.scores)


@dataclass(frozen=True)
class Comparison:
    """An arm against the default: the difference of means and what it is worth.

    Args:
        arm: The arm.
        difference: Its mean less the default's.
        low: Where Welch's interval of the difference begins.
        high: Where it ends.
        p: The probability of so large a difference by chance.
        adjusted: The same after Holm's correction.
        level: Of the interval, 0.95 for example.
    """

    arm: ArmResult
    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    level: float

    @property
    def verdict(self) -> str:
        """EXCEEDS after the correction, PERHAPS before it only, else WITHIN."""
        risk = 1 - self.level
        if self.adjusted < risk:
            return EXCEEDS
        return PERHAPS if self.p < risk else WITHIN


def compare(
    default: ArmResult, arms: Sequence[ArmResult], *, level: float = 0.95, least: float = 0.0
) -> tuple[Comparison, ...]:
    """Each of `arms` against `default` by Welch's t test, corrected for how many are compared.

    Welch (1947) lets the two have different spreads. That arms share seeds is not made use of,
    which errs on the side of "within the noise".

    Args:
        default: What is compared with.
        arms: What is compared.
        level: Of the intervals; 1 - `level` is the risk of one false alarm among all.
        least: No standard deviation is believed to be below it: a few seeds may agree by chance.

    Raises:
        ValueError: For fewer than two seeds.
    """
    if min([default.n, *(arm.n for arm in arms)]) < 2:
        raise ValueError("a spread needs two seeds or more in every arm")
    tests = [_welch(arm, default, level, least) for arm in arms]
    adjusted = holm([p for _, p in tests])
    return tuple(
        Comparison(
            arm,
            arm.mean - default.mean,
            arm.mean - default.mean - half,
            arm.mean - default.mean + half,
            p,
            corrected,
            level,
        )
        for arm, (half, p), corrected in zip(arms, tests, adjusted, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values after Holm's step-down correction (1979).

    The least is multiplied by how many there are, the next by one less, and none may come out
    below its predecessor.
    """
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted


def _welch(arm: ArmResult, default: ArmResult, level: float, least: float) -> tuple[float, float]:
    """Half the width of the interval of the difference, and p."""
    from scipy.special import stdtr, stdtrit  # here: a second that a worker need not wait

    ours, theirs = (max(one.std, least) ** 2 / one.n for one in (arm, default))
    error = sqrt(ours + theirs)
    difference = abs(arm.mean - default.mean)
    if error == 0:
        return 0.0, 0.0 if difference > 0 else 1.0
    freedom = (ours + theirs) ** 2 / (ours**2 / (arm.n - 1) + theirs**2 / (default.n - 1))
    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    return half, 2 * float(stdtr(freedom, -difference / error))
