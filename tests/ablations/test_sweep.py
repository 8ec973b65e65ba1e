"""Oracle: the same runs one after another in this process, and a sweep that nobody interrupted."""

import json
import sys
from dataclasses import replace

import pytest

from internals.ablations.plan import Settings, plan
from internals.ablations.single_run import Outcome, run_once
from internals.ablations.sweep import (
    Sweep,
    read_outcome,
    run_file,
    runs_folder,
    sweep,
    write_outcome,
)
from internals.errors import AblationError
from internals.training.batches import first

BRIEF = Settings(learning_rate=4e-3, batch_size=8, presentations=24)
ARMS = (BRIEF, replace(BRIEF, optimizer="sdlm", learning_rate=5e-4))


def numbers(outcome: Outcome) -> tuple[float, float]:
    return outcome.accuracy, outcome.loss


def test_processes_give_the_numbers_of_this_one_and_a_killed_sweep_goes_on(digits) -> None:
    train, test = first(digits.train, 40), first(digits.test, 30)
    found = sweep(ARMS, (0, 1), digits, images=40, tested=30, processes=2)
    for arm in ARMS:
        for seed in (0, 1):
            want = run_once(arm, train, test, seed)
            assert numbers(found.outcomes[arm, seed]) == numbers(want)

    # As after a kill: one run is missing, one file was cut short, and one is a mark to be found.
    folder = runs_folder(train, test)
    run_file(folder, ARMS[0], 0).unlink()
    run_file(folder, ARMS[1], 0).write_text('{"accuracy": 0.')
    mark = Outcome(accuracy=0.5, loss=1.0, diverged=False, seconds=0.0)
    write_outcome(run_file(folder, ARMS[0], 1), mark)
    again = sweep(ARMS, (0, 1), digits, images=40, tested=30, processes=1)
    assert again.outcomes[ARMS[0], 1] == mark  # not made again
    for run in ((ARMS[0], 0), (ARMS[1], 0), (ARMS[1], 1)):
        assert numbers(again.outcomes[run]) == numbers(found.outcomes[run])


def test_what_a_run_refuses_reaches_the_caller(digits) -> None:
    wrong = replace(BRIEF, pooling="median")
    with pytest.raises(AblationError, match="pooling='median' is not one of"):
        sweep([wrong], (0,), digits, images=20, tested=10)


def test_a_process_that_dies_is_told_of(digits, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(AblationError, match="died"):
        sweep([BRIEF], (0,), digits, images=20, tested=10)


def test_the_name_of_a_run_covers_what_decides_it(digits) -> None:
    train, test = first(digits.train, 40), first(digits.test, 30)
    folder = runs_folder(train, test)
    every = {
        runs_folder(first(digits.train, 39), test),
        runs_folder(train, first(digits.test, 29)),
        folder,
    }
    assert len(every) == 3
    names = {run_file(folder, arm, seed) for arm in plan("full").arms() for seed in range(3)}
    assert len(names) == 3 * len(plan("full").arms())


def test_outcomes_survive_the_disk_to_the_last_bit(tmp_path) -> None:
    odd = Outcome(accuracy=0.1 + 0.2, loss=float("inf"), diverged=True, seconds=1.5)
    write_outcome(tmp_path / "run.json", odd)
    assert read_outcome(tmp_path / "run.json") == odd
    assert read_outcome(tmp_path / "none.json") is None
    (tmp_path / "list.json").write_text(json.dumps([1]))
    assert read_outcome(tmp_path / "list.json") is None


def test_errors_are_shares_misread_and_never_nothing() -> None:
    factor = plan("smoke").factor("connections")
    runs = {
        (settings, seed): Outcome(accuracy, 0.0, False, 0.0)
        for (_, settings), pair in zip(factor.levels, ((1.0, 0.9), (0.75, 0.5)), strict=True)
        for seed, accuracy in enumerate(pair)
    }
    found = Sweep(runs, seeds=(0, 1), tested=20).errors(factor)
    assert found["full"] == pytest.approx((0.025, 0.1))
    assert found["Table I"] == pytest.approx((0.25, 0.5))


@pytest.mark.parametrize("profile", ["smoke", "quick", "full"])
def test_an_arm_differs_from_the_default_in_one_factor(profile: str) -> None:
    planned = plan(profile)
    fields = {
        "input": {"input"}, "connections": {"connections"}, "pooling": {"pooling"},
        "activation": {"activation"}, "output": {"output"}, "initialisation": {"initialisation"},
        "adamw": {"learning_rate"}, "adam": {"optimizer", "learning_rate"},
        "sgd": {"optimizer", "learning_rate"}, "curvature": {"optimizer", "learning_rate"},
        "shift": {"shift", "duplicate"}, "rotation": {"rotation", "duplicate"},
        "batch": {"batch_size"}, "dropout": {"dropout"},
    }  # fmt: skip
    assert [factor.name for factor in planned.factors] == list(fields)
    for factor in planned.factors:
        for _, settings in factor.levels:
            changed = {
                name
                for name in Settings.__dataclass_fields__
                if getattr(settings, name) != getattr(planned.default, name)
            }
            assert changed <= fields[factor.name]
    names = planned.names()
    assert set(names) | {planned.default} == set(planned.arms())
    assert len(set(names.values())) == len(names)
    assert len(planned.seeds) >= 3
