"""Oracle: the same call on one device, to the last bit."""

import pytest
import torch
from torch import nn

from internals.activations import Unit, strongest
from internals.errors import LayerError, ProjectionError
from internals.projection import project

pytestmark = pytest.mark.slow


def net(squash=None) -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(
        nn.Conv2d(1, 5, 3, padding=1), squash or nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(5, 7, 3, padding=1), nn.ReLU(), nn.Conv2d(7, 3, 3),
    )  # fmt: skip


@pytest.mark.parametrize("devices", [["cpu"], ["cpu", "cpu"], ["cpu"] * 3, ["cpu"] * 20])
@pytest.mark.parametrize("k", [1, 4, 99])
def test_mining(devices, k):
    """41 images with few different ones among them, so that they tie across the shares."""
    model, images = net(), torch.randn(5, 1, 16, 18)[torch.arange(41) % 5]
    alone = strongest(model, images, ["0", "1", "5"], k, batch=4)
    shared = strongest(model, images, ["0", "1", "5"], k, batch=4, devices=devices)
    for layer, one in alone.items():
        for name in ("image", "row", "column", "value"):
            found, expected = getattr(shared[layer], name), getattr(one, name)
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("rule", ["gradient", "deconvnet", "guided"])
@pytest.mark.parametrize("side", [40, 150])
def test_projecting(rule, side):
    """Small windows that are stacked, and large ones one by one."""
    layers = [nn.Conv2d(3, 3, 9, padding=32, dilation=8), nn.ReLU()] if side > 128 else []
    model = nn.Sequential(net(), *layers)
    images = torch.randn(4, 1, side, side + 3)
    layer = "1" if layers else "0.5"
    units = [Unit(layer, n % 3, n, 2 * n) for n in range(9)]
    image_index = [n % 4 for n in range(9)]
    alone = project(model, images, units, rule, image_index=image_index)
    for devices in (["cpu"], ["cpu", "cpu"], ["cpu"] * 20):
        shared = project(model, images, units, rule, image_index=image_index, devices=devices)
        for found, expected in zip(shared, alone, strict=True):
            assert (found.unit, found.value, found.box) == (
                expected.unit, expected.value, expected.box
            )  # fmt: skip
            torch.testing.assert_close(found.pixels, expected.pixels, rtol=0, atol=0)


def test_what_one_of_them_raises_is_raised():
    images = torch.randn(12, 1, 16, 18)
    images[9, 0, 3, 3] = float("nan")
    with pytest.raises(LayerError, match="layer '5' answers image 9 with NaN"):
        strongest(net(), images, ["5"], batch=2, devices=["cpu", "cpu"])
    with pytest.raises(ProjectionError, match=r"guided has no rule for silu .layer '1'"):
        project(net(nn.SiLU()), images, [Unit("5", 0, 1, 1)] * 12, devices=["cpu", "cpu"])
