"""The recipes of the book: a network, a profile, a `Recipe`."""

from collections.abc import Mapping

from internals.errors import TrainingError
from internals.training.recipe import Recipe
from internals.training.recipes import (
    alexnet,
    inceptionnet,
    lenet5,
    mobilenet,
    resnet18,
    vgg16,
)

PROFILES = ("smoke", "quick", "full")

RECIPES: Mapping[str, Mapping[str, Recipe]] = {
    **lenet5.RECIPES,
    **alexnet.RECIPES,
    **vgg16.RECIPES,
    **inceptionnet.RECIPES,
    **resnet18.RECIPES,
    **mobilenet.RECIPES,
}

# How the notebooks that this book grew from trained the same networks, to be shown beside ours.
SEED_RECIPES: Mapping[str, Recipe] = {
    module.SEED.network: module.SEED
    for module in (alexnet, vgg16, inceptionnet, resnet18, mobilenet)
}


def find_recipe(network: str, profile: str) -> Recipe:
    """The recipe of `network` at `profile` ("smoke", "quick" or "full").

    Raises `TrainingError` naming the choices when there is none.
    """
    if network not in RECIPES:
        raise TrainingError(f"no recipe for network {network!r}; there are {', '.join(RECIPES)}")
    if profile not in RECIPES[network]:
        raise TrainingError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
    return RECIPES[network][profile]
