"""Oracle: folders that the test wrote, facts of the published data set, and counting."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from internals.data import imagenette_files, sources
from internals.errors import DataError
from tests.reference import tiny_imagenette
from tests.reference.tiny_imagenette import CLASSES


@pytest.fixture
def tiny(tmp_path, monkeypatch, no_real_data) -> Path:
    """The tiny data set where `INTERNALS_DATA` names it."""
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path))
    return tiny_imagenette.write(tmp_path / "imagenette2")


def test_classes_are_the_published_ones():
    found = {wnid: category.name for wnid, category in imagenette_files.CATEGORIES.items()}
    assert list(found.items()) == list(CLASSES.items())
    assert sum(category.train for category in imagenette_files.CATEGORIES.values()) == 9469
    assert sum(category.val for category in imagenette_files.CATEGORIES.values()) == 3925


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_file_is_there_once_with_its_label_and_size(tiny, split):
    photos = imagenette_files.photographs(tiny, split)
    expected = {p: len(c) for p, c in tiny_imagenette.files().items() if p.startswith(split)}
    assert {photo.path: photo.size for photo in photos} == expected
    assert len(photos) == len(expected)
    assert all(list(CLASSES)[photo.label] == photo.path.split("/")[1] for photo in photos)


def test_every_run_of_images_is_a_fair_sample(tiny):
    """With 5 to 41 images a class, a class has its share of the first n, give or take one."""
    for label, wnid in enumerate(CLASSES):
        for number in range(4 * label):
            (tiny / "train" / wnid / f"{wnid}_more{number}.JPEG").touch()
    labels = [photo.label for photo in imagenette_files.photographs(tiny, "train")]
    sizes = Counter(labels)
    assert sizes[9] == 41 and sizes[0] == 5
    for n in range(len(labels) + 1):
        seen = Counter(labels[:n])
        assert all(abs(seen[c] - n * sizes[c] / len(labels)) <= 1.5 for c in sizes), n


def test_within_a_class_the_order_is_not_that_of_the_names(tiny):
    """ImageNet's names sort its validation images to the front."""
    for number in range(100):
        (tiny / "train" / "n01440764" / f"a{number:03}.JPEG").touch()
    paths = [p.path for p in imagenette_files.photographs(tiny, "train") if p.label == 0]
    early = sum("/a0" in path and path < "train/n01440764/a050" for path in paths[:52])
    assert 15 <= early <= 37  # of 50; a fair half is 26, five standard deviations 13


def test_a_packed_copy_has_the_same_order(tiny, tmp_path):
    def order(root):
        return [Path(photo.path).stem for photo in imagenette_files.photographs(root, "train")]

    for file in tiny_imagenette.write(tmp_path / "packed").rglob("*.JPEG"):
        file.rename(file.with_suffix(".avif"))
    assert order(tmp_path / "packed") == order(tiny)


def test_the_fingerprint_is_of_names_and_sizes_and_not_of_the_place(tiny, tmp_path):
    elsewhere = tiny_imagenette.write(tmp_path / "elsewhere")
    before = imagenette_files.fingerprint(tiny)
    assert imagenette_files.fingerprint(elsewhere) == before
    file = elsewhere / "val" / "n03888257" / "n03888257_1.JPEG"
    file.rename(file.with_name("n03888257_8.JPEG"))
    renamed = imagenette_files.fingerprint(elsewhere)
    assert renamed != before and renamed.startswith("imagenette 80 files ")
    (elsewhere / "val" / "n03888257" / "new.JPEG").touch()
    assert imagenette_files.fingerprint(elsewhere).startswith("imagenette 81 files ")
    larger = tiny_imagenette.write(tmp_path / "larger")
    with (larger / "train" / "n01440764" / "n01440764_0.JPEG").open("ab") as opened:
        opened.write(b" ")
    assert imagenette_files.fingerprint(larger) != before


def test_hidden_and_foreign_files_are_passed_over(tiny):
    before = imagenette_files.fingerprint(tiny)
    (tiny / "noisy_imagenette.csv").touch()
    (tiny / "train" / "n01440764" / ".DS_Store").touch()
    (tiny / "train" / "n01440764" / "._n01440764_0.JPEG").touch()
    (tiny / "train" / "n01440764" / "notes.txt").touch()
    assert imagenette_files.fingerprint(tiny) == before


def _gone(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def _emptied(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def _a_file(folder: Path) -> None:
    _gone(folder)
    folder.touch()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_gone, r"is missing \(gas pump\); put the original files there, or delete or rename "),
        (_emptied, r"holds no images \(gas pump\); put the original files there"),
        (_a_file, "cannot be read: Not a directory"),
    ],
)
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_that_lacks_is_one_line_and_never_other_data(tiny, split, damage, message):
    damage(tiny / split / "n03425413")
    with pytest.raises(DataError, match=message) as caught:
        sources.resolve("imagenette", "auto")
    assert str(tiny / split / "n03425413") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_folder_with_the_largest_images_is_taken(tiny, tmp_path):
    for name in ("imagenette2-160", "imagenette2-320", "imagenette2-odd"):
        (tmp_path / name).mkdir()
    (tmp_path / "imagenette2-400.tgz").touch()
    assert imagenette_files.folder_in(tmp_path) == tiny
    tiny.rename(tmp_path / "other")
    assert imagenette_files.folder_in(tmp_path) == tmp_path / "imagenette2-320"
    assert imagenette_files.folder_in(tmp_path / "other") is None


def test_look_up_goes_from_the_named_folder_to_the_cache_to_the_stand_in(
    tiny, tmp_path, monkeypatch
):
    def unreachable(name, root):
        raise DataError(f"{name} cannot be downloaded: the test says so")

    monkeypatch.setattr("internals.data.download.download", unreachable)
    assert sources.resolve("imagenette", "real").root == tiny
    (tmp_path / "MNIST").mkdir()
    tiny.rename(tmp_path / "gone")  # the named folder holds MNIST only, from now on
    kept = tiny_imagenette.write(sources.cache_folder() / "imagenette2-320")
    assert sources.resolve("imagenette", "real").root == kept
    kept.rename(tmp_path / "also gone")
    assert (sources.resolve("imagenette", "auto").name, sources.resolve("shapes").root) == (
        "shapes", None,
    )  # fmt: skip
    with pytest.raises(DataError, match="imagenette cannot be downloaded: the test says so"):
        sources.resolve("imagenette", "real")
    assert sources.resolve("imagenette", "embedded").name == "shapes"
    assert sources.identify("shapes") != sources.identify("digits")


def test_differences_from_the_published_numbers_are_told_class_by_class(tiny):
    lines = imagenette_files.differences(tiny)
    assert lines[0] == "train/n01440764 (tench) has 5 images, not the published 963"
    assert lines[-1] == "val/n03888257 (parachute) has 3 images, not the published 390"
    assert len(lines) == 20


def test_a_key_needs_neither_torch_nor_a_decoder(tiny, tmp_path):
    code = (
        "import sys; from internals.data.sources import identify; print(identify('imagenette')); "
        "sys.exit(bool({'torch', 'PIL', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == imagenette_files.fingerprint(tiny)


REAL = Path(os.environ.get("INTERNALS_DATA", "") or "/nonexistent").expanduser()


@pytest.mark.skipif(
    not any(REAL.glob("imagenette2*")), reason="needs the real Imagenette in INTERNALS_DATA"
)
def test_the_real_data_are_as_published():
    """Of the test images, 134 come from ImageNet's validation images, the others do not."""
    root = imagenette_files.folder_in(REAL)
    assert imagenette_files.differences(root) == []
    train, val = (imagenette_files.photographs(root, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (9469, 3925)
    assert sum("/ILSVRC2012_val_" in photo.path for photo in val) == 134
    assert sum("/ILSVRC2012_val_" in photo.path for photo in train) == 366
    assert all(9 <= n <= 11 for n in Counter(photo.label for photo in val[:100]).values())
