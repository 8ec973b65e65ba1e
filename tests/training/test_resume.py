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

from internals.errors import CheckpointError
from internals.models.lenet5 import LeNet5
from internals.training.checkpoint import load_checkpoint
from internals.training.loop import train
from tests.reference import tiny_run
from tests.reference.colour_run import COLOUR_RECIPE, colour_images, small_colour_network
from tests.reference.tiny_run import RECIPE, train_tiny

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
    assert not (killed / "checkpoint.pt").exists()


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


class Interrupted(BaseException):
    """Stands for a power cut between two lines."""


def _fresh(seed: int = 3) -> LeNet5:
    torch.manual_seed(seed)
    return LeNet5()


def _train(few, recipe, fabric, path, model=None, seed=1):
    model = model or _fresh()
    train(model, recipe, few.train, few.validation, fabric, seed=seed, checkpoint=path)
    return model


def _assert_same_bits(left: torch.nn.Module, right: torch.nn.Module) -> None:
    for (name, a), (_, b) in zip(
        left.state_dict().items(), right.state_dict().items(), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "adamw"},
        {"optimizer": "sgd"},
        {"optimizer": "adam", "shift": 2, "rotation": 8.0, "duplicate": True},
    ],
)
def test_goes_on_from_every_epoch_with_the_same_bits(
    few, fabric, tiny_recipe, tmp_path, monkeypatch, change
):
    recipe = replace(tiny_recipe, epochs=4, learning_rate=5e-4, **change)
    whole = _train(few, recipe, fabric, tmp_path / "whole.pt")
    from internals.training import loop

    saved = loop.save_checkpoint
    for stop in (1, 2, 3):
        path, count = tmp_path / f"{stop}.pt", iter(range(1, 5))

        def save_then_die(where, state, count=count, stop=stop):
            saved(where, state)
            if next(count) == stop:
                raise Interrupted

        with monkeypatch.context() as patch:
            patch.setattr(loop, "save_checkpoint", save_then_die)
            with pytest.raises(Interrupted):
                _train(few, recipe, fabric, path)
        # Other weights and another random state to start with: the checkpoint alone decides.
        again = _train(few, recipe, fabric, path, _fresh(seed=99))
        _assert_same_bits(whole, again)


def test_augmentation_plateaus_and_sizes_go_on_with_the_same_bits(fabric, tmp_path, monkeypatch):
    """The random pictures, the statistics, the schedule and the optimiser: all of it comes back."""
    from internals.training import loop

    photographs = colour_images(70, 37)
    recipe = COLOUR_RECIPE
    whole = _coloured(photographs, recipe, fabric, tmp_path / "whole.pt")
    rates = whole[1].column("learning_rate")
    assert rates[0] > rates[-1]  # there was a plateau
    saved, count = loop.save_checkpoint, iter(range(1, 7))

    def save_then_die(where, state):
        saved(where, state)
        if next(count) == 3:
            raise Interrupted

    path = tmp_path / "killed.pt"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_then_die)
        with pytest.raises(Interrupted):
            _coloured(photographs, recipe, fabric, path)
    again = _coloured(photographs, recipe, fabric, path)
    _assert_same_bits(whole[0], again[0])
    assert again[1].column("train_loss") == whole[1].column("train_loss")
    assert again[1].column("learning_rate") == rates
    for name, tensor in whole[2].state().items():
        torch.testing.assert_close(again[2].state()[name], tensor, rtol=0, atol=0)


def _coloured(images, recipe, fabric, path):
    torch.manual_seed(3)
    model = small_colour_network()
    held = images.subset(torch.arange(20))
    history, pipeline = train(model, recipe, images, held, fabric, seed=1, checkpoint=path)
    return model, history, pipeline


def test_large_checkpoints_are_written_when_enough_would_be_lost(
    few, fabric, tiny_recipe, tmp_path, monkeypatch
):
    """A disk so slow that one takes a minute, and epochs of 16: each second one is worth it."""
    from internals.training import loop

    saved: list[int] = []
    clock = itertools.count(0.0, 240.0)  # seconds; it is read four times an epoch
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(loop, "tensor_bytes", lambda state: 60 * loop._DISK)
    monkeypatch.setattr(
        loop, "save_checkpoint", lambda path, state: saved.append(len(state["history"]))
    )
    _train(few, replace(tiny_recipe, epochs=9), fabric, tmp_path / "c.pt")
    assert saved == [2, 4, 6, 8]


def test_one_seed_one_result(few, fabric, tiny_recipe, tmp_path):
    first = _train(few, tiny_recipe, fabric, tmp_path / "a.pt")
    torch.randn(17)  # what the caller does to the global random state does not matter
    second = _train(few, tiny_recipe, fabric, tmp_path / "b.pt")
    other = _train(few, tiny_recipe, fabric, tmp_path / "c.pt", seed=2)
    _assert_same_bits(first, second)
    assert (first.conv1.weight != other.conv1.weight).any()


def test_keeps_the_weights_of_the_best_epoch(few, fabric, tiny_recipe, tmp_path, monkeypatch):
    """The second of three epochs is made to look best; its weights must come back."""
    from internals.training import loop

    scores = iter([0.3, 0.9, 0.9])
    seen = []
    real = loop.evaluate

    def scored(model, *rest):
        seen.append({k: v.clone() for k, v in model.state_dict().items()})
        return replace(real(model, *rest), top1=next(scores), loss=1.0)

    monkeypatch.setattr(loop, "evaluate", scored)
    model = _fresh()
    history, _ = train(
        model, replace(tiny_recipe, epochs=3), few.train, few.validation, fabric,
        seed=1, checkpoint=tmp_path / "c.pt",
    )  # fmt: skip
    assert history.best.number == 2
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, seen[1][name], rtol=0, atol=0)


def test_checkpoint_of_another_run_is_refused_and_kept(few, fabric, tiny_recipe, tmp_path):
    path = tmp_path / "c.pt"
    _train(few, tiny_recipe, fabric, path)
    before = path.read_bytes()
    for change in ({"learning_rate": 1e-3}, {"weight_decay": 0.0}):
        with pytest.raises(CheckpointError, match="belongs to a run with another recipe, seed or"):
            _train(few, replace(tiny_recipe, **change), fabric, path)
    with pytest.raises(CheckpointError, match="belongs to a run"):
        _train(few, tiny_recipe, fabric, path, seed=2)
    assert path.read_bytes() == before


def test_a_word_about_the_paper_does_not_lose_a_half_finished_run(
    few, fabric, tiny_recipe, tmp_path
):
    path = tmp_path / "c.pt"
    _train(few, tiny_recipe, fabric, path)
    _train(few, replace(tiny_recipe, paper={"epochs": "20"}), fabric, path)
