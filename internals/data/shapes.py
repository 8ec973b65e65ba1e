"""The stand-in for Imagenette: 5,000 pictures that the package draws, and keeps once drawn."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from internals.data.images import ImageSet
from internals.data.shape_scenes import CLASS_NAMES, draw, label
from internals.data.sources import cache_folder
from internals.environment import cores
from internals.errors import OutputError
from internals.files import temporary_beside, writing
from internals.fingerprint import digest
from internals.progress import Progress

_TRAIN, _TEST = 4000, 1000
_BLOCK = 100  # pictures drawn between two writes


def shapes(fingerprint: str, size: int) -> tuple[ImageSet, ImageSet]:
    """4,000 training and 1,000 test pictures, uint8 (N, 3, `size`, `size`), the classes mixed.

    Drawn once for each `fingerprint` and size and then read from the user's cache folder; where
    that cannot be written, drawn again.
    """
    count = _TRAIN + _TEST
    images = torch.from_numpy(_kept(fingerprint, count, size))
    labels = torch.tensor([label(index) for index in range(count)])
    everything = ImageSet(images, labels, CLASS_NAMES, "shapes", fingerprint)
    return (
        everything.subset(torch.arange(_TRAIN), "shapes train"),
        everything.subset(torch.arange(_TRAIN, count), "shapes test"),
    )


def _kept(fingerprint: str, count: int, size: int) -> NDArray[np.uint8]:
    """The first `count` pictures, from the cache if they are there whole."""
    path = cache_folder().with_name("shapes") / f"{digest([fingerprint, count])}-{size}.npy"
    shape = (count, 3, size, size)
    if (found := _read(path, shape)) is not None:
        return found
    try:
        _write(path, _drawn(shape), shape)
    except OutputError:
        return np.concatenate(list(_drawn(shape)))
    found = _read(path, shape)
    return np.concatenate(list(_drawn(shape))) if found is None else found


def _read(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The file's pictures, read as they are needed; writes to them stay in memory."""
    try:
        found = np.load(path, mmap_mode="c")
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == shape and found.dtype == np.uint8 else None


def _write(path: Path, blocks: Iterator[NDArray[np.uint8]], shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with writing(path), temporary_beside(path) as draft:
        with draft.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(block.data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)


def _drawn(shape: tuple[int, ...]) -> Iterator[NDArray[np.uint8]]:
    """All pictures in order, a block at a time."""
    count, size = shape[0], shape[-1]
    with (
        threadpool_limits(1),  # for matrices this small, more threads only wait for each other
        ThreadPoolExecutor(cores()) as pool,  # NumPy lets go of the lock
        Progress(f"shapes at {size} px", count, unit="picture", quiet=5) as progress,
    ):
        for start in range(0, count, _BLOCK):
            indices = range(start, min(start + _BLOCK, count))
            yield np.stack(list(pool.map(partial(draw, size=size), indices)))
            progress.advance(len(indices))
