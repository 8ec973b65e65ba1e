"""Oracle: the model's own state before, compared item by item and bit by bit with that after."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from internals.activations import Unit, capture, strongest
from internals.anatomy import connections, receptive_field, summarize
from internals.errors import AnatomyError
from internals.models import MODELS, build, evaluating
from internals.projection import project

pytestmark = pytest.mark.slow

_HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks")]


def _photograph(model: nn.Module) -> dict:
    return {
        "training": {name: module.training for name, module in model.named_modules()},
        "hooks": {
            (name, kind): dict(getattr(module, kind))
            for name, module in model.named_modules()
            for kind in _HOOKS
        },
        "global": {
            kind: len(getattr(torch_module, kind))
            for kind in vars(torch_module)
            if kind.startswith("_global_") and kind.endswith("_hooks")
        },
        "wants": {name: p.requires_grad for name, p in model.named_parameters()},
        "grads": {name: p.grad is None for name, p in model.named_parameters()},
        "bits": {name: t.numpy().tobytes() for name, t in model.state_dict().items()},
        "modules": {name: id(module) for name, module in model.named_modules()},
        "forwards": [n for n, m in model.named_modules() if "forward" in vars(m)],
        "mode": torch.is_grad_enabled(),
    }


_UNITS = [Unit("conv2", 1, 2, 1)]
_LAYERS = ["conv1", "conv2"]


def _instruments():
    return {
        "capture": lambda m, x: capture(m, x, _LAYERS),
        "strongest": lambda m, x: strongest(m, x, _LAYERS, 2),
        "strongest twice": lambda m, x: strongest(
            m, x, _LAYERS, 2, batch=1, devices=["cpu", "cpu"]
        ),
        "gradient": lambda m, x: project(m, x[:1], _UNITS, "gradient"),
        "guided": lambda m, x: project(m, x[:1], _UNITS, "guided", tanh="agreeing"),
        "guided twice": lambda m, x: project(
            m, x[:1], _UNITS * 2, tanh="agreeing", image_index=[0, 0], devices=["cpu", "cpu"]
        ),
        "summarize": lambda m, x: summarize(m, x.shape[1:]),
        "connections": lambda m, x: connections(m, x.shape[1:]),
        "receptive_field": lambda m, x: receptive_field(m, "conv2", x.shape[1:]),
    }


_NAMES = [name for name in MODELS if name.startswith("lenet5")]
_NAMES += ["alexnet", "inceptionnet", "resnet18", "mobilenet"]  # each a wiring of its own


def _image_shape(name: str) -> tuple[int, int, int]:
    if name.startswith("lenet5"):
        return (1, 28, 28) if name == "lenet5-28" else (1, 32, 32)
    return (3, 64, 64) if name == "alexnet" else (3, 32, 32)


def _odd_state(name: str) -> nn.Module:
    """Mixed modes, a frozen layer, a gradient: none of it may be tidied up."""
    model = build(name)
    for path, child in model.named_children():
        if name == "alexnet" and isinstance(child, nn.Linear):
            setattr(model, path, nn.Identity())  # they want 224 pixels
    model.train()
    model.conv2.training = False
    model.conv1.weight.requires_grad_(False)
    model.conv2.weight.grad = torch.ones_like(model.conv2.weight)
    model.conv1.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize("instrument", _instruments())
@pytest.mark.parametrize("name", _NAMES)
def test_the_model_is_as_it_was(name, instrument):
    model = _odd_state(name)
    x = torch.rand(3, *_image_shape(name))
    before, twin = _photograph(model), copy.deepcopy(model)
    _instruments()[instrument](model, x)
    assert _photograph(model) == before
    with evaluating(model), evaluating(twin):
        torch.testing.assert_close(model(x), twin(x), rtol=0, atol=0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, AttributeError, MemoryError])
@pytest.mark.parametrize("instrument", _instruments())
def test_even_when_the_forward_pass_is_broken_off(instrument, error):
    model, x = _odd_state("lenet5"), torch.rand(3, *_image_shape("lenet5"))
    before = _photograph(model)
    # The instruments look at the whole network first; the second pass is the one that breaks.
    for calls_before in (0, 1):
        count = iter(range(9))
        right = model.tanh1.forward

        def broken(x, count=count, calls_before=calls_before, right=right):
            if next(count) >= calls_before:
                raise error
            return right(x)

        object.__setattr__(model.tanh1, "forward", broken)
        try:
            _instruments()[instrument](model, x)
        except (error, AnatomyError):  # an Exception of the model's own becomes one line
            pass
        else:
            assert calls_before == 1, "the error was swallowed"
        finally:
            object.__delattr__(model.tanh1, "forward")
        assert _photograph(model) == before


class Swallowing(nn.Module):
    """A model that catches every Exception of its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

    def forward(self, x):
        try:
            return self.conv2(self.conv1(x))
        except Exception:
            return x


def test_stopping_early_is_not_seen_by_the_model():
    model = Swallowing()
    maps = capture(model, torch.rand(2, 1, 9, 9), ["conv1"])
    assert maps["conv1"].shape == (2, 2, 7, 7)
