"""Oracle: the whole image. A second model, its rectifiers replaced by functions that have the rule
written into their backward pass, is run on all of it and differentiated by autograd."""

import copy

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from internals.activations.unit import Unit
from internals.anatomy.field import Axis
from internals.anatomy.trace import trace
from internals.projection.backward import project
from internals.projection.windows import cut, windows

RULES = ("gradient", "deconvnet", "guided")


class _RuledReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, rule, ceiling):
        ctx.save_for_backward((x > 0) & (x < ceiling))
        ctx.rule = rule
        return x.clamp(0, ceiling)

    @staticmethod
    def backward(ctx, signal):
        (active,) = ctx.saved_tensors
        if ctx.rule != "gradient":
            signal = signal.clamp(min=0)
        return (signal if ctx.rule == "deconvnet" else signal * active), None, None


class _Ruled(nn.Module):
    def __init__(self, rule, ceiling) -> None:
        super().__init__()
        self.rule, self.ceiling = rule, ceiling

    def forward(self, x):
        return _RuledReLU.apply(x, self.rule, self.ceiling)


def whole(model, image, unit, rule):
    """Value and signal of `unit`, by the whole image."""
    model = copy.deepcopy(model).eval()
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.ReLU):
                setattr(parent, name, _Ruled(rule, float("inf")))
            elif isinstance(child, nn.ReLU6):
                setattr(parent, name, _Ruled(rule, 6.0))
    seen = {}
    layer = model.get_submodule(unit.layer)
    layer.register_forward_hook(lambda _m, _i, output: seen.update(output=output))
    image = image.clone().requires_grad_()
    model(image)
    value = seen["output"][0, unit.channel, unit.row, unit.column]
    (signal,) = torch.autograd.grad(value, image)
    return value.item(), signal[0]


def agree(model, image, unit, rule, tolerance):
    value, signal = whole(model, image, unit, rule)
    (found,) = project(model, image, [unit], rule)
    scale = signal.abs().max().clamp(min=1e-12)
    assert (found.full() - signal).abs().max() <= tolerance * scale, (unit, rule)
    assert found.value == pytest.approx(value, rel=tolerance, abs=tolerance), (unit, rule)


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


@given(
    layers=st.lists(layer(), min_size=1, max_size=4),
    size=st.tuples(st.integers(30, 48), st.integers(30, 48)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    rule=st.sampled_from(RULES),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None, derandomize=True)
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
    for share in (place, (0, 0), (1, 1), (0, 1)):
        row, column = (round(s * (n - 1)) for s, n in zip(share, shape[2:], strict=True))
        agree(model, image, Unit(last, seed % 2, row, column), rule, 1e-12)


NETS = {
    "alexnet": ["features.0", "features.3", "features.8"],
    "resnet18": ["layer1.0.conv2", "layer2.0"],
    "mobilenet_v2": ["features.4", "features.7.conv.0"],
    "vgg11": ["features.8"],
}


@pytest.fixture(scope="module")
def nets():
    torch.manual_seed(0)
    return {name: getattr(torchvision.models, name)(weights=None).eval() for name in NETS}


@pytest.mark.parametrize("size", [224, 227, 231])
@pytest.mark.parametrize(("name", "layer"), [(n, layer) for n in NETS for layer in NETS[n]])
def test_torchvision_networks(nets, name, layer, size):
    """Interior, edge and corner units, one rule each, in float64 and float32."""
    call = trace(nets[name], (3, size, size))[layer]
    last, channels = call.shape[3] - 1, call.shape[1]
    window, _ = windows(call.field, (size, size), 0, 0)
    assert window.length < size, "a test of windows needs one"
    torch.manual_seed(size)
    image = torch.randn(1, 3, size, size)
    places = [(last // 2, last // 3), (0, last // 2), (last, last)]
    for (row, column), rule in zip(places, RULES, strict=True):
        unit = Unit(layer, size % channels, row, column)
        agree(copy.deepcopy(nets[name]).double(), image.double(), unit, rule, 1e-12)
        agree(nets[name], image, unit, rule, 1e-6)


def test_functional_rectifiers_of_googlenet_are_windowed_too():
    """GoogLeNet calls `F.relu`: the plain gradient by autograd, float64, at an edge."""
    torch.manual_seed(0)
    net = torchvision.models.googlenet(weights=None, init_weights=False).eval().double()
    image = torch.randn(1, 3, 231, 231, dtype=torch.float64)
    for layer in ("conv3", "inception3b.branch3"):
        last = trace(net, (3, 231, 231))[layer].shape[3] - 1
        agree(net, image, Unit(layer, 5, 0, last), "gradient", 1e-12)


@pytest.mark.parametrize("layer", ["features.0", "features.12"])
def test_units_of_one_image_share_it(nets, layer):
    """Small windows and the whole image: the same as one image a unit, in any order."""
    torch.manual_seed(1)
    images, of = torch.randn(3, 3, 224, 224), [2, 0, 2, 1, 2]
    units = [Unit(layer, 7 * n, n, 5) for n in range(5)]
    together = project(nets["alexnet"], images, units, of=of)
    apart = project(nets["alexnet"], images[of], units)
    for shared, alone in zip(together, apart, strict=True):
        assert shared.unit == alone.unit and shared.box == alone.box
        assert shared.value == pytest.approx(alone.value, rel=1e-5)
        torch.testing.assert_close(shared.pixels, alone.pixels, rtol=1e-5, atol=1e-7)


def test_a_window_written_out():
    """VGG-16's conv4 by hand: field 14, stride 2, start -6, on 224 pixels."""
    axis = Axis(14, 2, -6)
    assert cut(axis, 224, 0) == (0, 14, 0)  # anchored to the border, padding and all
    assert cut(axis, 224, 3) == (0, 14, 3)
    assert cut(axis, 224, 4) == (2, 14, 3)  # one stride on
    assert cut(axis, 224, 108) == (210, 14, 3)  # the last whose field ends on the image
    assert cut(axis, 224, 109) == cut(axis, 224, 110)._replace(position=3) == (212, 12, 3)
    assert cut(axis, 224, 111) == (212, 12, 5)  # anchored to the far border
    assert cut(Axis(196, 16, -90), 200, 5) == (0, 200, 5)  # no room to cut


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
    for row, column in [(0, 0), (last // 2, last // 2), (last, 1)]:
        agree(model, image, Unit("last", 1, row, column), "gradient", 1e-12)
