"""Oracle: pictures of a few flat colours, whose pixels can be told by hand."""

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
