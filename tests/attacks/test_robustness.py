"""Oracle: a network whose answer is the brightest pixel, fooled by hand; and brute force."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from internals.attacks.gradient_sign import fgsm, pgd
from internals.attacks.robustness import (
    CoinToss,
    SignedSteps,
    answers,
    attacked,
    targeted_success,
    withstands,
)
from internals.data.image_set import ImageSet
from internals.data.normalization import Normalization
from internals.errors import AttackError
from internals.training.losses import CrossEntropy

SCALE = Normalization((0.25,), (0.5,))


@dataclass
class Network:
    model: nn.Module
    normalization: Normalization
    loss: CrossEntropy


@pytest.fixture
def victim():
    """Three classes, one for each of three pixels; what is read is (pixel - 1/4) / (1/2)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.eye(3))
    return Network(model, SCALE, CrossEntropy())


def _images(rows: list[list[int]], labels: list[int]) -> ImageSet:
    pixels = torch.tensor(rows, dtype=torch.uint8).view(-1, 1, 1, 3)
    return ImageSet(pixels, torch.tensor(labels), ("left", "middle", "right"), "rows", "f")


# How much brighter the right pixel is than the next: 102, 51, 10 of 255; the last is misread.
SET = _images([[204, 102, 0], [51, 102, 51], [10, 0, 20], [9, 30, 0]], [0, 1, 2, 0])


def _fast(victim, pixels, labels, epsilon):
    return fgsm(
        victim.model, pixels, labels, epsilon, normalization=victim.normalization, loss=victim.loss
    )


def _idle(victim, pixels, labels, epsilon):
    return pixels


def _towards(victim, pixels, labels, epsilon):
    return pgd(
        victim.model, pixels, labels, epsilon, steps=8, normalization=victim.normalization,
        loss=victim.loss, targets=labels,
    )  # fmt: skip


def test_an_image_falls_when_epsilon_is_half_its_lead(victim):
    """The right pixel sinks and the next rises: half of 0.4, 0.2 and 0.039 each."""
    found = withstands(victim, SET, [0.0, 0.01, 0.03, 0.09, 0.11, 0.19, 0.21], [_fast])
    wanted = [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0],
              [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]  # fmt: skip
    assert found.astype(int).tolist() == wanted


def test_nested_balls_are_searched_once(victim):
    """What one epsilon fooled is not attacked again, even if the larger step would fail."""
    asked: list[tuple[int, float]] = []

    def overshoots(victim, pixels, labels, epsilon):
        asked.append((len(pixels), epsilon))
        return _fast(victim, pixels, labels, epsilon) if epsilon < 0.1 else pixels

    found = withstands(victim, SET, [0.03, 0.05, 0.3], [overshoots], nested=True)
    assert found.astype(int).tolist() == [[1, 1, 0, 0]] * 3
    assert asked == [(4, 0.03), (2, 0.05), (2, 0.3)]
    apart = withstands(victim, SET, [0.03, 0.05, 0.3], [overshoots])
    assert apart[2].astype(int).tolist() == [1, 1, 1, 0]
    with pytest.raises(AttackError, match="must rise where they are nested"):
        withstands(victim, SET, [0.3, 0.1], [overshoots], nested=True)


def test_an_image_has_to_withstand_every_attack(victim):
    both = withstands(victim, SET, [0.11], [_idle, _fast])
    assert both.tolist() == withstands(victim, SET, [0.11], [_fast]).tolist()
    assert withstands(victim, SET, [0.11], [_idle])[0].tolist() == [True, True, True, False]


def test_targets_are_reached_when_the_others_are_near_enough(victim):
    """Of the two lefts one lies 0.2 and 0.4 from the others, the other 0.12 or less."""
    found = targeted_success(victim, SET, 0.21, _towards)
    wanted = [[np.nan, 1.0, 0.5], [1.0, np.nan, 1.0], [1.0, 1.0, np.nan]]
    np.testing.assert_array_equal(found, wanted)
    small = targeted_success(victim, SET, 0.03, _towards)
    np.testing.assert_array_equal(small[0], [np.nan, 0.5, 0.0])
    np.testing.assert_array_equal(small[2], [1.0, 0.0, np.nan])


def test_answers_are_the_softmax_by_hand(victim):
    said = answers(victim, torch.tensor([[0.8, 0.4, 0.0], [0.0, 0.0, 0.5]]).view(2, 1, 1, 3))
    assert said.predicted.tolist() == [0, 2]
    by_hand = [np.exp(1.6) / np.exp([1.6, 0.8, 0]).sum(), np.e / (np.e + 2)]
    np.testing.assert_allclose(said.confidence, by_hand, rtol=1e-6)


def test_batches_do_not_matter(victim):
    """601 images are three batches; attacked one by one they come out the same."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (601, 1, 1, 3), dtype=torch.uint8, generator=random)
    labels = torch.randint(3, (601,), generator=random)
    many = ImageSet(pixels, labels, SET.class_names, "many", "f")
    found = attacked(victim, many, 0.1, _fast)
    for index in (0, 249, 250, 600):
        alone = _fast(victim, pixels[index : index + 1] / 255, labels[index : index + 1], 0.1)
        torch.testing.assert_close(found[index : index + 1], alone)
    assert len(answers(victim, found).predicted) == 601


def test_one_signed_step_is_fgsm_and_many_are_pgd(victim):
    pixels, labels = SET.images / 255, SET.labels
    found = SignedSteps()(victim, pixels, labels, 0.07)
    torch.testing.assert_close(found, _fast(victim, pixels, labels, 0.07), rtol=0, atol=0)
    options = {"normalization": victim.normalization, "loss": victim.loss, "steps": 6}
    for aim, targets in (("loss", None), ("target", labels)):
        random = torch.Generator().manual_seed(4)
        wanted = pgd(
            victim.model, pixels, labels, 0.07, targets=targets, generator=random, **options
        )
        found = SignedSteps(6, aim, seed=4)(victim, pixels, labels, 0.07)
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_the_margin_moves_two_pixels_and_acceptance_one_up_the_others_down(victim):
    """The logits are the pixels: by hand, for the first row, 204 102 0, and its rival 102."""
    pixels, labels = SET.images[:1] / 255, SET.labels[:1]
    found = SignedSteps(1, "margin")(victim, pixels, labels, 0.1).flatten()
    torch.testing.assert_close(found, torch.tensor([0.7, 0.5, 0.0]))
    found = SignedSteps(1, "acceptance")(victim, pixels, labels, 0.1).flatten()
    torch.testing.assert_close(found, torch.tensor([0.7, 0.5, 0.0]))
    raised = SET.images[2:3] / 255  # 10 0 20, a right; the likeliest wrong class is left
    found = SignedSteps(1, "acceptance")(victim, raised, SET.labels[2:3], 0.01).flatten()
    torch.testing.assert_close(found, torch.tensor([10 / 255 + 0.01, 0.0, 20 / 255 - 0.01]))


def test_a_guide_is_followed_in_the_place_of_the_victim(victim):
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(-torch.eye(3))  # the darkest pixel is its answer
    guide = Network(model, SCALE, CrossEntropy())
    pixels, labels = SET.images[:1] / 255, SET.labels[:1]
    found = SignedSteps(1, "margin", guide=guide)(victim, pixels, labels, 0.1).flatten()
    torch.testing.assert_close(found, torch.tensor([0.9, 0.4, 0.0]))  # right up, rival 0 stays


def test_a_coin_moves_every_pixel_and_favours_no_way(victim):
    pixels = torch.full((1, 1, 100, 100), 0.5)
    found = CoinToss(3)(victim, pixels, torch.zeros(1).long(), 0.1)
    torch.testing.assert_close((found - pixels).abs(), torch.full_like(pixels, 0.1))
    assert abs((found > pixels).float().mean().item() - 0.5) < 0.02
    assert (CoinToss(4)(victim, pixels, torch.zeros(1).long(), 0.1) != found).any()


@pytest.mark.parametrize(("count", "aim"), [(0, "loss"), (3, "nearest")])
def test_no_attack_is_refused(count, aim, unchecked_shapes):
    with pytest.raises(AttackError, match=f"count={count} and aim='{aim}' make no attack; give"):
        SignedSteps(count, aim)
