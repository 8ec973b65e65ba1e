"""Oracle: table 1 of Szegedy et al. (2015), torchvision's wiring, and the gradient's support."""

import re

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from internals.anatomy import clip, summarize, trace
from internals.errors import LayerError, ModelError
from internals.models import AuxiliaryHead, InceptionNet

pytestmark = pytest.mark.slow

SIZE = (3, 224, 224)

_PRINTED = """\
(conv1): Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3))
(bn1): BatchNorm2d(64)
(relu1): ReLU()
(maxpool1): MaxPool2d(kernel_size=3, stride=2, padding=1)
(conv2): Conv2d(64, 64, kernel_size=(1, 1))
(bn2): BatchNorm2d(64)
(relu2): ReLU()
(conv3): Conv2d(64, 192, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
(bn3): BatchNorm2d(192)
(relu3): ReLU()
(maxpool2): MaxPool2d(kernel_size=3, stride=2, padding=1)
[Inception 3a module with 256 output channels]
[Inception 3b module with 480 output channels]
(maxpool3): MaxPool2d(kernel_size=3, stride=2, padding=1)
[Inception 4a module with 512 output channels]
[Inception 4b module with 512 output channels]
[Inception 4c module with 512 output channels]
[Inception 4d module with 528 output channels]
[Inception 4e module with 832 output channels]
(maxpool4): MaxPool2d(kernel_size=3, stride=2, padding=1)
[Inception 5a module with 832 output channels]
[Inception 5b module with 1024 output channels]
(avgpool): AdaptiveAvgPool2d(output_size=(1, 1))
(dropout): Dropout(p=0.5, inplace=False)
(fc): Linear(in_features=1024, out_features=10, bias=True)"""

# What stands before an argument: the bracket after the class, or a comma that is in no pair.
_ARGUMENT = re.compile(r"(?<=\w)\(|, (?![^(]*\))")

# Table 1: what the module reads, its six widths, what it puts out, side of its grid, and the
# millions of operations that it prints (5a's 54 does not follow from its own widths).
_TABLE_1 = {
    "3a": (192, (64, 96, 128, 16, 32, 32), 256, 28, 128),
    "3b": (256, (128, 128, 192, 32, 96, 64), 480, 28, 304),
    "4a": (480, (192, 96, 208, 16, 48, 64), 512, 14, 73),
    "4b": (512, (160, 112, 224, 24, 64, 64), 512, 14, 88),
    "4c": (512, (128, 128, 256, 24, 64, 64), 512, 14, 100),
    "4d": (512, (112, 144, 288, 32, 64, 64), 528, 14, 119),
    "4e": (528, (256, 160, 320, 32, 128, 128), 832, 14, 170),
    "5a": (832, (256, 160, 320, 32, 128, 128), 832, 7, None),
    "5b": (832, (384, 192, 384, 48, 128, 128), 1024, 7, 71),
}
# Millions of multiply-adds, from the widths by hand: 128.05 = 163,328 weights x 28 x 28.
_MILLIONS = (128.0, 304.3, 73.6, 87.9, 99.9, 118.5, 170.0, 51.1, 70.7)
_BRANCHES = ("conv1x1", "conv3x3_reduce", "conv3x3", "conv5x5_reduce", "conv5x5", "conv_proj")

# Fields of 1x1, of 3x3 and projection, of 5x5 and the module, and strides (Araujo et al., eq. 2).
_FIELDS = {
    "3a": (27, 43, 59, 8), "3b": (59, 75, 91, 8), "4a": (107, 139, 171, 16),
    "4b": (171, 203, 235, 16), "4c": (235, 267, 299, 16), "4d": (299, 331, 363, 16),
    "4e": (363, 395, 427, 16), "5a": (459, 523, 587, 32), "5b": (587, 651, 715, 32),
}  # fmt: skip
_STEM_FIELDS = {
    "conv1": (7, 2), "maxpool1": (11, 4), "conv2": (11, 4), "conv3": (19, 4), "maxpool2": (27, 8),
    "maxpool3": (107, 16), "maxpool4": (459, 32),
}  # fmt: skip


@pytest.fixture(scope="module")
def paper():
    return InceptionNet(1000, paper=True, auxiliary=True).eval()


@pytest.fixture(scope="module")
def rows(paper):
    return {row.name: row for row in summarize(paper, SIZE)}


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_reads_like_the_first_editions_list():
    model = InceptionNet()
    shapes = trace(model, SIZE)
    listed = [
        f"[Inception {name[-2:]} module with {shapes[name].shape[1]} output channels]"
        if name.startswith("inception")
        else f"({name}): {child}"
        for name, child in model.named_children()
    ]
    for ours, theirs in zip(listed, _PRINTED.splitlines(), strict=True):
        here, location = (_ARGUMENT.split(line.removesuffix(")")) for line in (ours, theirs))
        assert _unnamed(here) == _unnamed(location)
        # The old list leaves out some arguments; each that it has must be ours.
        assert set(location) <= set(here)


def _unnamed(parts: list[str]) -> list[str]:
    return [part for part in parts if "=" not in part]


def test_parameters(paper):
    assert _count(InceptionNet()) == 5_998_362
    heads = _count(paper.auxiliary4a), _count(paper.auxiliary4d)
    assert heads == (3_188_840, 3_190_888)
    assert _count(paper) - sum(heads) == 6_998_552  # Caffe's number as well
    assert _count(InceptionNet(paper=True)) == 5_983_802
    # Batch normalisation's share: a scale and a shift for each channel of each convolution.
    channels = sum(m.out_channels for m in paper.modules() if isinstance(m, nn.Conv2d)) - 2 * 128
    assert 2 * channels == 5_998_362 - 5_983_802


def test_the_paper_has_lrn_and_no_batch_normalisation(paper):
    names = [name for name, _ in paper.named_children()]
    assert names[names.index("maxpool1") + 1] == "lrn1"
    assert names[names.index("relu3") + 1] == "lrn2"
    assert not any(isinstance(m, nn.BatchNorm2d) for m in paper.modules())
    assert paper.dropout.p == 0.4
    convolutions = [m for m in InceptionNet().modules() if isinstance(m, nn.Conv2d)]
    assert all(conv.bias is not None for conv in convolutions)


def test_widths_grids_and_operations_of_table_1(rows):
    for (module, (inputs, widths, outputs, grid, printed)), millions in zip(
        _TABLE_1.items(), _MILLIONS, strict=True
    ):
        convs = [rows[f"inception{module}.{branch}"] for branch in _BRANCHES]
        assert tuple(row.shape for row in convs) == tuple((w, grid, grid) for w in widths), module
        assert widths[0] + widths[2] + widths[4] + widths[5] == outputs
        ones, reduce3, threes, reduce5, fives, projection = widths
        weights = inputs * (ones + reduce3 + reduce5 + projection)
        weights += 9 * reduce3 * threes + 25 * reduce5 * fives
        assert sum(row.parameters for row in convs) == weights + sum(widths), module
        counted = sum(row.multiply_adds for row in convs)
        assert counted == weights * grid**2
        assert round(counted / 1e6, 1) == millions
        assert printed is None or abs(counted / 1e6 - printed) < 1, module


def test_operations_in_all(rows):
    assert sum(row.multiply_adds for row in rows.values()) == 1_582_671_872
    default = summarize(InceptionNet(), SIZE)
    assert sum(row.multiply_adds for row in default) == 1_581_658_112


def test_grids_halve_five_times(rows):
    names = ("conv1", "maxpool1", "maxpool2", "maxpool3", "maxpool4", "avgpool")
    assert [rows[name].shape[1] for name in names] == [112, 56, 28, 14, 7, 1]


def test_depth_in_layers_with_weights():
    """The longest path through autograd's own record of the pass: 22, as the title of section 5."""
    model = InceptionNet().eval()
    actual: dict[object, int] = {}

    def depth(node) -> int:
        if node not in actual:
            before = [depth(source) for source, _ in node.next_functions if source is not None]
            weighs = node.name().startswith(("ConvolutionBackward", "AddmmBackward"))
            actual[node] = max(before, default=0) + weighs
        return actual[node]

    assert depth(model(torch.zeros(1, 3, 32, 32)).grad_fn) == 22
    assert sum(node.name().startswith("ConvolutionBackward") for node in actual) == 57


def test_the_third_branch_looks_at_five_pixels(paper):
    """torchvision's looks at three, an error of its port."""
    theirs = torchvision.models.googlenet(aux_logits=False, init_weights=False)
    for module in _TABLE_1:
        assert getattr(paper, f"inception{module}").conv5x5.kernel_size == (5, 5)
        assert getattr(theirs, f"inception{module}").branch3[1].conv.kernel_size == (3, 3)


class LocalResponse(nn.Module):
    """Krizhevsky et al.'s formula channel by channel, with Caffe's constants."""

    def forward(self, x):
        count, out = x.shape[1], torch.empty_like(x)
        for channel in range(count):
            near = x[:, max(0, channel - 2) : min(count, channel + 3)]
            out[:, channel] = x[:, channel] / (1 + 1e-4 / 5 * (near**2).sum(1)) ** 0.75
        return out


def _their_block(theirs: nn.Module, layer: str) -> nn.Module:
    """torchvision's convolution with what follows it, at our `layer`."""
    if "." not in layer:
        return getattr(theirs, layer)
    module, conv = layer.split(".")
    module = getattr(theirs, module)
    return {
        "conv1x1": module.branch1,
        "conv3x3_reduce": module.branch2[0],
        "conv3x3": module.branch2[1],
        "conv5x5_reduce": module.branch3[0],
        "conv5x5": module.branch3[1],
        "conv_proj": module.branch4[1],
    }[conv]


def _torchvision_with_weights_of(ours: nn.Module, *, paper: bool) -> nn.Module:
    """torchvision's googlenet, its 5x5 branch and its pools mended, computing what ours should."""
    theirs = torchvision.models.googlenet(aux_logits=False, init_weights=False, num_classes=10)
    pools = [nn.MaxPool2d(3, 2, padding=1) for _ in range(4)]
    if paper:
        pools[0] = nn.Sequential(pools[0], LocalResponse())
        pools[1] = nn.Sequential(LocalResponse(), pools[1])
    theirs.maxpool1, theirs.maxpool2, theirs.maxpool3, theirs.maxpool4 = pools
    theirs.double().eval()
    for layer in InceptionNet.numbered.values():
        conv, block = ours.get_submodule(layer), _their_block(theirs, layer)
        side = conv.kernel_size[0]
        block.conv = nn.Conv2d(
            conv.in_channels, conv.out_channels, side, block.conv.stride, side // 2, bias=paper
        ).double()
        block.conv.weight = conv.weight
        if paper:
            block.conv.bias, block.bn = conv.bias, nn.Identity()
            continue
        ahead, _, name = layer.rpartition(".")
        normed = ours.get_submodule(f"{ahead}.{name.replace('conv', 'bn')}".lstrip("."))
        block.bn.load_state_dict(normed.state_dict())
        block.bn.eps = normed.eps
        # A bias before the normalisation is one that its running mean lacks.
        block.bn.running_mean -= conv.bias
    theirs.fc = ours.fc
    return theirs


@pytest.mark.parametrize("paper", [False, True])
@torch.no_grad()
def test_the_wiring_is_torchvisions(paper):
    ours = InceptionNet(paper=paper).double().eval()
    for module in ours.modules():
        if isinstance(module, nn.Conv2d):
            module.bias.uniform_(-1, 1)
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.3, 0.5)
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    theirs = _torchvision_with_weights_of(ours, paper=paper)
    images = 200 * torch.randn(2, 3, 71, 67, dtype=torch.float64)  # loud enough for LRN to matter
    actual = ours(images)
    assert actual.std() > 1e-3
    torch.testing.assert_close(actual, theirs(images), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_an_auxiliary_head_window_by_window():
    head = AuxiliaryHead(512, 10).double().eval()
    maps = torch.randn(2, 512, 14, 14, dtype=torch.float64)
    pooled = torch.stack(
        [
            torch.stack([maps[:, :, y : y + 5, x : x + 5].mean((2, 3)) for x in (0, 3, 6, 9)], -1)
            for y in (0, 3, 6, 9)
        ],
        dim=-2,
    )
    assert pooled.shape == (2, 512, 4, 4)
    squeezed = torch.einsum("oc,ncyx->noyx", head.conv.weight[:, :, 0, 0], pooled)
    squeezed = (squeezed + head.conv.bias.view(1, -1, 1, 1)).clamp(min=0).reshape(2, 2048)
    hidden = (squeezed @ head.fc1.weight.T + head.fc1.bias).clamp(min=0)
    torch.testing.assert_close(head(maps), hidden @ head.fc2.weight.T + head.fc2.bias)
    assert head.dropout.p == 0.7


def test_heads_read_4a_and_4d_in_training_and_are_silent_otherwise(paper):
    leaves = {m: n for n, m in paper.named_modules() if next(m.children(), None) is None}
    called, maps, handles = [], {}, []
    for module in [*leaves, paper.inception4a, paper.inception4d]:
        handles.append(
            module.register_forward_hook(
                lambda m, _i, out: (
                    called.append(leaves[m]) if m in leaves else maps.update({m: out})
                )
            )
        )
    image = torch.randn(1, *SIZE)
    try:
        paper.train()
        for module in paper.modules():
            if isinstance(module, nn.Dropout):
                module.eval()
        with torch.no_grad():
            answer = paper(image)
            assert called == list(leaves.values())  # modules stand in call order, the heads last
            at_4a, at_4d = maps[paper.inception4a], maps[paper.inception4d]
            paper.eval()
            silent = paper(image)
            assert called[len(leaves) :] == [n for n in leaves.values() if "auxiliary" not in n]
            expected = {"main": silent, "auxiliary4a": paper.auxiliary4a(at_4a)}
            expected["auxiliary4d"] = paper.auxiliary4d(at_4d)
    finally:
        for handle in handles:
            handle.remove()
        paper.eval()
    assert at_4a.shape == (1, 512, 14, 14)
    assert at_4d.shape == (1, 528, 14, 14)
    torch.testing.assert_close(answer._asdict(), expected)


def test_heads_say_which_images_they_take(paper):
    paper.train()
    try:
        with pytest.raises(ModelError, match=r"maps of 4 x 6 and takes 14 x 14; train on images"):
            paper(torch.zeros(1, 3, 64, 96))
    finally:
        paper.eval()


def test_fields_of_every_branch():
    calls = trace(InceptionNet(), SIZE)
    modules = [f"inception{module}" for module in _FIELDS]
    layers = {*_STEM_FIELDS, *modules, *InceptionNet.numbered.values()}
    fields = {name: call.field.public() for name, call in calls.items() if name in layers}
    for layer, (size, stride) in _STEM_FIELDS.items():
        assert (fields[layer].size, fields[layer].stride) == (size, stride), layer
    for module, (one, three, five, stride) in _FIELDS.items():
        sizes = (one, one, three, one, five, three)
        for branch, size in zip((*_BRANCHES, ""), (*sizes, five), strict=True):
            field = fields[f"inception{module}.{branch}".rstrip(".")]
            assert (field.size, field.stride) == (size, stride), (module, branch)
            assert field.start == -(size - 1) // 2  # the first unit looks at the first pixel


def _one_channel() -> InceptionNet:
    """The same windows with one channel each, all weights positive, and averages for maxima."""
    copy = InceptionNet(paper=True).double().eval()
    copy.lrn1, copy.lrn2, copy.fc = nn.Identity(), nn.Identity(), nn.Linear(4, 10).double()
    for path, module in list(copy.named_modules()):
        if not isinstance(module, nn.MaxPool2d | nn.Conv2d):
            continue
        above, _, name = path.rpartition(".")
        window = module.kernel_size, module.stride, module.padding
        after_a_module = above not in ("", "inception3a") and name not in ("conv3x3", "conv5x5")
        if isinstance(module, nn.MaxPool2d):
            plain = nn.AvgPool2d(*window)
        else:
            inputs = 3 if path == "conv1" else 4 if after_a_module else 1
            plain = nn.Conv2d(inputs, 1, *window, bias=False).double()
            nn.init.constant_(plain.weight, 1 / plain.weight.numel())
        setattr(copy.get_submodule(above), name, plain)
    return copy


def test_fields_by_gradient_support(paper):
    copy, height, width = _one_channel(), 801, 97  # tall enough for every field, narrow for speed
    units = {
        "conv3": (19, 100), "inception3a.conv5x5": (59, 50),
        "inception3b.conv_proj": (75, 50), "inception4a.conv3x3": (139, 25),
        "inception5a.conv1x1": (459, 12),
        "inception5b.conv3x3": (651, 12), "inception5b": (715, 12),
    }  # fmt: skip
    fields = {layer: trace(paper, SIZE)[layer].field.public() for layer in units}
    maps = {}
    for layer in units:
        copy.get_submodule(layer).register_forward_hook(
            lambda _m, _i, out, layer=layer: maps.update({layer: out})
        )
    image = torch.ones(1, 3, height, width, dtype=torch.float64, requires_grad=True)
    copy(image)
    for layer, (size, row) in units.items():
        unit = maps[layer][0, :, row, 1].sum()
        (gradient,) = torch.autograd.grad(unit, image, retain_graph=True)
        seen = np.argwhere(gradient[0, 0].numpy() != 0)
        (top, left), (bottom, right) = seen.min(0), seen.max(0) + 1
        assert bottom - top == size, layer
        box = fields[layer].box(row, 1)
        assert (top, left, bottom, right) == clip(box, height, width), layer


def test_running_numbers_both_ways(paper):
    numbered = InceptionNet.numbered
    assert list(numbered) == [f"conv{n}" for n in range(1, 58)]
    heads = ("auxiliary4a", "auxiliary4d")
    convolutions = [
        name
        for name, module in paper.named_modules()
        if isinstance(module, nn.Conv2d) and not name.startswith(heads)
    ]
    assert list(numbered.values()) == convolutions
    assert numbered["conv3"] == "conv3"
    assert numbered["conv16"] == "inception4a.conv1x1"
    assert numbered["conv18"] == "inception4a.conv3x3"
    for name, layer in numbered.items():
        assert f"conv{InceptionNet.running_number(layer)}" == name


def test_fields_of_the_layers_the_first_edition_shows(rows):
    """Its pictures were cut as if the six convolutions of a module stood in a row."""
    shown = [rows[InceptionNet.numbered[f"conv{n}"]] for n in range(2, 19, 2)]
    assert [row.field.size for row in shown] == [11, 27, 43, 59, 59, 75, 91, 107, 139]


def test_only_the_convolutions_have_a_number():
    with pytest.raises(LayerError, match=r"'inception4a\.pool' is none of the 57 numbered"):
        InceptionNet.running_number("inception4a.pool")


def test_weights_start_by_he_and_the_papers_as_in_caffe(paper):
    for name, module in InceptionNet(auxiliary=True).named_modules():
        if isinstance(module, nn.Conv2d):
            spread = 0.005 if name == "conv1" else (2 / module.weight[0].numel()) ** 0.5
            _check_spread(module.weight, spread)
        elif isinstance(module, nn.Linear):
            _check_spread(module.weight, 0.01)
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            assert (module.bias == 0).all()
    classifiers = {paper.fc, paper.auxiliary4a.fc2, paper.auxiliary4d.fc2}
    for module in paper.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            _check_spread(module.weight, fan_in**-0.5)
            assert module.weight.abs().max() <= (3 / fan_in) ** 0.5
            bias = torch.tensor(0.0 if module in classifiers else 0.2)
            assert (module.bias == bias).all()


def _check_spread(weight: torch.Tensor, expected: float) -> None:
    """Five sigmas of the estimate's own spread, which a normal law has the larger of the two."""
    actual = weight.detach().std().item()
    assert abs(actual / expected - 1) < 5 / (2 * weight.numel()) ** 0.5


def test_every_weight_gets_a_gradient_from_the_loss_of_the_three():
    model = InceptionNet(auxiliary=True).train()
    logits = model(torch.randn(2, *SIZE))
    labels = torch.tensor([3, 7])
    sum(functional.cross_entropy(answer, labels) for answer in logits).backward()
    silent = [
        name
        for name, parameter in model.named_parameters()
        # Normalisation takes away what a bias before it adds.
        if not re.search(r"conv\w*\.bias", name) and not parameter.grad.abs().max() > 0
    ]
    assert silent == []
