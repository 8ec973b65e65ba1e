"""The activations of a layer as vectors, one for each position of each image.

`gather_activations` collects them from a whole set of images, and `channel_vectors` gives them the
shape that probes and codes are fitted to. A code, such as principal components or a sparse
autoencoder, writes each vector as a few numbers; `code_quality` says what it costs and how much of
the variance it explains.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from internals.activations.record import capture
from internals.anatomy.hooks import batch_size
from internals.anatomy.trace import Model, Pictures, as_traced
from internals.errors import ProbingError

_VECTORS = 8192  # coded at a time


def gather_activations(
    model: Model, images: Pictures, layers: Iterable[str], count: int | None = None
) -> dict[str, Float[Tensor, "n channels height width"]]:
    """The outputs of some layers for a set of images, in evaluation mode, a batch at a time.

    Args:
        model: A `Network`, or a bare module.
        images: An `ImageSet` for a network that knows how it is normalised, or else normalised
            inputs (images, channels, height, width).
        layers: Module paths.
        count: Only the first `count` images; by default all.

    Returns:
        The maps of each layer, (n, channels, rows, columns), on the CPU; those of fully connected
        layers have one row and one column.

    Raises:
        ProbingError: There are no images.
        DataError: The images are bytes, and no normalisation is known.
        LayerError: The model lacks a layer, or calls it twice.
    """
    traced, layers = as_traced(model), tuple(dict.fromkeys(layers))
    inputs = traced.inputs(images)
    n = len(inputs) if count is None else min(count, len(inputs))
    if n < 1:
        raise ProbingError(f"{n} of {len(inputs)} images asked for; give 1 or more")
    batches: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    step = batch_size(*inputs[:1].shape[-2:])
    for start in range(0, n, step):
        maps = capture(traced, inputs[start : min(start + step, n)], layers)
        for layer in layers:
            batches[layer].append(maps[layer].cpu())
    return {layer: torch.cat(maps) for layer, maps in batches.items()}


def channel_vectors(maps: Tensor) -> Float[Tensor, "vectors channels"]:
    """Feature maps as vectors, each the channels at one position of one image.

    Args:
        maps: (n, channels) or (n, channels, height, width).

    Returns:
        (n, channels) or (n height width, channels). Vectors of one image follow one another, row
        by row of its grid.

    Raises:
        ProbingError: The maps have another number of axes.
    """
    if maps.ndim not in (2, 4):
        raise ProbingError(
            f"maps of shape {tuple(maps.shape)} are no vectors; give (images, channels) or "
            "(images, channels, height, width)"
        )
    return maps if maps.ndim == 2 else maps.movedim(1, -1).flatten(0, 2)


def maps_from_vectors(vectors: Float[Tensor, "vectors channels"], like: Tensor) -> Tensor:
    """The inverse of `channel_vectors`.

    Args:
        vectors: (n, channels) or (n height width, channels).
        like: The feature maps whose shape is wanted.
    """
    if like.ndim == 2:
        return vectors
    n, _, height, width = like.shape
    return vectors.view(n, height, width, -1).movedim(-1, 1)


def check_activations(activations: Tensor, minimum: int = 2) -> Float[Tensor, "n inputs"]:
    """Refuse activations that nothing can be fitted to.

    Args:
        activations: One row a vector, (n, inputs).
        minimum: How many rows there must be.

    Returns:
        The same, detached from their graph.

    Raises:
        ProbingError: They are not (n, inputs), too few, no floats, or not finite.
    """
    if activations.ndim != 2 or len(activations) < minimum or not activations.shape[1]:
        raise ProbingError(
            f"activations of shape {tuple(activations.shape)} cannot be fitted; "
            f"give (images, units) with at least {minimum} images"
        )
    if not activations.is_floating_point():
        raise ProbingError(f"activations of {activations.dtype} cannot be fitted; give floats")
    infinite = int((~activations.isfinite()).sum())
    if infinite:
        raise ProbingError(
            f"{infinite} activations are not finite; check the weights and the images"
        )
    return activations.detach()


def total_variance(activations: Float[Tensor, "n inputs"]) -> float:
    """The mean squared distance of the rows from their mean, summed over inputs.

    Args:
        activations: One row a vector, (n, inputs).

    Raises:
        ProbingError: All rows are alike, so that there is nothing to explain.
    """
    exact = activations.detach().double()
    variance = torch.var(exact, dim=0, correction=0).sum().item()
    if variance <= 0:
        raise ProbingError(
            f"all {len(activations)} activations are alike, so there is no variance to explain; "
            "take other images or another layer"
        )
    return variance


@runtime_checkable
class Codec(Protocol):
    """A code of vectors, with its inverse: a sparse autoencoder, or principal components."""

    def encode(self, x: Tensor) -> Tensor:
        """Codes (n, features) of vectors (n, inputs)."""
        ...

    def decode(self, codes: Tensor, /) -> Tensor:
        """Reconstructions (n, inputs) from codes (n, features)."""
        ...


@dataclass(frozen=True)
class CodeQuality:
    """What a code costs, and what it preserves, on a set of activations.

    Args:
        l0: The mean number of features that are not 0.
        explained_variance: As a share, 1 - sum |x - x'|^2 / sum |x - mean|^2.
        dead: How many features are 0 for every vector.
        features: How many there are.
    """

    l0: float
    explained_variance: float
    dead: int
    features: int

    @property
    def alive(self) -> int:
        """How many features are used by some vector."""
        return self.features - self.dead

    @property
    def density(self) -> float:
        """L0 as a share of the features that are alive: dead ones make no code sparser."""
        return self.l0 / self.alive if self.alive else 0.0


@torch.no_grad()
def code_quality(code: Codec, activations: Float[Tensor, "n inputs"]) -> CodeQuality:
    """How sparse and how faithful a code is.

    Args:
        code: Principal components, a sparse autoencoder, or what else encodes and decodes.
        activations: (n, inputs); they should be none of those that the code was fitted to.

    Raises:
        ProbingError: The activations have no variance, or are none.
    """
    rows = check_activations(activations)
    total = total_variance(rows) * len(rows)
    counts, residual = torch.zeros((), dtype=torch.int64, device=rows.device), 0.0
    for part in rows.split(_VECTORS):
        codes = code.encode(part)
        counts = counts + (codes != 0).sum(dim=0)
        residual += (code.decode(codes) - part).double().square().sum().item()
    return CodeQuality(
        l0=counts.sum().item() / len(rows),
        explained_variance=1 - residual / total,
        dead=int((counts == 0).sum()),
        features=len(counts),
    )
