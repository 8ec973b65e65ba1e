"""Oracle: Simonyan and Zisserman's (2015) numbers, torchvision, and the first edition's list."""

import math

import pytest
import torch
from torch import nn
from torchvision.models import vgg16, vgg16_bn

from internals.anatomy import summarize
from internals.errors import InternalsError
from internals.models import VGG, VGG16, build, fully_convolutional

pytestmark = pytest.mark.slow

_PRINTED = """\
VGG16(
  (conv1): Conv2d(3, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu1): ReLU()
  (conv2): Conv2d(64, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu2): ReLU()
  (pool1): MaxPool2d(kernel_size=2, stride=2)
  (conv3): Conv2d(64, 128, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu3): ReLU()
  (conv4): Conv2d(128, 128, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu4): ReLU()
  (pool2): MaxPool2d(kernel_size=2, stride=2)
  (conv5): Conv2d(128, 256, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu5): ReLU()
  (conv6): Conv2d(256, 256, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu6): ReLU()
  (conv7): Conv2d(256, 256, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu7): ReLU()
  (pool3): MaxPool2d(kernel_size=2, stride=2)
  (conv8): Conv2d(256, 512, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu8): ReLU()
  (conv9): Conv2d(512, 512, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu9): ReLU()
  (conv10): Conv2d(512, 512, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu10): ReLU()
  (pool4): MaxPool2d(kernel_size=2, stride=2)
  (conv11): Conv2d(512, 512, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu11): ReLU()
  (conv12): Conv2d(512, 512, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu12): ReLU()
  (conv13): Conv2d(512, 512, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
  (relu13): ReLU()
  (pool5): MaxPool2d(kernel_size=2, stride=2)
  (avgpool): AdaptiveAvgPool2d(output_size=(7, 7))
  (fc1): Linear(in_features=25088, out_features=4096, bias=True)
  (relu14): ReLU()
  (drop1): Dropout(p=0.5, inplace=False)
  (fc2): Linear(in_features=4096, out_features=4096, bias=True)
  (relu15): ReLU()
  (drop2): Dropout(p=0.5, inplace=False)
  (fc3): Linear(in_features=4096, out_features=10, bias=True)
)"""

# configuration: parameters, convolutions; Table 2 prints 133, 133, 134, 138 and 144 million
_CONFIGURATIONS = {
    "A": (132_863_336, 8),
    "B": (133_047_848, 10),
    "C": (133_638_952, 13),
    "D": (138_357_544, 13),
    "E": (143_667_240, 16),
}

# layer: size and stride of its receptive field, first centre
_FIELDS = {
    "conv1": (3, 1, 0), "conv2": (5, 1, 0), "pool1": (6, 2, 0.5),
    "conv3": (10, 2, 0.5), "conv4": (14, 2, 0.5), "pool2": (16, 4, 1.5),
    "conv5": (24, 4, 1.5), "conv6": (32, 4, 1.5), "conv7": (40, 4, 1.5), "pool3": (44, 8, 3.5),
    "conv8": (60, 8, 3.5), "conv9": (76, 8, 3.5), "conv10": (92, 8, 3.5), "pool4": (100, 16, 7.5),
    "conv11": (132, 16, 7.5), "conv12": (164, 16, 7.5), "conv13": (196, 16, 7.5),
    "pool5": (212, 32, 15.5),
}  # fmt: skip


def _empty(network, *arguments, **options):
    """A network without numbers, for what does not depend on them."""
    with torch.device("meta"):
        return network(*arguments, **options)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    return VGG16().eval()


@pytest.fixture(scope="module")
def biased(model):
    """The same with biases, so that a lost or swapped one is seen."""
    torch.manual_seed(2)
    copied = _empty(VGG16).eval()
    copied.load_state_dict(
        {k: v if v.ndim > 1 else 0.1 * torch.randn_like(v) for k, v in model.state_dict().items()},
        assign=True,
    )
    return copied


def test_prints_the_module_list():
    assert str(_empty(VGG16)) == _PRINTED


@pytest.mark.parametrize("configuration", _CONFIGURATIONS)
def test_parameters_of_table_2(configuration):
    model = _empty(VGG, configuration)
    convolutions = [m for m in model.children() if isinstance(m, nn.Conv2d)]
    actual = sum(p.numel() for p in model.parameters()), len(convolutions)
    assert actual == _CONFIGURATIONS[configuration]
    assert [m.out_features for m in model.children() if isinstance(m, nn.Linear)] == [
        4096, 4096, 1000,
    ]  # fmt: skip


def test_configuration_c_ends_three_blocks_with_a_1_by_1_convolution():
    sizes = {n: m.kernel_size for n, m in _empty(VGG, "C").named_children() if "conv" in n}
    assert [n for n, size in sizes.items() if size == (1, 1)] == ["conv7", "conv10", "conv13"]
    assert set(sizes.values()) == {(1, 1), (3, 3)}
    shapes = {row.name: row.shape for row in summarize(_empty(VGG, "C"), (3, 224, 224))}
    assert shapes["pool5"] == (512, 7, 7)  # a 1 x 1 convolution needs no padding


def test_an_unknown_configuration_is_refused():
    with pytest.raises(InternalsError, match="unknown VGG configuration 'F'; known are A, B, C"):
        VGG("F")


def test_parameters_for_ten_classes():
    assert sum(p.numel() for p in _empty(VGG16).parameters()) == 134_301_514
    # A scale and a shift for each of the 4,224 maps.
    normalised = _empty(VGG16, batch_norm=True)
    assert sum(p.numel() for p in normalised.parameters()) == 134_301_514 + 2 * 4_224


def test_multiply_adds():
    rows = summarize(_empty(VGG, "D"), (3, 224, 224))
    linear = sum(row.multiply_adds for row in rows if row.kind == "Linear")
    total = sum(row.multiply_adds for row in rows)
    assert (total - linear, linear) == (15_346_630_656, 123_633_664)
    assert total == 15_470_264_320


def test_receptive_fields():
    fields = {row.name: row.field for row in summarize(_empty(VGG16), (3, 224, 224))}
    actual = {
        name: (fields[name].size, fields[name].stride, fields[name].start + (size - 1) / 2)
        for name, (size, *_) in _FIELDS.items()
    }
    assert actual == _FIELDS


def test_the_first_linear_layer_looks_at_404_pixels():
    dense = fully_convolutional(_empty(VGG16))
    fields = {row.name: row.field for row in summarize(dense, (3, 512, 512))}
    assert (fields["fc1"].size, fields["fc1"].stride) == (404, 32)
    assert fields["fc3"] == fields["fc1"]


def test_three_small_convolutions_see_as_far_as_a_large_one_with_fewer_weights():
    """Section 2.3: 27 C^2 weights against 49 C^2, which are 81 % more, for a field of 7 x 7."""
    model = _empty(VGG16)
    fields = {row.name: row.field for row in summarize(model, (3, 224, 224))}
    assert fields["conv13"].size - fields["pool4"].size == (7 - 1) * 16
    assert fields["conv6"].size - fields["pool2"].size == (5 - 1) * 4  # two of them: 5 x 5
    stack = sum(model.get_submodule(n).weight.numel() for n in ("conv11", "conv12", "conv13"))
    large = _empty(nn.Conv2d, 512, 512, 7).weight.numel()
    assert (stack, large) == (27 * 512**2, 49 * 512**2)
    assert round(100 * (large / stack - 1)) == 81


def test_logits_are_torchvisions(biased):
    torch.manual_seed(3)
    theirs = _empty(vgg16, num_classes=10).eval()
    names = theirs.state_dict().keys()
    weights = biased.state_dict().values()
    theirs.load_state_dict(dict(zip(names, weights, strict=True)), assign=True)
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(biased(images), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1


def test_logits_with_batch_normalisation_are_torchvisions(biased):
    torch.manual_seed(4)
    ours = _empty(VGG16, batch_norm=True).eval()
    state = {k: torch.rand(v.shape) for k, v in ours.state_dict().items() if k.startswith("bn")}
    ours.load_state_dict({**biased.state_dict(), **state}, assign=True)
    theirs = _empty(vgg16_bn, num_classes=10).eval()
    weights = ours.state_dict().values()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), weights, strict=True)), assign=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(images)
        torch.testing.assert_close(ours(images), expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1


def test_fully_convolutional_map_is_the_networks_score(biased):
    torch.manual_seed(5)
    image = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        dense = fully_convolutional(biased)(image)
        expected = biased(image)
    assert dense.shape == (1, 10, 1, 1)
    torch.testing.assert_close(dense[:, :, 0, 0], expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0.1


def test_each_position_of_the_dense_map_scores_its_own_window(biased):
    """The linear layers, slid by hand over maps one row higher and two columns wider."""
    torch.manual_seed(6)
    maps = torch.randn(1, 512, 8, 9).relu()
    dense = fully_convolutional(biased)
    head = dense[[name for name, _ in dense.named_children()].index("fc1") :]
    with torch.no_grad():
        scores = head(maps)
        for row, column in [(0, 0), (1, 0), (0, 2), (1, 2)]:
            x = maps[:, :, row : row + 7, column : column + 7].flatten(1)
            x = biased.fc2(biased.fc1(x).clamp(min=0)).clamp(min=0)
            torch.testing.assert_close(
                scores[:, :, row, column], biased.fc3(x), rtol=1e-4, atol=1e-4
            )
    assert scores.shape == (1, 10, 2, 3)


def test_fully_convolutional_leaves_the_model_and_copies_nothing(model):
    model.train()
    dense = fully_convolutional(model)
    assert not any(m.training for m in dense.modules())
    assert all(m.training for m in model.modules())
    model.eval()
    kept_files = {p.data_ptr() for p in model.parameters()}
    assert {p.data_ptr() for p in dense.parameters()} == kept_files


def test_build_gives_what_the_name_says():
    with torch.device("meta"):
        built = build("vgg16")
    assert isinstance(built, VGG16)
    assert built.fc3.out_features == 10


def test_weights_start_with_variance_two_over_inputs_but_for_the_last(model):
    inputs = {"conv1": 27, "conv2": 576, "conv3": 576, "conv4": 1152, "conv5": 1152, "fc1": 25088,
              "conv6": 2304, "conv7": 2304, "conv8": 2304, "fc2": 4096}  # fmt: skip
    for name, layer in model.named_children():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            std = 0.01 if name == "fc3" else math.sqrt(2 / inputs.get(name, 4608))
            values = layer.weight.detach().flatten()
            values = values[:: 1 + len(values) // 1_000_000]  # enough, and quick
            assert abs(values.std().item() / std - 1) < 4 / math.sqrt(2 * len(values)), name
            assert abs(values.mean().item()) < 4 * std / math.sqrt(len(values)), name
            assert not layer.bias.any(), name


def test_the_signal_keeps_its_size_where_deviations_of_001_lose_it(model):
    """He et al. (2015), section 2.2: thirteen layers of variance 2 / inputs, or of 0.0001."""
    torch.manual_seed(7)
    features = nn.Sequential(*[m for n, m in model.named_children() if n[:4] in ("conv", "relu")])
    small = {n: torch.randn_like(p) / 100 for n, p in features.named_parameters() if p.ndim == 4}
    image = torch.randn(1, 3, 24, 24)
    with torch.no_grad():
        kept_files = features(image).square().mean().sqrt()
        lost = torch.func.functional_call(features, small, image).square().mean().sqrt()
    assert 0.2 < kept_files < 2  # about 0.7 at the first rectifier, less what the borders take
    assert lost < 1e-6
