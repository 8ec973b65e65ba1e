"""Whether what drives a channel is of one class."""

import torch
from jaxtyping import Int64
from torch import Tensor


def class_purity(images: Int64[Tensor, "rows k"], labels: Int64[Tensor, " n"]) -> float:
    """The share of the commonest class among the k image numbers of a row, the mean over all rows.

    `images` may be `Strongest.image`, a row a channel; `labels` are those of all n images. 1 where
    every row holds one class only, and what chance gives is that of rows drawn blindly.
    """
    counts = torch.nn.functional.one_hot(labels[images]).sum(dim=1)
    return counts.amax(dim=1).double().mean().item() / images.shape[1]
