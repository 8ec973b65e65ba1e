"""Which pixels a class score answers to: the gradient, and three ways to steady it."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.activations.mining import Images
from internals.activations.recording import as_input
from internals.errors import ProjectionError
from internals.progress import Progress
from internals.projection.class_scores import (
    Classes,
    Score,
    as_exact,
    image_shape,
    input_gradients,
    one_class_each,
    predicted,
)


def saliency(
    model: nn.Module, images: Images, classes: Classes = None, *, score: Score | None = None
) -> Float[Tensor, "n height width"]:
    """How much each pixel's change moves the class score: the largest |d score / d channel|.

    `images` are normalised, (n, c, h, w); `classes` are one for all, one an image, or None for the
    class with the highest score. The score is the model's own output, before any softmax, or what
    `score` makes of the outputs, such as a loss's `scores`. Raises `ProjectionError` for shapes and
    classes that do not fit. (Simonyan, Vedaldi and Zisserman, 2013, section 3.1.)
    """
    return _gradients(model, images, classes, score).abs().amax(dim=1)


def gradient_times_input(
    model: nn.Module, images: Images, classes: Classes = None, *, score: Score | None = None
) -> Float[Tensor, "n channels height width"]:
    """The gradient of the class score, weighted by the pixel itself: its share if all were linear.

    Signed. A pixel of value 0 gets 0, so that the picture depends on the normalisation. Arguments
    and errors as for `saliency`. (Shrikumar et al., 2016.)
    """
    gradients = _gradients(model, images, classes, score)
    return gradients * images[:].detach().to(gradients)


def integrated_gradients(
    model: nn.Module,
    images: Images,
    classes: Classes = None,
    *,
    steps: int = 50,
    baseline: int | float | Tensor = 0.0,
    score: Score | None = None,
) -> Float[Tensor, "n channels height width"]:
    """What each pixel adds to the class score on the straight way from `baseline` to the image.

    (x - baseline) times the mean gradient on the way, by Gauss and Legendre's rule with `steps`
    points. Signed, and complete: an image's pixels sum to its score less the baseline's, but for
    the error of the rule, which falls with `steps`. `baseline` is a number or fits (n, c, h, w).
    Other arguments and errors as for `saliency`. (Sundararajan, Taly and Yan, 2017, eq. 1.)
    """
    _at_least(1, steps=steps)
    chosen = predicted(model, images, classes, score)
    start = _fitting(baseline, (len(images), *image_shape(images)))
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    found = []
    with Progress("integrated gradients", len(images), "image", quiet=10) as bar:
        for number, label in enumerate(chosen.tolist()):
            image = _one(model, images, number)
            origin = start[number].to(image)
            shares, ways = (torch.as_tensor(x / 2).to(image) for x in (weights, nodes + 1))
            points = origin + ways.view(-1, 1, 1, 1) * (image - origin)
            gradients = input_gradients(model, points, one_class_each(label, steps), score)
            found.append((image - origin)[0] * torch.tensordot(shares, gradients, 1))
            bar.advance()
    return torch.stack(found)


def smooth_grad(
    model: nn.Module,
    images: Images,
    classes: Classes = None,
    *,
    samples: int = 50,
    noise: int | float = 0.15,
    seed: int = 0,
    score: Score | None = None,
) -> Float[Tensor, "n channels height width"]:
    """The mean gradient of the class score over `samples` noisy copies of the image.

    `noise` is the standard deviation of Gaussian noise as a share of the image's range, maximum
    less minimum; the class is that of the image without noise. Signed. Every image gets the same
    draws from `seed`, so that its picture does not depend on its company. Other arguments and
    errors as for `saliency`. (Smilkov et al., 2017, section 3.)
    """
    _at_least(1, samples=samples)
    _at_least(0, noise=noise)
    chosen = predicted(model, images, classes, score)
    found = []
    with Progress("smooth gradients", len(images), "image", quiet=10) as bar:
        for number, label in enumerate(chosen.tolist()):
            image = _one(model, images, number)
            random = torch.Generator().manual_seed(seed)
            draws = torch.randn((samples, *image.shape[1:]), generator=random, dtype=image.dtype)
            copies = image + noise * (image.max() - image.min()) * draws
            gradients = input_gradients(model, copies, one_class_each(label, samples), score)
            found.append(gradients.mean(dim=0))
            bar.advance()
    return torch.stack(found)


def _gradients(model: nn.Module, images: Images, classes: Classes, score: Score | None) -> Tensor:
    return input_gradients(model, images, one_class_each(classes, len(images)), score)


def _one(model: nn.Module, images: Images, number: int) -> Tensor:
    """Image `number`, (1, c, h, w), in the model's precision, on the CPU."""
    return as_input(model, images[number : number + 1]).detach().cpu()


def _at_least(least: int, **given: int | float) -> None:
    for name, value in given.items():
        if not least <= value < float("inf"):
            raise ProjectionError(f"{name}={value}; give a number, {least} or more")


def _fitting(baseline: int | float | Tensor, shape: tuple[int, ...]) -> Tensor:
    try:
        return as_exact(baseline).expand(shape)
    except RuntimeError as error:
        raise ProjectionError(
            f"a baseline of shape {tuple(as_exact(baseline).shape)} does not fit images of "
            f"shape {shape}; give a number, or one an image, channel and pixel"
        ) from error
