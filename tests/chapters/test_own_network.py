"""Oracle: a reader with a small network of their own, who does what the chapters' ends say."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from internals.book import Layout
from internals.cli import app
from internals.environment import ROOT

CHAPTERS = Layout(ROOT, ROOT).scripts()
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]
MINE = """\
from collections import OrderedDict

from torch import nn


def network():
    names = ("conv1", "act1", "pool1", "conv2", "act2", "mean", "flat", "fc")
    layers = (nn.Conv2d(3, 8, 5, 2), nn.{act}(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.{act}(),
              nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    return nn.Sequential(OrderedDict(zip(names, layers)))
"""


def section(path: Path) -> str:
    """The Markdown of the chapter's section for readers with a network of their own."""
    text = re.sub(r"^# ?", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    _, _, rest = text.partition("## Do this with your own network\n")
    return rest.partition("\n## ")[0]


def commands(path: Path) -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", section(path), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines]


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a network in `mine.py`, its weights, and three photos of noise."""
    noise = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(3):
        pixels = noise.integers(0, 256, (240, 240, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    return tmp_path


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_ends_with_commands_for_a_network_of_the_readers_own(path: Path) -> None:
    found = commands(path)
    assert found[-1][:3] == ["internals", "atlas", "mine:network"]
    for program, name, *arguments in found:
        assert program == "internals"
        if name in COMMANDS:
            COMMANDS[name].make_context(name, arguments)  # raises where an option is unknown
        else:
            assert name == "atlas"


@pytest.mark.slow
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_what_a_chapter_tells_the_reader_to_do_works_as_it_stands(path: Path, reader: Path) -> None:
    torch.manual_seed(0)
    act = "Tanh" if "--tanh" in section(path) else "ReLU"
    (reader / "mine.py").write_text(MINE.format(act=act))
    import mine  # type: ignore[import-not-found]

    for name in ("mine.pth", "another.pth"):
        torch.save(mine.network().state_dict(), reader / name)
    for _, name, *arguments in commands(path):
        if name in COMMANDS:
            done = CliRunner().invoke(app, [name, *arguments])
            assert done.exit_code == 0, done.output
            if "--out" in arguments:
                assert (reader / arguments[arguments.index("--out") + 1]).exists()
    for code in re.findall(r"^```python\n(.*?)^```", section(path), re.DOTALL | re.MULTILINE):
        exec(compile(code, path.name, "exec"), {})
