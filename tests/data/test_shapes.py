"""Oracle: areas from plane geometry, averages over pixels, other processes, a linear classifier."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from torchvision.transforms.v2.functional import resize

from internals.data import cache_folder
from internals.data.shapes import (
    CLASS_NAMES,
    OUTLINES,
    TEXTURES,
    Surface,
    dataset,
    draw,
    label,
    noise,
    read_shapes,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def averaged(picture: np.ndarray, times: int) -> np.ndarray:
    *rest, height, width = picture.shape
    blocks = picture.reshape(*rest, height // times, times, width // times, times)
    return blocks.astype(np.float64).mean((-3, -1))


def plane(pixels: int, half: float = 1.3) -> tuple[np.ndarray, np.ndarray]:
    place = ((np.arange(pixels, dtype=np.float32) + 0.5) / pixels * 2 - 1) * half
    return place[None, :], place[:, None]


# The pictures


def corner(index: int, seed: int = 0) -> bytes:
    """A piece of the ground, whose noise is like a fingerprint."""
    return draw(index, 64, seed)[:, :12, :12].tobytes()


def in_a_new_process(code: str, folder: Path = ROOT) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_picture_depends_on_index_and_seed_alone():
    """Another process, which draws them backwards, draws the same bytes."""
    here = [hashlib.sha256(draw(index, 66, seed=3).tobytes()).hexdigest() for index in range(6)]
    code = (
        "import hashlib; from internals.data.shapes import draw\n"
        "for i in reversed(range(6)):\n"
        "    print(hashlib.sha256(draw(i, 66, seed=3).tobytes()).hexdigest())"
    )
    assert in_a_new_process(code).split()[::-1] == here
    assert len({corner(0, seed) for seed in range(4)}) == 4


@pytest.mark.parametrize("size", [192, 256])
def test_a_larger_picture_is_the_same_picture_only_finer(size):
    """Averaged over its pixels it is the 64-pixel one; that one moved by a pixel is further off."""
    for index in range(8):
        small = draw(index, 64).astype(np.float64)
        actual = averaged(draw(index, size), size // 64)
        error = np.abs(actual - small).mean()
        assert error < 1, index
        for axis in (1, 2):
            assert error < 0.12 * np.abs(np.roll(actual, 1, axis) - small).mean(), index
        assert np.abs(actual - draw(index + 10, 64)).mean() > 15


def test_every_ten_pictures_in_a_row_hold_each_class_once():
    labels = [label(index) for index in range(400)]
    for start in range(0, 400, 10):
        assert sorted(labels[start : start + 10]) == list(range(10))
    assert len({tuple(labels[start : start + 10]) for start in range(0, 400, 10)}) == 40
    assert labels != [label(index, seed=1) for index in range(400)]


@pytest.mark.slow
def test_no_picture_is_shown_twice_not_even_with_another_thing_on_it():
    indices = [*range(60), *range(2400, 2430)]
    assert len({corner(index) for index in indices}) == len(indices)


@pytest.mark.slow
def test_a_linear_classifier_fails_and_flipping_hides_no_class():
    """Ridge regression on 32 x 32 pixels: above chance (10 %), far below a network."""
    train, test = 450, 200
    pictures = np.stack([draw(index, 32) for index in range(train + test)]) / 255 - 0.5
    labels = np.array([label(index) for index in range(train + test)])
    linear = RidgeClassifier(alpha=300).fit(pictures[:train].reshape(train, -1), labels[:train])
    seen = pictures[train:]
    as_drawn, mirrored = (
        linear.score(view.reshape(test, -1), labels[train:]) for view in (seen, seen[..., ::-1])
    )
    assert 0.16 < as_drawn < 0.45
    assert abs(as_drawn - mirrored) < 0.1


# What they are made of


def half_discs_and_square(half):
    return (2 * half) ** 2 + np.pi * half**2


AREAS = {
    "disc": np.pi * 0.85**2,
    "ring": np.pi * (0.95**2 - 0.41**2),
    "triangle": 3 * np.sqrt(3) * 0.52**2,
    "square": 1.44**2,
    "star": 5 * 1.05 * 0.5 * np.sin(np.pi / 5),
    "cross": 2 * (1.9 * 0.64) - 0.64**2,
    "heart": half_discs_and_square(0.52),
    "hexagon": 2 * np.sqrt(3) * 0.8**2,
}


@pytest.mark.parametrize("name", AREAS)
def test_outlines_enclose_the_areas_of_plane_geometry(name):
    u, v = plane(700)
    covered = (OUTLINES[name](u, v) < 0).mean() * 2.6**2
    assert covered == pytest.approx(AREAS[name], rel=4e-3)


@pytest.mark.parametrize("name", OUTLINES)
def test_a_flipped_outline_is_the_outline_turned(name):
    """Each has an axis of symmetry, so training on mirror images teaches nothing wrong."""
    u, v = plane(301)
    field = OUTLINES[name](u, v)
    left_right, up_down = (np.abs(field - np.flip(field, axis)).max() for axis in (1, 0))
    assert min(left_right, up_down) < 1e-5


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_are_distances_where_a_pixel_decides(name):
    """Near the outline the field grows by one unit a unit, so edges are one pixel wide."""
    u, v = plane(600)
    field = OUTLINES[name](u, v)
    slope = np.hypot(*np.gradient(field, 2.6 / 600))[np.abs(field) < 0.02]
    assert np.median(slope) == pytest.approx(1, abs=0.01)


def surface(pixels: int) -> Surface:
    u, v = plane(pixels, half=0.8)
    rng = np.random.default_rng(5)
    return Surface(
        u, v, np.hypot(u, v) - 0.7, noise(rng, pixels, 4, 4),
        1.6 / pixels, 0.36, 0.21, 0.3, rng.random(64, np.float32),
    )  # fmt: skip


@pytest.mark.parametrize("name", TEXTURES)
def test_textures_are_averaged_over_the_pixel(name):
    fine, coarse = TEXTURES[name](surface(720)), TEXTURES[name](surface(60))
    assert fine.min() >= 0
    assert fine.max() <= 1
    assert fine.std() > 0.12
    assert np.abs(averaged(fine, 12) - coarse).mean() < 0.04
    assert abs(fine.mean() - coarse.mean()) < 0.02


def test_noise_is_one_field_at_every_size_of_unit_variance():
    def fields(pixels):
        return noise(np.random.default_rng(2), pixels, 20, 8)

    np.testing.assert_allclose(averaged(fields(192), 3), fields(64), atol=0.03)
    assert fields(192).std() == pytest.approx(1, abs=0.2)


# The set and its cache


@pytest.fixture
def few(monkeypatch):
    """A set of 30 + 10 pictures, and the list of the pictures drawn."""
    drawn = []

    def counted(index, size):
        drawn.append(index)
        return draw(index, size)

    monkeypatch.setattr(dataset, "TRAIN_IMAGES", 30)
    monkeypatch.setattr(dataset, "TEST_IMAGES", 10)
    monkeypatch.setattr(dataset, "BLOCK_IMAGES", 7)
    monkeypatch.setattr(dataset, "DRAWN_AT", 33)
    monkeypatch.setattr(dataset, "draw", counted)
    return drawn


def kept_files() -> list[Path]:
    return sorted(cache_folder().parent.glob("shapes/*.*"))


@pytest.mark.slow
def test_pictures_are_drawn_once_for_a_fingerprint_and_a_size(few):
    train, test = read_shapes("f", 33)
    assert sorted(few) == list(range(40))
    assert [len(train.pixels), len(test.pixels)] == [30, 10]
    assert train.class_names == CLASS_NAMES
    again, _ = read_shapes("f", 33)
    assert len(few) == 40
    for index in range(30):
        np.testing.assert_array_equal(train.pixels[index], draw(index, 33))
        np.testing.assert_array_equal(again.pixels[index], draw(index, 33))
        assert train.labels[index] == label(index)
    np.testing.assert_array_equal(test.pixels[9], draw(39, 33))
    assert test.labels.tolist() == [label(index) for index in range(30, 40)]
    read_shapes("f", 34)
    read_shapes("g", 33)
    assert len(few) == 120
    assert sorted(path.suffix for path in kept_files()) == [".json"] * 3 + [".npy"] * 3


@pytest.mark.slow
def test_smaller_pictures_are_made_of_those_drawn_once(few):
    """By torchvision: whole pictures, bilinear, low-pass filtered."""
    train, _ = read_shapes("f", 20)
    assert len(few) == 40
    for index in range(30):
        expected = torch.from_numpy(draw(index, 33))
        expected = resize(expected, [20, 20], antialias=True)
        np.testing.assert_array_equal(train.pixels[index], expected.numpy())
    read_shapes("f", 19)
    read_shapes("f", 33)
    assert len(few) == 40


def test_only_as_many_as_are_asked_for_are_drawn_and_they_are_the_first(few):
    train, test = read_shapes("f", 33, most=4)
    assert sorted(few) == [0, 1, 2, 3, 30, 31, 32, 33]
    assert [len(train.pixels), len(test.pixels)] == [4, 4]
    np.testing.assert_array_equal(train.pixels[3], draw(3, 33))
    np.testing.assert_array_equal(test.pixels[3], draw(33, 33))
    assert test.labels.tolist() == [label(index) for index in range(30, 34)]
    whole, _ = read_shapes("f", 33)
    assert len(whole.pixels) == 30
    np.testing.assert_array_equal(whole.pixels[:4], train.pixels)


def test_what_is_done_to_the_pictures_stays_in_memory(few):
    train, _ = read_shapes("f", 33)
    train.pixels[:] = 0
    assert read_shapes("f", 33)[0].pixels.any()


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "other shape", "no record", "noise"])
def test_a_damaged_cache_is_drawn_again(few, damage):
    read_shapes("f", 33)
    record, path = kept_files()
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[:-1])
    elif damage == "other shape":
        np.save(path, np.zeros((2, 3, 33, 33), np.uint8))
    elif damage == "no record":
        record.unlink()
    elif damage == "noise":
        noisy = bytearray(whole)
        noisy[20_000:20_100] = np.random.default_rng(0).bytes(100)
        path.write_bytes(noisy)
    else:
        path.write_bytes(b"" if damage == "empty" else b"not an array")
    train, _ = read_shapes("f", 33)
    assert len(few) == 80
    np.testing.assert_array_equal(train.pixels[0], draw(0, 33))
    assert path.read_bytes() == whole


def test_without_a_usable_cache_folder_they_are_drawn_each_time(few):
    cache_folder().parent.mkdir(parents=True)
    (cache_folder().parent / "shapes").write_text("a file is in the way")
    for times in (1, 2):
        train, _ = read_shapes("f", 33)
        np.testing.assert_array_equal(train.pixels[29], draw(29, 33))
        assert len(set(few)) == 40
        assert len(few) >= 40 * times


def test_a_full_disk_leaves_nothing_behind(few, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    train, _ = read_shapes("f", 33)
    np.testing.assert_array_equal(train.pixels[29], draw(29, 33))
    assert kept_files() == []


def test_the_fingerprint_follows_the_drawing_code_and_needs_no_torch(tmp_path):
    shutil.copytree(
        ROOT / "internals", tmp_path / "internals", ignore=shutil.ignore_patterns("__pycache__")
    )
    code = (
        "import sys; from pathlib import Path\n"
        "from internals.data.shapes import fingerprint\n"
        "path = Path('internals/data/shapes/outlines.py')\n"
        "print(fingerprint())\n"
        "path.write_text(path.read_text() + '# a comment draws nothing')\n"
        "print(fingerprint())\n"
        "path.write_text(path.read_text().replace('- 0.85', '- 0.84'))\n"
        "print(fingerprint())\n"
        "assert 'torch' not in sys.modules"
    )
    as_is, commented, edited = in_a_new_process(code, tmp_path).splitlines()
    assert as_is == commented == dataset.fingerprint()
    assert edited != as_is
