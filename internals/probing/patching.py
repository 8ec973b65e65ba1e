"""Activation patching: a network goes on with what replaces the output of one of its layers.

If it goes on as well with reconstructed activations as with its own, what the reconstruction has
lost is not what the network uses.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from internals.anatomy.copies import evaluation_copy
from internals.anatomy.hooks import as_input, batch_size, find_layer
from internals.anatomy.trace import Model, Pictures, as_traced, only_calls
from internals.data.image_set import ImageSet
from internals.errors import ProbingError
from internals.probing.vectors import channel_vectors, maps_from_vectors

# Vectors (n, channels) to vectors of the same shape.
Transform = Callable[[Tensor], Tensor]


@contextmanager
def patched(model: Model, layer: str, transform: Transform) -> Iterator[None]:
    """While the block runs, the network goes on with transformed outputs of a layer.

    The output of the layer is what is replaced: for what the next layer reads, name the
    non-linearity, not the sum before it. The model itself is not touched, and other threads run it
    as it is.

    Args:
        model: A `Network`, or a bare module.
        layer: A module path.
        transform: From vectors (n, channels), each the channels at one position of one image, to
            vectors of the same shape; such as a code that encodes and decodes them, or
            `torch.zeros_like` for an ablation.

    Raises:
        LayerError: The model lacks the layer.
        ProbingError: `transform` gives vectors of another shape.
    """
    module, thread = find_layer(as_traced(model).model, layer), get_ident()

    def hook(called: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        if called is not module or get_ident() != thread:
            return None
        vectors = channel_vectors(output)
        replacement = transform(vectors.clone())
        if replacement.shape != vectors.shape:
            raise ProbingError(
                f"layer {layer!r} gives vectors of shape {tuple(vectors.shape)}, but they were "
                f"transformed to {tuple(replacement.shape)}; give a code of this layer"
            )
        return maps_from_vectors(replacement.to(output), output)

    handle = register_module_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def patched_accuracy(
    model: Model,
    layer: str,
    transform: Transform,
    images: Pictures,
    labels: Int64[Tensor, " n"] | None = None,
    *,
    score: Callable[[Tensor], Float[Tensor, "n classes"]] | None = None,
) -> float:
    """The accuracy of a network with one layer patched, in evaluation mode.

    The model is left as it was found.

    Args:
        model: A `Network`, or a bare module.
        layer: A module path.
        transform: As for `patched`.
        images: An `ImageSet` for a network that knows how it is normalised, or else normalised
            inputs (n, channels, height, width).
        labels: The right classes, (n,); by default those of the `ImageSet`.
        score: From outputs to scores (n, classes), of which the largest wins; by default the
            network's own, or the outputs themselves.

    Returns:
        The share of images that are classified correctly, 0 to 1.

    Raises:
        ProbingError: Images and labels differ in number, or as for `patched`.
        DataError: The images are bytes, and no normalisation is known.
        LayerError: The model lacks the layer, or calls it twice.
    """
    traced = as_traced(model)
    if labels is None:
        if not isinstance(images, ImageSet):
            raise ProbingError("these images have no labels; give labels=, or an ImageSet")
        labels = images.labels
    inputs, score = traced.inputs(images), score or traced.score
    if len(inputs) != len(labels) or not len(labels):
        raise ProbingError(f"{len(inputs)} images and {len(labels)} labels; give one label each")
    input_shape = inputs[:1].shape[1:]
    only_calls(traced, [layer], input_shape)
    correct, step = 0, batch_size(*input_shape[-2:])
    copied = evaluation_copy(traced.model)
    with patched(copied, layer, transform):
        for start in range(0, len(labels), step):
            batch = slice(start, start + step)
            outputs = copied(as_input(copied, inputs[batch]))
            scores = outputs if score is None else score(outputs)
            correct += int((scores.argmax(dim=1).cpu() == labels[batch].cpu()).sum())
    return correct / len(labels)
