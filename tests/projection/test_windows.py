"""Oracle: the whole image. A second model, its rectifiers replaced by functions that have the rule
written into their backward pass, is run on all of it and differentiated by autograd.
For convolutions, torch's own backward pass of the same convolution, which knows nothing of zeros.
"""

import copy
from contextlib import suppress
from functools import cache, partial

import pytest
import torch
import torchvision
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d
from torchvision.models.googlenet import BasicConv2d

from internals.activations import Unit
from internals.anatomy import Axis, trace
from internals.models import build
from internals.projection import NarrowedBackward, cut_window, project, unit_windows

RULES = ("gradient", "deconvnet", "guided")


class _RuledReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, chosen, ceiling):
        ctx.save_for_backward((x > 0) & (x < ceiling))
        ctx.chosen = chosen
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx, signal):
        (active,) = ctx.saved_tensors
        rule = ctx.chosen["rule"]
        if rule != "gradient":
            signal = signal.clamp(min=0)
        return (signal if rule == "deconvnet" else signal * active), None, None


class _Ruled(nn.Module):
    def __init__(self, chosen, ceiling=float("inf")) -> None:
        super().__init__()
        self.chosen, self.ceiling = chosen, ceiling

    def forward(self, x):
        return _RuledReLU.apply(x, self.chosen, self.ceiling)


class _EnoughError(Exception):
    """The layers asked for have spoken."""


class Whole:
    """The whole image, run once up to the last of `layers`; its rule is chosen going back."""

    def __init__(self, model, image, layers) -> None:
        model, self.chosen, self.seen = copy.deepcopy(model).eval(), {}, {}
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(parent, name, _Ruled(self.chosen))
                elif isinstance(child, nn.ReLU6):
                    setattr(parent, name, _Ruled(self.chosen, 6.0))
                elif isinstance(child, BasicConv2d):  # its forward calls F.relu
                    ruled = nn.Sequential(child.conv, child.bn, _Ruled(self.chosen))
                    setattr(parent, name, ruled)
        for layer in layers:
            model.get_submodule(layer).register_forward_hook(partial(self._see, layer, layers))
        self.image = image.clone().requires_grad_()
        with suppress(_EnoughError):
            model(self.image)

    def _see(self, layer, layers, _module, _inputs, output) -> None:
        self.seen[layer] = output
        if len(self.seen) == len(layers):
            raise _EnoughError

    def check(self, model, units, rule, tolerance) -> None:
        """The projections through windows are those through the whole image."""
        self.chosen["rule"] = rule
        image = self.image.detach()
        found = project(model, image, units, rule, image_index=[0] * len(units))
        for unit, ours in zip(units, found, strict=True):
            value = self.seen[unit.layer][0, unit.channel, unit.row, unit.column]
            (signal,) = torch.autograd.grad(value, self.image, retain_graph=True)
            scale = signal.abs().max().clamp(min=1e-12)
            assert (ours.full() - signal[0]).abs().max() <= tolerance * scale, (unit, rule)
            near = pytest.approx(value.item(), rel=tolerance, abs=tolerance)
            assert ours.value == near, (unit, rule)


class Paths(nn.Module):
    """Branches that meet by concatenation or addition."""

    def __init__(self, paths, join) -> None:
        super().__init__()
        self.paths, self.join = nn.ModuleList(paths), join

    def forward(self, x):
        maps = [path(x) for path in self.paths]
        return torch.cat(maps, dim=1) if self.join == "cat" else sum(maps[1:], maps[0])


@st.composite
def layer(draw):
    """A convolution, a pooling, or branches of both, on two channels."""
    kind = draw(st.sampled_from(["conv", "max", "average", "branches"]))
    if kind == "branches":
        join = draw(st.sampled_from(["cat", "sum"]))
        wide = nn.Conv2d(2, 2, 5, padding=2, groups=draw(st.sampled_from([1, 2])))
        dilated = nn.Conv2d(2, 2, 3, padding=2, dilation=2)
        pooled = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(2, 2, 1))
        paths = [nn.Identity(), *draw(st.permutations([wide, dilated, pooled]))[:2]]
        block = Paths(paths, join)
        return nn.Sequential(block, nn.Conv2d(6, 2, 1)) if join == "cat" else block
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    if kind == "conv":
        padding, dilation = draw(st.integers(0, 3)), draw(st.integers(1, 2))
        groups = draw(st.sampled_from([1, 2]))
        return nn.Conv2d(2, 2, kernel, stride, padding, dilation, groups)
    pool = nn.MaxPool2d if kind == "max" else nn.AvgPool2d
    padding = draw(st.integers(0, kernel // 2))
    return pool(kernel, stride, padding, ceil_mode=draw(st.booleans()))


@pytest.mark.slow
@given(
    layers=st.lists(layer(), min_size=1, max_size=4),
    size=st.tuples(st.integers(30, 48), st.integers(30, 48)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_random_graphs(layers, size, place, rule, seed):
    torch.manual_seed(seed)
    blocks = [block for part in layers for block in (part, nn.ReLU())]
    model = nn.Sequential(*blocks, nn.Identity()).double()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()
    image = torch.randn(1, 2, *size, dtype=torch.float64)
    try:
        shape = model(image).shape
    except RuntimeError:
        return  # the windows have outgrown the map
    last = str(len(blocks))
    whole = Whole(model, image, [last])
    shares = (place, (0, 0), (1, 1), (0, 1))
    places = [[round(s * (n - 1)) for s, n in zip(p, shape[2:], strict=True)] for p in shares]
    whole.check(model, [Unit(last, seed % 2, *place) for place in places], rule, 1e-12)


THEIRS = {  # an early layer, a middle one and a late one whose windows are still worth cutting
    "alexnet": ("features.0", "features.3", "features.8"),
    "vgg16": ("features.7", "features.14", "features.21"),
    "resnet18": ("layer1.0.conv2", "layer2.0", "layer3.0.conv1"),
    "googlenet": ("conv3", "inception3b.branch3", "inception4a"),
    "mobilenet_v2": ("features.4", "features.7.conv.0", "features.11"),
}
OURS = {
    "alexnet": ("conv1", "conv2", "conv4"),
    "vgg16": ("conv4",),  # the same as torchvision's but for its names
    "resnet18": ("conv4", "relu7", "conv12"),
    "inceptionnet": ("inception3a", "inception3b.conv5x5", "inception4a"),
    "mobilenet": ("conv8", "conv12", "conv16"),
}
# As 224, 227 and 231 pixels leave 0, 3 and 7 over whole strides, and no larger than windows need.
SIZES = (128, 131, 167)
LARGE = {"inception4a": 199, "conv12": 199, "features.11": 231}
CASES = [
    pytest.param(kind, name, layer, LARGE.get(layer, size), id=f"{kind}-{name}-{layer}")
    for kind, nets in (("theirs", THEIRS), ("ours", OURS))
    for name, layers in nets.items()
    for layer, size in zip(layers, SIZES, strict=False)
]


@cache
def network(kind, name):
    """A network of random weights; its fully connected layers are never reached, and left out."""
    torch.manual_seed(0)
    with torch.device("meta"):
        net = build(name) if kind == "ours" else torchvision.models.get_model(name, weights=None)
    for parent in list(net.modules()):
        for path, child in parent.named_children():
            if isinstance(child, nn.Linear):
                setattr(parent, path, nn.Identity())
    net = net.to_empty(device="cpu").eval()
    for module in net.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return net


def _places(call):
    """An interior unit, one at an edge, one in the corner."""
    last = call.shape[3] - 1
    return [(last // 2, last // 3), (0, last // 2), (last, last)]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name", "layer", "size"), CASES)
def test_networks(kind, name, layer, size):
    """The places by one rule each, in turn from size to size; in float32 one of them."""
    net = network(kind, name)
    call = trace(net, (3, size, size))[layer]
    window, _ = unit_windows(call.field, (size, size), 0, 0)
    assert window.length < size, "a test of windows needs one"
    torch.manual_seed(size)
    image = torch.randn(1, 3, size, size)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        model = copy.deepcopy(net).to(dtype)
        whole = Whole(model, image.to(dtype), [layer])
        for number, place in enumerate(_places(call)):
            if dtype == torch.float32 and number != size % 3:
                continue
            unit = Unit(layer, size % call.shape[1], *place)
            whole.check(model, [unit], RULES[(number + size) % 3], tolerance)


@pytest.mark.parametrize("layer", ["features.0", "features.12"])
def test_units_of_one_image_share_it(layer):
    """Small windows and the whole image: the same as one image a unit, in any order."""
    torch.manual_seed(1)
    images, image_index = torch.randn(3, 3, 224, 224), [2, 0, 2, 1, 2]
    units = [Unit(layer, 7 * n, n, 5) for n in range(5)]
    together = project(network("theirs", "alexnet"), images, units, image_index=image_index)
    apart = project(network("theirs", "alexnet"), images[image_index], units)
    for shared, alone in zip(together, apart, strict=True):
        assert shared.unit == alone.unit and shared.box == alone.box
        assert shared.value == pytest.approx(alone.value, rel=1e-5)
        torch.testing.assert_close(shared.pixels, alone.pixels, rtol=1e-5, atol=1e-7)


def test_a_window_written_out():
    """VGG-16's conv4 by hand: field 14, stride 2, start -6, on 224 pixels."""
    axis = Axis(14, 2, -6)
    assert cut_window(axis, 224, 0) == (0, 14, 0)  # anchored to the border, padding and all
    assert cut_window(axis, 224, 3) == (0, 14, 3)
    assert cut_window(axis, 224, 4) == (2, 14, 3)  # one stride on
    assert cut_window(axis, 224, 108) == (210, 14, 3)  # the last whose field ends on the image
    assert (
        cut_window(axis, 224, 109)
        == cut_window(axis, 224, 110)._replace(position=3)
        == (212, 12, 3)
    )
    assert cut_window(axis, 224, 111) == (212, 12, 5)  # anchored to the far border
    assert cut_window(Axis(196, 16, -90), 200, 5) == (0, 200, 5)  # no room to cut


class Placed(nn.Module):
    """What a window would spoil: coordinates, whole-map means, a fixed size."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv, self.last = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3)

    def forward(self, x):
        if self.how == "size":
            assert x.shape[2:] == (20, 20), "this network wants its own size"
        x = self.conv(x)
        if self.how == "coordinates":
            x = x + torch.linspace(0, 1, x.shape[3], dtype=x.dtype)
        if self.how == "mean":
            x = x * x.mean(dim=(2, 3), keepdim=True)
        if self.how == "adaptive":
            x = nn.functional.adaptive_avg_pool2d(x, 9)
        if self.how == "cropped":
            x = x[:, :, :-2, :-2]
        if self.how == "interpolated":
            x = nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
        return self.last(x)


@pytest.mark.parametrize(
    "how", ["size", "coordinates", "mean", "adaptive", "cropped", "interpolated"]
)
def test_where_no_window_serves_the_whole_image_is_taken(how):
    torch.manual_seed(0)
    model = Placed(how).double()
    image = torch.randn(1, 1, 20, 20, dtype=torch.float64)
    last = model(image).shape[3] - 1
    whole = Whole(model, image, ["last"])
    places = [(0, 0), (last // 2, last // 2), (last, 1)]
    whole.check(model, [Unit("last", 1, *place) for place in places], "gradient", 1e-12)


# Convolutions whose backward pass goes only where there is a signal


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
    assert "Narrowed" in type(output.grad_fn).__name__
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
