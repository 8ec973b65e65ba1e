"""How alike two layers see the same images, whatever networks they belong to."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from internals.activations.record import capture
from internals.data.image_set import Images
from internals.errors import LayerError

_BATCH = 32  # images a pass: the maps of an early layer of VGG-16 take 13 MB an image


def gram_matrices(
    model: nn.Module, images: Images, layers: Iterable[str]
) -> dict[str, Float[Tensor, "n n"]]:
    """For each of `layers` the inner products of what it says of any two of the n `images`.

    In float64, of the layer's whole output, every channel and place a feature. All that
    `centred_alignment` needs, so that layers of networks with other input sizes can be compared.
    Raises `LayerError` for a layer that the model lacks or calls twice.
    """
    found = {}
    for layer in layers:  # one at a time: the outputs of all images are needed together
        parts = []
        for start in range(0, len(images), _BATCH):
            maps = capture(model, images[start : start + _BATCH], [layer])[layer]
            parts.append(maps.flatten(1).float().cpu())
        features = torch.cat(parts)
        # Inner products about the mean of each feature lose fewer digits.
        features -= features.mean(dim=0)
        found[layer] = (features @ features.T).double()
    return found


def centred_alignment(
    grams: Sequence[Float[Tensor, "n n"]],
) -> Float[Tensor, "layers layers"]:
    """Linear centred kernel alignment (CKA) of every pair of layers, by their `gram_matrices`.

    1 for representations that agree up to a rotation and a scale, about 0 for unrelated ones; it
    can come out a little below 0, since the estimate is without bias: the plain one grows to 1 with
    the number of features alone. Raises `LayerError` for fewer than four images, or for a layer
    that says the same of all. (Kornblith et al., 2019, section 3; the estimate is that of Song et
    al., 2012, eq. 5, used so by Nguyen et al., 2021, eq. 3.)
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
