"""Running a copy of a model and seeing what its layers put out.

Hooks are set on an `evaluation_copy` that belongs to one call, never on the user's modules and
never for all modules of the process: no other call or thread meets them.
"""

import copy
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from difflib import get_close_matches
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from internals.anatomy.copies import evaluation_copy, modules_by_path
from internals.errors import LayerError


def find_layer(model: nn.Module, layer: str) -> nn.Module:
    """The module at the path `layer`, e.g. "conv2" or "features.3.branch1".

    Raises `LayerError` with the nearest names when there is none.
    """
    modules = dict(model.named_modules())
    if layer and layer in modules:
        return modules[layer]
    names = [name for name in modules if name]
    near = get_close_matches(layer, names, n=3, cutoff=0.4) or names[:3]
    raise LayerError(
        f"{type(model).__name__} has no layer {layer!r}; "
        f"nearest: {', '.join(near) or 'it has no layers'}"
    )


def as_input(model: nn.Module, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """A copy of `images` of the model's device and precision: a model may work in place on it."""
    like = next((p for p in model.parameters() if p.is_floating_point()), images)
    return images.to(like.device, like.dtype, copy=True)


# Pixels and images that go through a network together: forward, where activations then stay within
# a few hundred megabytes, and with a backward pass, which keeps all of them at once.
_FORWARD, _BACKWARD = (2**20, 256), (2**18, 64)


def batch_size(height: int, width: int, *, backward: bool = False) -> int:
    """How many images of `height` x `width` pixels go through a network together."""
    pixels, most = _BACKWARD if backward else _FORWARD
    return max(1, min(most, pixels // (height * width)))


def batches(count: int, height: int, width: int, *, backward: bool = False) -> Iterator[slice]:
    """`count` images of a size in slices of `batch_size`."""
    size = batch_size(height, width, backward=backward)
    return (slice(start, start + size) for start in range(0, count, size))


Devices = Sequence[str | torch.device]
Worker = TypeVar("Worker")
Share = TypeVar("Share")
Result = TypeVar("Result")


def deep_copy(model: nn.Module) -> nn.Module:
    """A copy of `model`, with weights that can be differentiated by."""
    # What is made in inference mode could never be differentiated.
    with torch.inference_mode(False):
        return copy.deepcopy(model)


def replicas(model: nn.Module, devices: Devices | None) -> list[nn.Module]:
    """An `evaluation_copy` of `model` on each of `devices`, or one where it is if none are named.

    A device may be named twice; `model` is not changed.
    """
    if not devices:
        return [evaluation_copy(model)]
    return [evaluation_copy(model, device) for device in devices]


def in_parallel(
    workers: Sequence[Worker], shares: Sequence[Share], work: Callable[[Worker, Share], Result]
) -> list[Result]:
    """`work(worker, share)` for every worker and its share, at the same time, results in order.

    What the first of them raises is raised, when all have ended.
    """
    if len(workers) == 1:
        return [work(workers[0], shares[0])]
    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(work, workers, shares))


class Stop(BaseException):
    """Ends a forward pass early; not an Exception, so that no model's own handler swallows it."""


See = Callable[[str, nn.Module, tuple[Any, ...], Any], None]


@contextmanager
def watching(copied: nn.Module, see: See, layers: Iterable[str] | None = None) -> Iterator[None]:
    """While the block runs, call `see(path, module, inputs, output)` after every forward.

    Args:
        copied: An `evaluation_copy`.
        see: Is called.
        layers: Module paths; by default all.
    """
    watched = (
        _with_hooks(copied)
        if layers is None
        else {layer: find_layer(copied, layer) for layer in layers}
    )

    def hook(path: str) -> Callable[..., None]:
        return lambda module, inputs, output: see(path, module, inputs, output)

    handles = [module.register_forward_hook(hook(path)) for path, module in watched.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _with_hooks(copied: nn.Module) -> dict[str, nn.Module]:
    """The modules that take hooks, each by its first path, which is the one that print() shows."""
    modules = modules_by_path(copied).items()
    return {path: m for path, m in modules if not isinstance(m, torch.jit.ScriptModule)}


Running = list[tuple[str, type[nn.Module]]]  # path and class of each module, the innermost last


@contextmanager
def locating(copied: nn.Module) -> Iterator[Running]:
    """While the block runs, the list that it gets holds the modules whose forward is running."""
    running: Running = []

    def enter(path: str) -> Callable[..., None]:
        return lambda module, inputs: running.append((path, type(module)))

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        running.pop()

    handles = []
    for path, module in _with_hooks(copied).items():
        handles.append(module.register_forward_pre_hook(enter(path)))
        handles.append(module.register_forward_hook(leave, always_call=True))
    try:
        yield running
    finally:
        for handle in handles:
            handle.remove()


class _Eagerly(TorchDispatchMode):
    """Does nothing: where any such mode is active, torch.compile leaves functions as they are."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


def eagerly() -> AbstractContextManager[Any]:
    """While the block runs, functions that `torch.compile` has wrapped run as they are written."""
    return _Eagerly() if "torch._dynamo" in sys.modules else nullcontext()


def run_until(copied: nn.Module, images: Tensor, is_done: Callable[[], bool]) -> None:
    """Run `copied(images)`, stopping as soon as `is_done()` holds after a module's forward."""

    def stop(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if is_done():
            raise Stop

    with watching(copied, stop):
        try:
            copied(images)
        except Stop:
            return
