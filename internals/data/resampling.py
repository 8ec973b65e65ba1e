"""Windows cut out of images and brought to one size, each image with a window of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, Shaped, UInt8
from torch import Tensor
from torch.nn import functional

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


@dataclass(frozen=True)
class Windows:
    """One rectangle for each image of a batch, kept on the CPU.

    Args:
        top: First row of each rectangle (unit: pixels).
        left: First column (unit: pixels).
        height: Number of rows (unit: pixels).
        width: Number of columns (unit: pixels).
        flipped: Whether what is cut out is then mirrored left to right.
    """

    top: Int64[Tensor, " images"]
    left: Int64[Tensor, " images"]
    height: Int64[Tensor, " images"]
    width: Int64[Tensor, " images"]
    flipped: Bool[Tensor, " images"]

    def __getitem__(self, part: slice) -> "Windows":
        return Windows(
            self.top[part],
            self.left[part],
            self.height[part],
            self.width[part],
            self.flipped[part],
        )

    def cut(self, batch: Tensor) -> Iterator[Tensor]:
        """The part (1, C, h, w) of each image within its window, not mirrored and not copied."""
        corners = torch.stack([self.top, self.left, self.height, self.width], dim=1)
        for number, (top, left, height, width) in enumerate(corners.tolist()):
            yield batch[number : number + 1, :, top : top + height, left : left + width]


def centre_offset(side: int, size: int) -> int:
    """Where the central `size` of `side` pixels begins; a half goes to the even neighbour."""
    return round((side - size) / 2)


def crop(
    batch: Shaped[Tensor, "images channels height width"], windows: Windows, size: int
) -> Shaped[Tensor, "images channels size size"]:
    """Windows of `size` x `size` cut out of each image, with no pixel changed.

    Args:
        batch: The images.
        windows: One for each image, `size` pixels high and wide.
        size: Side of the windows (unit: pixels).
    """
    if batch.device.type != "cpu":
        return crop_by_gathering(batch, windows, size)
    result = batch.new_empty((len(batch), batch.shape[1], size, size))
    flipped = windows.flipped.tolist()
    for number, window in enumerate(windows.cut(batch)):
        result[number] = window[0].flip(-1) if flipped[number] else window[0]
    return result


def crop_by_gathering(
    batch: Shaped[Tensor, "images channels height width"], windows: Windows, size: int
) -> Shaped[Tensor, "images channels size size"]:
    """The same as `crop`, by a fixed number of operations for a whole batch."""
    squares = batch.unfold(2, size, 1).unfold(3, size, 1)
    number = torch.arange(len(batch), device=batch.device)
    cut = squares[number, :, windows.top.to(batch.device), windows.left.to(batch.device)]
    mirrored = windows.flipped.to(batch.device).view(-1, 1, 1, 1)
    return torch.where(mirrored, cut.flip(-1), cut)


def resized(
    batch: UInt8[Tensor, "images channels height width"], size: int
) -> UInt8[Tensor, "images channels size size"]:
    """Whole images brought to `size` x `size`, bilinear, low-pass filtered where they shrink."""
    count, _, height, width = batch.shape
    corner = torch.zeros(count, dtype=torch.int64)
    whole = Windows(corner, corner, corner + height, corner + width, corner > 0)
    return resized_crop(batch, whole, size, ["bilinear"] * count)


def resized_crop(
    batch: UInt8[Tensor, "images channels height width"],
    windows: Windows,
    size: int,
    interpolations: Sequence[str],
) -> UInt8[Tensor, "images channels size size"]:
    """The window of each image, scaled to `size` x `size`.

    "bilinear" and "bicubic" widen their kernel where a window shrinks, so that nothing aliases;
    "nearest" picks pixels. A CPU goes through the images one by one with torch's integer kernels;
    other devices do the whole batch in two matrix products, equal to within a grey level.

    Args:
        batch: The images.
        windows: One for each image.
        size: Side of the result (unit: pixels).
        interpolations: One of `INTERPOLATIONS` for each image.
    """
    if batch.device.type != "cpu":
        return resized_crop_by_matrices(batch, windows, size, interpolations)
    result = batch.new_empty((len(batch), batch.shape[1], size, size))
    flipped = windows.flipped.tolist()
    for number, (window, kind) in enumerate(zip(windows.cut(batch), interpolations, strict=True)):
        mode, smooth = ("nearest-exact", False) if kind == "nearest" else (kind, True)
        cut = functional.interpolate(window, (size, size), mode=mode, antialias=smooth)[0]
        result[number] = cut.flip(-1) if flipped[number] else cut
    return result


def resized_crop_by_matrices(
    batch: UInt8[Tensor, "images channels height width"],
    windows: Windows,
    size: int,
    interpolations: Sequence[str],
) -> UInt8[Tensor, "images channels size size"]:
    """The same windows as `resized_crop`, as one matrix product down and one across a batch."""
    kinds = torch.tensor([INTERPOLATIONS.index(kind) for kind in interpolations])
    height, width = batch.shape[2:]
    down = _weights(windows.top, windows.height, height, size, kinds, batch.device)
    across = _weights(windows.left, windows.width, width, size, kinds, batch.device)
    mirrored = windows.flipped.to(batch.device).view(-1, 1, 1)
    across = torch.where(mirrored, across.flip(1), across)
    # Rows first, rounded and cut to bytes in between, as the integer kernels do.
    rows = (batch.float() @ across[:, None].transpose(-1, -2)).round_().clamp_(0, 255)
    return (down[:, None] @ rows).round_().clamp_(0, 255).to(torch.uint8)


def _weights(
    start: Int64[Tensor, " images"],
    length: Int64[Tensor, " images"],
    side: int,
    size: int,
    kinds: Int64[Tensor, " images"],
    device: torch.device,
) -> Float[Tensor, "images size side"]:
    """Row i holds the share of each of `side` pixels in pixel i of the resized window."""
    begin, extent, kind = (
        tensor.to(device).view(-1, 1, 1).float() for tensor in (start, length, kinds)
    )
    scale = extent / size
    centre = (torch.arange(size, device=device)[:, None] + 0.5) * scale
    position = torch.arange(side, device=device) + 0.5 - begin
    inside = (position > 0) & (position < extent)
    distance = ((position - centre) / scale.clamp(min=1)).abs()
    nearest = (position.floor() == centre.floor()).float()
    linear = (1 - distance).clamp(min=0)
    shares = torch.where(kind == 0, nearest, torch.where(kind == 1, linear, _cubic(distance)))
    shares = shares * inside
    return shares / shares.sum(dim=2, keepdim=True)


def _cubic(distance: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Keys' cubic convolution kernel (1981) with a = -1/2, as Pillow uses it."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
