"""Data and a quiet, repeatable torch for every test."""

import os
from pathlib import Path

import jaxtyping
import pytest
import torch

# Shapes written in signatures are checked while the tests run (annotations are not decoration).
jaxtyping.install_import_hook(
    [
        f"internals.{package}"
        for package in (
            "data",
            "models",
            "anatomy",
            "attacks",
            "training",
            "ablations",
            "activations",
            "probing",
            "projection",
        )
    ],
    "beartype.beartype",
)

_REAL_DATA = os.environ.get("INTERNALS_DATA", "")


@pytest.fixture(autouse=True)
def quiet_torch(tmp_path, monkeypatch):
    """One seed, one thread, and neither the user's cache nor the checkout's build folder."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setenv("INTERNALS_BUILD", str(tmp_path / "build"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_accelerator(monkeypatch):
    """The processor is all there is."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def no_real_data(monkeypatch):
    """As on a fresh machine: nobody named a data folder."""
    monkeypatch.delenv("INTERNALS_DATA", raising=False)


@pytest.fixture(scope="session")
def digits():
    """The embedded digits, padded to 32 x 32: train, validation, test."""
    from internals.data import load

    return load("mnist", "embedded")


@pytest.fixture(scope="session")
def real_mnist():
    """The real MNIST, where `INTERNALS_DATA` names it."""
    if not (Path(_REAL_DATA).expanduser() / "MNIST" / "raw").is_dir():
        pytest.skip("needs the real MNIST: set INTERNALS_DATA to a folder with MNIST/raw/*")
    from internals.data import load

    return load("mnist", "real")


@pytest.fixture
def unchecked_shapes():
    """For tests of what the package itself says about a wrong shape: nobody else checks it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
