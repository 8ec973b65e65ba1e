"""An illustration as a file of its own: white paper around it, its caption beneath."""

import io
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from internals.figures.canvas import wrap
from internals.figures.illustration import Illustration
from internals.figures.palette import (
    BODY_PX,
    FONT,
    LOGICAL_DPI,
    RENDER_DPI,
    TEXT,
    points,
    style,
)

FORMATS = ("png", "webp", "pdf", "svg")
MARGIN, GAP, LINE = 16, 10, 17  # logical pixels


def on_paper(illustration: Illustration, kind: str = "png") -> bytes:
    """The bytes of a file of `kind` ("png", "webp", "pdf" or "svg"), the same bytes every time.

    PNG and WebP have two device pixels for each logical one and lose nothing. The figure is left
    as it was. Raises `ValueError` for another `kind`.
    """
    if kind not in FORMATS:
        raise ValueError(f"unknown kind of picture {kind!r}; choose one of {', '.join(FORMATS)}")
    width, height = illustration.size
    # Letters fitted to pixels run a little wider than the outlines that are measured.
    lines = wrap(illustration.caption, 0.99 * width, BODY_PX)
    below = GAP + LINE * len(lines) + MARGIN
    corners = [[-MARGIN, -below], [width + MARGIN, height + MARGIN]]
    paper = Bbox([[side / LOGICAL_DPI for side in corner] for corner in corners])
    file = io.BytesIO()
    with matplotlib.rc_context({**style(), "svg.hashsalt": "internals"}):
        written = [
            _write(illustration.figure, line, -(GAP + LINE * number) / height)
            for number, line in enumerate(lines)
        ]
        try:
            illustration.figure.savefig(
                file,
                format=kind,
                dpi=RENDER_DPI,
                facecolor="white",
                bbox_inches=paper,
                **_extras(kind, illustration.alt),
            )
        finally:
            for text in written:
                text.remove()
    return file.getvalue()


def _write(figure: Figure, words: str, top: float) -> Text:
    """Put one line of the caption below the figure, `top` in its heights."""
    look: dict[str, Any] = {"color": TEXT.light, "fontsize": points(BODY_PX), "fontfamily": FONT}
    return figure.text(0, top, words, va="top", parse_math=False, **look)


def _extras(kind: str, alt: str) -> dict[str, Any]:
    """The alternative text where the format has a place for it, and nothing of the day or tool."""
    extras: dict[str, dict[str, Any]] = {
        "png": {"metadata": {"Software": None, "Description": alt}},
        "webp": {"pil_kwargs": {"lossless": True}},
        "pdf": {"metadata": {"Subject": alt, "CreationDate": None}},
        "svg": {"metadata": {"Description": alt, "Date": None}},
    }
    return extras[kind]
