"""Oracle: SciPy's paired t test and interval, and the definition of Holm's procedure."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from internals.ablations import (
    COLLAPSES,
    EXCEEDS,
    PERHAPS,
    WITHIN,
    ArmResult,
    compare,
    holm,
)

PAIRS = st.lists(
    st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)), min_size=2, max_size=8
).filter(lambda pairs: np.std(np.subtract(*np.transpose(pairs))) > 1e-3)


@given(PAIRS, st.sampled_from([0.9, 0.95, 0.99]))
def test_interval_and_p_are_those_of_the_paired_t_test(
    pairs: list[tuple[float, float]], level: float
) -> None:
    ours, theirs = zip(*pairs, strict=True)
    arm, default = ArmResult("a", ours), ArmResult("d", theirs)
    (comparison,) = compare(default, [arm], level=level)
    want = stats.ttest_rel(ours, theirs)
    interval = want.confidence_interval(level)
    assert comparison.p == pytest.approx(want.pvalue, rel=1e-6, abs=1e-12)
    assert (comparison.low, comparison.high) == pytest.approx(
        (interval.low, interval.high), rel=1e-6, abs=1e-7
    )
    assert (arm.n, arm.mean) == (len(ours), pytest.approx(np.mean(ours)))
    assert arm.std == pytest.approx(np.std(ours, ddof=1))


def test_what_seeds_share_is_no_noise() -> None:
    """A gain of a tenth of the spread between seeds, the same at every seed but for a little."""
    generator = np.random.default_rng(0)
    shared = 0.97 + 0.01 * generator.standard_normal(8)
    gain = 0.001 + 0.0002 * generator.standard_normal(8)
    default, arm = ArmResult("default", tuple(shared)), ArmResult("arm", tuple(shared + gain))
    assert compare(default, [arm])[0].verdict == EXCEEDS
    assert stats.ttest_ind(arm.scores, default.scores, equal_var=False).pvalue > 0.5
    # Every assignment of signs to the eight differences: only two of 256 have a mean so large.
    signs = np.array(list(product([-1, 1], repeat=8)))
    assert (np.abs(signs @ gain) >= abs(gain.sum()) - 1e-12).mean() == 2 / 256
    # The same scores under other seeds are no pairs any more.
    mixed = ArmResult("mixed", tuple(np.roll(arm.scores, 1)))
    assert compare(default, [mixed])[0].verdict == WITHIN


def test_an_arm_with_collapsed_runs_has_a_count_and_no_mean_difference() -> None:
    default = ArmResult("default", (0.970, 0.972, 0.974), (0, 0, 0))
    near = ArmResult("near", (0.9651, 0.967, 0.9692), (0, 0, 0))
    broken = ArmResult("broken", (0.1, 0.975, 0.78), (9, 0, 2))
    assert (broken.collapsed, broken.trained) == (2, (0.975,))
    assert (near.collapsed, near.trained) == (0, near.scores)
    alone, *_ = compare(default, [near])
    tested, untested = compare(default, [near, broken])
    assert untested.verdict == COLLAPSES
    assert np.isnan([untested.difference, untested.low, untested.p, untested.adjusted]).all()
    assert tested == alone  # it does not widen the family that the correction is for
    assert {c.verdict for c in compare(broken, [near, default])} == {COLLAPSES}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_holm_rejects_what_the_procedure_rejects(p_values: list[float], risk: float) -> None:
    """Step down from the smallest p; stop at the first one above risk / (how many are left)."""
    order = np.argsort(p_values, kind="stable")
    rejected = set()
    for rank, index in enumerate(order):
        if p_values[index] * (len(p_values) - rank) > risk:
            break
        rejected.add(int(index))
    adjusted = holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p <= risk} == rejected
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_verdicts() -> None:
    default = ArmResult("default", (0.970, 0.972, 0.974))
    far = ArmResult("far", (0.100, 0.102, 0.1041))
    near = ArmResult("near", (0.965, 0.9696, 0.9692))
    same = ArmResult("same", (0.971, 0.972, 0.973))
    comparisons = compare(default, [near, far, same])
    assert [c.verdict for c in comparisons] == [PERHAPS, EXCEEDS, WITHIN]
    assert comparisons[0].difference == pytest.approx(-0.0122 / 3)
    # Alone, the near arm needs no correction.
    assert compare(default, [near])[0].verdict == EXCEEDS


def test_agreement_by_chance_is_not_believed() -> None:
    default, arm = ArmResult("default", (0.95,) * 3), ArmResult("arm", (0.96,) * 3)
    assert compare(default, [arm])[0].p < 1e-20
    assert compare(default, [default])[0].p == 1
    careful = compare(default, [arm], least=0.01)[0]
    want = stats.ttest_1samp([0.0, 0.01, 0.02], 0)  # of the same mean, and 0.01 apart
    assert careful.p == pytest.approx(want.pvalue)
    assert careful.verdict == WITHIN


def test_arms_are_compared_seed_by_seed() -> None:
    with pytest.raises(ValueError, match="two seeds"):
        compare(ArmResult("d", (0.9,)), [ArmResult("a", (0.9,))])
    with pytest.raises(ValueError, match="argument"):
        compare(ArmResult("d", (0.9, 0.8)), [ArmResult("a", (0.9,))])
