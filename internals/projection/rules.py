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

Any other non-linearity is refused, unless the user says what is to happen there: a `BackwardRule`
for its operation or for its class of module.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules._functions import BackwardHookFunction
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import CheckpointFunction

from internals.anatomy.copies import modules_by_path
from internals.anatomy.follow import Call, NonLinearity
from internals.anatomy.hooks import Running
from internals.anatomy.operations import (
    NORMALISATIONS,
    UNBOUNDED,
    argument,
    ceiling,
    is_in_place,
    is_rectifier,
    operation_name,
    tensors_of,
)
from internals.errors import ProjectionError
from internals.projection.windows import Narrowed

Slope = float | Tensor


class BackwardRule(NamedTuple):
    """What happens at one non-linearity on the way back.

    Attributes:
        save: From the input x of the non-linearity to what the way back needs of it, or None.
        backward: From the signal g at the output, and what was saved, to the signal at the input.
    """

    save: Callable[[Tensor], Tensor | None]
    backward: Callable[[Tensor, Any], Tensor]


# What a rule of the user's own is for: an operation by name or by function ("silu",
# functional.silu), or the class of a module. "gradient" says that its derivative will do.
Operation = str | type[nn.Module] | Callable[..., Any]
OwnRule = BackwardRule | Literal["gradient"]
BackwardRules = Mapping[Operation, OwnRule]

# Normalisations, and what their forward passes are made of where they are written out: there the
# derivative goes back. A rectifier in such a module is one like any other.
_NORMALISING = (
    nn.LocalResponseNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase,
)  # fmt: skip
_NORMALISED_BY = frozenset("square pow sqrt rsqrt reciprocal mul div var std var_mean".split())


class RuleFunction(torch.autograd.Function):
    """`forward_pass(source)` forward, `rule` backward.

    What is saved is never the input or the output: something may work in place on either.
    """

    @staticmethod
    def forward(
        ctx: Any, source: Tensor, forward_pass: Callable, rule: BackwardRule, in_place: bool
    ) -> Tensor:
        """What the network itself computes."""
        saved = rule.save(source)
        if saved is not None and saved.data_ptr() == source.data_ptr():
            saved = saved.clone()
        ctx.save_for_backward(saved)
        ctx.rule = rule
        output = forward_pass(source)
        if in_place:
            ctx.mark_dirty(source)
        return output

    @staticmethod
    def backward(ctx: Any, *signals: Tensor) -> tuple[Tensor, None, None, None]:
        """The signal as the rule sends it on."""
        saved = ctx.saved_tensors[0]
        with torch._C.DisableTorchFunction():  # the rule's own steps need none
            return ctx.rule.backward(signals[0], saved), None, None, None


def _nothing(source: Tensor) -> None:
    return None


STRAIGHT = BackwardRule(_nothing, lambda signal, _: signal)
AGREEING = BackwardRule(torch.sign, lambda signal, sign: signal * (signal * sign > 0))
POSITIVE = BackwardRule(_nothing, lambda signal, _: signal.clamp(min=0))


def positive_where_active(ceiling: float) -> BackwardRule:
    """relu(g) where 0 < a < `ceiling`: the guided rule."""

    def active(source: Tensor) -> Tensor:
        return source > 0 if ceiling == float("inf") else (source > 0) & (source < ceiling)

    return BackwardRule(active, lambda signal, mask: signal.clamp(min=0).mul_(mask))


def leaking(slope: Slope) -> BackwardRule:
    """f(g), f being the rectifier itself, with its `slope` below zero: the deconvnet rule."""
    return BackwardRule(_nothing, lambda signal, _: _leak(signal, slope))


def leaking_where_active(slope: Slope) -> BackwardRule:
    """f(g) f'(x): the guided rule."""

    def backward(signal: Tensor, active: Tensor) -> Tensor:
        leaked = _leak(signal, slope)
        return torch.where(active, leaked, leaked * slope)

    return BackwardRule(lambda source: source > 0, backward)


def _leak(signal: Tensor, slope: Slope) -> Tensor:
    return torch.where(signal > 0, signal, signal * slope)


RULES = ("gradient", "deconvnet", "guided")
TANH_RULES = ("gradient", "straight", "agreeing")
LEAKY_RULES = ("gradient", "rectified", "leaking")

_WITHOUT_RULE = frozenset(
    """sigmoid logsigmoid silu gelu elu selu celu mish softplus softsign hardsigmoid
    hardswish hardshrink softshrink tanhshrink glu softmax softmin
    log_softmax scaled_dot_product_attention multi_head_attention_forward
    abs absolute sign sgn heaviside maximum minimum fmax fmin""".split()
)
# What rectifiers written by hand are made of, as in x * (x > 0).
_COMPARISONS = frozenset(["gt", "ge", "lt", "le", "greater", "greater_equal", "less", "less_equal"])
_LEAKY = frozenset(["leaky_relu", "prelu", "rrelu"])


@dataclass(frozen=True)
class Choice:
    """What happens at rectifiers, at tanh, at rectifiers that leak, and where the user says so.

    Args:
        rule: One of `RULES`.
        tanh: One of `TANH_RULES`, or None: refused.
        leaky: One of `LEAKY_RULES`, or None: refused.
        own: The user's rules; they come before all others.
    """

    rule: str
    tanh: str | None = None
    leaky: str | None = None
    own: BackwardRules = field(default_factory=dict)

    def check(self) -> None:
        """Raise `ProjectionError` for unknown names, and for choices that the gradient excludes."""
        for name, known in (("rule", RULES), ("tanh", TANH_RULES), ("leaky", LEAKY_RULES)):
            value = getattr(self, name)
            if value not in known and (value is not None or name == "rule"):
                written = f"{name} {value!r}" if name == "rule" else f"{name}={value!r}"
                raise ProjectionError(f"unknown {written}; choose one of {', '.join(known)}")
            if self.rule == "gradient" and name != "rule" and value not in (None, "gradient"):
                raise ProjectionError(
                    f"rule='gradient' is the true derivative everywhere; leave {name}={value!r} out"
                )
        if self.rule == "gradient" and self.own:
            raise ProjectionError(
                "rule='gradient' is the true derivative everywhere; leave rules= out"
            )

    def own_rule(self, func: Callable[..., Any], name: str) -> OwnRule | None:
        """The user's rule for the operation `func`, called `name`, if there is one."""
        for operation, rule in self.own.items():
            if operation in (name, func) or (
                not isinstance(operation, type | str)
                and getattr(operation, "__name__", "").strip("_") == name
            ):
                return rule
        return None

    def module_rule(self, module_class: type[nn.Module]) -> OwnRule | None:
        """The user's rule for modules of a class, if there is one."""
        for kind, rule in self.own.items():
            if isinstance(kind, type) and issubclass(module_class, kind):
                return rule
        return None

    def check_call(self, what: str, call: Call) -> None:
        """Raise `ProjectionError` where the way from the image to a layer allows no true picture.

        That is where gradients end on it, and, but for the true derivative, where an operation
        is neither known to be linear nor has a rule.

        Args:
            what: What is projected, such as "layer 'conv5'".
            call: What a trace says of it.
        """
        if call.cut:
            raise ProjectionError(
                f"no gradient leads from {what} back to all of the image: {call.cut}; take "
                "no_grad, detach and reentrant checkpointing out of the network's forward pass"
            )
        for operation in call.nonlinearities if self.rule != "gradient" else ():
            if not self._has_word_on(operation):
                raise self.refusal(operation)

    def _has_word_on(self, operation: NonLinearity) -> bool:
        """Whether `RuledBackward` decides what happens at an operation."""
        if any(self.module_rule(kind) is not None for kind in operation.modules):
            return True
        name, function = operation.name, operation.function
        if function is None or name in _COMPARISONS:
            return False
        if self.own_rule(function, name) is not None or name in NORMALISATIONS:
            return True
        if name in _NORMALISED_BY and any(issubclass(k, _NORMALISING) for k in operation.modules):
            return True
        return name in _WITHOUT_RULE or name in _LEAKY or name == "tanh" or is_rectifier(name)

    def refusal(self, operation: NonLinearity) -> ProjectionError:
        """The error of an operation without a rule."""
        name, layer = operation.name, operation.layer or "the model itself"
        if operation.function is None:
            what = name if " " in name else f"{name} inside of compiled code"
            remedy = "use rule='gradient', or the network before it was compiled"
        else:
            products = ("mul", "matmul", "bmm", "einsum", "conv2d", "linear", "div")
            what = f"{name} of two tensors from the image" if name in products else name
            remedy = (
                f"use rule='gradient', or give rules={{{name!r}: ...}}, where 'gradient' stands "
                "for its derivative"
            )
        return ProjectionError(
            f"{self.rule} has no rule for {what} (layer {layer!r}); "
            f"rules exist for relu, relu6 and clamp(min=0); {remedy}"
        )


class RuledBackward(TorchFunctionMode):
    """While active, rectifiers of every spelling, and tanh, get their backward pass by `choice`.

    Calls are caught where torch dispatches them (`nn.ReLU`, `F.relu`, `torch.relu`, `relu_`,
    `clamp(min=0)`, ...), so the model needs no change; forward values are bit for bit the same.
    A non-linearity without a rule raises `ProjectionError` naming it and the layer.

    Args:
        choice: What happens where.
        copied: The `evaluation_copy` that runs.
        running: The modules of it whose forward is running, as `locating` gives them.
    """

    def __init__(self, choice: Choice, copied: nn.Module, running: Running) -> None:
        super().__init__()
        self.choice, self.copied, self.running = choice, copied, running
        self._hooks = ExitStack()
        self._in_ruled_module: Callable[[], bool] = lambda: False

    def __enter__(self) -> "RuledBackward":
        if any(isinstance(operation, type) for operation in self.choice.own):
            ruled = _ruled_modules(self.choice, self.copied)
            self._in_ruled_module = self._hooks.enter_context(ruled)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._hooks.close()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = dict(kwargs or {})
        if any(self.choice.module_rule(kind) == "gradient" for _, kind in self.running):
            return func(*args, **kwargs)
        if self._in_ruled_module() or not any(map(_carries, tensors_of((args, kwargs)))):
            return func(*args, **kwargs)
        name = operation_name(func)
        own = self.choice.own_rule(func, name) if self.choice.own else None
        if own is not None:
            return self._replace(func, args, kwargs, None if own == "gradient" else own)
        if name in _WITHOUT_RULE or _compares(name, args):
            raise self._refusal(name)
        if name == "tanh":
            return self._replace(func, args, kwargs, self._at_tanh())
        if name in _LEAKY:
            args = args or (kwargs.pop("input"),)
            return self._replace(func, args, kwargs, self._at_leaky(name, args, kwargs))
        if is_rectifier(name):
            args = args or (kwargs.pop("input"),)
            limit = ceiling(name, args, kwargs)
            if limit is None:
                raise self._refusal(name)
            return self._replace(func, args, kwargs, self._at_rectifier(limit))
        return func(*args, **kwargs)

    def _at_rectifier(self, limit: float = UNBOUNDED) -> BackwardRule:
        return POSITIVE if self.choice.rule == "deconvnet" else positive_where_active(limit)

    def _at_tanh(self) -> BackwardRule | None:
        if self.choice.tanh is None:
            raise self._refusal("tanh", f"choose tanh= one of {', '.join(TANH_RULES)}")
        return {"straight": STRAIGHT, "agreeing": AGREEING}.get(self.choice.tanh)

    def _at_leaky(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> BackwardRule | None:
        if self.choice.leaky is None:
            raise self._refusal(name, f"choose leaky= one of {', '.join(LEAKY_RULES)}")
        if self.choice.leaky == "gradient":
            return None
        if self.choice.leaky == "rectified":
            return self._at_rectifier()
        slope = _slope(name, args, kwargs)
        return leaking(slope) if self.choice.rule == "deconvnet" else leaking_where_active(slope)

    @staticmethod
    def _replace(func, args, kwargs, rule: BackwardRule | None) -> Tensor:
        """Run `func` as it is, in place where it works in place, with `rule` back if any."""
        if rule is None:
            return func(*args, **kwargs)
        args = args or (kwargs.pop("input"),)
        in_place = is_in_place(func, kwargs)
        source, *more = args
        return RuleFunction.apply(source, lambda x: func(x, *more, **kwargs), rule, in_place)

    def _refusal(self, name: str, remedy: str = "") -> ProjectionError:
        layer = self.running[-1][0] if self.running else ""
        error = self.choice.refusal(NonLinearity(name, self._refusal, layer, ()))
        if not remedy:
            return error
        return ProjectionError(f"{str(error).partition('; use rule=')[0]}; {remedy}")


@contextmanager
def _ruled_modules(choice: Choice, copied: nn.Module) -> Iterator[Callable[[], bool]]:
    """While the block runs, modules of the classes in `choice.own` are sent back through by rule.

    What such a module computes is not differentiated, so nothing in it needs a rule. The function
    that the block gets says whether one of them is running.
    """
    running: list[tuple[nn.Module, Tensor, Tensor]] = []

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
        if running:
            return None
        if not inputs or not isinstance(inputs[0], Tensor):
            raise ProjectionError(
                f"a rule for {type(module).__name__} needs its input as first argument"
            )
        # A copy, so that a module that works in place shows it by the copy's version.
        copy = inputs[0].detach().clone()
        running.append((module, inputs[0], copy))
        return (copy, *inputs[1:])

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if not running or running[-1][0] is not module:
            return None
        _, source, copy = running[-1]
        rule, in_place = choice.module_rule(type(module)), copy._version > 0
        compute = (lambda x: x.copy_(output)) if in_place else (lambda _: output.detach())
        # Still counted as running, so that what the rule itself computes needs no rule.
        output = RuleFunction.apply(source, compute, rule, in_place)
        running.pop()
        return output

    handles = []
    for module in modules_by_path(copied).values():
        if isinstance(choice.module_rule(type(module)), BackwardRule):
            # First of all that look at the module: what they are shown must have a gradient.
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(leave, prepend=True))
    try:
        yield lambda: bool(running)
    finally:
        for handle in handles:
            handle.remove()


def _carries(tensor: Tensor) -> bool:
    """Whether a signal may come back through `tensor`: one that stands for others hides theirs."""
    return tensor.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(tensor)


def _compares(name: str, args: tuple[Any, ...]) -> bool:
    """Whether activations are compared, alone or by the larger of two."""
    tensors = [part for part in args if isinstance(part, Tensor)]
    if name in ("max", "min"):
        return len(tensors) == 2
    return name in _COMPARISONS and any(tensor.requires_grad for tensor in tensors)


def signal_at(by: Tensor, goal: Tensor, *, keep_graph: bool = False) -> Tensor | None:
    """The backward pass from the number `goal` to `by`; None where no graph leads there.

    As `torch.autograd.grad`, under which no mode of torch's functions is active: what a network
    checkpoints is run again on the way back, and then needs the rules as well.
    """
    engine = torch.autograd.Variable._execution_engine
    (signal,) = engine.run_backward(
        (goal,), (torch.ones_like(goal),), keep_graph, False, (by,), True, accumulate_grad=False
    )
    return signal


# Whose backward passes are known; None is torch's own.
_OURS = (None, RuleFunction, Narrowed, BackwardHookFunction)


def refuse_own_functions(values: Tensor, rule: str) -> None:
    """Raise `ProjectionError` where the graph of `values` holds a user's `autograd.Function`.

    Its backward pass is not torch's, so no rule can be put in its place.
    """
    nodes, seen = [values.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        function = getattr(type(node), "_forward_cls", None)
        if function is CheckpointFunction:
            raise ProjectionError(
                "activations are checkpointed with use_reentrant=True, which allows no gradient "
                "by the image alone; build the network with use_reentrant=False, or without"
            )
        if rule != "gradient" and function not in _OURS:
            raise ProjectionError(
                f"{rule} has no rule for the autograd function {function.__name__}; "
                "use rule='gradient'"
            )
        nodes += [before for before, _ in node.next_functions]


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
