"""Oracle: the tables of Howard et al. (2017), the first edition's module list, loops in NumPy."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from internals.anatomy import summarize
from internals.errors import ModelError
from internals.models import MobileNet, build, depthwise

pytestmark = pytest.mark.slow

_PRINTED_FIRST = """\
MobileNet(
  (conv1): Conv2d(3, 32, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)
  (bn1): BatchNorm2d(32)
  (relu1): ReLU()
  (conv2): Conv2d(32, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), groups=32, bias=False)
  (bn2): BatchNorm2d(32)
  (relu2): ReLU()
  (conv3): Conv2d(32, 64, kernel_size=(1, 1), stride=(1, 1), padding=(0, 0), bias=False)
  (bn3): BatchNorm2d(64)
  (relu3): ReLU()
  (conv4): Conv2d(64, 64, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), groups=64, bias=False)
  (bn4): BatchNorm2d(64)
  (relu4): ReLU()
  (conv5): Conv2d(64, 128, kernel_size=(1, 1), stride=(1, 1), padding=(0, 0), bias=False)
  (bn5): BatchNorm2d(128)
  (relu5): ReLU()
"""
_PRINTED_LAST = """
  (conv26): Conv2d(1024, 1024, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), \
groups=1024, bias=False)
  (bn26): BatchNorm2d(1024)
  (relu26): ReLU()
  (conv27): Conv2d(1024, 1024, kernel_size=(1, 1), stride=(1, 1), padding=(0, 0), bias=False)
  (bn27): BatchNorm2d(1024)
  (relu27): ReLU()
  (avgpool): AdaptiveAvgPool2d(output_size=(1, 1))
  (fc): Linear(in_features=1024, out_features=10, bias=True)
)"""

# Table 1 row by row: (channels out, map size out) at 224 pixels; the rows alternate between
# depthwise and pointwise after the first. The stride of the last depthwise row is 1 (its map says).
_TABLE_1 = [
    (32, 112),
    (32, 112), (64, 112), (64, 56), (128, 56), (128, 56), (128, 56), (128, 28), (256, 28),
    (256, 28), (256, 28), (256, 14), (512, 14), (512, 14), (512, 14), (512, 14), (512, 14),
    (512, 14), (512, 14), (512, 14), (512, 14), (512, 14), (512, 14), (512, 7), (1024, 7),
    (1024, 7), (1024, 7),
]  # fmt: skip

# the number of a convolution: size and stride of its receptive field; pointwise as depthwise
_FIELDS = {
    1: (3, 2), 2: (7, 2), 4: (11, 4), 6: (19, 4), 8: (27, 8), 10: (43, 8), 12: (59, 16),
    14: (91, 16), 16: (123, 16), 18: (155, 16), 20: (187, 16), 22: (219, 16), 24: (251, 32),
    26: (315, 32),
}  # fmt: skip


def _on_meta(*args, **arguments) -> MobileNet:
    """For counting: no weight is drawn."""
    with torch.device("meta"):
        return MobileNet(*args, **arguments)


def _counts(model: nn.Module, size: int = 224) -> tuple[int, int]:
    rows = summarize(model, (3, size, size))
    return sum(row.parameters for row in rows), sum(row.multiply_adds for row in rows)


def test_prints_the_module_list():
    # torch leaves out a padding of zero, which the first edition prints
    first, last = (s.replace(", padding=(0, 0)", "") for s in (_PRINTED_FIRST, _PRINTED_LAST))
    printed = str(_on_meta())
    assert printed.startswith(first)
    assert printed.endswith(last)
    names = [name for name, _ in _on_meta().named_children()]
    in_between = [f"{kind}{number}" for number in range(1, 28) for kind in ("conv", "bn", "relu")]
    assert names == [*in_between, "avgpool", "fc"]


def test_channels_and_map_sizes_of_table_1():
    rows = summarize(_on_meta(1000), (3, 224, 224))
    shapes = [row.shape for row in rows if row.kind == "Conv2d"]
    assert shapes == [(channels, size, size) for channels, size in _TABLE_1]
    assert [row.shape for row in rows[-2:]] == [(1024, 1, 1), (1000,)]


@pytest.mark.parametrize(
    ("arguments", "size", "parameters", "multiply_adds"),
    [
        ({}, 224, 4_231_976, 568_740_352),  # table 4: 4.2 M, 569 M
        ({"separable": False}, 224, 29_294_088, 4_867_293_184),  # table 4: 29.3 M, 4866 M
        ({"shallow": True}, 224, 2_887_976, 307_323_392),  # table 5: 2.9 M, 307 M
        ({"width": 0.75}, 224, 2_585_560, 325_400_448),  # table 6: 2.6 M, 325 M
        ({"width": 0.5}, 224, 1_331_592, 149_497_088),  # table 6: 1.3 M, 149 M
        ({"width": 0.25}, 224, 470_072, 41_030_272),  # table 6: 0.5 M, 41 M
        ({}, 192, 4_231_976, 418_121_728),  # table 7: 418 M
        ({}, 160, 4_231_976, 290_675_200),  # table 7: 290 M
        ({}, 128, 4_231_976, 186_400_768),  # table 7: 186 M
    ],
    ids=str,
)
def test_counts_of_tables_4_to_7(arguments, size, parameters, multiply_adds):
    assert _counts(_on_meta(1000, **arguments), size) == (parameters, multiply_adds)


def test_parameters_with_ten_classes():
    assert _counts(_on_meta())[0] == 3_217_226


def test_the_smaller_network_of_table_9():
    """0.50 MobileNet-160: 1.32 M parameters and 76 M multiply-adds."""
    parameters, multiply_adds = _counts(_on_meta(1000, width=0.5), 160)
    assert abs(parameters / 1.32e6 - 1) < 0.01
    assert round(multiply_adds / 1e6) in (76, 77)


def test_shares_of_table_2():
    """1 x 1, depthwise, the 3 x 3 and the linear layer; the paper's 1.19 % must read 1.91 %."""
    model = _on_meta(1000)
    kinds = {"conv1": 2, "fc": 3}
    products, weights = [0] * 4, [0] * 4
    for row in summarize(model, (3, 224, 224)):
        if row.kind in ("Conv2d", "Linear"):
            layer = model.get_submodule(row.name)
            kind = kinds.get(row.name, 1 if depthwise(layer) else 0)
            products[kind] += row.multiply_adds
            weights[kind] += layer.weight.numel()
    assert [round(100 * n / sum(products), 2) for n in products] == [94.86, 3.06, 1.91, 0.18]
    assert weights == [3_139_584, 44_640, 864, 1_024_000]
    assert [round(100 * n / sum(weights), 2) for n in weights] == [74.59, 1.06, 0.02, 24.33]


def test_one_layer_as_in_table_3():
    """3 x 3 x 512 filters on 512 maps of 14 x 14: in full, separated, narrower, smaller."""
    full, separable, narrow = {"separable": False}, {}, {"width": 0.75}
    forms = [
        (full, 224, ["conv8"]),  # the seventh block of each
        (separable, 224, ["conv14", "conv15"]),
        (narrow, 224, ["conv14", "conv15"]),
        (narrow, 160, ["conv14", "conv15"]),
    ]
    actual = []
    for arguments, size, names in forms:
        summary = summarize(_on_meta(**arguments), (3, size, size))
        rows = [row for row in summary if row.name in names]
        weights = sum(row.parameters for row in rows)
        actual.append((sum(row.multiply_adds for row in rows) / 1e6, weights / 1e6))
    assert [(round(m, 2), round(w, 2)) for m, w in actual] == [
        (462.42, 2.36), (52.28, 0.27), (29.58, 0.15), (15.09, 0.15),
    ]  # fmt: skip


def test_each_block_costs_the_share_of_its_full_convolution_that_equation_5_says():
    """1 / N + 1 / 9 for N filters, exactly, whatever the stride."""
    separable = {row.name: row.multiply_adds for row in summarize(_on_meta(), (3, 224, 224))}
    full = summarize(_on_meta(separable=False), (3, 224, 224))
    blocks = [row for row in full if row.kind == "Conv2d"][1:]
    assert len(blocks) == 13
    for block, row in enumerate(blocks, start=1):
        pair = separable[f"conv{2 * block}"] + separable[f"conv{2 * block + 1}"]
        assert Fraction(pair, row.multiply_adds) == Fraction(1, row.shape[0]) + Fraction(1, 9)


def test_depthwise_layers_are_the_even_ones():
    model = _on_meta()
    actual = {name: m for name, m in model.named_modules() if depthwise(m)}
    assert list(actual) == [f"conv{number}" for number in range(2, 27, 2)]
    assert sum(p.numel() for m in actual.values() for p in m.parameters()) == 44_640


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv2d(6, 12, 3, groups=6), True),  # two filters a channel
        (nn.Conv2d(6, 6, 3, groups=3), False),
        (nn.Conv2d(1, 6, 3), False),
        (nn.Linear(6, 6), False),
    ],
    ids=str,
)
def test_depthwise_means_one_channel_of_several(module, expected):
    assert depthwise(module) is expected


def test_receptive_fields():
    rows = {row.name: row.field for row in summarize(_on_meta(), (3, 224, 224))}
    for number, (size, stride) in _FIELDS.items():
        for layer in (number, number + 1 if number > 1 else number):
            field = rows[f"conv{layer}"]
            assert (field.size, field.stride, field.start) == (size, stride, -(size - 1) // 2)


def test_the_last_field_is_where_the_gradient_is_not_zero():
    """With positive weights nothing can cancel."""
    model = MobileNet(width=0.25).requires_grad_(False).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.fill_(1 / module.weight[0].numel())
    image = torch.ones(1, 3, 352, 352, requires_grad=True)
    kept_files = []
    model.relu27.register_forward_hook(lambda module, inputs, output: kept_files.append(output))
    model(image)
    (gradient,) = torch.autograd.grad(kept_files[0][0, 0, 5, 5], image)
    rows, columns = (gradient[0, 0] != 0).nonzero(as_tuple=True)
    start = 5 * 32 - 157
    assert (rows.min(), rows.max()) == (columns.min(), columns.max()) == (start, start + 314)


_NORM = ("running_mean", "running_var", "weight", "bias")


def _convolve(x: np.ndarray, weight: np.ndarray, stride: int, one_channel: bool) -> np.ndarray:
    """One image (c, h, w), padded by half the kernel, tap by tap and filter by filter."""
    filters, _, kernel, _ = weight.shape
    half = kernel // 2
    padded = np.pad(x, ((0, 0), (half, half), (half, half)))
    height, width = ((side - 1) // stride + 1 for side in x.shape[1:])
    out = np.zeros((filters, height, width))
    for f in range(filters):
        seen = padded[f : f + 1] if one_channel else padded
        for row in range(height):
            for column in range(width):
                top, left = row * stride, column * stride
                window = seen[:, top : top + kernel, left : left + kernel]
                out[f, row, column] = (window * weight[f]).sum()
    return out


def test_logits_against_loops():
    """The strides are those of table 1, of its depthwise rows at the halvings of the map."""
    model = MobileNet(num_classes=7, width=0.25).double().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    nn.init.normal_(model.fc.bias)
    image = torch.randn(3, 35, 23, dtype=torch.float64)
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}

    x = image.numpy()
    for number in range(1, 28):
        stride = 2 if number in (1, 4, 8, 12, 24) else 1
        x = _convolve(x, state[f"conv{number}.weight"], stride, one_channel=number % 2 == 0)
        norm = {part: state[f"bn{number}.{part}"][:, None, None] for part in _NORM}
        x = (x - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
        x = np.maximum(x * norm["weight"] + norm["bias"], 0)
    expected = state["fc.weight"] @ x.mean((1, 2)) + state["fc.bias"]

    with torch.no_grad():
        actual = model(image.unsqueeze(0))[0].numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def test_weights_start_by_he_and_normalisation_by_nothing():
    """Each unit of a depthwise convolution reads nine inputs, of a pointwise one all channels."""
    model = MobileNet()
    for number, (channels, _) in enumerate(_TABLE_1, start=1):
        weight = getattr(model, f"conv{number}").weight.detach()
        before = _TABLE_1[number - 2][0] if number > 1 else 27
        inputs = 9 if number % 2 == 0 else before
        assert weight.shape[0] == channels
        # 4 sigmas: of n normal numbers the deviation is known to one part in sqrt 2n.
        slack = 4 / math.sqrt(2 * weight.numel())
        spread = 0.01 if number == 1 else math.sqrt(2 / inputs)
        assert abs(weight.std().item() / spread - 1) < slack, number
        norm = getattr(model, f"bn{number}")
        assert (norm.weight == 1).all()
        assert not norm.bias.any()
    assert not model.fc.bias.any()


def test_the_catalogue_knows_it():
    with torch.device("meta"):
        model = build("mobilenet", num_classes=7, width=0.5)
    assert (type(model), model.fc.in_features, model.fc.out_features) == (MobileNet, 512, 7)


def test_refuses_a_width_that_leaves_nothing():
    with pytest.raises(ModelError, match=r"width=0\.01 leaves no channel; the paper's are"):
        MobileNet(width=0.01)
