"""Oracle: Captum's attacks, a loop over single images in float64, and a network that is linear."""

import pytest
import torch
from captum.robust import FGSM, PGD
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from internals.attacks import fgsm, input_gradient, pgd, random_start
from internals.data import MeanImage, Normalization
from internals.errors import AttackError
from tests.reference.small_classifier import SmallClassifier

COLOURS = (3, 11, 13)
IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PLAIN = Normalization((0.0,) * 3, (1.0,) * 3)
RANGE = Normalization((0.1 / 1.275,) * 3, (1 / 1.275,) * 3)  # LeNet-5's: -0.1 to 1.175
LOSS = functional.cross_entropy


def _pictures(count: int = 17, seed: int = 5) -> torch.Tensor:
    """Random pictures with some black and some white pixels, as real ones have."""
    random = torch.Generator().manual_seed(seed)
    drawn = torch.rand(count, *COLOURS, generator=random, dtype=torch.float64)
    return (1.6 * drawn - 0.3).clamp(0, 1)


def _labels(count: int = 17, seed: int = 6) -> torch.Tensor:
    return torch.randint(5, (count,), generator=torch.Generator().manual_seed(seed))


class Normalised(nn.Module):
    """The classifier as Captum wants it: from pixels to logits."""

    def __init__(self, network: nn.Module, normalization: Normalization) -> None:
        super().__init__()
        self.network, self.normalization = network, normalization

    def forward(self, pixels):
        mean, std = (torch.tensor(v, dtype=pixels.dtype) for v in vars(self.normalization).values())
        return self.network((pixels - mean.view(-1, 1, 1)) / std.view(-1, 1, 1))


def _losses(logits, labels):
    return functional.cross_entropy(logits, labels, reduction="none")


@pytest.mark.parametrize("normalization", [IMAGENET, RANGE], ids=["imagenet", "range"])
@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("epsilon", [0.004, 0.3])
def test_both_attacks_are_captums(normalization, targeted, epsilon):
    """Captum drops gradients below 1e-6 unless told, and its own loss takes probabilities."""
    network, pixels = SmallClassifier().eval(), _pictures()
    labels, targets = _labels(), _labels(seed=7)
    captum = {"target": targets if targeted else labels, "targeted": targeted}
    ours = {"normalization": normalization, "loss": LOSS, "targets": targets if targeted else None}
    one_step = FGSM(Normalised(network, normalization), _losses, lower_bound=0, upper_bound=1)
    one_step.zero_thresh = 0
    expected = one_step.perturb(pixels, epsilon=epsilon, **captum)
    assert (expected - pixels).abs().max() > 0.99 * epsilon
    torch.testing.assert_close(
        fgsm(network, pixels, labels, epsilon, **ours), expected, rtol=0, atol=1e-6
    )
    many_steps = PGD(Normalised(network, normalization), _losses, lower_bound=0, upper_bound=1)
    many_steps.fgsm.zero_thresh = 0
    expected = many_steps.perturb(
        pixels, radius=epsilon, step_size=epsilon / 3, step_num=7, **captum
    )
    perturbed = pgd(network, pixels, labels, epsilon, step=epsilon / 3, steps=7, **ours)
    torch.testing.assert_close(perturbed, expected, rtol=0, atol=1e-6)


def test_pgd_is_the_loop_that_the_paper_writes():
    """Image by image and pixel by pixel, from a random start: x <- P(x + a sgn(grad))."""
    network, pixels, labels = SmallClassifier().eval(), _pictures(3), _labels(3)
    epsilon, step = 0.07, 0.03
    start = random_start(pixels.shape, epsilon, torch.Generator().manual_seed(8)).double()
    assert start.abs().max() > 0.06 and abs(start.mean()) < 0.005
    perturbed = pgd(
        network, pixels, labels, epsilon, step=step, steps=4, normalization=IMAGENET, loss=LOSS,
        generator=torch.Generator().manual_seed(8),
    )  # fmt: skip
    for index, image in enumerate(pixels):
        x = _near((image + start[index]).flatten().tolist(), image, epsilon)
        for _ in range(4):
            leaf = torch.tensor(x, dtype=torch.float64).view(1, *COLOURS).requires_grad_()
            _losses(Normalised(network, IMAGENET)(leaf), labels[index : index + 1]).sum().backward()
            signs = leaf.grad.sign().flatten().tolist()
            moved = [value + step * sign for value, sign in zip(x, signs, strict=True)]
            x = _near(moved, image, epsilon)
        expected = torch.tensor(x, dtype=torch.float64).view(COLOURS)
        torch.testing.assert_close(perturbed[index], expected, rtol=0, atol=1e-12)


def _near(values: list[float], image: torch.Tensor, epsilon: float) -> list[float]:
    """Each value brought to within epsilon of its pixel, and then to 0..1."""
    inside = []
    for value, pixel in zip(values, image.flatten().tolist(), strict=True):
        value = max(pixel - epsilon, min(pixel + epsilon, value))
        inside.append(max(0.0, min(1.0, value)))
    return inside


@pytest.mark.parametrize("targeted", [False, True])
def test_against_a_linear_network_both_attacks_find_the_best_there_is(targeted):
    """w.x between two classes: every pixel goes as far as it can, along the sign of its weight."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 11 * 13, 2)).double()
    pixels, labels = _pictures(), _labels() % 2
    towards = network[1].weight[1 - labels] - network[1].weight[labels]
    best = pixels + 0.2 * towards.detach().sign().view_as(pixels)
    best = torch.minimum(torch.maximum(best, torch.zeros_like(best)), torch.ones_like(best))
    targets = 1 - labels if targeted else None
    options = {"normalization": PLAIN, "loss": LOSS, "targets": targets}
    torch.testing.assert_close(fgsm(network, pixels, labels, 0.2, **options), best)
    random = torch.Generator().manual_seed(1)
    perturbed = pgd(network, pixels, labels, 0.2, step=0.09, steps=5, generator=random, **options)
    torch.testing.assert_close(perturbed, best)  # 5 x 0.09 crosses the ball from any start


@settings(max_examples=25, deadline=None)
@given(
    epsilon=st.floats(0, 1),
    normalization=st.sampled_from([IMAGENET, RANGE, PLAIN]),
    seed=st.integers(0, 2**31),
    targeted=st.booleans(),
    single=st.booleans(),
)
def test_no_pixel_leaves_the_ball_or_the_range(epsilon, normalization, seed, targeted, single):
    """And some pixel goes to the border of what it may, so the bounds are not met by idleness."""
    network = SmallClassifier().to(torch.float32 if single else torch.float64)
    pixels = _pictures(5, seed).to(torch.float32 if single else torch.float64)
    labels = _labels(5, seed)
    options = {"normalization": normalization, "loss": LOSS}
    options["targets"] = (labels + 1) % 5 if targeted else None
    random = torch.Generator().manual_seed(seed)
    for perturbed in (
        fgsm(network, pixels, labels, epsilon, **options),
        pgd(network, pixels, labels, epsilon, steps=3, generator=random, **options),
    ):
        assert perturbed.min() >= 0 and perturbed.max() <= 1
        moved = (perturbed - pixels).abs().max().item()
        assert moved <= epsilon + (1e-7 if single else 1e-15)
        assert moved >= 0.5 * min(epsilon, 0.5) - 1e-7


@pytest.mark.parametrize("normalization", [IMAGENET, RANGE])
def test_an_epsilon_of_0_changes_not_one_bit(normalization):
    network, labels = SmallClassifier().float(), _labels()
    pixels = torch.randint(256, (17, *COLOURS)).float() / 255
    options = {"normalization": normalization, "loss": LOSS}
    random = torch.Generator().manual_seed(2)
    assert torch.equal(fgsm(network, pixels, labels, 0.0, **options), pixels)
    for generator in (None, random):
        perturbed = pgd(network, pixels, labels, 0.0, steps=3, generator=generator, **options)
        assert torch.equal(perturbed, pixels)
    perturbed = pgd(network, pixels, labels, 0.0, step=0.1, steps=3, **options)
    assert torch.equal(perturbed, pixels)


def test_pgd_raises_the_loss_more_than_fgsm_and_fgsm_more_than_chance():
    network, pixels, labels = SmallClassifier().eval(), _pictures(60), _labels(60)
    options = {"normalization": IMAGENET, "loss": LOSS}

    def loss(perturbed):
        return LOSS(Normalised(network, IMAGENET)(perturbed), labels).item()

    noise = random_start(pixels.shape, 0.05, torch.Generator().manual_seed(3)).sign()
    chance = (pixels + 0.05 * noise).clamp(0, 1)
    one_step = fgsm(network, pixels, labels, 0.05, **options)
    ten_steps = pgd(network, pixels, labels, 0.05, steps=10, **options)
    assert loss(pixels) < loss(one_step) < loss(ten_steps)
    assert loss(chance) < loss(one_step)


def test_the_normalisation_changes_the_network_and_not_the_ball():
    """The same network behind two scales of input, its first layer adapted: the same attack."""
    plain, scaled = SmallClassifier().eval(), SmallClassifier().eval()
    with torch.no_grad():
        scaled.conv1.weight.div_(1.275)
    shift = torch.full((3,), 0.1, dtype=torch.float64)
    pixels, labels = _pictures(), _labels()
    # Padding has no pixel to shift, so the scale is compared without the shift.
    stretched = Normalization((0.0,) * 3, (1 / 1.275,) * 3)
    unscaled = pgd(plain, pixels, labels, 0.1, steps=5, normalization=PLAIN, loss=LOSS)
    rescaled = pgd(scaled, pixels, labels, 0.1, steps=5, normalization=stretched, loss=LOSS)
    torch.testing.assert_close(unscaled, rescaled, rtol=0, atol=1e-12)
    reach = RANGE.apply(255 * (pixels + 0.1)) - RANGE.apply(255 * pixels)
    torch.testing.assert_close(reach, torch.full_like(reach, 1.275 * 0.1))
    black = RANGE.apply(torch.zeros(1, *COLOURS, dtype=torch.float64))[0, :, 0, 0]
    torch.testing.assert_close(black, -shift)


def test_a_mean_image_is_a_normalisation_too():
    mean = MeanImage(torch.rand(3, 13, 13), 13)
    network, labels = SmallClassifier().float(), _labels(4)
    pixels = _pictures(4).float()
    perturbed = fgsm(network, pixels, labels, 0.1, normalization=mean, loss=LOSS)
    leaf = pixels.clone().requires_grad_()
    top = mean.image[:, 1:12]
    _losses(network.eval()(leaf - top), labels).sum().backward()
    expected = (pixels + 0.1 * leaf.grad.sign()).clamp(0, 1)
    torch.testing.assert_close(perturbed, expected)


def test_the_network_is_left_as_it_was_found():
    """Modes, gradients that are there, what needs one, and the dropout's random state."""
    network, pixels, labels = SmallClassifier(), _pictures(), _labels()
    network.train()
    network.relu1.eval()
    network.conv1.weight.requires_grad_(False)
    LOSS(network(pixels), labels).backward()
    modes = [module.training for module in network.modules()]
    needs = [p.requires_grad for p in network.parameters()]
    before = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    state, original = torch.random.get_rng_state(), pixels.clone()
    with torch.no_grad():
        perturbed = pgd(network, pixels, labels, 0.1, steps=2, normalization=IMAGENET, loss=LOSS)
    assert [module.training for module in network.modules()] == modes
    assert [p.requires_grad for p in network.parameters()] == needs
    for p, gradient in zip(network.parameters(), before, strict=True):
        assert p.grad is None if gradient is None else torch.equal(p.grad, gradient)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(pixels, original) and not perturbed.requires_grad
    assert not torch.equal(perturbed, pixels)


def test_the_gradient_is_the_slope_of_the_loss():
    """By central differences, pixel for pixel of one channel."""
    network, pixels, labels = SmallClassifier().eval(), _pictures(2), _labels(2)
    gradient = input_gradient(network, pixels, labels, normalization=IMAGENET, loss=LOSS)
    whole, step = Normalised(network, IMAGENET), 1e-6
    for row, column in [(0, 0), (3, 5), (10, 12)]:
        moved = [pixels.clone(), pixels.clone()]
        for sign, picture in zip((1, -1), moved, strict=True):
            picture[1, 2, row, column] += sign * step
        up, down = (LOSS(whole(picture), labels).item() for picture in moved)
        assert gradient[1, 2, row, column].item() == pytest.approx((up - down) / 2 / step, rel=1e-6)


@pytest.mark.parametrize(
    ("pixels", "epsilon", "options", "message"),
    [
        (torch.zeros(1, *COLOURS), 8.0, {}, r"epsilon=8 is not in \[0, 1\], the range of a pixel"),
        (torch.zeros(1, *COLOURS), -0.1, {}, "epsilon=-0.1 is not in"),
        (torch.full((1, *COLOURS), 1.175), 0.1, {}, "pixels run from 1.175 to 1.175, not within"),
        (torch.full((1, *COLOURS), -0.1), 0.1, {}, "pixels run from -0.1 to -0.1"),
        (torch.zeros(1, *COLOURS), 0.1, {"steps": 0}, "steps=0 of step=.* go nowhere"),
        (torch.zeros(1, *COLOURS), 0.1, {"step": 0.0}, "steps=3 of step=0 go nowhere"),
    ],
)
def test_what_cannot_be_meant_is_refused(pixels, epsilon, options, message):
    options = {"steps": 3, "normalization": PLAIN, "loss": LOSS, **options}
    with pytest.raises(AttackError, match=message):
        pgd(SmallClassifier().float(), pixels, torch.zeros(1).long(), epsilon, **options)


def test_bytes_are_refused(unchecked_shapes):
    pixels = torch.zeros(1, *COLOURS, dtype=torch.uint8)
    with pytest.raises(AttackError, match=r"pixels are torch.uint8; give real numbers in \[0, 1\]"):
        fgsm(SmallClassifier(), pixels, torch.zeros(1).long(), 0.1, normalization=PLAIN, loss=LOSS)
