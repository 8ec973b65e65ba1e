"""A short training run for the test that kills it: `tiny_run.py FOLDER`."""

import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric

from internals.data import Splits, load
from internals.training import AdamW, InputRange, Map, Recipe, Run, trained

RECIPE = Recipe(
    network="lenet5",
    data="mnist",
    epochs=24,  # long enough that a run cannot end before it is killed
    batch_size=32,
    optimizer=AdamW(lr=2e-3, weight_decay=1e-4),
    loss=Map(j=5.0),
    size=32,
    pipeline=InputRange(-0.1, 1.175),
    most_images=192,
)


def train_tiny(folder: Path) -> Run:
    """Two dozen epochs of six steps on the embedded digits, in float32 on one thread."""
    torch.set_num_threads(1)
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    splits = load("mnist", "embedded")
    few = Splits(splits.train, *(part.head(50) for part in splits[1:]))
    return trained(RECIPE, few, seed=4, folder=folder, fabric=fabric)


if __name__ == "__main__":
    train_tiny(Path(sys.argv[1]))
