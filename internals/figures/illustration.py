"""An illustration as a file of its own: white paper around it, its caption beneath."""

import io
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from internals.figures.canvas import wrap
from internals.figures.inks import (
    BODY_PX,
    FONT,
    LOGICAL_DPI,
    RENDER_DPI,
    TEXT,
    inked,
    points,
    style,
)

CAPTION_WORDS = 12


@dataclass(frozen=True)
class Illustration:
    """A figure, the caption that says how to read it, and the text for who cannot see it.

    Raises `ValueError` for an empty `alt` or a `caption` of fewer than 12 words.
    """

    figure: Figure
    caption: str
    alt: str

    def __post_init__(self) -> None:
        words = len(self.caption.split())
        if words < CAPTION_WORDS:
            raise ValueError(
                f"the caption {self.caption!r} has {words} words; say in at least {CAPTION_WORDS} "
                "how to read the figure and what to notice"
            )
        if not self.alt.strip():
            raise ValueError("the alt text is empty; say what a person who cannot see it must know")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in logical (CSS) pixels; `render` draws two device pixels for each."""
        width, height = self.figure.get_size_inches() * LOGICAL_DPI
        return round(width), round(height)

    def render(self, scheme: str = "light", dpi: int = RENDER_DPI) -> bytes:
        """PNG bytes on transparent paper, the same bytes every time; the figure is left as it was.

        `scheme` is "light" or "dark", the page behind the picture; else `ValueError`.
        """
        png = io.BytesIO()
        with matplotlib.rc_context(style()), inked(self.figure, scheme):
            # Matplotlib would write its version into the file; the same picture is the same bytes.
            self.figure.savefig(
                png,
                format="png",
                dpi=dpi,
                transparent=True,
                metadata={"Software": None},
                pil_kwargs={"compress_level": 1},  # four times as fast, and a quarter larger
            )
        return png.getvalue()

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """What a notebook displays: the light picture at its logical size."""
        width, height = self.size
        return self.render(), {"width": width, "height": height}


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
