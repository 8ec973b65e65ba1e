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
# title: AlexNet
# year: 2012
# paper_score: 40.7 % errors (top-1) on ImageNet, one network
# thumbnail: conv5-strongest
# description: LeNet-5's idea with a thousand times the parameters, and what it took to train that.
# network: alexnet
# data: imagenette
# ---

# %% [markdown]
# # AlexNet: the same idea, a thousand times larger
#
# In 2012 Alex Krizhevsky, Ilya Sutskever and Geoffrey Hinton trained a convolutional network on 1.2
# million photographs of 1,000 classes [@krizhevsky2012]. Averaged over seven such networks, two of
# them taught more classes first, the right name was missing from the five best guesses for 15.3 %
# of the test photographs. The second best entry of that year's contest, built on features designed
# by hand, missed 26.2 %. Hardly a part was new. What the paper showed is how large the old idea can
# be made, and which few measures keep so large a network trainable and honest.
#
# **What you will see**
#
# - 60,965,224 parameters and where they lie: at the other end of the network than the work;
# - five measures, each in a few lines of code, and what two of them are worth in a short run;
# - the kernels of `conv1`, and what drives the channels of the four layers above it;
# - what the answer rests on, asked by covering the picture piece by piece.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The photographs
#
# ImageNet, on which the paper's networks learned for five to six days, is more than a book can
# carry. From here on we use Imagenette: ten classes of it that are easy to tell apart, 9,469
# photographs to learn from and 3,925 to be tested on [@howard2019]. Where they cannot be had,
# `shapes` takes their place, ten classes of textured things among clutter, drawn by the package.

# %%
from internals import load
from internals.training import find_recipe

recipe = find_recipe("alexnet", chapter.profile)
images = load(
    "imagenette",
    chapter.data,
    size=recipe.stored,
    seed=chapter.seed,
    most=chapter.most_images,
)

# %% [markdown]
# Every network of this book is trained from scratch, for a reason that is easily overlooked: nearly
# all of Imagenette's test photographs come from ImageNet's *training* set. A network that was
# trained on ImageNet before has seen them. The names of the files tell:

# %%
from_imagenet = [
    not name.rsplit("/")[-1].startswith("ILSVRC2012_val")
    for name in images.test.files
]
if from_imagenet:  # the stand-in is drawn, and has no files
    print(f"{sum(from_imagenet):,} of {len(from_imagenet):,} test photographs")
    assert sum(from_imagenet) == 3_791

# %% [markdown]
# And where the paper reports top-5 errors, we report top-1. Of ten classes five guesses hit one
# half of the time by luck alone. Eight training pictures of each class:

# %% tags=["hide-input"]
import torch

from internals.figures import samples

labels = images.train.labels
rows = [(labels == label).nonzero()[:8, 0] for label in range(10)]
few = images.train.subset(torch.cat(rows))
show(
    samples(
        few.images.numpy() / 255,
        few.labels.numpy(),
        few.class_names,
        each=8,
        caption="The first eight training pictures of each class, squares cut from the middle. Notice "
        "that no place, size or colour is reserved for a class, and what else is in the picture: a "
        "network is free to learn that too.",
        alt="A grid of pictures, one row for each of ten classes, eight examples in a row.",
    ),
    "samples",
)

# %% [markdown]
# ## The network in one drawing
#
# Five convolutional layers, then three in which every unit is joined to every other. As in LeNet-5,
# maps become coarser and more numerous. What is new is the size, three maxima in place of averages,
# and that the first layer steps over the picture four pixels at a time:

# %% tags=["hide-input"]
from internals.figures import Stage, stack

show(
    stack(
        [
            Stage("input", 3, 224, 224, "11 × 11, stride 4", 11),
            Stage("conv1", 96, 55, 55, "maximum, then 5 × 5", 11),
            Stage("conv2", 256, 27, 27, "maximum, then 3 × 3", 7),
            Stage("conv3", 384, 13, 13, "3 × 3", 3),
            Stage("conv4", 384, 13, 13, "3 × 3", 3),
            Stage("conv5", 256, 13, 13, "maximum, all to all"),
            Stage("lin1", 4096, operation="all"),
            Stage("lin2", 4096, operation="all"),
            Stage("lin3", 10),
        ],
        caption="AlexNet drawn to scale, each maximum taken together with the layer after it: the box "
        "on conv1 is what one unit of conv2 looks at, through both. Nearly three quarters of all "
        "units lie in conv1 and conv2.",
        alt="Nine stages from a 224 by 224 colour input through 96 maps of 55, 256 of 27, 384, 384 "
        "and 256 of 13, to two layers of 4096 units and one of ten.",
    ),
    "architecture",
)

# %% [markdown]
# ## Five measures
#
# ### 1. Rectifiers
#
# Wherever LeNet-5 squashes a sum by a tanh, this network takes $f(a) = \max(0, a)$, a unit that had
# served in restricted Boltzmann machines [@nair2010]. The paper gives one reason: speed. A small
# network on CIFAR-10 reached 25 % training error six times sooner than with tanh. The picture that
# explains it is that of the slopes, because a backward pass multiplies by one of them per layer:

# %%
import numpy as np

from internals.figures import lines

a = np.linspace(-4, 4, 401)
tanh_slope = 1.7159 * 2 / 3 / np.cosh(2 / 3 * a) ** 2
at_two = tanh_slope[300]
print(f"tanh at {a[300]:.0f}: {at_two:.2f}, after five layers {at_two**5:.4f}")
show(
    lines(
        a,
        {"rectifier": (a > 0).astype(float), "LeNet-5's tanh": tanh_slope},
        xlabel="weighted sum a",
        ylabel="slope",
        caption="The slopes of both functions. An active rectifier passes a signal on unchanged, "
        "however large its sum; the tanh weakens it more, the surer the unit is. The price is on "
        "the left: a rectifier that is off for every picture learns nothing more.",
        alt="Two curves over the weighted sum: a step from zero to one at zero, and a bell that "
        "peaks slightly above one at zero and is near zero beyond three.",
    ),
    "slopes",
)
assert at_two**5 < 0.01

# %% [markdown]
# ### 2. Response normalisation
#
# A rectifier has no ceiling, so the paper adds one of a kind. After the rectifiers of `conv1` and
# `conv2`, a unit is divided by what its neighbours have to say at the same place: the channels
# $j$ up to two numbers away from its own, $i$,
#
# $$
# b_i = a_i \Bigl/ \Bigl(k + \alpha \sum_{j=i-2}^{i+2} a_j^2\Bigr)^{\beta},
# \qquad k = 2,\; \alpha = 10^{-4},\; \beta = 0.75 .
# $$
#
# In code it is that line:

# %%
from torch.nn import functional


def respond(a, k=2, alpha=1e-4, beta=0.75):
    squares = functional.pad(a.square(), (0, 0, 0, 0, 2, 2))
    summed = sum(squares[:, j : j + a.shape[1]] for j in range(5))
    return a / (k + alpha * summed) ** beta


# %% [markdown]
# PyTorch's layer multiplies $\alpha$ by the *mean* of the five squares and not by their
# sum[^convnet]. Whoever copies the paper's 10⁻⁴ into it is wrong by a factor of five:
#
# [^convnet]: So does cuda-convnet, Krizhevsky's own program, and the paper's networks may have been
#     trained with that. We follow the formula that was printed.

# %%
from torch import nn

a = 100 * torch.rand(1, 96, 5, 5, dtype=torch.float64)
assert torch.allclose(respond(a), nn.LocalResponseNorm(5, 5e-4, k=2)(a))
assert not torch.allclose(respond(a), nn.LocalResponseNorm(5, 1e-4, k=2)(a))

# %% [markdown]
# ### 3. Overlapping maxima
#
# LeNet-5's windows of 2 × 2 lie side by side. Here they are 3 × 3 and still two steps apart, so that
# neighbours share a row or a column. The maps come out as large as they would without overlap; the
# paper counts 0.4 percentage points (top-1) for it:

# %%
for side, after in {55: 27, 27: 13, 13: 6}.items():
    maps = torch.zeros(1, 1, side, side)
    for window in (2, 3):
        pooled = functional.max_pool2d(maps, window, stride=2)
        assert pooled.shape[-1] == after

# %% [markdown]
# ### 4. Dropout
#
# In each training step every unit of the first two fully connected layers is silenced with
# probability one half, another half for each picture. No unit can rely on a particular other one.
# In the test all of them speak, and the paper multiplies their outputs by 0.5. PyTorch doubles
# them in training instead, which is the same on average and leaves nothing to do in the test:

# %%
dropout = nn.Dropout(0.5)
silenced = dropout(torch.ones(100_000))
assert set(silenced.unique().tolist()) == {0, 2}
assert abs(silenced.mean() - 1) < 0.02
assert torch.equal(dropout.eval()(torch.ones(5)), torch.ones(5))

# %% [markdown]
# ### 5. Two graphics cards
#
# The network did not fit the 3 GB of one card. So half of the channels of each layer lived on
# each of two cards, and only `conv3` and the fully connected layers listened to both. Today this
# is called a convolution in two groups, which is two convolutions that do not know of each other:

# %%
from internals.models import AlexNet

torch.manual_seed(chapter.seed)
paper = AlexNet(paper=True).eval()
maps = torch.rand(1, 96, 27, 27)
halves = zip(
    *(x.chunk(2) for x in (maps[0], paper.conv2.weight, paper.conv2.bias)),
    strict=True,
)
cards = [functional.conv2d(*half, padding=2) for half in halves]
assert torch.allclose(torch.cat(cards), paper.conv2(maps)[0], atol=1e-5)

# %% [markdown]
# ## The whole network
#
# `AlexNet(paper=True)` is the paper's network to the last weight. Here it is counted from its graph:

# %%
from internals.anatomy import summarize
from internals.figures import Table

counted = [r for r in summarize(paper, (3, 227, 227)) if r.parameters]
neurons = [int(np.prod(r.shape)) for r in counted]
total = [sum(r.parameters for r in counted), sum(neurons)]
products = sum(r.multiply_adds for r in counted)
show(
    Table.of(
        ("layer", "output", "neurons", "parameters", "multiply-adds"),
        (
            *(
                (r.name, " × ".join(map(str, r.shape)), n, r.parameters,
                 r.multiply_adds)
                for r, n in zip(counted, neurons, strict=True)
            ),
            ("all", "", total[1], total[0], products),
        ),
        caption="The paper's form of the network, for 227 × 227 pixels and 1,000 classes. Its "
        "abstract says 60 million parameters and 650,000 neurons.",
    ),
    "paper-counts",
)  # fmt: skip
assert total == [60_965_224, 659_272] and products == 724_406_816
assert 0.7 < sum(neurons[:2]) / total[1] < 0.75

# %% [markdown]
# Two numbers of the paper do not fit the rest of it. The caption of its figure 2 gives the first
# layer 253,440 neurons, which is 96 · 55 · 48; 55 × 55 places make 290,400. And it says that the
# input is 224 pixels wide, from which windows of 11 at stride 4 make no whole number of places. The
# 55 it goes on with need 227 pixels, or, as in our form, 224 and two pixels of padding:

# %%
assert 96 * 55 * 48 == 253_440 and neurons[0] == 96 * 55 * 55 == 290_400
for side in (224, 227, 224 + 2 * 2):
    print(f"{side} pixels: {(side - 11) / 4 + 1} places")
assert (227 - 11) / 4 + 1 == 55 == (224 + 2 * 2 - 11) // 4 + 1

# %% [markdown]
# Our default form is the one trained below: ten classes, and no groups, since one machine holds it
# all. Without them `conv2`, `conv4` and `conv5` cost twice as much, 1.13 thousand million
# multiply-adds in all against 0.72:

# %%
alexnet = AlexNet()
rows = summarize(alexnet, (3, 224, 224))
show(
    Table.of(
        ("layer", "output", "parameters", "multiply-adds", "field", "stride"),
        tuple(
            (r.name, " × ".join(map(str, r.shape)), r.parameters, r.multiply_adds,
             r.field.size, r.field.stride)
            for r in rows
            if r.kind not in ("ReLU", "Dropout")
        ),
        caption="The network of this chapter, without its rectifiers and dropout. From lin1 on a unit "
        "sees the whole picture, and the stride of 0 says that there is one place only.",
    ),
    "layers",
)  # fmt: skip
fields = {r.name: r.field.size for r in rows if r.kind == "Conv2d"}
assert list(fields.values()) == [11, 51, 99, 131, 163]
assert sum(r.parameters for r in rows) == 58_322_314

# %% [markdown]
# ### Where the parameters are, and where the work is
#
# A weight of `conv1` is used at 3,025 places, a weight of `lin1` once. So the two columns of the
# table have almost nothing to do with each other:

# %% tags=["hide-input"]
from internals.figures import dots, percent

weighty = [r for r in rows if r.parameters]
columns = {
    "parameters": [r.parameters for r in weighty],
    "multiply-adds": [r.multiply_adds for r in weighty],
}
shares = {name: np.divide(n, sum(n)) for name, n in columns.items()}
words = {name: [percent(s) for s in part] for name, part in shares.items()}
show(
    dots(
        [r.name for r in weighty],
        {name: list(part) for name, part in shares.items()},
        words,
        caption="The share of each layer in the network's parameters and in its multiply-adds. Read "
        "across: conv2 does more than a third of the work with one parameter in a hundred, lin1 "
        "holds nearly two thirds of the parameters and does a thirtieth of the work.",
        alt="Two columns of dots over eight layers: parameters lie in lin1 and lin2, multiply-adds "
        "in the five convolutions.",
    ),
    "shares",
)
in_linear = {name: part[5:].sum() for name, part in shares.items()}
assert in_linear["parameters"] > 0.93 and in_linear["multiply-adds"] < 0.05

# %% [markdown]
# Convolutions are where a network computes, full connections are where it stores. The networks of
# the next chapters differ in what they make of that.
#
# ### Where this implementation departs from the paper
#
# | what | the paper | here |
# |---|---|---|
# | groups | two in conv2, conv4 and conv5 | none; `AlexNet(paper=True)` has them |
# | input | 224 said, 227 needed | 224, two pixels of padding in conv1 |
# | pixels | raw, 0 to 255, less their mean | 0 to 1, less their mean |
# | first weights | N(0, 0.01), five layers' biases 1 | He et al. [@he2015], smaller in conv1, biases 0 |
# | dropout | outputs halved in the test | doubled in training |
# | classes | 1,000 | 10 |
#
# ## Training

# %% tags=["hide-input"]
from internals.training import hyperparameters

show(
    Table.of(
        ("hyperparameter", "here", "paper"),
        hyperparameters(recipe, images.train),
        caption="The recipe of the run below beside the paper's. The notebook this book grew from "
        "names no optimiser for this network; learning rates cannot be compared across optimisers.",
    ),
    "recipe",
)

# %% [markdown]
# Why other first weights? Because pixels and weights have to suit each other. With weights of
# standard deviation 0.01 the differences between pictures survive eight layers if pixels run to
# 255, and not if they run to 1. We send the same eight pictures through three untrained
# networks and ask how far they still lie apart, as the standard deviation over pictures:

# %%
from internals import capture
from internals.models import initialise_as_published

margin = (recipe.stored - recipe.size) // 2
middle = slice(margin, margin + recipe.size)
inputs = images.train.images[:8, :, middle, middle] / 255
inputs = inputs - inputs.mean(dim=0)
published, he = AlexNet(), AlexNet()
initialise_as_published(published)
torch.nn.init.kaiming_normal_(he.conv1.weight, nonlinearity="relu")
layers = ["conv1", "conv3", "conv5", "lin2", "lin3"]
spread = {
    name: [
        float(m.std(dim=0).mean())
        for m in capture(network, pixels, layers).values()
    ]
    for name, (network, pixels) in {
        "the paper's, pixels to 255": (published, 255 * inputs),
        "the paper's, pixels to 1": (published, inputs),
        "He et al., pixels to 1": (he, inputs),
    }.items()
}

# %% [markdown]
# The last column is what the loss has to work with:

# %% tags=["hide-input"]
show(
    Table.of(
        ("first weights", *layers),
        ((name, *values) for name, values in spread.items()),
        caption="How far eight pictures lie apart, layer by layer, before any training. Differences "
        "that are lost on the way up cannot be learned from.",
    ),
    "spread",
)
raw, small, kept = (values[-1] for values in spread.values())
assert small < raw / 10 and small < kept / 10

# %% [markdown]
# In one layer He et al.'s weights are too large. The filters of `conv1` keep what they begin with,
# because pixels from 0 to 1 move them little in a whole training. What they begin with is noise, and
# it would be seen in them for good. So `conv1` is drawn from N(0, 0.005). That the differences
# between pictures begin smaller does not matter to AdamW, which measures each weight's step by that
# weight's own gradients. [A later chapter](11_zeiler_and_fergus.py) asks what is left of the noise.
#
# The run itself. The test pictures are scored once, after the epoch has been chosen on training
# pictures held out:

# %%
from internals.training import trained

run = trained(recipe, images, seed=chapter.seed)
test, seconds = run.test, run.provenance.seconds
print(f"{test.top1:.2%} of the test pictures right, {seconds:.0f} s")
chapter.record(test_top1=test.top1, test_loss=test.loss, seconds=seconds)
if chapter.profile != "smoke":
    assert test.top1 > 0.2

# %% [markdown]
# With 58 million parameters for some thousand pictures, the question is when the two curves part:

# %% tags=["hide-input"]
from internals.book import learning_curves

show(
    learning_curves(
        run,
        caption="Loss and accuracy by epoch. The training curve is a mean over the epoch, of shifted "
        "and recoloured pictures with half of the units silenced, and may therefore lie below the "
        "held-out one. The dashed line is the score of the epoch kept on the test pictures.",
        alt="Two charts by epoch: training and held-out loss, and training and held-out accuracy "
        "with the test accuracy as a dashed line.",
    ),
    "training",
)

# %% [markdown]
# ### What the network is shown
#
# Three things happen to a picture, all from section 2 and 4.1 of the paper. The mean of all
# training pictures is subtracted, pixel by pixel. A training picture is cut out of a larger square
# at random and mirrored half of the time; a test picture is cut out at its centre, or, for a last
# bit of accuracy, at ten places whose answers are averaged. And its light is changed: along each
# principal component $p_i$ of all colours, with variance $\lambda_i$, by
#
# $$
# [p_1, p_2, p_3]\,[\alpha_1\lambda_1, \alpha_2\lambda_2, \alpha_3\lambda_3]^T,
# \qquad \alpha_i \sim N(0, 0.1) .
# $$

# %%
colours = run.pipeline.colours
typical = 0.1 * 255 * colours.variances * colours.directions.abs().amax(dim=0)
show(
    Table.of(
        ("component", "variance", "red, green, blue", "typical shift"),
        (
            (i + 1, float(variance), ", ".join(f"{x:+.2f}" for x in p), float(x))
            for i, (variance, p, x) in enumerate(
                zip(colours.variances, colours.directions.T, typical, strict=True)
            )
        ),
        caption="The principal components of the training pictures' colours, on pixels from 0 to 1, "
        "and how far one standard deviation moves a channel, in steps of 255. The first component "
        "is brightness; beside it the others do next to nothing.",
    ),
    "lighting",
)  # fmt: skip
p1, variances = colours.directions[:, 0], colours.variances
assert p1.min() > 0.4 and variances[0] > 3 * variances[1:].sum()

# %% [markdown]
# The formula is not free of units: on pixels from 0 to 255 the variances are 65,025 times as
# large, and taken literally it would turn every picture white or black. Here are all three at work
# on one picture, the light at up to twenty times its strength, since at its own nobody would see
# it:

# %%
from torchvision.transforms.functional import ten_crop

photo = images.train.images[:1]
crops = torch.cat(ten_crop(photo, recipe.size)) / 255
amounts = torch.linspace(-2, 2, 10)[:, None] * torch.tensor([1.0, 0, 0])
light = colours.lighting(amounts)[:, :, None, None]
mean = run.normalization.image[None, :, middle, middle]
tiles = torch.cat([mean, crops, (crops[4] + light).clamp(0, 1)])
show(
    samples(
        tiles.numpy(),
        np.repeat([0, 1, 2], [1, 10, 10]),
        ["mean image", "ten crops", "light"],
        each=10,
        caption="The mean of all training pictures; one picture cut at four corners and the centre, "
        "then mirrored; and that picture with its light moved along the first component from −20 "
        "to +20 standard deviations. Notice how little the crops differ: what they change most is "
        "where things lie on the grid of the layers.",
        alt="A blurred grey-brown mean image; ten cuts of one picture, five of them mirrored; ten "
        "copies of it from dark to bright.",
    ),
    "inputs",
)

# %% [markdown]
# Are ten looks better than one? The paper counts 1.5 percentage points (ILSVRC-2010, top-1 error
# 39.0 to 37.5 %). We ask pictures held out, because the test is over. At the quick profile they
# are 64, and a difference of less than a few of them says nothing:

# %%
from internals.training import evaluate

held_out = images.validation.head(chapter.at(smoke=4, quick=64))
for crops in (1, 10):
    score = evaluate(run.model, run.loss, held_out, run.pipeline, crops=crops)
    print(f"{crops:2} crops: {score.top1:.1%} of {len(held_out)}")

# %% [markdown]
# ### The score, and what it can be compared with
#
# Not with the paper's: ten classes chosen to be easy are another task than a thousand, with fewer
# pictures to learn it from. The table puts both one above the other for the record only:

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
            ("one network, the paper", f"{imagenet}, validation", "40.7 %", "18.2 %"),
            ("five networks", f"{imagenet}, test", "", "16.4 %"),
            ("seven, two pre-trained", f"{imagenet}, test", "", "15.3 %"),
            ("second best entry", f"{imagenet}, test", "", "26.2 %"),
        ),
        caption="The test error of this run (n = 1) above those that the paper reports for another, "
        "harder task. Luck alone has 90 % top-1 errors with ten classes, 99.9 % with a thousand.",
    ),
    "scores",
)  # fmt: skip

# %% [markdown]
# ### Its mistakes

# %% tags=["hide-input"]
from internals.figures import confusion

show(
    confusion(
        test.confusion,
        images.test.class_names,
        caption="Which test pictures (rows) were taken for which class (columns), right answers "
        "muted. Look for pairs of cells that stand out on both sides of the diagonal, and for a "
        "column that is strong all the way down: a class that the network falls back on.",
        alt="A ten by ten matrix of counts; the diagonal holds what is right.",
    ),
    "confusion",
)

# %% [markdown]
# The ten mistakes of which the network was surest. Ask of each whether you would have known, and
# what in the picture may have given the wrong answer:

# %% tags=["hide-input"]
from internals.book import worst_mistakes

show(
    worst_mistakes(
        run,
        images.test,
        caption="Test pictures that were named wrongly: true class → answer, the posterior of the "
        "answer, and the picture's number, the most confident first. Notice that being wrong and "
        "being unsure are two things: a softmax has no class for none of these.",
        alt="Ten misnamed test pictures, each with its true class, the answer and its posterior.",
    ),
    "mistakes",
)

# %% [markdown]
# ## What the measures are worth
#
# The paper reports that without response normalisation its top-1 error was 1.4 percentage points
# higher, and that without dropout it overfitted badly. We can try both: the same network trained
# again, for a quarter of the epochs, whole, without the one and without the other. At the quick
# profile it is two passes over 192 pictures, no more than a first impression:

# %%
from dataclasses import replace

short = replace(recipe, epochs=max(1, recipe.epochs // 4))
if chapter.profile == "quick":
    short = replace(
        recipe, epochs=2, most_images=192, most_tested=128, least_steps=0
    )

# %% [markdown]
# The three differ in one argument of the network each. First weights, pictures and their order are
# the same:

# %%
arms = {
    "whole": short,
    "without normalisation": replace(short, arguments=(("lrn", False),)),
    "without dropout": replace(short, arguments=(("dropout", 0.0),)),
}
histories = {
    name: trained(arm, images, seed=chapter.seed).history
    for name, arm in arms.items()
}

# %% [markdown]
# A training accuracy is measured while units are silenced, so it is lower with dropout than the same
# weights deserve. Compare the held-out column first, and with the margin below it: twice the
# standard error that the difference of two such shares has from the number of pictures alone:

# %%
scored = min(len(images.validation), short.most_tested or 10**6)
margin_of_error = 2 * (2 * 0.25 / scored) ** 0.5
show(
    Table.of(
        ("network", "training", "held out", "held-out loss"),
        (
            (name, percent(h.epochs[-1].train_top1),
             percent(h.epochs[-1].validation_top1), h.epochs[-1].validation_loss)
            for name, h in histories.items()
        ),
        caption="Accuracy after a short run of each (n = 1, one seed, the last epoch). Differences "
        f"between held-out accuracies below {percent(margin_of_error)} say nothing at all.",
    ),
    "measures",
)  # fmt: skip
whole, *others = (h.epochs[-1].validation_top1 for h in histories.values())
for name, other in zip(list(arms)[1:], others, strict=True):
    clear = abs(other - whole) > margin_of_error
    verdict = "clear" if clear else "within the noise"
    print(f"{name}: {100 * (other - whole):+.1f} points, {verdict}")

# %% [markdown]
# For the normalisation there is a reason to expect little. Its sum has to be seen beside $k = 2$,
# and on pixels from 0 to 1 activations are small. How far does the layer depart from a plain
# division by $2^{0.75}$, in the trained network, at units that are on? And what would it do if all
# that reached it were 255 times as large, as it is with the paper's raw pixels and the same weights?

# %%
from internals import Network

net = Network.of(run)
few = run.pipeline.view(images.validation.head(16))
maps = net.capture(few, ["relu1", "relu2"])
for number, a in enumerate(maps.values(), start=1):
    effect = []
    for scale in (1, 255):
        normalised = respond(scale * a)[a > 0] / (scale * a[a > 0])
        effect.append(1 - (normalised * 2**0.75).mean().item())
    print(f"lrn{number} takes {effect[0]:.1%}, {effect[1]:.1%} on raw pixels")
    assert effect[0] < effect[1]

# %% [markdown]
# So a setting that looks like a constant of nature belongs to the pixels it was found with. Most
# networks since have done without it; VGG's authors tried, and report that it brought them nothing
# [@simonyan2015].
#
# ## Looking inside
#
# ### The kernels of conv1
#
# All 96 of them, in colour, as in the paper's figure 3. There, in every run, the kernels of one
# card came out grey, for edges and gratings, and those of the other coloured, for blobs. That is a
# result of the two groups; with one group, nothing tells which channel should become which:

# %% tags=["hide-input"]
from internals.figures import filters

show(
    filters(
        run.model.conv1.weight.detach().numpy(),
        caption="The 96 kernels of conv1, 11 × 11 pixels, on one scale: mid grey is 0, and a colour is "
        "the light that a channel wants more of. Look for gratings of one direction and for smooth "
        "patches of colour beside their complement. Speckle is what the first, random weights left "
        "behind, and training takes long to remove it.",
        alt="Ninety-six small colour squares: oriented stripes, colour blobs, and in some cases "
        "random speckle.",
    ),
    "conv1-filters",
)

# %% [markdown]
# How grey is grey? Take from each kernel its mean over red, green and blue; what remains is colour.
# For independent random weights its share of the squares is two thirds:


# %%
def colour_share(kernels):
    coloured = kernels - kernels.mean(dim=1, keepdim=True)
    return coloured.square().sum((1, 2, 3)) / kernels.square().sum((1, 2, 3))


kernels = run.model.conv1.weight.detach()
before = colour_share(alexnet.conv1.weight.detach())
after = colour_share(kernels)
print(f"before: {before.min():.2f} to {before.max():.2f}")
print(f"after:  {after.min():.2f} to {after.max():.2f}")
assert abs(before.mean() - 2 / 3) < 0.03

# %% [markdown]
# ### What a stride of four misses
#
# Zeiler and Fergus looked at this network's second layer and found patterns that were not in the
# pictures: *aliasing*, because kernels 11 pixels wide step over the picture four at a time
# [@zeiler2014]. We can see it without any projection. Move a picture by $d$ pixels and compare the
# maps of `conv1` with those of the unmoved one, shifted by the nearest whole number of steps. If
# it did not matter where a thing lies on the grid, the difference would be small for every $d$:

# %%
pixels = images.train.images[:4] / 255 - run.normalization.image
side = recipe.size - 16
shifts = np.arange(13)


def moved(stride):
    """How much the maps change with a shift, as a share of what they are."""
    views = (pixels[:, :, :side, d : d + side] for d in shifts)
    maps = [
        functional.conv2d(v, kernels, run.model.conv1.bias.detach(), stride)
        for v in views
    ]
    for d, m in zip(shifts, maps, strict=True):
        steps = round(d / stride)
        still = maps[0].relu()[..., steps:]
        change = m.relu()[..., : m.shape[-1] - steps] - still
        yield float((change.square().sum() / still.square().sum()).sqrt())


# %% [markdown]
# Their remedy was a stride of two, and windows of 7 × 7. The same kernels at stride two show the
# first half of it:

# %%
change = {
    f"stride {stride}": np.array(list(moved(stride))) for stride in (4, 2)
}
show(
    lines(
        shifts,
        change,
        xlabel="pixels that the picture is moved",
        ylabel="change of the maps",
        caption="How much of conv1's maps changes when a picture moves, apart from moving with it; 0.5 "
        "is half of their size. At whole steps nothing changes. Between them it does, and the layers "
        "above, which see every fourth place only, cannot tell a moved thing from another one.",
        alt="Two curves over a shift of zero to twelve pixels: with stride four arches that touch "
        "zero at every multiple of four, with stride two lower arches that touch zero at every even "
        "number.",
    ),
    "aliasing",
)
assert change["stride 4"][::4].max() < 1e-3 < change["stride 4"][2]

# %% [markdown]
# ### What drives the channels above
#
# How the next pictures are made and read is the subject of [How to look](00_how_to_look.py). At the
# quick profile we mine the first 1,024 training pictures, else all of them, as the network sees them
# in the test. One pass serves all layers:

# %%
most = chapter.at(smoke=64, quick=1024)
pictures = run.pipeline.view(images.train.head(most))
layers = ["conv2", "conv3", "conv4", "conv5"]
top = net.strongest(pictures, layers, k=9)

# %% [markdown]
# Projections are guided. At a response normalisation the signal takes the true derivative; at the
# overlapping maxima it is added where a pixel won twice.
#
# #### conv2
#
# A unit of `conv2` sees 51 × 51 pixels. Look along a row for what the patches share, and expect
# something local: a direction, a change of colour, a texture.

# %%
from internals.figures import panels

show(
    panels(
        net.patches(top["conv2"]),
        caption="Six channels of conv2 and the patches that drive them hardest. Ask of each row whether it "
        "is a direction, a colour or a texture that the patches share; the things they were cut from "
        "need have nothing in common. Fine checks in a projection that are not in its patch are the "
        "stride of conv1.",
        alt="Nine projections with their patches for six channels of conv2: small patches alike in "
        "direction, colour or texture.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# #### conv3
#
# At 99 × 99 pixels a patch holds a part of a thing. `conv3` is the layer where the paper's two
# cards first saw each other's channels.

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv3"]),
        caption="Six channels of conv3. The patches of a row now differ more in their pixels than in "
        "their kind. Compare patch and projection: what the projection leaves grey, the unit did not "
        "need.",
        alt="Nine projections with their patches for six channels of conv3: larger patches, alike "
        "in texture or in a pattern of parts.",
    ),
    "conv3-strongest",
)

# %% [markdown]
# #### conv4
#
# 131 × 131 pixels. Read the classes printed with the patches. A row of one class may have found
# the class, or merely something that goes with it: its usual surroundings, for instance.

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv4"]),
        caption="Six channels of conv4. Where the classes of a row agree, check whether the patches show "
        "the thing itself or what usually surrounds it; where they do not, look for what else they have "
        "in common. Values that fall quickly from first to ninth mean few pictures of the kind.",
        alt="Nine projections with their patches for six channels of conv4: patches that hold most "
        "of a thing.",
    ),
    "conv4-strongest",
)

# %% [markdown]
# #### conv5
#
# The last layer with places sees 163 × 163 pixels, nearly three quarters of the picture's width.
# Not all of them matter alike: influence falls off from the middle of a field outwards [@luo2016].

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv5"]),
        caption="Six channels of conv5, the last layer that knows where. A patch may hold a whole thing "
        "and reach over the picture's border, where it is drawn as paper. Count the classes of a row: "
        "one, two, or any.",
        alt="Nine projections with their patches for six channels of conv5: patches that hold whole "
        "things, often of one class a channel.",
    ),
    "conv5-strongest",
)

# %% [markdown]
# What would these channels draw themselves? No photograph is asked. An image is made from noise and
# changed step by step, so that it drives the unit in the middle of the map as hard as it
# can:[@olah2017]

# %% tags=["hide-input"]
from internals.figures import beside_strongest, portraits
from internals.projection import middle_units

units = middle_units(net, top["conv5"].layer, range(6))
made = net.optimise(
    units, pictures=pictures, steps=chapter.at(smoke=2, quick=64, full=256)
)
show(
    portraits(
        beside_strongest(net.patches(top["conv5"].head(1), range(6)), made),
        caption="Six channels of conv5: the patch that drives each hardest, and an image made from noise "
        "to drive its middle unit, with the value that each reaches. The image is nothing that "
        "the network has seen, and one of many that would do.",
        alt="For six channels of conv5 the strongest patch beside an optimised image of "
        "coloured patterns made from noise.",
    ),
    "conv5-optimised",
)

# %% [markdown]
# Counting can be left to the machine, and for all channels at once. Of the nine pictures that drive
# a channel hardest, how many belong to the class that is most frequent among them? Nine pictures
# drawn by lot have some of one class too, and that is what the layers are to be compared with:

# %%
from internals.activations import class_purity

blindly = torch.randint(
    len(pictures), (5000, 9), generator=torch.Generator().manual_seed(0)
)
by_lot = class_purity(blindly, pictures.labels)
print(f"by lot: {9 * by_lot:.1f} of 9")
pure = {
    layer: class_purity(top[layer].image, pictures.labels) for layer in layers
}
for layer, share in pure.items():
    print(f"{layer}:  {9 * share:.1f} of 9")
if chapter.profile != "smoke":
    assert pure["conv5"] > by_lot

# %% [markdown]
# ## What the answer rests on
#
# Three instruments ask about a class instead of a channel. *Grad-CAM* weighs the maps of `conv5` by
# how the class score depends on them [@selvaraju2017]. *Saliency* is the gradient at each pixel
# [@simonyan2014]. The third changes the picture itself: a grey square covers one place after the
# other, and we watch the probability of the class, and the map of `conv5` that was strongest in
# all [@zeiler2014]. A drop means that the network needed what was there:

# %%
best = top["conv5"].image[:, 0].flip(0)
one_each = {int(pictures.labels[i]): int(i) for i in best}
shown = pictures.subset(torch.tensor(list(one_each.values())[:3]))
inputs, classes = net.inputs(shown)[:], shown.labels
step = recipe.size // chapter.at(smoke=4, quick=8, full=12)
square = {"size": 2 * step, "stride": step}
covered = {
    "probability": net.occlusion(
        inputs, classes, score=run.loss.probabilities, **square
    ),
    "conv5 map": net.occluded_activity(inputs, "conv5", **square),
}

# %% [markdown]
# Both are turned into drops from the uncovered picture. What a pixel loses is the mean over all
# squares that lie on it:

# %%
from internals.projection import occlusion_map

maps, scores = net.capture(inputs, ["conv5", "lin3"]).values()
sure = run.loss.probabilities(scores.flatten(1)).gather(1, classes[:, None])
before = {"probability": sure[:, 0], "conv5 map": maps.sum((2, 3)).amax(1)}
lost = {
    name: occlusion_map(after, before[name], inputs.shape[-2:], **square)
    for name, after in covered.items()
}
maps = [
    net.grad_cam(inputs, "conv5", classes, upsample=True),
    net.saliency(inputs, classes),
    *lost.values(),
]

# %% [markdown]
# Where do the three agree? A place that lights up in Grad-CAM and whose covering changes nothing
# was not needed, only used:

# %% tags=["hide-input"]
from internals.figures import overlays

show(
    overlays(
        list(shown.images.numpy() / 255),
        [[m[n].numpy() for m in maps] for n in range(len(shown))],
        ["Grad-CAM, conv5", "saliency", "covered: class", "covered: conv5"],
        names=[shown.class_names[int(label)] for label in classes],
        caption="Training pictures of different classes that drive a channel of conv5 hardest, with "
        "four maps of evidence for their class. Below each map stands its largest value: for the "
        "third column that is a probability. Amber speaks for the class; blue in the third column "
        "marks places whose covering makes the network surer.",
        alt="Rows of one picture and four heat maps over it: Grad-CAM blobs, a scatter of salient "
        "pixels, and two coarse maps of what covering a place does.",
    ),
    "evidence",
)

# %% [markdown]
# ## Which pictures to believe
#
# The control of every chapter: the strongest units of some channels of `conv5`, projected
# under the three rules, while the weights are replaced by untrained ones from the top down
# [@adebayo2018]. A picture that stays what it was does not show what was learned:

# %%
torch.manual_seed(chapter.seed + 1)
many = chapter.at(smoke=3, quick=6, full=12)
control = net.sanity(
    pictures, top["conv5"][:many].head(1), untrained=AlexNet()
)

# %% [markdown]
# One unit's pictures, and for all of them the mean rank correlation of magnitudes with the trained
# picture:

# %% tags=["hide-input"]
from internals.figures import comparison

show(
    comparison(
        control.pictures(),
        control.titles,
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption="The strongest unit of channel 0 of conv5 projected as trained, and with the weights "
        "of conv5, then also of conv4 and so on down to conv1, replaced by untrained ones. ρ is the "
        "rank correlation with the trained picture, the mean over all units asked. Compare how far each "
        "row falls, and at which layer.",
        alt="Three rows of six projections of one unit, from the trained network on the left to the "
        "untrained one on the right, with a rank correlation under each.",
    ),
    "control",
)

# %% [markdown]
# Read the guided row with care. As long as it keeps its correlation while the upper layers are
# random, what it draws comes from the picture and from the layers below. Nor is 0 the least that ρ
# can be here: the middle of a field counts for more than its rim whatever the weights, and two
# pictures that share no more than that are alike already. The right end of the gradient row shows
# by how much. The cell prints what is left, once `conv5` alone and once all layers have forgotten:

# %%
left = control.magnitudes.mean(axis=2)
for rule, row in zip(control.names, left, strict=True):
    print(f"{rule:9} {row[1]:.2f} without conv5, {row[-1]:.2f} without any")
gradient, deconvnet, guided = left
if chapter.profile != "smoke":  # which has nothing to lose
    assert guided[1] > gradient[1] - 0.05

# %% [markdown]
# So the panels above are read from the patches: what drives a channel is what its patches share. A
# projection only says where in its patch to look, and how far even that can be trusted is what
# this table of numbers is for.
#
# ## Key features
#
# - **Size**: with ten classes still 58 million parameters, 94 % of them in full connections that do
#   a twentieth of the work.
# - **Rectifiers** pass a signal back unweakened through every layer that is active.
# - **Dropout, random crops and light** stand against overfitting.
# - **Response normalisation** and its constants belong to raw pixels, and later networks left it.
# - **Overlapping maxima** and a **stride of four** make maps small early, at the price of aliasing.
#
# ## Do this with your own network
#
# A large first window is worth a look at its kernels, and at which pictures drive them.
# `mine:network` stands for the function or class `network` in your file `mine.py`; `--channels`
# says which rows to draw, `--rule` how a rectifier is passed:
#
# ```sh
# internals project mine:network --weights mine.pth --layer conv1 \
#     --channels 0-7 --rule deconvnet --images photos --out panel.png
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
# What hiding a part of a picture does to the answer takes three lines:
#
# ```python
# from internals import Network, read_folder
#
# net = Network.open("mine:network", weights="mine.pth")
# drops = net.occlusion(read_folder("photos").images.head(2), size=56, stride=56)
# ```
#
#
# ## Exercises
#
# 1. Train `alexnet-paper`, whose recipe is there by that name, and draw its `conv1`. Do the first 48
#    kernels differ from the last 48 in `colour_share`?
# 2. Draw the panel of `conv2` with `rule="deconvnet"`. Which rows change, and which cannot?
# 3. Make the square of the occlusion map twice as large. Which drops grow, and why may a map go
#    to zero when the square becomes as large as the thing?
#
# A window of 11 × 11 at a stride of four is a hasty first look. The next network takes small windows
# only, and sixteen layers of weights to make up for it: [VGG-16](03_vgg16.py).
