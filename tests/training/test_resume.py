"""Oracle: the bits of a run that nobody interrupted."""

import hashlib
import itertools
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from internals.ablations import StochasticDiagonalLM
from internals.errors import CheckpointError, OutputError
from internals.models import LeNet5
from internals.training import (
    SGD,
    Adam,
    AdamW,
    DigitAugmentation,
    RunFolder,
    load_checkpoint,
    train,
)
from tests.reference import tiny_run
from tests.reference.colour_run import COLOUR_RECIPE, colour_images, small_colour_network
from tests.reference.observed import Interrupted, interrupted, observed
from tests.reference.small_disk import largest_file, small_disk
from tests.reference.tiny_run import RECIPE, train_tiny

pytestmark = pytest.mark.slow

_SCRIPT = Path(tiny_run.__file__)


def tensor_sha256(path: Path) -> str:
    state = safetensors.torch.load_file(path)
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


def _start(folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(_SCRIPT), str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_kill_9_at_any_moment_and_the_same_command_again_ends_in_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train_tiny(whole)
    moments = random.Random(20)
    epochs_seen = []
    for _ in range(2):
        run = _start(killed)
        before = _modified(killed / "checkpoint.pt")
        _wait_until(lambda b=before: _modified(killed / "checkpoint.pt") != b, run)
        time.sleep(moments.uniform(0, 0.15))
        run.kill()  # SIGKILL: no handler runs
        run.communicate()
        assert not (killed / "weights.safetensors").exists(), "finished before it was killed"
        epochs_seen.append(len(load_checkpoint(killed / "checkpoint.pt")["history"]))
    last = _start(killed)
    _, complaint = last.communicate(timeout=100)
    assert last.returncode == 0, complaint.decode()
    assert 0 < epochs_seen[0] < epochs_seen[1] < RECIPE.epochs
    assert tensor_sha256(killed / "weights.safetensors") == tensor_sha256(
        whole / "weights.safetensors"
    )
    files = {path.name for path in killed.iterdir()}
    assert files == {"weights.safetensors", "test.safetensors"}  # nor a draft of the killed ones


def _modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _wait_until(holds, process: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < end, "the run never wrote a checkpoint"
        time.sleep(0.005)


def _fresh(seed: int = 3) -> LeNet5:
    torch.manual_seed(seed)
    return LeNet5()


def _train(few, recipe, fabric, folder=None, model=None, seed=1, compute=""):
    model = model or _fresh()
    train(
        model, recipe, few.train, few.validation, fabric,
        seed=seed, folder=folder, compute=compute,
    )  # fmt: skip
    return model


def _folder(path: Path) -> RunFolder:
    path.mkdir()
    return RunFolder(path)


def _assert_same_bits(left: torch.nn.Module, right: torch.nn.Module) -> None:
    for (name, a), (_, b) in zip(
        left.state_dict().items(), right.state_dict().items(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": AdamW(5e-4, 1e-4)},
        {"optimizer": SGD(5e-4, 1e-4), "average": 0.9},
        {"optimizer": Adam(5e-4), "augment": DigitAugmentation(2, 8.0, duplicate=True)},
        {"optimizer": StochasticDiagonalLM(5e-4), "selection": "last"},
    ],
    ids=["AdamW", "SGD, averaged", "Adam, augmented", "diagonal LM, last"],
)
def test_goes_on_from_every_epoch_with_the_same_bits(few, fabric, tiny_recipe, tmp_path, change):
    recipe = replace(tiny_recipe, epochs=4, **change)
    whole = _train(few, recipe, fabric)
    steps = recipe.steps_an_epoch(96)
    for stop in (1, 2, 3):
        folder = _folder(tmp_path / str(stop))
        killed = replace(recipe, optimizer=interrupted(recipe.optimizer, at=stop * steps + 1))
        with pytest.raises(Interrupted):
            _train(few, killed, fabric, folder)
        assert len(load_checkpoint(folder.checkpoint)["history"]) == stop
        # Other weights and another random state to start with: the checkpoint alone decides.
        again = _train(few, recipe, fabric, folder, _fresh(seed=99))
        _assert_same_bits(whole, again)


def _coloured(recipe, fabric, folder=None):
    images = colour_images(70, 37)
    torch.manual_seed(3)
    model = small_colour_network()
    result = train(model, recipe, images, images.head(20), fabric, seed=1, folder=folder)
    return model, result


def test_augmentation_plateaus_and_sizes_go_on_with_the_same_bits(fabric, tmp_path):
    """The random pictures, the statistics, the schedule and the optimiser: all of it comes back."""
    whole, result = _coloured(COLOUR_RECIPE, fabric)
    rates = result.history.column("learning_rate")
    assert rates[0] > rates[-1]  # there was a plateau
    optimizer = interrupted(COLOUR_RECIPE.optimizer, at=3 * 3)  # of three steps an epoch
    with pytest.raises(Interrupted):
        _coloured(replace(COLOUR_RECIPE, optimizer=optimizer), fabric, RunFolder(tmp_path))
    again, resumed = _coloured(COLOUR_RECIPE, fabric, RunFolder(tmp_path))
    _assert_same_bits(whole, again)
    assert resumed.history.column("train_loss") == result.history.column("train_loss")
    assert resumed.history.column("learning_rate") == rates
    assert resumed.replays == result.replays
    for name, tensor in result.pipeline.state().items():
        torch.testing.assert_close(resumed.pipeline.state()[name], tensor, rtol=0, atol=0)


def test_large_checkpoints_are_written_when_enough_would_be_lost(
    few, fabric, tiny_recipe, tmp_path, monkeypatch
):
    """A disk so slow that one takes a minute, and epochs of 16: each second one is worth it."""
    from internals.training import loop

    saved: list[int] = []
    clock = itertools.count(0.0, 240.0)  # seconds; it is read four times an epoch
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(loop, "tensor_bytes", lambda state: 60 * 5e8)  # 500 MB a second
    monkeypatch.setattr(
        loop, "save_checkpoint", lambda path, state: saved.append(len(state["history"]))
    )
    _train(few, replace(tiny_recipe, epochs=9), fabric, RunFolder(tmp_path))
    assert saved == [2, 4, 6, 8]


def test_a_checkpoint_of_another_run_is_refused_and_kept(few, fabric, tiny_recipe, tmp_path):
    folder = RunFolder(tmp_path)
    _train(few, tiny_recipe, fabric, folder)
    before = folder.checkpoint.read_bytes()
    for change in ({"optimizer": AdamW(1e-3, 1e-4)}, {"optimizer": AdamW(2e-3)}):
        with pytest.raises(CheckpointError, match="belongs to a run with another recipe, seed or"):
            _train(few, replace(tiny_recipe, **change), fabric, folder)
    with pytest.raises(CheckpointError, match="belongs to a run"):
        _train(few, tiny_recipe, fabric, folder, seed=2)
    with pytest.raises(CheckpointError, match="was begun as '' and would go on as 'cpu-32-2t'"):
        _train(few, tiny_recipe, fabric, folder, compute="cpu-32-2t")
    assert folder.checkpoint.read_bytes() == before


def test_a_checkpoint_with_weights_of_another_network_is_one_error(
    few, fabric, tiny_recipe, tmp_path
):
    _train(few, tiny_recipe, fabric, RunFolder(tmp_path))
    with pytest.raises(CheckpointError, match=r"cannot be continued .*; delete it") as caught:
        _train(few, tiny_recipe, fabric, RunFolder(tmp_path), torch.nn.Linear(2, 2))
    assert "\n" not in str(caught.value)


def test_a_word_about_the_paper_does_not_lose_a_half_finished_run(
    few, fabric, tiny_recipe, tmp_path
):
    _train(few, tiny_recipe, fabric, RunFolder(tmp_path))
    steps: list[int] = []
    optimizer = observed(tiny_recipe.optimizer, lambda step, model, inputs: steps.append(step))
    recipe = replace(tiny_recipe, paper={"epochs": "20"}, optimizer=optimizer)
    _train(few, recipe, fabric, RunFolder(tmp_path))
    assert steps == []


def _fill_up_in_the_third_epoch(few, recipe, fabric, folder, fill) -> str:
    """The one line that says it; the checkpoint of the second epoch stays, and nothing beside."""

    def observe(step, model, inputs):
        if step == 6:
            fill()

    with pytest.raises(OutputError) as caught:
        _train(few, replace(recipe, optimizer=observed(recipe.optimizer, observe)), fabric, folder)
    assert "\n" not in str(caught.value)
    assert len(load_checkpoint(folder.checkpoint)["history"]) == 2
    return str(caught.value)


def test_a_file_that_may_not_grow_leaves_the_old_checkpoint(few, fabric, tiny_recipe, tmp_path):
    """torch gives its own error for a write that fails half-way; the true one is passed on."""
    recipe = replace(tiny_recipe, epochs=4)
    whole = _train(few, recipe, fabric)
    folder = RunFolder(tmp_path)
    with largest_file(2**40):  # puts the limit back
        line = _fill_up_in_the_third_epoch(
            few, recipe, fabric, folder, largest_file(100_000).__enter__
        )
    assert f"cannot write {folder.checkpoint}: File too large; free some space" in line
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    _assert_same_bits(whole, _train(few, recipe, fabric, folder, _fresh(seed=99)))


def test_a_disk_that_fills_up_leaves_the_old_checkpoint(few, fabric, tiny_recipe, tmp_path):
    recipe = replace(tiny_recipe, epochs=4)
    whole = _train(few, recipe, fabric)
    with small_disk(tmp_path / "disk", "4m") as disk:
        folder = RunFolder(disk)
        ballast = disk / "ballast"

        def fill() -> None:
            room = 4 * 2**20 - folder.checkpoint.stat().st_size
            ballast.write_bytes(bytes(room - 400_000))

        line = _fill_up_in_the_third_epoch(few, recipe, fabric, folder, fill)
        assert f"cannot write {folder.checkpoint}: No space left on device; free some" in line
        assert {path.name for path in disk.iterdir()} == {"checkpoint.pt", "ballast"}
        ballast.unlink()  # the remedy
        _assert_same_bits(whole, _train(few, recipe, fabric, folder, _fresh(seed=99)))
