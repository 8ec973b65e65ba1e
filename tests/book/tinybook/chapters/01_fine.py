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
from matplotlib.figure import Figure

from internals.book import open_chapter, show
from internals.figures import Illustration, Table

LINE = "#0b4a94"  # an ink of the book: lighter on dark paper

chapter = open_chapter()
print(f"{chapter.name} at {chapter.profile}, seed {chapter.seed}")

# %% [markdown]
# ## A picture
#
# A line that rises:

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
