"""The stand-in for Imagenette: 2,900 pictures that the package draws, and keeps once drawn."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from internals.data.image_set import ImageSet
from internals.data.resampling import resized
from internals.data.shapes.scenes import CLASS_NAMES, draw, label
from internals.data.store import cache_folder
from internals.environment import cores
from internals.errors import OutputError
from internals.files import temporary_beside, writing
from internals.fingerprint import digest, reach
from internals.progress import Progress

DRAWN_AT = 256  # pixels a side; smaller pictures are made of these, larger ones are drawn anew
_DRAWING = "internals.data.shapes.scenes"


def fingerprint() -> str:
    """Changes with the drawing code, and with NumPy, whose random streams may change with it."""
    parts = {
        name: tree
        for name, tree in reach(modules=[_DRAWING]).modules.items()
        if name.startswith("internals.data.shapes.")
    }
    return f"shapes {digest(parts)} at {DRAWN_AT} numpy {metadata.version('numpy')}"


_TRAIN, _TEST = 2400, 500
_BLOCK = 100  # pictures drawn between two writes


def shapes(fingerprint: str, size: int, most: int | None = None) -> tuple[ImageSet, ImageSet]:
    """2,400 training and 500 test pictures, uint8 (N, 3, `size`, `size`), the classes mixed.

    Drawn once for each `fingerprint`, at 256 pixels unless a larger `size` is asked for, and then
    read from the user's cache folder; where that cannot be written, drawn again. Smaller ones are
    these, resized. With `most` only the first so many of each are drawn.
    """
    train, test = range(_TRAIN)[:most], range(_TRAIN, _TRAIN + _TEST)[:most]
    kept = _kept(fingerprint, [*train, *test], size)
    parts = {"train": (train, kept[: len(train)]), "test": (test, kept[len(train) :])}
    found = [
        ImageSet(
            torch.from_numpy(images),
            torch.tensor([label(index) for index in indices]),
            CLASS_NAMES,
            f"shapes {name}",
            fingerprint,
        )
        for name, (indices, images) in parts.items()
    ]
    return found[0], found[1]


def _kept(fingerprint: str, indices: Sequence[int], size: int) -> NDArray[np.uint8]:
    """The pictures `indices`, from the cache if they are there whole."""
    name = f"{digest([fingerprint, list(indices)])}-{size}.npy"
    path = cache_folder().with_name("shapes") / name
    shape = (len(indices), 3, size, size)
    if (found := _read(path, shape)) is not None:
        return found
    if size < DRAWN_AT:
        made = partial(_reduced, _kept(fingerprint, indices, DRAWN_AT), size)
    else:
        made = partial(_drawn, indices, size)
    try:
        _write(path, made(), shape)
    except OutputError:
        return np.concatenate(list(made()))
    found = _read(path, shape)
    return np.concatenate(list(made())) if found is None else found


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


def _drawn(indices: Sequence[int], size: int) -> Iterator[NDArray[np.uint8]]:
    """The pictures in order, a block at a time."""
    with (
        threadpool_limits(1),  # for matrices this small, more threads only wait for each other
        ThreadPoolExecutor(cores()) as pool,  # NumPy lets go of the lock
        Progress(f"shapes at {size} px", len(indices), unit="picture", quiet=5) as progress,
    ):
        for start in range(0, len(indices), _BLOCK):
            block = indices[start : start + _BLOCK]
            yield np.stack(list(pool.map(partial(draw, size=size), block)))
            progress.advance(len(block))


def _reduced(pictures: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    """Larger pictures brought to `size`, a block at a time."""
    for start in range(0, len(pictures), _BLOCK):
        yield resized(torch.from_numpy(pictures[start : start + _BLOCK]), size).numpy()
