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
# million photographs of 1,000 classes [@krizhevsky2012]. When the predictions of seven such networks
# were averaged, two of them pre-trained on more classes, the right name was missing from the five best
# guesses for 15.3 % of the test photographs. The second best entry of that year's contest, built on
# features designed by hand, missed 26.2 %. Convolutions, rectifiers and dropout had been published
# before. What the paper showed is how large the old idea can be made, and which measures make so large
# a network trainable.
#
# **What you will see**
#
# - 58 million parameters, 94 % of them in layers that do a twentieth of the work;
# - five measures in a few lines of code each, and what a short run can say of two of them;
# - a network that knows its training pictures nearly by heart, and names four of five new ones rightly;
# - the kernels of `conv1`, and which of them a stride of four is too coarse for;
# - what drives the channels of the four layers above, and how many of them answer to a single class;
# - what an answer rests on, tested by covering the picture piece by piece;
# - what remains of a projection when the weights are random.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The photographs
#
# The paper's networks learned for five to six days on ImageNet, which is too large for this book.
# From here on we use Imagenette: ten classes of ImageNet that are easy to tell apart, with 9,469
# training and 3,925 test photographs [@howard2019]. Where they cannot be had, the package draws
# `shapes` instead: ten classes of textured things among clutter.

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
# all of Imagenette's test photographs come from ImageNet's *training* set, and a network that was
# trained on ImageNet has seen them. The names of the files say which:

# %%
from pathlib import Path

from_imagenet = [
    not Path(name).name.startswith("ILSVRC2012_val")
    for name in images.test.files
]
if from_imagenet:  # the stand-in is drawn, and has no files
    print(f"{sum(from_imagenet):,} of {len(from_imagenet):,} test photographs")
if len(from_imagenet) == 3_925:
    assert sum(from_imagenet) == 3_791

# %% [markdown]
# The paper also reports top-5 errors, the share of pictures whose class is not among the five best
# answers. With ten classes, five different guesses include the right one half of the time, so we report
# top-1 only.
#
# The copy of Imagenette used here is not the original one. All its photographs have been squeezed to
# squares: some golf balls below are egg-shaped. We cannot undo it:

# %%
from PIL import Image

from internals.data import find_source

root = find_source("imagenette", chapter.data).root
files = images.test.files if root else ()
sizes = set()
for name in files[:200]:
    with Image.open(root / name) as photo:
        sizes.add(photo.size)
print("sizes of the first 200 files:", sizes or "drawn, no files")

# %% [markdown]
# Eight training pictures of each class:

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
        caption="The first eight training pictures of each class. Things of one class differ in "
        "place, size and colour. But at least half of the tenches are held by somebody, and the "
        "parachutes hang before the sky. A network is free to learn the hands and the blue.",
        alt="A grid of pictures, one row for each of ten classes, eight examples in a row.",
    ),
    "samples",
)

# %% [markdown]
# ## The network in one drawing
#
# Five convolutional layers, then three in which every unit reads all units of the layer before. As in
# LeNet-5, maps become smaller on the way up, and at first more numerous. The network is about a
# thousand times as large as LeNet-5. It pools maxima where LeNet-5 pools means. Its first layer steps
# over the picture four pixels at a time:

# %% tags=["hide-input"]
from internals.figures import Stage, stack

show(
    stack(
        [
            Stage("input", 3, 224, 224, "11 × 11, stride 4", 11),
            Stage("conv1", 96, 55, 55, "pool, then 5 × 5", 11),
            Stage("conv2", 256, 27, 27, "pool, then 3 × 3", 7),
            Stage("conv3", 384, 13, 13, "3 × 3", 3),
            Stage("conv4", 384, 13, 13, "3 × 3", 3),
            Stage("conv5", 256, 13, 13, "pool, then all"),
            Stage("lin1", 4096, operation="all"),
            Stage("lin2", 4096, operation="all"),
            Stage("lin3", 10),
        ],
        caption="AlexNet with its maps and windows on one scale, its vectors not. Max pooling is drawn "
        "together with the layer after it: the box on conv1 is what one unit of conv2 looks at, "
        "through both. Between 70 and 75 % of all units lie in conv1 and conv2.",
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
# served in restricted Boltzmann machines [@nair2010]. The paper gives one reason: speed. A network of
# four layers on CIFAR-10 reached 25 % training error six times faster than with tanh. That comparison is
# not repeated here. The slopes suggest why: a backward pass multiplies by one of them in each layer:

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
        caption="The slopes of both functions. An active rectifier passes a signal back unchanged, "
        "however large its sum. LeNet-5's tanh amplifies it a little near 0 and weakens it further "
        "out. On the left is the price: a rectifier that is off for every picture learns nothing more.",
        alt="Two curves over the weighted sum: a step from zero to one at zero, and a bell that "
        "peaks slightly above one at zero and is near zero beyond three.",
    ),
    "slopes",
)
assert at_two**5 < 0.01

# %% [markdown]
# ### 2. Response normalisation
#
# A rectifier does not saturate, so its inputs need not be normalised to prevent that. The paper finds
# that a local normalisation improves generalisation all the same. After the rectifiers of `conv1` and
# `conv2`, a unit of channel $i$ is divided by a power of a sum over five channels $j$ at the same
# place, its own in the middle:
#
# $$
# b_i = a_i \Bigl/ \Bigl(k + \alpha \sum_{j=i-2}^{i+2} a_j^2\Bigr)^{\beta},
# \qquad k = 2,\; \alpha = 10^{-4},\; \beta = 0.75 .
# $$
#
# The same in code:

# %%
from torch.nn import functional


def respond(a, k=2, alpha=1e-4, beta=0.75):
    squares = functional.pad(a.square(), (0, 0, 0, 0, 2, 2))
    summed = sum(squares[:, j : j + a.shape[1]] for j in range(5))
    return a / (k + alpha * summed) ** beta


# %% [markdown]
# PyTorch's layer multiplies $\alpha$ by the *mean* of the five squares and not by their
# sum. With the paper's 10⁻⁴ it would be wrong by a factor of five. We follow the formula that was
# printed:

# %%
from torch import nn

a = 100 * torch.rand(1, 96, 5, 5, dtype=torch.float64)
assert torch.allclose(respond(a), nn.LocalResponseNorm(5, 5e-4, k=2)(a))
assert not torch.allclose(respond(a), nn.LocalResponseNorm(5, 1e-4, k=2)(a))

# %% [markdown]
# ### 3. Overlapping pooling
#
# LeNet-5's pooling windows of 2 × 2 lie side by side. Here they are 3 × 3, still two steps apart, so that
# neighbours share a row or a column. The maps come out as large as they would without overlap. In
# the paper the overlap lowers the top-1 error by 0.4 percentage points and the top-5 error by 0.3:

# %%
for side, after in {55: 27, 27: 13, 13: 6}.items():
    maps = torch.zeros(1, 1, side, side)
    for window in (2, 3):
        pooled = functional.max_pool2d(maps, window, stride=2)
        assert pooled.shape[-1] == after

# %% [markdown]
# ### 4. Dropout
#
# In each training step every unit of the first two fully connected layers is set to zero with
# probability one half, drawn anew for each picture. So no unit can rely on a particular other one.
# In the test all units are on, and the paper multiplies their outputs by 0.5. PyTorch doubles them
# in training instead, which is the same on average and leaves nothing to do in the test:

# %%
dropout = nn.Dropout(0.5)
silenced = dropout(torch.ones(100_000))
assert set(silenced.unique().tolist()) == {0, 2}
assert abs(silenced.mean() - 1) < 0.02
assert torch.equal(dropout.eval()(torch.ones(5)), torch.ones(5))

# %% [markdown]
# ### 5. Two graphics cards
#
# The network did not fit into the 3 GB of one card. Each of two cards therefore held half of the
# channels of every layer, and only `conv3` and the fully connected layers read both halves. The paper
# reports a top-1 error 1.7 percentage points below that of a network with half the filters on one card,
# and a top-5 error 1.2 points below. Today such a division is called a *grouped convolution*, here of two
# groups: two convolutions side by side that share nothing.

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
# `AlexNet(paper=True)` is the paper's network to the last parameter, counted here from its graph:

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
# Two numbers of the paper do not fit the rest of it. The caption of its figure 2 gives the first layer
# 253,440 neurons, which is 96 · 55 · 48; 55 × 55 places make 290,400. And it says that the input is 224
# pixels wide, from which windows of 11 at stride 4 make no whole number of places. The 55 it goes on
# with need 227 pixels, or, as in our form, 224 and two pixels of padding (then the last pixel of each
# row is left over):

# %%
assert 96 * 55 * 48 == 253_440 and neurons[0] == 96 * 55 * 55 == 290_400
for side in (224, 227, 224 + 2 * 2):
    print(f"{side} pixels: {(side - 11) / 4 + 1} places")
assert (227 - 11) / 4 + 1 == 55 == (224 + 2 * 2 - 11) // 4 + 1

# %% [markdown]
# Our default form is the one trained below, with ten classes and without groups, since one machine
# holds it all. So `conv2`, `conv4` and `conv5` cost twice as much, and the network takes 1.13
# billion multiply-adds where the paper's takes 0.72:

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
assert sum(r.multiply_adds for r in rows) == 1_131_201_056

# %% [markdown]
# ### Where the parameters are, and where the work is
#
# A weight of `conv1` is used at 3,025 places, a weight of `lin1` once. So parameters and work lie
# at opposite ends of the network:

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
        caption="The share of each layer in the network's parameters and in its multiply-adds. Conv2 "
        "does more than a third of the work with one parameter in a hundred. Lin1 holds nearly two "
        "thirds of the parameters and does a thirtieth of the work.",
        alt="Two columns of dots over eight layers: parameters lie in lin1 and lin2, multiply-adds "
        "in the five convolutions.",
    ),
    "shares",
)
in_linear = {name: part[5:].sum() for name, part in shares.items()}
assert in_linear["parameters"] > 0.93 and in_linear["multiply-adds"] < 0.05

# %% [markdown]
# The convolutions do the work, and the fully connected layers hold the parameters. VGG-16 keeps this
# division. InceptionNet, ResNet-18 and MobileNet do without the large fully connected layers.
#
# ### Where this implementation departs from the paper
#
# | what | the paper | here |
# |---|---|---|
# | groups | two in conv2, conv4 and conv5 | none; `AlexNet(paper=True)` has them |
# | input | 224 said, 227 needed | 224, two pixels of padding in conv1 |
# | squares to cut from | 256, the middle of the photograph | 256, enlarged from a squeezed 224 |
# | pixels | raw, 0 to 255, less their mean | 0 to 1, less their mean |
# | change of light | scale of the variances not given | variances of pixels from 0 to 1 |
# | initial weights | deviation 0.01, five layers' biases 1 | He et al. [@he2015], conv1 smaller, biases 0 |
# | dropout | outputs halved in the test | doubled in training |
# | classes | 1,000 | 10 |
#
# The training departs as well, as the next table shows: in its optimiser, batches and length, with label
# smoothing and an average of the weights, and with one crop in the test for the paper's ten.
#
# ## Training

# %% tags=["hide-input"]
from internals.training import hyperparameters

show(
    Table.of(
        ("hyperparameter", "here", "paper"),
        hyperparameters(recipe, images.train),
        caption="The recipe of the run below beside the paper's. Learning rates cannot be compared "
        "across optimisers.",
    ),
    "recipe",
)

# %% [markdown]
# Why other initial weights? With weights of standard deviation 0.01, the differences between pictures
# become smaller on the way up. The paper's pixels run to 255, so enough is left at the scores. Ours run
# to 1, and nearly nothing would be left. We send the same eight pictures through untrained networks
# and measure how far apart they still are, as the standard deviation over pictures:

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
        "ours, pixels to 1": (AlexNet(), inputs),
    }.items()
}

# %% [markdown]
# The last column is what the loss can work with:

# %% tags=["hide-input"]
raw, small, kept, ours = (values[-1] for values in spread.values())
lost = [values[0] / values[-1] for values in spread.values()]
show(
    Table.of(
        ("initial weights", *layers),
        ((name, *values) for name, values in spread.items()),
        caption="How far apart eight pictures are, layer by layer, before any training. From conv1 to "
        f"lin3 the paper's weights lose a factor of {lost[0]:.0f} on its own pixels and of "
        f"{lost[1]:.0f} on ours, He et al.'s a factor of {lost[2]:.1f}.",
    ),
    "spread",
)
assert small < raw / 10 and small < ours / 10 < kept / 10
assert min(lost[:2]) > 100 and max(lost[2:]) < 10

# %% [markdown]
# In one layer He et al.'s weights are too large. A kernel of `conv1` keeps the noise that it begins
# with, and what it learns is added to that; the last chapter [measures it](11_zeiler_and_fergus.py).
# He et al.'s deviation there is 0.074, and in the trained `conv1` below no weight is as large. Such noise
# would hide the rest. So `conv1` is drawn from N(0, 0.005), and all layers above see differences about
# fifteen times smaller. AdamW trains the network all the same: it measures each weight's step by that
# weight's own gradients.
#
# Now the run itself. Its epoch is chosen on training pictures that were held out, and the test
# pictures are scored once after that:

# %%
from internals.training import trained

run = trained(recipe, images, seed=chapter.seed)
test, seconds = run.test, run.provenance.seconds
print(f"{percent(test.top1, 2)} of the test pictures right, {seconds:.0f} s")
chapter.record(test_top1=test.top1, test_loss=test.loss, seconds=seconds)
if chapter.profile != "smoke":
    assert test.top1 > 0.2

# %% [markdown]
# The network has 58 million parameters for not quite nine thousand training pictures. Does it learn
# them by heart?

# %% tags=["hide-input"]
from internals.book import learning_curves

show(
    learning_curves(
        run,
        caption="Loss and accuracy by epoch. Training pictures are scored during the epoch, augmented and "
        "with half of lin1's and lin2's units at zero. Held-out pictures are scored after it, with a "
        "moving average of the weights. Label smoothing keeps both losses above 0, however good the "
        "network. The dashed line is the kept epoch's accuracy on the test pictures.",
        alt="Two charts by epoch: training and held-out loss, and training and held-out accuracy "
        "with the test accuracy as a dashed line.",
    ),
    "training",
)
last = run.history.epochs[-1]
least = min(e.validation_loss for e in run.history.epochs)
chapter.finding(
    f"It does, nearly: in the last epoch it names {percent(last.train_top1)} of the training pictures "
    f"rightly, and {percent(last.validation_top1)} of the held-out ones. Its answers to new pictures do "
    "not become worse for it: the held-out loss ends within 2 % of its least. The test pictures are "
    f"named rightly in {percent(test.top1)}.",
    holds=last.train_top1 > 0.95
    and last.train_top1 - last.validation_top1 > 0.1
    and last.validation_loss < 1.02 * least
    and 0.78 < test.top1 < 0.85,
)

# %% [markdown]
# ### What the network is shown
#
# Three things happen to a picture, all from sections 2 and 4.1 of the paper. The mean of all training
# pictures is subtracted, pixel by pixel. The other two are *data augmentation*. A training picture is
# cut out of a larger square at random and mirrored half of the time. And its light is changed: with
# $p_i$ the principal components of all colours and $\lambda_i$ their variances, all its pixels get
#
# $$
# [p_1, p_2, p_3]\,[\alpha_1\lambda_1, \alpha_2\lambda_2, \alpha_3\lambda_3]^T,
# \qquad \alpha_i \sim N(0, 0.1)
# $$
#
# added. A test picture is cut out at its centre. For a little more accuracy, it can be cut out at the
# four corners and the centre, each also mirrored, and the ten answers averaged.

# %% tags=["hide-input"]
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
        "and how far one standard deviation moves the channel that it changes most, on a scale of 255. "
        "The first component is brightness, and has ten times the variance of the other two together.",
    ),
    "lighting",
)  # fmt: skip
p1, variances = colours.directions[:, 0], colours.variances
assert p1.min() > 0.4 and variances[0] > 10 * variances[1:].sum()
if chapter.profile == "full" and chapter.data == "real":
    assert 255 * typical[0] > 255  # with variances of pixels from 0 to 255

# %% [markdown]
# The paper does not say on which scale the variances are measured. Ours are of pixels from 0 to 1. On
# pixels from 0 to 255 they are 65,025 times as large, and one standard deviation would shift a picture by
# more than the distance from black to white. Here are all three at work on one picture. The light is
# changed by up to twenty standard deviations, since nobody would see one:

# %% tags=["hide-input"]
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
        "to +20 standard deviations. In each crop the thing lies at another place.",
        alt="A blurred grey-brown mean image; ten cuts of one picture, five of them mirrored; ten "
        "copies of it from dark to bright.",
    ),
    "inputs",
)

# %% [markdown]
# Are ten looks better than one? In the paper they are, by 1.5 percentage points (ILSVRC-2010, top-1
# error 39.0 to 37.5 %). We use held-out pictures, because the test pictures are scored once only:

# %%
from internals.training import evaluate

held_out = images.validation.head(chapter.at(smoke=4, quick=64))
truth = held_out.labels.numpy()
one_crop, ten_crops = (
    evaluate(run.model, run.loss, held_out, run.pipeline, crops=n).predicted
    == truth
    for n in (1, 10)
)

# %% [markdown]
# The gain, with twice its standard error. Both scores are of the same pictures, so only those count that
# one of them names rightly and the other not:

# %%
gains = 100.0 * (ten_crops.astype(int) - one_crop)
gain, error = gains.mean(), 2 * gains.std() / len(gains) ** 0.5
chapter.finding(
    f"Ten crops name {percent(ten_crops.mean())} of {len(held_out)} held-out pictures rightly and one "
    f"crop {percent(one_crop.mean())}. They win {(gains > 0).sum()} pictures and lose "
    f"{(gains < 0).sum()}: {gain:.1f} ± {error:.1f} points more. The paper's gain lies within that.",
    holds=bool(gain > 0 and abs(gain - 1.5) < error),
)

# %% [markdown]
# ### The score, and what it can be compared with
#
# It cannot be compared with the paper's. Ten classes chosen to be easy are another task than a
# thousand, with fewer pictures to learn it from. The table has both for the record only:

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
        "harder task. Guessing has 90 % top-1 errors with ten classes, 99.9 % with a thousand.",
    ),
    "scores",
)  # fmt: skip

# %% [markdown]
# ### Its mistakes

# %% tags=["hide-input"]
from internals.book import most_confused, recall
from internals.figures import confusion

show(
    confusion(
        test.confusion,
        images.test.class_names,
        caption="Which test pictures (rows) were taken for which class (columns), right answers "
        "muted. The two commonest mistakes are gas pumps taken for cassette players and French horns "
        "taken for chain saws. The commonest wrong answer is chain saw.",
        alt="A ten by ten matrix of counts; the diagonal holds what is right.",
    ),
    "confusion",
)
names = images.test.class_names
one, other = most_confused(test.confusion)
found = recall(test.confusion)
rarest, rare = found.argsort()[:2]
chapter.finding(
    f"{names[one].capitalize()} and {names[other]} are confused most: {test.confusion[one, other]} of "
    f"the first are taken for the second and {test.confusion[other, one]} the other way. "
    f"{names[rarest].capitalize()} and {names[rare]} are recognised least, {percent(found[rarest])} "
    f"and {percent(found[rare])} of the time.",
    holds={names[one], names[other]} == {"cassette player", "gas pump"}
    and {names[rarest], names[rare]} == {"chain saw", "gas pump"},
)

# %% [markdown]
# The ten mistakes of which the network was surest:

# %% tags=["hide-input"]
from internals.book import surest_mistakes, worst_mistakes

show(
    worst_mistakes(
        run,
        images.test,
        caption="Test pictures that were named wrongly: true class → answer, the probability that "
        "the network gave to the answer, and the picture's number, the most confident first. Tenches "
        "on grass are called a golf ball, and a golf ball before a blue sky a parachute.",
        alt="Ten misnamed test pictures, each with its true class, the answer and its probability.",
    ),
    "mistakes",
)
sure_of = test.confidence[surest_mistakes(run, images.test)]
chapter.finding(
    "A high probability does not mean that the answer is right. These wrong answers have between "
    f"{percent(sure_of.min())} and {percent(sure_of.max())}, and label smoothing trains the network "
    "to give a right answer 91 %.",
    holds=bool(sure_of.min() > 0.9) and recipe.loss.smoothing == 0.1,
)

# %% [markdown]
# ## What a short run says of two measures
#
# The paper reports that without response normalisation its top-1 error was 1.4 percentage points
# higher, and that without dropout it overfitted badly. We try both. The network is trained three
# times for a quarter of the epochs: whole, without normalisation, and without dropout.

# %%
from dataclasses import replace

short = replace(recipe, epochs=max(1, recipe.epochs // 4), snapshots=())
if chapter.profile == "quick":
    short = replace(
        recipe, epochs=2, most_images=192, most_tested=128, least_steps=0
    )

# %% [markdown]
# The other two differ from the whole in one argument of the network each. Initial weights, pictures and
# their order are the same. Without the normalisation its division by $2^{0.75}$ is missing too. At the start
# activations are therefore 1.7 times as large behind the first layer and 2.8 times behind the second:

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
# With dropout the training accuracy is measured while units are at zero, so it is too low. The
# held-out columns can be compared. The margin below is twice the largest standard error that a difference
# between independent samples can have, which is cautious here, because all three saw the same pictures.
# It does not cover the chance of another seed:

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
        f"between held-out accuracies below {100 * margin_of_error:.1f} points may be the choice of "
        "pictures.",
    ),
    "measures",
)  # fmt: skip
whole, *others = (h.epochs[-1].validation_top1 for h in histories.values())
cost = [100 * (other - whole) for other in others]
chapter.finding(
    "So short a run decides on neither measure. The held-out accuracy changes by "
    f"{cost[0]:+.1f} points without normalisation and by {cost[1]:+.1f} without dropout, and the margin "
    f"is {100 * margin_of_error:.1f}.",
    holds=max(map(abs, cost)) < 100 * margin_of_error,
)

# %% [markdown]
# There is a reason to expect little of the normalisation here. Its sum is added to $k = 2$, and on
# pixels from 0 to 1 activations are small. By how much more does the layer reduce an active unit than
# the plain division by $2^{0.75}$ would? And by how much if its inputs were 255 times as large, as
# raw pixels would make those of the first layer with these weights?

# %%
from internals import Network

net = Network.of(run)
few = run.pipeline.view(images.validation.head(16))
effect = {1: [], 255: []}
for a in net.capture(few, ["relu1", "relu2"]).values():
    for scale, reduced in effect.items():
        normalised = respond(scale * a)[a > 0] / (scale * a[a > 0])
        reduced.append(1 - (normalised * 2**0.75).mean().item())
chapter.finding(
    "On our pixels the two layers reduce active units by less than 0.1 % more than the plain division "
    f"does. With inputs 255 times as large it would be {percent(effect[255][0])} and "
    f"{percent(effect[255][1])}.",
    holds=max(effect[1]) < 0.001 and min(effect[255]) > 0.05,
)

# %% [markdown]
# The constants were chosen for other pixels. VGG's authors tried the layer, and report that it brought
# them nothing [@simonyan2015].
#
# ## Looking inside
#
# ### The kernels of conv1
#
# All 96 of them, in colour, as in the paper's figure 3. There, in every run, the kernels of one card
# came out largely grey, for edges and gratings, and those of the other largely coloured, for blobs.
# With one group nothing decides which channel becomes which:

# %%
from internals.figures import filters

kernels = run.model.conv1.weight.detach()
first = alexnet.conv1.weight.detach()
sizes = kernels.square().mean((1, 2, 3)).sqrt()
blank = int((sizes < 1.5 * first.std()).sum())
show(
    filters(
        kernels.numpy(),
        caption="The 96 kernels of conv1, 11 × 11 pixels, on one scale: mid grey is 0, and a colour is "
        "the light that a channel answers to. Gratings and edges in several directions, as 24, 56 and "
        "88, are nearly grey; plain colours and spots, as 11, 14, 37 and 73, are not. The weights of "
        f"{blank} kernels are less than one and a half times as large as random ones at the start, and "
        "these look nearly blank. The faint speckle is what is left of the first weights.",
        alt="Ninety-six small colour squares: grey stripes and edges in several directions, red, green "
        "and blue patches and spots, and faint speckle.",
    ),
    "conv1-filters",
)

# %% [markdown]
# How grey are they? The part of a kernel that differs from its mean over red, green and blue is its
# colour. In random weights it holds two thirds of the sum of squares:


# %%
def colour_share(kernels):
    coloured = kernels - kernels.mean(dim=1, keepdim=True)
    return coloured.square().sum((1, 2, 3)) / kernels.square().sum((1, 2, 3))


before, after = colour_share(first), colour_share(kernels)
grey, coloured = (after < 0.2).sum(), (after > 0.9).sum()
assert abs(before.mean() - 2 / 3) < 0.03
if chapter.profile == "full" and chapter.data == "real":
    assert kernels.abs().max() < 0.074  # He et al.'s deviation
chapter.finding(
    f"Before training the share of colour lies between {before.min():.2f} and {before.max():.2f}. "
    f"After it {grey} kernels are nearly grey, below 0.2, and {coloured} nearly all colour, above "
    "0.9. Grey and coloured kernels form without two cards as well.",
    holds=bool(grey >= 10 and coloured >= 5),
)

# %% [markdown]
# ### What a stride of four misses
#
# Zeiler and Fergus looked at this network's second layer and found patterns that were not in the
# pictures. They call it *aliasing*, and blame the first layer, whose windows move four pixels at a time
# [@zeiler2014]. A map of which every fourth value is kept cannot represent a wave shorter than eight
# pixels. Such a wave comes back as a longer one that was not there. How much of a map is of this kind can
# be measured without any projection. We compute the maps of `conv1` at every pixel, and take the share
# of their power that lies at waves shorter than two steps:

# %%
looked_at = images.train.images[: chapter.at(smoke=2, quick=4, full=16)]
pixels = looked_at / 255 - run.normalization.image
frequency = torch.fft.fftfreq(recipe.size - 10).abs()
fastest = torch.maximum(frequency[:, None], frequency)
window = torch.hann_window(len(frequency))  # fades the maps out at their sides


def aliased(kernels, *strides):
    """For each channel the share of its maps that comes back as other waves."""
    power = torch.zeros(len(kernels), *fastest.shape)
    for picture in pixels[:, :, middle, middle]:
        maps = functional.conv2d(picture, kernels)
        maps = maps - maps.mean(dim=(1, 2), keepdim=True)
        power += torch.fft.fft2(maps * window * window[:, None]).abs().square()
    beyond = [power[:, fastest > 1 / (2 * s)].sum(dim=1) for s in strides]
    return [part / power.sum(dim=(1, 2)) for part in beyond]


# %% [markdown]
# Their remedy was a stride of two, and windows of 7 × 7. Here are the same kernels at both strides, and
# random ones:

# %%
of_four, of_two = aliased(kernels, 4, 2)
(of_random,) = aliased(first, 4)
wrong = {
    "stride 4": of_four,
    "stride 4, random": of_random,
    "stride 2": of_two,
}

# %% [markdown]
# In each of the three cases the channels are put in order. Of the four that are aliased most we also
# compute how long the strongest wave of the kernel is:

# %% tags=["hide-input"]
ranked = of_four.argsort(descending=True).tolist()
spectrum = torch.fft.rfft2(kernels[ranked[:4]].mean(dim=1), s=(128, 128)).abs()
spectrum[:, 0, 0] = 0  # the mean is no wave
peak = spectrum.flatten(1).argmax(dim=1)
down, across = peak // 65, peak % 65
waves = 128 / torch.maximum(torch.minimum(down, 128 - down), across)
show(
    lines(
        np.arange(1, 97),
        {name: np.sort(share.numpy())[::-1] for name, share in wrong.items()},
        xlabel="channels of conv1, the most aliased first",
        ylabel="share of the power of a map",
        caption="How much of each map of conv1 the stride turns into waves that were not there, for the "
        "trained kernels at strides of four and two and for random kernels at a stride of four.",
        alt="Three falling curves over 96 channels: the trained kernels at stride four begin highest, "
        "random ones below them, and at stride two the curve lies close to zero.",
    ),
    "aliasing",
)
mean = {name: percent(float(share.mean())) for name, share in wrong.items()}
listed = [str(n) for n in sorted(ranked[:4])]
many = int((of_four > 0.25).sum())
chapter.finding(
    f"At a stride of four the mean over all channels is {mean['stride 4']}, and "
    f"{mean['stride 4, random']} with random kernels. But the channels differ: {many} of 96 have more "
    f"than a quarter. The four with most, {', '.join(listed[:-1])} and {listed[-1]}, have up to "
    f"{percent(float(of_four.max()))}. They are fine gratings with waves of {waves.min():.1f} to "
    f"{waves.max():.1f} pixels, too short for that stride. At a stride of two no channel has more than "
    f"{percent(float(of_two.max()))}.",
    holds={4, 62, 95} <= set(ranked[:8])
    and bool(waves.max() < 8 and of_four.max() > 0.4 and of_two.max() < 0.1)
    and 10 <= many <= 45,
)

# %% [markdown]
# ### What drives the channels above
#
# [How to look](00_how_to_look.py) says how the next pictures are made and read. Training pictures are
# searched, cut as in the test, and one pass serves all layers:

# %%
most = chapter.at(smoke=64, quick=1024)
pictures = run.pipeline.view(images.train.head(most))
layers = ["conv2", "conv3", "conv4", "conv5"]
top = net.strongest(pictures, layers, k=9)

# %% [markdown]
# Projections use guided backpropagation. At a response normalisation the signal takes the true
# derivative, and where a pixel is the maximum of two windows the signals of both are added.
#
# #### conv2
#
# A unit of `conv2` sees 51 × 51 pixels.

# %%
from internals.figures import panels

show(
    panels(
        net.patches(top["conv2"]),
        caption="Six channels of conv2 and the patches that drive them hardest. Most patches of channel 0 "
        "are dark above an edge and light below it, most of 1 have a bright arc or tip on black, and most "
        "of 4 a level grating; all of 3 have yellow or green. Many of the patches lie at the border of "
        "their picture, where the network sees zeros beside it.",
        alt="Nine projections with their patches for six channels of conv2: small patches alike in "
        "direction, colour or texture.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# #### conv3
#
# At 99 × 99 pixels most of the patches below hold a part of an object. In the paper's network this
# layer is the first to read the channels of both cards.

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv3"]),
        caption="Six channels of conv3. Most patches of channels 0 and 1 have one long edge, nearly "
        "upright, dark on its right or on its left, of whatever it bounds. Those of channel 4 mostly have "
        "upright bars, in railings, church fronts and figures, and those of channel 5 rows of them: "
        "letters, grilles, columns.",
        alt="Nine projections with their patches for six channels of conv3: larger patches, alike "
        "in texture or in a pattern of parts.",
    ),
    "conv3-strongest",
)

# %% [markdown]
# #### conv4
#
# A field of 131 × 131 pixels. Where a row is of one class, its channel may answer to the class, or
# to something that goes with it, such as its usual surroundings.

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv4"]),
        caption="Six channels of conv4. The projections of channel 3 follow the white blaze between the "
        "eyes of English springers; two of its nine pictures are the same photograph. Patches of channel "
        "0 have level stripes, those of 2 level bands and edges on pumps, players and trucks, and those "
        "of 5 round white things and wound tubes, golf balls and French horns.",
        alt="Nine projections with their patches for six channels of conv4: patches with a large "
        "part of an object.",
    ),
    "conv4-strongest",
)
blaze = pictures.labels[top["conv4"].image[3]]
chapter.finding(
    f"The nine pictures of channel 3 are all of one class, {images.train.class_names[int(blaze[0])]}, "
    "though no label names a part of a dog.",
    holds=bool((blaze == blaze[0]).all())
    and images.train.class_names[int(blaze[0])] == "English springer",
)

# %% [markdown]
# #### conv5
#
# A unit of the last convolution sees 163 × 163 pixels, nearly three quarters of the picture's width.
# Not all of them matter alike: influence falls off from the middle of a field outwards [@luo2016].

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv5"]),
        caption="Six channels of conv5, the last convolution. Most patches of channel 0 have level "
        "stripes, of 1 red on black, of 3 strong red, orange or yellow, of 4 a row of characters, as on "
        "signs and price boards, and of 5 slanting or crossing tubes, mostly those of French horns. "
        "Channel 2 has no theme that can be named.",
        alt="Nine projections with their patches for six channels of conv5: patches with objects or "
        "large parts of them.",
    ),
    "conv5-strongest",
)

# %% [markdown]
# An image can also be made for a channel. It starts as noise, with the colours of photographs, and is
# changed step by step to drive the unit in the middle of the map harder [@olah2017]:

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
        "the network has seen, and another start would give another one.",
        alt="For six channels of conv5 the strongest patch beside an optimised image of "
        "coloured patterns made from noise.",
    ),
    "conv5-optimised",
)
times = [
    image.value / float(value)
    for image, value in zip(made, top["conv5"].value[:6, 0], strict=True)
]
chapter.finding(
    "Photographs do not come near to what these channels can reach. Each image drives its unit "
    f"{min(times):.1f} to {max(times):.1f} times as hard as the strongest patch drives the channel.",
    holds=min(times) > 2,
)

# %% [markdown]
# Now all channels at once. Of the nine pictures that drive a channel hardest, how many belong to the
# class that is most frequent among them? And in how many channels are all nine of one class? In an
# untrained network too they share a class more often than by chance, perhaps because pictures of a class
# are alike in colour and texture. So that is the control:

# %%
from internals.activations import class_counts, class_purity

torch.manual_seed(chapter.seed + 1)
untrained = Network(
    AlexNet().eval(),
    normalization=run.normalization,
    input_shape=net.shape(),
)
tops = {
    "trained": top,
    "untrained": untrained.strongest(pictures, layers, k=9),
}
labels = pictures.labels
pure = {
    name: np.array([class_purity(t[n].image, labels) for n in layers])
    for name, t in tops.items()
}
alone = {
    name: [(class_counts(t[n].image, labels) == 1).double() for n in layers]
    for name, t in tops.items()
}
by_lot = class_purity(torch.randint(len(pictures), (5000, 9)), labels)

# %% [markdown]
# Layer by layer, in pictures of nine, with the share of channels whose nine are all of one class:

# %% tags=["hide-input"]
show(
    Table.of(
        ("network", *layers),
        (
            (name, *(
                f"{9 * share:.1f}, {percent(float(one.mean()))}"
                for share, one in zip(pure[name], alone[name], strict=True)
            ))
            for name in tops
        ),
        caption="How many of the nine pictures that drive a channel hardest are of its commonest class, "
        "the mean over all channels of each layer, and in how many channels all nine are of one class. "
        f"Nine drawn at random have {9 * by_lot:.1f} of their commonest class.",
    ),
    "purity",
)  # fmt: skip
chapter.finding(
    "Channels become more class-specific from layer to layer. In conv5 "
    f"{9 * pure['trained'][-1]:.1f} of nine pictures are of one class, in the untrained network "
    f"{9 * pure['untrained'][-1]:.1f}; in conv2 the two differ by "
    f"{9 * (pure['trained'][0] - pure['untrained'][0]):.1f}.",
    holds=list(pure["trained"]) == sorted(pure["trained"])
    and pure["trained"][-1] > pure["untrained"][-1] + 0.1,
)
pure_ones = {name: by_layer[-1] for name, by_layer in alone.items()}
chapter.finding(
    f"Few channels answer to one class only: {int(pure_ones['trained'].sum())} of the "
    f"{len(pure_ones['trained'])} channels of conv5 have nine pictures of a single class, which is "
    f"{percent(float(pure_ones['trained'].mean()))}. In the untrained network it is "
    f"{percent(float(pure_ones['untrained'].mean()))}.",
    holds=bool(
        pure_ones["untrained"].mean() + 0.05 < pure_ones["trained"].mean()
    )
    and bool(pure_ones["trained"].mean() < 0.25),
)

# %% [markdown]
# ## What the answer rests on
#
# Three instruments explain the score of a class instead of a channel. *Grad-CAM* weighs the maps of
# `conv5`, after their rectifier, by how the class score depends on them [@selvaraju2017]. *Saliency* is
# the gradient at each pixel [@simonyan2014]. The third changes the picture itself: a grey square covers
# one place after another, and we record the probability of the class and the sum of the strongest map
# [@zeiler2014]. Where the probability drops, the answer depended on what was covered. Where the sum
# drops, that map depended on it, and the answer need not. Of each class we take the rightly named
# held-out picture of which the network is least sure, and show the three least sure:

# %%
count = chapter.at(smoke=4, quick=16, full=200)
held = run.pipeline.view(images.validation.head(count))
views = net.inputs(held)[:]
scores = net.capture(views, ["lin3"])["lin3"].flatten(1)
sure, answers = run.loss.probabilities(scores).max(dim=1)
order = sure.argsort()
right = [int(n) for n in order if answers[n] == held.labels[n]] or [0]
one_each = {int(held.labels[n]): n for n in reversed(right)}
chosen = sorted(one_each.values(), key=lambda n: float(sure[n]))[:3]
shown, inputs, classes = (
    held.subset(torch.tensor(chosen)),
    views[chosen],
    held.labels[chosen],
)
step = recipe.size // chapter.at(smoke=4, quick=8, full=12)
square = {"size": 2 * step, "stride": step}
covered = {
    "probability": net.occlusion(
        inputs, classes, score=run.loss.probabilities, **square
    ),
    "conv5 map": net.occluded_activity(inputs, "relu5", **square),
}

# %% [markdown]
# Both are shown as drops from the uncovered picture. The drop at a pixel is the mean over all squares
# that cover it:

# %%
from internals.projection import occlusion_map

maps = net.capture(inputs, ["relu5"])["relu5"]
own = run.loss.probabilities(scores)[chosen].gather(1, classes[:, None])
before = {"probability": own[:, 0], "conv5 map": maps.sum((2, 3)).amax(1)}
lost = {
    name: occlusion_map(after, before[name], inputs.shape[-2:], **square)
    for name, after in covered.items()
}
maps = [
    net.grad_cam(inputs, "relu5", classes, upsample=True),
    net.saliency(inputs, classes),
    *lost.values(),
]

# %% [markdown]
# The maps of evidence:

# %% tags=["hide-input"]
from internals.figures import overlays

show(
    overlays(
        list(shown.images.numpy() / 255),
        [[m[n].numpy() for m in maps] for n in range(len(shown))],
        ["Grad-CAM, conv5", "saliency", "covered: class", "covered: conv5"],
        names=[shown.class_names[int(label)] for label in classes],
        caption=f"The three least sure right answers of different classes among {count} held-out pictures, "
        "with four maps of evidence. The largest value stands below each, for the two maps of covering "
        "the largest change, a drop (amber) or a rise (blue); in the third map it is one of probability. "
        "Saliency has no sign: it is the size of the gradient.",
        alt="Rows of one picture and four heat maps over it: Grad-CAM blobs, a scatter of salient "
        "pixels, and two coarse maps of what covering a place does.",
    ),
    "evidence",
)
drop, rise = (sign * lost["probability"][0] for sign in (1, -1))
chapter.finding(
    "Covering can help. In the first picture the largest change of the probability is a rise, of "
    f"{rise.max():.2f}, where the largest drop is {drop.max():.2f}: what was covered there spoke against "
    f"{shown.class_names[int(classes[0])]}.",
    holds=bool(rise.max() > 1.5 * drop.max()),
)

# %% [markdown]
# It matters that Grad-CAM reads the maps after the rectifier. Before it they hold negative sums, which
# no later layer sees. How often is Grad-CAM's map empty before the rectifier, and how often after it?

# %%
empty = {
    layer: float(
        (net.grad_cam(views, layer, held.labels).amax((1, 2)) == 0)
        .double()
        .mean()
    )
    for layer in ("conv5", "relu5")
}
chapter.finding(
    f"Of {len(held)} held-out pictures {percent(empty['conv5'])} have an empty map when the sums of "
    f"conv5 are weighed, and {percent(empty['relu5'])} when its outputs are.",
    holds=empty["conv5"] > 0.2 and empty["relu5"] < 0.05,
)

# %% [markdown]
# ## Which pictures to believe
#
# The control of each chapter on a network: the strongest units of some channels of `conv5` are
# projected under the three rules, while the weights are replaced by untrained ones from the top down
# [@adebayo2018]. A picture that stays the same does not show what those layers learned:

# %%
torch.manual_seed(chapter.seed + 1)
many = chapter.at(smoke=3, quick=6, full=12)
control = net.sanity(
    pictures, top["conv5"][:many].head(1), untrained=AlexNet()
)

# %% [markdown]
# How much is left is said by a rank correlation ρ, and 0 is not what chance gives. The middle of a field
# counts for more than its rim whatever the weights, so that trained pictures of different channels on
# different images, laid field on field, have a ρ above 0 as well. Its mean is the *baseline*, which stands
# below the trained picture. At a ρ no higher than that, nothing of the picture is left:

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
        "rank correlation with the trained picture, the mean over all units tested. The baseline is "
        "that between trained pictures of different things.",
        alt="Three rows of six projections of one unit, from the trained network on the left to the "
        "untrained one on the right, with a rank correlation under each.",
    ),
    "control",
)
left = dict(zip(control.names, control.magnitudes.mean(axis=2), strict=True))
base = dict(zip(control.names, control.baseline, strict=True))
chapter.finding(
    "Guided projections hardly depend on what conv5 learned: with random weights there they keep a ρ of "
    f"{left['guided'][1]:.2f}, where pictures of different things have {base['guided']:.2f}. The gradient "
    f"keeps {left['gradient'][1]:.2f}, with a baseline of {base['gradient']:.2f}, and the deconvnet "
    f"{left['deconvnet'][1]:.2f}, with one of {base['deconvnet']:.2f}.",
    holds=left["guided"][1] > max(0.85, base["guided"] + 0.2)
    and all(
        left["guided"][1] > left[name][1] + 0.1
        for name in ("gradient", "deconvnet")
    ),
)
chapter.finding(
    "Without any trained weights nothing is left of the gradient's pictures, with a ρ of "
    f"{left['gradient'][-1]:.2f}, and little of the guided ones, with {left['guided'][-1]:.2f}. So these "
    "do depend on what was learned, but on what the lower layers learned.",
    holds=left["gradient"][-1] < base["gradient"] + 0.05
    and left["guided"][-1] < base["guided"] + 0.15
    and left["guided"][1] - left["guided"][-1] > 0.15,
)  # fmt: skip

# %% [markdown]
# So the panels above are read from the patches: what drives a channel is what its patches share.
#
# ## Key features
#
# - **Size**: with ten classes still 58 million parameters, 94 % of them in fully connected layers that
#   do a twentieth of the work.
# - **Rectifiers** pass the gradient back unchanged through every active unit.
# - **Dropout, random crops and light** are the paper's means against overfitting. Even with them this
#   network knows its training pictures nearly by heart, and names four of five new ones rightly.
# - **Response normalisation** did little but divide by $2^{0.75}$ on pixels from 0 to 1: its constants
#   were chosen for raw ones. So short a run as ours decides on neither it nor dropout.
# - **Overlapping pooling** gained the paper 0.4 points.
# - A **stride of four** makes maps small early. For the finest kernels of `conv1` it is too coarse, and
#   a part of their maps is aliased.
# - **Channels become more class-specific** from layer to layer, but in `conv5` only about one in eight
#   has nine pictures of one class. **Optimised images** drive the first six several times as hard as any
#   photograph does.
# - **Guided projections** hardly change when `conv5` has random weights: they show what the lower layers
#   found in the image.
#
# ## Do this with your own network
#
# What drives the layer above a large first window is worth a look.
# `mine:network` stands for the function or class `network` in your file `mine.py`; `--channels`
# says which rows to draw, `--rule` how a rectifier is passed:
#
# ```sh
# internals project mine:network --weights mine.pth --layer conv2 \
#     --channels 0-7 --rule deconvnet --images photos --out panel.png
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
# The score of the class that the network names, with a square over each place, takes three lines:
#
# ```python
# from internals import Network, read_folder
#
# net = Network.open("mine:network", weights="mine.pth")
# scores = net.occlusion(read_folder("photos").images.head(2), size=56, stride=56)
# ```
#
# ## Exercises
#
# 1. Train `alexnet-paper`, whose recipe is there by that name, and draw its `conv1`. Do the first 48
#    kernels differ from the last 48 in `colour_share`?
# 2. Draw the panel of `conv2` with `rule="deconvnet"`. Do the projections change? Can the
#    patches?
# 3. Make the square of the occlusion map twice as large. Which drops grow, and why may the sum of
#    a map fall to zero when the square covers the whole thing?
#
# The next network has windows of 3 × 3 only, and sixteen layers of weights: [VGG-16](03_vgg16.py).
