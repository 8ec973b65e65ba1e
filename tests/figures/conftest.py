"""Reading a rendered figure back: its pixels, and the tiles that stand in it."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from internals.figures import Illustration

CAPTION = "A caption of twelve words or more that says what is to notice here."
DEVICE = 2


def read(illustration: Illustration, scheme: str = "light") -> np.ndarray:
    """RGBA bytes (h, w, 4) of the rendered PNG."""
    return np.asarray(Image.open(io.BytesIO(illustration.render(scheme))).convert("RGBA"))


@pytest.fixture(scope="session")
def words() -> dict[str, str]:
    return {"caption": CAPTION, "alt": "What it shows."}


@pytest.fixture(scope="session")
def pixels() -> Callable[..., np.ndarray]:
    return read


@pytest.fixture(scope="session")
def tiles() -> Callable[..., list[np.ndarray]]:
    """The rendered RGB pixels under every picture of a figure, in the order they were drawn."""

    def cut(illustration: Illustration, scheme: str = "light") -> list[np.ndarray]:
        page, actual = read(illustration, scheme), []
        for picture in illustration.figure.axes[0].images:
            left, right, bottom, top = (round(edge * DEVICE) for edge in picture.get_extent())
            assert (page[top:bottom, left:right, 3] == 255).all()
            actual.append(page[top:bottom, left:right, :3])
        return actual

    return cut
