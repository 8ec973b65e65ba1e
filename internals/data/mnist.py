"""MNIST (LeCun et al., 1998) from its four files, and its stand-in, scikit-learn's digits."""

import hashlib
from importlib import metadata
from pathlib import Path

import numpy as np

from internals.data.store import RawImages, cache_folder
from internals.errors import DataError

SIDE = 28  # of an image in pixels
CLASS_NAMES = tuple("0123456789")

# The four files of MNIST as torchvision unpacks them: size in bytes, MD5.
MNIST_FILES = {
    "train-images-idx3-ubyte": (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10_008, "27ae3e4e09519cfbb04c329615203637"),
}
# Bytes before the data in an IDX file: a magic number and the length of each axis.
_IMAGES_HEADER, _LABELS_HEADER = 16, 8


def verify_mnist(root: Path) -> str:
    """Check MNIST's four files byte by byte.

    Args:
        root: The data folder, which holds `MNIST/raw`.

    Returns:
        Their fingerprint.

    Raises:
        DataError: A file is missing, truncated or changed; the message names the first one.
    """
    remedy = (
        "put the original file there"
        if root != cache_folder()
        else f"delete {root / 'MNIST'}, then run `internals data fetch mnist`"
    )
    checksums = hashlib.sha256()
    for name, (size, published_md5) in MNIST_FILES.items():
        path = _path(root, name)
        try:
            if path.exists() and not path.is_file() and not path.is_dir():
                # A pipe would be waited for, and a device may have no end.
                raise DataError(f"{path} cannot be read: it is no file; {remedy}")
            content = path.read_bytes()
        except FileNotFoundError:
            raise DataError(f"{path} is missing; {remedy}") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}; {remedy}") from error
        if len(content) != size:
            raise DataError(f"{path} has {len(content):,} bytes, not {size:,}; {remedy}")
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != published_md5:
            raise DataError(f"{path} is damaged: MD5 {md5}, not {published_md5}; {remedy}")
        checksums.update(md5.encode())
    return f"mnist md5s {checksums.hexdigest()[:16]}"


def read_mnist(root: Path) -> tuple[RawImages, RawImages]:
    """The 60,000 training and the 10,000 test digits, (N, 1, 28, 28), from verified files.

    Args:
        root: The data folder, which holds `MNIST/raw`.
    """
    return _read_split(root, "train", "train"), _read_split(root, "t10k", "test")


def _read_split(root: Path, prefix: str, split: str) -> RawImages:
    """The digits of the two files that begin with `prefix`; each is known by its place in them."""
    pixels = np.fromfile(
        _path(root, f"{prefix}-images-idx3-ubyte"), np.uint8, offset=_IMAGES_HEADER
    ).reshape(-1, 1, SIDE, SIDE)
    labels = np.fromfile(
        _path(root, f"{prefix}-labels-idx1-ubyte"), np.uint8, offset=_LABELS_HEADER
    )
    places = tuple(f"{split} {place}" for place in range(len(pixels)))
    return RawImages(pixels, labels.astype(np.int64), CLASS_NAMES, f"MNIST {split}", places)


def digits_fingerprint() -> str:
    """Changes with scikit-learn, which holds the digits."""
    return f"digits scikit-learn {metadata.version('scikit-learn')}"


def read_digits() -> RawImages:
    """scikit-learn's 1,797 digits, (N, 1, 28, 28), with a body of 20 x 20 pixels like MNIST's.

    The 8 x 8 originals (ink 0..16) are enlarged bilinearly.
    """
    import torch
    from sklearn.datasets import load_digits
    from torch.nn import functional

    data = load_digits()
    originals = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    body = functional.interpolate(originals, size=(20, 20), mode="bilinear", align_corners=False)
    images = (functional.pad(body, (4, 4, 4, 4)) * 255).round().to(torch.uint8)
    return RawImages(images.numpy(), data.target.astype(np.int64), CLASS_NAMES, "digits")


def _path(root: Path, name: str) -> Path:
    return root / "MNIST" / "raw" / name
