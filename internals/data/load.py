"""One call from a name to images."""

import torch

from internals.data.image_set import ImageSet, Splits
from internals.data.sources import Source, resolve
from internals.errors import DataError

_HELD_OUT = 12  # one training image in twelve chooses epochs: 5,000 of MNIST's 60,000
_FIELD = 28  # MNIST's side in pixels
_SIZES = {"mnist": 32, "digits": 32, "imagenette": 256, "shapes": 256}


def load(
    name: str,
    mode: str = "auto",
    *,
    size: int | None = None,
    seed: int = 0,
    most: int | None = None,
    held_out: float | None = None,
) -> Splits:
    """Load "mnist" or "imagenette", or a stand-in, "digits" or "shapes"; say which was used.

    `mode` is "auto" (real, else the embedded stand-in), "real" or "embedded". The images are
    `size` pixels a side: digits come in a 28 x 28 field, padded with background to 32 unless told
    otherwise, as the paper did; photographs and shapes are 256 wide unless told otherwise. Of the
    training images a stratified share, `held_out` or a twelfth, chosen by `seed`, is held out for
    validation. With `most` the first so many training images are taken, and as many test images.
    Raises `DataError` when the data are missing, damaged or unknown, or no image would be left on
    either side, `OutputError` when decoded images cannot be kept.
    """
    source = resolve(name, mode)
    side = _SIZES[source.name] if size is None else size
    if source.name in ("mnist", "digits"):
        train, test = _digits(source, side)
    else:
        train, test = _pictures(source, side, most)
    train, test = (part.subset(torch.arange(len(part))[:most]) for part in (train, test))
    count = len(train) // _HELD_OUT if held_out is None else round(held_out * len(train))
    rest, validation = train.hold_out(count, seed)
    print(
        f"Data: {len(rest):,} + {len(validation):,} of {train.name}, {len(test):,} of {test.name}"
    )
    return Splits(rest, validation, test)


def _digits(source: Source, size: int) -> tuple[ImageSet, ImageSet]:
    if size < _FIELD or size % 2:
        raise DataError(f"size={size} cannot hold the 28 x 28 digits evenly; use 28 or 32")
    if source.root is None:
        from internals.data.mnist import digits

        train, test = digits(source.fingerprint)
    else:
        from internals.data.mnist import mnist

        train, test = mnist(source.root, source.fingerprint)
    margin = (size - _FIELD) // 2
    return train.padded(margin), test.padded(margin)


def _pictures(source: Source, size: int, most: int | None) -> tuple[ImageSet, ImageSet]:
    if size < 1:
        raise DataError(f"size={size} is no side of a picture; use 1 or more")
    if source.root is None:
        from internals.data.shapes.dataset import shapes

        return shapes(source.fingerprint, size, most)  # no more are drawn than are asked for
    from internals.data.imagenette import imagenette

    return imagenette(source.root, source.fingerprint, size)
