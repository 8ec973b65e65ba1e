"""Steps along the sign of a loss's gradient, in pixels from 0 to 1 whatever the network reads.

The fast gradient sign method takes one step, projected gradient descent many. Both take the module,
its normalisation and its loss apart, as a training loop has them; `SignedSteps` in
`internals.attacks.robustness` applies them to a `Network`.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from internals.data.normalization import InputMap
from internals.errors import AttackError
from internals.models.evaluation import evaluating

# (outputs, labels) -> their mean loss, as the losses that networks are trained with.
MeanLoss = Callable[[Tensor, Tensor], Tensor]

_REACH = 2.5  # the length of all steps together, in radii: enough to cross the ball from any start


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
    """Attack `pixels` with the fast gradient sign method: one step of `epsilon` up the loss.

    x + epsilon sign(grad_x J(x, label)), cut to [0, 1], or towards `targets`
    x - epsilon sign(grad_x J(x, target)) (Goodfellow et al. 2015, section 4). A pixel whose
    gradient is exactly 0 stays as it is.

    Args:
        model: Works in evaluation mode and is left as it was found.
        pixels: Images (n, channels, height, width) in [0, 1], black to white.
        labels: The right classes, (n,).
        epsilon: How far each pixel moves, in [0, 1].
        normalization: From pixels to the network's input; the gradient goes through it.
        loss: The mean loss of outputs and labels.
        targets: The classes to be reached, (n,); without them the attack is untargeted.

    Returns:
        Adversarial pixels, of the shape of `pixels` and in [0, 1].

    Raises:
        AttackError: The pixels are bytes, or they or `epsilon` lie outside [0, 1].
    """
    _check(pixels, epsilon)
    classes, direction = _objective(pixels, labels, targets)
    with evaluating(model):
        gradient = input_gradient(model, pixels, classes, normalization=normalization, loss=loss)
    return _project(pixels + direction * epsilon * gradient.sign(), pixels, epsilon)


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
    """Attack `pixels` with projected gradient descent: many signed steps within the ball.

    After each step every pixel is brought back to within `epsilon` of where it was and to [0, 1]
    (Madry et al. 2018, section 2.1). Without a random start this is the basic iterative method
    (Kurakin et al. 2017).

    Args:
        model: Works in evaluation mode and is left as it was found.
        pixels: Images (n, channels, height, width) in [0, 1], black to white.
        labels: The right classes, (n,).
        epsilon: The radius of the ball, in [0, 1].
        steps: How many steps are taken.
        step: The length of each; by default 2.5 epsilon / steps.
        normalization: From pixels to the network's input; the gradient goes through it.
        loss: The mean loss of outputs and labels.
        targets: The classes to be reached, (n,); without them the attack is untargeted.
        generator: Draws the first place uniformly from the ball; without it the first step is
            taken from `pixels + start`.
        start: An offset of the shape of `pixels`; by default 0.

    Returns:
        Adversarial pixels, of the shape of `pixels` and in [0, 1].

    Raises:
        AttackError: As for `fgsm`, and for fewer than one step or steps not above 0.
    """
    _check(pixels, epsilon)
    step = _REACH * epsilon / max(1, steps) if step is None else step
    if steps < 1 or step < 0 or (step == 0 and epsilon > 0):
        raise AttackError(f"steps={steps} of step={step:g} go nowhere; give at least 1 above 0")
    classes, direction = _objective(pixels, labels, targets)
    if generator is not None:
        start = random_start(pixels.shape, epsilon, generator).to(pixels)
    perturbed = pixels if start is None else _project(pixels + start, pixels, epsilon)
    with evaluating(model):
        for _ in range(steps):
            gradient = input_gradient(
                model, perturbed, classes, normalization=normalization, loss=loss
            )
            perturbed = _project(perturbed + direction * step * gradient.sign(), pixels, epsilon)
    return perturbed


def input_gradient(
    model: nn.Module,
    pixels: Float[Tensor, "n channels height width"],
    labels: Int64[Tensor, " n"],
    *,
    normalization: InputMap,
    loss: MeanLoss,
) -> Float[Tensor, "n channels height width"]:
    """The gradient of the mean loss by each pixel, in the mode that the model is in.

    No gradient of a parameter is computed, and none that is there is touched.

    Args:
        model: The network.
        pixels: Images (n, channels, height, width) in [0, 1].
        labels: The classes whose loss is meant, (n,).
        normalization: From pixels to the network's input.
        loss: The mean loss of outputs and labels.

    Returns:
        The gradient, of the shape of `pixels`.
    """
    with torch.enable_grad():
        leaf = pixels.detach().clone().requires_grad_(True)
        value = loss(model(normalization.apply(255 * leaf)), labels)
        (gradient,) = torch.autograd.grad(value, leaf)
    return gradient


def random_start(
    shape: torch.Size, epsilon: float, generator: torch.Generator
) -> Float[Tensor, "n channels height width"]:
    """An offset for each image drawn uniformly from the ball of radius `epsilon` about 0.

    Args:
        shape: (n, channels, height, width).
        epsilon: The radius.
        generator: On whose device the offsets are drawn: a CPU generator gives the same numbers on
            every machine.

    Returns:
        Offsets of `shape`, each within [-epsilon, epsilon].
    """
    uniform = torch.rand(shape, generator=generator, device=generator.device)
    return (2 * uniform - 1) * epsilon


def _objective(pixels: Tensor, labels: Tensor, targets: Tensor | None) -> tuple[Tensor, int]:
    """The classes whose loss is followed, and whether up (1) or down (-1)."""
    classes, direction = (labels, 1) if targets is None else (targets, -1)
    return classes.to(pixels.device), direction


def _project(perturbed: Tensor, pixels: Tensor, epsilon: float) -> Tensor:
    """The nearest pixels in [0, 1] that lie within `epsilon` of `pixels`."""
    return torch.clamp(perturbed, (pixels - epsilon).clamp_min(0), (pixels + epsilon).clamp_max(1))


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
