"""Oracle: WCAG 2's contrast, CIE Lab, a published model of colour blindness, and arithmetic."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from internals.figures import CATEGORICAL, FRAME, INKS, MUTED, TEXT, Ink, natural, signed

PAGES = {"light": "#ffffff", "dark": "#1b1d22"}
# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def linear(colour: str) -> np.ndarray:
    value = np.array(to_rgb(colour))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(linear(colour) @ (0.2126, 0.7152, 0.0722))


def contrast(one: str, other: str) -> float:
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab (D65) of linear RGB."""
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    share = to_xyz @ np.clip(rgb, 0, 1) / (0.95047, 1, 1.08883)
    root = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * root[1] - 16, 500 * (root[0] - root[1]), 200 * (root[1] - root[2])])


@pytest.mark.parametrize("scheme", PAGES)
@pytest.mark.parametrize("ink", [TEXT, MUTED, *CATEGORICAL], ids=lambda ink: ink.light)
def test_inks_that_write_can_be_read(ink: Ink, scheme: str) -> None:
    assert contrast(getattr(ink, scheme), PAGES[scheme]) >= 4.5


@pytest.mark.parametrize("scheme", PAGES)
def test_frames_can_be_seen(scheme: str) -> None:
    assert contrast(getattr(FRAME, scheme), PAGES[scheme]) >= 3


@pytest.mark.parametrize("scheme", PAGES)
@pytest.mark.parametrize("eye", BLINDNESS)
def test_categories_differ_to_every_eye(eye: str, scheme: str) -> None:
    seen = [lab(BLINDNESS[eye] @ linear(getattr(ink, scheme))) for ink in CATEGORICAL]
    for first, least in ((3, 20), (5, 11)):
        pairs = combinations(seen[:first], 2)
        assert min(np.linalg.norm(one - other) for one, other in pairs) > least


def test_light_and_dark_can_be_told_apart_in_both_directions() -> None:
    assert len({colour for ink in INKS for colour in ink}) == 2 * len(INKS)


@pytest.mark.parametrize("channels", [1, 3])
def test_zero_is_mid_grey(channels: int) -> None:
    assert (signed(np.zeros((channels, 2, 3)), 5.0) == 128).all()
    assert (signed(np.zeros((channels, 2, 3)), 0.0) == 128).all()


def test_three_channels_by_hand() -> None:
    # 255 * (0.5 + x / (2 * 4)) for x = -4, -2, 4 in red, green, blue
    colour = np.array([-4.0, -2.0, 4.0]).reshape(3, 1, 1)
    assert signed(colour, 4.0).tolist() == [[[0, 64, 255]]]


def test_one_channel_by_hand() -> None:
    tones = signed(np.array([[[-2.0, -1.0, 0.0, 1.0, 2.0, 9.0]]]), 2.0)[0].tolist()
    assert tones == [
        [8, 20, 64],
        [52, 88, 150],
        [128, 128, 128],
        [222, 164, 84],
        [255, 240, 204],
        [255, 240, 204],
    ]


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30))
def test_more_is_brighter(values: list[float]) -> None:
    tones = signed(np.sort(np.array(values)).reshape(1, 1, -1), 1.0)[0].astype(float)
    grey = tones @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(grey) >= -0.8).all()  # eight-bit rounding of three colours


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_is_shown_as_it_is(channels: int) -> None:
    bytes_ = np.arange(256 * channels, dtype=np.uint8).reshape(channels, 16, 16)
    drawn = natural(bytes_ / 255)
    assert drawn.shape == (16, 16, 3)
    assert (drawn == np.moveaxis(np.broadcast_to(bytes_, (3, 16, 16)), 0, -1)).all()


def test_a_picture_has_one_or_three_channels() -> None:
    for draw in (natural, lambda pixels: signed(pixels, 1.0)):
        with pytest.raises(ValueError, match=r"not \(2, 5, 5\)"):
            draw(np.zeros((2, 5, 5)))
