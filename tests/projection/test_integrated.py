"""Oracle: Captum's IntegratedGradients and NoiseTunnel, completeness, and integrals by hand."""

import pytest
import torch
from captum.attr import IntegratedGradients, NoiseTunnel, Saliency
from torch import nn

from internals.errors import ProjectionError
from internals.projection import gradient_times_input, integrated_gradients, saliency, smooth_grad
from tests.reference.small_classifier import SPELLINGS, SmallClassifier, photographs

EXACT = {"rtol": 1e-11, "atol": 1e-13}


# Integrated gradients


def _assert_captums(found, expected):
    """As near as Captum is itself: it keeps the weights of the rule in single precision."""
    assert (found - expected).abs().max() < 1e-7 * expected.abs().max()


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("baseline", [0.0, -0.3], ids=["zero", "dark"])
def test_integrated_gradients_are_captums(spelling, baseline):
    images, classes = photographs(), [4, 0, 2]
    expected = IntegratedGradients(SmallClassifier().eval()).attribute(
        images, baselines=baseline, target=torch.tensor(classes), n_steps=7
    )
    found = integrated_gradients(SPELLINGS[spelling](), images, classes, steps=7, baseline=baseline)
    _assert_captums(found, expected)


@pytest.mark.parametrize("shape", [(3, 3, 11, 13), (3, 11, 13), (3, 1, 1)])
def test_a_baseline_of_any_shape_that_fits(shape):
    images, baseline = photographs(), 0.3 * torch.randn(shape, dtype=torch.float64)
    expected = IntegratedGradients(SmallClassifier().eval()).attribute(
        images, baselines=baseline.expand_as(images), target=1, n_steps=5
    )
    found = integrated_gradients(SmallClassifier(), images, 1, steps=5, baseline=baseline)
    _assert_captums(found, expected)


def _gap(model, images, steps, baseline):
    """By how much the pixels miss the difference of the scores, as a share of it."""
    shares = integrated_gradients(model, images, 1, steps=steps, baseline=baseline)
    difference = model(images)[:, 1] - model(torch.full_like(images, baseline))[:, 1]
    return ((shares.sum(dim=(1, 2, 3)) - difference) / difference).abs().max().item()


def test_completeness():
    """The pixels sum to the score less the baseline's: to rounding where the score is smooth."""
    smooth = nn.Sequential(nn.Flatten(), nn.Linear(429, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    assert _gap(smooth, photographs(), 50, -0.2) < 1e-12
    assert _gap(smooth, photographs(), 2, -0.2) > 1e-5, "two steps should not be enough"
    bent = SmallClassifier().eval()  # rectifiers bend the way, and each bend costs a little
    assert _gap(bent, photographs(), 300, -0.2) < 2e-3
    assert _gap(bent, photographs(), 300, -0.2) < _gap(bent, photographs(), 3, -0.2)


class _Cubic(nn.Module):
    def forward(self, x):
        return (x**3).flatten(1).sum(dim=1, keepdim=True)


def test_a_cubic_by_hand():
    """(x - b) times the integral of 3 (b + a (x - b))^2 over a is x^3 - b^3; two points do it."""
    images = photographs()
    found = integrated_gradients(_Cubic(), images, steps=2, baseline=0.7)
    torch.testing.assert_close(found, images**3 - 0.7**3, **EXACT)


def test_a_straight_network_needs_one_step():
    model = nn.Sequential(nn.Flatten(), nn.Linear(429, 4)).double()
    expected = gradient_times_input(model, photographs(), 2)
    found = integrated_gradients(model, photographs(), 2, steps=1)
    torch.testing.assert_close(found, expected, **EXACT)


def test_the_class_is_that_of_the_image_and_not_of_the_way():
    model, images = SmallClassifier().eval(), photographs(9)
    highest, start = model(images).argmax(dim=1), model(images * 0).argmax(dim=1)
    assert (highest != start).any()
    found = integrated_gradients(model, images, steps=5)
    torch.testing.assert_close(found, integrated_gradients(model, images, highest, steps=5))


# SmoothGrad


def test_without_noise_it_is_the_gradient():
    model, images = SmallClassifier(), photographs()
    found = smooth_grad(model, images, samples=3, noise=0.0)
    torch.testing.assert_close(found.abs().amax(dim=1), saliency(model, images), **EXACT)
    torch.testing.assert_close(
        found * images, gradient_times_input(model, images), rtol=1e-11, atol=1e-13
    )


def test_the_mean_of_captums_gradients_over_the_documented_draws():
    model, images, classes = SmallClassifier().eval(), photographs(), [4, 0, 2]
    draws = torch.randn(
        6, 3, 11, 13, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    total = torch.zeros_like(images)
    for draw in draws:
        spread = images.amax(dim=(1, 2, 3)) - images.amin(dim=(1, 2, 3))
        noisy = (images + 0.2 * spread.view(-1, 1, 1, 1) * draw).requires_grad_()
        total += Saliency(model).attribute(noisy, target=torch.tensor(classes), abs=False)
    found = smooth_grad(model, images, classes, samples=6, noise=0.2, seed=5)
    torch.testing.assert_close(found, total / 6, **EXACT)


def test_the_same_as_captums_noise_tunnel_on_the_same_noise(monkeypatch):
    model, image = SmallClassifier().eval(), photographs(1)
    draws = torch.randn(
        4, 3, 11, 13, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    monkeypatch.setattr(torch, "normal", lambda mean, std: mean + std * draws)
    deviation = 0.1 * (image.max() - image.min()).item()
    expected = NoiseTunnel(Saliency(model)).attribute(
        image.clone().requires_grad_(), nt_samples=4, stdevs=deviation, target=2, abs=False
    )
    found = smooth_grad(model, image, 2, samples=4, noise=0.1)
    torch.testing.assert_close(found, expected, **EXACT)


def test_a_picture_depends_on_the_seed_and_not_on_its_company():
    model, images = SmallClassifier(), photographs()
    together = smooth_grad(model, images, 1, samples=5, seed=3)
    alone = smooth_grad(model, images[2:], 1, samples=5, seed=3)
    torch.testing.assert_close(together[2:], alone, **EXACT)
    other = smooth_grad(model, images, 1, samples=5, seed=4)
    assert (together - other).abs().max() > 1e-3 * together.abs().max()


def test_the_global_generator_is_left_alone():
    state = torch.get_rng_state()
    smooth_grad(SmallClassifier(), photographs(1), 1, samples=2)
    built = torch.get_rng_state()
    SmallClassifier()  # seeds the global generator itself
    assert torch.get_rng_state().tolist() == built.tolist() != state.tolist()


@pytest.mark.parametrize(
    ("instrument", "options", "words"),
    [
        (integrated_gradients, {"steps": 0}, "steps=0; give a number, 1 or more"),
        (smooth_grad, {"samples": 0}, "samples=0; give a number, 1 or more"),
        (smooth_grad, {"noise": -0.1}, "noise=-0.1; give a number, 0 or more"),
        (smooth_grad, {"noise": float("nan")}, "noise=nan; give a number"),
        (
            integrated_gradients,
            {"baseline": torch.zeros(2, 11, 13)},
            r"baseline of shape \(2, 11, 13\) does not fit images of shape \(3, 3, 11, 13\)",
        ),
        (integrated_gradients, {"classes": 9}, "no class 9"),
    ],
)
def test_refusals(instrument, options, words):
    with pytest.raises(ProjectionError, match=words) as raised:
        instrument(SmallClassifier(), photographs(), **options)
    assert "\n" not in str(raised.value)
