"""Oracle: Captum's LayerGradCam and GuidedBackprop, class activation maps by hand, np.interp."""

import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop, LayerAttribution, LayerGradCam
from torch import nn
from torchvision.models import resnet18

from internals.anatomy import receptive_field
from internals.errors import LayerError, ProjectionError
from internals.models import LeNet5
from internals.projection import grad_cam, guided_grad_cam, project, upsampled
from internals.training import Map
from tests.reference.small_classifier import SPELLINGS, SmallClassifier, photographs

CLASSES = [4, 0, 2]
# Rectifiers written as functions are no layers.
PLACES = [
    (spelling, layer)
    for spelling in SPELLINGS
    for layer in ("conv1", "relu1", "pool1", "conv2", "relu2")
    if not (spelling == "functions" and layer.startswith("relu"))
]
EXACT = {"rtol": 1e-12, "atol": 1e-14}


def _captums(layer, images, classes):
    model = SmallClassifier().eval()
    return LayerGradCam(model, getattr(model, layer)).attribute(
        images, target=torch.tensor(classes), relu_attributions=True
    )


@pytest.mark.parametrize(("spelling", "layer"), PLACES)
def test_it_is_captums_at_every_layer(spelling, layer):
    found = grad_cam(SPELLINGS[spelling](), photographs(), layer, CLASSES)
    expected = _captums(layer, photographs(), CLASSES)
    assert expected.max() > 0 and (expected == 0).any(), "both sides of the last rectifier"
    torch.testing.assert_close(found, expected.squeeze(1), **EXACT)


def test_a_fully_connected_layer_is_a_grid_of_one_place():
    found = grad_cam(SmallClassifier(), photographs(), "fc", CLASSES)
    expected = SmallClassifier().eval()(photographs())[range(3), CLASSES].relu().detach()
    torch.testing.assert_close(found, expected.view(3, 1, 1), **EXACT)


class _Pooled(nn.Module):
    """Global average pooling and one linear layer: the network of class activation mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 7, 3), nn.ReLU(inplace=True)
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(7, 5)

    def forward(self, x):
        return self.fc(self.pool(self.relu(self.conv(x))).flatten(1))


def test_on_a_pooled_network_it_is_the_class_activation_map():
    """Selvaraju et al., section 3.1: with Z places, alpha = w / Z, so that it is ReLU(CAM) / Z."""
    model, images = _Pooled().double(), photographs()
    maps = model.relu(model.conv(images)).detach()
    for label in range(5):
        expected = torch.einsum("k,nkyx->nyx", model.fc.weight[label].detach(), maps).relu()
        found = grad_cam(model, images, "relu", label)
        torch.testing.assert_close(found, expected / (9 * 11), rtol=1e-13, atol=1e-16)


def test_without_classes_each_image_gets_its_highest_score():
    model, images = SmallClassifier().eval(), photographs(70)
    highest = model(images).argmax(dim=1)
    assert len(highest.unique()) > 1
    found = grad_cam(model, images, "conv2")
    torch.testing.assert_close(found, grad_cam(model, images, "conv2", highest), **EXACT)
    for number in (63, 64, 69):
        (alone,) = grad_cam(model, images[number : number + 1], "conv2")
        torch.testing.assert_close(found[number], alone, **EXACT)


def test_upsampling_by_hand():
    """Two cells over four pixels: their centres lie between pixels, a quarter and three off."""
    found = upsampled(torch.tensor([[[0.0, 4.0]]]), (1, 4))
    assert found.tolist() == [[[0.0, 1.0, 3.0, 4.0]]]


def test_a_stretched_grid_is_captums():
    maps = _captums("conv2", photographs(), CLASSES).detach()
    expected = LayerAttribution.interpolate(maps, (11, 13), interpolate_mode="bilinear")
    torch.testing.assert_close(upsampled(maps.squeeze(1), (11, 13)), expected.squeeze(1), **EXACT)


def _laid(maps, layer):
    """NumPy's interpolation between the centres of the gradient's support, unit by unit."""
    model = SmallClassifier().eval()
    seen = {}
    getattr(model, layer).register_forward_hook(lambda _m, _i, out: seen.update(out=out))
    image = photographs()[:1].requires_grad_()
    model(image)
    rows, columns = seen["out"].shape[2:]

    def centre(row, column, axis):
        (gradient,) = torch.autograd.grad(
            seen["out"][0, :, row, column].sum(), image, retain_graph=True
        )
        places = gradient[0].abs().sum(0).nonzero()[:, axis]
        return (places.min() + places.max()).item() / 2

    down, across = rows // 2, columns // 2
    steps = [centre(down, across, axis) for axis in (0, 1)]
    strides = [
        centre(down + 1, across, 0) - steps[0] if rows > down + 1 else 0,
        centre(down, across + 1, 1) - steps[1] if columns > across + 1 else 0,
    ]
    centres = [
        [steps[axis] + (n - middle) * strides[axis] for n in range(count)]
        for axis, middle, count in ((0, down, rows), (1, across, columns))
    ]
    tall = np.stack([
        [np.interp(np.arange(11), centres[0], column) for column in one.T] for one in maps.numpy()
    ]).transpose(0, 2, 1)  # fmt: skip
    return torch.tensor(
        np.stack([[np.interp(np.arange(13), centres[1], row) for row in one] for one in tall])
    )


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_maps_are_laid_over_the_centres_of_the_fields(layer):
    model, images = SmallClassifier(), photographs()
    expected = _laid(grad_cam(model, images, layer, CLASSES), layer)
    found = grad_cam(model, images, layer, CLASSES, upsample=True)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_where_the_cells_of_known_networks_lie():
    """At 96 px the three cells of a ResNet's last layer look at pixels 0, 32 and 64."""
    field = receptive_field(resnet18(), "layer4", (3, 96, 96))
    for cell, pixel in enumerate((0, 32, 64)):
        grid = torch.zeros(1, 3, 3)
        grid[0, cell, cell] = 1
        laid = upsampled(grid, (96, 96), field)[0]
        assert divmod(laid.argmax().item(), 96) == (pixel, pixel)
        assert laid.max() == 1
    pooled = receptive_field(LeNet5(), "pool2", (1, 32, 32))
    line = torch.arange(5.0).expand(1, 5, 5)
    laid = upsampled(line, (32, 32), pooled)[0, 16]
    assert laid[7:24].tolist() == pytest.approx(
        [0.0, *(0.125 + n / 4 for n in range(16))][:17]
    )  # centres at 7.5, 11.5, ... 23.5
    assert laid[:8].eq(0).all() and laid[24:].eq(4).all()


def test_one_cell_is_the_same_everywhere():
    field = receptive_field(
        nn.Sequential(nn.Conv2d(1, 1, 3), nn.AdaptiveAvgPool2d(1)), "1", (1, 9, 9)
    )
    assert upsampled(torch.full((2, 1, 1), 3.0), (9, 9), field).eq(3).all()


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize(("spelling", "layer"), PLACES)
def test_the_guided_form_is_captums_but_for_where_its_cells_lie(spelling, layer):
    model = SmallClassifier().eval()
    guided = GuidedBackprop(model).attribute(photographs().requires_grad_(), torch.tensor(CLASSES))
    maps = grad_cam(SmallClassifier(), photographs(), layer, CLASSES, upsample=True)
    expected = guided * maps.unsqueeze(1)
    assert expected.abs().max() > 0
    found = guided_grad_cam(SPELLINGS[spelling](), photographs(), layer, CLASSES)
    torch.testing.assert_close(found, expected, **EXACT)


def test_penalties_are_read_by_their_own_score(digits):
    """LeNet-5 answers with the smallest penalty; what lowers it speaks for the class."""
    model, images = LeNet5().double(), digits.test.images[:3].double() / 255
    best = model(images).argmin(dim=1)
    maps = {}
    handle = model.pool2.register_forward_hook(lambda _m, _i, out: maps.update(out=out))
    penalties = model(images)
    handle.remove()
    (gradient,) = torch.autograd.grad(-penalties[range(3), best].sum(), maps["out"])
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    expected = (weights * maps["out"]).sum(dim=1).relu().detach()
    found = grad_cam(model, images, "pool2", score=Map(1.0).scores)
    torch.testing.assert_close(found, expected, **EXACT)
    wrong = grad_cam(model, images, "pool2", best)
    assert (found - wrong).abs().max() > 0.1 * found.max(), "the sign matters"


def test_tanh_is_read_as_it_is_by_project():
    """The guided factor is the guided projection of the class score, which is a unit of `fc`."""
    from internals.activations import Unit

    model, images = SmallClassifier(nn.Tanh), photographs()
    for tanh in ("straight", "agreeing"):
        units = [Unit("fc", label) for label in CLASSES]
        guided = torch.stack([p.full() for p in project(model, images, units, tanh=tanh)])
        maps = grad_cam(model, images, "conv2", CLASSES, upsample=True)
        found = guided_grad_cam(model, images, "conv2", CLASSES, tanh=tanh)
        torch.testing.assert_close(found, guided * maps.unsqueeze(1), **EXACT)


def test_a_score_is_no_part_of_the_ruled_network():
    """A softmax in `score` has no guided rule and needs none: it is differentiated as it is."""
    model, images = SmallClassifier().eval(), photographs()
    found = guided_grad_cam(model, images, "conv2", score=lambda y: y.softmax(dim=1))
    maps = grad_cam(model, images, "conv2", upsample=True, score=lambda y: y.softmax(dim=1))
    assert maps.max() > 0
    assert found.isfinite().all() and found.abs().max() > 0


class _TwoHeads(SmallClassifier):
    """One of its heads has nothing to say in the score."""

    def forward(self, x):
        y = super().forward(x)
        self.conv2(self.pool1(self.conv1(x)).detach())
        return y


class _Beside(SmallClassifier):
    def __init__(self) -> None:
        super().__init__()
        self.beside = nn.Conv2d(3, 2, 1).double()

    def forward(self, x):
        self.beside(x)
        return super().forward(x)


@pytest.mark.parametrize(
    ("model", "layer", "error", "words"),
    [
        (SmallClassifier(), "conv9", LayerError, "has no layer 'conv9'; nearest: conv2"),
        (_TwoHeads(), "conv2", LayerError, "'conv2' is called 2 times"),
        (_Beside(), "beside", ProjectionError, "leads from the class score back to layer 'beside'"),
    ],
)
def test_layers_that_do_not_fit(model, layer, error, words):
    for instrument in (grad_cam, guided_grad_cam):
        with pytest.raises(error, match=words) as raised:
            instrument(model, photographs(), layer, 1)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (SmallClassifier(nn.Tanh), {}, "guided has no rule for tanh .*choose tanh="),
        (SmallClassifier(nn.SiLU), {}, "guided has no rule for silu"),
        (SmallClassifier(), {"tanh": "curly"}, "unknown tanh='curly'; choose one of gradient"),
        (SmallClassifier(), {"classes": 5}, "no class 5; its classes are 0 to 4"),
    ],
)
def test_refusals_of_the_guided_form(model, options, words):
    with pytest.raises(ProjectionError, match=words) as raised:
        guided_grad_cam(model, photographs(), "conv2", **options)
    assert "\n" not in str(raised.value)
