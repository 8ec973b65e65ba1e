"""Oracle: Captum's Saliency and InputXGradient, central differences, and autograd by hand."""

import pytest
import torch
from captum.attr import InputXGradient, Saliency
from torch import nn

from internals.errors import ProjectionError
from internals.models import LeNet5
from internals.projection import gradient_times_input, saliency
from internals.training import Map
from tests.reference.small_classifier import SPELLINGS, SmallClassifier, photographs

CLASSES = [4, 0, 3]
EXACT = {"rtol": 1e-12, "atol": 1e-15}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("classes", [2, CLASSES, torch.tensor(CLASSES)], ids=["one", "each", "t"])
def test_both_are_captums(spelling, classes):
    images, captums = photographs(), SmallClassifier().eval()
    target = torch.as_tensor(classes)
    expected = (
        Saliency(captums).attribute(images.clone().requires_grad_(), target=target).amax(dim=1)
    )
    found = saliency(SPELLINGS[spelling](), images, classes)
    torch.testing.assert_close(found, expected, **EXACT)
    expected = InputXGradient(captums).attribute(images.clone().requires_grad_(), target=target)
    found = gradient_times_input(SPELLINGS[spelling](), images, classes)
    torch.testing.assert_close(found, expected.detach(), **EXACT)


def test_without_classes_each_image_gets_its_highest_score():
    model, images = SmallClassifier().eval(), photographs(9)
    highest = model(images).argmax(dim=1)
    assert len(highest.unique()) > 1, "the test needs images of several classes"
    torch.testing.assert_close(saliency(model, images), saliency(model, images, highest), **EXACT)


def test_against_central_differences():
    model, images, step = SmallClassifier(nn.Tanh).eval(), photographs(1), 1e-5
    found = saliency(model, images, 1)[0]
    for row, column in ((0, 0), (5, 7), (8, 9)):
        slopes = []
        for channel in range(3):
            nudge = torch.zeros_like(images)
            nudge[0, channel, row, column] = step
            ends = model(images + nudge)[0, 1] - model(images - nudge)[0, 1]
            slopes.append(abs(ends.item()) / (2 * step))
        assert found[row, column].item() == pytest.approx(max(slopes), rel=1e-8)


def test_the_shares_of_a_linear_network_sum_to_its_score_without_bias():
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(429, 4).double()), photographs()
    shares = gradient_times_input(model, images, 3).sum(dim=(1, 2, 3))
    expected = (model(images)[:, 3] - model[1].bias[3]).detach()
    torch.testing.assert_close(shares, expected, **EXACT)


def test_many_images_come_back_in_order():
    """More than are run at a time, each as if it were alone."""
    model, images = SmallClassifier(), photographs(150)
    classes = torch.arange(150) % 5
    together = saliency(model, images, classes)
    for number in (0, 63, 64, 149):
        alone = saliency(model, images[number : number + 1], int(classes[number]))[0]
        torch.testing.assert_close(together[number], alone, **EXACT)


def test_penalties_are_read_by_their_own_score(digits):
    """The smallest penalty is the answer, and what lowers it speaks for the class."""
    model = LeNet5().double()
    images = digits.test.images[:4].double() / 255
    best = model(images).argmin(dim=1)
    assert (best != model(images).argmax(dim=1)).all()
    leaves = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(-model(leaves).amin(dim=1).sum(), leaves)
    scores = Map(1.0).scores
    found = gradient_times_input(model, images, score=scores)
    torch.testing.assert_close(found, expected * images, **EXACT)
    torch.testing.assert_close(saliency(model, images, best), expected[:, 0].abs(), **EXACT)


def test_single_precision_images_of_a_double_model_are_raised_to_it():
    found = gradient_times_input(SmallClassifier(), photographs().float(), 1)
    expected = gradient_times_input(SmallClassifier(), photographs().float().double(), 1)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


class _Detached(SmallClassifier):
    def forward(self, x):
        return super().forward(x).detach()


class _Strange(SmallClassifier):
    """Whatever a test wants to come out."""

    def __init__(self, strange) -> None:
        super().__init__()
        self.strange = strange

    def forward(self, x):
        return self.strange(super().forward(x))


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (5, "no class 5; its classes are 0 to 4"),
        (-1, "no class -1; its classes are 0 to 4"),
        ([0, 1, 7], "no class 7; its classes are 0 to 4"),
        ([0, 1], r"classes of shape \(2,\) and torch.int64 do not fit 3 images; give one whole"),
        (torch.tensor(1.0), r"classes of shape \(\) and torch.float32 do not fit 3 images"),
        (torch.tensor(True), "torch.bool do not fit"),
    ],
)
def test_classes_that_do_not_fit(classes, words):
    with pytest.raises(ProjectionError, match=words) as raised:
        saliency(SmallClassifier(), photographs(), classes)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            _Detached(),
            "no gradient leads from the class score back to all of the image: .* detaches",
        ),
        (_Strange(lambda y: (y, y)), r"the scores of _Strange are tuple, not \(images, classes\)"),
        (_Strange(lambda y: y[0]), r"are \(5,\), not"),
        (_Strange(lambda y: y[..., None]), r"are \(3, 5, 1\), not .*; give score=, a function"),
        (_Strange(lambda y: y * torch.nan), "class score that _Strange gives is nan for 3 images"),
        (_Strange(lambda y: (y * 0).sqrt()), "the gradient of the class score is .*; check weig"),
    ],
    ids=["detached", "tuple", "one axis", "three axes", "nan", "gradient"],
)
def test_scores_that_cannot_be_looked_into(model, words):
    with pytest.raises(ProjectionError, match=words) as raised:
        saliency(model, photographs(), 1)
    assert "\n" not in str(raised.value)


def test_a_score_function_puts_strange_outputs_right():
    model = _Strange(lambda y: {"logits": y[..., None]})
    found = saliency(model, photographs(), 1, score=lambda out: out["logits"].squeeze(2))
    torch.testing.assert_close(found, saliency(SmallClassifier(), photographs(), 1), **EXACT)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.zeros(3, 11, 13), r"images of shape \(1, 11, 13\) cannot be looked into; give"),
        (torch.zeros(0, 3, 11, 13), r"images of shape \(0, 3, 11, 13\) cannot be"),
        (torch.zeros(2, 1, 11, 13), r"SmallClassifier cannot take images of shape \(1, 11, 13\): "),
        (torch.zeros(2, 3, 32, 32), r"cannot take images of shape \(3, 32, 32\): .*mat1"),
    ],
)
def test_images_that_do_not_fit(images, words):
    with pytest.raises(ProjectionError, match=words) as raised:
        saliency(SmallClassifier(), images)
    assert "\n" not in str(raised.value)
