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
# thumbnail: conv14-strongest
# description: A convolution taken apart into looking and mixing, for a ninth of the work.
# network: mobilenet
# data: imagenette
# ---

# %% [markdown]
# # MobileNet: look first, mix afterwards
#
# A convolution does two things at once: it looks at a neighbourhood, and it mixes the maps below
# into new ones. Laurent Sifre took the two apart in his thesis of 2014 [@sifre2014]. In 2017 Andrew
# Howard and seven colleagues at Google built a whole network of such pairs, small enough for a
# phone [@howard2017]: an eighth to a ninth of the work of the same network with full convolutions,
# for 1.1 points of accuracy on ImageNet. And they gave it two knobs, so that whoever has less time
# or memory can buy less network.
#
# **What you will see**
#
# - a pair of small convolutions that equals one large one, and what it cannot be;
# - the paper's tables recounted, with two misprints, and its two knobs on one chart;
# - a stopwatch beside the count: layers with 3 % of the multiply-adds and far more of the time;
# - what drives layers that look and layers that mix, and a unit's value split among its inputs.

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
# A full convolution has a 3 × 3 kernel for every pair of a map $m$ that goes in and a map $n$ that
# comes out. MobileNet has one kernel $d_m$ for each map that goes in, and one weight $p_{nm}$ for
# each pair. First every map is filtered by itself (*depthwise*), then the filtered maps are mixed
# at each place (*pointwise*):
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
        caption="A depthwise separable convolution on four maps. The first step looks at neighbours "
        "but keeps the maps apart; the second mixes the maps but sees no neighbour. Follow the "
        "boxes: three by three pixels, then one.",
        alt="Three stages: four maps of twelve by twelve, four filtered maps of the same size, six "
        "mixed maps. The first step has a window of three by three, the second of one.",
    ),
    "separable",
)

# %% [markdown]
# Put together, the two are a full convolution whose kernels are $W_{nm} = p_{nm}\, d_m$. Two lines
# against one:

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
# So nothing is computed that a full convolution could not compute. What is given up is freedom. All
# 64 kernels that read one map are multiples of a single one: laid out as the rows of a matrix, they
# have rank 1, where a full convolution's have rank 9. In exchange, 2,336 weights stand for 18,432:

# %%
read_one_map = W[:, 5].flatten(1)
free = torch.randn(64, 9)
assert torch.linalg.matrix_rank(read_one_map) == 1
assert torch.linalg.matrix_rank(free) == 9
assert (d.numel() + p.numel(), W.numel()) == (2_336, 18_432)

# %% [markdown]
# One thing MobileNet does differently: it puts batch normalisation and a rectifier after *each* of
# the two. With a rectifier in between, the pair is no longer a full convolution of any kind.
#
# ## What it costs
#
# Both forms work at every place of the map, so their costs compare as the products at one place. With
# $N$ maps coming out, whatever the number going in, the pair costs
#
# $$
# \frac{9 M + M N}{9 M N} = \frac{1}{N} + \frac{1}{9}
# $$
#
# of the full convolution (the paper's equation 5). For the widths of this network, 64 to 1,024 maps,
# that is 7.89 to 8.92 times less. It can never be nine:

# %%
import numpy as np

from internals.figures import lines

N = np.arange(1, 1025)
saving = 1 / (1 / N + 1 / 9)
times = saving[[63, 127, 255, 511, 1023]].round(2).tolist()
assert times == [7.89, 8.41, 8.69, 8.84, 8.92]
show(
    lines(
        N,
        {"the pair": saving},
        xlabel="maps that come out, N",
        ylabel="times fewer multiply-adds",
        levels={"9 taps": 9.0},
        marks={str(n): n for n in (64, 256, 512, 1024)},
        caption="How many times fewer multiply-adds the pair needs than a full 3 × 3 convolution. "
        "The ceiling is the nine taps of the window. The marks are numbers of maps in the "
        "network: even the narrowest block saves nearly eightfold, and no wider one gains much.",
        alt="A curve that rises steeply from about one to eight at sixty-four maps, then creeps "
        "towards a dashed line at nine.",
    ),
    "saving",
)

# %% [markdown]
# ## The whole network
#
# A full convolution, thirteen pairs, an average over the places that are left, and one matrix. There
# is no pooling in between: five of the 3 × 3 windows move in steps of two.

# %% tags=["hide-input"]
show(
    stack(
        [
            Stage("input", 3, 224, 224, "3 × 3, step 2", 3),
            Stage("conv1", 32, 112, 112, "1 pair", 3),
            Stage("conv3", 64, 112, 112, "2 pairs", 3),
            Stage("conv7", 128, 56, 56, "2 pairs", 3),
            Stage("conv11", 256, 28, 28, "6 pairs", 3),
            Stage("conv23", 512, 14, 14, "2 pairs", 3),
            Stage("conv27", 1024, 7, 7, "average"),
            Stage("avgpool", 1024, operation="linear"),
            Stage("fc", 1000),
        ],
        caption="MobileNet drawn to scale for the paper's images. Whenever the grid is halved the "
        "maps double. Six of the thirteen pairs work on grids of 14 × 14, five of them on 512 maps "
        "and alike: the paper's shallow network leaves just these five out.",
        alt="Nine stages from a 224 by 224 input to 1,000 outputs: 32 maps of 112, 64 of 112, 128 of "
        "56, 256 of 28, 512 of 14, 1,024 of 7, 1,024 averages and 1,000 classes.",
    ),
    "architecture",
)

# %% [markdown]
# For counting no weight has to be drawn: torch's `meta` device has shapes only. Depthwise layers are
# those with as many groups as maps:

# %%
from internals.anatomy import summarize
from internals.models import MobileNet


def counted(size: int = 224, **form) -> list:
    with torch.device("meta"):
        return summarize(MobileNet(1000, **form), (3, size, size))


def kind(layer: nn.Module) -> str:
    if not isinstance(layer, nn.Conv2d):
        return "linear"
    looks = f"{layer.kernel_size[0]} × {layer.kernel_size[0]}"
    return f"{looks} depthwise" if layer.groups > 1 else looks


# %% [markdown]
# The table below is read off one forward pass, each convolution with its normalisation:

# %%
from internals.figures import Table

rows = {row.name: row for row in counted()}
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
# The paper counts depthwise and pointwise layers apart, and with the matrix arrives at 28
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
            "field / step",
        ),
        table,
        caption="MobileNet layer by layer for an image of 224 × 224 and 1,000 classes. A pointwise "
        "layer sees what the depthwise layer before it sees. From conv24 on the field is wider than "
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
# Whoever builds this from the paper's table 1 stumbles over its last depthwise row, which says step
# 2, with 7 × 7 going in and 7 × 7 coming out. Both cannot be true. A step of 2 would leave 4 × 4, and
# the multiply-adds would come out below the paper's 569 million; so the step is 1:

# %%
shapes = [rows[name].shape for name in ("conv25", "conv26", "conv27")]
assert shapes == [(1024, 7, 7)] * 3
lost = (9 * 1024 + 1024**2) * (7 * 7 - 4 * 4)
print(f"with step 2: {(568_740_352 - lost) / 1e6:.0f} M multiply-adds")
assert round((568_740_352 - lost) / 1e6) == 534

# %% [markdown]
# ## Where the work is
#
# Nearly all of it is in the mixing. Table 2 of the paper gives shares for four types of layer. Its
# third number is a misprint, two digits swapped: the column as printed sums to 99.29 %. The
# parameters agree if weights alone are counted:

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
# What looks at the image, apart from the first layer, is a hundredth of the weights:

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
        "All but one agree to the last digit; 1.19 must read 1.91.",
    ),
    "shares",
)  # fmt: skip

# %% [markdown]
# ## Two knobs
#
# The *width multiplier* α scales the number of maps of every layer, so work and weights fall roughly
# with α². The *resolution multiplier* ρ is the size of the image: work falls with ρ², weights stay.
# Tables 4 to 7 of the paper give what each form costs and its top-1 accuracy on ImageNet. The costs
# we can check:

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
table = []
for name, (form, size, top1, millions, mparams) in FORMS.items():
    form_rows = counted(size, **form)
    work = sum(row.multiply_adds for row in form_rows) / 1e6
    parameters = sum(row.parameters for row in form_rows) / 1e6
    assert abs(work - millions) < 1.5 and abs(parameters - mparams) < 0.06
    table.append((
        name, f"{work:,.1f}", f"{millions:,}", f"{parameters:.2f}",
        f"{mparams}", f"{top1} %",
    ))  # fmt: skip

# %% [markdown]
# Every row agrees within the paper's rounding. Taking the convolutions apart saves 8.6 times the
# work and 6.9 times the parameters of the whole network, and costs 1.1 points:

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

# %% [markdown]
# Which knob should one turn? At 307 million multiply-adds, the work of the shallow network, a thinner
# one would have 67.9 % by the straight line between its neighbours, 2.6 points more. And at the 290
# million of the images of 160 pixels the two knobs agree to half a point:

# %%
knobs = {
    "thinner": ["α = 0.25", "α = 0.5", "α = 0.75", "MobileNet"],
    "smaller images": ["128 px", "160 px", "192 px", "MobileNet"],
}
work = {k: np.array([FORMS[f][3] for f in v]) for k, v in knobs.items()}
top1 = {k: np.array([FORMS[f][2] for f in v]) for k, v in knobs.items()}
thinner_at = np.interp([307, 290], work["thinner"], top1["thinner"])
assert round(thinner_at[0], 1) == 67.9 and abs(thinner_at[1] - 67.2) < 0.5

# %% [markdown]
# Drawn as accuracy against work:

# %% tags=["hide-input"]
show(
    lines(
        work,
        top1,
        xlabel="million multiply-adds",
        ylabel="ImageNet top-1 in %, as the paper reports it",
        levels={"shallow": 65.3},
        marks={"307": 307},
        caption="What the paper's two knobs cost. Where both curves have points they fall together: "
        "for the same work they give the same accuracy, but only the thinner network is also "
        "smaller. The shallow network stands where the dashed line crosses the dotted one, well "
        "below both.",
        alt="Two nearly coinciding curves that rise from about 51 per cent at 41 million to 71 per "
        "cent at 569 million multiply-adds; the shallow network, 65.3 per cent at 307 million, is "
        "marked below them.",
    ),
    "knobs",
)

# %% [markdown]
# That is the paper's advice in one picture: thinner rather than shallower.
#
# ## What a multiply-add costs
#
# The paper says that MobileNet "spends 95% of its computation time" in 1 × 1 convolutions, and
# refers to its table of multiply-adds. But a multiply-add is not a unit of time. A pointwise layer
# uses each number it reads once for every map it makes, hundreds of times; a depthwise layer uses
# it nine times, and fetching it may take longer than that. So we take a stopwatch, one image at a
# time on the machine that made this page:

# %%
from internals.anatomy import latency

repeats = chapter.at(smoke=3, quick=15, full=15)
shape = (3, recipe.size, recipe.size)
measured = []
for name in ("full convolutions", "MobileNet", "α = 0.5", "shallow"):
    form = MobileNet(**FORMS[name][0])
    work = sum(row.multiply_adds for row in summarize(form, shape)) / 1e6
    took = 1e3 * latency(form, shape, repeats)
    measured.append((name, f"{work:,.0f}", f"{took:.1f}", f"{work / took:.1f}"))  # fmt: skip

# %% [markdown]
# Compare the first two rows: the work falls 8.6-fold, and the time?

# %% tags=["hide-input"]
show(
    Table.of(
        ("form", "M multiply-adds", "time, ms", "G multiply-adds a second"),
        measured,
        caption=f"Four forms with ten classes on one image of {recipe.size} × {recipe.size}: counted "
        "work, median time of a forward pass, and their ratio. A form that does less work for each "
        "second is limited by something other than arithmetic.",
    ),
    "latency",
)  # fmt: skip

# %% [markdown]
# And where does the time go? Each layer of MobileNet alone, on maps of its own size:

# %%
net = MobileNet()
names = {
    "3 × 3": "conv1",
    "3 × 3 depthwise": "depthwise",
    "1 × 1": "pointwise",
}
took, did = {}, {}
before = shape
for row in summarize(net, shape):
    layer = net.get_submodule(row.name)
    if row.kind in ("Conv2d", "BatchNorm2d"):
        type_ = names.get(kind(layer), "normalisation")
        did[type_] = did.get(type_, 0) + row.multiply_adds
        seconds = latency(layer, before, repeats)
        took[type_] = took.get(type_, 0) + seconds
    before = row.shape
slowness = (took["depthwise"] / took["pointwise"]) / (
    did["depthwise"] / did["pointwise"]
)

# %% [markdown]
# The last column is what one would want to be equal:

# %% tags=["hide-input"]
all_time, all_work = sum(took.values()), sum(did.values())
show(
    Table.of(
        ("layers", "% of multiply-adds", "% of time", "ms", "ns a thousand"),
        [
            (
                name,
                f"{100 * did[name] / all_work:.1f}",
                f"{100 * took[name] / all_time:.1f}",
                f"{1e3 * took[name]:.2f}",
                f"{1e12 * took[name] / did[name]:.0f}" if did[name] else "",
            )
            for name in took
        ],
        caption="MobileNet's layers timed one by one and added up by type, without rectifiers: their "
        "share of the work, of the time, and nanoseconds for a thousand multiply-adds. Compare "
        "depthwise with pointwise, and note what normalisation takes, which counts as no work.",
    ),
    "time",
)
print(f"a depthwise multiply-add takes {slowness:.1f} times a pointwise one")
if chapter.profile != "smoke":
    assert slowness > 1.2

# %% [markdown]
# Normalisation can be folded into the weights once training is over, and good kernels for a
# particular phone narrow the rest of the gap. The lesson stays: a count of multiply-adds ranks
# networks of one kind, and misleads between kinds.
#
# ### Where this implementation departs from the paper
#
# | what | the paper | here |
# |---|---|---|
# | classes | 1,000 | 10 |
# | last depthwise layer | step 2 printed, a step of 1 meant | step 1 |
# | first weights | not given | normal, variance 2 / inputs, for every layer |
# | optimiser | asynchronous RMSprop on many machines | one machine |
# | augmentation | less than for larger networks | crops of 50 to 100 % of the area, mirrored, colours changed a little |
#
# The resolution multiplier is no argument: the average takes any grid, so it is the image's size.
# `MobileNet(width=...)`, `shallow=True` and `separable=False` are the other forms.
#
# ## Training

# %% tags=["hide-input"]
from internals.training import SEED_RECIPES, hyperparameters

notebook = {
    row[0]: row[1] for row in hyperparameters(SEED_RECIPES["mobilenet"])
}
show(
    Table.of(
        ("hyperparameter", "here", "the notebooks", "the paper"),
        [
            (name, value, notebook.get(name, ""), published)
            for name, value, published in hyperparameters(recipe, images.train)
        ],
        caption="The recipe of the run below, that of the notebooks this book grew from, and what the "
        "paper says, which is little: RMSprop, asynchronous, and less regularisation than usual.",
    ),
    "recipe",
)

# %% [markdown]
# The notebooks' numbers (0.045, ε = 1, decay 4 · 10⁻⁵) are often given as MobileNet's. They are
# Inception-v3's; the paper only says "similar to". Two traps are hidden in them. What TensorFlow calls
# decay, 0.9, is `alpha` in torch, where the default is 0.99. And TensorFlow adds ε inside the root,
# torch outside. With a first gradient of 0.01 torch's step is
#
# $$
# \frac{g}{\sqrt{0.1\, g^2} + 1} = 0.0099685,
# $$
#
# and TensorFlow's 0.01 to six digits. With so large an ε either is plain gradient descent with
# momentum, or nearly so:

# %%
weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
weight.grad = torch.full_like(weight, 0.01)
torch.optim.RMSprop([weight], lr=1.0, alpha=0.9, eps=1.0).step()
inside = 0.01 / (0.1 * 0.01**2 + 1) ** 0.5
print(f"torch {-weight.item():.7f}, inside the root {inside:.7f}")
assert round(-weight.item(), 7) == 0.0099685
assert abs(inside - 0.01) < 1e-7

# %% [markdown]
# That takes many epochs to gather speed, so a short run of this book uses AdamW; the table above
# says which this was. One thing holds in all of them. The paper found it important "to put very
# little or no weight decay" on the depthwise filters, since there are so few weights in them:
# thirteen tensors, 44,640 of 3.2 million numbers.

# %%
decayed, spared = recipe.optimizer.parameter_groups(net)
assert decayed["weight_decay"] > 0 == spared["weight_decay"]
assert len(spared["params"]) == 13
assert sum(p.numel() for p in spared["params"]) == 44_640
assert sum(p.numel() for p in net.parameters()) == 3_217_226

# %% [markdown]
# The weights are kept, so a second reading does not train again:

# %%
from internals.training import trained

run = trained(recipe, images, seed=chapter.seed)
test, seconds = run.test, run.provenance.seconds
print(f"{test.top1:.2%} of {len(test.predicted):,} test images right, {seconds:.0f} s")  # fmt: skip
chapter.record(test_top1=test.top1, test_loss=test.loss, seconds=seconds)
if chapter.profile != "smoke":
    assert test.top1 > 0.25

# %% [markdown]
# The training images are cropped and recoloured and the held-out ones are not, so the training curve
# may well lie below the other:

# %% tags=["hide-input"]
from internals.book import learning_curves

show(
    learning_curves(
        run,
        caption="Loss and accuracy by epoch. The training curve is the mean over an epoch of "
        "augmented images, the held-out one is measured after it on whole ones. The dashed line is "
        "what the epoch kept scores on the test images.",
        alt="Two charts by epoch: losses of training and held-out images, and their accuracies, "
        "with a dashed line at the test accuracy.",
    ),
    "training",
)

# %% [markdown]
# Its score, and what it must not be confused with. Reports of MobileNet trained on these ten classes
# from scratch are rare. The one below is a single run of ten epochs, scored on 500 test images
# [@larson2019]:

# %% tags=["hide-input"]
from internals.figures import percent

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
        caption="Top-1 accuracy, one network and one crop each. ImageNet has a thousand classes, "
        "Imagenette ten easy ones of them, so rows of different data say nothing about each other.",
    ),
    "scores",
)  # fmt: skip

# %% [markdown]
# What it takes for what:

# %% tags=["hide-input"]
from internals.figures import confusion

classes = images.test.class_names
show(
    confusion(
        test.confusion,
        classes,
        caption="Which test images (rows) were taken for which class (columns), right answers muted. "
        "Look for pairs that are confused both ways, and for columns that attract mistakes from many "
        "rows.",
        alt="A ten by ten matrix of counts of true class against answer.",
    ),
    "confusion",
)

# %% [markdown]
# And the mistakes that it was surest of:

# %% tags=["hide-input"]
from internals.book import worst_mistakes

show(
    worst_mistakes(
        run,
        images.test,
        caption="Test images that were misread with the greatest confidence: true class → answer, "
        "its posterior, and the image's number. Ask of each whether the answer is absurd, or names "
        "something else that the picture also resembles.",
        alt="Ten misread images, each with its true class, the wrong answer and its confidence.",
    ),
    "mistakes",
)

# %% [markdown]
# ## Looking inside
#
# How these pictures are made is the subject of [How to look](00_how_to_look.py). The first layer is
# the only full convolution here, and the only one whose kernels act on colours:

# %% tags=["hide-input"]
from internals.figures import filters

show(
    filters(
        run.model.conv1.weight.detach().numpy(),
        caption="The 32 kernels of conv1, 3 × 3 pixels in colour, on one scale; mid grey is 0. Three "
        "pixels have room for an edge, a thin line or a colour, and for little else. Look for "
        "kernels that repeat one another, and for grey ones that training left unused.",
        alt="Thirty-two small grids of three by three coloured squares.",
    ),
    "conv1-filters",
)

# %% [markdown]
# The depthwise kernels of conv2 can be looked at too, because each reads one map only: kernel 7
# belongs to map 7 of conv1, whatever the mixing does later. A full convolution from 32 maps to 32
# would have 1,024 of them:

# %% tags=["hide-input"]
show(
    filters(
        run.model.conv2.weight.detach().numpy(),
        caption="The 32 depthwise kernels of conv2, kernel n for map n of conv1. One colour "
        "throughout is a blur; amber beside blue is a difference between neighbours; a single strong "
        "square passes the map on as it is, moved by a pixel at most.",
        alt="Thirty-two three by three grids in shades of amber and blue.",
    ),
    "conv2-filters",
)

# %% [markdown]
# ### What drives each channel
#
# We ask which training images drive the channels of conv2 to conv27 hardest. Images are ranked by
# the value *after* batch normalisation, because it multiplies each map by a learned scale. Where
# that is negative, a large sum is what silences the channel. A quick run looks through some one
# thousand images, drawn at random, a full one through all:

# %%
from internals import Network

net = Network.of(run)
most = chapter.at(smoke=64, quick=1024)
random = torch.Generator().manual_seed(chapter.seed)
some = torch.randperm(len(images.train), generator=random)[:most].sort().values
pictures = run.pipeline.view(images.train.subset(some))
numbers = [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, *range(22, 28)]
top = net.strongest(pictures, [f"bn{n}" for n in numbers], k=9)
scales = torch.cat([run.model.get_submodule(layer).weight for layer in top])
print(f"{(scales < 0).sum()} of {len(scales):,} channels have a negative scale")  # fmt: skip

# %% [markdown]
# Before the pictures, a check: a channel whose largest value over all these images is not above 0
# never passes its rectifier. It costs time and does nothing. Are there any?

# %% tags=["hide-input"]
idle = [
    (
        f"conv{n}",
        "depthwise" if n % 2 == 0 else "pointwise",
        len(top[f"bn{n}"]),
        int((top[f"bn{n}"].value[:, 0] <= 0).sum()),
    )
    for n in numbers
]
show(
    Table.of(
        ("layer", "kind", "channels", "never active"),
        idle,
        caption="Channels whose rectifier stays shut on every image that was looked through. Many "
        "idle channels mean that a thinner network could have done the same.",
    ),
    "idle",
)

# %% [markdown]
# Now the panels. Six channels of the depthwise layers conv2, 6, 10, 14, 18 and 22, which are those
# that the notebooks showed. All of them are even, and every even layer of this network is depthwise:
# nobody saw a layer that mixes. So the pointwise layer after each stands beside it, with three
# channels, and after conv22 the rest of the network.
#
# #### conv2: looking for the first time
#
# Seven pixels a side. A channel of conv2 is one map of conv1, filtered again; compare a row with the
# kernels of the same number in the two figures above:

# %%
from internals.figures import panels

show(
    panels(
        net.patches(top["bn2"]),
        caption="The nine strongest patches of the first six channels of conv2, under their guided "
        "projections. Look for what the patches of a row have in common: the direction of an edge, the "
        "side on which it is lighter, a colour. All nine projections of a row nearly agree, for there "
        "are only two layers to be crossed.",
        alt="Nine guided projections beside their patches for 6 channels of conv2: patches of seven "
        "by seven pixels with edges, lines and plain colours.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# #### conv3: mixing
#
# The same seven pixels, but now through all 32 maps:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn3"], range(3)),
        caption="Three channels of the pointwise layer conv3. The field is that of conv2, so nothing new "
        "comes into view; what is new is the combination. Look for rows that hold a colour and a "
        "direction at once, or patches that no single row of the figure above would collect.",
        alt="Nine guided projections beside their patches for 3 channels of conv3: patches of seven "
        "by seven pixels.",
    ),
    "conv3-strongest",
)

# %% [markdown]
# #### conv6 and conv7
#
# Nineteen pixels: enough for a corner, a few stripes, a small blob. From here on the projections
# wear a fine lattice that is in no image. It is the trace of windows of three in steps of two:
# on the way back a pixel is written to once, twice or four times, depending on where it lies, and
# every further halving adds a coarser lattice of the same kind:

# %%
from torch.nn.functional import conv_transpose2d

written = conv_transpose2d(
    torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3), stride=2, padding=1
)
print(written[0, 0, 2:6, 2:6].int().tolist())
assert written[0, 0, 2:6, 2:6].unique().tolist() == [1, 2, 4]

# %% [markdown]
# With that in mind:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn6"]),
        caption="Six channels of conv6. Compare the patches of a row with one another, and ask what is "
        "the same in all nine: often a contour of one direction, or a fine texture. Where the "
        "projection shows only part of a patch, the rest did not count.",
        alt="Nine guided projections beside their patches for 6 channels of conv6: patches of "
        "nineteen pixels with contours, corners and small repeated structures.",
    ),
    "conv6-strongest",
)

# %% [markdown]
# And mixed:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn7"], range(3)),
        caption="Three channels of conv7. Do its rows look more alike within themselves than those of "
        "conv6? The rectifier after conv6 has thrown away what each map saw with the other sign, and "
        "the mixing chooses among what is left.",
        alt="Nine guided projections beside their patches for 3 channels of conv7: patches of "
        "nineteen pixels.",
    ),
    "conv7-strongest",
)

# %% [markdown]
# #### conv10 and conv11
#
# Forty-three pixels of field, at steps of eight:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn10"]),
        caption="Six channels of conv10. Patches are large enough now to show parts of things. Read the "
        "class names under a row: if they differ, the channel answers to something that several classes "
        "share, such as a curve, a grid or a stretch of even ground.",
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
        caption="Three channels of conv11, with the field of conv10. The next figure takes the first of "
        "them apart into the maps that it is mixed from.",
        alt="Nine guided projections beside their patches for 3 channels of conv11: patches of "
        "forty-three pixels.",
    ),
    "conv11-strongest",
)

# %% [markdown]
# ### A unit's value, split exactly
#
# Because a pointwise layer sees one place only, its value is a plain sum over the maps below at that
# place, and the sum can be written out. With $s$ the scale and $t$ the shift that normalisation
# comes to, channel 0 of conv11 is $\sum_m s\, p_{0m}\, b_m + t$, one part for each of 256 maps:

# %%
unit, norm = top["bn11"][0], run.model.bn11
maps = net.capture(pictures.subset(unit.image[0]), ["relu10"])["relu10"]
b = maps[torch.arange(9), :, unit.row[0], unit.column[0]]
s = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()[0]
t = norm.bias.detach()[0] - norm.running_mean[0] * s
parts = s * run.model.conv11.weight.detach()[0, :, 0, 0] * b
assert torch.allclose(parts.sum(dim=1) + t, unit.value[0], atol=1e-3)

# %% [markdown]
# Which maps gave it most, over its nine strongest patches? And how many does it take to make up half
# of all that speaks for it?

# %%
mean = parts.mean(dim=0)
heaviest = mean.topk(3).indices.tolist()
speaks = mean.clamp(min=0).sort(descending=True).values
half = int((speaks.cumsum(0) < speaks.sum() / 2).sum()) + 1
print(f"half of it comes from {half} of {len(mean)} maps; most from {heaviest}")  # fmt: skip
show(
    panels(
        net.patches(unit, [0]) + net.patches(top["bn10"], heaviest),
        caption="First row: what drives channel 0 of the pointwise layer conv11. Below: what drives the "
        "three channels of the depthwise layer conv10 that give it most. Look for what the first row "
        "takes from each of the others, and for what none of them shows alone.",
        alt="Four rows of nine patches with projections: one pointwise channel, and the three "
        "depthwise channels that contribute most to it.",
    ),
    "pointwise-inputs",
)

# %% [markdown]
# #### conv14 and conv15
#
# Ninety-one pixels. Here begin the five pairs of equal width:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn14"]),
        caption="Six channels of conv14. Most patches now hold a whole part of an object, or a small "
        "object. Compare the class names of a row with its pictures: several classes with one look, or "
        "one class in several looks?",
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
        caption="Three channels of conv15. If the rows of a pointwise layer hold fewer classes each than "
        "those of the depthwise layer before it, the mixing is what sorts by class.",
        alt="Nine guided projections beside their patches for 3 channels of conv15: patches of "
        "ninety-one pixels.",
    ),
    "conv15-strongest",
)

# %% [markdown]
# Do they? Count the classes among the nine strongest images of every channel, layer by layer. Nine
# images drawn at random from ten classes of equal size would show 6.1 on average:


# %%
def classes_in_a_row(n: int) -> float:
    rows = pictures.labels[top[f"bn{n}"].image]
    return sum(len(row.unique()) for row in rows) / len(rows)


by_chance = 10 * (1 - 0.9**9)
assert round(by_chance, 1) == 6.1
steps = {
    "depthwise": np.array([n for n in numbers if n % 2 == 0]),
    "pointwise": np.array([n for n in numbers if n % 2]),
}
mixed = {
    name: np.array([classes_in_a_row(int(n)) for n in x])
    for name, x in steps.items()
}

# %% [markdown]
# If mixing sorts, the second curve lies below the first:

# %% tags=["hide-input"]
show(
    lines(
        steps,
        mixed,
        xlabel="convolution",
        ylabel="classes among nine images",
        levels={"by chance": by_chance},
        caption="How many classes the nine strongest images of a channel come from, the mean over "
        "all channels of a layer. The dashed line is what nine random images would show; 1 would "
        "mean that every channel answers to one class only.",
        alt="Two curves over the layers of the network, one for depthwise and one for pointwise "
        "layers, with a dashed line for chance.",
    ),
    "classes",
)

# %% [markdown]
# #### conv18 and conv19
#
# The field is now 155 pixels. Where it is wider than the images of this run, whole images are
# shown, and the projection says which part of them mattered:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn18"]),
        caption="Six channels of conv18. Where in the picture does the projection lie: on the object, at "
        "its border, or on what surrounds it? A channel that answers to surroundings is no less useful "
        "to the classifier.",
        alt="Nine guided projections beside their patches for 6 channels of conv18: large patches "
        "or whole images.",
    ),
    "conv18-strongest",
)

# %% [markdown]
# Mixed:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn19"], range(3)),
        caption="Three channels of conv19. Compare the values printed with the pictures: how fast do they "
        "fall from the first to the ninth image? A steep fall means that the row shows an exception "
        "rather than a rule.",
        alt="Nine guided projections beside their patches for 3 channels of conv19: large patches "
        "or whole images.",
    ),
    "conv19-strongest",
)

# %% [markdown]
# #### conv22 and conv23
#
# The last of the five equal pairs, 219 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn22"]),
        caption="Six channels of conv22, the deepest layer that the notebooks showed. Look at the class "
        "names before the pictures, and only then at the projections: these are detailed even where a "
        "row has no theme, which is a warning that the control below takes up.",
        alt="Nine guided projections beside their patches for 6 channels of conv22: large patches "
        "or whole images.",
    ),
    "conv22-strongest",
)

# %% [markdown]
# And the pointwise layer after it, where the grid is about to be halved for the last time:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn23"], range(3)),
        caption="Three channels of conv23, the last to mix on the finer grid. Count the classes in each "
        "row and compare with the chart above.",
        alt="Nine guided projections beside their patches for 3 channels of conv23: large patches "
        "or whole images.",
    ),
    "conv23-strongest",
)

# %% [markdown]
# #### conv24 to conv27
#
# The last two pairs, 1,024 channels wide, work on the coarsest grid and see more than the whole
# image, so a unit's place means little from here on:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn24"], range(3)),
        caption="Three channels of the depthwise layer conv24. Its kernels span three of the few places "
        "that are left in each direction, so what they filter is layout: something here, something else "
        "beside it.",
        alt="Nine guided projections beside their patches for 3 channels of conv24: whole images.",
    ),
    "conv24-strongest",
)

# %% [markdown]
# Its partner:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn25"], range(3)),
        caption="Three channels of the pointwise layer conv25. Read the class names along a row.",
        alt="Nine guided projections beside their patches for 3 channels of conv25: whole images.",
    ),
    "conv25-strongest",
)

# %% [markdown]
# The last look around:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn26"], range(3)),
        caption="Three channels of conv26, the last depthwise layer. Half of a row that is about one class "
        "with a few strays is common here: the strays often say more about the channel than the rest.",
        alt="Nine guided projections beside their patches for 3 channels of conv26: whole images.",
    ),
    "conv26-strongest",
)

# %% [markdown]
# And the layer that the classifier averages over the grid:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["bn27"], range(3)),
        caption="Three of the 1,024 channels of conv27. One matrix stands between these and the answer, so "
        "what a row is about is what it can say for or against a class.",
        alt="Nine guided projections beside their patches for 3 channels of conv27: whole images.",
    ),
    "conv27-strongest",
)

# %% [markdown]
# What would these channels draw themselves? An image is made from noise, without a photograph, and
# changed step by step so that it drives the unit in the middle of the map as hard as it
# can:[@olah2017]

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
        caption="Three channels of conv27: the image that drives each hardest, and one made from noise to "
        "drive its middle unit, with the value that each reaches. The second is nothing that the "
        "network has seen, and one of many that would do.",
        alt="For three channels of conv27 the strongest image beside an optimised one of "
        "coloured patterns made from noise.",
    ),
    "conv27-optimised",
)

# %% [markdown]
# ## Where in the image a class is found
#
# For three classes we take the channel of conv27 that counts most for the class and, of the images
# that drive it, the first. Between that layer and the score stand an average and a matrix, both
# linear. So Grad-CAM [@selvaraju2017], elsewhere an approximation, is exact here: the maps weighted
# by a row of the matrix sum to the score itself:

# %%
three = torch.tensor([0, 4, 8])
head = run.model.fc.weight.detach()[three]
shown = pictures.subset(top["bn27"].image[head.argmax(dim=1), 0])
last = net.capture(shown, ["relu27", "fc"])
places = last["relu27"][0, 0].numel()
by_hand = torch.einsum("nc,ncij->nij", head, last["relu27"]) / places
cam = net.grad_cam(shown, "relu27", three)
assert torch.allclose(cam, by_hand.clamp(min=0), atol=1e-4)
scores = last["fc"].flatten(1)[torch.arange(3), three]
total = by_hand.sum(dim=(1, 2)) + run.model.fc.bias.detach()[three]
assert torch.allclose(total, scores, atol=1e-3)

# %% [markdown]
# Two more instruments beside it: what each pixel's change does to the score [@simonyan2014], and how
# far the score falls when a grey square of a sixth of the side covers a place [@zeiler2014]. The
# second changes the image and watches, and no rule of any backward pass comes into it:

# %%
from internals.projection import occlusion_map, upsampled

whole = (recipe.size, recipe.size)
square = {"size": recipe.size // 6, "stride": recipe.size // 12}
covered = net.occlusion(shown, three, **square)
lost = occlusion_map(covered, scores, whole, **square)
sensitive = net.saliency(shown, three)
laid = upsampled(cam, whole, net.receptive_field("relu27"))
maps = [
    [m.numpy() for m in trio]
    for trio in zip(laid, lost, sensitive, strict=True)
]

# %% [markdown]
# Where they disagree, trust the square:

# %% tags=["hide-input"]
from internals.figures import overlays

show(
    overlays(
        list(shown.images.numpy() / 255),
        maps,
        ["Grad-CAM", "score lost when covered", "saliency"],
        names=[classes[label] for label in shown.labels],
        notes=[[f"for {classes[c]}", "", ""] for c in three],
        caption="Three images, and where each class score comes from: the exact map of conv27, on a "
        "grid that is coarse and stretched over the image; what is lost when a square is covered "
        "(blue: the score rises); and the size of the gradient. Do the first two agree on the place?",
        alt="Three rows, each an image followed by three heat maps laid over it in grey.",
    ),
    "class-maps",
)

# %% [markdown]
# ## Which pictures to believe
#
# The control of Adebayo and others [@adebayo2018]: put untrained weights into the network from the
# top down, and project the same units again. Twenty-seven convolutions are too many for one step
# each, so we take them in three portions, for the strongest unit of twelve channels of conv27:

# %%
torch.manual_seed(chapter.seed + 1)
portions = {
    "conv19 on random": range(19, 28),
    "conv10 on random": range(10, 19),
    "all random": range(1, 10),
}
stages = {
    title: [f"{kind}{n}" for n in numbers for kind in ("conv", "bn")]
    for title, numbers in portions.items()
}
units = top["bn27"][:12].head(1)
control = net.sanity(pictures, units, untrained=MobileNet(), stages=stages)

# %% [markdown]
# A picture that does not change when the weights do cannot have come from them:

# %% tags=["hide-input"]
from internals.figures import comparison

show(
    comparison(
        control.pictures(),
        ["trained", *stages],
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption="Channel 0 of conv27 projected as trained, then with ever more untrained layers from "
        "the top down. ρ is the rank correlation of magnitudes with the trained picture, the mean of "
        "twelve units. Compare the last column with the first: what is still there was drawn by the "
        "image, not by what was learned.",
        alt="Three rows of four projections, for the gradient, deconvnet and guided rules, with rank "
        "correlations below.",
    ),
    "control",
)

# %% [markdown]
# So read the panels by their patches and class names, and let a projection only say where in a patch
# to look. The cell below holds this run to it.
#
# MobileNet adds a twist. It has no maxima, whose switches tie a deconvnet to the image it
# is shown: in this network that rule's backward pass knows nothing of the image, and the "projection"
# of a channel is one fixed template, moved to the unit's place:

# %%
from internals import Unit

gradient, deconvnet, guided = control.magnitudes.mean(axis=2)
if chapter.profile != "smoke":
    assert guided[1] > gradient[1]
two = pictures.subset(top["bn10"].image[0, :2])
middle = last["relu27"].shape[-1] * 2  # of a grid four times as fine
same = [Unit("bn10", 0, middle, middle)] * 2
first, second = net.project(two, same, "deconvnet")
assert torch.allclose(first.pixels, second.pixels, atol=1e-6)

# %% [markdown]
# ## Key features
#
# - **Depthwise, then pointwise**: one kernel a map, one weight a pair of maps. The whole network does
#   8.6 times less work than with full convolutions.
# - **A pair is a full convolution of rank 1**, but for the rectifier in between.
# - **Steps of two** instead of pooling, and an average instead of fully connected layers.
# - **Two multipliers** trade accuracy for work: width, which saves weights too, and resolution.
# - **Multiply-adds are not time**: looking costs more than its 3 %.
#
# ## Do this with your own network
#
# Count the work of your own network layer by layer, and then take the stopwatch, since the two are
# not the same. `mine:network` stands for the function or class `network` in your file `mine.py`:
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
# print(f"{1000 * latency(net):.1f} ms an image")
# ```
#
#
# ## Exercises
#
# 1. Take the rectifiers after the depthwise layers out (`net.relu2 = nn.Identity()` and so on), train
#    again, and compare. What did they buy?
# 2. A trained full convolution can be replaced by the pair nearest to it: for each map, the first
#    singular vectors of its kernels. Do it to a layer of `MobileNet(separable=False)`. How much of
#    the kernels does rank 1 keep?
# 3. Time the layers again with a batch of 32 images. Which rows of the table change most, and why?
#
# Six networks, each better than the last at something: [side by side](10_side_by_side.py) they show
# at what.
