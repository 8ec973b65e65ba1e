"""Oracle: the messages that the contract promises, and the same call in a plain setting."""

import pytest
import torch
from torch import nn

from internals.activations import Unit
from internals.errors import LayerError, ProjectionError
from internals.models import LeNet5
from internals.projection import project

UNIT = Unit("conv2", 3, 4, 5)


@pytest.fixture
def model():
    return LeNet5()


@pytest.fixture
def images():
    return torch.rand(2, 1, 32, 32) * 1.275 - 0.1


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (Unit("conv1", 6, 0, 0), "layer 'conv1' has no channel 6; its channels are 0 to 5"),
        (Unit("conv1", -1, 0, 0), "layer 'conv1' has no channel -1; its channels are 0 to 5"),
        (Unit("conv2", 0, 10, 0), "layer 'conv2' has no row 10; its rows are 0 to 9"),
        (Unit("conv2", 0, 0, -1), "layer 'conv2' has no column -1; its columns are 0 to 9"),
        (Unit("conv3", 0, 1, 0), "layer 'conv3' has no row 1; its rows are 0 to 0"),
        (Unit("linear", 84), "layer 'linear' has no channel 84; its channels are 0 to 83"),
        (Unit("linear", 0, 1), "layer 'linear' has no row 1; its rows are 0 to 0"),
        (Unit("convx", 0), "LeNet5 has no layer 'convx'; nearest: conv"),
    ],
)
def test_units_the_model_does_not_have(model, images, unit, message):
    with pytest.raises(LayerError, match=message):
        project(model, images[:1], [unit], "gradient")


def test_rules_that_are_none(model, images):
    with pytest.raises(ProjectionError, match="unknown rule 'lrp'; choose one of gradient, dec"):
        project(model, images[:1], [UNIT], "lrp")
    with pytest.raises(ProjectionError, match="unknown tanh='x'; choose one of gradient, straight"):
        project(model, images[:1], [UNIT], "guided", tanh="x")
    with pytest.raises(ProjectionError, match="leave tanh='straight' out"):
        project(model, images[:1], [UNIT], "gradient", tanh="straight")
    with pytest.raises(ProjectionError, match=r"guided has no rule for tanh .layer 'tanh1'"):
        project(model, images[:1], [UNIT], "guided")


def test_one_unit_an_image(model, images):
    with pytest.raises(ProjectionError, match="1 units for 2 images; give one unit an image"):
        project(model, images, [UNIT], "gradient")
    assert project(model, images[:0], [], "gradient") == []


class Cut(nn.Module):
    """A layer that the image does not reach, and one behind an interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.up, self.after = nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=2), nn.ReLU()
        self.cut = nn.Conv2d(2, 2, 3)

    def forward(self, x):
        x = self.after(self.up(self.conv(x)))
        return self.cut(torch.ones(1, 2, 5, 5).expand(len(x), -1, -1, -1))


def test_a_layer_that_the_image_does_not_reach_has_a_projection_of_nothing(images):
    (found,) = project(Cut(), images[:1], [Unit("cut", 0, 0, 0)], "gradient")
    assert found.pixels.eq(0).all()
    assert found.box == (0, 0, *images.shape[2:])


@pytest.fixture
def expected(model, images):
    return project(model, images[:1], [UNIT], "guided", tanh="straight")[0]


def _same(model, images, expected) -> None:
    found = project(model, images[:1], [UNIT], "guided", tanh="straight")[0]
    assert found.value == expected.value
    torch.testing.assert_close(found.pixels, expected.pixels, rtol=0, atol=0)


def test_frozen_parameters(model, images, expected):
    model.requires_grad_(False)
    _same(model, images, expected)
    assert not any(p.requires_grad for p in model.parameters())


def test_train_mode_with_dropout_and_batch_statistics(images):
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Conv2d(4, 2, 3)
    )
    unit = Unit("4", 1, 3, 3)
    expected = project(net.eval(), images[:1], [unit])[0]
    found = project(net.train(), images[:1], [unit])[0]
    torch.testing.assert_close(found.pixels, expected.pixels, rtol=0, atol=0)
    assert net[1].num_batches_tracked.item() == 0
    assert all(m.training for m in net.modules())


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_inside_no_grad_and_inference_mode(model, images, expected, context):
    with context():
        inside = images.clone()
        _same(model, inside, expected)


def test_users_hooks_run_and_stay(model, images, expected):
    seen = []
    model.conv1.register_forward_hook(lambda *_: seen.append("forward"))
    model.conv1.register_full_backward_hook(lambda *_: seen.append("backward"))
    _same(model, images, expected)
    assert "forward" in seen
    assert len(model.conv1._forward_hooks) == len(model.conv1._backward_hooks) == 1


def test_images_that_want_gradients_and_other_dtypes(model, images, expected):
    wanting = images.clone().requires_grad_()
    _same(model, wanting, expected)
    assert wanting.grad is None
    _same(model, images.double(), expected)


def test_a_model_that_works_in_place_on_its_own_input(images):
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 2, 3))
    plain = nn.Sequential(nn.ReLU(), net[1])
    before = images.clone()
    for rule in ("gradient", "guided"):
        ours = project(net, images[:1], [Unit("1", 0, 3, 3)], rule)[0]
        theirs = project(plain, images[:1], [Unit("1", 0, 3, 3)], rule)[0]
        torch.testing.assert_close(ours.full(), theirs.full(), rtol=0, atol=0)
    torch.testing.assert_close(images, before, rtol=0, atol=0)


def test_the_value_is_the_layers_own_output_before_anything_changes_it(images):
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Conv2d(2, 2, 3))
    with torch.no_grad():
        net[0].bias.fill_(-9.0)
        expected = net[0](images[:1])[0, 1, 4, 4].item()
    found = project(net, images[:1], [Unit("0", 1, 4, 4)], "guided")[0]
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert expected < -5
    torch.testing.assert_close(found.pixels, net[0].weight[1].detach(), rtol=0, atol=0)
