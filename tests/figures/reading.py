"""What a rendered figure holds: the words in it, and the colours of its cells."""

import numpy as np

from internals.figures import Illustration


def printed(illustration: Illustration) -> list[str]:
    """The words of a figure in the order in which they were written."""
    return [text.get_text() for text in illustration.figure.axes[0].texts]


def middles(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """The colour at the middle of each of height x width equal cells of a rendered tile."""
    rows = ((np.arange(height) + 0.5) * len(tile) / height).astype(int)
    columns = ((np.arange(width) + 0.5) * tile.shape[1] / width).astype(int)
    return tile[np.ix_(rows, columns)]
