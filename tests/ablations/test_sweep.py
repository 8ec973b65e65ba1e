"""Oracle: a plain loop with torch's own optimiser, and the same runs without a sweep."""

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from internals.ablations import (
    Outcome,
    StochasticDiagonalLM,
    Sweep,
    default_arm,
    plan,
    recipe_from,
    run_arm,
    sweep,
)
from internals.data import Normalization, Pipeline
from internals.environment import build_folder
from internals.errors import AblationError, ModelError
from internals.models import LeNet5
from internals.training import (
    SGD,
    Batches,
    CrossEntropy,
    DigitAugmentation,
    Map,
    evaluate,
)
from tests.reference.observed import observed

BRIEF = default_arm(lr=4e-3, batch_size=8, presentations=96)
DIVERGING = replace(
    BRIEF, optimizer=SGD(1e6), loss=CrossEntropy(),
    arguments=(("activation", "relu"), ("output", "logits")),
)  # fmt: skip
ARMS = (BRIEF, replace(BRIEF, optimizer=StochasticDiagonalLM(5e-4)), DIVERGING)


def _numbers(outcome: Outcome) -> tuple[float, float, bool]:
    return outcome.accuracy, outcome.loss, outcome.diverged


def test_a_run_is_the_plain_loop(digits) -> None:
    """The weights after twelve steps, told by the loss of the last one and by every answer."""
    train, test = digits.train.head(40), digits.test.head(60)
    outcome = run_arm(BRIEF, train, test, seed=3)

    torch.manual_seed(3)
    model, loss = LeNet5(), Map(5.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=1e-4)
    normalization = Normalization.from_range(-0.1, 1.175)
    batches = Batches(train, 8, 3, torch.device("cpu"))
    order = [batch for epoch in (1, 2, 3) for batch in batches.order(epoch)][:12]
    for step, batch in enumerate(order):
        warm = 0.05 * 12
        share = 1 / (warm + 1) if step == 0 else 0
        if step:
            share = 0.5 * (1 + math.cos(math.pi * (step - warm) / (12 - warm)))
        optimizer.param_groups[0]["lr"] = 4e-3 * share
        optimizer.zero_grad()
        value = loss(model(normalization.apply(train.images[batch])), train.labels[batch])
        value.backward()
        optimizer.step()
    assert outcome.loss == pytest.approx(value.item(), rel=1e-4)
    scored = evaluate(model, loss, test, Pipeline.from_range(-0.1, 1.175, 32))
    assert outcome.accuracy == pytest.approx(scored.top1)
    assert not outcome.diverged


def test_the_same_seed_gives_the_same_number_twice(digits) -> None:
    train, test = digits.train.head(40), digits.test.head(60)
    arm = replace(
        BRIEF, arguments=(("dropout", 0.3),), augment=DigitAugmentation(2, 5.0, duplicate=True)
    )
    first, second, other = (run_arm(arm, train, test, seed=s) for s in (1, 1, 2))
    assert _numbers(first) == _numbers(second)
    assert first.loss != other.loss


def test_inputs_are_the_digit_in_its_field(digits) -> None:
    """What the network is fed in each arm of the first factor: a frame, none, or enlarged."""
    train, test = digits.train.head(8), digits.test.head(10)
    digit = train.images[:, :, 2:-2, 2:-2]
    to_range = -0.1 + 1.275 * digit.float() / 255
    fed = {}
    for name, arm in plan("smoke").factor("input").levels:
        inputs: list[torch.Tensor] = []
        optimizer = observed(arm.optimizer, lambda step, model, x, to=inputs: to.append(x))
        brief = replace(arm, batch_size=8, least_steps=1, most_steps=1, optimizer=optimizer)
        run_arm(brief, train, test, seed=0)
        (order,) = Batches(train, 8, 0, torch.device("cpu")).order(1)
        fed[name] = inputs[0][order.argsort()]
    padded, unpadded, resized = fed.values()
    torch.testing.assert_close(padded[:, :, 2:-2, 2:-2], to_range)
    torch.testing.assert_close(padded[0, 0, 0], torch.full((32,), -0.1))
    torch.testing.assert_close(unpadded, to_range)
    want = functional.interpolate(to_range, (32, 32), mode="bilinear")
    # Enlarged as bytes: each value is within one of 256 levels of the exact one.
    torch.testing.assert_close(resized, want, rtol=0, atol=1.275 / 255)


def test_a_loss_that_is_no_number_is_scored_as_guessing(digits) -> None:
    outcome = run_arm(DIVERGING, digits.train.head(40), digits.test.head(60), seed=0)
    assert _numbers(outcome) == (0.1, math.inf, True)
    assert outcome.lost == 9


def test_a_class_is_lost_that_is_read_no_better_than_by_guessing(digits, monkeypatch) -> None:
    """Answers laid down by hand: of ten digits of 2 one is read, of ten of 7 two are."""
    labels = torch.tensor([2] * 10 + [7] * 10)
    answers = torch.tensor([2] + [7] * 9 + [7] * 2 + [2] * 8)
    test = replace(digits.test.head(20), labels=labels)

    class Answering(LeNet5):
        def forward(self, x):
            return super().forward(x) * 0 + 1 - functional.one_hot(answers, 10)[: len(x)]

    monkeypatch.setattr("internals.ablations.worker.build", lambda *_, **__: Answering())
    monkeypatch.setattr(
        "internals.ablations.worker.train",
        lambda model, arm, images, *_, **__: SimpleNamespace(
            pipeline=arm.fit_pipeline(images),
            history=SimpleNamespace(epochs=[SimpleNamespace(final_loss=0.0)]),
        ),
    )
    assert run_arm(BRIEF, digits.train.head(8), test, seed=0).lost == 1


def test_impossible_networks_are_refused(digits) -> None:
    arm = replace(BRIEF, arguments=(("pooling", "median"),))
    with pytest.raises(ModelError, match="pooling"):
        run_arm(arm, digits.train.head(20), digits.test.head(10), seed=0)


def test_an_arm_whose_test_images_would_choose_the_epoch_is_refused(digits) -> None:
    with pytest.raises(AblationError, match="selection='validation'"):
        run_arm(replace(BRIEF, selection="validation"), digits.train, digits.test, seed=0)


def test_a_choice_that_the_workers_do_not_know_is_named() -> None:
    with pytest.raises(AblationError, match="Lion is none of Recipe"):
        recipe_from({"kind": "Lion", "lr": 1.0})


def _files() -> dict[Path, str]:
    """What the files of the kept outcomes hold; two runs that diverged may hold the same."""
    return {path: path.read_text() for path in (build_folder() / "ablations").iterdir()}


@pytest.mark.slow
def test_processes_give_the_numbers_of_this_one_and_a_sweep_goes_on(digits) -> None:
    train, test = digits.train.head(40), digits.test.head(30)
    whole = sweep(ARMS, (0, 1), digits, images=40, tested=30, processes=2)
    for arm in ARMS:
        for seed in (0, 1):
            assert _numbers(whole.outcomes[arm, seed]) == _numbers(run_arm(arm, train, test, seed))
    assert (whole.seeds, whole.tested) == ((0, 1), 30)

    # As after a kill: one run is missing, one file was cut short, and one is a mark to be found.
    files = _files()
    assert len(files) == len(ARMS) * 2
    paths = {
        run: next(p for p, text in files.items() if json.loads(text)["seconds"] == outcome.seconds
                  and json.loads(text)["loss"] == outcome.loss)
        for run, outcome in whole.outcomes.items()
    }  # fmt: skip
    paths[ARMS[0], 0].unlink()
    paths[ARMS[1], 0].write_text('{"accuracy": 0.')
    mark = Outcome(accuracy=0.1 + 0.2, lost=0, loss=1 / 3, diverged=False, seconds=0.0)
    paths[ARMS[0], 1].write_text(json.dumps(vars(mark)))
    again = sweep(ARMS, (0, 1), digits, images=40, tested=30, processes=1)
    assert again.outcomes[ARMS[0], 1] == mark  # not made again
    assert again.outcomes[DIVERGING, 0] == whole.outcomes[DIVERGING, 0]  # its seconds too
    for run in ((ARMS[0], 0), (ARMS[1], 0), (ARMS[1], 1)):
        assert _numbers(again.outcomes[run]) == _numbers(whole.outcomes[run])


_SWEEP = """
from dataclasses import replace
from internals.ablations import default_arm, sweep
from internals.data import load
arm = default_arm(lr=4e-3, batch_size=8, presentations=960)
sweep([arm], range(8), load("mnist", "embedded"), images=40, tested=30, processes=1)
"""


@pytest.mark.slow
def test_a_sweep_that_is_killed_keeps_what_is_finished(digits, tmp_path, monkeypatch) -> None:
    """SIGKILL after the first outcome; its worker ends with it, and the rest is done later.

    Nothing is left beside the outcomes, nor in the folder for temporary files. A launcher says in
    the environment that there are four processes, which no worker may believe.
    """
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("SLURM_NTASKS", "4")
    killed = subprocess.Popen(
        [sys.executable, "-c", _SWEEP], stdout=subprocess.DEVNULL, start_new_session=True
    )
    folder = build_folder() / "ablations"
    end = time.monotonic() + 120
    while not list(folder.glob("*.json")):
        assert killed.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    while _in_session(killed.pid):  # the worker may finish the run that it is at
        assert time.monotonic() < end
        time.sleep(0.05)
    finished = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert 1 <= len(finished) < 8
    arm = default_arm(lr=4e-3, batch_size=8, presentations=960)
    whole = sweep([arm], range(8), digits, images=40, tested=30, processes=1)
    assert len(list(folder.iterdir())) == 8
    assert list((tmp_path / "temporary").iterdir()) == []
    monkeypatch.delenv("SLURM_NTASKS")
    assert finished.items() <= {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}.items()
    train, test = digits.train.head(40), digits.test.head(30)
    for seed in (0, 7):
        assert _numbers(whole.outcomes[arm, seed]) == _numbers(run_arm(arm, train, test, seed))


def _in_session(leader: int) -> list[int]:
    """The processes of a session that still run."""
    alive = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(entry.name)) == leader:
                alive.append(int(entry.name))
        except ProcessLookupError:
            continue
    return alive


@pytest.mark.slow
def test_what_a_run_refuses_reaches_the_caller(digits) -> None:
    wrong = replace(BRIEF, arguments=(("pooling", "median"),))
    with pytest.raises(AblationError, match="pooling='median' is not one of"):
        sweep([wrong], (0,), digits, images=20, tested=10)


def test_a_process_that_dies_is_an_error(digits, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/true")
    with pytest.raises(AblationError, match="died; run it again, what is finished is kept"):
        sweep([BRIEF], (0,), digits, images=20, tested=10)


def test_errors_are_shares_misread_and_never_nothing() -> None:
    factor = plan("smoke").factor("connections")
    runs = {
        (arm, seed): Outcome(accuracy, int(4 * accuracy), 0.0, False, 0.0)
        for (_, arm), pair in zip(factor.levels, ((1.0, 0.9), (0.75, 0.5)), strict=True)
        for seed, accuracy in enumerate(pair)
    }
    outcomes = Sweep(runs, seeds=(0, 1), tested=20)
    errors = outcomes.errors(factor)
    assert errors["full"] == pytest.approx((0.025, 0.1))
    assert errors["Table I"] == pytest.approx((0.25, 0.5))
    result = outcomes.result("Table I", factor.levels[1][1])
    assert (result.name, result.scores) == ("Table I", (0.75, 0.5))
    assert result.lost == (3, 2)
