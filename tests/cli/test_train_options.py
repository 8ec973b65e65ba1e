"""Oracle: the same choices written by hand as a recipe, the model's own lists, promised errors."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from typer.testing import CliRunner

from internals.cli import app
from internals.cli.train import FAMILY, NonLinearity, OptimizerName, RecipeOptions, Scheme
from internals.data import load
from internals.models import ACTIVATIONS, INITIALISATIONS, LeNet5Variant, build
from internals.training import (
    FGSM,
    SGD,
    Adam,
    AdamW,
    Compute,
    CrossEntropy,
    DigitAugmentation,
    Map,
    Recipe,
    RMSprop,
    find_recipe,
    load_checkpoint,
    make_fabric,
    trained,
    weights_folder,
)
from tests.reference.observed import Interrupted, interrupted

pytestmark = pytest.mark.slow

RUN = CliRunner()
SMOKE = find_recipe("lenet5", "smoke")
_BY_HAND = [
    (
        "lenet5 --rotation 10 --shift 2 --duplicate-with-augment --optimizer sgd --lr 0.02 "
        "--val-split 0.2 --seed 3",
        replace(
            SMOKE,
            augment=DigitAugmentation(shift=2, rotation=10.0, duplicate=True),
            optimizer=SGD(0.02, 1e-4),
        ),
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
            loss=CrossEntropy(),
            optimizer=Adam(SMOKE.optimizer.lr, 1e-4),
            adversary=FGSM(epsilon=0.3, share=0.5),
        ),
        {"seed": 0},
    ),
]


@pytest.fixture(autouse=True)
def one_core(monkeypatch):
    """Threads that wait for a busy core take ages."""
    monkeypatch.setenv("INTERNALS_CORES", "1")


def _folder(recipe, splits, seed=0):
    """Where a run is kept: its name covers all that decides a bit."""
    return weights_folder(recipe, splits, seed, Compute.of(make_fabric()))


def _command(words: str, *more: str):
    parts = ["train", *words.split(), "--profile", "smoke", "--data", "embedded", *more]
    return RUN.invoke(app, parts)


@pytest.mark.parametrize(("words", "recipe", "data"), _BY_HAND)
def test_flags_train_the_recipe_written_by_hand(words, recipe, data):
    splits = load("mnist", "embedded", **data)
    folder = _folder(recipe, splits, data["seed"])
    assert not folder.exists()
    done = _command(words)
    assert done.exit_code == 0, done.output
    run = trained(recipe, splits, seed=data["seed"])
    assert f"{run.test.top1:.2%}" in done.output
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]


def test_the_same_flags_go_on_where_a_run_stopped(digits):
    words = "lenet5 --shift 1 --duplicate-with-augment --init kaiming"
    recipe = RecipeOptions(shift=1, duplicate=True, init="kaiming").apply(SMOKE)
    stop = recipe.steps_an_epoch(recipe.images_of(len(digits.train))) + 1
    with pytest.raises(Interrupted):
        trained(replace(recipe, optimizer=interrupted(recipe.optimizer, at=stop)), digits)
    folder = _folder(recipe, digits)
    [first] = load_checkpoint(folder / "checkpoint.pt")["history"]
    assert not (folder / "weights.safetensors").exists()
    again = _command(words)
    assert again.exit_code == 0, again.output
    assert "epoch 1/" not in again.output
    run = trained(recipe, digits)
    assert run.folder == folder
    assert run.history.to_rows()[0] == first  # its seconds too: it was not run again
    assert len(run.history.epochs) > 1


def test_no_folder_serves_two_sets_of_flags(digits):
    chosen = [
        RecipeOptions(),
        RecipeOptions(rotation=5.0),
        RecipeOptions(rotation=6.0),
        RecipeOptions(shift=5),
        RecipeOptions(shift=5, duplicate=True),
        RecipeOptions(optimizer="sgd"),
        RecipeOptions(optimizer="sgd", lr=0.02),
        RecipeOptions(optimizer="adam"),
        RecipeOptions(lr=0.02),
        RecipeOptions(init="xavier"),
        RecipeOptions(activation="tanh"),
        RecipeOptions(init="xavier", activation="tanh"),
        RecipeOptions(adversarial=True),
    ]
    folders = {_folder(options.apply(SMOKE), digits) for options in chosen}
    assert len(folders) == len(chosen)
    other = load("mnist", "embedded", held_out=0.2)
    assert _folder(SMOKE, other) not in folders


def test_another_share_held_out_is_another_run(tmp_path):
    assert _command("lenet5 --val-split 0.2", "--out", str(tmp_path)).exit_code == 0
    done = _command("lenet5 --val-split 0.1", "--out", str(tmp_path))
    assert "was trained with another recipe, seed or data" in str(done.exception)


def test_without_flags_every_recipe_stays_as_it_is():
    for network in ("lenet5", "lenet5-paper", "lenet5-28", "alexnet"):
        recipe = find_recipe(network, "quick")
        assert RecipeOptions().apply(recipe) == recipe


@pytest.mark.parametrize(
    ("network", "optimizer", "choice"),
    [
        ("lenet5", "adam", Adam(SMOKE.optimizer.lr, 1e-4)),
        ("lenet5", "adamw", SMOKE.optimizer),
        ("lenet5", "sgd", SGD(0.01, 1e-4)),
        ("vgg16", "sgd", find_recipe("vgg16", "smoke").optimizer),
        ("vgg16", "adam", Adam(0.001, 5e-4)),
        ("mobilenet", "adam", Adam(0.001, 4e-5, decay_depthwise=False)),
    ],
)
def test_a_rate_is_kept_where_it_fits_the_optimizer(network, optimizer, choice):
    """Weight decay, and what it spares, is kept whatever the optimiser."""
    before = find_recipe(network, "smoke")
    wanted = {"lenet5": AdamW, "vgg16": SGD, "mobilenet": RMSprop}[network]
    assert type(before.optimizer) is wanted
    assert RecipeOptions(optimizer=optimizer).apply(before).optimizer == choice
    faster = RecipeOptions(optimizer=optimizer, lr=0.7).apply(before)
    assert faster.optimizer == replace(choice, lr=0.7)


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
    assert recipe.loss == (CrossEntropy() if logits else Map(5.0))
    assert recipe.size == FAMILY[network].get("input_size", 32)


def test_the_choices_are_those_of_the_model_and_of_the_recipe():
    assert get_args(Scheme) == INITIALISATIONS
    assert get_args(NonLinearity) == ACTIVATIONS
    for name in get_args(OptimizerName):
        chosen = RecipeOptions(optimizer=name).apply(find_recipe("mobilenet", "smoke"))
        assert type(chosen.optimizer).__name__.lower() == name


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
        ("alexnet --init xavier", "--init: alexnet is not of the LeNet-5 family; leave the option"),
        ("alexnet --activation relu", "--activation: alexnet is not of the LeNet-5 family"),
        ("vgg16 --rotation 5", "--rotation: vgg16 is not of the LeNet-5 family"),
        ("vgg16 --shift 1", "--shift: vgg16 is not of the LeNet-5 family"),
        ("vgg16 --adversarial-training", "--adversarial-training: vgg16 is not of the LeNet-5"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(words, message):
    done = _command(words)
    assert done.exit_code == 2
    assert message in done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("Error: ")]
    assert done.output.rstrip().endswith(line)  # in one line, the last
