"""What some layers say of a whole set of images, a part of it at a time."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.activations.record import capture
from internals.data.image_set import Images
from internals.errors import ProbingError


def channel_vectors(maps: Tensor) -> Float[Tensor, "vectors channels"]:
    """The maps (n, channels) or (n, channels, height, width) as one vector an image and position.

    Vectors of one image follow one another, row by row of its grid. Raises `ProbingError` for
    another shape.
    """
    if maps.ndim not in (2, 4):
        raise ProbingError(
            f"maps of shape {tuple(maps.shape)} are no vectors; give (images, channels) or "
            "(images, channels, height, width)"
        )
    return maps if maps.ndim == 2 else maps.movedim(1, -1).flatten(0, 2)


def as_maps(vectors: Float[Tensor, "vectors channels"], like: Tensor) -> Tensor:
    """The inverse of `channel_vectors`: `vectors` in the shape of the maps `like`."""
    if like.ndim == 2:
        return vectors
    n, _, height, width = like.shape
    return vectors.view(n, height, width, -1).movedim(-1, 1)


def checked(activations: Tensor, least: int = 2) -> Float[Tensor, "n inputs"]:
    """`activations` (n, inputs) as they are; raises `ProbingError` where nothing can be learned."""
    if activations.ndim != 2 or len(activations) < least or not activations.shape[1]:
        raise ProbingError(
            f"activations of shape {tuple(activations.shape)} cannot be fitted; "
            f"give (images, units) with at least {least} images"
        )
    if not activations.is_floating_point():
        raise ProbingError(f"activations of {activations.dtype} cannot be fitted; give floats")
    odd = int((~activations.isfinite()).sum())
    if odd:
        raise ProbingError(f"{odd} activations are not finite; check the weights and the images")
    return activations.detach()


def total_variance(activations: Float[Tensor, "n inputs"]) -> float:
    """The mean squared distance of the rows from their mean, summed over inputs.

    Raises `ProbingError` where all rows are alike: there is nothing to explain.
    """
    exact = activations.detach().double()
    variance = torch.var(exact, dim=0, correction=0).sum().item()
    if variance <= 0:
        raise ProbingError(
            f"all {len(activations)} activations are alike, so there is no variance to explain; "
            "take other images or another layer"
        )
    return variance


_BATCH = 500  # images a pass: all layers of all of them are in memory at once


def gather_activations(
    model: nn.Module, images: Images, layers: Iterable[str], most: int | None = None
) -> dict[str, Float[Tensor, "n channels height width"]]:
    """The outputs of `layers` for the first `most` of `images`, or for all, as `capture` has them.

    They are kept on the CPU. Raises `ProbingError` where there are no images, and `LayerError` as
    `capture` does.
    """
    layers, found = tuple(dict.fromkeys(layers)), dict[str, list[Tensor]]()
    count = len(images) if most is None else min(most, len(images))
    if count < 1:
        raise ProbingError(f"{count} of {len(images)} images asked for; give 1 or more")
    for start in range(0, count, _BATCH):
        maps = capture(model, images[start : min(start + _BATCH, count)], layers)
        for layer in layers:
            found.setdefault(layer, []).append(maps[layer].cpu())
    return {layer: torch.cat(parts) for layer, parts in found.items()}
