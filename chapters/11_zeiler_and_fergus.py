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
# title: Zeiler and Fergus
# year: 2014
# thumbnail: three-ways
# description: The paper behind the pictures, its experiments repeated on AlexNet, and what a unit would draw itself.
# data: imagenette
# ---

# %% [markdown]
# # Zeiler and Fergus: the paper behind the pictures
#
# The projections of this book go back to one paper, *Visualizing and Understanding Convolutional
# Networks* by Matthew Zeiler and Rob Fergus [@zeiler2014]. It is remembered for its pictures. But
# the authors did not stop at looking. They asked when a layer's features settle, what a shifted
# picture does to them, whether the network needs the thing it names, and which layers it can do
# without. And from faults that they saw in the first layers they built a better network. This chapter
# repeats those experiments on our AlexNet, and compares what is found with what they found.
#
# **What you will see**
#
# - the same channels after one epoch, after a few, and at the end: the lower a layer, the earlier it has
#   its final pictures;
# - what a shifted, scaled or turned picture does to the features and to the answer: turns harm most;
# - what stride and window of the first layer do to its filters, and how their first noise stays;
# - a grey square that slides over the picture, and dogs that lose their eyes;
# - AlexNet with parts taken out, after a short training;
# - one unit shown in three ways, of which the projection tells little about its own layer.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The network, and the paper's
#
# The paper studies a relative of AlexNet. It starts from AlexNet without groups, which is the form
# of this book, sees faults in its first layers, and changes them. The table says where theirs
# differs from ours in the end:
#
# | what | Zeiler and Fergus | here |
# |---|---|---|
# | first layer | 7 × 7, stride 2 | 11 × 11, stride 4, as in AlexNet |
# | second layer | stride 2 | stride 1 |
# | order | convolution, rectifier, maximum, normalisation | normalisation before the maximum |
# | first weights | all 0.01, biases 0 | He et al. [@he2015], smaller in the first layer |
# | filters | brought back to an RMS of 0.1 when above it | left as they are |
# | training | SGD with momentum, batches of 128 | AdamW, and at full length an average of the weights |
# | projections | deconvnet | guided [@springenberg2015], as in [How to look](00_how_to_look.py) |
# | images | ImageNet, 1,000 classes, 70 epochs | Imagenette, 10 classes |
# | other networks | trained to their end | trained for a few epochs |
# | random parts that are hidden | of the dog | of the whole picture |
#
# The weights are those of a training by the recipe of [the AlexNet chapter](02_alexnet.py), with
# the snapshots that the run kept on the way:

# %%
from internals import Network, load
from internals.figures import percent
from internals.training import find_recipe, trained

recipe = find_recipe("alexnet", chapter.profile)
images = load(
    "imagenette",
    chapter.data,
    size=recipe.stored,
    seed=chapter.seed,
    most=chapter.most_images,
)

# %% [markdown]
# In the copy used here the photographs are squeezed to squares, as
# [explained there](02_alexnet.py#the-photographs). The run is read from the weights that the other
# chapter left, or made here:

# %%
run = trained(recipe, images, seed=chapter.seed)
net = Network.of(run)
chapter.record(test_top1=run.test.top1)
print(
    f"{percent(run.test.top1, 2)} of the test pictures right, by the weights of epoch "
    f"{run.history.best.number}, the best on the held-out pictures"
)

# %% [markdown]
# ## When does a layer settle?
#
# The paper's figure 4 shows the strongest picture of some channels at eight moments of training.
# It finds that the lower layers settle within a few epochs, and that the upper ones need 40 to 50.
# Our run kept the weights after these epochs. Epoch 0 is the untrained network, drawn from the same
# seed:

# %%
import torch

from internals.models import build

torch.manual_seed(chapter.seed)
untrained = build("alexnet").eval()

# %% [markdown]
# A network at each stage, fed as the run was:

# %%
stages = {0: untrained} | {n: run.snapshot(n) for n in recipe.snapshots}
nets = {
    epoch: Network(
        model, normalization=run.normalization, input_shape=net.shape()
    )
    for epoch, model in stages.items()
}
print("epochs:", *nets)

# %% [markdown]
# The last of these is the end of the run. Where the chapter uses a single network, it is that of the
# best epoch, unless it says otherwise. All the networks here look at the same training pictures, and of
# each channel we keep the nine strongest:

# %%
layers = ["conv1", "conv2", "conv3", "conv4", "conv5"]
most = chapter.at(smoke=24, quick=192, full=2048)
pictures = run.pipeline.view(images.train.head(most))
tops = {n: one.strongest(pictures, layers, k=9) for n, one in nets.items()}

# %% [markdown]
# For three channels of a layer, the strongest patch at each of these epochs with its projection.
# The projections of a row share one scale, so weak ones are paler:

# %%
from dataclasses import replace

from internals.figures import ChannelPatches


def through_training(layer: str, channels: range) -> list[ChannelPatches]:
    """A channel a row: its strongest unit after each of the epochs."""
    at = [
        one.patches(tops[n][layer].head(1), channels)
        for n, one in nets.items()
    ]
    joined = "projections patches values images offsets silent".split()
    return [
        replace(
            rows[0],
            labels=[f"epoch {n}, {r.labels[0]}" for n, r in zip(nets, rows, strict=True)],
            **{key: [getattr(row, key)[0] for row in rows] for key in joined},
        )
        for rows in zip(*at, strict=True)
    ]  # fmt: skip


# %% [markdown]
# Two layers stand for the five here, one of small patches and one of large:

# %% tags=["hide-input"]
from internals.figures import panels

epochs = ", ".join(map(str, nets))
for layer, what in {
    "conv2": "patches of 51 × 51 pixels",
    "conv5": "patches of 163 × 163 pixels",
}.items():
    show(
        panels(
            through_training(layer, range(3)),
            stacked=True,
            caption=f"Three channels of {layer}, {what}: the strongest unit of each in the network "
            f"as it was after epochs {epochs}, from left to right. Channels 0 and 1 have the same "
            "strongest picture after the last two of these epochs, channel 2 has another.",
            alt=f"Three rows of projections with their patches for {layer}, one for each stage "
            "of training.",
        ),
        f"{layer}-through-training",
    )

# %% [markdown]
# Two numbers say how far a layer is from what it will be. The first counts how many of a channel's
# nine pictures at the end are among its nine already. The second projects a channel's strongest unit
# at the end through the network of that epoch, and takes the rank correlation with the projection
# at the end, for the first channels of each layer:

# %%
import numpy as np

from internals.projection import rank_correlation

end = max(nets)
some = range(chapter.at(smoke=2, quick=4, full=24))


# %% [markdown]
# The first number:


# %%
def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    """The mean share of the images that two tables have in common, a row a channel."""
    same = a[:, :, None] == b[:, None, :]
    return float(same.any(dim=2).double().mean())


# %% [markdown]
# And the second:


# %%
def alike(layer: str, epoch: int) -> float:
    """How alike some units' projections are to those of the last epoch."""
    units = tops[end][layer][list(some)].head(1)
    last = nets[end].project(pictures, units)
    return rank_correlation(last, nets[epoch].project(pictures, units))


# %% [markdown]
# Both for every layer and every epoch that was kept:

# %%
kept = {
    layer: [overlap(top[layer].image, tops[end][layer].image) for top in tops.values()]
    for layer in layers
}  # fmt: skip
same = {layer: [alike(layer, n) for n in nets] for layer in layers}

# %% [markdown]
# A correlation of 0 is not what chance gives. The middle of a field counts for more than its rim, whatever
# a unit answers to. So projections of *different* channels on *different* images, laid field on field, are
# correlated too. The mean over such pairs in the network at the end is the *baseline*:

# %%
baseline = {
    layer: float(
        nets[end]
        .sanity(pictures, top[list(some)].head(1), rules="guided", stages=[])
        .baseline[0]
    )
    for layer, top in tops[end].items()
}

# %% [markdown]
# Both numbers, and the baseline of the second:

# %% tags=["hide-input"]
from internals.figures import Table

show(
    Table.of(
        ("layer", *(f"epoch {n}" for n in nets), "baseline"),
        (
            (
                layer,
                *(f"{percent(o)}, {s:.2f}" for o, s in zip(kept[layer], same[layer], strict=True)),
                f"{baseline[layer]:.2f}",
            )
            for layer in layers
        ),
        caption="How near each layer is to what it will be: the share of its channels' nine strongest "
        f"pictures (of {len(pictures):,}) that are so at the end too, and the rank correlation of "
        f"projections of {len(some)} channels with those at the end. Nine pictures drawn at random "
        f"have {percent(9 / len(pictures))} in common with nine others.",
    ),
    "settling",
)  # fmt: skip
earlier = zip(*(shares[:-1] for shares in kept.values()), strict=True)
in_order = all(list(row) == sorted(row, reverse=True) for row in earlier)
middle_of = list(nets)[len(nets) // 2]
then = {layer: kept[layer][len(nets) // 2] for layer in ("conv1", "conv5")}
chapter.finding(
    "The order is the paper's: at every epoch before the last, each layer has more of its final "
    "pictures than the layer above it. It has some of that order before training, where conv1 has "
    f"{percent(kept['conv1'][0])} of them and conv5 {percent(kept['conv5'][0])}. And even the first layer "
    f"takes its time. After {middle_of} of {end} epochs conv1 has {percent(then['conv1'])} of them, and "
    f"conv5 {percent(then['conv5'])}.",
    holds=in_order and then["conv5"] < 0.2 and then["conv1"] < 0.7,
)
at_first = [same[layer][0] for layer in layers]
common = list(baseline.values())
chapter.finding(
    "The correlations do not have this order. Before training they go the other way, from "
    f"{at_first[0]:.2f} in conv1 to {at_first[-1]:.2f} in conv5. But in conv5 most of that is in any two "
    f"projections: the baseline there is {common[-1]:.2f}, and in conv1 {common[0]:.2f}. Above it lie "
    f"{at_first[-1] - common[-1]:.2f} in conv5 and {at_first[0] - common[0]:.2f} in conv1, which may come "
    "from the picture and from first weights that stayed.",
    holds=at_first == sorted(at_first)
    and common[-1] > common[0] + 0.2
    and at_first[-1] - common[-1] < common[-1],
)

# %% [markdown]
# ## What a moved picture does
#
# The paper's figure 5 shifts, scales and turns five pictures and measures two things: how far the
# feature vector of a layer moves, and what becomes of the probability of the right class. It finds
# that the first layer moves far at once and the last one little by little. The probability stands
# up well to shifts and scalings, and badly to turns, except where the thing itself looks the same
# from all sides.
#
# A distance needs a unit. Ours is the mean distance between two different pictures, so that 1 means:
# as far as if it were another picture.

# %%
from torchvision.transforms.functional import InterpolationMode, affine

margin = (recipe.stored - recipe.size) // 2
middle = slice(margin, margin + recipe.size)
number = chapter.at(smoke=4, quick=16, full=100)
originals = images.validation.head(number)


# %% [markdown]
# A picture is moved before it is cut, so that what comes in at its side is more of the picture. Where
# there is no more, it is the mean colour. A picture turned by 45 degrees has four corners of that
# colour, and one turned by 90 has none, so part of what a turn does may come from the corners:


# %%
def moved(
    shift: float = 0, scale: float = 1, angle: float = 0
) -> torch.Tensor:
    """The pictures moved, then cut as in the test; what comes in is the mean grey."""
    grey = images.train.images[:100].float().mean((0, 2, 3)).tolist()
    turned = affine(
        originals.images, angle, [0, round(shift)], scale, [0.0],
        interpolation=InterpolationMode.BILINEAR, fill=grey,
    )  # fmt: skip
    return turned[:, :, middle, middle]


# %% [markdown]
# The feature vectors are those of `conv1` and of `lin2`, the layer below the scores, which the paper
# calls layer 7:

# %%
watched = ["conv1", "lin2", "lin3"]


def read(pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Features of the first and of the last layer, and the right class's probability."""
    first, last, scores = net.capture(pixels, watched).values()
    probability = run.loss.probabilities(scores.flatten(1))
    right = probability.gather(1, originals.labels[:, None])
    return first.relu().flatten(1), last.relu().flatten(1), right[:, 0]


still = read(moved())
apart = [torch.cdist(f, f).sum() / (number * (number - 1)) for f in still[:2]]


# %% [markdown]
# The same three numbers for pictures that were moved:


# %%
def change(pixels: torch.Tensor) -> list[float]:
    *features, right = read(pixels)
    far = [
        float((f - s).norm(dim=1).mean() / a)
        for f, s, a in zip(features, still[:2], apart, strict=True)
    ]
    return [*far, float(right.mean())]


# %% [markdown]
# Each kind of movement has one number. Here is how far they go:

# %%
count = chapter.at(smoke=3, quick=7, full=13)
tried = {
    "shift": ("pixels down", np.linspace(-60, 60, count)),
    "scale": ("times as large", np.linspace(1, 1.8, count)),
    "angle": ("degrees", np.linspace(0, 360, 2 * count - 1)),
}
changed = {
    name: np.array([change(moved(**{name: float(v)})) for v in values])
    for name, (_, values) in tried.items()
}

# %% [markdown]
# One chart for each kind of movement:

# %% tags=["hide-input"]
from internals.figures import lines

names = ("distance, conv1", "distance, lin2", "probability")
seen = {
    "shift": "Conv1 goes more than half of its way in the first step, lin2 less than a third.",
    "scale": "Conv1 goes more than half of its way in the first step, lin2 less than a third.",
    "angle": "Of the turns by more than 45 degrees, the one by 180 costs least.",
}
for name, (unit, values) in tried.items():
    show(
        lines(
            values,
            dict(zip(names, changed[name].T, strict=True)),
            xlabel=unit,
            ylabel="distance, probability",
            height=220,
            levels={"another picture": 1.0},
            caption=f"The mean over {number} held-out pictures, {name} by {name}: how far the features "
            "of conv1 and of lin2 are from those of the picture left alone, and the probability of the "
            f"right class. {seen[name]}",
            alt=f"Three curves over the {name} of a picture: two distances that grow from zero, the "
            "first layer's at once, and a probability.",
        ),
        f"invariance-{name}",
    )

# %% [markdown]
# After one step of each movement:

# %%
step = np.array([
    changed[name][count // 2 + 1 if name == "shift" else 1] for name in tried
])  # fmt: skip
least = {name: values[:, 2].min() for name, values in changed.items()}
quarter = changed["angle"][(count - 1) // 2, 2]
chapter.finding(
    "As in the paper, the first layer moves far at once. After the first step of each movement conv1 is "
    f"{step[:, 0].min():.2f} to {step[:, 0].max():.2f} of the way to another picture, lin2 "
    f"{step[:, 1].min():.2f} to {step[:, 1].max():.2f}.",
    holds=bool(step[:, 0].min() > step[:, 1].max() + 0.05),
)
chapter.finding(
    "Of these movements turns cost most. The probability of the right class is "
    f"{changed['shift'][count // 2, 2]:.2f} for pictures left alone. It falls to {least['angle']:.2f} in "
    f"turns, to {least['shift']:.2f} in shifts and to {least['scale']:.2f} in scalings. The corners are "
    f"not the main reason: at 90 degrees, where there are none, it is {quarter:.2f}.",
    holds=bool(
        max(least["angle"], quarter)
        < min(least["shift"], least["scale"]) - 0.05
    ),
)

# %% [markdown]
# ## What stride and window of the first layer do
#
# The paper looked at AlexNet's first layer and saw filters of very high and very low frequencies
# and hardly any between. In the second layer it saw patterns that were in no picture, because
# windows 11 pixels wide step over it four at a time. A window of 7 × 7 at a stride of two mended
# both, and left fewer dead filters.
#
# We train both forms alike. The one with 7 × 7 also has the paper's stride of two in its second layer. All
# extra networks of this chapter are short runs of one recipe, since six
# whole ones would take too long. A run this short can show how a first layer's filters begin, and which
# network is ahead at first with this seed. It cannot say which one would be better in the end.

# %%
short = replace(
    recipe, network="alexnet-variant", epochs=4, batch_size=64, snapshots=()
)
if chapter.profile != "full":
    short = replace(
        recipe, network="alexnet-variant", epochs=1,
        most_images=chapter.at(smoke=16, quick=96), most_tested=128, snapshots=(),
    )  # fmt: skip

# %% [markdown]
# What is different in each of the six:

# %%
choices = {
    "as it is": {},
    "7 × 7, stride 2": {"first": "7x7/2"},
    "without conv3, conv4": {"without": ("conv3", "conv4")},
    "without lin1, lin2": {"hidden": ()},
    "without all four": {"without": ("conv3", "conv4"), "hidden": ()},
    "conv3 to conv5 wider": {"widths": (512, 1024, 512)},
}
names = list(choices)[: chapter.at(smoke=2, quick=6, full=6)]

# %% [markdown]
# Six networks, of which the first two answer this question and all of them a later one:

# %%
variants = {
    name: trained(
        replace(short, arguments=tuple(choices[name].items())),
        images,
        seed=chapter.seed,
    )
    for name in names
}

# %% [markdown]
# The first layer of the whole run, and those of the two short ones:

# %%
from internals.figures import filters

kernels = {
    "whole run, 11 × 11, stride 4": run.model.conv1.weight.detach(),
    "short run, 11 × 11, stride 4": variants["as it is"].model.conv1.weight.detach(),
    "short run, 7 × 7, stride 2": variants["7 × 7, stride 2"].model.conv1.weight.detach(),
}  # fmt: skip
seen = (
    "Many are gratings, edges, colours and spots, and others are nearly blank.",
    "Most are still noise; 44, 67 and 68 begin as edges, 39 and 49 as a colour.",
    "Most are still noise; 20, 29 and 43 begin as edges, 49 and 51 as a colour.",
)
for (name, weights), words in zip(kernels.items(), seen, strict=True):
    show(
        filters(
            weights.numpy(),
            caption=f"The 96 kernels of the first layer: {name}. {words} All are on one scale, on which "
            "mid grey is zero; a dead filter would be grey all over.",
            alt=f"Ninety-six small colour squares, {name}.",
        ),
        "conv1-" + "-".join(name.replace(",", "").replace("×", "x").split()),
    )

# %% [markdown]
# Aliasing is possible where a kernel passes waves that its stride cannot carry. Sampling every fourth
# pixel cannot represent waves shorter than eight pixels. At a stride of two the limit is four. What a
# filter passes beyond that limit comes back as a wave that was not there. We take the power spectrum of
# all kernels together, and the share of it that lies beyond the limit. How much comes of it in maps of
# photographs is measured in [the AlexNet chapter](02_alexnet.py#what-a-stride-of-four-misses):


# %%
def beyond_limit(weights: torch.Tensor, stride: int) -> float:
    """The share of the kernels' power at waves shorter than two strides."""
    power = torch.fft.fft2(weights, s=(64, 64)).abs().square().sum((0, 1))
    frequency = torch.fft.fftfreq(64).abs()
    fast = torch.maximum(frequency[:, None], frequency) > 1 / (2 * stride)
    return float(power[fast].sum() / power.sum())


# %% [markdown]
# A filter counts as dead when its contrast is less than a tenth of the median's. A filter that keeps its
# first noise counts as alive by this measure:


# %%
def dead(weights: torch.Tensor) -> int:
    contrast = weights.flatten(1).std(dim=1)
    return int((contrast < contrast.median() / 10).sum())


# %% [markdown]
# Each layer is measured by the limits of both strides, since the share depends on the limit as well as on
# the kernels. The untrained layer, whose kernels are noise, is measured too:

# %%
untouched = untrained.conv1.weight.detach()
measured = {"untrained, 11 × 11, stride 4": untouched, **kernels}
by_four, by_two = (
    {name: beyond_limit(w, stride) for name, w in measured.items()}
    for stride in (4, 2)
)
unused = {name: dead(w) for name, w in measured.items()}

# %% [markdown]
# The limit of a layer's own stride is the one that counts for it:

# %% tags=["hide-input"]
show(
    Table.of(
        ("first layer", "beyond the limit at stride 4", "at stride 2", "dead filters"),
        (
            (name, percent(by_four[name]), percent(by_two[name]), unused[name])
            for name in measured
        ),
        caption="The share of the kernels' power that a stride of four cannot carry, and that one of two "
        "cannot, and how many of the 96 filters are dead. White noise has fifteen sixteenths of its "
        "power beyond the limit at a stride of four, three quarters at two.",
    ),
    "aliasing",
)  # fmt: skip
begins, whole_run, as_it_is, _ = by_four.values()
*_, as_it_is_by_two, finer = by_two.values()
assert abs(begins - 15 / 16) < 0.02
chapter.finding(
    f"After the whole run {percent(whole_run)} of the kernels' power is still beyond the limit of its "
    f"stride, where it was {percent(begins)} before training. Of the two short runs 7 × 7 at a stride of "
    f"two has the lower share, as the paper says: {percent(finer)} beside {percent(as_it_is)}, each by the "
    "limit of its own stride. But the difference is that of the limits. Measured by one, that of a stride of "
    f"two, they have {percent(finer)} and {percent(as_it_is_by_two)}. Dead filters we cannot compare, since "
    "no layer has one.",
    holds=0.3 < whole_run < 0.6
    and finer < as_it_is - 0.1
    and abs(finer - as_it_is_by_two) < 0.03
    and not any(unused.values()),
)

# %% [markdown]
# How much is left of the first weights, which are white noise? We write the kernels after each epoch as
# a multiple of what they began with and a rest at right angles to it:

# %%
first = untouched.flatten()
conv1 = {
    n: model.conv1.weight.detach().flatten() for n, model in stages.items()
}
multiple = {n: float(first @ w / (first @ first)) for n, w in conv1.items()}
share = {
    n: m**2 * float(first @ first / (conv1[n] @ conv1[n]))
    for n, m in multiple.items()
}

# %% [markdown]
# If training took the noise away, the multiple would fall:

# %% tags=["hide-input"]
show(
    Table.of(
        ("conv1", *(f"epoch {n}" for n in stages)),
        (
            ("multiple of the first weights", *(f"{m:.2f}" for m in multiple.values())),
            ("their share of the power", *map(percent, share.values())),
        ),
        caption="What the 96 kernels of conv1 keep of their first weights through training.",
    ),
    "first-weights",
)  # fmt: skip
chapter.finding(
    "Training does not take the noise away. The first weights stay, and what is learned is added to "
    f"them: the multiple is {multiple[end]:.2f} at the end, and the share falls to "
    f"{percent(share[end])} because the kernels grow.",
    holds=min(multiple.values()) > 0.8 and max(multiple.values()) < 1.3
    and 0.1 < share[end] < 0.3,
)  # fmt: skip

# %% [markdown]
# ## Does it need what it names?
#
# The paper's figure 7 slides a grey square over a picture and watches three things at each place:
# the strongest map of the last convolution, the probability of the right class, and the answer. The
# probability falls where the square covers the thing, the map where it covers what its projection shows.
# In two of the paper's three pictures these are different things. From the probability the paper
# concludes that the network finds the thing and does not go by what surrounds it.

# %%
side = recipe.size // chapter.at(smoke=4, quick=7, full=14)
square = {"size": chapter.at(smoke=1, quick=1, full=4) * side, "stride": side}
right = (
    run.loss.probabilities(
        net.capture(moved(), ["lin3"])["lin3"].flatten(1)
    ).argmax(1)
    == originals.labels
)

# %% [markdown]
# The first held-out pictures that are named rightly:

# %%
chosen = right.nonzero()[:, 0].tolist() or [0]
chosen = chosen[: chapter.at(smoke=2, quick=3, full=30)]
covered_inputs = net.inputs(
    run.pipeline.view(originals.subset(torch.tensor(chosen)))
)[:]
classes = originals.labels[chosen]


# %% [markdown]
# To follow the answer, every score is replaced by the number of the winning class:


# %%
def answer(scores: torch.Tensor) -> torch.Tensor:
    """The number of the class that wins, as the score of each."""
    return scores.argmax(1, keepdim=True).expand_as(scores).float()


# %% [markdown]
# Probability and answer are measured with the same square at the same places. What a pixel loses is the
# mean over all squares that lie on it:

# %%
from internals import Unit
from internals.projection import occlusion_map

blur, image_size = square["size"] // 2, covered_inputs.shape[-2:]
probability = net.occlusion(
    covered_inputs, classes, score=run.loss.probabilities, **square
)
answers = net.occlusion(covered_inputs, classes, score=answer, **square)
scores = net.capture(covered_inputs, ["lin3"])["lin3"].flatten(1)
whole = run.loss.probabilities(scores).gather(1, classes[:, None])[:, 0]
kept_answer = (answers == classes[:, None, None]).float()


# %% [markdown]
# And what the strongest map of `conv5` loses. Beside it stands the projection of that map's strongest unit,
# which says which pixels drove the unit. If it tells the truth, covering those pixels lowers the map. It
# is blurred here, since a square covers many pixels at once:


# %%
def strongest_map(one: Network) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each picture what its strongest map loses at each pixel, and the blurred projection."""
    maps = one.capture(covered_inputs, ["relu5"])["relu5"]
    totals = maps.sum((2, 3))
    activity = one.occluded_activity(covered_inputs, "relu5", **square)
    loss = occlusion_map(activity, totals.amax(1), image_size, **square)
    units = [
        Unit("conv5", int(c), *divmod(int(m[c].argmax()), m.shape[-1]))
        for m, c in zip(maps, totals.argmax(1), strict=True)
    ]
    numbers = range(len(units))
    shown = one.project(covered_inputs, units, image_index=numbers)
    sizes = [p.full().abs().sum(0, keepdim=True) for p in shown]
    blurred = torch.nn.functional.avg_pool2d(
        torch.stack(sizes), 2 * blur + 1, stride=1, padding=blur
    )
    return loss, blurred[:, 0]


# %% [markdown]
# The same is done with the untrained network, as a control:

# %%
map_loss, projected = strongest_map(net)
untrained_loss, untrained_projected = strongest_map(nets[0])
lost = {
    "covered: class": occlusion_map(probability, whole, image_size, **square),
    "covered: conv5 map": map_loss,
    "another answer": occlusion_map(
        kept_answer, torch.ones(len(classes)), image_size, **square
    ),
}

# %% [markdown]
# The three pictures whose class loses most:

# %% tags=["hide-input"]
from internals.figures import overlays

shown = originals.images[chosen][:, :, middle, middle].numpy() / 255
few = (whole - probability.amin((1, 2))).argsort(descending=True)[:3].tolist()
show(
    overlays(
        [shown[n] for n in few],
        [
            [*(m[n].numpy() for m in lost.values()), projected[n].numpy()]
            for n in few
        ],
        [*lost, "projection, conv5"],
        names=[originals.class_names[int(classes[n])] for n in few],
        caption="Held-out pictures under a sliding grey square. First what is lost of the class's "
        "probability when a place is covered, then what is lost of the strongest map of conv5, then "
        "the share of the squares over a pixel that change the answer, and last the size of the "
        "blurred projection of that map's strongest unit. In the second picture the class loses where "
        "the horn is covered, and the map rises there (blue).",
        alt="Rows of a picture and four heat maps over it: three coarse ones of what covering a place "
        "does, and a fine one of a projection.",
    ),
    "occlusion",
)

# %% [markdown]
# For each picture we take the rank correlation of the loss with the projection, pixel by pixel. It too needs
# a baseline, since both may prefer the middle of any picture. So each loss is also compared with the
# projections of five other pictures:

# %%
from scipy.stats import spearmanr


def agreement(loss: torch.Tensor, shown: torch.Tensor) -> np.ndarray:
    """The rank correlations of the pictures in which covering changes anything."""
    varied = [(a, b) for a, b in zip(loss, shown, strict=True) if a.std()]
    return np.array([spearmanr(a, b, axis=None).statistic for a, b in varied])


def with_others(loss: torch.Tensor, shown: torch.Tensor) -> np.ndarray:
    """The same with projections of other pictures."""
    turns = range(1, max(2, min(6, len(shown))))
    return np.concatenate([agreement(loss, shown.roll(n, 0)) for n in turns])


# %% [markdown]
# For the class, for the map, and for the map of the untrained network:

# %%
pairs = {
    "probability of the class": (lost["covered: class"], projected),
    "strongest map": (map_loss, projected),
    "strongest map, untrained": (untrained_loss, untrained_projected),
}
agreements = {what: agreement(*pair) for what, pair in pairs.items()}
others = {what: with_others(*pair) for what, pair in pairs.items()}

# %% [markdown]
# Each with twice its standard error:

# %% tags=["hide-input"]
told = {
    what: f"{found.mean():+.2f} ± {2 * found.std() / max(len(found), 1) ** 0.5:.2f}"
    for what, found in agreements.items()
}
show(
    Table.of(
        ("what is lost", "correlation with the projection", "with those of other pictures"),
        ((what, told[what], f"{others[what].mean():+.2f}") for what in pairs),
        caption=f"The rank correlation between what {len(chosen)} pictures lose when a place is covered "
        "and the projection of the strongest unit of conv5's strongest map, and the same with the "
        "projections of other pictures.",
    ),
    "agreement",
)  # fmt: skip
changed_answers = 1 - float(kept_answer.mean())
relative = (
    (whole[:, None, None] - probability) / whole[:, None, None]
).flatten(1)
worst = float(relative.amax(1).median())
usual = float(relative.median(1).values.median())
chapter.finding(
    f"At the worst place the class loses {percent(worst)} of its probability (median of "
    f"{len(chosen)} pictures), and the answer changes at {percent(changed_answers)} of the places. At "
    f"half of the places the same square costs no more than {percent(usual)}.",
    holds=worst > 0.15 and usual < worst / 2,
)
by_class, by_map, _ = agreements.values()
of_others = others["strongest map"].mean()
chapter.finding(
    "As in the paper, a map falls when what its projection shows is covered: the rank correlation of "
    f"the two is {told['strongest map']}, and {of_others:+.2f} with projections of other pictures. "
    f"In the untrained network it is {told['strongest map, untrained']}. Where the class loses is another "
    f"matter: the correlation of its loss with the same projection is {told['probability of the class']}.",
    holds=by_map.mean() > max(0.3, of_others + 0.1)
    and by_class.mean() < by_map.mean() - 0.2,
)

# %% [markdown]
# Whether the worst place is the thing itself we cannot count, since the pictures have no outlines of
# it.
#
# ## Do eyes mean eyes?
#
# Does the network relate the eyes of one dog to those of another? The paper's table 1 hides the same
# part in five pictures of dogs. For picture $i$ let $\epsilon_i$ be the change of the features of a
# layer, and let the sign of each entry be all that counts. If hiding an eye does the same to every
# dog, the sign vectors agree, and
#
# $$
# \Delta = \sum_{i \ne j} H\bigl(\mathrm{sign}\,\epsilon_i,\, \mathrm{sign}\,\epsilon_j\bigr)
# $$
#
# is small, where $H$ is the Hamming distance as a share of the entries. The paper's control hides
# random parts of the dog, ours a random place in the picture. The paper finds smaller distances for eyes
# and nose than for its control in layer 5, and next to no difference in layer 7. An entry that hiding
# does not change has the sign 0, and two of those agree. So we count a second time, over those entries
# only that change in both pictures.
#
# Here are five English springers with both eyes in view. Where their eyes and noses are was read
# off by eye, as shares of the picture's width and height:

# %%
dogs = {
    "ILSVRC2012_val_00032959": [(0.39, 0.34), (0.67, 0.37), (0.51, 0.66)],
    "n02102040_107": [(0.31, 0.32), (0.46, 0.29), (0.40, 0.53)],
    "n02102040_1306": [(0.54, 0.26), (0.73, 0.25), (0.61, 0.53)],
    "n02102040_1695": [(0.29, 0.26), (0.54, 0.28), (0.34, 0.47)],
    "n02102040_1859": [(0.37, 0.26), (0.62, 0.28), (0.46, 0.49)],
}
parts = ("left eye", "right eye", "nose")

# %% [markdown]
# The places of the file are turned into places of the input, which is a square cut from its middle:

# %%
from pathlib import Path

from PIL import Image

from internals.data import find_source

both = (images.train, images.validation)
known = {Path(f).stem: (s, n) for s in both for n, f in enumerate(s.files)}
root = find_source("imagenette", chapter.data).root


# %% [markdown]
# The rest is proportion:


# %%
def stored_place(name: str, x: float, y: float) -> tuple[float, ...]:
    """Row and column on the input of a place given as shares of the file's sides."""
    split, n = known[name]
    with Image.open(root / split.files[n]) as file:
        width, height = file.size
    zoom = recipe.stored / min(width, height)
    return tuple(
        share * side * zoom - (side * zoom - recipe.size) / 2
        for share, side in ((y, height), (x, width))
    )


# %% [markdown]
# Where the photographs are missing, five pictures of one class stand in, and the parts are the
# same places without a meaning:

# %%
if all(name in known for name in dogs):
    five = torch.stack([known[d][0].images[known[d][1]] for d in dogs])
    places = [
        [stored_place(d, *xy) for xy in spots] for d, spots in dogs.items()
    ]
else:
    five = images.train.images[(images.train.labels == 1).nonzero()[:5, 0]]
    places = [
        [(recipe.size * y, recipe.size * x) for x, y in spots]
        for spots in dogs.values()
    ]
five = five[:, :, middle, middle]

# %% [markdown]
# A square of a tenth of the picture's side covers an eye, or the middle of a nose. The control hides
# a random place in every picture, and is drawn many times:

# %%
half = recipe.size // 20
generator = torch.Generator().manual_seed(chapter.seed)
draws = chapter.at(smoke=2, quick=5, full=50)
by_chance = half + (recipe.size - 2 * half) * torch.rand(
    draws, len(five), 2, generator=generator
)


# %% [markdown]
# The square is mid grey:


# %%
def hidden(spots) -> torch.Tensor:
    """The five pictures, each with a grey square at its place."""
    covered = five.clone()
    for one, (row, column) in zip(covered, spots, strict=True):
        top, left = (max(0, int(v) - half) for v in (row, column))
        one[:, top : top + 2 * half, left : left + 2 * half] = 128
    return covered


# %% [markdown]
# The squares lie where they should:

# %% tags=["hide-input"]
from internals.figures import samples

tiles = [
    five,
    *(hidden([spots[k] for spots in places]) for k in range(3)),
    hidden(by_chance[0]),
]
show(
    samples(
        torch.cat(tiles).numpy() / 255,
        np.repeat(np.arange(5), 5),
        ["whole", *parts, "by lot"],
        each=5,
        caption="Five pictures of one breed, whole and with one part hidden: an eye, the other "
        "eye, the nose, and a place drawn by lot, which here lies on the dog in four of the five.",
        alt="Five rows of the same five pictures: whole, then with a grey square over the left eye, the "
        "right eye, the nose and a random place.",
    ),
    "parts",
)


# %% [markdown]
# From every picture one sign vector for each hidden part, and from every pair of pictures the two
# distances:


# %%
def disagreement(layer: str, spots) -> list[float]:
    """The mean distances of two dogs' sign vectors: of all entries, and of those that both change."""
    before, after = (
        net.capture(x, [layer])[layer].relu().flatten(1)
        for x in (five, hidden(spots))
    )
    signs = (after - before).sign()
    pairs = [(a, b) for i, a in enumerate(signs) for b in signs[:i]]
    every = [(a != b).double().mean() for a, b in pairs]
    both = [
        ((a * b) == -1).sum() / (a * b).abs().sum().clip(1) for a, b in pairs
    ]
    return [float(torch.stack(d).double().mean()) for d in (every, both)]


# %% [markdown]
# For each hidden part, and for each draw of the control:

# %%
hamming = {
    layer: np.array(
        [disagreement(layer, [spots[k] for spots in places]) for k in range(3)]
    )
    for layer in ("conv5", "lin2")
}
control = {
    layer: np.array([disagreement(layer, spots) for spots in by_chance])
    for layer in hamming
}

# %% [markdown]
# Parts above, random places below:

# %% tags=["hide-input"]
show(
    Table.of(
        ("hidden", "conv5", "conv5, both change", "lin2", "lin2, both change"),
        (
            *(
                (part, *(f"{d:.3f}" for h in hamming.values() for d in h[k]))
                for k, part in enumerate(parts)
            ),
            ("by lot", *(
                f"{c.mean():.3f} ± {c.std():.3f}" for by in control.values() for c in by.T
            )),
        ),
        caption="How differently hiding a part changes the features of two dogs: the share of entries "
        "whose signs of change differ, of all entries and of those that change in both pictures. "
        f"The last row hides places by lot, the mean and standard deviation of {draws} draws.",
    ),
    "correspondence",
)  # fmt: skip
away = {
    layer: ((distances - control[layer].mean(0)) / control[layer].std(0)).T
    for layer, distances in hamming.items()
}
chapter.finding(
    "With our control, which hides places of the whole picture and not of the dog, we find the opposite "
    "of the paper, by both counts. In conv5 eyes and nose agree no better between dogs than places by "
    f"lot. Their distances are {away['conv5'].min():+.1f} to {away['conv5'].max():+.1f} standard "
    "deviations from those, and of the entries that both dogs change about half differ. In lin2 all three "
    f"agree more between dogs than places by lot do, by {-away['lin2'].max():.1f} to "
    f"{-away['lin2'].min():.1f} standard deviations.",
    holds=bool((away["lin2"] < -2).all() and (away["conv5"] > -1).all())
    and abs(hamming["conv5"][:, 1] - 0.5).max() < 0.05,
)

# %% [markdown]
# Five pictures are few, and the square does not cover the whole of the larger noses. Our control is not
# fair in one way. A random place may lie beside the dog, where covering changes other features in every
# picture, while eyes and noses always lie in a face. So lin2 may relate faces, and not eyes. And the paper
# may find otherwise because its random parts lie on the dog.
#
# ## What it can do without
#
# The paper's table 3 takes parts out of the network and trains it again. Without the fully connected
# layers 6 and 7, where most parameters are, the error rises little. Without the middle convolutions
# 3 and 4 it rises little too. Without all four it rises a lot. From that the paper concludes that
# depth counts as such. Wider convolutions helped.

# %% tags=["hide-input"]
from internals.anatomy import summarize

rows = []
for name, one in variants.items():
    counted = summarize(one.model, (3, recipe.size, recipe.size))
    rows.append(
        (
            name,
            f"{sum(r.parameters for r in counted) / 1e6:,.1f}",
            f"{sum(r.multiply_adds for r in counted) / 1e6:,.0f}",
            percent(one.history.epochs[-1].train_top1),
            percent(one.history.epochs[-1].validation_top1),
        )
    )
scored = min(len(images.validation), short.most_tested or 10**6)
noise = 2 * (2 * 0.25 / scored) ** 0.5
show(
    Table.of(
        ("network", "parameters, millions", "multiply-adds, millions", "training", "held out"),
        rows,
        caption=f"Accuracy after {short.epochs} epochs of each (n = 1, one seed). Differences between "
        f"held-out accuracies below {100 * noise:.1f} points are within twice their standard error, "
        "which leaves out what another seed would do.",
    ),
    "ablation",
)  # fmt: skip
unchanged, *others = (
    v.history.epochs[-1].validation_top1 for v in variants.values()
)
gains = dict(zip(names[1:], np.array(others) - unchanged, strict=True))
shallow = [gains.get(f"without {n}", 0) for n in ("conv3, conv4", "all four")]
chapter.finding(
    f"After {short.epochs} epochs no part is missed yet. None of the other five networks is worse than "
    f"AlexNet as it is by more than twice the standard error, {100 * noise:.1f} points. The two without "
    f"conv3 and conv4 are ahead, by {100 * shallow[0]:.1f} points and, without lin1 and lin2 as well, by "
    f"{100 * shallow[1]:.1f}, which is at the edge of that.",
    holds=min(gains.values()) > -noise
    and all(0.8 * noise < gain < 1.4 * noise for gain in shallow),
)

# %% [markdown]
# That is no contradiction of the paper, which trained every network to its end. One seed and so short a
# training show no more than the beginning, in which a shallower network may simply be faster.
#
# ## One unit, three ways
#
# A patch shows what drove a unit. A projection is meant to show which pixels of the patch did. An
# optimised image starts from noise. Photographs give it only their mix of colours. Step by step it is
# changed so that the unit fires harder [@erhan2009; @olah2017]. Here are three
# channels of `conv5` in all three ways, and at the right the same with untrained weights:

# %%
from internals.figures import Portrait, beside_strongest, portraits
from internals.projection import middle_units

channels = range(3)
steps = chapter.at(smoke=2, quick=48, full=256)
random_net, colours_of = nets[0], images.train.head(1024)


# %% [markdown]
# Three tiles for each channel. Where a unit sees beyond the picture's border, that part of its patch is
# grey:


# %%
def three_ways(one: Network, top, title: str) -> list[Portrait]:
    """Patch, projection and optimised image of each channel."""
    made = one.optimise(
        middle_units(one, "conv5", channels), pictures=colours_of, steps=steps
    )
    tiles = beside_strongest(
        one.patches(top.head(1), channels), made, projections=True
    )
    for k, channel in enumerate(channels):
        tiles[3 * k] = replace(tiles[3 * k], title=f"{channel}, {title}")
    return tiles


# %% [markdown]
# The two networks are asked for the same channels:

# %%
pictures_of = {
    title: three_ways(one, tops[epoch]["conv5"], title)
    for title, one, epoch in (
        ("trained", nets[end], end),
        ("untrained", random_net, 0),
    )
}

# %% [markdown]
# The trained network on the left, the untrained one on the right:

# %% tags=["hide-input"]
show(
    portraits(
        [
            tile
            for k in channels
            for tiles in pictures_of.values()
            for tile in tiles[3 * k : 3 * k + 3]
        ],
        caption="Three channels of conv5, a line each: strongest patch, its projection and an image made "
        "for the middle unit, from the trained network on the left and from the same network before "
        "training on the right. The trained network's images have stripes, bands and curves, the "
        "untrained one's are coloured speckle.",
        alt="For three channels six tiles each: a patch, a projection and an optimised image, first of "
        "the trained network, then of the untrained one.",
    ),
    "three-ways",
)

# %% [markdown]
# How much of what conv5 learned is in each of the three? For patches we count classes: how many of the
# nine strongest pictures are of one class. For projections we give conv5 random weights and take the rank
# correlation with the trained projections. For optimised images we ask two judges. One is AlexNet with
# the weights of its best epoch; the images are made with those of the last. The other is
# [ResNet-18](05_resnet18.py), which has nothing of this network but the training pictures. If a channel
# has learned a class and its image shows it, both should name the class of the photographs that drive
# the channel:

# %%
judge_recipe = find_recipe("resnet18", chapter.profile)
judge_images = load(
    "imagenette", chapter.data, size=judge_recipe.stored, seed=chapter.seed,
    most=chapter.most_images,
)  # fmt: skip
judge_run = trained(judge_recipe, judge_images, seed=chapter.seed)
judge = Network.of(judge_run)

# %% [markdown]
# Images made for the whole map of a channel are judged, as large as the network's input:

# %%
asked = range(chapter.at(smoke=2, quick=6, full=48))


def verdicts(pixels: torch.Tensor) -> list[torch.Tensor]:
    """The probabilities of this network and of the other, for each picture."""
    found = []
    for one, of in ((net, run), (judge, judge_run)):
        resized = torch.nn.functional.interpolate(
            pixels.float(), of.recipe.size, mode="bilinear", antialias=True
        )
        scores = one.model(one.inputs(resized.round().clamp(0, 255).byte())[:])
        found.append(of.loss.probabilities(scores).detach())
    return found


# %% [markdown]
# Whole maps are driven here, by their mean:

# %%
made = {}
for title, one in (("trained", nets[end]), ("untrained", random_net)):
    images_made = one.optimise(
        [f"conv5:{c}" for c in asked], pictures=colours_of, steps=steps
    )
    made[title] = torch.stack([image.full() for image in images_made])
judged = {title: verdicts(pixels) for title, pixels in made.items()}

# %% [markdown]
# The first six channels of each network:

# %% tags=["hide-input"]
show(
    portraits(
        [
            Portrait(
                f"{c}, {title}",
                made[title][c].numpy() / 255,
                run.class_names[int(judged[title][0][c].argmax())],
            )
            for title in made
            for c in list(asked)[:6]
        ],
        caption="Images made for whole channels of conv5, of the trained network and of the same network "
        "before training. Below each stands what the trained network takes it for. Channel 4 after "
        "training has white lumps, which it calls a golf ball, and channel 5 a lattice, which it calls a "
        "French horn. The untrained network's images get names too.",
        alt="Optimised images of channels of conv5, first of the trained network, then of the "
        "untrained one.",
    ),
    "channels-optimised",
)  # fmt: skip

# %% [markdown]
# The two judges' answers, in numbers:

# %%
epoch_of = {"trained": end, "untrained": 0}
classes_of = {
    title: pictures.labels[tops[epoch]["conv5"].image[asked]].mode(1).values
    for title, epoch in epoch_of.items()
}


def pairs_of(title: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The two judges' answers, and each one's with the class of the patches."""
    one, other = (p.argmax(dim=1) for p in judged[title])
    own = classes_of[title]
    return [(one, other), (one, own), (other, own)]


told = {
    title: [float((a == b).double().mean()) for a, b in pairs_of(title)]
    for title in judged
}

# %% [markdown]
# A judge that answers "parachute" to everything agrees with every judge that often says so. So we also
# compute how often they would agree if the answers were shuffled among the channels. The mean over all
# shuffles is the chance that a random answer from each list is the same:


# %%
def dealt_out(a: torch.Tensor, b: torch.Tensor) -> float:
    """How often two lists of classes agree when one is shuffled, in the mean."""
    shares = [torch.bincount(x, minlength=10) / len(x) for x in (a, b)]
    return float(shares[0] @ shares[1])


by_deal = {
    title: [dealt_out(a, b) for a, b in pairs_of(title)] for title in judged
}

# %% [markdown]
# For both networks' images:

# %% tags=["hide-input"]
show(
    Table.of(
        ("images made for", "both judges agree", "AlexNet names the class", "ResNet-18 does"),
        (
            (
                f"{t} weights",
                *(f"{percent(v)} ({percent(c)})" for v, c in zip(told[t], by_deal[t], strict=True)),
            )
            for t in told
        ),
        caption=f"What two trained networks say to images made for {len(asked)} channels of conv5: how "
        "often they give the same answer, and how often the answer is the commonest class of the "
        "channel's nine strongest pictures. In brackets what chance would give: the mean when the "
        "answers are dealt out to other channels. Twice the standard error of a share is at most "
        f"{100 * len(asked) ** -0.5:.0f} points.",
    ),
    "judges",
)  # fmt: skip
chapter.finding(
    "Images made for trained channels carry classes. The judges agree on "
    f"{percent(told['trained'][0])} of them, where chance would give {percent(by_deal['trained'][0])}, "
    f"and on {percent(told['untrained'][0])} of the untrained ones. ResNet-18, which never saw the "
    f"channel, names the class of its photographs in {percent(told['trained'][2])}, where chance would "
    f"give {percent(by_deal['trained'][2])}. But on {percent(1 - told['trained'][0])} of them the two "
    "judges do not agree.",
    holds=told["trained"][0] > told["untrained"][0] + 0.07
    and all(
        a > b + 0.07
        for a, b in zip(told["trained"], by_deal["trained"], strict=True)
    )
    and told["trained"][0] < 0.7,
)

# %% [markdown]
# For patches the trained network is compared with the untrained one. For projections conv5 alone gets
# random weights, of another seed than the run's, and the same units are projected again:

# %%
from internals.activations import class_purity

pure = {
    title: class_purity(tops[epoch]["conv5"].image, pictures.labels)
    for title, epoch in epoch_of.items()
}
torch.manual_seed(chapter.seed + 1)
forgetful = nets[end].sanity(
    pictures,
    tops[end]["conv5"][list(some)].head(1),
    rules="guided",
    stages=["conv5"],
    untrained=build("alexnet"),
)
rho, base = float(forgetful.magnitudes[0, 1].mean()), forgetful.baseline[0]
chapter.finding(
    f"Patches tell the two networks apart: {9 * pure['trained']:.1f} of nine are of one class with trained "
    f"weights, {9 * pure['untrained']:.1f} with untrained ones. Projections would have misled. With random "
    f"weights in conv5 alone they keep a rank correlation of {rho:.2f} with the trained ones, where "
    f"projections of different things have {base:.2f}. So they tell little of what conv5 learned.",
    holds=pure["trained"] > pure["untrained"] + 0.1
    and rho > max(0.8, base + 0.2),
)

# %% [markdown]
# ## Key features
#
# - **This chapter's method is comparison**: a picture of a unit is the beginning of a question, and the
#   answer comes from a number beside a control.
# - **Epoch by epoch**, the nine strongest pictures settle from the bottom of the network to its top, as in
#   the paper.
# - **The first weights stay**: what the kernels of `conv1` learn is added to their first noise.
# - **Moved pictures** change the first layer's features at once and the last layer's little by little. Turns
#   harm the answer most.
# - **Occlusion** tests a projection: it takes the pixels away instead of drawing them. The strongest map
#   falls where its projection is covered. Where the class falls is another matter.
# - **Correspondence** of eyes and noses in `conv5` we do not find, with a control that is not the paper's.
# - **An optimised image** starts from noise, and shows what a unit would answer to, not what it meets. A
#   second network finds classes in some of them. **A projection** tells little of what its own layer
#   learned.
#
# ## Do this with your own network
#
# Optimised images below the strongest patches of a layer, for a network in your file `mine.py`:
#
# ```sh
# internals project mine:network --weights mine.pth --layer conv2 \
#     --channels 0-5 --images photos --optimised --out panel.png
# internals atlas mine:network --weights mine.pth --images photos --optimised conv2 \
#     --out site
# ```
#
# One image, for a channel, a unit or a class:
#
# ```python
# from internals import Network
#
# net = Network.open("mine:network", weights="mine.pth")
# (image,) = net.optimise("conv2:7", seed=1)
# print(image.value)
# ```
#
# ## Exercises
#
# 1. Drive a channel down with `negative=True`. What do the pictures that silence it have in common?
# 2. Hide an ear in place of an eye in the five dogs. Is the distance nearer to the parts' or to the
#    control's?
# 3. Put `"hidden": (512,)` in the place of `"hidden": ()` in "without lin1, lin2". How small may a
#    fully connected layer be?
#
# The book's six networks are put side by side in [the chapter before this one](10_side_by_side.py).
