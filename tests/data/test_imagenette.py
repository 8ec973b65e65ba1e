"""Oracle: pictures of the test's own, decoded step by step with Pillow or told by their colour."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from internals.cli.data import data as command
from internals.data import imagenette as decoding
from internals.data import sources
from internals.data.decode import decode
from internals.data.image_set import ImageSet
from internals.data.imagenette import fingerprint, folder_in
from internals.data.load import load
from internals.environment import build_folder
from internals.errors import DataError, OutputError
from tests.reference import tiny_imagenette


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

        monkeypatch.setattr(decoding, "decode_all", decode_all)

    return forbid


def smooth(width: int, height: int, seed: int) -> Image.Image:
    """A picture in which every place has its own colour, and no edge rings."""
    y, x = np.mgrid[:height, :width]
    phases = np.random.default_rng(seed).uniform(0, 6, (3, 2))
    waves = [np.sin(x / 9 + a) + np.cos(y / 7 + b) for a, b in phases]
    return Image.fromarray((np.stack(waves, -1) * 60 + 128).astype(np.uint8))


def kept() -> list[str]:
    return [path.name for folder in sources.decoded_folders() for path in folder.glob("*")]


# Decoding


@pytest.mark.parametrize(("width", "height"), [(60, 40), (40, 60), (40, 40), (100, 40), (20, 30)])
def test_decoding_is_pillows_resize_of_the_whole_and_then_its_centre(tmp_path, width, height):
    smooth(width, height, 1).save(tmp_path / "a.JPEG", quality=90)
    Image.init()
    found = decode(tmp_path / "a.JPEG", 3, 20).transpose(1, 2, 0)
    with Image.open(tmp_path / "a.JPEG") as picture:
        scale = 20 / min(width, height)
        size = round(width * scale), round(height * scale)
        whole = np.asarray(picture.resize(size, Image.Resampling.BICUBIC))
    top, left = (whole.shape[0] - 20) // 2, (whole.shape[1] - 20) // 2
    np.testing.assert_array_equal(found, whole[top : top + 20, left : left + 20])


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
    assert splits.train.fingerprint == fingerprint(tiny)
    said = capsys.readouterr()
    assert said.out.endswith("Data: 46 + 4 of Imagenette train, 30 of Imagenette test\n")
    assert said.err == ""


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
        said = sorted(capsys.readouterr().err.splitlines())
        assert [line.partition(": ")[0] for line in said] == [f"skipped {path}" for path in broken]
        assert "truncated" in said[0] and "not a picture" in said[1]
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
    assert not any("val" in name for name in kept())


# What is kept


def test_pictures_are_decoded_once_and_other_sizes_stay(tiny, no_decoding):
    first = load("imagenette", size=20)
    load("imagenette", size=24)
    no_decoding()
    again = load("imagenette", size=20)
    for one, other in zip(first, again, strict=True):
        torch.testing.assert_close(one.images, other.images, rtol=0, atol=0)
        assert (one.files, one.labels.tolist()) == (other.files, other.labels.tolist())
    assert len(kept()) == 4 and all(name.endswith(".pixels") for name in kept())
    with pytest.raises(AssertionError, match="decoded again"):
        load("imagenette", size=22)


def test_another_decoder_does_not_take_what_this_one_left(tiny, no_decoding, monkeypatch):
    load("imagenette", size=20)
    monkeypatch.setattr("PIL.__version__", "99")
    no_decoding()
    with pytest.raises(AssertionError, match="decoded again"):
        load("imagenette", size=20)


def test_where_the_cache_cannot_be_written_the_build_folder_is_taken(tiny, capsys, no_decoding):
    sources.cache_folder().parent.parent.mkdir(parents=True, exist_ok=True)
    sources.cache_folder().parent.touch()  # a file where the folder should be
    for again in (False, True):
        if again:
            no_decoding()
        tiny_imagenette.check_content(load("imagenette", size=20))
    assert len(list((build_folder() / "decoded").glob("*.pixels"))) == 2
    said = capsys.readouterr().out
    assert f"decoded cannot be written; the decoded images are kept in {build_folder()}" in said
    assert said.count("cannot be written") == 2  # once for each split, not when they are found


def test_where_nothing_can_be_written_it_is_one_line(tiny, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("INTERNALS_BUILD", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"cannot write .*pixels: .*; free some space") as caught:
        load("imagenette", size=20)
    assert "\n" not in str(caught.value)


def test_memory_is_bounded_by_blocks_and_a_block_changes_nothing(tiny, monkeypatch):
    whole = load("imagenette", size=20)
    for path in sources.decoded_files("imagenette"):
        path.unlink()
    seen = []
    decode_all = decoding.decode_all

    def watch(files, pixels, bar):
        seen.append(pixels.nbytes)
        return decode_all(files, pixels, bar)

    monkeypatch.setattr(decoding, "decode_all", watch)
    monkeypatch.setattr(decoding, "_BLOCK", 7 * 1200 + 5)
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
        decoding.verify_imagenette(tiny)
    said = capsys.readouterr().err.splitlines()
    assert "train/n01440764 (tench) has 5 images, not the published 963" in said
    assert sorted(line.partition(": ")[0] for line in said if ": " in line) == broken


def test_verify_and_list_know_what_is_kept(tiny, monkeypatch):
    monkeypatch.setattr(decoding, "differences", lambda root: [])
    load("imagenette", size=20)
    listed = CliRunner().invoke(command, ["list"])
    assert f"imagenette: found in {tiny}; stand-in: shapes" in listed.output
    assert "mnist: not here; stand-in: digits" in listed.output
    assert all(name in listed.output for name in kept())
    verified = CliRunner().invoke(command, ["verify", "imagenette"])
    assert "50 + 30 images, all decodable; 2 decoded files kept, all whole" in verified.output
    path = sources.decoded_files("imagenette")[0]
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

    root = folder_in(REAL)
    everything = decoding.photographs
    monkeypatch.setattr(decoding, "photographs", lambda root, split: everything(root, split)[:50])
    for images in decoding.imagenette(root, fingerprint(root), 112):
        for image, file in zip(images.images, images.files, strict=True):
            whole = functional.pil_to_tensor(pil_loader(root / file))
            mode = functional.InterpolationMode.BICUBIC
            resized = functional.resize(whole, [112], mode, antialias=True)
            expected = functional.center_crop(resized, [112, 112])
            difference = (image.int() - expected.int()).abs().double()
            assert difference.mean() < 1 and difference.max() <= 40, file
