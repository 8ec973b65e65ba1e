"""Oracle: bytes that the test wrote, cut, flipped, and had written by processes it then killed."""

import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from internals.data import pixel_store
from internals.data.store import Block, check_pixels, map_pixels, read_record, write_pixels
from internals.errors import DataError, OutputError
from tests.reference import tiny_imagenette

ROOT = Path(__file__).resolve().parents[2]


def blocks(counts=(3, 0, 2)) -> list[Block]:
    """Byte p of image n is (5 n + p) mod 251."""
    found, start = [], 0
    for count in counts:
        numbers = np.arange(start, start + count)
        start += count
        pixels = ((5 * numbers[:, None] + np.arange(42)) % 251).astype(np.uint8)
        names = tuple(f"{n}.JPEG" for n in numbers)
        found.append(Block(pixels.reshape(-1, 3, 2, 7), names, {f"bad{start}": "why"}))
    return found


def expected(count: int = 5) -> torch.Tensor:
    return torch.tensor([[(5 * n + p) % 251 for p in range(42)] for n in range(count)])


@pytest.fixture
def written(tmp_path) -> Path:
    path = tmp_path / "some.pixels"
    write_pixels(path, blocks())
    return path


def test_what_is_written_is_read(written):
    record = read_record(written)
    assert record.names == ("0.JPEG", "1.JPEG", "2.JPEG", "3.JPEG", "4.JPEG")
    assert record.skipped == {"bad3": "why", "bad5": "why"}
    pixels = map_pixels(written, record)
    assert pixels.shape == (5, 3, 2, 7)
    assert pixels.flatten(1).tolist() == expected().tolist()
    check_pixels(written)
    assert [path.name for path in written.parent.iterdir()] == ["some.pixels"]


def test_a_file_that_was_cut_anywhere_is_not_there(written):
    content = written.read_bytes()
    for length in [*range(0, len(content), 7), len(content) - 1]:
        written.write_bytes(content[:length])
        assert read_record(written) is None, length
        with pytest.raises(DataError, match=r"some.pixels is not whole; delete it"):
            check_pixels(written)
    written.write_bytes(content[100:])  # the record whole, the pixels not
    assert read_record(written) is None
    written.unlink()
    assert read_record(written) is None


def test_a_flipped_bit_of_the_pixels_is_found_by_the_check(written):
    content = bytearray(written.read_bytes())
    for place in (0, 77, 209):
        content[place] ^= 16
        written.write_bytes(content)
        with pytest.raises(DataError, match="is damaged: its checksum is not that of its record"):
            check_pixels(written)
        content[place] ^= 16


def test_a_flipped_bit_of_the_record_never_gives_other_pixels(written):
    content = bytearray(written.read_bytes())
    for place in range(210, len(content)):
        content[place] ^= 4
        written.write_bytes(content)
        record = read_record(written)
        if record is not None:
            assert map_pixels(written, record).flatten().tolist() == expected().flatten().tolist()
        content[place] ^= 4


def test_a_disk_that_refuses_is_one_line_and_leaves_nothing(tmp_path):
    """The system's own refusal: no file of this process may grow over 100 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*big.pixels: File too large; free"):
            write_pixels(tmp_path / "big.pixels", blocks((3000, 3000)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_at_the_end_leaves_the_old_file(written, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    content = written.read_bytes()
    monkeypatch.setattr(pixel_store.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        write_pixels(written, blocks((1,)))
    assert written.read_bytes() == content
    assert [path.name for path in written.parent.iterdir()] == ["some.pixels"]


def test_old_drafts_are_swept_and_fresh_ones_are_left(tmp_path):
    """A draft that grows belongs to a process that lives."""
    old, fresh, other = (
        tmp_path / name for name in (".a.pixels.1.part", ".a.pixels.2.part", ".b.pixels.1.part")
    )
    for draft in (old, fresh, other):
        draft.write_bytes(b"half")
    for draft in (old, other):
        pixel_store.os.utime(draft, (1e9, 1e9))
    write_pixels(tmp_path / "a.pixels", blocks())
    assert sorted(p.name for p in tmp_path.iterdir()) == [fresh.name, other.name, "a.pixels"]


KILLED = """
    import sys
    from pathlib import Path
    import numpy as np
    from internals.data.store import Block, write_pixels

    def blocks():
        yield Block(np.ones((50_000, 3, 2, 7), np.uint8), ("a",) * 50_000, {})
        print("half", flush=True)
        sys.stdin.read()

    write_pixels(Path(sys.argv[1]), blocks())
"""


def test_a_process_killed_half_way_leaves_nothing_that_is_used(tmp_path):
    path = tmp_path / "some.pixels"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "half\n"
        process.kill()
    [draft] = tmp_path.iterdir()
    assert draft.stat().st_size > 1_000_000
    assert read_record(path) is None and read_record(draft) is None
    write_pixels(path, blocks())
    assert map_pixels(path, read_record(path)).flatten(1).tolist() == expected().tolist()


TOGETHER = """
    import sys, zlib
    from pathlib import Path
    from internals.data import imagenette as decoding

    decode_all = decoding.decode_all

    def at_once(files, pixels, bar):
        failures = decode_all(files, pixels, bar)
        print("decoded", flush=True)
        assert sys.stdin.readline() == "go on\\n"  # when both have decoded, none has written
        return failures

    decoding.decode_all = at_once
    for images in decoding.imagenette(Path(sys.argv[1]), "f", 20):
        print(len(images), zlib.crc32(images.images.numpy().data), flush=True)
"""


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
    kept = sorted(folder.iterdir())
    assert len(kept) == 2 and all(path.suffix == ".pixels" for path in kept)
    for path in kept:
        check_pixels(path)
