"""Oracle: learning rates written out by hand, and the refusals that the record promises."""

import math
from dataclasses import FrozenInstanceError, replace

import pytest

from internals.errors import TrainingError
from internals.training.recipes import PROFILES, RECIPES, find_recipe


def test_warm_up_and_cosine(tiny_recipe):
    recipe = replace(tiny_recipe, learning_rate=1.0, warm_up=0.3)
    root = math.sqrt(0.5)
    # Ten steps: three rise by quarters, then half a cosine over seven.
    by_hand = [0.25, 0.5, 0.75, 1.0]
    by_hand += [0.5 * (1 + math.cos(math.pi * n / 7)) for n in range(1, 7)]
    assert [recipe.rate(n, 10) for n in range(10)] == pytest.approx(by_hand, rel=1e-14)
    eight = replace(recipe, warm_up=0.0)
    assert eight.rate(0, 8) == 1.0
    assert eight.rate(2, 8) == pytest.approx(0.5 * (1 + root), rel=1e-14)
    assert eight.rate(4, 8) == pytest.approx(0.5, rel=1e-14)
    assert eight.rate(6, 8) == pytest.approx(0.5 * (1 - root), rel=1e-14)


def test_constant_schedule(tiny_recipe):
    recipe = replace(tiny_recipe, schedule="constant", warm_up=0.5, learning_rate=0.6)
    assert [recipe.rate(n, 4) for n in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.6])


def test_steps_and_epochs(tiny_recipe):
    recipe = replace(tiny_recipe, batch_size=64, epochs=3, least_steps=2500)
    assert recipe.steps_an_epoch(128) == 2
    assert recipe.steps_an_epoch(129) == 3
    assert recipe.epochs_on(55_000) == 3  # 860 steps an epoch are 2,580
    assert recipe.epochs_on(1_318) == 120  # 21 steps an epoch: 119.05 epochs make 2,500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "adam"}, "optimizer='adam' is not one of adamw, sgd"),
        ({"schedule": "step"}, "schedule='step' is not one of constant, cosine"),
        ({"loss": "mse"}, "loss='mse' is not one of map, cross-entropy"),
        ({"epochs": 0}, "epochs=0 must be above 0"),
        ({"batch_size": -1}, "batch_size=-1 must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan must be above 0"),
        ({"warm_up": 1.0}, "warm_up=1.0 must be a share"),
    ],
)
def test_refuses_what_makes_no_sense(tiny_recipe, change, message):
    with pytest.raises(TrainingError, match=message):
        replace(tiny_recipe, **change)


def test_is_frozen(tiny_recipe):
    with pytest.raises(FrozenInstanceError):
        tiny_recipe.epochs = 3


def test_every_network_has_every_profile():
    for network in RECIPES:
        assert tuple(RECIPES[network]) == PROFILES
        assert all(r.network == network for r in RECIPES[network].values())


def test_unknown_recipes_are_refused_by_name():
    with pytest.raises(TrainingError, match="no recipe for network 'lenet'; there are lenet5"):
        find_recipe("lenet", "quick")
    with pytest.raises(TrainingError, match="unknown profile 'fast'; choose one of smoke"):
        find_recipe("lenet5", "fast")


def test_rows_show_every_hyperparameter_beside_the_papers(tiny_recipe):
    paper = {"batch_size": "1", "learning_rate": "0.0005 over curvature"}
    rows = {n: (here, there) for n, here, there in replace(tiny_recipe, paper=paper).rows()}
    assert rows["batch size"] == ("32", "1")
    assert rows["learning rate"] == ("0.002", "0.0005 over curvature")
    assert rows["input range"] == ("-0.1 to 1.175", "")
    assert rows["rubbish penalty"] == ("5", "")
