"""Stochastic diagonal Levenberg-Marquardt: a learning rate for each weight from its curvature.

LeCun, Bottou, Bengio and Haffner (1998), section III-C and appendix C. The rate of weight k is
eta / (mu + h_kk), where h_kk is the second derivative of the loss along that weight, estimated by
passing second derivatives backwards like gradients, with squared weights, squared inputs and
squared slopes (Gauss-Newton: the curvature of the units themselves is left out, and so is what
two units have in common).
"""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import grad as adjoints

from internals.errors import AblationError
from internals.models.lenet5 import AvgPool2d, RBFOutputLayer, ScaledTanh

Diagonal = dict[Tensor, Tensor]  # h_kk by its parameter, in the parameter's shape

MU = 0.02  # keeps the rate finite where the loss is flat
SAMPLES = 500  # images that the first estimate is made of


class DiagonalLM(torch.optim.Optimizer):
    """Gradient descent in which weight k moves by lr / (mu + h_kk) times its gradient (eq. 21)."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, mu: float = MU) -> None:
        super().__init__(list(parameters), {"lr": lr, "mu": mu})

    def measure(self, curvature: Mapping[Tensor, Tensor], share: float = 1.0) -> None:
        """Let `curvature`, h_kk by parameter, make up `share` of what the next steps go by.

        The rest is what they went by before: a running estimate, as appendix C has it.
        """
        for parameter, diagonal in curvature.items():
            state = self.state[parameter]
            before = state.get("curvature", diagonal)
            state["curvature"] = torch.lerp(before, diagonal, share)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the gradients that are there; call `measure` before the first."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    damped = self.state[parameter]["curvature"] + group["mu"]
                    parameter.addcdiv_(parameter.grad, damped, value=-group["lr"])


@torch.no_grad()
def gauss_newton_diagonal(
    model: nn.Module, inputs: Float[Tensor, "n 1 size size"], rubbish_penalty: float
) -> Diagonal:
    """h_kk of every weight of a LeNet-5 under the MAP loss, the mean over `inputs`.

    The layers must be `model`'s children in call order, the last of them the distances to fixed
    codes. Raises `AblationError` for a layer that has no rule here.
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
    second = map_curvature(signal, output.prototypes, rubbish_penalty)
    found: Diagonal = {}
    for layer, before, after in reversed(passed):
        second = _backward(layer, before, second.view_as(after), found)
    return {parameter: total / len(inputs) for parameter, total in found.items()}


def map_curvature(
    x: Float[Tensor, "n units"], codes: Float[Tensor, "classes units"], rubbish_penalty: float
) -> Float[Tensor, "n units"]:
    """The second derivative of the MAP loss (eq. 9) along each unit that is compared with codes.

    2 (1 - P) + 4 V: P is the posterior of all classes but rubbish, V the posterior variance of
    the unit's distance to its place in the code (0 for rubbish). It depends on no label.
    """
    away = x.unsqueeze(1) - codes
    penalties = away.square().sum(dim=2)
    rubbish = penalties.new_full((len(x), 1), rubbish_penalty)
    posterior = (-torch.cat([penalties, rubbish], dim=1)).softmax(dim=1)[:, :-1, None]
    variance = (posterior * away.square()).sum(dim=1) - (posterior * away).sum(dim=1).square()
    return 2 * (1 - posterior.sum(dim=1)) + 4 * variance


def _backward(layer: nn.Module, before: Tensor, second: Tensor, found: Diagonal) -> Tensor:
    """From second derivatives by a layer's outputs to those by its weights and by its inputs."""
    if isinstance(layer, nn.Conv2d):
        stride, padding = layer.stride, layer.padding
        squares = layer.weight.square()
        found[layer.weight] = adjoints.conv2d_weight(
            before.square(), squares.shape, second, stride, padding
        )
        _bias(layer, second.sum(dim=(0, 2, 3)), found)
        return adjoints.conv2d_input(before.shape, squares, second, stride, padding)
    if isinstance(layer, nn.Linear):
        found[layer.weight] = second.t() @ before.square()
        _bias(layer, second.sum(dim=0), found)
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
        "optimizer='sdlm' is for the default LeNet-5"
    )


def _bias(layer: nn.Conv2d | nn.Linear, total: Tensor, found: Diagonal) -> None:
    if layer.bias is not None:
        found[layer.bias] = total
