"""How good a network is on a set of images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from internals.anatomy.watch import evaluating
from internals.data.images import ImageSet
from internals.data.normalization import Normalization
from internals.training.losses import Loss

_BATCH = 1000


@dataclass(frozen=True)
class Metrics:
    """Loss, shares correct, and what was answered.

    `top1` and `top_k` are shares, 0 to 1; `confusion` is (classes, classes) counts, a row a true
    class, a column an answer; `predicted` (n,) and `confidence` (n,), the posterior of the answer.
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
    model: nn.Module, loss: Loss, images: ImageSet, normalization: Normalization, k: int = 3
) -> Metrics:
    """Score `model` on all of `images`, in float32; the model is left as it was found.

    The loss is the mean over images; top-k counts an image as right when its class is among the k
    likeliest.
    """
    device = next(model.parameters()).device
    total, hits = 0.0, 0
    predicted, confidence = [], []
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            labels = images.labels[part].to(device)
            outputs = model(normalization.apply(images.images[part].to(device))).float()
            total += loss(outputs, labels).item() * len(labels)
            ranked = loss.scores(outputs).topk(k, dim=1).indices
            hits += int((ranked == labels.unsqueeze(1)).any(dim=1).sum())
            predicted.append(ranked[:, 0].cpu())
            confidence.append(loss.probabilities(outputs).gather(1, ranked[:, :1])[:, 0].cpu())
    answers = torch.cat(predicted)
    classes = len(images.class_names)
    pairs = torch.bincount(images.labels * classes + answers, minlength=classes**2)
    return Metrics(
        loss=total / len(images),
        top1=(answers == images.labels).double().mean().item(),
        top_k=hits / len(images),
        k=k,
        confusion=pairs.view(classes, classes).numpy(),
        predicted=answers.numpy(),
        confidence=torch.cat(confidence).numpy(),
    )
