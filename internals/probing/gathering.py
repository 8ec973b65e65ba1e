"""What some layers say of a whole set of images, a part of it at a time."""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.activations.mining import Images
from internals.activations.recording import capture
from internals.errors import ProbingError

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
