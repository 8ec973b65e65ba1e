"""Pictures as small files: WebP, without loss where that costs little."""

import io

_LOSSY_QUALITY = 65
_WORTH = 1.4  # lossless may be this much larger than lossy before lossy is chosen


def to_webp(png: bytes) -> bytes:
    """The PNG as WebP: lossless unless that is much larger than lossy."""
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        picture.load()

        def saved(**options: int | bool) -> bytes:
            out = io.BytesIO()
            picture.save(out, "WEBP", method=6, **options)
            return out.getvalue()

        lossless = saved(lossless=True, quality=60)
        lossy = saved(quality=_LOSSY_QUALITY)
    return lossless if len(lossless) <= _WORTH * len(lossy) else lossy
