"""The building blocks that only LeNet-5 has (LeCun, Bottou, Bengio and Haffner, 1998)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from internals.models.bitmaps import bitmaps

AMPLITUDE, SLOPE = 1.7159, 2 / 3  # appendix A: so that f(1) = 1 and f(-1) = -1, nearly

# Table I: the maps of S2 that each of the sixteen maps of C3 looks at.
TABLE_I: tuple[tuple[int, ...], ...] = (
    (0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5),
    (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5),
    (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)  # fmt: skip


class ScaledTanh(nn.Module):
    """The squashing function f(x) = a tanh(s x) of appendix A, with a = 1.7159 and s = 2/3."""

    squashes = True  # units are ranked by what goes in: outputs tie at the ceiling

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return AMPLITUDE * torch.tanh(SLOPE * x)

    def _get_name(self) -> str:
        return "Tanh"

    def extra_repr(self) -> str:
        return f"a={AMPLITUDE}, s={SLOPE:.4f}"


class AvgPool2d(nn.AvgPool2d):
    """Plain average pooling without padding."""

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"


class Subsampling(nn.Module):
    """Trainable sub-sampling (section II-B): the sum of 2 x 2 inputs, times w, plus b."""

    kernel_size = stride = 2

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficient = nn.Parameter(torch.empty(channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h/2 w/2"]:
        sums = 4 * functional.avg_pool2d(x, self.kernel_size, self.stride)
        return sums * self.coefficient.view(-1, 1, 1) + self.bias.view(-1, 1, 1)

    def extra_repr(self) -> str:
        return f"{len(self.bias)}, kernel_size={self.kernel_size}, stride={self.stride}"


class TableConv2d(nn.Module):
    """A convolution whose output maps see only the input maps listed for them in `table`.

    `weight` holds the kernels that exist, (kernels, size, size) in the table's order: nothing is
    masked, so nothing that does not exist can be counted or decayed.
    """

    place: Tensor

    def __init__(self, table: tuple[tuple[int, ...], ...], in_channels: int, size: int) -> None:
        super().__init__()
        self.table, self.in_channels, self.size = table, in_channels, size
        kernels = sum(len(row) for row in table)
        self.weight = nn.Parameter(torch.empty(kernels, size, size))
        self.bias = nn.Parameter(torch.empty(len(table)))
        place = [to * in_channels + source for to, row in enumerate(table) for source in row]
        self.register_buffer("place", torch.tensor(place), persistent=False)

    def dense_weight(self) -> Float[Tensor, "out_channels in_channels size size"]:
        """The kernels as `nn.Conv2d` would hold them, zero where there is no connection."""
        flat = self.weight.new_zeros(len(self.table) * self.in_channels, self.size, self.size)
        flat = flat.index_copy(0, self.place, self.weight)
        return flat.view(len(self.table), self.in_channels, self.size, self.size)

    def forward(self, x: Float[Tensor, "n in_channels h w"]) -> Float[Tensor, "n out_channels y x"]:
        return functional.conv2d(x, self.dense_weight(), self.bias)

    def multiply_adds(self, output: torch.Size) -> int:
        """Products with kernels that exist, for one image and an `output` of (n, c, h, w)."""
        return self.weight.numel() * output[-2] * output[-1]

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {len(self.table)}, kernel_size=({self.size}, {self.size}), "
            f"kernels={len(self.weight)}"
        )


class RBFOutputLayer(nn.Module):
    """Ten Euclidean radial basis functions (eq. 7): the squared distance to each code.

    The codes are the bitmaps, fixed, or `learned` from there on. The smallest output is the
    network's answer.
    """

    prototypes: Tensor

    def __init__(self, *, learned: bool = False) -> None:
        super().__init__()
        if learned:
            self.prototypes = nn.Parameter(bitmaps())
        else:
            self.register_buffer("prototypes", bitmaps())

    def forward(self, x: Float[Tensor, "n 84"]) -> Float[Tensor, "n 10"]:
        # Differences of numbers near 1 are summed 84 times: bfloat16 would spoil them.
        exact = torch.promote_types(x.dtype, torch.float32)
        with torch.autocast(x.device.type, enabled=False):
            return (x.to(exact).unsqueeze(1) - self.prototypes.to(exact)).square().sum(dim=2)

    def multiply_adds(self, output: torch.Size) -> int:
        """One square for each component of each prototype, for one image."""
        return self.prototypes.numel()
