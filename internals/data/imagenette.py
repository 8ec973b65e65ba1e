"""Imagenette decoded to squares of one size, once for a machine."""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from internals.data.decode import decode_all, decoder, reason
from internals.data.image_set import ImageSet
from internals.data.store import (
    Block,
    check_pixels,
    decoded_files,
    decoded_folders,
    map_pixels,
    read_record,
    write_pixels,
)
from internals.errors import DataError, OutputError
from internals.files import temporary_beside
from internals.fingerprint import digest
from internals.progress import Progress

SPLITS = ("train", "val")


class Category(NamedTuple):
    """A class by its name, and how many images of it were published in either split."""

    name: str
    train: int
    val: int


# By WordNet id, in the order of the labels.
CATEGORIES = {
    "n01440764": Category("tench", 963, 387),
    "n02102040": Category("English springer", 955, 395),
    "n02979186": Category("cassette player", 993, 357),
    "n03000684": Category("chain saw", 858, 386),
    "n03028079": Category("church", 941, 409),
    "n03394916": Category("French horn", 956, 394),
    "n03417042": Category("garbage truck", 961, 389),
    "n03425413": Category("gas pump", 931, 419),
    "n03445777": Category("golf ball", 951, 399),
    "n03888257": Category("parachute", 960, 390),
}
WNIDS = tuple(CATEGORIES)
CLASS_NAMES = tuple(category.name for category in CATEGORIES.values())

# Published as JPEG; copies that were packed smaller are read as well.
_SUFFIXES = (".jpeg", ".jpg", ".png", ".webp", ".avif")


class Photograph(NamedTuple):
    """A file by its path below the data set's folder, its label, and its size in bytes."""

    path: str
    label: int
    size: int


def folder_in(data_folder: Path) -> Path | None:
    """The `imagenette2*` folder in `data_folder` with the largest images, None without any."""
    found = [path for path in data_folder.glob("imagenette2*") if path.is_dir()]
    return max(found, key=_largest_first, default=None)


def _largest_first(folder: Path) -> tuple[float, str]:
    """`imagenette2` holds the originals, `imagenette2-320` and `-160` have these shorter sides."""
    size = folder.name.removeprefix("imagenette2").removeprefix("-").removesuffix("px")
    if not size:
        return float("inf"), folder.name
    return float(size) if size.isdecimal() else 0.0, folder.name


def photographs(root: Path, split: str) -> tuple[Photograph, ...]:
    """The files of `split` ("train" or "val") in the one order in which all runs take them.

    The classes are mixed evenly, so any run of images, above all the first n, holds a fair share
    of each; within a class the order is that of a hash of the file's name. Raises `DataError` for
    a class that is missing or empty and for a folder that cannot be read.
    """
    return _in_order(root, split, _stamps(root, split))


def fingerprint(root: Path) -> str:
    """A name for the files below `root`: a hash of their paths and sizes, wherever they lie.

    Raises `DataError` as `photographs` does.
    """
    everything = [photo for split in SPLITS for photo in photographs(root, split)]
    lines = sorted(f"{photo.path} {photo.size}" for photo in everything)
    digest = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape"))
    return f"imagenette {len(lines)} files {digest.hexdigest()[:16]}"


def differences(root: Path) -> list[str]:
    """Where the numbers of images in `root` differ from the published ones, a line each."""
    lines = []
    for split in SPLITS:
        labels = [photo.label for photo in photographs(root, split)]
        for label, (wnid, category) in enumerate(CATEGORIES.items()):
            found, published = labels.count(label), getattr(category, split)
            if found != published:
                where = f"{split}/{wnid} ({category.name})"
                lines.append(f"{where} has {found:,} images, not the published {published:,}")
    return lines


def _stamps(root: Path, split: str) -> tuple[int, ...]:
    """When the folders of the classes last gained or lost a file."""
    return tuple(_ask(root / split / wnid).st_mtime_ns for wnid in WNIDS)


def _ask(folder: Path) -> os.stat_result:
    try:
        return folder.stat()
    except FileNotFoundError:
        raise DataError(_incomplete(folder, "is missing")) from None
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error


@cache
def _in_order(root: Path, split: str, stamps: tuple[int, ...]) -> tuple[Photograph, ...]:
    """`stamps` keeps a long-lived server from telling old news.

    A file that was changed in place, without a new name, is seen by the next process.
    """
    places = []
    for label, wnid in enumerate(WNIDS):
        members = _photographs_in(root / split / wnid, f"{split}/{wnid}", label)
        places += _places(members)
    return tuple(photo for _, _, photo in sorted(places))


def _places(members: Sequence[Photograph]) -> list[tuple[float, str, Photograph]]:
    """Each of a class with its place between 0 and 1, the class spread evenly over the whole."""
    # The stem: a packed copy with another suffix keeps the order.
    ranked = sorted((_hash(Path(photo.path).stem), photo) for photo in members)
    return [((rank + 0.5) / len(ranked), key, photo) for rank, (key, photo) in enumerate(ranked)]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def _photographs_in(folder: Path, place: str, label: int) -> list[Photograph]:
    try:
        with os.scandir(folder) as entries:
            found = [
                Photograph(f"{place}/{entry.name}", label, entry.stat().st_size)
                for entry in entries
                if entry.name.lower().endswith(_SUFFIXES) and not entry.name.startswith(".")
            ]
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    if not found:
        raise DataError(_incomplete(folder, "holds no images"))
    return found


def _incomplete(folder: Path, what: str) -> str:
    root = folder.parent.parent
    return (
        f"{folder} {what} ({CATEGORIES[folder.name].name}); put the original files there, or "
        f"delete or rename {root} to have the data set downloaded"
    )


_BLOCK = 1 << 26  # bytes of pixels decoded before they are written: memory is bounded by it
_NAMES = {"train": "Imagenette train", "val": "Imagenette test"}


def imagenette(root: Path, identity: str, size: int) -> tuple[ImageSet, ImageSet]:
    """The published training and validation images in `root`, uint8 (N, 3, `size`, `size`).

    The shorter side is scaled to `size` (bicubic, antialiased) and the centre cut out; grey
    images become RGB. They are decoded once and kept, beside the downloaded data or, where that
    folder cannot be written, below the build folder. A file that cannot be decoded is named on
    standard error and left out. `identity` is the fingerprint of `root`. Raises `DataError` or
    `OutputError`.
    """
    train, test = (_decoded(root, identity, split, size) for split in SPLITS)
    return train, test


def verify_imagenette(root: Path) -> str:
    """Check `root` against the published numbers of images, and every file by decoding it.

    Each departure is a line on standard error; any of them is a `DataError`. What was decoded
    before and kept is checked as well. Returns what was found.
    """
    wrong = differences(root)
    for split in SPLITS:
        photos = photographs(root, split)
        for block in _blocks(root, photos, 16, f"verifying {split}"):
            wrong += [f"{path}: {why}" for path, why in block.skipped.items()]
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        raise DataError(f"{root} is not as published in {len(wrong)} places, named above")
    kept = decoded_files("imagenette")
    for path in kept:
        check_pixels(path)
    counts = " + ".join(f"{len(photographs(root, split)):,}" for split in SPLITS)
    return f"{counts} images, all decodable; {len(kept)} decoded files kept, all whole"


def _decoded(root: Path, identity: str, split: str, size: int) -> ImageSet:
    name = f"imagenette-{split}-{size}px-{digest(identity)[:8]}-{decoder()[:8]}.pixels"
    path = next((f / name for f in decoded_folders() if read_record(f / name)), None)
    if path is None:
        path = _writable_folder() / name
        photos = photographs(root, split)
        label = f"decoding {_NAMES[split]} at {size} px"
        write_pixels(path, _blocks(root, photos, size, label))
    record = read_record(path)
    if record is None:
        raise OutputError(f"{path} was written and cannot be read; is its disk sound?")
    for file, why in record.skipped.items():
        print(f"skipped {file}: {why}", file=sys.stderr)
    if not record.count:
        raise DataError(f"none of the pictures in {root / split} can be decoded")
    labels = [WNIDS.index(file.split("/")[1]) for file in record.names]
    return ImageSet(
        map_pixels(path, record),
        torch.tensor(labels),
        CLASS_NAMES,
        _NAMES[split],
        identity,
        record.names,
    )


def _blocks(root: Path, photos: Sequence[Photograph], size: int, label: str) -> Iterator[Block]:
    """The photographs decoded, so many at a time as fit into `_BLOCK` bytes."""
    step = max(1, _BLOCK // (3 * size * size))
    with Progress(label, len(photos), "image", quiet=10) as bar:
        for start in range(0, len(photos), step):
            some = photos[start : start + step]
            pixels = np.empty((len(some), 3, size, size), np.uint8)
            failures = decode_all([root / photo.path for photo in some], pixels, bar)
            skipped = {some[n].path: _lasting(error) for n, error in failures.items()}
            names = tuple(photo.path for photo in some if photo.path not in skipped)
            yield Block(
                np.delete(pixels, list(failures), 0) if failures else pixels, names, skipped
            )


def _lasting(error: Exception) -> str:
    """Why a file is left out; of troubles that may pass no record is kept."""
    if isinstance(error, OSError) and error.errno is not None:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    if isinstance(error, MemoryError):
        raise error
    return reason(error)


def _writable_folder() -> Path:
    """The user's cache folder or, when it may not be written, the build folder."""
    first, second = decoded_folders()
    try:
        with temporary_beside(first / "probe"):
            return first
    except OSError:
        print(f"{first} cannot be written; the decoded images are kept in {second}")
        return second
