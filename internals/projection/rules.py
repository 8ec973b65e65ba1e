"""What a backward pass does at a rectifier: the one place where three methods differ.

| rule      | passes the signal g at an output a | source                                |
|-----------|------------------------------------|---------------------------------------|
| gradient  | g 1(a > 0)                         | Simonyan, Vedaldi and Zisserman, 2013 |
| deconvnet | relu(g)                            | Zeiler and Fergus, 2013, section 2.1  |
| guided    | relu(g) 1(a > 0)                   | Springenberg et al., 2014, figure 1   |

Everything else is the adjoint of the operation that was run, by autograd: the switches of max
pooling are its gradient, average pooling spreads evenly, filters are transposed.

The papers say nothing of tanh, whose maps have both signs. Three readings are there by name:

| tanh      | passes the signal g at an output a                                              |
|-----------|---------------------------------------------------------------------------------|
| gradient  | g (1 - a^2): the true derivative, which fades where the unit is saturated       |
| straight  | g: the tangent at rest, so that the whole pass is the transposed network        |
| agreeing  | g 1(g a > 0): what supports the feature as it was, of either sign; a rectifier, |
|           | whose outputs have one sign, would make the guided rule of it                   |
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from internals.errors import ProjectionError

RULES = ("gradient", "deconvnet", "guided")
TANH_RULES = ("gradient", "straight", "agreeing")

_RECTIFIERS = frozenset(["relu", "relu6", "clamp", "clip", "clamp_min", "hardtanh", "threshold"])
_WITHOUT_RULE = frozenset(
    """sigmoid logsigmoid silu gelu elu selu celu mish softplus softsign hardsigmoid
    hardswish leaky_relu prelu rrelu hardshrink softshrink tanhshrink glu softmax softmin
    log_softmax scaled_dot_product_attention multi_head_attention_forward
    abs absolute sign sgn heaviside maximum minimum fmax fmin""".split()
)
# What rectifiers written by hand are made of, as in x * (x > 0).
_COMPARISONS = frozenset(["gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal"])
_UNBOUNDED = float("inf")


class RuledBackward(TorchFunctionMode):
    """While active, rectifiers of every spelling get `rule` for their backward pass, tanh `tanh`.

    Calls are caught where torch dispatches them (`nn.ReLU`, `F.relu`, `torch.relu`, `relu_`,
    `clamp(min=0)`, ...), so the model needs no change; forward values are bit for bit the same.
    A non-linearity without a rule raises `ProjectionError` naming it and the layer `where()`.
    """

    def __init__(self, rule: str, tanh: str | None, where: Callable[[], str]) -> None:
        super().__init__()
        self.rule, self.tanh, self.where = rule, tanh, where

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        spelled = getattr(func, "__name__", "")
        name = spelled.strip("_")
        if name == "tanh":
            if self.tanh is None:
                raise self._refusal("tanh", f"choose tanh= one of {', '.join(TANH_RULES)}")
            way = {"straight": _STRAIGHT, "agreeing": _AGREEING}.get(self.tanh)
            return func(*args, **kwargs) if way is None else self._replace(func, args, kwargs, way)
        if name in _WITHOUT_RULE or _compares(name, args):
            raise self._refusal(name, "use rule='gradient'")
        if name in _RECTIFIERS:
            args = args or (kwargs.pop("input"),)
            ceiling = _ceiling(name, args, kwargs)
            if ceiling is None:
                raise self._refusal(name, "use rule='gradient'")
            way = _POSITIVE if self.rule == "deconvnet" else _positive_where_active(ceiling)
            return self._replace(func, args, kwargs, way)
        return func(*args, **kwargs)

    def _replace(self, func, args, kwargs, way) -> Tensor:
        """Run `func` as it is, in place where it works in place, with `way` back."""
        in_place = kwargs.get("inplace", False) or func.__name__.endswith("_")
        source, *more = args
        return _Ruled.apply(source, lambda x: func(x, *more, **kwargs), way, in_place)

    def _refusal(self, name: str, remedy: str) -> ProjectionError:
        return ProjectionError(
            f"{self.rule} has no rule for {name} (layer {self.where() or 'the model itself'!r}); "
            f"rules exist for relu, relu6 and clamp(min=0); {remedy}"
        )


class _Way(NamedTuple):
    """One rule's way back: what it keeps of an output, and what it makes of a signal with that."""

    keep: Callable[[Tensor], Tensor | None]
    send: Callable[[Tensor, Any], Tensor]


class _Ruled(torch.autograd.Function):
    """`forward_pass(source)` forward, `way` backward.

    What is kept is never the output itself: something later may work in place on it.
    """

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, forward_pass: Callable, way: _Way, in_place: bool
    ) -> Tensor:
        output = forward_pass(source)
        ctx.save_for_backward(way.keep(output))
        ctx.send = way.send
        if in_place:
            ctx.mark_dirty(source)
        return output

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.send(signals[0], ctx.saved_tensors[0]), None, None, None


_STRAIGHT = _Way(lambda output: None, lambda signal, _: signal)
_AGREEING = _Way(torch.sign, lambda signal, sign: signal * (signal * sign > 0))
_POSITIVE = _Way(lambda output: None, lambda signal, _: signal.clamp(min=0))


def _positive_where_active(ceiling: float) -> _Way:
    def active(output: Tensor) -> Tensor:
        return output > 0 if ceiling == _UNBOUNDED else (output > 0) & (output < ceiling)

    return _Way(active, lambda signal, mask: signal.clamp(min=0).mul_(mask))


def _compares(name: str, args: tuple[Any, ...]) -> bool:
    """Whether activations are compared, alone or by the larger of two."""
    tensors = [part for part in args if isinstance(part, Tensor)]
    if name in ("max", "min"):
        return len(tensors) == 2
    return name in _COMPARISONS and any(tensor.requires_grad for tensor in tensors)


def refuse_own_functions(values: Tensor, rule: str) -> None:
    """Raise `ProjectionError` where the graph of `values` holds a user's `autograd.Function`.

    Its backward pass is not torch's, so no rule can be put in its place.
    """
    todo, seen = [values.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = type(node).__name__.removesuffix("Backward")
        own = isinstance(node, torch.autograd.function.BackwardCFunction)
        if own and name not in (_Ruled.__name__, "BackwardHookFunction"):  # torch's, for hooks
            raise ProjectionError(
                f"{rule} has no rule for the autograd function {name}; use rule='gradient'"
            )
        todo += [function for function, _ in node.next_functions]


def _ceiling(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
    """Where a rectifier is cut off above (infinity: nowhere), or None where it is no rectifier."""

    def argument(index: int, key: str, default: Any) -> Any:
        return args[index] if len(args) > index else kwargs.get(key, default)

    if name == "relu":
        return _UNBOUNDED
    if name == "relu6":
        return 6.0
    if name == "threshold":
        zero = argument(1, "threshold", None) == 0 and argument(2, "value", None) == 0
        return _UNBOUNDED if zero else None
    if name == "hardtanh":
        low, high = argument(1, "min_val", -1.0), argument(2, "max_val", 1.0)
    else:
        low, high = argument(1, "min", None), argument(2, "max", None)
    if isinstance(low, Tensor) or isinstance(high, Tensor) or low != 0:
        return None
    return _UNBOUNDED if high is None else float(high)
