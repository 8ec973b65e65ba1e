"""Oracle: the same choices written by hand as a recipe, the model's own lists, promised errors."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from typer.testing import CliRunner

from internals.cli import app
from internals.cli.train import FAMILY, Changes, NonLinearity, OptimizerName, Scheme
from internals.data.load import load
from internals.models.lenet5_variants import ACTIVATIONS, INITIALISATIONS, LeNet5Variant
from internals.models.lookup import build
from internals.training import device, loop
from internals.training.checkpoint import load_checkpoint
from internals.training.provenance import weights_folder
from internals.training.recipe import OPTIMIZERS, Recipe
from internals.training.recipes import find_recipe
from internals.training.run import trained

RUN = CliRunner()
SMOKE = find_recipe("lenet5", "smoke")
_BY_HAND = [
    (
        "lenet5 --rotation 10 --shift 2 --duplicate-with-augment --optimizer sgd --lr 0.02 "
        "--val-split 0.2 --seed 3",
        replace(SMOKE, rotation=10.0, shift=2, duplicate=True, optimizer="sgd", learning_rate=0.02),
        {"held_out": 0.2, "seed": 3},
    ),
    (
        "lenet5-softmax --init orthogonal --activation relu --optimizer adam "
        "--adversarial-training",
        replace(
            SMOKE,
            network="lenet5-variant",
            arguments=(
                ("activation", "relu"),
                ("initialisation", "orthogonal"),
                ("output", "logits"),
            ),
            loss="cross-entropy",
            rubbish_penalty=0.0,
            optimizer="adam",
            adversary="fgsm",
            adversary_epsilon=0.3,
            adversary_share=0.5,
        ),
        {"seed": 0},
    ),
]


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Threads that wait for a busy core take ages."""
    monkeypatch.setattr(device, "cores", lambda: 1)


def _command(words: str, *more: str):
    parts = ["train", *words.split(), "--profile", "smoke", "--data", "embedded", *more]
    return RUN.invoke(app, parts)


@pytest.mark.parametrize(("words", "recipe", "data"), _BY_HAND)
def test_flags_train_the_recipe_written_by_hand(words, recipe, data):
    splits = load("mnist", "embedded", **data)
    folder = weights_folder(recipe, splits, data["seed"])  # its name covers all that decides a bit
    assert not folder.exists()
    found = _command(words)
    assert found.exit_code == 0, found.output
    run = trained(recipe, splits, seed=data["seed"])
    assert f"{run.test.top1:.2%}" in found.output
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]


def test_the_same_flags_go_on_where_a_run_stopped(monkeypatch, digits):
    words = "lenet5 --shift 1 --duplicate-with-augment --init kaiming"
    saved = loop.save_checkpoint

    def save_then_die(path, state):
        saved(path, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save_then_die)
        assert _command(words).exit_code != 0
    recipe = Changes(shift=1, duplicate=True, init="kaiming").applied(SMOKE)
    folder = weights_folder(recipe, digits, 0)
    [first] = load_checkpoint(folder / "checkpoint.pt")["history"]
    assert not (folder / "weights.safetensors").exists()
    again = _command(words)
    assert again.exit_code == 0, again.output
    assert "epoch 1/" not in again.output
    run = trained(recipe, digits)
    assert run.history.to_rows()[0] == first  # its seconds too: it was not run again
    assert len(run.history.epochs) > 1


def test_no_folder_serves_two_sets_of_flags(digits):
    chosen = [
        Changes(),
        Changes(rotation=5.0),
        Changes(rotation=6.0),
        Changes(shift=5),
        Changes(shift=5, duplicate=True),
        Changes(optimizer="sgd"),
        Changes(optimizer="sgd", rate=0.02),
        Changes(optimizer="adam"),
        Changes(rate=0.02),
        Changes(init="xavier"),
        Changes(activation="tanh"),
        Changes(init="xavier", activation="tanh"),
        Changes(adversarial=True),
    ]
    folders = {weights_folder(changes.applied(SMOKE), digits, 0) for changes in chosen}
    assert len(folders) == len(chosen)
    other = load("mnist", "embedded", held_out=0.2)
    assert weights_folder(SMOKE, other, 0) not in folders


def test_another_share_held_out_is_another_run(tmp_path):
    assert _command("lenet5 --val-split 0.2", "--out", str(tmp_path)).exit_code == 0
    found = _command("lenet5 --val-split 0.1", "--out", str(tmp_path))
    assert "was trained with another recipe, seed or data" in str(found.exception)


def test_without_flags_every_recipe_stays_as_it_is():
    for network in ("lenet5", "lenet5-paper", "lenet5-28", "alexnet"):
        recipe = find_recipe(network, "quick")
        assert Changes().applied(recipe) == recipe


@pytest.mark.parametrize(
    ("network", "optimizer", "rate"),
    [
        ("lenet5", "adam", SMOKE.learning_rate),
        ("lenet5", "adamw", SMOKE.learning_rate),
        ("lenet5", "sgd", 0.01),
        ("alexnet", "sgd", find_recipe("alexnet", "smoke").learning_rate),
        ("alexnet", "adam", 0.001),
    ],
)
def test_a_rate_is_kept_where_it_fits_the_optimizer(network, optimizer, rate):
    before = find_recipe(network, "smoke")
    assert before.optimizer == {"lenet5": "adamw", "alexnet": "sgd"}[network]
    found = Changes(optimizer=optimizer).applied(before)
    assert (found.optimizer, found.learning_rate) == (optimizer, rate)


@pytest.mark.parametrize("network", FAMILY)
def test_the_family_as_variants_are_the_networks_themselves(network):
    """One seed, the same numbers: --init and --activation start from the network that is named."""
    torch.manual_seed(2)
    named = build(network)
    torch.manual_seed(2)
    variant = LeNet5Variant(**FAMILY[network])
    for a, b in zip(named.state_dict().values(), variant.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b.view_as(a), rtol=0, atol=0)
    recipe: Recipe = find_recipe(network, "full")
    logits = FAMILY[network].get("output") == "logits"
    assert recipe.loss == ("cross-entropy" if logits else "map")
    assert recipe.size == FAMILY[network].get("input_size", 32)


def test_the_choices_are_those_of_the_model_and_of_the_recipe():
    assert get_args(Scheme) == INITIALISATIONS
    assert get_args(NonLinearity) == ACTIVATIONS
    assert set(get_args(OptimizerName)) <= set(OPTIMIZERS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lenet5 --val-split 1", "Invalid value for --val-split: 1.0 is not above 0 and below 1"),
        ("lenet5 --val-split 0", "Invalid value for --val-split: 0.0 is not above 0 and below 1"),
        ("lenet5 --val-split nan", "Invalid value for --val-split: nan is not above 0"),
        ("lenet5 --lr 0", "Invalid value for --lr: 0.0 is not above 0"),
        ("lenet5 --lr inf", "Invalid value for --lr: inf is not above 0 and finite"),
        ("lenet5 --rotation 181", "--rotation"),
        ("lenet5 --shift 17", "--shift"),
        ("lenet5-28 --shift 15", "shift=15 must be 0 to 14 pixels"),
        ("lenet5 --init glorot", "'xavier'"),
        ("lenet5 --optimizer rmsprop", "'adamw'"),
        ("lenet5 --activation gelu", "'scaled-tanh'"),
        ("lenet5 --duplicate-with-augment", "nothing is augmented; add --rotation or --shift"),
        ("alexnet --init xavier", "--init: alexnet is not of the LeNet-5 family; leave the flag"),
        ("alexnet --activation relu", "--activation: alexnet is not of the LeNet-5 family"),
        ("vgg16 --rotation 5", "--rotation: vgg16 is not of the LeNet-5 family"),
        ("vgg16 --shift 1", "--shift: vgg16 is not of the LeNet-5 family"),
        ("vgg16 --adversarial-training", "--adversarial-training: vgg16 is not of the LeNet-5"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(words, message):
    found = _command(words)
    assert found.exit_code == 2
    assert message in found.output
    (told,) = [line for line in found.output.splitlines() if line.startswith("Error: ")]
    assert found.output.rstrip().endswith(told)  # in one line, the last
