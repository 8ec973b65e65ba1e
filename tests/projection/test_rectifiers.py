"""Oracle: Captum, an explicit deconvnet with unpooling switches, and every spelling of one net."""

import pytest
import torch
import torch.nn.functional as functional
from captum.attr import NeuronDeconvolution, NeuronGuidedBackprop
from torch import nn

from internals.activations import Unit
from internals.errors import ProjectionError
from internals.projection import RULES, project

pytestmark = pytest.mark.slow

UNIT = Unit("conv3", 3, 2, 4)


class Plain(nn.Module):
    """Three convolutions, two rectifiers, a 2 x 2 max pooling."""

    def __init__(self, rectify=None, inplace=False) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.conv1, self.conv2 = nn.Conv2d(2, 5, 3, padding=1), nn.Conv2d(5, 7, 3)
        self.pool, self.conv3 = nn.MaxPool2d(2), nn.Conv2d(7, 4, 3)
        self.relu1, self.relu2 = nn.ReLU(inplace), nn.ReLU(inplace)
        self.rectify = rectify

    def forward(self, x):
        one = self.rectify or self.relu1
        two = self.rectify or self.relu2
        return self.conv3(self.pool(two(self.conv2(one(self.conv1(x))))))


class Reused(Plain):
    """The same rectifier twice."""

    def forward(self, x):
        return self.conv3(self.pool(self.relu1(self.conv2(self.relu1(self.conv1(x))))))


@pytest.fixture
def images():
    return torch.randn(3, 2, 18, 20)


def _full(model, images, unit=UNIT, rule="guided", **options):
    found = project(model, images, [unit] * len(images), rule, **options)
    return torch.stack([projection.full() for projection in found])


@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
@pytest.mark.parametrize(
    "make", [Plain, lambda: Plain(inplace=True), Reused], ids=["own", "inplace", "reused"]
)
@pytest.mark.parametrize("layer", ["conv3", "conv2", "relu2"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6)], ids=["64", "32"]
)
def test_equal_to_captum(images, rule, make, layer, dtype, tolerance):
    model, images = make().eval().to(dtype), images.to(dtype)
    if make is Reused and layer == "relu2":
        layer = "pool"
    unit = Unit(layer, 1, 2, 4)
    captums = NeuronGuidedBackprop if rule == "guided" else NeuronDeconvolution
    reference = Plain().eval().to(dtype)  # Captum cannot take rectifiers in place
    expected = captums(reference, getattr(reference, layer)).attribute(
        images.clone().requires_grad_(), (1, 2, 4)
    )
    largest = expected.abs().max().item()
    found = _full(model, images, unit, rule)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * largest)


_SPELLINGS = {
    "F.relu": functional.relu,
    "F.relu inplace": lambda x: functional.relu(x, inplace=True),
    "F.relu input=": lambda x: functional.relu(input=x),
    "torch.relu": torch.relu,
    "torch.relu input=": lambda x: torch.relu(input=x),
    "torch.relu_": torch.relu_,
    "Tensor.relu": lambda x: x.relu(),
    "Tensor.relu_": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp positional": lambda x: torch.clamp(x, 0),
    "clamp input=": lambda x: torch.clamp(input=x, min=0.0),
    "clamp_": lambda x: x.clamp_(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0),
    "clamp_min_": lambda x: x.clamp_min_(0),
    "clip": lambda x: x.clip(0, None),
    "threshold": lambda x: functional.threshold(x, 0, 0),
    "threshold inplace": lambda x: functional.threshold(x, 0, 0, True),
    "in place, result dropped": lambda x: (x.relu_(), x)[1],
    "in place on a view": lambda x: (x[:, :].relu_(), x)[1],
}


@pytest.fixture(scope="module")
def by_modules():
    """Images, and what each rule makes of them with rectifiers that are modules."""
    images = torch.randn(3, 2, 18, 20, generator=torch.Generator().manual_seed(0))
    return images, {rule: _full(Plain(), images, rule=rule) for rule in RULES}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("spelling", _SPELLINGS)
def test_every_spelling_is_the_module(by_modules, rule, spelling):
    images, expected = by_modules
    found = _full(Plain(_SPELLINGS[spelling]), images, rule=rule)
    assert expected[rule].abs().max() > 0
    torch.testing.assert_close(found, expected[rule], rtol=0, atol=0)


_GATES = {
    "maximum": lambda x: torch.maximum(x, torch.zeros_like(x)),
    "max of two": lambda x: torch.max(x, torch.zeros(())),
    "fmax": lambda x: torch.fmax(x, torch.zeros(())),
    "where": lambda x: torch.where(x > 0, x, 0.0),
    "product": lambda x: x * (x > 0),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0),
    "half of sum": lambda x: (x + x.abs()) / 2,
    "threshold above zero": lambda x: functional.threshold(x, 0.1, 0.0),
    "heaviside": lambda x: x * torch.heaviside(x.detach(), torch.zeros(())),
    "sign": lambda x: x * (x.sign() + 1) / 2,
}


@pytest.mark.parametrize("gate", _GATES)
def test_rectifiers_in_disguise_are_refused_not_passed_as_gradient(images, gate):
    for rule in ("guided", "deconvnet"):
        with pytest.raises(ProjectionError, match=f"{rule} has no rule for"):
            _full(Plain(_GATES[gate]), images, rule=rule)
    assert _full(Plain(_GATES[gate]), images, rule="gradient").abs().max() > 0


class OwnFunction(torch.autograd.Function):
    """A rectifier that somebody wrote himself, forward and backward."""

    @staticmethod
    def forward(ctx, x):
        output = x.clamp(min=0)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    def backward(ctx, signal):
        return signal * (ctx.saved_tensors[0] > 0)


def test_a_custom_autograd_function_is_refused(images):
    for rule in ("guided", "deconvnet"):
        with pytest.raises(ProjectionError, match="OwnFunction"):
            _full(Plain(OwnFunction.apply), images, rule=rule)


_REFUSED = {
    "silu": nn.SiLU(), "gelu": nn.GELU(), "sigmoid": nn.Sigmoid(), "leaky_relu": nn.LeakyReLU(),
    "elu": nn.ELU(), "hardswish": nn.Hardswish(), "prelu": nn.PReLU(), "softplus": nn.Softplus(),
    "mish": nn.Mish(), "softmax": nn.Softmax(1), "hardtanh": nn.Hardtanh(), "clamp":
    lambda x: x.clamp(-1, 1), "tanh": nn.Tanh(),
}  # fmt: skip


@pytest.mark.parametrize("name", _REFUSED)
@pytest.mark.parametrize("rule", ["guided", "deconvnet"])
def test_non_linearities_without_a_rule_are_refused_by_name(images, name, rule):
    model = nn.Sequential()
    model.add_module("first", nn.Conv2d(2, 3, 3))
    module = _REFUSED[name]
    if not isinstance(module, nn.Module):
        module = _Wrapped(module)
    model.add_module("squash", module)
    model.add_module("last", nn.Conv2d(3, 3, 3))
    with pytest.raises(ProjectionError, match=f"{rule} has no rule for {name} .layer 'squash'"):
        _full(model, images, Unit("last", 0, 0, 0), rule)
    # A unit before it is not concerned, and the true gradient always exists.
    assert _full(model, images, Unit("first", 0, 0, 0), rule).abs().max() > 0
    if name != "softmax":  # its receptive field is not stated
        assert _full(model, images, Unit("last", 0, 0, 0), "gradient").abs().max() > 0


class _Wrapped(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_a_tanh_has_a_rule_when_one_is_chosen(images):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 3, 3)).double()
    x = images[:1].double()
    weight, later = model[0].weight.detach(), model[2].weight.detach()
    found = _full(model, x, Unit("2", 1, 4, 4), "guided", tanh="straight")
    seed = torch.zeros(1, 3, 14, 16, dtype=torch.float64)
    seed[0, 1, 4, 4] = 1
    expected = functional.conv_transpose2d(functional.conv_transpose2d(seed, later), weight)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_relu6_is_cut_at_both_ends(rule):
    model = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False), nn.ReLU6(), nn.Conv2d(1, 1, 1, bias=False)
    )
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[2].weight.fill_(2.0)
    for pixel, active in ((-1.0, False), (3.0, True), (7.0, False)):
        for sign in (1.0, -1.0):
            with torch.no_grad():
                model[2].weight.fill_(2.0 * sign)
            found = _full(model, torch.full((1, 1, 1, 1), pixel), Unit("2", 0), rule).item()
            expected = {
                "gradient": 2.0 * sign * active,
                "deconvnet": max(2.0 * sign, 0),
                "guided": max(2.0 * sign, 0) * active,
            }[rule]
            assert found == expected, (pixel, sign)


def test_deconvnet_by_explicit_unpooling():
    """Rectify, put back by the switches, filter transposed: Zeiler and Fergus, section 2.1."""
    model, x = Plain().double(), torch.randn(1, 2, 18, 20, dtype=torch.float64)
    with torch.no_grad():
        a = model.conv2(model.conv1(x).relu()).relu()
        pooled, switches = functional.max_pool2d(a, 2, return_indices=True)
        signal = torch.zeros_like(model.conv3(pooled))
        signal[0, UNIT.channel, UNIT.row, UNIT.column] = 1
        signal = functional.conv_transpose2d(signal, model.conv3.weight)
        signal = functional.max_unpool2d(signal, switches, 2, output_size=a.shape[2:])
        signal = functional.conv_transpose2d(signal.relu(), model.conv2.weight)
        signal = functional.conv_transpose2d(signal.relu(), model.conv1.weight, padding=1)
    found = _full(model, x, rule="deconvnet")
    torch.testing.assert_close(found, signal, rtol=1e-12, atol=1e-14)


def test_rules_agree_when_nothing_is_negative():
    model = Plain().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    x = torch.rand(2, 2, 18, 20, dtype=torch.float64)
    first, second, third = (_full(model, x, rule=rule) for rule in RULES)
    torch.testing.assert_close(second, first, rtol=1e-13, atol=0)
    torch.testing.assert_close(third, first, rtol=1e-13, atol=0)


def test_a_linear_net_knows_no_rules():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.AvgPool2d(2), nn.Conv2d(3, 4, 3)).double()
    x = torch.randn(2, 2, 18, 20, dtype=torch.float64)
    first, second, third = (_full(model, x, Unit("2", 1, 2, 3), rule) for rule in RULES)
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    torch.testing.assert_close(third, first, rtol=0, atol=0)


def test_residuals_and_concatenations_against_captum(images):
    import torchvision.models as zoo

    torch.manual_seed(3)
    model = zoo.resnet18(weights=None).eval()
    reference = zoo.resnet18(weights=None).eval()
    reference.load_state_dict(model.state_dict())
    for module in reference.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    x = torch.randn(1, 3, 48, 48)
    expected = NeuronGuidedBackprop(reference, reference.layer2[0].conv2).attribute(
        x.clone().requires_grad_(), (1, 2, 4)
    )
    found = _full(model, x, Unit("layer2.0.conv2", 1, 2, 4))
    largest = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6 * largest)
