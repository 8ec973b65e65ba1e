"""Oracle: tests/reference/lenet5_backward.py, a backward pass in float64 NumPy without autograd."""

from functools import cache

import numpy as np
import pytest
import torch

from internals.activations import Unit
from internals.data import Normalization
from internals.models import LeNet5
from internals.projection import RULES, TANH_RULES, project
from tests.reference.lenet5_backward import Network

pytestmark = pytest.mark.slow

_MAPS = {"conv1": (6, 28), "pool1": (6, 14), "conv2": (16, 10), "pool2": (16, 5), "conv3": (120, 1)}
_CHOICES = [("gradient", None), ("gradient", "gradient")] + [
    (rule, tanh) for rule in RULES if rule != "gradient" for tanh in TANH_RULES
]


def _model(paper: bool) -> LeNet5:
    """Weights large enough that the tanh bends: those of appendix A leave it nearly straight."""
    model = LeNet5(paper=paper).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.mul_(1.0 if name.startswith("pool") else 4.0)
    return model


def _units(layer: str) -> list[Unit]:
    channels, size = _MAPS[layer]
    places = [(0, 0), (size - 1, 0), (0, size - 1), (size - 1, size - 1), (size // 2, size // 3)]
    return [
        Unit(layer, (7 * n + 1) % channels, row, column)
        for n, (row, column) in enumerate(dict.fromkeys(places))
    ]


@pytest.fixture
def inputs(digits):
    return Normalization.from_range(-0.1, 1.175).apply(digits.test.images[:5]).double()


@pytest.mark.parametrize("paper", [False, True], ids=["default", "paper"])
def test_every_rule_is_the_explicit_backward_pass(inputs, paper):
    """The units of all layers in one call a rule: each call traces the network anew."""
    model = _model(paper)
    units = [unit for layer in _MAPS for unit in _units(layer)]
    numbers = [number for layer in _MAPS for number in range(len(_units(layer)))]
    reference = Network(model)
    passes = [reference.forward(image) for image in inputs.numpy()]
    for rule, tanh in _CHOICES:
        found = project(model, inputs[numbers], units, rule, tanh=tanh)
        for number, unit, projection in zip(numbers, units, found, strict=True):
            value, expected = reference.project(passes[number], *unit, tanh or "gradient")
            scale = np.abs(expected).max()
            error = np.abs(projection.full().numpy() - expected).max()
            if scale == 0:  # "agreeing" may leave nothing
                assert error == 0
                continue
            assert error / scale <= 1e-12, f"{rule}/{tanh} {unit}: {error / scale:.1e}"
            assert abs(projection.value - value) <= 1e-12 * max(1, abs(value))


def test_the_tanh_readings_do_differ(inputs):
    """Otherwise the comparison above would not tell them apart."""
    model, unit = _model(True), Unit("conv3", 5)
    pictures = [
        project(model, inputs[:1], [unit], "guided", tanh=tanh)[0].pixels for tanh in TANH_RULES
    ]
    for a in range(3):
        for b in range(a):
            difference = (pictures[a] - pictures[b]).abs().max() / pictures[a].abs().max()
            assert difference > 1e-2


@pytest.mark.parametrize("layer", _MAPS)
def test_gradient_is_autograds_and_zero_outside_the_box(inputs, layer):
    model, units = _model(True), _units(layer)
    for unit, found in zip(
        units, project(model, inputs[[0] * len(units)], units, "gradient"), strict=True
    ):
        maps = {}
        handle = getattr(model, layer).register_forward_hook(
            lambda _m, _i, out, maps=maps: maps.update(out=out)
        )
        x = inputs[:1].clone().requires_grad_()
        model(x)
        handle.remove()
        (expected,) = torch.autograd.grad(maps["out"][0, *unit[1:]], x)
        torch.testing.assert_close(found.full(), expected[0], rtol=1e-12, atol=1e-14)
        assert found.value == pytest.approx(maps["out"][0, *unit[1:]].item(), rel=1e-12)
        top, left, bottom, right = found.box
        assert found.pixels.shape == (1, bottom - top, right - left)
        torch.testing.assert_close(
            found.pixels, expected[0, :, top:bottom, left:right], rtol=1e-12, atol=1e-14
        )
        outside = expected[0].clone()
        outside[:, top:bottom, left:right] = 0
        assert not outside.any()
        assert not found.full()[outside != 0].any()


def test_boxes_by_hand(inputs):
    model = _model(False)
    units = [Unit("conv2", 3, 0, 9), Unit("pool2", 0, 4, 0), Unit("conv3", 2)]
    found = project(model, inputs[:3], units, "guided", tanh="straight")
    assert [p.box for p in found] == [(0, 18, 14, 32), (16, 0, 32, 16), (0, 0, 32, 32)]
    assert [p.image_size for p in found] == [(32, 32)] * 3
    assert [p.unit for p in found] == units


@pytest.mark.slow
def test_many_units_of_mixed_layers_come_back_in_order(inputs):
    model = _model(False)
    units = [Unit(layer, n % 3, 0, 0) for n in range(14) for layer in _MAPS]
    images = inputs[torch.arange(len(units)) % 5]
    together = project(model, images, units, "guided", tanh="agreeing")

    @cache  # an image's unit comes more than once
    def projected_alone(number: int, unit: Unit):
        return project(model, inputs[[number]], [unit], "guided", tanh="agreeing")[0]

    for place, (unit, found) in enumerate(zip(units, together, strict=True)):
        alone = projected_alone(place % 5, unit)
        assert found.unit == unit
        torch.testing.assert_close(found.full(), alone.full(), rtol=1e-12, atol=1e-15)


def test_a_fully_connected_unit_sees_the_whole_image(inputs):
    (found,) = project(_model(False), inputs[:1], [Unit("linear", 83)], "gradient")
    assert found.box == (0, 0, 32, 32)
    assert found.pixels.abs().max() > 0
