"""Oracle: the factors listed by hand, and counting."""

from dataclasses import fields
from math import ceil

import pytest

from internals.ablations import StochasticDiagonalLM, default_arm, plan, recipe_from
from internals.training import SGD, AdamW, CrossEntropy, Map, Recipe, plain

# The fields of a recipe that the levels of each factor may change.
_CHANGES = {
    "input": {"size", "arguments", "source_size"}, "connections": {"arguments"},
    "pooling": {"arguments"}, "activation": {"arguments"}, "output": {"arguments", "loss"},
    "initialisation": {"arguments"}, "adamw": {"optimizer"},
    "sgd": {"optimizer"}, "curvature": {"optimizer"}, "shift": {"augment"},
    "rotation": {"augment"}, "batch": {"batch_size", "least_steps", "most_steps"},
    "dropout": {"arguments"},
}  # fmt: skip
PROFILES = pytest.mark.parametrize("profile", ["smoke", "quick", "full"])


@PROFILES
def test_an_arm_differs_from_the_default_in_one_factor(profile: str) -> None:
    planned = plan(profile)
    assert [factor.name for factor in planned.factors] == list(_CHANGES)
    for factor in planned.factors:
        for _, arm in factor.levels:
            changed = {
                field.name
                for field in fields(Recipe)
                if getattr(arm, field.name) != getattr(planned.default, field.name)
            }
            assert changed <= _CHANGES[factor.name]
            assert len(arm.arguments) <= 1
            assert {name for name, _ in arm.arguments} <= {
                "input_size" if factor.name == "input" else factor.name
            }


@PROFILES
def test_every_factor_has_the_default_and_every_arm_a_name(profile: str) -> None:
    planned = plan(profile)
    for factor in planned.factors:
        arms = [arm for _, arm in factor.levels]
        assert len(set(arms)) == len(arms) >= 2
        if factor.name != "sgd":
            assert planned.default in arms, factor.name
    names = planned.names()
    assert set(names) | {planned.default} == set(planned.arms())
    assert len(set(names.values())) == len(names)
    assert planned.arms()[0] == planned.default
    assert len(planned.seeds) >= 3


@PROFILES
def test_every_arm_sees_as_many_images(profile: str) -> None:
    """However many an epoch has; the last batch alone may show some more."""
    planned = plan(profile)
    for arm in planned.arms():
        for images in (planned.images or 55_000, 1_318):
            steps = arm.steps_on(images)
            assert steps == ceil(planned.presentations / arm.batch_size)


@PROFILES
def test_arms_are_recipes_that_survive_a_process(profile: str) -> None:
    for arm in plan(profile).arms():
        assert recipe_from(plain(arm)) == arm
        assert arm.selection == "last"  # no image is held out, so none chooses an epoch


@PROFILES
def test_no_decay_of_a_sweep_is_worth_an_arm_without_it(profile: str) -> None:
    """Adam beside AdamW would be the same arms twice: a run takes less than 1 % of a weight."""
    planned = plan(profile)
    steps = planned.default.steps_on(55_000)
    schedule = planned.default.schedule
    factors = [schedule.factor_at(float(step), float(steps), 0, ()) for step in range(steps)]
    for _, arm in planned.factor("adamw").levels:
        taken = sum(factors) * arm.optimizer.lr * arm.optimizer.weight_decay
        assert taken < 0.01


def test_the_full_plan_fits_in_an_hour_of_two_cores() -> None:
    """Of runs of 15 s on one core, as they were measured."""
    planned = plan("full")
    assert len(planned.arms()) * len(planned.seeds) * 15 / 2 < 3_600


def test_the_default_by_hand() -> None:
    arm = default_arm(8e-3, 16, presentations=3_205)
    assert (arm.network, arm.size, arm.arguments, arm.augment) == ("lenet5-variant", 32, (), None)
    assert (arm.optimizer, arm.loss) == (AdamW(8e-3, 1e-4), Map(5.0))
    assert arm.steps_on(100) == arm.steps_on(60_000) == 201


def test_levels_by_hand() -> None:
    planned = plan("quick")
    levels = {factor.name: dict(factor.levels) for factor in planned.factors}
    assert levels["adamw"]["AdamW 0.002"].optimizer == AdamW(2e-3, 1e-4)
    assert levels["sgd"]["SGD 0.032"].optimizer == SGD(3.2e-2, momentum=0.9)
    assert levels["curvature"]["diagonal LM"].optimizer == StochasticDiagonalLM(5e-4)
    assert levels["output"]["softmax"].loss == CrossEntropy()
    assert levels["input"]["28 × 28"].stored == 28
    assert levels["input"]["28 × 28 enlarged to 32"].stored == 28
    augment = levels["shift"]["2 px, half as is"].augment
    assert (augment.shift, augment.rotation, augment.duplicate) == (2, 0.0, True)
    assert planned.factor("shift").name == "shift"
    with pytest.raises(KeyError):
        planned.factor("colour")
    with pytest.raises(KeyError):
        plan("slow")
