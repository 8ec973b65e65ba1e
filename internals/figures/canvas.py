"""A sheet that is drawn on in logical pixels, with text that is measured before it is written."""

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from PIL import Image

from internals.figures.inks import (
    FONT,
    FRAME,
    GRID,
    LABEL_PX,
    LOGICAL_DPI,
    TEXT,
    WIDTH,
    Ink,
    points,
    style,
)

DEVICE = 2  # device pixels per logical pixel in `Illustration.render`
# What no font has and no file format takes: controls, halves of characters (as in file names that
# are not UTF-8), and what is no character.
_UNPRINTABLE = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
LEVEL = 1  # the same for every stroke: later ones cover earlier ones, as on paper


class Canvas:
    """A sheet of paper; x runs right and y down from the top left, in logical pixels.

    Args:
        height: Of the sheet.
        width: Of the sheet; by default the book's text column.
    """

    def __init__(self, height: float, width: float = WIDTH) -> None:
        self.width, self.height = round(width), round(height)
        with matplotlib.rc_context(style()):
            # Matplotlib cuts to whole pixels: a hair more keeps 1376 from becoming 1375.
            inches = [side / LOGICAL_DPI * (1 + 1e-12) for side in (self.width, self.height)]
            self.figure = Figure(figsize=(inches[0], inches[1]), dpi=LOGICAL_DPI)
            self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, self.width), ylim=(self.height, 0))
        self.axes.set_axis_off()

    def text(
        self, x: float, y: float, words: str, ink: Ink = TEXT, px: float = LABEL_PX, **more: Any
    ) -> None:
        """Write `words` with the baseline's left end at (x, y), unless `ha` and `va` differ."""
        self.axes.text(
            x,
            y,
            printable(words),
            color=ink.light,
            fontsize=points(px),
            fontfamily=FONT,
            parse_math=False,
            zorder=LEVEL,
            **more,
        )

    def image(self, x: float, y: float, pixels: np.ndarray, width: float, height: float) -> None:
        """Draw RGB bytes (h, w, 3) with the top left corner at (x, y), without smoothing.

        Enlarged, every pixel stays a sharp square; reduced, the pixels are averaged.
        """
        left, top = whole(x), whole(y)
        across, down = max(1, round(width * DEVICE)), max(1, round(height * DEVICE))
        if across < pixels.shape[1] or down < pixels.shape[0]:
            pixels = np.asarray(
                Image.fromarray(pixels).resize((across, down), Image.Resampling.BOX)
            )
        right, bottom = left + across / DEVICE, top + down / DEVICE
        # Not `Axes.imshow`: it would set the limits of the sheet to the image's.
        picture = AxesImage(
            self.axes,
            extent=(left, right, bottom, top),
            origin="upper",
            interpolation="nearest",
            zorder=LEVEL,
        )
        picture.set_data(pixels)
        picture.set_clip_path(self.axes.patch)
        self.axes.add_image(picture)

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        face: Ink | None = None,
        edge: Ink | None = None,
        **more: Any,
    ) -> None:
        """A rectangle from its top left corner; `more` goes to Matplotlib's patch."""
        patch = Rectangle((x, y), width, height, **_inked(face, edge, more))
        patch.set_zorder(LEVEL)
        self.axes.add_patch(patch)

    def frame(self, x: float, y: float, width: float, height: float, ink: Ink = GRID) -> None:
        """A hair line just outside a picture, so that none of its pixels is covered."""
        hair = 1 / DEVICE
        corner = (whole(x) - hair / 2, whole(y) - hair / 2)
        self.box(
            *corner,
            whole(width) + hair,
            whole(height) + hair,
            None,
            ink,
            linewidth=points(hair),
            joinstyle="miter",
            snap=False,
        )

    def polygon(
        self,
        corners: Sequence[tuple[float, float]],
        face: Ink | None = None,
        edge: Ink | None = None,
        **more: Any,
    ) -> None:
        """A closed polygon through `corners`."""
        patch = Polygon(list(corners), closed=True, **_inked(face, edge, more))
        patch.set_zorder(LEVEL)
        self.axes.add_patch(patch)

    def line(
        self, corners: Sequence[tuple[float, float]], ink: Ink = FRAME, px: float = 1, **more: Any
    ) -> None:
        """A line through `corners`, `px` logical pixels wide."""
        x, y = zip(*corners, strict=True)
        path = Line2D(x, y, color=ink.light, lw=points(px), zorder=LEVEL, **more)
        self.axes.add_line(path)


def whole(length: float) -> float:
    """The length in logical pixels that is nearest to `length` and whole in device pixels."""
    return round(length * DEVICE) / DEVICE


def printable(words: str) -> str:
    r"""`words` with an escape such as `\udce9` in place of whatever cannot be written."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), words)


def plain(words: str) -> str:
    """`words` as Matplotlib's own labels must have them, so as not to be read as a formula."""
    return printable(words).replace("$", r"\$")


@cache
def text_width(words: str, px: float = LABEL_PX, weight: str = "normal") -> float:
    """The width of `words` in logical pixels."""
    font = FontProperties(family=FONT, weight=weight)
    corners, codes = text_to_path.get_text_path(font, printable(words), ismath=False)
    outline = Path(corners, codes)
    return float(outline.get_extents().x1) * px / text_to_path.FONT_SCALE if words.strip() else 0.0


def wrap(words: str, room: float, px: float = LABEL_PX) -> list[str]:
    """Break words at spaces into lines; a single word that is too long ends in an ellipsis.

    Args:
        words: What is to be written.
        room: The most that a line may take (unit: logical pixels).
        px: Size of the letters (unit: logical pixels).
    """
    lines: list[str] = []
    for word in words.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(joined, px) <= room:
            lines[-1] = joined
        else:
            lines.append(shorten(word, room, px))
    return lines or [""]


def shorten(words: str, room: float, px: float = LABEL_PX) -> str:
    """`words`, or as much of them with an ellipsis as fits in `room` logical pixels."""
    if text_width(words, px) <= room:
        return words
    while len(words) > 1 and text_width(words + "…", px) > room:
        words = words[:-1]
    return words.rstrip() + "…"


def _inked(face: Ink | None, edge: Ink | None, more: dict[str, Any]) -> dict[str, Any]:
    colours = {
        "facecolor": face.light if face else "none",
        "edgecolor": edge.light if edge else "none",
    }
    return {"linewidth": points(1 if edge else 0)} | colours | more
