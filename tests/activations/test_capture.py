"""Oracle: an ordinary forward hook of torch that copies what it sees."""

import pytest
import torch
import torchvision.models as zoo
from torch import nn

from internals.activations import capture
from internals.errors import LayerError
from internals.models import LeNet5


def by_hooks(model: nn.Module, images: torch.Tensor, layers) -> dict[str, torch.Tensor]:
    maps, handles = {}, []
    for layer in layers:
        handles.append(
            model.get_submodule(layer).register_forward_hook(
                lambda _m, _i, out, layer=layer: maps.update({layer: out.clone()})
            )
        )
    with torch.no_grad():
        model.eval()(images)
    for handle in handles:
        handle.remove()
    return maps


def test_lenet5(digits):
    model, images = LeNet5(paper=True), torch.rand(3, 1, 32, 32)
    layers = ["rbf", "conv1", "tanh4", "conv3", "linear"]
    expected = by_hooks(model, images, layers)
    found = capture(model.train(), images, layers)
    assert found.keys() == expected.keys()
    for layer in layers:
        maps = expected[layer]
        maps = maps if maps.ndim == 4 else maps[:, :, None, None]
        torch.testing.assert_close(found[layer], maps, rtol=0, atol=0)


def test_rectifiers_in_place_do_not_reach_back():
    model = zoo.resnet18(weights=None)  # nn.ReLU(inplace=True) throughout, += at the shortcuts
    images = torch.rand(2, 3, 40, 40)
    layers = ["conv1", "bn1", "layer1.0.bn1", "layer1.0", "layer2.0.bn2", "layer4"]
    expected = by_hooks(model, images, layers)
    found = capture(model, images, layers)
    for layer in layers:
        torch.testing.assert_close(found[layer], expected[layer], rtol=0, atol=0)
    assert found["bn1"].min() < 0


def test_the_callers_images_are_not_changed():
    model = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(1, 2, 3))
    images = torch.randn(2, 1, 6, 6)
    before = images.clone()
    capture(model, images, ["1"])
    torch.testing.assert_close(images, before, rtol=0, atol=0)


def test_refusals():
    images = torch.rand(1, 1, 32, 32)
    with pytest.raises(LayerError, match="no layer 'pool3'; nearest: pool"):
        capture(LeNet5(), images, ["pool3"])
    relu = nn.ReLU()
    twice = nn.Sequential(nn.Conv2d(1, 2, 3), relu, nn.Conv2d(2, 2, 3), relu)
    with pytest.raises(LayerError, match="is called 2 times"):
        capture(twice, images, ["1"])
