"""What every sub-command for a network of one's own needs: the network, and what it takes in.

torch takes seconds to import, so only functions import it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from internals.errors import AnatomyError, DataError, InternalsError, ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from internals.data.normalization import InputMap
    from internals.data.pipeline import Pipeline

Shape = tuple[int, int, int]

# Tried in this order where the network does not say what it was made for.
_GREY_SIZES, _COLOUR_SIZES = (32, 28, 224), (224, 32)

NetworkArgument = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A network of torchvision (resnet18), of ours (lenet5), or package.module:callable.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(help="File of weights: .safetensors, or a state dict saved by torch."),
]


def open_network(name: str, weights: Path | None) -> "nn.Module":
    """The network `name` with the weights of a file, or else random ones, the same every time."""
    import torch

    from internals.environment import cores
    from internals.models.lookup import resolve_model

    torch.set_num_threads(cores())
    torch.manual_seed(0)
    return resolve_model(name, weights)


def tell_which(name: str, weights: Path | None) -> None:
    """Say in one line which network is meant where both we and torchvision have one of the name."""
    from internals.models.lookup import MODELS, find_origin, is_ambiguous

    if not is_ambiguous(name):
        return
    if find_origin(name, weights) == "ours":
        print(f"{name} is ours here, because its weights are", file=sys.stderr)
    else:
        ours = f"internals.models:{MODELS[name][1]}"
        print(f"{name} is torchvision's here; ours is {ours}", file=sys.stderr)


def has_random_weights(name: str, weights: Path | None) -> bool:
    """Whether the network is ours or torchvision's and gets no file of weights."""
    from internals.models.lookup import find_origin

    foreign_code = find_origin(name) == "imported" and not name.startswith("internals.models:")
    return weights is None and not foreign_code


def find_device(name: str) -> "torch.device":
    """The device `name`, or with "auto" the fastest here; `ModelError` where it cannot be used."""
    import torch

    if name == "auto":
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(f"device {name!r} cannot be used here: {reason}; leave it out") from error
    return torch.device(name)


def input_shape(
    name: str, model: "nn.Module", size: int | None = None, weights: Path | None = None
) -> Shape:
    """(c, h, w): the channels that `model` takes, at `size` or what it was made for."""
    from internals.anatomy.trace import trace
    from internals.models.lookup import find_preparation
    from internals.models.weights_file import read_provenance

    channels = _channels(model)
    if size is None and (published := find_preparation(name, weights)):
        size = published.size
    if size is None and weights and (told := read_provenance(weights)):
        size = told["recipe"].get("size")
    if size is not None:
        return channels, size, size
    sizes = _GREY_SIZES if channels == 1 else _COLOUR_SIZES
    for candidate in sizes:
        shape = (channels, candidate, candidate)
        try:
            with foreign(name, shape):
                trace(model, shape)
        except ModelError:
            continue
        return shape
    tried = ", ".join(str(candidate) for candidate in sizes)
    raise ModelError(f"{name} takes no square input of {tried} pixels; give --size, or --input")


@contextmanager
def foreign(name: str, shape: Shape) -> Iterator[None]:
    """Turn whatever the user's own network raises on an input of `shape` into one line."""
    try:
        yield
    except AnatomyError as error:
        raise ModelError(f"{name}: {error}") from error
    except InternalsError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        size = " x ".join(map(str, shape))
        raise ModelError(
            f"{name} fails on an input of {size}: {type(error).__name__}: {reason}"
        ) from error


def normalization(
    name: str, shape: Shape, mean: str | None, std: str | None, weights: Path | None = None
) -> "InputMap":
    """What the network is fed: as asked for, else as the network was trained, as far as known.

    `shape` is that of one input, (c, h, w).
    """
    from internals.data.normalization import IMAGENET, Normalization
    from internals.models.lookup import find_preparation
    from internals.training.recipes import RECIPES

    channels, side, _ = shape
    if mean is not None or std is not None:
        if mean is None or std is None:
            raise DataError("give --mean and --std together")
        means, stds = _numbers("--mean", mean, channels), _numbers("--std", std, channels)
        if min(stds) <= 0:
            raise DataError(f"--std {std} must be above 0")
        return Normalization(means, stds)
    if weights and (pipeline := _trained_with(weights)):
        return pipeline.at(side).normalization
    if channels == 1:
        recipe = RECIPES[name]["full"] if name in RECIPES else None
        range_ = recipe.input_range if recipe else None
        return Normalization.from_range(*(range_ or (0.0, 1.0)))
    published = find_preparation(name, weights)
    return Normalization(published.mean, published.std) if published else IMAGENET


def _trained_with(weights: Path) -> "Pipeline | None":
    """The way pictures went into training, for weights that this package has trained.

    Raises `DataError` where the statistics, which lie beside them, are not there.
    """
    from internals.data.pipeline import Pipeline
    from internals.models.weights_file import read_provenance
    from internals.training.checkpoint import load_tensors

    told = read_provenance(weights)
    if told is None:
        return None
    recipe, beside = told["recipe"], weights.with_name("statistics.safetensors")
    if recipe.get("input_range"):
        black, white = recipe["input_range"]
        return Pipeline.from_range(black, white, recipe["size"])
    if not beside.exists():
        raise DataError(
            f"{weights} was trained with statistics that belong into {beside}; "
            "put them there, or give --mean and --std"
        )
    return Pipeline.from_state(recipe["pipeline"], recipe["size"], load_tensors(beside)[0])


def _numbers(option: str, words: str, channels: int) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in words.split(","))
    except ValueError:
        values = ()
    if len(values) != channels:
        raise DataError(f"{option} {words} is not {channels} numbers with commas between them")
    return values


def _channels(model: "nn.Module") -> int:
    """How many channels the first convolution takes; 3 where there is none."""
    from torch import nn

    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return first.in_channels if first else 3
