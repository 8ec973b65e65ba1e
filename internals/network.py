"""The noun of the package: a network together with how it is fed and how it is read.

What looks into a network needs to know how pictures become its input, how its outputs are read, and
what its layers see. A `Network` holds all of that, resolved once, and has the instruments as
methods. They are the functions of the same name, which take a `Network` or a bare module.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import list_models

from internals.activations.record import capture
from internals.activations.strongest import strongest
from internals.anatomy.summary import summarize
from internals.anatomy.trace import TracedModule, receptive_field
from internals.data.normalization import IMAGENET, InputMap, Normalization
from internals.data.pipeline import Pipeline
from internals.errors import (
    AnatomyError,
    CheckpointError,
    DataError,
    InternalsError,
    ModelError,
)
from internals.models.lookup import (
    ResolvedModel,
    called,
    guarded,
    in_evaluation_mode,
    in_words,
    resolve,
)
from internals.models.weights_file import fill, open_weights
from internals.projection.attribution import (
    grad_cam,
    gradient_times_input,
    guided_grad_cam,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from internals.projection.occlusion import occluded_activity, occlusion
from internals.projection.optimise import optimise
from internals.projection.patches import patches
from internals.projection.project import project
from internals.projection.sanity import sanity

if TYPE_CHECKING:
    from internals.training.run import Run

# Tried in this order where the network does not say what it was made for.
_GREY_SIDES, _COLOUR_SIDES = (32, 28, 224), (224, 32)

Shape = tuple[int, int, int]


class Network(TracedModule):
    """A network with how it is fed and read, and with the instruments that look into it.

    `Network(model, normalization=...)` takes any module, `Network.of` a training run, and
    `Network.open` a name and a file of weights. Everything that is asked of it later uses the
    normalisation, the class names, the score and the traces that it holds, so a network whose
    layers were changed needs a new `Network`; new weights are no such change.

    Pictures are an `ImageSet`, a `PictureFolder` or bytes in a tensor, which are normalised, or
    float tensors (n, channels, height, width) and `Normalized` sets, which are taken as they are.

    Args:
        model: The network; it is left as it is found.
        normalization: From bytes to its input, or a function that returns this map when it is first
            needed. Without one it takes normalised inputs only.
        classes: The names of its classes, in the order of its scores.
        score: From its outputs to scores (n, classes), the larger the likelier; by default the
            `scores` of `loss`, or else the outputs themselves.
        loss: `loss(outputs, labels)`, for attacks, with methods `scores` and `probabilities`.
        input_shape: (channels, height, width) of its input, for `summary` and `receptive_field`.
        resolved: Where it comes from, if from a name.
        random_weights: Whether its weights are known to be random.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        normalization: InputMap | Callable[[], InputMap | None] | None = None,
        classes: Sequence[str] = (),
        score: Callable[[Any], Tensor] | None = None,
        loss: Any = None,
        input_shape: Sequence[int] | None = None,
        resolved: ResolvedModel | None = None,
        random_weights: bool = False,
    ) -> None:
        _check_tells_apart(normalization)
        super().__init__(
            model,
            normalization=normalization,
            classes=classes,
            score=score,
            loss=loss,
            input_shape=input_shape,
        )
        self.resolved = resolved
        self.random_weights = random_weights

    @classmethod
    def of(cls, run: "Run", *, classes: Sequence[str] = ()) -> "Network":
        """The network of a training run, read as its loss reads it.

        Args:
            run: What `trained` returns.
            classes: The names of its classes, by default those of its training images.
        """
        size = run.recipe.size
        return cls(
            run.model,
            normalization=run.normalization,
            classes=classes or run.class_names,
            loss=run.loss,
            input_shape=(_channels(run.model), size, size),
        )

    @classmethod
    def open(
        cls,
        network: str | Callable[[], nn.Module],
        weights: Path | str | None = None,
        *,
        size: int | None = None,
        input_shape: Sequence[int] | None = None,
        normalization: InputMap | None = None,
        classes: Sequence[str] = (),
        score: Callable[[Any], Tensor] | None = None,
        device: str | torch.device = "cpu",
        seed: int = 0,
    ) -> "Network":
        """A network by name, with all that its name and its file of weights say about it.

        Nothing is downloaded.

        Args:
            network: One of torchvision's ("resnet18"), one of ours ("lenet5"),
                "package.module:callable", or a callable that gives a module.
            weights: A file of weights, .safetensors or a state dict saved by torch; without one
                they are random.
            size: Side of its input in pixels; by default what it was made for, as far as known,
                or else the first usual side that it takes.
            input_shape: (channels, height, width), where the input is no square.
            normalization: From bytes to its input; by default that of its training, as far as
                known, or else ImageNet's for colour and 0 to 1 for grey. Statistics that lie
                beside the weights are read when they are first needed.
            classes: The names of its classes.
            score: From its outputs to scores (n, classes), where they are none themselves.
            device: Where it is to work: "cpu", "cuda", "auto" for the fastest, or "meta", which
                spares torchvision's networks their random numbers: `summary` needs none.
            seed: Of random weights.

        Raises:
            ModelError: There is no such network, it takes no usual input, or the device cannot be
                used.
            CheckpointError: The weights cannot be read, or are of another network.
            DataError: The normalisation has other channels than the network, or does not tell
                black from white in finite numbers.
        """
        _check_tells_apart(normalization)
        resolved = _resolved(network, weights, seed, bare=str(device) == "meta")
        model = resolved.model
        if str(device) != "meta":
            place = find_device(device)
            model = guarded(f"{resolved.name} cannot be moved to {place}", model.to, place)
        opened = cls(
            model,
            classes=classes,
            score=score,
            resolved=resolved,
            random_weights=weights is None
            and (resolved.origin != "imported" or resolved.name.startswith("internals.models:")),
        )
        if input_shape is None:
            side = size or _trained_size(resolved)
            channels = _channels(model)
            input_shape = (channels, side, side) if side else _usual_shape(opened, channels)
        opened.input_shape = tuple(input_shape)
        if normalization is not None:
            _check_channels(normalization, opened)
        opened._normalization = normalization or partial(_normalization, opened)
        return opened

    @property
    def name(self) -> str:
        """The name that it was opened by, or that of its class."""
        return self.resolved.name if self.resolved else type(self.model).__name__

    receptive_field = receptive_field
    summary = summarize
    capture = capture
    strongest = strongest
    project = project
    patches = patches
    optimise = optimise
    saliency = saliency
    gradient_times_input = gradient_times_input
    integrated_gradients = integrated_gradients
    smooth_grad = smooth_grad
    grad_cam = grad_cam
    guided_grad_cam = guided_grad_cam
    occlusion = occlusion
    occluded_activity = occluded_activity
    sanity = sanity


def find_device(device: str | torch.device) -> torch.device:
    """`device`, or for "auto" the fastest here; raises `ModelError` where it cannot be used."""
    if device == "auto":
        fastest = torch.accelerator.current_accelerator(check_available=True)
        return fastest or torch.device("cpu")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of devices that torch is giving up
            torch.zeros(1, device=device).item()
        return torch.device(device)
    except Exception as error:  # torch has many ways of saying that it lacks a device
        # torch goes on at length.
        reason = shorten(str(error).partition("\n")[0].partition(". ")[0], 100, placeholder=" ...")
        raise ModelError(
            f"device {str(device)!r} cannot be used here: {reason}; leave it out"
        ) from error


@contextmanager
def as_model_error(name: str, shape: Sequence[int]) -> Iterator[None]:
    """Turn whatever a network of the user's own raises on an input of `shape` into one line."""
    try:
        yield
    except AnatomyError as error:
        raise ModelError(f"{name}: {error}") from error
    except (InternalsError, KeyboardInterrupt):
        raise
    except BaseException as error:  # sys.exit as well: nobody would know what has ended the command
        size = " x ".join(map(str, shape))
        raise ModelError(f"{name} fails on an input of {size}: {in_words(error)}") from error


def _resolved(
    network: str | Callable[[], nn.Module], weights: Path | str | None, seed: int, *, bare: bool
) -> ResolvedModel:
    """The network by name, with its weights, or random ones that are the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if not isinstance(network, str):
            return _called(network, weights)
        if bare and weights is None and network.lower() in list_models(module=torchvision.models):
            with torch.device("meta"):
                return resolve(network)
        return resolve(network, weights)


def _called(make: Callable[[], nn.Module], weights: Path | str | None) -> ResolvedModel:
    """The network that `make` returns."""
    name = getattr(make, "__name__", type(make).__name__)
    model = called(name, make)
    opened = None if weights is None else open_weights(weights)
    if opened is not None:
        fill(model, opened)
    return ResolvedModel(
        name, guarded(f"{name} failed", in_evaluation_mode, model), "imported", opened, None, False
    )


def _channels(model: nn.Module) -> int:
    """How many channels the first convolution takes; 3 where there is none."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    return first.in_channels if first else 3


def _trained_size(resolved: ResolvedModel) -> int | None:
    """The side of the input that the network was trained on, as far as known."""
    if resolved.preparation:
        return resolved.preparation.size
    size = resolved.provenance["recipe"].get("size") if resolved.provenance else None
    if size is not None and not (type(size) is int and size > 0):
        raise CheckpointError(f"{_path(resolved)} states an odd size, {size!r}; train again")
    return size


def _usual_shape(network: Network, channels: int) -> Shape:
    """The first of the usual shapes that the network takes."""
    sides = _GREY_SIDES if channels == 1 else _COLOUR_SIDES
    for side in sides:
        shape = (channels, side, side)
        try:
            with as_model_error(network.name, shape):
                network.trace(shape)
        except ModelError as error:
            last = error
            continue
        return shape
    tried = ", ".join(map(str, sides))
    raise ModelError(
        f"{network.name} takes no square input of {tried} pixels; give the size of its input "
        f"({last})"
    ) from last


def _check_channels(normalization: InputMap, network: Network) -> None:
    if isinstance(normalization, Normalization):
        count = len(normalization.mean)
    else:
        count = len(normalization.image)
    channels = network.shape()[0]
    if count != channels:
        raise DataError(
            f"the normalisation has {count} channels, and {network.name} takes {channels}; "
            "give a mean and a standard deviation for each"
        )


def _check_tells_apart(normalization: Any) -> None:
    """Raise `DataError` for one that does not make two finite numbers of black and white."""
    if isinstance(normalization, str | tuple | list):
        raise DataError(
            f"normalization={normalization!r} is none; give Normalization(mean, std), or IMAGENET, "
            "which torchvision's weights are for"
        )
    if not isinstance(normalization, Normalization):
        return
    if len(normalization.mean) != len(normalization.std):
        raise DataError(
            f"mean {normalization.mean} and std {normalization.std} are not as many numbers; "
            "give one a channel"
        )
    mean, std = (
        torch.tensor(values, dtype=torch.float32)
        for values in (normalization.mean, normalization.std)
    )
    black, white = -mean / std, (1 - mean) / std
    if not bool((black.isfinite() & white.isfinite() & (black != white)).all()):
        raise DataError(
            f"mean {normalization.mean} and std {normalization.std} do not tell black from white "
            "in finite numbers; give those of the network's training, such as 0.5 and 0.25"
        )


def _normalization(network: Network) -> InputMap | None:
    """What the network was trained to be fed, as far as known."""
    channels, height, width = network.shape()
    resolved = network.resolved
    assert resolved is not None
    if resolved.provenance:
        trained = _trained_with(resolved).at(max(height, width)).normalization
        _check_tells_apart(trained)
        return trained
    if channels == 1:
        from internals.training.recipe import InputRange
        from internals.training.recipes import RECIPES

        recipe = RECIPES[resolved.name]["full"] if resolved.name in RECIPES else None
        if recipe and isinstance(recipe.pipeline, InputRange):
            return Normalization.from_range(recipe.pipeline.black, recipe.pipeline.white)
        return Normalization.from_range(0.0, 1.0)
    if channels != 3:
        return None
    if resolved.preparation:
        return Normalization(resolved.preparation.mean, resolved.preparation.std)
    return IMAGENET


def _trained_with(resolved: ResolvedModel) -> Pipeline:
    """The way images went into training, for weights that this package has trained."""
    assert resolved.weights is not None and resolved.provenance is not None
    recipe, statistics = resolved.provenance["recipe"], resolved.weights.statistics
    if statistics is None:
        raise DataError(
            f"{resolved.weights.path} does not hold the statistics that it was trained with; "
            "give the normalisation (--mean and --std)"
        )
    try:
        pipeline = recipe["pipeline"]
        name = pipeline if isinstance(pipeline, str) else "range"
        return Pipeline.from_state(name, recipe["size"], statistics)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f"{_path(resolved)} does not say how its network is fed: {in_words(error)}; train again"
        ) from error


def _path(resolved: ResolvedModel) -> Path:
    assert resolved.weights is not None
    return resolved.weights.path
