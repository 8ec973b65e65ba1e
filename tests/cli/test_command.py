"""Oracle: exit status and the lines on both outputs, of the command as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from internals.cli import app
from internals.environment import ROOT
from internals.errors import InternalsError

COMMAND = [sys.executable, "-c", "from internals.cli import main; main()"]
FULL = Path("/dev/full")
NETWORKS = """
import sys, time
from pathlib import Path
from torch import nn

def leaves(): sys.exit()
def closes():
    sys.stdout.close()
    return nn.Conv2d(3, 4, 3)
class Leaves(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        sys.exit(0)
def waits():
    Path("begun").touch()
    for _ in range(600):
        time.sleep(0.1)  # a signal that comes just before a sleep is only seen after it
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with networks that leave or wait, and one picture."""
    from PIL import Image

    folder = tmp_path / "here"
    (folder / "zoo").mkdir(parents=True)
    (folder / "mine.py").write_text(NETWORKS)
    (folder / "gone.py").write_text("raise SystemExit(0)")
    Image.new("RGB", (20, 20), "red").save(folder / "zoo" / "red.png")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return folder


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | options.pop("variables", {})
    outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(
        [*COMMAND, *words], env=environment, text=True, check=False, timeout=120, **outputs
    )


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", [["data", "list"], ["--help"], ["status"]])
def test_a_full_output_is_one_line(words: list[str]) -> None:
    with FULL.open("w") as full:
        done = run(*words, stdout=full)
    assert (done.returncode, done.stderr) == (
        1, "error: cannot print: No space left on device\n",
    )  # fmt: skip


@pytest.mark.slow
def test_an_output_that_nobody_reads_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        done = run("data", "list", stdout=pipe)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
def test_an_output_that_is_closed_is_one_line(tmp_path: Path) -> None:
    done = run("data", "list", stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (1, "error: cannot print: Bad file descriptor\n")


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_any_name_can_be_printed(tmp_path: Path, variables: dict[str, str]) -> None:
    name = b"\xe9\xce\xb1"  # not UTF-8, and beyond ASCII
    missing = os.fsdecode(os.fsencode(tmp_path) + b"/" + name)
    done = run("project", "lenet5", "--images", missing, "--out", "p.png", "--layer", "conv1",
               "--tanh", "straight", variables=variables)  # fmt: skip
    assert done.returncode == 1
    assert "\\udce9" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("words", ["mine:leaves", "mine:Leaves", "gone:x"])
@pytest.mark.parametrize("command", ["project", "summary"])
def test_a_network_that_exits_is_an_error(here: Path, command: str, words: str) -> None:
    more = "--layer conv --images zoo --out p.png --size 16 --mean 0,0,0 --std 1,1,1".split()
    done = CliRunner().invoke(app, [command, words, *(more if command == "project" else [])])
    assert isinstance(done.exception, InternalsError), done.output
    assert "SystemExit" in str(done.exception) and "\n" not in str(done.exception)
    assert not (here / "p.png").exists()


@pytest.mark.slow
def test_a_network_that_closes_the_output_is_one_line(here: Path) -> None:
    done = run("summary", "mine:closes")
    assert (done.returncode, done.stderr) == (
        1, "error: cannot print: code that was run has closed the output\n",
    )  # fmt: skip


def interrupted(*words: str, begun: Path) -> tuple[int, str, str]:
    """Status and outputs of a command that gets Ctrl-C, as does all its process group."""
    process = subprocess.Popen(
        [*COMMAND, *words], env=os.environ | {"PYTHONPATH": f"{ROOT}:."}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        # A shell starts background work, this test among it, with the interrupt ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not begun.exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=60)
    return process.returncode, out, error


@pytest.mark.slow
@pytest.mark.parametrize("command", ["project", "summary"])
def test_ctrl_c_says_that_it_stopped(here: Path, command: str) -> None:
    more = "--layer conv --images zoo --out p.png".split() if command == "project" else []
    got = interrupted(command, "mine:waits", *more, begun=here / "begun")
    assert got == (130, "", "stopped\n")
    assert not list(here.glob("*p.png*"))


@pytest.mark.slow
def test_ctrl_c_in_training_says_how_it_goes_on(here: Path) -> None:
    words = ["train", "lenet5", "--data", "embedded", "--out", str(here / "run")]
    status, _, error = interrupted(*words, begun=here / "run" / "checkpoint.pt")
    assert status == 130 and "Traceback" not in error
    assert error.endswith("stopped; the same command goes on where this one left off\n")
