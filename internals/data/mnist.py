"""MNIST (LeCun et al., 1998) from its four files, and its stand-in, scikit-learn's digits."""

import hashlib
from pathlib import Path

import torch
from torch.nn import functional

from internals.data.image_set import ImageSet
from internals.data.store import cache_folder
from internals.errors import DataError

DIGITS = tuple("0123456789")

# The four files of MNIST as torchvision unpacks them: size in bytes, MD5.
MNIST_FILES = {
    "train-images-idx3-ubyte": (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10_008, "27ae3e4e09519cfbb04c329615203637"),
}


def verify_mnist(root: Path) -> str:
    """Check MNIST's four files in `root/MNIST/raw` byte by byte; return their fingerprint.

    Raises `DataError` naming the first file that is missing, truncated or changed.
    """
    remedy = (
        "put the original file there"
        if root != cache_folder()
        else f"delete {root / 'MNIST'}, then run `internals data fetch mnist`"
    )
    together = hashlib.sha256()
    for file, (size, md5) in MNIST_FILES.items():
        path = root / "MNIST" / "raw" / file
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise DataError(f"{path} is missing; {remedy}") from None
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}; {remedy}") from error
        if len(content) != size:
            raise DataError(f"{path} has {len(content):,} bytes, not {size:,}; {remedy}")
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise DataError(f"{path} is damaged: MD5 {found}, not {md5}; {remedy}")
        together.update(found.encode())
    return f"mnist md5s {together.hexdigest()[:16]}"


def mnist(root: Path, fingerprint: str) -> tuple[ImageSet, ImageSet]:
    """The 60,000 training and 10,000 test digits, uint8 (N, 1, 28, 28), from verified files."""
    from torchvision.datasets import MNIST

    sets = []
    for train, name in [(True, "MNIST train"), (False, "MNIST test")]:
        data = MNIST(str(root), train=train, download=False)
        labels = data.targets.to(torch.int64)
        sets.append(ImageSet(data.data.unsqueeze(1), labels, DIGITS, name, fingerprint))
    return sets[0], sets[1]


_TEST = 360  # a fifth, always the same one


def digits(fingerprint: str) -> tuple[ImageSet, ImageSet]:
    """1,437 training and 360 test digits, uint8 (N, 1, 28, 28), a 20 x 20 body like MNIST's.

    The 8 x 8 originals (ink 0..16) are enlarged bilinearly; the test images are the same fixed,
    stratified fifth for every seed.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    small = torch.from_numpy(data.images).float().unsqueeze(1) / 16
    body = functional.interpolate(small, size=(20, 20), mode="bilinear", align_corners=False)
    images = (functional.pad(body, (4, 4, 4, 4)) * 255).round().to(torch.uint8)
    labels = torch.from_numpy(data.target).to(torch.int64)
    everything = ImageSet(images, labels, tuple("0123456789"), "digits", fingerprint)
    train, test = everything.hold_out(_TEST, seed=0)
    return (
        train.subset(torch.arange(len(train)), "digits train"),
        test.subset(torch.arange(len(test)), "digits test"),
    )
