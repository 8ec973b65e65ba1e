"""Any folder of pictures, decoded once to one size."""

import hashlib
import os
import sys
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from internals.data.decode import decode_all, reason
from internals.data.image_set import ImageSet
from internals.environment import memory
from internals.errors import DataError
from internals.progress import Progress

SUFFIXES = tuple(
    """.avif .bmp .gif .jfif .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff
    .webp""".split()
)


class PictureFolder(NamedTuple):
    """The pictures of a folder.

    Attributes:
        images: The pictures that could be read.
        files: The file of each, relative to the folder.
    """

    images: ImageSet
    files: tuple[str, ...]


def read_folder(
    path: Path | str, size: int = 224, *, grey: bool = False, limit: int | None = None
) -> PictureFolder:
    """Read the pictures in a folder and below it, sorted by path.

    The shorter side is scaled to `size` and the centre cut out; EXIF orientation is followed,
    transparency lies on white, and the first frame stands for all. The folder that a picture lies
    in names its class. Hidden files and files of other kinds are passed over; a picture that
    cannot be decoded is named on standard error, and so is a pipe or device that is called one.

    Samples of more than 8 bits are scaled by their type and not by what the picture holds: of 16
    bits 65,535 is white, whatever the camera made of them. Floats and 32-bit whole numbers do not
    say which number is white. Floats from 0 to 1 are taken as shares of white, and either kind as
    16 bits if its largest number needs them (32,768 to 65,535). All others are skipped and named:
    they could be dark as well as bright.

    Args:
        path: The folder.
        size: Side of the images (unit: pixels).
        grey: One channel instead of RGB.
        limit: At most so many pictures, evenly spread.

    Raises:
        DataError: A number is below 1, the folder cannot be read, no picture is left, or the
            pictures do not fit into memory.
    """
    if size < 1 or (limit is not None and limit < 1):
        raise DataError(f"cannot read size={size}, limit={limit}; both must be 1 or more")
    root = Path(path)
    files = _spread(_pictures_below(root), limit)
    if not files:
        raise DataError(f"{root} holds no pictures; looked for {', '.join(SUFFIXES)}")
    pixels = _room_for((len(files), 1 if grey else 3, size, size))
    with Progress("reading", len(files), "picture", quiet=10) as bar:
        failures = decode_all(files, pixels, bar)
    names = [file.relative_to(root).as_posix() for file in files]
    for number, error in failures.items():
        print(f"skipped {names[number]}: {reason(error)}", file=sys.stderr)
    decoded = [number for number in range(len(files)) if number not in failures]
    if not decoded:
        raise DataError(f"none of the {len(files)} pictures in {root} can be decoded")
    for row, number in enumerate(decoded if failures else ()):
        pixels[row] = pixels[number]  # they move up in place: a second copy may not fit
    decoded_names = tuple(names[number] for number in decoded)
    return PictureFolder(_labelled(root, decoded_names, pixels[: len(decoded)]), decoded_names)


def _pictures_below(root: Path) -> list[Path]:
    """The files below `root` that are called pictures, in the order of their paths."""
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}; name a folder of pictures")

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error

    pictures: list[Path] = []
    entered: set[Path] = set()
    for path, folder_names, file_names in os.walk(root, onerror=refuse, followlinks=True):
        folder = Path(path)
        if folder.resolve() in entered:  # a link that leads back
            folder_names.clear()
            continue
        entered.add(folder.resolve())
        folder_names[:] = sorted(name for name in folder_names if not name.startswith("."))
        visible = (folder / name for name in file_names if not name.startswith("."))
        pictures += [file for file in visible if file.suffix.lower() in SUFFIXES]
    return sorted(pictures, key=lambda file: file.relative_to(root).as_posix())


def _spread(files: list[Path], limit: int | None) -> list[Path]:
    """At most `limit` of `files`, evenly spread, so that every sub-folder has its share."""
    if limit is None or len(files) <= limit:
        return files
    return [files[index * len(files) // limit] for index in range(limit)]


def _room_for(shape: tuple[int, int, int, int]) -> np.ndarray:
    """Bytes for pictures; a system that promises more than it has would end the process later."""
    needed, available = prod(shape), memory()
    try:
        if available is not None and needed > available:
            raise MemoryError
        return np.empty(shape, np.uint8)
    except (MemoryError, ValueError) as error:  # NumPy's names for too much
        count, _, size, _ = shape
        raise DataError(
            f"{count:,} pictures of {size:,} x {size:,} pixels need {needed / 1e9:,.1f} GB of "
            "memory, more than there is; lower --size or --limit"
        ) from error


def _labelled(root: Path, files: tuple[str, ...], pixels: np.ndarray) -> ImageSet:
    """The images with the folders that they lie in as classes, the root by its own name."""
    name = root.resolve().name or str(root)
    parents = [str(Path(file).parent) for file in files]
    classes = sorted(set(parents))
    digest = hashlib.sha256("\0".join(files).encode("utf-8", "surrogateescape"))
    digest.update(pixels.data)
    return ImageSet(
        torch.from_numpy(pixels),
        torch.tensor([classes.index(parent) for parent in parents]),
        tuple(name if parent == "." else Path(parent).as_posix() for parent in classes),
        name,
        f"{name} sha256 {digest.hexdigest()[:16]}",
    )
