"""A short training run for the test that kills it: `tiny_run.py FOLDER`."""

import sys
from pathlib import Path

import torch
from lightning_fabric import Fabric

from internals.data.image_set import Splits
from internals.data.load import load
from internals.training import run
from internals.training.recipe import Recipe

RECIPE = Recipe(
    network="lenet5",
    data="mnist",
    epochs=60,  # long enough that a run cannot end before it is killed
    batch_size=32,
    optimizer="adamw",
    learning_rate=2e-3,
    loss="map",
    size=32,
    pipeline="range",
    input_range=(-0.1, 1.175),
    weight_decay=1e-4,
    rubbish_penalty=5.0,
    most_images=192,
)


def make_fabric() -> Fabric:
    """float32 on one thread of the processor."""
    torch.set_num_threads(1)
    return Fabric(accelerator="cpu", devices=1, precision="32-true")


def train_tiny(folder: Path) -> run.Run:
    """Sixty epochs of six steps on the embedded digits."""
    run.make_fabric = make_fabric
    splits = load("mnist", "embedded")
    few = Splits(splits.train, *(part.subset(torch.arange(50)) for part in splits[1:]))
    return run.trained(RECIPE, few, seed=4, folder=folder)


if __name__ == "__main__":
    train_tiny(Path(sys.argv[1]))
