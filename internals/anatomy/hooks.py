"""Running a model and seeing what its layers put out, and leaving no trace.

The calls are seen through torch's global module hooks, so the model itself gets no hook, no
changed forward and no replaced module. Those hooks are called for every thread's modules: each
function here attends to one model, or to the thread that it runs in.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from difflib import get_close_matches
from threading import get_ident
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

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


def copied(model: nn.Module) -> nn.Module:
    """A copy of `model`, with weights that can be differentiated by."""
    # What is made in inference mode could never be differentiated.
    with torch.inference_mode(False):
        return copy.deepcopy(model)


def replicas(model: nn.Module, devices: Devices | None) -> list[nn.Module]:
    """A copy of `model` on each of `devices`, or `model` itself where none are named.

    A device may be named twice; `model` is not changed.
    """
    return [copied(model).to(device) for device in devices] if devices else [model]


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


class _Stop(BaseException):
    """Ends a forward pass early; not an Exception, so that no model's own handler swallows it."""


@contextmanager
def watching(
    model: nn.Module,
    see: Callable[[str, nn.Module, tuple[Any, ...], Any], None],
) -> Iterator[None]:
    """While the block runs, call `see(path, module, inputs, output)` after every forward."""
    # A module may be registered under several names; its first path is the one print() shows.
    paths: dict[int, str] = {}
    for name, module in model.named_modules():
        paths.setdefault(id(module), name)

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        path = paths.get(id(module))
        if path is not None:
            see(path, module, inputs, output)

    handle = register_module_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def locating(model: nn.Module) -> Iterator[Callable[[], str]]:
    """While the block runs, the function that it gets names the innermost module in its forward."""
    paths = {id(module): name for name, module in model.named_modules()}
    inside: list[str] = []
    here = get_ident()

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if get_ident() == here:
            inside.append(paths.get(id(module), type(module).__name__))

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if get_ident() == here:
            inside.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        yield lambda: inside[-1] if inside else ""
    finally:
        for handle in handles:
            handle.remove()


def run_until(model: nn.Module, images: Tensor, is_done: Callable[[], bool]) -> None:
    """Run `model(images)`, stopping as soon as `is_done()` holds after a module's forward."""
    here = get_ident()

    def stop(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if get_ident() == here and is_done():
            raise _Stop

    handle = register_module_forward_hook(stop)
    try:
        model(images)
    except _Stop:
        return
    finally:
        handle.remove()
