"""Atlases of networks that never ran: small, seeded, of any shape, with every part that pages show.

Their pictures are drawn by numpy; their sheets and tables are stored as a real atlas's are.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from internals.atlas import Atlas, AtlasLayer, PictureList, read_atlas, seal_atlas, write_pictures

CLASSES = ("tench", "English springer", "cassette player", "chain saw")
HASH = "0123456789abcdef" * 4


def picture_list(
    classes: tuple[str, ...] = CLASSES, count: int = 40, pattern: str = "n0{label}_{number}.JPEG"
) -> PictureList:
    """`count` pictures, of each class in turn."""
    labels = tuple(number % len(classes) for number in range(count))
    files = tuple(pattern.format(label=label, number=n) for n, label in enumerate(labels))
    return PictureList("Imagenette, held out", classes, files, labels, "Photographs: ImageNet.")


def paper_layer(
    name: str,
    *,
    channels: int,
    shown: int,
    side: int = 224,
    field: int = 99,
    map_side: int = 13,
    k: int = 9,
    grey: bool = False,
    rectified: bool = True,
    pictures: PictureList,
    seed: int = 0,
) -> AtlasLayer:
    """One layer with random numbers; `shown` of its channels have tiles, none if it is 0."""
    rng = np.random.default_rng([seed, channels, field])
    stride = max(1, side // map_side)
    start = -(field - stride) // 2
    whole = field >= side
    sheets = {"patches": f"{name}.patches.webp", "projections": f"{name}.projections.webp"}
    if shown:
        sheets["control"] = f"{name}.control.webp"
    values = -np.sort(-rng.gamma(2.0, 4.0, (channels, k)).astype(np.float32), axis=1)
    if rectified and channels > 1:
        values[1] = 0  # a silent channel
    classes = len(pictures.classes)
    per_class = len(pictures.files) // classes
    return AtlasLayer(
        name=name,
        kind="3 x 3 convolution",
        channels=channels,
        map=(map_side, map_side),
        field={"size": (field, field), "stride": (stride, stride), "start": (start, start)},
        whole=whole,
        tile=(min(64, side if whole else field),) * 2,
        grey=grey,
        rectified=rectified,
        normaliser="",
        scales=((1.0, True),) * shown,
        control_scales=((1.0, True),) * min(4, shown),
        sheets=sheets if shown else {},
        main=bool(shown),
        image_size=(side, side),
        image=rng.integers(0, len(pictures.files), (channels, k)),
        row=rng.integers(0, map_side, (channels, k)),
        column=rng.integers(0, map_side, (channels, k)),
        value=values,
        fires=rng.integers(0, per_class + 1, (channels, classes)) if rectified else None,
        excited=rng.integers(1, 4, (shown, classes)) if rectified else None,
    )


def store_paper_atlas(
    atlases: Path, network: str, layers: list[AtlasLayer], pictures: PictureList, **record: object
) -> Atlas:
    """Store `layers` with sheets of noise as the atlas of `network`, and read it back."""
    folder = atlases / network
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(network))
    main = [layer for layer in layers if layer.main]
    for layer in main:
        for kind, file in layer.sheets.items():
            rows = min(4, layer.shown) if kind == "control" else layer.shown
            tiles = [
                noise_tile(rng, layer.tile, layer.grey) for _ in range(layer.image.shape[1] * rows)
            ]
            (folder / file).write_bytes(webp(tiles, layer.image.shape[1]))
    first = [noise_tile(rng, (32, 32), False) for _ in range(16 * max(1, len(main)))]
    (folder / "overview.webp").write_bytes(webp(first, 16))
    write_pictures(atlases, pictures)
    side = layers[0].image_size[0]
    told = {
        "network": network,
        "title": network.capitalize(),
        "command": f"internals atlas {network}",
        "model": network,
        "weights": HASH,
        "profile": "full",
        "score": {"top1": 0.8125, "images": 400},
        "pictures": pictures.fingerprint,
        "input": [1 if layers[0].grey else 3, side, side],
        "rules": {"rule": "guided"},
        "k": layers[0].image.shape[1],
        "random": False,
        "versions": {"torch": "2.14"},
        "machine": "two cores",
        "when": "2026-11-28 12:00 UTC",
        "seconds": 61.5,
        **record,
    }
    seal_atlas(folder, told, layers)
    return read_atlas(folder)


def noise_tile(rng: np.random.Generator, tile: tuple[int, int], grey: bool) -> np.ndarray:
    """RGB bytes of one tile: coarse noise that a lossy codec keeps."""
    height, width = tile
    coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 1 if grey else 3))
    fine = np.kron(coarse, np.ones((8, 8, 1)))[:height, :width]
    return np.repeat(fine, 3, axis=2).astype(np.uint8) if grey else fine.astype(np.uint8)


def webp(tiles: list[np.ndarray], columns: int) -> bytes:
    """A sheet of tiles, without loss."""
    rows = [np.hstack(tiles[first : first + columns]) for first in range(0, len(tiles), columns)]
    file = io.BytesIO()
    Image.fromarray(np.vstack(rows)).save(file, "WEBP", lossless=True)
    return file.getvalue()
