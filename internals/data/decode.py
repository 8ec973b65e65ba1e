"""Picture files to square byte arrays, several at a time."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps, UnidentifiedImageError

from internals.environment import cores
from internals.fingerprint import digest, reach
from internals.progress import Progress

# Not everything that Pillow opens: to read some formats (EPS) it starts other programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")


def decode_all(files: Sequence[Path], pixels: np.ndarray, bar: Progress) -> dict[int, Exception]:
    """Decode files in several threads, as Pillow lets others run while it decodes and scales.

    Args:
        files: The files to decode.
        pixels: Where the pictures go, (n, c, h, w).
        bar: Advanced by one for each file.

    Returns:
        The numbers of the files that failed, each with its error.
    """
    Image.init()  # once and here, not in several threads at a time

    def attempt(number: int) -> Exception | None:
        try:
            pixels[number] = decode(files[number], *pixels.shape[1:3])
        except Exception as error:  # whatever a decoder trips over concerns this file alone
            return error
        return None

    failures = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(cores()) as pool:
        # Pillow warns of large pictures and odd metadata; what it can read is good enough here.
        warnings.simplefilter("ignore")
        for number, error in enumerate(pool.map(attempt, range(len(files)))):
            if error is not None:
                failures[number] = error
            bar.advance()
    return failures


def decode(file: Path, channels: int, size: int) -> np.ndarray:
    """One picture: its centre, the shorter side scaled to `size`, bicubic with antialiasing.

    EXIF orientation is followed, transparency lies on white, the first frame stands for all.

    Args:
        file: The picture.
        channels: 3 for RGB, 1 for luminance.
        size: Side of the result (unit: pixels).

    Returns:
        The pixels, (channels, size, size), 0..255.
    """
    with Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN]) as opened:
        # A large JPEG can be decoded at a fraction of its size: here at no less than twice `size`.
        opened.draft(None, (2 * size, 2 * size))
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith("I"):  # 16 bits, which Pillow would clip to 8
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    image = image.convert("L" if channels == 1 else "RGB")
    square = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.atleast_3d(np.asarray(square)).transpose(2, 0, 1)


def reason(error: Exception) -> str:
    """Why a picture could not be decoded, on one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture of any kind that can be read"
    return " ".join(str(error).split()) or type(error).__name__


def decoder_version() -> str:
    """A name for what turns a file into these pixels: this code and Pillow's version."""
    code = reach(modules=[__name__]).modules[__name__]
    return digest([code, PIL.__version__])
