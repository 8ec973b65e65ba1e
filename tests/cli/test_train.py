"""Oracle: the files that the command leaves, read back, and its promised errors."""

import re
import shutil

import pytest
from typer.testing import CliRunner

from internals.cli import app
from internals.environment import cores
from internals.errors import CheckpointError, TrainingError
from internals.training import load_tensors

RUN = CliRunner()


@pytest.fixture
def one_core(monkeypatch):
    """Threads that wait for a busy core take ages."""
    monkeypatch.setenv("INTERNALS_CORES", "1")


def _right(output: str) -> list[str]:
    return re.findall("lenet5: .* right.*", output)


def test_prints_what_the_weights_file_says(tmp_path, one_core):
    words = ["train", "lenet5", "--profile", "smoke", "--data", "embedded", "--out", str(tmp_path)]
    first = RUN.invoke(app, words)
    assert first.exit_code == 0, first.output
    _, facts = load_tensors(tmp_path / "weights.safetensors")
    made = facts["provenance"]
    assert f"lenet5: {made['metrics']['top1']:.2%} of 360 test images right" in first.output
    assert f"best of {made['epochs']} epochs: {made['best_epoch']};" in first.output
    assert f"{made['images_per_second']:,.0f} images a second" in first.output
    assert f"on {made['device']} in {made['precision']}" in first.output
    assert made["devices"] == 1
    again = RUN.invoke(app, words)
    assert _right(again.output) == _right(first.output) != []


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path, capfd, no_real_data, no_accelerator):
    """With an option, for it makes the recipe that every process is handed."""
    if cores() < 2:
        pytest.skip("needs two cores")
    words = "train lenet5 --profile smoke --data embedded --shift 1 --devices 2 --out".split()
    done = RUN.invoke(app, [*words, str(tmp_path)])
    assert done.exit_code == 0, done.exception
    _, facts = load_tensors(tmp_path / "weights.safetensors")
    made = facts["provenance"]
    assert (made["devices"], made["recipe"]["augment"]["shift"]) == (2, 1)
    printed = capfd.readouterr().out  # by the processes, not by this one
    assert printed.count(f"lenet5: {made['metrics']['top1']:.2%} of 360 test images right") == 1
    assert f" on 2 x {made['device']} in {made['precision']}" in printed


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2**63 - 1, 2**63, 2**64 - 1])
def test_every_seed_of_torchs_trains(tmp_path, one_core, seed):
    words = "train lenet5 --profile smoke --data embedded --out".split()
    done = RUN.invoke(app, [*words, str(tmp_path), "--seed", str(seed)])
    assert done.exit_code == 0, done.exception
    _, facts = load_tensors(tmp_path / "weights.safetensors")
    assert facts["provenance"]["seed"] == seed


@pytest.mark.parametrize("seed", [-1, 2**64, 10**40, "1.5", ""])
def test_what_is_no_seed_is_a_usage_error(seed):
    done = RUN.invoke(app, ["train", "lenet5", "--seed", str(seed)])
    assert done.exit_code == 2
    assert "Invalid value for '--seed'" in done.output


@pytest.mark.parametrize("devices", ["two", "0", "-1", "1.5", ""])
def test_devices_that_are_no_number_are_a_usage_error(devices):
    done = RUN.invoke(app, ["train", "lenet5", "--devices", devices])
    assert done.exit_code == 2
    assert "neither a number nor auto" in done.output


def test_an_unknown_network_is_refused_before_anything_is_started():
    done = RUN.invoke(app, ["train", "lenet6", "--devices", "2"])
    assert isinstance(done.exception, TrainingError)
    assert "no recipe for network 'lenet6'; there are lenet5, " in str(done.exception)


def test_more_processes_than_cores_are_refused_before_anything_is_started(
    tmp_path, one_core, no_accelerator
):
    words = "train lenet5 --profile smoke --data embedded --devices 99 --out".split()
    done = RUN.invoke(app, [*words, str(tmp_path / "w")])
    assert isinstance(done.exception, TrainingError)
    assert "devices=99, but there are 1 cores; ask for 1 at most" in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "w").exists()


def test_weights_are_adopted_on_the_command_line(one_core, tmp_path, monkeypatch):
    words = "train lenet5 --profile smoke --data embedded".split()
    refused = RUN.invoke(app, [*words, "--adopt"])
    assert isinstance(refused.exception, CheckpointError)
    assert "no finished weights of 'lenet5' by this recipe, data and seed" in str(refused.exception)
    first = RUN.invoke(app, words)
    weights = tmp_path / "build" / "weights"
    (before,) = weights.iterdir()
    monkeypatch.setattr("internals.training.provenance.code_key", lambda recipe: "refactored")
    adopted = RUN.invoke(app, [*words, "--adopt"])
    (after,) = weights.iterdir()
    assert after != before
    assert adopted.output.splitlines()[-1] == f"adopted: {after}"
    again = RUN.invoke(app, words)
    assert _right(again.output) == _right(first.output) != []
    assert "epoch 1/" not in again.output and str(after) in again.output
    twice = RUN.invoke(app, [*words, "--adopt"])
    assert twice.output == adopted.output
    shutil.rmtree(after)
    assert isinstance(RUN.invoke(app, [*words, "--adopt"]).exception, CheckpointError)
