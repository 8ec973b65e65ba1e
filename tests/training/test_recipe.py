"""Oracle: numbers counted and tables written by hand, and the promised refusals."""

import json
from dataclasses import FrozenInstanceError, replace

import pytest

from internals.ablations import StochasticDiagonalLM, recipe_from
from internals.errors import TrainingError
from internals.models import MODELS
from internals.training import (
    FGSM,
    PGD,
    PROFILES,
    RECIPES,
    SEED_RECIPES,
    SGD,
    Adam,
    AdamW,
    Constant,
    Cosine,
    CrossEntropy,
    DigitAugmentation,
    InputRange,
    Map,
    Plateau,
    RMSprop,
    StepDecay,
    find_recipe,
    hyperparameters,
    plain,
)

_EVERY = [
    pytest.param(recipe, id=f"{network} {profile}")
    for network, profiles in [*RECIPES.items(), ("seed", SEED_RECIPES)]
    for profile, recipe in profiles.items()
]


def test_steps_and_epochs(tiny_recipe):
    recipe = replace(tiny_recipe, batch_size=64, epochs=3, least_steps=2500)
    assert recipe.steps_an_epoch(128) == 2
    assert recipe.steps_an_epoch(129) == 3
    assert recipe.epochs_on(55_000) == 3  # 860 steps an epoch are 2,580
    assert recipe.epochs_on(1_318) == 120  # 21 steps an epoch: 119.05 epochs make 2,500
    assert (recipe.steps_on(55_000), recipe.steps_on(1_318)) == (2_580, 2_520)
    exact = replace(recipe, most_steps=2500)
    assert (exact.steps_on(55_000), exact.steps_on(1_318)) == (2_500, 2_500)
    twice = replace(recipe, augment=DigitAugmentation(shift=1, duplicate=True))
    assert twice.steps_an_epoch(33) == 2  # 66 pictures
    assert twice.epochs_on(1_318) == 60  # 42 steps an epoch: 59.5 epochs make 2,500


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "adamw"}, "optimizer='adamw' is none of SGD, RMSprop, Adam, AdamW"),
        ({"schedule": "steps"}, "schedule='steps' is none of Constant, Cosine, StepDecay, Plateau"),
        ({"loss": "mse"}, "loss='mse' is none of CrossEntropy, Map"),
        ({"epochs": 0}, "epochs=0 must be a whole number above 0"),
        ({"batch_size": -1}, "batch_size=-1 must be a whole number above 0"),
        ({"epochs": 1.5}, "epochs=1.5 must be a whole number above 0"),
        (
            {"selection": "last", "schedule": Plateau()},
            "Plateau waits for validation scores, which selection='last' does not take",
        ),
        ({"size": 0}, "size=0 must be a whole number above 0"),
        ({"micro_batch": 0}, "micro_batch=0 must be above 0, or None"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0 must be above 0, or None"),
        ({"most_steps": 0}, "most_steps=0 must be above 0, or None"),
        ({"most_images": -5}, "most_images=-5 must be above 0, or None"),
        ({"most_tested": 0}, "most_tested=0 must be above 0, or None"),
        ({"source_size": 0}, "source_size=0 must be above 0, or None"),
        ({"average": 1.0}, "average=1.0 must be a decay between 0 and 1, or None"),
        ({"average": float("nan")}, "average=nan must be a decay between 0 and 1, or None"),
        ({"snapshots": (0,)}, r"snapshots=\(0,\) must be numbers of epochs, from 1"),
        ({"selection": "best"}, "selection='best' is not one of validation, last"),
        ({"test_precision": "bf16"}, "test_precision='bf16' is not one of float32, as trained"),
        ({"sizes": ((0.7, 128), (0.4, 160))}, "must be .* pairs, 1 in all at most"),
        ({"sizes": ((0.7, 0),)}, "must be .* pairs"),
        ({"crops": 5}, "crops=5 is not one of 1, 10"),
        ({"crops": 10}, "crops=10 averages a softmax, which the loss Map has not"),
        ({"pipeline": "imagenet"}, "pipeline='imagenet' is not one of mean-std, alexnet"),
        ({"pipeline": "range"}, r"needs two numbers; use InputRange\(black, white\)"),
        ({"augment": DigitAugmentation(shift=17)}, "shift=17 must be 0 to 16 pixels, half the in"),
        (
            {"pipeline": "alexnet", "augment": DigitAugmentation(shift=2)},
            "pipeline='alexnet' augments and colours images itself, which does not go with augment",
        ),
        (
            {"pipeline": "alexnet", "adversary": FGSM(0.1)},
            "which does not go with adversary; use an InputRange or 'mean-std'",
        ),
    ],
)
def test_refuses_what_makes_no_sense(tiny_recipe, change, message):
    with pytest.raises(TrainingError, match=message) as caught:
        replace(tiny_recipe, **change)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("choice", "fields", "message"),
    [
        (SGD, {"lr": 0.0}, "lr=0.0 must be above 0 and finite"),
        (RMSprop, {"lr": float("nan")}, "lr=nan must be above 0 and finite"),
        (Adam, {"lr": float("inf")}, "lr=inf must be above 0 and finite"),
        (AdamW, {"lr": 1.0, "weight_decay": -0.1}, "weight_decay=-0.1 must be 0 or more"),
        (AdamW, {"lr": 1.0, "weight_decay": float("inf")}, "weight_decay=inf must be 0 or more"),
        (SGD, {"lr": 1.0, "momentum": -1.0}, "momentum=-1.0 must be 0 or more and below 1"),
        (RMSprop, {"lr": 1.0, "alpha": 2.0}, "alpha=2.0 must be 0 or more and below 1"),
        (RMSprop, {"lr": 1.0, "eps": -1.0}, "eps=-1.0 must be 0 or more"),
        (StepDecay, {"factor": float("inf")}, "factor=inf must be above 0 and finite"),
        (Map, {"j": -1.0}, "j=-1.0 of the MAP loss must be 0 or more"),
        (CrossEntropy, {"smoothing": 2.0}, "smoothing=2.0 must be a share, 0 to below 1"),
        (Constant, {"warm_up": 1.0}, "warm_up=1.0 must be a share of all steps, 0 to 1"),
        (Cosine, {"warm_up": -0.1}, "warm_up=-0.1 must be a share"),
        (StepDecay, {"warm_up": float("nan")}, "warm_up=nan must be a share"),
        (StepDecay, {"epochs": 0}, "epochs=0 must be 1 or more"),
        (StepDecay, {"factor": 0.0}, "factor=0.0 must be above 0 and finite"),
        (Plateau, {"warm_up": 2.0}, "warm_up=2.0 must be a share"),
        (Plateau, {"patience": -1}, "patience=-1 must be 0 or more"),
        (Plateau, {"factor": -1.0}, "factor=-1.0 must be above 0"),
        (DigitAugmentation, {"shift": -1}, "shift=-1 must be 0 pixels or more"),
        (DigitAugmentation, {"rotation": 181.0}, "rotation=181.0 must be 0 to 180 degrees"),
        (DigitAugmentation, {"rotation": float("nan")}, "rotation=nan must be 0 to 180 degrees"),
        (DigitAugmentation, {"duplicate": True}, "needs a shift or a rotation above 0"),
        (FGSM, {"epsilon": 0.0}, "epsilon=0.0 of an adversary must be above 0, 1 at most"),
        (PGD, {"epsilon": 8.0}, "epsilon=8.0 of an adversary must be above 0, 1 at most"),
        (PGD, {"epsilon": 0.1, "share": 0.0}, "share=0.0 of an adversary must be above 0, 1 at"),
        (FGSM, {"epsilon": 0.1, "share": 1.5}, "share=1.5 of an adversary"),
        (PGD, {"epsilon": 0.1, "steps": 0}, "steps=0 of an adversary must be 1 or more"),
    ],
)
def test_a_choice_refuses_what_makes_no_sense(choice, fields, message):
    with pytest.raises(TrainingError, match=message):
        choice(**fields)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("choice", "fields"),
    [
        (AdamW, {"lr": 0.1, "momentum": 0.9}),
        (Adam, {"lr": 0.1, "alpha": 0.9}),
        (SGD, {"lr": 0.1, "eps": 1.0}),
        (SGD, {}),  # a learning rate has no default
        (StochasticDiagonalLM, {"lr": 0.1, "momentum": 0.9}),
        (Constant, {"factor": 0.1}),
        (Cosine, {"patience": 1}),
        (StepDecay, {"patience": 1}),
        (Plateau, {"epochs": 1}),
        (CrossEntropy, {"j": 5.0}),
        (Map, {"j": 5.0, "smoothing": 0.1}),
        (FGSM, {"epsilon": 0.1, "steps": 7}),
        (InputRange, {"black": 0.0}),
    ],
)
def test_a_field_that_a_choice_does_not_have_is_a_type_error(choice, fields):
    with pytest.raises(TypeError):
        choice(**fields)


def test_is_frozen(tiny_recipe):
    with pytest.raises(FrozenInstanceError):
        tiny_recipe.epochs = 3
    with pytest.raises(FrozenInstanceError):
        tiny_recipe.optimizer.lr = 1.0


@pytest.mark.parametrize("recipe", _EVERY)
def test_recipes_come_back_from_plain_values(recipe):
    """Through JSON, as in files; snapshots and what is said of the paper decide nothing."""
    again = recipe_from(json.loads(json.dumps(plain(recipe))))
    assert again == replace(recipe, snapshots=())
    assert type(again.optimizer) is type(recipe.optimizer)
    assert plain(again) == plain(recipe)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": StochasticDiagonalLM(5e-4, share=0.1)},
        {"optimizer": RMSprop(0.1, alpha=0.5)},
        {"schedule": StepDecay(epochs=2, factor=0.94, warm_up=0.1)},
        {"schedule": Constant()},
        {"augment": DigitAugmentation(shift=2, rotation=5.0, duplicate=True)},
        {"adversary": PGD(0.1, steps=3)},
        {"sizes": ((0.5, 16), (0.25, 24))},
        {"arguments": (("dropout", 0.5), ("output", "logits"))},
    ],
)
def test_choices_come_back_from_plain_values(tiny_recipe, change):
    recipe = replace(tiny_recipe, **change)
    assert recipe_from(json.loads(json.dumps(plain(recipe)))) == recipe
    assert plain(recipe) != plain(tiny_recipe)


def test_two_choices_with_the_same_fields_are_told_apart():
    assert plain(Adam(1e-3)) != plain(AdamW(1e-3))
    assert plain(Constant()) != plain(Cosine())


def test_every_network_has_every_profile():
    for network in RECIPES:
        assert tuple(RECIPES[network]) == PROFILES
        # "lenet5-pgd" is LeNet-5 trained in another way.
        assert all(network.startswith(r.network) for r in RECIPES[network].values())
        assert {r.network for r in RECIPES[network].values()} <= set(MODELS)


def test_snapshots_are_of_epochs_that_there_are():
    for profiles in RECIPES.values():
        for recipe in profiles.values():
            assert all(epoch <= recipe.epochs for epoch in recipe.snapshots), recipe


def test_unknown_recipes_are_refused_by_name():
    with pytest.raises(TrainingError, match="no recipe for network 'lenet'; there are lenet5"):
        find_recipe("lenet", "quick")
    with pytest.raises(TrainingError, match="unknown profile 'fast'; choose one of smoke"):
        find_recipe("lenet5", "fast")


_TABLES = {
    "lenet5 full": (
        find_recipe("lenet5", "full"),
        [
            ("data", "mnist", "MNIST"),
            ("epochs", "20", "20"),
            ("batch size", "64", "1"),
            ("optimizer", "adamw", "stochastic diagonal Levenberg-Marquardt"),
            ("learning rate", "0.001", "0.0005 over curvature"),
            ("loss", "map", "MAP (eq. 9)"),
            ("size", "32", "32"),
            ("input range", "-0.1 to 1.175", "-0.1 to 1.175"),
            ("weight decay", "0.0001", "none"),
            ("schedule", "cosine", "5 steps down to 0.00001"),
            ("warm up", "0.05", ""),
            ("rubbish penalty", "5", "positive, no value given"),
        ],
    ),
    "mobilenet of the seeds": (
        SEED_RECIPES["mobilenet"],
        [
            ("data", "imagenette", "ImageNet, 1,000 classes"),
            ("epochs", "30", "not given"),
            ("batch size", "256", "not given"),
            ("optimizer", "rmsprop", "asynchronous rmsprop"),
            ("learning rate", "0.045", "not given"),
            ("loss", "cross-entropy", "cross-entropy"),
            ("size", "224", "224"),
            ("pipeline", "mobilenet", "less augmentation than Inception's"),
            ("weight decay", "4e-05", "not given"),
            ("decay depthwise", "no", "very little or none"),
            ("momentum", "0.9", ""),
            ("alpha", "0.9", ""),
            ("epsilon", "1", ""),
            ("schedule", "step", "not given"),
            ("step size", "2", ""),
            ("factor", "0.94", ""),
            ("micro batch", "64", ""),
            ("test precision", "as trained", ""),
        ],
    ),
    "resnet18 quick": (
        find_recipe("resnet18", "quick"),
        [
            ("data", "imagenette", "ImageNet, 1,000 classes"),
            ("epochs", "2", "about 120"),
            ("batch size", "32", "256"),
            ("optimizer", "adamw", "sgd, momentum 0.9"),
            ("learning rate", "0.001", "0.1"),
            ("loss", "cross-entropy", "cross-entropy"),
            ("size", "96", "224"),
            ("pipeline", "resnet18", "shorter side 256 to 480, crops, flips, PCA lighting"),
            ("weight decay", "0.05", "0.0001"),
            ("schedule", "cosine", "a tenth whenever the error stalls"),
            ("warm up", "0.2", ""),
            ("crops", "1", "10"),
            ("test precision", "as trained", ""),
        ],
    ),
}


@pytest.mark.parametrize("name", _TABLES)
def test_the_table_of_hyperparameters(name):
    recipe, rows = _TABLES[name]
    assert hyperparameters(recipe) == rows


def test_the_table_says_what_training_on_the_images_at_hand_takes(tiny_recipe, digits):
    """Counted by hand for 1,000 images, batches of 100 and at least 45 steps."""
    images = digits.train.head(1000, "digits train")
    recipe = replace(tiny_recipe, batch_size=100, epochs=3, least_steps=45)
    for most, data, epochs in [(None, "1,000", "5"), (1200, "1,000", "5"), (300, "300", "15")]:
        rows = hyperparameters(replace(recipe, most_images=most), images)
        values = {name: value for name, value, _ in rows}
        assert (values["data"], values["epochs"]) == (f"{data} of digits train", epochs)


def test_the_table_shows_what_is_chosen_and_nothing_else(tiny_recipe):
    rows = {name for name, _, _ in hyperparameters(tiny_recipe)}
    changes = {
        "augment": (DigitAugmentation(2, 5.0, True), {"shift": "2", "rotation": "5",
                                                      "duplicate": "yes"}),
        "adversary": (PGD(0.1, steps=2), {"adversary": "pgd", "adversary epsilon": "0.1",
                                          "adversary share": "0.5", "adversary steps": "2"}),
        "clip_norm": (1.0, {"clip norm": "1"}),
        "average": (0.99, {"average of weights": "0.99"}),
        "data_dependent_init": (True, {"standardised start": "yes"}),
        "sizes": (((0.25, 16),), {"sizes": "16 px for 25 % of the epochs"}),
    }  # fmt: skip
    for field, (value, wanted) in changes.items():
        shown = {n: here for n, here, _ in hyperparameters(replace(tiny_recipe, **{field: value}))}
        assert {name: here for name, here in shown.items() if name not in rows} == wanted
    fgsm = hyperparameters(replace(tiny_recipe, adversary=FGSM(0.1)))
    assert "adversary steps" not in {name for name, _, _ in fgsm}


def test_progressive_sizes_take_their_share_of_the_epochs(tiny_recipe):
    recipe = replace(tiny_recipe, size=224, sizes=((0.5, 96), (0.2, 160)))
    assert [recipe.size_in(n, 10) for n in range(1, 11)] == [96] * 5 + [160] * 2 + [224] * 3
    assert recipe.size_in(1, 1) == 160  # 0.7 of one epoch is nearer to it all
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
        steps = [recipe.steps_on(recipe.images_of(count)) for count in (2_200, 8_680)]
        assert steps[0] <= steps[1] <= 8_680 / 2_200 * steps[0] + recipe.epochs, network


def test_the_seeds_recipes_are_theirs():
    """The numbers that the notebooks print: batch, epochs, optimiser, schedule."""
    printed = {name: (r.batch_size, r.epochs, r.schedule) for name, r in SEED_RECIPES.items()}
    del printed["alexnet"]  # the notebooks do not say
    assert printed == {
        "vgg16": (256, 20, Plateau(patience=3, factor=0.1)),
        "inceptionnet": (256, 30, StepDecay(epochs=8, factor=0.96)),
        "resnet18": (256, 30, Plateau(patience=2, factor=0.1)),
        "mobilenet": (256, 30, StepDecay(epochs=2, factor=0.94)),
    }
    optimizers = {name: SEED_RECIPES[name].optimizer for name in printed}
    assert optimizers == {
        "vgg16": SGD(0.01, 5e-4),
        "inceptionnet": SGD(0.01, 2e-4),
        "resnet18": AdamW(1e-3, 1e-4),
        "mobilenet": RMSprop(0.045, 4e-5, decay_depthwise=False),
    }
