"""Oracle: the numbers printed by LeCun et al. (1998), and explicit loops in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from internals.anatomy import connections, summarize
from internals.errors import InternalsError
from internals.models import (
    MODELS,
    TABLE_I,
    AvgPool2d,
    LeNet5,
    LeNet5Max28,
    LeNet5Softmax,
    LeNet5Variant,
    RBFOutputLayer,
    ScaledTanh,
    Subsampling,
    TableConv2d,
    bitmaps,
    build,
)
from tests.reference import lenet5_forward as reference

_PRINTED = """\
LeNet5(
  (conv1): Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))
  (tanh1): Tanh(a=1.7159, s=0.6667)
  (pool1): AvgPool2d(kernel_size=2, stride=2)
  (tanh2): Tanh(a=1.7159, s=0.6667)
  (conv2): Conv2d(6, 16, kernel_size=(5, 5), stride=(1, 1))
  (tanh3): Tanh(a=1.7159, s=0.6667)
  (pool2): AvgPool2d(kernel_size=2, stride=2)
  (tanh4): Tanh(a=1.7159, s=0.6667)
  (conv3): Conv2d(16, 120, kernel_size=(5, 5), stride=(1, 1))
  (tanh5): Tanh(a=1.7159, s=0.6667)
  (linear): Linear(in_features=120, out_features=84, bias=True)
  (tanh6): Tanh(a=1.7159, s=0.6667)
  (rbf): RBFOutputLayer()
)"""

# layer: (C1, S2, C3, S4, C5, F6, output) as section II-B prints them
_LAYERS = ("conv1", "pool1", "conv2", "pool2", "conv3", "linear", "rbf")
_PARAMETERS = (156, 12, 1_516, 32, 48_120, 10_164, 0)
_CONNECTIONS = (122_304, 5_880, 151_600, 2_000, 48_120, 10_164, 840)


def _trained_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def test_prints_the_module_list():
    assert str(LeNet5()) == _PRINTED


def test_paper_parameters_layer_by_layer():
    rows = {row.name: row for row in summarize(LeNet5(paper=True), (1, 32, 32))}
    assert tuple(rows[layer].parameters for layer in _LAYERS) == _PARAMETERS
    assert _trained_parameters(LeNet5(paper=True)) == 60_000


def test_paper_connections_layer_by_layer():
    counted = connections(LeNet5(paper=True), (1, 32, 32))
    assert tuple(counted[layer] for layer in _LAYERS) == _CONNECTIONS
    assert counted.keys() == set(_LAYERS)
    assert sum(counted.values()) == 340_908


def test_paper_multiply_adds():
    """Connections less biases and less the sums of S2 and S4, which multiply nothing."""
    rows = summarize(LeNet5(paper=True), (1, 32, 32))
    biases = 6 * 28 * 28 + 16 * 10 * 10 + 120 + 84
    by_hand = 340_908 - biases - 5_880 - 2_000
    assert sum(row.multiply_adds for row in rows) == by_hand == 326_520


def test_shapes_of_the_paper():
    shapes = {row.name: row.shape for row in summarize(LeNet5(paper=True), (1, 32, 32))}
    assert [shapes[layer] for layer in _LAYERS] == [
        (6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1), (84,), (10,),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "parameters"),
    [(LeNet5, 60_856), (LeNet5Softmax, 61_706), (LeNet5Max28, 61_706)],
)
def test_parameters_of_the_other_forms(model, parameters):
    # 60,856 = 156 + 2,416 + 48,120 + 10,164; with ten logits 850 more.
    assert _trained_parameters(model()) == parameters


def test_the_28_pixel_form_gives_ten_logits_for_an_unpadded_digit():
    model = LeNet5Max28(activation=nn.Sigmoid)
    assert sum(isinstance(m, nn.Sigmoid) for m in model.modules()) == 4
    rows = {row.name: row.shape for row in summarize(model, (1, 28, 28))}
    assert rows["pool1"] == (6, 14, 14)
    assert rows["pool2"] == (16, 5, 5)
    assert rows["linear3"] == (10,)


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("lenet5")])
def test_build_gives_what_the_name_says(name):
    torch.manual_seed(5)
    built = build(name)
    torch.manual_seed(5)
    direct = {
        "lenet5": LeNet5,
        "lenet5-paper": lambda: LeNet5(paper=True),
        "lenet5-softmax": LeNet5Softmax,
        "lenet5-variant": LeNet5Variant,
        "lenet5-28": LeNet5Max28,
    }[name]()
    for (key, ours), (_, theirs) in zip(
        built.state_dict().items(), direct.state_dict().items(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, msg=key)


def test_build_refuses_an_unknown_name():
    with pytest.raises(InternalsError, match="unknown network 'lenet6'; known are lenet5"):
        build("lenet6")


def test_weights_start_uniform_within_the_bounds_of_appendix_a():
    model = LeNet5(paper=True)
    bounds = {"conv1": 0.096, "conv3": 0.006, "linear": 0.02}
    for layer, bound in bounds.items():
        weight, bias = getattr(model, layer).weight, getattr(model, layer).bias
        _check_uniform(weight, bound)
        assert bias.abs().max() <= bound, layer
        assert bias.abs().max() > bound / 2, layer
    for layer in ("pool1", "pool2"):
        part = getattr(model, layer)
        assert max(part.coefficient.abs().max(), part.bias.abs().max()) <= 0.6
    drawn = torch.cat([p for m in (model.pool1, model.pool2) for p in m.parameters()])
    assert drawn.abs().max() > 0.4


def test_kernels_of_c3_start_within_the_bounds_of_their_own_unit():
    weight, kernel = LeNet5(paper=True).conv2.weight.detach(), 0
    for sizes, inputs, bound in [(6, 3, 0.032), (9, 4, 0.024), (1, 6, 0.016)]:
        _check_uniform(weight[kernel : kernel + sizes * inputs], bound)
        kernel += sizes * inputs
    assert kernel == 60


def test_default_c3_starts_within_the_bound_of_150_inputs():
    _check_uniform(LeNet5().conv2.weight, 2.4 / 150)


def _check_uniform(weight: torch.Tensor, bound: float) -> None:
    """Of U(-b, b) the standard deviation is b / sqrt 3; 4 sigmas of its estimate are allowed."""
    values = weight.detach().double().flatten()
    assert values.abs().max() <= bound * (1 + 1e-6)
    assert values.abs().max() > 0.9 * bound
    expected = bound / math.sqrt(3)
    slack = 4 * expected * math.sqrt(0.2 / len(values))  # kurtosis 1.8: (1.8 - 1) / 4 / n
    assert abs(values.std().item() - expected) < slack
    assert abs(values.mean().item()) < 4 * expected / math.sqrt(len(values))


@pytest.mark.parametrize("model", [LeNet5Softmax, LeNet5Max28])
def test_variants_start_by_glorot_and_he(model):
    for module in model().modules():
        if not isinstance(module, nn.Conv2d | nn.Linear):
            continue
        window = module.weight[0, 0].numel()
        reads, feeds = module.weight.shape[1] * window, module.weight.shape[0] * window
        glorot = 5 / 3 * math.sqrt(2 / (reads + feeds))
        expected = glorot if model is LeNet5Softmax else math.sqrt(2 / reads)
        actual = module.weight.detach().std().item()
        assert abs(actual / expected - 1) < 4 / math.sqrt(2 * module.weight.numel())
        assert not module.bias.any()


def test_bitmaps_are_codes_of_plus_and_minus_one_well_apart():
    codes = bitmaps().numpy()
    assert codes.shape == (10, 84)
    assert set(np.unique(codes)) == {-1.0, 1.0}
    apart = [int((codes[i] != codes[j]).sum()) for i in range(10) for j in range(i + 1, 10)]
    assert min(apart) >= 8  # even the nearest drawings differ in eight dots: penalty 32
    glyph_one = codes[1].reshape(12, 7)
    assert glyph_one[0].tolist() == [-1, -1, -1, 1, 1, -1, -1]
    assert (glyph_one[11] == -1).all()  # the paper line at the foot


def test_prototypes_are_fixed():
    model = LeNet5()
    assert not model.rbf.prototypes.requires_grad
    assert "rbf.prototypes" in model.state_dict()
    assert "rbf.prototypes" not in dict(model.named_parameters())


# The layers


def test_table_i_as_the_paper_describes_it():
    sizes = [len(row) for row in TABLE_I]
    assert sizes == [3] * 6 + [4] * 9 + [6]
    assert all(row == tuple(sorted(set(row))) for row in TABLE_I)
    for source in range(6):
        assert sum(source in row for row in TABLE_I) == 10
    for unit in range(6):  # contiguous, going round
        assert set(TABLE_I[unit]) == {(unit + step) % 6 for step in range(3)}
        assert set(TABLE_I[6 + unit]) == {(unit + step) % 6 for step in range(4)}
    assert TABLE_I[12:15] == ((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5))
    assert TABLE_I[15] == (0, 1, 2, 3, 4, 5)


def _table_and_dense() -> tuple[TableConv2d, nn.Conv2d, torch.Tensor]:
    """A `TableConv2d` and a dense convolution with the same kernels and zeros between."""
    sparse = TableConv2d(TABLE_I, 6, 5).double()
    nn.init.normal_(sparse.weight)
    nn.init.normal_(sparse.bias)
    dense = nn.Conv2d(6, 16, 5).double()
    exists = torch.zeros(16, 6, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        dense.weight.zero_()
        dense.bias.copy_(sparse.bias)
        kernel = 0
        for to, row in enumerate(TABLE_I):
            for source in row:
                dense.weight[to, source] = sparse.weight[kernel]
                exists[to, source] = 1
                kernel += 1
    return sparse, dense, exists


def test_table_convolution_is_a_dense_one_with_zeroed_kernels():
    sparse, dense, exists = _table_and_dense()
    x = torch.randn(3, 6, 11, 13, dtype=torch.float64)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    left, right = sparse(ours), dense(theirs)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    weights = torch.randn_like(left)
    (left * weights).sum().backward()
    (right * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(sparse.bias.grad, dense.bias.grad, rtol=1e-12, atol=1e-12)
    kept_files = (dense.weight.grad * exists)[exists.flatten(1).bool()]
    torch.testing.assert_close(sparse.weight.grad, kept_files, rtol=1e-12, atol=1e-12)


def test_subsampling_by_explicit_loops():
    layer = Subsampling(3).double()
    nn.init.normal_(layer.coefficient)
    nn.init.normal_(layer.bias)
    maps = torch.randn(3, 10, 14, dtype=torch.float64)
    expected = reference.subsampling(
        maps.numpy(), layer.coefficient.detach().numpy(), layer.bias.detach().numpy()
    )
    actual = layer(maps.unsqueeze(0)).detach().numpy()[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-13)


@given(st.floats(-20, 20, allow_nan=False))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_scaled_tanh_by_exponentials_and_odd(number):
    f = ScaledTanh()
    value = f(torch.tensor(number, dtype=torch.float64)).item()
    assert math.isclose(value, reference.scaled_tanh(number), rel_tol=1e-12, abs_tol=1e-15)
    assert f(torch.tensor(-number, dtype=torch.float64)).item() == -value


def test_scaled_tanh_facts_of_appendix_a():
    f = ScaledTanh()
    at = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    values = f(at)
    slopes = torch.autograd.grad(values.sum(), at)[0]
    assert abs(values[0].item() - 0.9999973) < 5e-8
    assert abs(slopes[0].item() - 0.7554) < 5e-5
    assert abs(slopes[1].item() - 1.14393) < 5e-6


def test_scaled_tanh_bends_most_near_one():
    x = torch.linspace(0.9, 1.1, 20_001, dtype=torch.float64, requires_grad=True)
    first = torch.autograd.grad(ScaledTanh()(x).sum(), x, create_graph=True)[0]
    second = torch.autograd.grad(first.sum(), x)[0]
    sharpest = x[second.abs().argmax()].item()
    assert abs(sharpest - math.atanh(1 / math.sqrt(3)) * 1.5) < 2e-5
    assert abs(sharpest - 0.98772) < 2e-5


def test_rbf_by_explicit_loops():
    layer = RBFOutputLayer()
    states = torch.randn(4, 84, dtype=torch.float64) * 1.2
    expected = reference.squared_distances(
        states.numpy(), layer.prototypes.numpy().astype(np.float64)
    )
    np.testing.assert_allclose(layer(states.float()).numpy(), expected, rtol=2e-6)
    np.testing.assert_allclose(layer.double()(states).numpy(), expected, rtol=1e-13)


def test_rbf_keeps_its_precision_under_bfloat16_autocast():
    layer = RBFOutputLayer()
    exact = torch.randn(4, 84).bfloat16()
    expected = reference.squared_distances(exact.double().numpy(), layer.prototypes.numpy())
    with torch.autocast("cpu", torch.bfloat16):
        actual = layer(exact)
    assert actual.dtype == torch.float32
    np.testing.assert_allclose(actual.numpy(), expected, rtol=2e-6)


def test_rbf_is_zero_at_its_own_prototype_and_four_a_dot_elsewhere():
    layer = RBFOutputLayer()
    actual = layer(layer.prototypes)
    dots = (layer.prototypes.unsqueeze(1) != layer.prototypes).sum(2)
    torch.testing.assert_close(actual, 4.0 * dots, rtol=0, atol=0)


def test_average_pooling_is_torchs():
    x = torch.randn(2, 3, 7, 9)
    torch.testing.assert_close(
        AvgPool2d(kernel_size=2, stride=2)(x), functional.avg_pool2d(x, 2, 2), rtol=0, atol=0
    )
