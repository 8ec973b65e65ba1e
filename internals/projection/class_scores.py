"""The score of one class of each image, and what its pixels do to it: what the instruments share.

Their own code is a few lines each, so that they work on any spelling of a network, as `project`
does, and leave no trace; the tests hold them to Captum's numbers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from internals.activations.mining import Images
from internals.activations.recording import as_input
from internals.anatomy.watch import evaluating, locating
from internals.errors import ProjectionError
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
