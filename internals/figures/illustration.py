"""A picture with the words that belong to it."""

import io
from dataclasses import dataclass

import matplotlib
from matplotlib.figure import Figure

from internals.figures.palette import LOGICAL_DPI, RENDER_DPI, style
from internals.figures.schemes import inked

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
