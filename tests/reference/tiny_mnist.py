"""A MNIST of 24 + 5 images in the original format, written byte by byte."""

import hashlib
import struct

import torch

TRAIN_COUNT, TEST_COUNT = 24, 5


def idx_files() -> dict[str, bytes]:
    """The four files: pixel p of image n is (7 n + p) mod 251, its label n mod 10."""
    files = {}
    for prefix, count in (("train", TRAIN_COUNT), ("t10k", TEST_COUNT)):
        pixels = bytes((7 * n + p) % 251 for n in range(count) for p in range(784))
        header = struct.pack(">IIII", 0x803, count, 28, 28)
        files[f"{prefix}-images-idx3-ubyte"] = header + pixels
        files[f"{prefix}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, count) + bytes(
            n % 10 for n in range(count)
        )
    return files


def facts() -> dict[str, tuple[int, str]]:
    """Size and MD5 of the four files."""
    return {name: (len(c), hashlib.md5(c).hexdigest()) for name, c in idx_files().items()}


def check_content(splits) -> None:
    """Every image of the files is in `splits` with its own label, and no other."""
    everything = torch.cat([splits.train.images, splits.validation.images])
    labels = torch.cat([splits.train.labels, splits.validation.labels])
    for images, answers, count in (
        (everything, labels, TRAIN_COUNT),
        (splits.test.images, splits.test.labels, TEST_COUNT),
    ):
        assert len(images) == count
        found = {
            (bytes(image.flatten().tolist()), label)
            for image, label in zip(images[:, 0, 2:30, 2:30], answers.tolist(), strict=True)
        }
        assert found == {
            (bytes((7 * n + p) % 251 for p in range(784)), n % 10) for n in range(count)
        }
