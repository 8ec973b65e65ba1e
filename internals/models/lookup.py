"""Anybody's network by name: ours, torchvision's, or one that can be imported.

A name that is both ours and torchvision's means torchvision's, unless the weights were trained as
ours; ours is then `internals.models:ResNet18`, as it is called in Python. Nothing is downloaded.
"""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import nn

from internals.errors import InternalsError, ModelError
from internals.models.weights_file import WeightsFile, fill, open_weights

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
    "alexnet-variant": ("internals.models.alexnet_variants", "AlexNetVariant", {}),
    "vgg16": ("internals.models.vgg16", "VGG16", {}),
    "inceptionnet": ("internals.models.inceptionnet", "InceptionNet", {}),
    "googlenet-paper": ("internals.models.inceptionnet", "InceptionNet", {"paper": True}),
    "resnet18": ("internals.models.resnet18", "ResNet18", {}),
    "resnet18-a": ("internals.models.resnet18", "ResNet18", {"shortcut": "A"}),
    "plain18": ("internals.models.resnet18", "ResNet18", {"shortcut": "none"}),
    "mobilenet": ("internals.models.mobilenet", "MobileNet", {}),
}

Origin = Literal["ours", "torchvision", "imported"]

# Auxiliary heads serve training alone, and these two draw their weights very slowly.
_WITH_HEADS = ("googlenet", "inception_v3")
_NO_HEADS = {"aux_logits": False, "init_weights": False}
# What torchvision's published files hold for the heads that are left out.
_HEADS = ("aux1.", "aux2.", "AuxLogits.")


class Preparation(NamedTuple):
    """How images are prepared for a network's published weights.

    Attributes:
        size: Side of the square input (unit: pixels).
        mean: What is subtracted from each channel (unit: 0..1).
        std: What each channel is then divided by (unit: 0..1).
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class ResolvedModel:
    """A network with everything that its name and its file of weights say about it.

    Args:
        name: The name that was resolved.
        model: The network in evaluation mode.
        origin: Where it comes from.
        weights: The file of weights that it was filled with; None for random ones.
        preparation: How torchvision prepares images for its network; None for any other network.
        ambiguous: Whether both we and torchvision have a network of this name.
    """

    name: str
    model: nn.Module
    origin: Origin
    weights: WeightsFile | None
    preparation: Preparation | None
    ambiguous: bool

    @property
    def provenance(self) -> Mapping[str, Any] | None:
        """What weights trained by this package record of their making; None for all others."""
        return self.weights.provenance if self.weights else None


def build(name: str, **arguments: Any) -> nn.Module:
    """Build one of our networks, freshly initialised from torch's random state.

    Args:
        name: One of `MODELS`.
        **arguments: Go to the network's class.

    Raises:
        InternalsError: The name is unknown.
    """
    if name not in MODELS:
        raise InternalsError(f"unknown network {name!r}; known are {', '.join(MODELS)}")
    module, class_name, preset = MODELS[name]
    return partial(getattr(importlib.import_module(module), class_name), **preset)(**arguments)


def resolve_model(name: str, weights: Path | str | None = None) -> nn.Module:
    """Build a network by its name, in evaluation mode, with the weights of a file.

    Args:
        name: One of `MODELS`; a classification network of torchvision, built without its auxiliary
            heads; or `package.module:attribute`, importable from the working folder (which joins
            `sys.path`): a module, or what returns one when called without arguments.
        weights: The file; None: random weights for ours and torchvision's.

    Raises:
        ModelError: There is no such network.
        CheckpointError: The weights cannot be read or do not fit.
    """
    return resolve(name, weights).model


def resolve(name: str, weights: Path | str | None = None) -> ResolvedModel:
    """Like `resolve_model`, with what the name and the weights say about the network.

    Args:
        name: As for `resolve_model`.
        weights: As for `resolve_model`.

    Raises:
        ModelError: There is no such network.
        CheckpointError: The weights cannot be read or do not fit.
    """
    opened = open_weights(weights) if weights is not None else None
    provenance = opened.provenance if opened else None
    ambiguous = name in MODELS and name in _torchvision_names()
    origin = _origin(name, ambiguous, provenance)
    if origin == "imported":
        model = _imported(name)
    elif origin == "ours":
        model = _as_trained(name, opened)
    else:
        model = _torchvision_model(name)
    if opened is not None:
        heads = _HEADS if origin == "torchvision" and name.lower() in _WITH_HEADS else ()
        fill(model, opened, unused=heads)
    preparation = _preparation(name) if origin == "torchvision" else None
    model = guarded(f"{name} failed", in_evaluation_mode, model)
    return ResolvedModel(name, model, origin, opened, preparation, ambiguous)


def in_evaluation_mode(model: nn.Module) -> nn.Module:
    """`model` in evaluation mode, where it has modes: a graph of `torch.export` has just one."""
    try:
        return model.eval()
    except NotImplementedError:
        return model


def _as_trained(name: str, weights: WeightsFile | None) -> nn.Module:
    """Our network `name`, in the form that the provenance of its weights states."""
    if weights is None or weights.provenance is None:
        return build(name)
    recipe = weights.provenance["recipe"]
    return guarded(
        f"{weights.path} states no form of {name} that can be built",
        lambda: build(name, **dict(recipe.get("arguments", ()))),
    )


def _origin(name: str, ambiguous: bool, provenance: Mapping[str, Any] | None) -> Origin:
    """Where the network `name` comes from; of two of one name the provenance decides."""
    trained_as_ours = provenance is not None and provenance.get("network") == name
    if name in MODELS and (trained_as_ours or not ambiguous):
        return "ours"
    if ":" in name:
        return "imported"
    torchvision_names = _torchvision_names()
    if name.lower() in torchvision_names:
        return "torchvision"
    near = get_close_matches(name.lower(), [*MODELS, *torchvision_names], n=3, cutoff=0.5)
    nearest = f"nearest: {', '.join(near)}" if near else f"ours are {', '.join(MODELS)}"
    raise ModelError(
        f"unknown network {name!r}; {nearest}; write your own as package.module:callable"
    )


def _torchvision_names() -> list[str]:
    import torchvision

    # Those of the package itself classify; detectors and the like live in packages below it.
    return torchvision.models.list_models(module=torchvision.models)


def _torchvision_model(name: str) -> nn.Module:
    from torchvision.models import get_model

    name = name.lower()
    return get_model(name, weights=None, **(_NO_HEADS if name in _WITH_HEADS else {}))


def _preparation(name: str) -> Preparation:
    """How torchvision prepares images for its network `name`."""
    from torchvision.models import get_model_weights

    transforms = get_model_weights(name.lower()).DEFAULT.transforms()
    mean, std = tuple(transforms.mean), tuple(transforms.std)
    if name.lower() in _WITH_HEADS:
        # With their published weights these two turn ImageNet's normalisation into this one, by a
        # first step of the network that is left out here.
        mean = std = (0.5, 0.5, 0.5)
    return Preparation(transforms.crop_size[0], mean, std)


def _imported(name: str) -> nn.Module:
    """The network at `name`, which is package.module:attribute."""
    module_name, _, attribute = name.partition(":")
    if not (attribute and all(part.isidentifier() for part in module_name.split("."))):
        raise ModelError(f"{name!r} is not of the form package.module:callable")
    if (folder := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, folder)
    module = guarded(f"cannot import {module_name!r}", importlib.import_module, module_name)
    try:
        network = attrgetter(attribute)(module)
    except AttributeError as error:
        near = get_close_matches(attribute, dir(module), n=3)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ModelError(f"{module_name} has no {attribute!r}{hint}") from error
    if isinstance(network, nn.Module):
        return network
    return called(name, network)


def called(name: str, maker: Any) -> nn.Module:
    """The network that `maker` gives when it is called without arguments."""
    made = maker
    if callable(maker):
        _check_takes_nothing(name, maker)
        made = guarded(f"{name} failed", maker)
    if not isinstance(made, nn.Module):
        raise ModelError(f"{name} gives {type(made).__name__}, not a torch.nn.Module")
    return made


def _check_takes_nothing(name: str, maker: Callable[..., Any]) -> None:
    """Raise `ModelError` where `maker` needs arguments."""
    try:
        inspect.signature(maker).bind()
    except ValueError:  # a callable without a signature
        return
    except TypeError as error:
        raise ModelError(
            f"{name} cannot be called without arguments: {error}; name a function that can"
        ) from error


def guarded(what: str, action: Callable[..., Any], *args: Any) -> Any:
    """What `action` returns; whatever the user's own code raises becomes one line."""
    try:
        return action(*args)
    except (InternalsError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit as well: nobody would know what has ended the command
        raise ModelError(f"{what}: {in_words(error)}") from error


def in_words(error: BaseException) -> str:
    """An error of somebody else's code on one line, such as "ValueError: no such size"."""
    reason = " ".join(str(error).split())
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__
