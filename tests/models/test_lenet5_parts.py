"""Oracle: explicit loops in float64 (tests/reference), dense convolution, facts of appendix A."""

import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from internals.models.lenet5 import (
    TABLE_I,
    RBFOutputLayer,
    ScaledTanh,
    Subsampling,
    TableConv2d,
)
from tests.reference import lenet5_forward as reference


def test_table_i_as_the_paper_describes_it():
    sizes = [len(row) for row in TABLE_I]
    assert sizes == [3] * 6 + [4] * 9 + [6]
    assert all(row == tuple(sorted(set(row))) for row in TABLE_I)
    for source in range(6):
        assert sum(source in row for row in TABLE_I) == 10
    for unit in range(6):  # contiguous, going round
        assert set(TABLE_I[unit]) == {(unit + step) % 6 for step in range(3)}
        assert set(TABLE_I[6 + unit]) == {(unit + step) % 6 for step in range(4)}
    assert TABLE_I[12:15] == ((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5))
    assert TABLE_I[15] == (0, 1, 2, 3, 4, 5)


def _table_and_dense() -> tuple[TableConv2d, nn.Conv2d, torch.Tensor]:
    """A `TableConv2d` and a dense convolution with the same kernels and zeros between."""
    sparse = TableConv2d(TABLE_I, 6, 5).double()
    nn.init.normal_(sparse.weight)
    nn.init.normal_(sparse.bias)
    dense = nn.Conv2d(6, 16, 5).double()
    exists = torch.zeros(16, 6, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        dense.weight.zero_()
        dense.bias.copy_(sparse.bias)
        kernel = 0
        for to, row in enumerate(TABLE_I):
            for source in row:
                dense.weight[to, source] = sparse.weight[kernel]
                exists[to, source] = 1
                kernel += 1
    return sparse, dense, exists


def test_table_convolution_is_a_dense_one_with_zeroed_kernels():
    sparse, dense, exists = _table_and_dense()
    x = torch.randn(3, 6, 11, 13, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    left, right = sparse(ours), dense(theirs)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(left)
    (left * weights).sum().backward()
    (right * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(sparse.bias.grad, dense.bias.grad, rtol=1e-12, atol=1e-12)
    kept = (dense.weight.grad * exists)[exists.flatten(1).bool()]
    torch.testing.assert_close(sparse.weight.grad, kept, rtol=1e-12, atol=1e-12)


def test_subsampling_by_explicit_loops():
    layer = Subsampling(3).double()
    nn.init.normal_(layer.coefficient)
    nn.init.normal_(layer.bias)
    maps = torch.randn(3, 10, 14, dtype=torch.float64)
    expected = reference.subsampling(
        maps.numpy(), layer.coefficient.detach().numpy(), layer.bias.detach().numpy()
    )
    found = layer(maps.unsqueeze(0)).detach().numpy()[0]
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@given(st.floats(-20, 20, allow_nan=False))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_scaled_tanh_by_exponentials_and_odd(number):
    f = ScaledTanh()
    value = f(torch.tensor(number, dtype=torch.float64)).item()
    assert math.isclose(value, reference.scaled_tanh(number), rel_tol=1e-12, abs_tol=1e-15)
    assert f(torch.tensor(-number, dtype=torch.float64)).item() == -value


def test_scaled_tanh_facts_of_appendix_a():
    f = ScaledTanh()
    at = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    values = f(at)
    slopes = torch.autograd.grad(values.sum(), at)[0]
    assert abs(values[0].item() - 0.9999973) < 5e-8
    assert abs(slopes[0].item() - 0.7554) < 5e-5
    assert abs(slopes[1].item() - 1.14393) < 5e-6


def test_scaled_tanh_bends_most_near_one():
    x = torch.linspace(0.9, 1.1, 20_001, dtype=torch.float64, requires_grad=True)
    first = torch.autograd.grad(ScaledTanh()(x).sum(), x, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), x)[0]
    sharpest = x[second.abs().argmax()].item()
    assert abs(sharpest - math.atanh(1 / math.sqrt(3)) * 1.5) < 2e-5
    assert abs(sharpest - 0.98772) < 2e-5


def test_rbf_by_explicit_loops():
    layer = RBFOutputLayer()
    states = torch.randn(4, 84, dtype=torch.float64) * 1.2
    expected = reference.squared_distances(
        states.numpy(), layer.prototypes.numpy().astype(np.float64)
    )
    np.testing.assert_allclose(layer(states.float()).numpy(), expected, rtol=2e-6)
    np.testing.assert_allclose(layer.double()(states).numpy(), expected, rtol=1e-13)


def test_rbf_keeps_its_precision_under_bfloat16_autocast():
    layer = RBFOutputLayer()
    exact = torch.randn(4, 84).bfloat16()
    expected = reference.squared_distances(exact.double().numpy(), layer.prototypes.numpy())
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(exact)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-6)


def test_rbf_is_zero_at_its_own_prototype_and_four_a_dot_elsewhere():
    layer = RBFOutputLayer()
    found = layer(layer.prototypes)
    dots = (layer.prototypes.unsqueeze(1) != layer.prototypes).sum(2)
    torch.testing.assert_close(found, 4.0 * dots, rtol=0, atol=0)


def test_average_pooling_is_torchs():
    from internals.models.lenet5 import AvgPool2d

    x = torch.randn(2, 3, 7, 9)
    torch.testing.assert_close(
        AvgPool2d(kernel_size=2, stride=2)(x), functional.avg_pool2d(x, 2, 2), rtol=0, atol=0
    )
