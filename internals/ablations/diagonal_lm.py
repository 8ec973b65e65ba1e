"""Stochastic diagonal Levenberg-Marquardt: a learning rate for each weight from its curvature.

LeCun, Bottou, Bengio and Haffner (1998), section III-C and appendix C. The rate of weight k is
eta / (mu + h_kk), where h_kk is the second derivative of the loss along that weight, estimated by
passing second derivatives backwards like gradients, with squared weights, squared inputs and
squared slopes (Gauss-Newton: the curvature of the units themselves is left out, and so is what
two units have in common).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import grad as adjoints

from internals.errors import AblationError
from internals.models.lenet5 import AvgPool2d, RBFOutputLayer, ScaledTanh
from internals.training.losses import Loss, Map
from internals.training.optim import OptimizerChoice

Diagonal = dict[Tensor, Tensor]  # h_kk by its parameter, in the parameter's shape

_SAMPLES = 500  # images that the first estimate is made of


@dataclass(frozen=True)
class StochasticDiagonalLM(OptimizerChoice):
    """The paper's optimiser as a choice of a recipe, for a LeNet-5 with the MAP loss.

    The curvature is estimated from the first 500 images before the first step, and then from each
    batch, as a running mean.

    Args:
        lr: eta of eq. 21.
        mu: Keeps the rate finite where the loss is flat.
        share: The share of the newest batch in the running mean. Of 0.01, 0.03, 0.1, 0.3, 0.6 and
            1 the default read held-out digits best after the short runs of the quick profile.
            After those of the full one 0.01 was better by a third of a point; in the short ones it
            mostly ends in guessing.
    """

    mu: float = 0.02
    share: float = 0.03

    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """A `DiagonalLM` over all weights of `model`."""
        return DiagonalLM(model.parameters(), self.lr, self.mu)

    def before_step(
        self,
        optimizer: torch.optim.Optimizer,
        model: nn.Module,
        loss: Loss,
        inputs: Tensor,
        step: int,
        first_inputs: Callable[[int], Tensor],
    ) -> None:
        """Measure the curvature where the weights stand now."""
        assert isinstance(optimizer, DiagonalLM)
        if not isinstance(loss, Map):
            raise AblationError(f"the curvature of {loss} is unknown here; use the loss Map")
        sample = inputs if step else first_inputs(_SAMPLES)
        curvature = gauss_newton_diagonal(model, sample, loss.j)
        optimizer.update_curvature(curvature, self.share if step else 1.0)


class DiagonalLM(torch.optim.Optimizer):
    """Gradient descent in which weight k moves by lr / (mu + h_kk) times its gradient (eq. 21)."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, mu: float = 0.02) -> None:
        super().__init__(list(parameters), {"lr": lr, "mu": mu})

    def update_curvature(self, curvature: Mapping[Tensor, Tensor], share: float = 1.0) -> None:
        """Take new second derivatives into the running estimate (appendix C).

        Args:
            curvature: h_kk by parameter, in the parameter's shape.
            share: How much of the estimate they make up; the rest is what it was.
        """
        for parameter, diagonal in curvature.items():
            state = self.state[parameter]
            before = state.get("curvature", diagonal)
            state["curvature"] = torch.lerp(before, diagonal, share)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the gradients that are there; call `update_curvature` before the first."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    damped = self.state[parameter]["curvature"] + group["mu"]
                    parameter.addcdiv_(parameter.grad, damped, value=-group["lr"])


@torch.no_grad()
def gauss_newton_diagonal(
    model: nn.Module, inputs: Float[Tensor, "n 1 size size"], j: float
) -> Diagonal:
    """The second derivative of the MAP loss along every weight of a LeNet-5.

    Args:
        model: Its children are the layers in call order, the last of them the distances to fixed
            codes.
        inputs: Normalised digits; the result is the mean over them.
        j: The penalty of rubbish in the loss.

    Returns:
        h_kk by parameter, in the parameter's shape.

    Raises:
        AblationError: For a layer that has no rule here.
    """
    *layers, output = model.children()
    if not isinstance(output, RBFOutputLayer):
        raise AblationError(f"the curvature of {output} is unknown here; use output='bitmaps'")
    layers = [layer for layer in layers if not isinstance(layer, nn.Dropout)]
    passed: list[tuple[nn.Module, Tensor, Tensor]] = []
    signal = inputs
    for layer in layers:
        before = signal.flatten(1) if isinstance(layer, nn.Linear) else signal
        signal = layer(before)
        passed.append((layer, before, signal))
    second = map_curvature(signal, output.prototypes, j)
    totals: Diagonal = {}
    for layer, before, after in reversed(passed):
        second = _backward(layer, before, second.view_as(after), totals)
    return {parameter: total / len(inputs) for parameter, total in totals.items()}


def map_curvature(
    x: Float[Tensor, "n units"], codes: Float[Tensor, "classes units"], j: float
) -> Float[Tensor, "n units"]:
    """The second derivative of the MAP loss (eq. 9) along each unit that is compared with codes.

    2 (1 - P) + 4 V: P is the posterior of all classes but rubbish, V the posterior variance of
    the unit's distance to its place in the code (0 for rubbish). It depends on no label.

    Args:
        x: The outputs of F6.
        codes: The code of each class.
        j: The penalty of rubbish.
    """
    away = x.unsqueeze(1) - codes
    penalties = away.square().sum(dim=2)
    rubbish = penalties.new_full((len(x), 1), j)
    posterior = (-torch.cat([penalties, rubbish], dim=1)).softmax(dim=1)[:, :-1, None]
    variance = (posterior * away.square()).sum(dim=1) - (posterior * away).sum(dim=1).square()
    return 2 * (1 - posterior.sum(dim=1)) + 4 * variance


def _backward(layer: nn.Module, before: Tensor, second: Tensor, totals: Diagonal) -> Tensor:
    """From second derivatives by a layer's outputs to those by its weights and by its inputs."""
    if isinstance(layer, nn.Conv2d):
        stride, padding = layer.stride, layer.padding
        squares = layer.weight.square()
        totals[layer.weight] = adjoints.conv2d_weight(
            before.square(), squares.shape, second, stride, padding
        )
        _add_bias(layer, second.sum(dim=(0, 2, 3)), totals)
        return adjoints.conv2d_input(before.shape, squares, second, stride, padding)
    if isinstance(layer, nn.Linear):
        totals[layer.weight] = second.t() @ before.square()
        _add_bias(layer, second.sum(dim=0), totals)
        return second @ layer.weight.square()
    if isinstance(layer, AvgPool2d):
        spread = second.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return spread / 16  # each of the four inputs weighs 1/4
    if isinstance(layer, ScaledTanh):
        with torch.enable_grad():
            leaf = before.detach().requires_grad_()
            (slope,) = torch.autograd.grad(layer(leaf).sum(), leaf)
        return second * slope.square()
    raise AblationError(
        f"second derivatives have no way back through {type(layer).__name__}; "
        "StochasticDiagonalLM is for the default LeNet-5"
    )


def _add_bias(layer: nn.Conv2d | nn.Linear, total: Tensor, totals: Diagonal) -> None:
    if layer.bias is not None:
        totals[layer.bias] = total
