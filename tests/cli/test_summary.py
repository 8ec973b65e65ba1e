"""Oracle: the counts that torchvision publishes with its weights, and LeNet-5's by hand."""

import re

import pytest
import torch
from torchvision.models import get_model_weights
from typer.testing import CliRunner

from internals.cli import app
from internals.errors import InternalsError


def table(*words: str) -> tuple[str, dict[str, list[str]]]:
    """The first line, and the cells of every row by the name of its layer."""
    done = CliRunner().invoke(app, ["summary", *words])
    assert done.exit_code == 0, done.output
    title, _, _, *rows = done.stdout.splitlines()
    cells = (re.split(r" {2,}", row) for row in rows)
    return title, {name: rest for name, *rest in cells}


def count(cell: str) -> int:
    return int(cell.replace(",", ""))


@pytest.mark.parametrize(
    "name", ["alexnet", "vgg16", "googlenet", "resnet18", "mobilenet_v2", "inception_v3"]
)
def test_totals_are_torchvisions(name):
    meta = get_model_weights(name).IMAGENET1K_V1.meta
    title, rows = table(name)
    parameters, products = map(count, rows["total"])
    # Published with the auxiliary heads' parameters left out, in units of 10^9 with 3 decimals.
    heads = {"inception_v3": 27_161_264 - 23_834_568}
    assert parameters == meta["num_params"] - heads.get(name, 0)
    assert products / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)
    side = 299 if name == "inception_v3" else 224
    assert title.startswith(f"{name}, one image of 3 × {side} × {side}; ")


def test_rows_of_vgg16_hold_shape_parameters_products_and_field():
    """conv3-512 at 28 x 28 (Simonyan and Zisserman 2015, D), field by the recurrence."""
    _, rows = table("vgg16")
    assert rows["features.17"] == [
        "Conv2d", "512 × 28 × 28", f"{9 * 256 * 512 + 512:,}", f"{9 * 256 * 512 * 28 * 28:,}",
        "60", "8", "-26",
    ]  # fmt: skip


def test_our_lenet5_at_its_own_size():
    title, rows = table("lenet5")
    assert title.startswith("lenet5, one image of 1 × 32 × 32; ")
    assert rows["conv2"] == ["Conv2d", "16 × 10 × 10", "2,416", "240,000", "14", "2", "0"]
    assert count(rows["total"][0]) == 156 + 2416 + 48120 + 10164
    assert table("lenet5-28")[0].startswith("lenet5-28, one image of 1 × 28 × 28; ")


def test_of_two_networks_of_one_name_torchvisions_is_meant_and_that_is_said():
    done = CliRunner().invoke(app, ["summary", "alexnet"])
    assert done.stderr == "alexnet is torchvision's here; ours is internals.models:AlexNet\n"
    _, rows = table("internals.models:AlexNet")
    assert count(rows["total"][0]) == 58_322_314  # with 10 classes, as the seeds print it
    assert CliRunner().invoke(app, ["summary", "mobilenet"]).stderr == ""


def test_another_input_changes_shapes_and_products_and_no_parameters():
    _, small = table("resnet18", "--input", "3,64,96")
    _, usual = table("resnet18")
    assert small["layer4.1.conv2"][1] == "512 × 2 × 3"
    assert small["total"][0] == usual["total"][0]
    # 2 x 3 positions in place of 7 x 7
    ratio = count(small["layer4.1.conv2"][3]) / count(usual["layer4.1.conv2"][3])
    assert ratio == 6 / 49


def test_parameters_without_a_layer_of_their_own_and_frozen_ones_are_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd_nets.py").write_text(
        "import torch\nfrom torch import nn\nclass Odd(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.conv = nn.Conv2d(3, 2, (5, 3))\n        self.spare = nn.Linear(3, 7)\n"
        "        self.gain = nn.Parameter(torch.ones(11))\n"
        "        self.conv.bias.requires_grad_(False)\n"
        "    def forward(self, x):\n        return self.conv(x)\n"
    )
    done = CliRunner().invoke(app, ["summary", "odd_nets:Odd", "--input", "3,20,30"])
    *_, total, elsewhere, frozen = done.stdout.splitlines()
    assert total.split() == ["total", f"{90 + 28 + 11}", f"{90 * 16 * 28:,}"]
    assert elsewhere == "39 of the parameters belong to no layer that was run"
    assert frozen == "2 parameters are frozen and not counted"
    assert " 5 × 3 " in done.stdout  # a field that is no square


def test_weights_must_fit(tmp_path):
    torch.save({"fc.weight": torch.ones(2, 2)}, tmp_path / "w.pth")
    done = CliRunner().invoke(app, ["summary", "resnet18", "--weights", str(tmp_path / "w.pth")])
    assert "holds weights of another network than ResNet: 'conv1.weight'" in str(done.exception)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("resnet18 --input 3,64", "--input 3,64 is not channels,height,width such as 3,224,224"),
        ("resnet18 --input 3,0,64", "--input 3,0,64 is not channels,height,width"),
        ("resnet18 --input x", "--input x is not channels,height,width"),
        ("lenet5 --input 1,28,28", "cannot take an input of shape (1, 28, 28)"),
        ("vit_b_16 --input 3,32,32", "cannot take an input of shape (3, 32, 32): Wrong image"),
        ("resnet", "unknown network 'resnet'; nearest: "),
    ],
)
def test_bad_input_is_one_line(unchecked_shapes, words, message):
    done = CliRunner().invoke(app, ["summary", *words.split()])
    assert isinstance(done.exception, InternalsError)
    assert message in str(done.exception) and "\n" not in str(done.exception)
    assert done.stdout == ""
