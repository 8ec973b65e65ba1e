"""One pass of all pictures through a network: strongest units, firing by class, maxima by picture.

The pass is cut into pieces, each of which is written when it is done: a run that was stopped goes
on from there, to the same result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn.functional import one_hot

from internals.activations.strongest import Strongest, merged, strongest
from internals.anatomy.copies import evaluation_copy
from internals.anatomy.hooks import as_input, batch_size, watching
from internals.anatomy.trace import TracedModule, only_calls
from internals.data.image_set import ImageSet
from internals.files import write_atomically
from internals.progress import Progress

_PIECE = 500  # pictures, about: what a kill can cost
_TABLES = ("image", "row", "column", "value")


@dataclass(frozen=True)
class Mined:
    """What one pass has found.

    Args:
        strongest: For each layer.
        normalisers: For each layer in which to fire has a meaning, the module path of what
            normalises it; "" for nothing.
        fires: For each of these, of how many pictures of each class each channel is above 0
            somewhere, after the layer's normalisation.
        excited: For each of these whose maxima are kept, of how many pictures of each class each of
            the first channels reaches half of its largest value there.
        maxima: For each layer asked for, of the first channels the largest value on each picture.
    """

    strongest: Mapping[str, Strongest]
    normalisers: Mapping[str, str]
    fires: Mapping[str, Int64[Tensor, "channels classes"]]
    excited: Mapping[str, Int64[Tensor, "first classes"]]
    maxima: Mapping[str, Float[Tensor, "channels pictures"]]


def mine(
    network: TracedModule,
    pictures: ImageSet,
    layers: Sequence[str],
    k: int,
    *,
    followed: Mapping[str, int],
    folder: Path,
    bar: Progress,
) -> Mined:
    """Run all pictures through a network once.

    Args:
        network: Is left as it is.
        pictures: Bytes.
        layers: Convolutions by module path.
        k: Pictures a channel.
        followed: Layers whose maxima are kept, with the number of channels, from the first.
        folder: For the pieces; those of an earlier run there must be of the same work.
        bar: Counts pictures.
    """
    normalisers = find_normalisers(network, layers, tuple(pictures.images.shape[1:]))
    at_once = batch_size(*pictures.images.shape[2:])
    length = -(-_PIECE // at_once) * at_once  # whole batches: the same numbers to the last bit
    starts = range(0, len(pictures), length)
    paths = {start: folder / f"{start:06}.safetensors" for start in starts}
    pieces = {start: piece for start in starts if (piece := _read_piece(paths[start]))}
    bar.start_at(sum(min(length, len(pictures) - start) for start in pieces))
    for start in starts:
        if start in pieces:
            continue
        numbers = torch.arange(start, min(start + length, len(pictures)))
        part = pictures.subset(numbers)
        pieces[start] = _mine_piece(network, part, start, layers, k, normalisers, followed)
        write_atomically(paths[start], save(pieces[start]))
        bar.advance(len(numbers))
    ordered = [pieces[start] for start in starts]
    calls = only_calls(network, layers, pictures.images.shape[1:])

    def whole(layer: str) -> Strongest:
        tables = [
            Strongest(layer, **{name: piece[f"{layer}/{name}"] for name in _TABLES})  # type: ignore[arg-type]
            for piece in ordered
        ]
        best = merged(tables, k)
        return replace(best, pictures=pictures, is_rectified=calls[layer].is_rectified)

    def joined(kind: str, layer: str) -> list[Tensor]:
        return [piece[f"{layer}/{kind}"] for piece in ordered]

    fires = {layer: torch.stack(joined("fires", layer)).sum(0) for layer in normalisers}
    maxima = {layer: torch.cat(joined("maxima", layer), dim=1) for layer in followed}
    classes = one_hot(pictures.labels, len(pictures.class_names))
    return Mined(
        {layer: whole(layer) for layer in layers},
        {layer: path for layer, (path, _) in normalisers.items()},
        fires,
        {
            layer: _excited(normalisers[layer][1], maxima[layer], len(fires[layer])) @ classes
            for layer in maxima
            if layer in normalisers
        },
        maxima,
    )


def find_normalisers(
    network: TracedModule, layers: Sequence[str], shape: Sequence[int]
) -> dict[str, tuple[str, nn.Module]]:
    """For each layer where "above 0 after its normalisation" has a meaning, what normalises it.

    That is the batch normalisation that is given the layer's very output, with its module path, or
    nothing at all ("", `nn.Identity`) where a rectifier is. Other layers are left out: what is
    above 0 before a tanh, say, is no more than what is below.

    Args:
        network: Is left as it is.
        layers: Module paths.
        shape: (channels, height, width) of an image.
    """
    copied = evaluation_copy(network.model)
    outputs: dict[str, Tensor] = {}
    found: dict[str, tuple[str, nn.Module]] = {}

    def see(path: str, module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        if path in layers and isinstance(output, Tensor):
            outputs[path] = output
        if not isinstance(module, nn.BatchNorm2d) or not module.track_running_stats:
            return
        for layer, given in outputs.items():
            if inputs and inputs[0] is given:
                found[layer] = path, module

    with torch.no_grad(), watching(copied, see):
        copied(as_input(copied, torch.zeros(1, *shape)))
    calls = only_calls(network, layers, shape)
    rectified = {layer for layer in layers if calls[layer].is_rectified}
    return {
        layer: found.get(layer, ("", nn.Identity()))
        for layer in layers
        if layer in found or layer in rectified
    }


def _mine_piece(
    network: TracedModule,
    pictures: ImageSet,
    first: int,
    layers: Sequence[str],
    k: int,
    normalisers: Mapping[str, tuple[str, nn.Module]],
    followed: Mapping[str, int],
) -> dict[str, Tensor]:
    """All tables of some pictures, the first of which is number `first` of all."""
    classes = one_hot(pictures.labels, len(pictures.class_names))
    fires: dict[str, Tensor] = {}
    maxima: dict[str, list[Tensor]] = {layer: [] for layer in followed}

    def see(layer: str, maps: Tensor, start: int) -> None:
        largest = maps.amax(dim=(2, 3))
        if layer in followed:
            maxima[layer].append(largest[:, : followed[layer]].T.float().cpu())
        if layer in normalisers:
            fired = _fired(normalisers[layer][1], maps, largest)
            labels = classes[start : start + len(maps)]
            counts = fired.T.long().cpu() @ labels
            fires[layer] = fires.get(layer, 0) + counts

    found = strongest(network, pictures, layers, k, see=see)
    piece = {f"{layer}/{name}": getattr(found[layer], name) for layer in layers for name in _TABLES}
    for layer in layers:
        piece[f"{layer}/image"] = piece[f"{layer}/image"] + first
    piece |= {f"{layer}/fires": counts for layer, counts in fires.items()}
    piece |= {f"{layer}/maxima": torch.cat(parts, dim=1) for layer, parts in maxima.items()}
    return {name: table.contiguous() for name, table in piece.items()}


def _fired(normaliser: nn.Module, maps: Tensor, largest: Tensor) -> Tensor:
    """(n, channels): whether a channel is above 0 anywhere once it is normalised.

    In evaluation a batch normalisation is a straight line for each channel, so that one position
    decides: the largest, or where the line falls the smallest.
    """
    extreme = largest
    weight = getattr(normaliser, "weight", None)
    if weight is not None and bool((weight < 0).any()):
        extreme = torch.where(weight < 0, maps.amin(dim=(2, 3)), largest)
    return normaliser(extreme[:, :, None, None])[:, :, 0, 0] > 0


def _excited(
    normaliser: nn.Module, maxima: Float[Tensor, "first pictures"], channels: int
) -> Int64[Tensor, "first pictures"]:
    """1 where a channel reaches half of its largest value, normalised; 0 where it never fires.

    A channel whose normalisation falls with its value fires where the value is low: not here.
    """
    first, pictures = maxima.shape
    padded = maxima.new_zeros(pictures, channels)
    padded[:, :first] = maxima.T
    height = normaliser(padded[:, :, None, None])[:, :first, 0, 0]
    weight = getattr(normaliser, "weight", None)
    falls = torch.zeros(first, dtype=torch.bool) if weight is None else weight[:first].cpu() < 0
    most = height.amax(dim=0)
    return ((height >= most / 2) & (most > 0) & ~falls).T.long()


def _read_piece(path: Path) -> dict[str, Tensor] | None:
    """A piece of an earlier run; None where there is none, or it is damaged."""
    try:
        return load_file(path) if path.exists() else None
    except (OSError, SafetensorError):
        return None
