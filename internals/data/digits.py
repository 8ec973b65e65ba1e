"""The stand-in for MNIST: scikit-learn's 1,797 handwritten digits, scaled up."""

import torch
from torch.nn import functional

from internals.data.images import ImageSet

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
