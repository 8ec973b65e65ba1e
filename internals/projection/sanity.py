"""How pictures change as a network forgets, layer by layer (Adebayo et al., 2018, section 3.1)."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor, nn

from internals.activations.record import Unit, as_input
from internals.anatomy.hooks import find_layer, watching
from internals.data.image_set import Images
from internals.errors import LayerError, ProjectionError
from internals.models.evaluation import evaluating
from internals.progress import Progress
from internals.projection.attribution import outputs_of, refuse_non_numbers
from internals.projection.project import Projection, project
from internals.projection.rules import RULES


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


# From a model and images to a picture of each, (n, h, w) or (n, c, h, w).
Instrument = Callable[[nn.Module, Images], Tensor]


@dataclass(frozen=True)
class Cascade:
    """What is left of the pictures of some instruments as a network forgets, top layer first.

    Row i is of the instrument `names[i]`; step 0 is the network as it was given, and at each
    further step one more of `layers` has untrained weights. `magnitudes` and `signed` hold the rank
    correlation of each picture with that of step 0, of absolute values and of values, 1 for the
    same order, 0 for none. `maps[i][step][image]` are the pictures, (c, h, w).
    """

    names: tuple[str, ...]
    layers: tuple[str, ...]
    magnitudes: Float[np.ndarray, "instruments steps n"]
    signed: Float[np.ndarray, "instruments steps n"]
    maps: Sequence[Sequence[Sequence[np.ndarray]]]

    @property
    def titles(self) -> list[str]:
        """A heading for each step, such as "trained", "conv3 random", "+ conv2"."""
        top, further = self.layers[:1], self.layers[1:]
        return ["trained", *(f"{layer} random" for layer in top), *(f"+ {x}" for x in further)]

    def pictures(self, image: int = 0) -> list[list[np.ndarray]]:
        """The pictures of one image: a row for each instrument, a column for each step."""
        return [[step[image] for step in row] for row in self.maps]

    def notes(self) -> list[list[str]]:
        """The mean correlation of magnitudes over all images, to be printed below each picture."""
        return [[f"ρ = {value:.2f}" for value in row] for row in self.magnitudes.mean(axis=2)]


def sanity(
    model: nn.Module,
    untrained: nn.Module | None,
    images: Images,
    units: Sequence[Unit] = (),
    rules: Iterable[str] | Mapping[str, str | None] = RULES,
    *,
    instruments: Mapping[str, Instrument] | None = None,
    layers: Iterable[str] | None = None,
    seed: int = 0,
) -> Cascade:
    """How pictures change as the weights of `model` are replaced, layer by layer from the top.

    With `units`, one an image, there is a row for each of `rules`, which may map a rule to its
    `tanh`, as `project` takes them; correlations are over each unit's own box. `instruments` adds
    rows of its own, such as `{"saliency": partial(saliency, classes=3)}`: name the class, or each
    network will choose another. Weights come from `untrained`; when it is None layers draw their
    own again (`reset_parameters`), from `seed`. `layers` are in the order of replacement; by
    default all that have parameters of their own, the last called first, and where there are units
    only, none after the latest unit. `model` is left as it was found. Raises `LayerError` for a
    layer that the model lacks or that cannot draw weights, and `ProjectionError` for weights, units
    or pictures that do not fit. (Adebayo et al., 2018, section 3.1.)
    """
    rows = _rows(_rules(units, rules), instruments or {})
    if layers is None:
        layers = layers_top_down(model, images, set() if instruments else {u.layer for u in units})
    order = tuple(dict.fromkeys(layers))
    source = drawn_again(model, order, seed) if untrained is None else untrained
    network = copied(model).eval()
    found: list[list[_Seen]] = [[] for _ in rows]
    with Progress("sanity", len(order) + 1, "network", quiet=10) as bar:
        for layer in (None, *order):
            if layer is not None:
                replace(network, source, layer)
            for row, see in zip(found, rows.values(), strict=True):
                row.append(see(network, images))
            bar.advance()
    return _compare(tuple(rows), order, found)


@dataclass(frozen=True)
class _Seen:
    """One instrument's pictures of one network: what is compared, and what is shown (c, h, w)."""

    compared: list[np.ndarray]
    shown: list[np.ndarray]


_See = Callable[[nn.Module, Images], _Seen]


def _rules(
    units: Sequence[Unit], rules: Iterable[str] | Mapping[str, str | None]
) -> dict[str, _See]:
    def seeing(rule: str, tanh: str | None) -> _See:
        def see(network: nn.Module, images: Images) -> _Seen:
            found = project(network, images, units, rule, tanh=tanh)
            return _Seen([p.pixels.numpy() for p in found], [p.full().numpy() for p in found])

        return see

    names = [rules] if isinstance(rules, str) else rules
    chosen = names if isinstance(names, Mapping) else dict.fromkeys(names)
    return {rule: seeing(rule, tanh) for rule, tanh in chosen.items()} if units else {}


def _rows(rules: dict[str, _See], instruments: Mapping[str, Instrument]) -> dict[str, _See]:
    for name in rules.keys() & instruments.keys():
        raise ProjectionError(f"{name!r} is a rule already; give the instrument another name")
    rows = rules | {name: _maps(name, ask) for name, ask in instruments.items()}
    if not rows:
        raise ProjectionError("nothing to compare; give units, instruments or both")
    return rows


def _maps(name: str, instrument: Instrument) -> _See:
    def see(network: nn.Module, images: Images) -> _Seen:
        maps = instrument(network, images).detach().cpu()
        if len(maps) != len(images) or maps.ndim not in (3, 4):
            raise ProjectionError(
                f"{name} gives pictures of shape {tuple(maps.shape)} for {len(images)} images; "
                "it must give one an image, (n, h, w) or (n, c, h, w)"
            )
        refuse_non_numbers(maps, f"a pixel of {name}")
        pictures = list((maps.unsqueeze(1) if maps.ndim == 3 else maps).numpy())
        return _Seen(pictures, pictures)

    return see


def _compare(names: tuple[str, ...], layers: tuple[str, ...], found: list[list[_Seen]]) -> Cascade:
    magnitudes, signed = (
        np.array([[_correlations(row[0], step, by_sign) for step in row] for row in found])
        for by_sign in (False, True)
    )
    maps = [[step.shown for step in row] for row in found]
    return Cascade(names, layers, magnitudes, signed, maps)


def _correlations(before: _Seen, after: _Seen, signed: bool) -> list[float]:
    pairs = zip(before.compared, after.compared, strict=True)
    return [spearman(a, b, signed) for a, b in pairs]
