"""Oracle: the same calls one after the other, and the model's own bits before."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from internals import Network
from internals.activations import Unit, capture, strongest
from internals.anatomy import summarize
from internals.projection import grad_cam, occlusion, project

pytestmark = pytest.mark.slow


class _Net(nn.Module):
    """Batch norm, dropout, a shortcut: what another call's mode or hooks would change."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.act, self.drop = nn.ReLU(inplace=True), nn.Dropout(0.5)
        self.conv2, self.fc = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 4)

    def forward(self, x):
        x = self.act(self.norm(self.conv1(x)))
        x = x + self.conv2(self.drop(x))
        return self.fc(self.act(x).mean((2, 3)))


def _state(model):
    return {
        "bits": {name: t.numpy().tobytes() for name, t in model.state_dict().items()},
        "ids": {name: id(t) for name, t in model.named_parameters()},
        "devices": {t.device for t in model.state_dict().values()},
        "modes": [m.training for m in model.modules()],
        "hooks": [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
        "grads": [p.grad is None and p.requires_grad for p in model.parameters()],
    }


def _looks(model, images):
    net = Network(model, input_shape=(3, 16, 14))
    return {
        "plain": lambda: model(images),
        "project": lambda: [p.pixels for p in project(model, images, [Unit("conv2", 3, 7, 7)] * 2)],
        "gradient": lambda: [p.pixels for p in net.project(images, "conv2:1", "gradient")],
        "strongest": lambda: strongest(model, images, ["conv1", "conv2"], 2)["conv2"].value,
        "mined by one network": lambda: net.strongest(images, ["conv2"], 1)["conv2"].value,
        "grad_cam": lambda: grad_cam(model, images, "conv2", 1, upsample=True),
        "saliency": lambda: net.saliency(images, [0, 2]),
        "occlusion": lambda: occlusion(model, images[:1], 1, size=8, stride=4),
        "capture": lambda: capture(model, images, ["conv1"])["conv1"],
        "summary": lambda: [row.field for row in summarize(model, (3, 16, 14))],
    }  # fmt: skip


def _same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, list) and one and isinstance(one[0], torch.Tensor):
        return all(map(torch.equal, one, other))
    return bool(one == other)


def _rounds(count: int, *, training: bool) -> None:
    model = _Net().train(training)
    images = torch.randn(2, 3, 16, 14)
    looks = _looks(model, images)
    if training:  # a plain forward pass would draw, and count, by itself
        del looks["plain"]
    expected = {name: look() for name, look in looks.items()}
    before = _state(model)
    barrier = threading.Barrier(len(looks))

    def look_again(name: str) -> list[bool]:
        torch.set_num_threads(1)
        found = []
        for _ in range(count):
            barrier.wait()
            found.append(_same(expected[name], looks[name]()))
        return found

    with ThreadPoolExecutor(len(looks)) as pool:
        found = dict(zip(looks, pool.map(look_again, looks), strict=True))
    assert {name: sum(same) for name, same in found.items()} == dict.fromkeys(looks, count)
    assert _state(model) == before


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same sums in every thread
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("training", [False, True])
def test_looks_at_one_model_at_the_same_time(training):
    _rounds(4, training=training)


@pytest.mark.slow
def test_a_hundred_rounds():
    _rounds(100, training=False)


def test_a_plain_pass_meanwhile_meets_no_hook_and_keeps_its_mode():
    """While a look is inside of the network, another thread runs the model itself."""
    inside, done = threading.Event(), threading.Event()

    class Waiting(nn.Module):
        def forward(self, x):
            if threading.current_thread() is not threading.main_thread():
                inside.set()
                assert done.wait(30)
            return x

    model = nn.Sequential(nn.Conv2d(3, 4, 3), Waiting(), nn.Dropout(0.5), nn.Conv2d(4, 2, 3))
    model.train()
    twin = copy.deepcopy(model)
    images = torch.randn(1, 3, 9, 9)
    with ThreadPoolExecutor(1) as pool:
        look = pool.submit(project, model, images, [Unit("3", 0, 2, 2)])
        assert inside.wait(30)
        torch.manual_seed(5)
        meanwhile = model(images)
        done.set()
        look.result(30)
    torch.manual_seed(5)
    assert torch.equal(meanwhile, twin(images))
