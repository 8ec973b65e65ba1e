"""LeNet-5 (LeCun, Bottou, Bengio and Haffner, Proceedings of the IEEE 86(11), 1998).

Departures of the default form from the paper, each absent from `LeNet5(paper=True)`:

* C3 sees all six maps of S2 (2,416 parameters) where Table I connects 60 pairs (1,516);
* S2 and S4 are plain averages where the paper trains a coefficient and a bias for each map.

Both forms take digits in a 32 x 32 field, background -0.1 and ink 1.175, and give the squared
distance to ten fixed bitmaps of 7 x 12 pixels, which are our own drawing.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_DRAWING = """
..###.. ...##.. .#####. .#####. ....##. ####### ..####. ####### .#####. .#####.
.##.##. ..###.. ##...## ##...## ...###. ##..... .##.... ......# ##...## ##...##
##...## .####.. .....## .....## ..#.##. ##..... ##..... .....## ##...## ##...##
##...## ...##.. .....## .....## .##.##. ##..... ##..... .....#. ##...## ##...##
##...## ...##.. ....##. ..####. ##..##. ######. ##.###. ....##. .#####. ##...##
##...## ...##.. ...##.. ..####. ##..##. .....## ###..## ....#.. .#####. .######
##...## ...##.. ..##... .....## ####### .....## ##...## ...##.. ##...## .....##
##...## ...##.. .##.... .....## ....##. .....## ##...## ...##.. ##...## .....##
##...## ...##.. ##..... ##...## ....##. ##...## ##...## ..##... ##...## ....##.
.##.##. ...##.. ##....# ##...## ....##. ##...## .##.##. ..##... ##...## ...##..
..###.. .###### ####### .#####. ....##. .#####. ..###.. ..##... .#####. .###...
....... ....... ....... ....... ....... ....... ....... ....... ....... .......
"""


def bitmaps() -> Float[Tensor, "10 84"]:
    """The ten digits' drawings, 12 lines of 7 dots read line by line: ink +1, paper -1."""
    lines = [line.split() for line in _DRAWING.split("\n") if line]
    glyphs = ["".join(line[digit] for line in lines) for digit in range(10)]
    return torch.tensor([[1.0 if dot == "#" else -1.0 for dot in glyph] for glyph in glyphs])


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

    squashes = True  # units are ranked by their input: outputs tie where the function is flat

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
    """Trainable sub-sampling (section II-B): the sum of 2 x 2 inputs, times w, plus b.

    Args:
        channels: Number of maps, each with a coefficient w and a bias b of its own.
    """

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
    """A convolution whose output maps see only some of the input maps.

    `weight` holds the kernels that exist, (kernels, size, size) in the table's order: nothing is
    masked, so that a missing connection is neither counted nor decayed.

    Args:
        table: For each output map, the input maps that it sees.
        in_channels: Number of input maps.
        size: Side of the kernels (unit: pixels).
    """

    dense_index: Tensor  # of each kernel in the flattened dense weight

    def __init__(self, table: tuple[tuple[int, ...], ...], in_channels: int, size: int) -> None:
        super().__init__()
        self.table, self.in_channels, self.size = table, in_channels, size
        kernels = sum(len(row) for row in table)
        self.weight = nn.Parameter(torch.empty(kernels, size, size))
        self.bias = nn.Parameter(torch.empty(len(table)))
        index = [to * in_channels + source for to, row in enumerate(table) for source in row]
        self.register_buffer("dense_index", torch.tensor(index), persistent=False)

    def dense_weight(self) -> Float[Tensor, "out_channels in_channels size size"]:
        """The kernels as `nn.Conv2d` would hold them, zero where there is no connection."""
        flat = self.weight.new_zeros(len(self.table) * self.in_channels, self.size, self.size)
        flat = flat.index_copy(0, self.dense_index, self.weight)
        return flat.view(len(self.table), self.in_channels, self.size, self.size)

    def forward(self, x: Float[Tensor, "n in_channels h w"]) -> Float[Tensor, "n out_channels y x"]:
        return functional.conv2d(x, self.dense_weight(), self.bias)

    def multiply_adds(self, output: torch.Size) -> int:
        """Multiplications for one image.

        Args:
            output: The shape of the output, (n, c, h, w).
        """
        return self.weight.numel() * output[-2] * output[-1]

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {len(self.table)}, kernel_size=({self.size}, {self.size}), "
            f"kernels={len(self.weight)}"
        )


class RBFOutputLayer(nn.Module):
    """Ten Euclidean radial basis functions (eq. 7): the squared distance to each code.

    The smallest output is the network's answer.

    Args:
        learned: Whether the codes are trained; they start as the bitmaps.
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
        """Multiplications for one image: one square for each component of each prototype."""
        return self.prototypes.numel()


class LeNet5(nn.Module):
    """Seven layers, from a 1 x 32 x 32 digit to ten penalties; the smallest is the answer.

    Args:
        paper: Build the paper's network: C3 connected by Table I, sub-sampling trained.
    """

    def __init__(self, *, paper: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size=5)
        self.tanh1 = ScaledTanh()
        self.pool1 = Subsampling(6) if paper else AvgPool2d(kernel_size=2, stride=2)
        self.tanh2 = ScaledTanh()
        self.conv2 = TableConv2d(TABLE_I, 6, 5) if paper else nn.Conv2d(6, 16, kernel_size=5)
        self.tanh3 = ScaledTanh()
        self.pool2 = Subsampling(16) if paper else AvgPool2d(kernel_size=2, stride=2)
        self.tanh4 = ScaledTanh()
        self.conv3 = nn.Conv2d(16, 120, kernel_size=5)
        self.tanh5 = ScaledTanh()
        self.linear = nn.Linear(120, 84)
        self.tanh6 = ScaledTanh()
        self.rbf = RBFOutputLayer()
        self.apply(fan_in_uniform)

    def forward(self, x: Float[Tensor, "n 1 32 32"]) -> Float[Tensor, "n 10"]:
        x = self.tanh1(self.conv1(x))
        x = self.tanh2(self.pool1(x))
        x = self.tanh3(self.conv2(x))
        x = self.tanh4(self.pool2(x))
        x = self.tanh5(self.conv3(x))
        x = self.tanh6(self.linear(torch.flatten(x, 1)))
        return self.rbf(x)


def fan_in_uniform(module: nn.Module) -> None:
    """Draw weights and biases from U(-2.4 / F, 2.4 / F), F the unit's number of inputs (app. A)."""
    with torch.no_grad():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 2.4 / module.weight[0].numel()
            module.weight.uniform_(-bound, bound)
            assert module.bias is not None
            module.bias.uniform_(-bound, bound)
        elif isinstance(module, Subsampling):
            bound = 2.4 / 4
            module.coefficient.uniform_(-bound, bound)
            module.bias.uniform_(-bound, bound)
        elif isinstance(module, TableConv2d):
            kernel = 0
            for unit, sources in enumerate(module.table):
                bound = 2.4 / (len(sources) * module.size**2)
                module.weight[kernel : kernel + len(sources)].uniform_(-bound, bound)
                module.bias[unit].uniform_(-bound, bound)
                kernel += len(sources)
