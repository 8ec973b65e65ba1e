"""Oracle: the attacks called by hand, a run without an adversary, and one process."""

from dataclasses import replace

import pytest
import torch

from internals.attacks import fgsm
from internals.data import Pipeline
from internals.models import LeNet5
from internals.training import FGSM, PGD, Batches, Map, RunFolder, train
from tests.reference.observed import Interrupted, interrupted

CPU = torch.device("cpu")
PIPELINE = Pipeline.from_range(-0.1, 1.175, 32)
LOSS = Map(5.0)
ATTACK = PGD(epsilon=0.1, steps=2, share=0.5)


def _network():
    torch.manual_seed(3)
    return LeNet5()


def _inputs(few, count=32):
    return PIPELINE.evaluation(few.train.images[:count]), few.train.labels[:count]


def _attacked(few, adversary, seed=1, step=0, network=None, count=32):
    inputs, labels = _inputs(few, count)
    return adversary.attack_batch(
        network or _network(), inputs, labels, torch.arange(count), PIPELINE.normalization, LOSS,
        (seed, step),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("share", "wanted"),
    [(0.5, [0, 1] * 5), (1.0, [1] * 10), (0.25, [0, 0, 0, 1, 0, 0, 0, 1, 0, 0]), (0.01, [0] * 10)],
)
def test_the_share_is_spread_evenly(few, share, wanted):
    inputs, _ = _inputs(few, 10)
    attacked = _attacked(few, FGSM(0.1, share), count=10)
    assert (attacked != inputs).flatten(1).any(dim=1).int().tolist() == wanted


def test_every_second_image_is_what_fgsm_makes_of_it(few):
    network = _network()
    inputs, labels = _inputs(few)
    before = inputs.clone()
    attacked = FGSM(0.1).attack_batch(
        network, inputs, labels, torch.arange(32), PIPELINE.normalization, LOSS, (1, 0)
    )
    assert torch.equal(inputs, before) and torch.equal(attacked[::2], inputs[::2])
    pixels = few.train.images[1:32:2] / 255
    wanted = fgsm(
        network, pixels, labels[1::2], 0.1, normalization=PIPELINE.normalization, loss=LOSS
    )
    back = PIPELINE.normalization.invert(attacked[1::2])
    torch.testing.assert_close(back, wanted, rtol=0, atol=1e-6)
    # In the units that the network reads the step is 1.275 times as long.
    assert (attacked - inputs).abs().max().item() == pytest.approx(1.275 * 0.1, rel=1e-5)
    assert attacked.min() >= -0.1 - 1e-6 and attacked.max() <= 1.175 + 1e-6


def test_processes_meet_the_adversary_of_one(few):
    """Three of them share 60 images in groups of 16: the same pictures, the same random starts."""
    network, numbers = _network().double(), torch.randperm(96)[:60]
    shares = []
    for rank, world_size in [(0, 1), (0, 3), (1, 3), (2, 3)]:
        batches = Batches(few.train, 60, 7, CPU, rank, world_size)
        inputs, labels, _ = batches.inputs(numbers, PIPELINE, 1, 5)
        positions = batches.positions(60)
        attacked = ATTACK.attack_batch(
            network, inputs.double(), labels, positions, PIPELINE.normalization, LOSS, (7, 65)
        )
        assert (attacked != inputs).any()
        shares.append((positions, attacked))
    (_, whole), *parts = shares
    joined = torch.empty_like(whole)
    for positions, attacked in parts:
        joined[positions] = attacked
    assert sorted(torch.cat([positions for positions, _ in parts]).tolist()) == list(range(60))
    torch.testing.assert_close(joined, whole, rtol=0, atol=1e-9)


def test_an_idle_process_has_a_position_too(few):
    shares = [Batches(few.train, 128, 7, CPU, rank, 3).positions(20) for rank in range(3)]
    assert shares[2].tolist() == [0]
    assert shares[1].tolist() == [16, 17, 18, 19]


def test_starts_change_from_step_to_step_and_with_the_seed(few):
    attacked = [
        _attacked(few, ATTACK, seed, step) for seed, step in [(1, 0), (1, 1), (2, 0), (1, 0)]
    ]
    assert (attacked[0] != attacked[1]).any() and (attacked[0] != attacked[2]).any()
    torch.testing.assert_close(attacked[0], attacked[3], rtol=0, atol=0)


def _train(few, recipe, fabric, folder=None):
    model = _network()
    train(model, recipe, few.train, few.validation, fabric, seed=1, folder=folder)
    return model


def test_a_run_that_was_killed_goes_on_with_the_same_adversary(few, fabric, tiny_recipe, tmp_path):
    recipe = replace(tiny_recipe, adversary=ATTACK)
    whole = _train(few, recipe, fabric)
    plain = _train(few, tiny_recipe, fabric)
    assert (whole.conv1.weight != plain.conv1.weight).any()
    with pytest.raises(Interrupted):
        killed = replace(recipe, optimizer=interrupted(recipe.optimizer, at=4))
        _train(few, killed, fabric, RunFolder(tmp_path))
    again = _train(few, recipe, fabric, RunFolder(tmp_path))
    for left, right in zip(whole.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)
