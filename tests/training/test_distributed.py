"""Oracle: the same run in one process."""

import multiprocessing
import os

import pytest
import torch
from lightning_fabric import Fabric

from internals.environment import cores
from internals.errors import OutputError, TrainingError
from internals.training import distributed, load_tensors, make_fabric, on_devices
from tests.reference.two_ranks import train_and_fail, train_small


@pytest.fixture
def two_processes(monkeypatch, no_real_data, no_accelerator):
    """float32 on two cores of the processor, whatever this machine would choose."""
    monkeypatch.delenv("INTERNALS_CORES")
    if cores() < 2:
        pytest.skip("needs two cores")
    monkeypatch.setattr(distributed, "best_precision", lambda: "32-true")


@pytest.mark.slow
def test_two_processes_end_in_the_weights_of_one_and_fail_as_one(two_processes, tmp_path, capfd):
    """One launch, for it takes seconds: it trains, and then the first process cannot write."""
    alone = Fabric(accelerator="cpu", devices=1, precision="32-true")
    train_small(alone, tmp_path / "one")
    capfd.readouterr()
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        on_devices(2, train_and_fail, tmp_path / "two")
    assert capfd.readouterr().out.count("printed by process") == 1
    assert not (tmp_path / "two" / "checkpoint.pt").exists()
    (left, one), (right, two) = (
        load_tensors(tmp_path / name / "weights.safetensors") for name in ("one", "two")
    )
    assert (one["provenance"]["devices"], two["provenance"]["devices"]) == (1, 2)
    for name, tensor in left.items():
        error = (tensor - right[name]).abs().max() / tensor.abs().max()
        assert error < 1e-6, f"{name}: {error:.1e}"
    metrics = one["provenance"]["metrics"]
    assert two["provenance"]["metrics"] == pytest.approx(metrics, rel=1e-6)
    for row, other in zip(one["history"], two["history"], strict=True):
        for name in row.keys() - {"seconds", "images_per_second"}:
            assert other[name] == pytest.approx(row[name], rel=1e-6), name
    assert one["replays"] and not two["replays"]  # another number of processes, another order


@pytest.mark.parametrize(
    ("devices", "gpus", "message"),
    [
        (0, 0, "devices=0 must be 1 or more, or auto"),
        (3, 2, "devices=3, but there are 2 GPUs; ask for so many or auto"),
        (99, 0, "devices=99, but there are 2 cores; ask for 2 at most, for each process needs one"),
    ],
)
def test_devices_that_are_not_there_are_refused_before_anything_is_started(
    two_processes, monkeypatch, devices, gpus, message
):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setenv("INTERNALS_CORES", "2")
    with pytest.raises(TrainingError, match=message) as caught:
        on_devices(devices, train_and_fail, None)
    assert "\n" not in str(caught.value)
    assert not multiprocessing.active_children()


def test_one_device_is_this_process(no_accelerator):
    assert on_devices(1, lambda fabric, number: (os.getpid(), number), 7) == (os.getpid(), 7)


def test_a_fabric_takes_the_threads_that_it_is_given(no_accelerator, monkeypatch):
    monkeypatch.delenv("INTERNALS_CORES")
    make_fabric(threads=3)
    assert torch.get_num_threads() == 3
    make_fabric()
    assert torch.get_num_threads() == cores()
    monkeypatch.setenv("INTERNALS_CORES", "1")
    make_fabric()
    assert torch.get_num_threads() == 1
