"""How good a network is on a set of images."""

from dataclasses import dataclass

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
    model: nn.Module,
    loss: Loss,
    images: ImageSet,
    pipeline: Pipeline,
    *,
    crops: int = 1,
    k: int = 3,
) -> Metrics:
    """Score `model` on all of `images`, float32 unless in an autocast; it is left as it was found.

    The loss is the mean over images; top-k counts an image as right when its class is among the k
    likeliest. With `crops` 10 the posteriors of ten views of each image are averaged, and the
    scores are those of the mean (Krizhevsky et al. 2012, section 4.1).
    """
    device = next(model.parameters()).device
    batch = max(1, _PIXELS // (crops * pipeline.size**2))
    total, hits = 0.0, 0
    predicted, confidence = [], []
    with evaluating(model), torch.inference_mode():
        for start in range(0, len(images), batch):
            part = slice(start, start + batch)
            labels = images.labels[part].to(device)
            outputs = _outputs(model, loss, images.images[part].to(device), pipeline, crops)
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


def _outputs(
    model: nn.Module,
    loss: Loss,
    pixels: UInt8[Tensor, "n channels side side"],
    pipeline: Pipeline,
    crops: int,
) -> Float[Tensor, "n classes"]:
    """What the network says of each image: its outputs, or the logarithm of a mean posterior."""
    views = pipeline.ten_crop(pixels) if crops == 10 else pipeline.evaluation(pixels).unsqueeze(1)
    inputs = views.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    outputs = model(inputs).float()
    if crops == 1:
        return outputs
    posterior = loss.probabilities(outputs).unflatten(0, (len(pixels), crops)).mean(dim=1)
    return posterior.clamp_min(torch.finfo(posterior.dtype).tiny).log()
