"""Would the picture look the same if nothing had been learned? (Adebayo et al., 2018.)"""

import copy
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.stats import rankdata
from torch import nn

from internals.anatomy.watch import find_layer
from internals.errors import ProjectionError
from internals.projection.backward import Projection


def randomise(model: nn.Module, untrained: nn.Module, layers: Iterable[str]) -> nn.Module:
    """A copy of `model` in which `layers` have the weights that they have in `untrained`.

    `model` is left as it is. Raises `LayerError` for a layer that it does not have.
    """
    other = copy.deepcopy(model)
    for layer in layers:
        find_layer(other, layer).load_state_dict(find_layer(untrained, layer).state_dict())
    return other


def rank_correlation(before: Sequence[Projection], after: Sequence[Projection]) -> float:
    """How much of the pictures `before` is left `after`: the mean Spearman correlation.

    Pixel magnitudes over each unit's own box are compared, 1 for the same order, 0 for none; a
    picture without any contrast has order 0 with every other. Raises `ProjectionError` when the
    projections are not of the same units.
    """
    if not before or [p.unit for p in before] != [p.unit for p in after]:
        raise ProjectionError("rank correlation needs projections of the same units, one or more")
    pairs = zip(before, after, strict=True)
    return sum(_spearman(a.pixels.numpy(), b.pixels.numpy()) for a, b in pairs) / len(before)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    ranks = [rankdata(np.abs(pixels)) for pixels in (a, b)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])
