"""Oracle: torch's own flop counter (two flops a multiply-add), torchvision's published counts.

For times, a module that sleeps for a known time, and a count of the passes.
"""

import time

import pytest
import torch
import torchvision.models as zoo
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from internals.anatomy import connections, latency, summarize
from internals.errors import AnatomyError
from internals.models import build

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "size", "parameters"),
    [
        ("alexnet", 224, 61_100_840),
        ("resnet18", 96, 11_689_512),
        ("mobilenet_v2", 96, 3_504_872),
        ("squeezenet1_1", 96, 1_235_496),
        ("shufflenet_v2_x0_5", 96, 1_366_792),
    ],
)
def test_multiply_adds_and_parameters_of_torchvisions_nets(name, size, parameters):
    model = zoo.get_model(name, weights=None).eval()
    rows = summarize(model, (3, size, size))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    assert sum(row.multiply_adds for row in rows) == counter.get_total_flops() / 2
    assert sum(row.parameters for row in rows) == parameters


@pytest.mark.parametrize("name", ["lenet5", "lenet5-softmax", "lenet5-28"])
def test_multiply_adds_of_our_nets(name):
    size = 28 if name == "lenet5-28" else 32
    model = build(name)
    rows = [row for row in summarize(model, (1, size, size)) if row.name != "rbf"]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 1, size, size))
    assert sum(row.multiply_adds for row in rows) == counter.get_total_flops() / 2


class Pyramid(nn.Module):
    """One convolution run over two sizes, as detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 5, 3)

    def forward(self, x):
        return self.head(x).mean() + self.head(x[:, :, ::2, ::2]).mean()


def test_a_layer_used_twice_is_counted_at_both_sizes():
    model = Pyramid()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 16, 20))
    (row,) = summarize(model, (3, 16, 20))
    assert row.multiply_adds == counter.get_total_flops() / 2
    assert connections(model, (3, 16, 20))["head"] == 5 * (27 + 1) * (14 * 18 + 6 * 8)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(("stride", "dilation", "extra"), [(1, 1, 0), (3, 2, 0), (3, 2, 2)])
def test_transposed_convolutions_have_a_product_for_each_input(groups, stride, dilation, extra):
    """As many as the convolution that they transpose; torch counts them by the input."""
    model = nn.ConvTranspose2d(
        3, 6, (5, 2), stride, padding=1, output_padding=extra, groups=groups, dilation=dilation
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 11, 13))
    (row,) = summarize(nn.Sequential(model), (3, 11, 13))
    assert row.multiply_adds == counter.get_total_flops() / 2
    # Each input position meets every filter of its group.
    assert row.multiply_adds == 11 * 13 * 3 * (6 // groups) * 10


def test_frozen_parameters_are_not_counted_as_trained():
    model = nn.Sequential(nn.Conv2d(1, 3, 5), nn.BatchNorm2d(3))
    model[0].weight.requires_grad_(False)
    assert [row.parameters for row in summarize(model, (1, 9, 9))] == [3, 6]


def test_where_no_field_can_be_stated_the_row_says_none():
    model = nn.Sequential(nn.Conv2d(1, 3, 5), nn.Upsample(scale_factor=2), nn.Conv2d(3, 2, 3))
    fields = [row.field for row in summarize(model, (1, 9, 9))]
    assert fields[0].size == 5
    assert fields[1:] == [None, None]


def test_refuses_an_image_that_is_too_small(unchecked_shapes):
    with pytest.raises(AnatomyError, match="cannot take an input of shape"):
        summarize(build("lenet5"), (1, 8, 8))


SEEN: list[tuple[int, ...]] = []  # not the model's own: it is left as it was, its lists too


class Sleeper(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.naps = [0.5, 0.5, 0.5, 0.01, 0.01, 0.6]  # three that do not count, one outlier

    def forward(self, x):
        SEEN.append((*x.shape, self.training))
        time.sleep(self.naps[len(SEEN) - 1])
        return x * self.weight


def test_a_layer_without_weights_takes_time_too():
    assert 0 < latency(nn.MaxPool2d(2), (3, 8, 8), repeats=3) < 0.5


def test_the_median_of_the_passes_that_count_in_evaluation_mode():
    SEEN.clear()
    model = Sleeper().train()
    found = latency(model, (3, 5, 7), repeats=3)
    assert 0.01 <= found < 0.5
    assert SEEN == [(1, 3, 5, 7, False)] * 6 and model.training
