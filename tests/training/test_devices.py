"""Oracle: the same run in one process."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from lightning_fabric import Fabric

from internals.errors import OutputError, TrainingError
from internals.training import device
from internals.training.distributed import on_devices
from tests.reference.two_ranks import train_and_fail, train_small


@pytest.fixture
def two_processes(monkeypatch, no_real_data, no_accelerator):
    """float32 on the processor, whatever this machine would choose."""
    monkeypatch.setattr(device, "best_precision", lambda: "32-true")


def _files(folder: Path) -> tuple[dict, list[dict], dict]:
    weights = safetensors.torch.load_file(folder / "weights.safetensors")
    with safetensors.safe_open(folder / "weights.safetensors", "pt") as file:
        provenance = json.loads(file.metadata()["provenance"])
    return weights, json.loads((folder / "history.json").read_text()), provenance


def test_two_processes_end_in_the_weights_of_one_and_fail_as_one(two_processes, tmp_path, capfd):
    """One launch, for it takes seconds: it trains, and then the first process cannot write."""
    alone = Fabric(accelerator="cpu", devices=1, precision="32-true")
    train_small(alone, tmp_path / "one")
    capfd.readouterr()
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        on_devices(2, train_and_fail, tmp_path / "two")
    assert capfd.readouterr().out.count("told by process") == 1
    assert not (tmp_path / "two" / "checkpoint.pt").exists()
    (left, rows, one), (right, others, two) = (_files(tmp_path / name) for name in ("one", "two"))
    assert (one["devices"], two["devices"]) == (1, 2)
    for name, tensor in left.items():
        error = (tensor - right[name]).abs().max() / tensor.abs().max()
        assert error < 1e-6, f"{name}: {error:.1e}"
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-6)
    for row, other in zip(rows, others, strict=True):
        for name in row.keys() - {"seconds", "images_per_second"}:
            assert other[name] == pytest.approx(row[name], rel=1e-6), name


@pytest.mark.parametrize(
    ("devices", "gpus", "message"),
    [(0, 0, "devices=0 must be 1 or more, or auto"), (3, 2, "devices=3, but there are 2 GPUs")],
)
def test_devices_that_are_not_there_are_refused(two_processes, monkeypatch, devices, gpus, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(TrainingError, match=message):
        on_devices(devices, train_and_fail, None)
