"""The ten target codes of LeNet-5's output layer: digits drawn as 7 x 12 bitmaps.

The paper fixes the parameters of its output units to stylised bitmaps (section II-B, figure 3)
and prints them for ASCII; these ten are our own drawing in that spirit.
"""

import torch
from jaxtyping import Float
from torch import Tensor

WIDTH, HEIGHT = 7, 12

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
    """One row a digit, its 12 x 7 drawing read line by line: ink +1, paper -1."""
    lines = [line.split() for line in _DRAWING.split("\n") if line]
    glyphs = ["".join(line[digit] for line in lines) for digit in range(10)]
    return torch.tensor([[1.0 if dot == "#" else -1.0 for dot in glyph] for glyph in glyphs])
