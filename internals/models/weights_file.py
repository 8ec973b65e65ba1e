"""Weights from a file of anybody's making, read without running anything in it."""

import base64
import copy
import hashlib
import json
import pickle
import re
import sys
import warnings
import zipfile
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import is_lazy
from torch.optim.swa_utils import AveragedModel

from internals.errors import CheckpointError

# Under which training scripts save the weights, in the order in which they are taken; whatever else
# holds weights, such as their running average, comes after these.
_STATE_KEYS = ("", "state_dict", "model_state_dict", "model", "module", "network", "net", "weights")
# What wrappers put into names: torch.compile, FSDP and checkpointed blocks a name that nobody else
# gives, DataParallel and AveragedModel one that can be a network's own.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_HOLDERS = (nn.DataParallel, DistributedDataParallel, AveragedModel)
_DENSENET = re.compile(r"(\bdenselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")  # as published
_COUNTER = "num_batches_tracked"  # for training only, and older files have none


@dataclass(frozen=True)
class WeightsFile:
    """What a file of weights holds, read once.

    Args:
        path: The file.
        states: What it holds in the place of a state dict, by the key; "" where that is all.
        facts: What this package has written beside its own; empty for the files of others.
    """

    path: Path
    states: dict[str, dict[str, Any]]
    facts: dict[str, Any]

    @property
    def provenance(self) -> dict[str, Any] | None:
        """What weights trained by this package record of their making; None for any other file."""
        record = self.facts.get("provenance")
        is_ours = isinstance(record, dict) and isinstance(record.get("recipe"), dict)
        return record if is_ours else None

    @property
    def statistics(self) -> dict[str, Tensor] | None:
        """The statistics of the images that they were trained on; None for any other file."""
        packed = self.facts.get("statistics")
        return unpack_tensors(packed) if isinstance(packed, str) else None


def open_weights(path: Path | str) -> WeightsFile:
    """Read a file of weights without running anything in it.

    Args:
        path: A .safetensors file, or what `torch.save` wrote of a state dict, alone or in a
            checkpoint: under "state_dict", "model" or any other key.

    Raises:
        CheckpointError: The file is missing or damaged, or holds no weights.
    """
    path = Path(path)
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):  # to open a pipe is to wait
            raise CheckpointError(f"{path} is not a file but a pipe, socket or device; name a file")
        if _is_safetensors(path):
            return _open_safetensors(path)
        # Many checkpoints hold the options of their script, which are plain values.
        with warnings.catch_warnings(), torch.serialization.safe_globals([Namespace]):
            warnings.simplefilter("ignore")
            with path.open("rb") as file:  # by its path torch would go by the suffix
                content = torch.load(file, map_location="cpu", weights_only=True)
        _check_archive(path)
    except CheckpointError:
        raise
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; name a file of weights") from None
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" ({named[1]})" if named else ""
        raise CheckpointError(
            f"{path} is damaged, or holds more than weights{what}; save model.state_dict() alone"
        ) from error
    except Exception as error:  # a damaged file trips torch's reader anywhere
        if "TorchScript" in str(error):
            raise CheckpointError(
                f"{path} is a TorchScript archive; save model.state_dict()"
            ) from error
        raise CheckpointError(f"{path} cannot be read as weights: {_first_line(error)}") from error
    found = dict(_states(content, depth=2))
    known = [key for key in _STATE_KEYS if key in found]
    if not found:
        raise CheckpointError(f"{path} holds no state dict; save model.state_dict()")
    return WeightsFile(path, {key: found[key] for key in dict.fromkeys([*known, *found])}, {})


def _is_safetensors(path: Path) -> bool:
    """Told by the first bytes, for a suffix may be any; raises `CheckpointError` for no weights."""
    with path.open("rb") as file:
        start = file.read(256)
    if not start:
        raise CheckpointError(f"{path} is empty; name a file of weights")
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start):  # a length has null bytes
        raise CheckpointError(f"{path} is no file of weights but text; name a file of weights")
    if start.startswith((b"PK\x03\x04", b"\x80\x02\x8a\x0a")):  # what torch writes, new and old
        return False
    length = int.from_bytes(start[:8], "little")
    has_header = start[8:9] == b"{" and length <= path.stat().st_size - 8
    return has_header or path.suffix.lower() == ".safetensors"


def _check_archive(path: Path) -> None:
    """Raise `CheckpointError` for a zip whose checksums differ, which torch does not look at."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return
        with zipfile.ZipFile(file) as archive:
            # torch can be told to write none: then all are 0.
            if any(entry.CRC for entry in archive.infolist()) and (name := archive.testzip()):
                raise CheckpointError(
                    f"{path} is damaged (the checksum of {name} in it differs); fetch it again"
                )


def _states(content: Any, depth: int, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """What in `content` can be a state dict: all that names tensors, so far down."""
    if not isinstance(content, Mapping):
        return
    names = [name for name, value in content.items() if isinstance(value, Tensor)]
    if names and all(isinstance(name, str) for name in names):
        yield key, {name: value for name, value in content.items() if isinstance(name, str)}
    for name, value in content.items() if depth else ():
        yield from _states(value, depth - 1, f"{key}.{name}" if key else str(name))


def _open_safetensors(path: Path) -> WeightsFile:
    """Tensors, and the facts of a file of ours, whose checksum is that of all it holds."""
    with safetensors.safe_open(path, framework="pt") as file:
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata() or {})
    if not state:
        raise CheckpointError(f"{path} holds no weights; save model.state_dict()")
    if not _is_ours(metadata):
        return WeightsFile(path, {"": state}, {})
    stated = metadata.pop("sha256", None)
    if stated != checksum(state, metadata):
        raise CheckpointError(
            f"{path} is damaged (its checksum differs); train again, or fetch it again"
        )
    facts = {name: json.loads(fact) for name, fact in metadata.items()}
    return WeightsFile(path, {"": state}, facts)


def _is_ours(metadata: Mapping[str, str]) -> bool:
    """Whether this package wrote the file; of the signs, damage may have taken one away."""
    signs = metadata.keys() & {"provenance", "sha256"}
    return len(signs) == 2 or bool(
        signs and any('"recipe": ' in fact for fact in metadata.values())
    )


def fill(model: nn.Module, weights: WeightsFile, *, unused: Iterable[str] = ()) -> None:
    """Fill a network with the weights of a file.

    Names may differ by what wrappers put into them (`DataParallel`, `torch.compile` and others, on
    either side and in any order), and by one prefix that all names of the file or of the network
    have, such as that of an attribute which held the network. Counters of steps are no weights. Of
    several sets in the file that fit, one under "state_dict" or "model" comes before an average of
    it; which one was taken is then said on standard error.

    Args:
        model: The network to fill.
        weights: The file, opened.
        unused: Tensors whose names begin with one of these are passed over.

    Raises:
        CheckpointError: The weights are those of another network; the message names the first
            tensors that do not fit, and the network is unchanged. Or they are not finite.
    """
    path, model = weights.path, _bare(model)
    complete = model.state_dict()  # with the versions of its modules, which a bare file lacks
    kept = model.state_dict(keep_vars=True)  # in which a tensor with two names is one
    own = {name: value for name, value in kept.items() if isinstance(value, Tensor)}
    best = {key: _best(own, state, tuple(unused)) for key, state in weights.states.items()}
    fitting = [key for key, match in best.items() if match.fits]
    match = best[fitting[0]] if fitting else max(best.values(), key=lambda match: match.agreeing)
    if not (match.fits or _translates(model, match)):
        raise CheckpointError(
            f"{path} holds weights of another network than {type(model).__name__}: "
            + match.difference()
        )
    _check_numbers(path, model, match.state)
    complete.update({name: match.state[name] for name in complete.keys() & match.state.keys()})
    try:
        if match.fits:
            model.load_state_dict(complete)
        else:
            model.load_state_dict(match.state, strict=False)
    except Exception as error:  # raised by a module of the user's own
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} does not fit: {reason}") from error
    if len(fitting) > 1:
        names = [repr(key) if key else "the file itself" for key in fitting]
        print(f"{path} has weights in {' and '.join(names)}; took {names[0]}", file=sys.stderr)


def _bare(model: nn.Module) -> nn.Module:
    """The network in what `torch.compile`, `DataParallel` and their like return."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, _HOLDERS):
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


@dataclass(frozen=True)
class _Match:
    """A file's weights under the names of a network, and where the two differ.

    Args:
        state: What stands below the prefix, by the network's names as far as it has them.
        prefix: What stands before the network's names in the file.
        agreeing: How many tensors agree in name and shape.
        missing: Names in the network only.
        extra: Names in the file only, below the prefix.
        outside: Names in the file only, without the prefix.
        reshaped: What differs in shape or kind, in words.
    """

    state: dict[str, Any]
    prefix: str
    agreeing: int
    missing: list[str]
    extra: list[str]
    outside: list[str]
    reshaped: list[str]

    @property
    def fits(self) -> bool:
        """Whether nothing is missing and nothing left over."""
        return not (self.missing or self.extra or self.outside or self.reshaped)

    def difference(self) -> str:
        """How many tensors differ, and the first of each sort."""
        sorts = (
            [f"{name!r} is missing" for name in self.missing],
            [f"{name!r} is in the file only" for name in [*self.extra, *self.outside]],
            self.reshaped,
        )
        told = [
            words[0] + (f" (and {len(words) - 1} more)" if len(words) > 1 else "")
            for words in sorts
            if words
        ]
        below = f"its names begin with {self.prefix!r}; without that, " if self.prefix else ""
        return below + "; ".join(told)


def _best(own: Mapping[str, Tensor], state: dict[str, Any], unused: tuple[str, ...]) -> _Match:
    """The first way to name the weights in `state` that fits, or else the nearest one."""
    matches = []
    for wrappers in ((), _WRAPPERS, (*_WRAPPERS, "module")):
        mine, theirs = ({_plain(name, wrappers): name for name in names} for names in (own, state))
        if len(mine) < len(own) or len(theirs) < len(state):
            continue  # without a name that is the network's own, two of its names would be one
        holder = _common_prefix(theirs, mine)  # an attribute that holds all of the network
        if all(name.startswith(holder) for name in mine):
            mine = {plain.removeprefix(holder): name for plain, name in mine.items()}
        for prefix in dict.fromkeys(["", _common_prefix(mine, theirs)]):
            match = _compare(own, state, mine, theirs, prefix, unused)
            if match.fits:
                return match
            matches.append(match)
    return max(matches, key=lambda match: match.agreeing)


def _plain(name: str, wrappers: tuple[str, ...]) -> str:
    """`name` without what wrappers have put into it, as torchvision writes it today."""
    *modules, last = name.split(".")
    name = ".".join([*(module for module in modules if module not in wrappers), last])
    return _DENSENET.sub(r"\1", name)


def _common_prefix(mine: Iterable[str], theirs: Iterable[str]) -> str:
    """What stands before most of the names of `mine` in `theirs`, with its dot."""
    wanted, prefixes = set(mine), Counter[str]()
    for name in theirs:
        parts = name.split(".")
        for start in range(len(parts)):
            if ".".join(parts[start:]) in wanted:
                prefixes["".join(f"{part}." for part in parts[:start])] += 1
    return max(prefixes, key=lambda prefix: prefixes[prefix], default="")


def _compare(
    own: Mapping[str, Tensor],
    state: Mapping[str, Any],
    mine: Mapping[str, str],
    theirs: Mapping[str, str],
    prefix: str,
    unused: tuple[str, ...],
) -> _Match:
    """Compare the tensors `own` with those in `state`; `mine` and `theirs` are names by plain ones.

    Args:
        own: The network's tensors.
        state: The file's.
        mine: The names in `own` by what they have in common with those in `state`.
        theirs: The names in `state`, likewise.
        prefix: What the names in `theirs` begin with before that.
        unused: As for `fill`.
    """
    named: dict[str, Any] = {}
    extra, outside = [], []
    for plain, name in theirs.items():
        below = plain.removeprefix(prefix)
        if below.startswith(unused):
            continue
        if not plain.startswith(prefix):
            outside += [] if _counts(state[name]) else [name]
            continue
        named[mine.get(below, below)] = state[name]
        extra += [] if below in mine or _counts(state[name]) else [name]
    shared = {name: None for name in own if isinstance(named.get(name), Tensor)}
    reshaped = [words for name in shared if (words := _conflict(name, named[name], own[name]))]
    filled = {id(own[name]) for name in shared}  # under whatever other name: some files hold one
    missing = [n for n in own if id(own[n]) not in filled and not n.endswith(_COUNTER)]
    return _Match(named, prefix, len(shared) - len(reshaped), missing, extra, outside, reshaped)


def _counts(value: Any) -> bool:
    """Whether this is a counter of steps, such as averages have, or no tensor at all."""
    return not isinstance(value, Tensor) or (value.ndim == 0 and not value.is_floating_point())


def _conflict(name: str, given: Tensor, own: Tensor) -> str:
    """How a tensor in the file differs from the network's; nothing where it does not."""
    if given.is_complex() and not own.is_complex():
        return f"{name!r} is complex in the file and real in the network"
    # Quantised weights without their scale would be filled in as they are.
    whole = not (given.is_floating_point() or given.is_complex() or given.is_quantized)
    if whole and own.is_floating_point() and given.ndim and not name.endswith(_COUNTER):
        kinds = (str(tensor.dtype).removeprefix("torch.") for tensor in (given, own))
        return "{!r} is {} in the file and {} in the network".format(name, *kinds)
    if is_lazy(own) or given.shape == own.shape:
        return ""
    return f"{name!r} is {tuple(given.shape)} in the file and {tuple(own.shape)} in the network"


def _translates(model: nn.Module, match: _Match) -> bool:
    """Whether modules of the network know the file's names as older ones of theirs.

    Tried on a copy without numbers: torch changes a network before it says what does not fit.
    """
    if match.outside or match.reshaped:
        return False
    try:
        blank: dict[int, Any] = {id(b): b.to("meta") for b in model.buffers()}
        blank |= {id(p): nn.Parameter(p.to("meta"), False) for p in model.parameters()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns that nothing is copied
            result = copy.deepcopy(model, blank).load_state_dict(match.state, strict=False)
        missing = [name for name in result.missing_keys if not name.endswith(_COUNTER)]
        return not missing and all(_counts(match.state[name]) for name in result.unexpected_keys)
    except Exception:  # other shapes, or modules of the user's own that no copy can be made of
        return False


def _check_numbers(path: Path, model: nn.Module, state: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` for weights that are no numbers; an infinite mask is one."""
    finite = dict(model.named_parameters(remove_duplicate=False)) | _running_statistics(model)
    for name, value in state.items():
        if not isinstance(value, Tensor):
            continue
        own = finite.get(name)
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            odd = "no plain numbers; save it dense, and not quantised"
        else:
            numbers = value if own is None else value.to(own.dtype)
            isinf = own is not None and bool(numbers.isinf().any())
            isnan = bool(numbers.isnan().any())
            is_variance = own is not None and name.endswith("running_var")
            isnegative = is_variance and bool(numbers.lt(0).any())
            kinds = {"NaN": isnan, "infinity": isinf, "a negative variance": isnegative}
            odd = "".join([f"{kind}; take an earlier epoch's" for kind in kinds if kinds[kind]][:1])
        if odd:
            raise CheckpointError(f"{path} cannot be used: {name!r} holds {odd}")


def _running_statistics(model: nn.Module) -> dict[str, Tensor]:
    """The running means and variances of the network's normalisations, by name."""
    return {
        f"{name}.{statistic}" if name else statistic: buffer
        for name, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, _NormBase)  # of batch and instance normalisation
        for statistic, buffer in module.named_buffers(recurse=False)
        if statistic in ("running_mean", "running_var")
    }


def _first_line(error: Exception) -> str:
    """The first line of torch's message, which can quote bytes of a damaged file."""
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    return "".join(letter if letter.isprintable() else "?" for letter in line)


def pack_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Small tensors as text, for the facts of a file."""
    state = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    return base64.b64encode(safetensors.torch.save(state)).decode()


def unpack_tensors(text: str) -> dict[str, Tensor]:
    """The inverse of `pack_tensors`.

    Raises:
        CheckpointError: When `text` is something else.
    """
    try:
        return safetensors.torch.load(base64.b64decode(text, validate=True))
    except (ValueError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"packed tensors cannot be read ({error}); train again") from error


def hash_tensors(state: Mapping[str, Tensor]) -> str:
    """The SHA-256 of the tensors' bytes, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().contiguous().cpu()
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def checksum(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Of everything a file of tensors holds: names, types, shapes, facts and numbers."""
    described = {
        name: (str(tensor.dtype), list(tensor.shape)) for name, tensor in sorted(state.items())
    }
    words = json.dumps([described, dict(metadata)], sort_keys=True)
    return hashlib.sha256((words + hash_tensors(state)).encode()).hexdigest()
