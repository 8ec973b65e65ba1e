"""Work for two processes that train one network together."""

import os
from pathlib import Path

import torch
from lightning_fabric import Fabric

from internals.data import load
from internals.errors import OutputError
from internals.training import SGD, InputRange, Map, Recipe, Run, on_rank_zero, trained

# Three epochs of batches of 48, 48 and 7: the second process gets nothing of the last one.
RECIPE = Recipe(
    network="lenet5",
    data="mnist",
    epochs=3,
    batch_size=48,
    optimizer=SGD(lr=2e-3, weight_decay=1e-3),
    loss=Map(j=5.0),
    size=32,
    pipeline=InputRange(-0.1, 1.175),
    most_images=103,
    most_tested=50,
)


def train_small(fabric: Fabric, folder: Path) -> Run:
    """The run, with its files in `folder`."""
    torch.set_num_threads(1)
    splits = load("mnist", "embedded")
    return trained(RECIPE, splits, seed=4, folder=folder, fabric=fabric)


def train_and_fail(fabric: Fabric, folder: Path) -> None:
    """As `train_small`; then the first process cannot write, and no other waits for it."""
    train_small(fabric, folder)
    names = ("SLURM_NTASKS", "TORCHELASTIC_RUN_ID", "GROUP_RANK", "LSB_JOBID", "LT_DEVICES")
    told = [name for name in names if name in os.environ]
    print(f"printed by process {fabric.global_rank} of {fabric.world_size}, told {told}")

    def write() -> None:
        raise OutputError("cannot write the summary: No space left on device; free some space")

    on_rank_zero(fabric, write)
