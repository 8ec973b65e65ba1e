"""How good a network is on a set of images, and what happened in each epoch."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from internals.data.image_set import ImageSet
from internals.data.pipeline import Pipeline
from internals.models.evaluation import evaluating
from internals.training.losses import Loss

_PIXELS = 2**21  # of all views in one forward pass: under 2 GiB for the widest network, VGG-16


@dataclass(frozen=True)
class Metrics:
    """Scores on a set of n images.

    Args:
        loss: The mean over images.
        top1: The share of images whose likeliest class is right, 0 to 1.
        top_k: The share of images whose class is among the `k` likeliest.
        k: See `top_k`.
        confusion: Counts (classes, classes), a row a true class, a column an answer.
        predicted: The answers, (n,).
        confidence: The posteriors of the answers, (n,).
    """

    loss: float
    top1: float
    top_k: float
    k: int
    confusion: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    def numbers(self) -> dict[str, float]:
        """The single numbers, for files and tables."""
        return {"loss": self.loss, "top1": self.top1, f"top{self.k}": self.top_k}


def evaluate(
    model: nn.Module,
    loss: Loss,
    images: ImageSet,
    pipeline: Pipeline,
    *,
    crops: int = 1,
    k: int = 3,
) -> Metrics:
    """Score `model` on all of `images`, in float32 unless in an autocast.

    Args:
        model: Left as it was found.
        loss: The loss, which also says how outputs are read.
        images: Labelled images, squares of any side.
        pipeline: What makes inputs of them.
        crops: With 10 the posteriors of ten views of each image are averaged, and the scores are
            those of the mean (Krizhevsky et al. 2012, section 4.1).
        k: An image counts for `top_k` when its class is among so many likeliest.
    """
    device = next(model.parameters()).device
    batch = max(1, _PIXELS // (crops * pipeline.size**2))
    total, in_top_k = 0.0, 0
    predicted, confidence = [], []
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            labels = images.labels[part].to(device)
            outputs = _outputs(model, loss, images.images[part].to(device), pipeline, crops)
            total += loss(outputs, labels).item() * len(labels)
            ranked = loss.scores(outputs).topk(k, dim=1).indices
            in_top_k += int((ranked == labels.unsqueeze(1)).any(dim=1).sum())
            predicted.append(ranked[:, 0].cpu())
            confidence.append(loss.probabilities(outputs).gather(1, ranked[:, :1])[:, 0].cpu())
    answers = torch.cat(predicted)
    classes = len(images.class_names)
    pairs = torch.bincount(images.labels * classes + answers, minlength=classes**2)
    return Metrics(
        loss=total / len(images),
        top1=(answers == images.labels).double().mean().item(),
        top_k=in_top_k / len(images),
        k=k,
        confusion=pairs.view(classes, classes).numpy(),
        predicted=answers.numpy(),
        confidence=torch.cat(confidence).numpy(),
    )


def _outputs(
    model: nn.Module,
    loss: Loss,
    pixels: UInt8[Tensor, "n channels side side"],
    pipeline: Pipeline,
    crops: int,
) -> Float[Tensor, "n classes"]:
    """The network's outputs for each image, or the logarithm of a mean posterior."""
    views = pipeline.ten_crop(pixels) if crops == 10 else pipeline.evaluation(pixels).unsqueeze(1)
    inputs = views.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    outputs = model(inputs).float()
    if crops == 1:
        return outputs
    posterior = loss.probabilities(outputs).unflatten(0, (len(pixels), crops)).mean(dim=1)
    return posterior.clamp_min(torch.finfo(posterior.dtype).tiny).log()


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images.

    Args:
        number: Counted from 1.
        size: Side of the inputs (unit: pixels).
        train_loss: The mean while the epoch ran.
        train_top1: The share of training images answered rightly while it ran.
        final_loss: The mean loss over the last tenth of the run's steps, or over as many of them
            as lie in this epoch.
        validation_loss: After the epoch; NaN where it is not looked at.
        validation_top1: Likewise.
        learning_rate: Of the last step.
        seconds: The whole epoch, validation included.
        images_per_second: The speed of training alone, all processes together.
    """

    number: int
    size: int
    train_loss: float
    train_top1: float
    final_loss: float
    validation_loss: float
    validation_top1: float
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass
class History:
    """The epochs of a run, in order; accuracies are shares, 0 to 1."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The epoch with the highest validation accuracy, then the lowest loss, then the first.

        Only epochs at the size of the last one count: scores at other sizes cannot be compared.
        """
        last = self.epochs[-1].size
        return min(
            (epoch for epoch in self.epochs if epoch.size == last),
            key=lambda e: (-e.validation_top1, e.validation_loss, e.number),
        )

    def column(self, name: str) -> list[float | int]:
        """One number of every epoch, e.g. "validation_top1"."""
        return [getattr(epoch, name) for epoch in self.epochs]

    def to_rows(self) -> list[dict[str, Any]]:
        """Plain dictionaries, for files."""
        return [asdict(epoch) for epoch in self.epochs]

    @classmethod
    def from_rows(cls, rows: Iterable[dict[str, Any]]) -> "History":
        """The inverse of `to_rows`; raises `TypeError` for rows of another kind."""
        return cls([Epoch(**row) for row in rows])
