"""Oracle: patches cut out by hand, and autograd on the whole image where no field is known."""

import numpy as np
import pytest
import torch
from torch import nn

from internals import Network
from internals.activations import Unit, strongest
from internals.data import ImageSet, Normalization, Normalized
from internals.errors import LayerError, ProjectionError
from internals.projection import patches, project

PLAIN = Normalization((0.0,), (1.0,))
PLACES = [(0, 0), (6, 10), (3, 5), (0, 4), (2, 0)]


def image_set(count: int = 5, height: int = 7, width: int = 11) -> ImageSet:
    images = torch.randint(0, 256, (count, 1, height, width), dtype=torch.uint8)
    return ImageSet(images, torch.arange(count) % 2, ("even", "odd"), "noise", "noise 1")


def test_patches_labels_and_offsets_are_those_of_the_strongest_units():
    """A 3 x 3 filter with padding 1: the unit at (y, x) sees rows y - 1 to y + 1."""
    images, model = image_set(), nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU())
    with torch.no_grad():  # the brightest pixel wins: in a corner, at an edge, or inside
        model[0].weight.mul_(0.01)[:, 0, 1, 1] = 1
    images.images.clamp_(max=200)
    for number, (y, x) in enumerate(PLACES):
        images.images[number, 0, y, x] = 255 - number
    found = strongest(model, Normalized(images, PLAIN), ["0"], k=4)["0"]
    rows = patches(model, found, [2, 0], rule="gradient")
    assert [row.channel for row in rows] == [2, 0]
    for row in rows:
        places = zip(
            found.row[row.channel].tolist(), found.column[row.channel].tolist(), strict=True
        )
        for index, (y, x) in enumerate(places):
            number = row.images[index]
            assert (y, x) == PLACES[number]
            assert number == found.image[row.channel, index]
            top, left = max(y - 1, 0), max(x - 1, 0)
            patch = images.images[number, :, top : y + 2, left : x + 2].numpy() / 255
            np.testing.assert_allclose(row.patches[index], patch, rtol=1e-6)
            assert row.offsets[index] == (top - (y - 1), left - (x - 1))
            assert row.labels[index] == ("even", "odd")[number % 2]
        assert row.size == (3, 3)


def test_a_network_needs_neither_the_pictures_nor_their_normalisation():
    """What it mined it remembers: the same as with a set that is normalised by hand."""
    images, model = image_set(), nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU())
    halves = Normalization((0.5,), (0.25,))
    net = Network(model, normalization=halves)
    top = net.strongest(images, ["1"], k=2)["1"]
    expected = patches(model, strongest(model, Normalized(images, halves), ["1"], k=2)["1"], [1, 2])
    for pieces in (net.patches(top, [1, 2]), net.patches(top[1:], [1, 2])):
        for row, same in zip(pieces, expected, strict=True):
            assert (row.channel, row.images, row.values) == (same.channel, same.images, same.values)
            for name in ("projections", "patches"):
                np.testing.assert_array_equal(getattr(row, name), getattr(same, name))


def test_what_strongest_returns_is_what_project_takes():
    """The units of a table on the images that it numbers, as they are written out one by one."""
    images, model = torch.randn(6, 1, 9, 9), nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    top = strongest(model, images, ["1"], k=3)["1"]
    for part, channels in (
        (top, range(4)),
        (top[1:3], (1, 2)),
        (top[3], (3,)),
        (top[[2, 0]], (2, 0)),
    ):
        units = [unit for channel in channels for unit in top.units(channel)]
        numbers = [int(n) for channel in channels for n in top.image[channel]]
        assert part.channels == tuple(channels) and part.units() == units
        expected = project(model, images[numbers], units)
        projections = project(model, images, part)
        assert [p.unit for p in projections] == units
        for ours, theirs in zip(projections, expected, strict=True):
            torch.testing.assert_close(ours.pixels, theirs.pixels, rtol=1e-6, atol=1e-7)
    assert top[2].head(1).units() == top.units(2)[:1]
    with pytest.raises(LayerError, match="layer '1' has no channel 2; its channels are 0, 3"):
        top[[0, 3]].units(2)
    with pytest.raises(LayerError, match="has no channel 4 here; there are 4, from 0 to 3"):
        top[4]


@pytest.mark.parametrize("squash", [nn.ReLU(), nn.Tanh()])
def test_a_channel_by_name_is_its_strongest_unit_on_each_image(squash):
    """The maximum over the map before a squashing function, found by hand."""
    images, model = torch.randn(5, 1, 9, 9), nn.Sequential(nn.Conv2d(1, 4, 3), squash)
    with torch.no_grad():
        model[0].weight.mul_(50)  # tanh saturates, so that its outputs tie
        maps = model[0](images)[:, 2]
        maps = maps.relu() if isinstance(squash, nn.ReLU) else maps
    places = [divmod(int(m.argmax()), m.shape[1]) for m in maps]
    units = [Unit("1", 2, *place) for place in places]
    by_name = project(model, images, "1:2", "guided", tanh="agreeing")
    assert [p.unit for p in by_name] == units
    one_of_two = project(model, images, ["1:2", units[0]], tanh="agreeing", image_index=[3, 0])
    assert [p.unit for p in one_of_two] == [units[3], units[0]]
    everywhere = project(model, images, units[1], tanh="agreeing")
    assert [p.unit for p in everywhere] == [units[1]] * 5


def test_refusals():
    images, model = torch.randn(3, 1, 9, 9), nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU())
    for name, message in (
        ("1:4", "layer '1' has no channel 4; its channels are 0 to 3"),
        ("conv", "'conv' names no channel; write layer:channel, such as 'conv5:7'"),
        ("2:0", "Sequential has no layer '2'"),
    ):
        with pytest.raises(LayerError, match=message):
            project(model, images, name)
    top = strongest(model, images, ["1"])["1"]
    with pytest.raises(ProjectionError, match="has its own images; leave image_index out"):
        project(model, images, top, image_index=[0])
    with pytest.raises(ProjectionError, match=r"image_index=.* an image of 0 to 1"):
        project(model, images[:2], top)
    with pytest.raises(ProjectionError, match=r"patches are cut out of an ImageSet, .* not a tens"):
        patches(model, top)


def test_where_no_field_can_be_stated_the_whole_image_is_the_patch():
    """Enlarging by nearest neighbours has no stride of its own in pixels."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=2), nn.Conv2d(2, 3, 3))
    images = image_set()
    found = strongest(model, Normalized(images, PLAIN), ["2"], k=2)["2"]
    [row] = patches(model, found, [1], rule="gradient")
    assert row.size == (7, 11) and row.offsets == [(0, 0)] * 2
    for index, number in enumerate(row.images):
        pixels = (images.images[number : number + 1].float() / 255).requires_grad_()
        y, x = int(found.row[1, index]), int(found.column[1, index])
        [gradient] = torch.autograd.grad(model(pixels)[0, 1, y, x], pixels)
        np.testing.assert_allclose(row.projections[index], gradient[0].numpy(), atol=1e-7)
        np.testing.assert_allclose(row.patches[index], pixels[0].detach().numpy())


def test_a_field_larger_than_the_image_is_shown_on_the_whole_image():
    """A 9 x 9 filter on 7 rows: wherever the unit, the picture is the whole image's gradient."""
    model, images = nn.Sequential(nn.Conv2d(1, 2, 9, padding=4)), image_set()
    found = strongest(model, Normalized(images, PLAIN), ["0"], k=4)["0"]
    [row] = patches(model, found, [1], rule="gradient")
    assert row.size == (7, 11) and row.offsets == [(0, 0)] * 4
    for index, number in enumerate(row.images):
        pixels = (images.images[number : number + 1].float() / 255).requires_grad_()
        y, x = int(found.row[1, index]), int(found.column[1, index])
        [gradient] = torch.autograd.grad(model(pixels)[0, 1, y, x], pixels)
        np.testing.assert_allclose(row.projections[index], gradient[0].numpy(), atol=1e-7)
        np.testing.assert_allclose(row.patches[index], pixels[0].detach().numpy())
