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

Nor of rectifiers f that leak, with a slope s below zero (LeakyReLU, PReLU). Three by name:

| leaky     | passes the signal g at an input x                                               |
|-----------|---------------------------------------------------------------------------------|
| gradient  | g f'(x): the true derivative                                                    |
| rectified | as at a rectifier that does not leak: s is taken for 0                          |
| leaking   | deconvnet f(g) and guided f(g) f'(x): the rules above where s is 0, the         |
|           | transposed network where s is 1                                                 |
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.modules._functions import BackwardHookFunction
from torch.overrides import TorchFunctionMode

from internals.anatomy.fields import argument
from internals.errors import ProjectionError
from internals.projection.windows import Narrowed

Slope = float | Tensor


class Way(NamedTuple):
    """One way back: what it keeps of the input, and what it makes of a signal with that."""

    keep: Callable[[Tensor], Tensor | None]
    send: Callable[[Tensor, Any], Tensor]


class Ruled(torch.autograd.Function):
    """`forward_pass(source)` forward, `way` backward.

    What is kept is never the input or the output: something may work in place on either.
    """

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, forward_pass: Callable, way: Way, in_place: bool
    ) -> Tensor:
        """What the network itself computes."""
        ctx.save_for_backward(way.keep(source))
        ctx.send = way.send
        output = forward_pass(source)
        if in_place:
            ctx.mark_dirty(source)
        return output

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None, None]:
        """The signal as the way back sends it on."""
        return ctx.send(signals[0], ctx.saved_tensors[0]), None, None, None


def _nothing(source: Tensor) -> None:
    return None


STRAIGHT = Way(_nothing, lambda signal, _: signal)
AGREEING = Way(torch.sign, lambda signal, sign: signal * (signal * sign > 0))
POSITIVE = Way(_nothing, lambda signal, _: signal.clamp(min=0))


def positive_where_active(ceiling: float) -> Way:
    """relu(g) where 0 < a < `ceiling`: the guided rule."""

    def active(source: Tensor) -> Tensor:
        return source > 0 if ceiling == float("inf") else (source > 0) & (source < ceiling)

    return Way(active, lambda signal, mask: signal.clamp(min=0).mul_(mask))


def leaking(slope: Slope) -> Way:
    """f(g), f being the rectifier itself, with its `slope` below zero: the deconvnet rule."""
    return Way(_nothing, lambda signal, _: _leak(signal, slope))


def leaking_where_active(slope: Slope) -> Way:
    """f(g) f'(x): the guided rule."""

    def send(signal: Tensor, active: Tensor) -> Tensor:
        leaked = _leak(signal, slope)
        return torch.where(active, leaked, leaked * slope)

    return Way(lambda source: source > 0, send)


def _leak(signal: Tensor, slope: Slope) -> Tensor:
    return torch.where(signal > 0, signal, signal * slope)


RULES = ("gradient", "deconvnet", "guided")
TANH_RULES = ("gradient", "straight", "agreeing")
LEAKY_RULES = ("gradient", "rectified", "leaking")

_RECTIFIERS = frozenset(["relu", "relu6", "clamp", "clip", "clamp_min", "hardtanh", "threshold"])
_WITHOUT_RULE = frozenset(
    """sigmoid logsigmoid silu gelu elu selu celu mish softplus softsign hardsigmoid
    hardswish hardshrink softshrink tanhshrink glu softmax softmin
    log_softmax scaled_dot_product_attention multi_head_attention_forward
    abs absolute sign sgn heaviside maximum minimum fmax fmin""".split()
)
# What rectifiers written by hand are made of, as in x * (x > 0).
_COMPARISONS = frozenset(["gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal"])
_LEAKY = frozenset(["leaky_relu", "prelu", "rrelu"])
_UNBOUNDED = float("inf")


class Choice(NamedTuple):
    """What happens at rectifiers, at tanh, and at rectifiers that leak: names of the tables."""

    rule: str
    tanh: str | None = None
    leaky: str | None = None

    def check(self) -> None:
        """Raise `ProjectionError` for unknown names, and for choices that the gradient excludes."""
        known = (RULES, (None, *TANH_RULES), (None, *LEAKY_RULES))
        for name, value, names in zip(self._fields, self, known, strict=True):
            if value not in names:
                asked = f"{name} {value!r}" if name == "rule" else f"{name}={value!r}"
                choice = ", ".join(n for n in names if n)
                raise ProjectionError(f"unknown {asked}; choose one of {choice}")
            if self.rule == "gradient" and name != "rule" and value not in (None, "gradient"):
                raise ProjectionError(
                    f"rule='gradient' is the true derivative everywhere; leave {name}={value!r} out"
                )


class RuledBackward(TorchFunctionMode):
    """While active, rectifiers of every spelling, and tanh, get their backward pass by `choice`.

    Calls are caught where torch dispatches them (`nn.ReLU`, `F.relu`, `torch.relu`, `relu_`,
    `clamp(min=0)`, ...), so the model needs no change; forward values are bit for bit the same.
    A non-linearity without a rule raises `ProjectionError` naming it and the layer `where()`.
    """

    def __init__(self, choice: Choice, where: Callable[[], str]) -> None:
        super().__init__()
        self.choice, self.where = choice, where

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
        if name in _WITHOUT_RULE or _compares(name, args):
            raise self._refusal(name, "use rule='gradient'")
        if name == "tanh":
            return self._replace(func, args, kwargs, self._at_tanh())
        if name in _LEAKY:
            args = args or (kwargs.pop("input"),)
            return self._replace(func, args, kwargs, self._at_leaky(name, args, kwargs))
        if name in _RECTIFIERS:
            args = args or (kwargs.pop("input"),)
            ceiling = _ceiling(name, args, kwargs)
            if ceiling is None:
                raise self._refusal(name, "use rule='gradient'")
            return self._replace(func, args, kwargs, self._at_rectifier(ceiling))
        return func(*args, **kwargs)

    def _at_rectifier(self, ceiling: float = _UNBOUNDED) -> Way:
        return POSITIVE if self.choice.rule == "deconvnet" else positive_where_active(ceiling)

    def _at_tanh(self) -> Way | None:
        if self.choice.tanh is None:
            raise self._refusal("tanh", f"choose tanh= one of {', '.join(TANH_RULES)}")
        return {"straight": STRAIGHT, "agreeing": AGREEING}.get(self.choice.tanh)

    def _at_leaky(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Way | None:
        if self.choice.leaky is None:
            raise self._refusal(name, f"choose leaky= one of {', '.join(LEAKY_RULES)}")
        if self.choice.leaky == "gradient":
            return None
        if self.choice.leaky == "rectified":
            return self._at_rectifier()
        slope = _slope(name, args, kwargs)
        return leaking(slope) if self.choice.rule == "deconvnet" else leaking_where_active(slope)

    @staticmethod
    def _replace(func, args, kwargs, way: Way | None) -> Tensor:
        """Run `func` as it is, in place where it works in place, with `way` back if any."""
        if way is None:
            return func(*args, **kwargs)
        in_place = kwargs.get("inplace", False) or func.__name__.endswith("_")
        source, *more = args
        return Ruled.apply(source, lambda x: func(x, *more, **kwargs), way, in_place)

    def _refusal(self, name: str, remedy: str) -> ProjectionError:
        layer = self.where() or "the model itself"
        return ProjectionError(
            f"{self.choice.rule} has no rule for {name} (layer {layer!r}); "
            f"rules exist for relu, relu6 and clamp(min=0); {remedy}"
        )


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
        function = getattr(type(node), "_forward_cls", None)
        if function not in (None, Ruled, Narrowed, BackwardHookFunction):
            raise ProjectionError(
                f"{rule} has no rule for the autograd function {function.__name__}; "
                "use rule='gradient'"
            )
        todo += [before for before, _ in node.next_functions]


def _ceiling(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
    """Where a rectifier is cut off above (infinity: nowhere), or None where it is no rectifier."""
    given = partial(argument, args, kwargs)
    if name == "relu":
        return _UNBOUNDED
    if name == "relu6":
        return 6.0
    if name == "threshold":
        zero = given(1, "threshold", None) == 0 and given(2, "value", None) == 0
        return _UNBOUNDED if zero else None
    if name == "hardtanh":
        low, high = given(1, "min_val", -1.0), given(2, "max_val", 1.0)
    else:
        low, high = given(1, "min", None), given(2, "max", None)
    if isinstance(low, Tensor) or isinstance(high, Tensor) or low != 0:
        return None
    return _UNBOUNDED if high is None else float(high)


def _slope(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Slope:
    """The slope below zero: a number, or one a channel, shaped to meet the maps."""
    if name == "prelu":
        weight = argument(args, kwargs, 1, "weight", None).detach()
        return weight if weight.numel() == 1 else weight.view(-1, *[1] * (args[0].ndim - 2))
    if name == "leaky_relu":
        return argument(args, kwargs, 1, "negative_slope", 0.01)
    lower, upper = (
        argument(args, kwargs, index, key, default)
        for index, key, default in [(1, "lower", 1 / 8), (2, "upper", 1 / 3)]
    )
    return (lower + upper) / 2  # in evaluation mode
