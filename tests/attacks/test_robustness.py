"""Oracle: a network whose answer is the brightest pixel, fooled by hand; and brute force."""

import numpy as np
import pytest
import torch
from torch import nn

from internals.anatomy import TracedModule
from internals.attacks import (
    RandomSigns,
    SignedSteps,
    correct_under_attack,
    fgsm,
    forward,
    margin_loss,
    perturb,
    pgd,
    predict,
    runner_up,
    targeted_success,
)
from internals.data import ImageSet, Normalization
from internals.errors import AttackError
from internals.training import CrossEntropy

SCALE = Normalization((0.25,), (0.5,))


def linear_network(weight: torch.Tensor, **options) -> TracedModule:
    """Three pixels to three logits, `weight` times (pixel - 1/4) / (1/2)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(weight)
    return TracedModule(model, **{"normalization": SCALE, "loss": CrossEntropy(), **options})


@pytest.fixture
def network():
    """Three classes, one for each of three pixels; the brightest is the answer."""
    return linear_network(torch.eye(3))


def _images(rows: list[list[int]], labels: list[int]) -> ImageSet:
    pixels = torch.tensor(rows, dtype=torch.uint8).view(-1, 1, 1, 3)
    return ImageSet(pixels, torch.tensor(labels), ("left", "middle", "right"), "rows", "f")


# How much brighter the right pixel is than the next: 102, 51, 10 of 255; the last is misread.
SET = _images([[204, 102, 0], [51, 102, 51], [10, 0, 20], [9, 30, 0]], [0, 1, 2, 0])


def _one_step(network, pixels, labels, epsilon):
    return fgsm(
        network.model,
        pixels,
        labels,
        epsilon,
        normalization=network.normalization,
        loss=network.loss,
    )


def _no_change(network, pixels, labels, epsilon):
    return pixels


def _to_target(network, pixels, labels, epsilon):
    return pgd(
        network.model, pixels, labels, epsilon, steps=8, normalization=network.normalization,
        loss=network.loss, targets=labels,
    )  # fmt: skip


def test_an_image_falls_when_epsilon_is_half_its_lead(network):
    """The right pixel sinks and the next rises: half of 0.4, 0.2 and 0.039 each."""
    epsilons = [0.0, 0.01, 0.03, 0.09, 0.11, 0.19, 0.21]
    correct = correct_under_attack(network, SET, epsilons, [_one_step])
    expected = [[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0],
                [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]  # fmt: skip
    assert correct.astype(int).tolist() == expected


def test_nested_balls_are_searched_once(network):
    """What one epsilon fooled is not attacked again, even if the larger step would fail."""
    calls: list[tuple[int, float]] = []

    def overshooting(network, pixels, labels, epsilon):
        calls.append((len(pixels), epsilon))
        return _one_step(network, pixels, labels, epsilon) if epsilon < 0.1 else pixels

    epsilons = [0.03, 0.05, 0.3]
    nested = correct_under_attack(network, SET, epsilons, [overshooting], nested=True)
    assert nested.astype(int).tolist() == [[1, 1, 0, 0]] * 3
    assert calls == [(4, 0.03), (2, 0.05), (2, 0.3)]
    separate = correct_under_attack(network, SET, epsilons, [overshooting])
    assert separate[2].astype(int).tolist() == [1, 1, 1, 0]
    with pytest.raises(AttackError, match="must rise where they are nested"):
        correct_under_attack(network, SET, [0.3, 0.1], [overshooting], nested=True)


def test_a_correct_image_withstands_every_attack(network):
    strong = correct_under_attack(network, SET, [0.11], [_one_step])
    weak = correct_under_attack(network, SET, [0.11], [_no_change])
    both = correct_under_attack(network, SET, [0.11], [_no_change, _one_step])
    assert both.tolist() == strong.tolist()
    assert weak[0].tolist() == [True, True, True, False]


def test_targets_are_reached_when_the_others_are_near_enough(network):
    """Of the two lefts one lies 0.2 and 0.4 from the others, the other 0.12 or less."""
    rates = targeted_success(network, SET, 0.21, _to_target)
    expected = [[np.nan, 1.0, 0.5], [1.0, np.nan, 1.0], [1.0, 1.0, np.nan]]
    np.testing.assert_array_equal(rates, expected)
    small = targeted_success(network, SET, 0.03, _to_target)
    np.testing.assert_array_equal(small[0], [np.nan, 0.5, 0.0])
    np.testing.assert_array_equal(small[2], [1.0, 0.0, np.nan])


def test_predictions_are_the_softmax_by_hand(network):
    pixels = torch.tensor([[0.8, 0.4, 0.0], [0.0, 0.0, 0.5]]).view(2, 1, 1, 3)
    predictions = predict(network, pixels)
    assert predictions.predicted.tolist() == [0, 2]
    by_hand = [np.exp(1.6) / np.exp([1.6, 0.8, 0]).sum(), np.e / (np.e + 2)]
    np.testing.assert_allclose(predictions.confidence, by_hand, rtol=1e-6)
    torch.testing.assert_close(forward(network, pixels), 2 * pixels.view(2, 3) - 0.5)


def test_batches_do_not_matter(network):
    """601 images are three batches; attacked one by one they come out the same."""
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (601, 1, 1, 3), dtype=torch.uint8, generator=random)
    labels = torch.randint(3, (601,), generator=random)
    many = ImageSet(pixels, labels, SET.class_names, "many", "f")
    perturbed = perturb(network, many, 0.1, _one_step)
    for index in (0, 249, 250, 600):
        alone = _one_step(network, pixels[index : index + 1] / 255, labels[index : index + 1], 0.1)
        torch.testing.assert_close(perturbed[index : index + 1], alone)
    assert len(predict(network, perturbed).predicted) == 601


def test_one_signed_step_is_fgsm_and_many_are_pgd(network):
    pixels, labels = SET.images / 255, SET.labels
    perturbed = SignedSteps()(network, pixels, labels, 0.07)
    expected = _one_step(network, pixels, labels, 0.07)
    torch.testing.assert_close(perturbed, expected, rtol=0, atol=0)
    options = {"normalization": network.normalization, "loss": network.loss, "steps": 6}
    for objective, targets in (("loss", None), ("target", labels)):
        random = torch.Generator().manual_seed(4)
        expected = pgd(
            network.model, pixels, labels, 0.07, targets=targets, generator=random, **options
        )
        perturbed = SignedSteps(6, objective, seed=4)(network, pixels, labels, 0.07)
        torch.testing.assert_close(perturbed, expected, rtol=0, atol=0)


def test_margins_by_hand():
    scores = torch.tensor([[3.0, 1.0, -2.0], [0.5, 0.25, 4.0]], requires_grad=True)
    value = margin_loss(scores, torch.tensor([0, 1]))
    assert value.item() == ((1 - 3) + (4 - 0.25)) / 2
    value.backward()
    assert scores.grad.tolist() == [[-0.5, 0.5, 0.0], [0.0, -0.5, 0.5]]
    assert runner_up(scores, torch.tensor([0, 2])).tolist() == [1, 0]


def test_the_margin_moves_two_pixels_and_the_runner_up_one_up_the_others_down(network):
    """The logits are the pixels: by hand, for the first row, 204 102 0, and its rival 102."""
    pixels, labels = SET.images[:1] / 255, SET.labels[:1]
    for objective in ("margin", "runner-up"):
        perturbed = SignedSteps(1, objective)(network, pixels, labels, 0.1).flatten()
        torch.testing.assert_close(perturbed, torch.tensor([0.7, 0.5, 0.0]))
    third = SET.images[2:3] / 255  # 10 0 20, a right; the likeliest wrong class is left
    perturbed = SignedSteps(1, "runner-up")(network, third, SET.labels[2:3], 0.01).flatten()
    torch.testing.assert_close(perturbed, torch.tensor([10 / 255 + 0.01, 0.0, 20 / 255 - 0.01]))


def test_outputs_are_read_by_the_score(network):
    """Penalties, of which the smallest wins: the margin and the answers are those of the logits."""
    penalties = linear_network(-torch.eye(3), loss=None, score=lambda outputs: -outputs)
    pixels, labels = SET.images / 255, SET.labels
    attack = SignedSteps(1, "margin")
    torch.testing.assert_close(
        attack(penalties, pixels, labels, 0.1), attack(network, pixels, labels, 0.1)
    )
    np.testing.assert_array_equal(
        correct_under_attack(penalties, SET, [0.03, 0.11], [attack]),
        correct_under_attack(network, SET, [0.03, 0.11], [attack]),
    )


def test_a_transferred_attack_follows_the_surrogate(network):
    surrogate = linear_network(-torch.eye(3))  # the darkest pixel is its answer
    pixels, labels = SET.images[:1] / 255, SET.labels[:1]
    attack = SignedSteps(1, "margin", surrogate=surrogate)
    perturbed = attack(network, pixels, labels, 0.1).flatten()
    torch.testing.assert_close(perturbed, torch.tensor([0.9, 0.4, 0.0]))  # right up, rival 0 stays


def test_random_signs_move_every_pixel_and_favour_no_way(network):
    pixels, labels = torch.full((1, 1, 100, 100), 0.5), torch.zeros(1).long()
    perturbed = RandomSigns(3)(network, pixels, labels, 0.1)
    torch.testing.assert_close((perturbed - pixels).abs(), torch.full_like(pixels, 0.1))
    assert abs((perturbed > pixels).float().mean().item() - 0.5) < 0.02
    assert (RandomSigns(4)(network, pixels, labels, 0.1) != perturbed).any()


@pytest.mark.parametrize(("steps", "objective"), [(0, "loss"), (3, "nearest")])
def test_no_attack_is_refused(steps, objective, unchecked_shapes):
    message = f"steps={steps} and objective='{objective}' make no attack; give"
    with pytest.raises(AttackError, match=message):
        SignedSteps(steps, objective)


def test_what_is_not_known_of_a_network_is_asked_for(network):
    """A bare module has neither; a margin needs no loss."""
    without_loss = linear_network(torch.eye(3), loss=None)
    for attack in (SignedSteps(), SignedSteps(surrogate=network.model)):
        with pytest.raises(AttackError, match=r"Sequential is fed .* Network\(model, normaliz"):
            perturb(network.model, SET, 0.1, attack)
    with pytest.raises(AttackError, match=r"loss of Sequential is not known; .* loss=CrossEnt"):
        perturb(without_loss, SET, 0.1, SignedSteps())
    with pytest.raises(AttackError, match="loss of Sequential is not known"):
        predict(without_loss, SET.images / 255)
    with pytest.raises(AttackError, match="Sequential is fed"):
        forward(network.model, SET.images / 255)
    perturb(without_loss, SET, 0.1, SignedSteps(1, "margin"))
