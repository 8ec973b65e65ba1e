"""Imagenette: its files in the one order in which all runs take them, and its decoded images.

Images are decoded to squares of one size, once for a machine, and kept (see `store`).
"""

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from internals.data.decode import decode_all, decoder_version, reason
from internals.data.store import (
    ImageBlock,
    RawImages,
    check_images,
    decoded_files,
    decoded_folders,
    read_images,
    read_or_make_images,
)
from internals.errors import DataError
from internals.files import temporary_beside
from internals.fingerprint import digest
from internals.progress import Progress

# The copy whose shorter sides are 320 pixels: its address and MD5, as torchvision has them.
ARCHIVE = (
    "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",
    "3df6f0d01a2c9592104656642f5e78a3",
)

SPLITS = ("train", "val")
_SPLIT_NAMES = {"train": "Imagenette train", "val": "Imagenette test"}

BLOCK_BYTES = 1 << 26  # of pixels decoded before they are written: memory is bounded by it


class Category(NamedTuple):
    """A class: its name, and how many images of it were published in each split."""

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
    folders = [path for path in data_folder.glob("imagenette2*") if path.is_dir()]
    return max(folders, key=_shorter_side, default=None)


def _shorter_side(folder: Path) -> tuple[float, str]:
    """`imagenette2` holds the originals, `imagenette2-320` and `-160` have these shorter sides."""
    size = folder.name.removeprefix("imagenette2").removeprefix("-").removesuffix("px")
    if not size:
        return float("inf"), folder.name
    return float(size) if size.isdecimal() else 0.0, folder.name


def photographs(root: Path, split: str) -> tuple[Photograph, ...]:
    """The files of a split in the one order in which all runs take them.

    The classes are mixed evenly, so that any stretch of images, above all the first n, holds a
    fair share of each; within a class the order is that of a hash of the file's name.

    Args:
        root: The folder of the data set.
        split: "train" or "val".

    Raises:
        DataError: A class is missing or empty, or a folder cannot be read.
    """
    return _in_order(root, split, _times_changed(root, split))


def is_squeezed(root: Path) -> bool:
    """Whether the photographs are squares of one size, and so have lost their proportions.

    The first 200 of the test set are looked at; published copies have many sizes.

    Args:
        root: The folder of the data set.

    Raises:
        DataError: As `photographs`, or a file is no picture.
    """
    sizes = set()
    for photo in photographs(root, "val")[:200]:
        try:
            with Image.open(root / photo.path) as picture:
                sizes.add(picture.size)
        except OSError as error:
            raise DataError(f"{root / photo.path} is no picture: {reason(error)}") from error
    return len(sizes) == 1 and len(set(sizes.pop())) == 1


def fingerprint(root: Path) -> str:
    """A hash of the files' paths below `root` and of their sizes.

    Args:
        root: The folder of the data set.

    Raises:
        DataError: As `photographs`.
    """
    photos = [photo for split in SPLITS for photo in photographs(root, split)]
    lines = sorted(f"{photo.path} {photo.size}" for photo in photos)
    sha256 = hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()
    return f"imagenette {len(lines)} files {sha256[:16]}"


def differences(root: Path) -> list[str]:
    """Where the numbers of images in `root` differ from the published ones, a line each."""
    lines = []
    for split in SPLITS:
        labels = [photo.label for photo in photographs(root, split)]
        for label, (wnid, category) in enumerate(CATEGORIES.items()):
            count, published = labels.count(label), getattr(category, split)
            if count != published:
                folder = f"{split}/{wnid} ({category.name})"
                lines.append(f"{folder} has {count:,} images, not the published {published:,}")
    return lines


def _times_changed(root: Path, split: str) -> tuple[int, ...]:
    """When the folders of the classes last gained or lost a file."""
    return tuple(_stat(root / split / wnid).st_mtime_ns for wnid in WNIDS)


def _stat(folder: Path) -> os.stat_result:
    try:
        return folder.stat()
    except FileNotFoundError:
        raise DataError(_incomplete(folder, "is missing")) from None
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error


@cache
def _in_order(root: Path, split: str, changed: tuple[int, ...]) -> tuple[Photograph, ...]:
    """`changed` makes a long-lived process look again after files have come or gone.

    A file that was changed in place, without a new name, is seen by the next process.
    """
    positioned = []
    for label, wnid in enumerate(WNIDS):
        photos = _photographs_in(root / split / wnid, f"{split}/{wnid}", label)
        positioned += _spread_evenly(photos)
    return tuple(photo for _, _, photo in sorted(positioned))


def _spread_evenly(photos: Sequence[Photograph]) -> list[tuple[float, str, Photograph]]:
    """The photographs of a class with positions spread evenly between 0 and 1."""
    # The stem: a packed copy with another suffix keeps the order.
    ranked = sorted((_hash(Path(photo.path).stem), photo) for photo in photos)
    return [((rank + 0.5) / len(ranked), key, photo) for rank, (key, photo) in enumerate(ranked)]


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()


def _photographs_in(folder: Path, prefix: str, label: int) -> list[Photograph]:
    try:
        with os.scandir(folder) as entries:
            photos = [
                Photograph(f"{prefix}/{entry.name}", label, entry.stat().st_size)
                for entry in entries
                if entry.name.lower().endswith(_SUFFIXES) and not entry.name.startswith(".")
            ]
    except OSError as error:
        raise DataError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    if not photos:
        raise DataError(_incomplete(folder, "holds no images"))
    return photos


def _incomplete(folder: Path, what: str) -> str:
    root = folder.parent.parent
    return (
        f"{folder} {what} ({CATEGORIES[folder.name].name}); put the original files there, or "
        f"delete or rename {root} to have the data set downloaded"
    )


def read_imagenette(root: Path, fingerprint: str, size: int) -> tuple[RawImages, RawImages]:
    """The published training and validation images, (N, 3, `size`, `size`).

    The shorter side is scaled to `size` (bicubic, antialiased) and the centre cut out; grey
    images become RGB. They are decoded once and kept, beside the downloaded data or, where that
    folder cannot be written, below the build folder. A file that cannot be decoded is named on
    standard error and left out.

    Args:
        root: The folder of the data set.
        fingerprint: Of the files in `root`.
        size: Side of the images (unit: pixels).

    Raises:
        DataError: A file cannot be read, or no image of a split can be decoded.
        OutputError: The decoded images cannot be kept.
    """
    train, test = (_read_split(root, fingerprint, split, size) for split in SPLITS)
    return train, test


def verify_imagenette(root: Path) -> str:
    """Compare the numbers of images with the published ones, and decode every file.

    Each departure is a line on standard error. Images that were decoded before and kept are
    checked as well.

    Args:
        root: The folder of the data set.

    Returns:
        What was checked, in words.

    Raises:
        DataError: Something is not as published, or decoded images are damaged.
    """
    departures = differences(root)
    for split in SPLITS:
        photos = photographs(root, split)
        for block in _decoded_blocks(root, photos, 16, f"verifying {split}"):
            departures += [f"{path}: {why}" for path, why in block.skipped.items()]
    for line in departures:
        print(line, file=sys.stderr)
    if departures:
        raise DataError(f"{root} is not as published in {len(departures)} places, named above")
    files = decoded_files("imagenette")
    for path in files:
        check_images(path)
    counts = " + ".join(f"{len(photographs(root, split)):,}" for split in SPLITS)
    return f"{counts} images, all decodable; {len(files)} decoded files kept, all whole"


def _read_split(root: Path, fingerprint: str, split: str, size: int) -> RawImages:
    name = f"imagenette-{split}-{size}px-{digest(fingerprint)[:8]}-{decoder_version()[:8]}.npy"
    path = next((folder / name for folder in decoded_folders() if read_images(folder / name)), None)
    images = read_or_make_images(
        path or _writable_folder() / name,
        (3, size, size),
        lambda: _decoded_blocks(
            root, photographs(root, split), size, f"decoding {_SPLIT_NAMES[split]} at {size} px"
        ),
    )
    for file, why in images.skipped.items():
        print(f"skipped {file}: {why}", file=sys.stderr)
    if not len(images.pixels):
        raise DataError(f"none of the pictures in {root / split} can be decoded")
    labels = np.array([WNIDS.index(file.split("/")[1]) for file in images.names])
    return RawImages(images.pixels, labels, CLASS_NAMES, _SPLIT_NAMES[split], images.names)


def _decoded_blocks(
    root: Path, photos: Sequence[Photograph], size: int, label: str
) -> Iterator[ImageBlock]:
    """The photographs decoded, so many at a time as fit into `BLOCK_BYTES`."""
    step = max(1, BLOCK_BYTES // (3 * size * size))
    with Progress(label, len(photos), "image", quiet=10) as bar:
        for start in range(0, len(photos), step):
            part = photos[start : start + step]
            pixels = np.empty((len(part), 3, size, size), np.uint8)
            failures = decode_all([root / photo.path for photo in part], pixels, bar)
            skipped = {part[n].path: _lasting_reason(error) for n, error in failures.items()}
            names = tuple(photo.path for photo in part if photo.path not in skipped)
            decoded = np.delete(pixels, list(failures), 0) if failures else pixels
            yield ImageBlock(decoded, names, skipped)


def _lasting_reason(error: Exception) -> str:
    """Why a file is left out for good; an error that may pass is raised instead."""
    if isinstance(error, OSError) and error.errno is not None:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    if isinstance(error, MemoryError):
        raise error
    return reason(error)


def _writable_folder() -> Path:
    """The user's cache folder or, when it may not be written, the build folder."""
    cache, build = decoded_folders()
    try:
        with temporary_beside(cache / "probe"):
            return cache
    except OSError:
        print(f"{cache} cannot be written; the decoded images are kept in {build}")
        return build
