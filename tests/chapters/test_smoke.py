"""Oracle: every chapter run as a learner runs it, and the layers that its network has to show.

That a script runs in a Python of its own is tested in `tests/book`. Here what all of them import is
imported once: each chapter is a process that starts from there, which saves half a minute.
"""

import multiprocessing
import os
import runpy
import sys
import traceback
from multiprocessing import forkserver
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
ONE_CORE = {"OMP_NUM_THREADS": "1", "INTERNALS_CORES": "1"}
IMPORTED = [
    "internals.book.chapter", "internals.figures.illustration", "internals.network",
    "internals.projection.project", "internals.training.run", "matplotlib.pyplot", "scipy.stats",
]  # fmt: skip


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, as a learner has: what a chapter trained another finds."""
    shared = tmp_path_factory.getbasetemp()
    return (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "smoke-build"


def run(path: Path, build: Path, folder: Path, said: Path) -> None:
    """Run a chapter in this process, as `python PATH --profile smoke --data embedded` would."""
    os.environ.pop("INTERNALS_DATA", None)
    os.environ |= {"INTERNALS_BUILD": str(build), **ONE_CORE}
    os.chdir(folder)
    sys.argv = [str(path), "--profile", "smoke", "--data", "embedded"]
    sys.path[0] = str(path.parent)
    with said.open("w", encoding="utf-8") as sys.stdout:
        try:
            runpy.run_path(str(path), run_name="__main__")
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            raise


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Processes that begin with what chapters import, and with one thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ONE_CORE.items():
            patch.setenv(name, value)
        forkserver.ensure_running()
    return context


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_line_runs_and_every_layer_is_drawn(
    path: Path, build: Path, tmp_path: Path, processes
) -> None:
    said = tmp_path / "said"
    child = processes.Process(target=run, args=(path, build, tmp_path, said))
    child.start()
    child.join()
    assert child.exitcode == 0, said.read_text(encoding="utf-8")[-2000:]
    drawn = sorted((build / "smoke" / "figures" / path.stem).glob("*.png"))
    assert [int(picture.name[:2]) for picture in drawn] == list(range(1, len(drawn) + 1))
    names = {picture.stem[3:] for picture in drawn}
    assert {f"conv{n}-strongest" for n in LAYERS.get(path.stem, ())} <= names
