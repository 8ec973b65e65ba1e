"""The keys of the book's signed pictures: what full ink means, and what the paper tone means."""

import numpy as np

from internals.figures.canvas import Canvas, text_width
from internals.figures.numerals import MINUS, number
from internals.figures.palette import MUTED, PADDING, SMALL_PX, WIDTH, signed

BAR, BAR_HEIGHT = 65, 8  # an odd number of steps, so that one of them is exactly zero


def signed_key(
    canvas: Canvas,
    baseline: float,
    scale: float,
    channels: int = 1,
    right: float = WIDTH,
    *,
    exceeded: bool = False,
) -> None:
    """The ramp from -`scale` to +`scale`, ending at `right`, its two ends named.

    `exceeded` says that there are larger magnitudes, which have full ink as well.
    """
    if scale == 0:
        canvas.text(right, baseline, "0 everywhere", MUTED, SMALL_PX, ha="right")
        return
    ramp = np.broadcast_to(np.linspace(-1, 1, BAR), (channels, 1, BAR))
    end, start = f"+{number(scale)}", f"{MINUS}{number(scale)}"
    if exceeded:
        end, start = f"≥ {end}", f"≤ {start}"
    left = right - text_width(end, SMALL_PX) - 6 - BAR
    canvas.text(right, baseline, end, MUTED, SMALL_PX, ha="right")
    canvas.image(left, baseline - BAR_HEIGHT, signed(ramp, 1.0), BAR, BAR_HEIGHT)
    canvas.text(left - 6, baseline, start, MUTED, SMALL_PX, ha="right")


def padding_key(canvas: Canvas, baseline: float, left: float = 0) -> None:
    """A swatch of the paper tone with its meaning."""
    canvas.box(left, baseline - 9, 18, 10, PADDING)
    canvas.text(left + 24, baseline, "outside the image", MUTED, SMALL_PX)
