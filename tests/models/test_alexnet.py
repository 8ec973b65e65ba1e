"""Oracle: Krizhevsky et al.'s (2012) numbers, counted by hand, and the first edition's list."""

import math

import pytest
import torch
from torch import nn

from internals.anatomy import summarize
from internals.errors import AnatomyError
from internals.models import AlexNet, build

_PRINTED = """\
AlexNet(
  (conv1): Conv2d(3, 96, kernel_size=(11, 11), stride=(4, 4), padding=(2, 2))
  (relu1): ReLU()
  (lrn1): LocalResponseNorm(5, alpha=0.0005, beta=0.75, k=2)
  (pool1): MaxPool2d(kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=False)
  (conv2): Conv2d(96, 256, kernel_size=(5, 5), stride=(1, 1), padding=(2, 2))
  (relu2): ReLU()
  (lrn2): LocalResponseNorm(5, alpha=0.0005, beta=0.75, k=2)
  (pool2): MaxPool2d(kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=False)
  (conv3): Conv2d(256, 384, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu3): ReLU()
  (conv4): Conv2d(384, 384, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu4): ReLU()
  (conv5): Conv2d(384, 256, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu5): ReLU()
  (pool3): MaxPool2d(kernel_size=3, stride=2, padding=0, dilation=1, ceil_mode=False)
  (lin1): Linear(in_features=9216, out_features=4096, bias=True)
  (relu6): ReLU()
  (drop1): Dropout(p=0.5, inplace=False)
  (lin2): Linear(in_features=4096, out_features=4096, bias=True)
  (relu7): ReLU()
  (drop2): Dropout(p=0.5, inplace=False)
  (lin3): Linear(in_features=4096, out_features=10, bias=True)
)"""

# layer: output, parameters, multiply-adds; section 3.5's kernels on figure 2's sizes
_PAPER = {
    "conv1": ((96, 55, 55), 34_944, 105_415_200),
    "conv2": ((256, 27, 27), 307_456, 223_948_800),
    "conv3": ((384, 13, 13), 885_120, 149_520_384),
    "conv4": ((384, 13, 13), 663_936, 112_140_288),
    "conv5": ((256, 13, 13), 442_624, 74_760_192),
    "lin1": ((4096,), 37_752_832, 37_748_736),
    "lin2": ((4096,), 16_781_312, 16_777_216),
    "lin3": ((1000,), 4_097_000, 4_096_000),
}
_LOCAL = ("conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool3")
_SIZES, _STRIDES = (11, 19, 51, 67, 99, 131, 163, 195), (4, 8, 8, 16, 16, 16, 16, 32)


def _empty(*arguments, **options):
    """A network without numbers, for what does not depend on them."""
    with torch.device("meta"):
        return AlexNet(*arguments, **options)


def _rows(model: nn.Module, size: int):
    return {row.name: row for row in summarize(model, (3, size, size))}


@pytest.fixture(scope="module")
def default():
    torch.manual_seed(1)
    return AlexNet()


@pytest.fixture(scope="module")
def paper():
    torch.manual_seed(1)
    return AlexNet(paper=True)


def test_prints_the_module_list():
    assert str(_empty()) == _PRINTED


@pytest.mark.parametrize(
    ("arguments", "options", "parameters"),
    [
        ((), {"paper": True}, 60_965_224),
        ((10,), {"paper": True}, 56_909_194),
        ((), {}, 58_322_314),
        ((1000,), {}, 62_378_344),
        ((), {"lrn": False, "dropout": 0.0}, 58_322_314),
    ],
)
def test_parameters(arguments, options, parameters):
    assert sum(p.numel() for p in _empty(*arguments, **options).parameters()) == parameters


def test_the_paper_layer_by_layer():
    rows = _rows(_empty(paper=True), 227)
    actual = {n: (rows[n].shape, rows[n].parameters, rows[n].multiply_adds) for n in _PAPER}
    assert actual == _PAPER
    assert [rows[n].shape[1:] for n in ("pool1", "pool2", "pool3")] == [(27, 27), (13, 13), (6, 6)]
    assert sum(math.prod(rows[n].shape) for n in _PAPER) == 659_272  # "650,000 neurons"
    assert sum(row.multiply_adds for row in rows.values()) == 724_406_816


@pytest.mark.parametrize(("classes", "total"), [(10, 1_131_201_056), (1000, 1_135_256_096)])
def test_multiply_adds_without_groups(classes, total):
    assert sum(row.multiply_adds for row in _rows(_empty(classes), 224).values()) == total


def test_the_paper_needs_227_pixels():
    """(224 - 11) / 4 + 1 = 54.25, and 54 positions leave lin1 with 5 x 5 maps."""
    model = _empty(paper=True)
    assert model.conv1(torch.empty(1, 3, 224, 224, device="meta")).shape[-2:] == (54, 54)
    with pytest.raises(AnatomyError, match="AlexNet cannot take an input of shape"):
        summarize(model, (3, 224, 224))


@pytest.mark.parametrize(
    ("options", "size", "centres"),
    [
        ({"paper": True}, 227, (5, 9, 9, 17, 17, 17, 17, 33)),
        ({}, 224, (3, 7, 7, 15, 15, 15, 15, 31)),
        ({"lrn": False}, 224, (3, 7, 7, 15, 15, 15, 15, 31)),
    ],
)
def test_receptive_fields(options, size, centres):
    rows = _rows(_empty(**options), size)
    fields = [rows[name].field for name in _LOCAL]
    assert tuple(field.size for field in fields) == _SIZES
    assert tuple(field.stride for field in fields) == _STRIDES
    assert tuple(field.start + (field.size - 1) / 2 for field in fields) == centres


def test_response_normalisation_is_the_formula_of_section_3_3(default):
    torch.manual_seed(2)
    a = 100 * torch.randn(2, 7, 3, 5, dtype=torch.float64).relu()
    expected = torch.empty_like(a)
    for i in range(7):
        neighbours = a[:, max(0, i - 2) : min(6, i + 2) + 1]
        expected[:, i] = a[:, i] / (2 + 1e-4 * (neighbours**2).sum(dim=1)) ** 0.75
    for layer in (default.lrn1, default.lrn2):
        torch.testing.assert_close(layer(a), expected, rtol=1e-14, atol=0)
    with_the_printed_alpha = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)(a)
    assert ((with_the_printed_alpha - expected).abs() / a.clamp(min=1e-9)).max() > 0.1


def test_normalisation_follows_the_rectifier_and_precedes_the_pool(default):
    """Section 3.5's order, written out with the network's own weights."""
    torch.manual_seed(3)
    image = 10 * torch.randn(1, 3, 224, 224)
    x = nn.functional.conv2d(image, default.conv1.weight, default.conv1.bias, stride=4, padding=2)
    x = nn.functional.local_response_norm(x.clamp(min=0), 5, alpha=5e-4, beta=0.75, k=2)
    expected = nn.functional.max_pool2d(x, 3, 2)
    seen = {}
    handle = default.pool1.register_forward_hook(lambda *call: seen.update(pool1=call[2]))
    with torch.no_grad():
        default(image)
    handle.remove()
    torch.testing.assert_close(seen["pool1"], expected, rtol=1e-6, atol=1e-6)


def test_paper_weights_start_at_n_0_001_and_five_biases_at_one(paper):
    ones = {"conv2", "conv4", "conv5", "lin1", "lin2"}
    for name, layer in _weighted(paper):
        _check_normal(layer.weight, 0.01, name)
        expected = torch.ones_like(layer.bias) if name in ones else torch.zeros_like(layer.bias)
        torch.testing.assert_close(layer.bias, expected, rtol=0, atol=0, msg=name)


def test_default_weights_start_with_variance_two_over_inputs_above_a_small_first_layer(default):
    inputs = {"conv1": 2 / 0.005**2, "conv2": 2400, "conv3": 2304, "conv4": 3456, "conv5": 3456,
              "lin1": 9216, "lin2": 4096, "lin3": 4096}  # fmt: skip
    for name, layer in _weighted(default):
        _check_normal(layer.weight, math.sqrt(2 / inputs.pop(name)), name)
        assert not layer.bias.any(), name
    assert not inputs


def test_groups_keep_the_two_halves_apart(paper):
    """Silencing the second GPU's inputs of conv2, conv4 or conv5 leaves the first's outputs."""
    torch.manual_seed(4)
    for layer, apart in [(paper.conv2, True), (paper.conv3, False), (paper.conv4, True),
                         (paper.conv5, True)]:  # fmt: skip
        channels = {paper.conv2: 96, paper.conv3: 256}.get(layer, 384)
        x = torch.randn(1, channels, 5, 5)
        half = x.clone()
        half[:, channels // 2 :] = 0
        same = (layer(x) == layer(half))[:, : layer.out_channels // 2].all()
        assert bool(same) is apart


def test_ablations_leave_out_what_they_name(default):
    without = _empty(lrn=False, dropout=0.0)
    image = torch.randn(1, 3, 224, 224)
    without.load_state_dict(default.state_dict(), assign=True)
    without.train()
    torch.testing.assert_close(without(image), without(image), rtol=0, atol=0)  # nothing dropped
    assert without.drop1.p == without.drop2.p == 0
    assert not any(isinstance(m, nn.LocalResponseNorm) for m in without.modules())
    # 2^0.75 is all that the normalisation does to numbers far below one.
    default.eval()
    expected = without(1e-3 * image) / 2**1.5
    torch.testing.assert_close(default(1e-3 * image), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("name", "classes"), [("alexnet", 10), ("alexnet-paper", 1000)])
def test_build_gives_what_the_name_says(name, classes):
    with torch.device("meta"):
        model = build(name)
    assert isinstance(model, AlexNet)
    assert (model.conv2.groups, model.lin3.out_features) == (1 if classes == 10 else 2, classes)


def _weighted(model: nn.Module):
    return [(n, m) for n, m in model.named_children() if isinstance(m, nn.Conv2d | nn.Linear)]


def _check_normal(weight: torch.Tensor, std: float, name: str) -> None:
    """Standard deviation and mean within four sigmas of their estimates; tails as a normal's."""
    values = weight.detach().flatten()
    values = values[:: 1 + len(values) // 1_000_000]  # enough, and quick
    assert abs(values.std().item() / std - 1) < 4 / math.sqrt(2 * len(values)), name
    assert abs(values.mean().item()) < 4 * std / math.sqrt(len(values)), name
    beyond = (values.abs() > 2 * std).double().mean().item()
    assert abs(beyond - 0.0455) < 4 * math.sqrt(0.0455 / len(values)), name
