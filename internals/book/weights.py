"""The trained networks that the published chapters used: named in their records, kept in a release.

A record names every file by its SHA-256, and so does the name that the file has in the release:
what is fetched is what a chapter used, or it is refused.
"""

import difflib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from safetensors import safe_open

from internals.book.layout import PUBLISHED, Layout
from internals.book.stored import read_run
from internals.environment import fetched_folder, repository, weights_folder
from internals.errors import CheckpointError
from internals.files import temporary_beside, write_atomically, writing
from internals.progress import Progress

SUMS = "SHA256SUMS"  # in the form that `sha256sum --check` reads
WEIGHTS = "weights.safetensors"

# Of a training's provenance, what a record of the book holds; the rest is in the weights.
_ACCOUNT = (
    "network", "recipe", "seed", "data", "epochs", "best_epoch", "seconds", "metrics", "device",
    "precision", "threads", "machine", "python", "versions", "weights_sha256", "finished",
)  # fmt: skip
_LONG = 5  # seconds after which progress is shown where there is no terminal
_RELEASE = "releases/download/weights"  # below the repository's page: the release of that tag
# What a run needs besides the weights is what they scored, and themselves after earlier epochs.
_FILE = re.compile(r"(?:weights|test|snapshots/epoch-\d+)\.safetensors")
_FOLDER = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@dataclass(frozen=True)
class Asset:
    """One file of a trained network.

    Args:
        network: The network's name, such as "alexnet".
        folder: The name of the folder that its run is kept in.
        file: The file's path in there.
        sha256: Of its bytes.
        bytes: How many there are.
        address: Where it can be had; "" where no release is known.
    """

    network: str
    folder: str
    file: str
    sha256: str
    bytes: int
    address: str = field(compare=False)

    @property
    def name(self) -> str:
        """What the file is called in a release."""
        return asset_name(self.network, self.file, self.sha256)

    @property
    def places(self) -> tuple[Path, Path]:
        """Where it is kept on this machine once it was trained here, and once it was fetched."""
        return tuple(  # type: ignore[return-value]
            place / self.folder / self.file for place in (weights_folder(), fetched_folder())
        )


def asset_name(network: str, file: str, sha256: str) -> str:
    """What a network's `file` is called in a release: a name that no other content will have."""
    return f"{network}-{Path(file).stem}-{sha256[:16]}.safetensors"


def release_address() -> str:
    """Where the release of this checkout's repository has its files; "" where none is known."""
    page = repository()
    return f"{page}/{_RELEASE}" if page else ""


def assets_in(note: Path) -> list[Asset]:
    """The files of all weights whose folders are noted, line by line, in the file `note`."""
    if not note.is_file():
        return []
    folders = dict.fromkeys(map(Path, note.read_text(encoding="utf-8").splitlines()))
    address = release_address()
    return [asset for folder in folders for asset in _assets_of(folder, address)]


def _assets_of(folder: Path, address: str) -> list[Asset]:
    network = re.split(r"-[0-9a-f]{20}-", folder.name)[0]
    assets = []
    for path in sorted(folder.rglob("*.safetensors")):
        file = path.relative_to(folder).as_posix()
        if _FILE.fullmatch(file):
            sha256 = file_sha256(path)
            where = f"{address}/{asset_name(network, file, sha256)}" if address else ""
            size = path.stat().st_size
            assets.append(Asset(network, folder.name, file, sha256, size, where))
    return assets


def trainings_in(note: Path) -> list[dict[str, Any]]:
    """How all weights were trained whose folders are noted: their own account, in plain values."""
    if not note.is_file():
        return []
    folders = dict.fromkeys(map(Path, note.read_text(encoding="utf-8").splitlines()))
    accounts = [(folder, _account(folder / WEIGHTS)) for folder in folders]
    return [{"folder": folder.name, **account} for folder, account in accounts if account]


def _account(path: Path) -> dict[str, Any]:
    """What a file of weights says of its making; nothing where there is none."""
    if not path.is_file():
        return {}
    with safe_open(path, framework="numpy") as file:
        made = json.loads((file.metadata() or {}).get("provenance", "{}"))
    return {name: made[name] for name in _ACCOUNT if name in made}


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def published_assets(layout: Layout, names: Sequence[str] = ()) -> dict[Asset, str]:
    """The files of the networks that the published chapters used, and the commands that make them.

    Args:
        layout: The book.
        names: Of networks; empty for all.

    Raises:
        CheckpointError: The edition names no weights, none of this name, or two files in one place,
            or a record is odd.
    """
    named: dict[Asset, str] = {}
    for folder in sorted(layout.edition.glob("[0-9][0-9]_*")):
        if (run := read_run(folder)) is None:
            continue
        for entry in run.record.get("weights", []):
            named.setdefault(_asset(entry, folder.name), _command(run.record))
    if not named:
        raise CheckpointError(
            f"no chapter in {layout.edition} names the weights that it used, as records do since "
            "the third edition; `internals execute --profile full --force` makes them anew"
        )
    known = sorted({asset.network for asset in named})
    for name in names:
        if name not in known:
            raise CheckpointError(f"no published network {name!r}; {_nearest(name, known)}")
    wanted = {asset: how for asset, how in named.items() if asset.network in (names or known)}
    _check_agreement(wanted)
    return wanted


def _check_agreement(assets: Mapping[Asset, str]) -> None:
    """Raise `CheckpointError` where chapters used different files of one name."""
    first: dict[tuple[str, str], Asset] = {}
    for asset, command in assets.items():
        before = first.setdefault((asset.folder, asset.file), asset)
        if before.sha256 != asset.sha256:
            raise CheckpointError(
                f"the edition names two files {asset.folder}/{asset.file}; `{assets[before]}`, or "
                f"`{command}`, makes the chapters agree"
            )


def _command(record: Mapping[str, Any]) -> str:
    """What executes a published chapter again, and trains the networks that are missing."""
    publish = "" if record["profile"] == PUBLISHED else " --publish"
    return (
        f"internals execute {record['chapter']} --profile {record['profile']} "
        f"--data {record['data']} --seed {record['seed']}{publish} --force"
    )


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(known)}"


def _asset(entry: Any, chapter: str) -> Asset:
    """The asset that a record names; nothing in it can lead out of the folder of weights."""
    kinds = {part.name: part.type for part in fields(Asset)}
    if (
        not isinstance(entry, Mapping)
        or any(not isinstance(entry.get(name), kind) for name, kind in kinds.items())  # type: ignore[arg-type]
        or not _FOLDER.fullmatch(entry["folder"])
        or not _FOLDER.fullmatch(entry["network"])
        or not _FILE.fullmatch(entry["file"])
        or not re.fullmatch(r"[0-9a-f]{64}", entry["sha256"])
        or entry["bytes"] < 0
    ):
        raise CheckpointError(
            f"{chapter}/run.json names odd weights, {entry!r}; execute the chapter again"
        )
    return Asset(**{name: entry[name] for name in kinds})


def pack(assets: Mapping[Asset, str], out: Path) -> int:
    """Copy networks into a folder, under the names that they have in a release, with their sums.

    What is there already is left as it is. Nothing is copied where one of them is missing.

    Args:
        assets: What `published_assets` gives.
        out: The folder.

    Returns:
        The bytes of all of them.

    Raises:
        CheckpointError: One is not on this machine as the chapter used it.
        OutputError: The folder cannot be written.
    """
    sources = {}
    with Progress("checking", len(assets), "file", quiet=_LONG) as progress:
        for asset, command in assets.items():
            sources[asset] = _source(asset, command)
            progress.advance()
    with writing(out), Progress("packing", len(assets), "file", quiet=_LONG) as progress:
        out.mkdir(parents=True, exist_ok=True)
        for asset, source in sources.items():
            path = out / asset.name
            if not (path.is_file() and file_sha256(path) == asset.sha256):
                with temporary_beside(path) as draft:
                    shutil.copyfile(source, draft)
                    os.replace(draft, path)
            progress.advance()
        sums = _sums(out / SUMS) | {asset.name: asset.sha256 for asset in assets}
    lines = [f"{sha256}  {name}\n" for name, sha256 in sorted(sums.items())]
    write_atomically(out / SUMS, "".join(lines))
    return sum(asset.bytes for asset in assets)


def _sums(path: Path) -> dict[str, str]:
    """The sums of what was packed into the folder before, and is still there."""
    if not path.is_file():
        return {}
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = {words[1]: words[0] for words in lines if len(words) == 2}
    return {name: sha256 for name, sha256 in pairs.items() if (path.parent / name).is_file()}


def _source(asset: Asset, command: str) -> Path:
    """Where the file lies, exactly as the chapter used it."""
    there = [place for place in asset.places if place.is_file()]
    for place in there:
        if place.stat().st_size == asset.bytes and file_sha256(place) == asset.sha256:
            return place
    state = "is not what the edition names" if there else "does not exist"
    raise CheckpointError(
        f"{(there or asset.places)[0]} {state}; `{command}` trains {asset.network} where it is "
        "missing, and names what it has used"
    )
