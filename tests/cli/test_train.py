"""Oracle: the files that the command leaves, read back, and its promised errors."""

import json
import re

import pytest
import safetensors
from typer.testing import CliRunner

from internals.cli import app
from internals.errors import TrainingError
from internals.training import device

RUN = CliRunner()


def test_prints_what_the_weights_file_says(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "cores", lambda: 1)  # threads that wait for a busy core take ages
    words = ["train", "lenet5", "--profile", "smoke", "--data", "embedded", "--out", str(tmp_path)]
    found = RUN.invoke(app, words)
    assert found.exit_code == 0, found.output
    with safetensors.safe_open(tmp_path / "weights.safetensors", "pt") as file:
        made = json.loads(file.metadata()["provenance"])
    assert f"lenet5: {made['metrics']['top1']:.2%} of 360 test images right" in found.output
    assert f"best of {made['epochs']} epochs: {made['best_epoch']};" in found.output
    assert f"{made['images_per_second']:,.0f} images a second" in found.output
    assert f"on {made['device']} in {made['precision']}" in found.output
    assert made["devices"] == 1
    again = RUN.invoke(app, words)
    assert re.findall("lenet5: .* right.*", again.output) == re.findall(
        "lenet5: .* right.*", found.output
    )


def test_two_processes_train_one_network(tmp_path, capfd, no_real_data, no_accelerator):
    """With an option, for it makes the recipe that every process is handed."""
    words = "train lenet5 --profile smoke --data embedded --shift 1 --devices 2 --out".split()
    found = RUN.invoke(app, [*words, str(tmp_path)])
    assert found.exit_code == 0, found.exception
    with safetensors.safe_open(tmp_path / "weights.safetensors", "pt") as file:
        made = json.loads(file.metadata()["provenance"])
    assert (made["devices"], made["recipe"]["shift"]) == (2, 1)
    told = capfd.readouterr().out  # by the processes, not by this one
    assert told.count(f"lenet5: {made['metrics']['top1']:.2%} of 360 test images right") == 1
    assert f" on 2 x {made['device']} in {made['precision']}" in told


@pytest.mark.parametrize("devices", ["two", "0", "-1", "1.5", ""])
def test_devices_that_are_no_number_are_a_usage_error(devices):
    found = RUN.invoke(app, ["train", "lenet5", "--devices", devices])
    assert found.exit_code == 2
    assert "neither a number nor auto" in found.output


def test_an_unknown_network_is_told_before_anything_is_started():
    found = RUN.invoke(app, ["train", "lenet6", "--devices", "2"])
    assert isinstance(found.exception, TrainingError)
    assert "no recipe for network 'lenet6'; there are lenet5, " in str(found.exception)
