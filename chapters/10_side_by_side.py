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
# # Side by side: six networks compared
#
# The six networks of this book were published between 1998 and 2017. The papers tested in different
# ways, and LeNet-5's on digits, so they cannot tell how the six compare on the same pictures. Here the
# trained networks of the chapters before are put next to one another. Each was trained once by the
# recipe of its own chapter, and ResNet-18 a second time from another seed.
#
# **What you will see**
#
# - what an answer costs in weights, multiply-adds and time: the order by weights is not that by work;
# - how far a unit sees at each depth, and where in a network the work is done;
# - how alike the layers of different networks are, beside one network trained twice and beside
#   networks that have learned nothing;
# - that any two networks that are both wrong give the same wrong answer more often than independent
#   errors would, and which part of a picture each answer rests on.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## Five networks for photographs, and one for digits
#
# Five networks were trained on the photographs of the [AlexNet chapter](02_alexnet.py), or on their
# embedded stand-in. In the copy used here the photographs are squeezed to squares, as
# [chapter 2](02_alexnet.py) says. LeNet-5 reads digits. It has a row in the tables of scores and of
# costs, and in the chapter's last table, but its score cannot be compared with the others'.

# %%
from internals.models import (
    VGG16,
    AlexNet,
    InceptionNet,
    MobileNet,
    ResNet18,
)

# By title, the class of each network and the name of its recipe.
NETWORKS = {
    "AlexNet": (AlexNet, "alexnet"),
    "VGG-16": (VGG16, "vgg16"),
    "InceptionNet": (InceptionNet, "inceptionnet"),
    "ResNet-18": (ResNet18, "resnet18"),
    "MobileNet": (MobileNet, "mobilenet"),
}
names = list(NETWORKS)

# %% [markdown]
# A recipe goes by the name of its network:

# %%
from internals.training import find_recipe

recipes = {
    name: find_recipe(known, chapter.profile)
    for name, (_, known) in NETWORKS.items()
}
reading = find_recipe("lenet5", chapter.profile)

# %% [markdown]
# The recipes are not one and the same. This is how they differ:

# %% tags=["hide-input"]
from internals.figures import Table

titles = {known: name for name, (_, known) in NETWORKS.items()}
show(
    Table.of(
        ("network", "optimiser", "learning rate", "epochs", "inputs in training, px", "tested at, px",
         "augmented as in"),
        [
            (
                name,
                type(recipe.optimizer).__name__,
                f"{recipe.optimizer.lr:g}",
                recipe.epochs,
                ", ".join(str(side) for side in [*(side for _, side in recipe.sizes), recipe.size]),
                recipe.size,
                titles.get(recipe.pipeline_name),
            )
            for name, recipe in {"LeNet-5": reading, **recipes}.items()
        ],
        caption="How each network is trained. The learning rate is the highest of the run. Where several "
        "sizes are named, training begins with the first. The last column names the network whose "
        "paper's augmentation is used; LeNet-5's digits have none.",
    ),
    "recipes",
)  # fmt: skip

# %% [markdown]
# The same pictures are loaded at every size that a recipe stores them at:

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
# The weights are those of the chapters. Whoever starts with this chapter trains all six now:

# %%
from internals import Network
from internals.training import trained

runs = {
    name: trained(recipe, pictures[recipe.stored], seed=chapter.seed)
    for name, recipe in recipes.items()
}
lenet5 = trained(reading, digits, seed=chapter.seed)
everyone = {"LeNet-5": lenet5, **runs}
nets = {name: Network.of(run) for name, run in everyone.items()}

# %% [markdown]
# One more network is trained for this chapter. It is ResNet-18 again, by the same recipe and on the
# same images, but another seed draws its first weights, the order of the images and their
# augmentation. It is called *the second ResNet-18* below. What it has in common with the first is the
# yardstick for what two different networks have in common:

# %%
recipe = recipes["ResNet-18"]
again = trained(recipe, pictures[recipe.stored], seed=chapter.seed + 1)

# %% [markdown]
# ## What they score
#
# The answers of the five to the same test images:

# %%
import numpy as np

from internals.figures import percent

answers = np.stack([run.test.predicted for run in runs.values()])
sure = np.stack([run.test.confidence for run in runs.values()])
truth = largest.test.labels.numpy()[: answers.shape[1]]
right = answers == truth
ranking = sorted(names, key=lambda name: -runs[name].test.top1)
best = names.index(ranking[0])

# %% [markdown]
# A share $p$ of $n$ test images has a 95 % confidence interval of about $\pm 1.96\sqrt{p(1-p)/n}$, because
# other test images would have given another. The difference of two networks is usually less uncertain than
# their shares suggest, since both saw the same images. Its interval comes from the images on which just
# one of the two is right:


# %%
def lead(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """By how many points `one` is right more often, and the half of its interval."""
    difference = 100 * (one.astype(float) - other)
    return difference.mean(), 1.96 * difference.std() / len(one) ** 0.5


def judged(gain: float, around: float, verdicts: tuple[str, str, str]) -> str:
    """What to say of a gain: that it is one, a loss, or neither by its interval."""
    return verdicts[2 if abs(gain) <= around else 0 if gain > 0 else 1]


# %% [markdown]
# Neither interval covers the chance in training itself: another seed gives another network. By the data
# set's own table, runs differ by about a point [@howard2019]. The two ResNet-18 are one sample of this.
# And the best network is found by these same images, which flatters it a little.

# %% tags=["hide-input"]
from internals.figures import with_minus

behind = {
    name: lead(row, right[best])
    for name, row in zip(names, right, strict=True)
}
behind["second ResNet-18"] = lead(again.test.predicted == truth, right[best])
scored = []
for name, run in {**everyone, "second ResNet-18": again}.items():
    p, n = run.test.top1, len(run.test.predicted)
    gap, around = behind.get(name, (0, 0))
    scored.append(
        (
            name,
            percent(p),
            f"±{196 * (p * (1 - p) / n) ** 0.5:.1f}",
            with_minus(f"{gap:.1f} ± {around:.1f}") if around else None,
        )
    )
show(
    Table.of(
        ("network", "test top-1", "95 % interval", "difference to the best of the five, points"),
        scored,
        caption=f"The six as this book trained them on {runs['AlexNet'].provenance.data} (LeNet-5: "
        f"{lenet5.provenance.data}), and ResNet-18 from a second seed. Intervals are of 95 %.",
    ),
    "scores",
)  # fmt: skip
following, last = behind[ranking[1]], behind[ranking[-1]]
moved = lead(again.test.predicted == truth, right[names.index("ResNet-18")])
chapter.finding(
    f"{names[best]} has the most test images right, {percent(right[best].mean())}. {ranking[1]} comes "
    f"next, {abs(following[0]):.1f} ± {following[1]:.1f} points behind, and {ranking[-1]} last, "
    f"{abs(last[0]):.1f} ± {last[1]:.1f} points behind. From the first ResNet-18 to the second, the "
    f"difference is {moved[0]:+.1f} ± {moved[1]:.1f} points.",
    holds=-last[0] > last[1],
)

# %% [markdown]
# A difference in this table belongs to a network together with its recipe.
#
# ## What an answer costs
#
# Parameters and multiply-adds are counted, and time is measured, for one image of the size at which the
# network was tested. A time is the median of several passes. It is taken in several rounds, in which
# the networks take turns, because times vary:

# %%
from internals.anatomy import latency

repeats = chapter.at(smoke=1, quick=3, full=9)
rounds = chapter.at(smoke=1, quick=3, full=5)
parameters, work = {}, {}
seconds: dict[str, list[float]] = {name: [] for name in nets}
for name, net in nets.items():
    layers = net.summary()
    parameters[name] = sum(layer.parameters for layer in layers)
    work[name] = sum(layer.multiply_adds for layer in layers)
for _ in range(rounds):
    for name, net in nets.items():
        seconds[name].append(latency(net, repeats=repeats))
ms = {name: 1e3 * np.array(each) for name, each in seconds.items()}

# %% [markdown]
# Parameters are numbers of four bytes each:

# %% tags=["hide-input"]
threads = torch.get_num_threads()
show(
    Table.of(
        ("network", "px", "M parameters", "MB", "M multiply-adds", "ms", "fastest to slowest round"),
        [
            (
                name,
                run.recipe.size,
                f"{parameters[name] / 1e6:.2f}",
                f"{4 * parameters[name] / 1e6:.1f}",
                f"{work[name] / 1e6:,.1f}",
                f"{np.median(ms[name]):.1f}",
                f"{ms[name].min():.1f} to {ms[name].max():.1f}",
            )
            for name, run in everyone.items()
        ],
        caption="What one answer costs, with ten classes. Time is a forward pass for one image of zeros "
        f"that is already in memory, on {threads} thread(s) of a processor, in {rounds} round(s).",
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
    "time": [float(np.median(ms[name])) for name in runs],
}
forms = {"weights": "{:.1f} M", "multiply-adds": "{:.2f} G", "time": "{:.0f} ms"}  # fmt: skip
words = {k: [f.format(v) for v in values[k]] for k, f in forms.items()}
words["test top-1"] = [percent(p) for p in values["test top-1"]]
for run in runs.values():
    chapter.record(**{f"{run.recipe.network}_top1": run.test.top1})

# %% [markdown]
# A network that is better in every respect would be on the right in the first column and on the left
# in the three others. By time, two networks have a certain order only where their rounds do not
# overlap:

# %% tags=["hide-input"]
from itertools import pairwise

from internals.figures import dots

show(
    dots(
        names,
        values,
        words,
        logarithmic=list(forms),
        caption="Accuracy and costs of the five networks, all at the size at which each was tested. Each "
        "column has its own scale, from its least value, which is not zero, to its largest. The last "
        "three columns are logarithmic.",
        alt="Five rows, one for each network, with four columns of dots: test accuracy, number of weights, "
        "multiply-adds and time for one image.",
    ),
    "columns",
)
order = {title: [names[k] for k in np.argsort(values[title])] for title in forms}  # fmt: skip
listed = "; ".join(f"by {title} {', '.join(ranked)}" for title, ranked in order.items())  # fmt: skip
unsure = [
    f"{a} and {b}"
    for a, b in pairwise(order["time"])
    if ms[a].max() >= ms[b].min()
]
different = len(set(map(tuple, order.values()))) == 3
chapter.finding(
    "The number of weights does not determine the work. From least to most, the order is "
    f"{listed}. {'No two of these orders are the same. ' if different else ''}"
    + (
        f"By time, the rounds of {', and those of '.join(unsure)} overlap."
        if unsure
        else "By time, the rounds of no two networks overlap."
    ),
    holds=order["weights"] != order["multiply-adds"],
)

# %% [markdown]
# With ten classes and an image of 224 × 224, AlexNet has 18.1 times the weights of MobileNet and 2.0
# times its work. VGG-16 has 2.3 times AlexNet's weights and 13.7 times its work. A large linear layer
# holds many weights and uses each once. A convolution on large maps has few weights and uses each at
# every position:

# %%
shapes = {"LeNet-5": (1, 32, 32)} | dict.fromkeys(NETWORKS, (3, 224, 224))
rows = {name: net.summary(shapes[name]) for name, net in nets.items()}
held_by = {n: sum(r.parameters for r in rows[n]) for n in rows}
done_by = {n: sum(r.multiply_adds for r in rows[n]) for n in rows}
ratios = [
    held_by["AlexNet"] / held_by["MobileNet"],
    done_by["AlexNet"] / done_by["MobileNet"],
    held_by["VGG-16"] / held_by["AlexNet"],
    done_by["VGG-16"] / done_by["AlexNet"],
]
assert [round(ratio, 1) for ratio in ratios] == [18.1, 2.0, 2.3, 13.7]

# %% [markdown]
# ## What the papers report
#
# The papers tested on ImageNet's thousand classes, and in different ways: with one view of each image
# or many, with one network or several. The famous numbers of the competitions (15.3 % for AlexNet,
# 7.3 % for VGG, 6.67 % for GoogLeNet) are top-5 errors of several networks together. Here are single
# networks:

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
        "different ways cannot be ranked: VGG-16 has three points more errors in the ResNet paper's test "
        "than in its own.",
    ),
    "imagenet",
)  # fmt: skip

# %% [markdown]
# The sources are the papers on AlexNet [@krizhevsky2012], VGG [@simonyan2015], GoogLeNet
# [@szegedy2015], ResNet [@he2016] and MobileNet [@howard2017]; LeNet-5's error of 0.95 % [@lecun1998]
# is on digits. None of these numbers can be compared with ours: ten classes are easier than a thousand, and
# nine thousand training images are far fewer than a million.
#
# ## How far a unit sees
#
# A unit sees a window of the image, which grows with depth. We follow it through convolutions and
# linear layers, in InceptionNet along the widest branch. The window is an upper bound: most influence
# comes from its middle [@luo2016].

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
linear = {n: [r for r in rows[n] if r.kind == "Linear"] for n in rows}
depth = {n: len(steps[n]) + len(linear[n]) for n in rows}
assert list(depth.values()) == [4, 8, 16, 22, 18, 28]

# %% [markdown]
# That is 4, 8, 16, 22, 18 and 28 layers in a row. LeNet-5's last layer has no weights to learn and is
# not counted. Depth is given as the share of these layers that an image has passed:

# %%
relative, fields = {}, {}
for name in NETWORKS:
    size = {row.name: row.field.size for row in rows[name] if row.field}
    fields[name] = np.array([size[layer] for layer in steps[name]])
    relative[name] = np.arange(1, len(fields[name]) + 1) / depth[name]
assert [int(f[-1]) for f in fields.values()] == [163, 196, 715, 435, 315]

# %% [markdown]
# The receptive fields of the convolutions:

# %% tags=["hide-input"]
from internals.figures import lines

show(
    lines(
        relative,
        fields,
        xlabel="share of the convolutions and linear layers that are passed",
        ylabel="side of the receptive field, px (logarithmic)",
        levels={"224 px": 224},
        logarithmic=True,
        caption="Side of the receptive field by depth. The dashed line is the whole image. A straight line "
        "would mean growth by a constant factor per layer.",
        alt="Five rising curves on a logarithmic scale. Three pass the line of 224 pixels, InceptionNet's "
        "at about half the depth and the other two later. Those of AlexNet and VGG-16 end below it.",
    ),
    "fields",
)
within = [name for name, side in fields.items() if side[-1] < 224]
chapter.finding(
    "In AlexNet and VGG-16 no unit of a convolution sees the whole image: the last ones see 163 and 196 "
    "pixels. Those of InceptionNet, ResNet-18 and MobileNet see 715, 435 and 315, more than there are.",
    holds=within == ["AlexNet", "VGG-16"],
)

# %% [markdown]
# AlexNet and VGG-16 put the parts together in linear layers, with a weight for each position. The
# other three average every map over its positions and have a single linear layer. Their receptive
# fields are wide as well, but an average over all positions would cover the image with narrow ones too.
#
# ## Where the work is done
#
# Multiply-adds are added up along the forward pass, and every convolution and linear layer counts as one
# step. Parallel branches and projections count one by one, so InceptionNet has more steps here than
# layers in a row:

# %%
spent, passed = {}, {}
for name in NETWORKS:
    by_layer = [row.multiply_adds for row in rows[name] if row.multiply_adds]
    spent[name] = np.cumsum([0, *by_layer]) / sum(by_layer)
    passed[name] = np.linspace(0, 1, len(spent[name]))
halves = [np.interp(0.5, passed[name], spent[name]) for name in NETWORKS]

# %% [markdown]
# Where a curve is steep, much work is done:

# %% tags=["hide-input"]
show(
    lines(
        passed,
        spent,
        xlabel="share of the convolutions and linear layers, in the order of the forward pass",
        ylabel="share of the multiply-adds",
        caption="Multiply-adds spent by depth. Work spread evenly would be a straight diagonal. Where a "
        "curve is above it, more than an even share is spent by then. MobileNet's has stairs, since "
        "every second layer is a cheap depthwise one.",
        alt="Five curves from zero to one. Those of AlexNet, VGG-16 and InceptionNet are above the "
        "diagonal in the second half, ResNet-18's is near it, MobileNet's is below it for the most part.",
    ),
    "work",
)
costs = [row.multiply_adds for row in rows["ResNet-18"] if row.multiply_adds]
alike = max(map(costs.count, costs))
chapter.finding(
    "The first half of the layers does 82 % of the work in AlexNet, 66 % in VGG-16, 69 % in InceptionNet, "
    "56 % in ResNet-18 and 40 % in MobileNet. ResNet-18 is nearest to half. It doubles the number of maps "
    f"whenever it halves their sides, so that {alike} of its {len(costs)} layers cost the same.",
    holds=[round(100 * half) for half in halves] == [82, 66, 69, 56, 40]
    and alike > len(costs) / 2,
)

# %% [markdown]
# ## Which layers are alike
#
# Channels of two networks cannot be compared one by one, since nothing fixes their order. But a layer
# also says which pictures resemble each other. Let $K_{ij}$ be the inner product of its activations
# for pictures $i$ and $j$, each feature less its mean over the pictures. $K$ is called a *Gram matrix*.
# *Centred kernel alignment* measures how alike two Gram matrices $K$ and $L$ are [@kornblith2019]. It is
# made of the Hilbert-Schmidt independence criterion $h$:
#
# $$
# \mathrm{CKA}(K, L) = \frac{h(K, L)}{\sqrt{h(K, K)\, h(L, L)}},
# \qquad h(K, L) \approx \sum_{ij} K_{ij} L_{ij} .
# $$
#
# It is 1 for layers that agree up to a rotation and a scale, and about 0 for unrelated ones. We use
# the unbiased estimate of $h$, as others have [@nguyen2021]. With the plain sum, CKA tends to 1 for layers
# with many more features than pictures, however unrelated they are. We take six layers of
# each network, its *stations*, from an early one to the scores:

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
# The pictures are held-out ones, spread over all classes. No network was trained on them:

# %%
held = len(largest.validation)
number = min(chapter.at(smoke=16, quick=64, full=256), held)
spread = torch.linspace(0, held - 1, number).long()

# %% [markdown]
# Each network sees them at the size and with the normalisation of its own recipe:

# %%
from internals.activations import centred_alignment, gram_matrices


def tables(networks: dict) -> list[torch.Tensor]:
    """The Gram matrix of each station of each network."""
    grams = []
    for name, network in networks.items():
        run = runs[name]
        some = pictures[run.recipe.stored].validation.subset(spread)
        inputs = nets[name].inputs(run.pipeline.view(some))
        grams += gram_matrices(network, inputs, STATIONS[name]).values()
    return grams


learned = tables({name: nets[name] for name in runs})
similar = centred_alignment(learned).numpy()
assert np.allclose(similar.diagonal(), 1)

# %% [markdown]
# Each square below is a pair of networks. If depth meant the same in both, it would be dark along its
# diagonal and pale towards the other two corners:

# %% tags=["hide-input"]
from internals.figures import similarity

show(
    similarity(
        similar,
        STATIONS,
        caption=f"Linear CKA of six layers of each of five networks on {number} held-out images, from 0 "
        "(pale) to 1 (dark). Squares along the main diagonal compare a network with itself; the last row "
        "and column of a square are the scores.",
        alt="A matrix of thirty by thirty shaded cells in blocks of six, symmetric, its diagonal "
        "black.",
    ),
    "similarity",
)

# %% [markdown]
# Such a pattern alone proves little. Neighbouring layers may be alike only because each is made from the
# one before, and first layers only because all of them are near the pixels. So the control is the
# same matrix for networks that have learned nothing. Their random weights are drawn anew for each
# control, from seeds that no training began with. Their batch normalisations have seen no data, and
# leave values unchanged:

# %%
draws = chapter.at(smoke=1, quick=1, full=3)
random = []
for draw in range(draws):
    torch.manual_seed(chapter.seed + 2 + draw)
    random.append(
        tables({name: make() for name, (make, _) in NETWORKS.items()})
    )
untrained = [centred_alignment(grams).numpy() for grams in random]

# %% [markdown]
# The first draw:

# %% tags=["hide-input"]
show(
    similarity(
        untrained[0],
        STATIONS,
        caption="The same layers of the same networks with random weights. What is dark here comes from "
        "the pictures and from the way the networks are built, and not from learning.",
        alt="The same matrix for untrained networks.",
    ),
    "similarity-untrained",
)

# %% [markdown]
# For each of the ten pairs of different networks we average over layers that are equally many stations
# apart. The pair of scores comes last:

# %%
from itertools import combinations

pairs = list(combinations(range(5), 2))
apart = abs(np.subtract.outer(np.arange(6), np.arange(6)))


def by_distance(values: np.ndarray) -> np.ndarray:
    """A row a pair: mean CKA of layers 0 to 5 stations apart, and of the scores."""
    blocks = values.reshape(5, 6, 5, 6)
    return np.array([
        [*(blocks[a, :, b][apart == d].mean() for d in range(6)), blocks[a, 5, b, 5]]
        for a, b in pairs
    ])  # fmt: skip


# %% [markdown]
# To see how uncertain such a mean is, we compute it again on random halves of the pictures. Halves
# drawn without replacement vary about as much as whole samples of this size would:

# %%
generator = torch.Generator().manual_seed(chapter.seed)
chosen = [
    torch.randperm(number, generator=generator)[: number // 2]
    for _ in range(chapter.at(smoke=2, quick=10, full=40))
]


def on_halves(grams: list[torch.Tensor]) -> list[np.ndarray]:
    """The CKA of all layers, once for each half of the pictures."""
    parts = [[g[half][:, half] for g in grams] for half in chosen]
    return [centred_alignment(part).numpy() for part in parts]


# %% [markdown]
# For the trained networks and for each draw of untrained ones:

# %%
of_pairs = [by_distance(values) for values in (similar, *untrained)]
varied = np.stack([
    [by_distance(values) for values in on_halves(grams)]
    for grams in (learned, *random)
])  # fmt: skip
means, spreads = np.mean(of_pairs, axis=1), varied.mean(axis=2).std(axis=1)
# From layers at one station to layers five apart, with training and without.
fall = means[:, 0] - means[:, 5]
falls = varied.mean(axis=2)[:, :, 0] - varied.mean(axis=2)[:, :, 5]

# %% [markdown]
# If training made layers at the same station more alike than layers far apart, the numbers would fall
# faster from left to right in the first row than in the others. Stations at the same place in the list
# lie at only roughly the same depth, and the last distance compares first stations with scores:

# %% tags=["hide-input"]
labels = ["trained", *(f"untrained, draw {n}" for n in range(1, draws + 1))]
show(
    Table.of(
        ("networks", "same station", "1 apart", "2", "3", "4", "5", "scores"),
        [
            (label, *(f"{m:.2f} ± {1.96 * s:.2f}" for m, s in zip(mean, deviation, strict=True)))
            for label, mean, deviation in zip(labels, means, spreads, strict=True)
        ],
        caption="Mean CKA between layers of different networks by how many stations they are apart, and "
        f"between their scores, with 95 % intervals for the choice of {number} pictures. What other "
        "seeds of training would change is not in the first row's intervals.",
    ),
    "distance",
)  # fmt: skip
near, far = of_pairs[0][:, 0], of_pairs[0][:, 4:6].mean(axis=1)
within_pairs = varied[0][:, :, 0] - varied[0][:, :, 4:6].mean(axis=2)
blank = [pair for draw in of_pairs[1:] for pair in draw]
chapter.finding(
    "In all ten pairs of trained networks, layers at the same station are more alike than layers four or "
    f"five stations apart. The least like pair has a mean CKA of {near.min():.2f} at the same station, "
    f"and the most like pair one of {far.max():.2f} far apart. With random weights, layers at the same "
    f"station are more alike in {sum(pair[0] > pair[4:6].mean() for pair in blank)} of {len(blank)} "
    "pairs.",
    holds=near.min() > far.max()
    and bool((near - far > 1.96 * within_pairs.std(axis=0)).all()),
)
more = fall[0] - fall[1:].mean()
around = 1.96 * (falls[0] - falls[1:].mean(axis=0)).std()
effect = judged(
    more,
    around,
    (
        "With training it falls farther",
        "With training it falls less far",
        "No effect of training is seen in this",
    ),
)
chapter.finding(
    f"From the same station to five apart, CKA falls by {fall[0]:.2f} with training and by "
    f"{fall[1:].mean():.2f} without. {effect}: the difference is {more:.2f} ± {around:.2f}. The scores of "
    f"two trained networks have a CKA of {means[0][6]:.2f}, and of two untrained ones "
    f"{means[1:, 6].mean():.2f}.",
    holds=fall[0] > 1.96 * falls[0].std(),
)

# %% [markdown]
# ### The same network from another seed
#
# How alike can two trained networks be? The second ResNet-18 shares with the first its architecture,
# recipe and training images, and only the random numbers are others. The two are compared station by
# station. For control, so are two untrained networks of this architecture, with random weights from
# different seeds:

# %%
torch.manual_seed(chapter.seed + 2 + draws)
second = {
    "trained": [*learned, *tables({"ResNet-18": again.model})],
    "untrained": [*random[0], *tables({"ResNet-18": ResNet18()})],
}
seat = names.index("ResNet-18")
others = [k for k in range(5) if k != seat]


def beside_second(values: np.ndarray) -> np.ndarray:
    """A row a station of ResNet-18, the last their mean: CKA with three others.

    They are the same station of the second ResNet-18, the mean of its five
    other stations, and the mean of the same station of the other networks.
    """
    here = values.reshape(6, 6, 6, 6)[seat]  # station, network, its station
    same = here.diagonal(axis1=0, axis2=2)  # network, station
    elsewhere = (here[:, 5].sum(axis=1) - same[5]) / 5
    table = np.stack([same[5], elsewhere, same[others].mean(axis=0)], axis=1)
    return np.vstack([table, table.mean(axis=0)])


# %% [markdown]
# Once on all pictures and again on the halves:

# %%
whole = {k: centred_alignment(grams).numpy() for k, grams in second.items()}
level = {k: beside_second(values) for k, values in whole.items()}
swing = {
    k: np.stack([beside_second(values) for values in on_halves(grams)])
    for k, grams in second.items()
}

# %% [markdown]
# The three comparisons, with trained and with untrained networks:

# %% tags=["hide-input"]
show(
    Table.of(
        ("station of ResNet-18",
         *(f"{kind}: {what}" for kind in second for what in
           ("second ResNet-18, same station", "its other stations", "four other networks, same station"))),
        [
            (
                station,
                *(
                    f"{m:.2f} ± {1.96 * s:.2f}"
                    for kind in second
                    for m, s in zip(level[kind][row], swing[kind][:, row].std(axis=0), strict=True)
                ),
            )
            for row, station in enumerate([*STATIONS["ResNet-18"], "mean"])
        ],
        caption="CKA of each station of ResNet-18 with the second ResNet-18 at the same station, with the "
        "mean of that network's five other stations, and with the mean of the four other networks at "
        f"the same station. The 95 % intervals are for the choice of {number} pictures.",
    ),
    "second-seed",
)  # fmt: skip
# How far the mean over the stations is above the two comparisons, trained.
ahead = level["trained"][6, 0] - level["trained"][6, 1:]
ahead_by = 1.96 * (
    swing["trained"][:, 6, :1] - swing["trained"][:, 6, 1:]
).std(axis=0)
across = whole["trained"][6 * seat : 6 * seat + 6, 30:]
met = int((across.argmax(axis=1) == np.arange(6)).sum())
own, elsewhere, other = level["trained"][6]
bare = level["untrained"][6]
chapter.finding(
    f"Averaged over its six stations, ResNet-18 has a CKA of {own:.2f} with the same station of the "
    f"second ResNet-18, {elsewhere:.2f} with that network's other stations, and {other:.2f} with the same "
    f"station of the four other networks. The first is larger than the second by {ahead[0]:.2f} ± "
    f"{ahead_by[0]:.2f}, and larger than the third by {ahead[1]:.2f} ± {ahead_by[1]:.2f}. For {met} of the "
    "six stations, the most alike one of the second ResNet-18 is the same. Without training the three "
    f"numbers are {bare[0]:.2f}, {bare[1]:.2f} and {bare[2]:.2f}.",
    holds=bool((ahead > ahead_by).all()),
)

# %% [markdown]
# In this one pair, another seed changes the layers less than another network with its own recipe does.
# What the architecture gives before any training is in the columns of untrained networks.
#
# ## Where they err together
#
# Some images may be hard for every network. To see how far errors go together, we need to know how often
# they would coincide by chance. Some classes may be harder than others for all five, and a network may
# give some answers too often. So the baseline is independence *given the class*: every network
# keeps its shares of answers for each true class, and errs independently of the others otherwise:

# %%
tested = [run.test for run in (*runs.values(), again)]
confusions = np.stack([test.confusion for test in tested])
of_class = confusions[0].sum(axis=1)
weight = of_class / of_class.sum()
given = confusions / np.maximum(of_class, 1)[:, None]
recall = given.diagonal(axis1=1, axis2=2)
observed = np.bincount(right.sum(axis=0), minlength=6) / len(truth)
chance = np.zeros(6)
for share, shares in zip(weight, recall[:5].T, strict=True):
    ways = np.ones(1)
    for p in shares:
        ways = np.convolve(ways, [1 - p, p])
    chance += share * ways
assert abs(chance.sum() - 1) < 1e-9

# %% [markdown]
# How many of the five are right about an image:

# %% tags=["hide-input"]
show(
    Table.of(
        ("networks that are right", "of the test images", "if independent given the class"),
        [
            (n, percent(observed[n]), percent(chance[n]))
            for n in range(5, -1, -1)
        ],
        caption=f"How many of the five networks are right about each of {len(truth):,} test images, and how "
        "many would be if errors were independent given the class.",
    ),
    "together",
)  # fmt: skip
chapter.finding(
    f"All five are right about {percent(observed[5])} of the images, where independence would give "
    f"{percent(chance[5])}. All five are wrong about {percent(observed[0])}, instead of "
    f"{percent(chance[0])}. More images than independence predicts are easy or hard for all five.",
    holds=observed[5] > chance[5] and observed[0] > chance[0],
)

# %% [markdown]
# Which two networks err alike? The correlation of being wrong, within classes, is 0 for errors that are
# independent given the class. And of images that both get wrong, some get the same wrong answer. The
# same baseline says how many would by chance:

# %%
said = np.stack([test.predicted for test in tested])
wrong = said != truth
mistakes = given * (1 - np.eye(len(classes)))
varies = (recall * (1 - recall)) @ weight


def errors(one: int, other: int) -> tuple[float, float, float, float, float]:
    both = wrong[one] & wrong[other]
    same = (said[one] == said[other])[both]
    expected = weight @ ((1 - recall[one]) * (1 - recall[other]))
    alike = weight @ (mistakes[one] * mistakes[other]).sum(axis=1)
    size = (varies[one] * varies[other]) ** 0.5
    return (
        both.mean(),
        expected,
        (both.mean() - expected) / size if size else 0.0,
        same.mean() if len(same) else 0.0,
        alike / expected if expected else 0.0,
    )


shared = np.array([errors(a, b) for a, b in pairs])
twins = np.array(errors(seat, 5))

# %% [markdown]
# All ten pairs, and as a yardstick the two ResNet-18:

# %% tags=["hide-input"]
titles = [f"{names[a]}, {names[b]}" for a, b in pairs]
show(
    Table.of(
        ("pair", "both wrong", "if independent", "correlation", "same wrong answer", "if independent"),
        [
            (title, percent(both), percent(expected), with_minus(f"{r:.2f}"), percent(same), percent(alike))
            for title, (both, expected, r, same, alike) in zip(
                [*titles, "ResNet-18, second ResNet-18"], [*shared.tolist(), twins.tolist()], strict=True
            )
        ],
        caption="Errors of pairs of networks on the test images. The same wrong answer is a share of the "
        "images that both get wrong. Independence is meant given the class. The last row is one network "
        "trained from two seeds.",
    ),
    "pairs",
)  # fmt: skip
most, least = int(shared[:, 2].argmax()), int(shared[:, 2].argmin())
chapter.finding(
    f"All ten correlations are above 0, from {shared[least, 2]:.2f} between {names[pairs[least][0]]} and "
    f"{names[pairs[least][1]]} to {shared[most, 2]:.2f} between {names[pairs[most][0]]} and "
    f"{names[pairs[most][1]]}. Between the two ResNet-18 it is {twins[2]:.2f}.",
    holds=bool(shared[:, 2].min() > 0),
)
same, alike = shared[:, 3], shared[:, 4]
common = np.maximum(shared[:, 0] * len(truth), 1)
chapter.finding(
    "Two different networks that are both wrong about an image give the same wrong answer in "
    f"{percent(same.min())} to {percent(same.max())} of the cases, by pair, where independence given the "
    f"class would give {percent(alike.min())} to {percent(alike.max())}. The two ResNet-18 do so in "
    f"{percent(twins[3])}, against {percent(twins[4])}.",
    holds=bool(
        (same - 1.96 * (same * (1 - same) / common) ** 0.5 > alike).all()
    ),
)

# %% [markdown]
# These numbers do not say why. The image itself may suggest the wrong answer, or all may have learned
# it from the same training images.
#
# Where errors differ, an *ensemble* can correct them. Ensembles won the competitions [@krizhevsky2012;
# @szegedy2015; @he2016]. Usually their probabilities are averaged. Here each network adds its
# confidence to the class that it names, because only the answers and their confidences are kept:

# %%
votes = np.zeros((len(truth), len(classes)))
for answer, confidence in zip(answers, sure, strict=True):
    votes[np.arange(len(truth)), answer] += confidence
elected = votes.argmax(axis=1) == truth
gain, within_points = lead(elected, right[best])
middle = names.index(ranking[2])
above, above_points = lead(elected, right[middle])
chapter.record(vote_top1=float(elected.mean()), all_right=float(observed[5]))
verdict = judged(
    gain,
    within_points,
    (
        "The vote is better than it",
        "The vote is worse than it",
        "No difference between vote and best network is seen",
    ),
)
chapter.finding(
    f"The vote has {percent(elected.mean())} right, {above:.1f} ± {above_points:.1f} points more than the "
    f"middle one of the five, {names[middle]}. The best one alone, {names[best]}, has "
    f"{percent(right[best].mean())}. {verdict}: {gain:+.1f} ± {within_points:.1f} points.",
    holds=above > above_points,
)

# %% [markdown]
# ## Which part of a picture the answers rest on
#
# Grad-CAM [@selvaraju2017] shows where the activations after the last convolution raise the score of the
# network's answer. Each cell of a map lies over the centre of its unit's receptive field. The views
# of all five cover the same part of a picture, so their maps can be laid over the largest view:

# %%
from internals.projection import upsampled

LAST = dict(zip(NETWORKS, ["relu5", "relu13", "inception5b", "relu17", "relu27"], strict=True))  # fmt: skip
side = max(recipe.size for recipe in recipes.values())


def evidence(name: str, split: str, ids: torch.Tensor, given=None) -> np.ndarray:  # fmt: skip
    """A network's maps of some images of a split, for its own answers if none are given."""
    images = getattr(pictures[recipes[name].stored], split).subset(ids)
    view = runs[name].pipeline.view(images)
    maps = nets[name].grad_cam(view, LAST[name], given, upsample=True)
    return upsampled(maps, (side, side)).numpy()


# %% [markdown]
# How far do the maps of two networks agree? We correlate them, pixel by pixel, on held-out images. The
# baseline is the correlation of their maps of *different* images, which is what any two maps have in
# common:


# %%
def correlated(maps: list[np.ndarray]) -> np.ndarray:
    """For any two images, the mean correlation of the maps of two networks."""
    count = len(maps[0])
    flat = np.concatenate([grids.reshape(count, -1) for grids in maps])
    with np.errstate(all="ignore"):  # a map without contrast counts as 0
        r = np.nan_to_num(np.corrcoef(flat)).reshape(5, count, 5, count)
    return np.mean([r[a, :, b] for a, b in pairs], axis=0)


some = spread[:: max(1, number // chapter.at(smoke=4, quick=32, full=64))]
held_maps = [evidence(name, "validation", some) for name in names]
any_two = correlated(held_maps)
agreement = any_two.diagonal()
baseline = (any_two.sum(axis=1) - agreement) / (len(some) - 1)
excess = agreement - baseline
excess_by = 1.96 * excess.std() / len(some) ** 0.5
chapter.finding(
    f"On {len(some)} held-out images the maps of two networks for the same image have a mean correlation "
    f"of {agreement.mean():.2f}, and for different images one of {baseline.mean():.2f}. The difference is "
    f"{excess.mean():.2f} ± {excess_by:.2f}.",
    holds=excess.mean() > excess_by,
)

# %% [markdown]
# ### Three pictures, five networks
#
# Three test images are chosen by rule. The first is read rightly by all five, and the lowest of the
# five confidences is the highest there is. The second is the earliest in the test set with the most
# different answers. The third is read rightly by the fewest networks and, among such images, answered
# with the most confidence on average:

# %%
different = [len(set(column)) for column in answers.T]
wrongest = right.sum(axis=0) - sure.mean(axis=0) * 0.5
surest = np.where(right.all(axis=0), sure.min(axis=0), -1)
ids = torch.tensor([
    int(surest.argmax()),
    int(np.argmax(different)),
    int(wrongest.argmin()),
])  # fmt: skip

# %% [markdown]
# Their maps, for the answers that were given in the test, and how far the five agree on each image:

# %%
overlaid = [
    evidence(name, "test", ids, answers[k, ids].tolist())
    for k, name in enumerate(names)
]
of_three = correlated(overlaid).diagonal()
widest = max(names, key=lambda name: recipes[name].size)
shown = runs[widest].pipeline.view(
    pictures[recipes[widest].stored].test.subset(ids)
)

# %% [markdown]
# The three images and their maps:

# %% tags=["hide-input"]
from internals.figures import overlays

show(
    overlays(
        [image.numpy() / 255 for image in shown.images],
        [[maps[row] for maps in overlaid] for row in range(3)],
        names,
        names=[classes[truth[i]] for i in ids],
        notes=[
            [f"{classes[answers[k, i]]} {percent(sure[k, i], 0)}" for k in range(5)]
            for i in ids
        ],
        caption="Three test images with their true classes, and over each the Grad-CAM of each network for "
        "the answer printed below, with its confidence. The number is the largest value of the map. The mean "
        "correlation of the maps of two networks is, from top to bottom, "
        f"{with_minus(', '.join(f'{value:.2f}' for value in of_three))}.",
        alt="Three rows of an image and five heat maps over it, one for each network, each with the answer "
        "and its confidence.",
    ),
    "grad-cam",
)  # fmt: skip

# %% [markdown]
# LeNet-5 is the only one of the six with a score for *none of these*: its distances leave room for an
# eleventh class. It is shown 500 test photographs in grey, 32 pixels wide, and should refuse them all.
# The rule is that of [its chapter](01_lenet5.py): it refuses where no class has half of the probability.

# %%
from torch.nn.functional import interpolate
from torchvision.transforms.functional import rgb_to_grayscale

views = largest.test.head(500).images
grey = rgb_to_grayscale(torch.cat([views, largest.test.images[ids[:1]]]))
small = interpolate(grey.float(), (32, 32), mode="bilinear", antialias=True)
as_ink = small.round().to(torch.uint8)
outputs = nets["LeNet-5"].capture(as_ink, ["conv1", "rbf"])
posterior = lenet5.loss.probabilities(outputs["rbf"].flatten(1))
refused = (posterior[:-1].amax(dim=1) < 0.5).float().mean().item()
in_doubt = (lenet5.test.confidence < 0.5).mean()
chapter.finding(
    f"LeNet-5 refuses {percent(refused)} of {len(posterior) - 1} photographs and reads a digit in the "
    f"rest. Of the test digits it refuses {percent(in_doubt)}.",
    holds=refused > in_doubt + 0.1,
)

# %% [markdown]
# Last, the maps of the first picture themselves. We take a layer at which the maps have about an eighth
# of the image's side. Up to it lie one convolution in AlexNet, three in InceptionNet, seven in VGG-16,
# nine in ResNet-18 and eleven in MobileNet. For LeNet-5 we take the first layer:

# %%
from internals.figures import LayerMaps, feature_maps

EIGHTH = dict(zip(NETWORKS, ["pool1", "pool3", "maxpool2", "relu9", "relu11"], strict=True))  # fmt: skip
maps = [LayerMaps("LeNet-5", outputs["conv1"][-1].numpy())]
for name, run in runs.items():
    test = run.pipeline.view(pictures[run.recipe.stored].test.subset(ids[:1]))
    [values_at] = nets[name].capture(test, [EIGHTH[name]]).values()
    maps.append(LayerMaps(name, values_at[0, :7].numpy()))

# %% [markdown]
# The six networks, one row for each:

# %% tags=["hide-input"]
show(
    feature_maps(
        shown.images[0].numpy() / 255,
        maps,
        caption="The first maps of each network at about an eighth of the side of its input, on one scale "
        "per row: from black for 0, or in colour where values may be negative. AlexNet's come after one "
        "convolution, MobileNet's after eleven; LeNet-5's are of its first layer.",
        alt="A picture, and below it six rows of small maps, one row for each network, LeNet-5's in colour "
        "and the others grey.",
    ),
    "maps",
)

# %% [markdown]
# ## What two decades changed
#
# To compare with the papers, a thousand classes once more. How much of each network is its
# classifier, the linear layers at the end?

# %%
from internals.anatomy import summarize

YEARS = {"LeNet-5": 1998, "AlexNet": 2012, "VGG-16": 2014, "InceptionNet": 2014,
         "ResNet-18": 2015, "MobileNet": 2017}  # fmt: skip
published = {"LeNet-5": rows["LeNet-5"]}
for name, (network, _) in NETWORKS.items():
    with torch.device("meta"):
        published[name] = summarize(network(1000), shapes[name])
weights = {n: sum(r.parameters for r in rs) for n, rs in published.items()}
classifier = {
    n: sum(r.parameters for r in rs if r.kind == "Linear") / weights[n]
    for n, rs in published.items()
}
assert [round(100 * c) for c in classifier.values()] == [17, 94, 89, 15, 4, 24]

# %% [markdown]
# In AlexNet and VGG-16 about nine tenths of the parameters are there. The last three have an average in
# place of the first linear layers, so their classifiers have no weights tied to positions:

# %% tags=["hide-input"]
show(
    Table.of(
        ("network", "year", "layers in a row", "M parameters", "of which classifier"),
        [
            (name, str(YEARS[name]), depth[name], f"{weights[name] / 1e6:.2f}", percent(classifier[name], 0))
            for name in YEARS
        ],
        caption="The six with the classes of their papers, ten for LeNet-5 and a thousand for the others, in "
        "the forms of this book. Depth counts convolutions and linear layers in a row. LeNet-5's third "
        "convolution spans its whole map and works as a linear layer, but is not counted as classifier.",
    ),
    "decades",
)  # fmt: skip
fewer = weights["VGG-16"] / weights["MobileNet"]
chapter.finding(
    f"From LeNet-5 to VGG-16 the parameters grow {weights['VGG-16'] / weights['LeNet-5']:,.0f}-fold and "
    f"the layers fourfold. MobileNet has {depth['MobileNet']} layers and a {fewer:.0f}rd of VGG-16's "
    "parameters. InceptionNet, of the same year as VGG-16, already has a "
    f"{weights['VGG-16'] / weights['InceptionNet']:.0f}th of them.",
    holds=round(fewer) == 33
    and depth["VGG-16"] == 4 * depth["LeNet-5"]
    and round(weights["VGG-16"] / weights["InceptionNet"]) == 20,
)

# %% [markdown]
# So a network could be deeper and yet smaller without the inventions of later years. GoogLeNet, which
# InceptionNet follows, had neither batch normalisation nor shortcuts, and MobileNet has no shortcuts
# either. What GoogLeNet, ResNet-18 and MobileNet share is the average before the classifier. The six
# networks are a selection and not a history. The deepest network that the ResNet paper trains on ImageNet
# has 152 layers [@he2016].
#
# ## Key features
#
# - **Weights, work and time** are three costs. The order by weights is not the order by work.
# - **Receptive fields** end wider than the image in the three networks that average before their
#   classifier, and narrower in the other two.
# - **Likeness needs a control and a yardstick.** What untrained networks have in common was not
#   learned. The layers of ResNet-18 are on average more like those of the same network from another
#   seed than like those of the other four.
# - **Errors are shared**: networks that are both wrong give the same wrong answer more often than
#   independence given the class predicts, in every pair.
# - **Fewer parameters with more depth** came with the average that replaced wide linear layers.
#
# ## Do this with your own network
#
# Put your network beside these six: what it weighs and costs, what drives the channels of one layer,
# and an atlas with a page for each layer. `mine:network` stands for the function or class `network` in your
# file `mine.py`:
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
# 1. Put the second ResNet-18 in the place of the first: its matrices are the last six of
#    `second["trained"]`. Average `by_distance` over the pairs again. How much does the first row of
#    that table change, compared with its intervals?
# 2. `summary` and `latency` take the shape of an input. Count and time VGG-16, InceptionNet, ResNet-18
#    and MobileNet for images of 128 × 128; AlexNet's linear layers need 224 pixels. Does any order
#    change?
# 3. Let only the three networks that are last in `ranking` vote. Do they beat the first?
#
# All the instruments of this book work on any network of your own: [in a few
# lines](../library.md).
