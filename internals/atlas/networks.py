"""The networks of the book, and which of their layers are drawn."""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from internals.errors import CheckpointError

if TYPE_CHECKING:
    from internals.atlas.make import Subject
    from internals.data.image_set import Splits
    from internals.training.run import Run

NOTICE = "The photographs are ImageNet's; this book's licence does not cover them."
SQUEEZED = "In this copy of Imagenette all of them are squeezed to squares."


@dataclass(frozen=True)
class _Entry:
    """A network of the book.

    Args:
        title: For headings.
        left_out: Layers that are numbers only, as a regular expression: shortcuts and reductions
            say little, and a depthwise convolution has the channels of the one before it.
        whole: Whether every channel is drawn.
        deepest: The convolution whose channels have images made for them as well.
    """

    title: str
    deepest: str
    left_out: str = ""
    whole: bool = False


NETWORKS = {
    "lenet5": _Entry("LeNet-5", "conv3", whole=True),
    "alexnet": _Entry("AlexNet", "conv5"),
    "vgg16": _Entry("VGG-16", "conv13"),
    "inceptionnet": _Entry("InceptionNet", "inception5b.conv3x3", left_out=r"conv2|.*_reduce"),
    "resnet18": _Entry("ResNet-18", "conv17", left_out=r"conv_proj\d"),
    "mobilenet": _Entry("MobileNet", "conv27", left_out=r"conv\d*[02468]"),
}
# Pictures that are mined, and channels shown under random weights: fewer for the time's sake, but
# not in the published edition.
MOST_PICTURES = {"smoke": 24, "quick": 256, "full": None}
_CONTROLLED = {"smoke": 1, "quick": 1, "full": 4}
_STEPS = {"smoke": 2, "quick": 48, "full": 256}  # of making an image
_CONTROL_SEED = 1000  # on from that of the training


def main_layers(name: str, layers: Iterable[str]) -> list[str]:
    """Those of a network's convolutions that are drawn."""
    left_out = NETWORKS[name].left_out
    return [layer for layer in layers if not re.fullmatch(left_out, layer)]


def book_run(name: str, profile: str, data: str = "auto", *, seed: int = 0) -> "tuple[Run, Splits]":
    """A network of the book as it was trained, and the data it was trained on.

    Where none was trained here, a fetched one is taken that was trained on another copy of the same
    data set, or by other code, which is said on standard error.

    Args:
        name: Such as "alexnet".
        profile: "smoke", "quick" or "full".
        data: "auto", "real" or "embedded".
        seed: Of the training.

    Raises:
        CheckpointError: It was not trained yet, or its weights are damaged.
        TrainingError: There is no recipe for it.
    """
    from internals.data.load import load
    from internals.training.provenance import weights_folders
    from internals.training.recipes import find_recipe
    from internals.training.run import WEIGHTS, fetched, trained

    recipe = find_recipe(name, profile)
    splits = load(recipe.data, data, size=recipe.stored, seed=seed)
    folders = weights_folders(recipe, splits, seed)
    if not any((folder / WEIGHTS).exists() for folder in folders):
        if run := fetched(recipe, splits, seed):
            other = "by another version of this package"
            if run.provenance.data_fingerprint != splits.train.fingerprint:
                other = f"on another copy of {splits.train.name}"
            print(f"{name}: as fetched, trained {other}", file=sys.stderr)
            return run, splits
        raise CheckpointError(
            f"{name} is not trained at {profile} on {splits.train.name}; run `internals train "
            f"{name} --profile {profile}`, or `internals weights fetch {name}` for the book's own"
        )
    return trained(recipe, splits, seed=seed), splits


def _notice(pictures: str, data: str) -> str:
    """What is said wherever pictures of this name are shown."""
    if not pictures.startswith("Imagenette"):
        return ""
    from internals.data.imagenette import is_squeezed
    from internals.data.sources import find_source

    root = find_source("imagenette", data).root
    return f"{SQUEEZED} {NOTICE}" if root is not None and is_squeezed(root) else NOTICE


def book_subject(
    name: str,
    profile: str,
    data: str,
    *,
    first: int = 16,
    seed: int = 0,
    published: bool = False,
) -> "Subject":
    """What the atlas of a network of the book is made of: its weights and its training pictures.

    Args:
        name: One of `NETWORKS`.
        profile: Whose weights: "smoke", "quick" or "full".
        data: "auto", "real" or "embedded".
        first: Channels a layer.
        seed: Of the training.
        published: Whether as many pictures are mined as at "full", whatever the profile.

    Raises:
        CheckpointError: It was not trained yet, or its weights are damaged.
    """
    import torch

    from internals.atlas.make import Subject, convolutions
    from internals.models.lookup import build
    from internals.network import Network
    from internals.training.recipe import plain

    run, splits = book_run(name, profile, data, seed=seed)
    recipe, entry = run.recipe, NETWORKS[name]
    effort = "full" if published else profile
    network = Network.of(run)
    pictures = run.pipeline.view(splits.train.head(MOST_PICTURES[effort]))

    def untrained() -> torch.nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed + _CONTROL_SEED)
            return build(recipe.network, **dict(recipe.arguments)).eval()

    rules = {"rule": "guided", "tanh": "agreeing"} if recipe.data == "mnist" else {"rule": "guided"}
    return Subject(
        name=name,
        title=entry.title,
        network=network,
        pictures=pictures,
        notice=_notice(splits.train.name, data),
        layers=main_layers(name, convolutions(network)),
        shown=None if entry.whole else first,
        controlled=_CONTROLLED[effort],
        rules=rules,
        optimised=[entry.deepest],
        steps=_STEPS[profile],
        show_images=recipe.data == "mnist",
        untrained=untrained,
        facts={
            "profile": profile,
            "recipe": plain(recipe),
            "seed": seed,
            "model": name,
            "limit": MOST_PICTURES[effort],
            "score": {"top1": run.test.top1, "images": len(run.test.predicted)},
            "command": f"internals atlas {name} --profile {profile}",
        },
    )
