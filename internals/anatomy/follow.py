"""Following an image through torch, twice: by the functions that are called, and below them.

As torch's functions are called, fields are carried along; below them, where torch itself runs every
operation, scripted ones too, what comes from the image is marked, by whatever path. Where the two
differ, no field is stated.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from internals.anatomy.fields import ELEMENTWISE, PIXELS, Field, Known, Unclear, propagate
from internals.anatomy.hooks import Running
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


class _Source(NamedTuple):
    """What the follower knows of a tensor that it has seen: it is kept alive with it."""

    tensor: Tensor
    known: Known
    axes: Axes | None
    is_apart: bool


class Follower(TorchFunctionMode):
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

    def __init__(self, follower: Follower) -> None:
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
