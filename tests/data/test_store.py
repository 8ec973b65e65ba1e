"""Oracle: bytes that the test wrote, cut, flipped, and had written by processes it then killed."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from internals.data import ImageBlock, check_images, read_images, read_or_make_images, write_images
from internals.errors import DataError, OutputError
from tests.reference import tiny_imagenette

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (3, 2, 7)
BYTES = 42  # of an image


def blocks(counts=(3, 0, 2)) -> list[ImageBlock]:
    """Byte p of image n is (5 n + p) mod 251."""
    result, start = [], 0
    for count in counts:
        numbers = np.arange(start, start + count)
        start += count
        pixels = ((5 * numbers[:, None] + np.arange(BYTES)) % 251).astype(np.uint8)
        names = tuple(f"{n}.JPEG" for n in numbers)
        result.append(ImageBlock(pixels.reshape(-1, *SHAPE), names, {f"bad{start}": "why"}))
    return result


def expected(count: int = 5) -> list[list[int]]:
    return [[(5 * n + p) % 251 for p in range(BYTES)] for n in range(count)]


def pixels(path: Path) -> list[list[int]]:
    images = read_images(path)
    return images.pixels.reshape(len(images.pixels), -1).tolist()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def written(tmp_path) -> Path:
    path = tmp_path / "some.npy"
    write_images(path, SHAPE, blocks())
    return path


def test_what_is_written_is_read(written):
    images = read_images(written)
    assert images.names == ("0.JPEG", "1.JPEG", "2.JPEG", "3.JPEG", "4.JPEG")
    assert images.skipped == {"bad3": "why", "bad5": "why"}
    assert images.pixels.shape == (5, *SHAPE)
    assert pixels(written) == expected()
    check_images(written)
    assert names(written.parent) == ["some.json", "some.npy"]


def test_numpy_and_json_alone_read_the_two_files(written):
    np.testing.assert_array_equal(np.load(written).reshape(5, -1), expected())
    record = json.loads(written.with_suffix(".json").read_text())["record"]
    assert record["shape"] == [5, *SHAPE] and record["names"][4] == "4.JPEG"


@pytest.mark.parametrize("count", [9, 10, 12_345])
def test_the_header_has_room_for_any_number_of_images(tmp_path, count):
    write_images(tmp_path / "a.npy", (1, 1, 1), [ImageBlock(np.ones((count, 1, 1, 1), np.uint8))])
    assert read_images(tmp_path / "a.npy").pixels.shape == np.load(tmp_path / "a.npy").shape
    assert len(np.load(tmp_path / "a.npy")) == count


def test_a_set_of_nothing_but_skipped_files_is_a_set(tmp_path):
    write_images(tmp_path / "a.npy", SHAPE, blocks((0,)))
    images = read_images(tmp_path / "a.npy")
    assert images.pixels.shape == (0, *SHAPE) and images.skipped == {"bad0": "why"}


def test_writes_to_the_pixels_stay_in_memory(written):
    read_images(written).pixels[:] = 0
    assert pixels(written) == expected()


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_file_that_was_cut_anywhere_is_not_there(written, suffix):
    path = written.with_suffix(suffix)
    content = path.read_bytes()
    for length in [*range(0, len(content), 7), len(content) - 1]:
        path.write_bytes(content[:length])
        assert read_images(written) is None, length
        with pytest.raises(DataError, match=r"some.npy is not whole; delete it"):
            check_images(written)
    for damaged in (content + b"0", content[100:], content[1:]):
        path.write_bytes(damaged)
        assert read_images(written) is None
    path.unlink()
    assert read_images(written) is None


def test_pixels_of_another_shape_than_the_records_are_not_there(written):
    np.save(written, np.zeros((2, *SHAPE), np.uint8))
    assert read_images(written) is None
    np.save(written, np.zeros((5, *SHAPE), np.int8))
    assert read_images(written) is None


def test_a_flipped_bit_of_the_pixels_is_found_by_the_check(written):
    content = bytearray(written.read_bytes())
    for position in (len(content) - 5 * BYTES, len(content) - 77, len(content) - 1):
        content[position] ^= 16
        written.write_bytes(content)
        with pytest.raises(DataError, match="is damaged: its checksum is not that of its record"):
            check_images(written)
        content[position] ^= 16


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_a_flipped_bit_of_header_or_record_never_gives_other_images(written, suffix):
    path = written.with_suffix(suffix)
    content = bytearray(path.read_bytes())
    for position in range(len(content) - (5 * BYTES if suffix == ".npy" else 0)):
        content[position] ^= 4
        path.write_bytes(content)
        images = read_images(written)
        if images is not None:
            assert suffix == ".npy"
            assert images.pixels.ravel().tolist() == [byte for row in expected() for byte in row]
        content[position] ^= 4


def test_images_are_made_once_and_again_when_damaged(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return blocks()

    path = tmp_path / "some.npy"
    for times in (1, 1):
        assert len(read_or_make_images(path, SHAPE, make).pixels) == 5
        assert len(calls) == times
    path.write_bytes(path.read_bytes()[:-1])
    assert len(read_or_make_images(path, SHAPE, make).pixels) == 5
    assert len(calls) == 2 and pixels(path) == expected()


def test_a_disk_that_refuses_is_one_line_and_leaves_nothing(tmp_path):
    """The system's own refusal: no file of this process may grow over 100 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*big.npy: File too large; free"):
            write_images(tmp_path / "big.npy", SHAPE, blocks((3000, 3000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert names(tmp_path) == []


@pytest.mark.parametrize("nth", [1, 2])
def test_a_disk_that_is_full_at_the_end_leaves_the_old_files(written, monkeypatch, nth):
    flushed = []

    def full(_):
        flushed.append(1)
        if len(flushed) == nth:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        write_images(written, SHAPE, blocks((1,)))
    assert pixels(written) == expected()
    assert names(written.parent) == ["some.json", "some.npy"]


def test_old_drafts_are_swept_and_fresh_ones_are_left(tmp_path):
    """A draft that grows belongs to a process that lives."""
    old, fresh, other = (
        tmp_path / name for name in (".a.npy.1.part", ".a.json.2.part", ".b.npy.1.part")
    )
    for draft in (old, fresh, other):
        draft.write_bytes(b"half")
    for draft in (old, other):
        os.utime(draft, (1e9, 1e9))
    write_images(tmp_path / "a.npy", SHAPE, blocks())
    assert names(tmp_path) == [fresh.name, other.name, "a.json", "a.npy"]


KILLED = """
    import sys
    from pathlib import Path
    import numpy as np
    from internals.data import ImageBlock, write_images

    def blocks():
        yield ImageBlock(np.ones((50_000, 3, 2, 7), np.uint8), ("a",) * 50_000, {})
        print("half", flush=True)
        sys.stdin.read()

    write_images(Path(sys.argv[1]), (3, 2, 7), blocks())
"""


def test_a_process_killed_half_way_leaves_nothing_that_is_used(tmp_path):
    path = tmp_path / "some.npy"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "half\n"
        process.kill()
    drafts = list(tmp_path.iterdir())
    assert max(draft.stat().st_size for draft in drafts) > 1_000_000
    assert all(draft.suffix == ".part" for draft in drafts) and read_images(path) is None
    write_images(path, SHAPE, blocks())
    assert pixels(path) == expected()


@pytest.mark.parametrize("renamed", ["pixels", "record"])
def test_pixels_and_record_are_never_those_of_two_writes(written, monkeypatch, renamed):
    """A process that dies between the two renames leaves a set that is made again."""
    replace = os.replace

    def die_at(source, target):
        if Path(target).suffix == (".npy" if renamed == "pixels" else ".json"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", die_at)
    with pytest.raises(KeyboardInterrupt):
        write_images(written, SHAPE, blocks((5,)))
    assert read_images(written) is None


TOGETHER = """
    import sys, zlib
    from pathlib import Path
    from internals.data import imagenette

    decode_all = imagenette.decode_all

    def at_once(files, pixels, bar):
        failures = decode_all(files, pixels, bar)
        print("decoded", flush=True)
        assert sys.stdin.readline() == "go on\\n"  # when both have decoded, none has written
        return failures

    imagenette.decode_all = at_once
    for images in imagenette.read_imagenette(Path(sys.argv[1]), "f", 20):
        print(len(images.pixels), zlib.crc32(images.pixels.data), flush=True)
"""


@pytest.mark.slow
def test_two_processes_that_fill_it_at_once_both_read_it_whole(tmp_path, no_real_data):
    root = tiny_imagenette.write(tmp_path / "imagenette2")
    command = [sys.executable, "-c", textwrap.dedent(TOGETHER), str(root)]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(2)
    ]
    for _ in ("train", "val"):
        for process in processes:
            assert process.stdout.readline() == "decoded\n"
        for process in processes:
            process.stdin.write("go on\n")
            process.stdin.flush()
    first, second = (process.communicate()[0] for process in processes)
    assert [process.returncode for process in processes] == [0, 0]
    assert first == second and [line.split()[0] for line in first.splitlines()] == ["50", "30"]
    folder = tmp_path / "cache" / "cnn-internals" / "data" / "decoded"
    files = sorted(folder.iterdir())
    assert [path.suffix for path in files] == [".json", ".npy"] * 2
    for path in folder.glob("*.npy"):
        check_images(path)
