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
# title: InceptionNet
# year: 2014
# paper_score: 10.07 % errors (top-5) on ImageNet, one network and crop
# thumbnail: conv30-strongest
# description: Four ways of looking at the same maps, side by side, for a ninth of AlexNet's parameters.
# network: inceptionnet
# data: imagenette
# ---

# %% [markdown]
# # InceptionNet: four windows on the same maps
#
# VGG came second in the classification task of ILSVRC-2014, with 138 million parameters a network.
# First came Christian Szegedy and eight colleagues, with seven million and more layers
# [@szegedy2015]. Their network does not choose the size of its windows: at every level it looks
# through 1 × 1, 3 × 3 and 5 × 5 pixels and a maximum at once, and stacks what the four find. The
# architecture is called Inception; its form with 22 layers, which won, is GoogLeNet, a bow to LeNet.
# This book says InceptionNet, as the notebooks that it grew from did.
#
# **What you will see**
#
# - how a layer of 1 × 1 windows makes the 5 × 5 ones ten times cheaper, branch by branch;
# - the paper's table of operations recounted: all modules but one agree, and the first row belongs
#   to another layer than the text describes;
# - what drives the channels of all nine modules, with their true fields, 11 to 651 pixels wide;
# - which branch the evidence for each class comes through, exactly.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The pictures
#
# The data are those of the [AlexNet chapter](02_alexnet.py), ten classes of photographs or, where
# they are not at hand, their embedded stand-in. How large the network sees them is part of its
# recipe:

# %%
from internals import load
from internals.training import find_recipe

recipe = find_recipe("inceptionnet", chapter.profile)
images = load(
    "imagenette",
    chapter.data,
    size=recipe.stored,
    seed=chapter.seed,
    most=chapter.most_images,
)

# %% [markdown]
# ## The module
#
# What matters in a picture may be large or small, so a layer with one size of window is always
# wrong somewhere. An Inception module leaves the question open. All of its branches read the same
# maps, padding keeps their grids alike, and what comes out is stacked:
#
# $$
# y = \bigl[\, f_1(x),\; f_3(r_3(x)),\; f_5(r_5(x)),\; p(\max\nolimits_{3\times3} x) \,\bigr],
# $$
#
# where $f_k$ are convolutions with windows of $k$ pixels, and $r_3$, $r_5$ and $p$ have 1 × 1
# windows; a rectifier follows each of the six. This is the first of the nine, drawn by its numbers:

# %% tags=["hide-input"]
from internals.figures import branches

show(
    branches(
        ("3a reads", 192),
        [
            [("1 × 1", 64)],
            [("1 × 1", 96), ("3 × 3", 128)],
            [("1 × 1", 16), ("5 × 5", 32)],
            [("3 × 3 maximum", 192), ("1 × 1", 32)],
        ],
        "stacked",
        caption="Module 3a. The height of a bar is its number of maps. Each branch reads all 192; two "
        "are thinned out by a 1 × 1 convolution before their wide windows, which is where the "
        "saving lies, and the pooled maps after theirs, so that the stack does not grow too fast.",
        alt="A bar of 192 maps flows into four branches: 64 maps of 1 by 1; 96, then 128 of 3 by 3; "
        "16, then 32 of 5 by 5; a maximum of 192, then 32. Their ends form one bar of 256.",
    ),
    "module",
)

# %% [markdown]
# In code it is that line and no more. `InceptionNet(paper=True)` is the paper's form:

# %%
import torch

from internals.models import InceptionNet

torch.manual_seed(chapter.seed)
paper = InceptionNet(1000, paper=True).eval()
m, x = paper.inception3a, torch.rand(1, 192, 28, 28)
stacked = [
    m.conv1x1(x),
    m.conv3x3(m.conv3x3_reduce(x).relu()),
    m.conv5x5(m.conv5x5_reduce(x).relu()),
    m.conv_proj(m.pool(x)),
]
by_hand = torch.cat(stacked, dim=1).relu()
assert torch.allclose(by_hand, m(x), atol=1e-5)
assert by_hand.shape == (1, 256, 28, 28)

# %% [markdown]
# ## What a window of one pixel is for
#
# A 1 × 1 convolution sees no neighbours. It is one matrix, applied to the column of maps at every
# place,
#
# $$
# a_{mij} = b_m + \sum_n w_{mn}\, x_{nij},
# $$
#
# so it can say the same with fewer maps, if the maps repeat one another, or mix them anew. The idea
# comes from Lin, Chen and Yan's *Network in network* [@lin2014]:

# %%
weight, bias = m.conv5x5_reduce.weight[:, :, 0, 0], m.conv5x5_reduce.bias
mixed = torch.einsum("mn,bnij->bmij", weight, x) + bias.view(-1, 1, 1)
assert torch.allclose(mixed, m.conv5x5_reduce(x), atol=1e-4)

# %% [markdown]
# Going from 192 maps to 32 with windows of 5 × 5 takes 192 · 25 products for each number that comes
# out. Through 16 maps in between it takes a tenth of that. Here are all four branches of 3a, with
# and without the thinning. Without it, the maximum would pass on all its 192 maps, and each stack
# would be wider than the last:

# %%
places = 28 * 28
direct = {"1 × 1": 64 * 192, "3 × 3": 128 * 9 * 192, "5 × 5": 32 * 25 * 192}
thinned = {
    "1 × 1": 64 * 192,
    "3 × 3": 96 * 192 + 128 * 9 * 96,
    "5 × 5": 16 * 192 + 32 * 25 * 16,
    "maximum": 32 * 192,
}
cost = [
    (branch, direct.get(branch, 0) * places / 1e6, products * places / 1e6)
    for branch, products in thinned.items()
]
assert 9.6 < direct["5 × 5"] / thinned["5 × 5"] < 9.7

# %% [markdown]
# Most of the saving is in the two wide branches:

# %% tags=["hide-input"]
from internals.figures import Table

totals = [sum(row[column] for row in cost) for column in (1, 2)]
show(
    Table.of(
        ("branch of 3a", "direct, millions", "thinned, millions"),
        [(name, f"{a:.1f}", f"{b:.1f}") for name, a, b in [*cost, ("all", *totals)]],
        caption="Multiply-adds of module 3a for one image of 224 × 224, with every branch reading all "
        "192 maps directly, and with the 1 × 1 convolutions of the paper.",
    ),
    "thinning",
)  # fmt: skip
assert round(totals[1]) == 128  # as table 1 of the paper has it

# %% [markdown]
# ## The whole network
#
# Nine modules stand on a short stem and are divided by maxima that halve the grid. At the top, no
# fully connected layers but one: every map is averaged to a single number, and a matrix turns 1,024
# of them into classes.

# %% tags=["hide-input"]
from internals.figures import Stage, stack

show(
    stack(
        [
            Stage("input", 3, 224, 224, "7 × 7, maximum", 11),
            Stage("maxpool1", 64, 56, 56, "1 × 1, 3 × 3, maximum", 5),
            Stage("maxpool2", 192, 28, 28, "3a, 3b, maximum", 11),
            Stage("maxpool3", 480, 14, 14, "4a to 4e, maximum"),
            Stage("maxpool4", 832, 7, 7, "5a, 5b"),
            Stage("5b", 1024, 7, 7, "average"),
            Stage("avgpool", 1024, operation="linear"),
            Stage("fc", 1000),
        ],
        caption="GoogLeNet drawn to scale for the paper's images. Five halvings take the grid from 224 "
        "to 7 while the maps grow from 3 to 1,024; seven of the nine modules work on grids of "
        "14 and 7, where wide windows are cheap and span much of the picture.",
        alt="Eight stages from a 224 by 224 input to 1,000 outputs: 64 maps of 56, 192 of 28, 480 of "
        "14, 832 of 7, 1,024 of 7, 1,024 averages and 1,000 classes.",
    ),
    "architecture",
)

# %% [markdown]
# Table 1 of the paper gives the operations of each row. We count them, from the graph:

# %%
from itertools import groupby

from internals.anatomy import summarize

PRINTED = {
    "conv1": 34, "conv3": 360, "inception3a": 128, "inception3b": 304,
    "inception4a": 73, "inception4b": 88, "inception4c": 100,
    "inception4d": 119, "inception4e": 170, "inception5a": 54,
    "inception5b": 71, "fc": 1,
}  # fmt: skip
rows = summarize(paper, (3, 224, 224))
parts = {
    name: list(part)
    for name, part in groupby(rows, lambda row: row.name.partition(".")[0])
}
counted = {
    name: sum(row.multiply_adds for row in part) / 1e6
    for name, part in parts.items()
}
counted["conv3"] += counted.pop("conv2")  # one row of the paper's table
off = {name for name in PRINTED if abs(counted[name] - PRINTED[name]) >= 1}
assert off == {"conv1", "inception5a"}

# %% [markdown]
# Ten of the twelve numbers agree to within a million. Fields are those of a module's widest branch:

# %%
convolutions = [row for row in rows if row.kind == "Conv2d"]
ENDS = ("relu1x1", "relu3x3", "relu5x5", "relu_proj")


def line(name: str) -> tuple:
    part = parts[name]
    ends = [r for r in part if r.name.partition(".")[2] in ENDS] or part
    maps = sum(row.shape[0] for row in ends)
    fields = [row.field for row in part if row.field]
    widest = max(fields, key=lambda field: field.size, default=None)
    return (
        name.removeprefix("inception"),
        " × ".join(map(str, (maps, *ends[0].shape[1:]))),
        sum(row.parameters for row in part),
        f"{counted[name]:.1f}" if name in counted else "",
        str(PRINTED.get(name, "")),
        widest.size if widest and widest.stride else "all",
    )


# %% [markdown]
# Fields wider than the image are meant: a unit of 5b could use a picture of 715 pixels.

# %% tags=["hide-input"]
HIDDEN = ("relu", "lrn", "dropout")
show(
    Table.of(
        ("layer", "output", "parameters", "M multiply-adds", "the paper", "field"),
        [line(name) for name in parts if not name.startswith(HIDDEN)],
        caption="GoogLeNet as in the paper, row by row, for an image of 224 × 224 and 1,000 classes, "
        "with the operations that its table 1 prints, in millions. The paper has conv2 and conv3 in "
        "one row of 360, and so have we.",
    ),
    "layers",
)  # fmt: skip
assert sum(row.parameters for row in rows) == 6_998_552
assert len(convolutions) == 57 and 3 + 9 * 2 + 1 == 22

# %% [markdown]
# That is 6,998,552 parameters in 57 convolutions and one matrix; the longest way through them has 22
# layers: three of the stem, two a module, one at the top. AlexNet has 60,965,224 parameters, 8.7
# times as many. The paper says twelve times.
#
# Two rows do not fit. For 5a its own widths give 51 million, not 54. And the first row's 34 million,
# with "2.7K" parameters, is not the 7 × 7 convolution of the text but a *separable* one: eight
# 7 × 7 filters for each colour, then a 1 × 1 mixing of those 24 maps into 64. That fits both numbers,
# and MobileNet's authors mention such layers at the bottom of Inception models [@howard2017]:

# %%
separable = 3 * 8 * 7 * 7 + 24 * 64
print(f"{separable:,} weights, {separable * 112 * 112:,} multiply-adds")
assert separable == 2_712 and round(separable * 112**2 / 1e6) == 34
assert round(60_965_224 / 6_998_552, 1) == 8.7

# %% [markdown]
# The text, and every rebuilding of the network that we know of, has the full 7 × 7 convolution, and
# so have we[^port].
#
# [^port]: Not every copy is GoogLeNet. torchvision's `googlenet` has 3 × 3 windows in the branch that
#     should have 5 × 5, a slip of the code it was ported from which pretrained weights have made
#     permanent (pytorch/vision, issue 906). Its fields are smaller than those above.
#
# ### Where the parameters are not
#
# AlexNet has 58 of its 61 million parameters in fully connected layers, where the grid is read out,
# and in VGG it is much the same. Averaging each map first leaves one number a map, wherever on the grid it was:

# %%
maps, side, classes = 1024, 7, 1000
averaged = (maps + 1) * classes
flattened = (maps * side**2 + 1) * classes
alexnet = 9217 * 4096 + 4097 * 4096 + 4097 * classes
print(f"{averaged:,} parameters; without averaging {flattened:,}")
assert 58e6 < alexnet < 59e6
assert averaged == sum(p.numel() for p in paper.fc.parameters())
assert flattened > 7 * sum(p.numel() for p in paper.parameters())

# %% [markdown]
# ### Help half-way
#
# Would a gradient still reach the lowest of twenty-two layers? The authors were concerned, and put
# two small classifiers on the outputs of 4a and 4d. They are there during training only, and their
# losses are added to the network's own with a weight of 0.3:
#
# $$
# L = L_{\text{fc}} + 0.3\,(L_{4a} + L_{4d}).
# $$
#
# They bring gradients into the middle, and have nearly as many parameters as all the rest:

# %%
heads = InceptionNet(1000, paper=True, auxiliary=True)
extra = [
    sum(p.numel() for p in head.parameters())
    for head in (heads.auxiliary4a, heads.auxiliary4d)
]
print(f"{extra[0]:,} and {extra[1]:,} parameters, dropped after training")
assert extra == [3_188_840, 3_190_888]

# %% [markdown]
# Five months later came batch normalisation, tried first on a relative of this very network
# [@ioffe2015], and the network below uses that instead. It is not indispensable: the Caffe group
# trained GoogLeNet without it, to 68.7 % on ImageNet with one crop [@guadarrama2014].
#
# ### Where this implementation departs from the paper
#
# | what | the paper | here |
# |---|---|---|
# | normalisation | local responses, twice in the stem | batch normalisation after every convolution |
# | auxiliary heads | at 4a and 4d | none; `InceptionNet(auxiliary=True)` has them |
# | dropout | 40 % | 50 % |
# | classes | 1,000 | 10 |
# | optimiser | asynchronous SGD, weights averaged over time | SGD with momentum |
# | tested on | 144 crops, 7 networks | one crop, one network |
#
# `InceptionNet(paper=True)` undoes the first three. What the paper leaves open (how weights start,
# the constants of its normalisation) follows Caffe's replication there.
#
# ## Training

# %% tags=["hide-input"]
from internals.training import SEED_RECIPES, hyperparameters

notebook = {
    row[0]: row[1] for row in hyperparameters(SEED_RECIPES["inceptionnet"])
}
show(
    Table.of(
        ("hyperparameter", "here", "the notebooks", "the paper"),
        [
            (name, value, notebook.get(name, ""), published)
            for name, value, published in hyperparameters(recipe, images.train)
        ],
        caption="The recipe of the run below, that of the notebooks this book grew from, and what the "
        "paper says. It gives neither a first learning rate nor a batch size nor a number of epochs.",
    ),
    "recipe",
)  # fmt: skip

# %% [markdown]
# The paper's schedule, 4 % less every eight epochs, is made for long training. In the thirty epochs
# of the notebooks it takes the rate to 0.885 of its start, which is hardly a schedule at all. Ours
# comes down to 0:

# %%
from internals.training import trained

assert round(0.96 ** (30 // 8), 3) == 0.885

run = trained(recipe, images, seed=chapter.seed)
test, seconds = run.test, run.provenance.seconds
names = images.test.class_names
print(
    f"{test.top1:.2%} of {len(test.predicted):,} test images, {seconds:.0f} s"
)
chapter.record(test_top1=test.top1, test_loss=test.loss, seconds=seconds)

# %% [markdown]
# The two curves are not of the same pictures. In training the network sees windows cut at random, from
# 8 to 100 % of the picture, with their colours shifted; held-out images are shown whole:

# %% tags=["hide-input"]
from internals.book import learning_curves

show(
    learning_curves(
        run,
        caption="Loss and accuracy by epoch. Training images are harder than held-out ones, so that the "
        "held-out curve may well be the better of the two. The dashed line is the score of the epoch "
        "kept on the test images.",
        alt="Two charts by epoch: training and held-out loss fall, both accuracies rise; the level of "
        "the test accuracy is dashed.",
    ),
    "training",
)

# %% [markdown]
# What should the score be compared with? The paper's are top-5 errors on ImageNet's thousand
# classes, where ours is top-1 on ten; they stand here for the record, not for a race. And the
# famous 6.67 % is not what one GoogLeNet does: it is seven networks asked about 144 crops of each
# image [@szegedy2015]:

# %% tags=["hide-input"]
from internals.figures import percent

scores = [
    ("this chapter", run.provenance.data, "one crop", "top-1", percent(1 - test.top1)),
    ("xse_resnext50, 128 px, 20 epochs", "Imagenette", "one crop", "top-1", "8.4 %"),
    ("GoogLeNet, Caffe's replication", "ImageNet", "one crop", "top-1", "31.3 %"),
    ("GoogLeNet, one", "ImageNet", "one crop", "top-5", "10.07 %"),
    ("GoogLeNet, one", "ImageNet", "144 crops", "top-5", "7.89 %"),
    ("GoogLeNet, seven", "ImageNet", "one crop", "top-5", "8.09 %"),
    ("GoogLeNet, seven", "ImageNet", "144 crops", "top-5", "6.67 %"),
]  # fmt: skip
show(
    Table.of(
        ("network", "data", "test", "measure", "errors"),
        scores,
        caption="Our run (n = 1) and what others report: a later network from Imagenette's leaderboard, "
        "Caffe's GoogLeNet without normalisation, and the paper's tables 2 and 3. "
        "Lines with different data or measures cannot be compared.",
    ),
    "scores",
)

# %% [markdown]
# We have found no trustworthy report of GoogLeNet trained on Imagenette alone. The leaderboard's line
# is for a network of 2019 [@howard2019]. Which classes does ours take for which?

# %% tags=["hide-input"]
from internals.figures import confusion

show(
    confusion(
        test.confusion,
        names,
        caption="Which test images (rows) were taken for which class (columns), right answers muted. "
        "Look for cells that stand out on both sides of the diagonal: those two classes look alike "
        "to this network.",
        alt="A ten by ten matrix of counts with the class names; right answers on the diagonal.",
    ),
    "confusion",
)

# %% [markdown]
# The mistakes of which it was surest often have a reason that can be seen. Look for pictures that
# hold a second thing, or a setting that belongs to another class:

# %% tags=["hide-input"]
from internals.book import worst_mistakes

show(
    worst_mistakes(
        run,
        images.test,
        caption="The ten most confident mistakes on the test images: true class → answer, its "
        "posterior, and the image's number. The pictures are as the network saw them.",
        alt="Ten misjudged test images, each with its true class, the wrong answer and its "
        "confidence.",
    ),
    "mistakes",
)

# %% [markdown]
# ## Looking inside
#
# How these pictures are made and read is the subject of [How to look](00_how_to_look.py).
#
# ### The filters of the first layer
#
# The stem begins like every network for photographs, with windows large enough for an edge and its
# colours:

# %% tags=["hide-input"]
from internals.figures import filters

show(
    filters(
        run.model.conv1.weight.detach().numpy(),
        caption="The 64 kernels of conv1, 7 × 7 pixels in colour, on one scale with grey as 0. A kernel "
        "whose halves differ in brightness answers to an edge, one whose halves differ in hue to a "
        "border of colours. Speckled kernels have not moved far from their random start.",
        alt="An eight by eight sheet of small coloured squares: some with stripes or halves of light "
        "and dark, some with two colours, some speckled.",
    ),
    "conv1-filters",
)

# %% [markdown]
# ### Three scales in one layer
#
# What makes this network different shows in the fields. Units at one place of 3a see 27, 43 or 59
# pixels, depending on their branch, and a unit of 3b above them takes its pick of all three:

# %%
from internals.figures import field

fields = {row.name: row.field for row in rows if row.field}
pictures = run.pipeline.view(images.train)
middle = recipe.size // 16
branch_fields = {
    window: fields[f"inception3a.conv{window}"].box(middle, middle)
    for window in ("1x1", "3x3", "5x5")
}
sides = [bottom - top for top, _, bottom, _ in branch_fields.values()]
assert sides == [27, 43, 59]
show(
    field(
        pictures.images[0].numpy() / 255,
        {name.replace("x", " × "): box for name, box in branch_fields.items()},
        caption="What three units of module 3a at one place of the grid can see of a training image. "
        "All four branches have their centre there; the pooling branch sees as much as 3 × 3.",
        alt="A training image with three nested outlined squares of 27, 43 and 59 pixels.",
    ),
    "scales",
)  # fmt: skip

# %% [markdown]
# Here is what the branches make of that image. Fine texture should survive best in the 1 × 1 branch
# and larger forms in the 5 × 5 one, but each branch is free to look for something else:

# %%
from internals import Network

net = Network.of(run)
ends = {
    "1 × 1": "relu1x1",
    "3 × 3": "relu3x3",
    "5 × 5": "relu5x5",
    "pooled": "relu_proj",
}
layers = [f"inception3a.{end}" for end in ends.values()]
maps = net.capture(pictures.head(1), layers)

# %% [markdown]
# Each branch on its own scale, eight maps of its 64, 128, 32 and 32:

# %% tags=["hide-input"]
from internals.figures import LayerMaps, feature_maps

show(
    feature_maps(
        pictures.images[0].numpy() / 255,
        [
            LayerMaps(f"3a, {name}", maps[layer][0].numpy())
            for name, layer in zip(ends, layers, strict=True)
        ],
        most=8,
        caption="The first eight maps of each branch of 3a for that image, black for 0 and white for "
        "the branch's largest value. Compare how fine the structures are from row to row, and how "
        "many maps are nearly empty, as rectified maps can be.",
        alt="The image, then four rows of small grey maps, one row a branch of the module.",
    ),
    "four-branches",
)  # fmt: skip

# %% [markdown]
# ### What each channel looks for
#
# The notebooks number the 57 convolutions in a row, six a module in the order of table 1, and show
# every other one from conv2 to conv18. So conv16 is the 1 × 1 branch of 4a, the third of nine
# modules, and most of the network lies above. They also cut their patches as if the six stood one
# behind the other, which makes fields too large from conv8 on:

# %%
numbers = range(2, 19, 2)
size, step, in_a_row = 11, 4, []
for conv in convolutions[1:18]:
    if conv.name in ("inception3a.conv1x1", "inception4a.conv1x1"):
        size, step = size + 2 * step, 2 * step  # the maximum before it
    window = paper.get_submodule(conv.name).kernel_size[0]
    size += (window - 1) * step
    in_a_row.append(size)
true = [conv.field.size for conv in convolutions[1:18:2]]
assert true == [11, 27, 43, 59, 59, 75, 91, 107, 139]
assert in_a_row[::2] == [11, 27, 43, 75, 75, 91, 123, 139, 171]

# %% [markdown]
# The true fields follow the graph, where a module is as wide as its widest branch:

# %% tags=["hide-input"]
show(
    Table.of(
        ("number", "layer", "field", "as if in a row"),
        [
            (f"conv{n}", InceptionNet.numbered[f"conv{n}"], *sizes)
            for n, *sizes in zip(numbers, true, in_a_row[::2], strict=True)
        ],
        caption="The layers that the notebooks show: where they are, what their units see, and what "
        "they would see if a module's convolutions stood in series.",
    ),
    "numbers",
)  # fmt: skip

# %% [markdown]
# We show the same nine layers with their true fields, six channels each, and then the 3 × 3 branch
# of the six modules above them, three channels each. Values are taken after normalisation, whose
# factor could turn a channel's sign, and before the rectifier. One pass finds the nine strongest
# places of every channel, over all training images at the full profile, over 1,024 or 64 of them,
# spread evenly, at the smaller ones:

# %%
available = len(pictures)
most = chapter.at(smoke=64, quick=1_024, full=available)
count = min(most, available)
mined = pictures.subset(torch.arange(count) * available // count)
numbered = [f"conv{n}" for n in (*numbers, 24, 30, 36, 42, 48, 54)]
layer_of = {
    name: InceptionNet.numbered[name].replace("conv", "bn")
    for name in numbered
}
strongest = net.strongest(mined, layer_of.values(), k=9)
top = {name: strongest[layer] for name, layer in layer_of.items()}

# %% [markdown]
# Each panel shows guided projections with the patches that they belong to. Where the field is larger
# than the image, the whole image is shown:

# %%
six = range(chapter.at(smoke=1, quick=6, full=6))
three = range(chapter.at(smoke=1, quick=3, full=3))

# %% [markdown]
# #### conv2: colours and edges, mixed
#
# A 1 × 1 convolution on the pooled maps of conv1. Its field is no wider than theirs, 11 pixels; what
# it can add is to combine: this edge and that colour, at one place:

# %%
from internals.figures import panels

show(
    panels(
        net.patches(top["conv2"], six),
        caption="Strongest patches of channels of conv2 with their projections. Compare the "
        "patches of a row: what can a channel that looks at 11 pixels ask for, other than one "
        "edge, one colour or one contrast? Rows that look alike are two channels that do.",
        alt="For each channel of conv2 nine projections and their patches: patches of eleven pixels "
        "with edges or plain colours.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# #### conv4, conv6 and conv8: three windows of 3a
#
# All three read the same 192 maps. The 1 × 1 branch goes on with the field of 27 pixels that those
# have:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv4"], six),
        caption="Channels of 3a's 1 × 1 branch. Its units see 27 pixels and can only mix what the "
        "maps below have found at one place. Notice whether a row shares a texture, a direction "
        "or a colour.",
        alt="For each channel of conv4 nine projections and their patches: patches of 27 pixels.",
    ),
    "conv4-strongest",
)

# %% [markdown]
# The 3 × 3 branch can ask how things lie beside one another, within 43 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv6"], six),
        caption="Channels of 3a's 3 × 3 branch, with fields of 43 pixels. Look for arrangements that "
        "the 1 × 1 branch cannot ask for: a corner, two lines side by side, a curve that goes on.",
        alt="For each channel of conv6 nine projections and their patches: patches of 43 pixels.",
    ),
    "conv6-strongest",
)

# %% [markdown]
# And the 5 × 5 branch within 59. Mind that it is thin: 32 maps, made from 16. The three panels
# are three answers to the same input:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv8"], six),
        caption="Channels of 3a's 5 × 5 branch, with fields of 59 pixels. Most of a patch may be "
        "beside the point: compare how much of it the projection marks with the panel before.",
        alt="For each channel of conv8 nine projections and their patches: patches of 59 pixels.",
    ),
    "conv8-strongest",
)

# %% [markdown]
# #### conv10, conv12 and conv14: three windows of 3b
#
# From here on a branch's name no longer says how far it sees. The 1 × 1 branch of 3b takes from all of
# 3a, so that its field is that of 3a's widest, 59, but what it weighs most may come from the branch
# that sees 27:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv10"], six),
        caption="Channels of 3b's 1 × 1 branch. The field is 59 pixels for all of them, while the "
        "projections show how much of it each really uses: compare the marked areas from row to "
        "row.",
        alt="For each channel of conv10 nine projections and their patches: patches of 59 pixels, "
        "of which some projections mark a small part.",
    ),
    "conv10-strongest",
)

# %% [markdown]
# The 3 × 3 branch of 3b sees 75 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv12"], six),
        caption="Channels of 3b's 3 × 3 branch, with fields of 75 pixels. Ask of every row what its "
        "patches share before looking at the projections, and then whether those mark it.",
        alt="For each channel of conv12 nine projections and their patches: patches of 75 pixels.",
    ),
    "conv12-strongest",
)

# %% [markdown]
# And its 5 × 5 branch 91:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv14"], six),
        caption="Channels of 3b's 5 × 5 branch, with fields of 91 pixels. The names below "
        "the patches tell whether a row mixes the classes or begins to keep to one.",
        alt="For each channel of conv14 nine projections and their patches: patches of 91 pixels.",
    ),
    "conv14-strongest",
)

# %% [markdown]
# #### conv16 and conv18: where the notebooks stop
#
# A maximum has halved the grid to steps of 16 pixels. The 1 × 1 branch of 4a sees 107 of them:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv16"], six),
        caption="Channels of 4a's 1 × 1 branch, whose units see 107 pixels. Look at the names of a "
        "row: one class, or several that share a colour, a texture or a shape?",
        alt="For each channel of conv16 nine projections and their patches: large patches or whole "
        "images.",
    ),
    "conv16-strongest",
)

# %% [markdown]
# Its 3 × 3 branch sees 139, and this is the last layer of which the notebooks show anything. Six of
# the nine modules are still to come. A unit could use all of its field, but pixels near the middle
# have many more ways to reach it than those at the rim [@luo2016]:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv18"], six),
        caption="Channels of 4a's 3 × 3 branch, whose units see 139 pixels. See how much of "
        "the field the projections fill, and how fast they fade from its middle to its rim.",
        alt="For each channel of conv18 nine projections and their patches: large patches or whole "
        "images, marked mostly around their middle.",
    ),
    "conv18-strongest",
)

# %% [markdown]
# #### 4b to 4e: the modules in between
#
# Now the layers that were left out, by the 3 × 3 branch of each. First 4b, which sees 203 pixels, most
# of any photograph this network was made for:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv24"], three),
        caption="Channels of 4b's 3 × 3 branch. From here on read names first: how many classes "
        "does a row hold, and if it holds several, what could they share?",
        alt="For each channel of conv24 nine projections and their patches: whole images or nearly "
        "so.",
    ),
    "conv24-strongest",
)

# %% [markdown]
# 4c sees 267 pixels, more than the paper's images have, so that from now on a unit's place in the
# grid says where its middle is rather than what it sees:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv30"], three),
        caption="Channels of 4c's 3 × 3 branch on whole images. The projections show which part of "
        "the image drove the unit; it lies around the unit's own place, though the field has no "
        "edge left within the image.",
        alt="For each channel of conv30 nine projections and their patches: whole images, each "
        "marked in a part.",
    ),
    "conv30-strongest",
)

# %% [markdown]
# 4d, from which the paper's second auxiliary head read:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv36"], three),
        caption="Channels of 4d's 3 × 3 branch on whole images. In the paper's training this "
        "module's output alone had to suffice for a classification. Do rows hold one class?",
        alt="For each channel of conv36 nine projections and their patches: whole images, each "
        "marked in a part.",
    ),
    "conv36-strongest",
)

# %% [markdown]
# 4e is the last module on this grid, and the widest so far:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv42"], three),
        caption="Channels of 4e's 3 × 3 branch on whole images. Compare the ninth value of a row "
        "with its first: a steep fall means that few images hold what the channel asks for.",
        alt="For each channel of conv42 nine projections and their patches: whole images, each "
        "marked in a part.",
    ),
    "conv42-strongest",
)

# %% [markdown]
# #### 5a and 5b: the top
#
# The grid is halved a last time. 5a reads 832 maps:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv48"], three),
        caption="Channels of 5a's 3 × 3 branch on whole images. Notice whether a row's images are "
        "of one class and differ in everything else, or are alike in more than their class.",
        alt="For each channel of conv48 nine projections and their patches: whole images.",
    ),
    "conv48-strongest",
)

# %% [markdown]
# And 5b makes the maps that will be averaged. No window comes after this one:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv54"], three),
        caption="Channels of 5b's 3 × 3 branch on whole images, the last convolution of this "
        "branch. Each channel is averaged over the image and weighed by the classifier as it is.",
        alt="For each channel of conv54 nine projections and their patches: whole images, mostly of "
        "one class a row.",
    ),
    "conv54-strongest",
)

# %% [markdown]
# What would these channels draw themselves? An image is made from noise, without a photograph, and
# changed step by step so that it drives the unit in the middle of the map as hard as it
# can:[@olah2017]

# %% tags=["hide-input"]
from internals.figures import beside_strongest, portraits
from internals.projection import middle_units

units = middle_units(net, top["conv54"].layer, range(3))
made = net.optimise(
    units, pictures=mined, steps=chapter.at(smoke=1, quick=48, full=256)
)
show(
    portraits(
        beside_strongest(net.patches(top["conv54"].head(1), range(3)), made),
        caption="Three channels of conv54: the image that drives each hardest, and one made from noise to "
        "drive its middle unit, with the value that each reaches. The second is nothing that the "
        "network has seen, and one of many that would do.",
        alt="For three channels of conv54 the strongest image beside an optimised one of "
        "coloured patterns made from noise.",
    ),
    "conv54-optimised",
)

# %% [markdown]
# ### From anything to a class, layer by layer
#
# Six channels may be six accidents. So we ask of *all* channels of each layer shown: of the nine images
# that drive one hardest, how many are of the commonest class among them? Nine images drawn blindly
# would reach a certain share as well, which stands in the first row:

# %%
from internals.activations import class_purity

lot = torch.Generator().manual_seed(chapter.seed)
rows = {"drawn blindly": torch.randint(count, (2_000, 9), generator=lot)} | {
    layer.replace("inception", "").replace(".bn", ", "): row.image
    for layer, row in strongest.items()
}
shares = {name: class_purity(ids, mined.labels) for name, ids in rows.items()}

# %% [markdown]
# A rise from layer to layer says that the images of one class have more and more of what channels ask
# for. It does not say what that is:

# %% tags=["hide-input"]
from internals.figures import dots

show(
    dots(
        list(shares),
        {"share of one class": list(shares.values())},
        {"share of one class": [percent(share) for share in shares.values()]},
        caption="How many of a channel's nine strongest training images are of one class, the mean over "
        "all channels of the layer, from the lowest layer to the highest. The first row is what "
        "chance gives. Notice from which layer on the numbers leave it behind.",
        alt="A column of dots, one a layer, after one for chance; the higher the number, the further to "
        "the right.",
    ),
    "purity",
)  # fmt: skip
if chapter.profile != "smoke":
    assert shares["5b, 3x3"] > shares["drawn blindly"] + 0.1

# %% [markdown]
# ## Where the class is found
#
# Above 5b there is an average and a matrix, nothing else. So the score of class $c$ can be taken apart
# exactly. With $A_k$ the maps of 5b on a grid of $Z$ places,
#
# $$
# S_c = b_c + \sum_k w_{ck}\, \frac{1}{Z}\sum_{ij} A_{kij}
#     = b_c + \frac{1}{Z} \sum_{ij} \Bigl(\sum_k w_{ck} A_{kij}\Bigr),
# $$
#
# and the inner sum is a *class activation map*: what each place adds to the score [@zhou2016].
# Grad-CAM asks for gradients instead [@selvaraju2017], which for this network are $w_{ck} / Z$
# everywhere. So the two are the same picture, but for the factor $1 / Z$:

# %%
tested = run.pipeline.view(images.test)
few = chapter.at(smoke=20, quick=128, full=128)
inputs = net.inputs(tested)[torch.arange(few) * len(tested) // few]
maps, scores = net.capture(inputs, ["inception5b", "fc"]).values()
scores = scores[:, :, 0, 0]
chosen = scores.argmax(dim=1)
cells = maps[0, 0].numel()
weights = run.model.fc.weight.detach()[chosen] / cells
cam = torch.einsum("nk,nkij->nij", weights, maps).relu()
by_gradient = net.grad_cam(inputs, "inception5b", chosen)
assert torch.allclose(cam, by_gradient, rtol=1e-3, atol=1e-4)

# %% [markdown]
# The same sum can be cut the other way, by branch instead of by place: the stack of 5b holds the four
# branches one after the other. How much of the score of an image's answer comes through each?

# %%
widths = {
    name: run.model.inception5b.get_submodule(conv).out_channels
    for name, conv in zip(
        ends, ("conv1x1", "conv3x3", "conv5x5", "conv_proj"), strict=True
    )
}
evidence = weights * maps.sum(dim=(2, 3))
by_branch = torch.stack(
    [part.sum(dim=1) for part in evidence.split(list(widths.values()), dim=1)],
    dim=1,
)
best = scores.gather(1, chosen[:, None])[:, 0]
total = by_branch.sum(dim=1) + run.model.fc.bias.detach()[chosen]
assert torch.allclose(total, best, rtol=1e-3, atol=1e-4)

# %% [markdown]
# By answer, as the mean over the test images that got it, beside each branch's share of the maps. A
# branch with a larger part of the score than of the maps is worth more than its width:

# %%
lines_of = []
for c in chosen.unique().tolist():
    mean = by_branch[chosen == c].mean(dim=0)
    shares = [f"{share:.0%}" for share in mean / mean.sum()]
    lines_of.append((names[c], *shares, int((chosen == c).sum())))
width = [f"{w / sum(widths.values()):.1%}" for w in widths.values()]
show(
    Table.of(
        ("answer", *widths, "images"),
        [("share of the maps", *width, ""), *lines_of],
        caption="Through which branch of 5b the score of the answer came, without the bias: the mean over "
        "test images that got the answer in the first column. A negative share would speak against it.",
    ),
    "evidence-by-branch",
)  # fmt: skip

# %% [markdown]
# ### On the strongest images
#
# Now by place. For channels 0, 1 and 2 of the last panel, here is the image that drives each hardest:
# where the channel itself is active, and where the network finds the class it answers:

# %%
from internals.projection import upsampled

favourites = mined.subset(top["conv54"].image[:3, 0])
outputs = net.capture(favourites, ["inception5b.relu3x3", "fc"])
active = outputs["inception5b.relu3x3"]
active = torch.stack([active[c, c] for c in range(3)])
side = favourites.images.shape[-2:]
laid = upsampled(active, side, net.receptive_field("inception5b.relu3x3"))
cams = net.grad_cam(favourites, "inception5b", upsample=True)
answers = outputs["fc"].flatten(1).argmax(1)

# %% [markdown]
# The grid is coarse, one cell for every 32 pixels. Each cell is drawn at the centre of the pixels
# that its unit sees:

# %% tags=["hide-input"]
from internals.figures import overlays

show(
    overlays(
        list(favourites.images.numpy() / 255),
        [
            [own.numpy(), whole.numpy()]
            for own, whole in zip(laid, cams, strict=True)
        ],
        ["the channel", "Grad-CAM"],
        names=[f"channel {c}" for c in range(3)],
        notes=[["activation", f"for {names[a]}"] for a in answers],
        caption="The strongest training image of three channels of 5b, with the channel's own map and the "
        "Grad-CAM of the network's answer, each on its own scale. Where the two coincide, the channel "
        "speaks of what the class is recognised by; where they do not, of something else.",
        alt="Three images, each twice overlaid with an amber patch: where the channel is active, and "
        "where the class is found.",
    ),
    "cam",
)

# %% [markdown]
# ### Three ways to ask
#
# Grad-CAM is exact here, but coarse. Two other instruments ask the pixels themselves. Occlusion slides a
# grey square, a sixth of the image wide, and notes how far the score falls; saliency asks how much each
# pixel's change would move it. We take the first test image of each of three classes:

# %%
from internals.projection import occlusion_map

labels = tested.labels[: len(test.predicted)]
first = [int((labels == c).nonzero()[0]) for c in labels.unique()[:3]]
photos = tested.subset(torch.tensor(first))
classes, side = photos.labels, photos.images.shape[-2:]
whole = net.capture(photos, ["fc"])["fc"].flatten(1)
whole = whole.gather(1, classes[:, None])[:, 0]
stride = recipe.size // chapter.at(smoke=4, quick=12, full=12)
square = {"size": recipe.size // 6, "stride": stride}
covered = net.occlusion(photos, classes, **square)
lost = occlusion_map(covered, whole, side, **square)

# %% [markdown]
# The three need not agree: a square can cover a whole part of a thing, a pixel cannot, and a cell of the
# grid has looked at everything:

# %% tags=["hide-input"]
ways = [
    net.grad_cam(photos, "inception5b", classes, upsample=True),
    lost,
    net.saliency(photos, classes),
]
show(
    overlays(
        list(photos.images.numpy() / 255),
        [[way[n].numpy() for way in ways] for n in range(len(photos))],
        ["Grad-CAM", "occlusion", "saliency"],
        names=[names[c] for c in classes],
        caption="Three test images and what speaks for their true class. Occlusion is signed: amber where "
        "covering lowers the score, blue where it raises it. Each map has its own scale, its "
        "largest value printed. Compare what all three mark with what only one does.",
        alt="Three images, each overlaid with a coarse amber patch, an amber and blue map, and a fine "
        "scatter of points.",
    ),
    "three-ways",
)

# %% [markdown]
# ## Which pictures to believe
#
# The control again: untrained weights from the top down, and the same units of the same images
# projected anew [@adebayo2018]. We take the strongest unit of each of ten channels of conv18 (two at
# smoke), and replace first its module 4a, then 3b, then 3a, then the three convolutions of the stem:

# %%
torch.manual_seed(chapter.seed + 1)
units = top["conv18"][: chapter.at(smoke=2, quick=10, full=10)].head(1)
stages = {part: f"inception{part}" for part in ("4a", "3b", "3a")}
stages |= {stem: stem for stem in ("conv3", "conv2", "conv1")}
control = net.sanity(mined, units, untrained=InceptionNet(), stages=stages)

# %% [markdown]
# Here is the unit of channel 0 as its network forgets, and below each picture the mean rank
# correlation of magnitudes with the trained one, over all these units:

# %% tags=["hide-input"]
from internals.figures import comparison

show(
    comparison(
        control.pictures(),
        control.titles,
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption="A unit of conv18 under three rules, as trained and with more and more untrained weights "
        "from the left to the right. ρ is what is left of the trained picture's order of pixels. A "
        "row that changes little draws the image rather than what was learned.",
        alt="Three rows of seven projections of one unit: gradient, deconvnet and guided, from the "
        "trained network to one without trained convolutions.",
    ),
    "control",
)  # fmt: skip

# %% [markdown]
# Some agreement is no fault: whatever the weights, pixels near the middle of a field have more ways to
# its unit. The comparison that counts is between the rules at the same step:

# %% tags=["hide-input"]
left = dict(zip(control.names, control.magnitudes.mean(axis=2), strict=True))
show(
    Table.of(
        ("rule", *control.titles[1:]),
        [(rule, *(f"{x:.2f}" for x in row[1:])) for rule, row in left.items()],
        caption="Mean rank correlation with the trained picture, units of conv18. The larger a number "
        "with many layers random, the less the panels above say about those layers.",
    ),
    "control-numbers",
)
if chapter.profile != "smoke":  # which has nothing to lose
    assert left["guided"][1] > left["gradient"][1]

# %% [markdown]
# So read the panels as in every chapter: the patches and their classes are facts, the projections a
# hint where in a patch to look, and no better than their row of this table.
#
# ## Key features
#
# - **Four windows side by side** leave the size of a feature open: one layer mixes fields of 27, 43
#   and 59 pixels.
# - **Thinning by 1 × 1** makes wide windows affordable: 5 × 5 on 192 maps for a tenth of the products.
# - **An average instead of fully connected layers** leaves a million parameters at the top where AlexNet
#   has 58 million, and makes Grad-CAM exact.
# - **Auxiliary heads**, or batch normalisation as here, bring gradients to the lower modules.
# - **Twenty-two layers with seven million parameters**: depth need not mean weight.
#
# ## Do this with your own network
#
# Where in your pictures does your network find a class? Grad-CAM needs a layer that still has
# places, often the last before the average. `mine:network` stands for the function or class
# `network` in your file `mine.py`:
#
# ```python
# from internals import Network, read_folder
#
# net = Network.open("mine:network", weights="mine.pth")
# photos = read_folder("photos").images.head(4)
# maps = net.grad_cam(photos, "conv2", classes=3, upsample=True)
# ```
#
# And what drives the branches of a module, one page a layer:
#
# ```sh
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
#
# ## Exercises
#
# 1. Train the paper's form, `find_recipe("googlenet-paper", chapter.profile)`, without normalisation
#    and at a gentler rate. How far does it come in as many epochs?
# 2. Build 3a without its thinning convolutions and measure `latency` of both. Is the gain in time as
#    large as in multiply-adds?
# 3. Silence one branch of every module (set its last normalisation's factor and shift to 0) and test
#    again. Does the branch that carries most of the score cost most accuracy?
#
# InceptionNet went to 22 layers by building each one cleverly; the next network,
# [ResNet](05_resnet18.py), went further with plain ones, by asking what a deep stack must not lose.
