"""Pictures as small files: WebP, without loss where that costs little."""

import io

from PIL import Image

# At twice the pixels of the page the eye finds no loss.
_LOSSY_QUALITY, _ALPHA_QUALITY = 34, 60
_LOSSY_METHOD = 5  # the last, 6, takes ten times as long for a file a tenth smaller
_WORTH = 1.4  # lossless may be this much larger than lossy before lossy is chosen
_SAMPLED = 512  # rows from the middle that decide it


def to_webp(png: bytes) -> bytes:
    """The PNG as WebP: lossless unless that is much larger than lossy.

    Other threads run meanwhile: nearly all of the time is spent outside Python.
    """
    with Image.open(io.BytesIO(png)) as picture:
        picture.load()
        top = max(0, (picture.height - _SAMPLED) // 2)
        sample = picture.crop((0, top, picture.width, min(picture.height, top + _SAMPLED)))
        lossless = len(_saved(sample, True)) <= _WORTH * len(_saved(sample, False))
        return _saved(picture, lossless)


def _saved(picture: Image.Image, lossless: bool) -> bytes:
    out = io.BytesIO()
    if lossless:
        picture.save(out, "WEBP", lossless=True, quality=30, method=2)
    else:
        picture.save(
            out,
            "WEBP",
            quality=_LOSSY_QUALITY,
            alpha_quality=_ALPHA_QUALITY,
            method=_LOSSY_METHOD,
        )
    return out.getvalue()
