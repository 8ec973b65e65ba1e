# ---
# title: A fine chapter
# description: A chapter that runs.
# ---

# %% [markdown]
# # A chapter that runs
#
# It cites a paper [@lecun1998], has a footnote,[^one] an equation $x_i^2 = \arg\min_j y_j$, and
# leads to [the broken one](02_broken.py#what-breaks) and to the [glossary](../docs/glossary.md).
# See [Figure](#fig-slope), and the [source](../internals/book/layout.py).
#
# $$
# E(W) = \frac{1}{P} \sum_{p=1}^{P} y_p
# $$
#
# [^one]: Text of the footnote.
#
# !!! tip "Takeaway"
#     Admonitions work, and so do $a_1 * b_1 * c_1$.

# %%
import numpy as np
from matplotlib.figure import Figure

from internals.book import open_chapter, show
from internals.figures import ChannelPatches, Illustration, Table, panels

LINE = "#0b4a94"  # an ink of the book: lighter on dark paper

chapter = open_chapter()
print(f"{chapter.name} at {chapter.profile}, seed {chapter.seed}")

# %% [markdown]
# ## A picture
#
# A line that rises by 100 % and not by `7 % 2`:

# %%
figure = Figure(figsize=(3.44, 2))
figure.subplots().plot([0, 1], [0, 1], color=LINE)
show(
    Illustration(
        figure,
        caption="A straight line from the lower left to the upper right: notice its slope.",
        alt="A rising line.",
    ),
    "slope",
)
chapter.record(slope=1.0)

# %%
chapter.finding("The line *rises* by as much as it goes on.", holds=True)
chapter.finding("It falls.", holds=False)

# %% [markdown]
# ## A table
#
# Two numbers in the unit of nothing:

# %%
show(Table(("name", "value"), (("one", "1"), ("two", "2")), caption="Two numbers."), "numbers")

# %% [markdown]
# ## A picture
#
# The same heading again, and a long output:

# %%
for line in range(60):
    print(f"line {line}")

# %% [markdown]
# ## A panel
#
# Each tile has a colour of its own; one is cut at the image's border, and one unit is silent:


# %%
def channel(number: int, silent: bool) -> ChannelPatches:
    widths = [12, 9, *[12] * 7]
    shades = [np.full((3, 12, width), place / 9) for place, width in enumerate(widths, 1)]
    colour = np.array([1, number, 0.5]).reshape(3, 1, 1)
    return ChannelPatches(
        "conv1", number, [-shade for shade in shades], [shade * colour for shade in shades],
        values=range(9, 0, -1), labels=["tench"] * 9, images=range(9), size=(12, 12),
        offsets=[(0, 12 - width) for width in widths], silent=[False] * 8 + [silent],
    )  # fmt: skip


show(
    panels(
        [channel(0, False), channel(1, True)],
        caption="Two channels with nine pairs each; patches grow brighter from first to last.",
        alt="Pairs of plain squares.",
    ),
    "panel",
)
