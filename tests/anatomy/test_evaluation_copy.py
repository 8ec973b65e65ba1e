"""Oracle: the network itself in evaluation mode."""

import copy
import functools
from collections import deque

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, weight_norm

from internals.anatomy import evaluation_copy


def _images():
    return torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))


class _Helper:
    """No module, and holds one."""

    def __init__(self, held) -> None:
        self.held = held

    def run(self, x):
        return self.held(x)


class _Held(nn.Module):
    """Holds its modules in every way but as modules alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.drop = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Dropout(0.5)
        self.steps = [self.a, self.drop]
        self.by_name = {"b": (self.b,)}
        self.bound = self.tail
        self.partial = functools.partial(self.scaled, scale=2.0)
        inner = [self.drop]
        once = lambda x: inner[0](x) + 1  # noqa: E731
        self.closure = lambda x, drop=self.drop: drop(once(x))
        self.queue, self.helper = deque([self.drop]), _Helper(self.drop)
        self.table = torch.arange(4.0).view(4, 1, 1)

    def tail(self, x):
        return self.by_name["b"][0](x)

    def scaled(self, x, scale):
        return scale * self.drop(x)

    def forward(self, x):
        for step in self.steps:
            x = self.helper.run(self.queue[0](step(x)))
        return self.closure(self.partial(self.bound(x))) * self.table


def _inference():
    with torch.inference_mode():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def _tied():
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1))
    net[1].weight = net[0].weight
    return net


NETWORKS = {
    "batch norm and dropout": lambda: nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5)
    ),
    "held in other ways": _Held,
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
    "weight norm as it was": lambda: weight_norm(nn.Conv2d(3, 4, 3)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)),
    "data parallel": lambda: nn.DataParallel(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout())),
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout())),
    "made in inference mode": _inference,
    "tied": _tied,
    "one module at two places": lambda: nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1)] * 2),
    "recurrent": lambda: nn.Sequential(nn.Flatten(2), nn.Linear(72, 5), nn.LSTM(5, 4)),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS)
def test_it_gives_what_the_network_gives_in_evaluation_mode(name):
    model = NETWORKS[name]().train()
    # deepcopy does not copy all of them, so some are made a second time.
    again = name in ("weight norm as it was", "held in other ways")
    reference = NETWORKS[name]() if again else copy.deepcopy(model)
    reference.load_state_dict(model.state_dict())
    before = {key: t.clone() for key, t in model.state_dict().items()}
    copied = evaluation_copy(model)
    with torch.no_grad():
        expected, found = reference.eval()(_images()), copied(_images())
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert all(not m.training for m in copied.modules())
    assert model.training
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key])


def test_weights_are_shared_and_nothing_else_is():
    model = NETWORKS["batch norm and dropout"]()
    model.counted = torch.zeros(1)  # neither a parameter nor a buffer
    copied = evaluation_copy(model)
    assert copied[0].weight.data_ptr() == model[0].weight.data_ptr()
    assert not copied[0].weight.requires_grad and model[0].weight.requires_grad
    copied[1].running_mean.add_(1)
    copied[0].register_forward_hook(lambda *_: None)
    copied.flag = True
    copied.counted.add_(1)
    copied(_images().requires_grad_()).sum().backward()
    assert model[1].running_mean.eq(0).all() and model.counted.item() == 0
    assert not model[0]._forward_hooks and not hasattr(model, "flag")
    assert model[0].weight.grad is None


def test_lists_of_the_model_are_its_own():
    model = _Held()
    copied = evaluation_copy(model)
    copied.steps.append("more")
    assert model.steps == [model.a, model.drop]
    assert copied.steps[0] is copied.a and copied.by_name["b"][0] is copied.b


def test_on_the_meta_device_nothing_is_kept():
    model = _Held()
    copied = evaluation_copy(model, "meta", moves_all=True)
    assert copied(_images().to("meta")).shape == model(_images()).shape
    assert {t.device.type for t in model.state_dict().values()} == {"cpu"}


def test_compiled_modules_run_as_they_are_written():
    """Without a compiler: what torch.compile wraps is called as the module that it was."""
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    compiled = torch.compile(plain)
    copied = evaluation_copy(compiled)
    assert [name for name, _ in copied.named_modules() if name] == [
        "_orig_mod",
        "_orig_mod.0",
        "_orig_mod.1",
    ]
    assert torch.equal(copied(_images()), plain(_images()))
