"""The scores of an arm over its seeds, and which differences exceed the noise between seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import fmean, stdev

EXCEEDS, PERHAPS, WITHIN = "exceeds the noise", "perhaps", "within the noise"
COLLAPSES = "not tested: runs collapse"


@dataclass(frozen=True)
class ArmResult:
    """The scores of an arm, one a seed, under the name it is shown with.

    Args:
        name: What it is called.
        scores: One a seed.
        lost: How many classes each run lost, in the same order; without them none did.
    """

    name: str
    scores: tuple[float, ...]
    lost: tuple[int, ...] = ()

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

    @property
    def collapsed(self) -> int:
        """How many runs lost a class or more."""
        return sum(count > 0 for count in self.lost)

    @property
    def trained(self) -> tuple[float, ...]:
        """The scores of the other runs."""
        lost = self.lost or (0,) * self.n
        return tuple(score for score, count in zip(self.scores, lost, strict=True) if not count)


@dataclass(frozen=True)
class Comparison:
    """An arm against the default: the mean difference over their shared seeds, and its worth.

    All numbers but `level` are NaN where a run of either collapsed: runs of two sorts have no mean
    that stands for them.

    Args:
        arm: The arm.
        difference: The mean over seeds of its score less the default's.
        low: Where the paired t test's interval of the difference begins.
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
        """EXCEEDS after the correction, PERHAPS before it only, else WITHIN; or COLLAPSES."""
        if isnan(self.p):
            return COLLAPSES
        risk = 1 - self.level
        if self.adjusted < risk:
            return EXCEEDS
        return PERHAPS if self.p < risk else WITHIN


def compare(
    default: ArmResult, arms: Sequence[ArmResult], *, level: float = 0.95, least: float = 0.0
) -> tuple[Comparison, ...]:
    """Each of `arms` against `default` by a paired t test, corrected for how many are tested.

    Runs of one seed share the order of their images and mostly their first weights, so the test
    is of their differences. It is not Wilcoxon's: of n seeds his least p is 2 / 2^n, and ten are
    too few to pass a correction for thirty arms.

    An arm in which a run collapsed is not tested, and not counted in the correction. That lets no
    false alarm through: an arm that does not differ from a default without collapses has none.

    Args:
        default: What is compared with.
        arms: What is compared, with the scores of the same seeds in the same order.
        level: Of the intervals; 1 - `level` is the risk of one false alarm among all.
        least: No standard deviation of the differences is believed to be below it: a few seeds may
            agree by chance.

    Raises:
        ValueError: For fewer than two seeds, or for arms with more or fewer than the default.
    """
    if default.n < 2:
        raise ValueError("a spread needs two seeds or more in every arm")
    tests = [
        (nan, nan, nan)
        if arm.collapsed or default.collapsed
        else _paired(arm, default, level, least)
        for arm in arms
    ]
    adjusted = iter(holm([p for _, _, p in tests if not isnan(p)]))
    comparisons = []
    for arm, (difference, half, p) in zip(arms, tests, strict=True):
        corrected = p if isnan(p) else next(adjusted)
        low, high = difference - half, difference + half
        comparisons.append(Comparison(arm, difference, low, high, p, corrected, level))
    return tuple(comparisons)


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


def _paired(
    arm: ArmResult, default: ArmResult, level: float, least: float
) -> tuple[float, float, float]:
    """The mean difference, half the width of its interval, and p."""
    from scipy.special import stdtr, stdtrit  # here: a second that a worker need not wait

    differences = [ours - theirs for ours, theirs in zip(arm.scores, default.scores, strict=True)]
    difference, freedom = fmean(differences), len(differences) - 1
    error = max(stdev(differences), least) / sqrt(len(differences))
    if error == 0:
        return difference, 0.0, 0.0 if difference else 1.0
    half = float(stdtrit(freedom, (1 + level) / 2)) * error
    return difference, half, 2 * float(stdtr(freedom, -abs(difference) / error))
