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
# title: VGG-16
# year: 2014
# paper_score: 24.8 % errors (top-1) on ImageNet, one network
# thumbnail: conv10-strongest
# description: Thirteen convolutions of 3 × 3 and no other, and what it takes to make them learn.
# network: vgg16
# data: imagenette
# ---

# %% [markdown]
# # VGG-16: small windows, many layers
#
# In 2014 Karen Simonyan and Andrew Zisserman asked how much depth alone improves a network
# [@simonyan2015]. They fixed nearly everything else: convolutions have windows of 3 × 3, but for a few of
# 1 × 1 in one network, every pooling takes the maximum of 2 × 2, and only the number of layers with
# weights grows, from 11 to 19. This
# chapter trains the network with sixteen. Seven of their networks together came second in the
# classification task of ILSVRC-2014, with 7.3 % top-5 errors on the test images. The winner is in the
# [next chapter](04_inceptionnet.py). In localisation, where the answer has to say where the object is,
# VGG came first.
#
# **What you will see**
#
# - why two windows of 3 × 3 see as much as one of 5 × 5, and three as much as one of 7 × 7;
# - five networks of 11 to 19 layers, whose numbers of parameters differ by 8 %;
# - why so plain a stack may never begin to learn, and what its initial weights have to do with that;
# - what drives the channels of all thirteen convolutions, and how class-specific they are, beside random
#   weights;
# - that the clear pictures of guided backpropagation follow the edges of their image, also where no
#   convolution was trained.
#
# What depth is worth is the paper's question. This chapter does not answer it: that would take a second
# training, of the shallowest network beside this one.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The pictures
#
# The data are those of AlexNet: photographs of ten classes of ImageNet, or the stand-in of drawn
# shapes where those are missing. In the copy used here the photographs are squeezed to squares, as
# [chapter 2](02_alexnet.py) says. The recipe says how large the network needs them:

# %%
from internals import load
from internals.training import find_recipe

recipe = find_recipe("vgg16", chapter.profile)
images = load(
    "imagenette", chapter.data, size=recipe.stored,
    seed=chapter.seed, most=chapter.most_images,
)  # fmt: skip
names = images.test.class_names

# %% [markdown]
# ## One window size
#
# AlexNet begins with windows of 11 × 11 pixels at a stride of four and goes on with 5 × 5 and 3 × 3.
# All windows of VGG-16 are 3 × 3, the smallest size with a centre and a neighbour on every side. A unit
# on top of two such layers sees 5 × 5 pixels, a unit on top of three sees 7 × 7:

# %%
import torch
from torch import nn

from internals.anatomy import receptive_field


def tower(depth, channels=1, size=3):
    return nn.Sequential(
        *(
            nn.Conv2d(channels, channels, size, bias=False)
            for _ in range(depth)
        )
    )


fields = [
    receptive_field(tower(depth), str(depth - 1), (1, 9, 9)).size
    for depth in (1, 2, 3, 4)
]
print(fields)
assert fields == [3, 5, 7, 9]

# %% [markdown]
# The same can be measured. If every weight is 1, the gradient of a unit with respect to a pixel is the
# number of paths that lead from that pixel to the unit:

# %%
import numpy as np

reach = []
for depth, field in enumerate(fields, start=1):
    ones = tower(depth)
    for layer in ones:
        nn.init.ones_(layer.weight)
    pixels = torch.zeros(1, 1, 17, 17, requires_grad=True)
    middle = (17 - 2 * depth) // 2
    ones(pixels)[0, 0, middle, middle].backward()
    reach.append(pixels.grad[0, :, 4:13, 4:13].numpy())
    assert np.count_nonzero(reach[-1]) == field**2
assert reach[2].max() == 49 and reach[2][0, 1, 1] == 1

# %% [markdown]
# The counts for one to four layers, each on its own scale:

# %% tags=["hide-input"]
from internals.figures import comparison

show(
    comparison(
        [reach],
        ["one layer", "two", "three", "four"],
        shared=False,
        caption="The number of paths from each pixel of a 9 × 9 piece to one unit on top of one to four "
        "layers of 3 × 3 windows. The field grows by two pixels per layer. The middle has the most "
        "paths: 49 on top of three layers, where a corner has one.",
        alt="Four grids: a flat square of three pixels, then peaked squares of five, seven and nine.",
    ),
    "reach",
)

# %% [markdown]
# Three layers are cheaper than one. With $C$ channels in and out, they have $3 \cdot 3^2 C^2 = 27\,C^2$
# weights, and one layer of 7 × 7 has $49\,C^2$, which is 81 % more. The three layers also have two
# rectifiers between them, which the single layer lacks:

# %%
from math import isclose

stacked, single = (
    sum(w.numel() for w in layers.parameters())
    for layers in (tower(3, 64), tower(1, 64, size=7))
)
assert (stacked, single) == (27 * 64**2, 49 * 64**2)
assert isclose(single / stacked - 1, 0.81, abs_tol=0.01)

# %% [markdown]
# The rectifiers make the difference. Without them the three layers are one linear layer, whose 7 × 7
# kernel can be computed from theirs. With them they are not. Nor can every layer of 7 × 7 be taken
# apart: three kernels of 3 × 3 have 27 weights, too few to describe every kernel of 49:

# %%
from torch.nn import functional

torch.manual_seed(chapter.seed)
three, picture = tower(3).double(), torch.rand(1, 1, 12, 12).double()
impulse = functional.pad(torch.ones(1, 1, 1, 1).double(), (6,) * 4)
kernel = three(impulse).flip(2, 3)
together = functional.conv2d(picture, kernel)
assert kernel.shape[-2:] == (7, 7)
assert torch.allclose(three(picture), together)

first, second, third = three
bent = third(second(first(picture).relu()).relu())
assert not torch.allclose(bent, together)

# %% [markdown]
# ## Sixteen layers in five blocks
#
# Two rules give the rest. Within a block the maps keep their size, because each convolution pads them
# with a border of zeros, one pixel wide. Between blocks a pooling halves their sides, and the number
# of maps doubles, up to 512:

# %% tags=["hide-input"]
from internals.figures import Stage, stack

show(
    stack(
        [
            Stage("input", 3, 224, 224, "two 3 × 3", 5),
            Stage("conv1–2", 64, 224, 224, "max, two 3 × 3", 10),
            Stage("conv3–4", 128, 112, 112, "max, three 3 × 3", 14),
            Stage("conv5–7", 256, 56, 56, "max, three 3 × 3", 14),
            Stage("conv8–10", 512, 28, 28, "max, three 3 × 3", 14),
            Stage("conv11–13", 512, 14, 14, "max, full"),
            Stage("fc1", 4096, operation="full"),
            Stage("fc2", 4096, operation="full"),
            Stage("fc3", 10),
        ],
        caption="VGG-16, a stage for the last maps of each block. Maps are drawn to scale, vectors are "
        "not. The box on a stage is what one unit of the next stage sees, through the pooling and all "
        "convolutions in between. The sides of the maps are halved at each pooling, where AlexNet's "
        "first layer goes from 224 pixels to 55 at once.",
        alt="Nine stages from a 224 by 224 colour input through 64 maps of 224, 128 of 112, 256 of "
        "56, 512 of 28 and 512 of 14 to two layers of 4096 units and one of ten.",
    ),
    "architecture",
)

# %% [markdown]
# Table 1 of the paper has networks A to E, of 11 to 19 layers, and ours is D. Counting parameters needs no
# weights, so PyTorch can build all five without allocating any:

# %%
from internals.anatomy import summarize
from internals.figures import Table, percent
from internals.models import CONFIGURATIONS, VGG, VGG16

with torch.device("meta"):
    family = {name: VGG(name) for name in CONFIGURATIONS}
counted = {
    name: [r for r in summarize(network, (3, 224, 224)) if r.parameters]
    for name, network in family.items()
}
millions = {
    name: sum(r.parameters for r in rows) / 1e6
    for name, rows in counted.items()
}

# %% [markdown]
# A has eight convolutions and E sixteen. The three fully connected layers are the same in all five:

# %% tags=["hide-input"]
printed = {"A": 133, "B": 133, "C": 134, "D": 138, "E": 144}
show(
    Table.of(
        ("network", "layers with weights", "convolutions", "parameters",
         "in the paper, millions", "multiply-adds"),
        (
            (name, len(rows), len(rows) - 3, sum(r.parameters for r in rows),
             printed[name], sum(r.multiply_adds for r in rows))
            for name, rows in counted.items()
        ),
        caption="The paper's five networks for 224 × 224 pixels and 1,000 classes, counted from their "
        "graphs, beside the parameters of its table 2. Each of the last three blocks of C ends with a "
        "1 × 1 convolution, where D has a third one of 3 × 3.",
    ),
    "configurations",
)  # fmt: skip
assert {name: round(m) for name, m in millions.items()} == printed
assert isclose(millions["E"] / millions["A"] - 1, 0.08, abs_tol=0.005)
work_a, work_e = (
    sum(r.multiply_adds for r in counted[name]) for name in ("A", "E")
)
chapter.finding(
    "Depth costs few parameters and much work. From A to E there are eight more layers: they add "
    f"{percent(millions['E'] / millions['A'] - 1, 0)} to the parameters, and the multiply-adds are "
    f"{work_e / work_a:.1f} times as many.",
    holds=len(counted["E"]) - len(counted["A"]) == 8 and work_e > 2 * work_a,
)

# %% [markdown]
# Most of the 138 million parameters of D are not in its convolutions. Nearly three quarters are in `fc1`,
# which connects each of the 512 × 7 × 7 units of the last pooling with each of 4,096:

# %%
d = {r.name: r for r in counted["D"]}
total = sum(r.parameters for r in d.values())
work = sum(r.multiply_adds for name, r in d.items() if "conv" in name)
share = d["fc1"].parameters / total
print(f"{total:,} parameters, {percent(share)} of them in fc1")
print(f"{work:,} multiply-adds in the convolutions")
assert total == 138_357_544 and round(share, 3) == 0.743
assert d["fc1"].parameters == 512 * 7 * 7 * 4096 + 4096
assert round(work / 1e9, 2) == 15.35

# %% [markdown]
# The form trained here, `VGG16()`, is D with ten classes. Within a block each layer adds two strides to
# the field, and every pooling doubles the stride:

# %%
with torch.device("meta"):
    rows = summarize(VGG16(), (3, 224, 224))
show(
    Table.of(
        ("layer", "output", "parameters", "multiply-adds", "field", "stride"),
        tuple(
            (r.name, " × ".join(map(str, r.shape)), r.parameters, r.multiply_adds,
             r.field.size, r.field.stride or None)
            for r in rows
            if r.kind not in ("ReLU", "Dropout")
        ),
        caption="The network of this chapter, without its rectifiers and dropout. At 224 pixels "
        "avgpool changes nothing; it makes the network accept smaller pictures. From fc1 on a unit "
        "sees the whole picture, and there is only one position, so no stride.",
    ),
    "layers",
)  # fmt: skip

# %% [markdown]
# The receptive fields of six convolutions, and the number of parameters, are checked:

# %%
sees = {r.name: r.field.size for r in rows if r.kind == "Conv2d"}
assert [sees[f"conv{n}"] for n in (2, 4, 6, 8, 10, 13)] == [
    5,
    14,
    32,
    60,
    92,
    196,
]
assert sum(r.parameters for r in rows) == 134_301_514

# %% [markdown]
# ## Why it may never start
#
# In a plain stack each layer receives only what the layer below passes on. A signal may then *vanish* or
# *explode* on its way up. Let a unit add up $n$ inputs
# $x$ with random weights of mean 0 and variance $\sigma^2$. The variance of the sum is $n \sigma^2$
# times the mean of $x^2$. After a rectifier that mean is half the variance of the sums below:
#
# $$
# \operatorname{Var} a_l = \tfrac{1}{2}\, n_l \sigma_l^2 \operatorname{Var} a_{l-1} .
# $$
#
# A factor that is not 1 acts at every layer. $\sigma = 0.01$ was good enough for AlexNet; here it
# more than halves the signal at every layer that reads 512 maps. The paper writes "10⁻² variance", which
# would be $\sigma = 0.1$, and is often read as a standard deviation of 0.01. The variance of Glorot and
# Bengio, $2 / (n_{in} + n_{out})$, makes no allowance for the rectifier [@glorot2010]. That of He and
# others, $2 / n$, does, and the factor is 1 [@he2015]:

# %%
n = 9 * 512
variances = {
    "variance 0.01": 0.01,
    "He et al.": 2 / n,
    "Glorot": 2 / (n + n),
    "deviation 0.01": 0.01**2,
}
factors = {name: (n * v / 2) ** 0.5 for name, v in variances.items()}
for name, factor in factors.items():
    print(f"{name:15} standard deviation multiplied by {factor:.2f} per layer")
assert isclose(factors["He et al."], 1)
assert factors["variance 0.01"] > 4 and factors["deviation 0.01"] < 0.5

# %% [markdown]
# The formula assumes independent numbers. Here is a measurement. Eight pictures go through the thirteen
# convolutions of one network, whose weights are drawn anew in each of the four ways. The fully
# connected layers keep the weights that this book's `VGG16` begins with.

# %%
from functools import partial

from internals import Normalization, capture

few = images.train.head(8)
inputs = Normalization.fit(few).apply(few.images)
torch.manual_seed(chapter.seed)  # as for the run further down
vgg16 = VGG16().eval()
initial = {
    layer: vgg16.get_submodule(layer).weight.detach().clone()
    for layer in ("conv1", "conv13")
}
convs = [f"conv{n}" for n in range(1, 14)]
starts = {
    "variance 0.01": partial(nn.init.normal_, std=0.1),
    "deviation 0.01": partial(nn.init.normal_, std=0.01),
    "Glorot": nn.init.xavier_normal_,
    "He et al.": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
}


def signal():
    maps = capture(vgg16, inputs, convs).values()
    return np.array([m.square().mean().sqrt().item() for m in maps])


# %% [markdown]
# Beside the size of the signal we record the loss and the norm of its gradient at `conv1`, because the
# backward pass multiplies by the same weights as the forward pass:


# %%
def first_step():
    loss = functional.cross_entropy(vgg16(inputs), few.labels)
    (gradient,) = torch.autograd.grad(loss, vgg16.conv1.weight)
    return loss.item(), gradient.norm().item()


# %% [markdown]
# First with the network as it is built, whose convolutions follow He and others, then with each of the
# four ways drawn anew:

# %%
ours = (signal(), *first_step())
sizes, steps = {}, {}
for name, draw in starts.items():
    for conv in convs:
        draw(vgg16.get_submodule(conv).weight)
    sizes[name], steps[name] = signal(), first_step()

# %% [markdown]
# On a logarithmic scale a constant factor per layer is a straight line:

# %% tags=["hide-input"]
from internals.figures import lines

show(
    lines(
        np.arange(1, 14),
        sizes,
        xlabel="convolution",
        ylabel="root mean square of its sums",
        logarithmic=True,
        caption="The size of the signal in thirteen untrained convolutions, before the rectifier, for "
        "four ways to draw the weights. The lines bend where the number of maps changes and, in small "
        "pictures, where much of a window lies on the border of zeros.",
        alt="Four lines over the thirteen convolutions on a logarithmic scale: one rises steeply, "
        "one stays almost level, one falls gently, one falls by many powers of ten.",
    ),
    "signal",
)
assert sizes["deviation 0.01"][-1] < 1e-5 < 1e3 < sizes["variance 0.01"][-1]
assert 0.05 < ours[0][-1] < 20
kept = {name: size[-1] / size[0] for name, size in sizes.items()}
chapter.finding(
    "A deviation of 0.01 makes the signal vanish: at conv13 it is "
    f"{kept['deviation 0.01']:.0e} of what it is at conv1. A variance of 0.01 makes it "
    f"{kept['variance 0.01']:,.0f} times as large. With Glorot's weights {kept['Glorot']:.2g} of it "
    f"is left, with He's {kept['He et al.']:.2g}.",
    holds=kept["deviation 0.01"] < 1e-3 and kept["variance 0.01"] > 1e3,
)

# %% [markdown]
# A network whose signal has vanished gives ten classes the same probability, whatever it is shown. Its
# loss is $\ln 10 = 2.303$. The gradient vanishes on its way back as the signal does on its way up, so
# plain gradient descent may stay there. Here are the loss and the gradient before the first step:

# %% tags=["hide-input"]
show(
    Table.of(
        ("convolutions drawn", "at conv1", "at conv13", "loss", "gradient at conv1"),
        (
            (name, f"{size[0]:.2g}", f"{size[-1]:.2g}", f"{loss:.6g}", f"{slope:.2g}")
            for name, size, (loss, slope) in (
                *((name, sizes[name], steps[name]) for name in starts),
                ("He et al., as built", ours[0], ours[1:]),
            )
        ),
        caption="The size of the signal at both ends of the convolutions, the loss, and the norm of its "
        "gradient with respect to the weights of conv1, for eight pictures before the first step.",
    ),
    "starts",
)  # fmt: skip
loss, slope = steps["deviation 0.01"]
assert abs(loss - np.log(10)) < 1e-4 and slope < ours[2] / 1e3
chapter.finding(
    f"With a deviation of 0.01 the loss is {loss:.4f}, which is ln 10, and the gradient at conv1 is "
    f"{slope:.0e}. With the initial weights of this book that gradient is {ours[2]:.2g}.",
    holds=f"{loss:.4f}" == f"{np.log(10):.4f}" and slope < ours[2] / 1e3,
)

# %% [markdown]
# This is the state before the first step. A run that never leaves it is not shown.
#
# The authors knew the problem. They trained network A first, which has eight convolutions, and gave its
# first four and its three fully connected layers to the deeper networks. After submission they found
# that Glorot's weights make this unnecessary [@simonyan2015]. Here three things take the place of
# network A. The initial weights of He and others keep the signal alive. A *warm-up* raises the learning
# rate slowly from 0. *Gradient clipping* limits the norm of the gradient, so that no single batch
# counts too much.
#
# ### Where this implementation departs from the paper
#
# | what | the paper | here |
# |---|---|---|
# | initial weights | normal, seven layers from network A | He et al. [@he2015], deviation 0.01 in fc3 |
# | optimiser | gradient descent with momentum | AdamW, with smaller batches |
# | first steps | at the full rate | a rate that rises, gradients of limited norm |
# | training pictures | 224 pixels throughout | smaller ones first (*progressive resizing*) |
# | labels | as they are | smoothed: a tenth is spread over all classes |
# | weights | those of the last step | a running average over about the last hundred steps |
# | shorter side, for crops of 224 | 256, 384, or drawn from 256 to 512 | 256 |
# | colours | shifted together (RGB shift) | brightness, contrast, saturation and hue jittered |
# | pixels | less their mean colour | and divided by their deviation |
# | between pool5 and fc1 | nothing | an average that changes nothing at 224 pixels |
# | test | densely, at several scales, mirrored | one crop from the centre |
# | classes | 1,000 | 10 |
#
# ## Training
#
# AdamW [@loshchilov2019] divides the gradient of each weight by its own running size, so that weights with
# small gradients move about as far as those with large ones. What is scored and kept is a running *average
# of the weights*, to which each step adds one hundredth of the weights that it has come to.

# %% tags=["hide-input"]
from internals.training import hyperparameters

show(
    Table.of(
        ("hyperparameter", "here", "the paper"),
        hyperparameters(recipe, images.train),
        caption="The recipe of the run below and the paper's. Sizes are earlier phases of the training "
        "with smaller pictures, as a share of the epochs and the side in pixels. The learning rate "
        "rises during the share of the steps called warm up, the clip norm is the limit of the "
        "gradient's norm, and the average of weights has the share that a step keeps of the average "
        "before it. The paper took two to three weeks on four graphics cards.",
    ),
    "recipe",
)

# %% [markdown]
# The test pictures are scored once, after one of the epochs at the size of the test has been chosen on
# training pictures held out. The network has started if the training loss has left $\ln 10$:

# %%
from internals.training import trained

run = trained(recipe, images, seed=chapter.seed)
test, seconds, history = run.test, run.provenance.seconds, run.history
print(
    f"{percent(test.top1, 2)} of {len(test.predicted):,} test pictures right, "
    f"{seconds:.0f} s"
)
for epoch in (history.epochs[0], history.epochs[-1]):
    print(f"epoch {epoch.number}: training loss {epoch.train_loss:.3f}")
chapter.record(test_top1=test.top1, test_loss=test.loss, seconds=seconds)
if chapter.profile != "smoke":
    assert history.epochs[-1].train_loss < np.log(10) - 0.2
    assert test.top1 > 0.15

# %% [markdown]
# Loss and accuracy of every epoch:

# %% tags=["hide-input"]
from scipy.stats import entropy

from internals.book import learning_curves

spread = recipe.loss.smoothing / 10  # to each class
least = entropy([1 - 9 * spread, *[spread] * 9])
sides = ", ".join(map(str, dict.fromkeys(history.column("size"))))
show(
    learning_curves(
        run,
        caption="Loss and accuracy by epoch. A network that gives all classes the same probability has "
        "a loss of 2.303 and an accuracy near 10 %; with labels smoothed as here the least possible loss "
        f"is {least:.2f}. The training curve is a mean over the epoch, while the network changes, "
        "and is that of single steps, not of the average of the weights. Held-out pictures are scored "
        "at the size of the epoch, so both curves may jump where the size changes. Sides of the "
        f"training pictures, one after the other: {sides} pixels. The dashed line is the score on the "
        "test pictures.",
        alt="Two charts by epoch: training and held-out loss, and training and held-out accuracy "
        "with the test accuracy as a dashed line.",
    ),
    "training",
)
started = next((e.number for e in history.epochs if e.train_loss < 2.2), None)
# TODO-FLOOR: 80 % is the floor; say here what was done if the score is below it.
chapter.finding(
    f"The network has started: epoch {started} is the first with a mean training loss below 2.2. In "
    f"the last epoch the training loss is {history.epochs[-1].train_loss:.2f}. Of the test pictures "
    f"{percent(test.top1)} are named rightly.",
    holds=started is not None and test.top1 > 0.5,
)

# %% [markdown]
# The published scores are the authors', those of He and others [@he2016] and of that year's winners
# [@szegedy2015]. They are for 1,000 classes and 1.28 million training pictures; this chapter has ten
# classes and fewer than ten thousand pictures. They are listed for the record, and cannot be compared
# with the first line:

# %% tags=["hide-input"]
imagenet = "ILSVRC-2012, 1,000 classes"
show(
    Table.of(
        ("network", "tested on", "top-1 error", "top-5 error"),
        (
            (
                "this chapter",
                f"{images.test.name}, 10 classes",
                percent(1 - test.top1),
                "",
            ),
            ("best single network, several scales", f"{imagenet}, validation", "24.8 %", "7.5 %"),
            ("the same, and many crops", f"{imagenet}, validation", "24.4 %", "7.1 %"),
            ("VGG-16, ten crops, as He et al. measured", f"{imagenet}, validation", "28.07 %", "9.33 %"),
            ("seven networks, the contest of 2014", f"{imagenet}, test", "", "7.3 %"),
            ("GoogLeNet, the winner", f"{imagenet}, test", "", "6.67 %"),
        ),
        caption="The test error of this run, one seed, above those that others report for another, harder "
        "task.",
    ),
    "scores",
)  # fmt: skip

# %% [markdown]
# ### Its mistakes
#
# The classes that are taken for one another:

# %% tags=["hide-input"]
from internals.book import most_confused, recall
from internals.figures import confusion

show(
    confusion(
        test.confusion,
        names,
        caption="Test pictures by their class (rows) and by the answer (columns), right answers muted.",
        alt="A ten by ten matrix of counts; the diagonal holds what is right.",
    ),
    "confusion",
)
first, second = most_confused(test.confusion)
either_way = test.confusion[first, second] + test.confusion[second, first]
found = recall(test.confusion)
print(
    f"The two classes taken for one another most are {names[first]} and {names[second]}:",
    f"{either_way} test pictures. {names[found.argmin()].capitalize()} is recognised least,",
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
        caption="The ten wrong answers on test pictures that the network gives the highest probability: "
        "true class → answer, its probability, and the picture's number.",
        alt="Up to ten misnamed test pictures, each with its true class, the answer and its "
        "probability.",
    ),
    "mistakes",
)
surest = surest_mistakes(run, images.test)
answered = np.bincount(test.predicted[surest], minlength=10)
print(
    f"The answer to {answered.max()} of these {len(surest)} pictures is {names[answered.argmax()]}.",
    f"They are the surest of {round((1 - test.top1) * len(test.predicted))} mistakes.",
    sep="\n",
)

# %% [markdown]
# ## A network that slides
#
# A fully connected layer is a convolution whose window is as large as its input. Read this way, `fc1`
# has a window of 7 × 7 over `pool5`, and `fc2` and `fc3` have windows of 1 × 1. This *fully
# convolutional* network takes pictures of any size from 224 pixels up and puts out a map of scores. At
# 224 pixels this map has one position, with the scores of the network as it was:

# %%
from internals import Network
from internals.models import fully_convolutional

net = Network.of(run)
sliding = fully_convolutional(run.model)
tested = run.pipeline.view(images.test)
first_picture = net.inputs(tested)[:1]
at_224 = functional.interpolate(first_picture, 224, mode="bilinear")
scores = net.capture(at_224, ["fc3"])["fc3"]
with torch.no_grad():
    slid = sliding(at_224)
assert scores.shape == slid.shape == (1, 10, 1, 1)
assert torch.allclose(slid, scores, atol=1e-3, rtol=1e-3)

# %% [markdown]
# The paper tests in this way (*dense evaluation*), on pictures of 384 pixels for example, and takes the
# mean over the map. Crops that are cut out and tested one by one repeat most of that work. What is saved
# can be counted:

# %%
with torch.device("meta"):
    dense = fully_convolutional(VGG("D"))
wide = summarize(dense, (3, 384, 384))
places = wide[-1].shape[1] * wide[-1].shape[2]
crops = places * sum(r.multiply_adds for r in d.values())
at_once = sum(r.multiply_adds for r in wide)
print(
    f"{places} positions; {places} separate crops would take {crops / at_once:.1f} times the work"
)
assert places == 36 and 10 < crops / at_once < 12

# %% [markdown]
# A map of answers may also show where an object is. The next function slides the fully connected layers over
# `pool5`, with a window as large as the maps of one test picture. For a window of 7 × 7 that is
# `fully_convolutional`:


# %%
def class_map(pictures, window):
    """The probability of each class at each position of a window over pool5."""
    maps = net.capture(pictures, ["pool5"])["pool5"]
    parts = maps.unfold(2, window, 1).unfold(3, window, 1)[0]
    side = parts.shape[1]
    parts = parts.permute(1, 2, 0, 3, 4).flatten(0, 1)
    with torch.no_grad():
        y = run.model.avgpool(parts).flatten(1)
        for layer in ("fc1", "relu14", "fc2", "relu15", "fc3"):
            y = run.model.get_submodule(layer)(y)
    return y.softmax(1).T.unflatten(1, (side, side))


expected = slid[0].softmax(0)
assert torch.allclose(class_map(at_224, window=7), expected, atol=1e-3)

# %% [markdown]
# Four test pictures of different classes are put side by side, in one picture of twice the side. They
# are those that the network names rightly and with the highest probability, a best case. A window of 7
# × 7 units of `pool5` can see 404 pixels, so that at every position it sees some of the neighbouring
# pictures as well:

# %%
from torchvision.utils import make_grid

truth = images.test.labels[: len(test.predicted)].numpy()
sure = test.confidence + (test.predicted == truth)
best = [
    int(np.where(truth == label, sure, -1).argmax()) for label in range(10)
]
four = sorted(best, key=lambda i: -sure[i])[:4]
quarter = tested.images[four]
montage = make_grid(quarter, nrow=2, padding=0)
classes = [int(truth[i]) for i in four]
window = recipe.size // 32
answers = class_map(montage[None], window)[classes]
pool5 = {r.name: r.field for r in rows}["pool5"]
assert pool5.size + 6 * pool5.stride == 404

# %% [markdown]
# An answer belongs to the middle of its window, and the windows are 32 pixels apart. Here is the
# probability of each of the four classes over the whole picture:

# %% tags=["hide-input"]
from internals.anatomy import ReceptiveField
from internals.figures import overlays
from internals.projection import upsampled

seen = ReceptiveField(size=recipe.size, stride=32, start=0)
spread = upsampled(answers, (2 * recipe.size, 2 * recipe.size), seen)
show(
    overlays(
        [montage.numpy() / 255],
        [list(spread.numpy())],
        [names[label] for label in classes],
        caption="Four test pictures in one, and the probability of the class named above each map, "
        "wherever the window stands. The labels used in training say nothing about position. Every "
        "window also sees parts of the neighbouring pictures.",
        alt="A picture of two by two pictures, then the same four times under a heat map, one for "
        "each of the four classes.",
    ),
    "sliding",
)
half = (torch.arange(len(answers[0])) >= len(answers[0]) / 2).long()
own = 2 * half[:, None] + half == torch.arange(4)[:, None, None]
peaks = answers.flatten(1).argmax(dim=1, keepdim=True)
hits = int(own.flatten(1).gather(1, peaks).sum())
chapter.finding(
    f"In the windows of its own quarter a class has a mean probability of {answers[own].mean():.2f}, "
    f"elsewhere {answers[~own].mean():.2f}. The largest probability lies in the right quarter in "
    f"{hits} of the four maps.",
    holds=bool(answers[own].mean() > answers[~own].mean() + 0.1),
)

# %% [markdown]
# ## Looking inside
#
# ### The kernels of conv1
#
# A kernel of 3 × 3 pixels can be an edge, a line, a spot or a colour, and little else. All kernels began
# as random numbers. `vgg16` above was drawn from the seed of this run, so its `initial` weights are those
# that the run began with. A correlation of 1 would mean that a kernel has kept its pattern:


# %%
def kept(layer):
    """The correlation of each of a layer's kernels with its initial weights."""
    weights = run.model.get_submodule(layer).weight.detach()
    both = torch.stack([initial[layer], weights]).flatten(2)
    both = functional.normalize(both - both.mean(dim=2, keepdim=True), dim=2)
    return (both[0] * both[1]).sum(dim=1)


same = {layer: kept(layer) for layer in initial}

# %% [markdown]
# The kernels after training:

# %% tags=["hide-input"]
from internals.figures import filters

# TODO-CAPTION
show(
    filters(
        run.model.conv1.weight.detach().numpy(),
        caption="The 64 kernels of conv1, 3 × 3 pixels, on one scale: mid grey is 0, and a colour is "
        "the light that raises the channel's sum.",
        alt="Sixty-four small squares of three by three coloured pixels.",
    ),
    "conv1-filters",
)
half = {
    layer: np.floor(100 * float(values.median())) / 100
    for layer, values in same.items()
}
chapter.finding(
    "Most kernels of conv1 still show the random pattern that they began as: "
    f"{int((same['conv1'] > 0.9).sum())} of the 64 have a correlation above 0.9 with it, and half of "
    f"them one of {half['conv1']:.2f} or more. In conv13 half of the kernels have one of "
    f"{half['conv13']:.2f} or more.",
    holds=bool((same["conv1"] > 0.9).double().mean() > 0.6),
)

# %% [markdown]
# ### What drives the channels above
#
# How the next pictures are made and read is the subject of
# [How to look](00_how_to_look.py#how-to-read-a-panel). For every channel of all thirteen convolutions,
# one pass over the training pictures finds the nine that drive it hardest, and where in them:

# %%
most = chapter.at(smoke=64, quick=512)
pictures = run.pipeline.view(images.train.head(most))
top = net.strongest(pictures, convs, k=9)

# %% [markdown]
# The panels show the first channels of each layer, so none was picked. Projections are guided. Values
# are those before the rectifier: a unit whose value is not above 0 is silent, and has that word in
# place of its pictures. From `conv4` on the captions say from how many of the ten classes the nine
# pictures of each row come:

# %%
from internals.activations import class_counts


def listed(layer, count):
    """From how many classes the pictures of each row come, in words."""
    counts = class_counts(top[layer].image[:count], pictures.labels)
    return ", ".join(map(str, counts.tolist()))


# %% [markdown]
# #### conv2 and conv3
#
# A unit of `conv2` sees 5 × 5 pixels and one of `conv3` ten. Patches so small have room for a
# direction, a contrast or a colour:

# %%
from internals.figures import panels

# TODO-CAPTION
show(
    panels(
        net.patches(top["conv2"]),
        caption="Six channels of conv2: the 5 × 5 pixels that drive each hardest in nine different "
        "pictures, and the projection of each unit.",
        alt="Nine projections and patches of five by five pixels for each of six channels of conv2.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# The first pooling lies between the two layers. It keeps the largest of four neighbouring values and not
# their positions, so a unit of `conv3` can answer alike to features that lie a pixel apart:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv3"], range(3)),
        caption="Three channels of conv3: the 10 × 10 pixels that drive each hardest, with their projections.",
        alt="Nine projections and patches of ten by ten pixels for each of three channels of conv3.",
    ),
    "conv3-strongest",
)

# %% [markdown]
# #### conv4
#
# A unit of `conv4` sees 14 × 14 pixels, a little more than a kernel of AlexNet's first layer. Four
# layers with rectifiers between them are not one kernel that could be drawn. What remains to be shown
# is what drives the unit:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv4"]),
        caption="Six channels of conv4, the last convolution before the second pooling: patches of 14 × 14 "
        f"pixels with their projections. The nine pictures of a row come from {listed('conv4', 6)} classes.",
        alt="Nine projections and patches of fourteen by fourteen pixels for each of six channels of conv4.",
    ),
    "conv4-strongest",
)

# %% [markdown]
# #### conv5, conv6 and conv7
#
# The third block sees 24, 32 and 40 pixels:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv5"], range(3)),
        caption="Three channels of conv5, the first convolution after the second pooling: patches of 24 × 24 "
        f"pixels with their projections. The nine pictures of a row come from {listed('conv5', 3)} classes.",
        alt="Nine projections and patches of twenty-four pixels for each of three channels of conv5.",
    ),
    "conv5-strongest",
)

# %% [markdown]
# After two poolings the stride is four pixels, so each layer of this block adds eight pixels to the
# field:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv6"]),
        caption="Six channels of conv6, with fields of 32 pixels. Below a patch stand its class and the "
        f"picture's number. The nine pictures of a row come from {listed('conv6', 6)} classes.",
        alt="Nine projections and patches of thirty-two pixels for each of six channels of conv6.",
    ),
    "conv6-strongest",
)

# %% [markdown]
# The last layer of the block:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv7"], range(3)),
        caption="Three channels of conv7, with fields of 40 pixels. Mid grey in a projection is 0. The nine "
        f"pictures of a row come from {listed('conv7', 3)} classes.",
        alt="Nine projections and patches of forty pixels for each of three channels of conv7.",
    ),
    "conv7-strongest",
)

# %% [markdown]
# #### conv8, conv9 and conv10
#
# The fourth block sees 60, 76 and 92 pixels, where a picture has 224:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv8"]),
        caption="Six channels of conv8, with fields of 60 pixels. Where a field reaches over the border of "
        "the picture, its patch has no pixels; the network has zeros there. The nine pictures of a row "
        f"come from {listed('conv8', 6)} classes.",
        alt="Nine projections and patches of sixty pixels for each of six channels of conv8.",
    ),
    "conv8-strongest",
)

# %% [markdown]
# Its second layer:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv9"], range(3)),
        caption="Three channels of conv9, with fields of 76 pixels. Above a pair stands the value that the "
        f"unit reaches, the largest first. The nine pictures of a row come from {listed('conv9', 3)} classes.",
        alt="Nine projections and patches of seventy-six pixels for each of three channels of conv9.",
    ),
    "conv9-strongest",
)

# %% [markdown]
# `conv10` is the last convolution before the fourth pooling:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv10"]),
        caption="Six channels of conv10, with fields of 92 pixels. The nine pictures of a row come from "
        f"{listed('conv10', 6)} classes. A class that fills a row may be there for the thing itself or "
        "for what usually surrounds it; the patches show both.",
        alt="Nine projections and patches of ninety-two pixels for each of six channels of conv10.",
    ),
    "conv10-strongest",
)

# %% [markdown]
# #### conv11, conv12 and conv13
#
# The last block sees 132, 164 and 196 of the 224 pixels:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv11"], range(3)),
        caption="Three channels of conv11, with fields of 132 pixels, the first convolution after the "
        f"fourth pooling. The nine pictures of a row come from {listed('conv11', 3)} classes.",
        alt="Nine projections and large patches or whole pictures for each of three channels of conv11.",
    ),
    "conv11-strongest",
)

# %% [markdown]
# The layer above sees 32 pixels more:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv12"], range(3)),
        caption="Three channels of conv12, with fields of 164 pixels. The nine pictures of a row come from "
        f"{listed('conv12', 3)} classes; what several share need not have a name.",
        alt="Nine projections and large patches or whole pictures for each of three channels of conv12.",
    ),
    "conv12-strongest",
)

# %% [markdown]
# `conv13` is the last convolution. For pictures of 224 pixels its maps have 14 × 14 positions:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    panels(
        net.patches(top["conv13"]),
        caption="Six channels of conv13, with fields of 196 pixels. The nine pictures of a row come from "
        f"{listed('conv13', 6)} classes. How much these projections depend on the trained weights is "
        "tested further down.",
        alt="Nine projections and large patches or whole pictures for each of six channels of conv13.",
    ),
    "conv13-strongest",
)

# %% [markdown]
# An image can also be made for a channel. It starts as noise, with the colours of photographs, and is
# changed step by step to drive the unit in the middle of the map ever harder [@olah2017]. It need not
# reach what the strongest patch reaches, which may drive another unit of the channel:

# %% tags=["hide-input"]
from internals.figures import beside_strongest, portraits
from internals.projection import middle_units

units = middle_units(net, top["conv13"].layer, range(3))
made = net.optimise(
    units, pictures=pictures, steps=chapter.at(smoke=1, quick=24, full=128)
)
# TODO-CAPTION
show(
    portraits(
        beside_strongest(net.patches(top["conv13"].head(1), range(3)), made),
        caption="Three channels of conv13: the patch that drives each hardest, and an image made from "
        "noise to drive its middle unit, with the value that each reaches. It is one of many images "
        "that would do.",
        alt="For three channels of conv13 the strongest patch beside an image made from noise.",
    ),
    "conv13-optimised",
)
reached = np.array([image.value for image in made])
by_patch = top["conv13"].value[:3, 0].numpy()
print(
    "The three images made from noise reach",
    f"{', '.join(f'{value:.1f}' for value in reached)}; the strongest patches reach",
    f"{', '.join(f'{value:.1f}' for value in by_patch)}.",
    sep="\n",
)

# %% [markdown]
# ### All channels, in numbers
#
# Six channels of 512 are no evidence about a layer. Two numbers can be had for all 4,224 channels. A
# channel is *silent* if no picture makes it positive anywhere. Its *purity* counts how many of its nine
# strongest pictures belong to their commonest class. The control is a network with random weights:
# `vgg16` from above, whose convolutions were last drawn as He and others propose, from other random
# numbers than the run began with. It gets the same pictures:

# %%
from internals.activations import class_purity

untrained = Network(vgg16, normalization=run.normalization)
searched = {
    "trained": top,
    "untrained": untrained.strongest(pictures, convs, k=9),
}
labels = pictures.labels
purity = {
    name: np.array(
        [9 * class_purity(by[conv].image, labels) for conv in convs]
    )
    for name, by in searched.items()
}
lot = torch.Generator().manual_seed(chapter.seed)
blindly = torch.randint(len(pictures), (5000, 9), generator=lot)
by_lot = 9 * class_purity(blindly, labels)
silent = [int((top[conv].value[:, 0] <= 0).sum()) for conv in convs]
assert sum(len(top[conv]) for conv in convs) == 4224

# %% [markdown]
# Stricter is the share of channels whose nine pictures are all of one class. And one class may be the
# commonest of many channels:

# %%
unmixed = {
    name: float((class_counts(by["conv13"].image, labels) == 1).float().mean())
    for name, by in searched.items()
}
counts = functional.one_hot(labels[top["conv13"].image], 10).sum(dim=1)
leading = counts.argmax(dim=1).bincount(minlength=10) / len(counts)

# %% [markdown]
# Nine pictures drawn at random have some of one class, too, and so have the strongest pictures of
# random weights. What was learned is the distance between the two curves:

# %% tags=["hide-input"]
show(
    lines(
        np.arange(1, 14),
        purity,
        xlabel="convolution",
        ylabel="pictures of the commonest class, of nine",
        levels={"drawn at random": by_lot},
        caption="How many of a channel's nine strongest pictures belong to their commonest class, the mean "
        "over all channels of a layer, with trained and with random weights. The dashed level is that "
        "of nine pictures drawn at random.",
        alt="Two lines over the thirteen convolutions, for the trained and the untrained network, and "
        "a dashed level.",
    ),
    "channels",
)
gain = purity["trained"] - purity["untrained"]
chapter.finding(
    "Training makes the deep channels sort by class. "
    f"In conv1 {purity['trained'][0]:.1f} of the nine are of one class with trained weights and "
    f"{purity['untrained'][0]:.1f} with random ones, in conv13 {purity['trained'][-1]:.1f} and "
    f"{purity['untrained'][-1]:.1f}. The difference is largest in conv{gain.argmax() + 1}.",
    holds=bool(gain[-1] > gain[0] + 0.5),
)
chapter.finding(
    f"All nine pictures are of one class in {percent(unmixed['trained'], 0)} of the channels of conv13, "
    f"and with random weights in {percent(unmixed['untrained'], 0)}. The commonest class of a row is most "
    f"often {names[int(leading.argmax())]}, in {percent(float(leading.max()), 0)} of the channels of conv13; "
    "shared evenly, each class would have 10 %.",
    holds=unmixed["trained"] > unmixed["untrained"] + 0.02,
)
print(
    f"Of the 4,224 channels {sum(silent)} are silent for all {len(pictures):,} pictures. Such a channel",
    "passes nothing on, and these pictures give it no gradient.",
    sep="\n",
)

# %% [markdown]
# ## What the answer rests on
#
# Three instruments say which part of a picture counts for a class score. *Grad-CAM* adds up the maps of
# `conv13` after their rectifier, each weighted by the mean gradient of the score over it, and sets
# negative sums to 0 [@selvaraju2017]. *Saliency* is the
# size of the score's gradient at each pixel [@simonyan2014]. *Occlusion* slides a grey square, a sixth
# of the picture wide, over the picture and records the score [@zeiler2014]. Of the pictures that drive the
# channels of `conv13` hardest, in the order of the channels, we take the first of each of three classes:

# %%
one_each = {}
for number in top["conv13"].image[:, 0].tolist():
    one_each.setdefault(int(labels[number]), number)
shown = pictures.subset(torch.tensor(list(one_each.values())[:3]))
inputs, classes = net.inputs(shown)[:], shown.labels
square = {"size": recipe.size // 6, "stride": recipe.size // 8}
covered = net.occlusion(inputs, classes, **square)
scores = net.capture(inputs, ["fc3"])["fc3"].flatten(1)
whole = scores.gather(1, classes[:, None])[:, 0]

# %% [markdown]
# What a pixel is worth by occlusion is the drop of the score, averaged over the squares that cover it:

# %%
from internals.projection import occlusion_map

maps = {
    "Grad-CAM, relu13": net.grad_cam(inputs, "relu13", classes, upsample=True),
    "saliency": net.saliency(inputs, classes),
    "occlusion": occlusion_map(covered, whole, inputs.shape[-2:], **square),
}

# %% [markdown]
# How far two maps agree is a rank correlation: 1 where they have the same order of pixels, 0 where one says
# nothing about the other:

# %%
from scipy.stats import spearmanr


def agreement(one, other):
    """The rank correlations of two maps of each picture, where neither is empty."""
    pairs = zip(maps[one].numpy(), maps[other].numpy(), strict=True)
    return [
        spearmanr(*p, axis=None)[0] for p in pairs if p[0].std() * p[1].std()
    ]


cam, pixels, squares = maps
agree = {
    "Grad-CAM and occlusion": agreement(cam, squares),
    "Grad-CAM and saliency": agreement(cam, pixels),
    "saliency and occlusion": agreement(pixels, squares),
}

# %% [markdown]
# The maps of the three pictures:

# %% tags=["hide-input"]
# TODO-CAPTION
show(
    overlays(
        list(shown.images.numpy() / 255),
        [[m[n].numpy() for m in maps.values()] for n in range(len(shown))],
        list(maps),
        names=[names[label] for label in classes],
        caption="Training pictures of different classes, with three maps of evidence for their class, "
        "each on its own scale, the largest value below it. Occlusion has a sign: amber is what the "
        "score loses when a place is covered, blue what it gains.",
        alt="Rows of one picture and three heat maps over it: smooth patches of Grad-CAM, single "
        "pixels of saliency, and coarse squares of occlusion.",
    ),
    "evidence",
)
said = "; ".join(
    f"{pair} {', '.join(f'{rho:.2f}' for rho in found)}"
    for pair, found in agree.items()
)
chapter.finding(
    "The three maps of a picture differ. Their rank correlations, one for each of these pictures, are: "
    f"{said}. None is above 0.8.",
    holds=max(max(found, default=1.0) for found in agree.values()) < 0.8,
)

# %% [markdown]
# ## Which pictures to believe
#
# Guided backpropagation draws clear pictures of networks like this one [@springenberg2015]. A control shows
# how much of them comes from the weights. Trained weights are replaced by random ones, those of `conv13`
# first, then those of one block more at a time [@adebayo2018]. The strongest unit of each of the first
# channels is projected at every step. Below, ρ is the rank correlation of a projection's magnitudes with
# those of the trained one: 1 for the same order of pixels. Unrelated pictures do not have 0, since influence
# falls off from the middle of every field. What they have is the *baseline*: the mean ρ of trained pictures
# of different channels on different images, fields laid on one another. A ρ no higher leaves nothing of the
# trained picture. The random weights are again those of `vgg16`:

# %%
count = chapter.at(smoke=2, quick=4, full=12)
units = top["conv13"][:count].head(1)
stages = {
    "conv13": ["conv13"],
    "block 5": ["conv12", "conv11"],
    "and 4": ["conv10", "conv9", "conv8"],
    "and 3": ["conv7", "conv6", "conv5"],
    "and 2": ["conv4", "conv3"],
    "all": ["conv2", "conv1"],
}
control = net.sanity(pictures, units, untrained=vgg16, stages=stages)

# %% [markdown]
# One unit, with random weights in more and more layers:

# %% tags=["hide-input"]
show(
    comparison(
        control.pictures(),
        ["trained", *stages],
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption="The strongest unit of channel 0 of conv13 as trained, then with random weights in "
        "conv13, in the whole fifth block, and so on down to all thirteen layers. Below a picture stands "
        f"ρ, the mean over {len(units)} units, and below the trained one the baseline of its rule. What the "
        "last column still shows was not learned.",
        alt="Three rows of seven projections of one unit, from the trained network on the left to "
        "the untrained one on the right, with a rank correlation under each.",
    ),
    "control",
)

# %% [markdown]
# The distance of ρ from the baseline of its rule says what is left. Where a curve stays level, the weights
# replaced at that step had little influence on which pixels are strong:

# %% tags=["hide-input"]
above = control.magnitudes.mean(axis=2) - control.baseline[:, None]
show(
    lines(
        np.arange(1 + len(stages)),
        dict(zip(control.names, above, strict=True)),
        ticks=["trained", *stages],
        xlabel="layers with random weights",
        ylabel="rank correlation with the trained picture, less the baseline",
        levels={"baseline": 0.0},
        caption="What is left of the trained picture as layers get random weights, from conv13 downwards, "
        "for three rules at the rectifiers: the rank correlation ρ less the baseline of the rule, which is "
        "the mean ρ of trained pictures of different units. At the dashed level nothing is left.",
        alt="Three lines over seven steps, from the trained network on the left, where they are highest, "
        "to random weights in all layers on the right, and a dashed level at zero.",
    ),
    "cascade",
)
gradient, deconvnet, guided = above
chapter.finding(
    "The guided picture depends less on conv13 than the gradient does. With random weights there alone, ρ is "
    f"{guided[1]:.2f} above its baseline for guided backpropagation, where the trained picture has "
    f"{guided[0]:.2f}. For the gradient it is {gradient[1]:.2f} of {gradient[0]:.2f}, for the deconvnet "
    f"{deconvnet[1]:.2f} of {deconvnet[0]:.2f}.",
    holds=bool(guided[1] / guided[0] > gradient[1] / gradient[0] + 0.1),
)
chapter.finding(
    "Without any trained convolution more is left of the deconvnet's and the guided pictures than of the "
    f"gradient's. Less the baseline, ρ is {deconvnet[-1]:.2f}, {guided[-1]:.2f} and {gradient[-1]:.2f}.",
    holds=bool(gradient[-1] < min(deconvnet[-1], guided[-1])),
)

# %% [markdown]
# What is left without trained weights may be the image. Nie and others say that guided backpropagation and
# the deconvnet partly recover it [@nie2018]. Edges are a simple test, because finding them needs no network:
# the difference of each pixel from the mean of its neighbourhood is enough. Within a unit's field, the order
# of these differences is compared with that of the projection. The edges of the other pictures, at the same
# place, are the control:

# %%
field = net.receptive_field("conv13")
numbers = units.image[:, 0].tolist()
inputs = net.inputs(pictures)[units.image[:, 0]]
around = functional.avg_pool2d(inputs, 3, 1, 1, count_include_pad=False)
edges = (inputs - around).abs().sum(dim=1).numpy()


def likeness(projections, *, own):
    """The mean rank correlation with the edges of the own picture, or of all others."""
    found = []
    for unit, number, projection in zip(
        units.units(), numbers, projections, strict=True
    ):
        y, x, bottom, right = field.box(unit.row, unit.column)
        inside = slice(max(y, 0), bottom), slice(max(x, 0), right)
        strength = np.abs(projection).sum(axis=0)[inside]
        for other, edge in zip(numbers, edges, strict=True):
            if (other == number) is own:
                found.append(spearmanr(strength, edge[inside], axis=None)[0])
    return float(np.nanmean(found)) if found else np.nan


# %% [markdown]
# Where no convolution is trained, no agreement with the edges was learned:

# %%
alike = {
    rule: [likeness(steps[n], own=own) for n in (0, -1) for own in (True, False)]
    for rule, steps in zip(control.names, control.maps, strict=True)
}  # fmt: skip
show(
    Table.of(
        ("rule", "own edges, trained", "other edges, trained", "own edges, all random",
         "other edges, all random"),
        [(rule, *(f"{rho:.2f}" for rho in row)) for rule, row in alike.items()],
        caption="Rank correlations of a projection's magnitudes with edges within its field, for the trained "
        "network and for random weights: with the edges of the picture that was projected, and with those "
        f"of the other pictures at the same place. Means over {len(units)} units.",
    ),
    "edges",
)  # fmt: skip
learned, by_chance, own, elsewhere = alike["guided"]
chapter.finding(
    "A guided picture follows the edges of its own image, also where no convolution was trained: there its "
    f"rank correlation with them is {own:.2f}, and with the edges of other images {elsewhere:.2f}. With "
    f"trained weights the two are {learned:.2f} and {by_chance:.2f}.",
    holds=bool(elsewhere < own / 2 and own > 0.2 and by_chance < learned),
)

# %% [markdown]
# So the panels above are read from their patches: what drives a channel is what its patches share. A
# guided projection hints at where in the patch that may lie. A sharp projection is no proof of a sharp
# feature.
#
# ## Key features
#
# - **Windows of 3 × 3 only**: three see 7 × 7, with fewer weights and more rectifiers.
# - **Depth needs few parameters**: eight more layers add 8 %. Nearly three quarters of D's parameters
#   are in one fully connected layer.
# - **A plain stack multiplies**: if each layer scales the signal by a factor far from 1, it vanishes or
#   explodes.
# - **Fully connected layers are convolutions**: slid over a larger picture, a classifier gives a map.
# - **No response normalisation**: the paper tried it in network A, and it did not help.
# - **Guided pictures follow the edges of their image**, also where no convolution was trained.
#
# ## Do this with your own network
#
# How much a unit of your network sees is computed from its graph, not looked up. `mine:network`
# stands for the function or class `network` in your file `mine.py`:
#
# ```sh
# internals summary mine:network --weights mine.pth --input 3,224,224
# internals project mine:network --weights mine.pth --layer conv2 \
#     --images photos --out panel.png
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
# ```python
# from internals import Network
#
# field = Network.open("mine:network").receptive_field("conv2")
# print(field.size, field.stride)
# ```
#
#
# ## Exercises
#
# 1. Draw the convolutions of `VGG16(batch_norm=True)` with a deviation of 0.01 and send a batch
#    through it in training mode. How large are the sums of `conv13`, and why?
# 2. Give `tower` a stride of 2 in its first layer. How do its fields grow, and what is lost?
# 3. Repeat the control with units of `conv7`. After which layer, if any, does the guided curve
#    fall?
#
# VGG-16 needs 15 billion multiply-adds for one answer. The network that won the contest of 2014 needs
# a tenth of that, with windows of several sizes side by side: [InceptionNet](04_inceptionnet.py).
