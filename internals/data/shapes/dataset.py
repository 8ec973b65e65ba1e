"""The stand-in for Imagenette: 2,900 pictures that the package draws, and keeps once drawn."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import metadata

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from internals.data.shapes.scenes import CLASS_NAMES, draw, label
from internals.data.store import ImageBlock, RawImages, cache_folder, read_or_make_images
from internals.environment import cores
from internals.errors import OutputError
from internals.fingerprint import digest, reach
from internals.progress import Progress

DRAWN_AT = 256  # pixels a side; smaller pictures are made of these, larger ones are drawn anew
TRAIN_IMAGES, TEST_IMAGES = 2400, 500
BLOCK_IMAGES = 100  # drawn between two writes

_SCENES = "internals.data.shapes.scenes"  # imports all modules that draw


def fingerprint() -> str:
    """Changes with the drawing code, and with NumPy, whose random streams may change with it."""
    drawing = {
        name: tree
        for name, tree in reach(modules=[_SCENES]).modules.items()
        if name.startswith("internals.data.shapes.")
    }
    return f"shapes {digest(drawing)} at {DRAWN_AT} numpy {metadata.version('numpy')}"


def read_shapes(
    fingerprint: str, size: int, most: int | None = None
) -> tuple[RawImages, RawImages]:
    """2,400 training and 500 test pictures, (N, 3, `size`, `size`), the classes mixed.

    Drawn once for each fingerprint, and then read from the user's cache folder; where that cannot
    be written, drawn again. Pictures smaller than 256 pixels are resized from those of 256.

    Args:
        fingerprint: Of the drawing code.
        size: Side of the pictures (unit: pixels).
        most: Draw only the first so many of each split.
    """
    train = range(TRAIN_IMAGES)[:most]
    test = range(TRAIN_IMAGES, TRAIN_IMAGES + TEST_IMAGES)[:most]
    pixels = _read_or_draw(fingerprint, [*train, *test], size)
    return (
        _labelled("shapes train", train, pixels[: len(train)]),
        _labelled("shapes test", test, pixels[len(train) :]),
    )


def _labelled(name: str, indices: Sequence[int], pixels: NDArray[np.uint8]) -> RawImages:
    labels = np.array([label(index) for index in indices], np.int64)
    return RawImages(pixels, labels, CLASS_NAMES, name)


def _read_or_draw(fingerprint: str, indices: Sequence[int], size: int) -> NDArray[np.uint8]:
    """The pictures `indices`, from the cache if they are there whole."""
    name = f"{digest([fingerprint, list(indices)])}-{size}.npy"
    make: Callable[[], Iterator[ImageBlock]] = (
        partial(_reduced, fingerprint, indices, size)
        if size < DRAWN_AT
        else partial(_drawn, indices, size)
    )
    try:
        path = cache_folder().with_name("shapes") / name
        return read_or_make_images(path, (3, size, size), make).pixels
    except OutputError:
        return np.concatenate([block.pixels for block in make()])


def _drawn(indices: Sequence[int], size: int) -> Iterator[ImageBlock]:
    """The pictures in order, a block at a time."""
    with (
        threadpool_limits(1),  # for matrices this small, more threads only wait for each other
        ThreadPoolExecutor(cores()) as pool,  # NumPy lets go of the lock
        Progress(f"shapes at {size} px", len(indices), unit="picture", quiet=5) as progress,
    ):
        for start in range(0, len(indices), BLOCK_IMAGES):
            block = indices[start : start + BLOCK_IMAGES]
            yield ImageBlock(np.stack(list(pool.map(partial(draw, size=size), block))))
            progress.advance(len(block))


def _reduced(fingerprint: str, indices: Sequence[int], size: int) -> Iterator[ImageBlock]:
    """The pictures of 256 pixels brought to `size`, a block at a time."""
    import torch

    from internals.data.resampling import resized

    pictures = _read_or_draw(fingerprint, indices, DRAWN_AT)
    for start in range(0, len(pictures), BLOCK_IMAGES):
        block = torch.from_numpy(pictures[start : start + BLOCK_IMAGES])
        yield ImageBlock(resized(block, size).numpy())
