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
# In 2015 Kaiming He, Xiangyu Zhang, Shaoqing Ren and Jian Sun led a shortcut round every two or three
# convolutions [@he2016]. It carries the signal on unchanged, and the convolutions compute only what is
# to be added. Networks of 152 layers could then be trained. Six residual networks of different depths,
# combined, won the ImageNet challenge of that year with 3.57 % top-5 errors. The network of this
# chapter has 18 layers. It is the shallowest that the paper trains on ImageNet, beside a plain network
# of the same layers without shortcuts.
#
# **What you will see**
#
# - what the shortcut is for, in the paper's own words. With normalisation, gradients do not vanish
#   without a shortcut either: before training the plain network's are as healthy;
# - a block that passes on exactly what it gets, and 256 paths through eight blocks;
# - ResNet-18 and its plain twin trained side by side. The residual network learns faster and ends
#   better, and every block adds much to what its shortcut carries;
# - what drives the channels of ten layers, and how classes gather with depth. In more than a third of the
#   channels of the last stage all nine strongest images are of one class. With random weights they
#   are in none;
# - guided projections that keep a rank correlation above 0.9 with the trained ones when the last stage
#   gets random weights.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The images
#
# The data are those of [AlexNet](02_alexnet.py#the-photographs): ten classes, ImageNet's photographs of
# them or, where those are missing, the stand-in of drawn shapes. In the copy used here the photographs
# are squeezed to squares, as explained there. The recipe says how large they are kept:

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
# If more layers are put on a good network, it should not get worse: the new layers need only pass on
# what they receive. In the paper's experiments it did get worse. The cause was not that it learned its
# training images too well. A plain network of 34 layers made *more* errors than one of 18 on the very
# images that both were trained on. It also made more on new images, and the table has these:

# %% tags=["hide-input"]
from internals.figures import Table

show(
    Table.of(
        ("layers", "plain", "residual"),
        [("18", "27.94 %", "27.88 %"), ("34", "28.54 %", "25.03 %")],
        caption="The paper's table 2: top-1 errors on ImageNet's validation images, mean of ten "
        "crops. More depth makes the plain network worse and the residual one better. At 18 layers "
        "the two are alike. This chapter trains networks of 18 layers only and does not repeat this "
        "experiment.",
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
# All the same, the shortcut is often explained as a cure for vanishing gradients. We measure the
# gradients of both networks [further down](#are-the-gradients-healthy).
#
# The paper has another thought (section 3.1). For a pair of convolutions with a rectifier between them
# it may be hard to learn to pass a signal on unchanged. A plain pair of the first stage would have to
# find, among all settings of its 73,728 weights, one that copies:

# %%
import torch

from internals.models import ResNet18

torch.manual_seed(chapter.seed)
resnet = ResNet18().eval()
pair = resnet.conv2.weight.numel() + resnet.conv3.weight.numel()
assert pair == 73_728

# %% [markdown]
# With a shortcut this does not have to be learned.
#
# ## A block
#
# Let $x$ be what a pair of convolutions receives. They compute $F(x)$, which is added to $x$ (equation 1
# of the paper), and a second rectifier follows the sum:
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
# the first rectifier is part of $F$:


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
# Now it takes very little to pass $x$ on. Before training the shift of the second normalisation is
# zero. With its scale at zero too, $F$ is zero. What has been through one rectifier goes through the
# next one unchanged:

# %%
torch.nn.init.zeros_(resnet.bn3.weight)
with torch.no_grad():
    assert torch.equal(first_block(maps["pool1"]), maps["pool1"])

# %% [markdown]
# ## Eight blocks
#
# ResNet-18 has eight of these blocks. Before them one 7 × 7 convolution and one pooling bring the image
# to a quarter of its side. After them come the mean of each map and one linear layer, where VGG-16 has
# three, two of them with 4,096 units:

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
        caption="ResNet-18 for the paper's 224 × 224 pixels. Maps are drawn to scale, vectors are not. Four "
        "stages of two blocks each. The first block of the second, third and fourth stage halves the "
        "maps' sides and doubles their number. The shortcuts, which are in the figure before, are not "
        "drawn.",
        alt="Nine stages from a 224 by 224 image to ten outputs: 64 maps of 112 and of 56, then "
        "128 maps of 28, 256 of 14, 512 of 7, and vectors of 512 and 10 units.",
    ),
    "architecture",
)

# %% [markdown]
# Where the maps change size, $x$ and $F(x)$ no longer have the same shape. The paper has two remedies.
# Option A takes every second row and column of $x$ and fills the new channels with zeros, without any
# weight. Option B learns a 1 × 1 convolution $W$ with stride 2,
#
# $$
# y = F(x) + W x .
# $$
#
# The plain twin has no shortcut, and is otherwise the same. With the paper's 1,000 classes:

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
# The paper's table 1 says 1.8 × 10⁹ multiply-adds. Option A and the plain twin have the same number of
# weights, which makes their comparison fair:

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
assert counted["B, projections"][1] - counted["A, zeros"][1] == 173_824

# %% [markdown]
# This chapter trains option B, the form of the paper's deeper networks, with ten classes. So its
# ResNet-18 has 173,824 parameters that the plain twin lacks, in projections and their normalisations.
# Its layers one by one, without normalisations and rectifiers:

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
        "costs 115,605,504 multiply-adds in every stage, and half of that where it opens the second, "
        "third or fourth. Fields are those of the longest path to a layer.",
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
# Through each block there are two ways, the branch and the shortcut, so eight blocks have 2⁸ paths.
# Veit, Wilber and Belongie read a residual network as the collection of all its paths, most of them
# much shorter than the network is deep [@veit2016]. Short paths also see less. How much each branch
# widens the field follows from the table:

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
assert sum(size < 224 for size in sizes) == 128

# %% [markdown]
# A unit of the last block can see 435 pixels, by many paths at once, and only one of them has the whole
# field:

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
        "shortcuts and sees 11 × 11 pixels, and one takes none and sees 435 × 435. Half of the "
        "paths see less than the 224 × 224 pixels of the paper's image.",
        alt="A rising curve from 11 to 435 pixels over 256 paths, steepest at both ends, which "
        "crosses the level of 224 pixels in the middle.",
    ),
    "paths",
)

# %% [markdown]
# The shortest path can be tested. With the scales of all eight branches at zero only the shortcuts are
# left, and a unit at the top may depend on no more than 11 × 11 pixels:

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
# | initial weights | He et al. [@he2015] | likewise, but a deviation of 0.005 in conv1 |
# | optimiser | SGD, a tenth at each plateau | AdamW [@loshchilov2019], warm-up and cosine |
# | tested on | ten crops | one crop |
#
# ## Training
#
# One recipe holds for both networks:

# %% tags=["hide-input"]
from internals.training import hyperparameters

show(
    Table.of(
        ("hyperparameter", "here", "the paper"),
        hyperparameters(recipe, images.train),
        caption="The recipe of both runs below and the paper's. Learning rates of different optimisers "
        "cannot be compared; ours rises during the share of the steps called warm up. Sizes are earlier "
        "phases of the training with smaller images, as the side in pixels and a share of the epochs. An "
        "average of weights is the decay per step of a moving average; where there is one, it is what is "
        "scored and kept.",
    ),
    "recipe",
)

# %% [markdown]
# Both networks are trained by the same call; only the name differs. Weights are kept, so a second
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
# The paper finds little difference at 18 layers: "the 18-layer plain/residual nets are comparably
# accurate", and the residual one "converges faster" early on (section 4.1). In our runs we look at the
# loss of every epoch, and at the test images that only one of the two networks names rightly:

# %%
losses = np.array([r.history.column("train_loss") for r in both.values()])
lower = int((losses[0] < losses[1]).sum())
sooner = int((losses[0] < losses[1].min()).argmax()) + 1
truth = images.test.labels.numpy()[: len(run.test.predicted)]
right = [r.test.predicted == truth for r in both.values()]
alone = [int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())]
scores = {k: r.test.top1 for k, r in both.items()}
if chapter.profile != "smoke":
    assert min(scores.values()) > 0.25

# %% [markdown]
# Both networks, epoch by epoch:

# %% tags=["hide-input"]
from internals.figures import curves

sides = ", ".join(map(str, dict.fromkeys(run.history.column("size"))))
lead = 100 * (scores["ResNet-18"] - scores["plain"])
kept = {k: r.history.best.number for k, r in both.items()}
show(
    curves(
        loss={k: r.history.column("train_loss") for k, r in both.items()},
        accuracy={
            k: r.history.column("validation_top1") for k, r in both.items()
        },
        caption="Training loss (left) and accuracy on training images held out (right) by epoch, for "
        "the residual network and its plain twin, with the same recipe and the same batches. Sides of "
        f"the training images, one after the other: {sides} pixels.",
        alt="Two charts by epoch with two curves each, residual and plain: training losses, and "
        "accuracies on held-out images.",
    ),
    "training",
)
chapter.finding(
    "In these two runs the residual network learns faster, as the paper says. Its training loss is the "
    f"lower one in {lower} of {losses.shape[1]} epochs, and first falls below the plain network's lowest in "
    f"epoch {sooner}. It also ends better, by {lead:.1f} points of the test images, where the paper's two "
    f"networks end alike. By the held-out images epochs {kept['ResNet-18']} and {kept['plain']} are kept.",
    holds=lower >= 0.9 * losses.shape[1]
    and bool(losses[0].min() < losses[1].min())
    and alone[0] - alone[1] > 4 * sum(alone) ** 0.5,
)

# %% [markdown]
# This is one run each. How much another seed would move the difference is not measured. The lines below
# the table say how much other test images might move it. The paper's scores are for a thousand classes and
# cannot be compared with ours:

# %% tags=["hide-input"]
from internals.figures import percent

starts = {k: r.history.epochs[0].validation_top1 for k, r in both.items()}
show(
    Table.of(
        ("network", "this chapter, after one epoch", "this chapter, test", "the paper, ImageNet"),
        [
            ("ResNet-18", percent(starts["ResNet-18"]), percent(scores["ResNet-18"]), "72.12 %"),
            ("plain, 18 layers", percent(starts["plain"]), percent(scores["plain"]), "72.06 %"),
        ],
        caption="Top-1 accuracy. Here: ten classes, one run each, held-out images after one epoch and "
        f"{len(run.test.predicted):,} test images at the end. The paper (its table 2 again, as shares "
        "that are right): 1,000 classes, ten crops, shortcuts of option A.",
    ),
    "scores",
)  # fmt: skip
print(
    f"{alone[0]} test images are named rightly by the residual network alone, and {alone[1]} by the",
    "plain one alone. If the two were equally good, the difference of these numbers would have a",
    f"standard deviation of {sum(alone) ** 0.5:.0f}.",
    sep="\n",
)

# %% [markdown]
# A fairer comparison is with other networks that are trained on Imagenette alone. The data set's own
# table has 91.6 % after 20 epochs at 128 pixels and 94.2 % after 200, for a larger and later residual
# network [@howard2019]. The photographs there are not squeezed, and none is held out of the training.
#
# ### Are the gradients healthy?
#
# For one batch and before any step of training, we take the norm of the gradient of every
# convolution's weights. A third network stands beside the two: the plain one without its
# normalisation, with the weights that torch draws by default. These are larger than ours in `conv1` and
# smaller in all other layers:

# %%
from copy import deepcopy

from torch.nn import functional

from internals import Network

nets = {name: Network.of(trained_run) for name, trained_run in both.items()}
net = nets["ResNet-18"]
pictures = run.pipeline.view(images.train)
some = pictures.subset(torch.linspace(0, len(pictures) - 1, 32).long())


def gradient_norms(network: ResNet18) -> np.ndarray:
    copied = deepcopy(network).train()  # training mode changes its statistics
    loss = functional.cross_entropy(copied(net.inputs(some)[:]), some.labels)
    weights = [copied.get_submodule(f"conv{n}").weight for n in range(1, 18)]
    gradients = torch.autograd.grad(loss, weights)
    return np.array([gradient.norm().item() for gradient in gradients])


# %% [markdown]
# All three have random weights, drawn from another seed than the runs began with:

# %%
torch.manual_seed(chapter.seed + 1)
starting = {
    "ResNet-18": ResNet18(),
    "plain": ResNet18(shortcut="none"),
    "no BN, torch's weights": ResNet18(shortcut="none"),
}
third = starting["no BN, torch's weights"]
for name, layer in list(third.named_children()):
    if name.startswith("bn"):
        setattr(third, name, torch.nn.Identity())
    elif name.startswith("conv") and layer is not None:
        layer.reset_parameters()
norms = {name: gradient_norms(fresh) for name, fresh in starting.items()}

# %% [markdown]
# The gradient of a layer's weights is a product: of the signal that arrives from below, and of the
# gradient that comes back from above. So we also measure how the third network's signal changes on its
# way up, and how its weights compare with ours:


# %%
def deviations(network: ResNet18) -> np.ndarray:
    drawn = [network.get_submodule(f"conv{n}").weight for n in range(1, 18)]
    return np.array([weight.std().item() for weight in drawn])


low_and_high = capture(third, net.inputs(some)[:], ["relu1", "relu16"])
signal = [maps.std().item() for maps in low_and_high.values()]
healthy = np.array([norms["ResNet-18"], norms["plain"]])
weak = norms["no BN, torch's weights"]
assert healthy.min() > 1e-3 > 10 * weak.max()
wider = deviations(third) / deviations(starting["plain"])
assert wider[0] > 1 > wider[1:].max()

# %% [markdown]
# Where a normalisation follows, the gradient of a layer is larger the smaller its weights are, because
# the normalisation undoes their scale. `conv1` begins with the smallest weights, so its gradients are the
# largest, and they are given apart:

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
        "normalisation and with the weights that torch draws by default. Their deviation is "
        f"{wider[0]:.1f} times that of ours in conv1 and {wider[1:].min():.2f} to {wider[1:].max():.2f} "
        "times in the other layers.",
        alt="Three lines over seventeen convolutions: those of the residual and the plain network lie "
        "close together, and that of the network without normalisation lies far below them.",
    ),
    "gradients",
)
spans = [f"{row[1:].min():.2g} to {row[1:].max():.2g}" for row in healthy]
chapter.finding(
    "The shortcut is not what keeps the gradients alive. From conv2 to conv17 their norms are "
    f"{spans[0]} in the residual network and {spans[1]} in the plain one; in conv1 they are "
    f"{healthy[0, 0]:.2g} and {healthy[1, 0]:.2g}. Only the third network's are small in every layer, "
    f"{weak[-1]:.0e} in conv17 and {weak[0]:.0e} in conv1. Its signal falls from a deviation of "
    f"{signal[0]:.2g} after conv1 to {signal[1]:.0e} after conv16. It lacks the normalisation and the "
    "first weights of the other two, and which of them it misses is not shown.",
    holds=bool(
        healthy[:, 1:].min() > 0.1
        and healthy[:, 1:].max() < 10
        and (healthy[:, 0] > healthy[:, 1:].max(axis=1)).all()
        and weak.max() < 1e-3 * healthy.min()
    )
    and signal[1] < 1e-3 * signal[0],
)

# %% [markdown]
# ### How large are the responses?
#
# If shortcuts carry what is there already, the branches may have less to add. The paper looked at the
# standard deviation of each 3 × 3 convolution's output after normalisation, and found it to be
# generally smaller in residual networks (its figure 7, networks of 20 to 110 layers on CIFAR-10). Here
# are ours:

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
        levels={"at the start": 1.0},
        caption="The standard deviation of each convolution's normalised output after training, over "
        "32 training images, before rectifier and addition. Every normalisation starts with a deviation "
        "of 1, the dashed line. The vertical axis does not begin at 0.",
        alt="Two lines over seventeen convolutions, one for the residual and one for the plain "
        "network, and a dashed level at one.",
    ),
    "responses",
)
speaks, plainly = responses["ResNet-18"][1:], responses["plain"][1:]
opens, ends = speaks[::2], speaks[1::2]
chapter.finding(
    "The responses of the residual network are not clearly smaller here. Over conv2 to conv17 their mean "
    f"is {speaks.mean():.2f}, and in the plain network {plainly.mean():.2f}. In "
    f"{int((ends < opens).sum())} of the eight blocks the convolution that is added has a smaller "
    "response than the one before it.",
    holds=bool(speaks.mean() > 0.95 * plainly.mean()),
)

# %% [markdown]
# Here is the second block at work on one image, in the first eight of its 64 channels:

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
        caption="One training image in the second block, channels 0 to 7. The first row of maps is what "
        "arrives and is carried on, the second what conv4 and conv5 add to it, of either sign, and the "
        "third their sum, rectified. Where the second row is mid grey, the block passes on what it got.",
        alt="An image and three rows of eight feature maps; the last row is the sum of the two "
        "above it without its negative parts.",
    ),
    "one-block",
)
assert torch.allclose(
    (maps["relu3"] + maps["bn5"]).relu(), maps["relu5"], atol=1e-5
)

# %% [markdown]
# How large is what a block adds, beside what it is added to? Both are measured by their root mean square:

# %%
branches = [f"bn{n}" for n in range(3, 18, 2)]
carried = ["pool1", "relu3", "bn_proj1", "relu7", "bn_proj2", "relu11",
           "bn_proj3", "relu15"]  # fmt: skip
maps = net.capture(some, branches + carried)
size = {layer: m.square().mean().sqrt().item() for layer, m in maps.items()}
ratios = [size[b] / size[x] for x, b in zip(carried, branches, strict=True)]

# %% [markdown]
# Block by block:

# %% tags=["hide-input"]
show(
    Table.of(
        ("block", "carried by", "its size", "size of F(x)", "ratio"),
        [
            (f"conv{2 * n + 2}, conv{2 * n + 3}", x, size[x], size[branches[n]], ratios[n])
            for n, x in enumerate(carried)
        ],
        caption="Root mean square of the shortcut and of the branch in each block of the trained "
        "network. In three blocks the shortcut is a projection.",
    ),
    "branches",
)  # fmt: skip
chapter.finding(
    "No block adds little. What is added is "
    f"{min(ratios):.2f} to {max(ratios):.2f} times as large as what it is added to. The idea of small "
    "corrections to a signal that runs through does not fit this network. Its normalisation starts every "
    f"branch at a deviation of 1. After training the branches have {ends.min():.2f} to {ends.max():.2f}.",
    holds=min(ratios) > 0.4 and bool(ends.min() > 0.5),
)

# %% [markdown]
# ### How much of its field a unit uses
#
# A field of 435 pixels is what a unit of `conv17` *can* see. Luo and others showed that influence is
# concentrated in the middle of a field, in a shape like a Gaussian's [@luo2016]. We measure it by the
# squared gradient of the middle unit with respect to every pixel. Each of 24 images is paired with one
# of the first 24 channels. The squares of a pair are scaled to sum to 1, and the pairs are averaged.
# This is done with random weights and after training:

# %%
count = chapter.at(smoke=4, quick=24, full=24)
spread = torch.linspace(0, len(pictures) - 1, count).long()
inputs = net.inputs(pictures)[spread]
middle = recipe.size // 64  # of a map with a unit for every 32 pixels


def influence(network: ResNet18) -> torch.Tensor:
    units = [Unit("conv17", c, middle, middle) for c in range(count)]
    gradients = project(network, inputs, units, "gradient")
    energy = torch.stack([p.full().square().sum(dim=0) for p in gradients])
    return (energy / energy.sum(dim=(1, 2), keepdim=True)).mean(dim=0)


# %% [markdown]
# The radius of the influence is its root mean square distance from its own centre, along one axis. A
# unit that used all pixels alike would have a radius of $\sqrt{(n^2 - 1) / 12}$ for a side of $n$
# pixels:


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
# How much of the image is in use?

# %% tags=["hide-input"]
from internals.figures import comparison

radii = {name: [radius(e) for e in pair] for name, pair in shapes.items()}
upper, _, below, _ = net.receptive_field("conv17").box(middle, middle)
show(
    comparison(
        [[e.sqrt()[None].numpy() for e in pair] for pair in shapes.values()],
        ["random weights", "after training"],
        names=list(shapes),
        notes=[[f"radius {r:.1f} px" for r in pair] for pair in radii.values()],
        shared=False,
        caption="Where the middle unit of conv17 is sensitive: root of the mean squared gradient, "
        f"each picture on its own scale. Its field is centred on pixel {(upper + below - 1) / 2:.0f} of "
        f"{side} in both directions. The field is larger than the image, which cuts it off.",
        alt="Two rows of two blots, one row for each network, with random weights and after training.",
    ),
    "influence",
)  # fmt: skip
residual_radii, plain_radii = radii["ResNet-18"], radii["plain"]
chapter.finding(
    "A unit that can see the whole image uses part of it. The radius of its influence is "
    f"{residual_radii[0]:.0f} pixels with random weights and {residual_radii[1]:.0f} after training in "
    f"the residual network, {plain_radii[0]:.0f} and {plain_radii[1]:.0f} in the plain one. If it used "
    f"all pixels alike, the radius would be {even:.0f}.",
    holds=max(*residual_radii, *plain_radii) < 0.85 * even,
)

# %% [markdown]
# ## Its mistakes
#
# Here is what the residual network takes the test images for:

# %% tags=["hide-input"]
from internals.book import most_confused, recall
from internals.figures import confusion

names = images.test.class_names
show(
    confusion(
        run.test.confusion,
        names,
        caption="Test images (rows) by the answer of ResNet-18 (columns), right answers muted.",
        alt="A ten by ten matrix of counts; the diagonal holds what is right.",
    ),
    "confusion",
)
counts, found = run.test.confusion, recall(run.test.confusion)
first, second = most_confused(counts)
print(
    f"The two classes taken for one another most are {names[first]} and {names[second]}:",
    f"{counts[first, second] + counts[second, first]} test images.",
    f"{names[found.argmin()].capitalize()} is recognised least, {percent(found.min())} of the time.",
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
        n=15,
        caption="The wrong answers on test images that the network gives the highest probability, 15 at "
        "most: true class → answer, its probability and the image's number.",
        alt="Misnamed test images, each with its true class, the answer and its probability.",
    ),
    "mistakes",
)
surest = surest_mistakes(run, images.test, 15)
answered = np.bincount(run.test.predicted[surest], minlength=10)
print(
    f"The answer to {answered.max()} of these {len(surest)} images is {names[answered.argmax()]}.",
    f"They are the surest of {round((1 - run.test.top1) * len(run.test.predicted))} mistakes.",
    sep="\n",
)

# %% [markdown]
# ## Looking inside
#
# Patches, projections and the way to read them are explained in
# [How to look](00_how_to_look.py#how-to-read-a-panel).
#
# ### The filters of conv1
#
# Only the weights of the first layer act on colours, so only they can be looked at as they are. In an
# edge, a broad stripe or a border of two colours, weights that lie side by side in a row are alike. In
# noise they are not. A plain colour is no pattern, so the mean of each colour is taken off first. The
# control for this, for the classes and for the projections below is a network of random weights, drawn
# from another seed than this run began with:

# %%
torch.manual_seed(chapter.seed + 1)
untrained = ResNet18().eval()
alike, plain_part = {}, {}
for name, network in {"trained": run.model, "random": untrained}.items():
    weights = network.conv1.weight.detach()
    centred = weights - weights.mean(dim=(2, 3), keepdim=True)
    pattern = centred.square().mean(dim=(1, 2, 3))
    beside = (centred[..., 1:] * centred[..., :-1]).mean(dim=(1, 2, 3))
    alike[name] = beside / pattern
    plain_part[name] = 1 - pattern / weights.square().mean(dim=(1, 2, 3))

# %% [markdown]
# All 64 filters:

# %% tags=["hide-input"]
from internals.figures import filters

show(
    filters(
        run.model.conv1.weight.detach().numpy(),
        caption="The 64 filters of conv1, 7 × 7 pixels in three colours, on one scale with mid grey "
        "for 0. Filters 16, 18, 23, 27, 36 and 40 are bars in two directions, 22, 26, 38 and 42 plain "
        "colours, 52 and 54 checks. Others, as 5, 11 and 47, are still little more than speckle, the "
        "noise that they began as.",
        alt="Four rows of sixteen small squares of seven by seven coloured pixels.",
    ),
    "conv1-filters",
)
held = {name: int((each > 0.5).sum()) for name, each in alike.items()}
chapter.finding(
    "Training has made the filters smoother than noise. Less each colour's mean, weights side by side have "
    f"a correlation of {alike['trained'].median():.2f} in the median filter, and of "
    f"{alike['random'].median():.2f} in a network of random weights. It is above 0.5 in "
    f"{held['trained']} of the 64 filters, and in {held['random']} of the random ones. The plain colour "
    f"makes up {percent(float(plain_part['trained'].median()), 0)} of the squared weights of the median "
    f"filter, and with random weights {percent(float(plain_part['random'].median()), 0)}.",
    holds=bool(alike["trained"].median() > alike["random"].median() + 0.2),
)

# %% [markdown]
# ### What drives each channel
#
# For ten of the other layers we search the training images for those that drive each channel hardest. At the
# full profile these are all training images, at the smaller ones 1,024 or 64 of them, spread over all
# classes. Channels are ranked by the output of the convolution, before its normalisation:

# %%
available = len(pictures)
most = min(chapter.at(smoke=64, quick=1024, full=available), available)
mined = pictures.subset(torch.linspace(0, available - 1, most).long())
layers = [f"conv{n}" for n in (2, 4, 6, 8, 10, 13, 14, 15, 16, 17)]
top = net.strongest(mined, layers, k=9)

# %% [markdown]
# A normalisation keeps that order where its scale is positive. Where the scale is negative, the images
# found here are those that silence the channel. Here is how many channels are turned round in this way:

# %%
turned = [
    run.model.get_submodule(layer.replace("conv", "bn")).weight < 0
    for layer in layers
]
print(
    f"{sum(int(scale.sum()) for scale in turned)} of {sum(map(len, turned)):,}",
    f"channels have a negative scale, {sum(int(scale[:6].sum()) for scale in turned)}",
    "of them among the first six of their layer.",
)

# %% [markdown]
# The panels show the first six channels of a layer, and of the last four layers the first three, so none
# was picked. Projections are guided. The captions say from how many of the ten classes the nine images
# of each row come:

# %%
from internals.activations import class_counts

rows_shown = dict(zip(layers, [6] * 6 + [3] * 4, strict=True))
classes_of = {}
for layer, rows in rows_shown.items():
    counts = class_counts(top[layer].image[:rows], mined.labels).tolist()
    classes_of[layer] = ", ".join(map(str, counts))

# %% [markdown]
# #### conv2
#
# The first convolution of the first block reads the maps of `pool1` and sees 19 × 19 pixels:

# %%
from internals.figures import panels

show(
    panels(
        net.patches(top["conv2"]),
        caption="The nine strongest patches of six channels of conv2, 19 × 19 pixels, under their guided "
        "projections. Most patches of channel 0 have a dark level line, those of 1 are blue or turquoise, those "
        "of 2 have a light level stripe above black. In 3 black lies above white, and in 4 the border of "
        "the two slants down to the right. The nine images of a row come from "
        f"{classes_of['conv2']} classes.",
        alt="Nine projections and patches of nineteen pixels for each of 6 channels of conv2.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# #### conv4
#
# The second block begins here. It receives a sum, the maps of `pool1` and what the first block added to
# them, rectified. Through the first block a unit of `conv4` sees 35 pixels, and past it 19:

# %% tags=["hide-input"]
assert field["conv4"] == 35
assert field["conv4"] - (field["conv3"] - field["pool1"]) == 19
show(
    panels(
        net.patches(top["conv4"]),
        caption="Six channels of conv4, patches of 35 × 35 pixels under their guided projections. Most patches "
        "of channel 0 have a dark stroke on white, of 1 and 3 something dark in a light frame, of 2 the left "
        "edge of something white and round, and of 4 a level edge with light below it. The nine images of a "
        f"row come from {classes_of['conv4']} classes.",
        alt="Nine projections and patches of thirty-five pixels for each of 6 channels of conv4.",
    ),
    "conv4-strongest",
)

# %% [markdown]
# #### conv6
#
# `conv6` opens the second stage, with stride 2 and twice as many channels. Beside it, on the shortcut, a
# 1 × 1 projection brings $x$ to the same shape:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv6"]),
        caption="Six channels of conv6, patches of 51 × 51 pixels. Its units are 8 pixels apart. Hardly a theme "
        "can be named here by eye. The nine images of a row come from "
        f"{classes_of['conv6']} classes.",
        alt="Nine projections and patches of fifty-one pixels for each of 6 channels of conv6.",
    ),
    "conv6-strongest",
)

# %% [markdown]
# #### conv8
#
# The second block of the second stage sees 83 × 83 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv8"]),
        caption="Six channels of conv8, patches of 83 × 83 pixels. Where a field reaches over the border of "
        "the image, its patch has no pixels; the network has zeros there. Most patches of channel 5 have "
        "something round and white in their lower half, mostly golf balls. The nine images of a row come "
        f"from {classes_of['conv8']} classes.",
        alt="Nine projections and patches of eighty-three pixels for each of 6 channels of conv8.",
    ),
    "conv8-strongest",
)

# %% [markdown]
# #### conv10
#
# The third stage begins, with 256 channels and fields of 115 pixels, about half of the side of the
# paper's images:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv10"]),
        caption="Six channels of conv10, patches of 115 × 115 pixels, or whole images where these are "
        "smaller. Channel 0 has mostly buildings before a light sky, 4 golf balls, and 5 tenches in "
        "somebody's hands; round things recur in 1, wheels and knobs. The nine images of a row come from "
        f"{classes_of['conv10']} classes.",
        alt="Nine projections and patches of 115 pixels, or whole images, for each of 6 channels of conv10.",
    ),
    "conv10-strongest",
)

# %% [markdown]
# #### conv13
#
# The last branch of the third stage ends here, with a field of 211 pixels. Its output is normalised and
# added without a rectifier, so negative values count as well. The panel shows the largest
# values only:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv13"]),
        caption="Six channels of conv13, patches of 211 × 211 pixels, or whole images where these are "
        "smaller. Channel 5 has nine tenches, each of them held by somebody, 3 and 4 mostly French horns, and "
        "2 mostly gas pumps; channel 0 has sky above grass or a building. The nine images of a row come from "
        f"{classes_of['conv13']} classes.",
        alt="Nine projections and large patches or whole images for each of 6 channels of conv13.",
    ),
    "conv13-strongest",
)

# %% [markdown]
# #### conv14 to conv17
#
# The last stage has 512 channels for ten classes, and fields that are wider than any image here: 243,
# 307, 371 and 435 pixels. So the images are shown whole. Three channels each:

# %% tags=["hide-input"]
assert [field[f"conv{n}"] for n in (14, 15, 16, 17)] == [243, 307, 371, 435]
show(
    panels(
        net.patches(top["conv14"], range(3)),
        caption="Three channels of conv14, the first convolution of the last stage. Its units are 32 pixels "
        "apart. Channel 0 has nine churches before the sky, 1 and 2 mostly tenches, which are held in 1. The "
        f"nine images of a row come from {classes_of['conv14']} classes.",
        alt="Nine projections and whole images for each of 3 channels of conv14.",
    ),
    "conv14-strongest",
)

# %% [markdown]
# `conv15` ends a branch, which is added to the output of the last projection:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv15"], range(3)),
        caption="Three channels of conv15. They show what the branch adds, and not what the block puts out. "
        "Channel 1 has nine English springers, channel 0 gas pumps and golf balls. The nine images of a row "
        f"come from {classes_of['conv15']} classes.",
        alt="Nine projections and whole images for each of 3 channels of conv15.",
    ),
    "conv15-strongest",
)

# %% [markdown]
# `conv16` reads that sum, rectified:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv16"], range(3)),
        caption="Three channels of conv16, the first convolution of the last block. Channel 1 has nine "
        "golf balls, on grass, sand, wood and in boxes, and 2 nine tenches with the people who hold them. "
        "Channel 0 mixes the two. The nine images of a row come from "
        f"{classes_of['conv16']} classes.",
        alt="Nine projections and whole images for each of 3 channels of conv16.",
    ),
    "conv16-strongest",
)
reached = top["conv16"].value[:3]
shares = ", ".join(
    percent(float(share), 0) for share in reached[:, -1] / reached[:, 0]
)
print(
    f"In these three channels the ninth image reaches {shares} of the first one's value."
)

# %% [markdown]
# After `conv17` there is one more addition and a rectifier, and then the mean of each map:

# %% tags=["hide-input"]
reached = top["conv17"].value[:3, 0].tolist()
show(
    panels(
        net.patches(top["conv17"], range(3)),
        caption="Three channels of conv17, the last convolution. One linear layer weights the means of the "
        "512 maps by class. Channel 1 has nine English springers; 0 and 2 are mixed, and their strongest "
        f"values are {reached[0]:.1f} and {reached[2]:.1f}, where that of channel 1 is {reached[1]:.1f}. The "
        f"nine images of a row come from {classes_of['conv17']} classes.",
        alt="Nine projections and whole images for each of 3 channels of conv17.",
    ),
    "conv17-strongest",
)
single = [
    (layer, row, names[mined.labels[top[layer].image[row, 0]]])
    for layer, rows in rows_shown.items()
    for row in range(rows)
    if class_counts(top[layer].image[row : row + 1], mined.labels).item() == 1
]
chapter.finding(
    f"In {len(single)} of these {sum(rows_shown.values())} rows all nine images are of one class: "
    f"{', '.join(f'channel {row} of {layer} ({name})' for layer, row, name in single)}. No label says "
    "that a church stands before the sky, or that somebody holds the fish.",
    holds=single
    == [
        ("conv13", 5, "tench"),
        ("conv14", 0, "church"),
        ("conv15", 1, "English springer"),
        ("conv16", 1, "golf ball"),
        ("conv16", 2, "tench"),
        ("conv17", 1, "English springer"),
    ]
    and max(reached[0], reached[2]) < reached[1] / 2,
)

# %% [markdown]
# An image can also be made for a channel, without any photograph. It starts as noise and is changed
# step by step to drive the unit in the middle of the map harder [@olah2017]. Noise of another seed may
# lead to another image:

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
        "drive its middle unit, with the value that each reaches. All three begin with the same noise, "
        "and no other was tried.",
        alt="For three channels of conv17 the strongest image beside one made from noise.",
    ),
    "conv17-optimised",
)
print(
    "The three images made from noise reach",
    f"{', '.join(f'{image.value:.1f}' for image in made)}; the strongest training images reach",
    f"{', '.join(f'{value:.1f}' for value in reached)}.",
    sep="\n",
)

# %% [markdown]
# ### Classes gather
#
# Six channels are no evidence about a layer. So we take all channels of each layer shown, and ask what
# share of the nine images that drive a channel hardest belongs to the commonest class among them. Nine
# images drawn at random have a commonest class too, and so have the images that drive random weights
# hardest:

# %%
from internals.activations import class_purity

before = Network(untrained, normalization=run.normalization).strongest(
    mined, layers, k=9
)
searched = {"trained": top, "random weights": before}
labels = mined.labels
purity = {
    name: np.array([class_purity(by[x].image, labels) for x in layers])
    for name, by in searched.items()
}
lot = torch.Generator().manual_seed(chapter.seed)
drawn = torch.randint(len(mined), (4096, 9), generator=lot)
by_lot = class_purity(drawn, labels)

# %% [markdown]
# A stricter count is that of channels whose nine images are all of one class:

# %%
one_class = {
    name: [
        (class_counts(by[x].image, labels) == 1).double().mean().item()
        for x in layers
    ]
    for name, by in searched.items()
}

# %% [markdown]
# The distance between the two curves is due to training:

# %% tags=["hide-input"]
show(
    lines(
        np.array([int(layer[4:]) for layer in layers]),
        purity,
        xlabel="convolution",
        ylabel="share of the commonest class",
        levels={"drawn at random": by_lot},
        caption="What share of a channel's nine strongest images belongs to their commonest class, the "
        "mean over all channels of each layer shown, with trained and with random weights. The dashed "
        "level is that of nine images drawn at random.",
        alt="Two lines over the convolutions 2 to 17, for the trained network and for random weights, "
        "and a dashed level.",
    ),
    "purity",
)
if chapter.profile != "smoke":
    assert purity["trained"][-1] > purity["random weights"][-1] + 0.05
gain = purity["trained"] - purity["random weights"]
last = {name: 9 * by[-4:].mean() for name, by in purity.items()}
all_nine = {name: np.mean(by[-4:]) for name, by in one_class.items()}
chapter.finding(
    "Classes gather with depth, by training. "
    f"In conv2 {9 * purity['trained'][0]:.1f} of the nine images are of one class with trained weights "
    f"and {9 * purity['random weights'][0]:.1f} with random ones, in conv14 to conv17 "
    f"{last['trained']:.1f} and {last['random weights']:.1f}. All nine are of one class in "
    f"{percent(all_nine['trained'], 0)} of the channels of conv14 to conv17, and with random weights in "
    f"{percent(all_nine['random weights'], 0)}.",
    holds=bool(
        gain[-4:].min() > gain[0] + 0.2
        and all_nine["trained"] > 0.35
        and all_nine["random weights"] < 0.005
    ),
)

# %% [markdown]
# ## Where did it see the class?
#
# Grad-CAM weights each map of a layer by the mean, over its positions, of the class score's gradient
# [@selvaraju2017]. This network ends in a mean and a linear layer, so those weights are known. For
# class $c$ and $Z$ positions they are $w_{ck} / Z$, with the linear layer's own $w_{ck}$. Without
# Grad-CAM's rectifier the map sums to the score less its bias. We take the first test image of each of
# three classes, and ask about the class that the network answers:

# %%
tested = run.pipeline.view(images.test)
first = [int((tested.labels == c).int().argmax()) for c in (1, 4, 7)]
three = tested.subset(torch.tensor(first))
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
score = scores.gather(1, answers[:, None])[:, 0]
total = by_hand.sum(dim=(1, 2)) + run.model.fc.bias[answers].detach()
assert torch.allclose(total, score, atol=1e-3)

# %% [markdown]
# Two other instruments work on the pixels. Occlusion slides a grey square, a sixth of the image wide,
# over the image and records how far the score falls [@zeiler2014]. An image with a grey square is like
# none that the network was trained on, which is a fault of this instrument. Saliency is the size of the
# score's gradient at each pixel [@simonyan2014]:

# %%
from internals.projection import occlusion_map, upsampled

square = {"size": side // 6, "stride": side // 12}
covered = net.occlusion(three, answers, **square)
seen = net.receptive_field("relu17")
ways = {
    "Grad-CAM": upsampled(cams, (side, side), seen),
    "occlusion": occlusion_map(covered, score, (side, side), **square),
    "saliency": net.saliency(three, answers),
}

# %% [markdown]
# Rank correlations say how far the three agree: 1 for the same order of pixels, 0 where the two
# orders have nothing to do with one another. For comparison, maps of one image are also correlated with
# maps of another:

# %% tags=["hide-input"]
from itertools import combinations

from scipy.stats import spearmanr

from internals.figures import overlays

show(
    overlays(
        list(three.images.numpy() / 255),
        [[way[n].numpy() for way in ways.values()] for n in range(len(three))],
        list(ways),
        names=[
            names[c] if c == a else f"{names[c]} → {names[a]}"
            for c, a in zip(three.labels, answers, strict=True)
        ],
        caption="Three test images with their class, or true class → answer where the answer is wrong, and "
        "what speaks for the answer, each map on its own scale. Grad-CAM has the coarse grid of relu17, "
        "each cell at the centre of what its unit sees. Occlusion is signed: amber where covering lowers "
        "the score, blue where it raises it.",
        alt="Three rows: an image, then the same image under a smooth map from Grad-CAM, a signed map of "
        "squares from occlusion and a speckled map of saliency.",
    ),
    "evidence",
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
# So one map alone is weak evidence of where the network saw the class.
#
# ## Which pictures to believe
#
# The control of each chapter on a network: trained weights are replaced by random ones from the top
# down, and the same units of the same images are projected again [@adebayo2018; @nie2018]. Here it
# begins with `conv17` and goes on by whole stages to the first layer. The units are the strongest one
# of each of the first channels, and the random weights are those of `untrained`:

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
# ρ is the rank correlation of a projection's magnitudes with those of the trained one, the mean over all
# these units. Trained projections of *different* channels on *different* images are correlated too,
# because influence falls off from the middle of every field. Their mean ρ is the *baseline*, which stands
# below the trained projection. A ρ that is no higher leaves nothing of a projection:

# %% tags=["hide-input"]
show(
    comparison(
        control.pictures(),
        titles,
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption="The strongest unit of channel 0 of conv17, projected as trained and with more and "
        "more random weights, each picture on its own scale. ρ is the mean over "
        f"{len(units)} units. In the last column no weight is trained. What ρ has there above the baseline "
        "comes from the image or the architecture.",
        alt="Three rows of six projections, for gradient, deconvnet and guided, from the trained network "
        "on the left to one of random weights on the right.",
    ),
    "control",
)  # fmt: skip

# %% [markdown]
# The rules have different baselines. So for each rule, with baseline $b$, we take how much of what lies
# above it is left, $(\rho - b) / (1 - b)$. That is 1 for the trained projection, and 0 or less where
# nothing is left of it.

# %%
left = dict(zip(control.names, control.magnitudes.mean(axis=2), strict=True))
base = dict(zip(control.names, control.baseline, strict=True))
above = {rule: (left[rule] - b) / (1 - b) for rule, b in base.items()}

# %% [markdown]
# The correlations at all steps after the first:

# %% tags=["hide-input"]
show(
    Table.of(
        ("rule", "baseline", *titles[1:]),
        [
            (rule, f"{base[rule]:.2f}", *(f"{x:.2f}" for x in row[1:]))
            for rule, row in left.items()
        ],
        caption="Rank correlation with the trained projection as the network forgets, mean of "
        f"{len(units)} units, and the baseline of each rule. A row that stays well above its baseline says "
        "that its pictures owe little to the layers that have forgotten.",
    ),
    "control-numbers",
)
if chapter.profile != "smoke":
    assert left["guided"][2] > left["gradient"][2]
chapter.finding(
    "A guided projection of conv17 owes little to the last stage. With random weights in the whole stage ρ "
    f"is {left['guided'][2]:.2f} for the guided rule, with a baseline of {base['guided']:.2f}, and "
    f"{left['gradient'][2]:.2f} for the gradient, with {base['gradient']:.2f}. So of what lies above the "
    f"baseline {above['guided'][2]:.2f} and {above['gradient'][2]:.2f} are left. Without any trained "
    f"weights it is {above['guided'][-1]:.2f} and {above['gradient'][-1]:.2f}.",
    holds=bool(
        left["guided"][2] > 0.9
        and above["guided"][2] > 0.6
        and above["guided"][2] > above["gradient"][2] + 0.1
    ),
)

# %% [markdown]
# So the evidence in the panels is their patches and classes. A guided projection can only hint at where
# in a patch to look. The gradient depends more on the last stage, and is harder to read.
#
# ## Key features
#
# - **A branch that adds.** $y = F(x) + x$: to pass a signal on, a block needs only $F = 0$.
# - **Shortcuts with few parameters or none.** Identity where shapes agree, zeros or a 1 × 1 projection where
#   they do not. With 1,000 classes there are 11,515,688 parameters with zeros and in the plain twin,
#   and 11,689,512 with projections.
# - **A better end.** By one recipe the residual network learns faster and names more of
#   the test images rightly than its plain twin, one run each.
# - **Normalisation after each convolution**, in the plain network as in the residual one. Both have
#   healthy gradients before training. In the paper the shortcut is the remedy for degradation with
#   depth.
# - **Many paths.** Fields from 11 to 435 pixels end in the same unit.
# - **Classes gather with depth, by training.** In more than a third of the channels of the last stage all
#   nine strongest images are of one class, and with random weights in none.
# - **A mean instead of wide layers at the end.** Grad-CAM is then exact: before its rectifier it sums to
#   the score less the bias.
#
# ## Do this with your own network
#
# Blocks that add are traced like any others. `mine:network` stands for the function or class
# `network` in your file `mine.py`. Before you believe a projection, replace the network's weights by
# random ones and measure what is left of it:
#
# ```python
# from internals import Network, read_folder
#
# net = Network.open("mine:network", weights="mine.pth")
# photos = read_folder("photos")
# top = net.strongest(photos, ["conv2"], k=3)["conv2"]
# control = net.sanity(photos, top[:4].head(1))
# print(control.magnitudes.mean(axis=2))  # 1: all of the trained picture is left
# print(control.baseline)  # so much or less: nothing of it is left
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
# 1. Delete one branch of the trained network by setting the scale and the shift of its second
#    normalisation to zero, and measure the accuracy on the held-out images; then do it for each branch.
#    In the plain network skip the same pairs of layers, where the shapes agree. Which can do without
#    which?
# 2. Train `resnet18-a`, option A. Do the free shortcuts cost accuracy?
# 3. Draw the influence of units of `conv9` before and after training. Do units with a smaller
#    field use more of it?
#
# With the depth settled, the next question was the price: what if the network must run on a
# telephone? That is [MobileNet](06_mobilenet.py).
