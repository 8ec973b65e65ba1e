"""Oracle: torch's own backward pass of the same convolution, which knows nothing of zeros."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d

from internals.projection.windows import Narrowed, NarrowedBackward


@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups_channels=st.sampled_from([(1, 1), (1, 3), (1, 5), (2, 6), (7, 7)]),
    lit=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=3),
    samples=st.integers(1, 3),
)
@example((11, 11), (4, 4), (2, 2), (1, 1), (1, 3), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)], 3)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_signals_that_are_mostly_zero(
    kernel, stride, padding, dilation, groups_channels, lit, samples
):
    """Each sample is lit elsewhere, at one point or none."""
    groups, channels = groups_channels
    torch.manual_seed(len(lit))
    layer = nn.Conv2d(channels, 2 * groups, kernel, stride, padding, dilation, groups).double()
    image = torch.randn(samples, channels, 19, 23, dtype=torch.float64, requires_grad=True)
    expected_output = layer(image)
    signal = torch.zeros_like(expected_output)
    for number, (row, column) in enumerate(lit[:samples]):
        height, width = signal.shape[2:]
        y, x = round(row * (height - 1)), round(column * (width - 1))
        signal[number, :, y, x : x + 2] = torch.randn(len(signal[0]), 1, dtype=torch.float64)
    (expected,) = torch.autograd.grad(expected_output, image, signal)
    with NarrowedBackward():
        output = layer(image)
    assert type(output.grad_fn)._forward_cls is Narrowed
    torch.testing.assert_close(output, expected_output, rtol=0, atol=0)
    (found,) = torch.autograd.grad(output, image, signal)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("rows", "channels"), [(13, 1), (13, 5), (3, 5)])
def test_signals_everywhere(rows, channels):
    image = torch.randn(2, channels, rows, rows, dtype=torch.float64, requires_grad=True)
    layer = nn.Conv2d(channels, 4, 3, padding=1).double()
    signal = torch.randn(2, 4, rows, rows, dtype=torch.float64)
    (expected,) = torch.autograd.grad(layer(image), image, signal)
    with NarrowedBackward():
        output = layer(image)
    (found,) = torch.autograd.grad(output, image, signal)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


class Dynamic(nn.Module):
    """Filters computed from the image: a gradient leads through them as well."""

    def __init__(self) -> None:
        super().__init__()
        self.make, self.bias = nn.Linear(1, 18), nn.Parameter(torch.zeros(2))

    def forward(self, x):
        weight = self.make(x.mean().view(1, 1)).view(2, 1, 3, 3)
        return conv2d(x, weight, self.bias)


@pytest.mark.parametrize(
    "make", [Dynamic, lambda: nn.Conv2d(1, 2, 3, padding="same"), lambda: nn.Conv2d(1, 2, 3)]
)
def test_what_is_not_plain_is_left_to_torch(make):
    model = make().double()
    image = torch.randn(1, 1, 9, 9, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(model(image)[0, 1, 2, 3], image)
    with NarrowedBackward():
        value = model(image)[0, 1, 2, 3]
    torch.testing.assert_close(torch.autograd.grad(value, image)[0], expected, rtol=1e-12, atol=0)


def test_under_autocast_it_is_left_to_torch():
    layer, image = nn.Conv2d(1, 2, 3), torch.randn(1, 1, 9, 9, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = layer(image)
        with NarrowedBackward():
            found = layer(image)
    assert found.dtype == torch.bfloat16
    signals = [torch.autograd.grad(output[0, 1, 2, 3], image)[0] for output in (found, expected)]
    torch.testing.assert_close(*signals, rtol=0, atol=0)
