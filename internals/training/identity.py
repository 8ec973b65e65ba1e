"""Names for weights: two runs that could differ in one bit never share one."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from internals import fingerprint
from internals.data.images import ImageSet, Splits
from internals.environment import build_folder
from internals.models.catalogue import MODELS
from internals.training.recipe import Recipe

# Modules that cannot change a number: editing them is no reason to train again.
_NO_NUMBERS = ("", "errors", "files", "progress", "environment", "fingerprint")


def weights_folder(recipe: Recipe, splits: Splits, seed: int) -> Path:
    """Where the weights that `recipe` gives are kept."""
    return build_folder() / "weights" / f"{recipe.network}-{weights_key(recipe, splits, seed)}"


def weights_key(recipe: Recipe, splits: Splits, seed: int) -> str:
    """A name for the weights that `recipe` gives; other code, data or seeds give another."""
    images = [content(splits.train), content(splits.validation)]
    return fingerprint.digest([deciding(recipe), code_key(recipe.network), images, seed])


def deciding(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides the weights: what the paper did changes nothing that we do."""
    return {name: value for name, value in asdict(recipe).items() if name != "paper"}


def content(images: ImageSet) -> str:
    """A hash that tells apart the sets of one data set: hold-outs, halves, orders, sizes.

    The fingerprint stands for the pixels of the data set as a whole, so of each image its shape,
    its label and its middle row are enough, and a set of gigabytes is told in a moment.
    """
    middle = images.images[:, :, images.images.shape[2] // 2]
    found = hashlib.sha256(repr((images.fingerprint, tuple(images.images.shape))).encode())
    found.update(images.labels.contiguous().numpy().data)
    found.update(middle.contiguous().numpy().data)
    return found.hexdigest()


def code_key(network: str) -> str:
    """A hash of all code that decides the weights: the network's, the loop's, their imports'."""
    reach = fingerprint.reach(modules=[MODELS[network][0], "internals.training.loop"])
    return fingerprint.digest(
        {
            name: code
            for name, code in reach.modules.items()
            if name.removeprefix("internals").removeprefix(".") not in _NO_NUMBERS
        }
    )
