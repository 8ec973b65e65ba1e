"""Oracle: folders and pictures of the test's own, Pillow step by step, the published numbers."""

import os
import subprocess
import sys
import warnings
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from internals.cli.data import data as command
from internals.data import (
    ImageSet,
    cache_folder,
    decode,
    decoded_files,
    decoded_folders,
    find_source,
    identify,
    imagenette,
    load,
)
from internals.environment import build_folder
from internals.errors import DataError, OutputError
from tests.reference import tiny_imagenette
from tests.reference.tiny_imagenette import CLASSES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(tmp_path, monkeypatch, no_real_data) -> Path:
    """The tiny data set where `INTERNALS_DATA` names it."""
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path))
    return tiny_imagenette.write(tmp_path / "imagenette2")


@pytest.fixture
def no_decoding(monkeypatch):
    """From when it is called on, what is not decoded yet is not to be had."""

    def forbid() -> None:
        def decode_all(*_):
            raise AssertionError("decoded again")

        monkeypatch.setattr(imagenette, "decode_all", decode_all)

    return forbid


def smooth(width: int, height: int, seed: int) -> Image.Image:
    """A picture in which every place has its own colour, and no edge rings."""
    y, x = np.mgrid[:height, :width]
    phases = np.random.default_rng(seed).uniform(0, 6, (3, 2))
    waves = [np.sin(x / 9 + a) + np.cos(y / 7 + b) for a, b in phases]
    return Image.fromarray((np.stack(waves, -1) * 60 + 128).astype(np.uint8))


def kept_files() -> list[str]:
    return [path.name for folder in decoded_folders() for path in folder.glob("*")]


# The files


def test_classes_are_the_published_ones():
    actual = {wnid: category.name for wnid, category in imagenette.CATEGORIES.items()}
    assert list(actual.items()) == list(CLASSES.items())
    assert sum(category.train for category in imagenette.CATEGORIES.values()) == 9469
    assert sum(category.val for category in imagenette.CATEGORIES.values()) == 3925


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_file_is_there_once_with_its_label_and_size(tiny, split):
    photos = imagenette.photographs(tiny, split)
    expected = {p: len(c) for p, c in tiny_imagenette.files().items() if p.startswith(split)}
    assert {photo.path: photo.size for photo in photos} == expected
    assert len(photos) == len(expected)
    assert all(list(CLASSES)[photo.label] == photo.path.split("/")[1] for photo in photos)


def test_every_run_of_images_is_a_fair_sample(tiny):
    """With 5 to 41 images a class, a class has its share of the first n, give or take one."""
    for label, wnid in enumerate(CLASSES):
        for number in range(4 * label):
            (tiny / "train" / wnid / f"{wnid}_more{number}.JPEG").touch()
    labels = [photo.label for photo in imagenette.photographs(tiny, "train")]
    sizes = Counter(labels)
    assert sizes[9] == 41 and sizes[0] == 5
    for n in range(len(labels) + 1):
        seen = Counter(labels[:n])
        assert all(abs(seen[c] - n * sizes[c] / len(labels)) <= 1.5 for c in sizes), n


def test_within_a_class_the_order_is_not_that_of_the_names(tiny):
    """ImageNet's names sort its validation images to the front."""
    for number in range(100):
        (tiny / "train" / "n01440764" / f"a{number:03}.JPEG").touch()
    paths = [p.path for p in imagenette.photographs(tiny, "train") if p.label == 0]
    early = sum("/a0" in path and path < "train/n01440764/a050" for path in paths[:52])
    assert 15 <= early <= 37  # of 50; a fair half is 26, five standard deviations 13


def test_a_packed_copy_has_the_same_order(tiny, tmp_path):
    def order(root):
        return [Path(photo.path).stem for photo in imagenette.photographs(root, "train")]

    for file in tiny_imagenette.write(tmp_path / "packed").rglob("*.JPEG"):
        file.rename(file.with_suffix(".avif"))
    assert order(tmp_path / "packed") == order(tiny)


def test_the_fingerprint_is_of_names_and_sizes_and_not_of_the_place(tiny, tmp_path):
    elsewhere = tiny_imagenette.write(tmp_path / "elsewhere")
    before = imagenette.fingerprint(tiny)
    assert imagenette.fingerprint(elsewhere) == before
    file = elsewhere / "val" / "n03888257" / "n03888257_1.JPEG"
    file.rename(file.with_name("n03888257_8.JPEG"))
    renamed = imagenette.fingerprint(elsewhere)
    assert renamed != before and renamed.startswith("imagenette 80 files ")
    (elsewhere / "val" / "n03888257" / "new.JPEG").touch()
    assert imagenette.fingerprint(elsewhere).startswith("imagenette 81 files ")
    larger = tiny_imagenette.write(tmp_path / "larger")
    with (larger / "train" / "n01440764" / "n01440764_0.JPEG").open("ab") as opened:
        opened.write(b" ")
    assert imagenette.fingerprint(larger) != before


def test_squares_of_one_size_have_lost_their_proportions(tiny, tmp_path):
    """The tiny set has three heights; one that was made 20 x 20 whatever it was has none."""
    assert not imagenette.is_squeezed(tiny)
    for file in tiny.rglob("*.JPEG"):
        Image.open(file).resize((20, 20)).save(file, "JPEG")
    assert imagenette.is_squeezed(tiny)
    for file in tiny.rglob("*.JPEG"):
        Image.open(file).resize((20, 30)).save(file, "JPEG")
    assert not imagenette.is_squeezed(tiny)
    spoiled = next((tiny / "val").rglob("*.JPEG"))
    spoiled.write_bytes(b"no picture")
    with pytest.raises(DataError, match=f"{spoiled.name} is no picture: not a picture of any"):
        imagenette.is_squeezed(tiny)


def test_hidden_and_foreign_files_are_passed_over(tiny):
    before = imagenette.fingerprint(tiny)
    (tiny / "noisy_imagenette.csv").touch()
    (tiny / "train" / "n01440764" / ".DS_Store").touch()
    (tiny / "train" / "n01440764" / "._n01440764_0.JPEG").touch()
    (tiny / "train" / "n01440764" / "notes.txt").touch()
    assert imagenette.fingerprint(tiny) == before


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
        find_source("imagenette", "auto")
    assert str(tiny / split / "n03425413") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_folder_with_the_largest_images_is_taken(tiny, tmp_path):
    for name in ("imagenette2-160", "imagenette2-320", "imagenette2-odd"):
        (tmp_path / name).mkdir()
    (tmp_path / "imagenette2-400.tgz").touch()
    assert imagenette.folder_in(tmp_path) == tiny
    tiny.rename(tmp_path / "other")
    assert imagenette.folder_in(tmp_path) == tmp_path / "imagenette2-320"
    assert imagenette.folder_in(tmp_path / "other") is None


def test_look_up_goes_from_the_named_folder_to_the_cache_to_the_stand_in(
    tiny, tmp_path, monkeypatch
):
    def unreachable(name, root):
        raise DataError(f"{name} cannot be downloaded: the test says so")

    monkeypatch.setattr("internals.data.download.download", unreachable)
    assert find_source("imagenette", "real").root == tiny
    (tmp_path / "MNIST").mkdir()
    tiny.rename(tmp_path / "gone")  # the named folder holds MNIST only, from now on
    kept_files = tiny_imagenette.write(cache_folder() / "imagenette2-320")
    assert find_source("imagenette", "real").root == kept_files
    kept_files.rename(tmp_path / "also gone")
    assert (find_source("imagenette", "auto").name, find_source("shapes").root) == (
        "shapes", None,
    )  # fmt: skip
    with pytest.raises(DataError, match="imagenette cannot be downloaded: the test says so"):
        find_source("imagenette", "real")
    assert find_source("imagenette", "embedded").name == "shapes"
    assert identify("shapes") != identify("digits")


def test_differences_from_the_published_numbers_are_told_class_by_class(tiny):
    lines = imagenette.differences(tiny)
    assert lines[0] == "train/n01440764 (tench) has 5 images, not the published 963"
    assert lines[-1] == "val/n03888257 (parachute) has 3 images, not the published 390"
    assert len(lines) == 20


def test_a_key_needs_no_torch(tiny, tmp_path):
    """torch takes seconds to import, and `status` or `list` have no use for it."""
    code = (
        "import sys; from internals.data.sources import identify; print(identify('imagenette')); "
        "print(identify('shapes')); sys.exit('torch' in sys.modules)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.splitlines() == [imagenette.fingerprint(tiny), identify("shapes")]


# Decoding


@pytest.mark.parametrize(("width", "height"), [(60, 40), (40, 60), (40, 40), (100, 40), (20, 30)])
def test_decoding_is_pillows_resize_of_the_whole_and_then_its_centre(tmp_path, width, height):
    smooth(width, height, 1).save(tmp_path / "a.JPEG", quality=90)
    Image.init()
    actual = decode(tmp_path / "a.JPEG", 3, 20).transpose(1, 2, 0)
    with Image.open(tmp_path / "a.JPEG") as picture:
        scale = 20 / min(width, height)
        size = round(width * scale), round(height * scale)
        whole = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
    top, left = (whole.shape[0] - 20) // 2, (whole.shape[1] - 20) // 2
    np.testing.assert_array_equal(actual, whole[top : top + 20, left : left + 20])


def test_a_fifth_of_the_size_is_an_average_and_not_a_choice_of_pixels(tmp_path):
    """Stripes one pixel wide become grey where they are scaled with antialiasing.

    At the picture's edge the filter is cut off, so the outermost rows are not looked at.
    """
    stripes = np.zeros((100, 100), np.uint8)
    stripes[::2] = 255
    Image.fromarray(stripes).save(tmp_path / "a.png")
    Image.init()
    inner = decode(tmp_path / "a.png", 3, 20)[:, 2:-2].astype(int)
    assert np.abs(inner - 127.5).max() <= 4


# The data set


@pytest.mark.parametrize("size", [20, 33])
def test_every_picture_is_loaded_with_its_label_and_name(tiny, size, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        splits = load("imagenette", "real", size=size)
    tiny_imagenette.check_content(splits)
    assert splits.train.images.shape == (46, 3, size, size)
    assert splits.train.fingerprint == imagenette.fingerprint(tiny)
    printed = capsys.readouterr()
    assert printed.out.endswith("Data: 46 + 4 of Imagenette train, 30 of Imagenette test\n")
    assert printed.err == ""


def test_the_default_is_256_pixels(tiny):
    assert load("imagenette").test.images.shape[2:] == (256, 256)


def test_sizes_below_one_are_refused(tiny):
    with pytest.raises(DataError, match="size=0 is no side of a picture; use 1 or more"):
        load("imagenette", size=0)


def _grey(file: Path) -> None:
    Image.new("L", (30, 20), 77).save(file, "JPEG")


def _cmyk(file: Path) -> None:
    Image.new("CMYK", (30, 20), (0, 255, 255, 0)).save(file, "JPEG", quality=95)


def _png(file: Path) -> None:
    Image.new("RGB", (30, 20), (9, 99, 199)).save(file, "PNG")


def _turned(file: Path) -> None:
    """Orientation 6: the first column of the file is the top row of the picture."""
    picture = Image.new("RGB", (16, 16), "white")
    picture.paste((0, 0, 0), (0, 0, 8, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(file, "JPEG", exif=exif, quality=95)


@pytest.mark.parametrize(
    ("make", "top", "bottom"),
    [
        (_grey, (77, 77, 77), (77, 77, 77)),
        (_cmyk, (255, 0, 0), (255, 0, 0)),
        (_png, (9, 99, 199), (9, 99, 199)),
        (_turned, (0, 0, 0), (255, 255, 255)),
    ],
)
def test_odd_files_become_rgb(tiny, make, top, bottom):
    make(tiny / "val" / "n03028079" / "n03028079_0.JPEG")
    images = load("imagenette", size=20).test
    image = images.images[images.files.index("val/n03028079/n03028079_0.JPEG")].int()
    for rows, colour in ((image[:, :6], top), (image[:, -6:], bottom)):
        assert int((rows - torch.tensor(colour).view(3, 1, 1)).abs().max()) <= 6


@pytest.fixture
def broken(tiny) -> list[str]:
    """The paths of three files that cannot be decoded, in the order of the data set."""
    paths = [f"train/n01440764/n01440764_{number}.JPEG" for number in (1, 2, 3)]
    whole = (tiny / paths[0]).read_bytes()
    (tiny / paths[0]).write_bytes(whole[:-10])
    (tiny / paths[1]).write_bytes(b"")
    (tiny / paths[2]).write_text("no picture")
    return paths


def test_files_that_cannot_be_decoded_are_named_each_time_and_left_out(
    tiny, broken, capsys, no_decoding
):
    for again in (False, True):
        if again:
            no_decoding()
        splits = load("imagenette", size=20)
        printed = sorted(capsys.readouterr().err.splitlines())
        assert [line.partition(": ")[0] for line in printed] == [
            f"skipped {path}" for path in broken
        ]
        assert "truncated" in printed[0] and "not a picture" in printed[1]
        left = splits.train.files + splits.validation.files
        assert len(left) == 47 and not set(broken) & set(left)
    for path in broken:
        (tiny / path).unlink()
    tiny_imagenette.write(tiny)  # all whole again, so another fingerprint
    with pytest.raises(AssertionError, match="decoded again"):
        load("imagenette", size=20)


def test_nothing_but_broken_files_is_an_error(tiny):
    for file in (tiny / "val").rglob("*.JPEG"):
        file.write_text("no picture")
    with pytest.raises(DataError, match=r"none of the pictures in .*val can be decoded"):
        load("imagenette", size=20)


def test_a_file_that_cannot_be_read_today_is_not_left_out_for_good(tiny):
    file = tiny / "val" / "n03028079" / "n03028079_7.JPEG"
    file.mkdir()  # even root cannot read a folder as a file
    with pytest.raises(DataError, match=r"n03028079_7.JPEG cannot be read: Is a directory"):
        load("imagenette", size=20)
    assert not any("val" in name for name in kept_files())


def test_a_pipe_among_the_images_is_named_and_not_waited_for(tiny, capsys):
    pipe = tiny / "train" / "n03028079" / "n03028079_9.JPEG"
    os.mkfifo(pipe)
    reading = ThreadPoolExecutor(1).submit(load, "imagenette", size=20)
    try:
        splits = reading.result(timeout=20)
    finally:
        os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))  # whoever waits goes on
    assert len(splits.train) + len(splits.validation) == 50
    assert capsys.readouterr().err == (
        "skipped train/n03028079/n03028079_9.JPEG: not a file but a pipe, socket or device\n"
    )


# What is kept


def test_pictures_are_decoded_once_and_other_sizes_stay(tiny, no_decoding):
    first = load("imagenette", size=20)
    load("imagenette", size=24)
    no_decoding()
    again = load("imagenette", size=20)
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one.images, other.images, rtol=0, atol=0)
        assert (one.files, one.labels.tolist()) == (other.files, other.labels.tolist())
    assert len(kept_files()) == 8 and {Path(name).suffix for name in kept_files()} == {
        ".npy",
        ".json",
    }
    with pytest.raises(AssertionError, match="decoded again"):
        load("imagenette", size=22)


def test_another_decoder_does_not_take_what_this_one_left(tiny, no_decoding, monkeypatch):
    load("imagenette", size=20)
    monkeypatch.setattr("PIL.__version__", "99")
    no_decoding()
    with pytest.raises(AssertionError, match="decoded again"):
        load("imagenette", size=20)


def test_where_the_cache_cannot_be_written_the_build_folder_is_taken(tiny, capsys, no_decoding):
    cache_folder().parent.parent.mkdir(parents=True, exist_ok=True)
    cache_folder().parent.touch()  # a file where the folder should be
    for again in (False, True):
        if again:
            no_decoding()
        tiny_imagenette.check_content(load("imagenette", size=20))
    assert len(list((build_folder() / "decoded").glob("*.npy"))) == 2
    printed = capsys.readouterr().out
    assert f"decoded cannot be written; the decoded images are kept in {build_folder()}" in printed
    assert printed.count("cannot be written") == 2  # once for each split, not when they are found


def test_where_nothing_can_be_written_it_is_one_line(tiny, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("INTERNALS_BUILD", str(tmp_path / "file"))
    with pytest.raises(
        OutputError, match=r"INTERNALS_BUILD=.*/file is a file; correct it"
    ) as caught:
        load("imagenette", size=20)
    assert "\n" not in str(caught.value)


def test_memory_is_bounded_by_blocks_and_a_block_changes_nothing(tiny, monkeypatch):
    whole = load("imagenette", size=20)
    for path in decoded_files("imagenette"):
        path.unlink()
    seen = []
    decode_all = imagenette.decode_all

    def watch(files, pixels, bar):
        seen.append(pixels.nbytes)
        return decode_all(files, pixels, bar)

    monkeypatch.setattr(imagenette, "decode_all", watch)
    monkeypatch.setattr(imagenette, "BLOCK_BYTES", 7 * 1200 + 5)
    blocked = load("imagenette", size=20)
    torch.testing.assert_close(blocked.train.images, whole.train.images, rtol=0, atol=0)
    assert max(seen) == 7 * 1200 and sum(seen) == 80 * 1200


def test_the_pixels_are_on_the_disk_and_may_be_written_without_changing_it(tiny, no_decoding):
    test = load("imagenette", size=20).test
    before = test.images.clone()
    test.images.zero_()
    no_decoding()
    torch.testing.assert_close(load("imagenette", size=20).test.images, before, rtol=0, atol=0)


# Sets with file names


def test_subsets_carry_their_files_along(tiny):
    test = load("imagenette", size=20).test
    some = test.subset(torch.tensor([5, 3, 8]))
    assert some.files == tuple(test.files[n] for n in (5, 3, 8))
    with pytest.raises(DataError, match="x: 2 images but 1 files"):
        ImageSet(some.images[:2], some.labels[:2], some.class_names, "x", "f", ("a",))


@pytest.mark.parametrize("indices", [[2, 3, 4], [0], [29], list(range(30))])
def test_consecutive_images_are_not_copied(tiny, indices):
    test = load("imagenette", size=20).test
    some = test.subset(torch.tensor(indices))
    torch.testing.assert_close(some.images, test.images[torch.tensor(indices)], rtol=0, atol=0)
    assert some.images.data_ptr() == test.images[indices[0]].data_ptr()
    assert some.labels.tolist() == [test.labels.tolist()[n] for n in indices]


@pytest.mark.parametrize("indices", [[], [3, 2, 1], [1, 1], [0, 2], [-2, -1], [-1, 0]])
def test_other_images_are_taken_as_indexing_takes_them(tiny, indices):
    test = load("imagenette", size=20).test
    wanted = torch.tensor(indices, dtype=torch.int64)
    some = test.subset(wanted)
    torch.testing.assert_close(some.images, test.images[wanted], rtol=0, atol=0)
    assert some.files == tuple(test.files[n] for n in indices)


def test_indices_beyond_the_end_are_an_error_and_not_fewer_images(tiny):
    with pytest.raises(IndexError):
        load("imagenette", size=20).test.subset(torch.tensor([28, 29, 30]))


# The command


def test_verify_counts_decodes_and_names_what_is_wrong(tiny, broken, capsys):
    with pytest.raises(DataError, match=r"imagenette2 is not as published in 23 places, named ab"):
        imagenette.verify_imagenette(tiny)
    printed = capsys.readouterr().err.splitlines()
    assert "train/n01440764 (tench) has 5 images, not the published 963" in printed
    assert sorted(line.partition(": ")[0] for line in printed if ": " in line) == broken


def test_verify_and_list_know_what_is_kept(tiny, monkeypatch):
    monkeypatch.setattr(imagenette, "differences", lambda root: [])
    load("imagenette", size=20)
    listed = CliRunner().invoke(command, ["list"])
    assert f"imagenette: found in {tiny}; stand-in: shapes" in listed.output
    assert "mnist: not here; stand-in: digits" in listed.output
    assert all(name in listed.output for name in kept_files() if name.endswith(".npy"))
    verified = CliRunner().invoke(command, ["verify", "imagenette"])
    assert "50 + 30 images, all decodable; 2 decoded files kept, all whole" in verified.output
    path = decoded_files("imagenette")[0]
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    spoilt = CliRunner().invoke(command, ["verify", "imagenette"])
    assert isinstance(spoilt.exception, DataError)
    assert f"{path} is damaged: its checksum" in str(spoilt.exception)


# The real data

REAL = Path(os.environ.get("INTERNALS_DATA", "") or "/nonexistent").expanduser()


@pytest.mark.skipif(
    not any(REAL.glob("imagenette2*")), reason="needs the real Imagenette in INTERNALS_DATA"
)
def test_real_photographs_are_torchvisions(monkeypatch):
    """A hundred of them, through torchvision's data set and its antialiased resize of tensors."""
    from torchvision.datasets.folder import pil_loader
    from torchvision.transforms.v2 import functional

    root = imagenette.folder_in(REAL)
    everything = imagenette.photographs
    monkeypatch.setattr(imagenette, "photographs", lambda root, split: everything(root, split)[:50])
    for images in imagenette.read_imagenette(root, imagenette.fingerprint(root), 112):
        for pixels, file in zip(images.pixels, images.files, strict=True):
            image = torch.from_numpy(pixels)
            whole = functional.pil_to_tensor(pil_loader(root / file))
            mode = functional.InterpolationMode.BICUBIC
            resized = functional.resize(whole, [112], mode, antialias=True)
            expected = functional.center_crop(resized, [112, 112])
            difference = (image.int() - expected.int()).abs().double()
            assert difference.mean() < 1 and difference.max() <= 40, file


@pytest.mark.skipif(
    not any(REAL.glob("imagenette2*")), reason="needs the real Imagenette in INTERNALS_DATA"
)
def test_the_real_data_are_as_published():
    """Of the test images, 134 come from ImageNet's validation images, the others do not."""
    root = imagenette.folder_in(REAL)
    assert imagenette.differences(root) == []
    train, val = (imagenette.photographs(root, split) for split in ("train", "val"))
    assert (len(train), len(val)) == (9469, 3925)
    assert sum("/ILSVRC2012_val_" in photo.path for photo in val) == 134
    assert sum("/ILSVRC2012_val_" in photo.path for photo in train) == 366
    assert all(9 <= n <= 11 for n in Counter(photo.label for photo in val[:100]).values())
