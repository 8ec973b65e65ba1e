"""Oracle: pictures whose pixels can be told by hand, written byte by byte where Pillow cannot."""

import os
import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from internals.data import read_folder
from internals.errors import DataError

RED, GREEN, BLUE, WHITE, BLACK = (
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0),
)  # fmt: skip


def flat(colour, size=(6, 6), mode="RGB") -> Image.Image:
    return Image.new(mode, size, colour)


def only(folder: Path, size: int = 4, **how) -> torch.Tensor:
    """The one picture in `folder`, (c, size, size)."""
    images = read_folder(folder, size, **how).images.images
    assert len(images) == 1
    return images[0]


def is_flat(pixels: torch.Tensor, colour: tuple[int, ...]) -> bool:
    return bool((pixels == torch.tensor(colour).view(-1, 1, 1)).all())


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tiff", "ppm", "PNG"])
def test_lossless_formats_give_the_colour_that_was_written(tmp_path, suffix):
    flat((200, 30, 60)).save(tmp_path / f"a.{suffix}")
    assert is_flat(only(tmp_path), (200, 30, 60))


@pytest.mark.parametrize(("suffix", "how"), [("jpeg", {"quality": 95}), ("webp", {"quality": 95})])
def test_lossy_formats_come_close(tmp_path, suffix, how):
    flat((200, 30, 60), (64, 48)).save(tmp_path / f"a.{suffix}", **how)
    difference = only(tmp_path).int() - torch.tensor([200, 30, 60]).view(3, 1, 1)
    assert difference.abs().max() <= 4


def test_grey_pictures_have_three_equal_channels_and_colour_ones_a_luminance(tmp_path):
    flat(77, mode="L").save(tmp_path / "a.png")
    assert is_flat(only(tmp_path), (77, 77, 77))
    flat((100, 200, 50)).save(tmp_path / "a.png")
    # ITU-R 601: 0.299 R + 0.587 G + 0.114 B = 153.0
    assert is_flat(only(tmp_path, grey=True), (153,))


def test_transparency_lies_on_white(tmp_path):
    clear, half = flat((255, 0, 0, 0), mode="RGBA"), flat((0, 0, 255, 102), mode="RGBA")
    clear.save(tmp_path / "a.png")
    assert is_flat(only(tmp_path), WHITE)
    half.save(tmp_path / "a.png")
    assert is_flat(only(tmp_path), (153, 153, 255))  # 0.4 blue and 0.6 white


def test_a_transparent_colour_of_a_palette_is_white_as_well(tmp_path):
    picture = Image.new("P", (6, 6), 1)
    picture.putpalette([*RED, *GREEN])
    picture.save(tmp_path / "a.gif", transparency=1)
    assert is_flat(only(tmp_path), WHITE)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    Image.fromarray(np.full((6, 6), 0x80FF, np.uint16)).save(tmp_path / "a.png")
    assert is_flat(only(tmp_path), (0x80,) * 3)


def test_cmyk_becomes_rgb(tmp_path):
    flat((0, 255, 255, 0), mode="CMYK").save(tmp_path / "a.tiff")
    assert is_flat(only(tmp_path), RED)


def test_exif_orientation_is_followed(tmp_path):
    """Orientation 6: the first column of the file is the top row of the picture."""
    picture = flat(WHITE, (8, 8))
    picture.paste(BLACK, (0, 0, 4, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.png", exif=exif)
    pixels = only(tmp_path, 8)
    assert is_flat(pixels[:, :4], BLACK)
    assert is_flat(pixels[:, 4:], WHITE)


@pytest.mark.parametrize("upright", [False, True])
def test_the_centre_of_the_longer_side_is_kept(tmp_path, upright):
    picture = flat(GREEN, (9, 3))
    picture.paste(RED, (0, 0, 3, 3))
    picture.paste(BLUE, (6, 0, 9, 3))
    picture = picture.transpose(Image.Transpose.ROTATE_90) if upright else picture
    picture.save(tmp_path / "a.png")
    assert is_flat(only(tmp_path, 3), GREEN)


def test_a_large_jpeg_is_scaled_by_its_shorter_side(tmp_path):
    """Red to the left and blue to the right of the middle, at 1/16 of the size."""
    picture = flat(RED, (1200, 800))
    picture.paste(BLUE, (600, 0, 1200, 800))
    picture.save(tmp_path / "a.jpg", quality=95)
    pixels = only(tmp_path, 50).int()
    assert (pixels[:, :, :22] - torch.tensor(RED).view(3, 1, 1)).abs().max() <= 8
    assert (pixels[:, :, 28:] - torch.tensor(BLUE).view(3, 1, 1)).abs().max() <= 8


def test_a_jpeg_is_not_decoded_smaller_than_it_will_be(tmp_path):
    """Stripes that lie across the borders of 8 x 8 blocks vanish when blocks become pixels."""
    stripes = (np.arange(1200) + 4) // 8 % 2 * 255
    pixels = np.broadcast_to(stripes, (800, 1200)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=95)
    drawn = only(tmp_path, 200, grey=True).double()
    assert drawn.std() > 80


def test_the_first_frame_stands_for_all(tmp_path):
    flat(RED).save(tmp_path / "a.gif", save_all=True, append_images=[flat(BLUE)])
    assert is_flat(only(tmp_path), RED)


@pytest.fixture
def zoo(tmp_path) -> Path:
    """Two classes, one deeper than the other, something loose, and much that is no picture."""
    for name, colour in [
        ("cats/b.png", RED), ("cats/a.JPG", GREEN), ("dogs/small/c.png", BLUE), ("z.png", WHITE),
        (".hidden.png", BLACK), (".cache/d.png", BLACK),
    ]:  # fmt: skip
        (tmp_path / "zoo" / name).parent.mkdir(parents=True, exist_ok=True)
        flat(colour).save(tmp_path / "zoo" / name)
    (tmp_path / "zoo" / "cats" / "notes.txt").write_text("nine lives")
    return tmp_path / "zoo"


def test_order_classes_and_names(zoo, capsys):
    images, files = read_folder(zoo, 4)
    assert files == ("cats/a.JPG", "cats/b.png", "dogs/small/c.png", "z.png")
    assert [images.class_names[label] for label in images.labels] == [
        "cats", "cats", "dogs/small", "zoo",
    ]  # fmt: skip
    assert is_flat(images.images[2], BLUE) and is_flat(images.images[3], WHITE)
    assert images.name == "zoo"
    assert capsys.readouterr().err == ""


def test_broken_pictures_are_named_in_a_line_each_and_the_others_stay_in_place(zoo, capsys):
    (zoo / "cats" / "0.png").write_text("no picture")
    whole = (zoo / "dogs" / "small" / "c.png").read_bytes()
    (zoo / "dogs" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (zoo / "cats" / "empty.gif").touch()
    images, files = read_folder(zoo, 4)
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[0] for line in said] == [
        "skipped cats/0.png", "skipped cats/empty.gif", "skipped dogs/cut.png",
    ]  # fmt: skip
    assert all(line.partition(": ")[2] and str(zoo) not in line for line in said)
    assert files == ("cats/a.JPG", "cats/b.png", "dogs/small/c.png", "z.png")
    assert is_flat(images.images[1], RED) and is_flat(images.images[2], BLUE)
    assert len(images.labels) == 4


def test_one_folder_is_one_class(tmp_path):
    flat(RED).save(tmp_path / "a.png")
    assert read_folder(tmp_path, 4).images.class_names == (tmp_path.name,)


def test_a_limit_spreads_over_the_whole_folder(tmp_path):
    for number in range(10):
        flat((number, 0, 0)).save(tmp_path / f"{number}.png")
    images, files = read_folder(tmp_path, 4, limit=4)
    assert files == ("0.png", "2.png", "5.png", "7.png")  # every 2.5th, rounded down
    assert images.images[:, 0, 0, 0].tolist() == [0, 2, 5, 7]
    assert len(read_folder(tmp_path, 4, limit=99).files) == 10


def test_a_link_that_leads_back_is_followed_once(tmp_path):
    flat(RED).save(tmp_path / "a.png")
    (tmp_path / "again").symlink_to(tmp_path)
    assert read_folder(tmp_path, 4).files == ("a.png",)


def test_the_fingerprint_tells_pixels_and_names_apart(tmp_path):
    def fingerprint(name: str, colour) -> str:
        for old in tmp_path.iterdir():
            old.unlink()
        flat(colour).save(tmp_path / name)
        return read_folder(tmp_path, 4).images.fingerprint

    first = fingerprint("a.png", RED)
    assert fingerprint("a.png", RED) == first
    assert len({first, fingerprint("b.png", RED), fingerprint("a.png", (254, 0, 0))}) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "does not exist; name a folder of pictures"),
        (lambda path: path.touch(), "is not a folder; name a folder of pictures"),
        (lambda path: path.mkdir(), "holds no pictures; looked for .avif, "),
    ],
)
def test_no_folder_or_an_empty_one_is_one_line(tmp_path, make, message):
    make(tmp_path / "there")
    with pytest.raises(DataError, match=message) as raised:
        read_folder(tmp_path / "there", 4)
    assert "\n" not in str(raised.value)


def test_nothing_but_broken_pictures_is_an_error(tmp_path, capsys):
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(DataError, match=r"none of the 1 pictures in .* can be decoded"):
        read_folder(tmp_path, 4)
    assert "skipped a.png" in capsys.readouterr().err


@pytest.mark.parametrize("how", [{"size": 0}, {"size": 4, "limit": 0}])
def test_refuses_sizes_below_one(tmp_path, how):
    with pytest.raises(DataError, match="both must be 1 or more"):
        read_folder(tmp_path, **how)


# Samples of more than 8 bits

RAMP = np.linspace(1, 0, 64)[None].repeat(64, 0)  # bright at the left


def tiff(content: np.ndarray | bytes, end: str = "<", **more) -> bytes:
    """An uncompressed TIFF of 64 x 64, from its specification; `more` are its tags."""
    names = {"bits": 258, "packing": 259, "photometric": 262, "samples": 277, "planes": 284,
             "associated": 338, "kind": 339, "offsets": 273, "counts": 279}  # fmt: skip
    data = content if isinstance(content, bytes) else content.tobytes()
    tags = {256: [64], 257: [64], 259: [1], 262: [1], 273: [8], 277: [1], 278: [64]}
    tags |= {279: [len(data)]} | {names[key]: value for key, value in more.items()}
    entries, far = b"", b""
    for tag, values in sorted(tags.items()):
        stored = struct.pack(f"{end}{len(values)}I", *values)
        if len(values) > 1:
            place = 8 + len(data) + 2 + 12 * len(tags) + 4 + len(far)
            stored, far = struct.pack(f"{end}I", place), far + stored
        entries += struct.pack(f"{end}HHI", tag, 4, len(values)) + stored
    header = (b"II*\0" if end == "<" else b"MM\0*") + struct.pack(f"{end}I", 8 + len(data))
    return header + data + struct.pack(f"{end}H", len(tags)) + entries + b"\0" * 4 + far


def png(samples: np.ndarray, colour: int, clear: bytes = b"") -> bytes:
    """A PNG of 16 bits of one colour type, from its specification."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    lines = b"".join(b"\0" + row.tobytes() for row in samples.astype(">u2"))
    header = struct.pack(">IIBBBBB", 64, 64, 16, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return (
        b"\x89PNG\r\n\x1a\n"
        + parts[0]
        + (chunk(b"tRNS", clear) if clear else b"")
        + b"".join(parts[1:])
    )


def twelve_bits() -> bytes:
    """Two samples in three bytes."""
    pairs = (RAMP * 4095).astype(int).reshape(-1, 2)
    return b"".join((high << 12 | low).to_bytes(3, "big") for high, low in pairs.tolist())


def sixteen(*channels: np.ndarray) -> np.ndarray:
    return np.stack([np.uint16(65535 * channel) for channel in channels], -1)


ONE = np.ones_like(RAMP)
SCALED = {
    "float.tiff": tiff(RAMP.astype("<f4"), bits=[32], kind=[3]),
    "float-big.tiff": tiff(RAMP.astype(">f4"), ">", bits=[32], kind=[3]),
    "float-of-16.tiff": tiff((RAMP * 65535).astype("<f4"), bits=[32], kind=[3]),
    "float.pgm": b"Pf\n64 64\n-1.0\n" + RAMP.astype("<f4").tobytes(),
    "int-of-16.tiff": tiff((RAMP * 65535).astype("<i4"), bits=[32], kind=[2]),
    "grey.tiff": tiff((RAMP * 65535).astype("<u2"), bits=[16]),
    "grey-big.tiff": tiff((RAMP * 65535).astype(">u2"), ">", bits=[16]),
    "grey-negative.tiff": tiff((65535 - RAMP * 65535).astype("<u2"), bits=[16], photometric=[0]),
    "float-negative.tiff": tiff((1 - RAMP).astype("<f4"), bits=[32], kind=[3], photometric=[0]),
    "twelve.tiff": tiff(twelve_bits(), bits=[12]),
    "rgb.tiff": tiff(sixteen(RAMP, RAMP, RAMP), bits=[16] * 3, samples=[3], photometric=[2]),
    "premultiplied.tiff": tiff(
        np.stack([np.uint8(RAMP * 255), np.uint8(ONE * 255)], -1),
        bits=[8, 8], samples=[2], associated=[1],
    ),
    "grey.png": png(sixteen(RAMP), 0),
    "rgb.png": png(sixteen(RAMP, RAMP, RAMP), 2),
    "grey-alpha.png": png(sixteen(RAMP, ONE), 4),
    "rgb-alpha.png": png(sixteen(RAMP, RAMP, RAMP, ONE), 6),
    "ten.pgm": b"P5 64 64 1023\n" + (RAMP * 1023).astype(">u2").tobytes(),
    "sixteen.pgm": b"P5 64 64 65535\n" + (RAMP * 65535).astype(">u2").tobytes(),
}  # fmt: skip
# Dark as well as bright, as far as the file says; or mixed up by Pillow.
UNSCALED = {
    "float-of-8.tiff": tiff((RAMP * 255).astype("<f4"), bits=[32], kind=[3]),
    "float-of-12.tiff": tiff((RAMP * 4095).astype("<f4"), bits=[32], kind=[3]),
    "float-below-0.tiff": tiff((RAMP * 2 - 1).astype("<f4"), bits=[32], kind=[3]),
    "float-nan.tiff": tiff(np.where(RAMP > 0.99, np.nan, RAMP).astype("<f4"), bits=[32], kind=[3]),
    "float-inf.tiff": tiff(np.where(RAMP > 0.99, np.inf, RAMP).astype("<f4"), bits=[32], kind=[3]),
    "float-packed.tiff": tiff(
        zlib.compress(RAMP.astype(">f4").tobytes()), ">", bits=[32], kind=[3], packing=[8]
    ),
    "float-rgb.tiff": tiff(
        np.stack([RAMP] * 3, -1).astype("<f4"),
        bits=[32] * 3, kind=[3] * 3, samples=[3], photometric=[2],
    ),
    "int-of-8.tiff": tiff((RAMP * 254).astype("<i4"), bits=[32], kind=[2]),
    "int-of-31.tiff": tiff((RAMP * (2**31 - 1)).astype("<i4"), bits=[32], kind=[2]),
    "unsigned.tiff": tiff((RAMP * (2**32 - 1)).astype("<u4"), bits=[32]),
    "signed-16.tiff": tiff((RAMP * 32767).astype("<i2"), bits=[16], kind=[2]),
    "signed-8.tiff": tiff((RAMP * 255 - 128).astype("i1"), bits=[8], kind=[2]),
    "planes.tiff": tiff(
        b"".join([(RAMP * 65535).astype("<u2").tobytes()] * 3),
        bits=[16] * 3, samples=[3], photometric=[2], planes=[2],
        offsets=[8, 8 + 8192, 8 + 2 * 8192], counts=[8192] * 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("name", SCALED)
def test_deep_pictures_are_scaled_by_their_type(tmp_path, name, grey):
    (tmp_path / name).write_bytes(SCALED[name])
    row = only(tmp_path, 64, grey=grey)[:, 30, [2, 32, 61]].int()
    assert (row - torch.tensor([247, 125, 8])).abs().max() <= 1


@pytest.mark.parametrize("name", UNSCALED)
def test_what_does_not_say_its_white_is_skipped_and_named(tmp_path, capsys, name):
    (tmp_path / name).write_bytes(UNSCALED[name])
    flat(RED).save(tmp_path / "z.png")
    assert read_folder(tmp_path, 64).files == ("z.png",)
    said = capsys.readouterr().err
    assert said.startswith(f"skipped {name}: ") and said.count("\n") == 1


@pytest.mark.parametrize(
    ("samples", "bits", "kind"),
    [(RAMP * 0.1, 32, 3), (RAMP * 6553, 16, 1), (RAMP * 0, 32, 2)],
)
def test_a_dark_picture_stays_dark(tmp_path, samples, bits, kind):
    """12 bits in 16 as well: the type says what white is, and not the picture."""
    code = {3: "<f4", 1: "<u2", 2: "<i4"}[kind]
    (tmp_path / "a.tiff").write_bytes(tiff(samples.astype(code), bits=[bits], kind=[kind]))
    assert only(tmp_path, 64).max() == (26 if kind == 3 else 25 if kind == 1 else 0)


def test_the_transparent_one_of_16_bit_values_is_white(tmp_path):
    value = int(sixteen(RAMP)[0, 2, 0])
    for name, colour, count in (("a.png", 0, 1), ("b.png", 2, 3)):
        clear = struct.pack(">H", value) * count
        (tmp_path / name).write_bytes(png(sixteen(*[RAMP] * count), colour, clear))
    for pixels in read_folder(tmp_path, 64).images.images:
        assert pixels[:, 30, [1, 2, 3]].tolist() == [[251, 255, 243]] * 3


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_brought_upright(tmp_path, turn):
    """Oracle: what EXIF says of the file's first row and first column."""
    first_row = {1: "top", 2: "top", 3: "bottom", 4: "bottom", 5: "left", 6: "right", 7: "right",
                 8: "left"}[turn]  # fmt: skip
    first_column = {1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom",
                    8: "bottom"}[turn]  # fmt: skip
    picture = flat(BLACK, (8, 8))
    picture.paste(RED, (0, 0, 8, 2))
    picture.paste(BLUE, (0, 4, 2, 8))
    exif = Image.Exif()
    exif[0x0112] = turn
    for suffix in ("png", "tiff"):
        picture.save(tmp_path / f"a.{suffix}", exif=exif)
    for pixels in read_folder(tmp_path, 8).images.images:
        edges = {"top": pixels[:, 0], "bottom": pixels[:, 7], "left": pixels[:, :, 0],
                 "right": pixels[:, :, 7]}  # fmt: skip
        assert bool((edges[first_row][0] == 255).all())
        assert (edges[first_column][2] == 255).sum() == 4


def exif(kind: int, count: int, value: bytes) -> bytes:
    """An EXIF block that holds an orientation."""
    entry = struct.pack("<HHI", 0x0112, kind, count) + value
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + b"\0" * 4


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    "block",
    [
        exif(2, 2, b"6\0\0\0"),  # text
        exif(5, 1, struct.pack("<I", 9999)),  # a fraction beyond the end
        exif(7, 4, b"abcd"),
        exif(3, 1, struct.pack("<I", 99)),
        exif(3, 1, struct.pack("<I", 0)),
        b"Exif\0\0II",
        b"Exif\0\0" + b"\xff" * 30,
        exif(3, 1, b"")[:20],
    ],
)
def test_a_picture_with_damaged_metadata_is_read_as_it_lies(tmp_path, capsys, suffix, block):
    picture = flat(WHITE, (8, 8))
    picture.paste(BLACK, (0, 0, 4, 8))
    lossless = {"lossless": True} if suffix == "webp" else {}
    picture.save(tmp_path / f"a.{suffix}", exif=block, **lossless)
    pixels = only(tmp_path, 8)
    assert pixels[:, :, :3].max() < 20 and pixels[:, :, 5:].min() > 235
    assert capsys.readouterr().err == ""


# What is not a file, and what does not fit


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_called_a_picture_and_is_no_file_is_named_and_not_waited_for(
    tmp_path, capsys, kind, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    flat(RED).save("a.png")
    if kind == "pipe":
        os.mkfifo("b.png")
    elif kind == "device":
        Path("b.png").symlink_to("/dev/zero")
    else:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind("b.png")
    reading = ThreadPoolExecutor(1).submit(read_folder, tmp_path, 4)
    try:
        assert reading.result(timeout=20).files == ("a.png",)
    finally:
        if kind == "pipe":  # whoever waits at the other end goes on
            os.close(os.open("b.png", os.O_RDWR | os.O_NONBLOCK))
    assert capsys.readouterr().err == ("skipped b.png: not a file but a pipe, socket or device\n")


@pytest.mark.parametrize("memory", [10 * 3 * 40 * 40 - 1, None])
def test_pictures_that_do_not_fit_are_refused_before_any_is_read(tmp_path, monkeypatch, memory):
    for number in range(10):
        (tmp_path / f"{number}.png").write_text("not to be read")
    size = 40 if memory else 10**9
    monkeypatch.setattr("internals.data.folder.memory", lambda: memory)
    with pytest.raises(DataError, match=r"10 pictures of .* need .* GB .*; lower --size or --lim"):
        read_folder(tmp_path, size)
    if memory:
        (tmp_path / "9.png").unlink()
        with pytest.raises(DataError, match="none of the 9 pictures"):
            read_folder(tmp_path, size)
