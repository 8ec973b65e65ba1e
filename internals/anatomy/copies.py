"""A network to look into, so that the user's own is never touched.

Its modules are copies with hooks, a mode and a place of their own; its parameters are those of the
network, shared and not to be trained. What one call does to its copy no other call, thread or plain
forward pass can see.
"""

import types
import weakref
from collections import OrderedDict, deque
from copy import copy as copy_of
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

# What only passes on to another module, and by which name that is known: other processes, other
# devices and compiled code do the same to the numbers as the module itself.
_PASSING_ON = {"_orig_mod": None, "module": (nn.DataParallel, nn.parallel.DistributedDataParallel)}


class PassesOn(nn.Module):
    """Stands for a wrapper around one module, such as `DataParallel` or what torch.compile gives.

    It stands before a scripted module as well, which takes no hooks.

    Args:
        name: By which name the wrapper knows the module.
        wrapped: The module.
    """

    def __init__(self, name: str, wrapped: nn.Module) -> None:
        super().__init__()
        self.add_module(name, wrapped)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module itself gives."""
        (wrapped,) = self.children()
        return wrapped(*args, **kwargs)


def evaluation_copy(
    model: nn.Module, device: str | torch.device | None = None, *, moves_all: bool = False
) -> nn.Module:
    """A copy of `model` in evaluation mode, for the use of one call.

    Parameters are shared where they are on `device`, buffers copied, and modules that scripts have
    compiled are copied whole. Code that `torch.compile` would compile runs as it is written.

    Args:
        model: Is not changed, whatever is done with the copy.
        device: Where the copy is to be; by default where `model` is.
        moves_all: Whether tensors that are neither parameters nor buffers move as well.
    """
    # What is made in inference mode could never be differentiated.
    with torch.inference_mode(False), torch.no_grad():
        return _Copier(device, moves_all).copy(model)


class _Copier:
    def __init__(self, device: str | torch.device | None, moves_all: bool) -> None:
        self.device, self.moves_all = device, moves_all
        self._copies: dict[int, Any] = {}  # by the identity of what was copied
        self._originals: list[Any] = []  # kept alive, so that no identity is used twice

    def copy(self, model: nn.Module) -> nn.Module:
        modules = list(modules_by_path(model).values())
        for module in modules:
            self._remember(module, self._empty(module))
        for module in modules:
            self._fill(module)
        return self._copies[id(model)]

    def _remember(self, original: Any, copy: Any) -> Any:
        self._copies[id(original)] = copy
        self._originals.append(original)
        return copy

    def _empty(self, module: nn.Module) -> nn.Module:
        passes_on = isinstance(module, torch.jit.ScriptModule) or _wrapped(module)
        return object.__new__(PassesOn if passes_on else type(module))

    def _fill(self, module: nn.Module) -> None:
        copy = self._copies[id(module)]
        if isinstance(module, torch.jit.ScriptModule):
            scripted = deepcopy(module).eval()
            scripted = scripted.to(self.device) if self.device else scripted
            PassesOn.__init__(copy, "scripted", scripted)
            copy.training = False
            return
        if name := _wrapped(module):
            PassesOn.__init__(copy, name, self._copies[id(module._modules[name])])
            copy.training = False
            return
        state = copy.__dict__
        for name, value in list(module.__dict__.items()):
            if name == "_parameters":
                state[name] = {key: self._parameter(p) for key, p in list(value.items())}
            elif name == "_buffers":
                state[name] = {key: self._buffer(b) for key, b in list(value.items())}
            elif name == "_modules":
                state[name] = {key: self._copies.get(id(m), m) for key, m in list(value.items())}
            else:
                state[name] = self._translated(value)
        state["training"] = False
        state["_compiled_call_impl"] = None

    def _parameter(self, parameter: Tensor | None) -> Tensor | None:
        if parameter is None or is_lazy(parameter):
            return parameter
        if id(parameter) in self._copies:
            return self._copies[id(parameter)]
        shared = self._moved(parameter.detach())
        # What was made in inference mode cannot be part of a backward pass, its copy can.
        shared = shared.clone() if shared.is_inference() else shared
        return self._remember(parameter, nn.Parameter(shared, requires_grad=False))

    def _buffer(self, buffer: Tensor | None) -> Tensor | None:
        if buffer is None or is_lazy(buffer):
            return buffer
        if id(buffer) in self._copies:
            return self._copies[id(buffer)]
        return self._remember(buffer, self._moved(buffer.detach()).clone())

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor if self.device is None else tensor.to(self.device)

    def _translated(self, value: Any) -> Any:
        """`value` with the copies in the place of the modules and tensors that it holds."""
        if id(value) in self._copies:
            return self._copies[id(value)]
        if isinstance(value, Tensor):  # its own: a forward pass may write to it
            return self._remember(value, self._own(value))
        if type(value) in (list, set, dict, OrderedDict, deque):
            copy = self._remember(value, copy_of(value))  # before its content, which may hold it
            copy.clear()
            if isinstance(value, dict):
                copy.update({key: self._translated(item) for key, item in list(value.items())})
            elif isinstance(value, set):
                copy.update(self._translated(item) for item in list(value))
            else:
                copy.extend(self._translated(item) for item in list(value))
            return copy
        if type(value) is tuple:
            return tuple(self._translated(item) for item in value)
        if isinstance(value, weakref.ref) and id(value()) in self._copies:
            return weakref.ref(self._copies[id(value())])
        if isinstance(value, types.MethodType) and self._holds(value.__self__):
            return types.MethodType(value.__func__, self._translated(value.__self__))
        if type(value) is partial:
            words = self._translated(dict(value.keywords))
            arguments = map(self._translated, value.args)
            return partial(self._translated(value.func), *arguments, **words)
        if isinstance(value, types.FunctionType):
            return self._function(value) if self._holds(value) else value
        if self._holds(value):  # an object of the user's own
            copy = self._remember(value, copy_of(value))
            vars(copy).update({k: self._translated(v) for k, v in list(vars(value).items())})
            return copy
        return value

    def _own(self, tensor: Tensor) -> Tensor:
        moved = tensor.detach()
        return (self._moved(moved) if self.moves_all else moved).clone()

    def _holds(self, value: Any, depth: int = 4) -> bool:
        """Whether modules of the network are in reach of `value`."""
        if id(value) in self._copies:
            return isinstance(value, nn.Module)
        if depth == 0 or isinstance(value, Tensor | type | types.ModuleType | str | bytes):
            return False
        return any(self._holds(part, depth - 1) for part in _parts(value))

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        """A function that holds modules of the network, such as `lambda x: self.act(x)`."""
        held = tuple(
            types.CellType(self._translated(_held(cell))) if self._holds(_held(cell)) else cell
            for cell in function.__closure__ or ()
        )
        copy = types.FunctionType(
            function.__code__,
            function.__globals__,
            function.__name__,
            self._translated(function.__defaults__),
            held or None,
        )
        copy.__kwdefaults__ = self._translated(function.__kwdefaults__)
        return self._remember(function, copy)


def _parts(value: Any) -> list[Any]:
    """What a container, a function or an object of the user's own holds."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple | set | deque):
        return list(value)
    if isinstance(value, weakref.ref):
        return [value()]
    if isinstance(value, types.MethodType):
        return [value.__self__]
    if type(value) is partial:
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.FunctionType):
        defaults = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
        return [*map(_held, value.__closure__ or ()), *defaults]
    return list(getattr(value, "__dict__", {}).values())


def modules_by_path(model: nn.Module) -> dict[str, nn.Module]:
    """The modules of `model`, each by its first path; of scripted ones only the outermost."""
    paths, seen = dict[str, nn.Module](), set[int]()

    def visit(path: str, module: nn.Module) -> None:
        if id(module) in seen:
            return
        seen.add(id(module))
        paths[path] = module
        if not isinstance(module, torch.jit.ScriptModule):
            for name, child in list(module._modules.items()):
                if child is not None:
                    visit(f"{path}.{name}" if path else name, child)

    visit("", model)
    return paths


def _wrapped(module: nn.Module) -> str | None:
    """The name of the one module that `module` only passes on to; None for all others."""
    for name, kinds in _PASSING_ON.items():
        if list(module._modules) == [name] and (kinds is None or isinstance(module, kinds)):
            return name
    return None


def _held(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return None
