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
# title: ResNet-18
# year: 2015
# paper_score: 27.88 % errors (top-1) on ImageNet
# thumbnail: conv10-strongest
# description: Layers that add to what they are given, trained beside the same layers that replace it.
# network: resnet18
# data: imagenette
# ---

# %% [markdown]
# # ResNet-18: layers that add instead of replace
#
# In 2015 Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun gave every pair of convolutions a
# second way past it, on which the signal is carried unchanged, and let the convolutions say only
# what is to be added [@he2016]. Networks of 152 layers could then be trained. Six such networks of
# different depths, together, won the ImageNet challenge of that year with 3.57 % top-5 errors. The
# one of this chapter, with 18 layers, was not among them: it is the shallowest that the paper
# trains on ImageNet, there to be compared with a network of the same layers that lacks the second way.
#
# **What you will see**
#
# - what the shortcut is for, in the paper's own words, and what it is not for;
# - a block that begins as nothing at all, and 256 paths through eight of them;
# - ResNet-18 and its plain twin trained side by side: gradients, curves, scores, responses;
# - what drives the channels of eleven layers, and how little of the deepest pictures survives a
#   control.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The images
#
# The data are those of [AlexNet](02_alexnet.py#the-photographs): ten classes, ImageNet's photographs of
# them or, where those are not at hand, the stand-in of drawn shapes. The photographs of the copy at
# hand are squeezed to squares, as told there. The recipe says how large they are kept:

# %%
from internals import load
from internals.training import find_recipe

recipe = find_recipe("resnet18", chapter.profile)
images = load(
    "imagenette",
    chapter.data,
    size=recipe.stored,
    seed=chapter.seed,
    most=chapter.most_images,
)

# %% [markdown]
# ## Degradation
#
# Put more layers on a good network and it cannot get worse, one would think: the new layers need
# only pass on what they receive. In the paper's experiments it did get worse, and not by learning
# its training images too well. A plain network of 34 layers made *more* errors on the very images
# it was trained on than one of 18, and with it on new ones:

# %% tags=["hide-input"]
from internals.figures import Table

show(
    Table.of(
        ("layers", "plain", "residual"),
        [("18", "27.94 %", "27.88 %"), ("34", "28.54 %", "25.03 %")],
        caption="The paper's table 2: top-1 errors on ImageNet's validation images, mean of ten "
        "crops. More depth makes the plain network worse and the residual one better. At 18 layers "
        "the two are alike.",
    ),
    "degradation",
)

# %% [markdown]
# The authors call this *degradation*, and they are careful about its cause (section 4.1):
#
# > We argue that this optimization difficulty is unlikely to be caused by vanishing gradients. These
# > plain networks are trained with BN, which ensures forward propagated signals to have non-zero
# > variances. We also verify that the backward propagated gradients exhibit healthy norms with BN.
# > So neither forward nor backward signals vanish.
#
# Often the shortcut is explained as a cure for vanishing gradients all the same. What these
# networks' gradients are like at the start can be measured [further down](#are-the-gradients-healthy).
#
# The paper's own thought is another (section 3.1): passing a signal on unchanged may be hard to
# learn for a pair of convolutions with a rectifier between them. A plain pair would have to find,
# among all settings of its 73,728 weights, one that copies:

# %%
import torch

from internals.models import ResNet18

torch.manual_seed(chapter.seed)
resnet = ResNet18().eval()
pair = resnet.conv2.weight.numel() + resnet.conv3.weight.numel()
assert pair == 73_728

# %% [markdown]
# So it should not have to be learned.
#
# ## A block
#
# Let $x$ be what a pair of convolutions receives. Instead of the whole of what comes next, they
# compute what is to be added to $x$ (equation 1 of the paper), and a second rectifier follows the
# sum:
#
# $$
# y = F(x) + x, \qquad x_{\text{next}} = \max(y, 0) .
# $$
#
# The way round the layers is the paper's *shortcut connection*:

# %% tags=["hide-input"]
from internals.figures import Block, wiring

inner = [
    "3 × 3, 64",
    "normalisation",
    "rectifier",
    "3 × 3, 64",
    "normalisation",
]
half = ["3 × 3, 128, stride 2", *inner[1:3], "3 × 3, 128", "normalisation"]
show(
    wiring(
        [
            Block("plain", inner, "rectifier"),
            Block("residual", inner, "rectifier", ""),
            Block("residual, stride 2", half, "rectifier",
                  "1 × 1, 128, stride 2; normalisation"),
        ],
        caption="Two layers in the plain network and as a residual block. Where a block halves the "
        "maps' sides and doubles their number, a 1 × 1 convolution brings x to the new shape.",
        alt="Three columns of boxes from x to next x: convolution, normalisation, rectifier, "
        "convolution, normalisation, rectifier. In the second and third a line leads from x round "
        "the layers to a sum before the last rectifier; in the third it carries a convolution.",
    ),
    "block",
)  # fmt: skip

# %% [markdown]
# Here is the first block of the network, written out. Each convolution has its normalisation, and
# the rectifier between them belongs to $F$:


# %%
def first_block(x: torch.Tensor) -> torch.Tensor:
    inner = resnet.relu2(resnet.bn2(resnet.conv2(x)))
    residual = resnet.bn3(resnet.conv3(inner))
    return torch.relu(residual + x)


# %% [markdown]
# That is what the network computes between `pool1` and `relu3`:

# %%
from internals import capture

noise = torch.randn(2, 3, 64, 64)
maps = capture(resnet, noise, ["pool1", "relu3"])
with torch.no_grad():
    assert torch.allclose(first_block(maps["pool1"]), maps["relu3"], atol=1e-5)

# %% [markdown]
# Now nothing is easier than to pass $x$ on. Set the scale of the second normalisation to zero, and
# $F$ is zero; what has been through a rectifier already goes through the next one unharmed:

# %%
torch.nn.init.zeros_(resnet.bn3.weight)
with torch.no_grad():
    assert torch.equal(first_block(maps["pool1"]), maps["pool1"])

# %% [markdown]
# ## Eight blocks
#
# ResNet-18 is eight of these blocks between a beginning and an end that are kept short. One 7 × 7
# convolution and one maximum bring the image to a quarter of its side; at the end one average over
# each map and one linear layer take the place of VGG-16's three wide ones:

# %% tags=["hide-input"]
from internals.figures import Stage, stack

show(
    stack(
        [
            Stage("input", 3, 224, 224, operation="7 × 7, stride 2", window=7),
            Stage("conv1", 64, 112, 112, operation="3 × 3 max", window=3),
            Stage("pool1", 64, 56, 56, operation="2 blocks", window=3),
            Stage("conv5", 64, 56, 56, operation="2 blocks", window=3),
            Stage("conv9", 128, 28, 28, operation="2 blocks", window=3),
            Stage("conv13", 256, 14, 14, operation="2 blocks", window=3),
            Stage("conv17", 512, 7, 7, operation="mean"),
            Stage("avgpool", 512, operation="full"),
            Stage("fc", 10),
        ],
        caption="ResNet-18 drawn to scale for the paper's 224 × 224 pixels. Four stages of two "
        "blocks each; the first block of the second, third and fourth stage halves the maps' sides "
        "and doubles their number, so that every stage costs about as much as the one before.",
        alt="Nine stages from a 224 by 224 image to ten outputs: 64 maps of 112 and of 56, then "
        "128 maps of 28, 256 of 14, 512 of 7, and vectors of 512 and 10 units.",
    ),
    "architecture",
)

# %% [markdown]
# Where the maps change size, $x$ and $F(x)$ no longer fit together. The paper has two ways out:
# option A takes every second row and column of $x$ and fills the new channels with zeros, which
# costs nothing; option B learns a 1 × 1 convolution $W$ with stride 2,
#
# $$
# y = F(x) + W x .
# $$
#
# The plain twin has no shortcut at all, and is otherwise the same. With the paper's 1,000 classes:

# %%
from internals.anatomy import summarize

forms = {"B, projections": "B", "A, zeros": "A", "plain twin": "none"}
counted = {}
for form, shortcut in forms.items():
    with torch.device("meta"):  # for counting: no weight is drawn
        network = ResNet18(num_classes=1000, shortcut=shortcut)
    layers = summarize(network, (3, 224, 224))
    counted[form] = (
        sum(layer.kind == "Conv2d" for layer in layers),
        sum(layer.parameters for layer in layers),
        sum(layer.multiply_adds for layer in layers),
    )

# %% [markdown]
# The paper's table 1 says 1.8 × 10⁹ multiply-adds. Option A and the plain twin are alike to the
# last weight, which makes their comparison fair:

# %% tags=["hide-input"]
show(
    Table.of(
        ("shortcut", "convolutions", "parameters", "multiply-adds"),
        [(form, *numbers) for form, numbers in counted.items()],
        caption="The three forms of the 18-layer network, counted from their graphs. Seventeen "
        "convolutions and the linear layer make the 18; the projections of option B are extra.",
    ),
    "forms",
)
assert counted["B, projections"] == (20, 11_689_512, 1_814_073_344)
assert counted["A, zeros"] == (17, 11_515_688, 1_794_805_760)
assert counted["plain twin"] == counted["A, zeros"]

# %% [markdown]
# This chapter trains option B, the form of the paper's deeper networks, with ten classes. Its layers
# one by one, normalisations and rectifiers left out:

# %%
layers = summarize(resnet, (3, 224, 224))
show(
    Table.of(
        ("layer", "output", "parameters", "multiply-adds", "field", "stride"),
        [
            (r.name, " × ".join(map(str, r.shape)), r.parameters, r.multiply_adds,
             r.field.size, r.field.stride or None)
            for r in layers
            if r.kind not in ("BatchNorm2d", "ReLU")
        ],
        caption="ResNet-18 at 224 × 224 pixels, in the order of computation. A 3 × 3 convolution "
        "costs 115,605,504 multiply-adds in every stage, the one that opens a stage half of that. "
        "Fields are those of the longest path to a layer.",
    ),
    "layers",
)  # fmt: skip
cost = {layer.name: layer.multiply_adds for layer in layers}
assert cost["conv5"] == cost["conv9"] == cost["conv17"] == 115_605_504
assert (
    2 * cost["conv6"]
    == 2 * cost["conv10"]
    == 2 * cost["conv14"]
    == 115_605_504
)
assert sum(layer.parameters for layer in layers) == 11_181_642

# %% [markdown]
# ## 256 paths
#
# At each block the signal goes both ways, so eight blocks are 2⁸ paths from image to answer. Veit,
# Wilber and Belongie take that literally and read a residual network as the collection of all its
# paths, most of them much shorter than the network is deep [@veit2016]. Short paths also see less.
# How much each branch widens the field follows from the table:

# %%
from itertools import product

import numpy as np

field = {layer.name: layer.field.size for layer in layers}
ends = ["pool1", *(f"conv{n}" for n in range(3, 18, 2))]
widens = np.diff([field[end] for end in ends])
sizes = sorted(
    field["pool1"] + int(widens @ taken) for taken in product((0, 1), repeat=8)
)
print("each block adds", *widens)
assert len(sizes) == 256 and (sizes[0], sizes[-1]) == (11, 435)
assert np.median(sizes) == 223

# %% [markdown]
# The unit of `conv17` that "sees 435 pixels" therefore sees its surroundings by many routes, and
# only one of them goes all the way:

# %% tags=["hide-input"]
from internals.figures import lines

show(
    lines(
        np.arange(1, 257),
        {"field of the path": np.array(sizes, dtype=float)},
        xlabel="paths, narrowest first",
        ylabel="pixels",
        levels={"the paper's image": 224, "all of conv17": 435},
        caption="What each of the 256 paths through the eight blocks can see. One path takes all "
        "shortcuts and sees 11 × 11 pixels, one takes none and sees 435 × 435; half of the "
        "paths see less than the 224 × 224 pixels of the paper's image.",
        alt="A rising curve from 11 to 435 pixels over 256 paths, steepest at both ends, which "
        "crosses the level of 224 pixels in the middle.",
    ),
    "paths",
)

# %% [markdown]
# The shortest path can be tested. With the scales of all eight branches at zero nothing is left but
# the shortcuts, and a unit at the very top must not be moved by more than 11 × 11 pixels:

# %%
from internals import Unit, project

bare = ResNet18().eval()
for n in range(3, 18, 2):
    torch.nn.init.zeros_(bare.get_submodule(f"bn{n}").weight)
noise = torch.randn(1, 3, 224, 224)
values = capture(bare, noise, ["relu17"])["relu17"][0, :, 3, 3]
unit = Unit("relu17", int(values.argmax()), 3, 3)
slopes = project(bare, noise, [unit], "gradient")[0].full().abs().sum(dim=0)
rows, columns = slopes.nonzero(as_tuple=True)
assert 0 < rows.max() - rows.min() < 11
assert 0 < columns.max() - columns.min() < 11

# %% [markdown]
# ### Where this implementation departs from the paper
#
# | what | the paper | here |
# |---|---|---|
# | classes | 1,000 | 10 |
# | shortcut of the 18-layer network | A, in its table 2 | B; `ResNet18(shortcut="A")` is there too |
# | colours | each pixel's mean subtracted, PCA lighting | each channel's mean and deviation, no lighting |
# | scale augmentation | shorter side 256 to 480 for crops of 224 | the same proportions at every size |
# | optimiser | SGD, a tenth at each plateau | AdamW, warm-up and cosine |
#
# ## Training
#
# The network, its plain twin and every hyperparameter in common:

# %% tags=["hide-input"]
from internals.training import SEED_RECIPES, hyperparameters

notebook = {
    row[0]: row[1] for row in hyperparameters(SEED_RECIPES["resnet18"])
}
show(
    Table.of(
        ("hyperparameter", "here", "first notebook", "paper"),
        [
            (name, value, notebook.get(name, ""), published)
            for name, value, published in hyperparameters(recipe, images.train)
        ],
        caption="The recipe of both runs below, that of the notebook this book grew from, and the "
        "paper's. Learning rates of different optimisers cannot be compared.",
    ),
    "recipe",
)

# %% [markdown]
# Twice the same call; the plain network differs in its name alone. Weights are kept, so a second
# reading does not train again:

# %%
from internals.training import trained

run = trained(recipe, images, seed=chapter.seed)
plain_recipe = find_recipe("plain18", chapter.profile)
plain = trained(plain_recipe, images, seed=chapter.seed)
both = {"ResNet-18": run, "plain": plain}
chapter.record(
    test_top1=run.test.top1,
    plain_test_top1=plain.test.top1,
    seconds=run.provenance.seconds,
)

# %% [markdown]
# The paper predicts little for 18 layers: "the 18-layer plain/residual nets are comparably
# accurate", and the residual one "converges faster" early on (section 4.1). Ours:

# %% tags=["hide-input"]
from internals.figures import curves

show(
    curves(
        loss={k: r.history.column("train_loss") for k, r in both.items()},
        accuracy={
            k: r.history.column("validation_top1") for k, r in both.items()
        },
        caption="Training loss (left) and accuracy on training images held out (right) by epoch, for "
        "the residual network and its plain twin, same recipe and same batches. Where the images "
        "grow from 128 to 224 pixels, the loss rises for an epoch.",
        alt="Two charts with two curves each, residual and plain: losses falling and accuracies "
        "rising over the epochs.",
    ),
    "training",
)

# %% [markdown]
# The plain network learns too, which a network whose gradients vanish would not:

# %%
starts = {k: r.history.epochs[0].validation_top1 for k, r in both.items()}
scores = {k: r.test.top1 for k, r in both.items()}
if chapter.profile != "smoke":
    assert min(scores.values()) > 0.25
losses = np.array([r.history.column("train_loss") for r in both.values()])
lead = 100 * (scores["ResNet-18"] - scores["plain"])
chapter.finding(
    "The residual network learns faster, as the paper says: its training loss is the lower one at "
    "every epoch. But it also ends better, by "
    f"{lead:.1f} points of the test images, where the paper's two networks end alike.",
    holds=bool((losses[0] < losses[1]).all()) and lead > 2,
)

# %% [markdown]
# One run each is little evidence: another seed may move the difference. Here are the scores beside
# the paper's, whose thousand classes allow no comparison between the last two columns:

# %% tags=["hide-input"]
from internals.figures import percent

show(
    Table.of(
        ("network", "this chapter, after one epoch", "this chapter, test", "the paper, ImageNet"),
        [
            ("ResNet-18", percent(starts["ResNet-18"]), percent(scores["ResNet-18"]), "72.12 %"),
            ("plain, 18 layers", percent(starts["plain"]), percent(scores["plain"]), "72.06 %"),
        ],
        caption=f"Top-1 accuracy. Here: ten classes of {run.provenance.data}, one run each, held-out "
        "images after one epoch and test images at the end. The paper (its table 2 again, as shares "
        "that are right): 1,000 classes, ten crops, shortcuts of option A.",
    ),
    "scores",
)  # fmt: skip

# %% [markdown]
# On Imagenette's photographs, others' reports for networks trained from nothing are the right
# measure: the data set's own table has 91.6 % after 20 epochs at 128 pixels and 94.2 % after 200,
# for a larger and later residual network [@howard2019].
#
# ### Are the gradients healthy?
#
# At the start, before any step, the norm of the gradient of every convolution's weights, for one
# batch. For contrast a third network: the plain one without its normalisation, with the small
# weights that torch draws unless told otherwise:

# %%
from torch.nn import functional

from internals import Network

nets = {name: Network.of(trained_run) for name, trained_run in both.items()}
net = nets["ResNet-18"]
pictures = run.pipeline.view(images.train)
some = pictures.subset(torch.linspace(0, len(pictures) - 1, 32).long())


def gradient_norms(network: ResNet18) -> np.ndarray:
    outputs = network.train()(net.inputs(some)[:])
    loss = functional.cross_entropy(outputs, some.labels)
    weights = [network.get_submodule(f"conv{n}").weight for n in range(1, 18)]
    gradients = torch.autograd.grad(loss, weights)
    return np.array([gradient.norm().item() for gradient in gradients])


# %% [markdown]
# The three networks, as they are before training:

# %%
torch.manual_seed(chapter.seed)
starting = {
    "ResNet-18": ResNet18(),
    "plain": ResNet18(shortcut="none"),
    "no BN, small weights": ResNet18(shortcut="none"),
}
for name, layer in list(starting["no BN, small weights"].named_children()):
    if name.startswith("bn"):
        setattr(starting["no BN, small weights"], name, torch.nn.Identity())
    elif name.startswith("conv") and layer is not None:
        layer.reset_parameters()
norms = {name: gradient_norms(fresh) for name, fresh in starting.items()}

# %% [markdown]
# So the paper's sentence can be seen:

# %% tags=["hide-input"]
show(
    lines(
        np.arange(1, 18),
        norms,
        xlabel="convolution",
        ylabel="norm of the gradient",
        logarithmic=True,
        caption="Norm of the loss's gradient by each convolution's weights before training, on a "
        "logarithmic scale: the residual network, the plain one, and the plain one without "
        "normalisation and with the small weights that torch draws.",
        alt="Three lines over seventeen convolutions: residual and plain stay within about one or "
        "two powers of ten, the plain network without normalisation lies many powers of ten lower.",
    ),
    "gradients",
)
healthy = min(norms["ResNet-18"].min(), norms["plain"].min())
weak = norms["no BN, small weights"]
assert healthy > 1e-3 > 10 * weak.max()
chapter.finding(
    "The shortcut is not what keeps the gradients alive. Both networks have gradients of about 1 "
    "in every layer, and larger ones in the first. Only the third network's vanish, from "
    f"{weak[-1]:.0e} at conv17 to {weak[0]:.0e} at conv1; it lost its normalisation and its first "
    "weights together, so which of them it misses is not shown.",
    holds=bool(weak[0] < weak[-1] < 1e-4)
    and all(norms[k].min() > 0.3 and norms[k].argmax() == 0 for k in both),
)

# %% [markdown]
# ### Small responses
#
# If shortcuts carry what is there already, the branches may say less. The paper looked at the
# standard deviation of each 3 × 3 convolution's output after normalisation, and found those of
# residual networks generally smaller (its figure 7, on CIFAR-10). Here are ours:

# %%
normalised = [f"bn{n}" for n in range(1, 18)]
responses = {}
for name, each in nets.items():
    maps = each.capture(some, normalised)
    responses[name] = np.array([m.std().item() for m in maps.values()])

# %% [markdown]
# Both networks, layer by layer:

# %% tags=["hide-input"]
show(
    lines(
        np.arange(1, 18),
        responses,
        xlabel="convolution",
        ylabel="standard deviation",
        caption="The standard deviation of each convolution's normalised output after training, over "
        "32 training images, before rectifier and addition. Every normalisation starts at 1. Odd "
        "numbers from 3 on are the ends of branches in the residual network.",
        alt="Two lines over seventeen convolutions, one for the residual and one for the plain "
        "network.",
    ),
    "responses",
)
speaks, plainly = responses["ResNet-18"][1:], responses["plain"][1:]
opens, ends = speaks[::2], speaks[1::2]
chapter.finding(
    "Ours are not smaller. All lie within a tenth of 1, where they began, and their mean is "
    f"{speaks.mean():.2f} in the residual and {plainly.mean():.2f} in the plain network. The paper "
    "trained on other data, and longer. What can be seen of its idea is within the blocks: in "
    f"{int((ends < opens).sum())} of the eight, the convolution that is added speaks less than the "
    "one before it.",
    holds=abs(np.concatenate([speaks, plainly]) - 1).max() < 0.12
    and speaks.mean() > plainly.mean()
    and bool((ends < opens).sum() >= 5),
)

# %% [markdown]
# A branch can be watched. Here is the second block at work on one image, in the first eight of its
# 64 channels:

# %%
from internals.figures import LayerMaps, feature_maps

one = some.subset(torch.tensor([len(some) // 2]))
parts = {"relu3": "x", "bn5": "F(x)", "relu5": "next x"}
maps = net.capture(one, list(parts))
show(
    feature_maps(
        one.images[0].numpy() / 255,
        [
            LayerMaps(f"{layer}: {part}", maps[layer][0, :8].numpy())
            for layer, part in parts.items()
        ],
        caption="One image in the second block, channels 0 to 7. Above, what arrives and is "
        "carried; in the middle, what conv4 and conv5 add, of either sign; below, their sum, "
        "rectified. Where the middle is grey, the block passes on what it got.",
        alt="An image and three rows of eight feature maps; the last row is the sum of the two "
        "above it without its negative parts.",
    ),
    "one-block",
)
assert torch.allclose(
    (maps["relu3"] + maps["bn5"]).relu(), maps["relu5"], atol=1e-5
)

# %% [markdown]
# Over all blocks, how large is what is added beside what it is added to?

# %%
branches = [f"bn{n}" for n in range(3, 18, 2)]
carried = ["pool1", "relu3", "bn_proj1", "relu7", "bn_proj2", "relu11",
           "bn_proj3", "relu15"]  # fmt: skip
maps = net.capture(some, branches + carried)
size = {layer: m.square().mean().sqrt().item() for layer, m in maps.items()}
show(
    Table.of(
        ("block", "carried by", "its size", "size of F(x)", "ratio"),
        [
            (f"conv{2 * n}, conv{2 * n + 1}", x, size[x], size[branch],
             size[branch] / size[x])
            for n, (x, branch) in enumerate(zip(carried, branches, strict=True), 1)
        ],
        caption="Root mean square of the shortcut and of the branch in each block of the trained "
        "network. In three blocks the shortcut is a projection.",
    ),
    "branches",
)  # fmt: skip
ratios = [size[b] / size[x] for x, b in zip(carried, branches, strict=True)]
chapter.finding(
    "No block adds little. What is added is "
    f"{min(ratios):.2f} to {max(ratios):.2f} times as large as what it is added to, so the picture "
    "of small corrections to a signal that runs through does not fit this network.",
    holds=min(ratios) > 0.5 and max(ratios) < 1.5,
)

# %% [markdown]
# ### What a unit really listens to
#
# A field of 435 pixels is what a unit of `conv17` *can* see. Luo and others showed that influence is
# concentrated in the middle of the field, in a shape like a Gaussian's [@luo2016]. We measure it:
# the squared gradient of the middle unit by every pixel, summed to 1 for an image, averaged over
# images and channels, before and after training:

# %%
count = chapter.at(smoke=4, quick=24, full=24)
spread = torch.linspace(0, len(pictures) - 1, count).long()
inputs = net.inputs(pictures)[spread]


def influence(network: ResNet18) -> torch.Tensor:
    side = capture(network, inputs[:1], ["conv17"])["conv17"].shape[-1]
    units = [Unit("conv17", c, side // 2, side // 2) for c in range(count)]
    gradients = project(network, inputs, units, "gradient")
    energy = torch.stack([p.full().square().sum(dim=0) for p in gradients])
    return (energy / energy.sum(dim=(1, 2), keepdim=True)).mean(dim=0)


# %% [markdown]
# Its root mean square distance from its own centre along an axis is the effective field's radius. A
# unit that listened to all pixels alike would have $\sqrt{(n^2 - 1) / 12}$ for a side of $n$ pixels:


# %%
def radius(energy: torch.Tensor) -> float:
    n = torch.arange(len(energy), dtype=energy.dtype)
    axes = [energy.sum(dim=1), energy.sum(dim=0)]
    variances = [(a * n**2).sum() - (a * n).sum() ** 2 for a in axes]
    return float(sum(variances) / 2) ** 0.5


shapes = {
    name: [influence(starting[name].eval()), influence(both[name].model)]
    for name in both
}
side = recipe.size
even = radius(torch.full((side, side), 1 / side**2))
assert abs(even - ((side**2 - 1) / 12) ** 0.5) < 0.01

# %% [markdown]
# So how much of the image is in use?

# %% tags=["hide-input"]
from internals.figures import comparison

show(
    comparison(
        [[e.sqrt()[None].numpy() for e in pair] for pair in shapes.values()],
        ["before training", "after training"],
        names=list(shapes),
        notes=[[f"radius {radius(e):.1f} px" for e in p] for p in shapes.values()],
        shared=False,
        caption="Where the middle unit of conv17 is sensitive: root of the mean squared gradient, "
        f"each picture on its own scale. All pixels alike would have a radius of {even:.1f} pixels. "
        "The image's border cuts the field off.",
        alt="Two rows of two blots, smooth and round before training, uneven and smaller after it.",
    ),
    "influence",
)  # fmt: skip
radii = {name: [radius(e) for e in pair] for name, pair in shapes.items()}
assert max(max(pair) for pair in radii.values()) < 1.1 * even
chapter.finding(
    "A unit that can see the whole image listens to its middle. The residual network's radius is "
    f"{radii['ResNet-18'][0]:.0f} pixels before training and {radii['ResNet-18'][1]:.0f} after it, "
    f"the plain one's {radii['plain'][0]:.0f} and {radii['plain'][1]:.0f}: the short paths keep "
    "influence near the centre, and training narrows both.",
    holds=all(pair[1] < pair[0] < 0.8 * even for pair in radii.values())
    and all(a < b for a, b in zip(*radii.values(), strict=True)),
)

# %% [markdown]
# ## Its mistakes
#
# Back to the answers. Which test images were taken for what?

# %% tags=["hide-input"]
from internals.book import most_confused, recall
from internals.figures import confusion

names = images.test.class_names
show(
    confusion(
        run.test.confusion,
        names,
        caption="Test images (rows) by the answer of ResNet-18 (columns), right answers muted.",
        alt="A ten by ten matrix of counts with its largest numbers on the diagonal.",
    ),
    "confusion",
)
counts, found = run.test.confusion, recall(run.test.confusion)
first, second = most_confused(counts)
chapter.finding(
    f"The two classes that are taken for one another most are {names[first]} and {names[second]}, "
    f"{counts[first, second] + counts[second, first]} times. "
    f"{names[found.argmin()].capitalize()} is recognised least, {percent(found.min())} of the time.",
    holds={names[first], names[second]} == {"cassette player", "gas pump"}
    and names[found.argmin()] == "chain saw",
)

# %% [markdown]
# And where was it most sure, and wrong?

# %% tags=["hide-input"]
from internals.book import worst_mistakes

show(
    worst_mistakes(
        run,
        images.test,
        n=15,
        caption="The most confident mistakes on test images: true class → answer, its probability "
        "and the image's number. Ask of each whether the answer is in the picture too, or whether "
        "something that often goes with it is.",
        alt="Images, each with its true class, another class as the answer, and a high "
        "probability.",
    ),
    "mistakes",
)

# %% [markdown]
# ## Looking inside
#
# Patches, projections and the way to read them are explained in
# [How to look](00_how_to_look.py#how-to-read-a-panel). The weights of the first layer can be looked
# at as they are:

# %% tags=["hide-input"]
from internals.figures import filters

show(
    filters(
        run.model.conv1.weight.detach().numpy(),
        caption="The 64 kernels of conv1, 7 × 7 pixels in three colours, on one scale with mid grey "
        "for 0. Look for three kinds: stripes without colour in several directions and widths, "
        "patches of one colour against another, and kernels that have stayed noise. The longer the "
        "training, the fewer of the last.",
        alt="A sheet of 64 small coloured squares, some striped, some blotches of colour, some "
        "noisy.",
    ),
    "conv1-filters",
)

# %% [markdown]
# ### What each channel looks for
#
# For the other layers we mine the training images, all of them at the full profile and 1,024 or 64
# of them, spread over all classes, at the smaller ones. What is ranked is the output of the
# convolution, before its normalisation:

# %%
available = len(pictures)
most = min(chapter.at(smoke=64, quick=1024, full=available), available)
mined = pictures.subset(torch.linspace(0, available - 1, most).long())
layers = [f"conv{n}" for n in (2, 4, 6, 8, 10, 13, 14, 15, 16, 17)]
top = net.strongest(mined, layers, k=9)

# %% [markdown]
# A normalisation keeps that order, but for channels that it gives a negative scale: those would be
# driven hardest by their weakest images. Are there any?

# %%
scales = {
    layer: run.model.get_submodule(layer.replace("conv", "bn")).weight
    for layer in layers
}
turned = {layer: int((scale[:6] < 0).sum()) for layer, scale in scales.items()}
print("turned round among the first six channels:", turned)

# %% [markdown]
# Nine pairs for each of six channels, by the guided rule.
#
# #### conv2
#
# The first convolution of the first block looks at 19 × 19 pixels through the maps of `pool1`. Its
# favourites are small enough to be described completely:

# %%
from internals.figures import panels

show(
    panels(
        net.patches(top["conv2"]),
        caption="Strongest patches and projections of conv2, the beginning of the first branch. Name for "
        "each row what all nine patches have: a direction, a colour, a contrast. If you cannot, the "
        "channel may answer to a mixture.",
        alt="Nine projections and patches for each of 6 channels of conv2: small patches with an "
        "edge, a line or a patch of colour.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# #### conv4
#
# The second block begins here, and what it receives is a sum: the maps of `pool1` and what the
# first block added to them, rectified:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv4"]),
        caption="Channels of conv4, with a field of 35 × 35 pixels. Compare with conv2: the patches are "
        "larger, but the projections often light up only a part of them. That part is what drove the "
        "unit; the rest is in its field, and made little difference.",
        alt="Nine projections and patches for each of 6 channels of conv4: patches of lines, "
        "corners and fine texture.",
    ),
    "conv4-strongest",
)

# %% [markdown]
# #### conv6
#
# `conv6` opens the second stage: stride 2, and twice as many channels. Beside it, on the shortcut,
# a 1 × 1 projection has to do with one pixel what `conv6` and `conv7` do with a neighbourhood:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv6"]),
        caption="Channels of conv6 in 51 × 51 pixels. Look for rows whose patches differ in class and "
        "colour but share an arrangement, such as parallel lines or a bright spot on dark ground.",
        alt="Nine projections and patches for each of 6 channels of conv6: patches with textures "
        "and simple shapes.",
    ),
    "conv6-strongest",
)

# %% [markdown]
# #### conv8
#
# The second block of the second stage, 83 × 83 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv8"]),
        caption="Channels of conv8. The classes printed with the patches begin to tell: count in how many "
        "rows one class fills most of the nine places, and compare with the rows above.",
        alt="Nine projections and patches for each of 6 channels of conv8: textures and parts of "
        "objects.",
    ),
    "conv8-strongest",
)

# %% [markdown]
# #### conv10
#
# The third stage begins, with 256 channels and fields of 115 pixels. Where the image is smaller
# than the field, from here on the whole image stands in the patch's place:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv10"]),
        caption="Channels of conv10. A field that exceeds the image is shown as the whole image, and the "
        "projection says where in it the unit found what it likes: look for rows in which that is the "
        "same part of the subject each time.",
        alt="Nine projections and patches for each of 6 channels of conv10: large patches or whole "
        "images.",
    ),
    "conv10-strongest",
)

# %% [markdown]
# #### conv13
#
# The end of the last branch of the third stage, with a field of 211 pixels. Its output is not
# rectified before it is added: a channel of `conv13` can take away as well as add, and what drives
# it hardest is only the one half of what it says.

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv13"]),
        caption="Channels of conv13. Read the classes first and the patches next; only then ask whether "
        "the projections point at the subject or at what usually surrounds it.",
        alt="Nine projections and patches for each of 6 channels of conv13: whole subjects or large "
        "parts of them.",
    ),
    "conv13-strongest",
)

# %% [markdown]
# #### conv14 to conv17
#
# The last stage has 512 channels for ten classes, and fields that reach beyond any image here: 243,
# 307, 371 and 435 pixels. Three channels each:

# %% tags=["hide-input"]
assert [field[f"conv{n}"] for n in (14, 15, 16, 17)] == [243, 307, 371, 435]
show(
    panels(
        net.patches(top["conv14"], range(3)),
        caption="Channels of conv14, the entrance of the last stage. Its stride of 32 leaves a coarse "
        "grid of places, so neighbouring subjects share a unit. See whether the projections still "
        "pick out a part, or cover the subject.",
        alt="Nine projections and patches for each of 3 channels of conv14: whole images with a "
        "projection of their most telling parts.",
    ),
    "conv14-strongest",
)

# %% [markdown]
# `conv15` ends a branch, and adds to the output of the last projection:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv15"], range(3)),
        caption="Channels of conv15, where a branch ends. What a channel lacks here may be carried by "
        "the projection beside it, so a row that mixes classes need not be a weak one.",
        alt="Nine projections and patches for each of 3 channels of conv15: whole images, often of "
        "one class a row.",
    ),
    "conv15-strongest",
)

# %% [markdown]
# `conv16` reads the sum:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv16"], range(3)),
        caption="Channels of conv16, inside the last block. Compare the values of the first and the "
        "ninth image in a row: a steep fall means a few images that suit the channel very well, a flat "
        "one a feature that is common.",
        alt="Nine projections and patches for each of 3 channels of conv16: whole images, often of "
        "one class a row.",
    ),
    "conv16-strongest",
)

# %% [markdown]
# After `conv17` there is one more addition, and then only the mean over all places:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv17"], range(3)),
        caption="Channels of conv17, the last convolution. What these units say is averaged over the "
        "image and weighed by class, so a channel is free to serve one class, or several.",
        alt="Nine projections and patches for each of 3 channels of conv17: whole images, often of "
        "one class a row.",
    ),
    "conv17-strongest",
)

# %% [markdown]
# What would these channels draw themselves? An image is made from noise, without a photograph, and
# changed step by step so that it drives the unit in the middle of the map as hard as it
# can:[@olah2017]

# %% tags=["hide-input"]
from internals.figures import beside_strongest, portraits
from internals.projection import middle_units

units = middle_units(net, top["conv17"].layer, range(3))
made = net.optimise(
    units, pictures=mined, steps=chapter.at(smoke=1, quick=48, full=256)
)
show(
    portraits(
        beside_strongest(net.patches(top["conv17"].head(1), range(3)), made),
        caption="Three channels of conv17: the image that drives each hardest, and one made from noise to "
        "drive its middle unit, with the value that each reaches. The second is nothing that the "
        "network has seen, and one of many that would do.",
        alt="For three channels of conv17 the strongest image beside an optimised one of "
        "coloured patterns made from noise.",
    ),
    "conv17-optimised",
)

# %% [markdown]
# Do classes really gather towards the top? For every channel of a layer, count the commonest class
# among its nine strongest images, and take the mean over all channels. The control is the same
# network with random weights, drawn from another seed than this run began with:

# %%
torch.manual_seed(chapter.seed + 1)
untrained = ResNet18().eval()
before = Network(untrained, normalization=run.normalization).strongest(
    mined, layers, k=9
)

# %% [markdown]
# Nine images drawn blindly have some of one class as well. What exceeds the untrained network's line
# was learned:

# %%
from internals.activations import class_purity

depth = np.array([int(layer[4:]) for layer in layers])
drawn = torch.randint(len(mined), (4096, 9))
by_lot = class_purity(drawn, mined.labels)
shares = {
    name: np.array(
        [class_purity(mining[layer].image, mined.labels) for layer in layers]
    )
    for name, mining in {"trained": top, "untrained": before}.items()
}

# %% [markdown]
# Layer by layer:

# %% tags=["hide-input"]
show(
    lines(
        depth,
        shares,
        xlabel="convolution",
        ylabel="share of the commonest class",
        caption="How many of its nine strongest images are of a channel's commonest class, as a "
        "share, mean over all channels of each layer, in the trained and in an untrained network. "
        f"Nine images drawn by lot have {by_lot:.0%}.",
        alt="Two lines over the convolutions 2 to 17: the trained network's share of the commonest "
        "class and, lower, the untrained one's.",
    ),
    "purity",
)
if chapter.profile != "smoke":
    assert shares["trained"][-1] > shares["untrained"][-1] + 0.05
chapter.finding(
    "Classes gather from conv8 on. In the last stage about "
    f"{9 * shares['trained'][-4:].mean():.0f} of nine images are of one class, in the untrained "
    f"network {9 * shares['untrained'][-4:].mean():.0f}; below conv8 training makes little "
    "difference.",
    holds=bool((shares["trained"] > shares["untrained"]).all())
    and shares["trained"][:3].max() < 0.5
    and shares["trained"][-4:].min() > 0.7,
)

# %% [markdown]
# ## Where did it see the class?
#
# Grad-CAM weighs the maps of a layer by how much their mean moves the class score
# [@selvaraju2017]. This network ends in a mean and a linear layer, so those weights are known: for
# class $c$ and $Z$ places they are the linear layer's own $w_k^c / Z$. Three images of different
# classes, from the strongest of `conv17`:

# %%
chosen: dict[int, int] = {}
for number in top["conv17"].image[:, 0].tolist():
    chosen.setdefault(int(mined.labels[number]), number)
three = mined.subset(torch.tensor(list(chosen.values())[:3]))
maps, scores = net.capture(three, ["relu17", "fc"]).values()
scores = scores.flatten(1)
answers = scores.argmax(dim=1)
cams = net.grad_cam(three, "relu17", classes=answers)

# %% [markdown]
# By hand:

# %%
weights = run.model.fc.weight[answers].detach()
places = maps[0, 0].numel()
by_hand = torch.einsum("nk,nkyx->nyx", weights, maps) / places
assert torch.allclose(by_hand.relu(), cams, atol=1e-4)

# %% [markdown]
# Two more answers to the same question. An occlusion map covers a square of about a sixth of the
# image and records what the score loses [@zeiler2014]; a saliency map is the gradient of the score
# by each pixel [@simonyan2014]:

# %%
from internals.projection import occlusion_map, upsampled

square = {"size": side // 6, "stride": side // 12}
covered = net.occlusion(three, answers, **square)
score = scores.gather(1, answers[:, None])[:, 0]
lost = occlusion_map(covered, score, (side, side), **square)
slopes = net.saliency(three, answers)
laid = upsampled(cams, (side, side), net.receptive_field("relu17"))
maps = zip(laid, lost, slopes, strict=True)

# %% [markdown]
# Where the three agree, the evidence is good:

# %% tags=["hide-input"]
from internals.figures import overlays

show(
    overlays(
        list(three.images.numpy() / 255),
        [[each.numpy() for each in trio] for trio in maps],
        ["Grad-CAM", "occlusion", "saliency"],
        names=[names[label] for label in answers],
        caption="Three training images with the network's answer, and where it rests on. Grad-CAM "
        "has the coarse grid of relu17; occlusion shows in amber what the score would lose, in blue "
        "what covering would help; saliency has every pixel and is noisy. Look for places that all "
        "three mark, and for context that counts although it is not the subject.",
        alt="Three rows: an image, a smooth blob from Grad-CAM, a signed map from occlusion and a "
        "speckled saliency map over it.",
    ),
    "evidence",
)

# %% [markdown]
# ## Which pictures to believe
#
# The control: replace the trained weights by untrained ones, from the top down, and project the
# same units of the same images again [@adebayo2018; @nie2018]. Here from `conv17`, then whole
# stages at a time, to the first layer, for the strongest unit of each of the first channels:

# %%
order = [name for name, _ in run.model.named_children()]
lowest = {"conv17": "conv17", "+ stage 4": "conv14", "+ stage 3": "conv10",
          "+ stage 2": "conv6", "all": "conv1"}  # fmt: skip
stages, end = {}, order.index("conv17") + 1
for title, layer in lowest.items():
    stages[title] = order[order.index(layer) : end]
    end = order.index(layer)
units = top["conv17"][: count // 2].head(1)
control = net.sanity(mined, units, untrained=untrained, stages=stages)
titles = ["trained", *stages]

# %% [markdown]
# Each picture with the rank correlation of its magnitudes with the trained one's, the mean over all
# these units:

# %% tags=["hide-input"]
show(
    comparison(
        control.pictures(),
        titles,
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption="The strongest unit of channel 0 of conv17, projected as trained and with more and "
        "more weights replaced by those of an untrained network. ρ is the rank correlation with the "
        f"first column, mean of {len(units)} units. What is still there in the last column was not learned.",
        alt="Three rows of six projections, for gradient, deconvnet and guided; each row changes "
        "from left to right as layers lose their trained weights.",
    ),
    "control",
)  # fmt: skip

# %% [markdown]
# The guided picture of the unit shows the same letters with and without training. The numbers, for
# all of these units:

# %% tags=["hide-input"]
left = dict(zip(control.names, control.magnitudes.mean(axis=2), strict=True))
show(
    Table.of(
        ("rule", *titles),
        [(rule, *(f"{x:.2f}" for x in row)) for rule, row in left.items()],
        caption="Rank correlation with the trained projection as the network forgets, mean of "
        f"{len(units)} units. A row that stays high says that its pictures owe little to the layers they are "
        "said to show.",
    ),
    "control-numbers",
)
if chapter.profile != "smoke":
    assert left["guided"][2] > left["gradient"][2]
chapter.finding(
    "Take the weights of the whole last stage away, and the guided projections hardly change "
    f"(ρ {left['guided'][2]:.2f}). With all weights untrained {left['guided'][-1]:.2f} is left. "
    "The rule shows edges of the image near the unit's place, whatever the network has learned; "
    "the gradient shows more of the network, and is harder to read.",
    holds=left["guided"][2] > 0.9
    and left["guided"][-1] > left["gradient"][-1]
    and left["guided"][-1] > 0.6,
)

# %% [markdown]
# ## Key features
#
# - **A branch that adds.** $y = F(x) + x$: to pass a signal on, a block has nothing to learn.
# - **Shortcuts without parameters.** Identity where shapes agree, zeros or a 1 × 1 projection where
#   they do not: 11,515,688 weights with or without them, 11,689,512 with projections.
# - **Normalisation after each convolution.** It keeps signals and gradients in range, in the plain
#   network as in the residual one. The shortcut is for what remains: degradation with depth.
# - **Many paths.** Fields from 11 to 435 pixels end in the same unit.
# - **A mean instead of wide layers at the end.** Grad-CAM is then exact: the linear layer's weights.
#
# ## Do this with your own network
#
# Blocks that add are traced like any others. `mine:network` stands for the function or class
# `network` in your file `mine.py`. Before you believe a projection, take the network's weights away
# and see what is left of it:
#
# ```python
# from internals import Network, read_folder
#
# net = Network.open("mine:network", weights="mine.pth")
# photos = read_folder("photos")
# top = net.strongest(photos, ["conv2"], k=3)["conv2"]
# control = net.sanity(photos, top[:4].head(1))
# print(control.magnitudes.mean(axis=2))  # 1: all of the trained picture is left
# ```
#
# ```sh
# internals project mine:network --weights mine.pth --layer conv2 \
#     --images photos --out panel.png
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
#
# ## Exercises
#
# 1. Delete one branch of the trained network by setting the scale of its second normalisation to
#    zero, and measure the accuracy on the held-out images; then do it for each branch, and for the
#    same pairs of layers of the plain network. Which can do without which?
# 2. Train `resnet18-a`, option A. Do the free shortcuts cost accuracy?
# 3. Draw the influence of units of `conv9` before and after training. Does the effective field fill
#    more of a smaller field?
#
# With the depth settled, the next question was the price: what if the network must run on a
# telephone? That is [MobileNet](06_mobilenet.py).
