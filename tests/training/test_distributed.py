"""Oracle: the same run in one process."""

import multiprocessing
import os

import pytest
import torch
from lightning_fabric import Fabric

from internals.environment import cores
from internals.errors import OutputError, TrainingError
from internals.training import distributed, load_tensors, make_fabric, on_devices, trained
from tests.reference.two_ranks import train_and_fail, train_small


@pytest.fixture
def two_processes(monkeypatch, no_real_data, no_accelerator):
    """float32 on two cores of the processor, whatever this machine would choose."""
    monkeypatch.delenv("INTERNALS_CORES")
    if cores() < 2:
        pytest.skip("needs two cores")
    monkeypatch.setattr(distributed, "best_precision", lambda: "32-true")


@pytest.mark.slow
def test_two_processes_end_in_the_weights_of_one_and_fail_as_one_whatever_started_this_one(
    two_processes, tmp_path, capfd, monkeypatch
):
    """One launch, for it takes seconds: it trains, and then the first process cannot write.

    It is made in the environment of all launchers at once, which neither process may believe.
    """
    alone = Fabric(accelerator="cpu", devices=1, precision="32-true")
    train_small(alone, tmp_path / "one")
    for variables in _LAUNCHERS.values():
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
    before = dict(os.environ)
    capfd.readouterr()
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        on_devices(2, train_and_fail, tmp_path / "two")
    assert dict(os.environ) == before
    printed = capfd.readouterr().out
    assert printed.count("printed by process") == 1
    assert "printed by process 0 of 2, told []" in printed
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


# What launchers put into the environment of each of their processes.
_LAUNCHERS = {
    "sbatch": {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "job"},
    "srun": {
        "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_ID": "77",
        "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_NODEID": "0", "SLURM_NNODES": "1",
    },
    "srun, no names": {"SLURM_NTASKS": "1"},
    "torchrun": {
        "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True", "WORLD_SIZE": "2",
        "RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "1", "MASTER_ADDR": "192.0.2.1",
        "MASTER_PORT": "29500",
    },
    "torchrun, no names": {"TORCHELASTIC_RUN_ID": "none"},
    "Kubeflow": {
        "KUBERNETES_PORT": "tcp://192.0.2.1:443", "MASTER_ADDR": "192.0.2.1",
        "MASTER_PORT": "23456", "WORLD_SIZE": "4", "RANK": "2",
    },
    "mpirun": {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMI_RANK": "1"},
    "jsrun": {
        "LSB_JOBID": "77", "LSB_DJOB_RANKFILE": "/nowhere", "JSM_NAMESPACE_LOCAL_RANK": "1",
        "JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_RANK": "1",
    },
    "fabric run": {
        "LT_CLI_USED": "1", "LT_DEVICES": "2", "LT_ACCELERATOR": "cuda", "LT_PRECISION": "64",
    },
    "a wrong port": {"MASTER_PORT": "x", "STANDALONE_PORT": "y", "NODE_RANK": "z"},
}  # fmt: skip


@pytest.mark.parametrize("variables", _LAUNCHERS.values(), ids=_LAUNCHERS)
def test_one_process_is_one_process_whatever_has_started_it(
    few, tiny_recipe, fabric, no_accelerator, monkeypatch, tmp_path, variables
):
    """Fabric is made by `trained` itself; the environment is as it was before."""
    monkeypatch.setattr(distributed, "best_precision", lambda: "32-true")
    wanted = trained(tiny_recipe, few, folder=tmp_path / "wanted", fabric=fabric)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    run = trained(tiny_recipe, few, folder=tmp_path / "run")
    assert run.provenance.compute == wanted.provenance.compute
    assert run.provenance.weights_sha256 == wanted.provenance.weights_sha256
    assert on_devices(1, lambda fabric: (fabric.world_size, fabric.global_rank)) == (1, 0)
    assert dict(os.environ) == before


@pytest.mark.filterwarnings("error")
def test_one_process_is_not_told_to_use_a_launcher(no_accelerator, monkeypatch, tmp_path):
    """Where Slurm is installed Lightning would have every command begin with srun."""
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert make_fabric().world_size == 1


def test_a_fabric_takes_the_threads_that_it_is_given(no_accelerator, monkeypatch):
    monkeypatch.delenv("INTERNALS_CORES")
    make_fabric(threads=3)
    assert torch.get_num_threads() == 3
    make_fabric()
    assert torch.get_num_threads() == cores()
    monkeypatch.setenv("INTERNALS_CORES", "1")
    make_fabric()
    assert torch.get_num_threads() == 1
