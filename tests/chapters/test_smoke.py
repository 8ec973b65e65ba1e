"""Oracle: every chapter run as a learner runs it, and the layers that its network has to show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from internals.environment import ROOT

CHAPTERS = sorted((ROOT / "chapters").glob("[0-9][0-9]_*.py"))
# The convolutions whose strongest patches each chapter draws, by their running number.
LAYERS = {
    "02_alexnet": (2, 3, 4, 5),
    "03_vgg16": (2, 4, 6, 8, 10, 13),
    "04_inceptionnet": (2, 4, 6, 8, 10, 12, 14, 16, 18),
    "05_resnet18": (2, 4, 6, 8, 10, 13, 14, 15, 16, 17),
    "06_mobilenet": (2, 6, 10, 14, 18, 22, 23, 24, 25, 26, 27),
}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, as a learner has: what a chapter trained another finds."""
    shared = tmp_path_factory.getbasetemp()
    return (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "smoke-build"


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_line_runs_and_every_layer_is_drawn(path: Path, build: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "INTERNALS_DATA"}
    environment |= {
        "INTERNALS_BUILD": str(build),
        "OMP_NUM_THREADS": "1",
        "INTERNALS_CORES": "1",
    }
    command = [sys.executable, str(path), "--profile", "smoke", "--data", "embedded"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    drawn = sorted((build / "smoke" / "figures" / path.stem).glob("*.png"))
    assert [int(picture.name[:2]) for picture in drawn] == list(range(1, len(drawn) + 1))
    names = {picture.stem[3:] for picture in drawn}
    assert {f"conv{n}-strongest" for n in LAYERS.get(path.stem, ())} <= names
