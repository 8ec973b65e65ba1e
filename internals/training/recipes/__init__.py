"""The recipes of the book: a network, a profile, a `Recipe`.

Modules are named, not imported, so that an edit of one network's recipe is no reason to execute the
chapters of another again.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from internals.errors import TrainingError
from internals.training.recipe import Recipe

PROFILES = ("smoke", "quick", "full")

# The module that has the recipes of each network.
MODULES: Mapping[str, str] = {
    "lenet5": "internals.training.recipes.lenet5",
    "lenet5-fgsm": "internals.training.recipes.lenet5",
    "lenet5-pgd": "internals.training.recipes.lenet5",
    "lenet5-paper": "internals.training.recipes.lenet5",
    "lenet5-softmax": "internals.training.recipes.lenet5",
    "lenet5-softmax-fgsm": "internals.training.recipes.lenet5",
    "lenet5-softmax-pgd": "internals.training.recipes.lenet5",
    "lenet5-28": "internals.training.recipes.lenet5",
    "alexnet": "internals.training.recipes.alexnet",
    "alexnet-paper": "internals.training.recipes.alexnet",
    "vgg16": "internals.training.recipes.vgg16",
    "inceptionnet": "internals.training.recipes.inceptionnet",
    "googlenet-paper": "internals.training.recipes.inceptionnet",
    "resnet18": "internals.training.recipes.resnet18",
    "resnet18-a": "internals.training.recipes.resnet18",
    "plain18": "internals.training.recipes.resnet18",
    "mobilenet": "internals.training.recipes.mobilenet",
}


class _LookedUp(Mapping[str, Any]):
    """By network, what `attribute` of its module holds, read when it is asked for."""

    def __init__(self, networks: tuple[str, ...], attribute: str) -> None:
        self._networks = networks
        self._attribute = attribute

    def __getitem__(self, network: str) -> Any:
        if network not in self._networks:
            raise KeyError(network)
        found = getattr(importlib.import_module(MODULES[network]), self._attribute)
        return found[network] if isinstance(found, Mapping) else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)


RECIPES: Mapping[str, Mapping[str, Recipe]] = _LookedUp(tuple(MODULES), "RECIPES")

# How the notebooks that this book grew from trained the same networks, to be shown beside ours.
SEED_RECIPES: Mapping[str, Recipe] = _LookedUp(
    ("alexnet", "vgg16", "inceptionnet", "resnet18", "mobilenet"), "SEED"
)


def find_recipe(network: str, profile: str) -> Recipe:
    """The recipe of `network` at `profile` ("smoke", "quick" or "full").

    Raises `TrainingError` naming the choices when there is none.
    """
    if network not in RECIPES:
        raise TrainingError(f"no recipe for network {network!r}; there are {', '.join(RECIPES)}")
    if profile not in RECIPES[network]:
        raise TrainingError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
    return RECIPES[network][profile]
