"""Oracle: the attacks called by hand, a run without an adversary, and one process."""

from dataclasses import replace

import pytest
import torch

from internals.attacks.gradient_sign import fgsm
from internals.data.pipeline import Pipeline
from internals.errors import TrainingError
from internals.models.lenet5 import LeNet5
from internals.training import loop
from internals.training.batches import Batches
from internals.training.loop import Adversary
from internals.training.losses import MapLoss

CPU = torch.device("cpu")
PIPELINE = Pipeline.from_range(-0.1, 1.175, 32)


@pytest.fixture
def fooled(tiny_recipe):
    return replace(
        tiny_recipe, adversary="pgd", adversary_epsilon=0.1, adversary_steps=2, adversary_share=0.5
    )


def _network():
    torch.manual_seed(3)
    return LeNet5()


def _inputs(few, count=32):
    return PIPELINE.evaluation(few.train.images[:count]), few.train.labels[:count]


@pytest.mark.parametrize(
    ("share", "wanted"),
    [(0.5, [0, 1] * 5), (1.0, [1] * 10), (0.25, [0, 0, 0, 1, 0, 0, 0, 1, 0, 0]), (0.01, [0] * 10)],
)
def test_the_share_is_spread_evenly(fooled, share, wanted):
    adversary = Adversary(replace(fooled, adversary_share=share), _network(), MapLoss(5.0), 1)
    assert adversary.chosen(torch.arange(10)).int().tolist() == wanted


def test_every_second_image_is_what_fgsm_makes_of_it(few, fooled, fabric):
    recipe, network, loss = replace(fooled, adversary="fgsm"), _network(), MapLoss(5.0)
    inputs, labels = _inputs(few)
    kept = inputs.clone()
    found = Adversary(recipe, network, loss, 1).altered(
        inputs, labels, PIPELINE, torch.arange(32), 0, fabric
    )
    assert torch.equal(inputs, kept) and torch.equal(found[::2], inputs[::2])
    pixels = few.train.images[1:32:2] / 255
    wanted = fgsm(
        network, pixels, labels[1::2], 0.1, normalization=PIPELINE.normalization, loss=loss
    )
    back = PIPELINE.normalization.invert(found[1::2])
    torch.testing.assert_close(back, wanted, rtol=0, atol=1e-6)
    # In the units that the network reads the step is 1.275 times as long.
    assert (found - inputs).abs().max().item() == pytest.approx(1.275 * 0.1, rel=1e-5)
    assert found.min() >= -0.1 - 1e-6 and found.max() <= 1.175 + 1e-6


def test_processes_meet_the_adversary_of_one(few, fooled, fabric):
    """Three of them share 60 images in groups of 16: the same pictures, the same random starts."""
    network, loss = _network().double(), MapLoss(5.0)
    adversary, numbers = Adversary(fooled, network, loss, 7), torch.randperm(96)[:60]
    shares = []
    for rank, of in [(0, 1), (0, 3), (1, 3), (2, 3)]:
        batches = Batches(few.train, 60, 7, CPU, rank, of)
        inputs, labels, _ = batches.inputs(numbers, PIPELINE, 1, 5)
        places = batches.places(60)
        found = adversary.altered(inputs.double(), labels, PIPELINE, places, 65, fabric)
        assert (found != inputs).any()
        shares.append((places, found))
    (_, whole), *parts = shares
    joined = torch.empty_like(whole)
    for places, found in parts:
        joined[places] = found
    assert sorted(torch.cat([places for places, _ in parts]).tolist()) == list(range(60))
    torch.testing.assert_close(joined, whole, rtol=0, atol=1e-9)


def test_an_idle_process_has_a_place_too():
    assert Batches.places(_shares(2, 3), 20).tolist() == [0]
    assert Batches.places(_shares(1, 3), 20).tolist() == [16, 17, 18, 19]


def _shares(rank, of):
    batches = Batches.__new__(Batches)
    batches.group, batches.rank, batches.of = 16, rank, of
    return batches


def test_starts_change_from_step_to_step_and_with_the_seed(few, fooled, fabric):
    inputs, labels = _inputs(few)
    found = [
        Adversary(fooled, _network(), MapLoss(5.0), seed).altered(
            inputs, labels, PIPELINE, torch.arange(32), step, fabric
        )
        for seed, step in [(1, 0), (1, 0), (1, 1), (2, 0)]
    ]
    assert torch.equal(found[0], found[1])
    for other in found[2:]:
        assert (found[0] != other).any()  # most pixels end at the same border of the ball


def _train(few, recipe, fabric, path):
    model = _network()
    loop.train(model, recipe, few.train, few.validation, fabric, seed=1, checkpoint=path)
    return model


class Interrupted(BaseException):
    """Stands for a power cut between two lines."""


def test_a_run_that_was_killed_goes_on_with_the_same_adversary(
    few, fooled, fabric, tmp_path, monkeypatch
):
    recipe = replace(fooled, epochs=2)
    whole = _train(few, recipe, fabric, tmp_path / "whole.pt")
    plain = _train(few, replace(recipe, adversary="none", adversary_epsilon=0.0), fabric,
                   tmp_path / "plain.pt")  # fmt: skip
    assert (whole.conv1.weight != plain.conv1.weight).any()
    saved = loop.save_checkpoint

    def save_then_die(where, state):
        saved(where, state)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_then_die)
        with pytest.raises(Interrupted):
            _train(few, recipe, fabric, tmp_path / "killed.pt")
    again = _train(few, recipe, fabric, tmp_path / "killed.pt")
    for left, right in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adversary": "bim"}, "adversary='bim' is not one of none, fgsm, pgd"),
        ({"adversary_epsilon": 0.0}, "adversary_epsilon=0.0 does not go with adversary='pgd'"),
        ({"adversary_epsilon": 8.0}, r"fgsm and pgd need one in \(0, 1\]"),
        ({"adversary": "none"}, "adversary_epsilon=0.1 does not go with adversary='none'"),
        ({"adversary_share": 0.0}, "adversary_share=0.0 must be a share of the batch, above 0"),
        ({"adversary_share": 1.5}, "adversary_share=1.5 must be a share"),
        ({"adversary_steps": 0}, "adversary_steps=0 must be 1 or more"),
        ({"pipeline": "alexnet", "input_range": None}, "'alexnet' changes colours beyond a pixel"),
    ],
)
def test_recipes_refuse_what_makes_no_sense(fooled, change, message):
    with pytest.raises(TrainingError, match=message):
        replace(fooled, **change)


def test_recipes_tell_of_an_adversary_only_where_there_is_one(tiny_recipe, fooled):
    assert not [name for name, _, _ in tiny_recipe.rows() if "adversary" in name]
    told = {name: here for name, here, _ in fooled.rows() if "adversary" in name}
    assert told == {
        "adversary": "pgd", "adversary epsilon": "0.1", "adversary share": "0.5",
        "adversary steps": "2",
    }  # fmt: skip
    told = [name for name, _, _ in replace(fooled, adversary="fgsm").rows() if "adversary" in name]
    assert told == ["adversary", "adversary epsilon", "adversary share"]
