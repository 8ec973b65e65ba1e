"""Oracle: SciPy's Welch test and interval, and the definition of Holm's procedure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from internals.ablations import (
    EXCEEDS,
    PERHAPS,
    WITHIN,
    ArmResult,
    compare,
    holm,
)

SCORES = st.lists(st.floats(0.05, 0.95), min_size=2, max_size=6, unique=True)


@given(SCORES, SCORES, st.sampled_from([0.9, 0.95, 0.99]))
def test_interval_and_p_are_welchs(ours: list[float], theirs: list[float], level: float) -> None:
    arm, default = ArmResult("a", tuple(ours)), ArmResult("d", tuple(theirs))
    (comparison,) = compare(default, [arm], level=level)
    want = stats.ttest_ind(ours, theirs, equal_var=False)
    interval = want.confidence_interval(level)
    assert comparison.p == pytest.approx(want.pvalue, rel=1e-6, abs=1e-12)
    assert (comparison.low, comparison.high) == pytest.approx(
        (interval.low, interval.high), abs=1e-7
    )
    assert (arm.n, arm.mean) == (len(ours), pytest.approx(np.mean(ours)))
    assert arm.std == pytest.approx(np.std(ours, ddof=1))


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
    far = ArmResult("far", (0.100, 0.101, 0.102))
    near = ArmResult("near", (0.965, 0.967, 0.969))
    same = ArmResult("same", (0.971, 0.972, 0.975))
    comparisons = compare(default, [near, far, same])
    assert [c.verdict for c in comparisons] == [PERHAPS, EXCEEDS, WITHIN]
    assert comparisons[0].difference == pytest.approx(-0.005)
    # Alone, the near arm needs no correction.
    assert compare(default, [near])[0].verdict == EXCEEDS


def test_agreement_by_chance_is_not_believed() -> None:
    default, arm = ArmResult("default", (0.95,) * 3), ArmResult("arm", (0.96,) * 3)
    assert compare(default, [arm])[0].p == 0
    assert compare(default, [default])[0].p == 1
    careful = compare(default, [arm], least=0.01)[0]
    want = stats.ttest_ind_from_stats(0.96, 0.01, 3, 0.95, 0.01, 3, equal_var=False)
    assert careful.p == pytest.approx(want.pvalue)
    assert careful.verdict == WITHIN


def test_one_seed_has_no_spread() -> None:
    with pytest.raises(ValueError, match="two seeds"):
        compare(ArmResult("d", (0.9,)), [ArmResult("a", (0.9, 0.8))])
