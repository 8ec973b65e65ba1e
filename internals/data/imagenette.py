"""Imagenette decoded to squares of one size, once for a machine."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from internals.data.imagenette_files import (
    CLASS_NAMES,
    SPLITS,
    WNIDS,
    Photograph,
    differences,
    photographs,
)
from internals.data.images import ImageSet
from internals.data.picture_decoding import decode_all, decoder, reason
from internals.data.pixel_store import (
    Block,
    check_pixels,
    map_pixels,
    read_record,
    write_pixels,
)
from internals.data.sources import decoded_files, decoded_folders
from internals.errors import DataError, OutputError
from internals.files import temporary_beside
from internals.fingerprint import digest
from internals.progress import Progress

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
