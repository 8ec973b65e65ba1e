"""Attacks on a `Network`, and how much of its accuracy is left under them.

An attack is a function from a network, pixels, labels and the radius epsilon to adversarial pixels.
`SignedSteps` makes one of the signed gradient steps of `internals.attacks.gradient_sign`, of its
number of steps, its objective and the network whose gradient is followed; `RandomSigns` is the
control that follows no gradient. `perturb` applies an attack to a whole set of images, and
`correct_under_attack` and `targeted_success` count what it does to the answers.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from internals.anatomy.copies import evaluation_copy
from internals.anatomy.trace import Model, TracedModule, as_traced
from internals.attacks.gradient_sign import MeanLoss, fgsm, pgd
from internals.data.image_set import ImageSet
from internals.data.normalization import InputMap
from internals.errors import AttackError

# (network, pixels in [0, 1], labels, epsilon) -> pixels in [0, 1]; a targeted attack is given the
# classes to be reached in the place of the labels.
Attack = Callable[[TracedModule, Tensor, Tensor, float], Tensor]

Objective = Literal["loss", "margin", "target", "runner-up"]

_BATCH = 250  # images whose feature maps stay in a processor's cache


def margin_loss(
    scores: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> Float[Tensor, ""]:
    """The mean of (best wrong score - right score), which is above 0 for a mistake.

    With logits this is f6 of Carlini and Wagner (2017), without its floor. Its gradient stays as
    large when the network is sure, where that of a cross-entropy vanishes.

    Args:
        scores: The larger the likelier, (n, classes).
        labels: The right classes, (n,).
    """
    right = scores.gather(1, labels.unsqueeze(1)).squeeze(1)
    return (_wrong_scores(scores, labels).amax(dim=1) - right).mean()


def runner_up(
    scores: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"]
) -> Int64[Tensor, " n"]:
    """The wrong class with the best score, for each image.

    Args:
        scores: The larger the likelier, (n, classes).
        labels: The right classes, (n,).
    """
    return _wrong_scores(scores, labels).argmax(dim=1)


def _wrong_scores(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.scatter(1, labels.unsqueeze(1), -torch.inf)


@dataclass(frozen=True)
class SignedSteps:
    """Signed gradient steps within the ball, as an attack: one is `fgsm`, more are `pgd`.

    Args:
        steps: How many. Two or more set out from a random place in the ball.
        objective: What the steps follow. "loss": up the loss of the right class, as the network was
            trained with. "margin": up the margin by which the best wrong score leads. "target":
            down the loss of the class that is given in the place of the label. "runner-up": down
            the loss of the wrong class that scores best on the clean image, so that its posterior
            becomes large.
        seed: Draws the random places, the same for equal batches.
        surrogate: The network whose gradient is followed, where that is not the attacked network's:
            the attack is then transferred.

    Raises:
        AttackError: There are no steps, or no such objective.
    """

    steps: int = 1
    objective: Objective = "loss"
    seed: int = 0
    surrogate: Model | None = None

    def __post_init__(self) -> None:
        objectives = get_args(Objective)
        if self.objective not in objectives or self.steps < 1:
            raise AttackError(
                f"steps={self.steps} and objective={self.objective!r} make no attack; "
                f"give at least 1 step and one of {', '.join(objectives)}"
            )

    def __call__(
        self,
        model: Model,
        pixels: Float[Tensor, "n channels height width"],
        labels: Int64[Tensor, " n"],
        epsilon: float,
    ) -> Float[Tensor, "n channels height width"]:
        """Attack one batch.

        Args:
            model: The `Network` that is attacked.
            pixels: Images (n, channels, height, width) in [0, 1].
            labels: The right classes, or those to be reached, (n,).
            epsilon: The radius of the ball, in [0, 1].

        Returns:
            Adversarial pixels, of the shape of `pixels` and in [0, 1].

        Raises:
            AttackError: The network whose gradient is followed has no normalisation or no loss, or
                as for `pgd`.
        """
        network = as_traced(model if self.surrogate is None else self.surrogate)
        normalization = _normalization(network)
        loss = _margin_loss(network) if self.objective == "margin" else _loss(network)
        targets = labels if self.objective == "target" else None
        if self.objective == "runner-up":
            targets = runner_up(_scores(network, forward(network, pixels)), labels)
        if self.steps == 1:
            return fgsm(
                network.model, pixels, labels, epsilon, normalization=normalization, loss=loss,
                targets=targets,
            )  # fmt: skip
        return pgd(
            network.model, pixels, labels, epsilon, steps=self.steps, normalization=normalization,
            loss=loss, targets=targets, generator=torch.Generator().manual_seed(self.seed),
        )  # fmt: skip


@dataclass(frozen=True)
class RandomSigns:
    """The control of a signed step: every pixel goes up or down by epsilon at random.

    Args:
        seed: Draws the signs, the same for equal batches.
    """

    seed: int = 0

    def __call__(
        self,
        model: Model,
        pixels: Float[Tensor, "n channels height width"],
        labels: Int64[Tensor, " n"],
        epsilon: float,
    ) -> Float[Tensor, "n channels height width"]:
        """Perturb one batch; neither `model` nor `labels` have a say in it.

        Args:
            model: The network.
            pixels: Images (n, channels, height, width) in [0, 1].
            labels: Their classes, (n,).
            epsilon: How far each pixel moves, in [0, 1].

        Returns:
            Perturbed pixels, of the shape of `pixels` and in [0, 1].
        """
        generator = torch.Generator().manual_seed(self.seed)
        up = torch.rand(pixels.shape, generator=generator).to(pixels) < 0.5
        return torch.where(up, pixels + epsilon, pixels - epsilon).clamp(0, 1)


@dataclass(frozen=True)
class Predictions:
    """What a network takes n images for.

    Args:
        predicted: The class with the largest score, (n,).
        confidence: The posterior of that class, (n,).
    """

    predicted: np.ndarray
    confidence: np.ndarray


def forward(
    model: Model, pixels: Float[Tensor, "n channels height width"]
) -> Float[Tensor, "n classes"]:
    """The outputs of a network for pixels in [0, 1], in evaluation mode and without gradients.

    Args:
        model: A `Network`, whose normalisation is applied.
        pixels: Images (n, channels, height, width) in [0, 1].

    Returns:
        Outputs (n, classes) of the last layer, on the device of `pixels`.

    Raises:
        AttackError: The network has no normalisation.
    """
    network = as_traced(model)
    normalization = _normalization(network)
    outputs = []
    copied = evaluation_copy(network.model)
    with torch.no_grad():
        for batch in pixels.split(_BATCH):
            inputs = normalization.apply(255 * batch.to(network.device))
            outputs.append(copied(inputs).to(pixels.device))
    return torch.cat(outputs)


def predict(model: Model, pixels: Float[Tensor, "n channels height width"]) -> Predictions:
    """The answers of a network for pixels in [0, 1], and how sure it is of them.

    Args:
        model: A `Network` with a normalisation and a loss.
        pixels: Images (n, channels, height, width) in [0, 1].

    Raises:
        AttackError: The network has no normalisation, or no loss to give posteriors.
    """
    network = as_traced(model)
    loss, outputs = _loss(network), forward(network, pixels)
    predicted = _scores(network, outputs).argmax(dim=1, keepdim=True)
    confidence = loss.probabilities(outputs).gather(1, predicted)
    return Predictions(predicted[:, 0].cpu().numpy(), confidence[:, 0].cpu().numpy())


def perturb(
    model: Model, images: ImageSet, epsilon: float, attack: Attack
) -> Float[Tensor, "n channels height width"]:
    """Attack a whole set of images.

    Args:
        model: The `Network` that is attacked.
        images: The images, with the labels that `attack` is given.
        epsilon: The radius of the ball, in [0, 1].
        attack: How.

    Returns:
        Adversarial pixels (n, channels, height, width) in [0, 1], on the CPU.

    Raises:
        AttackError: As `attack` does.
    """
    network = as_traced(model)
    return torch.cat(
        [
            attack(network, pixels.to(network.device), labels.to(network.device), epsilon).cpu()
            for pixels, labels in _batches(images)
        ]
    )


def correct_under_attack(
    model: Model,
    images: ImageSet,
    epsilons: Sequence[float],
    attacks: Sequence[Attack],
    *,
    nested: bool = False,
) -> Bool[np.ndarray, "epsilons n"]:
    """Whether each image is still classified correctly after every one of some attacks.

    Args:
        model: The `Network` that is attacked.
        images: The images.
        epsilons: The radii of the balls, in [0, 1].
        attacks: An image counts as correct if none of them succeeds.
        nested: Whether an image that is fooled at one epsilon counts as fooled at every later one
            and is not attacked again: what fooled it lies in the larger ball too. Otherwise each
            epsilon stands for itself.

    Returns:
        A row an epsilon, a column an image. The mean over images is the robust accuracy.

    Raises:
        AttackError: Nested epsilons fall, the network has no normalisation, or as an attack does.
    """
    if nested and any(first > second for first, second in pairwise(epsilons)):
        raise AttackError(f"epsilons={list(epsilons)} must rise where they are nested; sort them")
    network = as_traced(model)
    table = np.zeros((len(epsilons), len(images)), dtype=bool)
    correct = np.ones(len(images), dtype=bool)
    for row, epsilon in enumerate(epsilons):
        if not nested:
            correct[:] = True
        for attack in attacks:
            remaining = np.flatnonzero(correct)
            if not len(remaining):
                break
            subset = images.subset(torch.from_numpy(remaining))
            predicted = _predicted(network, perturb(network, subset, epsilon, attack))
            correct[remaining] = predicted == subset.labels.numpy()
        table[row] = correct
    return table


def targeted_success(
    model: Model, images: ImageSet, epsilon: float, attack: Attack
) -> Float[np.ndarray, "classes classes"]:
    """The success rate of a targeted attack, for each pair of a true and a target class.

    Args:
        model: The `Network` that is attacked.
        images: The images.
        epsilon: The radius of the ball, in [0, 1].
        attack: Is given the target in the place of the label, as `SignedSteps(objective="target")`
            expects it.

    Returns:
        The share of the images of each class (row) that are classified as each target (column).
        The diagonal, where there is nothing to reach, is NaN, and so is the row of a class without
        images.

    Raises:
        AttackError: The network has no normalisation, or as `attack` does.
    """
    network = as_traced(model)
    classes = len(images.class_names)
    rates = np.full((classes, classes), np.nan)
    for target in range(classes):
        others = images.subset((images.labels != target).nonzero().flatten())
        targets = replace(others, labels=torch.full_like(others.labels, target))
        success = _predicted(network, perturb(network, targets, epsilon, attack)) == target
        for label in others.labels.unique().tolist():
            rates[label, target] = success[others.labels.numpy() == label].mean()
    return rates


def _batches(images: ImageSet) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels in [0, 1] and labels."""
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        yield images.images[part].float() / 255, images.labels[part]


def _predicted(network: TracedModule, pixels: Tensor) -> np.ndarray:
    """The class with the largest score, for each of `pixels`."""
    best: np.ndarray = _scores(network, forward(network, pixels)).argmax(dim=1).cpu().numpy()
    return best


def _scores(network: TracedModule, outputs: Tensor) -> Tensor:
    return outputs if network.score is None else network.score(outputs)


def _margin_loss(network: TracedModule) -> MeanLoss:
    return lambda outputs, labels: margin_loss(_scores(network, outputs), labels)


def _normalization(network: TracedModule) -> InputMap:
    if network.normalization is None:
        raise AttackError(
            f"how {type(network.model).__name__} is fed pixels from 0 to 1 is not known; "
            "attack Network(model, normalization=...)"
        )
    return network.normalization


def _loss(network: TracedModule) -> Any:
    if network.loss is None:
        raise AttackError(
            f"the loss of {type(network.model).__name__} is not known; "
            "attack Network(model, normalization=..., loss=CrossEntropy())"
        )
    return network.loss
