"""Oracle: the four LeNet-5s that are written out, the initialisers' formulae, hand counts."""

import math

import pytest
import torch
from torch import nn

from internals.errors import ModelError
from internals.models import ACTIVATIONS, LeNet5, LeNet5Max28, LeNet5Softmax, LeNet5Variant, bitmaps

_PAPER = {"connections": "table", "pooling": "trainable"}
_SOFTMAX = {"activation": "tanh", "output": "logits", "initialisation": "xavier"}
_MAX28 = {
    "input_size": 28, "pooling": "max", "activation": "relu", "output": "logits",
    "initialisation": "kaiming",
}  # fmt: skip
_WRITTEN_OUT = [
    (LeNet5, {}),
    (lambda: LeNet5(paper=True), _PAPER),
    (LeNet5Softmax, _SOFTMAX),
    (LeNet5Max28, _MAX28),
]


def _trained(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("written_out", "choices"), _WRITTEN_OUT)
def test_one_seed_gives_the_weights_and_answers_of_the_network_written_out(written_out, choices):
    torch.manual_seed(7)
    theirs = written_out()
    torch.manual_seed(7)
    ours = LeNet5Variant(**choices)
    left, right = list(theirs.state_dict().values()), list(ours.state_dict().values())
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b.view_as(a), rtol=0, atol=0)
    side = choices.get("input_size", 32)
    x = torch.randn(3, 1, side, side, dtype=torch.float64)
    torch.testing.assert_close(ours.double()(x), theirs.double()(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("choices", "parameters"),
    [
        ({}, 156 + 2_416 + 48_120 + 10_164),
        ({"input_size": 28}, 60_856),
        ({"connections": "table"}, 156 + 1_516 + 48_120 + 10_164),
        ({"pooling": "trainable"}, 60_856 + 12 + 32),
        ({"pooling": "max"}, 60_856),
        (_PAPER, 60_000),
        ({"output": "logits"}, 61_706),
        ({"output": "random-codes"}, 60_856),
        ({"output": "learned-codes"}, 60_856 + 840),
        ({"dropout": 0.5}, 60_856),
    ],
)
def test_parameters_counted_by_hand(choices, parameters):
    assert _trained(LeNet5Variant(**choices)) == parameters


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_non_linearity_stands_in_all_six_places(activation):
    """Written out with functions: S2 and S4 squash too, which ReLUs alone do not show."""
    model = LeNet5Variant(activation=activation, output="logits", pooling="max")
    f = {
        "scaled-tanh": lambda x: 1.7159 * torch.tanh(2 / 3 * x),
        "tanh": torch.tanh,
        "relu": lambda x: x.clamp(min=0),
        "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    }[activation]
    x = torch.randn(2, 1, 32, 32)
    halved = nn.MaxPool2d(2)
    s2 = f(halved(f(model.conv1(x))))
    s4 = f(halved(f(model.conv2(s2))))
    f6 = f(model.linear(f(model.conv3(s4)).flatten(1)))
    torch.testing.assert_close(model(x), model.output(f6), rtol=1e-5, atol=1e-5)


# scheme -> the standard deviation that it gives at this fan-in, fan-out and gain
_SPREADS = {
    "fan-in": lambda reads, feeds, gain: 2.4 / reads / math.sqrt(3),
    "xavier": lambda reads, feeds, gain: gain * math.sqrt(2 / (reads + feeds)),
    "kaiming": lambda reads, feeds, gain: gain / math.sqrt(reads),
    "normal": lambda reads, feeds, gain: 0.01,
}
_GAINS = {"scaled-tanh": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "sigmoid": 1.0}
_FANS = {  # layer: fan-in, fan-out, both times the 25 of a 5 x 5 window where there is one
    "conv1": (25, 150),
    "conv2": (150, 400),
    "conv3": (400, 3_000),
    "linear": (120, 84),
    "output": (84, 10),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("scheme", _SPREADS)
def test_weights_have_the_spread_that_the_scheme_names(scheme, activation):
    model = LeNet5Variant(output="logits", activation=activation, initialisation=scheme)
    for name, (reads, feeds) in _FANS.items():
        layer = getattr(model, name)
        expected = _SPREADS[scheme](reads, feeds, _GAINS[activation])
        actual = layer.weight.detach().double().std().item()
        assert abs(actual / expected - 1) < 4 / math.sqrt(2 * layer.weight.numel()), name
        assert bool(layer.bias.any()) == (scheme == "fan-in"), name


@pytest.mark.parametrize("scheme", ["xavier", "kaiming", "normal"])
def test_maps_of_c3_that_see_few_maps_start_by_their_own_fan_in(scheme):
    weight, kernel = LeNet5Variant(**_PAPER, initialisation=scheme).conv2.weight.detach(), 0
    for units, inputs in [(6, 3), (9, 4), (1, 6)]:
        values = weight[kernel : kernel + units * inputs]
        kernel += units * inputs
        # Ten of the sixteen maps look at each map of S2.
        expected = _SPREADS[scheme](25 * inputs, 25 * 10, 1.0)
        assert abs(values.std().item() / expected - 1) < 4 / math.sqrt(2 * values.numel())
    assert kernel == len(weight)


@pytest.mark.parametrize(("activation", "gain"), _GAINS.items())
def test_orthogonal_weights_are_orthogonal(activation, gain):
    model = LeNet5Variant(output="logits", activation=activation, initialisation="orthogonal")
    for name in _FANS:
        matrix = getattr(model, name).weight.detach().double().flatten(1)
        narrow = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        actual = narrow @ narrow.T
        expected = gain**2 * torch.eye(len(narrow), dtype=torch.float64)
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    units = LeNet5Variant(**_PAPER, initialisation="orthogonal").conv2.weight.detach()[:18]
    lengths = units.view(6, 3 * 25).norm(dim=1)  # six maps of C3 that see three maps each
    torch.testing.assert_close(lengths, torch.ones(6), rtol=1e-5, atol=1e-5)


def test_subsampling_starts_as_plain_averages_but_for_the_papers_scheme():
    plain, paper = LeNet5Variant(initialisation="kaiming"), LeNet5Variant(pooling="trainable")
    trained = LeNet5Variant(pooling="trainable", initialisation="kaiming")
    trained.load_state_dict(plain.state_dict(), strict=False)
    x = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(trained(x), plain(x), rtol=1e-5, atol=1e-4)
    assert paper.pool1.coefficient.std() > 0.1  # U(-0.6, 0.6)


def test_codes_are_the_bitmaps_the_first_editions_or_learned():
    torch.manual_seed(3)
    plain = LeNet5Variant()
    torch.manual_seed(3)
    drawn = LeNet5Variant(output="random-codes")
    torch.manual_seed(3)
    learned = LeNet5Variant(output="learned-codes")
    for name in ("conv1.weight", "conv3.bias", "linear.weight"):  # and all else is alike
        for other in (drawn, learned):
            expected = plain.get_parameter(name)
            torch.testing.assert_close(other.get_parameter(name), expected, rtol=0, atol=0)
    codes = drawn.output.prototypes
    assert not codes.requires_grad
    assert 0.09 < codes.abs().max() <= 0.1
    assert abs(codes.std().item() - 0.1 / math.sqrt(3)) < 0.004
    torch.testing.assert_close(learned.output.prototypes.detach(), bitmaps(), rtol=0, atol=0)
    learned(torch.randn(2, 1, 32, 32)).sum().backward()
    assert learned.output.prototypes.grad.abs().min() > 0


def test_dropout_leaves_out_inputs_of_f6_in_training_only():
    model = LeNet5Variant(dropout=0.25)
    seen = {}
    model.linear.register_forward_pre_hook(lambda _, inputs: seen.update(f6=inputs[0].detach()))
    x = torch.randn(40, 1, 32, 32)
    model.train()(x)
    dropped = (seen["f6"] == 0).float().mean().item()
    trained = seen["f6"]
    model.eval()(x)
    assert abs(dropped - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 4_800)
    kept_files = trained != 0
    torch.testing.assert_close(trained[kept_files], seen["f6"][kept_files] / 0.75)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"pooling": "mean"}, "pooling='mean' is not one of average, trainable, max"),
        ({"input_size": 30}, "input_size=30 is not one of 32, 28"),
        ({"activation": "gelu"}, "activation='gelu' is not one of scaled-tanh, tanh, relu, sigm"),
        ({"connections": "none"}, "connections='none' is not one of full, table"),
        ({"output": "mse"}, "output='mse' is not one of bitmaps, random-codes, learned-codes, l"),
        ({"initialisation": "he"}, "initialisation='he' is not one of fan-in, xavier, kaiming, o"),
        ({"dropout": 1.0}, "dropout=1.0 is no share of the inputs; use 0 up to below 1"),
    ],
)
def test_other_choices_are_refused(choices, message):
    with pytest.raises(ModelError, match=message):
        LeNet5Variant(**choices)
