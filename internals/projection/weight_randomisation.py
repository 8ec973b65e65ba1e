"""Would the picture look the same if nothing had been learned? (Adebayo et al., 2018.)"""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from internals.activations.mining import Images
from internals.activations.recording import as_input
from internals.anatomy.watch import evaluating, find_layer, watching
from internals.errors import LayerError, ProjectionError
from internals.projection.backward import Projection
from internals.projection.class_scores import outputs_of


def randomise(model: nn.Module, untrained: nn.Module, layers: Iterable[str]) -> nn.Module:
    """A copy of `model` in which `layers` have the weights that they have in `untrained`.

    `model` is left as it is. Raises `LayerError` for a layer that one of them does not have, and
    `ProjectionError` for weights of another shape.
    """
    other = copied(model)
    for layer in layers:
        replace(other, untrained, layer)
    return other


def rank_correlation(
    before: Sequence[Projection], after: Sequence[Projection], *, signed: bool = False
) -> float:
    """How much of the pictures `before` is left `after`: the mean Spearman correlation.

    Pixel magnitudes over each unit's own box are compared, or with `signed` the pixels themselves,
    1 for the same order, 0 for none; a picture without any contrast has order 0 with every other.
    Raises `ProjectionError` when the projections are not of the same units.
    """
    if not before or [p.unit for p in before] != [p.unit for p in after]:
        raise ProjectionError("rank correlation needs projections of the same units, one or more")
    pictures = [[p.pixels.numpy() for p in projections] for projections in (before, after)]
    found = [spearman(a, b, signed) for a, b in zip(*pictures, strict=True)]
    return sum(found) / len(found)


def spearman(a: np.ndarray, b: np.ndarray, signed: bool) -> float:
    """The rank correlation of two pictures' values, or magnitudes; 0 where one is flat."""
    ranks = [rankdata(pixels if signed else np.abs(pixels)) for pixels in (a, b)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


def copied(model: nn.Module) -> nn.Module:
    """A copy of `model`, with weights that can be differentiated by."""
    # What is made in inference mode could never be differentiated.
    with torch.inference_mode(False):
        return copy.deepcopy(model)


def replace(network: nn.Module, source: nn.Module, layer: str) -> None:
    """Give `layer` of `network` the weights that it has in `source`."""
    weights = find_layer(source, layer).state_dict()
    try:
        find_layer(network, layer).load_state_dict(weights)
    except RuntimeError as error:
        raise ProjectionError(
            f"the weights of layer {layer!r} are others in the untrained network; "
            "give one of the same architecture"
        ) from error


def drawn_again(model: nn.Module, layers: Iterable[str], seed: int) -> nn.Module:
    """A copy of `model` in which `layers` have drawn their weights again, on the CPU."""
    other = copied(model).cpu()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for layer in layers:
            for module in find_layer(other, layer).modules():
                if not _has_weights(module):
                    continue
                reset = getattr(module, "reset_parameters", None)
                if reset is None:
                    raise LayerError(
                        f"layer {layer!r} ({type(module).__name__}) has no reset_parameters() to "
                        "draw its weights again; give an untrained network"
                    )
                reset()
    return other


def layers_top_down(model: nn.Module, images: Images, until: set[str]) -> list[str]:
    """The layers with weights of their own, the last called first, from the last of `until` on."""
    called: dict[str, nn.Module] = {}

    def see(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        called.setdefault(path, module)

    with evaluating(model), torch.no_grad(), watching(model, see):
        outputs_of(model, as_input(model, images[:1]))
    if _has_weights(model):
        raise LayerError(
            f"{type(model).__name__} has weights that belong to no layer; name layers= to randomise"
        )
    paths = list(called)
    last = max((paths.index(layer) for layer in until if layer in called), default=len(paths) - 1)
    return [path for path in reversed(paths[: last + 1]) if _has_weights(called[path])]


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None
