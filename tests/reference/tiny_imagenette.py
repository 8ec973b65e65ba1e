"""An Imagenette of 50 + 30 pictures, each of a colour of its own."""

import io
from pathlib import Path

from PIL import Image

# By hand, from the data set's own page: its ten classes in the order of their WordNet ids.
CLASSES = {
    "n01440764": "tench", "n02102040": "English springer", "n02979186": "cassette player",
    "n03000684": "chain saw", "n03028079": "church", "n03394916": "French horn",
    "n03417042": "garbage truck", "n03425413": "gas pump", "n03445777": "golf ball",
    "n03888257": "parachute",
}  # fmt: skip
COUNTS = {"train": 5, "val": 3}  # of each class


def colour(split: str, label: int, number: int) -> tuple[int, int, int]:
    """The colour of a picture, far enough from every other to be told after compression."""
    return 20 * label + 10, 40 * number + 20, 60 if split == "train" else 180


def files() -> dict[str, bytes]:
    """The content of every file by its path, without the data set's folder."""
    content = {}
    for split, count in COUNTS.items():
        for label, wnid in enumerate(CLASSES):
            for number in range(count):
                buffer = io.BytesIO()
                picture = Image.new("RGB", (24, 16 + number), colour(split, label, number))
                picture.save(buffer, "JPEG", quality=95)
                content[f"{split}/{wnid}/{wnid}_{number}.JPEG"] = buffer.getvalue()
    return content


def write(folder: Path) -> Path:
    """Write the tiny data set into `folder`, which is returned."""
    for path, content in files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def check_content(splits) -> None:
    """Every picture is in `splits` once, with its label, its name and its colour."""
    names = list(CLASSES)
    found = {"train": [], "val": []}
    for images in splits:
        for image, label, file in zip(
            images.images, images.labels.tolist(), images.files, strict=True
        ):
            split, wnid, name = file.split("/")
            number = int(name.removesuffix(".JPEG").split("_")[1])
            assert wnid == names[label] and images.class_names[label] == CLASSES[wnid]
            expected = image.new_tensor(colour(split, label, number)).view(3, 1, 1).int()
            assert int((image.int() - expected).abs().max()) <= 4
            found[split].append(file)
    assert set(splits.train.files + splits.validation.files) == set(found["train"])
    for split, paths in found.items():
        assert sorted(paths) == sorted(path for path in files() if path.startswith(split))
