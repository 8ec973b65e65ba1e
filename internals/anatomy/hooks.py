"""Seeing what a model's layers say, and leaving no trace.

The calls are seen through torch's global module hooks, so the model itself gets no hook, no
changed forward and no replaced module; its modes are put back whatever happens. Those hooks hear
of every thread's modules: each part here listens to one model, or to the thread that it runs in.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from threading import get_ident
from typing import Any

import torch
from torch import nn
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
    """While the block runs, the given function names the innermost module in its forward."""
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


def run_until(model: nn.Module, images: torch.Tensor, is_done: Callable[[], bool]) -> None:
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
