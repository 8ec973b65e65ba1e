"""Picture files to square byte arrays, several at a time."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from internals.environment import cores
from internals.fingerprint import digest, reach
from internals.progress import Progress

# Not everything that Pillow opens: to read some formats (EPS) it starts other programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")

_UPRIGHT: dict[Any, Image.Transpose] = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Tags of TIFF, and values of theirs.
_BITS, _PHOTOMETRIC, _PLANAR, _SAMPLE_FORMAT = 258, 262, 284, 339
_WHITE_IS_ZERO, _SEPARATE, _SIGNED = 0, 2, 2


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

    Raises:
        ValueError: `file` is a pipe or device, or what its numbers mean is not known.
    """
    if file.exists() and not (file.is_file() or file.is_dir()):  # to open a pipe is to wait
        raise ValueError("not a file but a pipe, socket or device")
    with Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN]) as opened:
        _check_layout(opened)
        # A large JPEG can be decoded at a fraction of its size: here at no less than twice `size`.
        opened.draft(None, (2 * size, 2 * size))
        opened.load()
        turn = _turn(opened)
        image = _in_bytes(opened) if opened.mode.startswith(("I", "F")) else opened
        image = _on_white(image if turn is None else image.transpose(turn))
        image = image.convert("L" if channels == 1 else "RGB")
    square = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    return np.atleast_3d(np.asarray(square)).transpose(2, 0, 1)


def _check_layout(image: Image.Image) -> None:
    """Raise `ValueError` for the layouts of a TIFF whose numbers Pillow mixes up."""
    tags, packed = _tiff_tags(image), image.info.get("compression") != "raw"
    deep = max(tags.get(_BITS, (8,))) > 8
    if image.mode == "L" and _SIGNED in tags.get(_SAMPLE_FORMAT, ()):
        raise ValueError("its bytes are signed; save it with 8 or 16 bits a channel, unsigned")
    if deep and not packed and tags.get(_PLANAR) == _SEPARATE:
        raise ValueError("its channels lie apart with 16 bits each; save it in another layout")
    if tags and packed and image.mode in ("I", "F") and tags.prefix == b"MM":
        raise ValueError("its 32-bit numbers are packed high byte first; save it unpacked")


def _tiff_tags(image: Image.Image) -> Any:
    return getattr(image, "tag_v2", {})


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What brings the picture upright; nothing where its metadata cannot be read."""
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # Pillow trips over damaged metadata in many ways
        return None


def _in_bytes(image: Image.Image) -> Image.Image:
    """A grey picture of more than 8 bits in 8, which Pillow would cut off instead of scaling."""
    tags, values = _tiff_tags(image), np.asarray(image)
    if image.mode.startswith("I;16"):
        white = 2 ** tags.get(_BITS, (16,))[0] - 1  # a TIFF can have 12
    elif image.mode == "I" and not tags:
        white = 2**16 - 1  # to which Pillow scales all deep grey PNG and PGM
    else:
        white = _unsaid_white(values)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = white - values
    if values.dtype.kind == "f":
        scaled = (values * (255 / white)).round()
    else:
        scaled = values.astype(np.uint32) * 256 // (white + 1)
    clear = image.info.get("transparency")  # the one value that is transparent, if any
    scaled = scaled if clear is None else np.where(values == clear, 255, scaled)
    return Image.fromarray(scaled.astype(np.uint8))


def _unsaid_white(values: np.ndarray) -> int:
    """Which number is white, where the file does not say: see `read_folder`."""
    low, high = values.min(), values.max()
    if not np.isfinite([low, high]).all():
        raise ValueError("some of its numbers are infinite or NaN")
    if low >= 0 and high <= (1 if values.dtype.kind == "f" else 0):
        return 1
    if low >= 0 and 2**15 <= high < 2**16:
        return 2**16 - 1
    raise ValueError(
        f"does not say which number is white, and has {low:g} to {high:g}; "
        "save it with 8 or 16 bits, or as floats from 0 to 1"
    )


def _on_white(image: Image.Image) -> Image.Image:
    """The picture without transparency, as it looks on white paper."""
    if not image.has_transparency_data:
        return image
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and max(clear) > 255:  # of 16 bits, the higher 8 of which are left
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    if image.mode == "La":  # which Pillow brings to no other mode
        image = image.convert("LA")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)


def reason(error: Exception) -> str:
    """Why a picture could not be decoded, on one line."""
    if isinstance(error, UnidentifiedImageError):
        return "not a picture of any kind that can be read"
    return " ".join(str(error).split()) or type(error).__name__


def decoder_version() -> str:
    """A name for what turns a file into these pixels: this code and Pillow's version."""
    code = reach(modules=[__name__]).modules[__name__]
    return digest([code, PIL.__version__])
