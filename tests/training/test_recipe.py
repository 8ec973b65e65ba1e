"""Oracle: numbers counted by hand, and the refusals that the record promises."""

from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from internals.errors import TrainingError
from internals.models.lookup import MODELS
from internals.training.recipes import PROFILES, RECIPES, SEED_RECIPES, find_recipe


def test_steps_and_epochs(tiny_recipe):
    recipe = replace(tiny_recipe, batch_size=64, epochs=3, least_steps=2500)
    assert recipe.steps_an_epoch(128) == 2
    assert recipe.steps_an_epoch(129) == 3
    assert recipe.epochs_on(55_000) == 3  # 860 steps an epoch are 2,580
    assert recipe.epochs_on(1_318) == 120  # 21 steps an epoch: 119.05 epochs make 2,500
    twice = replace(recipe, shift=1, duplicate=True)
    assert twice.steps_an_epoch(33) == 2  # 66 pictures
    assert twice.epochs_on(1_318) == 60  # 42 steps an epoch: 59.5 epochs make 2,500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "adams"}, "optimizer='adams' is not one of adamw, adam, sgd, rmsprop"),
        ({"schedule": "steps"}, "schedule='steps' is not one of constant, cosine, step, plateau"),
        ({"loss": "mse"}, "loss='mse' is not one of map, cross-entropy"),
        ({"epochs": 0}, "epochs=0 must be above 0"),
        ({"batch_size": -1}, "batch_size=-1 must be above 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan must be above 0"),
        ({"warm_up": 1.0}, "warm_up=1.0 must be a share"),
        ({"micro_batch": 0}, "micro_batch=0 must be above 0, or None"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0 must be above 0, or None"),
        ({"sizes": ((0.7, 128), (0.4, 160))}, "must be .* pairs, 1 in all at most"),
        ({"sizes": ((0.7, 0),)}, "must be .* pairs"),
        ({"crops": 5}, "crops=5 is not one of 1, 10"),
        ({"crops": 10}, "crops=10 averages a softmax, which loss='map' has not"),
        ({"pipeline": "imagenet"}, "pipeline='imagenet' is not one of range, mean-std, alexnet"),
        ({"pipeline": "mean-std"}, "pipeline='mean-std' does not go with input_range="),
        ({"input_range": None}, "'range' needs one"),
        ({"shift": -1}, "shift=-1 must be 0 to 16 pixels, half the input's side"),
        ({"shift": 17}, "shift=17 must be 0 to 16 pixels"),
        ({"rotation": 181.0}, "rotation=181.0 must be 0 to 180 degrees"),
        ({"rotation": float("nan")}, "rotation=nan must be 0 to 180 degrees"),
        (
            {"pipeline": "alexnet", "input_range": None, "shift": 2},
            "pipeline='alexnet' has an augmentation of its own; shift and rotation go with 'range'",
        ),
    ],
)
def test_refuses_what_makes_no_sense(tiny_recipe, change, message):
    with pytest.raises(TrainingError, match=message):
        replace(tiny_recipe, **change)


def test_is_frozen(tiny_recipe):
    with pytest.raises(FrozenInstanceError):
        tiny_recipe.epochs = 3


def test_every_network_has_every_profile():
    for network in RECIPES:
        assert tuple(RECIPES[network]) == PROFILES
        # "lenet5-pgd" is LeNet-5 trained in another way.
        assert all(network.startswith(r.network) for r in RECIPES[network].values())
        assert {r.network for r in RECIPES[network].values()} <= set(MODELS)


def test_unknown_recipes_are_refused_by_name():
    with pytest.raises(TrainingError, match="no recipe for network 'lenet'; there are lenet5"):
        find_recipe("lenet", "quick")
    with pytest.raises(TrainingError, match="unknown profile 'fast'; choose one of smoke"):
        find_recipe("lenet5", "fast")


def test_rows_show_every_hyperparameter_beside_the_papers(tiny_recipe):
    paper = {"batch_size": "1", "learning_rate": "0.0005 over curvature"}
    rows = {n: (here, there) for n, here, there in replace(tiny_recipe, paper=paper).rows()}
    assert rows["batch size"] == ("32", "1")
    assert rows["learning rate"] == ("0.002", "0.0005 over curvature")
    assert rows["input range"] == ("-0.1 to 1.175", "")
    assert rows["rubbish penalty"] == ("5", "")
    assert rows["data"] == (tiny_recipe.data, "")


def test_rows_say_what_training_on_the_images_at_hand_takes(tiny_recipe, digits):
    """Oracle: counted by hand for 1,000 images, batches of 100 and at least 45 steps."""
    images = digits.train.subset(torch.arange(1000), "digits train")
    recipe = replace(tiny_recipe, batch_size=100, epochs=3, least_steps=45)
    for most, data, epochs in [(None, "1,000", "5"), (1200, "1,000", "5"), (300, "300", "15")]:
        told = {n: here for n, here, _ in replace(recipe, most_images=most).rows(images)}
        assert (told["data"], told["epochs"]) == (f"{data} of digits train", epochs)


def test_rows_leave_out_what_says_nothing():
    shown = {name: here for name, here, _ in find_recipe("mobilenet", "full").rows()}
    assert shown["decay depthwise"] == "no"
    assert shown["epsilon"] == "1"
    assert shown["sizes"] == "128 px for 60% of the epochs"
    for idle in ("input range", "rubbish penalty", "patience", "crops", "clip norm", "network"):
        assert idle not in shown
    rows = {name: here for name, here, _ in find_recipe("lenet5", "full").rows()}
    for idle in ("pipeline", "epsilon", "momentum", "factor", "micro batch", "arguments"):
        assert idle not in rows


def test_progressive_sizes_take_their_share_of_the_epochs(tiny_recipe):
    recipe = replace(tiny_recipe, size=224, sizes=((0.5, 96), (0.2, 160)))
    assert [recipe.size_in(n, 10) for n in range(1, 11)] == [96] * 5 + [160] * 2 + [224] * 3
    assert [recipe.size_in(n, 1) for n in (1,)] == [160]  # 0.7 of one epoch is nearer to it all
    assert [replace(recipe, sizes=()).size_in(n, 2) for n in (1, 2)] == [224, 224]


def test_images_are_stored_with_the_margin_that_crops_need():
    """256 for 224, as in the papers, and as much in proportion for other sizes."""
    stored = {n: [find_recipe(n, p).stored for p in PROFILES] for n in ("alexnet", "resnet18")}
    assert stored == {"alexnet": [256, 256, 256], "resnet18": [73, 110, 256]}
    assert find_recipe("lenet5", "full").stored == 32


def test_real_data_take_some_more_steps_than_the_stand_in():
    """8,680 photographs or 2,200 drawn shapes: the same epochs at most."""
    for network in SEED_RECIPES:
        recipe = find_recipe(network, "quick")
        taken = [min(count, recipe.most_images or count) for count in (2_200, 8_680)]
        steps = [recipe.epochs_on(count) * recipe.steps_an_epoch(count) for count in taken]
        assert steps[0] <= steps[1] <= 8_680 / 2_200 * steps[0] + recipe.epochs, network


def test_the_seeds_recipes_are_theirs():
    """The numbers that the notebooks print: batch, epochs, rate, decay, schedule."""
    found = {
        name: (r.batch_size, r.epochs, r.optimizer, r.learning_rate, r.weight_decay, r.schedule)
        for name, r in SEED_RECIPES.items()
    }
    del found["alexnet"]  # the notebooks do not say
    assert found == {
        "vgg16": (256, 20, "sgd", 0.01, 5e-4, "plateau"),
        "inceptionnet": (256, 30, "sgd", 0.01, 2e-4, "step"),
        "resnet18": (256, 30, "adamw", 1e-3, 1e-4, "plateau"),
        "mobilenet": (256, 30, "rmsprop", 0.045, 4e-5, "step"),
    }
    details = SEED_RECIPES["vgg16"], SEED_RECIPES["resnet18"]
    assert [(r.factor, r.patience) for r in details] == [(0.1, 3), (0.1, 2)]
    details = SEED_RECIPES["inceptionnet"], SEED_RECIPES["mobilenet"]
    assert [(r.step_size, r.factor) for r in details] == [(8, 0.96), (2, 0.94)]
