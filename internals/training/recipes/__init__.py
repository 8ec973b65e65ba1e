"""The recipes of the book: a network, a profile, a `Recipe`."""

from collections.abc import Mapping

from internals.errors import TrainingError
from internals.training.recipe import Recipe
from internals.training.recipes import lenet5

PROFILES = ("smoke", "quick", "full")

RECIPES: Mapping[str, Mapping[str, Recipe]] = {**lenet5.RECIPES}


def find_recipe(network: str, profile: str) -> Recipe:
    """The recipe of `network` at `profile` ("smoke", "quick" or "full").

    Raises `TrainingError` naming the choices when there is none.
    """
    if network not in RECIPES:
        raise TrainingError(f"no recipe for network {network!r}; there are {', '.join(RECIPES)}")
    if profile not in RECIPES[network]:
        raise TrainingError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
    return RECIPES[network][profile]
