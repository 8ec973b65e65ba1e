"""What in an image a class score rests on: gradients, Grad-CAM and their kin.

Each of these asks for the score of one class an image, the one named or the highest, and
differentiates it by the pixels or by the maps of a layer.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from internals.anatomy.copies import evaluation_copy
from internals.anatomy.fields import Field, ReceptiveField
from internals.anatomy.hooks import as_input, batches, eagerly, find_layer, locating
from internals.anatomy.trace import Model, Pictures, TracedModule, as_traced, only_calls
from internals.data.image_set import Images
from internals.errors import AnatomyError, ProjectionError
from internals.progress import Progress
from internals.projection.rules import (
    BackwardRules,
    Choice,
    RuledBackward,
    refuse_own_functions,
    signal_at,
)

# One class for all images, one an image, or None: the class with the highest score. Classes are
# numbers, or names where the network knows them.
Classes = int | str | Sequence[int] | Sequence[str] | Tensor | None
# From what the model puts out to scores (n, classes), the larger the likelier.
Score = Callable[[Any], Tensor]

PLAIN = Choice("gradient")  # the true derivative


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
def differentiating() -> Iterator[None]:
    """While the block runs, derivatives are taken."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def leaf(model: nn.Module, images: Tensor) -> Tensor:
    """A copy of `images` where `model` is and in its precision, to be differentiated by."""
    return as_input(model, images).detach().requires_grad_()


def one_class_each(
    classes: Classes, count: int, names: Sequence[str] = ()
) -> Int64[Tensor, " n"] | None:
    """`classes` as a number an image, or None; raises `ProjectionError` unless that works out."""
    if classes is None:
        return None
    if isinstance(classes, str):
        classes = _class_number(classes, names)
    elif not isinstance(classes, int | Tensor):
        classes = [_class_number(c, names) if isinstance(c, str) else c for c in classes]
    numbers = torch.as_tensor(classes).cpu()
    fractions = numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool
    if fractions or numbers.shape not in ((), (count,)):
        raise ProjectionError(
            f"classes of shape {tuple(numbers.shape)} and {numbers.dtype} do not fit {count} "
            "images; give one whole number, or one an image, or None for the highest score"
        )
    return numbers.to(torch.int64).expand(count).clone()


def _class_number(name: str, names: Sequence[str]) -> int:
    if name not in names:
        known = ", ".join(names) or "not known; give its number, or Network(..., classes=names)"
        raise ProjectionError(f"no class is called {name!r}; the names are {known}")
    return names.index(name)


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
        with eagerly():
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
        # Images do not touch each other here, so one sum serves them all.
        gradient = signal_at(by, values.sum())
    if gradient is None:
        raise ProjectionError(
            f"no gradient leads from the class score back to {what}; "
            "look for a detach or no_grad in the model, or ask for another layer"
        )
    refuse_non_numbers(gradient, "the gradient of the class score")
    return gradient


class Scored:
    """The images that an instrument is shown, and the class scores that a network gives them.

    Args:
        model: A `Network`, or a bare module.
        images: As `strongest` takes them.
        classes: As for `saliency`.
        score: Likewise; by default the network's.
    """

    def __init__(
        self, model: Model, images: Pictures, classes: Classes, score: Score | None
    ) -> None:
        self.traced: TracedModule = as_traced(model)
        self.model: nn.Module = evaluation_copy(self.traced.model)
        self.images: Images = self.traced.inputs(images)
        self.shape = image_shape(self.images)
        self.classes = one_class_each(classes, len(self.images), self.traced.classes)
        self.score: Score | None = self.traced.score if score is None else score

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, count: int | None = None, *, backward: bool = True) -> Iterator[slice]:
        """All images, or `count` others, as many at a time as fit into the memory.

        One at a time where the network lets the images of a batch influence each other.
        """
        count = len(self) if count is None else count
        if count > 1 and not self._keeps_images_apart():
            return (slice(number, number + 1) for number in range(count))
        return batches(count, *self.shape[1:], backward=backward)

    def _keeps_images_apart(self) -> bool:
        try:
            return self.traced.keeps_images_apart([""], self.images[:1])
        except AnatomyError:  # it takes no such images, which the pass itself will say
            return True

    def check(self, choice: Choice) -> None:
        """Raise `ProjectionError` where the way to the scores allows no true picture."""
        with suppress(AnatomyError):  # it takes no such images, which the pass itself will say
            if (call := self.traced.trace(self.shape).get("")) is not None:
                choice.check_call("the class score", call)

    def image(self, number: int) -> Tensor:
        """Image `number`, (1, c, h, w), in the model's precision, on the CPU."""
        return as_input(self.model, self.images[number : number + 1]).detach().cpu()

    def predicted(self) -> Int64[Tensor, " n"]:
        """The class of each image, on the CPU: the one given, or the highest-scoring."""
        classes = []
        with torch.no_grad():
            for batch in self.batches(backward=False):
                inputs = as_input(self.model, self.images[batch])
                labels = class_scores(self.model, inputs, _at(self.classes, batch), self.score)[1]
                classes.append(labels.cpu())
        return torch.cat(classes)

    def gradients(self, choice: Choice = PLAIN) -> Float[Tensor, "n channels height width"]:
        """The derivative of each image's class score by its pixels, under `choice`, on the CPU."""
        return self.gradients_at(self.images, self.classes, choice)

    def gradients_at(
        self, images: Images, classes: Int64[Tensor, " n"] | None, choice: Choice = PLAIN
    ) -> Float[Tensor, "n channels height width"]:
        """The same for other inputs, and their classes.

        The choice applies to the network; the score, which comes after it, is differentiated as it
        is.
        """
        choice.check()
        model, gradients = self.model, []
        self.check(choice)
        with differentiating(), locating(model) as running:
            for batch in self.batches(len(images)):
                inputs = leaf(model, images[batch])
                ruled = None if choice == PLAIN else RuledBackward(choice, model, running)
                values, _ = class_scores(model, inputs, _at(classes, batch), self.score, ruled)
                refuse_own_functions(values, choice.rule)
                gradients.append(score_gradient(values, inputs, "the pixels").cpu())
        return torch.cat(gradients)


def _at(classes: Tensor | None, part: slice) -> Tensor | None:
    return None if classes is None else classes[part]


def saliency(
    model: Model, images: Pictures, classes: Classes = None, *, score: Score | None = None
) -> Float[Tensor, "n height width"]:
    """How much each pixel's change moves the class score: the largest |d score / d channel|.

    (Simonyan, Vedaldi and Zisserman, 2013, section 3.1.)

    Args:
        model: A `Network`, or a bare module.
        images: As `strongest` takes them.
        classes: One for all images, or one an image, by number, or by name where the network knows
            the names; None: the class with the highest score.
        score: From the model's outputs to scores (n, classes), the larger the likelier, such as a
            loss's `scores`; by default the network's, or else the outputs themselves, before any
            softmax.

    Returns:
        A map for each image, never negative, on the CPU.

    Raises:
        ProjectionError: Shapes or classes do not fit, or no gradient leads to the pixels.
        DataError: The images are bytes, and no normalisation is known.
    """
    return Scored(model, images, classes, score).gradients().abs().amax(dim=1)


def gradient_times_input(
    model: Model, images: Pictures, classes: Classes = None, *, score: Score | None = None
) -> Float[Tensor, "n channels height width"]:
    """The gradient of the class score, weighted by the pixel itself: its share if all were linear.

    A pixel of value 0 gets 0, so that the picture depends on the normalisation. (Shrikumar et al.,
    2016.)

    Args:
        model: As for `saliency`, as are all other arguments and errors.
        images: Likewise.
        classes: Likewise.
        score: Likewise.

    Returns:
        Signed pictures, on the CPU.
    """
    scored = Scored(model, images, classes, score)
    gradients = scored.gradients()
    return gradients * scored.images[:].detach().to(gradients)


def integrated_gradients(
    model: Model,
    images: Pictures,
    classes: Classes = None,
    *,
    steps: int = 50,
    baseline: int | float | Tensor = 0.0,
    score: Score | None = None,
) -> Float[Tensor, "n channels height width"]:
    """What each pixel adds to the class score on the straight way from `baseline` to the image.

    (x - baseline) times the mean gradient on the way, by Gauss and Legendre's rule. It is complete:
    an image's pixels sum to its score less the baseline's, but for the error of the rule.
    (Sundararajan, Taly and Yan, 2017, eq. 1.)

    Args:
        model: As for `saliency`, as are all arguments and errors not described here.
        images: Likewise.
        classes: Likewise.
        steps: Points on the way; the error of the rule falls with them.
        baseline: A number, or what fits (n, channels, height, width); normalised, as images are.
        score: As for `saliency`.

    Returns:
        Signed pictures, on the CPU.
    """
    _at_least(1, steps=steps)
    scored = Scored(model, images, classes, score)
    labels = scored.predicted()
    baselines = _fitting(baseline, (len(scored), *scored.shape))
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    pictures = []
    with Progress("integrated gradients", len(scored), "image", quiet=10) as bar:
        for number, label in enumerate(labels):
            image = scored.image(number)
            origin = baselines[number].to(image)
            shares, ways = (torch.as_tensor(x / 2).to(image) for x in (weights, nodes + 1))
            points = origin + ways.view(-1, 1, 1, 1) * (image - origin)
            gradients = scored.gradients_at(points, label.repeat(steps))
            pictures.append((image - origin)[0] * torch.tensordot(shares, gradients, 1))
            bar.advance()
    return torch.stack(pictures)


def smooth_grad(
    model: Model,
    images: Pictures,
    classes: Classes = None,
    *,
    samples: int = 50,
    noise: int | float = 0.15,
    seed: int = 0,
    score: Score | None = None,
) -> Float[Tensor, "n channels height width"]:
    """The mean gradient of the class score over noisy copies of the image.

    (Smilkov et al., 2017, section 3.)

    Args:
        model: As for `saliency`, as are all arguments and errors not described here.
        images: Likewise.
        classes: Likewise; None: the class of the image without noise.
        samples: Copies of each image.
        noise: The standard deviation of Gaussian noise as a share of the image's range, maximum
            less minimum.
        seed: Every image gets the same draws, so that its picture does not depend on its company.
        score: As for `saliency`.

    Returns:
        Signed pictures, on the CPU.
    """
    _at_least(1, samples=samples)
    _at_least(0, noise=noise)
    scored = Scored(model, images, classes, score)
    labels = scored.predicted()
    pictures = []
    with Progress("smooth gradients", len(scored), "image", quiet=10) as bar:
        for number, label in enumerate(labels):
            image = scored.image(number)
            random = torch.Generator().manual_seed(seed)
            draws = torch.randn((samples, *image.shape[1:]), generator=random, dtype=image.dtype)
            copies = image + noise * (image.max() - image.min()) * draws
            gradients = scored.gradients_at(copies, label.repeat(samples))
            pictures.append(gradients.mean(dim=0))
            bar.advance()
    return torch.stack(pictures)


def _at_least(least: int, **numbers: int | float) -> None:
    for name, value in numbers.items():
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
    model: Model,
    images: Pictures,
    layer: str,
    classes: Classes = None,
    *,
    upsample: bool = False,
    score: Score | None = None,
) -> Float[Tensor, "n rows columns"]:
    """Where the maps of a layer speak for the class, on the layer's own grid; never negative.

    Each channel counts by the mean of the class score's gradient over its map, and what the
    weighted maps sum to is rectified. (Selvaraju et al., 2017, eq. 1 and 2.)

    Args:
        model: As for `saliency`.
        images: Likewise.
        layer: A module path.
        classes: As for `saliency`.
        upsample: Whether the grid is laid over the image, by `upsampled`: at the centres of the
            units' receptive fields, or stretched where no field can be stated.
        score: As for `saliency`.

    Returns:
        A map for each image, on the CPU.

    Raises:
        LayerError: The model lacks the layer, or calls it twice.
        ProjectionError: As for `saliency`, or the score does not depend on the layer.
    """
    return _cam(Scored(model, images, classes, score), layer, upsample)[0]


def guided_grad_cam(
    model: Model,
    images: Pictures,
    layer: str,
    classes: Classes = None,
    *,
    tanh: str | None = None,
    leaky: str | None = None,
    rules: BackwardRules | None = None,
    score: Score | None = None,
) -> Float[Tensor, "n channels height width"]:
    """The guided projection of the class score, where `grad_cam` of a layer says that it counts.

    Their product, the second upsampled. (Selvaraju et al., 2017, section 3.2.)

    Args:
        model: As for `grad_cam`, as are all arguments and errors not described here.
        images: Likewise.
        layer: Likewise.
        classes: Likewise.
        tanh: As for `project`.
        leaky: As for `project`.
        rules: As for `project`.
        score: As for `saliency`.

    Returns:
        Signed pictures, on the CPU.
    """
    scored = Scored(model, images, classes, score)
    maps, labels = _cam(scored, layer, upsample=True)
    choice = Choice("guided", tanh, leaky, dict(rules or {}))
    return scored.gradients_at(scored.images, labels, choice) * maps.unsqueeze(1)


def upsampled(
    maps: Float[Tensor, "n rows columns"],
    size: tuple[int, int],
    field: ReceptiveField | None = None,
) -> Float[Tensor, "n height width"]:
    """Maps laid over an image, bilinearly.

    The value of a cell stands at the centre of its unit's receptive field, and what lies beyond the
    outermost centres has the value of the nearest. So a cell lies where its unit looks, which in a
    network that pads on one side only, or whose image its strides do not divide, is not where a
    stretched grid would put it.

    Args:
        maps: On a grid.
        size: (height, width) of the image in pixels.
        field: Of the grid's units, as `receptive_field` states it. Without one the grid is
            stretched, so that each cell covers its own part of the image
            (`align_corners=False`).
    """
    if field is None:
        return functional.interpolate(
            maps.unsqueeze(1), size, mode="bilinear", align_corners=False
        ).squeeze(1)
    top, left, bottom, right = field.box(0, 0)
    below, beside, _, _ = field.box(1, 1)
    rows = _between_centres((top + bottom - 1) / 2, below - top, maps.shape[1], size[0])
    columns = _between_centres((left + right - 1) / 2, beside - left, maps.shape[2], size[1])
    return torch.einsum("nrc,hr,wc->nhw", maps, rows.to(maps), columns.to(maps))


def _between_centres(first: float, stride: int, count: int, length: int) -> Tensor:
    """What each of `count` cells counts at each of `length` pixels, linear between their centres.

    The first centre lies at pixel `first`, the next ones each `stride` further.
    """
    if stride == 0:
        return torch.ones(length, count) / count
    places = ((torch.arange(length) - first) / stride).clamp(0, count - 1)
    return (1 - (places[:, None] - torch.arange(count)).abs()).clamp(min=0)


def _cam(scored: Scored, layer: str, upsample: bool) -> tuple[Tensor, Tensor]:
    """The maps, (n, rows, columns), and the class of each image."""
    call = only_calls(scored.traced, [layer], scored.shape)[layer]
    field = call.field.public() if isinstance(call.field, Field) else None
    model, maps, labels = scored.model, [], []
    with differentiating(), _interposing(model, layer) as outputs:
        for batch in scored.batches():
            inputs, classes = leaf(model, scored.images[batch]), _at(scored.classes, batch)
            values, chosen = class_scores(model, inputs, classes, scored.score)
            maps.append(_weighted(values, outputs.pop(), layer))
            labels.append(chosen.cpu())
    grids = torch.cat(maps)
    whole = upsampled(grids, scored.shape[1:], field) if upsample else grids
    return whole, torch.cat(labels)


def _weighted(values: Tensor, output: Tensor, layer: str) -> Tensor:
    gradient = score_gradient(values, output, f"layer {layer!r}").detach()
    # A fully connected layer is a grid of one position.
    gradient, maps = (x.view(*x.shape[:2], *(x.shape[2:] or (1, 1))) for x in (gradient, output))
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * maps.detach()).sum(dim=1).relu().cpu()


@contextmanager
def _interposing(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """While the block runs, the outputs of `layer` are kept, and the network goes on with a copy.

    So the score is differentiated by what the layer put out, even if a rectifier after it works in
    place. `recording` cannot serve here: nothing comes after the copies that it keeps.
    """
    outputs: list[Tensor] = []

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        # Kept is a copy as well: the layer may have given back what others hold.
        outputs.append(output.clone())
        return outputs[-1].clone()

    handle = find_layer(model, layer).register_forward_hook(hook)
    try:
        yield outputs
    finally:
        handle.remove()
