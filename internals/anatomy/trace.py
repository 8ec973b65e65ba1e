"""One pass through a network, traced: every layer's shape and receptive field, in any graph.

A `TracedModule` is a network together with how it is fed and read. It traces itself once for each
shape of input, so that whatever looks into it later need not.

A trace follows the image twice. As torch's functions are called, it carries fields along; below
them, where torch itself runs every operation, scripted ones too, it marks what comes from the image
by whatever path. Where the two differ, no field is stated.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from internals.anatomy.copies import evaluation_copy, modules_by_path
from internals.anatomy.fields import (
    ELEMENTWISE,
    PIXELS,
    Field,
    Known,
    ReceptiveField,
    Unclear,
    propagate,
)
from internals.anatomy.hooks import Running, as_input, find_layer, locating, run_until, watching
from internals.anatomy.layout import (
    CHANNELS_FIRST,
    Axes,
    axes_after,
    is_maps_last,
    keeps_images_apart,
    order_after,
)
from internals.anatomy.operations import (
    argument,
    ceiling,
    full_name,
    is_in_place,
    is_linear,
    is_numberless,
    operation_name,
    tensors_of,
)
from internals.data.folder import PictureFolder
from internals.data.image_set import Images, ImageSet
from internals.data.normalization import InputMap, Normalized
from internals.errors import AnatomyError, DataError, LayerError

# What a network can be shown: pictures as bytes, for networks that know how to normalise them, or
# inputs that are normalised already.
Pictures = ImageSet | PictureFolder | Images


class NonLinearity(NamedTuple):
    """An operation on what comes from the image that is not known to be linear.

    Attributes:
        name: As `operation_name` gives it.
        function: What was called; None where compiled code called torch's own operation `name`.
        layer: The innermost module in whose forward it was.
        modules: The classes of all modules in whose forward it was.
    """

    name: str
    function: Callable[..., Any] | None
    layer: str
    modules: tuple[type[nn.Module], ...]


@dataclass(frozen=True)
class Call:
    """What one module did in a pass.

    Args:
        module: The module.
        shapes: Of the output of each of its calls for one image, (1, channels, height, width).
        field: The receptive field of the last output.
        axes: Which axis of it is which, where that is known.
        is_apart: Whether no operation is known to let the images of a batch influence each other.
        is_rectified: Whether it is what a rectifier gives or is given, so that below 0 is silence.
        depends: Whether it comes from the image, by whatever path.
        cut: Where on that path gradients end; "" where they do not.
        nonlinearities: Those on the path.
        reads_size: Whether until then the forward pass has asked how large an image or a map is,
            so that its geometry may depend on it.
        steps: A hash of all that was called until then, with its numbers; two passes that agree in
            it have worked out the same geometry.
    """

    module: nn.Module
    shapes: list[torch.Size]
    field: Known
    axes: Axes | None = None
    is_apart: bool = True
    is_rectified: bool = False
    depends: bool = True
    cut: str = ""
    nonlinearities: tuple[NonLinearity, ...] = ()
    reads_size: bool = False
    steps: int = 0

    @property
    def shape(self) -> torch.Size:
        """The shape of the last output."""
        return self.shapes[-1]


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
        follower = _Follower(image.requires_grad_(has_gradients), running)

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


class _Source(NamedTuple):
    """What the follower knows of a tensor that it has seen: it is kept alive with it."""

    tensor: Tensor
    known: Known
    axes: Axes | None
    is_apart: bool


class _Follower(TorchFunctionMode):
    """Carries what is known of every tensor computed from the images, call by call of torch."""

    def __init__(self, images: Tensor, running: Running) -> None:
        super().__init__()
        self.images = images * 1  # a network may work in place on them, but on no leaf
        self.calling: Callable[..., Any] | None = None  # the function of torch that is running
        self.paths = _Paths(self)
        self._running = running
        self._sources: dict[int, _Source] = {}
        self._rectified: set[int] = set()
        self._steps = 0
        self.reads_size = False
        self._escape = ""  # what has read numbers of the images out of torch
        self.paths.mark(self.images, _Path())
        self._sources[id(self.images)] = _Source(self.images, PIXELS, CHANNELS_FIRST, True)

    @contextmanager
    def following(self) -> Iterator[None]:
        """While the block runs, what torch does in this thread is followed."""
        with self.paths, self:
            yield

    @property
    def layer(self) -> str:
        """The innermost module in whose forward torch is called."""
        return self._running[-1][0] if self._running else ""

    def nonlinearity(self, name: str) -> NonLinearity:
        """What torch is called for now, where it runs its own operation `name`."""
        kinds = tuple(kind for _, kind in self._running)
        if self.calling is not None:
            name = operation_name(self.calling)
        return NonLinearity(name, self.calling, self.layer, kinds)

    def call(self, module: nn.Module, before: list[torch.Size], output: Tensor) -> Call:
        """What is known of a module that has put out `output`."""
        source, path = self._sources.get(id(output)), self.paths.of(output)
        if self._escape:
            known: Known = Unclear(self._escape)
        elif source is not None:
            known = source.known
        elif path is not None:
            known = Unclear("a part that the trace cannot follow")
        else:
            known = Unclear("an output that does not depend on the image")
        shape, images = output.shape, len(self.images)
        if path is not None and images > 1 and (not len(shape) or shape[0] % images):
            raise _OneImageOnlyError
        if len(shape) and (path is not None or shape[0] == images):
            shape = torch.Size((shape[0] // images, *shape[1:]))
        is_apart = path is None or (source is not None and source.is_apart)
        return Call(
            module,
            [*before, shape],
            known,
            source.axes if source else None,
            is_apart=is_apart and images > 1 and not (self._escape or self.reads_size),
            depends=path is not None or bool(self._escape),
            cut=path.cut or self._end_of_gradients(output) if path else "",
            nonlinearities=path.nonlinearities if path else (),
            reads_size=self.reads_size,
            steps=self._steps,
        )

    def escape(self, name: str) -> None:
        """Note that an operation has read numbers of the image, on which all else may depend."""
        self._escape = f"numbers that {name!r} reads from the image"
        self.paths.escaped = NonLinearity(name, self.calling, self.layer, ())

    def is_rectified(self, output: Tensor) -> bool:
        """Whether a rectifier has given `output` or was given it."""
        return id(output) in self._rectified

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name, operands = operation_name(func), tensors_of((args, kwargs))
        for tensor in operands:
            if tensor.requires_grad and self.paths.of(tensor) is None:
                # Nothing but the image has a gradient here: it was computed where no mode looks.
                hidden = NonLinearity("what another thread computes", None, self.layer, ())
                self.paths.mark(tensor, _Path((hidden,)))
        # Of the second operand of these only the form counts.
        followed = operands[:1] if name in _LIKE else operands
        sources = [self._sources[id(t)] for t in followed if id(t) in self._sources]
        unseen = any(id(t) not in self._sources and self.paths.of(t) for t in followed)
        ends = map(self._end_of_gradients, operands if torch.is_grad_enabled() else ())
        cut = next(filter(None, ends), "")
        outer, self.calling = self.calling, func
        try:
            result = func(*args, **kwargs)
        finally:
            self.calling = outer
        # An assignment such as x[:, :8] = y returns nothing and changes its first argument.
        outputs = tensors_of(result if result is not None else args[:1])
        if name in _READING and (sources or unseen) and not outputs:
            self.escape(name)
        if name in _SIZES and (sources or unseen):
            self.reads_size = True
        if outputs and any(id(t) in self._sources for t in operands):
            # What is made in an image's form can be asked for its size.
            self.reads_size |= is_numberless(full_name(func)) or name in _LIKE - {"to"}
        is_followed = bool(sources or unseen) and not is_numberless(full_name(func))
        # What an image is reshaped to may be its size; all other numbers must not depend on it.
        numbers = () if is_followed and name in _RESHAPING else tuple(_numbers((args, kwargs)))
        # Nor must the numbers of a tensor that comes from elsewhere, such as out of NumPy.
        others = [t for t in operands if t.device.type == "cpu" and t.numel() <= _FEW]
        contents = tuple(tuple(t.flatten().tolist()) for t in others if self.paths.of(t) is None)
        self._steps = hash((self._steps, name, numbers, contents))
        if is_followed:
            for output in outputs:
                self._follow(output, func, name, sources, unseen, args, kwargs)
                if cut and self.paths.of(output) is not None:
                    self.paths.cut(output, operands, cut)
            if ceiling(name, args or (kwargs.get("input"),), kwargs) is not None:
                self._rectified |= {id(t) for t in (*operands, *outputs) if id(t) in self._sources}
        return result

    def _follow(
        self,
        output: Tensor,
        func: Callable[..., Any],
        name: str,
        sources: list[_Source],
        unseen: bool,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Note what is known of `output`, which `func` has made of `sources`."""
        if unseen or not sources:
            known: Known = Unclear(f"operands of {name!r} that the trace cannot follow")
            axes, is_apart = None, False
        else:
            known = _field_after(name, sources, args, kwargs)
            axes = axes_after(name, [(s.tensor, s.axes) for s in sources], args, kwargs, output)
            is_apart = all(source.is_apart for source in sources) and keeps_images_apart(
                name, [s.tensor for s in sources], args, kwargs, output, len(self.images)
            )
        if is_in_place(func, kwargs) and any(output is t for t in tensors_of((args, kwargs))):
            before = self._sources.get(id(output))
            same = isinstance(known, Field) and before is not None and before.known == known
            if not (same and is_apart):
                self._forget_memory_of(output)
        self._sources[id(output)] = _Source(output, known, axes, is_apart)

    def _end_of_gradients(self, tensor: Tensor) -> str:
        """Where gradients end on the way from the image to `tensor`; "" where they do not."""
        path = self.paths.of(tensor)
        if not self.images.requires_grad:
            return "the forward pass fails while gradients are recorded"
        if path is None or path.is_flat or (tensor.requires_grad and not tensor.is_leaf):
            return ""
        if not (tensor.is_floating_point() or tensor.is_complex()):
            return ""
        return path.made or f"{self.layer or 'the network'!r} detaches it"

    def _forget_memory_of(self, written: Tensor) -> None:
        """Whatever shares memory with a tensor written in place has changed as well, unseen."""
        # Not the address of the numbers: on the meta device there are none.
        memory = written.untyped_storage()._cdata
        sharing = [s.tensor for s in self._sources.values()]
        sharing = [t for t in sharing if t.untyped_storage()._cdata == memory]
        if written._base is not None:
            sharing.append(written._base)
        for tensor in sharing:
            unclear = Unclear("a part that is written in place")
            self._sources[id(tensor)] = _Source(tensor, unclear, None, False)


# They give Python numbers, on which anything may depend.
_READING = frozenset(
    """item tolist numpy bool int float complex index array is_nonzero equal allclose contains
    dlpack format repr str""".split()
)
_SIZES = frozenset(
    """shape size len numel nelement stride nbytes storage_offset untyped_storage storage unbind
    split chunk tensor_split""".split()
)
_LIKE = frozenset("to type_as expand_as view_as reshape_as".split())
# Torch's own operations that do so too, or whose outputs are as large as numbers say.
_LEAVING = frozenset(
    """_local_scalar_dense nonzero masked_select unique_dim _unique2 unique_consecutive
    repeat_interleave bincount""".split()
)
_FEW = 4096  # numbers that are compared one by one
_RESHAPING = frozenset(["view", "reshape", "flatten", "unflatten", "expand"])


class _OneImageOnlyError(Exception):
    """The axis of the images is gone from an output."""


def _numbers(value: Any) -> Iterator[Any]:
    """All numbers and words in the arguments of a call."""
    if value is None or isinstance(value, int | float | complex | str):
        yield value
    elif isinstance(value, np.ndarray | np.generic):
        yield value.tobytes()
    elif isinstance(value, slice):
        yield from _numbers((value.start, value.stop, value.step))
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _numbers(item)


def _field_after(
    name: str, sources: list[_Source], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Known:
    """The field of what operation `name` makes of `sources`, whose channels may come last."""
    first = sources[0]
    order = order_after(name, first.tensor.ndim, args, kwargs)
    if first.axes is not None and order is not None and order[0] == 0:
        return first.known
    axes = next((s.axes for s in sources if not is_maps_last(s.axes, s.tensor)), None)
    if axes is None:
        return propagate(name, [(s.tensor, s.known) for s in sources], args, kwargs)
    if any(source.axes != axes for source in sources):
        return Unclear(f"maps with their axes in different orders meeting in {name!r}")
    if name in ELEMENTWISE:

        def channels_first(tensor: Tensor) -> Tensor:
            return tensor[(None,) * (4 - tensor.ndim)].permute(0, *axes)

        others = [t for t in tensors_of((args, kwargs)) if all(t is not s.tensor for s in sources)]
        pairs = [(channels_first(source.tensor), source.known) for source in sources]
        operands = (*(tensor for tensor, _ in pairs), *map(channels_first, others))
        return propagate(name, pairs, operands, {})
    by_position = name == "linear" or (
        name in ("layer_norm", "rms_norm")
        and len(argument(args, kwargs, 1, "normalized_shape", (0, 0))) == 1
    )
    if by_position and axes.channels == 3 and len(sources) == 1:
        return first.known
    return Unclear(f"{name!r} of maps whose channels do not come second")


@dataclass(frozen=True)
class _Path:
    """What lies between the image and a tensor.

    Args:
        nonlinearities: Those on the way.
        cut: Where gradients have ended; "" where they do not.
        made: Where the tensor was made without a gradient, which it may have been given since.
        is_flat: Whether its derivative is 0, such as that of a comparison.
    """

    nonlinearities: tuple[NonLinearity, ...] = ()
    cut: str = ""
    made: str = ""
    is_flat: bool = False


class _Paths(TorchDispatchMode):
    """Marks the memory of everything that torch computes from the image, by whatever path."""

    def __init__(self, follower: _Follower) -> None:
        super().__init__()
        self.escaped: NonLinearity | None = None  # has read numbers out of torch
        self._follower = follower
        # The weak reference keeps an address from being used again, and no numbers alive.
        self._paths: dict[int, tuple[StorageWeakRef, _Path]] = {}

    def of(self, tensor: Tensor) -> _Path | None:
        """What lies between the image and `tensor`; None where it does not come from it."""
        try:
            entry = self._paths.get(tensor.untyped_storage()._cdata)
        except RuntimeError:  # one that only stands for others, as under torch.vmap
            return None
        return entry[1] if entry else None

    def mark(self, tensor: Tensor, path: _Path) -> None:
        """Note what lies between the image and `tensor`."""
        storage = tensor.untyped_storage()
        self._paths[storage._cdata] = (StorageWeakRef(storage), path)

    def cut(self, tensor: Tensor, operands: list[Tensor], where: str) -> None:
        """Note that on the way to `tensor`, made of `operands`, gradients end."""
        memory, path = tensor.untyped_storage()._cdata, self.of(tensor)
        # A view of what was detached shares its memory with the original, which is not cut.
        if path is None or path.is_flat:
            return
        if all(t.untyped_storage()._cdata != memory for t in operands):
            self.mark(tensor, replace(path, cut=path.cut or where))

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        # What runs below a function of torch is not called by the network itself.
        with torch._C.DisableTorchFunction():
            result = func(*args, **kwargs)
            operands = tensors_of((args, kwargs))
            paths = [path for tensor in operands if (path := self.of(tensor)) is not None]
            if self.escaped is not None:
                paths.append(_Path((self.escaped,), is_flat=True))
            name = full_name(func)
            if not paths or is_numberless(name):
                return result
            if name in _LEAVING or not (result is None or tensors_of(result)):
                self._follower.escape(name)
            if self._follower.calling is None:  # compiled code, which may have asked for sizes
                self._follower.reads_size = True
            passed = dict.fromkeys(one for path in paths for one in path.nonlinearities)
            if not is_linear(name, args, kwargs, lambda tensor: self.of(tensor) is not None):
                passed[self._follower.nonlinearity(name.strip("_"))] = None
            path = _Path(
                tuple(passed),
                next((path.cut for path in paths if path.cut), ""),
                "" if torch.is_grad_enabled() else f"{self._follower.layer!r} runs under no_grad",
                all(path.is_flat for path in paths),
            )
            for output in (*tensors_of(result), *_written(func, args)):
                is_flat = not (output.is_floating_point() or output.is_complex())
                is_flat = is_flat or name == "heaviside"
                if is_flat and name == "_to_copy" and not path.is_flat:  # a kind of rounding
                    passed[self._follower.nonlinearity(name)] = None
                    path = replace(path, nonlinearities=tuple(passed))
                self.mark(output, replace(path, is_flat=True) if is_flat else path)
            return result


def _written(func: Any, args: tuple[Any, ...]) -> list[Tensor]:
    """The operands that an operation writes to."""
    declared = zip(func._schema.arguments, args, strict=False)
    return [t for one, arg in declared if one.is_write for t in tensors_of(arg)]


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
