"""Data and a quiet, repeatable torch for every test."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import torch
from beartype import BeartypeConf
from beartype.claw import beartype_packages

# Commands that tests start have threads, which else keep a core busy while they wait.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import tests.reference.checked  # noqa: F401 (jaxtyping is told its name)

# Shapes and types in signatures are checked while the tests run (annotations are not decoration).
# The two packages that trace networks call by call are full of small functions without shapes, for
# which jaxtyping takes longer than they do themselves: there beartype checks them alone.
_ROOT = Path(__file__).parents[1]
_TRACING = ("internals.anatomy", "internals.projection")
_WITH_SHAPES = [
    ".".join(file.relative_to(_ROOT).with_suffix("").parts)
    for package in _TRACING
    for file in sorted((_ROOT / package.replace(".", "/")).rglob("*.py"))
    if "from jaxtyping import" in file.read_text(encoding="utf-8")
]
beartype_packages(_TRACING, conf=BeartypeConf(claw_is_pep526=False))
jaxtyping.install_import_hook(
    [
        *_WITH_SHAPES,
        *(
            f"internals.{package}"
            for package in (
                "data",
                "models",
                "attacks",
                "training",
                "ablations",
                "activations",
                "probing",
            )
        ),
    ],
    "tests.reference.checked.checked",
)

# The browser fetches nothing for itself, and runs also as root, in a container, without a screen.
_BROWSER_OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
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


@pytest.fixture(autouse=True)
def no_modules_of_another_test(tmp_path):
    """What a test imports from its own folder is not found in memory by the next one."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        module = sys.modules[name]
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        if any(place and Path(place).is_relative_to(tmp_path) for place in places):
            del sys.modules[name]


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


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """The system's Chromium. Not for a session: its event loop would be in other tests' way."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if not path:
        pytest.skip("needs chromium or google-chrome on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_BROWSER_OPTIONS)
        yield browser
        browser.close()
