"""Oracle: equation 9 written out with exp and log in float64, finite differences, its floor."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from internals.models import RBFOutputLayer, bitmaps
from internals.training import CrossEntropy, Map, find_recipe

J = 5.0
_PENALTIES = st.lists(st.lists(st.floats(0, 30), min_size=7, max_size=7), min_size=1, max_size=5)


def equation_9(penalties: np.ndarray, labels: list[int], j: float) -> float:
    total = 0.0
    for row, label in zip(penalties, labels, strict=True):
        total += row[label] + math.log(math.exp(-j) + sum(math.exp(-y) for y in row))
    return total / len(labels)


@given(_PENALTIES, st.floats(0, 8), st.integers(0, 6))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_is_equation_9(rows, j, label):
    penalties = torch.tensor(rows, dtype=torch.float64)
    labels = [(label + n) % 7 for n in range(len(rows))]
    loss = Map(j)(penalties, torch.tensor(labels)).item()
    assert math.isclose(
        loss, equation_9(penalties.numpy(), labels, j), rel_tol=1e-12, abs_tol=1e-12
    )


def test_floor_at_perfect_states():
    penalties = RBFOutputLayer()(bitmaps())
    loss = Map(J)(penalties, torch.arange(10)).item()
    assert abs(loss - 0.0067153) < 5e-8
    assert abs(loss - math.log1p(math.exp(-5))) < 1e-6


@pytest.mark.parametrize(("j", "floor"), [(5.0, 0.006715), (1.0, 0.3133), (0.1, 0.6444)])
def test_nothing_is_below_the_floor(j, floor):
    penalties = torch.full((1, 10), 1e4, dtype=torch.float64)
    penalties[0, 3] = 0
    loss = Map(j)(penalties, torch.tensor([3])).item()
    assert abs(loss - floor) < 1e-4
    assert Map(j)(torch.rand(50, 10) * 40, torch.randint(0, 10, (50,))).item() > floor


def test_huge_penalties_do_not_overflow():
    penalties = torch.full((2, 10), 1e4)
    loss = Map(J)(penalties, torch.tensor([0, 1]))
    # log(exp(-5) + 10 exp(-10000)) is -5 to the last bit.
    assert loss.item() == 1e4 - 5
    assert Map(J).probabilities(penalties).max().item() == 0


def test_gradient_by_finite_differences():
    penalties = (torch.rand(3, 10, dtype=torch.float64) * 8).requires_grad_()
    labels = torch.tensor([2, 9, 0])
    (gradient,) = torch.autograd.grad(Map(J)(penalties, labels), penalties)
    step = 1e-6
    values = penalties.detach().numpy()
    for n in range(3):
        for i in range(10):
            up, down = values.copy(), values.copy()
            up[n, i] += step
            down[n, i] -= step
            slope = equation_9(up, labels.tolist(), J) - equation_9(down, labels.tolist(), J)
            assert abs(gradient[n, i].item() - slope / (2 * step)) < 1e-8


def test_rubbish_keeps_large_penalties_from_being_pushed_further():
    """A wrong penalty is pulled up while it is below about j, and left alone far above."""
    labels = torch.tensor([0])

    def pull(wrong: float) -> float:
        penalties = torch.full((1, 10), 1e3, dtype=torch.float64)
        penalties[0, 0], penalties[0, 1] = J, wrong
        penalties.requires_grad_()
        return torch.autograd.grad(Map(J)(penalties, labels), penalties)[0][0, 1].item()

    assert pull(1.0) < -0.9
    assert -1e-4 < pull(20.0) < 0


def test_probabilities_and_rubbish_sum_to_one():
    penalties = torch.rand(6, 10, dtype=torch.float64) * 12
    shares = Map(J).probabilities(penalties).numpy()
    for row, y in zip(shares, penalties.numpy(), strict=True):
        evidence = math.exp(-J) + sum(math.exp(-v) for v in y)
        np.testing.assert_allclose(row, [math.exp(-v) / evidence for v in y], rtol=1e-12)
        assert abs(row.sum() + math.exp(-J) / evidence - 1) < 1e-12


def test_prediction_is_the_smallest_penalty():
    penalties = torch.rand(40, 10) * 12
    answers = Map(J).scores(penalties).argmax(1).tolist()
    assert answers == [int(np.argmin(row)) for row in penalties.numpy()]
    assert answers == Map(J).probabilities(penalties).argmax(1).tolist()


def test_cross_entropy_by_exponentials():
    logits = torch.randn(5, 10, dtype=torch.float64)
    labels = [0, 3, 9, 3, 1]
    expected, shares = 0.0, []
    for row, label in zip(logits.tolist(), labels, strict=True):
        evidence = sum(math.exp(v) for v in row)
        shares.append([math.exp(v) / evidence for v in row])
        expected -= math.log(shares[-1][label]) / 5
    assert math.isclose(
        CrossEntropy()(logits, torch.tensor(labels)).item(), expected, rel_tol=1e-12
    )
    np.testing.assert_allclose(CrossEntropy().probabilities(logits).numpy(), shares, rtol=1e-12)
    assert CrossEntropy().scores(logits).argmax(1).tolist() == logits.argmax(1).tolist()


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_smoothed_labels_share_their_weight_out_evenly(smoothing):
    """Szegedy et al. 2016, section 7: (1 - s) of the label's loss and s of the mean over all."""
    logits, labels = torch.randn(5, 10, dtype=torch.float64), torch.tensor([0, 3, 9, 3, 1])
    expected = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        evidence = math.log(sum(math.exp(v) for v in row))
        shares = [smoothing / 10 + (1 - smoothing) * (n == label) for n in range(10)]
        expected += sum(q * (evidence - v) for q, v in zip(shares, row, strict=True)) / 5
    loss = CrossEntropy(smoothing)(logits, labels).item()
    assert math.isclose(loss, expected, rel_tol=1e-12)


def test_recipes_name_their_loss():
    assert find_recipe("lenet5", "full").loss == Map(j=J)
    assert find_recipe("lenet5-softmax", "full").loss == CrossEntropy()
