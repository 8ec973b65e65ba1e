"""One call from a name to images."""

from pathlib import Path

from internals.data.images import ImageSet, Splits
from internals.data.sources import resolve
from internals.errors import DataError

_HELD_OUT = 12  # one training image in twelve chooses epochs: 5,000 of MNIST's 60,000


def load(name: str, mode: str = "auto", *, size: int = 32, seed: int = 0) -> Splits:
    """Load the data set `name` ("mnist", or its stand-in "digits") and say which was used.

    `mode` is "auto" (real, else the embedded stand-in), "real" or "embedded". Digits come in a
    28 x 28 field; `size` 32 pads it with background, as the paper did. A stratified twelfth of the
    training images, chosen by `seed`, is held out for validation. Raises `DataError` when the data
    are missing, damaged or unknown.
    """
    if size < 28 or size % 2:
        raise DataError(f"size={size} cannot hold the 28 x 28 digits evenly; use 28 or 32")
    source = resolve(name, mode)
    train, test = _read(source.name, source.root, source.fingerprint)
    margin = (size - 28) // 2
    rest, validation = train.hold_out(len(train) // _HELD_OUT, seed)
    print(
        f"Data: {len(rest):,} + {len(validation):,} of {train.name}, {len(test):,} of {test.name}"
    )
    return Splits(rest.padded(margin), validation.padded(margin), test.padded(margin))


def _read(name: str, root: Path | None, fingerprint: str) -> tuple[ImageSet, ImageSet]:
    if root is None:
        from internals.data.digits import digits

        return digits(fingerprint)
    from internals.data.mnist import mnist

    return mnist(root, fingerprint)
