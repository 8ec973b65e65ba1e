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
# title: Side by side
# thumbnail: similarity
# description: Six networks and two decades compared, in costs, in what they see, and in their mistakes.
# after: all
# data: [imagenette, mnist]
# ---

# %% [markdown]
# # Side by side: deeper, with fewer weights
#
# The six networks of this book were published between 1998 and 2017. From each to the next something
# was gained, and the papers say what. What they cannot say is how the six compare when they look at
# the same pictures, since every paper tested in a way of its own. Here the weights that the chapters
# before have made are put next to one another.
#
# **What you will see**
#
# - what an answer costs: weights, multiply-adds and time, three measures that disagree;
# - how far a unit sees, by depth, and at which depth the work is done;
# - which layers of different networks say the same of the same pictures, with a control;
# - where the five err together, and where in one picture each of them looks.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## Five and one
#
# Five networks were trained on the photographs of the [AlexNet chapter](02_alexnet.py), or on their
# embedded stand-in, each by the recipe of its own chapter. LeNet-5 reads digits. It has a row in the
# tables of costs, but no score of its can be compared with the others'.

# %%
from internals.models import (
    VGG16,
    AlexNet,
    InceptionNet,
    LeNet5,
    MobileNet,
    ResNet18,
)

NETWORKS = {
    "AlexNet": AlexNet,
    "VGG-16": VGG16,
    "InceptionNet": InceptionNet,
    "ResNet-18": ResNet18,
    "MobileNet": MobileNet,
}

# %% [markdown]
# A recipe goes by the name of its network:

# %%
from internals.training import Recipe, find_recipe


def recipe_of(network: type) -> Recipe:
    return find_recipe(network.__name__.lower(), chapter.profile)


recipes = {name: recipe_of(network) for name, network in NETWORKS.items()}

# %% [markdown]
# Recipes differ in how large the network sees its images, so the same pictures are stored at more
# than one size:

# %%
import torch

from internals import load

pictures = {
    side: load(
        "imagenette",
        chapter.data,
        size=side,
        seed=chapter.seed,
        most=chapter.most_images,
    )
    for side in sorted({recipe.stored for recipe in recipes.values()})
}
digits = load("mnist", chapter.data, seed=chapter.seed)

# %% [markdown]
# Their order is always the same, so one number names one picture at every size:

# %%
largest = pictures[max(pictures)]
classes = largest.test.class_names
for other in pictures.values():
    assert torch.equal(other.test.labels, largest.test.labels)

# %% [markdown]
# Weights are found where the chapters have left them. Whoever starts with this chapter trains all
# six now:

# %%
from internals import Network
from internals.training import trained

runs = {
    name: trained(recipe, pictures[recipe.stored], seed=chapter.seed)
    for name, recipe in recipes.items()
}
lenet5 = trained(recipe_of(LeNet5), digits, seed=chapter.seed)
everyone = {"LeNet-5": lenet5, **runs}
nets = {name: Network.of(run) for name, run in everyone.items()}
shapes = {"LeNet-5": (1, 32, 32)} | dict.fromkeys(NETWORKS, (3, 224, 224))

# %% [markdown]
# ## What an answer costs
#
# Weights and multiply-adds are counted for an image of 224 × 224 pixels, whatever size a recipe
# trains at. LeNet-5 gets its 32 × 32. Time is taken with a stopwatch, one image at a time, the median
# of several passes:

# %%
from internals.anatomy import latency, summarize

repeats = chapter.at(smoke=1, quick=15, full=15)
rows, parameters, work, seconds = {}, {}, {}, {}
for name, run in everyone.items():
    rows[name] = nets[name].summary(shapes[name])
    parameters[name] = sum(row.parameters for row in rows[name])
    work[name] = sum(row.multiply_adds for row in rows[name])
    seconds[name] = latency(run.model, shapes[name], repeats)

# %% [markdown]
# A share of $n$ test images is itself uncertain, by about $\pm 1.96\sqrt{p(1-p)/n}$ from the choice
# of test images alone. And every network here was trained once. Differences smaller than that say
# nothing:

# %%
from internals.figures import Table, percent


def score(run) -> tuple:
    p, n = run.test.top1, len(run.test.predicted)
    around = 196 * (p * (1 - p) / n) ** 0.5
    return percent(p), f"±{around:.1f} %", run.recipe.size, run.recipe.crops


# %% [markdown]
# Weights are numbers of four bytes each:

# %%
costs = [
    (
        name,
        *score(run),
        f"{parameters[name] / 1e6:.2f}",
        f"{4 * parameters[name] / 1e6:.1f}",
        f"{work[name] / 1e6:,.1f}",
        f"{1e3 * seconds[name]:.1f}",
    )
    for name, run in everyone.items()
]

# %% [markdown]
# Which column would you choose a network by?

# %% tags=["hide-input"]
threads = torch.get_num_threads()
show(
    Table.of(
        ("network", "test top-1", "uncertain by", "seen at, px", "crops", "M parameters",
         "MB", "M multiply-adds", "ms"),
        costs,
        caption=f"The six as this book trained them, once each, on {runs['AlexNet'].provenance.data} "
        f"(LeNet-5: {lenet5.provenance.data}). Scores belong to the size of image they were trained "
        "and tested at; parameters, with ten classes, their megabytes, work and time are those for "
        f"224 × 224 pixels (LeNet-5: 32 × 32). Time is one forward pass, on {threads} thread(s) of a processor.",
    ),
    "costs",
)  # fmt: skip

# %% [markdown]
# The same for the five, to be drawn as dots:

# %%
values = {
    "test top-1": [run.test.top1 for run in runs.values()],
    "weights": [parameters[name] / 1e6 for name in runs],
    "multiply-adds": [work[name] / 1e9 for name in runs],
    "time": [1e3 * seconds[name] for name in runs],
}
forms = {"weights": "{:.1f} M", "multiply-adds": "{:.2f} G", "time": "{:.0f} ms"}  # fmt: skip
words = {k: [f.format(v) for v in values[k]] for k, f in forms.items()}
words["test top-1"] = [percent(p) for p in values["test top-1"]]
for run in runs.values():
    chapter.record(**{f"{run.recipe.network}_top1": run.test.top1})

# %% [markdown]
# A network that is better in every respect would be on the right in the first column and on the left
# in the three others:

# %% tags=["hide-input"]
from internals.figures import dots, lines, similarity

show(
    dots(
        list(runs),
        values,
        words,
        logarithmic=list(forms),
        caption="Each column has its own scale from its least to its largest value, and the last "
        "three are logarithmic. Compare the orders of the rows: weights do not tell the work, and "
        "work does not tell the time.",
        alt="Five rows, one a network, with four columns of dots: test accuracy, number of weights, "
        "multiply-adds and time for one image.",
    ),
    "columns",
)

# %% [markdown]
# AlexNet has eighteen times the weights of MobileNet and only twice its work; VGG-16, with 2.3 times
# AlexNet's weights, needs nearly fourteen times its work. Large matrices hold weights and do little
# work; convolutions on fine grids are the other way round:

# %%
ratios = [
    parameters["AlexNet"] / parameters["MobileNet"],
    work["AlexNet"] / work["MobileNet"],
    parameters["VGG-16"] / parameters["AlexNet"],
    work["VGG-16"] / work["AlexNet"],
]
assert [round(ratio, 1) for ratio in ratios] == [18.1, 2.0, 2.3, 13.7]

# %% [markdown]
# ## What the papers report
#
# On ImageNet's thousand classes, with weeks of training, and with tests that differ: one view of
# each image or many, one network or several. The famous numbers of the competitions (15.3 % for
# AlexNet, 7.3 % for VGG, 6.67 % for GoogLeNet) are those of committees. Here are single networks:

# %% tags=["hide-input"]
show(
    Table.of(
        ("network", "tested with", "top-1 errors", "top-5 errors", "source"),
        [
            ("AlexNet", "10 crops", "40.7 %", "18.2 %", "its paper"),
            ("VGG-16", "dense, several scales", "24.8 %", "7.5 %", "its paper"),
            ("VGG-16", "10 crops", "28.07 %", "9.33 %", "the ResNet paper"),
            ("GoogLeNet", "1 crop", None, "10.07 %", "its paper"),
            ("GoogLeNet", "not said", "30.2 %", None, "the MobileNet paper"),
            ("ResNet-18", "10 crops", "27.88 %", None, "its paper"),
            ("MobileNet", "not said", "29.4 %", None, "its paper"),
        ],
        caption="Errors of single networks on ImageNet's validation images, as reported. Rows tested in "
        "different ways cannot be ranked: VGG-16 loses three points between its own test and that "
        "of its rivals.",
    ),
    "imagenet",
)  # fmt: skip

# %% [markdown]
# The sources are the papers on AlexNet [@krizhevsky2012], VGG [@simonyan2015], GoogLeNet
# [@szegedy2015], ResNet [@he2016] and MobileNet [@howard2017]; LeNet-5's 0.95 % [@lecun1998] is on
# digits. None of these numbers belongs beside ours: ten classes are easier than a thousand, and a
# few thousand images teach less than a million.
#
# ## How far a unit sees
#
# A unit sees a window of the image that grows from layer to layer. Let us follow it through the
# layers with weights, in InceptionNet along the widest branch:

# %%
MODULES = ["3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"]


def numbered(count: int) -> list[str]:
    return [f"conv{n}" for n in range(1, count + 1)]


steps = {
    "LeNet-5": numbered(3),
    "AlexNet": numbered(5),
    "VGG-16": numbered(13),
    "InceptionNet": numbered(3) + [
        f"inception{module}.{branch}"
        for module in MODULES
        for branch in ("conv5x5_reduce", "conv5x5")
    ],
    "ResNet-18": numbered(17),
    "MobileNet": numbered(27),
}  # fmt: skip
matrices = {n: [r for r in rows[n] if r.kind == "Linear"] for n in rows}
depth = {n: len(steps[n]) + len(matrices[n]) for n in rows}
assert list(depth.values()) == [4, 8, 16, 22, 18, 28]

# %% [markdown]
# That is 4, 8, 16, 22, 18 and 28 layers in a row (LeNet-5's last layer has no weights to learn).
# Depth is given as the share of them that an image has passed:

# %%
import numpy as np

relative, fields = {}, {}
for name in NETWORKS:
    size = {row.name: row.field.size for row in rows[name] if row.field}
    fields[name] = np.array([size[layer] for layer in steps[name]])
    relative[name] = np.arange(1, len(fields[name]) + 1) / depth[name]
assert [int(f[-1]) for f in fields.values()] == [163, 196, 715, 435, 315]

# %% [markdown]
# Their last convolutions see 163, 196, 715, 435 and 315 pixels:

# %% tags=["hide-input"]
show(
    lines(
        relative,
        fields,
        xlabel="share of the layers with weights that are passed",
        ylabel="side of the receptive field, px (logarithmic)",
        levels={"224 px": 224},
        logarithmic=True,
        caption="How far the units of the convolutions see. The dashed line is the whole image. A "
        "straight line means growth by a constant factor a layer. Notice who never sees the whole "
        "image before the classifier: AlexNet and VGG-16.",
        alt="Five rising curves on a logarithmic scale; three pass the line of 224 pixels about "
        "halfway through or later, two end below it.",
    ),
    "fields",
)

# %% [markdown]
# AlexNet starts with a window of 11 and stops convolving early; its matrices must put the parts
# together, one weight for each place. The later three convolve until a unit has seen all, so that an
# average over the places can stand where the large matrices stood.
#
# ## Where the work is done
#
# Multiply-adds added up along the way, every layer with weights counting as one step:

# %%
spent, passed = {}, {}
for name in NETWORKS:
    by_layer = [row.multiply_adds for row in rows[name] if row.multiply_adds]
    spent[name] = np.cumsum([0, *by_layer]) / work[name]
    passed[name] = np.linspace(0, 1, len(spent[name]))

# %% [markdown]
# Where a curve is steep, the work is done:

# %% tags=["hide-input"]
show(
    lines(
        passed,
        spent,
        xlabel="share of the layers with weights, in the order of the forward pass",
        ylabel="share of the multiply-adds that are spent",
        caption="A straight diagonal would be work spread evenly over depth. A curve above it spends "
        "early, on fine grids; steps are layers much more expensive than their neighbours. "
        "MobileNet goes up in stairs, since every second layer is a cheap depthwise one.",
        alt="Five curves from zero to one, most of them near or above the diagonal.",
    ),
    "work",
)

# %% [markdown]
# Half of the layers, counted so, do 82 % of the work in AlexNet, 66 % in VGG-16, 69 % in
# InceptionNet, 56 % in ResNet-18 and 40 % in MobileNet. ResNet-18 is nearest to the diagonal because
# its rule, twice the maps whenever the grid is halved, keeps nearly all of its layers
# equally dear:

# %%
halves = [np.interp(0.5, passed[name], spent[name]) for name in NETWORKS]
assert [round(100 * half) for half in halves] == [82, 66, 69, 56, 40]

# %% [markdown]
# ## Which layers say the same
#
# Do networks built so differently come to see alike? Channels cannot be compared one by one, since
# nothing fixes their order. But a layer also says which pictures resemble each other: let $K_{ij}$ be
# the inner product of what it says of pictures $i$ and $j$, about the mean. Two layers of any two
# networks agree as far as their tables $K$ and $L$ do [@kornblith2019]:
#
# $$
# \mathrm{CKA}(K, L) = \frac{h(K, L)}{\sqrt{h(K, K)\, h(L, L)}},
# \qquad h(K, L) \approx \sum_{ij} K_{ij} L_{ij} .
# $$
#
# It is 1 for layers that agree up to a rotation and a scale. We take $h$ without bias, as others
# have [@nguyen2021]: the plain sum grows with the number of channels alone. Six stations a network,
# from the first small grid to the scores:

# %%
STATIONS = {
    "AlexNet": ["pool1", "pool2", "relu4", "pool3", "relu7", "lin3"],
    "VGG-16": ["pool1", "pool2", "pool3", "pool4", "pool5", "fc3"],
    "InceptionNet": [
        "maxpool1", "maxpool2", "maxpool3", "maxpool4", "avgpool", "fc",
    ],
    "ResNet-18": ["pool1", "relu5", "relu9", "relu13", "relu17", "fc"],
    "MobileNet": ["relu3", "relu7", "relu11", "relu23", "relu27", "fc"],
}  # fmt: skip

# %% [markdown]
# The pictures are held-out ones, 256 in the published edition and fewer in shorter runs, spread over
# all classes. No network was trained on them:

# %%
held = len(largest.validation)
number = min(chapter.at(smoke=16, quick=64, full=256), held)
spread = torch.linspace(0, held - 1, number).long()

# %% [markdown]
# Each network sees them as its own recipe has it, in its own size:

# %%
from internals.activations import centred_alignment, gram_matrices


def alike(networks: dict) -> np.ndarray:
    tables = []
    for name, network in networks.items():
        run = runs[name]
        some = pictures[run.recipe.stored].validation.subset(spread)
        inputs = nets[name].inputs(run.pipeline.view(some))
        tables += gram_matrices(network, inputs, STATIONS[name]).values()
    return centred_alignment(tables).numpy()


similar = alike({name: nets[name] for name in runs})
assert np.allclose(similar.diagonal(), 1)

# %% [markdown]
# Each square below is a pair of networks. If depth meant the same in both, it would be dark along
# its diagonal, and pale towards its corners:

# %% tags=["hide-input"]
show(
    similarity(
        similar,
        STATIONS,
        caption="Linear CKA of six layers of each of five networks, 0 pale to 1 dark, on "
        f"{number} held-out images. Squares along the main diagonal compare a network with itself. "
        "In the others look for a dark diagonal, for rows that are dark everywhere, and at the lower "
        "right corners: scores of two networks agree where their answers do.",
        alt="A matrix of thirty by thirty shaded cells in blocks of six, symmetric, its diagonal "
        "black.",
    ),
    "similarity",
)

# %% [markdown]
# A pattern alone proves little: neighbouring layers resemble one another because each is made from
# the one before, and the first see nearly the pixels. So the control is the same matrix for five
# networks fresh from the random generator:

# %%
torch.manual_seed(chapter.seed + 1)
untrained = alike({name: network() for name, network in NETWORKS.items()})

# %% [markdown]
# What remains when nothing was learned:

# %% tags=["hide-input"]
show(
    similarity(
        untrained,
        STATIONS,
        caption="The same layers of the same networks before any training. What is dark here comes "
        "from the pictures and from the way the networks are built, and must not be put down to "
        "learning. Compare the last rows of each square with those above.",
        alt="The same matrix for untrained networks.",
    ),
    "similarity-untrained",
)

# %% [markdown]
# Averaged over the ten pairs of different networks, by how many stations apart two layers are:


# %%
def by_distance(values: np.ndarray) -> list[str]:
    blocks = values.reshape(5, 6, 5, 6)
    one, i, other, j = np.indices(blocks.shape)
    return [
        f"{blocks[(one < other) & (abs(i - j) == d)].mean():.2f}"
        for d in range(6)
    ]


# %% [markdown]
# The scores deserve a number of their own: two networks that give the same answers must agree there,
# whatever they do on the way.


# %%
def scores_alike(values: np.ndarray) -> float:
    return values[5::6, 5::6][np.triu_indices(5, 1)].mean()


show(
    Table.of(
        ("networks", "same station", "1 apart", "2", "3", "4", "5"),
        [
            ("trained", *by_distance(similar)),
            ("untrained", *by_distance(untrained)),
        ],
        caption="Mean CKA between layers of different networks. Numbers that fall from left to right "
        "mean that layers at like depth are more alike; what counts is how much faster they fall in "
        "the first row than in the second.",
    ),
    "distance",
)
print(f"the scores: {scores_alike(similar):.2f} trained, {scores_alike(untrained):.2f} not")  # fmt: skip
if chapter.profile != "smoke":
    assert scores_alike(similar) > 0.2

# %% [markdown]
# ## Where they err together
#
# Of five witnesses who err independently, all five would hardly ever be wrong about the same thing.
# How many of the five are right about a test image, and how many would be, if each kept its score but
# erred independently of the others?

# %%
from itertools import combinations

answers = np.stack([run.test.predicted for run in runs.values()])
sure = np.stack([run.test.confidence for run in runs.values()])
truth = largest.test.labels.numpy()[: answers.shape[1]]
right = answers == truth
observed = np.bincount(right.sum(axis=0), minlength=6) / len(truth)
chance = np.ones(1)
for p in right.mean(axis=1):
    chance = np.convolve(chance, [1 - p, p])
assert abs(chance.sum() - 1) < 1e-9

# %% [markdown]
# Both ends of this table tell whether errors go together:

# %% tags=["hide-input"]
show(
    Table.of(
        ("networks that are right", "of the test images", "if independent"),
        [
            (n, percent(observed[n]), percent(chance[n]))
            for n in range(5, -1, -1)
        ],
        caption=f"How many of the five networks are right about each of {len(truth):,} test images. "
        "More at both ends than independence allows means that images are easy or hard for all.",
    ),
    "together",
)
if chapter.profile != "smoke":
    assert observed[5] > chance[5] - 0.01

# %% [markdown]
# Which two err alike? Two numbers tell: the correlation of being wrong, 0 for independent
# errors, and, of images that both get wrong, how often with the same answer. If each of the nine
# wrong classes were as likely, that would be 11 %:


# %%
def errors(one: int, other: int) -> tuple:
    a, b = ~right[one], ~right[other]
    both = a & b
    spread = (a.mean() * (1 - a.mean()) * b.mean() * (1 - b.mean())) ** 0.5
    covariance = both.mean() - a.mean() * b.mean()
    same = (answers[one] == answers[other])[both]
    return (
        percent(both.mean()),
        percent(a.mean() * b.mean()),
        f"{covariance / spread:.2f}" if spread else None,
        percent(same.mean()) if len(same) else None,
    )


pairs = list(combinations(range(5), 2))
names = list(NETWORKS)

# %% [markdown]
# Look for the pair with the highest correlation, and ask what the two have in common: how they are
# built, how they were trained, or the size at which they saw the images:

# %% tags=["hide-input"]
show(
    Table.of(
        ("pair", "both wrong", "if independent", "correlation", "same wrong answer"),
        [(f"{names[a]}, {names[b]}", *errors(a, b)) for a, b in pairs],
        caption="Errors of pairs of networks on the test images. The last column is a share of the "
        "images that both get wrong; where it is far above 11 %, it is the image that suggests the "
        "wrong answer.",
    ),
    "pairs",
)  # fmt: skip

# %% [markdown]
# As far as errors do differ, a vote can mend them. That is why the competitions were won by
# committees. Let each network vote for its answer with its confidence:

# %%
votes = np.zeros((len(truth), len(classes)))
for answer, confidence in zip(answers, sure, strict=True):
    votes[np.arange(len(truth)), answer] += confidence
voted = float((votes.argmax(axis=1) == truth).mean())
best = float(right.mean(axis=1).max())
print(f"the best alone {best:.1%}, the vote of all five {voted:.1%}")
chapter.record(vote_top1=voted, all_right=float(observed[5]))
if chapter.profile != "smoke":
    assert voted > np.median(right.mean(axis=1)) - 0.02

# %% [markdown]
# ## One picture, six networks
#
# Three test images, chosen by rule: the one of which the least sure of the five is surest, the one
# with the most different answers, and of those that all five get wrong (or the fewest right) the one
# with the most confidence:

# %%
different = [len(set(column)) for column in answers.T]
wrongest = right.sum(axis=0) - sure.mean(axis=0) * 0.5
unsure = np.where(right.all(axis=0), sure.min(axis=0), -1)
ids = torch.tensor([
    int(unsure.argmax()),
    int(np.argmax(different)),
    int(wrongest.argmin()),
])  # fmt: skip

# %% [markdown]
# Grad-CAM [@selvaraju2017] asks the last convolution of each where it found the answer that it
# gave. The views of all five cover the same part of a picture, so their maps can be laid over the
# largest view:

# %%
from internals.projection import upsampled

LAST = dict(zip(NETWORKS, ["relu5", "relu13", "inception5b", "relu17", "relu27"], strict=True))  # fmt: skip
side = max(recipe.size for recipe in recipes.values())
evidence = {}
for k, (name, run) in enumerate(runs.items()):
    test = run.pipeline.view(pictures[run.recipe.stored].test.subset(ids))
    if run.recipe.size == side:
        shown = test
    cam = nets[name].grad_cam(
        test, LAST[name], answers[k, ids].tolist(), upsample=True
    )
    evidence[name] = upsampled(cam, (side, side)).numpy()

# %% [markdown]
# Do the five find it in the same place?

# %% tags=["hide-input"]
from internals.figures import overlays

show(
    overlays(
        [image.numpy() / 255 for image in shown.images],
        [[evidence[name][row] for name in names] for row in range(3)],
        names,
        names=[classes[truth[i]] for i in ids],
        notes=[
            [f"{classes[answers[k, i]]} {percent(sure[k, i], 0)}" for k in range(5)]
            for i in ids
        ],
        caption="Three test images under their true classes. Over each, where each network found the "
        "answer printed below, with its confidence; the number is the largest value of the map. The "
        "grids are coarse, at most 14 × 14 places and for the last three at most 7 × 7, and stretched "
        "over the image. Look first for answers that agree while the places do not.",
        alt="Three rows of an image and five heat maps over it, one a network, each with the answer "
        "and its confidence.",
    ),
    "grad-cam",
)  # fmt: skip

# %% [markdown]
# And LeNet-5? Shown photographs in grey, 32 pixels wide, it ought to have no answer, and it is the
# only one of the six that can say so: its distances leave room for a class of rubbish. How many of
# the test pictures does it refuse, by the rule of [its chapter](01_lenet5.py)?

# %%
from torch.nn.functional import interpolate

views = largest.test.head(500).images
grey = torch.cat([views, largest.test.images[ids[:1]]]).float().mean(dim=1, keepdim=True)  # fmt: skip
small = interpolate(grey, (32, 32), mode="bilinear", antialias=True)
as_ink = small.round().to(torch.uint8)
outputs = nets["LeNet-5"].capture(as_ink, ["conv1", "rbf"])
posterior = lenet5.loss.probabilities(outputs["rbf"].flatten(1))
refused = (posterior[:-1].amax(dim=1) < 0.5).float().mean().item()
print(f"LeNet-5 refuses {refused:.0%} of {len(posterior) - 1} pictures")

# %% [markdown]
# The first picture, where each network has a grid of an eighth of the side (LeNet-5: its first
# layer). AlexNet gets there after one convolution, InceptionNet after three, VGG-16 after seven,
# ResNet-18 after nine and MobileNet after eleven:

# %%
from internals.figures import LayerMaps, feature_maps

EIGHTH = dict(zip(NETWORKS, ["pool1", "pool3", "maxpool2", "relu9", "relu11"], strict=True))  # fmt: skip
maps = [LayerMaps("LeNet-5", outputs["conv1"][-1].numpy())]
for name, run in runs.items():
    test = run.pipeline.view(pictures[run.recipe.stored].test.subset(ids[:1]))
    [values] = nets[name].capture(test, [EIGHTH[name]]).values()
    maps.append(LayerMaps(name, values[0, :7].numpy()))

# %% [markdown]
# How much of the picture is left at the same grid depends on how many layers it has come through:

# %% tags=["hide-input"]
show(
    feature_maps(
        shown.images[0].numpy() / 255,
        maps,
        caption="The first maps of each network at an eighth of the side of its input, on one scale a "
        "row: from black for 0, or in colour where values may be negative. Compare AlexNet's, after one "
        "convolution, with MobileNet's, after eleven: how much of the picture can you still "
        "recognise?",
        alt="A picture, and below it six rows of small grey maps, one row a network.",
    ),
    "maps",
)

# %% [markdown]
# ## What two decades changed
#
# To compare with the papers, a thousand classes once more. How much of each network is its
# classifier, the matrices at the end?

# %%
YEARS = {"LeNet-5": 1998, "AlexNet": 2012, "VGG-16": 2014, "InceptionNet": 2014,
         "ResNet-18": 2015, "MobileNet": 2017}  # fmt: skip
published = {"LeNet-5": rows["LeNet-5"]}
for name, network in NETWORKS.items():
    with torch.device("meta"):
        published[name] = summarize(network(1000), shapes[name])

# %% [markdown]
# Of two networks nearly everything is there:

# %%
weights = {n: sum(r.parameters for r in rs) for n, rs in published.items()}
classifier = {
    n: sum(r.parameters for r in rs if r.kind == "Linear") / weights[n]
    for n, rs in published.items()
}
assert [round(100 * c) for c in classifier.values()] == [17, 94, 89, 15, 4, 24]

# %% [markdown]
# The last three have an average where the first of their matrices would be, and so no weight that
# belongs to a place:

# %% tags=["hide-input"]
show(
    Table.of(
        ("network", "year", "layers in a row", "M parameters", "of which classifier"),
        [
            (name, str(YEARS[name]), depth[name], f"{weights[name] / 1e6:.2f}", percent(classifier[name], 0))
            for name in YEARS
        ],
        caption="The six with the classes of their papers: ten for LeNet-5, a thousand for the others, in "
        "the forms of this book. Depth counts convolutions and matrices in a row. LeNet-5's third "
        "convolution spans its whole map and is a matrix in all but name.",
    ),
    "decades",
)  # fmt: skip

# %% [markdown]
# From 1998 to 2014 networks grew in every direction: more than two thousand times the parameters from
# LeNet-5 to VGG-16, and four times the layers. Then the two parted. In the three years to MobileNet depth went
# on to 28 layers while parameters fell to a thirty-third, mostly because the matrices at the end went,
# and after them the full convolutions. What made it possible were a normalisation for every layer,
# shortcuts around pairs of them, and windows taken apart into cheap pieces:

# %%
assert weights["VGG-16"] > 2_000 * weights["LeNet-5"]
assert round(weights["VGG-16"] / weights["MobileNet"]) == 33
assert depth["VGG-16"] == 4 * depth["LeNet-5"]

# %% [markdown]
# ## Key features
#
# - **Weights, work and time** are three costs, and no one of them tells the others.
# - **Fields** wider than the image came with depth, and made large matrices unnecessary.
# - **Like depth, like view**: how far it holds is in the CKA table, and how much of it is no learning
#   at all in its control.
# - **Errors are shared**: pictures are hard more than networks are weak; a vote mends the rest.
# - **Parameters down, depth up** since 2014.
#
# ## Do this with your own network
#
# Put your network beside these six: what it weighs and costs, what drives the same depth, and an
# atlas with a page a layer. `mine:network` stands for the function or class `network` in your file
# `mine.py`:
#
# ```sh
# internals summary mine:network --weights mine.pth
# internals project mine:network --weights mine.pth --layer conv2 \
#     --images photos --out panel.png
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
#
# ## Exercises
#
# 1. Train ResNet-18 with another seed and compare it with its twin by `alike`. Is a network nearer to
#    itself from another start than to another network?
# 2. Give all five their images at the same size and time them again. Which column of the costs
#    changes its order?
# 3. Let only the three weakest networks vote. Do they beat the best?
#
# All the instruments of this book work on any network of your own: [in a few
# lines](../library.md).
