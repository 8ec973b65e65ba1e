"""Oracle: the pixels on which a unit's gradient is not zero, in float64 with positive weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from internals.anatomy import clip, trace
from internals.models import LeNet5

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 29, 31


class Branches(nn.Module):
    """Paths that meet by concatenation or by addition."""

    def __init__(self, paths, join: str) -> None:
        super().__init__()
        self.paths, self.join = nn.ModuleList(paths), join

    def forward(self, x):
        maps = [path(x) for path in self.paths]
        return torch.cat(maps, dim=1) if self.join == "cat" else sum(maps[1:], maps[0])


CHANNELS = 2  # everywhere, so that any layer may follow any other


@st.composite
def sliding(draw):
    """One window layer: a convolution or an average pooling."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    if draw(st.booleans()):
        padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
        dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        groups = draw(st.sampled_from([1, CHANNELS]))
        return nn.Conv2d(
            CHANNELS, CHANNELS, kernel, stride, padding, dilation, groups, bias=draw(st.booleans())
        )
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    return nn.AvgPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans()))


@st.composite
def aligned(draw):
    """Branches that keep the size of the map: odd kernels with half padding."""
    paths = [nn.Identity()] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(2 - len(paths), 3))):
        half, dilation = draw(st.integers(0, 2)), draw(st.integers(1, 2))
        paths.append(
            nn.Conv2d(CHANNELS, CHANNELS, 2 * half + 1, padding=half * dilation, dilation=dilation)
        )
    # A concatenation is brought back to two channels by a 1 x 1 convolution.
    if draw(st.booleans()):
        return Branches(paths, "sum")
    return nn.Sequential(Branches(paths, "cat"), nn.Conv2d(CHANNELS * len(paths), CHANNELS, 1))


networks = st.lists(st.one_of(sliding(), aligned()), min_size=1, max_size=4)


def _support(model: nn.Module, row: int, column: int) -> np.ndarray:
    x = torch.ones(1, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(model(x)[0, :, row, column].sum(), x)
    return gradient[0].sum(0).numpy() != 0


@given(networks, st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=120, deadline=None, derandomize=True)
def test_box_holds_the_support_and_is_tight_inside(layers, down, across):
    model = nn.Sequential(*layers, nn.Identity()).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.5, 1)
        try:
            shape = model(torch.ones(1, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64)).shape
        except RuntimeError:
            return  # the windows have outgrown the map
    field = trace(model, (CHANNELS, HEIGHT, WIDTH))[str(len(layers))].field.public()
    rows, columns = shape[2:]
    for row, column in [
        (round(down * (rows - 1)), round(across * (columns - 1))),
        (0, columns - 1),
    ]:
        box = field.box(row, column)
        seen = np.argwhere(_support(model, row, column))
        top, left, bottom, right = clip(box, HEIGHT, WIDTH)
        if len(seen) == 0:
            continue  # a unit that sees padding only
        (low, near), (high, far) = seen.min(0), seen.max(0)
        assert top <= low and left <= near and high < bottom and far < right
        if box == (top, left, bottom, right):
            assert (low, near, high + 1, far + 1) == box


def test_every_unit_of_lenet5():
    """All layers, interior and corner units: the clipped box is exactly the gradient's support."""
    model = LeNet5(paper=True).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.01, 0.02)
    calls = trace(model, (1, 32, 32))
    for layer in ("conv1", "pool1", "conv2", "pool2", "conv3"):
        field = calls[layer].field.public()
        rows = calls[layer].shape[2]
        maps = {}
        handle = getattr(model, layer).register_forward_hook(
            lambda _m, _i, out, maps=maps: maps.update(out=out)
        )
        for row, column in {(0, 0), (rows // 2, rows // 3), (rows - 1, 0), (rows - 1, rows - 1)}:
            x = torch.zeros(1, 1, 32, 32, dtype=torch.float64, requires_grad=True)
            model(x)
            (gradient,) = torch.autograd.grad(maps["out"][0, -1, row, column], x)
            seen = np.argwhere(gradient[0, 0].numpy() != 0)
            (low, near), (high, far) = seen.min(0), seen.max(0)
            assert (low, near, high + 1, far + 1) == clip(field.box(row, column), 32, 32), layer
        handle.remove()
