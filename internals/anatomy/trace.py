"""One pass through a network, traced: every layer's shape and receptive field, in any graph.

A `TracedModule` is a network together with how it is fed and read. It traces itself once for each
shape of input, so that whatever looks into it later need not.

How a pass is followed: `internals.anatomy.follow`.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from threading import RLock
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from internals.anatomy.copies import evaluation_copy, modules_by_path
from internals.anatomy.fields import Field, Known, ReceptiveField, Unclear
from internals.anatomy.follow import Call, Follower
from internals.anatomy.hooks import as_input, find_layer, locating, run_until, watching
from internals.anatomy.layout import CHANNELS_FIRST
from internals.anatomy.operations import tensors_of
from internals.data.folder import PictureFolder
from internals.data.image_set import Images, ImageSet
from internals.data.normalization import InputMap, Normalized
from internals.errors import AnatomyError, DataError, LayerError

# What a network can be shown: pictures as bytes, for networks that know how to normalise them, or
# inputs that are normalised already.
Pictures = ImageSet | PictureFolder | Images


class TracedModule:
    """A module with how it is fed and read, and one trace for each shape of its input.

    Args:
        model: The network.
        normalization: From bytes to its input, or a function that returns this map when it is first
            needed. Without one it can be shown inputs only that are normalised already.
        classes: The names of its classes, in the order of its scores.
        score: From its outputs to scores (n, classes), the larger the likelier; by default the
            scores of `loss`, or else the outputs themselves.
        loss: `loss(outputs, labels)` with methods `scores` and `probabilities` of the outputs, as
            `internals.training` has them.
        input_shape: (channels, height, width) of the input where none is given.

    Traces stay valid while weights change, but not when layers are added, replaced or called
    otherwise: a network that was rebuilt needs a new `TracedModule`.
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
    ) -> None:
        self.model = model
        self._normalization = normalization
        self.classes = tuple(classes)
        self.score = score or getattr(loss, "scores", None)
        self.loss = loss
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self._forget_traces()

    def _forget_traces(self) -> None:
        self._traces: dict[tuple[int, ...], tuple[_Attempt, dict[str, Call]]] = {}
        self._answers: dict[tuple[Any, ...], Any] = {}
        self._lock = RLock()

    def __repr__(self) -> str:
        shape = f", input_shape={self.input_shape}" if self.input_shape else ""
        return f"{type(self).__name__}({type(self.model).__name__}{shape})"

    @property
    def normalization(self) -> InputMap | None:
        """The map from bytes to the network's input, where it is known."""
        given = self._normalization  # once, for another thread may be putting the map in its place
        if callable(given):
            self._normalization = given = given()
        return given

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        weight = next(self.model.parameters(), None)
        return torch.device("cpu") if weight is None else weight.device

    def trace(self, input_shape: Iterable[int] | None = None) -> dict[str, Call]:
        """What every module does, in the order of calls, in one pass over a black image.

        Args:
            input_shape: (channels, height, width); by default the network's own.

        Returns:
            The calls by module path; do not change them.

        Raises:
            AnatomyError: The network cannot take the shape, or none is known.
        """
        shape = self.shape(input_shape)
        with self._lock:
            return self._attempted(shape)[1]

    def _attempted(self, shape: tuple[int, ...]) -> tuple["_Attempt", dict[str, Call]]:
        if shape not in self._traces:
            attempt, calls = _first_success(self.model, shape, _ATTEMPTS)
            if attempt.images > 1 and any(call.reads_size for call in calls.values()):
                attempt, calls = _as_alone(self.model, shape, attempt, calls)
            self._traces[shape] = (attempt, calls)
        return self._traces[shape]

    def _call_at(self, layer: str, shape: tuple[int, ...], other: tuple[int, ...]) -> Call | None:
        """The call of a layer for another shape, tried as `shape` was; None where it fails."""
        try:
            return _first_success(self.model, other, [self._attempted(shape)[0]], layer)[1][layer]
        except (AnatomyError, KeyError):
            return None

    def has_same_geometry(
        self, layer: str, shape: tuple[int, ...], other: tuple[int, ...]
    ) -> bool | None:
        """Whether the way to a layer is the same for inputs of two shapes, but for their size.

        It is not where the forward pass works out a padding, a slice or a number from the size of
        its input. A unit then has another value on a window than on the whole image.

        A network that is not seen to ask how large its input is answers for one other shape.

        Args:
            layer: A module path.
            shape: (channels, height, width).
            other: Likewise; None is returned where the network does not take it.
        """
        key: tuple[Any, ...] = ("geometry", layer, shape, other)
        with self._lock:
            here = self.trace(shape)[layer]
            if not here.reads_size:
                # As far as can be seen; one other shape is enough to find what cannot.
                key = ("geometry", layer, shape)
            if key not in self._answers:
                there = self._call_at(layer, shape, other)
                self._answers[key] = (
                    None
                    if there is None
                    else (here.field, here.steps) == (there.field, there.steps)
                )
            return self._answers[key]

    def grows(self, layer: str, shape: tuple[int, ...]) -> bool:
        """Whether a layer puts out more of what should be images or channels for larger inputs.

        So it does where its maps lie in other axes. False where the network takes no larger input.

        Args:
            layer: A module path.
            shape: (channels, height, width).
        """
        key = ("grows", layer, shape)
        with self._lock:
            if key not in self._answers:
                here = self.trace(shape)[layer].shape[:2]
                channels, height, width = shape
                larger = [(channels, 2 * height, width), (channels, height, 2 * width)]
                there = [self._call_at(layer, shape, other) for other in larger]
                self._answers[key] = any(call and call.shape[:2] != here for call in there)
            return self._answers[key]

    def keeps_images_apart(self, layers: Iterable[str], images: Tensor) -> bool:
        """Whether each image of a batch gives a layer what it gives alone.

        Where the trace cannot tell, it is tried.

        Args:
            layers: Module paths; "" is the whole network.
            images: One or more that the network is fed, (n, channels, height, width).
        """
        shape = tuple(images.shape[1:])
        calls = self.trace(shape)
        doubtful = tuple(
            layer for layer in layers if layer not in calls or not calls[layer].is_apart
        )
        if not doubtful:
            return True
        key = (doubtful, shape)
        with self._lock:
            if key not in self._answers:
                self._answers[key] = _gives_the_same_alone(self.model, doubtful, images[:1])
            return self._answers[key]

    def shape(self, input_shape: Iterable[int] | None = None) -> tuple[int, ...]:
        """`input_shape`, or the network's own; raises `AnatomyError` where none is known."""
        shape = self.input_shape if input_shape is None else tuple(input_shape)
        if shape is None:
            raise AnatomyError(
                f"{type(self.model).__name__} does not say what shape its input has; "
                "give input_shape=(channels, height, width)"
            )
        return shape

    def inputs(self, pictures: Pictures) -> Images:
        """What the network is fed when it is shown `pictures`.

        Args:
            pictures: Bytes (an `ImageSet`, a `PictureFolder` or a tensor of uint8), which are
                normalised, or what is normalised already.

        Returns:
            Images that give float tensors (n, channels, height, width) when they are sliced.

        Raises:
            DataError: They are bytes, and no normalisation is known.
        """
        if isinstance(pictures, PictureFolder):
            pictures = pictures.images
        if not isinstance(pictures, ImageSet) and not (
            isinstance(pictures, Tensor) and pictures.dtype == torch.uint8
        ):
            return pictures
        if self.normalization is None:
            name = type(self.model).__name__
            raise DataError(
                f"these pictures are bytes, and how {name} is fed is not known; "
                "look into Network(model, normalization=...)"
            )
        if isinstance(pictures, ImageSet):
            return Normalized(pictures, self.normalization)
        return self.normalization.apply(pictures[:])

    def with_model(self, model: nn.Module) -> "TracedModule":
        """The same for another network, which is fed and read alike."""
        other = copy.copy(self)
        other.model = model
        return other

    def __getstate__(self) -> dict[str, Any]:
        """A copy traces for itself: it may get another model, and a lock is nobody else's."""
        left_out = ("_traces", "_answers", "_lock")
        return {name: value for name, value in vars(self).items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget_traces()


Model = nn.Module | TracedModule


def as_traced(model: Model) -> TracedModule:
    """`model` itself where it traces itself; around a bare module a new `TracedModule`."""
    return model if isinstance(model, TracedModule) else TracedModule(model)


_IMAGES = 2  # that a trace follows, so that it sees what becomes of their axis


def trace(model: nn.Module, input_shape: Iterable[int]) -> dict[str, Call]:
    """Run black images through a copy of a module and note every module's call.

    Args:
        model: A bare module; `TracedModule.trace` remembers what this finds.
        input_shape: (channels, height, width).

    Returns:
        The calls by module path, in their order.

    Raises:
        AnatomyError: The model cannot take the shape.
    """
    return _first_success(model, tuple(input_shape), _ATTEMPTS)[1]


class _Attempt(NamedTuple):
    """How a pass is tried: with so many images, on a device, with or without gradients."""

    images: int
    device: str | None
    has_gradients: bool


# On the meta device nothing is computed. Not all networks work there, some take one image only, and
# some do not work while gradients are recorded.
_ATTEMPTS = (
    _Attempt(_IMAGES, "meta", has_gradients=True),
    _Attempt(1, "meta", has_gradients=True),
    _Attempt(_IMAGES, None, has_gradients=True),
    _Attempt(1, None, has_gradients=True),
    _Attempt(1, None, has_gradients=False),
)


def _first_success(
    model: nn.Module,
    shape: tuple[int, ...],
    attempts: Sequence[_Attempt],
    until: str | None = None,
) -> tuple[_Attempt, dict[str, Call]]:
    """The first of `attempts` that succeeds, and its calls."""
    if len(shape) != 3 or min(shape) < 1:
        raise AnatomyError(f"input_shape={shape} is not (channels, height, width)")
    for attempt in attempts[:-1]:
        try:
            return attempt, _pass(model, shape, attempt, until)
        except Exception:  # the last attempt says what is wrong
            continue
    try:
        return attempts[-1], _pass(model, shape, attempts[-1], until)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # raised by a module of the user's own, perhaps
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise AnatomyError(
            f"{type(model).__name__} cannot take an input of shape {shape}: {reason}"
        ) from error


def _as_alone(
    model: nn.Module, shape: tuple[int, ...], attempt: _Attempt, calls: dict[str, Call]
) -> tuple[_Attempt, dict[str, Call]]:
    """`calls`, or those of one image alone where it takes another way through the network."""
    alone = attempt._replace(images=1)
    try:
        single = _pass(model, shape, alone, None)
    except Exception:  # it takes several images only
        return attempt, calls
    ways = [{path: call.field for path, call in way.items()} for way in (calls, single)]
    return (attempt, calls) if ways[0] == ways[1] else (alone, single)


def _pass(
    model: nn.Module, shape: tuple[int, ...], attempt: _Attempt, until: str | None
) -> dict[str, Call]:
    """The calls of one pass, on the model's own device if the attempt names none."""
    images, device, has_gradients = attempt
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    copied = evaluation_copy(model, device, moves_all=device is not None)
    dtype = torch.float32 if like.dtype.is_complex else like.dtype
    originals, calls = modules_by_path(model), dict[str, Call]()
    outputs: dict[str, Tensor] = {}
    for module in modules_by_path(copied).values():
        module._backward_hooks = OrderedDict()  # which would stand between torch's functions
        module._backward_pre_hooks = OrderedDict()
    with (
        torch.inference_mode(False),
        torch.set_grad_enabled(has_gradients),
        locating(copied) as running,
    ):
        image = torch.zeros((images, *shape), dtype=dtype, device=device or like.device)
        follower = Follower(image.requires_grad_(has_gradients), running)

        def see(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if isinstance(output, Tensor):
                before = calls[path].shapes if path in calls else []
                with torch._C.DisableTorchFunction():  # looking at it is no step of the network
                    calls[path] = follower.call(originals[path], before, output)
                outputs[path] = output

        with watching(copied, see), follower.following():
            run_until(copied, follower.images, lambda: until in calls)
    return {
        path: replace(call, is_rectified=follower.is_rectified(outputs[path]))
        for path, call in calls.items()
    }


def only_calls(
    model: Model, layers: Iterable[str], input_shape: Iterable[int] | None = None
) -> dict[str, Call]:
    """The one call of each of `layers` in a traced pass.

    Args:
        model: A network, or a bare module.
        layers: Module paths.
        input_shape: (channels, height, width) of one image; by default the network's own.

    Raises:
        LayerError: A layer that the model lacks, that puts out no feature maps (n, c, h, w) or
            (n, c), or that is called more than once, so that its name does not say which is meant.
        AnatomyError: The model cannot take the shape.
    """
    layers, traced = tuple(layers), as_traced(model)
    for layer in layers:
        find_layer(traced.model, layer)
    calls = traced.trace(input_shape)
    for layer in layers:
        if layer not in calls and layer not in modules_by_path(traced.model):
            raise LayerError(
                f"layer {layer!r} is inside of a scripted module, which shows no layers; look into "
                "the network as it was before torch.jit.script"
            )
        if layer not in calls or len(calls[layer].shape) not in (2, 4):
            raise LayerError(f"layer {layer!r} puts out no feature maps; name another layer")
        times = len(calls[layer].shapes)
        if times > 1:
            raise LayerError(
                f"layer {layer!r} is called {times} times in one forward pass, so its "
                "name does not say which output is meant; name the module around it"
            )
        _check_layout(traced, layer, traced.shape(input_shape))
    return {layer: calls[layer] for layer in layers}


def _check_layout(traced: TracedModule, layer: str, shape: tuple[int, ...]) -> None:
    """Raise `LayerError` unless a layer's maps are (n, channels, height, width)."""
    calls = traced.trace(shape)
    call = calls[layer]
    if call.shape[0] != 1:
        raise LayerError(
            f"layer {layer!r} puts out {call.shape[0]} arrays an image, {tuple(call.shape)}, not "
            f"maps (n, channels, height, width){_another(calls, layer)}"
        )
    if (
        len(call.shape) == 2
        or call.axes == CHANNELS_FIRST
        or (call.axes is None and not traced.grows(layer, shape))
    ):
        return
    raise LayerError(
        f"the channels of layer {layer!r} do not come second: it puts out {tuple(call.shape)}, "
        f"not (n, channels, height, width){_another(calls, layer)}"
    )


def _another(calls: dict[str, Call], layer: str) -> str:
    """A remedy: the next layer whose channels are known to come second, else the last before."""
    paths = list(calls)
    here = paths.index(layer)
    for path in [*paths[here + 1 :], *reversed(paths[:here])]:
        call = calls[path]
        if path and len(call.shapes) == 1 and call.axes == CHANNELS_FIRST and call.shape[0] == 1:
            return f"; name a layer that does, such as {path!r}"
    return "; name a layer that does"


def _gives_the_same_alone(model: nn.Module, layers: tuple[str, ...], image: Tensor) -> bool:
    """Whether `layers` give an image in company what they give it alone."""
    copied = evaluation_copy(model)
    image = as_input(copied, image)
    noise = torch.Generator().manual_seed(0)
    company = 3 * image + torch.randn(image.shape, generator=noise).to(image)

    def outputs(batch: Tensor) -> dict[str, list[Tensor]]:
        seen: dict[str, list[Tensor]] = {}

        def see(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if path in layers:
                seen[path] = [tensor.detach().clone() for tensor in tensors_of(output)]

        with torch.no_grad(), watching(copied, see):
            copied(batch.clone())
        return seen

    alone = outputs(image)
    others = [company, image.flip(-1) - company, company.flip(-2)]
    try:
        # Neither at an end nor in the middle, between images that differ from each other.
        together = outputs(torch.cat([others[0], image, *others[1:]]))
    except (RuntimeError, ValueError):  # it takes one image only
        return False
    for layer in layers:
        pairs = list(zip(alone.get(layer, ()), together.get(layer, ()), strict=False))
        if not pairs:
            return False
        for own, all_ in pairs:
            if own.ndim == 0 or all_.shape != (4 * len(own), *own.shape[1:]):
                return False
            if not _agree(own, all_[len(own) : 2 * len(own)]):
                return False
    return True


def _agree(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors differ by rounding only."""
    precision = torch.finfo(one.dtype).eps if one.is_floating_point() else 0.0
    return bool((one - other).abs().max() <= 1000 * precision * one.abs().max())


def stated(path: str, known: Known) -> Field:
    """The field of the layer `path`, or an `AnatomyError` that says what stands in the way."""
    if isinstance(known, Unclear):
        raise AnatomyError(
            f"the receptive field of {path!r} cannot be stated: it depends on {known.why}; "
            "ask for a layer before it"
        )
    return known


def receptive_field(
    model: Model, layer: str, input_shape: Iterable[int] | None = None
) -> ReceptiveField:
    """Size, stride and start of the receptive fields of a layer's units, in input pixels.

    Where branches meet, the field is the smallest box that holds all of them (Araujo, Norris and
    Sim, Distill 2019).

    Args:
        model: A `Network`, or a bare module.
        layer: A module path, such as "conv2" or "features.3.branch1".
        input_shape: (channels, height, width) of one image; by default the network's own.

    Raises:
        LayerError: The model lacks the layer, or calls it more than once.
        AnatomyError: The field cannot be stated, or the model cannot take the shape.
    """
    traced = as_traced(model)
    call = only_calls(traced, [layer], input_shape)[layer]
    field = stated(layer, call.field)
    channels, height, width = shape = traced.shape(input_shape)
    for less in _SMALLER if field.local else ():
        other = (channels, height - less, width - less)
        if min(other) > 0 and traced.has_same_geometry(layer, shape, other) is False:
            raise AnatomyError(
                f"the receptive field of {layer!r} is unclear: the forward pass works out its "
                f"geometry from the size of its input, {height} x {width}; ask for a layer "
                "before it"
            )
    return field.public()


# Pixels less: an odd number, and more than the strides that most networks end with.
_SMALLER = (1, 33)
