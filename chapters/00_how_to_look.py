# ---
# jupyter:
#   jupytext:
#     formats: py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# title: How to look
# thumbnail: fields
# description: The instruments of this book, on a network small enough to check by hand.
# ---

# %% [markdown]
# # How to look inside a network
#
# Many pictures in this book answer one of four questions about a single unit of a network. What
# does it see? What does it want? Which pixels made it answer? And would the picture look the same if
# the network had learned nothing? This chapter builds the four instruments on a network with
# twenty-six weights, small enough to work out each of their answers on paper.
#
# **What you will see**
#
# - a network of two layers, set by hand, that finds the top left corners of boxes;
# - what its units see, what drives them, and the way back to the pixels under three rules, one of
#   which draws a corner where there is none;
# - why a picture that looks right needs a control, and the control a baseline;
# - how the panels of later chapters are read, and what one of them says of a network that we built.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## A network you can hold in your head
#
# The first layer has two kernels of 3 × 3. One answers where an image grows brighter to the right,
# the other where it grows brighter downwards. After a rectifier and a 2 × 2 maximum, one more
# kernel combines the two maps. It is positive for a left edge in the left half of its window and for
# a top edge in the upper half. A left edge further right, or a top edge further down, counts against
# it:

# %%
from collections import OrderedDict

import torch
from torch import nn

torch.manual_seed(chapter.seed)
rightwards = torch.tensor([[-1.0, 0, 1], [-1, 0, 1], [-1, 0, 1]])
toy = nn.Sequential(OrderedDict(
    conv1=nn.Conv2d(1, 2, kernel_size=3, bias=False),
    relu1=nn.ReLU(),
    pool1=nn.MaxPool2d(kernel_size=2),
    conv2=nn.Conv2d(2, 1, kernel_size=2, bias=False),
))  # fmt: skip
with torch.no_grad():
    toy.conv1.weight.copy_(
        torch.stack([rightwards, rightwards.T]).unsqueeze(1)
    )
    toy.conv2.weight.copy_(
        torch.tensor([[[[1.0, -1], [1, -1]], [[1, 1], [-1, -1]]]])
    )

# %% [markdown]
# The images are two hundred drawings of 12 × 12 pixels: a bright box somewhere on a dark, slightly
# noisy ground.

# %%
random = torch.Generator().manual_seed(chapter.seed)
images = 0.1 * torch.rand(200, 1, 12, 12, generator=random)
corners = torch.randint(1, 7, (200, 2), generator=random)
sizes = torch.randint(3, 6, (200, 2), generator=random)
for image, (top, left), (height, width) in zip(
    images, corners, sizes, strict=True
):
    image[0, top : top + height, left : left + width] += 0.9
images = (images * 255).round() / 255  # as a file would keep them
names = [f"{height} × {width}" for height, width in sizes.tolist()]

# %% [markdown]
# Here is the first of them on its way through. In `conv1` and `conv2` mid grey is 0. The rectifier
# and the maximum have no values below 0, so there 0 is black:

# %%
from internals.activations import capture
from internals.figures import LayerMaps, feature_maps

maps = capture(toy, images[:1], ["conv1", "relu1", "pool1", "conv2"])
show(
    feature_maps(
        images[0].numpy(),
        [
            LayerMaps(layer, values[0].numpy())
            for layer, values in maps.items()
        ],
        caption="A box seen by the toy network. Map 0 of conv1 is amber on the box's left edge and "
        "blue on its right one, map 1 likewise for top and bottom. The rectifier keeps the amber "
        "parts, and pooling makes them coarser.",
        alt="A bright box, then two maps with its vertical and horizontal edges, their rectified "
        "and pooled forms, and one map with a peak at the top left corner.",
    ),
    "toy",
)
chapter.finding(
    f"conv2 is strongest, at {maps['conv2'].max():.2f}, in row 2 and column 2. That unit sees where the "
    "box's left and top edges meet.",
    holds=maps["conv2"].argmax() == 2 * 4 + 2
    and corners[0].tolist() == [5, 6],
)

# %% [markdown]
# ## A unit
#
# A *unit* is one number in those maps. Its address is a layer, a channel, a row and a column.
# A unit of `conv1` is a sum over nine pixels:

# %%
from internals.activations import Unit

unit = Unit("conv1", channel=0, row=4, column=2)
window = images[0, 0, 4:7, 2:5]
by_hand = window[:, 2].sum() - window[:, 0].sum()
assert torch.isclose(
    by_hand, maps["conv1"][0, unit.channel, unit.row, unit.column]
)

# %% [markdown]
# ## What does it see?
#
# A unit's *receptive field* is the part of the image that can change it. Going up through the
# layers, a window of $k$ taps widens a field of size $r$ by $k - 1$ steps, and a step is as long as
# the product of all strides before it [@araujo2019]:
#
# $$
# r_l = r_{l-1} + (k_l - 1) \prod_{i<l} s_i .
# $$
#
# For `conv2` that is $1 + 2 \cdot 1 = 3$, then $3 + 1 \cdot 1 = 4$ after pooling with stride 2,
# then $4 + 1 \cdot 2 = 6$:

# %%
from internals.anatomy import receptive_field

sees = receptive_field(toy, "conv2", (1, 12, 12))
sees_less = receptive_field(toy, "conv1", (1, 12, 12))
print(sees)
assert (sees.size, sees.stride, sees.start) == (6, 2, 0)

# %% [markdown]
# The book computes it from the graph of any network, with branches and all, so nobody has to count.
# Here are the fields of three units:

# %% tags=["hide-input"]
from internals.figures import field

show(
    field(
        images[0].numpy(),
        {
            "conv2 unit (0, 0)": sees.box(0, 0),
            "conv2 unit (2, 1)": sees.box(2, 1),
            "conv1 unit (4, 2)": sees_less.box(4, 2),
        },
        caption="What three units can see of a 12 × 12 image. A unit of conv1 sees 3 × 3 pixels; "
        "units of conv2 see 6 × 6, and two rows further down a unit's field lies four pixels lower, "
        "because the layer's stride is two.",
        alt="A pixel grid with a bright box and three outlined squares, one of three and two of six "
        "pixels a side.",
    ),
    "fields",
)  # fmt: skip

# %% [markdown]
# The same can be tested without any arithmetic: change one pixel after the other and see whether
# unit (2, 1) moves. Every pixel is made much brighter, and then much darker:


# %%
def moved_by(change: float) -> torch.Tensor:
    """Which pixels, changed one at a time, move unit (2, 1)."""
    moves = torch.zeros(12, 12, dtype=torch.bool)
    for pixel in range(144):
        changed = images[:1].clone()
        changed.view(-1)[pixel] += change
        moves.view(-1)[pixel] = (
            toy(changed)[0, 0, 2, 1] != maps["conv2"][0, 0, 2, 1]
        )
    return moves


brighter, darker = moved_by(5.0), moved_by(-5.0)
top, left, bottom, right = sees.box(2, 1)
inside = torch.zeros_like(brighter)
inside[top:bottom, left:right] = True
assert torch.equal(brighter | darker, inside)
chapter.finding(
    f"No pixel outside the field moves the unit, and every one inside does: {int(brighter.sum())} of the "
    f"{int(inside.sum())} when they are made brighter, the other three when they are made darker. More "
    "light on those three only lowers values that lose their maximum anyway.",
    holds=brighter.sum() == 33
    and inside.sum() == 36
    and torch.equal(brighter | darker, inside),
)

# %% [markdown]
# ## What does it want?
#
# The plainest way to learn what a channel answers to is to show it many images and keep those that
# drive it hardest [@zeiler2014]. The book calls that *mining*. Only the best place in each image
# counts, so that one image cannot fill the list. Where values are equal, the earlier image comes
# first:

# %%
from internals.activations import strongest

best = strongest(toy, images, ["conv1", "conv2"], k=9)["conv2"]

# %% [markdown]
# Is it right? A scan that does nothing clever must agree:

# %%
with torch.no_grad():
    answers = toy(images)[:, 0].flatten(1)
values = answers.amax(dim=1)
order = values.argsort(descending=True, stable=True)[:9]
assert torch.equal(order, best.image[0])
assert torch.allclose(values[order], best.value[0])

# %% [markdown]
# ## Which pixels did it?
#
# Now the way back. Put a signal of 1 on the unit, 0 everywhere else in its layer, and run the
# layers backwards. Most of them leave no choice: a convolution sends the signal back through the
# same weights, a maximum sends it to the pixel that won (Zeiler and Fergus call the winners
# *switches*), an average spreads it evenly. All of that is the ordinary gradient. What arrives at
# the pixels is the unit's *projection*. Only at the rectifier do three methods differ. With $g$ the
# signal that comes back to it and $a$ what it had put out,
#
# | rule | passes on | after |
# |---|---|---|
# | gradient | $g$ where $a > 0$ | Simonyan, Vedaldi and Zisserman [@simonyan2014] |
# | deconvnet | $g$ where $g > 0$ | Zeiler and Fergus [@zeiler2014] |
# | guided | $g$ where $a > 0$ and $g > 0$ | Springenberg et al. [@springenberg2015] |
#
# By hand, for the strongest unit of our corner finder, from the top down:

# %%
from torch.nn import functional

unit, number = best.units(0)[0], int(best.image[0, 0])
image = images[number : number + 1]
relu1 = toy.relu1(toy.conv1(image))
pool1, switches = functional.max_pool2d(relu1, 2, return_indices=True)
signal = torch.zeros_like(toy.conv2(pool1))
signal[0, 0, unit.row, unit.column] = 1

# %% [markdown]
# Backwards: the kernel of conv2 transposed, the switches, the rectifier, the kernels of conv1 transposed:

# %%
by_hand = {}
signal = functional.conv_transpose2d(signal, toy.conv2.weight)
signal = functional.max_unpool2d(signal, switches, 2)
for rule, kept in {
    "gradient": signal * (relu1 > 0),
    "deconvnet": signal.clamp(min=0),
    "guided": signal.clamp(min=0) * (relu1 > 0),
}.items():
    by_hand[rule] = functional.conv_transpose2d(kept, toy.conv1.weight)[0]

# %% [markdown]
# And by the book's instrument, which takes any network as it is, changes nothing in it, and treats
# as many units at a time as you like:

# %%
from internals.projection import project

projections = {rule: project(toy, image, [unit], rule)[0] for rule in by_hand}
for rule, projection in projections.items():
    assert torch.allclose(projection.full(), by_hand[rule], atol=1e-6), rule
    assert projection.box == sees.box(unit.row, unit.column)

# %% [markdown]
# Here are the three answers for two units of this drawing: the strongest, and one whose field holds
# the box's bottom row and nothing else of it. The gradient is about slight changes. A little more
# light on an amber pixel would raise the unit, and on a blue one it would lower it. On a mid-grey
# pixel it would change nothing. The other two change what a rectifier lets back, each by its rule:

# %% tags=["hide-input"]
from internals.figures import comparison

units = [unit, Unit("conv2", channel=0, row=2, column=1)]
three = [
    [project(toy, image, [one], rule)[0].full().numpy() for rule in by_hand]
    for one in units
]
show(
    comparison(
        three,
        list(by_hand),
        images=[image[0].numpy()] * 2,
        names=["at the corner", "below it"],
        caption="Two units of conv2 in one drawing, and three ways back from each. The gradient has "
        "every pixel whose slightest change would move the unit. Deconvnet drops what comes back "
        "negative to a rectifier; guided drops also what comes back to one that was silent.",
        alt="Two rows. Above, deconvnet and guided show the same amber corner with blue outside. "
        "Below, deconvnet shows a corner again, and guided only two short upright bars.",
    ),
    "three-rules",
)
with torch.no_grad():
    low = toy(image)[0, 0, 2, 1].item()
chapter.finding(
    "At the corner deconvnet and guided agree exactly, because every maximum that a positive signal "
    f"goes back to was active. Below it the unit has a value of {low:.2f}, against "
    f"{best.value[0, 0]:.1f} at the corner, and yet deconvnet draws a corner there, as strong as the one "
    "above. Guided has two upright bars, a quarter as strong.",
    holds=(three[0][1] == three[0][2]).all()
    and abs(three[1][1]).max() == abs(three[0][1]).max()
    and abs(three[1][1]).max() == 4 * abs(three[1][2]).max()
    and low < 1,
)

# %% [markdown]
# There is one trap on the way: `max_unpool2d` equals the gradient of the maximum only while windows
# do not overlap. With the 3 × 3 windows at stride 2 of later networks, one pixel can win twice, and
# unpooling overwrites where the gradient adds. The book's instrument always uses the gradient:

# %%
peak = torch.zeros(1, 1, 7, 7)
peak[0, 0, 1::2, 1::2] = 1.0
peak[0, 0, 2::2, 2::2] = 2.0
peak.requires_grad_()
pooled, switches = functional.max_pool2d(peak, 3, 2, return_indices=True)
(added,) = torch.autograd.grad(pooled.sum(), peak)
overwritten = functional.max_unpool2d(torch.ones_like(pooled), switches, 3, 2)
print(f"gradient {added.sum():.0f} of 9, unpooling {overwritten.sum():.0f}")
assert added.sum() == 9 > overwritten.sum()

# %% [markdown]
# ### Where there is no rule
#
# The papers speak of rectifiers only. Code that replaces the backward pass of `nn.ReLU` modules
# alone misses a tanh, and a rectifier written as a function. It then returns the plain gradient
# without a warning. The book's instrument finds a rectifier written either way. Where it has no rule, as
# here for a tanh, it raises an error:

# %%
from internals.errors import ProjectionError

conv2 = nn.Conv2d(2, 1, kernel_size=3)
squashed = nn.Sequential(
    OrderedDict(conv1=toy.conv1, tanh1=nn.Tanh(), conv2=conv2)
)
unit0 = Unit("conv2", channel=0)
try:
    project(squashed, image, [unit0], rule="guided")
except ProjectionError as error:
    print(error)

# %% [markdown]
# A rule can be chosen by name. This book uses `agreeing` for LeNet-5: at a tanh, pass on a signal
# that has the same sign as the tanh's output. Such a signal asks for more of what was there. On a
# rectifier, whose outputs have one sign only, this would be the guided rule:

# %%
chosen = project(squashed, image, [unit0], rule="guided", tanh="agreeing")[0]
print(f"{chosen.unit} has the value {chosen.value:.3f} and sees {chosen.box}")

# %% [markdown]
# ## Would it look the same if nothing had been learned?
#
# A picture with edges where the image has edges convinces the eye, and that is the danger: an edge
# detector draws such pictures too, and knows nothing of the network. Adebayo and others therefore
# replace the weights by random ones and look again [@adebayo2018]. Here that is done to the upper
# layer of the toy, with twenty draws of its eight weights, and the strongest unit in each of the first
# twenty drawings.
#
# How much of a picture is left is measured by *rank correlation* (Spearman's ρ). The pixels of the
# unit's receptive field are ranked by their magnitude, whatever their sign. Then the ranks of two
# pictures are correlated: 1 means the same order, 0 that one order says nothing about the other.

# %%
from internals.projection import sanity

some = images[:20]
top_units = [found.unit for found in project(toy, some, "conv2:0")]
draws = [
    sanity(toy, some, top_units, stages=["conv2"], seed=seed)
    for seed in range(20)
]
kept = {
    rule: [draw.magnitudes[row, 1].mean() for draw in draws]
    for row, rule in enumerate(by_hand)
}

# %% [markdown]
# Two pictures that have nothing to do with each other do not have a ρ of 0. A unit depends more on
# the middle of its field than on the border, whatever it answers to, and pictures of different things
# have that in common. So every ρ needs a *baseline*. We take a picture made by the weights set by hand
# and one that a random draw made of the next drawing, and lay their fields on one another:

# %%
import numpy as np
from scipy.stats import spearmanr


def cut(picture: np.ndarray, unit: Unit) -> np.ndarray:
    """The magnitudes in a unit's field."""
    top, left, bottom, right = sees.box(unit.row, unit.column)
    return np.abs(picture[0, top:bottom, left:right]).ravel()


def rho(a: np.ndarray, b: np.ndarray) -> float:
    return spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else 0.0


baseline = {}
for row, rule in enumerate(by_hand):
    found = []
    for draw in draws:
        ours, theirs = (list(map(cut, x, top_units)) for x in draw.maps[row])
        assert np.isclose(rho(ours[0], theirs[0]), draw.magnitudes[row, 1, 0])
        found += map(rho, ours, theirs[1:] + theirs[:1])
    baseline[rule] = sum(found) / len(found)

# %% [markdown]
# Here are the first three draws, beside the picture made by the weights set by hand:

# %% tags=["hide-input"]
before = draws[0].pictures()
show(
    comparison(
        [
            [before[row][0], *(draw.pictures()[row][1] for draw in draws[:3])]
            for row in range(3)
        ],
        ["set by hand", *(f"draw {number}" for number in (1, 2, 3))],
        names=list(kept),
        notes=[
            [
                f"baseline {baseline[rule]:.2f}",
                *(f"ρ = {value:.2f}" for value in values[:3]),
            ]
            for rule, values in kept.items()
        ],
        shared=False,
        caption="The strongest unit of the first drawing, projected with the weights of conv2 set by "
        "hand, and with random ones, three times. ρ is the rank correlation with the picture on the "
        "left, the mean of twenty drawings. The baseline is that of pictures that share neither drawing "
        "nor weights of conv2. Each picture has its own scale, which is printed below it.",
        alt="Three rows of four small pictures. The first and last of a row show nearly the same "
        "corner. Draw 1 has other patches or a level bar in its place, and draw 2 has a part of the "
        "corner in the lower two rows.",
    ),
    "random-weights",
)
chapter.finding(
    "By chance, draw 3 has nearly the same pictures as the weights set by hand, under every rule "
    f"(ρ = {', '.join(f'{v[2]:.2f}' for v in kept.values())}). With draws 1 and 2 ρ is between "
    f"{min(min(v[:2]) for v in kept.values()):.2f} and {max(max(v[:2]) for v in kept.values()):.2f}.",
    holds=min(v[2] for v in kept.values()) > 0.85
    and max(max(v[:2]) for v in kept.values()) < 0.75,
)

# %% [markdown]
# Over all twenty draws:

# %% tags=["hide-input"]
from internals.figures import Table

mean = {rule: sum(values) / 20 for rule, values in kept.items()}
show(
    Table.of(
        ("rule", "baseline", "mean ρ", "lowest draw", "highest draw"),
        tuple(
            (
                rule,
                *(
                    f"{x:.2f}"
                    for x in (baseline[rule], mean[rule], min(left), max(left))
                ),
            )
            for rule, left in kept.items()
        ),
        caption="Rank correlation of the projections' magnitudes before and after the weights of "
        "conv2 were replaced by random ones, mean of twenty drawings, over twenty draws.",
    ),
    "control",
)
chapter.finding(
    f"Pictures that share neither drawing nor weights have a ρ of {min(baseline.values()):.2f} to "
    f"{max(baseline.values()):.2f}. Those of the same drawing have {min(mean.values()):.2f} to "
    f"{max(mean.values()):.2f} on average, though the weights of conv2 are others. What lies above the "
    "baseline comes from the drawing and the first layer, and not from what conv2 computes. The "
    "gradient keeps most, because the drawing and the first layer alone decide which pixels it "
    "reaches. The other two rules also drop whatever the random weights send back negative.",
    holds=all(mean[rule] > baseline[rule] + 0.15 for rule in mean)
    and max(mean, key=lambda rule: mean[rule]) == "gradient",
)

# %% [markdown]
# In the next chapter's network the guided rule has the highest ρ, and the highest baseline as well. How
# much a rule keeps, and how much unrelated pictures have in common, depends on the network. That is why
# the chapters about a network have this control after their pictures. They take the baseline from the
# trained network alone, as what pictures of different channels on different images have in common. And
# their claims about what a channel *detects* rest on the images that drive it, not on the look of a
# projection.
#
# ## How to read a panel
#
# From here on the first three questions come together in one figure: for each channel of a layer,
# the nine images that drive it hardest, cut to what the unit can see, under the projection of that
# unit. A `Network` holds what is needed besides the module, such as how pixels become its input:

# %%
from internals import Network, Normalization, panels
from internals.data import ImageSet

drawings = ImageSet(
    (images * 255).round().to(torch.uint8),
    torch.arange(len(images)), tuple(names), "boxes", "drawn",
)  # fmt: skip
net = Network(toy, normalization=Normalization((0.0,), (1.0,)))

# %% [markdown]
# Here is the only channel of the toy's second layer:

# %% tags=["hide-input"]
rows = net.patches(best, [0], images=drawings)
show(
    panels(
        rows,
        caption="The nine drawings that drive channel 0 of conv2 hardest, strongest first: guided "
        "projections above the patches they belong to. Patches are shown as they are. The "
        "projections of a channel share one scale: amber for plus, blue for minus, mid grey for 0. "
        "Printed are the unit's value, the class (here the size of the box) and the number of the "
        "image.",
        alt="Nine pairs of small tiles; every patch has the top left corner of a bright box in it, "
        "every projection an amber corner with blue outside.",
    ),
    "panel",
)
pictures = [picture.ravel() for picture in rows[0].projections]
alike = np.corrcoef(pictures)[0].min()
chosen = (sizes > 3).all(dim=1) & (corners % 2 == 1).all(dim=1)
count = int(chosen.sum())
first = values.argsort(descending=True)[:count].tolist()
chapter.finding(
    "Every patch holds a top left corner, and the nine projections are nearly one picture of it: their "
    f"correlation with the first is above {alike - 0.005:.2f}. The patches say more. No box among the nine has "
    "a side of 3, and each begins in an odd row and an odd column, counted from 0. "
    f"{count} of the 200 drawings are like that, and they are the {count} strongest.",
    holds=alike > 0.9
    and count > 9
    and set(first) == set(chosen.nonzero().flatten().tolist()),
)

# %% [markdown]
# So what we built as a corner finder also prefers large boxes, at certain places. An edge of four pixels
# or more has its full answer at two neighbouring places of `conv1`. If it begins at an odd pixel, these
# two lie in different windows of the pooling, and `conv2` gets the full answer twice. The projections
# alone do not show this.
#
# A panel is best read in this order: first the patches of a row (what do they share?), then the
# projections (is that what mattered?), then the values (is the ninth nearly as strong as the first?),
# all with the control in mind.
#
# ## Do this with your own network
#
# Every instrument of this chapter takes a network of yours as it is. `mine:network` stands for the
# function or class `network` in your file `mine.py`; a name of torchvision's, such as `resnet18`,
# will do as well. The first command lists its layers and what their units see, the second draws a
# panel, and the third a page for every layer:
#
# ```sh
# internals summary mine:network --weights mine.pth
# internals project mine:network --weights mine.pth --layer conv2 \
#     --images photos --out panel.png
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
# [In Python](../docs/library.md#which-images-drive-it-hardest) it is a few lines.
#
# ## Exercises
#
# 1. Turn `toy` into a finder of bottom right corners. Which weights have to change sign?
# 2. Replace the maximum by an average. How does the receptive field change, and the gradient?
# 3. Give `conv1` a padding of 1. Where do the fields of `conv2` start now, and what becomes of a
#    patch at the border?
#
# Next comes a network that nobody set by hand: [LeNet-5](01_lenet5.py).
