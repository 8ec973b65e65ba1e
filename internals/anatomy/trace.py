"""The receptive field of any layer of any graph."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from internals.anatomy.fields import PIXELS, Field, Known, ReceptiveField, Unclear, propagate
from internals.anatomy.hooks import find_layer, watching
from internals.errors import AnatomyError, LayerError
from internals.models.evaluation import evaluating


@dataclass
class Call:
    """What one module did in the pass: each output's shape (n, c, h, w), the last one's field."""

    module: nn.Module
    shapes: list[torch.Size]
    field: Known

    @property
    def shape(self) -> torch.Size:
        """The shape of the last output."""
        return self.shapes[-1]


def trace(model: nn.Module, input_shape: Iterable[int]) -> dict[str, Call]:
    """Run one black image of `input_shape` (c, h, w) through `model` and note every module's call.

    The model is left as it was found. Raises `AnatomyError` when the model cannot take the shape.
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
    model: nn.Module, layers: Iterable[str], input_shape: Iterable[int]
) -> dict[str, Call]:
    """The one call of each of `layers` in a traced pass over an image of `input_shape` (c, h, w).

    Raises `LayerError` for a layer that the model lacks, that puts out no feature maps (n, c, h, w)
    or (n, c), or that is called more than once, so that its name does not say which is meant.
    """
    layers = tuple(layers)
    for layer in layers:
        find_layer(model, layer)
    calls = trace(model, input_shape)
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
            given = {id(tensor) for tensor in _tensors((args, kwargs))}
            writes = kwargs.get("inplace") or getattr(func, "__name__", "").endswith("_")
            for output in outputs:
                same = isinstance(field, Field) and self.known(output) == field
                if writes and id(output) in given and not same:
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


def receptive_field(model: nn.Module, layer: str, input_shape: Iterable[int]) -> ReceptiveField:
    """Size, stride and start of the receptive fields of the units of `layer`, in input pixels.

    `input_shape` is (channels, height, width). Where branches meet, the field is the smallest box
    that holds all of them (Araujo, Norris and Sim, Distill 2019). Raises `LayerError` for a layer
    the model lacks or calls more than once, and `AnatomyError` where the field cannot be stated.
    """
    call = only_calls(model, [layer], input_shape)[layer]
    return stated(layer, call.field).public()
