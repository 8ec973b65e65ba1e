"""Oracle: a network of 1 x 1 filters, whose strongest picture can be told from its colours."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from internals.cli import app

OWN = """
import torch
from torch import nn

def colours():
    "Channel 0 answers to red, 1 to nothing, 2 to blue."
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
    filters = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 1]])
    net[0].weight.data = filters.view(3, 3, 1, 1)
    net[0].bias.data = torch.tensor([0.0, -1, 0])
    return net
"""
OWN += """
def dots():
    "Answers to red in the middle of 3 x 3 pixels."
    net = nn.Sequential(nn.Conv2d(3, 1, 3, padding=1, bias=False), nn.ReLU())
    net[0].weight.data = torch.zeros(1, 3, 3, 3)
    net[0].weight.data[0, 0, 1, 1] = 1
    return net
"""
PICTURES = {"red": (240, 0, 0), "violet": (250, 0, 220), "blue": (0, 0, 210), "green": (0, 250, 0)}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a network and four pictures of one colour each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    (tmp_path / "painted.py").write_text(OWN)
    (tmp_path / "zoo").mkdir()
    for name, colour in PICTURES.items():
        Image.new("RGB", (32, 32), colour).save(tmp_path / "zoo" / f"{name}.png")
    return tmp_path


def _run(*words: str):
    return CliRunner().invoke(app, ["mosaic", "painted:colours", "--images", "zoo", *words])


def test_each_channel_that_fires_is_shown_with_a_picture_of_its_own(here: Path) -> None:
    done = _run("--out", "wall.webp", "--upright", "tall.webp", "--layers", "0", "--size", "32",
                "--length", "400", "--lines", "2")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "0: channels 0, 2\n" in done.stdout, "channel 1 is silent"
    with Image.open(here / "wall.webp") as picture:
        wall = np.asarray(picture.convert("RGB")).astype(int)
    assert wall.shape == (400, 40, 3), "tiles of a twentieth, one pair a row"
    patches = [wall[10, 30], wall[30, 10]]
    # Lossless, as its tiles are small. Violet is the strongest of both, and shown once.
    for patch, colour in zip(patches, (PICTURES["violet"], PICTURES["blue"]), strict=True):
        assert np.abs(patch - colour).max() <= 1
    assert (wall[60:] == 128).all(), "two pairs, then nothing"
    with Image.open(here / "tall.webp") as picture:
        assert picture.size == (400, 40)


def test_a_field_that_lies_within_its_picture_is_preferred(here: Path) -> None:
    for place, red in [((0, 0), 250), ((16, 16), 200)]:  # the stronger one at the border
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[place] = (red, 0, 0)
        (here / "dots").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(here / "dots" / f"{red}.png")
    done = CliRunner().invoke(
        app,
        ["mosaic", "painted:dots", "--images", "dots", "--out", "wall.webp", "--layers", "0",
         "--size", "32", "--length", "60", "--lines", "2"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    with Image.open(here / "wall.webp") as picture:  # tiles of 3 x 3 pixels
        patch = np.asarray(picture.convert("RGB"))[:3, 3:6].astype(int)
    assert abs(patch[1, 1] - (200, 0, 0)).max() <= 1
    patch[1, 1] = 0
    assert patch.max() <= 1, "no grey: all of the field was seen"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--out", "wall.png"], "let its name end in .webp"),
        (["--out", "none/wall.webp"], "a folder that is there"),
        (["--out", "wall.webp", "--lines", "3"], "--lines 3 is odd"),
        (["--out", "wall.webp", "--layers", "nine"], "no layer 'nine'"),
        (["--out", "wall.webp", "--upright", "tall.jpg"], "tall.jpg"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(
    here: Path, words: list[str], reason: str
) -> None:
    done = _run("--size", "32", *words)
    assert done.exit_code == 1 and reason in str(done.exception)
    assert not list(here.glob("*.webp"))
