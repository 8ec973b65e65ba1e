"""What drives one channel hardest, ready to be drawn: plain arrays, no torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Evidence:
    """One channel and its strongest units, the strongest first; empty where it never fires.

    `projections` (c, h, w) signed and `patches` (c, h, w) in [0, 1] are cut to the image;
    `offsets` (top, left) say where the cut piece lies in the whole receptive field of `size`
    (height, width). `labels` are class names, `images` image ids.
    """

    layer: str
    channel: int
    projections: Sequence[np.ndarray]
    patches: Sequence[np.ndarray]
    values: Sequence[float]
    labels: Sequence[str]
    images: Sequence[int]
    offsets: Sequence[tuple[int, int]]
    size: tuple[int, int]
