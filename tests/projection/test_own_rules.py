"""Oracle: the backward pass written out with matrices, in float64."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from internals.activations import Unit
from internals.errors import ProjectionError
from internals.projection import BackwardRule, guided_grad_cam, project

# As the rectifier's rules, with the SiLU's own sign in place of "active".
GUIDED = BackwardRule(lambda x: x > 0, lambda signal, active: signal.clamp(min=0) * active)
# Something that neither a rectifier nor autograd would do.
ODD = BackwardRule(torch.sigmoid, lambda signal, gate: 3 * signal * gate)


class Swish(nn.Module):
    """A SiLU of one's own: every operation in it would be refused."""

    def forward(self, x):
        return x * torch.sigmoid(x)


class InPlace(nn.Module):
    """Likewise, in place; the magnitude changes nothing, and would be refused."""

    def forward(self, x):
        return x.mul_(x.sigmoid().abs())


class Function(nn.Module):
    """A SiLU as a function."""

    def forward(self, x):
        return functional.silu(x)


def network(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), activation, nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 2)
    ).double()


def written_out(model: nn.Sequential, image, unit: Unit, save, backward, rule: str):
    """The signal from `unit` to the pixels: transposed convolutions, and rules by hand."""
    first, _, second, _, third = model
    x = torch.conv2d(image, first.weight, first.bias)
    y = torch.conv2d(x * x.sigmoid(), second.weight, second.bias)
    signal = torch.zeros(1, 2, y.shape[2] - 1, y.shape[3] - 1, dtype=torch.float64)
    signal[0, unit.channel, unit.row, unit.column] = 1
    signal = torch.conv_transpose2d(signal, third.weight).clamp(min=0)
    signal = signal * (y > 0) if rule == "guided" else signal
    signal = torch.conv_transpose2d(signal, second.weight)
    signal = backward(signal, save(x))
    return torch.conv_transpose2d(signal, first.weight)[0].detach()


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
@pytest.mark.parametrize("own", [GUIDED, ODD], ids=["guided", "odd"])
@pytest.mark.parametrize(
    ("activation", "key"),
    [
        (nn.SiLU(), "silu"),
        (nn.SiLU(inplace=True), "silu"),
        (nn.SiLU(), functional.silu),
        (Function(), "silu"),
        (Function(), functional.silu),
        (nn.SiLU(), nn.SiLU),
        (nn.SiLU(inplace=True), nn.SiLU),
        (Swish(), Swish),
        (InPlace(), InPlace),
    ],
)
def test_a_rule_of_ones_own(activation, key, own, rule):
    model, unit = network(activation), Unit("4", 1, 2, 3)
    image = torch.randn(1, 1, 11, 12, dtype=torch.float64)
    [projection] = project(model, image, [unit], rule, rules={key: own})
    expected = written_out(model, image, unit, *own, rule)
    assert expected.abs().max() > 0
    torch.testing.assert_close(projection.full(), expected, rtol=1e-12, atol=1e-13)


def test_what_is_computed_in_a_module_with_a_rule_is_what_it_computes():
    """In place or not, the values are those of the network itself."""
    image = torch.randn(1, 1, 11, 12, dtype=torch.float64)
    for activation in (Swish(), InPlace(), nn.SiLU(inplace=True)):
        model = network(activation)
        [projection] = project(model, image, [Unit("4", 1, 2, 3)], rules={type(activation): ODD})
        assert projection.value == pytest.approx(model(image)[0, 1, 2, 3].item(), rel=1e-12)


def test_what_is_saved_is_safe_from_work_in_place():
    """A rule that saves the input itself, of an operation that then overwrites it."""
    own = BackwardRule(lambda x: x, lambda signal, x: signal * x)
    image, unit = torch.randn(1, 1, 11, 12, dtype=torch.float64), Unit("4", 0, 1, 1)
    for key in ("silu", nn.SiLU):
        model = network(nn.SiLU(inplace=True))
        [projection] = project(model, image, [unit], "guided", rules={key: own})
        expected = written_out(model, image, unit, *own, "guided")
        torch.testing.assert_close(projection.full(), expected, rtol=1e-12, atol=1e-13)


def test_rules_come_before_those_of_the_package_and_stay_in_their_call():
    """A rectifier sent through straight: with positive weights it is what the ReLU hides."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False)).double()
    straight = BackwardRule(lambda x: None, lambda signal, _: signal)
    image, unit = torch.randn(1, 1, 5, 5, dtype=torch.float64), Unit("2", 0, 1, 1)
    [projection] = project(model, image, [unit], rules={"relu": straight})
    weights = (model[2].weight[0, :, 0, 0, None, None, None] * model[0].weight).sum(0)
    torch.testing.assert_close(projection.pixels, weights.detach(), rtol=1e-12, atol=1e-13)
    [after] = project(model, image, [unit])
    assert not torch.equal(after.pixels, projection.pixels)


def test_guided_grad_cam_takes_them_too():
    model = nn.Sequential(network(nn.SiLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten()).double()
    images = torch.randn(2, 1, 11, 12, dtype=torch.float64)
    with pytest.raises(ProjectionError, match="guided has no rule for silu"):
        guided_grad_cam(model, images, "0.2")
    own = guided_grad_cam(model, images, "0.2", rules={"silu": GUIDED})
    same = guided_grad_cam(model, images, "0.2", rules={nn.SiLU: GUIDED})
    assert own.abs().max() > 0
    torch.testing.assert_close(own, same, rtol=1e-12, atol=1e-14)


def test_refusals():
    model, image = network(nn.SiLU()), torch.randn(1, 1, 11, 12, dtype=torch.float64)
    with pytest.raises(ProjectionError, match=r"no rule for silu .*give rules=\{'silu': ...\}"):
        project(model, image, [Unit("4", 0, 1, 1)], rules={"gelu": GUIDED})
    with pytest.raises(ProjectionError, match="true derivative everywhere; leave rules= out"):
        project(model, image, [Unit("4", 0, 1, 1)], "gradient", rules={"silu": GUIDED})
