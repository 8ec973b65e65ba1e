"""Decoded images in one file, mapped into memory: it is there whole, or it is not there.

The pixels come first, then a record of them (JSON), its length and a mark. The record is written
last, and the file takes its name after that, so no reader ever meets a half-made one; processes
that make the same file at the same time each write a draft of their own, and any of them will do.
"""

import contextlib
import json
import os
import struct
import time
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import platformdirs
import torch
from jaxtyping import UInt8
from torch import Tensor

from internals.environment import build_folder
from internals.errors import DataError
from internals.files import temporary_beside, writing

_MARK = b"pixels 1"
_END = struct.Struct("<Q8s")  # the record's length, the mark
_ABANDONED = 3600  # seconds without a write after which a draft's process is taken for dead
_PIECE = 1 << 24  # bytes read at a time for a checksum


def cache_folder() -> Path:
    """The user's cache folder for downloaded data."""
    return Path(platformdirs.user_cache_dir("cnn-internals")) / "data"


def decoded_folders() -> tuple[Path, Path]:
    """Where decoded images are kept: beside the downloads, else below the build folder."""
    return cache_folder() / "decoded", build_folder() / "decoded"


def decoded_files(name: str) -> list[Path]:
    """The files in which images of the data set `name` are kept decoded, of today or before."""
    return [
        path for folder in decoded_folders() for path in sorted(folder.glob(f"{name}-*.pixels"))
    ]


@dataclass(frozen=True)
class Record:
    """What a file holds: `count` images of `shape` (c, h, w) by `names`, and who was `skipped`."""

    count: int
    shape: tuple[int, int, int]
    names: tuple[str, ...]
    skipped: dict[str, str]  # the name of each file that could not be decoded, and why
    crc32: int  # of the pixels

    @property
    def size(self) -> int:
        """The size of the pixels in bytes."""
        return self.count * int(np.prod(self.shape))


@dataclass(frozen=True)
class Block:
    """Some images, (n, c, h, w) bytes, their `names`, and what was `skipped` among them."""

    pixels: np.ndarray
    names: tuple[str, ...]
    skipped: dict[str, str]


def write_pixels(path: Path, blocks: Iterable[Block]) -> None:
    """Write `blocks`, at least one, to `path`, which appears when all of them are on the disk.

    Raises `OutputError` when the disk is full or the folder cannot be written; no draft stays.
    """
    with writing(path):
        _sweep(path)
        with temporary_beside(path) as draft:
            _write(draft, blocks)
            os.replace(draft, path)


def _write(draft: Path, blocks: Iterable[Block]) -> None:
    names: list[str] = []
    skipped: dict[str, str] = {}
    crc, shape = 0, (0, 0, 0)
    # Ordinary writes, not a writable map: a full disk is an error there and a fatal signal here.
    with draft.open("wb") as file:
        for block in blocks:
            pixels = np.ascontiguousarray(block.pixels)
            file.write(pixels.data)
            crc, shape = zlib.crc32(pixels.data, crc), pixels.shape[1:]
            names += block.names
            skipped |= block.skipped
        record = Record(len(names), shape, tuple(names), skipped, crc)
        text = json.dumps(asdict(record)).encode()
        file.write(text + _END.pack(len(text), _MARK))
        file.flush()
        os.fsync(file.fileno())


def read_record(path: Path) -> Record | None:
    """The record of the file at `path`; None when there is no such file or it is not whole."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(size - _END.size)
            length, mark = _END.unpack(file.read(_END.size))
            file.seek(size - _END.size - length)
            fields = json.loads(file.read(length))
        record = Record(
            **fields | {"shape": tuple(fields["shape"]), "names": tuple(fields["names"])}
        )
        whole = record.size + length + _END.size == size and record.count == len(record.names)
    except (OSError, ValueError, TypeError, KeyError, struct.error):
        return None
    return record if mark == _MARK and whole else None


def map_pixels(path: Path, record: Record) -> UInt8[Tensor, "images channels height width"]:
    """The pixels in the file at `path`, read from the disk when and where they are looked at."""
    # Copy on write: PyTorch wants memory that may be written, and the file stays as it is.
    mapped = np.memmap(path, np.uint8, "c", shape=(record.count, *record.shape))
    return torch.from_numpy(mapped)


def check_pixels(path: Path) -> None:
    """Raise `DataError` when the file at `path` is not whole, or its pixels have changed."""
    record = read_record(path)
    if record is None:
        raise DataError(f"{path} is not whole; delete it")
    crc, left = 0, record.size
    with path.open("rb") as file:
        while left and (piece := file.read(min(left, _PIECE))):
            crc, left = zlib.crc32(piece, crc), left - len(piece)
    if crc != record.crc32:
        raise DataError(f"{path} is damaged: its checksum is not that of its record; delete it")


def _sweep(path: Path) -> None:
    """Remove what killed processes left of drafts of `path`; they can be gigabytes."""
    for draft in path.parent.glob(f".{path.name}.*.part"):
        with contextlib.suppress(OSError):
            if time.time() - draft.stat().st_mtime > _ABANDONED:
                draft.unlink()
