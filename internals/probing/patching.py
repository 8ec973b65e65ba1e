"""A network that goes on with what it is given in place of a layer's own output."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from internals.activations.record import as_input
from internals.anatomy.hooks import find_layer
from internals.anatomy.trace import only_calls
from internals.data.image_set import Images
from internals.errors import ProbingError
from internals.models.evaluation import evaluating
from internals.probing.vectors import as_maps, channel_vectors

Rebuild = Callable[[Tensor], Tensor]  # vectors (n, channels) to vectors of the same shape

_BATCH = 1000  # images a pass


@contextmanager
def patched(model: nn.Module, layer: str, rebuild: Rebuild) -> Iterator[None]:
    """While the block runs, `model` goes on with `rebuild(x)` for each vector x that `layer` says.

    A vector holds the channels at one position of one image. What comes out of `layer` is what is
    replaced: for what the next layer reads, name the non-linearity, not the sum before it. The
    model itself is not touched. Raises `LayerError` for a layer that it lacks, and `ProbingError`
    where `rebuild` gives vectors of another shape.
    """
    module = find_layer(model, layer)

    def hook(called: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if called is not module:
            return None
        vectors = channel_vectors(output)
        rebuilt = rebuild(vectors.clone())
        if rebuilt.shape != vectors.shape:
            raise ProbingError(
                f"layer {layer!r} gives vectors of shape {tuple(vectors.shape)}, but they were "
                f"rebuilt as {tuple(rebuilt.shape)}; give a code of this layer"
            )
        return as_maps(rebuilt.to(output), output)

    handle = register_module_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def patched_accuracy(
    model: nn.Module,
    layer: str,
    rebuild: Rebuild,
    images: Images,
    labels: Int64[Tensor, " n"],
    *,
    score: Callable[[Tensor], Float[Tensor, "n classes"]] | None = None,
) -> float:
    """The share of `images`, normalised, that `model` gets right with `layer` patched.

    `score` turns outputs into scores of which the largest wins, such as a loss's `scores`. The
    model runs in evaluation mode and is left as it was found. Raises `LayerError` for a layer that
    the model lacks or calls twice, else as `patched`.
    """
    if len(images) != len(labels) or not len(labels):
        raise ProbingError(f"{len(images)} images and {len(labels)} labels; give one label each")
    only_calls(model, [layer], images[:1].shape[1:])
    right = 0
    with evaluating(model), patched(model, layer, rebuild):
        for start in range(0, len(labels), _BATCH):
            part = slice(start, start + _BATCH)
            outputs = model(as_input(model, images[part]))
            scores = outputs if score is None else score(outputs)
            right += int((scores.argmax(dim=1).cpu() == labels[part]).sum())
    return right / len(labels)
