"""Oracle: receptive fields published by the papers and by Araujo et al. (Distill 2019), by hand."""

import pytest
import torch
import torchvision.models as zoo
from torch import nn
from torch.nn import functional

from internals.anatomy import ReceptiveField, TracedModule, receptive_field
from internals.errors import AnatomyError, LayerError
from internals.models import LeNet5

# layer: (size, stride, padding), where the field starts at -padding
_LENET = {
    "conv1": (5, 1, 0), "pool1": (6, 2, 0), "conv2": (14, 2, 0), "pool2": (16, 4, 0),
    "conv3": (32, 4, 0), "tanh5": (32, 4, 0),
}  # fmt: skip
_ALEXNET = {  # torchvision's conv1 pads 2
    "features.0": (11, 4, 2), "features.2": (19, 8, 2), "features.3": (51, 8, 18),
    "features.5": (67, 16, 18), "features.6": (99, 16, 34), "features.8": (131, 16, 50),
    "features.10": (163, 16, 66), "features.12": (195, 32, 66),
}  # fmt: skip
_VGG16 = {
    "features.0": (3, 1, 1), "features.4": (6, 2, 2), "features.5": (10, 2, 4),
    "features.7": (14, 2, 6), "features.9": (16, 4, 6), "features.10": (24, 4, 10),
    "features.12": (32, 4, 14), "features.14": (40, 4, 18), "features.16": (44, 8, 18),
    "features.17": (60, 8, 26), "features.19": (76, 8, 34), "features.21": (92, 8, 42),
    "features.23": (100, 16, 42), "features.24": (132, 16, 58), "features.26": (164, 16, 74),
    "features.28": (196, 16, 90), "features.30": (212, 32, 90),
}  # fmt: skip
_VGG11 = {
    "features.2": (4, 2, 1), "features.3": (8, 2, 3), "features.5": (10, 4, 3),
    "features.8": (26, 4, 11), "features.13": (62, 8, 27), "features.18": (134, 16, 59),
    "features.20": (150, 32, 59),
}  # fmt: skip
_RESNET18 = {
    "conv1": (7, 2, 3), "maxpool": (11, 4, 5), "layer1": (43, 4, 21), "layer2.0": (67, 8, 33),
    "layer2": (99, 8, 49), "layer3.0": (147, 16, 73), "layer3": (211, 16, 105),
    "layer4.0": (307, 32, 153), "layer4": (435, 32, 217),
}  # fmt: skip
_GOOGLENET = {  # torchvision's "5x5" branch is 3x3
    "conv3": (19, 4, 7), "inception3a": (43, 8, 15), "inception3b": (59, 8, 23),
    "inception4a": (107, 16, 39),
}  # fmt: skip
_MOBILENET_V2 = {  # by hand: 3x3 with stride 2 at features 0, 2, 4, 7, 14
    "features.0": (3, 2, 1), "features.1": (7, 2, 3), "features.2": (11, 4, 5),
    "features.3": (19, 4, 9), "features.4": (27, 8, 13), "features.6": (59, 8, 29),
    "features.7": (75, 16, 37), "features.13": (267, 16, 133), "features.14": (299, 32, 149),
    "features.17": (491, 32, 245),
}  # fmt: skip


@pytest.mark.parametrize(
    ("make", "shape", "table"),
    [
        (LeNet5, (1, 32, 32), _LENET),
        (lambda: LeNet5(paper=True), (1, 32, 32), _LENET),
        (zoo.alexnet, (3, 224, 224), _ALEXNET),
        (zoo.vgg16, (3, 64, 64), _VGG16),
        (zoo.vgg11, (3, 64, 64), _VGG11),
        (zoo.resnet18, (3, 64, 64), _RESNET18),
        (lambda: zoo.googlenet(init_weights=False), (3, 64, 64), _GOOGLENET),
        (zoo.mobilenet_v2, (3, 64, 64), _MOBILENET_V2),
    ],
    ids=["lenet5", "lenet5-paper", "alexnet", "vgg16", "vgg11", "resnet18", "googlenet", "mnet2"],
)
def test_published_tables(make, shape, table, monkeypatch):
    with torch.device("meta"), monkeypatch.context() as cheap:
        cheap.setattr(nn.init, "trunc_normal_", lambda tensor, *_, **__: tensor)
        model = make()
    model = model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.zero_()
    traced = TracedModule(model, input_shape=shape)
    for layer, (size, stride, padding) in table.items():
        found = receptive_field(traced, layer)
        assert found == ReceptiveField(size, stride, -padding), layer


def test_box_of_a_unit_and_its_centre():
    """Unit (5, 3) of VGG-16's conv5_3 is centred at -90 + 16 i + (196 - 1) / 2."""
    top, left, bottom, right = ReceptiveField(196, 16, -90).box(5, 3)
    assert ((top + bottom - 1) / 2, (left + right - 1) / 2) == (87.5, 55.5)
    assert (bottom - top, right - left) == (196, 196)
    assert ReceptiveField((5, 3), (2, 1), (-1, 0)).box(4, 7) == (7, 7, 12, 10)


def test_rows_and_columns_apart():
    model = nn.Sequential(nn.Conv2d(1, 2, (3, 7), stride=(2, 1), padding=(1, 3), dilation=(2, 1)))
    found = receptive_field(model, "0", (1, 20, 30))
    assert found == ReceptiveField((5, 7), (2, 1), (-1, -3))


def test_global_pooling_and_what_follows_see_everything():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    # The nine by eleven units of the convolution see 19 x 23 pixels.
    for layer in ("1", "3"):
        assert receptive_field(model, layer, (1, 20, 24)).box(0, 0) == (0, 0, 19, 23)


class Function(nn.Module):
    """A 3 x 3 convolution `a`, a function of its output and of the image, and a mark behind it."""

    def __init__(self, function) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 5, padding=2)
        self.mark, self.function = nn.Identity(), function

    def forward(self, x):
        return self.mark(self.function(self, x))


def _field(function, shape=(2, 12, 12)) -> ReceptiveField:
    return receptive_field(Function(function), "mark", shape)


def _channels_written(self, x):
    y = self.a(x)
    y[:, :1] = self.b(x)[:, :1]
    return y


def _view_written(self, x):
    y = self.a(x)
    y[:, :1].copy_(self.b(x)[:, :1])
    return y


def _view_added_to(self, x):
    y = self.a(x)
    first, _ = y.chunk(2, dim=1)
    first.add_(self.b(x)[:, :1])
    return y


def _view_of_a_constant_written(self, x):
    y = torch.zeros_like(x.detach())
    y = torch.zeros(x.shape)
    y[:, :1].copy_(self.b(x)[:, :1])
    return self.a(x) + y


def _flat_view_written(self, x):
    y = self.a(x)
    y.view(-1).add_(self.b(x).view(-1))
    return y


@pytest.mark.parametrize(
    "function",
    [_channels_written, _view_written, _view_added_to, _view_of_a_constant_written,
     _flat_view_written],
)  # fmt: skip
def test_writing_into_a_part_is_never_silently_wrong(function):
    """The truth is the 5 x 5 field of `b`: say that, or more, or refuse."""
    try:
        found = _field(function)
    except AnatomyError as error:
        assert "cannot be stated" in str(error)
        return
    top, left, bottom, right = found.box(6, 6)
    assert (top, left) <= (4, 4)
    assert (bottom, right) >= (9, 9)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda s, x: functional.pad(s.a(x), (1, 1, 1, 1), mode="reflect"), "padding of mode"),
        (lambda s, x: functional.interpolate(s.a(x), scale_factor=2), "operation 'interpolate'"),
        (lambda s, x: s.a(x).unsqueeze(-1).mean(2), "'unsqueeze' of an image's axes"),
        (lambda s, x: s.a(x) + functional.avg_pool2d(x, 2).repeat(1, 1, 2, 2), "'repeat'"),
        (lambda s, x: s.a(x)[:, :, ::2, ::2] + s.a(x)[:, :, :6, :6], "different strides"),
        (lambda s, x: torch.cat([s.a(x), s.b(x)], dim=2), "along the image"),
        (lambda s, x: s.a(x).flip(3), "operation 'flip'"),
        (lambda s, x: functional.adaptive_avg_pool2d(s.a(x), 5), "whose windows differ"),
        (lambda s, x: s.a(x).mean(2, keepdim=True), "over one axis"),
        (lambda s, x: torch.zeros_like(x).new_zeros(1, 2, 3, 3), "cannot be stated"),
    ],
)
def test_refuses_what_cannot_be_stated(function, why):
    with pytest.raises(AnatomyError, match=why):
        _field(function)


def test_refuses_reflecting_convolutions_and_batch_statistics():
    with pytest.raises(AnatomyError, match="padding of mode 'reflect'"):
        receptive_field(
            nn.Sequential(nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")), "0", (1, 9, 9)
        )
    with pytest.raises(AnatomyError, match="batch"):
        receptive_field(
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2, track_running_stats=False)),
            "1", (1, 9, 9),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("function", "shape", "size", "start"),
    [
        (lambda s, x: s.a(x)[:, :, 2:, 1:], (2, 12, 12), 3, (1, 0)),
        (lambda s, x: s.a(x)[..., 1:, 1:], (2, 12, 12), 3, 0),
        (lambda s, x: s.b(x)[:, [1, 0]] + s.a(x), (2, 12, 12), 5, -2),
        (lambda s, x: torch.max(s.a(x), s.b(x)), (2, 12, 12), 5, -2),
        (lambda s, x: functional.lp_pool2d(s.a(x), 2.0, 4, 1), (2, 12, 12), 6, -1),
        (lambda s, x: s.a(x).view(-1, 1, 2, 12, 12).transpose(1, 2).reshape(-1, 2, 12, 12),
         (2, 12, 12), 3, -1),
        (lambda s, x: torch.conv2d(input=x, weight=s.b.weight, padding=2), (2, 12, 12), 5, -2),
        (lambda s, x: s.b(x).unsqueeze(1).amax(1) + s.a(x).unsqueeze(-3).mean(dim=-3),
         (2, 12, 12), 5, -2),
        (lambda s, x: torch.cat(tensors=[s.a(x), s.b(x)], dim=1), (2, 12, 12), 5, -2),
        (lambda s, x: functional.conv2d(x, s.b.weight, padding="same"), (2, 12, 12), 5, -2),
    ],
)  # fmt: skip
def test_operations_by_hand(function, shape, size, start):
    assert _field(function, shape) == ReceptiveField(size, 1, start)


def test_one_position_that_is_spread_over_a_map_is_seen_by_all_of_it():
    """A 12 x 12 filter's one position scales every position: each sees the whole image."""
    gate = torch.ones(2, 2, 12, 12)
    try:
        found = _field(lambda s, x: s.a(x) * functional.conv2d(x, gate))
    except AnatomyError:
        return
    top, left, bottom, right = found.box(6, 6)
    assert top <= 0 and left <= 0 and bottom >= 12 and right >= 12


@pytest.mark.parametrize(
    "function",
    [
        lambda s, x: s.a(x).view(-1, 2, 1, 12, 12).flatten(1),
        lambda s, x: s.a(x).view(-1, 2, 1, 12, 12).mean((3, 4)).flatten(1),
        lambda s, x: s.a(x).view(-1, 2, 1, 12, 12).flatten(2).sum(2),
        lambda s, x: s.a(x)[0].flatten()[None],
        lambda s, x: s.a(x)[:, None, :, ::2, ::2].mean((1, 2, 3)),
    ],
)
def test_regrouped_maps_that_are_flattened_see_everything_or_are_refused(function):
    try:
        found = _field(function)
    except AnatomyError as error:
        assert "cannot be stated" in str(error)
        return
    assert found.box(0, 0) == (-1, -1, 13, 13)


class Reused(nn.Module):
    """One layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.same, self.last = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3)

    def forward(self, x):
        return self.last(self.same(self.same(x)))


def test_a_layer_called_twice_is_refused_and_the_next_is_not():
    with pytest.raises(LayerError, match="'same' is called 2 times in one forward pass"):
        receptive_field(Reused(), "same", (1, 12, 12))
    assert receptive_field(Reused(), "last", (1, 12, 12)).size == 7


def test_unknown_layers_name_the_nearest():
    with pytest.raises(LayerError, match="LeNet5 has no layer 'conv4'; nearest: conv"):
        receptive_field(LeNet5(), "conv4", (1, 32, 32))
    for nothing in ("", "conv1.weight"):
        with pytest.raises(LayerError, match="has no layer"):
            receptive_field(LeNet5(), nothing, (1, 32, 32))


@pytest.mark.parametrize("shape", [(32, 32), (1, 0, 32), (1, 1, 32, 32)])
def test_shapes_that_are_none(shape):
    with pytest.raises(AnatomyError, match=r"is not .channels, height, width"):
        receptive_field(LeNet5(), "conv1", shape)


def test_shapes_the_model_cannot_take(unchecked_shapes):
    with pytest.raises(AnatomyError, match=r"LeNet5 cannot take an input of shape \(3, 32, 32\)"):
        receptive_field(LeNet5(), "conv1", (3, 32, 32))
