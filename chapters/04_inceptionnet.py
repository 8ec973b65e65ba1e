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
# thumbnail: conv42-strongest
# description: Four ways of looking at the same maps, side by side, for a ninth of AlexNet's parameters.
# network: inceptionnet
# data: imagenette
# ---

# %% [markdown]
# # InceptionNet: four windows on the same maps
#
# VGG came second in the classification task of ILSVRC-2014, with 138 million parameters per network.
# Christian Szegedy and eight colleagues came first, with seven million and more layers
# [@szegedy2015]. Their network does not choose one size of window. At every level it looks through
# 1 × 1, 3 × 3 and 5 × 5 windows and a maximum at once, and stacks what the four find. The
# architecture is called Inception. The form that won, with 22 layers, is GoogLeNet, a homage to
# LeNet. This book calls it InceptionNet.
#
# **What you will see**
#
# - how a layer of 1 × 1 windows divides the multiply-adds of the 5 × 5 ones by 9.7, and their time by less;
# - the paper's table of operations recounted: all modules but one agree, and the first row belongs
#   to another layer than the text describes;
# - what drives channels of conv2 and of all nine modules, in receptive fields of 11 to 651 pixels;
# - deep channels that sort images by class. In about half of the channels of conv54, in the last
#   module, all nine strongest images are of one class. With random weights they are in none;
# - through which branch of the last module the evidence for each class comes.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The images
#
# The data are those of AlexNet: photographs of ten classes of ImageNet, or the stand-in of drawn
# shapes where those are missing. In the copy used here the photographs are squeezed to squares, as
# [chapter 2](02_alexnet.py) says. The recipe says how large the network needs them:

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
# What matters in an image may be small or large, and a layer with one size of window suits one of
# them. An Inception module has several sizes. All of its branches read the same maps, padding keeps
# their grids alike, and their outputs are stacked:
#
# $$
# y = \bigl[\, f_1(x),\; f_3(r_3(x)),\; f_5(r_5(x)),\; p(\max\nolimits_{3\times3} x) \,\bigr],
# $$
#
# where $f_k$ are convolutions with windows of $k$ pixels, and $r_3$, $r_5$ and $p$ have 1 × 1
# windows. A rectifier follows each of the six, which the formula leaves out. This is the first of the
# nine modules:

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
        caption="Module 3a. The height of a bar is its number of maps. Each branch reads all 192. In two "
        "branches a 1 × 1 convolution reduces their number before the wide window, which is where the "
        "saving lies. In the fourth it does so after the maximum, so that the stack stays small.",
        alt="A bar of 192 maps flows into four branches: 64 maps of 1 by 1; 96, then 128 of 3 by 3; "
        "16, then 32 of 5 by 5; a maximum of 192, then 32. Their ends form one bar of 256.",
    ),
    "module",
)

# %% [markdown]
# The code is that formula. `InceptionNet(paper=True)` is the paper's form:

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
# position,
#
# $$
# a_{mij} = b_m + \sum_n w_{mn}\, x_{nij} .
# $$
#
# Lin, Chen and Yan introduced it to make layers more expressive [@lin2014]. GoogLeNet uses it mainly to
# reduce the number of maps: the matrix has fewer rows than columns:

# %%
weight, bias = m.conv5x5_reduce.weight[:, :, 0, 0], m.conv5x5_reduce.bias
mixed = torch.einsum("mn,bnij->bmij", weight, x) + bias.view(-1, 1, 1)
assert torch.allclose(mixed, m.conv5x5_reduce(x), atol=1e-4)

# %% [markdown]
# From 192 maps to 32 with windows of 5 × 5, each number that comes out takes 192 · 25 products.
# With 16 maps in between it takes about a tenth of that. Here are all four branches of 3a, with and
# without the reduction. Without it the fourth branch would pass on all 192 maps, and stacks would grow
# from module to module:

# %%
positions = 28 * 28
direct = {"1 × 1": 64 * 192, "3 × 3": 128 * 9 * 192, "5 × 5": 32 * 25 * 192}
thinned = {
    "1 × 1": 64 * 192,
    "3 × 3": 96 * 192 + 128 * 9 * 96,
    "5 × 5": 16 * 192 + 32 * 25 * 16,
    "maximum": 32 * 192,
}
cost = [
    (
        branch,
        direct.get(branch, 0) * positions / 1e6,
        products * positions / 1e6,
    )
    for branch, products in thinned.items()
]
assert 9.6 < direct["5 × 5"] / thinned["5 × 5"] < 9.7

# %% [markdown]
# A multiply-add saved need not be time saved. So both forms are timed as well. They have the same four
# branches, here without their rectifiers. The direct form's maximum hands on what it finds, without a
# convolution:

# %%
branch_forms = [
    {
        "1 × 1": m.conv1x1,
        "3 × 3": torch.nn.Conv2d(192, 128, 3, padding=1),
        "5 × 5": torch.nn.Conv2d(192, 32, 5, padding=2),
        "maximum": m.pool,
    },
    {
        "1 × 1": m.conv1x1,
        "3 × 3": torch.nn.Sequential(m.conv3x3_reduce, m.conv3x3),
        "5 × 5": torch.nn.Sequential(m.conv5x5_reduce, m.conv5x5),
        "maximum": torch.nn.Sequential(m.pool, m.conv_proj),
    },
]

# %% [markdown]
# Each branch is timed alone, for one image. Times vary, so there are several rounds, and each time in a
# round is the median of several passes:

# %%
import numpy as np

from internals.anatomy import latency

repeats = chapter.at(smoke=3, quick=15, full=15)
rounds = chapter.at(smoke=1, quick=3, full=5)
times = 1e3 * np.array(
    [
        [
            [latency(part, (192, 28, 28), repeats) for part in form.values()]
            for form in branch_forms
        ]
        for _ in range(rounds)
    ]
)  # in milliseconds: rounds, forms, branches

# %% [markdown]
# Both, branch by branch:

# %% tags=["hide-input"]
from internals.figures import Table

work = np.array([counts for _, *counts in cost]).T  # forms, branches
work = np.append(work, work.sum(axis=1, keepdims=True), axis=1)
times = np.append(times, times.sum(axis=2, keepdims=True), axis=2)
show(
    Table.of(
        ("branch of 3a", "direct, millions", "direct, ms", "reduced, millions", "reduced, ms"),
        [
            (
                name,
                *(
                    cell
                    for form in range(2)
                    for cell in (
                        f"{work[form, n]:.1f}",
                        f"{np.median(times[:, form, n]):.2f} "
                        f"({times[:, form, n].min():.2f} to {times[:, form, n].max():.2f})",
                    )
                ),
            )
            for n, name in enumerate([*thinned, "all"])
        ],
        caption="Multiply-adds and times of module 3a for one image of 224 × 224, with every branch reading "
        "all 192 maps directly, and with the 1 × 1 convolutions of the paper. A time is the median of "
        f"{rounds} round(s) on this machine, with the fastest and the slowest round.",
    ),
    "thinning",
)  # fmt: skip
assert round(work[1, -1]) == 128  # as table 1 of the paper has it
fewer, shorter = work[0] / work[1], times[:, 0] / times[:, 1]
middle, least, most = (f(shorter, axis=0) for f in (np.median, np.min, np.max))
chapter.finding(
    "The reduction saves time, but less time than multiply-adds. It divides the multiply-adds of the "
    f"5 × 5 branch by {fewer[2]:.1f} and its time by {middle[2]:.1f} ({least[2]:.1f} to {most[2]:.1f} over "
    f"the rounds). For all four branches together the two numbers are {fewer[-1]:.1f} and "
    f"{middle[-1]:.1f} ({least[-1]:.1f} to {most[-1]:.1f}).",
    holds=bool(
        1.5 < middle[2] < 0.8 * fewer[2] and 1.1 < middle[-1] < 0.9 * fewer[-1]
    ),
)

# %% [markdown]
# ## The whole network
#
# Nine modules stand on a short stem, and poolings between them halve the grid. There is only one fully
# connected layer, at the top: every map is averaged to a single number, and a matrix turns the 1,024
# numbers into classes.

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
        caption="GoogLeNet for the paper's images. Maps are drawn to scale, vectors are not. Five halvings "
        "take the grid from 224 to 7 while the maps grow from 3 to 1,024. Seven of the nine modules work "
        "on grids of 14 and 7, where wide windows are cheap and span much of the image.",
        alt="Eight stages from a 224 by 224 input to 1,000 outputs: 64 maps of 56, 192 of 28, 480 of "
        "14, 832 of 7, 1,024 of 7, 1,024 averages and 1,000 classes.",
    ),
    "architecture",
)

# %% [markdown]
# Table 1 of the paper prints the operations of each row. Here they are counted from the graph:

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
# Ten of the twelve numbers agree to within a million. The table has them with the field of each
# module's widest branch:

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
# A field can be wider than the image. A unit of 5b sees all of it, and in the widest branch it could see
# 715 pixels of a larger one:

# %% tags=["hide-input"]
HIDDEN = ("relu", "lrn", "dropout")
show(
    Table.of(
        ("layer", "output", "parameters", "M multiply-adds", "the paper", "field"),
        [line(name) for name in parts if not name.startswith(HIDDEN)],
        caption="GoogLeNet as in the paper, row by row, for an image of 224 × 224 and 1,000 classes, "
        "with the operations that its table 1 prints, in millions. The paper has conv2 and conv3 in "
        "one row of 360, as here.",
    ),
    "layers",
)  # fmt: skip
assert sum(row.parameters for row in rows) == 6_998_552
assert len(convolutions) == 57 and 3 + 9 * 2 + 1 == 22

# %% [markdown]
# That is 6,998,552 parameters in 57 convolutions and one matrix. The longest way through them has 22
# layers: three of the stem, two per module, one at the top. AlexNet has 60,965,224 parameters, 8.7
# times as many. The paper says twelve times.
#
# Two rows do not fit. For 5a the paper's own widths give 51 million, not 54. And the first row's 34
# million, with "2.7K" parameters, do not fit the 7 × 7 convolution of the text. Both fit a *separable*
# one, once rounded: eight 7 × 7 filters for each colour, then a 1 × 1 convolution from those 24 maps to 64.
# MobileNet's authors mention such layers at the bottom of Inception models [@howard2017]:

# %%
separable = 3 * 8 * 7 * 7 + 24 * 64
print(f"{separable:,} weights, {separable * 112 * 112:,} multiply-adds")
assert separable == 2_712 and round(separable * 112**2 / 1e6) == 34
assert round(60_965_224 / 6_998_552, 1) == 8.7

# %% [markdown]
# The text and the copies that we know of have the full 7 × 7 convolution, and so has ours[^port].
#
# [^port]: torchvision's `googlenet` has 3 × 3 windows in the branch that should have 5 × 5, a slip that
#     pretrained weights have made permanent (pytorch/vision, issue 906).
#
# ### Where the parameters are not
#
# AlexNet has 59 of its 61 million parameters in fully connected layers, and VGG-16 has 124 of 138. Most
# of them have a weight for each position of the last maps. Averaging each map first leaves one number
# per map:

# %%
maps, side, classes = 1024, 7, 1000
averaged = (maps + 1) * classes
flattened = (maps * side**2 + 1) * classes
alexnet = 9217 * 4096 + 4097 * 4096 + 4097 * classes
vgg = (512 * 7 * 7 + 1) * 4096 + 4097 * 4096 + 4097 * classes
print(f"{averaged:,} parameters; without averaging {flattened:,}")
assert (round(alexnet / 1e6), round(vgg / 1e6)) == (59, 124)
assert averaged == sum(p.numel() for p in paper.fc.parameters())
assert flattened > 7 * sum(p.numel() for p in paper.parameters())

# %% [markdown]
# ### Gradients for the lower layers
#
# Whether a gradient still reaches the lowest of twenty-two layers was a concern of the authors. So they
# put two small classifiers on the outputs of 4a and 4d. These *auxiliary heads* are there during training
# only, and their losses are added to the network's own with a weight of 0.3:
#
# $$
# L = L_{\text{fc}} + 0.3\,(L_{4a} + L_{4d}).
# $$
#
# They bring gradients into the middle. Together they have nine tenths as many parameters as all the rest:

# %%
heads = InceptionNet(1000, paper=True, auxiliary=True)
extra = [
    sum(p.numel() for p in head.parameters())
    for head in (heads.auxiliary4a, heads.auxiliary4d)
]
print(f"{extra[0]:,} and {extra[1]:,} parameters, dropped after training")
assert extra == [3_188_840, 3_190_888]
assert round(sum(extra) / 6_998_552, 1) == 0.9

# %% [markdown]
# *Batch normalisation* was published in February 2015 [@ioffe2015], and the network below uses it
# instead, after every convolution. In training it takes the mean $\mu$ and the variance $\sigma^2$ of
# each channel over the batch and all positions, and gives the channel a learned factor $\gamma$ and
# shift $\beta$:
#
# $$
# \hat a = \gamma\, \frac{a - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta .
# $$
#
# So before training the signal keeps its size on its way up. In [VGG-16](03_vgg16.py) it can
# vanish or explode. The [next chapter](05_resnet18.py#are-the-gradients-healthy) measures what that
# does to gradients. After training, means and variances that were averaged over many batches take the
# place of the batch's. Here is the training form by hand:

# %%
norm = torch.nn.BatchNorm2d(64).train()  # begins with factor 1 and shift 0
batch = 3 + 5 * torch.randn(8, 64, 14, 14)
mean = batch.mean(dim=(0, 2, 3), keepdim=True)
variance = batch.var(dim=(0, 2, 3), keepdim=True, correction=0)
by_hand = (batch - mean) / (variance + norm.eps).sqrt()
assert torch.allclose(by_hand, norm(batch), atol=1e-4)

# %% [markdown]
# The Caffe group trained GoogLeNet without it, to 68.7 % top-1 on ImageNet [@guadarrama2014].
#
# ### Where this implementation departs from the paper
#
# | what | the paper | here |
# |---|---|---|
# | normalisation | local responses, twice in the stem | batch normalisation after every convolution |
# | auxiliary heads | at 4a and 4d | none |
# | dropout | 40 % | 50 % |
# | initial weights | not given | He et al. [@he2015], smaller in conv1 |
# | classes | 1,000 | 10 |
# | optimiser | asynchronous SGD with momentum | AdamW [@loshchilov2019], gradients clipped |
# | tested on | 144 crops, 7 networks | one crop, one network |
#
# `InceptionNet(paper=True, auxiliary=True)` has the paper's form in the first three rows. What the
# paper leaves open there (how weights start, the constants of its normalisation) follows Caffe's
# replication.
#
# ## Training

# %% tags=["hide-input"]
from internals.training import hyperparameters

show(
    Table.of(
        ("hyperparameter", "here", "the paper"),
        hyperparameters(recipe, images.train),
        caption="The recipe of the run below and what the paper says. It gives neither an initial learning "
        "rate nor a batch size nor a number of epochs. Our learning rate rises during the share of the steps "
        "called warm up. Gradients with a norm above the clip norm are shortened to it, where there is one. "
        "Sizes are earlier phases with smaller images, as the side in pixels and a share of the epochs. "
        "An average of weights is the decay per step of a moving average; where there is one, it is what "
        "is scored and kept.",
    ),
    "recipe",
)

# %% [markdown]
# The paper's schedule, 4 % less every eight epochs, is made for long training, and would leave most of the
# learning rate at our end. Ours is half a cosine, which comes down to 0:

# %%
from internals.figures import percent
from internals.training import trained

run = trained(recipe, images, seed=chapter.seed)
test, seconds = run.test, run.provenance.seconds
names = images.test.class_names
by_paper = 0.96 ** (recipe.epochs // 8)
print(
    f"By the paper's schedule {percent(by_paper)} of the learning rate would be left.",
    f"{percent(test.top1)} of {len(test.predicted):,} test images, {seconds:.0f} s",
    sep="\n",
)
chapter.record(test_top1=test.top1, test_loss=test.loss, seconds=seconds)

# %% [markdown]
# The training images are made harder than the held-out ones. In training the network sees random
# crops, of 8 to 100 % of the image, with their colours changed. Of held-out images it sees the
# middle, all but a narrow rim:

# %% tags=["hide-input"]
from internals.book import learning_curves

history = run.history
sides = ", ".join(map(str, dict.fromkeys(history.column("size"))))
show(
    learning_curves(
        run,
        caption="Loss and accuracy by epoch. Since training images are the harder ones, the held-out "
        "curve may be the better of the two. Sides of the training images, one after the other: "
        f"{sides} pixels. The dashed line is the score of the epoch kept on the test images.",
        alt="Two charts by epoch: training and held-out loss, and training and held-out accuracy "
        "with the test accuracy as a dashed line.",
    ),
    "training",
)
easier = sum(e.validation_top1 > e.train_top1 for e in history.epochs)
error = (test.top1 * (1 - test.top1) / len(test.predicted)) ** 0.5
print(
    f"In {easier} of {len(history.epochs)} epochs more of the held-out than of the training images are named",
    f"rightly. After the first epoch it is {percent(history.epochs[0].validation_top1)} of the held-out",
    f"images, after epoch {history.best.number}, which is kept, {percent(history.best.validation_top1)}.",
    f"Of the test images it is {percent(test.top1)}, with a standard error of {100 * error:.1f} points",
    "from their choice.",
    sep="\n",
)

# %% [markdown]
# The paper's scores are top-5 errors on ImageNet's thousand classes, where ours is top-1 on ten, so the
# two cannot be compared. And the famous 6.67 % is not what one GoogLeNet does: it is the error of
# seven networks averaged over 144 crops of each image [@szegedy2015]:

# %% tags=["hide-input"]
scores = [
    ("this chapter", images.test.name, "one crop", "top-1", percent(1 - test.top1)),
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
        caption="Our run, one seed, and what others report: a later network from Imagenette's leaderboard, "
        "Caffe's GoogLeNet without batch normalisation, and the paper's tables 2 and 3. "
        "Lines with different data or measures cannot be compared.",
    ),
    "scores",
)

# %% [markdown]
# The leaderboard's line is a result of 2020 [@howard2019], from photographs that are not squeezed, and
# with none held out of the training. These are the classes that our network confuses:

# %% tags=["hide-input"]
from internals.book import most_confused, recall
from internals.figures import confusion

show(
    confusion(
        test.confusion,
        names,
        caption="Test images by their class (rows) and by the answer (columns), right answers muted.",
        alt="A ten by ten matrix of counts with the class names; right answers on the diagonal.",
    ),
    "confusion",
)
one, other = most_confused(test.confusion)
either_way = test.confusion[one, other] + test.confusion[other, one]
found = recall(test.confusion)
print(
    f"The two classes taken for one another most are {names[one]} and {names[other]}:",
    f"{either_way} test images. {names[found.argmin()].capitalize()} is recognised least,",
    f"{percent(found.min())} of the time.",
    sep="\n",
)

# %% [markdown]
# And the mistakes with the highest probability of the wrong class:

# %% tags=["hide-input"]
from internals.book import surest_mistakes, worst_mistakes

show(
    worst_mistakes(
        run,
        images.test,
        caption="The ten wrong answers on test images that the network gives the highest probability: "
        "true class → answer, its probability, and the image's number.",
        alt="Up to ten misjudged test images, each with its true class, the wrong answer and its "
        "probability.",
    ),
    "mistakes",
)
surest = surest_mistakes(run, images.test)
answered = np.bincount(test.predicted[surest], minlength=10)
print(
    f"The answer to {answered.max()} of these {len(surest)} images is {names[answered.argmax()]}.",
    f"They are the surest of {round((1 - test.top1) * len(test.predicted))} mistakes.",
    sep="\n",
)

# %% [markdown]
# ## Looking inside
#
# [How to look](00_how_to_look.py#how-to-read-a-panel) says how these pictures are made and read.
#
# ### The filters of the first layer
#
# The stem begins with windows of 7 × 7 pixels, large enough for an edge, a stripe or a border of two
# colours. In such smooth patterns weights side by side are alike. In noise their correlation is near 0,
# and in a fine stripe it may be low. A plain colour is no pattern, so the mean of each colour is taken
# off first. The control, here and below, has random weights of another seed, and normalisation that
# changes nothing yet:

# %%
from internals import Network

net = Network.of(run)
torch.manual_seed(chapter.seed + 1)
untrained = Network(InceptionNet().eval(), normalization=run.normalization)
alike, plain = {}, {}
for name, network in {"trained": net, "random": untrained}.items():
    kernels = network.model.conv1.weight.detach()
    centred = kernels - kernels.mean(dim=(2, 3), keepdim=True)
    pattern = centred.square().mean(dim=(1, 2, 3))
    beside = (centred[..., 1:] * centred[..., :-1]).mean(dim=(1, 2, 3))
    alike[name] = beside / pattern
    plain[name] = 1 - pattern / kernels.square().mean(dim=(1, 2, 3))

# %% [markdown]
# All 64 kernels:

# %% tags=["hide-input"]
from internals.figures import filters

show(
    filters(
        run.model.conv1.weight.detach().numpy(),
        caption="The 64 kernels of conv1, 7 × 7 pixels in colour, on one scale with mid grey as 0. A "
        "kernel whose halves differ in brightness responds to an edge, one whose halves differ in hue "
        "to a border of colours. A plain one responds to its colour, and a speckled one is noise.",
        alt="Four rows of sixteen small coloured squares.",
    ),
    "conv1-filters",
)
held = {name: int((each > 0.5).sum()) for name, each in alike.items()}
chapter.finding(
    "Training has made the kernels smoother than noise. Less each colour's mean, weights side by side have "
    f"a correlation of {alike['trained'].median():.2f} in the median kernel, and of "
    f"{alike['random'].median():.2f} in a network of random weights. It is above 0.5 in "
    f"{held['trained']} of the 64 kernels, and in {held['random']} of the random ones. The plain colour "
    f"makes up {percent(float(plain['trained'].median()), 0)} of the squared weights of the median kernel, "
    f"and with random weights {percent(float(plain['random'].median()), 0)}.",
    holds=bool(alike["trained"].median() > alike["random"].median() + 0.2),
)

# %% [markdown]
# ### Three scales in one layer
#
# Units at one position of 3a see 27, 43 or 59 pixels, depending on their branch, and a unit of 3b reads
# all three:

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
        caption="What three units of module 3a at one position of the grid can see of a training image. "
        "All four fields have the same centre; the pooling branch sees as much as 3 × 3.",
        alt="A training image with three nested outlined squares of 27, 43 and 59 pixels.",
    ),
    "scales",
)  # fmt: skip

# %% [markdown]
# The maps that the branches make of that image:

# %%
ends = {
    "1 × 1": "relu1x1",
    "3 × 3": "relu3x3",
    "5 × 5": "relu5x5",
    "pooled": "relu_proj",
}
layers = [f"inception3a.{end}" for end in ends.values()]
maps = net.capture(pictures.head(1), layers)

# %% [markdown]
# A measure of how fine the maps are is the mean step from cell to cell in a row, divided by the map's
# standard deviation. It is taken over 32 images, with trained and with random weights:


# %%
def roughness(maps):
    """The mean step between neighbouring cells, in standard deviations."""
    spread, steps = maps.std(dim=(2, 3)), maps.diff(dim=3).abs()
    return (steps.mean(dim=(2, 3)) / spread)[spread > 0].mean().item()


some = pictures.head(32)
rough = {
    name: [roughness(m) for m in network.capture(some, layers).values()]
    for name, network in {"trained": net, "untrained": untrained}.items()
}

# %% [markdown]
# Eight maps of each branch's 64, 128, 32 and 32:

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
        "the branch's largest value.",
        alt="The image, then four rows of small grey maps, one row for each branch of the module.",
    ),
    "four-branches",
)
written = {
    name: ", ".join(f"{x:.2f}" for x in steps) for name, steps in rough.items()
}
print(
    f"Neighbouring cells differ by {written['trained']} standard deviations in the branches 1 × 1,",
    f"3 × 3, 5 × 5 and pooled. With random weights it is {written['untrained']}: smoothness that is",
    "there without training was not learned.",
    sep="\n",
)

# %% [markdown]
# ### What drives each channel
#
# The 57 convolutions are numbered in a row, six per module in the order of table 1. Fields have to
# follow the graph, where the branches of a module stand side by side. The notebook that this book grew
# from counted the six convolutions as if they stood in series. Its fields are too large from conv7 on:

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
# Both counts, for every other convolution up to conv18:

# %% tags=["hide-input"]
show(
    Table.of(
        ("number", "layer", "field", "as if in a row"),
        [
            (f"conv{n}", InceptionNet.numbered[f"conv{n}"], *sizes)
            for n, *sizes in zip(numbers, true, in_a_row[::2], strict=True)
        ],
        caption="Nine convolutions by number and by module: what their units see, and what they would see "
        "if a module's convolutions stood in series. conv16 is the 1 × 1 branch of 4a, the third of "
        "nine modules.",
    ),
    "numbers",
)  # fmt: skip
upper = [f"conv{n}" for n in (24, 30, 36, 42, 48, 54)]
upper = [fields[InceptionNet.numbered[name]].size for name in upper]
assert upper == [203, 267, 331, 395, 523, 651]

# %% [markdown]
# The panels show these nine layers with six channels each, then the 3 × 3 branch of the six modules
# above them with three channels each. They are always the first channels, so none was picked. Values
# are taken after normalisation, whose factor can turn a channel's sign, and before the rectifier. One
# pass over the training images finds the nine strongest images of every channel, with one position in
# each:

# %%
count = chapter.at(smoke=64, quick=1_024, full=len(pictures))
count = min(count, len(pictures))
searched = pictures.subset(torch.arange(count) * len(pictures) // count)
numbered = [f"conv{n}" for n in (*numbers, 24, 30, 36, 42, 48, 54)]
layer_of = {
    name: InceptionNet.numbered[name].replace("conv", "bn")
    for name in numbered
}
strongest = net.strongest(searched, layer_of.values(), k=9)
top = {name: strongest[layer] for name, layer in layer_of.items()}

# %% [markdown]
# Each panel shows guided projections with the patches that they belong to. Where the field is larger
# than the image, the whole image is shown. A unit whose value is not above 0 is silent, and has that
# word in place of its pictures. The captions say from how many of the ten classes the nine images of
# each row come:

# %%
from internals.activations import class_counts
from internals.figures import panels

six = range(chapter.at(smoke=1, quick=6, full=6))
three = range(chapter.at(smoke=1, quick=3, full=3))
classes_of = {}
for name, shown in zip(numbered, [six] * 9 + [three] * 6, strict=True):
    counts = class_counts(top[name].image, searched.labels)[: len(shown)]
    classes_of[name] = ", ".join(map(str, counts.tolist()))
largest = {
    name: ", ".join(f"{x:.1f}" for x in by.value[: len(three), 0].tolist())
    for name, by in top.items()
}

# %% [markdown]
# #### conv2: the maps of conv1, mixed
#
# conv2 is a 1 × 1 convolution on the pooled maps of conv1, with their field of 11 pixels:

# %%
show(
    panels(
        net.patches(top["conv2"], six),
        caption="Six channels of conv2: the 11 × 11 pixels that drive each hardest in nine different images, "
        "with their projections. Channel 0 responds mostly to blue above yellow or white, 1 and 4 to light "
        "above dark, 2 to upright bars, 3 to corners and bends of black on white, and 5 to slanting light bars. "
        f"The nine images of a row come from {classes_of['conv2']} classes.",
        alt="For each channel of conv2 nine projections and their patches: patches of eleven pixels.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# #### conv4, conv6 and conv8: three windows of 3a
#
# All three read the same 192 maps. The 1 × 1 branch keeps their field of 27 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv4"], six),
        caption="Six channels of 3a's 1 × 1 branch, patches of 27 × 27 pixels. Channel 0 responds to dark or red "
        "slanting bars and edges, 1 to orange and yellow, 4 to red beside white, mostly letters, and 5 to level "
        "bars. In 3 there is no common theme. The nine images of a row come "
        f"from {classes_of['conv4']} classes.",
        alt="For each channel of conv4 nine projections and their patches: patches of 27 pixels.",
    ),
    "conv4-strongest",
)

# %% [markdown]
# The 3 × 3 branch also sees how things lie beside one another, within 43 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv6"], six),
        caption="Six channels of 3a's 3 × 3 branch, patches of 43 × 43 pixels. Most patches of channel 0 have a black "
        "arch or loop, of 1 signs and panels of gas pumps, of 2 a round white thing on dark, and of 4 the tubes of "
        "French horns. Those of 3 have red or orange on blue. The nine "
        f"images of a row come from {classes_of['conv6']} classes.",
        alt="For each channel of conv6 nine projections and their patches: patches of 43 pixels.",
    ),
    "conv6-strongest",
)

# %% [markdown]
# The 5 × 5 branch sees 59 pixels. It is thin, with 32 maps made from 16:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv8"], six),
        caption="Six channels of 3a's 5 × 5 branch, patches of 59 × 59 pixels. Most patches of channel 0 have yellow or "
        "orange beside blue, of 2 a white thing with a round edge, and of 3 red or orange on a dark "
        "ground. In 1 and 4 there is no common theme. The nine images of a row come "
        f"from {classes_of['conv8']} classes.",
        alt="For each channel of conv8 nine projections and their patches: patches of 59 pixels.",
    ),
    "conv8-strongest",
)

# %% [markdown]
# #### conv10, conv12 and conv14: three windows of 3b
#
# From here on the name of a branch no longer says how far it sees. The 1 × 1 branch of 3b reads all of
# 3a, so its field is that of 3a's widest branch, 59 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv10"], six),
        caption="Six channels of 3b's 1 × 1 branch. All have fields of 59 pixels, whatever part of them they "
        "use. Channel 1 responds mostly to the red and orange of garbage trucks, 2 to red or dark cloth before a "
        "pale sky, 3 to grass at the image's border, and 5 to shining or striped bands. The nine images of a row "
        f"come from {classes_of['conv10']} classes.",
        alt="For each channel of conv10 nine projections and their patches: patches of 59 pixels.",
    ),
    "conv10-strongest",
)

# %% [markdown]
# The 3 × 3 branch of 3b sees 75 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv12"], six),
        caption="Six channels of 3b's 3 × 3 branch, patches of 75 × 75 pixels. All nine patches of channel 2 are golf "
        "balls, and most of channel 1 show the body of a tench. Channel 4 responds to golf balls and to rings, "
        "such as those of horns. The nine images of a row come "
        f"from {classes_of['conv12']} classes.",
        alt="For each channel of conv12 nine projections and their patches: patches of 75 pixels.",
    ),
    "conv12-strongest",
)

# %% [markdown]
# Its 5 × 5 branch sees 91:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv14"], six),
        caption="Six channels of 3b's 5 × 5 branch, patches of 91 × 91 pixels. Most patches of channel 0 have dark "
        "trees or bushes. Those of 1 have rows of windows, keys or letters, on churches, players and pumps. Channel 5 "
        "often has a dark thing before a pale ground, such as a skydiver. The nine images of "
        f"a row come from {classes_of['conv14']} classes.",
        alt="For each channel of conv14 nine projections and their patches: patches of 91 pixels.",
    ),
    "conv14-strongest",
)

# %% [markdown]
# #### conv16 and conv18: the next grid
#
# A pooling has halved the grid, so positions are 16 pixels apart. The 1 × 1 branch of 4a sees 107
# pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv16"], six),
        caption="Six channels of 4a's 1 × 1 branch, whose units see 107 pixels. Most patches of channel 2 have a face, "
        "of a man or a dog, or a church's tower, of 3 grass, leaves or a fence, and of 5 the tubes of French horns. "
        "The nine images of a row come "
        f"from {classes_of['conv16']} classes.",
        alt="For each channel of conv16 nine projections and their patches: large patches or whole images.",
    ),
    "conv16-strongest",
)

# %% [markdown]
# Its 3 × 3 branch sees 139. Not all of a field counts alike: influence falls off from its middle
# outwards [@luo2016]:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv18"], six),
        caption="Six channels of 4a's 3 × 3 branch, whose units see 139 pixels. Channel 1 responds to trees or hills before "
        "a pale sky, mostly above a garbage truck, and 2 mostly to writing: on a golf ball, a bin, a drum, a "
        f"display. The nine images of a row come from {classes_of['conv18']} classes. How much of such a projection "
        "was learned is tested further down.",
        alt="For each channel of conv18 nine projections and their patches: large patches or whole images.",
    ),
    "conv18-strongest",
)

# %% [markdown]
# #### 4b to 4e: the modules in between
#
# The next panels show the 3 × 3 branch. That of 4b has fields of 203 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv24"], three),
        caption="Three channels of 4b's 3 × 3 branch, with fields of 203 pixels. Channel 0 has nine churches, from outside "
        "and from within, 1 parachutes and golf balls, and 2 mostly garbage trucks. The nine images of a row come "
        f"from {classes_of['conv24']} classes.",
        alt="For each channel of conv24 nine projections and their patches: whole images or nearly so.",
    ),
    "conv24-strongest",
)

# %% [markdown]
# In 4c the fields are 267 pixels wide: units in the middle of the grid see the whole image, those at
# its edge a part:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv30"], three),
        caption="Three channels of 4c's 3 × 3 branch, with fields of 267 pixels, on whole images. Channel 1 has nine "
        "parachutes. Channel 0 mixes churches and golf balls, and 2 garbage trucks and golf balls. The nine images of "
        f"a row come from {classes_of['conv30']} classes.",
        alt="For each channel of conv30 nine projections and their patches: whole images.",
    ),
    "conv30-strongest",
)

# %% [markdown]
# The paper's second auxiliary head reads the output of 4d, and has to name the class from it alone:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv36"], three),
        caption="Three channels of 4d's 3 × 3 branch on whole images. Channel 1 has nine churches. The two others mix "
        "classes: 0 has mostly garbage trucks and springers, and 2 churches, parachutes and trucks. The nine images "
        f"of a row come from {classes_of['conv36']} classes.",
        alt="For each channel of conv36 nine projections and their patches: whole images.",
    ),
    "conv36-strongest",
)

# %% [markdown]
# 4e is the last module on this grid, and the widest so far:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv42"], three),
        caption="Three channels of 4e's 3 × 3 branch on whole images. Their largest values are "
        f"{largest['conv42']}. Channel 1 has nine springers and 2 nine tenches. Channel 0 has mostly chain saws. The "
        f"nine images of a row come from {classes_of['conv42']} classes.",
        alt="For each channel of conv42 nine projections and their patches: whole images.",
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
        caption="Three channels of 5a's 3 × 3 branch on whole images. Their largest values are "
        f"{largest['conv48']}. All three have nine parachutes, and mostly the same ones. The nine images of a row "
        f"come from {classes_of['conv48']} classes.",
        alt="For each channel of conv48 nine projections and their patches: whole images.",
    ),
    "conv48-strongest",
)

# %% [markdown]
# 5b makes the maps that are averaged, so no window comes after this one:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv54"], three),
        caption="Three channels of 5b's 3 × 3 branch on whole images. Channel 0 mixes gas pumps and horns, 1 has mostly "
        f"chain saws, and 2 mostly garbage trucks and springers. The nine images of a row come from {classes_of['conv54']} "
        "classes. Each channel is averaged over the image, and the classifier weights the averages.",
        alt="For each channel of conv54 nine projections and their patches: whole images.",
    ),
    "conv54-strongest",
)

# %% [markdown]
# An image can also be made for a channel. It starts as noise and is changed step by step so that it
# drives the unit in the middle of the map harder [@olah2017]. The photograph may drive another
# unit, and noise of another seed may lead to another image:

# %% tags=["hide-input"]
from internals.figures import beside_strongest, portraits
from internals.projection import middle_units

units = middle_units(net, top["conv54"].layer, range(3))
made = net.optimise(
    units, pictures=searched, steps=chapter.at(smoke=1, quick=48, full=256)
)
show(
    portraits(
        beside_strongest(net.patches(top["conv54"].head(1), range(3)), made),
        caption="Three channels of conv54: the image that drives each hardest, and one made from noise to "
        "drive its middle unit, with the value that each reaches. All three begin with the same noise, "
        "and no other was tried.",
        alt="For three channels of conv54 the strongest image beside one made from noise.",
    ),
    "conv54-optimised",
)
by_image = top["conv54"].value[:3, 0].tolist()
print(
    "The three images made from noise reach",
    f"{', '.join(f'{image.value:.1f}' for image in made)}; the strongest training images reach",
    f"{', '.join(f'{value:.1f}' for value in by_image)}.",
    sep="\n",
)

# %% [markdown]
# ### Class selectivity, layer by layer
#
# Six channels are no evidence about a layer. So we take all channels of each layer shown, and ask what
# share of the nine images that drive a channel hardest belongs to the commonest class among them. The
# control is the network of random weights. Even among nine random images one class is the commonest:

# %%
from internals.activations import class_purity

found = {
    "trained": strongest,
    "untrained": untrained.strongest(searched, layer_of.values(), k=9),
}
purity = {
    name: np.array(
        [class_purity(t.image, searched.labels) for t in by.values()]
    )
    for name, by in found.items()
}
lot = torch.Generator().manual_seed(chapter.seed)
drawn = torch.randint(count, (2_000, 9), generator=lot)
by_lot = class_purity(drawn, searched.labels)

# %% [markdown]
# A stricter count is that of channels whose nine images are all of one class:

# %%
one_class = {
    name: [
        (class_counts(t.image, searched.labels) == 1).double().mean().item()
        for t in by.values()
    ]
    for name, by in found.items()
}

# %% [markdown]
# The distance between the two curves is what was learned:

# %% tags=["hide-input"]
from internals.figures import lines

show(
    lines(
        np.arange(len(layer_of)),
        purity,
        ticks=[name.removeprefix("conv") for name in layer_of],
        xlabel="convolution",
        ylabel="share of the commonest class",
        levels={"drawn at random": by_lot},
        caption="What share of a channel's nine strongest training images belongs to their commonest class, "
        "the mean over all channels of each layer shown, with trained and with random weights. The "
        "dashed level is that of nine images drawn at random.",
        alt="Two lines over fifteen convolutions, for the trained and the untrained network, and a "
        "dashed level.",
    ),
    "purity",
)
if chapter.profile != "smoke":
    assert purity["trained"][-1] > by_lot + 0.1
peak = int(purity["trained"].argmax())
gain = purity["trained"] - purity["untrained"]
chapter.finding(
    "Training makes the 3 × 3 branches of 4b to 5b sort by class. "
    f"In conv2 the share is {percent(purity['trained'][0], 0)} with trained weights and "
    f"{percent(purity['untrained'][0], 0)} with random ones, in conv54 {percent(purity['trained'][-1], 0)} and "
    f"{percent(purity['untrained'][-1], 0)}. It is highest in {numbered[peak]}, at "
    f"{percent(purity['trained'][peak], 0)}. All nine are of one class in {percent(one_class['trained'][-1], 0)} of "
    f"the channels of conv54, and with random weights in {percent(one_class['untrained'][-1], 0)}.",
    holds=bool(gain[-6:].min() > gain[0] + 0.2)
    and abs(one_class["trained"][-1] - 0.5) < 0.12  # about half
    and one_class["untrained"][-1] < 0.005,
)

# %% [markdown]
# Channels of one layer may share their commonest class. In conv48 we count the channels of each, and take
# their strongest values:

# %%
rows_of = searched.labels[top["conv48"].image]
favourite = torch.nn.functional.one_hot(rows_of).sum(dim=1).argmax(dim=1)
shares = torch.bincount(favourite, minlength=10) / len(favourite)
first = int(shares.argmax())
reached = top["conv48"].value[:, 0]
typical = [
    float(reached[favourite == first].median()),
    float(reached[favourite != first].median()),
]
print(
    f"The class that is the commonest in most channels of conv48 is {names[first]}: in",
    f"{percent(float(shares[first]), 0)} of them. If all classes had as many it would be 10 %. The strongest",
    f"values of these channels have a median of {typical[0]:.1f}, those of all others of {typical[1]:.1f}.",
    sep="\n",
)

# %% [markdown]
# Nine images of one class do not show that a channel knows the class. They may also have a colour or a
# background in common.
#
# ## Where the class is found
#
# Above 5b there is only an average and a matrix. So the score of class $c$ can be taken apart exactly.
# With $A_k$ the maps of 5b on a grid of $Z$ positions,
#
# $$
# S_c = b_c + \sum_k w_{ck}\, \frac{1}{Z}\sum_{ij} A_{kij}
#     = b_c + \frac{1}{Z} \sum_{ij} \Bigl(\sum_k w_{ck} A_{kij}\Bigr),
# $$
#
# and the inner sum is a *class activation map*: what each position adds to the score [@zhou2016].
# Grad-CAM weights the maps by mean gradients instead [@selvaraju2017], and sets negative sums to 0. For
# this network these gradients are $w_{ck} / Z$. Apart from that factor and the rectifier the two maps
# are the same:

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
# The same sum can be cut by branch, because the stack of 5b holds the four branches one after the other.
# But a branch that raises the scores of all classes alike decides nothing. So we take apart the *lead*
# of the answer, its score less the mean score $\bar S$ of all classes:
#
# $$
# S_c - \bar S = b_c - \bar b + \sum_k (w_{ck} - \bar w_k)\, \frac{1}{Z}\sum_{ij} A_{kij} .
# $$

# %%
widths = {
    name: run.model.inception5b.get_submodule(conv).out_channels
    for name, conv in zip(
        ends, ("conv1x1", "conv3x3", "conv5x5", "conv_proj"), strict=True
    )
}
fc = run.model.fc
better = (fc.weight - fc.weight.mean(dim=0)).detach()[chosen] / cells
parts_of_5b = (better * maps.sum(dim=(2, 3))).split([*widths.values()], dim=1)
by_branch = torch.stack([part.sum(dim=1) for part in parts_of_5b], dim=1)
bias = (fc.bias - fc.bias.mean()).detach()[chosen]
lead = scores.gather(1, chosen[:, None])[:, 0] - scores.mean(dim=1)
assert torch.allclose(by_branch.sum(dim=1) + bias, lead, rtol=1e-3, atol=1e-3)

# %% [markdown]
# For each answer the mean over the images of a test sample that got it, and at the end over the whole
# sample:

# %% tags=["hide-input"]
from internals.figures import with_minus

groups = {names[c]: chosen == c for c in chosen.unique().tolist()}
groups["all answers"] = torch.ones(len(chosen), dtype=torch.bool)
means = {name: by_branch[group].mean(dim=0) for name, group in groups.items()}
width = [percent(w / sum(widths.values())) for w in widths.values()]
show(
    Table.of(
        ("answer", *widths, "images"),
        [
            ("share of the maps", *width, ""),
            *(
                (name, *(with_minus(f"{x:+.2f}") for x in means[name].tolist()), int(group.sum()))
                for name, group in groups.items()
            ),
        ],
        caption="Through which branch of 5b the lead of the answer over the mean of all classes came, in "
        "points of score and without the bias: the mean over the test images that got the answer in the "
        "first column. A negative number speaks against the answer.",
    ),
    "evidence-by-branch",
)  # fmt: skip
overall = means.pop("all answers")
most, next_most = overall.topk(2).indices.tolist()
ahead = sum(int(mean.argmax()) == most for mean in means.values())
margin = by_branch[:, most] - by_branch[:, next_most]
error = float(margin.std()) / len(margin) ** 0.5
chapter.finding(
    f"The largest part of the lead comes through the {list(widths)[most]} branch: "
    f"{percent(float(overall[most] / overall.sum()), 0)} over all {len(chosen)} images, with "
    f"{width[most]} of the maps. It has {margin.mean():.2f} points more than the next, "
    f"{list(widths)[next_most]}, with a standard error of {error:.2f}, and the largest part in {ahead} "
    f"of {len(means)} answers.",
    holds=bool(margin.mean() > 3 * error),
)

# %% [markdown]
# ### On the strongest images
#
# Now by position. For channels 0, 1 and 2 of conv54, here is the image that drives each hardest,
# with the channel's own map and the Grad-CAM of the class that the network answers:

# %%
from internals.projection import occlusion_map, upsampled

favourites = searched.subset(top["conv54"].image[:3, 0])
outputs = net.capture(favourites, ["inception5b.relu3x3", "fc"])
active = outputs["inception5b.relu3x3"]
active = torch.stack([active[c, c] for c in range(3)])
side = favourites.images.shape[-2:]
laid = upsampled(active, side, net.receptive_field("inception5b.relu3x3"))
cams = net.grad_cam(favourites, "inception5b", upsample=True)
answers = outputs["fc"].flatten(1).argmax(1)

# %% [markdown]
# Each cell of the grid is drawn at the centre of its unit's receptive field:

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
        "Grad-CAM of the network's answer, each on its own scale. Where the two maps coincide, the "
        "channel is active at the positions that raise the score of the answer. What a unit saw need not "
        "lie in its cell, because its field is wider than the image.",
        alt="Three images, each twice overlaid with an amber map: where the channel is active, and "
        "where the class is found.",
    ),
    "cam",
)
grid = net.grad_cam(favourites, "inception5b").flatten(1)
together = int((active.flatten(1).argmax(1) == grid.argmax(1)).sum())
print(
    f"In {together} of the three images the two maps are largest in the same one of {cells} cells."
)

# %% [markdown]
# ### Three instruments
#
# Without its rectifier, Grad-CAM says here exactly what each position of 5b adds to the score. It does
# not say which pixels counted, because a unit of 5b sees the whole image. Two other instruments work on
# the pixels. Occlusion slides a grey square, a sixth of the image wide, over the image and records how
# far the score falls [@zeiler2014]. Saliency is the size of the score's gradient at each pixel
# [@simonyan2014]. Here are all three for three test images, and for the class that the network answers:

# %%
labels = tested.labels[: len(test.predicted)]
first = [int((labels == c).nonzero()[0]) for c in labels.unique()[:3]]
photos = tested.subset(torch.tensor(first))
outputs = net.capture(photos, ["fc"])["fc"].flatten(1)
answers, side = outputs.argmax(dim=1), photos.images.shape[-2:]
whole = outputs.gather(1, answers[:, None])[:, 0]
stride = recipe.size // chapter.at(smoke=4, quick=12, full=12)
square = {"size": recipe.size // 6, "stride": stride}
covered = net.occlusion(photos, answers, **square)
lost = occlusion_map(covered, whole, side, **square)

# %% [markdown]
# Rank correlations say how far the three maps of an image agree. For comparison, maps of one image are
# also correlated with maps of another:

# %% tags=["hide-input"]
from itertools import combinations

from scipy.stats import spearmanr

ways = {
    "Grad-CAM": net.grad_cam(photos, "inception5b", answers, upsample=True),
    "occlusion": lost,
    "saliency": net.saliency(photos, answers),
}
show(
    overlays(
        list(photos.images.numpy() / 255),
        [
            [way[n].numpy() for way in ways.values()]
            for n in range(len(photos))
        ],
        list(ways),
        names=[
            names[c] if c == a else f"{names[c]} → {names[a]}"
            for c, a in zip(photos.labels, answers, strict=True)
        ],
        caption="Three test images with their class, or true class → answer where the answer is wrong, and "
        "what speaks for the answer. Occlusion is signed: amber where covering lowers the score, blue "
        "where it raises it. Each map has its own scale, its largest value printed below it.",
        alt="Three images, each overlaid with a coarse amber map, an amber and blue map, and a fine "
        "scatter of points.",
    ),
    "three-ways",
)
agree, said = [], []
for a, b in combinations(ways, 2):
    rho = np.array(
        [
            [spearmanr(x, y, axis=None)[0] for y in ways[b].numpy()]
            for x in ways[a].numpy()
        ]
    )
    same = np.eye(len(rho), dtype=bool)
    agree.append(np.nanmean(rho[same]))
    said.append(
        f"{agree[-1]:.2f} between {a} and {b} ({np.nanmean(rho[~same]):.2f})"
    )
chapter.finding(
    "The three maps agree only in part. Mean rank correlations over the three images, and in brackets "
    f"between maps of different images: {', '.join(said)}.",
    holds=bool(max(agree) < 0.7),
)

# %% [markdown]
# ## Which pictures to believe
#
# The control of each chapter on a network: trained weights are replaced by random ones from the top
# down, and the same units of the same images are projected anew [@adebayo2018]. Here it is the
# strongest unit of each of the first channels of conv18. Its module 4a gets random weights first, then
# 3b, then 3a, then the three convolutions of the stem. Random weights are those of `untrained`:

# %%
units = top["conv18"][: chapter.at(smoke=2, quick=10, full=10)].head(1)
stages = {part: f"inception{part}" for part in ("4a", "3b", "3a")}
stages |= {f"conv{n}": [f"conv{n}", f"bn{n}"] for n in (3, 2, 1)}
control = net.sanity(searched, units, untrained=untrained, stages=stages)
unit = units.units()[0]
box = net.receptive_field(unit.layer).box(unit.row, unit.column)
rows_seen, columns_seen = (slice(max(box[n], 0), box[n + 2]) for n in (0, 1))

# %% [markdown]
# ρ is the rank correlation of magnitudes with the trained picture, its mean over all units. Trained
# pictures of *different* channels on *different* images are correlated too, because influence falls off
# from the middle of every field. Their mean ρ is the *baseline*, which stands below the trained picture.
# A ρ that is no higher leaves nothing of a picture. Here is the unit of channel 0 at four of the seven
# steps, cut to what it sees:

# %% tags=["hide-input"]
from internals.figures import comparison

steps = [0, 1, 3, 6]
show(
    comparison(
        [
            [row[step][:, rows_seen, columns_seen] for step in steps]
            for row in control.pictures()
        ],
        ["trained", "4a random", "3b and 3a, too", "all random"],
        names=control.names,
        notes=[[row[step] for step in steps] for row in control.notes()],
        shared=False,
        caption="A unit of conv18 under three rules, as trained and with more and more random weights, "
        "each picture on its own scale. In the last column no weight is trained. What ρ has there above "
        "the baseline comes from the image or the architecture.",
        alt="Three rows of four projections of one unit: gradient, deconvnet and guided, from the "
        "trained network to one without trained convolutions.",
    ),
    "control",
)  # fmt: skip

# %% [markdown]
# The rules have different baselines. So for each rule, with baseline $b$, we take how much of what lies
# above it is left, $(\rho - b) / (1 - b)$. That is 1 for the trained picture, and 0 or less where nothing
# is left of it.

# %%
left = dict(zip(control.names, control.magnitudes.mean(axis=2), strict=True))
base = dict(zip(control.names, control.baseline, strict=True))
above = {rule: (left[rule] - b) / (1 - b) for rule, b in base.items()}

# %% [markdown]
# The correlations at all steps after the first:

# %% tags=["hide-input"]
show(
    Table.of(
        ("rule", "baseline", *control.titles[1:]),
        [
            (rule, f"{base[rule]:.2f}", *(f"{x:.2f}" for x in row[1:]))
            for rule, row in left.items()
        ],
        caption=f"Rank correlation with the trained picture, mean of {len(units)} units of conv18, and the "
        "baseline of each rule. A number well above its baseline says that the picture owes little to the "
        "layers that are random.",
    ),
    "control-numbers",
)
if chapter.profile != "smoke":  # which has nothing to lose
    assert left["guided"][1] > left["gradient"][1]
chapter.finding(
    "A guided picture of conv18 owes less to its own module than the gradient does. With random weights in "
    f"4a, ρ is {left['guided'][1]:.2f} for guided backpropagation, with a baseline of {base['guided']:.2f}, "
    f"and {left['gradient'][1]:.2f} for the gradient, with {base['gradient']:.2f}. So of what lies above "
    f"the baseline {above['guided'][1]:.2f} and {above['gradient'][1]:.2f} are left. With random weights "
    f"everywhere it is {above['guided'][-1]:.2f} and {above['gradient'][-1]:.2f}.",
    holds=bool(
        above["guided"][1] > 0.5
        and above["guided"][1] > above["gradient"][1] + 0.1
    ),
)

# %% [markdown]
# Patches and classes are facts. A projection hints at where in a patch to look, and the table says how
# far it depends on training.
#
# ## Key features
#
# - **Four windows side by side** leave the size of a feature open: one layer has fields of 27, 43 and
#   59 pixels.
# - **Reduction by 1 × 1** makes wide windows affordable: 5 × 5 on 192 maps for about a tenth of the products.
#   The time it saves is less.
# - **An average instead of wide fully connected layers** leaves a million parameters at the top, where
#   AlexNet has 59 million, and the class score becomes a sum over positions.
# - **Auxiliary heads** were to bring gradients to the lower modules; here batch normalisation is to keep
#   the signal in range instead.
# - **Deep channels sort by class, by training.** In about half of the channels of conv54 all nine strongest
#   images are of one class, and with random weights in none.
#
# ## Do this with your own network
#
# Grad-CAM needs a layer that still has positions, often the last before the average. `mine:network`
# stands for the function or class `network` in your file `mine.py`:
#
# ```python
# from internals import Network, read_folder
#
# net = Network.open("mine:network", weights="mine.pth")
# photos = read_folder("photos").images.head(4)
# maps = net.grad_cam(photos, "conv2", classes=3, upsample=True)
# ```
#
# An atlas, with a page for each layer:
#
# ```sh
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
# ## Exercises
#
# 1. Train the paper's form, `find_recipe("googlenet-paper", chapter.profile)`, which has no batch
#    normalisation. How far does it come in as many epochs?
# 2. Measure `latency` of each of the nine modules. Is it in proportion to their multiply-adds?
# 3. Silence one branch of every module and test again. Which costs most accuracy?
#
# The next network, [ResNet](05_resnet18.py), repeats one simple block.
