"""The site of the committed edition, built once for all processes of the suite."""

import fcntl
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from internals.environment import ROOT
from tests.reference.web_host import WebHost

SEARCH = "search/search_index.json"
MOST_LAYERS = 5  # of the atlas, whose pages are of one make, and its first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs the built site waits for its build."""
    for item in items:
        if "site" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published site. Tests only read it.

    It is built as `make serve` builds it: without torch, which is not there to be imported.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / "published"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "site").is_dir():
            words = ["build", "--profile", "full", "--strict"]
            (folder / "absent").mkdir()
            (folder / "absent" / "torch.py").write_text("raise ModuleNotFoundError('torch')\n")
            absent = {"INTERNALS_BUILD": str(folder), "PYTHONPATH": str(folder / "absent")}
            subprocess.run(
                [sys.executable, "-c", "from internals.cli import main; main()", *words],
                cwd=ROOT, env=os.environ | absent, check=True, timeout=300,
            )  # fmt: skip
    return folder / "site"


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[str, str]:
    """Every page: its address from the site's root, and its HTML."""
    files = sorted(site.rglob("*.html"))
    return {str(f.relative_to(site)).removesuffix("index.html"): f.read_text() for f in files}


@pytest.fixture(scope="session")
def layers(pages: dict[str, str]) -> list[str]:
    """The pages of the atlas that show a layer's channels."""
    return [page for page in pages if page.startswith("atlas/") and "data-channel=" in pages[page]]


@pytest.fixture(scope="session")
def visited(pages: dict[str, str], layers: list[str]) -> list[str]:
    """Every page that is opened in the browser: of the atlas's layers, a sample."""
    sample = [*layers[:1], *random.Random(0).sample(layers, min(MOST_LAYERS, len(layers)))]
    return [page for page in pages if page not in layers or page in sample]


@pytest.fixture(scope="module")
def host(site: Path) -> Iterator[WebHost]:
    """The site on a host of its own, with nothing to search in.

    Every page reads the same index of the whole site, in a third of the time that it takes to open.
    """
    empty = json.loads((site / SEARCH).read_text()) | {"docs": []}
    with WebHost(site, {SEARCH: json.dumps(empty).encode()}) as host:
        yield host
