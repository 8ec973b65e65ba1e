"""How alike two layers see the same images, whatever networks they belong to."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from internals.activations.record import capture
from internals.anatomy.hooks import batches
from internals.anatomy.trace import Model, Pictures, as_traced
from internals.errors import LayerError


def gram_matrices(
    model: Model, images: Pictures, layers: Iterable[str]
) -> dict[str, Float[Tensor, "n n"]]:
    """For each layer the inner products of what it puts out for any two of the images.

    They are all that `centred_alignment` needs, so that layers of networks with other input sizes
    can be compared.

    Args:
        model: A `Network`, or a bare module.
        images: As `strongest` takes them.
        layers: Module paths.

    Returns:
        An (n, n) matrix a layer, in float64, of its whole output: every channel at every position
        is a feature, less its mean over the images.

    Raises:
        LayerError: The model lacks a layer, or calls it twice.
    """
    traced = as_traced(model)
    inputs = traced.inputs(images)
    height, width = inputs[:1].shape[2:]
    grams = {}
    for layer in layers:  # one at a time: the outputs of all images are needed together
        parts = []
        for batch in batches(len(inputs), height, width):
            maps = capture(traced, inputs[batch], [layer])[layer]
            parts.append(maps.flatten(1).float().cpu())
        features = torch.cat(parts)
        # Inner products about the mean of each feature lose fewer digits.
        features -= features.mean(dim=0)
        grams[layer] = (features @ features.T).double()
    return grams


def centred_alignment(
    grams: Sequence[Float[Tensor, "n n"]],
) -> Float[Tensor, "layers layers"]:
    """Linear centred kernel alignment (CKA) of every pair of layers, by their `gram_matrices`.

    1 for representations that agree up to a rotation and a scale, about 0 for unrelated ones. It
    can come out a little below 0, since the estimate is without bias: the plain one grows to 1 with
    the number of features alone. (Kornblith et al., 2019, section 3; the estimate is that of Song
    et al., 2012, eq. 5, used so by Nguyen et al., 2021, eq. 3.)

    Args:
        grams: One matrix a layer, all of the same images in the same order.

    Raises:
        LayerError: There are fewer than four images, or a layer puts out the same for all.
    """
    if len(grams[0]) < 4:
        raise LayerError(f"{len(grams[0])} images are too few to compare layers by; take 4 or more")
    hollow = [gram - gram.diag().diag() for gram in grams]
    products = torch.stack([torch.stack([_dependence(a, b) for b in hollow]) for a in hollow])
    own = products.diagonal()
    if not bool((own > 0).all()):
        silent = int((own <= 0).nonzero()[0])
        raise LayerError(f"layer number {silent} says the same of all images; compare another")
    return products / (own.unsqueeze(0) * own.unsqueeze(1)).sqrt()


def _dependence(a: Tensor, b: Tensor) -> Tensor:
    """The unbiased Hilbert-Schmidt independence criterion of two Gram matrices, diagonals 0."""
    n = len(a)
    over_all = a.sum() * b.sum() / ((n - 1) * (n - 2))
    by_row = 2 / (n - 2) * (a.sum(dim=0) @ b.sum(dim=0))
    return ((a * b).sum() + over_all - by_row) / (n * (n - 3))
