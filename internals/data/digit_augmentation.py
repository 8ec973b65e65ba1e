"""Digits that were written a little elsewhere on the paper, or at a slant."""

import torch
from jaxtyping import Float, Int64, Real
from torch import Tensor
from torch.nn import functional

from internals.errors import DataError


def augment_digits(
    batch: Real[Tensor, "images channels side side"],
    shift: int,
    rotation: float,
    generator: torch.Generator,
) -> Real[Tensor, "images channels side side"]:
    """Each image turned about its centre, then moved, by random amounts of its own.

    Moved by whole pixels, down and right, each uniform in -`shift`..`shift`; turned by an angle
    uniform in -`rotation`..`rotation` degrees, bilinear. What comes in from outside is background,
    0: give bytes, or pixels before they are normalised. Bytes stay bytes. The same state of
    `generator` (a CPU one) gives the same pictures, whatever the number of threads. Raises
    `DataError` when an image could be moved by more than half its side, or a limit is below 0.
    """
    side = batch.shape[-1]
    if not 0 <= shift <= side / 2 or not 0 <= rotation <= 180:
        raise DataError(
            f"shift={shift}, rotation={rotation} is too much for {side} x {side} pixels; "
            f"use a shift of 0 to {side // 2} pixels and a rotation of 0 to 180 degrees"
        )
    drawn = torch.rand((3, len(batch)), generator=generator, dtype=torch.float64)
    down, right = (drawn[:2] * (2 * shift + 1)).long() - shift
    if rotation == 0:
        return _moved(batch, shift, down.to(batch.device), right.to(batch.device))
    angle = torch.deg2rad(rotation * (2 * drawn[2] - 1))
    grid = _places(angle, down, right, side).to(batch.device)
    if batch.is_floating_point():
        return _sampled(batch, grid)
    return _sampled(batch.float(), grid).round_().to(batch.dtype)


def _moved(
    batch: Real[Tensor, "images channels side side"],
    most: int,
    down: Int64[Tensor, " images"],
    right: Int64[Tensor, " images"],
) -> Real[Tensor, "images channels side side"]:
    """Every pixel `down` and `right` of where it was, none changed."""
    framed = functional.pad(batch, (most,) * 4)
    line = torch.arange(batch.shape[-1], device=batch.device) + most
    rows, columns = line - down[:, None], line - right[:, None]
    number = torch.arange(len(batch), device=batch.device)[:, None, None]
    cut = framed.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None]]
    return cut.permute(0, 3, 1, 2).contiguous()


def _places(
    angle: Float[Tensor, " images"],
    down: Int64[Tensor, " images"],
    right: Int64[Tensor, " images"],
    side: int,
) -> Float[Tensor, "images side side 2"]:
    """Where each pixel comes from, as (x, y) with the image's edges at -1 and 1."""
    line = torch.arange(side, dtype=torch.float64) - (side - 1) / 2
    x = (line - right[:, None])[:, None]
    y = (line - down[:, None])[:, :, None]
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return torch.stack([x * cosine - y * sine, x * sine + y * cosine], dim=3) * (2 / side)


def _sampled(batch: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(batch, grid.to(batch.dtype), align_corners=False)
