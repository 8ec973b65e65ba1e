"""Oracle: torch.nn.LocalResponseNorm, its gradient included, in float64."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn

from internals.models import LocalResponseNorm


@given(size=st.integers(1, 9), channels=st.integers(1, 12), seed=st.integers(0, 2**31))
def test_response_normalisation_is_torchs_with_its_gradient(size, channels, seed):
    """Even sizes and more neighbours than channels included."""
    torch.manual_seed(seed)
    x = 30 * torch.randn(2, channels, 3, 4, dtype=torch.float64)
    settings = {"size": size, "alpha": 3e-3, "beta": 0.6, "k": 1.5}
    actual = []
    for kind in (nn.LocalResponseNorm, LocalResponseNorm):
        leaf = x.clone().requires_grad_()
        out = kind(**settings)(leaf)
        (out**3).sum().backward()
        actual.append((out.detach(), leaf.grad))
    for expected, ours in zip(*actual, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_keeps_what_the_neighbours_say(autocast):
    """Beside k = 2, bfloat16 knows steps of 1/64 only."""
    torch.manual_seed(0)
    x = (8 * torch.rand(4, 16, 8, 8)).bfloat16()
    layer = LocalResponseNorm(5, alpha=5e-4, k=2)
    exact = nn.LocalResponseNorm(5, alpha=5e-4, k=2)(x.double())
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        ours = layer(x)
    assert ours.dtype == torch.bfloat16
    error = (ours.double() / exact).nan_to_num(1).log()
    assert error.abs().max() < 2**-7
    assert error.mean().abs() < 2**-12, "rounded one way"
