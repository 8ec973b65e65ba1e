"""One call from a name to images: the only place where files become an `ImageSet`."""

import torch

from internals.data.image_set import ImageSet, Splits
from internals.data.sources import Source, find_source
from internals.data.store import RawImages
from internals.errors import DataError

_HELD_OUT_SHARE = 12  # one training image in twelve chooses epochs: 5,000 of MNIST's 60,000
_DIGITS_TEST = 360  # a fifth of scikit-learn's digits, always the same one
_DIGIT_SIDE = 28  # pixels
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
    """Load a data set, or its stand-in, and print which was used.

    Args:
        name: "mnist" or "imagenette", or a stand-in: "digits" or "shapes".
        mode: "auto" (the real data, else the embedded stand-in), "real" or "embedded".
        size: Side of the images (unit: pixels). Digits come in a 28 x 28 field, padded with
            background to 32 by default, as in the paper; photographs and shapes are 256 wide by
            default.
        seed: Chooses the images that are held out.
        most: Take only the first so many training images, and as many test images.
        held_out: Share of the training images that is held out for validation, every class in
            proportion; by default a twelfth.

    Raises:
        DataError: The data are missing, damaged or unknown, no image would be left on either side
            of the hold-out, or the seed is out of range.
        OutputError: Decoded images cannot be kept.
    """
    if not -(2**63) <= seed < 2**64:
        raise DataError(f"seed={seed} is no seed of torch's; use 0 to {2**64 - 1}")
    source = find_source(name, mode)
    side = _SIZES[source.name] if size is None else size
    if source.name in ("mnist", "digits"):
        train, test = _digits(source, side)
    else:
        train, test = _pictures(source, side, most)
    train, test = train.head(most), test.head(most)
    count = len(train) // _HELD_OUT_SHARE if held_out is None else round(held_out * len(train))
    rest, validation = train.hold_out(count, seed)
    print(
        f"Data: {len(rest):,} + {len(validation):,} of {train.name}, {len(test):,} of {test.name}"
    )
    return Splits(rest, validation, test)


def _digits(source: Source, size: int) -> tuple[ImageSet, ImageSet]:
    from internals.data.mnist import read_digits, read_mnist

    if size < _DIGIT_SIDE or size % 2:
        raise DataError(f"size={size} cannot hold the 28 x 28 digits evenly; use 28 or 32")
    if source.root is None:
        # The same test images whatever the seed.
        train, test = _image_set(read_digits(), source).hold_out(_DIGITS_TEST, seed=0)
        train, test = train.head(name="digits train"), test.head(name="digits test")
    else:
        train, test = (_image_set(images, source) for images in read_mnist(source.root))
    margin = (size - _DIGIT_SIDE) // 2
    return train.padded(margin), test.padded(margin)


def _pictures(source: Source, size: int, most: int | None) -> tuple[ImageSet, ImageSet]:
    if size < 1:
        raise DataError(f"size={size} is no side of a picture; use 1 or more")
    if source.root is None:
        from internals.data.shapes.dataset import read_shapes

        # `most` goes along, so that no more pictures are drawn than are needed.
        train, test = read_shapes(source.fingerprint, size, most)
    else:
        from internals.data.imagenette import read_imagenette

        train, test = read_imagenette(source.root, source.fingerprint, size)
    return _image_set(train, source), _image_set(test, source)


def _image_set(images: RawImages, source: Source) -> ImageSet:
    return ImageSet(
        torch.from_numpy(images.pixels),
        torch.from_numpy(images.labels),
        images.class_names,
        images.name,
        source.fingerprint,
        images.files,
    )
