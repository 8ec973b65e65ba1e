"""Oracle: Captum's Occlusion, a loop that covers one square at a time, and positions by hand."""

import pytest
import torch
from captum.attr import Occlusion

from internals.errors import LayerError, ProjectionError
from internals.projection import occluded_activity, occlusion, occlusion_map
from tests.reference.small_classifier import SPELLINGS, SmallClassifier, photographs

CLASSES = [4, 0, 3]
EXACT = {"rtol": 1e-12, "atol": 1e-13}


def _loop(measure, images, size, stride, fill=0.0):
    """Every square that begins before all of the image is covered, one forward pass each."""
    height, width = images.shape[2:]
    tops = [0]
    while tops[-1] + size[0] < height:
        tops.append(tops[-1] + stride[0])
    lefts = [0]
    while lefts[-1] + size[1] < width:
        lefts.append(lefts[-1] + stride[1])
    found = torch.zeros(len(images), len(tops), len(lefts), dtype=torch.float64)
    for n in range(len(images)):
        for row, top in enumerate(tops):
            for column, left in enumerate(lefts):
                covered = images[n : n + 1].clone()
                covered[:, :, top : top + size[0], left : left + size[1]] = fill
                with torch.no_grad():
                    found[n, row, column] = measure(covered, n)
    return found


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize(
    ("size", "stride"), [((3, 3), (1, 1)), ((4, 5), (2, 3)), ((11, 2), (3, 4)), ((2, 2), (5, 5))]
)
def test_against_the_loop(spelling, size, stride):
    """Strides that do not divide the image leave a last square that its border cuts off."""
    model, images = SmallClassifier().eval(), photographs()
    expected = _loop(lambda x, n: model(x)[0, CLASSES[n]], images, size, stride)
    found = occlusion(SPELLINGS[spelling](), images, CLASSES, size=size, stride=stride)
    torch.testing.assert_close(found, expected, **EXACT)


def test_positions_by_hand():
    """On 11 x 13 pixels squares of 3 begin at 0, 4, 8 and, cut off by the border, at 12."""
    found = occlusion(SmallClassifier(), photographs(1), 1, size=3, stride=4)
    assert found.shape == (1, 3, 4)
    assert occlusion(SmallClassifier(), photographs(1), 1, size=(11, 13)).shape == (1, 1, 1)


@pytest.mark.parametrize(("size", "stride"), [((4, 4), (4, 4)), ((4, 5), (2, 3)), ((3, 3), (1, 1))])
@pytest.mark.parametrize("fill", [0.0, -0.4])
def test_captums_picture_is_the_mean_loss_of_the_squares_over_a_pixel(size, stride, fill):
    model, images = SmallClassifier().eval(), photographs()
    expected = Occlusion(model).attribute(
        images,
        (3, *size),
        strides=(3, *stride),
        baselines=fill,
        target=torch.tensor(CLASSES),
    )[:, 0]
    scores = occlusion(model, images, CLASSES, size=size, stride=stride, fill=fill)
    whole = model(images)[range(3), CLASSES].detach()
    found = occlusion_map(scores, whole, (11, 13), size=size, stride=stride)
    # Captum divides in single precision.
    lost = (whole[:, None, None] - scores).abs().max().item()
    torch.testing.assert_close(found, expected.double(), rtol=0, atol=1e-7 * lost)


def test_a_map_of_pixels_that_no_square_reaches_and_of_other_squares():
    """By hand: squares of 1 at 0, 2 and 4 of a row of five pixels."""
    covered = torch.tensor([[[1.0, 4.0, 2.0]]])
    found = occlusion_map(covered, torch.tensor([5.0]), (1, 5), size=1, stride=2)
    assert found.tolist() == [[[4, 0, 1, 0, 3]]]
    with pytest.raises(ProjectionError, match=r"have 1 x 5 positions on an image of .* not .1, 3."):
        occlusion_map(covered, torch.tensor([5.0]), (1, 5), size=1)


def test_covering_nothing_leaves_the_score():
    model, images = SmallClassifier().eval(), photographs(1)
    score = model(images)[0, 2].item()
    found = occlusion(model, images, 2, size=4, stride=3, fill=images[0])
    torch.testing.assert_close(found, torch.full_like(found, score), **EXACT)
    flat = torch.full_like(images, 0.1)
    found = occlusion(model, flat, 2, size=4, stride=3, fill=0.1)
    expected = torch.full_like(found, model(flat)[0, 2].item())
    torch.testing.assert_close(found, expected, **EXACT)


def test_covering_everything_leaves_the_score_of_the_fill():
    model, images, fill = SmallClassifier().eval(), photographs(), [0.3, -0.1, 0.7]
    found = occlusion(model, images, 1, size=(11, 13), fill=fill)
    field = torch.tensor(fill, dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 11, 13)
    expected = model(field)[0, 1].detach().expand(3, 1, 1)
    torch.testing.assert_close(found, expected, **EXACT)


def test_probabilities_of_the_class_of_the_whole_image():
    model, images = SmallClassifier().eval(), photographs()
    highest = model(images).argmax(dim=1)
    expected = _loop(lambda x, n: model(x).softmax(1)[0, highest[n]], images, (5, 5), (3, 3))
    found = occlusion(model, images, size=5, stride=3, score=lambda y: y.softmax(dim=1))
    assert 0 <= found.min() < found.max() <= 1
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("channel", [None, 3])
def test_the_activity_of_a_map_against_the_loop(spelling, channel):
    model, images = SmallClassifier().eval(), photographs()
    # A rectifier in place would change what a hook after conv2 holds: hence the explicit layers.
    maps = model.conv2(model.pool1(model.relu1(model.conv1(images))))
    strongest = maps.sum(dim=(2, 3)).argmax(dim=1).tolist() if channel is None else [channel] * 3

    def total(x, n):
        return model.conv2(model.pool1(model.relu1(model.conv1(x))))[0, strongest[n]].sum()

    expected = _loop(total, images, (4, 4), (3, 3), 0.2)
    found = occluded_activity(
        SPELLINGS[spelling](), images, "conv2", channel, size=4, stride=3, fill=0.2
    )
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "a square of size=0 does not fit on images of 11 x 13 pixels"),
        ({"size": (12, 1)}, r"size=\(12, 1\) does not fit"),
        ({"size": (1, 14)}, r"size=\(1, 14\) does not fit"),
        ({"size": 2, "stride": 0}, "stride=0; give 1 or more pixels"),
        ({"size": 2, "stride": (1, -1)}, r"stride=\(1, -1\); give 1"),
        ({"size": 2, "fill": [0.0, 1.0]}, r"fill of shape \(2,\) does not fit images of shape"),
        ({"size": 2, "fill": torch.zeros(3, 4, 4)}, r"fill of shape \(3, 4, 4\) does not fit"),
    ],
)
def test_squares_that_do_not_fit(options, words):
    for instrument, arguments in ((occlusion, ()), (occluded_activity, ("conv2",))):
        with pytest.raises(ProjectionError, match=words) as raised:
            instrument(SmallClassifier(), photographs(1), *arguments, **options)
        assert "\n" not in str(raised.value)


def test_classes_layers_and_channels_that_do_not_fit():
    with pytest.raises(ProjectionError, match="no class 5; its classes are 0 to 4"):
        occlusion(SmallClassifier(), photographs(1), 5, size=2)
    with pytest.raises(LayerError, match="no layer 'conv9'"):
        occluded_activity(SmallClassifier(), photographs(1), "conv9", size=2)
    for channel in (6, -1):
        with pytest.raises(LayerError, match=f"no channel {channel}; its channels are 0 to 5"):
            occluded_activity(SmallClassifier(), photographs(1), "conv2", channel, size=2)
