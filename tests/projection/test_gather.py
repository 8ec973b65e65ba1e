"""Oracle: patches cut out by hand, and autograd on the whole image where no field is known."""

import numpy as np
import torch
from torch import nn

from internals.activations.strongest import strongest
from internals.data.image_set import ImageSet
from internals.data.normalization import Normalization, Normalized
from internals.projection.patches import gather_evidence

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
    rows = gather_evidence(model, images, PLAIN, found, [2, 0], rule="gradient")
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


def test_where_no_field_can_be_stated_the_whole_image_is_the_patch():
    """Enlarging by nearest neighbours has no stride of its own in pixels."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Upsample(scale_factor=2), nn.Conv2d(2, 3, 3))
    images = image_set()
    found = strongest(model, Normalized(images, PLAIN), ["2"], k=2)["2"]
    [row] = gather_evidence(model, images, PLAIN, found, [1], rule="gradient")
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
    [row] = gather_evidence(model, images, PLAIN, found, [1], rule="gradient")
    assert row.size == (7, 11) and row.offsets == [(0, 0)] * 4
    for index, number in enumerate(row.images):
        pixels = (images.images[number : number + 1].float() / 255).requires_grad_()
        y, x = int(found.row[1, index]), int(found.column[1, index])
        [gradient] = torch.autograd.grad(model(pixels)[0, 1, y, x], pixels)
        np.testing.assert_allclose(row.projections[index], gradient[0].numpy(), atol=1e-7)
        np.testing.assert_allclose(row.patches[index], pixels[0].detach().numpy())
