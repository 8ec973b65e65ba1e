"""MNIST from its four original files (LeCun et al., 1998)."""

from pathlib import Path

import torch

from internals.data.images import ImageSet

DIGITS = tuple("0123456789")


def mnist(root: Path, fingerprint: str) -> tuple[ImageSet, ImageSet]:
    """The 60,000 training and 10,000 test digits, uint8 (N, 1, 28, 28), from verified files."""
    from torchvision.datasets import MNIST

    sets = []
    for train, name in [(True, "MNIST train"), (False, "MNIST test")]:
        data = MNIST(str(root), train=train, download=False)
        labels = data.targets.to(torch.int64)
        sets.append(ImageSet(data.data.unsqueeze(1), labels, DIGITS, name, fingerprint))
    return sets[0], sets[1]
