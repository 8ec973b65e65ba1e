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
# title: MobileNet
# year: 2017
# paper_score: 29.4 % errors (top-1) on ImageNet
# thumbnail: conv27-strongest
# description: A convolution taken apart into filtering and mixing, for an eighth to a ninth of the work.
# network: mobilenet
# data: imagenette
# ---

# %% [markdown]
# # MobileNet: filter first, mix afterwards
#
# A convolution does two things at once. It filters maps over a neighbourhood, and it mixes them into
# new ones. Laurent Sifre separated the two in his thesis of 2014 [@sifre2014]. In 2017 Andrew Howard
# and seven colleagues at Google built a whole network of such pairs, small enough for a phone
# [@howard2017]. With full convolutions the same network would need 8.6 times as many multiply-adds, and
# would be 1.1 points better on ImageNet. Two multipliers cut its work further, for less accuracy.
#
# **What you will see**
#
# - a pair of small convolutions that equals one full convolution, and full convolutions that no pair
#   equals;
# - the paper's tables recounted, with two misprints, and its two multipliers on one chart;
# - layers timed one by one: multiply-adds do not predict time;
# - that the kernels that filter stay close to the random numbers that they began as;
# - which images drive the layers that filter and those that mix, beside an untrained network, and how a
#   unit's value splits among its inputs.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The images
#
# The data are those of the [AlexNet chapter](02_alexnet.py): ten classes of photographs or, where
# they are missing, an embedded stand-in. In the copy used here the photographs are squeezed to
# squares, as [chapter 2](02_alexnet.py) says. The recipe sets the size at which the network sees
# them:

# %%
from internals import load
from internals.training import find_recipe

recipe = find_recipe("mobilenet", chapter.profile)
images = load(
    "imagenette",
    chapter.data,
    size=recipe.stored,
    seed=chapter.seed,
    most=chapter.most_images,
)

# %% [markdown]
# ## One convolution taken apart
#
# A full convolution has a 3 × 3 kernel for every pair of an input map $m$ and an output map $n$.
# MobileNet has one kernel $d_m$ for each input map, and one weight $p_{nm}$ for each pair. First every
# map is filtered by itself (*depthwise*). Then the filtered maps are mixed at each position
# (*pointwise*):
#
# $$
# b_m = d_m * x_m, \qquad y_n = \sum_m p_{nm}\, b_m .
# $$

# %% tags=["hide-input"]
from internals.figures import Stage, stack

show(
    stack(
        [
            Stage("maps", 4, 12, 12, "depthwise, 3 × 3", 3),
            Stage("filtered", 4, 12, 12, "pointwise, 1 × 1", 1),
            Stage("mixed", 6, 12, 12),
        ],
        caption="A depthwise separable convolution on four maps. The first step filters each map over "
        "a window of 3 × 3 pixels and mixes none. The second mixes all maps, at one position at a time.",
        alt="Three stages: four maps of twelve by twelve, four filtered maps of the same size, six "
        "mixed maps. The first step has a window of three by three, the second of one.",
    ),
    "separable",
)

# %% [markdown]
# Together the two are a full convolution whose kernels are $W_{nm} = p_{nm}\, d_m$. Here are both
# forms, two lines against one:

# %%
import torch
from torch import nn
from torch.nn.functional import conv2d

torch.manual_seed(chapter.seed)
x = torch.randn(1, 32, 28, 28)
d = torch.randn(32, 1, 3, 3)
p = torch.randn(64, 32, 1, 1)
b = conv2d(x, d, padding=1, groups=32)
y = conv2d(b, p)

W = p * d.view(1, 32, 3, 3)
full = conv2d(x, W, padding=1)
assert W.shape == (64, 32, 3, 3)
assert torch.allclose(y, full, atol=1e-3)

# %% [markdown]
# So the pair computes nothing that a full convolution could not compute. It has less freedom. All 64
# kernels that read one input map are multiples of a single kernel. Written as the rows of a matrix,
# they have rank 1, where those of a full convolution can have rank 9. In exchange 2,336 weights take
# the place of 18,432:

# %%
read_one_map = W[:, 5].flatten(1)
free = torch.randn(64, 9)
assert torch.linalg.matrix_rank(read_one_map) == 1
assert torch.linalg.matrix_rank(free) == 9
assert (d.numel() + p.numel(), W.numel()) == (2_336, 18_432)

# %% [markdown]
# MobileNet adds batch normalisation and a rectifier after *each* of the two. With a rectifier in
# between, the pair is no longer a single convolution.
#
# ## What it costs
#
# Both forms work at every position of the map, so it is enough to count the products at one position.
# For $M$ input maps and $N$ output maps the pair needs
#
# $$
# \frac{9 M + M N}{9 M N} = \frac{1}{N} + \frac{1}{9}
# $$
#
# of the multiply-adds of the full convolution (it follows from the paper's equations 2 and 5). The
# number of input maps cancels out:

# %%
import numpy as np

N = 2 ** np.arange(11)
saving = 1 / (1 / N + 1 / 9)
assert saving[6:].round(2).tolist() == [7.89, 8.41, 8.69, 8.84, 8.92]

# %% [markdown]
# The saving by the number of output maps:

# %% tags=["hide-input"]
from internals.figures import lines

show(
    lines(
        np.arange(len(N)),
        {"the pair": saving},
        ticks=[str(n) for n in N],
        xlabel="output maps, N",
        ylabel="times fewer multiply-adds",
        levels={"nine": 9.0},
        caption="How many times fewer multiply-adds the pair needs than a full 3 × 3 convolution, by "
        "the number of output maps. The dashed line is the number of weights in a 3 × 3 kernel.",
        alt="A curve that rises from about one at one map to eight at sixty-four maps, and then flattens "
        "below a dashed line at nine.",
    ),
    "saving",
)
chapter.finding(
    f"With 64 output maps, as in this network's narrowest pair, the saving is {saving[6]:.1f}-fold; with "
    f"1,024, as in its widest, {saving[10]:.1f}-fold. Nine is the limit, and is not reached.",
    holds=bool(saving.max() < 9),
)

# %% [markdown]
# ## The whole network
#
# MobileNet is one full convolution, thirteen pairs, the mean of each map, and one linear layer. There
# is no pooling in between. Five of the 3 × 3 convolutions have stride 2 instead.

# %% tags=["hide-input"]
show(
    stack(
        [
            Stage("input", 3, 224, 224, "3 × 3, stride 2", 3),
            Stage("conv1", 32, 112, 112, "1 pair", 3),
            Stage("conv3", 64, 112, 112, "2 pairs", 3),
            Stage("conv7", 128, 56, 56, "2 pairs", 3),
            Stage("conv11", 256, 28, 28, "6 pairs", 3),
            Stage("conv23", 512, 14, 14, "2 pairs", 3),
            Stage("conv27", 1024, 7, 7, "mean"),
            Stage("avgpool", 1024, operation="linear"),
            Stage("fc", 1000),
        ],
        caption="MobileNet for the paper's images of 224 × 224, its maps drawn to scale. Where the maps' "
        "sides are halved, their number doubles. Six of the thirteen pairs end on maps of 14 × 14. Five "
        "of these are alike, and the paper's shallow network leaves out these five.",
        alt="Nine stages from a 224 by 224 input to 1,000 outputs: 32 maps of 112, 64 of 112, 128 of "
        "56, 256 of 28, 512 of 14, 1,024 of 7, 1,024 means and 1,000 classes.",
    ),
    "architecture",
)

# %% [markdown]
# No weights are needed for counting: torch's `meta` device has shapes only. Depthwise layers are those
# with as many groups as maps:

# %%
from internals.anatomy import summarize
from internals.models import MobileNet


def counted(size: int = 224, **form) -> list:
    with torch.device("meta"):
        return summarize(MobileNet(1000, **form), (3, size, size))


def kind(layer: nn.Module) -> str:
    if not isinstance(layer, nn.Conv2d):
        return "linear"
    window = f"{layer.kernel_size[0]} × {layer.kernel_size[0]}"
    deep = layer.groups == layer.in_channels > 1
    return f"{window} depthwise" if deep else window


# %% [markdown]
# The table is read from one forward pass. The parameters of a convolution include those of its
# normalisation:

# %%
from internals.figures import Table

rows = {row.name: row for row in counted()}
with torch.device("meta"):
    net = MobileNet(1000)
layers = [f"conv{n}" for n in range(1, 28)]
kinds = {name: kind(net.get_submodule(name)) for name in [*layers, "fc"]}
table = []
for name, what in kinds.items():
    row, norm = rows[name], rows.get(name.replace("conv", "bn"))
    table.append((
        name, what,
        " × ".join(map(str, row.shape)),
        row.parameters + (norm.parameters if name != "fc" else 0),
        f"{row.multiply_adds / 1e6:.1f}",
        f"{row.field.size} / {row.field.stride}" if name != "fc" else "all",
    ))  # fmt: skip

# %% [markdown]
# The paper counts depthwise and pointwise layers apart. With the linear layer it arrives at 28
# layers:

# %% tags=["hide-input"]
show(
    Table.of(
        (
            "layer",
            "window",
            "output",
            "parameters",
            "M multiply-adds",
            "field / stride",
        ),
        table,
        caption="MobileNet layer by layer for an image of 224 × 224 and 1,000 classes. A pointwise "
        "layer has the field of the depthwise layer before it. From conv24 on the field is wider than "
        "the image.",
    ),
    "layers",
)
every = rows.values()
assert sum(row.parameters for row in every) == 4_231_976  # the paper: 4.2 M
assert sum(row.multiply_adds for row in every) == 568_740_352  # 569 M
assert list(kinds.values()).count("3 × 3 depthwise") == 13
assert len(kinds) == 28 and rows["conv24"].field.size > 224

# %% [markdown]
# The paper's table 1 has a misprint in its last depthwise row. It gives stride 2, and maps of 7 × 7
# both before and after it. Both cannot be true. With stride 2 the last two layers would work on maps
# of 4 × 4, and the network would have 534 million multiply-adds instead of the paper's 569. So the
# stride is 1:

# %%
shapes = [rows[name].shape for name in ("conv25", "conv26", "conv27")]
assert shapes == [(1024, 7, 7)] * 3
lost = (9 * 1024 + 1024**2) * (7 * 7 - 4 * 4)
assert round((568_740_352 - lost) / 1e6) == 534

# %% [markdown]
# ## Where the work is
#
# Nearly all of it is in the mixing. Table 2 of the paper gives the shares of four types of layer. Its
# third number is a misprint, two digits swapped: the column as printed sums to 99.29 %. The shares of
# the parameters agree if only weights are counted:

# %%
PRINTED = {
    "1 × 1": (94.86, 74.59), "3 × 3 depthwise": (3.06, 1.06),
    "3 × 3": (1.19, 0.02), "linear": (0.18, 24.33),
}  # fmt: skip
products, weights = dict.fromkeys(PRINTED, 0), dict.fromkeys(PRINTED, 0)
for name, what in kinds.items():
    products[what] += rows[name].multiply_adds
    weights[what] += net.get_submodule(name).weight.numel()


def shares(counts: dict) -> list[float]:
    return [round(100 * n / sum(counts.values()), 2) for n in counts.values()]


ours = list(zip(shares(products), shares(weights), strict=True))
differ = [i for i, row in enumerate(PRINTED.values()) if row != ours[i]]
assert differ == [2] and ours[2] == (1.91, 0.02)
assert round(sum(row[0] for row in PRINTED.values()), 2) == 99.29

# %% [markdown]
# All depthwise filters together are about a hundredth of the weights:

# %% tags=["hide-input"]
show(
    Table.of(
        ("layers", "% of multiply-adds", "paper", "% of weights", "paper"),
        [
            (what, f"{a:.2f}", f"{p:.2f}", f"{b:.2f}", f"{q:.2f}")
            for (what, (p, q)), (a, b) in zip(
                PRINTED.items(), ours, strict=True
            )
        ],
        caption="Shares of the four types of layer, counted and as printed in table 2 of the paper. "
        "All but one agree to the last digit; 1.19 must be 1.91.",
    ),
    "shares",
)  # fmt: skip

# %% [markdown]
# ## Two multipliers
#
# The *width multiplier* α scales the number of maps of every layer, so work and weights fall roughly
# with α². The *resolution multiplier* ρ scales the side of the image: work falls with ρ², and the
# number of weights stays. Tables 4 to 7 of the paper give the cost of each form and its top-1 accuracy
# on ImageNet. The costs can be checked:

# %%
FORMS = {
    "full convolutions": ({"separable": False}, 224, 71.7, 4866, 29.3),
    "MobileNet": ({}, 224, 70.6, 569, 4.2),
    "α = 0.75": ({"width": 0.75}, 224, 68.4, 325, 2.6),
    "α = 0.5": ({"width": 0.5}, 224, 63.7, 149, 1.3),
    "α = 0.25": ({"width": 0.25}, 224, 50.6, 41, 0.5),
    "192 px": ({}, 192, 69.1, 418, 4.2),
    "160 px": ({}, 160, 67.2, 290, 4.2),
    "128 px": ({}, 128, 64.4, 186, 4.2),
    "shallow": ({"shallow": True}, 224, 65.3, 307, 2.9),
}
table, off = [], []
for name, (form, size, top1, millions, mparams) in FORMS.items():
    form_rows = counted(size, **form)
    work = sum(row.multiply_adds for row in form_rows) / 1e6
    parameters = sum(row.parameters for row in form_rows) / 1e6
    assert round(parameters, 1) == mparams
    if round(work) != millions:
        off.append(name)
    table.append((name, f"{work:,.1f}", f"{millions:,}", f"{parameters:.2f}", f"{mparams}", f"{top1} %"))  # fmt: skip

# %% [markdown]
# Separable convolutions divide the multiply-adds by 8.6 and the parameters by 6.9. They cost 1.1 points
# of accuracy:

# %% tags=["hide-input"]
show(
    Table.of(
        ("form", "M multiply-adds", "paper", "M parameters", "paper", "ImageNet top-1, paper"),
        table,
        caption="The networks of tables 4 to 7 of the paper: work and parameters counted here beside "
        "those printed, and the accuracy that the paper reports for each on ImageNet.",
    ),
    "forms",
)  # fmt: skip
ratios = [float(table[0][i].replace(",", "")) / float(table[1][i]) for i in (1, 3)]  # fmt: skip
assert [round(ratio, 1) for ratio in ratios] == [8.6, 6.9]
chapter.finding(
    "All parameters agree with the paper's as rounded, and the multiply-adds of all but two rows: full "
    "convolutions need 4,867 million where the paper prints 4,866, and images of 160 pixels 291 million "
    "where it prints 290.",
    holds=off == ["full convolutions", "160 px"],
)

# %% [markdown]
# To compare the two at the same work, we interpolate between the paper's numbers for thinner networks,
# at the work of the shallow network and at that of smaller images:

# %%
multipliers = {
    "thinner": ["α = 0.25", "α = 0.5", "α = 0.75", "MobileNet"],
    "smaller images": ["128 px", "160 px", "192 px", "MobileNet"],
}
work = {k: np.array([FORMS[f][3] for f in v]) for k, v in multipliers.items()}
top1 = {k: np.array([FORMS[f][2] for f in v]) for k, v in multipliers.items()}
thinner_at = np.interp(
    [307, *work["smaller images"]], work["thinner"], top1["thinner"]
)
apart = np.abs(thinner_at[1:] - top1["smaller images"])

# %% [markdown]
# Accuracy against work:

# %% tags=["hide-input"]
show(
    lines(
        work,
        top1,
        xlabel="million multiply-adds",
        ylabel="ImageNet top-1 in %, as the paper reports it",
        levels={"shallow": 65.3},
        marks={"307": 307},
        caption="Accuracy by work for the paper's two multipliers. The shallow network stands where the "
        "dashed line crosses the dotted one, below both curves.",
        alt="Two nearly coinciding curves that rise from about 51 per cent at 41 million to 71 per "
        "cent at 569 million multiply-adds; the shallow network, 65.3 per cent at 307 million, is "
        "marked below them.",
    ),
    "knobs",
)
chapter.finding(
    "Between 186 and 418 million multiply-adds, thinner networks and smaller images have the same "
    f"accuracy for the same work, to within {np.ceil(10 * apart.max()) / 10:.1f} points. Only the "
    "thinner network also has fewer weights. The shallow network "
    f"is {thinner_at[0] - 65.3:.1f} points below a thinner one: the paper's advice is thinner rather "
    "than shallower.",
    holds=bool(apart.max() < 0.5) and round(thinner_at[0], 1) == 67.9,
)

# %% [markdown]
# ## What a multiply-add costs
#
# The paper says that MobileNet "spends 95% of its computation time" in 1 × 1 convolutions, and refers
# to its table of multiply-adds. But a multiply-add is not a unit of time. A pointwise layer uses each
# number it reads once for every output map, 64 to 1,024 times. A depthwise layer uses it nine times at
# most, and may be *memory-bound*: reading then takes longer than computing. And each call of a layer
# costs something, however small the layer. So we measure, on the machine that made this page, one image
# at a time. A round is the median of several passes. The tables give the median of several rounds, because
# times vary:

# %%
from internals.anatomy import latency

repeats = chapter.at(smoke=3, quick=3, full=9)
rounds = chapter.at(smoke=1, quick=3, full=5)


def timed(layer: nn.Module, shape: tuple) -> np.ndarray:
    """Milliseconds for one image, in each round."""
    return 1e3 * np.array(
        [latency(layer, shape, repeats) for _ in range(rounds)]
    )


shape = (3, recipe.size, recipe.size)
times, worked = {}, {}
for name in ("full convolutions", "MobileNet", "α = 0.5", "shallow"):
    form = MobileNet(**FORMS[name][0])
    counts = [row.multiply_adds for row in summarize(form, shape)]
    times[name], worked[name] = timed(form, shape), sum(counts) / 1e6

# %% [markdown]
# The rightmost column would be the same for all forms if multiply-adds alone took time:

# %% tags=["hide-input"]
show(
    Table.of(
        ("form", "M multiply-adds", "ms", "fastest to slowest round", "G multiply-adds per second"),
        [
            (
                name,
                f"{worked[name]:,.0f}",
                f"{np.median(took):.1f}",
                f"{took.min():.1f} to {took.max():.1f}",
                f"{worked[name] / np.median(took):.1f}",
            )
            for name, took in times.items()
        ],
        caption=f"Four forms with ten classes on one image of {recipe.size} × {recipe.size}, which is "
        f"all zeros and already in memory: counted work, time of a forward pass in {rounds} round(s), and "
        "their ratio.",
    ),
    "latency",
)  # fmt: skip
middle = {name: float(np.median(took)) for name, took in times.items()}
chapter.finding(
    "Full convolutions need "
    f"{worked['full convolutions'] / worked['MobileNet']:.1f} times the multiply-adds of MobileNet, and "
    f"on this machine {middle['full convolutions'] / middle['MobileNet']:.1f} times its time.",
    holds=middle["MobileNet"] < middle["full convolutions"],
)

# %% [markdown]
# To see where the time goes, each layer is timed alone, on maps of its own size, and once more on maps of
# a single position. What is left there does not come from the size of the maps:

# %%
network = MobileNet()
names = {
    "3 × 3": "conv1",
    "3 × 3 depthwise": "depthwise",
    "1 × 1": "pointwise",
}
took, fixed, did = {}, {}, {}
before = shape
for row in summarize(network, shape):
    layer = network.get_submodule(row.name)
    if row.kind in ("Conv2d", "BatchNorm2d"):
        type_ = names.get(kind(layer), "normalisation")
        did[type_] = did.get(type_, 0) + row.multiply_adds
        took[type_] = took.get(type_, 0) + timed(layer, before)
        fixed[type_] = fixed.get(type_, 0) + timed(layer, (before[0], 1, 1))
    before = row.shape
each = {type_: float(np.median(rounded)) for type_, rounded in took.items()}
call = {type_: float(np.median(rounded)) for type_, rounded in fixed.items()}
slowness = (each["depthwise"] / did["depthwise"]) / (
    each["pointwise"] / did["pointwise"]
)

# %% [markdown]
# Added up by type of layer:

# %% tags=["hide-input"]
all_time, all_work = sum(each.values()), sum(did.values())
show(
    Table.of(
        ("layers", "% of multiply-adds", "% of time", "ms", "fastest to slowest round",
         "ms, one position", "ns per thousand multiply-adds"),
        [
            (
                name,
                f"{100 * did[name] / all_work:.1f}",
                f"{100 * each[name] / all_time:.1f}",
                f"{each[name]:.2f}",
                f"{took[name].min():.2f} to {took[name].max():.2f}",
                f"{call[name]:.2f}",
                f"{1e9 * each[name] / did[name]:.0f}" if did[name] else None,
            )
            for name in took
        ],
        caption="MobileNet's layers timed one by one and added up by type. Normalisation counts as no "
        f"work and takes time. Together the layers take {all_time:.1f} ms, and the whole network "
        f"{middle['MobileNet']:.1f}; rectifiers are not among the layers timed.",
    ),
    "time",
)  # fmt: skip
chapter.finding(
    f"A multiply-add of a depthwise layer takes {slowness:.1f} times as long as one of a pointwise "
    f"layer. On maps of one position the depthwise layers still take {call['depthwise']:.2f} of their "
    f"{each['depthwise']:.2f} ms, and the pointwise ones {call['pointwise']:.2f} of "
    f"{each['pointwise']:.2f}.",
    holds=slowness > 1.2,
)

# %% [markdown]
# Normalisation can be folded into the weights once training is over, and then takes no time. All times
# depend on the machine and its libraries. They show that a count of multiply-adds does
# not take the place of a measurement.
#
# ### Where this implementation departs from the paper
#
# | what | the paper | here |
# |---|---|---|
# | classes | 1,000 | 10 |
# | last depthwise layer | stride 2 printed, 1 meant | stride 1 |
# | initial weights | not given | convolutions normal with variance 2 / inputs, smaller in conv1; torch's default in the linear layer, its biases 0 |
# | optimiser | asynchronous RMSprop on many machines | AdamW on one machine |
# | labels | not smoothed | smoothed, as in the table below |
# | weights | not given | a running average over about the last hundred steps |
# | augmentation | less than for larger networks | InceptionNet's: crops of 8 to 100 % of the area, mirrored, colours changed |
#
# The resolution multiplier needs no argument: the mean takes maps of any size, so it is the image's
# size. `MobileNet(width=...)`, `shallow=True` and `separable=False` are the other forms.
#
# ## Training

# %% tags=["hide-input"]
from internals.training import SEED_RECIPES, hyperparameters

ours, notebook = (
    {name: rest for name, *rest in rows}
    for rows in (
        hyperparameters(recipe, images.train),
        hyperparameters(SEED_RECIPES["mobilenet"]),
    )
)
nothing = ("", "")
show(
    Table.of(
        ("hyperparameter", "here", "first notebook", "paper"),
        [
            (
                name,
                ours.get(name, nothing)[0],
                notebook.get(name, nothing)[0],
                ours.get(name, nothing)[1],
            )
            for name in dict.fromkeys([*ours, *notebook])
        ],
        caption="The recipe of the run below, that of the notebook this book grew from, and the paper's, "
        "which gives few numbers. The rows that only the notebook has belong to RMSprop, whose alpha "
        "weighs the past, to the steps of its rate, and to its batches in memory.",
    ),
    "recipe",
)

# %% [markdown]
# The paper does not have the first notebook's numbers: it says only that training was similar to
# Inception-v3's. A rate of 0.045 and ε = 1 are Inception-v3's [@szegedy2016], and the weight decay of
# 4 · 10⁻⁵ is that of [TF-slim](https://github.com/google-research/tf-slim), a library of networks for
# TensorFlow. Three
# differences between TensorFlow 1 and torch change what they mean. TensorFlow's `decay` of 0.9 is
# `alpha` in torch, where the default is 0.99. TensorFlow adds ε inside the root, torch outside. And
# TensorFlow's mean square starts at 1, torch's at 0. After a first gradient $g = 0.01$ the first steps
# of torch and of TensorFlow, before they are multiplied by the rate, are
#
# $$
# \frac{g}{\sqrt{0.1\, g^2} + 1} = 0.0099685,
# \qquad \frac{g}{\sqrt{0.9 + 0.1\, g^2 + 1}} = 0.0072547 .
# $$

# %%
weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
weight.grad = torch.full_like(weight, 0.01)
torch.optim.RMSprop([weight], lr=1.0, alpha=0.9, eps=1.0).step()
tensorflow = 0.01 / (0.9 * 1 + 0.1 * 0.01**2 + 1.0) ** 0.5
assert round(-weight.item(), 7) == 0.0099685
assert round(tensorflow, 7) == 0.0072547

# %% [markdown]
# Where ε is this much larger than the gradients, the step is nearly proportional to the gradient: in both
# libraries this is close to gradient descent with momentum. AdamW [@loshchilov2019] divides each gradient by
# its own running size instead, so that weights with small gradients move about as far as others. Earlier
# runs of 36 epochs, which this page does not repeat, had 79.0 % of the held-out images right with the
# notebook's optimiser, 82.5 % with AdamW, and 84.2 % with AdamW and the smaller crops of ResNet-18. This
# run has AdamW, crops of still more sizes, and more epochs.
#
# One rule is the paper's own. It found it important "to put very little or no weight decay" on the
# depthwise filters, since they have so few weights: thirteen tensors, 44,640 of the network's 3.2
# million parameters.

# %%
decayed, spared = recipe.optimizer.parameter_groups(network)
assert decayed["weight_decay"] > 0 == spared["weight_decay"]
assert len(spared["params"]) == 13
assert sum(p.numel() for p in spared["params"]) == 44_640
assert sum(p.numel() for p in network.parameters()) == 3_217_226

# %% [markdown]
# The weights are kept, so a second run of this chapter does not train again:

# %%
from internals.figures import percent
from internals.training import trained

run = trained(recipe, images, seed=chapter.seed)
test, seconds = run.test, run.provenance.seconds
chapter.record(test_top1=test.top1, test_loss=test.loss, seconds=seconds)
if chapter.profile != "smoke":
    assert test.top1 > 0.25

# %% [markdown]
# Training images are cropped and recoloured, which makes them harder, and held-out images are not. In
# the last six of the 54 epochs images are 224 pixels wide and before that 128. Held-out images are scored
# at the size of the epoch, and the epoch that is kept is one of the last six:

# %% tags=["hide-input"]
from internals.book import learning_curves

show(
    learning_curves(
        run,
        caption="Loss and accuracy by epoch. The training curve is the mean over augmented images while "
        "the epoch runs. Held-out images are scored after it, without augmentation and with the average "
        "of the weights. The dashed line is the accuracy of the kept epoch on the test images.",
        alt="Two charts by epoch: losses of training and held-out images, and their accuracies, "
        "with a dashed line at the test accuracy.",
    ),
    "training",
)
kept = run.history.best
print(
    f"Epoch {kept.number} of {len(run.history.epochs)} is kept. The network then has",
    f"{percent(kept.validation_top1)} of the held-out images right, and {percent(test.top1)} of the",
    f"{len(test.predicted):,} test images.",
    sep="\n",
)
epochs = run.history.epochs
middle, end = epochs[len(epochs) // 2 - 1], epochs[-1]
learned = 100 * (end.train_top1 - middle.train_top1)
gained = 100 * (end.validation_top1 - middle.validation_top1)
chapter.finding(
    "In the second half of training, the change of size included, the accuracy on held-out images rises "
    f"by {gained:.1f} points, and on augmented training images by {learned:.1f}. In the last epoch it is "
    f"{percent(end.validation_top1)} and {percent(end.train_top1)}.",
    holds=gained > 0.5,
)

# %% [markdown]
# Reports of MobileNet trained on these ten classes from scratch are rare. The one below is a single
# run of ten epochs, scored on 500 test images [@larson2019]. How far the recipe of this chapter has moved
# the weights is measured [below](#were-the-kernels-learned):

# %% tags=["hide-input"]
show(
    Table.of(
        ("network", "trained and tested on", "top-1"),
        [
            ("MobileNet, this chapter", run.provenance.data, percent(test.top1)),
            ("MobileNet, TensorFlow's Swift models", "Imagenette", "81.0 %"),
            ("MobileNet, the paper", "ImageNet", "70.6 %"),
            ("GoogLeNet, the same paper", "ImageNet", "69.8 %"),
            ("VGG-16, the same paper", "ImageNet", "71.5 %"),
        ],
        caption="Top-1 accuracy of single networks. ImageNet has a thousand classes and Imagenette ten "
        "easy ones of them, so rows of different data cannot be compared.",
    ),
    "scores",
)  # fmt: skip
either_way = 196 * (0.81 * 0.19 / 500) ** 0.5  # points, at 95 %
chapter.finding(
    f"{percent(test.top1)} of the {len(test.predicted):,} test images are right. The 81.0 % of the report, "
    f"on 500 images, are uncertain by {either_way:.1f} points either way, at 95 % confidence.",
    holds=test.top1 > 0.86,
)

# %% [markdown]
# The classes that are confused:

# %% tags=["hide-input"]
from internals.book import most_confused
from internals.figures import confusion

classes = images.test.class_names
show(
    confusion(
        test.confusion,
        classes,
        caption="Test images by true class (rows) and answer of the network (columns), right answers muted.",
        alt="A ten by ten matrix of counts of true class against answer.",
    ),
    "confusion",
)
counts = test.confusion
first, second = most_confused(counts)
print(
    f"No two classes are confused more often than {classes[first]} and {classes[second]}:",
    f"{counts[first, second] + counts[second, first]} times, both directions together.",
    sep="\n",
)

# %% [markdown]
# And the mistakes that it was surest of:

# %% tags=["hide-input"]
from internals.book import surest_mistakes, worst_mistakes

show(
    worst_mistakes(
        run,
        images.test,
        caption="The ten most confident mistakes on the test images: true class → answer, the probability "
        "of the answer, and the image's number.",
        alt="Ten misread images, each with its true class, the wrong answer and its confidence.",
    ),
    "mistakes",
)
surest = surest_mistakes(run, images.test)
called = np.bincount(test.predicted[surest], minlength=len(classes))
print(
    f"Of the {len(surest)}, {called.max()} are called {classes[int(called.argmax())]}; the least sure",
    f"of them has a probability of {percent(float(test.confidence[surest].min()), 0)}.",
    sep="\n",
)

# %% [markdown]
# ## Looking inside
#
# [How to look](00_how_to_look.py) explains how these pictures are made. The first layer is the only
# full 3 × 3 convolution here, and the only one whose filters act on colours:

# %%
from internals.figures import filters

weights = run.model.conv1.weight.detach()
show(
    filters(
        weights.numpy(),
        caption="The 32 filters of conv1, 3 × 3 pixels in three colours, all on one scale on which mid "
        "grey is 0. Most are nearly one colour. The strongest are green, blue, magenta and yellow.",
        alt="Thirty-two small grids of three by three coloured squares.",
    ),
    "conv1-filters",
)
magnitude = weights.square().sum(dim=(1, 2, 3))
plain = 9 * weights.mean(dim=(2, 3)).square().sum(dim=1) / magnitude
print(
    f"In {int((plain > 0.5).sum())} of the 32 filters the mean colour makes up more than half of the",
    "squared weights.",
    sep="\n",
)

# %% [markdown]
# The depthwise kernels of conv2 can be looked at too, because each reads one map only: kernel 7 filters
# map 7 of conv1. A full convolution from 32 maps to 32 would have 1,024 kernels. Two simple kinds can
# be counted. A kernel whose weights all have one sign blurs its map. One that has more than half of its
# magnitude in a single weight passes its map on, shifted by a pixel or not at all:

# %%
kernels = run.model.conv2.weight.detach().flatten(1)
blurs = int((kernels.sign().sum(dim=1).abs() == 9).sum())
passes = int((kernels.abs().amax(dim=1) > kernels.abs().sum(dim=1) / 2).sum())

# %% [markdown]
# All 32:

# %% tags=["hide-input"]
show(
    filters(
        run.model.conv2.weight.detach().numpy(),
        caption="The 32 depthwise kernels of conv2, kernel n for map n of conv1, all on one scale. Amber "
        "is positive, blue negative. They look like random numbers. How far they still are the ones that "
        "they began as is measured next.",
        alt="Thirty-two three by three grids in shades of amber and blue.",
        noun="kernel",
    ),
    "conv2-filters",
)
print(
    f"Of the 32 kernels, {blurs} have one sign throughout, and {passes} have more than half of their",
    "magnitude in a single weight.",
    sep="\n",
)

# %% [markdown]
# ### Were the kernels learned?
#
# All kernels begin as random numbers. The seed of the training decides which, so they can be drawn again.
# For each layer we take the correlation of its weights with those that it began with: at 1 training has
# changed at most their common scale and mean. And we take two root mean squares, of the initial weights and
# of the distance that training has moved them:

# %%
torch.manual_seed(chapter.seed)
initial = MobileNet()


def compared(n: int) -> tuple[float, float, float]:
    """A layer's correlation with its initial weights, their size, the distance."""
    first, last = (
        m.get_submodule(f"conv{n}").weight.detach().flatten()
        for m in (initial, run.model)
    )
    size, distance = (
        x.square().mean().sqrt().item() for x in (first, last - first)
    )
    kept = torch.stack([first, last]).corrcoef()[0, 1].item()
    return kept, size, distance


layers = {"depthwise": np.arange(2, 27, 2), "pointwise": np.arange(3, 28, 2)}
remains, began, moved = (
    dict(zip(layers, values, strict=True))
    for values in np.moveaxis(
        [[compared(n) for n in which] for which in layers.values()], 2, 0
    )
)

# %% [markdown]
# Both kinds of layer, by depth:

# %% tags=["hide-input"]
show(
    lines(
        layers,
        remains,
        xlabel="convolution",
        ylabel="correlation with the initial weights",
        caption="The correlation of each layer's trained weights with the random ones that it began with. "
        "At 1 a layer has kept their pattern.",
        alt="Two curves over the layers of the network, one for the depthwise and one for the pointwise "
        "layers.",
    ),
    "weights-kept",
)


def at_least(value: float) -> str:
    """Rounded down."""
    return f"{np.floor(100 * value) / 100:.2f}"


medians = {
    kind: {name: float(np.median(by[name])) for name in layers}
    for kind, by in {"kept": remains, "began": began, "moved": moved}.items()
}
less = int((remains["pointwise"] < remains["depthwise"]).sum())
chapter.finding(
    "The depthwise kernels are still close to the random numbers that they began as: half of the 13 layers "
    f"keep a correlation of {at_least(medians['kept']['depthwise'])} or more with them, and none one below "
    f"{at_least(remains['depthwise'].min())}. Of the pointwise layers half keep "
    f"{at_least(medians['kept']['pointwise'])} or more, and in {less} of the 13 pairs the pointwise one has "
    f"kept less. So this network filters with kernels that are largely random. It has "
    f"{percent(test.top1, 0)} of the test images right all the same.",
    holds=remains["depthwise"].min() > 0.97
    and medians["kept"]["pointwise"] < medians["kept"]["depthwise"]
    and less >= 9,
)
start, way = medians["began"], medians["moved"]
times = max(way.values()) / min(way.values())
chapter.finding(
    "What differs is less how far the weights have moved than where they began. Depthwise weights have moved "
    f"by {way['depthwise']:.2f} and pointwise ones by {way['pointwise']:.2f}, but they began at "
    f"{start['depthwise']:.2f} and {start['pointwise']:.2f} (root mean squares, medians over the layers).",
    holds=start["depthwise"] / start["pointwise"] > 1.5 * times,
)

# %% [markdown]
# Where a weight begins depends on the number of inputs that are added up: the variance is 2 / inputs. A
# depthwise kernel has nine inputs, a pointwise one 32 to 1,024. How far it goes depends on the optimiser,
# and AdamW's steps have about one size for all weights.
#
# ### What drives each channel
#
# We search the training images for those that drive the channels of sixteen layers hardest, from conv2
# to conv27. Images are ranked by the value *after* batch normalisation, which multiplies each map by a
# learned scale. Where the scale is negative, a large sum silences the channel:

# %%
from internals import Network

net = Network.of(run)
most = chapter.at(smoke=64, quick=512)
random = torch.Generator().manual_seed(chapter.seed)
some = torch.randperm(len(images.train), generator=random)[:most].sort().values
pictures = run.pipeline.view(images.train.subset(some))
numbers = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, *range(22, 28)]
top = net.strongest(pictures, [f"bn{n}" for n in numbers], k=9)

# %% [markdown]
# A channel whose largest value over all these images is not above 0 never passes its rectifier. Such a
# *dead* channel costs work and does nothing. We count these, and the negative scales:

# %%
channels = sum(len(rows) for rows in top.values())
idle = sum(int((rows.value[:, 0] <= 0).sum()) for rows in top.values())
turned = sum(int((run.model.get_submodule(x).weight < 0).sum()) for x in top)
print(
    f"Of {channels:,} channels in these layers {idle:,} are active on none of",
    f"{len(pictures):,} training images, and {turned:,} have a negative scale.",
    sep="\n",
)

# %% [markdown]
# The panels below show six channels each of the depthwise layers conv2, 6, 10, 14, 18 and 22, and three
# channels of the pointwise layer after each. After conv22 they show the rest of the network. Channels
# are taken by number. From conv6 on the captions say from how many of the ten classes the nine images
# of each row come:

# %%
from internals.activations import class_counts


def listed(layer: str, count: int) -> str:
    """From how many classes the images of the first channels come."""
    counts = class_counts(top[layer].image[:count], pictures.labels)
    return ", ".join(map(str, counts.tolist()))


# %% [markdown]
# #### conv2: filtering
#
# A channel of conv2 is one map of conv1, filtered again:

# %%
from internals.figures import panels

show(
    panels(
        net.patches(top["bn2"]),
        caption="The nine strongest patches of the first six channels of conv2, 7 × 7 pixels, under their "
        "guided projections. Channel 0 responds to black above white, 1 to dark strokes on white, 3 to red "
        "or pink, 4 to yellow, and 5 to red. Channel n is map n of conv1, filtered by kernel n of the figure "
        "above.",
        alt="Nine guided projections beside their patches for 6 channels of conv2: patches of seven "
        "by seven pixels.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# #### conv3: mixing
#
# The same 7 × 7 pixels, but now through all 32 maps:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn3"], range(3)),
        caption="Three channels of the pointwise layer conv3. Channel 0 responds to slanting light bands, 1 "
        "mostly to dark or blue at the image's border, and 2 to black left of white. Their field is that of "
        "conv2; each of them weights all 32 maps at one position.",
        alt="Nine guided projections beside their patches for 3 channels of conv3: patches of seven "
        "by seven pixels.",
    ),
    "conv3-strongest",
)

# %% [markdown]
# #### conv6 and conv7
#
# Nineteen pixels are enough for a corner, a few stripes or a small blob. Many projections
# have a fine lattice that is in no image, known as *checkerboard artefacts*. It can come from 3 × 3
# windows with stride 2. On the way back a pixel receives one, two or four contributions, depending on its
# position, and every further stride of 2 can add a coarser lattice:

# %%
from torch.nn.functional import conv_transpose2d

received = conv_transpose2d(
    torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), stride=2, padding=1
)
assert received[0, 0, 2:6, 2:6].unique().tolist() == [1, 2, 4]

# %% [markdown]
# The depthwise layer:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn6"]),
        caption="Six channels of conv6, patches of 19 × 19 pixels under their guided projections. Channel 0 "
        "responds mostly to dark left of light, 1 and 4 to red, often in letters and stripes, 2 to thin "
        "black lines on a pale ground, and 5 to level edges. The nine "
        f"images of a row come from {listed('bn6', 6)} classes.",
        alt="Nine guided projections beside their patches for 6 channels of conv6: patches of "
        "nineteen pixels.",
    ),
    "conv6-strongest",
)

# %% [markdown]
# And the pointwise layer after it:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn7"], range(3)),
        caption="Three channels of conv7, which mixes the maps of conv6 after their rectifier. All three "
        "respond mostly to red, 0 to level bands of it. The nine "
        f"images of a row come from {listed('bn7', 3)} classes.",
        alt="Nine guided projections beside their patches for 3 channels of conv7: patches of "
        "nineteen pixels.",
    ),
    "conv7-strongest",
)

# %% [markdown]
# #### conv10 and conv11
#
# The field is 43 pixels wide, and neighbouring units are 8 pixels apart:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn10"]),
        caption="Six channels of conv10, patches of 43 × 43 pixels. Channels 0, 1 and 4 respond mostly to "
        "red or orange, 0 to level and 1 to upright bands of it. Channel 2 mostly has white below black, 3 "
        "level stripes and edges, and 5 upright edges. The nine images of a row come from "
        f"{listed('bn10', 6)} classes.",
        alt="Nine guided projections beside their patches for 6 channels of conv10: patches of "
        "forty-three pixels.",
    ),
    "conv10-strongest",
)

# %% [markdown]
# The layer that mixes them:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn11"], range(3)),
        caption="Three channels of conv11, with the field of conv10. Channel 0 responds mostly to slanting "
        "stripes and the tubes of French horns, 1 to slanting edges and tubes, and 2 to level stripes and "
        "edges. The nine images of a row come from "
        f"{listed('bn11', 3)} classes. The next figure splits the first channel into the maps it is "
        "mixed from.",
        alt="Nine guided projections beside their patches for 3 channels of conv11: patches of "
        "forty-three pixels.",
    ),
    "conv11-strongest",
)

# %% [markdown]
# ### A unit's value, split exactly
#
# A pointwise layer sees one position only, so its value is a sum over the maps below at that position.
# With $s$ and $t$ the scale and shift that the normalisation comes to in the end, channel 0 of conv11
# is $\sum_m s\, p_{0m}\, b_m + t$, where $b_m$ is now taken after its normalisation and rectifier. The
# sum has one part for each of 256 maps:

# %%
unit, norm = top["bn11"][0], run.model.bn11
maps = net.capture(pictures.subset(unit.image[0]), ["relu10"])["relu10"]
b = maps[torch.arange(9), :, unit.row[0], unit.column[0]]
s = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()[0]
t = norm.bias.detach()[0] - norm.running_mean[0] * s
parts = s * run.model.conv11.weight.detach()[0, :, 0, 0] * b
assert torch.allclose(parts.sum(dim=1) + t, unit.value[0], atol=1e-3)

# %% [markdown]
# We take the mean of these parts over the nine strongest patches, the maps that contribute most to it, and
# the number of those that make up half of all that is positive:

# %%
mean = parts.mean(dim=0)
heaviest = mean.topk(3).indices.tolist()
positive = mean.clamp(min=0).sort(descending=True).values
half = int((positive.cumsum(0) < positive.sum() / 2).sum()) + 1
show(
    panels(
        net.patches(unit, [0]) + net.patches(top["bn10"], heaviest),
        caption="First row: what drives channel 0 of the pointwise layer conv11. Below it: what drives the "
        "three channels of the depthwise layer conv10 that contribute most to it. These are stripes, tubes "
        "of nine French horns that rise to the right, and edges that fall to the right.",
        alt="Four rows of nine patches with projections: one pointwise channel, and the three "
        "depthwise channels that contribute most to it.",
    ),
    "pointwise-inputs",
)
print(
    f"Half of the positive sum comes from {half} of {len(mean)} maps. The three shown contribute",
    f"{percent(float(positive[:3].sum() / positive.sum()), 0)} of that sum.",
    sep="\n",
)

# %% [markdown]
# #### conv14 and conv15
#
# The field is 91 pixels wide. Here the five pairs of equal width begin:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn14"]),
        caption="Six channels of conv14, patches of 91 × 91 pixels. Channel 2 responds mostly to the upper "
        "edge of a golf ball, 3 to a small red or orange thing, and 4 to white beside dark, four times on a "
        "springer. In 0 there is no common theme. The nine images of a row come from "
        f"{listed('bn14', 6)} classes.",
        alt="Nine guided projections beside their patches for 6 channels of conv14: patches of "
        "ninety-one pixels, or whole images where these are smaller.",
    ),
    "conv14-strongest",
)

# %% [markdown]
# The layer that mixes them:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn15"], range(3)),
        caption="Three channels of conv15, with the field of conv14. Channel 0 responds mostly to red, five "
        "times on a parachute, 1 mostly to letters, keys and windows, and 2 mostly to the texture of grass "
        "and bare ground. The nine images of a row come from "
        f"{listed('bn15', 3)} classes.",
        alt="Nine guided projections beside their patches for 3 channels of conv15: patches of "
        "ninety-one pixels.",
    ),
    "conv15-strongest",
)

# %% [markdown]
# #### conv18 and conv19
#
# The field is 155 pixels wide:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn18"]),
        caption="Six channels of conv18, patches of 155 × 155 pixels, cut off at the image's border. Channel "
        "1 responds mostly to a wall above the ground, six times a church's, and 4 mostly to outlines before "
        "the sky. In 0, 2 and 5 there is no common theme. The "
        f"nine images of a row come from {listed('bn18', 6)} classes.",
        alt="Nine guided projections beside their patches for 6 channels of conv18: large patches "
        "or whole images.",
    ),
    "conv18-strongest",
)

# %% [markdown]
# The pointwise layer after it:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn19"], range(3)),
        caption="Three channels of conv19, with the field of conv18. Channel 0 has mostly golf balls and "
        "faces of dogs and a man, and 1 eight cassette players. In 2 there is no common theme. The nine "
        "images of a row come from "
        f"{listed('bn19', 3)} classes.",
        alt="Nine guided projections beside their patches for 3 channels of conv19: large patches "
        "or whole images.",
    ),
    "conv19-strongest",
)

# %% [markdown]
# #### conv22 and conv23
#
# The last of the five equal pairs has a field of 219 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn22"]),
        caption="Six channels of conv22, whose field is nearly as wide as the paper's images. Channel 0 has "
        "eight golf balls and a church, and its projections show the grass below them. Channel 2 has eight "
        "churches and a parachute, most before a blue sky, and 3 mostly parachutes and springers. In 5 there "
        f"is no common theme, and its largest value is only {top['bn22'].value[5, 0]:.1f}. The nine "
        f"images of a row come from {listed('bn22', 6)} classes.",
        alt="Nine guided projections beside their patches for 6 channels of conv22: large patches "
        "or whole images.",
    ),
    "conv22-strongest",
)

# %% [markdown]
# The pointwise layer after it, before the maps' sides are halved for the last time:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn23"], range(3)),
        caption="Three channels of conv23, with the field of conv22. Channel 0 has nine golf balls. Channel "
        "1 mixes classes, and 2 has mostly churches. The nine images of a row come from "
        f"{listed('bn23', 3)} classes.",
        alt="Nine guided projections beside their patches for 3 channels of conv23: large patches "
        "or whole images.",
    ),
    "conv23-strongest",
)

# %% [markdown]
# #### conv24 to conv27
#
# The last two pairs work on the smallest maps. Their receptive fields are wider than the image. A unit
# in the middle sees all of it, or all but two pixels at the right and lower edges, so the patch no longer
# narrows down the cause:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn24"], range(3)),
        caption="Three channels of the depthwise layer conv24, shown on whole images. Channel n filters map "
        "n of conv23. Channel 0 again has nine golf balls, mostly the same ones. Channel 2 has mostly golf "
        "balls, where its map has mostly churches. The nine images of a "
        f"row come from {listed('bn24', 3)} classes.",
        alt="Nine guided projections beside their patches for 3 channels of conv24: whole images.",
    ),
    "conv24-strongest",
)

# %% [markdown]
# The pointwise layer of the same pair:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn25"], range(3)),
        caption="Three channels of the pointwise layer conv25, shown on whole images. Channel 0 has seven "
        "churches and two parachutes, 1 nine parachutes, and 2 nine garbage trucks. The projections of "
        "channel 1 show the jumpers rather than the parachutes. The nine images of a "
        f"row come from {listed('bn25', 3)} classes.",
        alt="Nine guided projections beside their patches for 3 channels of conv25: whole images.",
    ),
    "conv25-strongest",
)

# %% [markdown]
# The last depthwise layer:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn26"], range(3)),
        caption="Three channels of conv26, the last depthwise layer, shown on whole images. Channels 0 and 1 "
        "have nine parachutes each, and 2 nine garbage trucks. Channel 0 filters a map that has mostly "
        "churches in the figure before. The nine images "
        f"of a row come from {listed('bn26', 3)} classes.",
        alt="Nine guided projections beside their patches for 3 channels of conv26: whole images.",
    ),
    "conv26-strongest",
)

# %% [markdown]
# And the layer whose maps are averaged for the classifier:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn27"], range(3)),
        caption="Three of the 1,024 channels of conv27, shown on whole images. Channel 0 has nine French "
        "horns, 1 nine springers, and 2 nine tenches. The nine images of a row come "
        f"from {listed('bn27', 3)} classes. One linear layer lies between the means of these maps and the "
        "scores.",
        alt="Nine guided projections beside their patches for 3 channels of conv27: whole images.",
    ),
    "conv27-strongest",
)

# %% [markdown]
# An image can also be made for a channel. It begins as noise and is changed step by step so that it
# drives the unit in the middle of the map ever harder [@olah2017]. It need not beat the strongest
# photograph, which may drive another unit of the channel:

# %% tags=["hide-input"]
from internals.figures import beside_strongest, portraits
from internals.projection import middle_units

units = middle_units(net, top["bn27"].layer, range(3))
made = net.optimise(
    units, pictures=pictures, steps=chapter.at(smoke=1, quick=48, full=256)
)
show(
    portraits(
        beside_strongest(net.patches(top["bn27"].head(1), range(3)), made),
        caption="Three channels of conv27: the image that drives each hardest, and one made from noise for "
        "its middle unit, with the value that each reaches. The network has never seen an image like the "
        "second, and another start gives another one.",
        alt="For three channels of conv27 the strongest image beside an optimised one of "
        "coloured patterns made from noise.",
    ),
    "conv27-optimised",
)

# %% [markdown]
# ### Are the layers that mix more class-selective?
#
# If they are, the nine strongest images of a pointwise channel come from fewer classes than those of
# the depthwise layer before it, which has the same field. We count classes over all channels of a
# layer. Nine images drawn at random from ten classes of equal size come from 6.1 on average. But
# channels of an untrained network may sort images as well. So the same is done with random weights,
# drawn from another seed than this training began with:

# %%
drawn = 10 * (1 - 0.9**9)
assert round(drawn, 1) == 6.1
torch.manual_seed(chapter.seed + 1)
untrained = MobileNet().eval()
before = Network(untrained, normalization=run.normalization).strongest(
    pictures, list(top), k=9
)
by_channel = {
    name: [class_counts(rows.image, pictures.labels) for rows in found.values()]
    for name, found in {"trained": top, "untrained": before}.items()
}  # fmt: skip
counted_classes = {
    name: np.array([counts.double().mean().item() for counts in of_layers])
    for name, of_layers in by_channel.items()
}

# %% [markdown]
# A stricter count is that of channels whose nine images are all of one class. And one class may be the
# commonest of many channels:

# %%
unanimous = {
    name: float((of_layers[-1] == 1).double().mean())
    for name, of_layers in by_channel.items()
}
held = nn.functional.one_hot(pictures.labels[top["bn27"].image], 10)
leading = held.sum(dim=1).argmax(dim=1).bincount(minlength=10)

# %% [markdown]
# Depthwise and pointwise layers apart:

# %% tags=["hide-input"]
steps, mixed = {}, {}
for name, values in counted_classes.items():
    for parity, which in enumerate(("depthwise", "pointwise")):
        chosen = np.array(numbers) % 2 == parity
        label = which if name == "trained" else f"{which}, untrained"
        steps[label], mixed[label] = np.array(numbers)[chosen], values[chosen]
show(
    lines(
        steps,
        mixed,
        xlabel="convolution",
        ylabel="classes among nine images",
        levels={"at random": drawn},
        caption="From how many classes the nine strongest images of a channel come, the mean over all "
        "channels of a layer, for the trained network and for an untrained one. The dashed line is the "
        "mean for nine images drawn at random; 1 would mean one class only.",
        alt="Four curves over the layers of the network: depthwise and pointwise layers of the trained "
        "and of an untrained network, with a dashed line for images drawn at random.",
    ),
    "classes",
)
fewer = {
    name: int((values[1::2] < values[::2]).sum())
    for name, values in counted_classes.items()
}
of_26, of_27 = counted_classes["trained"][-2:]
falls = {
    name: values[::2] - values[1::2]
    for name, values in counted_classes.items()
}
widest = int(falls["trained"].argmax())
chapter.finding(
    f"They are in {fewer['trained']} of the eight pairs, and without training in {fewer['untrained']}; by "
    f"chance it would be four. The step is widest from conv{numbers[2 * widest]} to "
    f"conv{numbers[2 * widest + 1]}, by {falls['trained'][widest]:.1f} classes; without training no step is "
    f"wider than {falls['untrained'].max():.1f}. In the last pair conv26 has {of_26:.1f} classes and conv27 "
    f"{of_27:.1f}, where an untrained conv27 has {counted_classes['untrained'][-1]:.1f}.",
    holds=fewer["trained"] > max(fewer["untrained"], 5)
    and bool(of_27 < counted_classes["untrained"][-1] - 0.5),
)
most_often = classes[int(leading.argmax())]
chapter.finding(
    f"All nine images are of one class in {percent(unanimous['trained'], 0)} of the channels of conv27, and "
    f"without training in {percent(unanimous['untrained'], 0)}. The commonest class of a row is most often "
    f"{most_often}, in {percent(float(leading.max() / leading.sum()), 0)} of the channels of conv27; shared "
    "evenly, each class would have 10 %.",
    holds=unanimous["trained"] > unanimous["untrained"] + 0.05,
)

# %% [markdown]
# ## Where in the image a class is found
#
# For each class we take the test image that the network reads rightly with the greatest confidence:

# %%
ten = torch.arange(10)
truth = images.test.labels.numpy()[: len(test.predicted)]
sure = np.where(test.predicted == truth, test.confidence, 0)
ids = [int(np.where(truth == c, sure, -1).argmax()) for c in range(10)]
shown = run.pipeline.view(images.test.subset(torch.tensor(ids)))

# %% [markdown]
# Between conv27's rectifier and the score lie a mean and a linear layer. So Grad-CAM [@selvaraju2017]
# is exact here before its own rectifier, as in [ResNet-18](05_resnet18.py). At each position the maps
# are weighted by the class's row of the linear layer and added. The mean of these values over all
# positions is the score less its bias. Grad-CAM shows the positive ones:

# %%
head = run.model.fc.weight.detach()
last = net.capture(shown, ["relu27", "fc"])
places = last["relu27"][0, 0].numel()
by_hand = torch.einsum("nc,ncij->nij", head, last["relu27"]) / places
cam = net.grad_cam(shown, "relu27", ten)
assert torch.allclose(cam, by_hand.clamp(min=0), atol=1e-4)
scores = last["fc"].flatten(1).diagonal()
total = by_hand.sum(dim=(1, 2)) + run.model.fc.bias.detach()
assert torch.allclose(total, scores, atol=1e-3)

# %% [markdown]
# Two more maps stand beside it. A saliency map is the size of the score's gradient at each pixel
# [@simonyan2014]. An occlusion map records how far the score falls when a grey square, a sixth of the
# side wide, covers a part of the image [@zeiler2014]. It needs no rule for a backward pass. But an
# image with a grey square is like none that the network was trained on, so this map has a fault of
# its own:

# %%
from scipy.stats import spearmanr

from internals.projection import occlusion_map, upsampled

whole = (recipe.size, recipe.size)
square = {"size": recipe.size // 6, "stride": recipe.size // 12}
covered = net.occlusion(shown, ten, **square)
lost = occlusion_map(covered, scores, whole, **square)
sensitive = net.saliency(shown, ten)
laid = upsampled(cam, whole, net.receptive_field("relu27"))
agree = [
    spearmanr(*pair, axis=None).statistic
    for pair in zip(laid.numpy(), lost.numpy(), strict=True)
]

# %% [markdown]
# The maps of three of the ten. Each cell of Grad-CAM lies over the centre of its unit's receptive field:

# %% tags=["hide-input"]
from internals.figures import overlays

three = [0, 4, 8]
show(
    overlays(
        list(shown.images[three].numpy() / 255),
        [[m[n].numpy() for m in (laid, lost, sensitive)] for n in three],
        ["Grad-CAM", "score lost", "saliency"],
        names=[classes[shown.labels[n]] for n in three],
        notes=[[f"for {classes[n]}", "", ""] for n in three],
        caption="Three test images and what speaks for their class: Grad-CAM of conv27, the score lost when "
        "a square is covered (blue where the score rises), and the size of the gradient.",
        alt="Three rows, each an image followed by three amber and blue heat maps over a grey copy of it.",
    ),
    "class-maps",
)
chapter.finding(
    "In none of the ten images do Grad-CAM and the score lost order the places alike: their rank correlation "
    f"is {np.mean(agree):.2f} on average, from {min(agree):.2f} to {max(agree):.2f}.",
    holds=max(agree) < 0.8,
)

# %% [markdown]
# ## Which pictures to believe
#
# The control of Adebayo and others [@adebayo2018] puts untrained weights into the network from the
# top down, and projects the same units again. The untrained network is that of the class counts, from
# another seed than this training began with. Twenty-seven convolutions are too many for one step
# each, so they are taken in three portions, for the strongest unit of twelve channels of conv27:

# %%
portions = {
    "conv19 to 27 random": range(19, 28),
    "conv10 to 27 random": range(10, 19),
    "all random": range(1, 10),
}
stages = {
    title: [f"{part}{n}" for n in portion for part in ("conv", "bn")]
    for title, portion in portions.items()
}
units = top["bn27"][:12].head(1)
control = net.sanity(pictures, units, untrained=untrained, stages=stages)

# %% [markdown]
# A picture that stays the same does not show what was learned. ρ is the rank correlation of a picture's
# magnitudes with those of the trained one. Even pictures of different things do not have 0, since influence
# falls off from the middle of every field. What they have is the *baseline*: the mean ρ of trained pictures
# of different channels on different images, fields laid on one another. A ρ no higher leaves nothing of the
# trained picture.

# %% tags=["hide-input"]
from internals.figures import comparison

show(
    comparison(
        control.pictures(),
        ["trained", *stages],
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption="Channel 0 of conv27 projected as trained, and with more and more untrained layers from "
        "the top down, each picture on its own scale. Below a picture stands ρ, the mean of "
        f"{len(units)} units, and below the trained one the baseline of its rule.",
        alt="Three rows of four projections, for the gradient, deconvnet and guided rules, with rank "
        "correlations below.",
    ),
    "control",
)
above = control.magnitudes.mean(axis=2) - control.baseline[:, None]
gradient, deconvnet, guided = above
chapter.finding(
    "A guided picture depends less on conv19 to conv27 than a gradient does. With these layers untrained, ρ "
    f"is {guided[1]:.2f} above its baseline for the guided rule, where the trained picture has "
    f"{guided[0]:.2f}. For the gradient it is {gradient[1]:.2f} of {gradient[0]:.2f}, for the deconvnet "
    f"{deconvnet[1]:.2f} of {deconvnet[0]:.2f}.",
    holds=bool(guided[1] / guided[0] > gradient[1] / gradient[0] + 0.1),
)

# %% [markdown]
# What untrained pictures have in common with trained ones may be their image. The test is a picture of the
# same unit on another image. Each unit is projected in the untrained network, on its own image and on that
# of the next unit, and both are compared with the trained picture:

# %%
from internals.projection import rank_correlation

own = units.image[:, 0].tolist()
next_one = own[1:] + own[:1]
learned = net.project(pictures, units.units(), image_index=own)
bare = Network(untrained, normalization=run.normalization)
on_own, on_next = (
    rank_correlation(
        learned, bare.project(pictures, units.units(), image_index=numbers)
    )
    for numbers in (own, next_one)
)
print(
    f"All layers untrained, guided: ρ is {on_own:.2f} on the unit's own image",
    f"and {on_next:.2f} on another; the baseline is {control.baseline[-1]:.2f}.",
    sep="\n",
)

# %% [markdown]
# So the evidence in the panels is their patches and classes. A guided projection says at most where in
# a patch something lies.
#
# The deconvnet has a fault of its own here. MobileNet has no max pooling, whose switches tie a
# deconvnet to the image. Without switches that rule's backward pass does not depend on the image: the
# projection of a channel is one fixed template, moved to the unit's position. Two images give the
# same picture:

# %%
from internals import Unit

two = pictures.subset(top["bn10"].image[0, :2])
centre = last["relu27"].shape[-1] * 2  # of maps with sides four times as long
same = [Unit("bn10", 0, centre, centre)] * 2
one, other = net.project(two, same, "deconvnet")
assert torch.allclose(one.pixels, other.pixels, atol=1e-6)

# %% [markdown]
# ## Key features
#
# - **Depthwise, then pointwise**: one kernel per map, one weight per pair of maps. With full convolutions
#   the network would need 8.6 times as many multiply-adds.
# - **A pair is a full convolution of rank 1**, but for the rectifier in between.
# - **Stride 2** instead of pooling, and a mean instead of wide linear layers.
# - **Kernels close to their random start**: every depthwise layer keeps a correlation above 0.97 with it.
# - **Two multipliers** trade accuracy for work: width, which saves weights too, and resolution.
# - **Multiply-adds are not time**: one of a depthwise layer took longer than one of a pointwise layer on
#   the machine used here.
#
# ## Do this with your own network
#
# Count the work of your own network layer by layer, and then measure its time. `mine:network` stands
# for the function or class `network` in your file `mine.py`:
#
# ```sh
# internals summary mine:network --weights mine.pth
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
# ```python
# from internals import Network
# from internals.anatomy import latency
#
# net = Network.open("mine:network", weights="mine.pth")
# print(f"{1000 * latency(net):.1f} ms for one image")
# ```
#
#
# ## Exercises
#
# 1. Take the rectifiers after the depthwise layers out (`net.relu2 = nn.Identity()` and so on), train
#    again, and compare. What did they contribute?
# 2. A trained full convolution can be replaced by the pair nearest to it: for each map, the first
#    singular vectors of its kernels. Do it to a layer of `MobileNet(separable=False)`. How much of
#    the kernels does rank 1 keep?
# 3. Time the layers again with a batch of 32 images. Which rows of the table change most, and why?
#
# [Side by side](10_side_by_side.py) compares the six networks of this book.
