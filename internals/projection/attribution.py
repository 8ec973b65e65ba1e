"""Where on a layer's grid a class was found, and in which detail: Grad-CAM and its guided form."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook

from internals.activations.record import as_input
from internals.anatomy.hooks import find_layer, locating
from internals.anatomy.trace import only_calls
from internals.data.image_set import Images
from internals.errors import ProjectionError
from internals.models.evaluation import evaluating
from internals.progress import Progress
from internals.projection.rules import Choice, RuledBackward, refuse_own_functions

# One class for all images, one an image, or None: the class with the highest score.
Classes = int | Sequence[int] | Tensor | None
# From what the model puts out to scores (n, classes), the larger the likelier.
Score = Callable[[Any], Tensor]

PLAIN = Choice("gradient")  # the true derivative

_MOST, _PIXELS = 64, 64 * 64 * 64


def portions(count: int, height: int, width: int) -> Iterator[slice]:
    """Slices of `count` images of a size whose activations fit into the memory together."""
    size = max(1, min(_MOST, _PIXELS // (height * width)))
    return (slice(start, start + size) for start in range(0, count, size))


def image_shape(images: Images) -> tuple[int, int, int]:
    """(channels, height, width); raises `ProjectionError` for no images and for other shapes."""
    shape = tuple(images[:1].shape)
    if len(shape) != 4 or 0 in shape:
        raise ProjectionError(
            f"images of shape {shape} cannot be looked into; "
            "give (images, channels, height, width), one or more"
        )
    return shape[1], shape[2], shape[3]


@contextmanager
def differentiating(model: nn.Module) -> Iterator[None]:
    """While the block runs, derivatives are taken, of `model` in evaluation mode."""
    with torch.inference_mode(False), torch.enable_grad(), evaluating(model):
        yield


def leaf(model: nn.Module, images: Tensor) -> Tensor:
    """A copy of `images` where `model` is and in its precision, to be differentiated by."""
    return as_input(model, images).detach().requires_grad_()


def one_class_each(classes: Classes, count: int) -> Int64[Tensor, " n"] | None:
    """`classes` as a number an image, or None; raises `ProjectionError` unless that works out."""
    if classes is None:
        return None
    numbers = torch.as_tensor(classes).cpu()
    fractions = numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool
    if fractions or numbers.shape not in ((), (count,)):
        raise ProjectionError(
            f"classes of shape {tuple(numbers.shape)} and {numbers.dtype} do not fit {count} "
            "images; give one whole number, or one an image, or None for the highest score"
        )
    return numbers.to(torch.int64).expand(count).clone()


def class_scores(
    model: nn.Module,
    inputs: Tensor,
    classes: Tensor | None,
    score: Score | None,
    within: AbstractContextManager | None = None,
) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
    """Each image's score for its class, and the classes: those given, or the highest-scoring ones.

    `inputs` are on the model's device; the model runs `within` a context, `score` after it. Raises
    `ProjectionError` for scores that are not (n, classes), for a class out of range, and for a
    score that is not finite.
    """
    with within or nullcontext():
        outputs = outputs_of(model, inputs)
    scores = _checked(model, outputs if score is None else score(outputs), len(inputs))
    most = scores.shape[1] - 1
    if classes is None:
        classes = scores.detach().argmax(dim=1)
    # A copy, because what was made in inference mode cannot be kept for a backward pass.
    classes = classes.to(scores.device, copy=True)
    for wrong in classes[(classes < 0) | (classes > most)].tolist()[:1]:
        raise ProjectionError(
            f"{type(model).__name__} has no class {wrong}; its classes are 0 to {most}"
        )
    values = scores.gather(1, classes.unsqueeze(1)).squeeze(1)
    refuse_non_numbers(values, f"the class score that {type(model).__name__} gives")
    return values, classes


def outputs_of(model: nn.Module, inputs: Tensor) -> Any:
    """What `model` puts out; raises `ProjectionError` where it cannot take such `inputs`."""
    try:
        # A copy, because the model may work in place on what it is given.
        return model(inputs.clone())
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        name, shape, reason = type(model).__name__, tuple(inputs.shape[1:]), str(error)
        raise ProjectionError(
            f"{name} cannot take images of shape {shape}: {reason.partition(chr(10))[0]}"
        ) from error


def _checked(model: nn.Module, scores: Any, count: int) -> Tensor:
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != count:
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ProjectionError(
            f"the scores of {type(model).__name__} are {shape}, not (images, classes); "
            "give score=, a function from its outputs to such scores"
        )
    return scores


def as_exact(value: int | float | Sequence[int | float] | Tensor) -> Tensor:
    """Numbers as a tensor, without rounding them to single precision first."""
    return value.detach() if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


def refuse_non_numbers(values: Tensor, what: str) -> None:
    """Raise `ProjectionError` where `values`, one or more an image, are not all finite."""
    wrong = values.detach().flatten()
    wrong = wrong[~wrong.isfinite()]
    if len(wrong):
        raise ProjectionError(
            f"{what} is {wrong[0].item()} for {len(values)} images; check weights and images"
        )


def score_gradient(values: Tensor, by: Tensor, what: str) -> Tensor:
    """The derivative of `values` (n,), one an image, by `by` (n, ...).

    Raises `ProjectionError` where no graph leads from one to the other.
    """
    gradient = None
    if values.requires_grad:
        # Images do not touch each other in evaluation mode, so one sum serves them all.
        (gradient,) = torch.autograd.grad(values.sum(), by, allow_unused=True)
    if gradient is None:
        raise ProjectionError(
            f"no gradient leads from the class score back to {what}; "
            "look for a detach or no_grad in the model, or ask for another layer"
        )
    refuse_non_numbers(gradient, "the gradient of the class score")
    return gradient


def input_gradients(
    model: nn.Module,
    images: Images,
    classes: Tensor | None,
    score: Score | None,
    choice: Choice = PLAIN,
) -> Float[Tensor, "n channels height width"]:
    """The derivative of each image's class score by its pixels, under `choice`, on the CPU.

    The choice applies to the network; `score`, which comes after it, is differentiated as it is.
    """
    choice.check()
    shape, found = image_shape(images), []
    with differentiating(model), locating(model) as where:
        for part in portions(len(images), *shape[1:]):
            inputs = leaf(model, images[part])
            ruled = None if choice == PLAIN else RuledBackward(choice, where)
            values, _ = class_scores(model, inputs, _at(classes, part), score, ruled)
            if choice != PLAIN:
                refuse_own_functions(values, choice.rule)
            found.append(score_gradient(values, inputs, "the pixels").cpu())
    return torch.cat(found)


def predicted(
    model: nn.Module, images: Images, classes: Classes, score: Score | None
) -> Int64[Tensor, " n"]:
    """The class to look at for each image, on the CPU: the one given, or the highest-scoring."""
    numbers = one_class_each(classes, len(images))
    shape, found = image_shape(images), []
    with evaluating(model), torch.no_grad():
        for part in portions(len(images), *shape[1:]):
            inputs = as_input(model, images[part])
            found.append(class_scores(model, inputs, _at(numbers, part), score)[1].cpu())
    return torch.cat(found)


def _at(classes: Tensor | None, part: slice) -> Tensor | None:
    return None if classes is None else classes[part]


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


def grad_cam(
    model: nn.Module,
    images: Images,
    layer: str,
    classes: Classes = None,
    *,
    upsample: bool = False,
    score: Score | None = None,
) -> Float[Tensor, "n rows columns"]:
    """Where the maps of `layer` speak for the class, on the layer's own grid; never negative.

    Each channel counts by the mean of the class score's gradient over its map, and what the
    weighted maps sum to is rectified. With `upsample` the grid is stretched over the image by
    `upsampled`. Other arguments as for `saliency`. Raises `LayerError` for a layer that the model
    lacks or calls twice, and `ProjectionError` for shapes and classes that do not fit, or when the
    score does not depend on the layer. (Selvaraju et al., 2017, eq. 1 and 2.)
    """
    return _maps(model, images, layer, classes, upsample, score)[0]


def guided_grad_cam(
    model: nn.Module,
    images: Images,
    layer: str,
    classes: Classes = None,
    *,
    tanh: str | None = None,
    leaky: str | None = None,
    score: Score | None = None,
) -> Float[Tensor, "n channels height width"]:
    """The guided projection of the class score, where `grad_cam` of `layer` says that it counts.

    Signed: their product, the second upsampled. `tanh` and `leaky` are chosen as for `project`,
    and other arguments and errors are those of `grad_cam`. (Selvaraju et al., 2017, section 3.2.)
    """
    maps, chosen = _maps(model, images, layer, classes, True, score)
    guided = input_gradients(model, images, chosen, score, Choice("guided", tanh, leaky))
    return guided * maps.unsqueeze(1)


def upsampled(
    maps: Float[Tensor, "n rows columns"], size: tuple[int, int]
) -> Float[Tensor, "n height width"]:
    """`maps` stretched to `size`, (height, width), bilinearly, their cells' areas kept in place.

    That is `align_corners=False`: a cell of the grid covers its own part of the image.
    """
    return functional.interpolate(
        maps.unsqueeze(1), size, mode="bilinear", align_corners=False
    ).squeeze(1)


def _maps(
    model: nn.Module,
    images: Images,
    layer: str,
    classes: Classes,
    upsample: bool,
    score: Score | None,
) -> tuple[Tensor, Tensor]:
    """The maps, (n, rows, columns), and the class of each image."""
    numbers, shape = one_class_each(classes, len(images)), image_shape(images)
    only_calls(model, [layer], shape)
    found, chosen = [], []
    with differentiating(model), _interposing(model, layer) as kept:
        for part in portions(len(images), *shape[1:]):
            asked = None if numbers is None else numbers[part]
            values, labels = class_scores(model, leaf(model, images[part]), asked, score)
            found.append(_weighted(values, kept.pop(), layer))
            chosen.append(labels.cpu())
    maps = torch.cat(found)
    return upsampled(maps, shape[1:]) if upsample else maps, torch.cat(chosen)


def _weighted(values: Tensor, output: Tensor, layer: str) -> Tensor:
    gradient = score_gradient(values, output, f"layer {layer!r}").detach()
    # A fully connected layer is a grid of one place.
    gradient, maps = (x.view(*x.shape[:2], *(x.shape[2:] or (1, 1))) for x in (gradient, output))
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * maps.detach()).sum(dim=1).relu().cpu()


@contextmanager
def _interposing(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """While the block runs, the outputs of `layer` are kept, and the network goes on with a copy.

    So the score is differentiated by what the layer put out, even if a rectifier after it works in
    place. `recording` cannot serve here: nothing comes after the copies that it keeps.
    """
    module, kept = find_layer(model, layer), list[Tensor]()

    def hook(called: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if called is not module:
            return None
        # Kept is a copy as well: the layer may have given back what others hold.
        kept.append(output.clone())
        return kept[-1].clone()

    handle = register_module_forward_hook(hook)
    try:
        yield kept
    finally:
        handle.remove()
