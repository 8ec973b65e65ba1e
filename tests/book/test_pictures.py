"""Oracle: Pillow's own decoder, and its lossless file of the same picture."""

import io

import numpy as np
import pytest
from PIL import Image

from internals.book import to_webp


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(file, "PNG")
    return file.getvalue()


def _decoded(webp: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(webp)).convert("RGBA"))


def _drawing(height: int) -> np.ndarray:
    """Bars and thin lines of four colours."""
    pixels = np.full((height, 700, 4), 255, np.uint8)
    pixels[::40, :, :3] = 200
    for bar, colour in enumerate(([20, 60, 160], [180, 60, 20], [90, 90, 90])):
        pixels[60 + 70 * bar : 90 + 70 * bar, : 300 + 90 * bar, :3] = colour
    return pixels


def _photograph(height: int) -> np.ndarray:
    """Soft shades with a little grain."""
    rows, columns = np.mgrid[0:height, 0:700] / 100
    grain = np.random.default_rng(0).normal(0, 6, (height, 700, 3))
    shades = np.stack([np.sin(rows), np.cos(columns), np.sin(rows + columns)], axis=-1)
    pixels = np.full((height, 700, 4), 255, np.uint8)
    pixels[..., :3] = np.clip(128 + 90 * shades + grain, 0, 255)
    return pixels


@pytest.mark.parametrize("height", [300, 1500])  # sampled whole, and in the middle
def test_a_drawing_keeps_every_pixel(height):
    assert (_decoded(to_webp(_png(_drawing(height)))) == _drawing(height)).all()


@pytest.mark.parametrize("height", [300, 1500])
def test_a_photograph_is_much_lighter_and_nearly_the_same(height):
    pixels = _photograph(height)
    whole = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(whole, "WEBP", lossless=True)
    packed = to_webp(_png(pixels))
    assert len(packed) < len(whole.getvalue()) / 4
    assert np.abs(_decoded(packed).astype(int) - pixels)[..., :3].mean() < 8
