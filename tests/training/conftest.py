"""A small, exact training set-up: float32 on the processor, digits, a tiny recipe."""

import pytest
import torch
from lightning_fabric import Fabric

from internals.data.image_set import ImageSet, Splits
from internals.training.recipe import Recipe


@pytest.fixture
def fabric():
    """float32 on the processor, whatever this machine would choose."""
    return Fabric(accelerator="cpu", devices=1, precision="32-true")


@pytest.fixture
def exact_machine(monkeypatch):
    """`trained` in float32 on the processor too."""
    import internals.training.run

    def make() -> Fabric:
        return Fabric(accelerator="cpu", devices=1, precision="32-true")

    monkeypatch.setattr(internals.training.run, "make_fabric", make)


@pytest.fixture
def tiny_recipe():
    """Two epochs of three steps."""
    return Recipe(
        network="lenet5",
        data="mnist",
        epochs=2,
        batch_size=32,
        optimizer="adamw",
        learning_rate=2e-3,
        loss="map",
        size=32,
        pipeline="range",
        input_range=(-0.1, 1.175),
        weight_decay=1e-4,
        warm_up=0.2,
        rubbish_penalty=5.0,
        most_images=96,
    )


@pytest.fixture
def few(digits):
    """96 + 40 + 40 digits."""

    def first(images: ImageSet, count: int) -> ImageSet:
        return images.subset(torch.arange(count))

    return Splits(first(digits.train, 96), first(digits.validation, 40), first(digits.test, 40))
