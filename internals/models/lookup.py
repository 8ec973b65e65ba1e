"""Anybody's network by name: ours, torchvision's, or one that can be imported."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import nn

from internals.errors import InternalsError, ModelError
from internals.models.weights_file import fill, read_provenance

# name -> (module, class, arguments). Modules are named, not imported, so that an edit of one
# network is no reason to train another again.
MODELS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "lenet5": ("internals.models.lenet5", "LeNet5", {}),
    "lenet5-paper": ("internals.models.lenet5", "LeNet5", {"paper": True}),
    "lenet5-softmax": ("internals.models.lenet5_variants", "LeNet5Softmax", {}),
    "lenet5-variant": ("internals.models.lenet5_variants", "LeNet5Variant", {}),
    "lenet5-28": ("internals.models.lenet5_variants", "LeNet5Max28", {}),
    "alexnet": ("internals.models.alexnet", "AlexNet", {}),
    "alexnet-paper": ("internals.models.alexnet", "AlexNet", {"paper": True}),
    "vgg16": ("internals.models.vgg16", "VGG16", {}),
    "inceptionnet": ("internals.models.inceptionnet", "InceptionNet", {}),
    "googlenet-paper": ("internals.models.inceptionnet", "InceptionNet", {"paper": True}),
    "resnet18": ("internals.models.resnet18", "ResNet18", {}),
    "resnet18-a": ("internals.models.resnet18", "ResNet18", {"shortcut": "A"}),
    "plain18": ("internals.models.resnet18", "ResNet18", {"shortcut": "none"}),
    "mobilenet": ("internals.models.mobilenet", "MobileNet", {}),
}


def build(name: str, **arguments: Any) -> nn.Module:
    """Build the network `name` of `MODELS`, freshly initialised from torch's random state.

    Further `arguments` go to the network's class. Raises `InternalsError` for an unknown name.
    """
    if name not in MODELS:
        raise InternalsError(f"unknown network {name!r}; known are {', '.join(MODELS)}")
    module, class_name, fixed = MODELS[name]
    return partial(getattr(importlib.import_module(module), class_name), **fixed)(**arguments)


Origin = Literal["ours", "torchvision", "imported"]

# Auxiliary heads serve training alone, and these two draw their weights very slowly.
_WITH_HEADS = ("googlenet", "inception_v3")
_NO_HEADS = {"aux_logits": False, "init_weights": False}
# What torchvision's published files hold for the heads that are left out.
_HEADS = ("aux1.", "aux2.", "AuxLogits.")


class Preparation(NamedTuple):
    """What a network's published weights were trained on: `size` x `size` pixels, normalised."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def resolve_model(name: str, weights: Path | str | None = None) -> nn.Module:
    """Build the network `name`, in evaluation mode, with the weights in the file `weights`.

    `name` is one of `MODELS`, a classification network of torchvision, built without its auxiliary
    heads, or `package.module:attribute`, importable from the working folder (which joins
    `sys.path`): a module, or what returns one when called without arguments. A name that is both
    ours and torchvision's means torchvision's, unless `weights` were trained as ours, and ours is
    `internals.models:ResNet18`, as it is called in Python. Nothing is ever downloaded: without
    `weights`, ours and torchvision's have random ones. Raises `ModelError` where there is no such
    network, and `CheckpointError` where the weights cannot be read or do not fit.
    """
    origin = find_origin(name, weights)
    if origin == "imported":
        model = _imported(name)
    elif origin == "ours":
        told = read_provenance(Path(weights)) if weights is not None else None
        model = build(name, **dict(told["recipe"].get("arguments", ())) if told else {})
    else:
        from torchvision.models import get_model

        plain = name.lower()
        model = get_model(plain, weights=None, **(_NO_HEADS if plain in _WITH_HEADS else {}))
    if weights is not None:
        heads = _HEADS if origin == "torchvision" and name.lower() in _WITH_HEADS else ()
        fill(model, Path(weights), unused=heads)
    return model.eval()


def find_origin(name: str, weights: Path | str | None = None) -> Origin:
    """Where the network `name` comes from: "ours", "torchvision" or "imported".

    Of a name that two have, the `weights` decide (see `resolve_model`). Raises `ModelError` with
    the nearest names when it is none of these.
    """
    if name in MODELS and not (is_ambiguous(name) and not _trained_as(name, weights)):
        return "ours"
    if ":" in name:
        return "imported"
    theirs = _torchvision_names()
    if name.lower() in theirs:
        return "torchvision"
    near = get_close_matches(name.lower(), [*MODELS, *theirs], n=3, cutoff=0.5)
    nearest = f"nearest: {', '.join(near)}" if near else f"ours are {', '.join(MODELS)}"
    raise ModelError(
        f"unknown network {name!r}; {nearest}; write your own as package.module:callable"
    )


def is_ambiguous(name: str) -> bool:
    """Whether both we and torchvision have a network called `name`."""
    return name in MODELS and name in _torchvision_names()


def _trained_as(name: str, weights: Path | str | None) -> bool:
    told = read_provenance(Path(weights)) if weights is not None else None
    return told is not None and told.get("network") == name


def find_preparation(name: str, weights: Path | str | None = None) -> Preparation | None:
    """How torchvision prepares images for its network `name`; None for any other network."""
    if find_origin(name, weights) != "torchvision":
        return None
    from torchvision.models import get_model_weights

    told = get_model_weights(name.lower()).DEFAULT.transforms()
    mean, std = tuple(told.mean), tuple(told.std)
    if name.lower() in _WITH_HEADS:
        # With their published weights these two turn ImageNet's normalisation into this one, by a
        # first step of the network that is left out here.
        mean = std = (0.5, 0.5, 0.5)
    return Preparation(told.crop_size[0], mean, std)


def _torchvision_names() -> list[str]:
    import torchvision

    # Those of the package itself classify; detectors and the like live in packages below it.
    return torchvision.models.list_models(module=torchvision.models)


def _imported(name: str) -> nn.Module:
    module_name, _, attribute = name.partition(":")
    if not (attribute and all(part.isidentifier() for part in module_name.split("."))):
        raise ModelError(f"{name!r} is not of the form package.module:callable")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    module = _guarded(f"cannot import {module_name!r}", importlib.import_module, module_name)
    try:
        found = attrgetter(attribute)(module)
    except AttributeError as error:
        near = get_close_matches(attribute, dir(module), n=3)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ModelError(f"{module_name} has no {attribute!r}{hint}") from error
    if callable(found) and not isinstance(found, nn.Module):
        _check_takes_nothing(name, found)
        found = _guarded(f"{name} failed", found)
    if not isinstance(found, nn.Module):
        raise ModelError(f"{name} gives {type(found).__name__}, not a torch.nn.Module")
    return found


def _check_takes_nothing(name: str, maker: Callable[..., Any]) -> None:
    try:
        inspect.signature(maker).bind()
    except ValueError:  # it does not tell its signature
        return
    except TypeError as error:
        raise ModelError(
            f"{name} cannot be called without arguments: {error}; name a function that can"
        ) from error


def _guarded(what: str, action: Callable[..., Any], *args: Any) -> Any:
    """What `action` returns; whatever the user's own code raises becomes one line."""
    try:
        return action(*args)
    except InternalsError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{what}: {type(error).__name__}: {reason}") from error
