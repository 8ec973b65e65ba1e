"""One arm with one seed: trained, scored on test images, and forgotten.

Small networks are trained one after another on one thread each. Stacking replicas was measured
(torch.func.vmap, steps of 32 images, LeNet-5 in float32 on one core): 3 replicas a step
took as long as 3 steps, 16 replicas that shared their images a fifth less, and 8 with images of
their own a fifth more, because their convolutions become grouped ones. Processes side by side
gain more, and a run gives the same bits whatever runs beside it.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn
from torch.nn import functional

from internals.ablations.diagonal_lm import SAMPLES, DiagonalLM, gauss_newton_diagonal
from internals.ablations.plan import RUBBISH_PENALTY, Settings
from internals.data.augment import augment_digits
from internals.data.image_set import ImageSet
from internals.data.normalization import Normalization
from internals.models.lenet5_variants import LeNet5Variant
from internals.training.losses import CrossEntropy, Loss, MapLoss

_RANGE = Normalization.from_range(-0.1, 1.175)  # section II-B
_WARM_UP = 0.05  # the share of all steps in which the rate rises, as in the recipes of LeNet-5
# The share of the newest batch in the running estimate of the curvature: of 0.01, 0.03, 0.1, 0.3,
# 0.6 and 1 the one that read held-out digits best after the short runs of quick. After those of
# full 0.01 was better by a third of a point; in the short ones it mostly ends in guessing.
_FRESH = 0.03
_DECAY, _MOMENTUM = 1e-4, 0.9
_MARGIN = 2  # pixels that padding added on each side of the 28 x 28 digit
_TESTED_AT_ONCE = 250
_TAIL = 0.1  # the share of the run that the final loss is the mean of


@dataclass(frozen=True)
class Outcome:
    """What one run gave: the share of test images read rightly, and how the training ended.

    `loss` is the mean over the last tenth of the training. A run whose loss stopped being a number
    has `diverged`; its accuracy is that of an answer without looking, and its loss infinite.
    """

    accuracy: float
    loss: float
    diverged: bool
    seconds: float


def run_once(settings: Settings, train: ImageSet, test: ImageSet, seed: int) -> Outcome:
    """Train by `settings` on `train` and score on `test`, digits padded to 32 x 32.

    `seed` decides the first weights, the order of the images and their distortions; arms that
    share a seed share the order, and their first weights where they have the same ones. The same
    call gives the same numbers. Raises `AblationError` or `ModelError` for settings that no
    network can have.
    """
    began = time.perf_counter()
    torch.manual_seed(seed)
    model = LeNet5Variant(**settings.arguments)
    loss: Loss = MapLoss(RUBBISH_PENALTY) if settings.loss == "map" else CrossEntropy()
    final = _train(model, loss, settings, train, seed)
    diverged = not math.isfinite(final)
    chance = 1 / len(test.class_names)
    accuracy = chance if diverged else _accuracy(model, loss, settings, test)
    seconds = time.perf_counter() - began
    return Outcome(accuracy, math.inf if diverged else final, diverged, round(seconds, 3))


def _train(
    model: LeNet5Variant, loss: Loss, settings: Settings, images: ImageSet, seed: int
) -> float:
    """The mean loss over the last part of the run; not a number as soon as any loss is none."""
    optimizer = build_optimizer(settings, model)
    steps = math.ceil(settings.presentations / settings.batch_size)
    losses = torch.zeros(steps)
    distortion = torch.Generator().manual_seed(seed)
    for step, (numbers, as_is) in enumerate(_batches(settings, len(images), seed)):
        inputs = _inputs(_distorted(images.images[numbers], as_is, settings, distortion), settings)
        if isinstance(optimizer, DiagonalLM):
            sample = inputs if step else _inputs(images.images[:SAMPLES], settings)
            curvature = gauss_newton_diagonal(model, sample, RUBBISH_PENALTY)
            optimizer.measure(curvature, _FRESH if step else 1.0)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _share(step, steps)
        optimizer.zero_grad()
        value = loss(model(inputs), images.labels[numbers])
        value.backward()
        optimizer.step()
        losses[step] = value.detach()
        if not math.isfinite(losses[step]):
            return math.nan
    return losses[-max(1, round(_TAIL * steps)) :].mean().item()


def build_optimizer(settings: Settings, model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser that `settings` name; weight decay 1e-4 for AdamW only, SGD's momentum 0.9."""
    rate, parameters = settings.learning_rate, list(model.parameters())
    if settings.optimizer == "sdlm":
        return DiagonalLM(parameters, rate)
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=_MOMENTUM, fused=True)
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, fused=True)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=_DECAY, fused=True)


def _share(step: int, steps: int) -> float:
    """What the rate is multiplied by: a rise from 0, then half a cosine back to it."""
    warming = _WARM_UP * steps
    if step < warming:
        return (step + 1) / (warming + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warming) / (steps - warming)))


def _batches(
    settings: Settings, count: int, seed: int
) -> Iterator[tuple[Int64[Tensor, " batch"], Bool[Tensor, " batch"]]]:
    """The numbers of the images of each step, and which of them to show as they are.

    A pass has every image once, in an order of its own; with `duplicate` twice, once as it is.
    However long a pass, all runs see as many images.
    """
    pass_length = count * (2 if settings.duplicate else 1)
    random = torch.Generator().manual_seed(seed)
    passes = math.ceil(settings.presentations / pass_length)
    order = torch.cat([torch.randperm(pass_length, generator=random) for _ in range(passes)])
    for places in order[: settings.presentations].split(settings.batch_size):
        yield places % count, places >= count


def _distorted(
    pixels: UInt8[Tensor, "n 1 32 32"],
    as_is: Bool[Tensor, " n"],
    settings: Settings,
    random: torch.Generator,
) -> UInt8[Tensor, "n 1 32 32"]:
    if not (settings.shift or settings.rotation):
        return pixels
    moved = augment_digits(pixels, settings.shift, settings.rotation, random)
    return torch.where(as_is[:, None, None, None], pixels, moved)


def _inputs(pixels: Tensor, settings: Settings) -> Float[Tensor, "n 1 size size"]:
    """What the network sees of digits in a 32 x 32 field."""
    if settings.input != "padded":
        inside = slice(_MARGIN, -_MARGIN)
        pixels = pixels[:, :, inside, inside]
    if settings.input == "resized":
        pixels = functional.interpolate(pixels.float(), size=(32, 32), mode="bilinear")
    return _RANGE.apply(pixels)


@torch.no_grad()
def _accuracy(model: nn.Module, loss: Loss, settings: Settings, images: ImageSet) -> float:
    model.eval()
    right = 0
    for start in range(0, len(images), _TESTED_AT_ONCE):
        part = slice(start, start + _TESTED_AT_ONCE)
        scores = loss.scores(model(_inputs(images.images[part], settings)))
        right += int((scores.argmax(dim=1) == images.labels[part]).sum())
    return right / len(images)
