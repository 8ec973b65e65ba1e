"""Oracle: He et al. (2016), the first edition's module list, torchvision's network, identities."""

import math

import pytest
import torch
import torchvision.models as zoo
from torch import nn

from internals.anatomy import summarize
from internals.errors import ModelError
from internals.models import ResNet18, build, zero_padded

pytestmark = pytest.mark.slow

_PRINTED = """\
ResNet18(
  (conv1): Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)
  (bn1): BatchNorm2d(64)
  (relu1): ReLU()
  (pool1): MaxPool2d(kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))
  (conv2): Conv2d(64, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn2): BatchNorm2d(64)
  (relu2): ReLU()
  (conv3): Conv2d(64, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn3): BatchNorm2d(64)
  (relu3): ReLU()
  (conv4): Conv2d(64, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn4): BatchNorm2d(64)
  (relu4): ReLU()
  (conv5): Conv2d(64, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn5): BatchNorm2d(64)
  (relu5): ReLU()
  (conv6): Conv2d(64, 128, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)
  (bn6): BatchNorm2d(128)
  (relu6): ReLU()
  (conv7): Conv2d(128, 128, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn7): BatchNorm2d(128)
  (relu7): ReLU()
  (conv_proj1): Conv2d(64, 128, kernel_size=(1, 1), stride=(2, 2), bias=False)
  (bn_proj1): BatchNorm2d(128)
  (conv8): Conv2d(128, 128, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn8): BatchNorm2d(128)
  (relu8): ReLU()
  (conv9): Conv2d(128, 128, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn9): BatchNorm2d(128)
  (relu9): ReLU()
  (conv10): Conv2d(128, 256, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)
  (bn10): BatchNorm2d(256)
  (relu10): ReLU()
  (conv11): Conv2d(256, 256, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn11): BatchNorm2d(256)
  (relu11): ReLU()
  (conv_proj2): Conv2d(128, 256, kernel_size=(1, 1), stride=(2, 2), bias=False)
  (bn_proj2): BatchNorm2d(256)
  (conv12): Conv2d(256, 256, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn12): BatchNorm2d(256)
  (relu12): ReLU()
  (conv13): Conv2d(256, 256, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn13): BatchNorm2d(256)
  (relu13): ReLU()
  (conv14): Conv2d(256, 512, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)
  (bn14): BatchNorm2d(512)
  (relu14): ReLU()
  (conv15): Conv2d(512, 512, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn15): BatchNorm2d(512)
  (relu15): ReLU()
  (conv_proj3): Conv2d(256, 512, kernel_size=(1, 1), stride=(2, 2), bias=False)
  (bn_proj3): BatchNorm2d(512)
  (conv16): Conv2d(512, 512, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn16): BatchNorm2d(512)
  (relu16): ReLU()
  (conv17): Conv2d(512, 512, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
  (bn17): BatchNorm2d(512)
  (relu17): ReLU()
  (avgpool): AdaptiveAvgPool2d(output_size=(1, 1))
  (fc): Linear(in_features=512, out_features=10, bias=True)
)"""

# layers: size and stride of their receptive fields along the longest path
_FIELDS = {
    "conv1": (7, 2), "pool1": (11, 4),
    "conv2": (19, 4), "conv3": (27, 4), "conv4": (35, 4), "conv5": (43, 4),
    "conv6": (51, 8), "conv7": (67, 8), "conv8": (83, 8), "conv9": (99, 8),
    "conv10": (115, 16), "conv11": (147, 16), "conv12": (179, 16), "conv13": (211, 16),
    "conv14": (243, 32), "conv15": (307, 32), "conv16": (371, 32), "conv17": (435, 32),
    "conv_proj1": (43, 8), "conv_proj2": (99, 16), "conv_proj3": (211, 32),
}  # fmt: skip


def _on_meta(**arguments) -> ResNet18:
    """For counting: no weight is drawn."""
    with torch.device("meta"):
        return ResNet18(**arguments)


def _shaken(model: nn.Module) -> nn.Module:
    """The model in evaluation mode with random statistics, scales and shifts."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return model.eval()


def _output_of(model: nn.Module, layer: str, x: torch.Tensor) -> torch.Tensor:
    kept_files = {}
    handle = model.get_submodule(layer).register_forward_hook(
        lambda module, inputs, output: kept_files.setdefault("output", output)
    )
    with torch.no_grad():
        model(x)
    handle.remove()
    return kept_files["output"]


def test_prints_the_module_list():
    assert str(_on_meta()) == _PRINTED


@pytest.mark.parametrize(
    ("shortcut", "parameters", "multiply_adds"),
    [
        ("A", 11_515_688, 1_794_805_760),
        ("B", 11_689_512, 1_814_073_344),
        ("none", 11_515_688, 1_794_805_760),
    ],
)
def test_parameters_and_multiply_adds_with_1000_classes(shortcut, parameters, multiply_adds):
    rows = summarize(_on_meta(num_classes=1000, shortcut=shortcut), (3, 224, 224))
    assert sum(row.parameters for row in rows) == parameters
    assert sum(row.multiply_adds for row in rows) == multiply_adds


def test_parameters_with_ten_classes():
    # 11,689,512 less 990 rows of 512 weights and a bias
    assert sum(p.numel() for p in _on_meta().parameters()) == 11_181_642


def test_eighteen_weight_layers_in_sequence_and_three_projections():
    rows = summarize(_on_meta(), (3, 224, 224))
    convolutions = [row.name for row in rows if row.kind == "Conv2d"]
    assert len(convolutions) == 20
    assert [n for n in convolutions if "proj" not in n] == [f"conv{n}" for n in range(1, 18)]
    assert sum(row.kind == "Linear" for row in rows) == 1


def test_output_sizes_of_table_1():
    shapes = {row.name: row.shape for row in summarize(_on_meta(), (3, 224, 224))}
    assert shapes["conv1"] == (64, 112, 112)
    for stage, (channels, size) in enumerate([(64, 56), (128, 28), (256, 14), (512, 7)]):
        for layer in range(2 + 4 * stage, 6 + 4 * stage):
            assert shapes[f"relu{layer}"] == (channels, size, size)
    assert shapes["avgpool"] == (512, 1, 1)


@pytest.mark.parametrize("shortcut", ["A", "B", "none"])
def test_receptive_fields_along_the_longest_path(shortcut):
    rows = summarize(_on_meta(shortcut=shortcut), (3, 224, 224))
    fields = {row.name: row.field for row in rows if row.name in _FIELDS}
    assert {n: (f.size, f.stride) for n, f in fields.items()} == {
        n: field for n, field in _FIELDS.items() if shortcut == "B" or "proj" not in n
    }
    # The first unit looks at the first pixel's centre everywhere.
    assert all(field.start == -(field.size - 1) // 2 for field in fields.values())


def test_the_last_field_is_where_the_gradient_is_not_zero():
    """With positive weights and average pooling nothing can cancel or be passed over."""
    model = ResNet18().requires_grad_(False).eval()
    model.pool1 = nn.AvgPool2d(3, 2, padding=1)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.fill_(1 / module.weight[0].numel())
    image = torch.ones(1, 3, 448, 448, requires_grad=True)
    kept_files = []
    model.relu17.register_forward_hook(lambda module, inputs, output: kept_files.append(output))
    model(image)
    (gradient,) = torch.autograd.grad(kept_files[0][0, 0, 7, 7], image)
    rows, columns = (gradient[0, 0] != 0).nonzero(as_tuple=True)
    assert (rows.min(), rows.max()) == (columns.min(), columns.max()) == (7, 7 + 434)


@pytest.mark.parametrize("training", [False, True])
def test_gives_torchvisions_logits_with_torchvisions_weights(training):
    theirs = _shaken(zoo.resnet18(weights=None)).double().train(training)
    ours = ResNet18(num_classes=1000).double().train(training)
    copied = dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(copied)
    images = torch.randn(2, 3, 71, 97, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=1e-10, atol=1e-10)


def test_a_block_without_residual_is_the_identity_on_what_is_not_negative():
    model = _shaken(ResNet18()).double()
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    for before, last in [("pool1", 3), ("relu3", 5), ("relu7", 9), ("relu11", 13), ("relu15", 17)]:
        norm = getattr(model, f"bn{last}")
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
        goes_in = _output_of(model, before, images)
        comes_out = _output_of(model, f"relu{last}", images)
        assert goes_in.max() > 0
        assert torch.equal(comes_out, goes_in)


def _without_residuals(shortcut: str) -> ResNet18:
    model = _shaken(ResNet18(shortcut=shortcut)).double()
    for last in range(3, 18, 2):
        norm = getattr(model, f"bn{last}")
        nn.init.zeros_(norm.weight)
        nn.init.zeros_(norm.bias)
    nn.init.normal_(model.fc.bias)
    return model


def test_option_a_alone_carries_every_eighth_pixel_and_zero_channels():
    model = _without_residuals("A")
    images = torch.randn(2, 3, 140, 171, dtype=torch.float64)  # 35 x 43 after the pool
    pooled = _output_of(model, "pool1", images)
    means = torch.zeros(2, 512, dtype=torch.float64)
    means[:, :64] = pooled[:, :, [0, 8, 16, 24, 32]][:, :, :, [0, 8, 16, 24, 32, 40]].mean((2, 3))
    with torch.no_grad():
        torch.testing.assert_close(model(images), means @ model.fc.weight.T + model.fc.bias)


def test_nothing_goes_round_the_blocks_of_the_plain_network():
    model = _without_residuals("none")
    with torch.no_grad():
        logits = model(torch.randn(2, 3, 64, 64, dtype=torch.float64))
    torch.testing.assert_close(logits, model.fc.bias.expand(2, 10))


def test_the_plain_network_is_its_layers_one_after_the_other():
    model = _shaken(ResNet18(shortcut="none")).double()
    chain = nn.Sequential(*list(model.children())[:-1], nn.Flatten(), model.fc)
    images = torch.randn(2, 3, 65, 50, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(model(images), chain(images))


def test_zero_padding_against_loops():
    x = torch.randn(2, 3, 5, 7)
    expected = torch.zeros(2, 6, 3, 4)
    for channel in range(3):
        for row in range(3):
            for column in range(4):
                expected[:, channel, row, column] = x[:, channel, 2 * row, 2 * column]
    assert torch.equal(zero_padded(x), expected)


def test_weights_start_by_he_but_for_the_first_and_normalisation_by_nothing():
    model = ResNet18()
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach()
            expected = math.sqrt(2 / (weight.shape[0] * weight[0, 0].numel()))
            expected = 0.005 if name == "conv1" else expected
            # 4 sigmas: of n normal numbers the deviation is known to one part in sqrt 2n.
            assert abs(weight.std().item() / expected - 1) < 4 / math.sqrt(2 * weight.numel()), name
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert not module.bias.any()
    assert not model.fc.bias.any()


@pytest.mark.parametrize(
    ("name", "shortcut"), [("resnet18", "B"), ("resnet18-a", "A"), ("plain18", "none")]
)
def test_the_catalogue_knows_the_three_forms(name, shortcut):
    with torch.device("meta"):
        model = build(name, num_classes=7)
    assert (model.shortcut, model.fc.out_features) == (shortcut, 7)


def test_refuses_an_unknown_shortcut(unchecked_shapes):
    with pytest.raises(ModelError, match="unknown shortcut 'C'; known are A, B, none"):
        ResNet18(shortcut="C")
