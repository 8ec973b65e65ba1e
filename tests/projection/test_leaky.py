"""Oracle: an explicit reference, and the limits: slope 0 is a rectifier, slope 1 no bend at all."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from internals.activations import Unit
from internals.errors import ProjectionError
from internals.projection import LEAKY_RULES, grad_cam, guided_grad_cam, project

RULES = ("deconvnet", "guided")
UNIT = Unit("last", 1, 3, 4)
SLOPES = (0.3, -0.2, 0.05)


def net(bend) -> nn.Sequential:
    torch.manual_seed(5)
    parts = {"first": nn.Conv2d(2, 3, 3), "bend": bend, "last": nn.Conv2d(3, 4, 3)}
    model = nn.Sequential()
    for name, part in parts.items():
        model.add_module(name, part)
    return model.double()


def prelu() -> nn.PReLU:
    bend = nn.PReLU(3)
    bend.weight.data = torch.tensor(SLOPES, dtype=torch.float64)
    return bend


class Spelt(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


BENDS = {
    "LeakyReLU": (lambda: nn.LeakyReLU(0.3), 0.3),
    "in place": (lambda: nn.LeakyReLU(0.3, inplace=True), 0.3),
    "by default": (lambda: Spelt(functional.leaky_relu), 0.01),
    "by keyword": (
        lambda: Spelt(lambda x: functional.leaky_relu(input=x, negative_slope=0.3)), 0.3
    ),
    "PReLU": (prelu, SLOPES),
    "RReLU": (lambda: nn.RReLU(0.2, 0.6), 0.4),  # in evaluation mode the mean of its two
}  # fmt: skip


@pytest.fixture
def image():
    return torch.randn(1, 2, 12, 13, dtype=torch.float64)


def explicit(model, image, slopes, rule, leaky):
    """The backward pass written out, filter by transposed filter."""
    slope = torch.tensor(slopes, dtype=torch.float64).expand(3).view(3, 1, 1)
    with torch.no_grad():
        before = model[0](image)
        signal = torch.zeros(1, 4, 8, 9, dtype=torch.float64)
        signal[0, UNIT.channel, UNIT.row, UNIT.column] = 1
        g = functional.conv_transpose2d(signal, model[2].weight)
        derivative = torch.where(before > 0, torch.ones(()).double(), slope)
        forward_of_signal = torch.where(g > 0, g, slope * g)
        g = {
            ("gradient", "deconvnet"): g * derivative,
            ("gradient", "guided"): g * derivative,
            ("rectified", "deconvnet"): g.clamp(min=0),
            ("rectified", "guided"): g.clamp(min=0) * (before > 0),
            ("leaking", "deconvnet"): forward_of_signal,
            ("leaking", "guided"): forward_of_signal * derivative,
        }[leaky, rule]
        return functional.conv_transpose2d(g, model[0].weight)


@pytest.mark.parametrize("leaky", LEAKY_RULES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("bend", BENDS)
def test_every_leaky_rectifier_by_every_rule(image, bend, rule, leaky):
    make, slopes = BENDS[bend]
    model = net(make())
    expected = explicit(model, image, slopes, rule, leaky)
    (found,) = project(model, image, [UNIT], rule, leaky=leaky)
    torch.testing.assert_close(found.full(), expected[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_a_slope_of_0_is_a_rectifier_and_a_slope_of_1_is_nothing(image, rule):
    for bend, plain in ((nn.LeakyReLU(0.0), nn.ReLU()), (nn.LeakyReLU(1.0), nn.Identity())):
        (found,) = project(net(bend), image, [UNIT], rule, leaky="leaking")
        (expected,) = project(net(plain), image, [UNIT], rule)
        torch.testing.assert_close(found.pixels, expected.pixels, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("bend", ["LeakyReLU", "PReLU", "RReLU"])
def test_without_a_choice_it_is_refused_and_the_choices_are_named(image, bend):
    message = r"guided has no rule for \w+ .layer 'bend'.*choose leaky= one of gradient, rectified"
    with pytest.raises(ProjectionError, match=message):
        project(net(BENDS[bend][0]()), image, [UNIT])
    with pytest.raises(ProjectionError, match="unknown leaky='x'; choose one of gradient, rect"):
        project(net(BENDS[bend][0]()), image, [UNIT], leaky="x")
    with pytest.raises(ProjectionError, match="leave leaky='leaking' out"):
        project(net(BENDS[bend][0]()), image, [UNIT], "gradient", leaky="leaking")


def test_guided_grad_cam_takes_the_choice_too(image):
    """One unit is the class score, so that its guided projection is `project`'s."""
    model = nn.Sequential(net(nn.LeakyReLU(0.3)), nn.Flatten()).double()
    index = (UNIT.channel * 8 + UNIT.row) * 9 + UNIT.column
    (guided,) = project(model[0], image, [UNIT], leaky="leaking")
    cam = grad_cam(model, image, "0.first", classes=index, upsample=True)
    found = guided_grad_cam(model, image, "0.first", classes=index, leaky="leaking")
    torch.testing.assert_close(found[0], guided.full() * cam, rtol=1e-10, atol=1e-14)
