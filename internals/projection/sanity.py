"""How pictures change as a network forgets, stage by stage (Adebayo et al., 2018, section 3.1)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor, nn

from internals.activations.record import Unit
from internals.anatomy.copies import evaluation_copy
from internals.anatomy.fields import Field, ReceptiveField
from internals.anatomy.hooks import as_input, deep_copy, find_layer, watching
from internals.anatomy.trace import Model, Pictures, TracedModule, as_traced, only_calls
from internals.data.image_set import Images
from internals.errors import LayerError, ProjectionError
from internals.progress import Progress
from internals.projection.attribution import outputs_of, refuse_non_numbers
from internals.projection.project import Projection, Units, locate_units, project
from internals.projection.rules import RULES

# From what `sanity` was given as a model, randomised, and inputs to a picture of each, (n, h, w) or
# (n, c, h, w).
Instrument = Callable[[Any, Images], Tensor]
# By title, the layers that are randomised together; a name alone is a stage of one layer.
Stages = Mapping[str, str | Sequence[str]] | Iterable[str]
# Names of rules; or to each what it needs besides: its `tanh`, or keywords of `project`.
RowRules = Iterable[str] | Mapping[str, str | Mapping[str, Any] | None]


@dataclass(frozen=True)
class Cascade:
    """What is left of some instruments' pictures as a network forgets, its last layers first.

    Step 0 is the network as it was given; at each further step one more of the stages has untrained
    weights.

    Args:
        names: Of the instruments, one a row.
        stages: Titles of what is randomised, in this order.
        magnitudes: The rank correlation of each picture with that of step 0, of absolute values: 1
            for the same order, 0 for none.
        signed: The same of the values themselves.
        baseline: The mean rank correlation of absolute values between the pictures of step 0 of
            different channels on different images, fields laid on one another; NaN where there are
            none. A rank correlation no higher leaves nothing of a picture but what any has, such
            as the decline of influence from the middle of a field.
        maps: `maps[row][step][picture]`, (channels, height, width).
    """

    names: tuple[str, ...]
    stages: tuple[str, ...]
    magnitudes: Float[np.ndarray, "instruments steps n"]
    signed: Float[np.ndarray, "instruments steps n"]
    baseline: Float[np.ndarray, " instruments"]
    maps: Sequence[Sequence[Sequence[np.ndarray]]]

    @property
    def titles(self) -> list[str]:
        """A heading for each step, such as "trained", "conv3 random", "+ conv2"."""
        first, further = self.stages[:1], self.stages[1:]
        return ["trained", *(f"{name} random" for name in first), *(f"+ {x}" for x in further)]

    def pictures(self, number: int = 0) -> list[list[np.ndarray]]:
        """One picture at each step: a row for each instrument, a column for each step."""
        return [[step[number] for step in row] for row in self.maps]

    def notes(self) -> list[list[str]]:
        """The mean correlation of magnitudes over all pictures, to be printed below each.

        Below the first, which would be 1, stands the baseline where there is one.
        """
        notes = [[f"ρ = {value:.2f}" for value in row] for row in self.magnitudes.mean(axis=2)]
        for row, value in zip(notes, self.baseline, strict=True):
            if not np.isnan(value):
                row[0] = f"baseline {value:.2f}"
        return notes


def sanity(
    model: Model,
    images: Pictures,
    units: Units = (),
    rules: RowRules = RULES,
    *,
    instruments: Mapping[str, Instrument] | None = None,
    stages: Stages | None = None,
    untrained: Model | None = None,
    image_index: Sequence[int] | None = None,
    seed: int = 0,
) -> Cascade:
    """How pictures change as the weights of a network are replaced, from its last layers on.

    What stays the same owes nothing to the weights. (Adebayo et al., 2018, section 3.1.)

    Args:
        model: A `Network`, or a bare module; it is left as it is.
        images: As `strongest` takes them.
        units: Are projected at each step, a row for each of `rules`: all that `project` takes, such
            as `top["conv5"][:12].head(1)`. A channel's strongest unit is that of the trained
            network throughout. Correlations are over each unit's own box.
        rules: Names of rules. A mapping says for each its `tanh`, or as a mapping whatever keywords
            `project` needs: `{"gradient": None, "guided": "agreeing"}`.
        instruments: Further rows, such as `{"saliency": partial(saliency, classes=3)}`: name the
            class, or each network will choose another. They are given a network of the same kind
            as `model`, and normalised inputs.
        stages: What is randomised, one stage after the other: layers by name, or, by title, layers
            that forget together: `{"stage 4": ["conv16", "conv17"], ...}`. By default all layers
            with parameters of their own, the last called first, and where there are units only,
            none after the latest unit.
        untrained: A network of the same architecture that the weights come from; by default each
            layer draws its own again, by its `reset_parameters`.
        image_index: As for `project`.
        seed: Of weights that are drawn again; another seed, another draw.

    Raises:
        LayerError: The model lacks a layer, or one cannot draw weights.
        ProjectionError: Weights, units or pictures do not fit.
    """
    traced = as_traced(model)
    inputs = traced.inputs(images)
    chosen, numbers = locate_units(traced, inputs, units, image_index) if units else ([], [])
    rows = _rows(_rule_rows(chosen, numbers, rules), instruments or {}, is_bare=model is not traced)
    if stages is None:
        until = set() if instruments else {unit.layer for unit in chosen}
        stages = _layers_top_down(traced.model, inputs, until)
    steps = _as_stages(stages)
    layers = [layer for names in steps.values() for layer in names]
    source = drawn_again(traced.model, layers, seed) if untrained is None else untrained
    weights = as_traced(source).model
    # One network that forgets step by step, so that it is traced once.
    network = traced.with_model(deep_copy(traced.model).eval())
    seen: list[list[_Seen]] = [[] for _ in rows]
    with Progress("sanity", len(steps) + 1, "network", quiet=10) as bar:
        for names in ((), *steps.values()):
            for layer in names:
                _replace_weights(network.model, weights, layer)
            for row, look in zip(seen, rows.values(), strict=True):
                row.append(look(network, inputs))
            bar.advance()
    return _compared(tuple(rows), tuple(steps), seen)


def randomise(model: Model, untrained: Model, layers: Iterable[str]) -> nn.Module:
    """A copy of a network in which some layers have untrained weights.

    Args:
        model: Is left as it is.
        untrained: A network of the same architecture.
        layers: Module paths.

    Raises:
        LayerError: One of the two lacks a layer.
        ProjectionError: The weights have another shape.
    """
    other, source = deep_copy(as_traced(model).model), as_traced(untrained).model
    for layer in layers:
        _replace_weights(other, source, layer)
    return other


def rank_correlation(
    before: Sequence[Projection], after: Sequence[Projection], *, signed: bool = False
) -> float:
    """How much of some pictures is left: the mean Spearman correlation of their pixels.

    1 for the same order, 0 for none; a picture without any contrast has 0 with every other.

    Args:
        before: Projections; compared is each unit's own box.
        after: Projections of the same units.
        signed: Whether the pixels themselves are compared, rather than their magnitudes.

    Raises:
        ProjectionError: The projections are not of the same units.
    """
    if not before or [p.unit for p in before] != [p.unit for p in after]:
        raise ProjectionError("rank correlation needs projections of the same units, one or more")
    pictures = [[p.pixels.numpy() for p in projections] for projections in (before, after)]
    correlations = [_spearman(a, b, signed) for a, b in zip(*pictures, strict=True)]
    return sum(correlations) / len(correlations)


def _spearman(a: np.ndarray, b: np.ndarray, signed: bool) -> float:
    """The rank correlation of two pictures' values, or magnitudes; 0 where one is flat."""
    ranks = [rankdata(pixels if signed else np.abs(pixels)) for pixels in (a, b)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(ranks)[0, 1])


def _as_stages(stages: Stages) -> dict[str, tuple[str, ...]]:
    """By title, the layers that are randomised together."""
    named = stages if isinstance(stages, Mapping) else {layer: layer for layer in stages}
    return {
        title: (layers,) if isinstance(layers, str) else tuple(layers)
        for title, layers in named.items()
    }


def _replace_weights(network: nn.Module, source: nn.Module, layer: str) -> None:
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
    """A copy of a network in which some layers have drawn their weights again, on the CPU.

    Args:
        model: Is left as it is.
        layers: Module paths.
        seed: Of the new weights.

    Raises:
        LayerError: The model lacks a layer, or one cannot draw weights.
    """
    other = deep_copy(model).cpu()
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


def _layers_top_down(model: nn.Module, images: Images, until: set[str]) -> list[str]:
    """The layers with weights of their own, the last called first, from the last of `until` on."""
    called: dict[str, nn.Module] = {}

    def note(path: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        called.setdefault(path, module)

    copied = evaluation_copy(model)
    with torch.no_grad(), watching(copied, note):
        outputs_of(copied, as_input(copied, images[:1]))
    if _has_weights(model):
        raise LayerError(
            f"{type(model).__name__} has weights that belong to no layer; name stages= to randomise"
        )
    paths = list(called)
    last = max((paths.index(layer) for layer in until if layer in called), default=len(paths) - 1)
    return [path for path in reversed(paths[: last + 1]) if _has_weights(called[path])]


def _has_weights(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


@dataclass(frozen=True)
class _Seen:
    """One instrument's pictures of one network: what is compared, and what is shown (c, h, w)."""

    compared: list[np.ndarray]
    shown: list[np.ndarray]
    places: list["_Place"]


class _Place(NamedTuple):
    """What a picture is of: an image, and there a channel whose field it shows from `corner` on."""

    image: int
    layer: str
    channel: int
    corner: tuple[int, int]

    def is_comparable(self, other: "_Place") -> bool:
        """Whether the two show different things through fields of one form."""
        if self.image == other.image or self.layer != other.layer:
            return False
        return self.layer == _NO_LAYER or self.channel != other.channel


_NO_LAYER = ""  # of pictures of a whole network
_NEIGHBOURS = 5  # pictures that each is compared with for the baseline


_Look = Callable[[TracedModule, Images], _Seen]


def _rule_rows(units: Sequence[Unit], numbers: Sequence[int], rules: RowRules) -> dict[str, _Look]:
    """For each rule how it looks at a network."""

    def looking(rule: str, options: Mapping[str, Any]) -> _Look:
        def look(network: TracedModule, images: Images) -> _Seen:
            projections = project(network, images, units, rule, image_index=numbers, **options)
            fields = {unit.layer: _field(network, unit.layer, images) for unit in units}
            return _Seen(
                [p.pixels.numpy() for p in projections],
                [p.full().numpy() for p in projections],
                [
                    _Place(number, p.unit.layer, p.unit.channel, _corner(p, fields[p.unit.layer]))
                    for number, p in zip(numbers, projections, strict=True)
                ],
            )

        return look

    if not units:
        return {}
    names = [rules] if isinstance(rules, str) else rules
    options = names if isinstance(names, Mapping) else dict.fromkeys(names)
    return {
        rule: looking(rule, value if isinstance(value, Mapping) else {"tanh": value})
        for rule, value in options.items()
    }


def _rows(
    rules: dict[str, _Look], instruments: Mapping[str, Instrument], *, is_bare: bool
) -> dict[str, _Look]:
    for name in rules.keys() & instruments.keys():
        raise ProjectionError(f"{name!r} is a rule already; give the instrument another name")
    rows = rules | {name: _maps(name, ask, is_bare) for name, ask in instruments.items()}
    if not rows:
        raise ProjectionError("nothing to compare; give units, instruments or both")
    return rows


def _maps(name: str, instrument: Instrument, is_bare: bool) -> _Look:
    def look(network: TracedModule, images: Images) -> _Seen:
        maps = instrument(network.model if is_bare else network, images).detach().cpu()
        if len(maps) != len(images) or maps.ndim not in (3, 4):
            raise ProjectionError(
                f"{name} gives pictures of shape {tuple(maps.shape)} for {len(images)} images; "
                "it must give one an image, (n, h, w) or (n, c, h, w)"
            )
        refuse_non_numbers(maps, f"a pixel of {name}")
        pictures = list((maps.unsqueeze(1) if maps.ndim == 3 else maps).numpy())
        places = [_Place(number, _NO_LAYER, 0, (0, 0)) for number in range(len(pictures))]
        return _Seen(pictures, pictures, places)

    return look


def _field(traced: TracedModule, layer: str, images: Images) -> ReceptiveField | None:
    """The receptive field of a layer's units; None where it cannot be stated."""
    field = only_calls(traced, [layer], images[:1].shape[1:])[layer].field
    return field.public() if isinstance(field, Field) else None


def _corner(projection: Projection, field: ReceptiveField | None) -> tuple[int, int]:
    """Where in the unit's field, of which the image may hold a part, the pixels begin."""
    if field is None:
        return 0, 0
    unit = projection.unit
    top, left, *_ = field.box(unit.row, unit.column)
    return projection.box[0] - top, projection.box[1] - left


def _compared(names: tuple[str, ...], stages: tuple[str, ...], seen: list[list[_Seen]]) -> Cascade:
    counts = {len(row[0].shown) for row in seen}
    if len(counts) > 1:
        raise ProjectionError(
            f"rules and instruments give {' and '.join(map(str, sorted(counts)))} pictures; give "
            "one unit an image, or compare instruments by themselves"
        )
    magnitudes, signed = (
        np.array([[_correlations(row[0], step, by_sign) for step in row] for row in seen])
        for by_sign in (False, True)
    )
    baseline = np.array([_baseline(row[0]) for row in seen])
    maps = [[step.shown for step in row] for row in seen]
    return Cascade(names, stages, magnitudes, signed, baseline, maps)


def _baseline(seen: _Seen) -> float:
    """The mean correlation of magnitudes between pictures of different things; NaN for none."""
    count, found = len(seen.compared), []
    for ahead in range(1, min(count, _NEIGHBOURS + 1)):
        for a in range(count):
            b = (a + ahead) % count
            if seen.places[a].is_comparable(seen.places[b]):
                both = _overlap(seen, a, b)
                if both[0][0].size > 1:
                    found.append(_spearman(*both, signed=False))
    return float(np.mean(found)) if found else np.nan


def _overlap(seen: _Seen, a: int, b: int) -> tuple[np.ndarray, np.ndarray]:
    """Of two pictures what both show of the field."""
    pictures = [seen.compared[a], seen.compared[b]]
    starts = np.array([seen.places[a].corner, seen.places[b].corner])
    ends = starts + [picture.shape[1:] for picture in pictures]
    start, end = starts.max(axis=0), ends.min(axis=0).clip(min=starts.max(axis=0))
    first, second = (
        picture[:, start[0] - top : end[0] - top, start[1] - left : end[1] - left]
        for picture, (top, left) in zip(pictures, starts, strict=True)
    )
    return first, second


def _correlations(before: _Seen, after: _Seen, signed: bool) -> list[float]:
    pairs = zip(before.compared, after.compared, strict=True)
    return [_spearman(a, b, signed) for a, b in pairs]
