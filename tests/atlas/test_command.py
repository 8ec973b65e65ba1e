"""Oracle: files that must or must not be there, and the lines that say why."""

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from internals.atlas import find_atlases, project_command
from internals.cli import app
from internals.errors import InternalsError

OWN = """
import torch
from torch import nn

def plain():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU())
def grey(): return nn.Sequential(nn.Conv2d(1, 2, 5), nn.ReLU())
def leaks(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.Conv2d(4, 2, 3))
def four(): return nn.Conv2d(4, 2, 3)
def dense(): return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3))
"""
SMALL = ["--images", "zoo", "--size", "16", "--out", "site"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working folder with networks, and pictures in the folder `zoo`."""
    folder = tmp_path / "here"
    (folder / "zoo" / "warm").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (folder / "atlas_nets.py").write_text(OWN)
    (folder / "mine").mkdir()
    (folder / "mine" / "thesis.txt").write_text("years of work")
    rng = np.random.default_rng(0)
    for name in ("warm/a.png", "warm/b.png", "c.png", "d.png"):
        pixels = rng.integers(0, 255, (5, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((40, 30)).save(folder / "zoo" / name)
    return folder


def run(*words: str):
    return CliRunner().invoke(app, ["atlas", *words], catch_exceptions=True)


def test_a_network_of_ones_own_becomes_a_site(here):
    done = run("atlas_nets:plain", *SMALL, "--channels", "3", "--k", "2")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "site/index.html" in done.stdout and "about 0:0" in done.stdout
    (atlas,) = find_atlases(here / "site" / "stored")
    assert {name: layer.shown for name, layer in atlas.layers.items()} == {"0": 3, "2": 3}
    assert sorted(atlas.pictures.files) == ["c.png", "d.png", "warm/a.png", "warm/b.png"]
    assert atlas.record["k"] == 2 and (here / "site" / "index.html").is_file()
    assert list((here / "site").rglob("*/2/index.html"))
    left = [path.name for path in here.iterdir() if path.name.startswith(".")]
    assert left == []
    sheets = {path.name: path.stat().st_mtime_ns for path in atlas.folder.iterdir()}
    again = run("atlas_nets:plain", *SMALL, "--channels", "3", "--k", "2")  # it may be replaced
    assert again.exit_code == 0, again.exception
    (second,) = find_atlases(here / "site" / "stored")
    assert second.record["when"] == atlas.record["when"] and sheets
    other = run("atlas_nets:grey", *SMALL, "--layers", "0")
    assert other.exit_code == 0, other.exception
    (third,) = find_atlases(here / "site" / "stored")
    assert third.record["model"] == "atlas_nets:grey" and third.layers["0"].grey


def test_of_layers_that_are_named_images_are_made_from_noise(here):
    done = run("atlas_nets:plain", *SMALL, "--channels", "2", "--k", "2", "--optimised", "2")
    assert done.exit_code == 0, (done.output, done.exception)
    pages = {layer: here / f"site/atlas_nets-plain/{layer}/index.html" for layer in "02"}
    said = {layer: page.read_text().count("Made from noise") for layer, page in pages.items()}
    assert said == {"0": 0, "2": 2}
    refused = run("atlas_nets:plain", *SMALL, "--optimised", "1")
    assert refused.exit_code == 2 and "'1' is not among the layers drawn" in refused.output


@pytest.mark.slow
def test_weights_come_from_a_file_and_random_ones_are_said_to_be_random(here):
    torch.manual_seed(9)
    from internals.models import build

    torch.save(build("lenet5").state_dict(), "w.pth")
    words = ["lenet5", "--images", "zoo", "--out", "site", "--tanh", "agreeing", "--channels", "1"]
    random = run(*words, "--layers", "conv1")
    assert random.exit_code == 0 and "lenet5 has random weights" in random.stderr
    assert find_atlases(here / "site" / "stored")[0].record["random"] is True
    given = run(*words, "--layers", "conv1", "--weights", "w.pth")
    assert given.exit_code == 0 and "random" not in given.stderr
    (atlas,) = find_atlases(here / "site" / "stored")
    assert atlas.record["random"] is False and "--weights w.pth" in atlas.record["command"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["atlas_nets:plain", *SMALL, "--layers", "0,9"], "has no layer '9'"),
        (["atlas_nets:leaks", *SMALL], "leaky_relu"),
        (["atlas_nets:plain", *SMALL, "--rule", "magic"], "unknown rule 'magic'"),
        (["atlas_nets:four", *SMALL], "takes 4 channels; pictures have 1 or 3"),
        (["atlas_nets:dense", *SMALL], "has no convolution that can be looked into"),
        (["atlas_nets:plain", *SMALL[:-1], "mine"], "holds something that is no atlas of ours"),
        (["atlas_nets:plain", *SMALL[:-1], "zoo/site"], "lie in one another"),
        (["atlas_nets:plain", *SMALL[:-1], "."], "lie in one another"),
        (["atlas_nets:plain", *SMALL[:-1], "atlas_nets.py"], "it is no folder"),
        (["atlas_nets:plain", *SMALL[:-1], "atlas_nets.py/site"], "is no folder that may be"),
        (["atlas_nets:plain", "--images", "none", *SMALL[2:]], "none does not exist"),
        (["atlas_nets:plain", *SMALL, "--device", "meta"], "computes no numbers"),
        (["alexnett"], "is no network of the book, which has lenet5, alexnet"),
    ],
)
def test_what_cannot_be_done_is_refused_early_in_one_line(here, words, line):
    before = sorted(here.rglob("*"))
    done = run(*words)
    assert isinstance(done.exception, InternalsError) and done.exit_code == 1
    assert line in str(done.exception) and "\n" not in str(done.exception)
    after = [path for path in sorted(here.rglob("*")) if "__pycache__" not in path.parts]
    assert after == [path for path in before if "__pycache__" not in path.parts]


@pytest.mark.parametrize(
    "words",
    [
        ["atlas_nets:plain", "--images", "zoo"],
        ["lenet5", "alexnet", *SMALL],
        ["lenet5", *SMALL, "--publish"],
        ["lenet5", "--weights", "w.pth"],
        ["lenet5", "--layers", "conv1"],
        ["lenet5", "--k", "3"],
        ["lenet5", "--first", "0"],
        ["lenet5", "--channels", "256"],
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(here, words):
    done = run(*words)
    assert done.exit_code == 2, (done.output, done.exception)


def test_without_weights_the_books_atlas_names_what_trains_them(here, no_real_data):
    done = run("lenet5", "--profile", "smoke", "--data", "embedded")
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (
        "internals train lenet5 --profile smoke" in line
        and "internals weights fetch lenet5" in line
    )
    build = Path(os.environ["INTERNALS_BUILD"])
    assert not list(build.rglob("weights*.safetensors")) and not list(build.rglob("*.json"))


@pytest.mark.slow
def test_the_books_atlas_is_of_the_weights_of_its_runs(here, no_real_data):
    from internals.data import load
    from internals.training import RECIPES, trained

    recipe = RECIPES["lenet5"]["smoke"]
    splits = load(recipe.data, "embedded", size=recipe.stored)
    trained(recipe, splits)
    done = run("lenet5", "--profile", "smoke", "--data", "embedded")
    assert done.exit_code == 0, (done.output, done.exception)
    (atlas,) = find_atlases(Path(os.environ["INTERNALS_BUILD"]) / "smoke" / "atlas")
    assert {name: layer.shown for name, layer in atlas.layers.items()} == {
        "conv1": 6, "conv2": 16, "conv3": 120,
    }  # fmt: skip
    assert atlas.pictures.labels == tuple(splits.train.labels[:24].tolist())
    assert atlas.record["profile"] == "smoke" and atlas.record["score"]["images"] > 0
    # The command on the page gives what the page shows.
    layer = atlas.layers["conv2"]
    words = project_command(atlas, layer, 3).split()[2:]
    panel = CliRunner().invoke(app, ["project", *words])
    assert panel.exit_code == 0, (panel.output, panel.exception)
    rows = [line.split() for line in panel.stdout.splitlines() if "#" in line]
    assert [int(row[1].removeprefix("#")) for row in rows] == layer.image[3].tolist()
    assert [float(row[2]) for row in rows] == pytest.approx(layer.value[3].tolist(), abs=6e-3)
    assert (here / "conv2-3.png").exists()
    shutil.rmtree(here)
