"""Imagenette's files: which there are, in which order they are taken, and what they are called.

Imagenette (Howard, 2019) is ten classes of ImageNet, in the split of December 2019. Nothing here
decodes a picture or needs torch.
"""

import hashlib
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from internals.errors import DataError

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
