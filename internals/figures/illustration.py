"""A figure with its caption and alternative text: on a page, and as a file of its own."""

import io
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from internals.figures.canvas import printable, wrap
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
from internals.figures.sheets import Sheet

CAPTION_WORDS = 12  # at least
FORMATS = ("png", "webp", "pdf", "svg")
MARGIN = 16  # logical pixels of white paper around a figure
_CAPTION_GAP, _CAPTION_LINE = 10, 17  # logical pixels above the caption, and of each of its lines


@dataclass(frozen=True)
class Illustration:
    """A figure and its words.

    Args:
        figure: The drawing.
        caption: How to read it and what to notice.
        alt: What a person who cannot see it must know.

    Raises:
        ValueError: The caption has fewer than twelve words, or the alt text is empty.
    """

    figure: Figure
    caption: str
    alt: str

    def __post_init__(self) -> None:
        for name in ("caption", "alt"):
            object.__setattr__(self, name, printable(getattr(self, name)))
        words = len(self.caption.split())
        if words < CAPTION_WORDS:
            raise ValueError(
                f"the caption {self.caption!r} has {words} words; say in at least {CAPTION_WORDS} "
                "how to read the figure and what to notice"
            )
        if not self.alt.strip():
            raise ValueError("the alt text is empty; say what a person who cannot see it must know")

    @property
    def sheet(self) -> Sheet | None:
        """Its tiles, where a page can label them itself instead of showing the drawing."""
        return None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in logical (CSS) pixels; `render` draws two device pixels for each."""
        width, height = self.figure.get_size_inches() * LOGICAL_DPI
        return round(width), round(height)

    def render(self, scheme: str = "light", dpi: int = RENDER_DPI) -> bytes:
        """PNG bytes on transparent paper, the same bytes every time; the figure is left as it was.

        Args:
            scheme: The page behind the picture: "light" or "dark".
            dpi: Device pixels for 100 logical ones.

        Raises:
            ValueError: There is no such scheme.
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


def on_paper(illustration: Illustration, kind: str = "png") -> bytes:
    """A file with white paper around the figure and its caption beneath.

    The same bytes every time; the figure is left as it was. PNG and WebP have two device pixels
    for each logical one and lose nothing.

    Args:
        illustration: What is drawn.
        kind: One of `FORMATS`.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in FORMATS:
        raise ValueError(f"unknown kind of picture {kind!r}; choose one of {', '.join(FORMATS)}")
    width, height = illustration.size
    # Letters fitted to pixels run a little wider than the outlines that are measured.
    lines = wrap(illustration.caption, 0.99 * width, BODY_PX)
    below = _CAPTION_GAP + _CAPTION_LINE * len(lines) + MARGIN
    corners = [[-MARGIN, -below], [width + MARGIN, height + MARGIN]]
    paper = Bbox([[side / LOGICAL_DPI for side in corner] for corner in corners])
    file = io.BytesIO()
    with matplotlib.rc_context({**style(), "svg.hashsalt": "internals"}):
        written = [
            _write_below(
                illustration.figure, line, -(_CAPTION_GAP + _CAPTION_LINE * number) / height
            )
            for number, line in enumerate(lines)
        ]
        try:
            illustration.figure.savefig(
                file,
                format=kind,
                dpi=RENDER_DPI,
                facecolor="white",
                bbox_inches=paper,
                **_format_options(kind, illustration.alt),
            )
        finally:
            for text in written:
                text.remove()
    return file.getvalue()


def _write_below(figure: Figure, words: str, top: float) -> Text:
    """Put one line of the caption below the figure, `top` in its heights."""
    look: dict[str, Any] = {"color": TEXT.light, "fontsize": points(BODY_PX), "fontfamily": FONT}
    return figure.text(0, top, words, va="top", parse_math=False, **look)


def _format_options(kind: str, alt: str) -> dict[str, Any]:
    """The alternative text where the format has a place for it, and nothing of the day or tool."""
    options: dict[str, dict[str, Any]] = {
        "png": {"metadata": {"Software": None, "Description": alt}},
        "webp": {"pil_kwargs": {"lossless": True}},
        "pdf": {"metadata": {"Subject": alt, "CreationDate": None}},
        "svg": {"metadata": {"Description": alt, "Date": None}},
    }
    return options[kind]
