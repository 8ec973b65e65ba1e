"""Steps along the sign of a loss's gradient, in pixels from 0 to 1 whatever the network reads."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from internals.data.normalization import InputMap
from internals.errors import AttackError
from internals.models.evaluation import evaluating

# (outputs, labels) -> their mean loss, as the losses that networks are trained with.
MeanLoss = Callable[[Tensor, Tensor], Tensor]

_FARTHER = 2.5  # the way that all steps together can go, in radii: from any start to any place


def fgsm(
    model: nn.Module,
    pixels: Float[Tensor, "n channels height width"],
    labels: Int64[Tensor, " n"],
    epsilon: float,
    *,
    normalization: InputMap,
    loss: MeanLoss,
    targets: Int64[Tensor, " n"] | None = None,
) -> Float[Tensor, "n channels height width"]:
    """`pixels` after one step of `epsilon` up the loss (Goodfellow et al. 2015, section 4).

    x + epsilon sign(grad_x J(x, label)), cut to [0, 1]; towards `targets`, where they are given,
    x - epsilon sign(grad_x J(x, target)). `pixels` and `epsilon` are in [0, 1], black to white;
    `normalization` makes of pixels what the network reads, inside the gradient. A pixel whose
    gradient is exactly 0 stays. The network works in evaluation mode and is left as it was found.
    Raises `AttackError` for bytes, and for pixels or an epsilon outside [0, 1].
    """
    _check(pixels, epsilon)
    answers, way = _aim(pixels, labels, targets)
    with evaluating(model):
        gradient = input_gradient(model, pixels, answers, normalization=normalization, loss=loss)
    return _projected(pixels + way * epsilon * gradient.sign(), pixels, epsilon)


def pgd(
    model: nn.Module,
    pixels: Float[Tensor, "n channels height width"],
    labels: Int64[Tensor, " n"],
    epsilon: float,
    *,
    steps: int,
    step: float | None = None,
    normalization: InputMap,
    loss: MeanLoss,
    targets: Int64[Tensor, " n"] | None = None,
    generator: torch.Generator | None = None,
    start: Float[Tensor, "n channels height width"] | None = None,
) -> Float[Tensor, "n channels height width"]:
    """`steps` signed steps of `step` each, projected on the ball (Madry et al. 2018, section 2.1).

    After each step every pixel is brought back to within `epsilon` of where it was and to [0, 1].
    The first step is taken from `pixels`, from a place drawn uniformly from the ball by
    `generator`, or from `pixels + start`; without a random start this is the basic iterative
    method (Kurakin et al. 2017). `step` is 2.5 epsilon / steps unless given. All else is as in
    `fgsm`; `AttackError` also for less than one step or one that is not above 0.
    """
    _check(pixels, epsilon)
    step = _FARTHER * epsilon / max(1, steps) if step is None else step
    if steps < 1 or step < 0 or (step == 0 and epsilon > 0):
        raise AttackError(f"steps={steps} of step={step:g} go nowhere; give at least 1 above 0")
    answers, way = _aim(pixels, labels, targets)
    if generator is not None:
        start = random_start(pixels.shape, epsilon, generator).to(pixels)
    found = pixels if start is None else _projected(pixels + start, pixels, epsilon)
    with evaluating(model):
        for _ in range(steps):
            gradient = input_gradient(model, found, answers, normalization=normalization, loss=loss)
            found = _projected(found + way * step * gradient.sign(), pixels, epsilon)
    return found


def input_gradient(
    model: nn.Module,
    pixels: Float[Tensor, "n channels height width"],
    labels: Int64[Tensor, " n"],
    *,
    normalization: InputMap,
    loss: MeanLoss,
) -> Float[Tensor, "n channels height width"]:
    """The gradient of the mean loss by each of `pixels` (0 to 1), in the mode the model is in.

    No gradient of a parameter is computed, and none that is there is touched.
    """
    with torch.enable_grad():
        leaf = pixels.detach().clone().requires_grad_(True)
        value = loss(model(normalization.apply(255 * leaf)), labels)
        (gradient,) = torch.autograd.grad(value, leaf)
    return gradient


def random_start(
    shape: torch.Size, epsilon: float, generator: torch.Generator
) -> Float[Tensor, "n channels height width"]:
    """A place for each image drawn uniformly from the ball of radius `epsilon` about 0.

    Drawn on the generator's device, so that a CPU generator gives the same on every machine.
    """
    drawn = torch.rand(shape, generator=generator, device=generator.device)
    return (2 * drawn - 1) * epsilon


def _aim(pixels: Tensor, labels: Tensor, targets: Tensor | None) -> tuple[Tensor, int]:
    """The answers whose loss is followed, and whether up (1) or down (-1)."""
    aimed, way = (labels, 1) if targets is None else (targets, -1)
    return aimed.to(pixels.device), way


def _projected(found: Tensor, pixels: Tensor, epsilon: float) -> Tensor:
    return torch.clamp(found, (pixels - epsilon).clamp_min(0), (pixels + epsilon).clamp_max(1))


def _check(pixels: Tensor, epsilon: float) -> None:
    if not 0 <= epsilon <= 1:
        raise AttackError(f"epsilon={epsilon:g} is not in [0, 1], the range of a pixel")
    if not pixels.is_floating_point():
        raise AttackError(f"pixels are {pixels.dtype}; give real numbers in [0, 1], bytes / 255")
    if pixels.numel() and not 0 <= float(pixels.min()) <= float(pixels.max()) <= 1:
        raise AttackError(
            f"pixels run from {pixels.min():g} to {pixels.max():g}, not within [0, 1]; "
            "give them before the network's normalisation"
        )
