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
# title: Inside LeNet-5
# thumbnail: evidence
# description: Maps of evidence, linear probes, principal components and a sparse autoencoder, each beside the control that says what it is worth.
# data: mnist
# ---

# %% [markdown]
# # Inside LeNet-5: four instruments and their controls
#
# [Chapter 1](01_lenet5.py) looked at LeNet-5 channel by channel. This chapter asks whole layers four
# questions. Which pixels of a digit counted for the answer? How are a layer's activations laid out?
# What could a linear classifier read off them? And can they be described in a few numbers? There is
# a standard instrument for each question, and each gives an answer whether or not the network has
# learned anything. So each is set beside a control or a comparison.
#
# **What you will see**
#
# - four maps of evidence, two of which show the digit with random weights too;
# - a layer of 84 units that has learned ten little pictures, in nine directions;
# - a linear classifier for every layer: where the digits become easy to read, and how far random
#   weights of the right size would get;
# - layers rewritten in a few entries of a long dictionary: two for each digit are enough to read 98 %
#   of them. But most of the lead in variance that two entries have, they have in an untrained layer too.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# The network is that of chapter 1, with the same recipe and the same seed, so its weights are found
# if they were trained there:

# %%
from internals import Network, load
from internals.training import find_recipe, trained

digits = load("mnist", chapter.data, seed=chapter.seed)
recipe = find_recipe("lenet5", chapter.profile)
run = trained(recipe, digits, seed=chapter.seed)
net = Network.of(run)
truth, names = digits.test.labels, digits.test.class_names
print(f"{run.test.top1:.2%} of {len(truth):,} test digits right")

# %% [markdown]
# ## Which pixels counted
#
# Three kinds of map of one class score. *Saliency* is the size of its gradient at each pixel
# [@simonyan2014]. *Gradient × input* multiplies the gradient by the pixel. In a linear network that
# is what each pixel adds to the score [@shrikumar2016]. *Grad-CAM* adds up the maps of one layer, each
# weighted by its mean gradient, and sets negative values to 0 [@selvaraju2017].
#
# LeNet-5 answers with its smallest distance, so the score is minus the distance. `net` knows that
# from the loss that the run was trained with:

# %%
from functools import partial

from internals import grad_cam, saliency
from internals.projection import gradient_times_input

instruments = {
    "saliency": saliency,
    "gradient × input": gradient_times_input,
    "Grad-CAM, conv1": partial(grad_cam, layer="conv1", upsample=True),
    "Grad-CAM, pool2": partial(grad_cam, layer="pool2", upsample=True),
}

# %% [markdown]
# We take two test digits that were read right and two that were not, each with the maps of the class
# that the network answered:

# %%
import numpy as np
import torch
from scipy.stats import spearmanr


def rank_correlation(a, b) -> float:
    """Spearman's; 0 where one of the two is the same everywhere."""
    a, b = np.ravel(a), np.ravel(b)
    return spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else 0.0


right = run.test.predicted == truth.numpy()
shown = [*np.flatnonzero(right)[:2], *np.flatnonzero(~right)[:2]]
four = digits.test.subset(torch.tensor(shown))
maps = {
    name: instrument(net, four).reshape(len(four), 32, 32)
    for name, instrument in instruments.items()
}

# %% [markdown]
# Values of different maps cannot be compared, so each has its own scale, and its largest value is
# printed below it. Rank correlations say whether two maps of a digit agree. A sum says how much of the
# saliency lies on paper, where the digit has no ink. Every pixel of paper is −0.1, so there gradient ×
# input is the gradient again, times −0.1, and only on ink can the two disagree:

# %% tags=["hide-input"]
from internals.figures import overlays, percent

show(
    overlays(
        list(four.images.numpy() / 255),
        [[m[row].numpy() for m in maps.values()] for row in range(len(four))],
        list(maps),
        names=[f"{names[truth[i]]} → {names[run.test.predicted[i]]}" for i in shown],
        caption="Four test digits, true class → answer, under four maps of the class answered. Amber "
        "speaks for it, blue against; saliency and Grad-CAM have no sign and are amber only.",
        alt="Four rows, each a digit followed by four maps laid over it: blots for saliency and "
        "gradient times input, the strokes of the digit for Grad-CAM at conv1, broad patches for "
        "Grad-CAM at pool2.",
    ),
    "evidence",
)  # fmt: skip
paper = four.images[:, 0] == 0


def agreement(name: str, where: torch.Tensor) -> list[float]:
    """Each map's rank correlation with the saliency of its digit, over some pixels."""
    pairs = zip(maps[name].abs(), maps["saliency"], where, strict=True)
    return [rank_correlation(m[part], ours[part]) for m, ours, part in pairs]


on_ink = agreement("gradient × input", ~paper)
coarse = agreement("Grad-CAM, pool2", torch.ones_like(paper))
sums = maps["saliency"].sum(dim=(1, 2))
on_paper = float(((maps["saliency"] * paper).sum(dim=(1, 2)) / sums).mean())
share = float(paper.float().mean())
chapter.finding(
    "On ink the two maps of pixels agree in part, with a rank correlation of "
    f"{min(on_ink):.2f} to {max(on_ink):.2f}. Grad-CAM at pool2 agrees with the saliency of none of the "
    f"four digits: {min(coarse):.2f} to {max(coarse):.2f}. Paper is {percent(share, 0)} of the pixels and "
    f"has {percent(on_paper, 0)} of a digit's saliency on average: a pixel of paper counts about as much "
    "as one of ink.",
    holds=min(on_ink) > 0.4
    and max(on_ink) < 0.75
    and max(coarse) < 0.5
    and abs(on_paper - share) < 0.08,
)

# %% [markdown]
# Grad-CAM can be computed at any layer, but it is meant for the last maps that still have positions
# [@selvaraju2017].
# At conv1 the mean gradient of a map mixes what its strokes meant in every part of the field. After
# pool2 it is too late: a map of conv3 is one number for the whole digit.

# %%
whole = net.grad_cam(four, "conv3")
assert whole.shape == (len(four), 1, 1)

# %% [markdown]
# ### Would the maps look the same if nothing had been learned?
#
# This is the control of [How to look](00_how_to_look.py) for maps of a class: the weights are
# replaced by untrained ones from the top layer down, and each map is compared with its first version
# [@adebayo2018]. *Untrained* weights are here the initial weights of other seeds, and not those that
# this training began with. One draw of them may mislead, so there are ten. The class stays the one that
# the trained network answered:

# %%
from internals.models import LeNet5


def fresh(seed: int) -> LeNet5:
    """The network before any training."""
    torch.manual_seed(seed)
    return LeNet5().eval()


twenty = digits.test.head(20)
answers = torch.from_numpy(run.test.predicted[:20])
of_answers = {n: partial(f, classes=answers) for n, f in instruments.items()}
many = chapter.at(smoke=2, quick=3, full=10)
blanks = [fresh(chapter.seed + 1 + number) for number in range(many)]
controls = [
    net.sanity(twenty, instruments=of_answers, untrained=blank)
    for blank in blanks
]

# %% [markdown]
# Here is the first draw. Below each map stands ρ, its rank correlation with the map of the trained
# network, mean of twenty test digits. Below the first stands the *baseline*: the same between the
# trained network's maps of different digits. It is far from 0 where all maps are strong in the middle
# of the field. Where ρ is not above it, nothing is left of a map:

# %% tags=["hide-input"]
from internals.figures import comparison

control = controls[0]
show(
    comparison(
        control.pictures(),
        control.titles,
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption="Each map of the first test digit, as trained and with more and more layers "
        "untrained, each on its own scale. ρ is the rank correlation of magnitudes with the trained "
        "network's map, the mean of twenty digits; the baseline is that of maps of different digits.",
        alt="Four rows of five maps of one digit. Saliency dissolves into noise; gradient times "
        "input keeps showing the digit's shape; Grad-CAM at conv1 shows a clear seven to the end; "
        "Grad-CAM at pool2 moves its patches.",
    ),
    "control",
)
rho = {
    name: np.array([cascade.magnitudes[row, -1] for cascade in controls])
    for row, name in enumerate(control.names)
}
mean = {name: values.mean() for name, values in rho.items()}
by_draw = {name: values.mean(axis=1) for name, values in rho.items()}
base = dict(zip(control.names, control.baseline, strict=True))
first, second = "Grad-CAM, conv1", "Grad-CAM, pool2"
single = np.stack([rho[first], rho[second]])
chapter.finding(
    f"With all weights random ρ is {mean['saliency']:.2f} for saliency and "
    f"{mean['gradient × input']:.2f} for gradient × input, mean of {many} draws. Maps of different digits "
    f"have {base['saliency']:.2f} and {base['gradient × input']:.2f} in common: nothing is left of the "
    "trained network's maps.",
    holds=mean["saliency"] < base["saliency"]
    and mean["gradient × input"] < base["gradient × input"],
)
chapter.finding(
    f"With Grad-CAM, maps of different digits have next to nothing in common, {base[first]:.2f} at conv1 "
    f"and {base[second]:.2f} at pool2. There ρ is {mean[first]:.2f} ({by_draw[first].min():.2f} to "
    f"{by_draw[first].max():.2f} by draw) and {mean[second]:.2f} ({by_draw[second].min():.2f} to "
    f"{by_draw[second].max():.2f}). Behind these means are single maps from {single.min():.2f} to "
    f"{single.max():.2f}.",
    holds=max(base[first], base[second]) < 0.15
    and max(abs(mean[first]), abs(mean[second])) < 0.2
    and single.min() < -0.5
    and single.max() > 0.5,
)

# %% [markdown]
# How can a map show the digit without a trained weight? Because it has another reason to look like the
# digit. In gradient × input the digit is a factor. Grad-CAM at conv1 adds up six filtered copies of it,
# and may show it in amber or leave it out of an amber field. So we ask how well the digit itself,
# without any network, predicts each map, whichever of the two it does. For comparison, another digit
# is asked as well:

# %%
pixels = net.inputs(twenty)[:].numpy()


def likeness(pictures: list[np.ndarray], shift: int = 0) -> float:
    """Mean size of the rank correlation of maps with their digits; 0 for an even map.

    With a shift the digits are those of other maps.
    """
    pairs = zip(pictures, np.roll(pixels, shift, axis=0), strict=True)
    found = [abs(rank_correlation(np.abs(m), x)) for m, x in pairs]
    return sum(found) / len(found)


before, after, others = {}, {}, {}
for row, name in enumerate(control.names):
    before[name] = likeness(control.maps[row][0])
    after[name] = [likeness(one.maps[row][-1]) for one in controls]
    others[name] = [likeness(one.maps[row][-1], 1) for one in controls]

# %% [markdown]
# The same twenty digits, with the trained network and with the random ones:

# %% tags=["hide-input"]
from internals.figures import Table, with_minus


def over_draws(values) -> str:
    """The mean over all draws of random weights, and their range."""
    return with_minus(
        f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"
    )


show(
    Table.of(
        (
            "map", "baseline", "ρ, all random", "its digit, trained", "its digit, random",
            "another digit, random",
        ),
        [
            (name, f"{base[name]:.2f}", over_draws(by_draw[name]), f"{before[name]:.2f}",
             over_draws(after[name]), over_draws(others[name]))
            for name in control.names
        ],
        caption="Two controls of four instruments, as mean rank correlations over twenty test digits: how "
        "much of the trained network's map is left without trained weights, beside its baseline; and how "
        "well a digit predicts the map, by the size of the correlation. In brackets the range over "
        f"{many} draws of random weights.",
    ),
    "digit-likeness",
)  # fmt: skip
product = "gradient × input"
chapter.finding(
    "Random weights draw the digit too. It predicts gradient × input better where nothing was learned, "
    f"with {np.mean(after[product]):.2f}, than in the trained network, with {before[product]:.2f}. "
    f"Grad-CAM at conv1 it predicts with {np.mean(after[first]):.2f} on average and {before[first]:.2f}. "
    f"Another digit predicts the random maps with {np.mean(others[product]):.2f} and "
    f"{np.mean(others[first]):.2f}.",
    holds=min(after[product]) > before[product] + 0.05
    and min(after[product]) > max(others[product]) + 0.05
    and np.mean(after[first]) > np.mean(others[first]) + 0.08
    and np.mean(after[first]) < before[first],
)

# %% [markdown]
# All four pass the randomisation check: next to nothing is left of any map. Two of them draw the digit
# with random weights all the same. So the check is necessary, not sufficient. A map that stays when the
# weights go cannot show what was learned. A map that changes depends on the weights, and that is all we
# know: it may still be wrong about what the network used. None of these four is to be believed about a
# single pixel. To test a pixel one has to change it, as occlusion does in
# [Zeiler and Fergus](11_zeiler_and_fergus.py).
#
# ## Ten pictures in a layer
#
# F6 is the 84 units of `linear` behind their squashing function. Its target is the 7 × 12 bitmap of
# the digit. Did it learn to draw it? We take the mean over the test digits of each class:

# %%
from internals.probing import gather_activations

most = chapter.at(smoke=240, quick=20_000)
known = gather_activations(net, digits.train, ["tanh5", "tanh6"], most)
unseen = gather_activations(net, digits.test, ["tanh5", "tanh6"])
labels = digits.train.labels[: len(known["tanh6"])]
f6 = unseen["tanh6"].flatten(1)
means = torch.stack([f6[truth == c].mean(dim=0) for c in range(10)])
bitmaps = run.model.rbf.prototypes

# %% [markdown]
# The targets are ±1 and the squashing function ends at ±1.7159. A mean near 0 would be a pixel that
# is neither ink nor paper for the class:

# %% tags=["hide-input"]
rows = {"bitmap": bitmaps, "mean of F6": means, "difference": means - bitmaps}
show(
    comparison(
        [[row.view(1, 12, 7).numpy() for row in kind] for kind in rows.values()],
        list(names),
        names=list(rows),
        caption="The ten bitmaps, what F6 says of the test digits of each class on average, laid out "
        "in the same way, and the difference, which is 0 where it is grey. All are on one scale.",
        alt="Three rows of ten small pictures; the second row repeats the bitmaps of the first, the "
        "third is grey.",
    ),
    "class-means",
)  # fmt: skip
apart = (means - bitmaps).abs()
chapter.finding(
    "The network has learned to draw its answer: the mean of a class differs from its bitmap by "
    f"{apart.mean():.2f} a pixel, and nowhere by more than {float(apart.max()) + 0.005:.2f}, where ink and "
    "paper lie 2 apart.",
    holds=float(apart.max()) < 0.2,
)

# %% [markdown]
# ### How many directions are there?
#
# Principal components are the directions in which the activations vary most, each at right angles to
# those before it. Ten points span nine directions. So if F6 says little but which digit it is, nine
# components should hold nearly all of its variance. Both layers are also taken from a network that was
# never trained:

# %%
from internals.probing import fit_principal_components

untrained = blanks[0]
inputs = net.inputs(digits.train)
blank_known = gather_activations(untrained, inputs, ["tanh5", "tanh6"], most)
spaces = {
    "pixels": inputs[:5000].flatten(1),
    "C5": known["tanh5"].flatten(1),
    "F6": known["tanh6"].flatten(1),
    "C5, untrained": blank_known["tanh5"].flatten(1),
    "F6, untrained": blank_known["tanh6"].flatten(1),
}
components = {n: fit_principal_components(x) for n, x in spaces.items()}

# %% [markdown]
# The shares of the variance, added up from the first component on:

# %% tags=["hide-input"]
from internals.figures import lines

reached = {
    name: 100 * c.explained_variance_ratio.cumsum(0)[:20].numpy()
    for name, c in components.items()
}
show(
    lines(
        np.arange(20),
        reached,
        ticks=[str(number) for number in range(1, 21)],
        xlabel="components",
        ylabel="share of the variance, %",
        marks={"nine": 8},
        caption="How much of the variance of training digits the first principal components hold: as "
        "pixels (1,024 numbers a digit), in C5 (120 units) and in F6 (84 units), trained and untrained.",
        alt="Five rising curves; that of F6 reaches nearly one hundred percent at nine components. Those "
        "of C5 and of both untrained layers lie close together below it, that of the pixels lowest.",
    ),
    "scree",
)
nine = {name: shares[8] for name, shares in reached.items()}
chapter.finding(
    f"F6 has nine directions: they hold {percent(nine['F6'] / 100)} of its variance, against "
    f"{nine['F6, untrained']:.0f} % without training. Of C5 nine components hold {nine['C5']:.0f} %, "
    f"but {nine['C5, untrained']:.0f} % without training too: that share is no sign of learning. Of the "
    f"pixels they hold {nine['pixels']:.0f} %.",
    holds=nine["F6"] > 99.5
    and nine["F6, untrained"] < 90
    and abs(nine["C5"] - nine["C5, untrained"]) < 8
    and nine["pixels"] < 60,
)

# %% [markdown]
# Two of the nine directions make a map. The components come from training digits, the dots are test
# digits:

# %% tags=["hide-input"]
from internals.figures import scatter

flat = components["F6"].truncated(2).encode(f6[:2000]).numpy()
first, second = 100 * components["F6"].explained_variance_ratio[:2]
show(
    scatter(
        flat,
        truth[:2000].numpy(),
        names,
        xlabel=f"first component, {first:.0f} % of the variance",
        ylabel=f"second, {second:.0f} %",
        caption="Test digits by the first two principal components of F6, the class's name at or near "
        "the median of its dots. Seven further directions are not drawn.",
        alt="Ten clusters of dots, one for each digit, most of them dense and apart, joined by a few "
        "scattered dots.",
    ),
    "components",
)
flat_0, flat_6 = components["F6"].truncated(2).encode(means)[[0, 6]]
all_0, all_6 = components["F6"].truncated(9).encode(means)[[0, 6]]
in_two, in_nine = (
    float((flat_0 - flat_6).norm()),
    float((all_0 - all_6).norm()),
)
chapter.finding(
    f"In this plane the means of 0 and 6 are {in_two:.1f} apart, in all nine directions {in_nine:.1f}. "
    f"The plane shows {first + second:.0f} % of the variance. So a dot between two clusters need not be "
    "a doubtful digit.",
    holds=in_nine > 3 * in_two,
)

# %% [markdown]
# ## What a linear classifier can read
#
# A linear probe is a softmax regression on the activations of one layer, trained without touching
# the network [@alain2017]. If it reads the digits well, planes in the layer's space separate the
# classes. But a probe learns too, and a wide layer gives it much to learn from. So there are three
# controls: the raw pixels; the same layers of the untrained network; and an untrained network whose
# activity is as strong as the trained one's.
#
# The third is needed because the initial weights of LeNet-5 are small. Its sums stay near 0, where the
# squashing function is nearly a straight line, and a chain of linear layers is one linear layer. So we
# multiply the weights of each layer until its sums vary as they do after training:

# %%
from copy import deepcopy

some = net.inputs(digits.train.head(1000))[:]
amplified, spread = deepcopy(untrained), {}
for layer in ("conv1", "conv2", "conv3", "linear"):
    networks = (run.model, untrained, amplified)
    spread[layer] = [
        float(gather_activations(n, some, [layer])[layer].std())
        for n in networks
    ]
    factor, module = (
        spread[layer][0] / spread[layer][2],
        amplified.get_submodule(layer),
    )
    with torch.no_grad():
        module.weight.mul_(factor)
        module.bias.mul_(factor)

# %% [markdown]
# The layers have from 84 to 4,704 activations, and one penalty on the weights of a probe would
# favour some of them. So each probe chooses among four penalties, by training digits that it holds
# out. It is then fitted to all its training digits and asked about the test digits:

# %%
from internals.probing import linear_probe

SHORT = ("C1", "S2", "C3", "S4", "C5", "F6")
layers = {f"tanh{i}": short for i, short in enumerate(SHORT, start=1)}
layers["conv2"] = "sums of C3"
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
count = chapter.at(smoke=240, quick=3000, full=10_000)
train, test = net.inputs(digits.train.head(count)), net.inputs(digits.test)
train_labels, probes = digits.train.labels[:count], {}
kinds = {"trained": run.model, "untrained": untrained, "amplified": amplified}
for kind, network in kinds.items():
    fitted = gather_activations(network, train, layers)
    scored = gather_activations(network, test, layers)
    for layer, short in layers.items():
        probes[kind, short] = linear_probe(
            fitted[layer],
            train_labels,
            scored[layer],
            truth,
            penalty=PENALTIES,
        )
pixel_probe = linear_probe(
    train[:], train_labels, test[:], truth, penalty=PENALTIES
)

# %% [markdown]
# The network's own last layer has no weights to learn. The network's score is the upper dashed line:

# %% tags=["hide-input"]
from itertools import pairwise

score = {key: 100 * probe.accuracy for key, probe in probes.items()}
show(
    lines(
        np.arange(6),
        {kind: np.array([score[kind, short] for short in SHORT]) for kind in kinds},
        ticks=list(SHORT),
        ylabel="test digits that a linear probe reads right, %",
        levels={
            "raw pixels": 100 * pixel_probe.accuracy,
            "the network": 100 * run.test.top1,
        },
        caption="Test accuracy of a linear probe of each layer on the way through the network: as trained; "
        "untrained; and untrained with weights amplified until every layer's sums vary as much as "
        "in the trained network.",
        alt="Accuracy over six layers: the trained line steps up at C3 and ends at the network's own "
        "score; the untrained line stays near that of raw pixels; the amplified line climbs evenly to "
        "S4 and then falls.",
    ),
    "probes",
)  # fmt: skip
steps_up = {
    kind: {b: score[kind, b] - score[kind, a] for a, b in pairwise(SHORT)}
    for kind in kinds
}
raw = 100 * pixel_probe.accuracy
jump, largest = steps_up["trained"]["C3"], max(steps_up["amplified"].values())
chapter.finding(
    f"The digits become easy to read at C3: there a probe gains {jump:.1f} points, more than at any other "
    f"layer. The untrained network is at most {max(score['untrained', b] for b in SHORT) - raw:.1f} points "
    f"better than raw pixels. Amplified, it climbs more evenly, by {largest:.1f} points at most, and reads "
    f"{score['amplified', 'S4']:.1f} % at S4, where the trained one reads {score['trained', 'S4']:.1f} %: "
    "most of the gain over raw pixels comes with strong random features too. After S4 they lose it "
    f"again, down to {score['amplified', 'F6']:.1f} % at F6, where the trained one reads "
    f"{score['trained', 'F6']:.1f} %.",
    holds=jump == max(steps_up["trained"].values())
    and jump > largest + 1
    and max(score["untrained", b] for b in SHORT) < raw + 1
    and score["amplified", "S4"] - raw > 0.6 * (score["trained", "S4"] - raw)
    and score["trained", "F6"] - score["amplified", "F6"] > 8,
)

# %% [markdown]
# Why at C3? Its sums are a linear function of S2, so a linear probe can read no more off them than off
# S2, but for its penalty, which weighs other directions. What is new is that they are squashed, and
# whether squashing bends anything depends on their size: the function is nearly straight up to about
# ±0.5. The table has the same probes in numbers, and in its last row those of the sums:

# %% tags=["hide-input"]
fits = [pixel_probe, *probes.values()]
show(
    Table.of(
        ("layer", "activations", *kinds, "trained less untrained, points"),
        [
            ("pixels", pixel_probe.features, percent(pixel_probe.accuracy), "", "", ""),
            *(
                (short, probes["trained", short].features,
                 *(percent(probes[kind, short].accuracy) for kind in kinds),
                 f"{score['trained', short] - score['untrained', short]:.1f}")
                for short in layers.values()
            ),
        ],
        caption=f"Test accuracy of linear probes, each trained on the same {len(train_labels):,} training "
        f"digits, one network and one draw of untrained weights. {sum(f.converged for f in fits)} of "
        f"the {len(fits)} fits converged. Penalties chosen: {min(f.penalty for f in fits):g} to "
        f"{max(f.penalty for f in fits):g}.",
    ),
    "probe-scores",
)  # fmt: skip
gain = {kind: score[kind, "C3"] - score[kind, "sums of C3"] for kind in kinds}
wide, narrow, _ = spread["conv2"]
chapter.finding(
    f"A probe reads {score['trained', 'S2']:.1f} % off S2, {score['trained', 'sums of C3']:.1f} % "
    f"off the sums of C3, and {score['trained', 'C3']:.1f} % once they are squashed. The standard "
    f"deviation of the sums is {wide:.1f}, far beyond ±1. In the untrained network it is {narrow:.2f}, "
    f"and squashing adds nothing. To random sums as strong it adds {gain['amplified']:.1f} points, to the "
    f"trained ones {gain['trained']:.1f}: strength alone is not enough. The difference between S2 and the "
    f"sums, {score['trained', 'sums of C3'] - score['trained', 'S2']:.1f} points, is there in the "
    f"amplified network too, {score['amplified', 'sums of C3'] - score['amplified', 'S2']:.1f}.",
    holds=abs(score["trained", "sums of C3"] - score["trained", "S2"]) < 1.5
    and abs(score["amplified", "sums of C3"] - score["amplified", "S2"]) < 1.5
    and gain["trained"] > gain["amplified"] + 1
    and gain["amplified"] > 0.5 > abs(gain["untrained"])
    and wide > 2 > 0.5 > narrow,
)

# %% [markdown]
# ### What it goes by
#
# The coefficients of a probe depend on the units of its input. Times the standard deviation of each
# input, they say what a usual change of it is worth. For pixels that is a picture:

# %% tags=["hide-input"]
from internals.figures import filters

worth = pixel_probe.coefficients * pixel_probe.std
show(
    filters(
        worth.reshape(10, 1, 32, 32),
        caption="The probe of raw pixels: how much one standard deviation of ink at each pixel speaks "
        "for each class, 0 to 9, amber, or against it, blue.",
        alt="Ten pictures of thirty-two by thirty-two weights, one a class; the first has a blue "
        "blot in an amber ring.",
    ),
    "pixel-coefficients",
)
middle = worth.reshape(10, 32, 32)[:, 14:18, 14:18].mean(axis=(1, 2))
chapter.finding(
    "Each class has one template. Ink in the middle of the field speaks against a 0 and for a 1. A "
    "template stays where it is, and cannot follow a digit that is drawn elsewhere.",
    holds=middle[0] < 0 < middle[1],
)

# %% [markdown]
# For F6 it is a picture again. If the layer is a drawing, the evidence for a class should lie where
# its bitmap differs from the others:

# %% tags=["hide-input"]
worth = probes["trained", "F6"].coefficients * probes["trained", "F6"].std
rows = {"bitmap": bitmaps.numpy(), "bitmap − mean": (bitmaps - bitmaps.mean(0)).numpy(), "probe": worth}  # fmt: skip
show(
    comparison(
        [[x.reshape(1, 12, 7) for x in kind / np.abs(kind).max()] for kind in rows.values()],
        list(names),
        names=list(rows),
        caption="The bitmaps, how each differs from the mean of the ten, and the coefficients of the "
        "probe of F6 in standard deviations, every row on its own scale.",
        alt="Three rows of ten small pictures: bitmaps, bitmaps less their mean, and probe "
        "coefficients, which look much like the second row.",
    ),
    "f6-coefficients",
)  # fmt: skip
follows = np.corrcoef(rows["bitmap − mean"].ravel(), worth.ravel())[0, 1]
chapter.finding(
    "A classifier that was told nothing of the bitmaps goes by what sets them apart: its "
    f"coefficients correlate with bitmap less mean by {follows:.2f}.",
    holds=follows > 0.8,
)

# %% [markdown]
# A coefficient is not a meaning: units that say the same share a weight among them, and the penalty
# decides how. So we look at the mistakes as well. At S2 the network has filtered once and pooled
# once. Which digits does the probe still confuse?

# %% tags=["hide-input"]
from internals.figures import confusion

show(
    confusion(
        probes["trained", "S2"].confusion,
        names,
        caption="Which test digits (rows) the probe of S2 takes for which (columns), right answers muted.",
        alt="A ten by ten matrix of counts, most on the diagonal, with mistakes between digits of similar "
        "shape.",
    ),
    "probe-confusion",
)
pair_errors = {}
for layer in ("S2", "C3"):
    counts = (
        probes["trained", layer].confusion
        + probes["trained", layer].confusion.T
    )
    pair_errors[layer] = np.triu(counts, 1)
worst = np.unravel_index(pair_errors["S2"].argmax(), (10, 10))
chapter.finding(
    f"The pair confused most is {names[worst[0]]} and {names[worst[1]]}: {pair_errors['S2'][worst]} "
    f"mistakes at S2, {pair_errors['C3'][worst]} at C3. In all, the probe of S2 makes "
    f"{pair_errors['S2'].sum()} mistakes, that of C3 {pair_errors['C3'].sum()}.",
    holds=pair_errors["C3"].sum() < pair_errors["S2"].sum() / 2,
)

# %% [markdown]
# ## A few entries of a long dictionary
#
# A unit need not stand for one thing. If a layer represents more features than it has units, features
# share units (*superposition*). One unit may then answer to several features (it is *polysemantic*). A
# *sparse autoencoder* looks for the features
# themselves [@bricken2023; @cunningham2024]. It learns a dictionary of more directions than the layer
# has units, of which every digit may use only a few,
#
# $$
# f = \mathrm{top}_k\bigl(\mathrm{ReLU}(W_e (x - b_d) + b_e)\bigr), \qquad \hat x = W_d f + b_d .
# $$
#
# The $k$ largest stay and the others are 0 [@makhzani2014]. The other way keeps all positive sums
# and adds a penalty $\lambda \sum f$ to the squared error. There the columns of $W_d$ must have
# length 1: otherwise a longer column with a smaller $f$ would give the same at a lower penalty.

# %%
from internals.probing import AutoencoderRecipe, fit_sparse_autoencoder

steps = chapter.at(smoke=9, quick=400, full=4000)
c5 = known["tanh5"].flatten(1)
priced = AutoencoderRecipe(4 * 120, l1_penalty=0.05, steps=steps)
penalised = fit_sparse_autoencoder(c5, priced, seed=chapter.seed)
assert torch.allclose(penalised.decoder.norm(dim=0), torch.ones(480))

# %% [markdown]
# C5 has 120 units, and its dictionary 480 entries. What must it beat? The first $k$ principal
# components; or, harder, all of them, of which each digit keeps its own $k$ largest. We measure three
# things on test digits: how many entries are used (L0), the share of the variance that is explained,
# and how many digits the network still reads right when it goes on with $\hat x$ in place of $x$, which
# is called *patching*:

# %%
from internals.probing import code_quality, patched_accuracy


def measured(layer: str, code):
    accuracy = patched_accuracy(net, layer, code, digits.test)
    return code_quality(code, unseen[layer].flatten(1)), accuracy


# %% [markdown]
# The three codes of a layer, for every budget $k$:

# %%
BUDGETS = (2, 4, 8, 16, 32)


def fitted_codes(x: torch.Tensor) -> dict:
    codes = {}
    parts = fit_principal_components(x)
    for k in BUDGETS:
        recipe = AutoencoderRecipe(4 * x.shape[1], top_k=k, steps=steps)
        codes["dictionary", k] = fit_sparse_autoencoder(
            x, recipe, seed=chapter.seed
        )
        codes["own components", k] = parts.with_top_k(k)
        codes["first components", k] = parts.truncated(k)
    return codes


# %% [markdown]
# Five budgets, three codes, two layers:

# %%
codes = {
    layer: fitted_codes(known[layer].flatten(1))
    for layer in ("tanh5", "tanh6")
}
results = {
    layer: {key: measured(layer, code) for key, code in by_budget.items()}
    for layer, by_budget in codes.items()
}


def over_budgets(name: str, layer: str, figure, **words) -> None:
    measures = results[layer]
    curves = {
        kind: np.array([100 * figure(*measures[kind, k]) for k in BUDGETS])
        for kind in dict.fromkeys(kind for kind, _ in measures)
    }
    at, ticks = np.arange(len(BUDGETS)), [str(k) for k in BUDGETS]
    words["xlabel"] = "numbers that each digit may use, k"
    show(lines(at, curves, ticks=ticks, **words), name)


# %% [markdown]
# There is no one right $k$: a code is better if its whole curve lies higher.

# %% tags=["hide-input"]
over_budgets(
    "c5-explained",
    "tanh5",
    lambda q, a: q.explained_variance,
    ylabel="C5: variance explained, %",
    caption="How much of C5 is kept on test digits by a dictionary of 480 entries, by each digit's own k "
    "principal components, and by the first k for all.",
    alt="Three rising curves over budgets from two to thirty-two; the dictionary is ahead throughout, "
    "most at small budgets, the first components come last.",
)


def lead(measures: dict, k: int) -> float:
    """By how many points of variance the dictionary is ahead of each digit's own components."""
    explained = (
        measures[kind, k][0].explained_variance
        for kind in ("dictionary", "own components")
    )
    return 100 * (next(explained) - next(explained))


leads = {"C5": [lead(results["tanh5"], k) for k in BUDGETS]}
chapter.finding(
    f"Up to k = {max(BUDGETS)} components do not catch up in C5. The dictionary is "
    f"{leads['C5'][0]:.0f} points of variance ahead of each digit's own components at k = 2, and "
    f"still {leads['C5'][-1]:.1f} at k = 32.",
    holds=min(leads["C5"]) > 0,
)

# %% [markdown]
# But variance is not what the network needs. What does it make of the rebuilt activations?

# %% tags=["hide-input"]
over_budgets(
    "c5-errors",
    "tanh5",
    lambda q, a: 1 - a,
    ylabel="test errors with C5 rebuilt, % (logarithmic)",
    levels={"untouched": 100 - 100 * run.test.top1},
    logarithmic=True,
    caption="Errors of the network when it goes on with a rebuilt C5. The dashed line is the network as "
    "it is.",
    alt="Three falling curves that approach the dashed level of the untouched network; the first "
    "components start highest.",
)
wrong = {
    kind: 100 * (1 - results["tanh5"][kind, 2][1])
    for kind, k in results["tanh5"]
    if k == 2
}
chapter.finding(
    "Two entries for each digit go a long way, though errors double. With two entries of the "
    f"dictionary the network misreads {wrong['dictionary']:.1f} % of the digits, with two of their "
    f"own components {wrong['own components']:.0f} %, with the first two "
    f"{wrong['first components']:.0f} %.",
    holds=1.8 < wrong["dictionary"] / (100 - 100 * run.test.top1) < 2.3
    and 4 < wrong["own components"] < wrong["first components"],
)

# %% [markdown]
# In F6 the variance has nine directions, so nine components leave next to nothing to explain. A dictionary
# can be better only with fewer numbers than that, if its entries are ready answers:

# %% tags=["hide-input"]
over_budgets(
    "f6-explained",
    "tanh6",
    lambda q, a: q.explained_variance,
    ylabel="F6: variance explained, %",
    caption="The same for F6: its dictionary of 336 entries, each digit's own k principal components, and "
    "the first k for all.",
    alt="Three curves; the dictionary starts far above the components, which reach it once the "
    "budget comes to the number of directions.",
)
leads["F6"] = [lead(results["tanh6"], k) for k in BUDGETS]
chapter.finding(
    f"At k = 2 the dictionary leads by {leads['F6'][0]:.0f} points in F6, much as in C5 "
    f"({leads['C5'][0]:.0f}). From k = 8 on, where there are nearly as many numbers as directions, the "
    f"lead is between {min(leads['F6'][2:]):.1f} and {max(leads['F6'][2:]):.1f} points.",
    holds=leads["F6"][0] > 20
    and abs(leads["F6"][0] - leads["C5"][0]) < 4
    and max(map(abs, leads["F6"][2:])) < 0.5,
)

# %% [markdown]
# ### Does the lead say that the network has learned features?
#
# Not by itself: activations of any network have structure, and a dictionary may profit from it. The
# control is the same fit to the untrained C5:

# %%
blank = blank_known["tanh5"].flatten(1)
blank_test = gather_activations(untrained, net.inputs(digits.test), ["tanh5"])[
    "tanh5"
].flatten(1)
blank_codes = fitted_codes(blank)
blank_results = {
    key: (code_quality(code, blank_test), None)
    for key, code in blank_codes.items()
}
leads["C5, untrained"] = [lead(blank_results, k) for k in BUDGETS]

# %% [markdown]
# The lead of the dictionary over each digit's own components, in the three layers:

# %% tags=["hide-input"]
show(
    lines(
        np.arange(len(BUDGETS)),
        {name: np.array(points) for name, points in leads.items()},
        ticks=[str(k) for k in BUDGETS],
        xlabel="numbers that each digit may use, k",
        ylabel="lead of the dictionary, points of variance explained",
        levels={"no lead": 0},
        caption="How many points of variance on test digits a learned dictionary explains more than each "
        "digit's own k principal components, in C5, in F6 and, as a control, in C5 of an untrained "
        "network. Below the dashed line components are better.",
        alt="Three falling curves, which all start high at a budget of two; that of the trained C5 "
        "ends highest.",
    ),
    "lead",
)
blank_lead = leads["C5, untrained"]
chapter.finding(
    f"At k = 2 the lead is {blank_lead[0]:.0f} points without any training, so most of it is no sign "
    f"of what was learned. The difference is the lead that lasts: at k = 16 it is {leads['C5'][3]:.1f} "
    f"points in the trained C5, {blank_lead[3]:.1f} in the untrained one.",
    holds=blank_lead[0] > 0.7 * leads["C5"][0]
    and blank_lead[1] > 0.6 * leads["C5"][1]
    and leads["C5"][3] > blank_lead[3] + 2,
)

# %% [markdown]
# ### What it costs
#
# At the largest budget, we add the penalised autoencoder, whose budget is not fixed, and the largest PCA
# there can be: 120 units have no more than 120 components. With all of them nothing is lost, and
# nothing is sparse.

# %%
parts = fit_principal_components(c5)
bill = {
    "dictionary, k = 32": results["tanh5"]["dictionary", 32],
    f"dictionary, λ = {priced.l1_penalty}": measured("tanh5", penalised),
    "own components, k = 32": results["tanh5"]["own components", 32],
    "first 32 components": results["tanh5"]["first components", 32],
    "all components": measured("tanh5", parts),
}
lost = {name: 100 * (run.test.top1 - a) for name, (_, a) in bill.items()}

# %% [markdown]
# *Dead* entries are those that no test digit uses. While the dictionary is learned, entries that none of
# 8,192 training digits uses are started again three times, each from a digit that is rebuilt badly
# [@bricken2023]:

# %% tags=["hide-input"]
show(
    Table.of(
        ("code of C5", "entries", "dead", "used (L0)", "share of the living", "explained", "points lost"),
        [
            (name, q.features, q.dead, f"{q.l0:.1f}", percent(q.density), percent(q.explained_variance),
             with_minus(f"{lost[name]:.2f}"))
            for name, (q, _) in bill.items()
        ],
        caption=f"Five codes of C5 on {len(truth):,} test digits. Points lost are percentage points of test "
        "accuracy when the network goes on with what was rebuilt. The shares are of the entries that "
        "are not dead.",
    ),
    "codes",
)  # fmt: skip
kept, penalty_kept = (bill[name][0] for name in list(bill)[:2])
chapter.finding(
    f"Of the 480 entries {kept.dead} are dead at k = 32, so that this dictionary has in truth "
    f"{kept.alive}. The rule of the k largest lets them die: an entry that is never among them "
    f"gets no gradient. With a penalty instead, {penalty_kept.dead} are dead.",
    holds=kept.dead > 100 > penalty_kept.dead,
)

# %% [markdown]
# We call a dictionary sparse and faithful if a digit uses fewer than 15 % of the living entries, 90 %
# of the variance is explained and at most half a point of accuracy is lost. The share used depends on
# how many entries are alive, so a larger k can pass where a smaller one fails:

# %% tags=["hide-input"]
good = {
    (short, k): q.density < 0.15
    and q.explained_variance >= 0.9
    and run.test.top1 - a <= 0.005
    for layer, short in (("tanh5", "C5"), ("tanh6", "F6"))
    for k in BUDGETS
    for q, a in [results[layer]["dictionary", k]]
}
show(
    Table.of(
        ("layer", "k", "living entries", "share used", "explained", "points lost", "sparse and faithful"),
        [
            (short, k, f"{q.alive} of {q.features}", percent(q.density), percent(q.explained_variance),
             with_minus(f"{100 * (run.test.top1 - a):.2f}"), "yes" if good[short, k] else "no")
            for layer, short in (("tanh5", "C5"), ("tanh6", "F6"))
            for k in BUDGETS
            for q, a in [results[layer]["dictionary", k]]
        ],
        caption="The dictionaries of both layers at every budget, on test digits. Differences of accuracy "
        "of a tenth of a point are ten digits and within chance.",
    ),
    "budgets",
)  # fmt: skip
passed = {
    short: [k for s, k in good if s == short and good[s, k]]
    for short in ("C5", "F6")
}
chapter.finding(
    "Sparse and faithful by these bounds: C5 at k = "
    f"{', '.join(map(str, passed['C5']))}; F6 at k = {', '.join(map(str, passed['F6']))}.",
    holds=bool(passed["C5"] and passed["F6"]),
)

# %% [markdown]
# ### What the entries answer to
#
# As with channels, we look at the digits for which an entry is largest. These are the first eight
# entries that nine or more training digits use; they were not picked by their looks:

# %%
dictionary = codes["tanh5"]["dictionary", 16]
used = dictionary.encode(c5)
alive = ((used > 0).sum(dim=0) >= 9).nonzero().flatten()
tops = used.topk(9, dim=0).indices.T[alive[:8]]

# %% [markdown]
# A row holds nine digits for one entry:

# %% tags=["hide-input"]
from internals.activations import class_counts
from internals.figures import samples

show(
    samples(
        digits.train.images[tops.flatten()].numpy() / 255,
        np.repeat(np.arange(8), 9),
        [f"entry {i}" for i in alive[:8].tolist()],
        each=9,
        caption="The nine training digits for which each of eight entries of C5's dictionary is largest, the largest "
        "first.",
        alt="Eight rows of nine digits; the digits of a row mostly look alike.",
    ),
    "entries",
)  # fmt: skip
in_rows = [sorted(set(row)) for row in digits.train.labels[tops].tolist()]
alone = int((class_counts(tops, digits.train.labels) == 1).sum())
chapter.finding(
    f"{alone} of the eight rows hold one class only, and mostly one way of writing it. The classes "
    "of the others are "
    + "; ".join(
        f"{' and '.join(names[c] for c in classes)} (entry {entry})"
        for entry, classes in zip(alive[:8].tolist(), in_rows, strict=True)
        if len(classes) > 1
    )
    + ".",
    holds=4 <= alone < 8,
)

# %% [markdown]
# Is an entry purer than a unit? We count the commonest class among the nine strongest digits. The
# control is the untrained C5 with its units, and with its own dictionary. And is it an accident of
# the first weights of the dictionary? We fit a second one with another seed:

# %%
from internals.activations import class_purity


def purity(values: torch.Tensor) -> float:
    return class_purity(values.topk(9, dim=0).indices.T, labels)


def entries_in_use(code, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values of the entries that nine or more digits use, and their directions."""
    values = code.encode(x)
    many = (values > 0).sum(dim=0) >= 9
    return values[:, many], code.decoder[:, many]


again = AutoencoderRecipe(4 * 120, top_k=16, steps=steps)
second_dictionary = fit_sparse_autoencoder(c5, again, seed=chapter.seed + 1)
(first_values, ours), (second_values, theirs) = (
    entries_in_use(code, c5) for code in (dictionary, second_dictionary)
)

# %% [markdown]
# An entry comes again if the other dictionary has one whose direction has a cosine above 0.9 with it:

# %%
found_again = float(((ours.T @ theirs).amax(dim=1) > 0.9).double().mean())
blank_values, _ = entries_in_use(blank_codes["dictionary", 16], blank)
random = torch.Generator().manual_seed(chapter.seed)
drawn = torch.randint(len(labels), (120, 9), generator=random)
pure = {
    "none: digits drawn blindly": (len(drawn), class_purity(drawn, labels)),
    "units of an untrained C5": (blank.shape[1], purity(blank)),
    "entries of its dictionary": (blank_values.shape[1], purity(blank_values)),
    "units of C5": (c5.shape[1], purity(c5)),
    "components of C5": (c5.shape[1], purity(parts.encode(c5))),
    "entries of the dictionary of C5": (
        first_values.shape[1],
        purity(first_values),
    ),
    "the same, second seed": (second_values.shape[1], purity(second_values)),
}

# %% [markdown]
# The panel of conv3 in [LeNet-5](01_lenet5.py) showed six of the units of C5:

# %% tags=["hide-input"]
show(
    Table.of(
        ("directions", "number", "commonest class among nine"),
        [
            (name, many, percent(share, 1))
            for name, (many, share) in pure.items()
        ],
        caption="How pure the strongest digits of a direction are: the share of the commonest class "
        "among the nine, mean of all directions. Dictionaries are those of k = 16, and only entries "
        "that nine or more training digits use are counted. Purity is not meaning: a direction may "
        "well be about a stroke.",
    ),
    "purity",
)
purities = {name: share for name, (_, share) in pure.items()}
chapter.finding(
    f"Entries are purer than units: {percent(purities['entries of the dictionary of C5'], 0)} against "
    f"{percent(purities['units of C5'], 0)}. That a second seed gives as pure a dictionary does not make "
    f"it the same one: only {percent(found_again, 0)} of the entries come again in it.",
    holds=purities["entries of the dictionary of C5"]
    > purities["units of C5"] + 0.05
    and abs(
        purities["the same, second seed"]
        - purities["entries of the dictionary of C5"]
    )
    < 0.05
    and found_again < 0.4,
)
gains = (
    purities["entries of its dictionary"]
    - purities["units of an untrained C5"],
    purities["entries of the dictionary of C5"] - purities["units of C5"],
)
chapter.finding(
    "The gain is not due to training: a dictionary makes an untrained layer purer by as much, from "
    f"{percent(purities['units of an untrained C5'], 0)} to "
    f"{percent(purities['entries of its dictionary'], 0)}.",
    holds=gains[0] > gains[1] - 0.03,
)

# %% [markdown]
# In F6 an entry is itself a picture: a column of $W_d$ has 84 numbers, as a bitmap has. These are the
# sixteen columns that training digits use most when each digit may use two:

# %%
drawn = codes["tanh6"]["dictionary", 2]
use = (drawn.encode(known["tanh6"].flatten(1)) > 0).sum(dim=0)
often = use.argsort(descending=True)[:16]
show(
    filters(
        drawn.decoder[:, often].T.reshape(-1, 1, 12, 7).numpy(),
        caption="The sixteen entries of F6's dictionary that are used most, the most used first, as "
        "pictures to be added to the layer's bias.",
        alt="Sixteen small pictures of twelve by seven squares; several look like digits.",
    ),
    "f6-entries",
)
sides = (drawn.decoder[:, often[:10]].T, bitmaps - bitmaps.mean(dim=0))
a, b = (side / side.norm(dim=1, keepdim=True) for side in sides)
cosine, nearest = (a @ b.T).max(dim=1)
chapter.finding(
    f"The ten entries used most are nearest to {len(nearest.unique())} different bitmaps less their "
    f"mean, with a cosine of {cosine.mean():.2f} on average: one entry says a class.",
    holds=len(nearest.unique()) == 10 and float(cosine.mean()) > 0.9,
)

# %% [markdown]
# ## Key features
#
# - **A map of evidence** that stays when the weights go cannot show what was learned. One that changes
#   has passed a necessary check, not a sufficient one: in gradient × input and in Grad-CAM at conv1
#   random weights draw the digit too.
# - **F6 is a drawing**: 84 units in nine directions, and the bitmaps that it was taught. Without
#   training nine directions hold less of it, and about as much of C5.
# - **A linear probe** shows something where it is ahead of fair controls. In the trained network it jumps
#   at C3, where strong sums are squashed. Random weights as strong climb evenly to S4, and lose it again.
# - **A sparse dictionary** leads principal components where few numbers are allowed, in C5 and F6
#   alike: with two entries for each digit the network still reads 98 of 100. An untrained C5 has more
#   than half of this lead up to k = 4. In the trained C5 it lasts to k = 32, in F6 it ends at k = 8. Dead
#   entries have to be counted, and the entries depend on the seed.
# - **Patching** asks the network itself whether what was left out mattered.
#
# ## Do this with your own network
#
# Activations of any layer of yours are one call away, and the directions in which they vary two.
# `mine:network` stands for the function or class `network` in your file `mine.py`:
#
# ```python
# from internals import Network, read_folder
# from internals.probing import channel_vectors, fit_principal_components
#
# net = Network.open("mine:network", weights="mine.pth")
# maps = net.capture(read_folder("photos").images, ["conv2"])["conv2"]
# parts = fit_principal_components(channel_vectors(maps))
# ```
#
# ```sh
# internals project mine:network --weights mine.pth --layer conv2 \
#     --images photos --out panel.png
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
# ## Exercises
#
# 1. Add `smooth_grad` and `integrated_gradients` to the instruments. Which row of the control do
#    they resemble?
# 2. Probe with shuffled training labels. How far above one tenth does a wide layer get?
# 3. Fit the dictionary of C5 with as many entries as units. How much of its lead is left?
#
# Can a network be fooled that reads so well? Yes: [adversaries](09_lenet5_adversarial.py) change its
# answer and leave the digit easy to read.
