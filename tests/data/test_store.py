"""Oracle: bytes that the test wrote, cut, flipped, and had written by processes it then killed."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from internals.data import (
    ImageBlock,
    check_images,
    decoded_files,
    load,
    read_images,
    read_or_make_images,
    write_images,
)
from internals.errors import DataError, OutputError
from tests.reference import tiny_imagenette
from tests.reference.pipes import pipe_at

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


def _write_noise(path: Path, seed: int = 0) -> None:
    """In place, a hundred bytes of it, and with the times that the file had before."""
    status = path.stat()
    numbers = np.random.default_rng(seed)
    with path.open("r+b") as file:
        file.seek(int(numbers.integers(128, status.st_size - 100)))
        file.write(numbers.bytes(100))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize("read_before", [0, 1, 3])
def test_noise_in_the_pixels_is_noticed_and_they_are_made_again(written, capsys, read_before):
    for _ in range(read_before):
        assert pixels(written) == expected()
        time.sleep(0.01)  # a tick of the system's clock
    _write_noise(written)
    assert read_images(written) is None
    assert len(read_or_make_images(written, SHAPE, blocks).pixels) == 5
    assert pixels(written) == expected()
    assert f"{written} is damaged and is made again" in capsys.readouterr().err


def test_noise_is_noticed_however_soon_it_comes(tmp_path):
    """Within a tick of the system's clock the time of a change says nothing."""
    path = tmp_path / "some.npy"
    for seed in range(40):
        write_images(path, SHAPE, blocks())
        if seed % 2:
            assert read_images(path) is not None
        _write_noise(path, seed)
        assert read_images(path) is None, seed


@pytest.mark.parametrize("noise", [False, True])
def test_a_copy_is_looked_at_like_any_other_set(written, tmp_path, noise):
    assert read_images(written) is not None
    if noise:
        _write_noise(written)
    shutil.copytree(written.parent, tmp_path / "copy" / "of")
    assert (read_images(tmp_path / "copy" / "of" / written.name) is None) == noise


def test_pixels_that_were_found_whole_are_not_read_again(tmp_path, monkeypatch):
    path = tmp_path / "some.npy"
    write_images(path, SHAPE, blocks((4000,)))
    sizes = []
    crc32 = zlib.crc32

    def counted(content, before=0):
        sizes.append(len(content))
        return crc32(content, before)

    monkeypatch.setattr(zlib, "crc32", counted)
    looked_at = []
    for _ in range(3):
        time.sleep(0.02)
        sizes.clear()
        assert read_images(path) is not None
        looked_at.append(sum(sizes) >= 4000 * BYTES)
    assert looked_at[-1] is False and True in looked_at


def test_a_record_of_somebody_else_s_is_no_reason_not_to_look(written, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    for _ in range(2):
        assert pixels(written) == expected()
    monkeypatch.undo()
    _write_noise(written)
    assert read_images(written) is None


def test_images_of_another_shape_are_made_again(written):
    images = read_or_make_images(
        written, (1, 1, 1), lambda: [ImageBlock(np.ones((2, 1, 1, 1), "u1"))]
    )
    assert images.pixels.shape == (2, 1, 1, 1)


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_pipes_in_their_place_are_not_waited_for(written, suffix):
    written.with_suffix(suffix).unlink()
    with pipe_at(written.with_suffix(suffix)):
        assert read_images(written) is None


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_random_damage_never_gives_other_images_nor_an_exception(written, suffix):
    """Bytes changed, cut out, doubled, or replaced by others."""
    path = written.with_suffix(suffix)
    content = path.read_bytes()
    numbers = random.Random(5)
    for number in range(300):
        damaged = bytearray(content)
        for _ in range(numbers.choice([1, 1, 2, 5, 40])):
            start = numbers.randrange(len(damaged) + 1)
            end = start + numbers.choice([0, 1, 1, 4, 100])
            damaged[start:end] = numbers.choice(
                [numbers.randbytes(end - start), b"", damaged[start:end] * 2, b"[" * 9]
            )
        path.write_bytes(damaged)
        images = read_images(written)
        assert images is None or (images.pixels.reshape(5, -1) == expected()).all(), number


_ODD_RECORDS = [
    [], 3, None, "x", {}, {"shape": 3}, {"shape": ["5", 3, 2, 7]}, {"shape": [5, 3, 2.0, 7]},
    {"shape": [-5, -3, 2, 7]}, {"shape": [5, 42]}, {"shape": [True, 15, 2, 7]}, {"names": [1] * 5},
    {"names": "abcde"}, {"names": {"a": 1}}, {"names": ["a"]}, {"skipped": []},
    {"skipped": {"a": 1}}, {"pixels_crc32": "1"}, {"pixels_crc32": None}, {"colour": 1},
]  # fmt: skip


@pytest.mark.parametrize("odd", _ODD_RECORDS, ids=str)
def test_a_record_of_odd_content_is_none(written, odd):
    """With a checksum that is right."""
    path = written.with_suffix(".json")
    record = json.loads(path.read_text())["record"]
    text = json.dumps({**record, **odd} if isinstance(odd, dict) and odd else odd, sort_keys=True)
    path.write_text(f'{{"crc32": {zlib.crc32(text.encode())}, "record": {text}}}\n')
    assert read_images(written) is None


def test_a_record_nested_without_end_is_none(written):
    written.with_suffix(".json").write_text("[" * 100_000)
    assert read_images(written) is None


@pytest.mark.parametrize("name", ["imagenette-train", "imagenette-val"])
def test_noise_in_decoded_photographs_is_not_trained_on(tmp_path, no_real_data, monkeypatch, name):
    tiny_imagenette.write(tmp_path / "data" / "imagenette2")
    monkeypatch.setenv("INTERNALS_DATA", str(tmp_path / "data"))
    for _ in range(2):
        tiny_imagenette.check_content(load("imagenette", size=16))
    (path,) = (path for path in decoded_files("imagenette") if path.name.startswith(name))
    _write_noise(path)
    tiny_imagenette.check_content(load("imagenette", size=16))
    check_images(path)


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
