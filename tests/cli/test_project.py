"""Oracle: a network of 1 x 1 filters whose answers can be told from the colours of the pictures."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from internals.cli import app
from internals.environment import ROOT
from internals.errors import InternalsError
from internals.models import build, pack_tensors
from internals.training import save_weights

OWN = """
import torch
from torch import nn

class Colours(nn.Module):
    "Channel 0 is red, 1 green, 2 blue, 3 the darkness; pixels as they are, 0..1."
    def __init__(self):
        super().__init__()
        self.colour = nn.Conv2d(3, 4, 1, bias=False)
        self.relu = nn.ReLU()
        filters = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, -1, -1]])
        self.colour.weight.data = filters.view(4, 3, 1, 1)
        self.smooth = nn.SiLU()
    def forward(self, x):
        return self.smooth(self.relu(self.colour(x)))

def leaks(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(), nn.Conv2d(4, 2, 3))
def four(): return nn.Conv2d(4, 2, 3)
def picky():
    class Picky(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3)
        def forward(self, x):
            assert x.shape[-1] == 40, "only 40"
            return self.conv(x)
    return Picky()
"""
PLAIN = ["--mean", "0,0,0", "--std", "1,1,1"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A working folder with a network, and pictures of every sort in the folder `zoo`."""
    folder = tmp_path / "here"  # beside the cache, in which matplotlib lists its fonts once
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (folder / "mine.py").write_text(OWN)
    rng = np.random.default_rng(0)
    for colours in ("zoo/warm", "zoo/cold"):
        (folder / colours).mkdir(parents=True)
    for name, colour, size in [
        ("warm/red.png", (250, 10, 20), (70, 64)),
        ("warm/pink.png", (200, 100, 100), (31, 90)),
        ("cold/blue.png", (0, 40, 240), (64, 64)),
        ("cold/green.png", (30, 180, 60), (101, 67)),
    ]:
        Image.new("RGB", size, colour).save(folder / "zoo" / name)
    Image.new("L", (77, 50), 128).save(folder / "zoo" / "grey.png")
    clear = np.zeros((70, 80, 4), np.uint8)  # seen on white: 255 everywhere
    Image.fromarray(clear, "RGBA").save(folder / "zoo" / "clear.png")
    turned, exif = Image.fromarray(rng.integers(0, 90, (66, 97, 3), np.uint8)), Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "zoo" / "turned.jpg", exif=exif)
    (folder / "zoo" / "broken.jpg").write_bytes(b"\xff\xd8\xff and then nothing")
    return folder


def run(*words: str):
    return CliRunner().invoke(app, ["project", *words], catch_exceptions=True)


def listed(output: str) -> list[tuple[int, float, str]]:
    """(channel, value, file) of every line of the listing."""
    found = re.findall(r"^ *(\d+) +#\d+ +(\S+) +(\S+\.\w+)$", output, re.MULTILINE)
    return [(int(channel), float(value.replace("−", "-")), file) for channel, value, file in found]


def test_the_strongest_pictures_are_the_reddest_the_greenest_and_the_bluest(here):
    """Values are bytes / 255 by hand; the grey, the clear and the turned picture take part."""
    done = run(
        "mine:Colours", "--layer", "colour", "--images", "zoo", "--channels", "2,0-1", "--k", "3",
        "--size", "16", "--out", "made/panel.png", *PLAIN,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert listed(done.stdout) == [
        (2, 1.0, "clear.png"), (2, pytest.approx(240 / 255, abs=5e-4), "cold/blue.png"),
        (2, pytest.approx(128 / 255, abs=5e-4), "grey.png"),
        (0, 1.0, "clear.png"), (0, pytest.approx(250 / 255, abs=5e-4), "warm/red.png"),
        (0, pytest.approx(200 / 255, abs=5e-4), "warm/pink.png"),
        (1, 1.0, "clear.png"), (1, pytest.approx(180 / 255, abs=5e-4), "cold/green.png"),
        (1, pytest.approx(128 / 255, abs=5e-4), "grey.png"),
    ]  # fmt: skip
    assert done.stderr.splitlines() == [
        "skipped broken.jpg: not a picture of any kind that can be read"
    ]
    with Image.open(here / "made" / "panel.png") as panel:
        panel.load()
        colours = {colour for _, colour in panel.convert("RGB").getcolors(1 << 24)}
    # The patches stand in it as they are: a pixel each of the strongest pictures.
    assert {(250, 10, 20), (0, 40, 240), (30, 180, 60), (200, 100, 100)} <= colours
    assert [file.name for file in (here / "made").iterdir()] == ["panel.png"]


def test_what_is_there_and_no_file_is_not_replaced(here):
    os.mkfifo(here / "p.png")
    done = run("mine:Colours", "--layer", "colour", "--images", "zoo", "--size", "16",
               "--out", "p.png", *PLAIN)  # fmt: skip
    assert isinstance(done.exception, InternalsError)
    assert "p.png: it is a pipe, socket or device; name a file" in str(done.exception)
    assert (here / "p.png").is_fifo()


def test_a_device_without_numbers_draws_nothing(here):
    done = run("mine:Colours", "--layer", "colour", "--images", "zoo", "--size", "16",
               "--out", "p.png", "--device", "meta", *PLAIN)  # fmt: skip
    assert isinstance(done.exception, InternalsError)
    assert str(done.exception) == "--device meta computes no numbers to draw; leave it out"


def test_units_that_do_not_fire_are_listed_as_silent(here):
    """Of darkness no picture has more than none, and a rectifier comes next."""
    done = run(
        "mine:Colours", "--layer", "colour", "--images", "zoo/cold", "--channels", "2-3",
        "--k", "1", "--size", "16", "--out", "panel.png", *PLAIN,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines() if ".png" in line and "#" in line]
    assert [line[0] for line in lines] == ["2", "3"]
    assert ["silent" in line for line in lines] == [False, True]


def test_normalisation_is_as_asked_for(here):
    done = run(
        "mine:Colours", "--layer", "colour", "--images", "zoo/warm", "--channels", "0", "--k", "1",
        "--size", "16", "--out", "p.png", "--mean", "0.5,0,0", "--std", "0.25,1,1",
    )  # fmt: skip
    assert listed(done.stdout) == [
        (0, pytest.approx((250 / 255 - 0.5) / 0.25, abs=5e-3), "red.png")
    ]


def test_imagenets_normalisation_is_the_default(here):
    done = run(
        "mine:Colours", "--layer", "colour", "--images", "zoo/warm", "--channels", "0", "--k", "1",
        "--size", "16", "--out", "p.png",
    )  # fmt: skip
    wanted = (250 / 255 - 0.485) / 0.229
    assert listed(done.stdout) == [(0, pytest.approx(wanted, abs=5e-3), "red.png")]


def test_weights_from_a_file_are_those_that_answer(here):
    filters = torch.zeros(4, 3, 1, 1)
    filters[0, 2] = 2.0  # channel 0 now is twice the blue
    torch.save({"state_dict": {"module.colour.weight": filters}}, "w.pth")
    done = run(
        "mine:Colours", "--layer", "colour", "--images", "zoo/cold", "--channels", "0", "--k", "1",
        "--size", "16", "--out", "p.png", "--weights", "w.pth", *PLAIN,
    )  # fmt: skip
    assert listed(done.stdout) == [(0, pytest.approx(480 / 255, abs=5e-3), "blue.png")]


def test_images_made_from_noise_stand_below_the_panel(here):
    done = run("mine:Colours", "--layer", "colour", "--images", "zoo", "--channels", "1,0",
               "--k", "1", "--size", "16", "--out", "p.png", "--optimised", *PLAIN)  # fmt: skip
    assert done.exit_code == 0, (done.output, done.exception)
    reached = re.findall(r"optimised: channel (\d) reaches ([\d.]+)", done.stdout)
    # Each channel is one colour, which can be no more than white.
    assert [(c, pytest.approx(1, abs=0.1)) for c in "10"] == [(c, float(v)) for c, v in reached]
    plain = run("mine:Colours", "--layer", "colour", "--images", "zoo", "--channels", "1,0",
                "--k", "1", "--size", "16", "--out", "q.png", *PLAIN)  # fmt: skip
    assert "optimised" not in plain.stdout
    with Image.open("p.png") as panel, Image.open("q.png") as without:
        assert panel.height > without.height + 50 and panel.width == without.width


def test_rectifiers_that_leak_take_a_rule_by_name(here):
    done = run(
        "mine:leaks", "--layer", "2", "--images", "zoo", "--k", "2", "--size", "16",
        "--out", "p.svg", "--leaky", "leaking",
    )  # fmt: skip
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("suffix", "start"), [("webp", b"RIFF"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_the_suffix_chooses_the_kind_of_file(here, suffix, start):
    done = run(
        "mine:Colours", "--layer", "relu", "--images", "zoo", "--k", "2", "--size", "16",
        "--out", f"p.{suffix}", *PLAIN,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (here / f"p.{suffix}").read_bytes().startswith(start)


@pytest.mark.slow
def test_resnet18_on_everything_and_twice_the_same(here):
    words = [
        "resnet18", "--layer", "layer2.0.conv1", "--images", "zoo", "--size", "64", "--k", "2",
        "--channels", "0-1,5",
    ]  # fmt: skip
    first, second = (run(*words, "--out", name) for name in ("a.png", "b.png"))
    assert first.exit_code == second.exit_code == 0, first.output
    assert "resnet18 has random weights; --weights FILE takes trained ones" in first.stderr
    assert [channel for channel, *_ in listed(first.stdout)] == [0, 0, 1, 1, 5, 5]
    assert (here / "a.png").read_bytes() == (here / "b.png").read_bytes()


@pytest.mark.slow
def test_our_lenet5_reads_grey_at_its_own_size_and_range(here):
    """On a flat picture a unit of conv1 is bias + sum of weights x input, input -0.1 to 1.175."""
    from internals.models import build

    (here / "zoo" / "turned.jpg").unlink()  # the only one that is not flat
    done = run(
        "lenet5", "--layer", "conv1", "--images", "zoo", "--out", "p.png", "--tanh", "agreeing",
        "--channels", "0-5", "--k", "1",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    torch.manual_seed(0)
    conv = build("lenet5").conv1
    # The brightest picture drives a channel whose weights are positive together, else the darkest,
    # whose luminance is 0.587 x 40 + 0.114 x 240 = 50.8.
    flat = {"clear.png": 255, "cold/blue.png": 51}
    for channel, value, file in listed(done.stdout):
        weight, bias = conv.weight[channel].sum().item(), conv.bias[channel].item()
        assert file == ("clear.png" if weight > 0 else "cold/blue.png")
        wanted = bias + weight * (flat[file] / 255 * 1.275 - 0.1)
        assert value == pytest.approx(wanted, rel=6e-3, abs=1e-4)


@pytest.mark.slow
def test_what_our_training_leaves_says_the_size_and_the_input_range(here):
    """Trained at 24 px on grey 0.5 and contrast 0.25: on flat colours that is the affine map."""
    torch.manual_seed(1)
    net = build("resnet18")
    recipe = {"network": "resnet18", "size": 24, "pipeline": "mean-std"}
    provenance = {"network": "resnet18", "recipe": recipe}
    weights = here / "weights.safetensors"
    save_weights(weights, net, provenance=provenance)
    words = ["resnet18", "--layer", "conv1", "--images", "zoo/warm", "--channels", "0",
             "--weights", "weights.safetensors", "--out", "p.png"]  # fmt: skip
    done = run(*words)
    assert "does not hold the statistics that it was trained with" in str(done.exception)
    statistics = {
        "mean": torch.tensor([0.5] * 3).double(),
        "std": torch.tensor([0.25] * 3).double(),
    }
    save_weights(weights, net, provenance=provenance, statistics=pack_tensors(statistics))
    done = run(*words)
    assert done.stderr.splitlines() == ["resnet18 is ours here, because its weights are"]
    colours = {"red.png": (250, 10, 20), "pink.png": (200, 100, 100)}
    for _, value, file in listed(done.stdout):
        pixels = torch.tensor(colours[file]).view(1, 3, 1, 1).expand(-1, -1, 24, 24) / 255
        wanted = net.conv1((pixels - 0.5) / 0.25)[0, 0].max().item()
        assert value == pytest.approx(wanted, rel=6e-3, abs=1e-4)


@pytest.mark.slow
def test_which_of_two_networks_is_meant_is_said(here):
    done = run("resnet18", "--layer", "conv1", "--images", "zoo/warm", "--size", "32",
               "--channels", "0", "--out", "p.png")  # fmt: skip
    assert done.stderr.splitlines()[0] == (
        "resnet18 is torchvision's here; ours is internals.models:ResNet18"
    )
    done = run("internals.models:ResNet18", "--layer", "conv10", "--images", "zoo/warm",
               "--size", "32", "--channels", "0", "--out", "p.png")  # fmt: skip
    assert done.stderr.splitlines() == [
        "internals.models:ResNet18 has random weights; --weights FILE takes trained ones"
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("resnet18", "name pictures with --images FOLDER, or a run of the book with --profile"),
        ("resnet18 --profile quick --images zoo", "name pictures with --images FOLDER, or a run"),
        ("resnet18 --profile quick --weights w.pth", "--weights goes with --images; a run has its"),
        ("resnet18 --profile quick --size 32", "--size goes with --images; a run has its own"),
        ("mine:Colours --profile quick", "no recipe for network 'mine:Colours'; there are lenet5"),
        ("lenet5 --profile smoke", "lenet5 is not trained at smoke on"),
    ],
)
def test_a_run_of_the_book_or_a_folder_of_pictures(here, no_real_data, words, message):
    done = run(*words.split(), "--layer", "conv1", "--out", "p.png")
    assert isinstance(done.exception, InternalsError) and message in str(done.exception)
    assert not (here / "p.png").exists()


BAD = [
    ("mine:Colours --layer colur", "Colours has no layer 'colur'; nearest: colour"),
    ("mine:Colours", "name a layer of mine:Colours with --layer: colour"),
    ("mine:Colours --layer colour --channels 2-9", "has no channel 9; its channels are 0 to 3"),
    ("mine:Colours --layer colour --channels 3-1", "--channels 3-1 is not a list of numbers and"),
    ("mine:Colours --layer colour --channels a", "--channels a is not a list of numbers and"),
    ("mine:Colours --layer smooth", "guided has no rule for silu (layer 'smooth')"),
    ("mine:leaks --layer 2", "choose leaky= one of gradient, rectified, leaking"),
    ("mine:leaks --layer 2 --leaky x", "unknown leaky='x'; choose one of gradient, rectified"),
    ("mine:Colours --layer colour --rule smart", "unknown rule 'smart'; choose one of gradient"),
    ("mine:Colours --layer colour --mean 1,2,3", "give --mean and --std together"),
    (
        "mine:Colours --layer colour --mean 1,2 --std 1,2",
        "the normalisation has 2 channels, and mine:Colours takes 3",
    ),
    (
        "mine:Colours --layer colour --mean 1,2,x --std 1,2,3",
        "--mean 1,2,x is not numbers with commas",
    ),
    ("mine:Colours --layer colour --mean 0,0,0 --std 1,0,1", "--std 1,0,1 must be above 0"),
    ("mine:Colours --layer colour --mean 0,0,0 --std 1,inf,1", "--std 1,inf,1 is not finite"),
    ("mine:Colours --layer colour --mean 0,0,0 --std nan,1,1", "--std nan,1,1 is not finite"),
    ("mine:Colours --layer colour --mean 0,nan,0 --std 1,1,1", "--mean 0,nan,0 is not finite"),
    ("mine:Colours --layer colour --mean=-inf,0,0 --std 1,1,1", "--mean -inf,0,0 is not finite"),
    ("mine:Colours --layer colour --mean 0,0,0 --std 1,1e-60,1", "beyond what 32 bits can hold"),
    ("mine:Colours --layer colour --mean 0,1e60,0 --std 1,1,1", "beyond what 32 bits can hold"),
    (
        "mine:Colours --layer colour --channels 0-99999999",
        ".png has no room for 100000000 channels",
    ),
    ("mine:Colours --layer colour --channels 0,5-9999999999", ".png has no room for 9999999995 ch"),
    (f"mine:Colours --layer colour --channels {'9' * 5000}", "9 is not a list of numbers and"),
    ("mine:Colours --layer colour --k 999999999999", ".png has no room for 4 channels of 9999"),
    ("mine:Colours --layer colour --size 1000000", "--size 1000000 needs more memory than the"),
    (f"mine:Colours --layer colour --out {'x' * 300}.png", "File name too long; choose a shorter"),
    (f"mine:Colours --layer colour --out {'x' * 300}/p.png", "File name too long; choose a short"),
    ("mine:Colours --layer colour --device nowhere", "device 'nowhere' cannot be used here"),
    ("mine:Colours --layer colour --weights none.pth", "none.pth does not exist"),
    ("mine:Colours --layer colour --images nowhere", "nowhere does not exist; name a folder"),
    ("mine:Colours --layer colour --images mine.py", "mine.py is not a folder; name a folder"),
    ("mine:Colours --layer colour --images void", "void holds no pictures"),
    ("mine:Colours --layer colour --out p.jpg", "cannot write p.jpg as a picture; let its name"),
    ("mine:Colours --layer colour --out folder.png", "cannot write folder.png: it is a folder"),
    ("mine:Colours --layer colour --out mine.py/p.png", "mine.py is no folder that may be written"),
    ("mine:Colours --layer colour --out p.png --k 400", ".png has no room for 4 channels of 400"),
    ("mine:four --layer colour", "mine:four takes 4 channels; pictures have 1 or 3"),
    ("mine:picky --layer conv --size 32", "cannot take an input of shape (3, 32, 32): only"),
    ("mine:picky --layer conv", "mine:picky takes no square input of 224, 32 pixels"),
    ("lenet5 --layer conv2", "guided has no rule for tanh (layer 'tanh1')"),
    ("lenet5 --layer conv2 --size 28", "lenet5: LeNet5 cannot take an input of shape (1, 28, 28)"),
    ("resnet81 --layer conv1", "unknown network 'resnet81'; nearest: resnet18"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_input_is_one_line_and_leaves_nothing(here, unchecked_shapes, words, message):
    (here / "void").mkdir()
    (here / "folder.png").mkdir()
    before = sorted(here.rglob("*"))
    asked = words.split()
    asked += [] if "--images" in asked else ["--images", "zoo"]
    asked += [] if "--out" in asked else ["--out", "new/p.png"]
    done = run(*asked)
    assert isinstance(done.exception, InternalsError), done.output
    assert message in str(done.exception)
    assert "\n" not in str(done.exception)
    assert done.output == ""  # the line of the error is all that is said
    assert [path for path in sorted(here.rglob("*")) if "__pycache__" not in path.parts] == before


@pytest.mark.slow
def test_the_command_ends_with_status_1_and_one_line(here):
    done = subprocess.run(
        [sys.executable, "-c", "from internals.cli import main; main()", "project", "mine:Colours",
         "--layer", "colour", "--images", "nowhere", "--out", "p.png"],
        cwd=here, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: nowhere does not exist; name a folder of pictures\n"


def test_a_refused_range_is_never_written_out(here, monkeypatch):
    """Nor is the network opened for it."""
    monkeypatch.setattr("internals.cli.project.open_network", None)
    done = run("mine:Colours", "--layer", "colour", "--images", "zoo", "--out", "p.png",
               "--channels", "0-999999999999")  # fmt: skip
    assert "no room for 1000000000000 channels" in str(done.exception)


_EACH_KIND = """
import sys
from internals.cli import main
words = sys.argv[1:]
for kind in ("png", "svg", "pdf", "webp"):
    sys.argv[1:] = [*words, "--out", f"p.{kind}"]
    try:
        main()
    except SystemExit as end:
        print(kind, end.code)
"""


@pytest.mark.slow
def test_names_of_other_encodings_and_signs_are_drawn_and_listed(here):
    """A folder and its files with bytes that are not UTF-8, with signs of formulas and of HTML."""
    folder = here / os.fsdecode(b"caf\xe9 $a$ b_c")
    folder.mkdir()
    names = {b"\xe9t\xe9.png": "\\udce9t\\udce9.png", b"$x_1$ & <b>.png": "$x_1$ & <b>.png"}
    for level, name in enumerate(names):
        Image.new("RGB", (20, 20), (200 - level, 0, 0)).save(here / "one.png")
        (here / "one.png").rename(folder / os.fsdecode(name))
    done = subprocess.run(
        [sys.executable, "-c", _EACH_KIND, "project", "mine:Colours", "--layer", "colour",
         "--images", folder, "--channels", "0", "--size", "16", *PLAIN],
        cwd=here, env=os.environ | {"PYTHONPATH": f"{ROOT}:."}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    parts = re.split(r"^(png|svg|pdf|webp) 0$", done.stdout, flags=re.MULTILINE)
    assert parts[1::2] == ["png", "svg", "pdf", "webp"]
    for kind, listing in zip(parts[1::2], parts[::2], strict=False):
        assert [name for name in names.values() if name in listing] == list(names.values())
        assert (here / f"p.{kind}").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_panel_is_kept_where_its_listing_cannot_be_printed(here):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from internals.cli import main; main()", "project",
             "mine:Colours", "--layer", "colour", "--images", "zoo", "--channels", "0", "--size",
             "16", "--out", "p.png", *PLAIN],
            cwd=here, env=os.environ | {"PYTHONPATH": f"{ROOT}:."}, stdout=full, text=True,
            stderr=subprocess.PIPE, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.endswith("error: cannot print: No space left on device\n")
    assert (here / "p.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_panel_leaves_the_old_one(here, monkeypatch):
    (here / "p.png").write_bytes(b"old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("internals.figures.illustration.on_paper", interrupted)
    done = run("mine:Colours", "--layer", "colour", "--images", "zoo", "--size", "16",
               "--out", "p.png")  # fmt: skip
    assert done.exit_code != 0
    assert (here / "p.png").read_bytes() == b"old"
    assert not list(here.glob(".p.png*"))
