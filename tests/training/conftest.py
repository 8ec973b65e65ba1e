"""A small, exact training set-up: float32 on the processor, digits, a tiny recipe."""

import pytest
from lightning_fabric import Fabric

from internals.data import Splits
from internals.training import AdamW, Cosine, InputRange, Map, Recipe


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """What the package starts by itself takes one thread as well."""
    monkeypatch.setenv("INTERNALS_CORES", "1")


@pytest.fixture
def fabric():
    """float32 on the processor, whatever this machine would choose."""
    return Fabric(accelerator="cpu", devices=1, precision="32-true")


@pytest.fixture
def tiny_recipe():
    """Two epochs of three steps."""
    return Recipe(
        network="lenet5",
        data="mnist",
        epochs=2,
        batch_size=32,
        optimizer=AdamW(lr=2e-3, weight_decay=1e-4),
        schedule=Cosine(warm_up=0.2),
        loss=Map(j=5.0),
        size=32,
        pipeline=InputRange(-0.1, 1.175),
        most_images=96,
    )


@pytest.fixture
def few(digits):
    """96 + 40 + 40 digits."""
    return Splits(digits.train.head(96), digits.validation.head(40), digits.test.head(40))
