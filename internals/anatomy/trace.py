"""One pass through a network, traced: every layer's shape and receptive field, in any graph.

A `TracedModule` is a network together with how it is fed and read. It traces itself once for each
shape of input, so that whatever looks into it later need not.
"""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from internals.anatomy.fields import PIXELS, Field, Known, ReceptiveField, Unclear, propagate
from internals.anatomy.hooks import find_layer, watching
from internals.data.folder import PictureFolder
from internals.data.image_set import Images, ImageSet
from internals.data.normalization import InputMap, Normalized
from internals.errors import AnatomyError, DataError, LayerError
from internals.models.evaluation import evaluating

# What a network can be shown: pictures as bytes, for networks that know how to normalise them, or
# inputs that are normalised already.
Pictures = ImageSet | PictureFolder | Images


@dataclass
class Call:
    """What one module did in a pass.

    Args:
        module: The module.
        shapes: Of the output of each of its calls, (1, channels, height, width).
        field: The receptive field of the last output.
    """

    module: nn.Module
    shapes: list[torch.Size]
    field: Known

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
        self._traces: dict[tuple[int, ...], dict[str, Call]] = {}

    def __repr__(self) -> str:
        shape = f", input_shape={self.input_shape}" if self.input_shape else ""
        return f"{type(self).__name__}({type(self.model).__name__}{shape})"

    @property
    def normalization(self) -> InputMap | None:
        """The map from bytes to the network's input, where it is known."""
        if callable(self._normalization):
            self._normalization = self._normalization()
        return self._normalization

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
        if shape not in self._traces:
            self._traces[shape] = trace(self.model, shape)
        return self._traces[shape]

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
        other.model, other._traces = model, {}
        return other


Model = nn.Module | TracedModule


def as_traced(model: Model) -> TracedModule:
    """`model` itself where it traces itself; around a bare module a new `TracedModule`."""
    return model if isinstance(model, TracedModule) else TracedModule(model)


def trace(model: nn.Module, input_shape: Iterable[int]) -> dict[str, Call]:
    """Run one black image through a module and note every module's call; it is left as it was.

    Args:
        model: A bare module; `TracedModule.trace` remembers what this finds.
        input_shape: (channels, height, width).

    Returns:
        The calls by module path, in their order.

    Raises:
        AnatomyError: The model cannot take the shape.
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise AnatomyError(f"input_shape={shape} is not (channels, height, width)")
    try:
        return _pass(model, shape, torch.device("meta"))
    except Exception:
        return _real_pass(model, shape)


def _real_pass(model: nn.Module, shape: tuple[int, ...]) -> dict[str, Call]:
    try:
        return _pass(model, shape, None)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise AnatomyError(
            f"{type(model).__name__} cannot take an input of shape {shape}: {reason}"
        ) from error


def _pass(model: nn.Module, shape: tuple[int, ...], device: torch.device | None) -> dict[str, Call]:
    """The calls of one pass on `device`, by default the model's; on "meta" nothing is computed."""
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))
    image = torch.zeros((1, *shape), dtype=like.dtype, device=device or like.device)
    tensors = {}
    if device is not None:
        everything = (*model.named_parameters(), *model.named_buffers())
        tensors = {name: tensor.to(device) for name, tensor in everything}
    follower = _Follower(image)
    calls: dict[str, Call] = {}

    def see(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not isinstance(output, Tensor):
            return
        before = calls[path].shapes if path in calls else []
        known = follower.known(output) or Unclear("an output that does not depend on the image")
        calls[path] = Call(module, [*before, output.shape], known)

    with evaluating(model), torch.no_grad(), watching(model, see), follower:
        torch.func.functional_call(model, tensors, (image,))
    return calls


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
        if layer not in calls or len(calls[layer].shape) not in (2, 4):
            raise LayerError(f"layer {layer!r} puts out no feature maps; name another layer")
        times = len(calls[layer].shapes)
        if times > 1:
            raise LayerError(
                f"layer {layer!r} is called {times} times in one forward pass, so its "
                "name does not say which output is meant; name the module around it"
            )
    return {layer: calls[layer] for layer in layers}


class _Follower(TorchFunctionMode):
    """Carries the receptive field of every tensor computed from the image."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        # Tensors are kept alive with their fields, so that no id is used twice.
        self._fields: dict[int, tuple[Tensor, Known]] = {id(image): (image, PIXELS)}

    def known(self, tensor: Tensor) -> Known | None:
        """The field of `tensor`, or None where the image has no part in it."""
        entry = self._fields.get(id(tensor))
        return entry[1] if entry else None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        sources = [self._fields[id(t)] for t in _tensors((args, kwargs)) if id(t) in self._fields]
        result = func(*args, **kwargs)
        # An assignment such as x[:, :8] = y returns nothing and changes its first argument.
        outputs = _tensors(result if result is not None else args[:1])
        if sources and outputs:
            name = getattr(func, "__name__", str(func)).strip("_")
            field = propagate(name, sources, args, kwargs)
            arguments = {id(tensor) for tensor in _tensors((args, kwargs))}
            writes = kwargs.get("inplace") or getattr(func, "__name__", "").endswith("_")
            for output in outputs:
                same = isinstance(field, Field) and self.known(output) == field
                if writes and id(output) in arguments and not same:
                    self._forget_memory_of(output)
                self._fields[id(output)] = (output, field)
        return result

    def _forget_memory_of(self, written: Tensor) -> None:
        """Whatever shares memory with a tensor written in place has changed as well, unseen."""
        # Not the address of the numbers: on the meta device there are none.
        memory = written.untyped_storage()._cdata
        sharing = [t for t, _ in self._fields.values() if t.untyped_storage()._cdata == memory]
        if written._base is not None:
            sharing.append(written._base)
        for tensor in sharing:
            self._fields[id(tensor)] = (tensor, Unclear("a part that is written in place"))


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for item in value for tensor in _tensors(item)]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    return []


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
    call = only_calls(model, [layer], input_shape)[layer]
    return stated(layer, call.field).public()
