"""Decoded images on the disk: pixels in a `.npy` file, and a record of them in JSON beside it.

Both are written under draft names. The pixels take their name first and the record last, and a
reader needs the two whole and matching: nobody ever reads a half-made set. Processes that make the
same set at the same time each write drafts of their own, with the same content.

The record holds a checksum of the pixels, which takes a second for a gigabyte. So a reader who has
found them whole gives the record the time at which the pixels were last changed, and the next one
compares that time alone.
"""

import contextlib
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from io import BytesIO
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs
from numpy.typing import NDArray

from internals.environment import build_folder
from internals.errors import DataError, OutputError
from internals.files import temporary_beside, writing

_ABANDONED = 3600  # seconds without a write after which a draft's process is taken for dead
_PIECE_BYTES = 1 << 24  # read at a time for a checksum

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class RawImages:
    """Labelled images in NumPy, before `load` makes an `ImageSet` of them.

    Args:
        pixels: (N, C, H, W), 0..255.
        labels: The class number of each image, int64 (N,).
        class_names: The name of each class number.
        name: What the set is called.
        files: The file of each image; empty where they come from none.
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    name: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ImageBlock:
    """Some of the images of a set, or all of them.

    Args:
        pixels: (n, C, H, W), 0..255.
        names: A name for each image; empty where they have none.
        skipped: The name of each file that could not be decoded, and why.
    """

    pixels: Pixels
    names: tuple[str, ...] = ()
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Record:
    shape: tuple[int, ...]
    names: tuple[str, ...]
    skipped: dict[str, str]
    pixels_crc32: int


def cache_folder() -> Path:
    """The user's cache folder for downloaded data."""
    return Path(platformdirs.user_cache_dir("cnn-internals")) / "data"


def decoded_folders() -> tuple[Path, Path]:
    """Where decoded images are kept: beside the downloads, else below the build folder."""
    return cache_folder() / "decoded", build_folder() / "decoded"


def decoded_files(name: str) -> list[Path]:
    """The files of pixels in which images of the data set `name` are kept decoded."""
    return [path for folder in decoded_folders() for path in sorted(folder.glob(f"{name}-*.npy"))]


def write_images(path: Path, shape: tuple[int, int, int], blocks: Iterable[ImageBlock]) -> None:
    """Write a set of images, of which no more than a block is held in memory.

    Args:
        path: The `.npy` file; the record goes into the `.json` file beside it.
        shape: Of one image, (C, H, W).
        blocks: The images in order.

    Raises:
        OutputError: The disk is full or the folder cannot be written. No draft stays, and what was
            at `path` before is still there.
    """
    record_path = _record_path(path)
    with writing(path):
        _remove_abandoned_drafts(path)
        with temporary_beside(path) as pixels_draft, temporary_beside(record_path) as record_draft:
            # Ordinary writes, not a writable map: there a full disk is a fatal signal.
            with pixels_draft.open("wb") as file:
                record = _write_pixels(file, shape, blocks)
                _flush_to_disk(file)
            with record_draft.open("wb") as file:
                file.write(_to_json(record))
                _flush_to_disk(file)
            record_path.unlink(missing_ok=True)  # it must never stand beside other pixels
            os.replace(pixels_draft, path)
            os.replace(record_draft, record_path)


def read_images(path: Path) -> ImageBlock | None:
    """The images at `path`, read from the disk when and where they are looked at.

    Writes to the pixels stay in memory.

    Returns:
        The images; None where they are missing, not whole, or others than were written.
    """
    stored = _open(path)
    if stored is None:
        return None
    if not _known_whole(path, stored.changed):
        if _crc32(stored.images.pixels) != stored.crc32:
            return None
        _remember_whole(path, stored.changed)
    return stored.images


@dataclass(frozen=True, eq=False)
class _Stored:
    """Images on the disk, the checksum that they should have, and when they were last changed."""

    images: ImageBlock
    crc32: int
    changed: int


def _open(path: Path) -> _Stored | None:
    """The images at `path` whatever their pixels are; None where they are missing or not whole."""
    record = _read_record(path)
    if record is None or not path.is_file():
        return None
    header = _npy_header(record.shape)
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if file.read(len(header)) != header:
                return None
            if status.st_size != len(header) + prod(record.shape):
                return None
            if not record.shape[0]:
                pixels = np.empty(record.shape, np.uint8)  # of which there is no map
            else:
                # Copy on write, for PyTorch wants memory that may be written.
                pixels = np.memmap(file, np.uint8, "c", offset=len(header), shape=record.shape)
    except (OSError, ValueError):
        return None
    images = ImageBlock(pixels, record.names, record.skipped)
    return _Stored(images, record.pixels_crc32, _changed(status))


def _changed(status: os.stat_result) -> int:
    """When a file was last changed; the system's own time counts even if another one is set."""
    return max(status.st_mtime_ns, status.st_ctime_ns)


def _known_whole(path: Path, changed: int) -> bool:
    """Whether a reader has found the pixels whole that were last changed at that time.

    Times come in ticks: a record that was touched in the same one as the pixels proves nothing.
    """
    try:
        status = _record_path(path).stat()
    except OSError:
        return False
    return status.st_mtime_ns == changed and status.st_ctime_ns > changed


def _remember_whole(path: Path, changed: int) -> None:
    """Where the record belongs to somebody else, the next reader looks at all pixels as well."""
    with contextlib.suppress(OSError):
        os.utime(_record_path(path), ns=(changed, changed))


def read_or_make_images(
    path: Path, shape: tuple[int, int, int], make: Callable[[], Iterable[ImageBlock]]
) -> ImageBlock:
    """The images at `path`, which are made and written first where they are missing or damaged.

    Args:
        path: As for `write_images`.
        shape: As for `write_images`.
        make: Gives the blocks to write; called only if need be.

    Returns:
        The images; those at `path` before are used if they are what was written, and of `shape`.

    Raises:
        OutputError: The images cannot be written, or not be read again.
    """
    images = read_images(path)
    if images is None or images.pixels.shape[1:] != shape:
        if path.exists():
            print(f"{path} is damaged and is made again", file=sys.stderr)
        write_images(path, shape, make())
        images = read_images(path)
    if images is None:
        raise OutputError(f"{path} was written and cannot be read; is its disk sound?")
    return images


def check_images(path: Path) -> None:
    """Read all the images at `path` and compare them with their checksum.

    Raises:
        DataError: They are not whole, or have changed since they were written.
    """
    stored = _open(path)
    if stored is None:
        raise DataError(f"{path} is not whole; delete it")
    if _crc32(stored.images.pixels) != stored.crc32:
        raise DataError(f"{path} is damaged: its checksum is not that of its record; delete it")


def _crc32(pixels: Pixels) -> int:
    crc, flat = 0, pixels.reshape(-1)
    for start in range(0, flat.size, _PIECE_BYTES):
        crc = zlib.crc32(flat[start : start + _PIECE_BYTES].data, crc)
    return crc


def _write_pixels(
    file: BinaryIO, shape: tuple[int, int, int], blocks: Iterable[ImageBlock]
) -> _Record:
    """Write the `.npy` file; its header is written again when the number of images is known."""
    names: list[str] = []
    skipped: dict[str, str] = {}
    count = crc = 0
    draft_header = _npy_header((0, *shape))
    file.write(draft_header)
    for block in blocks:
        pixels = np.ascontiguousarray(block.pixels)
        file.write(pixels.data)
        crc, count = zlib.crc32(pixels.data, crc), count + len(pixels)
        names += block.names
        skipped |= block.skipped
    header = _npy_header((count, *shape))
    assert len(header) == len(draft_header), "NumPy leaves room for the first axis to grow"
    file.seek(0)
    file.write(header)
    return _Record((count, *shape), tuple(names), skipped, crc)


def _npy_header(shape: tuple[int, ...]) -> bytes:
    header = BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def _record_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _to_json(record: _Record) -> bytes:
    """The record and, in front, its own checksum."""
    text = json.dumps(asdict(record), sort_keys=True)
    return f'{{"crc32": {zlib.crc32(text.encode())}, "record": {text}}}\n'.encode()


def _read_record(path: Path) -> _Record | None:
    """The record of the pixels at `path`; None where it is missing, damaged or not one of ours."""
    record_path = _record_path(path)
    try:
        if not record_path.is_file():
            return None
        text = record_path.read_bytes()
        fields = json.loads(text)["record"]
        record = _Record(
            **fields | {"shape": tuple(fields["shape"]), "names": tuple(fields["names"])}
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return record if _is_sound(record) and text == _to_json(record) else None


def _is_sound(record: _Record) -> bool:
    """Whether the fields are of their types, and there are as many names as images, or none."""
    shape, names = record.shape, record.names
    return (
        len(shape) == 4
        and all(type(side) is int and side >= 0 for side in shape)
        and len(names) in (0, shape[0])
        and all(isinstance(name, str) for name in names)
        and isinstance(record.skipped, dict)
        and all(isinstance(reason, str) for reason in record.skipped.values())
        and type(record.pixels_crc32) is int
    )


def _flush_to_disk(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _remove_abandoned_drafts(path: Path) -> None:
    """Remove what killed processes left of drafts of `path`; they can be gigabytes."""
    for draft in path.parent.glob(f".{path.stem}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > _ABANDONED:
                draft.unlink()
