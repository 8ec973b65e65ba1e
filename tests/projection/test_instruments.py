"""Oracle: each instrument on a quiet model, against the same in every state a model can be in.

And the model's own state before, compared item by item with that after.
"""

import copy
import warnings

import pytest
import torch
from torch.nn.modules import module as torch_module

from internals.activations import Unit
from internals.projection import (
    grad_cam,
    gradient_times_input,
    guided_grad_cam,
    integrated_gradients,
    occluded_activity,
    occlusion,
    saliency,
    sanity,
    smooth_grad,
)
from tests.reference.small_classifier import SPELLINGS, SmallClassifier, photographs

pytestmark = pytest.mark.slow

INSTRUMENTS = {
    "saliency": saliency,
    "gradient_times_input": gradient_times_input,
    "integrated_gradients": lambda m, x: integrated_gradients(m, x, steps=3),
    "smooth_grad": lambda m, x: smooth_grad(m, x, samples=3),
    "grad_cam": lambda m, x: grad_cam(m, x, "conv2"),
    "guided_grad_cam": lambda m, x: guided_grad_cam(m, x, "conv2"),
    "occlusion": lambda m, x: occlusion(m, x, size=4, stride=4),
    "occluded_activity": lambda m, x: occluded_activity(m, x, "conv2", size=4, stride=4),
    "sanity": lambda m, x: torch.from_numpy(
        sanity(m, x, [Unit("conv2", 0), Unit("conv2", 1)], ["guided"]).magnitudes
    ),
}
every_instrument = pytest.mark.parametrize("name", INSTRUMENTS)


def _photograph(model):
    kinds = [name for name in vars(torch_module) if name.startswith("_global_")]
    return {
        "training": [module.training for module in model.modules()],
        "hooks": [
            {kind: list(hooks) for kind, hooks in vars(module).items() if kind.endswith("_hooks")}
            for module in model.modules()
        ],
        "global": {kind: copy.copy(getattr(torch_module, kind)) for kind in kinds},
        "wants": [p.requires_grad for p in model.parameters()],
        "grads": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "bits": {name: t.numpy().tobytes() for name, t in model.state_dict().items()},
        "modules": [id(module) for module in model.modules()],
        "own": [sorted(vars(module)) for module in model.modules()],
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "random": torch.get_rng_state().tolist(),
    }


def _odd(spelling="in place"):
    """Mixed modes, a frozen layer, a gradient, a hook: none of it may be tidied up."""
    model = SPELLINGS[spelling]().train()
    model.conv2.training = False
    model.conv1.weight.requires_grad_(False)
    model.fc.bias.grad = torch.ones_like(model.fc.bias)
    model.conv1.register_forward_hook(lambda *_: None)
    return model


@every_instrument
def test_the_answer_depends_on_no_state_and_leaves_none(name):
    expected = INSTRUMENTS[name](SmallClassifier().eval(), photographs(2))
    assert expected.isfinite().all() and expected.abs().max() > 0
    assert expected.device.type == "cpu" and not expected.requires_grad
    for spelling in SPELLINGS:
        for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            model, images = _odd(spelling), photographs(2)
            before, pixels = _photograph(model), images.clone()
            with mode():
                found = INSTRUMENTS[name](model, images)
            assert _photograph(model) == before
            assert torch.equal(images, pixels)
            torch.testing.assert_close(found.clone(), expected, rtol=1e-12, atol=1e-14)


class _Doubling(SmallClassifier):
    """Works in place on the very images that it is given."""

    def forward(self, x):
        return super().forward(x.mul_(2))


@every_instrument
def test_a_model_that_works_in_place_on_its_input(name):
    images = photographs(2)
    found = INSTRUMENTS[name](_Doubling(), images)
    assert torch.equal(images, photographs(2))
    assert found.isfinite().all() and found.abs().max() > 0
    if name == "saliency":
        torch.testing.assert_close(found, 2 * saliency(SmallClassifier(), 2 * images))


@every_instrument
def test_all_parameters_frozen(name):
    model = SmallClassifier().requires_grad_(False)
    expected = INSTRUMENTS[name](SmallClassifier(), photographs(2))
    found = INSTRUMENTS[name](model, photographs(2))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert not any(p.requires_grad for p in model.parameters())


@every_instrument
def test_images_that_are_inference_tensors_or_want_gradients(name):
    expected = INSTRUMENTS[name](SmallClassifier(), photographs(2))
    with torch.inference_mode():
        inference = photographs(2)
    wanting = photographs(2).requires_grad_()
    for images in (inference, wanting):
        found = INSTRUMENTS[name](SmallClassifier(), images)
        assert not found.requires_grad
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert wanting.grad is None


@every_instrument
@pytest.mark.parametrize("error", [KeyboardInterrupt, AttributeError, MemoryError])
def test_nothing_is_left_when_the_forward_pass_is_broken_off(name, error):
    model = _odd()
    broke = 0
    for calls_before in range(3):
        before, count, right = _photograph(model), iter(range(999)), model.pool1.forward

        def broken(x, count=count, calls_before=calls_before, right=right):
            if next(count) == calls_before:
                raise error
            return right(x)

        object.__setattr__(model.pool1, "forward", broken)
        try:
            INSTRUMENTS[name](model, photographs(2))
        except error:
            broke += 1
        finally:
            object.__delattr__(model.pool1, "forward")
        assert _photograph(model) == before
    assert broke > 0, "the error was swallowed"


@every_instrument
def test_black_images_give_numbers(name):
    """A flat image has no range, no order and here and there no gradient: that is 0, not NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert INSTRUMENTS[name](SmallClassifier(), photographs(2) * 0).isfinite().all()
