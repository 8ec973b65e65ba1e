"""How gradients become steps: the optimiser and its learning rate, as choices of a recipe."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor, nn

from internals.errors import TrainingError
from internals.models.blocks import depthwise
from internals.training.losses import Loss


@dataclass(frozen=True)
class OptimizerChoice:
    """What all optimisers have in common; a subclass says in `build` which of torch's it is.

    Args:
        lr: The highest learning rate of the run, for a step of `Recipe.batch_size` images.
    """

    lr: float

    def __post_init__(self) -> None:
        require("lr", self.lr, above=0)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """torch's optimiser over all weights of `model`."""
        raise NotImplementedError

    def before_step(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        loss: Loss,
        inputs: Tensor,
        step: int,
        first_inputs: Callable[[int], Tensor],
    ) -> None:
        """Whatever else a step needs to know: nothing, unless a subclass says otherwise.

        Args:
            optimizer: What `build` returned.
            model: The network, before its forward pass.
            loss: What it is trained to make small.
            inputs: The step's inputs, (n, c, h, w).
            step: The number of the step, counted from 0 over the whole run.
            first_inputs: Gives the first so many training images as inputs, not augmented.
        """


@dataclass(frozen=True)
class DecayingOptimizer(OptimizerChoice):
    """An optimiser with weight decay.

    Args:
        lr: The highest learning rate of the run.
        weight_decay: Decoupled from the gradient for AdamW, a part of it for the others.
        decay_depthwise: Whether weight decay acts on depthwise filters too. Howard et al. (2017,
            section 3.2) found it important to put "very little or no weight decay" on them.
    """

    weight_decay: float = 0.0
    decay_depthwise: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require("weight_decay", self.weight_decay, least=0)

    def parameter_groups(self, model: nn.Module) -> list[dict]:
        """All parameters of `model` with the weight decay, depthwise filters apart if spared."""
        spared = {
            id(module.weight)
            for module in model.modules()
            if depthwise(module) and not self.decay_depthwise
        }
        decayed = [p for p in model.parameters() if id(p) not in spared]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}]
        if spared:
            rest = [p for p in model.parameters() if id(p) in spared]
            groups.append({"params": rest, "weight_decay": 0.0})
        return groups


def require(
    name: str,
    value: float | int,
    *,
    least: float | int | None = None,
    above: float | int | None = None,
    below: float | int = float("inf"),
) -> None:
    """Raise `TrainingError` unless the number called `name` lies in its range, and is finite."""
    too_small = (least is not None and not value >= least) or (
        above is not None and not value > above
    )
    if too_small or not value < below:
        low = f"{least:g} or more" if least is not None else f"above {above:g}"
        high = "finite" if below == float("inf") else f"below {below:g}"
        raise TrainingError(f"{name}={value} must be {low} and {high}")


@dataclass(frozen=True)
class SGD(DecayingOptimizer):
    """Stochastic gradient descent with momentum."""

    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        require("momentum", self.momentum, least=0, below=1)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """torch's SGD over all weights of `model`."""
        # Fused, a step over VGG-16's 134 million weights takes a quarter of the time.
        groups = self.parameter_groups(model)
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, fused=True)


@dataclass(frozen=True)
class RMSprop(DecayingOptimizer):
    """RMSprop with momentum.

    Args:
        alpha: How much of the mean of squared gradients is kept at each step.
        eps: Added outside the root.
        momentum: How much of the step before is kept.
    """

    alpha: float = 0.9
    eps: float = 1.0
    momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        require("alpha", self.alpha, least=0, below=1)
        require("eps", self.eps, least=0)
        require("momentum", self.momentum, least=0, below=1)

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """torch's RMSprop over all weights of `model`."""
        return torch.optim.RMSprop(
            self.parameter_groups(model),
            lr=self.lr,
            alpha=self.alpha,
            eps=self.eps,
            momentum=self.momentum,
        )


@dataclass(frozen=True)
class Adam(DecayingOptimizer):
    """Adam with torch's constants."""

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """torch's Adam over all weights of `model`."""
        return torch.optim.Adam(self.parameter_groups(model), lr=self.lr, fused=True)


@dataclass(frozen=True)
class AdamW(DecayingOptimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """torch's AdamW over all weights of `model`."""
        return torch.optim.AdamW(self.parameter_groups(model), lr=self.lr, fused=True)


@dataclass(frozen=True)
class Schedule:
    """How the learning rate moves, after a linear rise over the share `warm_up` of all steps."""

    warm_up: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.warm_up < 1:
            raise TrainingError(f"warm_up={self.warm_up} must be a share of all steps, 0 to 1")

    def factor_at(
        self, step: float, steps: float, epoch: int, validation_top1: Sequence[float]
    ) -> float:
        """What the highest rate is multiplied by at `step` of `steps`, both after the warm-up.

        Args:
            step: The number of the step, counted from the end of the warm-up.
            steps: How many steps there are after the warm-up.
            epoch: Epochs that are over, warm-up included.
            validation_top1: The validation accuracy of each of these epochs.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """The rate stays."""

    def factor_at(
        self, step: float, steps: float, epoch: int, validation_top1: Sequence[float]
    ) -> float:
        """Always 1."""
        return 1.0


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from the highest rate to 0 (Loshchilov and Hutter 2017)."""

    def factor_at(
        self, step: float, steps: float, epoch: int, validation_top1: Sequence[float]
    ) -> float:
        """Between 1 and 0."""
        return 0.5 * (1 + cos(pi * step / steps))


@dataclass(frozen=True)
class StepDecay(Schedule):
    """The rate is multiplied by `factor` after every `epochs` epochs."""

    epochs: int = 1
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require("epochs", self.epochs, least=1)
        require("factor", self.factor, above=0)

    def factor_at(
        self, step: float, steps: float, epoch: int, validation_top1: Sequence[float]
    ) -> float:
        """`factor` to the number of times that `epochs` epochs are over."""
        return self.factor ** (epoch // self.epochs)


@dataclass(frozen=True)
class Plateau(Schedule):
    """The rate is multiplied by `factor` when the validation accuracy stalls.

    Args:
        patience: Epochs without a better validation top-1 that are let pass.
        factor: What the rate is then multiplied by.
    """

    patience: int = 0
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require("patience", self.patience, least=0)
        require("factor", self.factor, above=0)

    def factor_at(
        self, step: float, steps: float, epoch: int, validation_top1: Sequence[float]
    ) -> float:
        """`factor` to the number of stalls so far."""
        return self.factor ** plateaus(validation_top1, self.patience)


def plateaus(scores: Sequence[float], patience: int) -> int:
    """How often more than `patience` epochs in a row brought no score above the best before them.

    After each such stretch the count begins anew, as in torch's `ReduceLROnPlateau` in mode "max"
    with threshold 0.

    Args:
        scores: One score an epoch.
        patience: Epochs without improvement that are let pass.
    """
    best, waited, count = float("-inf"), 0, 0
    for score in scores:
        waited = 0 if score > best else waited + 1
        best = max(best, score)
        if waited > patience:
            count, waited = count + 1, 0
    return count


def learning_rate(
    lr: float,
    schedule: Schedule,
    step: int,
    steps: int,
    steps_an_epoch: int,
    validation_top1: Sequence[float] = (),
) -> float:
    """The learning rate of one optimiser step.

    Args:
        lr: The highest rate of the run.
        schedule: How it rises and falls.
        step: The number of the step, counted from 0 over the whole run.
        steps: How many steps the run has.
        steps_an_epoch: How many of them make an epoch.
        validation_top1: The validation accuracy of the epochs that are over. It alone decides
            `Plateau`, so that a run that is resumed needs no other memory.
    """
    warming = schedule.warm_up * steps
    if step < warming:
        return lr * (step + 1) / (warming + 1)
    epoch = step // steps_an_epoch
    return lr * schedule.factor_at(step - warming, steps - warming, epoch, validation_top1)
