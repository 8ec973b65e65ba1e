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
# [LeNet-5](01_lenet5.py) was looked at channel by channel. This chapter asks a whole layer: which
# pixels of this digit counted, how is what you know laid out, what could be read off you by a
# straight line, and can you be said in a few words? There is a usual instrument for each question,
# and each gives an answer whether or not the network has learned anything. So none is used here
# without a control.
#
# **What you will see**
#
# - saliency, gradient × input and Grad-CAM, and what is left of them when the weights are random;
# - a layer whose mean activity is ten little pictures, and how many directions it really has;
# - what a linear classifier reads off every layer, of a trained and of an untrained network;
# - layers rewritten as a few entries of a long dictionary, and when that beats plain components.

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
# Three maps of one class score. *Saliency* is the size of its gradient at each pixel
# [@simonyan2014]. *Gradient × input* weights the gradient by the pixel, what each would add if the
# network were linear [@shrikumar2016]. *Grad-CAM* asks a layer: its maps are added up, each weighted
# by the mean gradient over it, and what speaks against the class is cut off [@selvaraju2017]. LeNet-5
# answers with its smallest distance, so the score is the distance with its sign turned; `net` reads
# it so from the loss that the run was trained with:

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
# Two test digits that were read right and two that were not, each with the maps of the class that
# the network answered:

# %%
import numpy as np
import torch

right = run.test.predicted == truth.numpy()
shown = [*np.flatnonzero(right)[:2], *np.flatnonzero(~right)[:2]]
four = digits.test.subset(torch.tensor(shown))
maps = {
    name: instrument(net, four).reshape(len(four), 32, 32)
    for name, instrument in instruments.items()
}

# %% [markdown]
# A map has no scale of its own that could be compared with another's; its largest value is printed
# below it:

# %% tags=["hide-input"]
from internals.figures import overlays

show(
    overlays(
        list(four.images.numpy() / 255),
        [[m[row].numpy() for m in maps.values()] for row in range(len(four))],
        list(maps),
        names=[f"{names[truth[i]]} → {names[run.test.predicted[i]]}" for i in shown],
        caption="Four test digits, true class → answer, under four maps of the class answered. Amber "
        "speaks for it, blue against; saliency and Grad-CAM have no sign and are amber only. "
        "Compare the columns: they do not agree on which pixels counted.",
        alt="Four rows, each a digit followed by four maps laid over it: speckles for saliency and "
        "gradient times input, broad patches for Grad-CAM.",
    ),
    "evidence",
)  # fmt: skip

# %% [markdown]
# Grad-CAM works at any layer, but not every layer can say where. At conv1 a map's mean gradient mixes
# what its strokes said in every part of the field, which is why the method is meant for the last
# maps that still have places. And conv3 has none left: its map is one number for the whole digit.

# %%
whole = net.grad_cam(four, "conv3")
assert whole.shape == (len(four), 1, 1)

# %% [markdown]
# ### Would the maps look the same if nothing had been learned?
#
# The control of [How to look](00_how_to_look.py) for maps of a class: the weights are replaced by
# untrained ones from the top layer down, and each map is compared with its first version
# [@adebayo2018]. The class stays the one that the trained network answered, for twenty digits:

# %%
from internals.models import LeNet5

torch.manual_seed(chapter.seed + 1)
untrained = LeNet5().eval()
twenty = digits.test.head(20)
answers = torch.from_numpy(run.test.predicted[:20])
of_answers = {n: partial(f, classes=answers) for n, f in instruments.items()}
control = net.sanity(twenty, instruments=of_answers, untrained=untrained)

# %% [markdown]
# ρ is the rank correlation with the map of the trained network, mean of the twenty:

# %% tags=["hide-input"]
from internals.figures import comparison

show(
    comparison(
        control.pictures(),
        control.titles,
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption="Each map of the first test digit, as trained and with more and more layers "
        "untrained. ρ says how much of the order of its magnitudes is left, 1 for all of it. Follow "
        "a row to the right: what stays was not learned. The digit's outline stays in gradient × "
        "input because the digit is one of its factors.",
        alt="Four rows of five maps of one digit. Saliency dissolves into noise; gradient times "
        "input keeps showing the digit's shape; the Grad-CAM maps change their place.",
    ),
    "control",
)

# %% [markdown]
# The second row deserves a number. How well does the digit itself, without any network, predict
# the size of gradient × input?

# %%
from scipy.stats import spearmanr

pixels = net.inputs(twenty)[:]
product = net.gradient_times_input(twenty)
pairs = zip(product.abs(), pixels.abs(), strict=True)
alike = np.mean([spearmanr(p, x, axis=None).statistic for p, x in pairs])
print(f"rank correlation with the digit itself: {alike:.2f}")

# %% [markdown]
# And what is left of each map when no trained weight is left:

# %%
left = control.magnitudes.mean(axis=2)[:, -1]
for name, kept in zip(control.names, left, strict=True):
    print(f"{name:17s} {kept:.2f}")

# %% [markdown]
# A map that repeats its input passes for an explanation because we recognise the digit in it. Of
# these four, believe those whose correlation falls, and none of them about a single pixel.
#
# ## Ten pictures in a layer
#
# F6, the 84 units of `linear` behind their squashing function, has a target: the 7 × 12 bitmap of
# the digit. The mean over each class shows what became of it:

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
# The targets are ±1, the squashing function ends at ±1.7159, and a mean near 0 is a pixel on which
# the digits of a class do not agree:

# %%
rows = {"bitmap": bitmaps, "mean of F6": means, "difference": means - bitmaps}
show(
    comparison(
        [[row.view(1, 12, 7).numpy() for row in kind] for kind in rows.values()],
        list(names),
        names=list(rows),
        caption="The ten bitmaps, what F6 says of the test digits of each class on average, laid out "
        "in the same way, and the difference. All are on one scale. Where the last row is grey, the "
        "network has learned to draw its answer.",
        alt="Three rows of ten small pictures; the second row repeats the bitmaps of the first in "
        "softer tones, the third is mostly grey.",
    ),
    "class-means",
)  # fmt: skip
if chapter.profile != "smoke":
    nearest = torch.cdist(means, bitmaps).argmin(dim=1)
    assert torch.equal(nearest, torch.arange(10))

# %% [markdown]
# ### How many directions are there?
#
# Principal components are the directions in which the activations vary most, each at right angles to
# those before it. Ten points span nine directions. If F6 says little but which digit it is, nine
# should do:

# %%
from internals.probing import fit_principal_components

spaces = {
    "pixels": net.inputs(digits.train)[:5000].flatten(1),
    "C5": known["tanh5"].flatten(1),
    "F6": known["tanh6"].flatten(1),
}
components = {n: fit_principal_components(x) for n, x in spaces.items()}

# %% [markdown]
# This scree plot is drawn as a running sum:

# %%
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
        caption="How much of the variance of the training digits the first components hold, as pixels, "
        "in C5 and in F6. The curve of F6 is nearly flat after nine: 84 units, but about as many "
        "directions as ten classes need. C5 keeps more of what tells digits of one class apart.",
        alt="Three rising curves; that of F6 reaches nearly one hundred percent at nine components, "
        "those of C5 and of the pixels rise more slowly.",
    ),
    "scree",
)
if chapter.profile != "smoke":
    assert reached["F6"][8] > 90 and reached["F6"][8] > reached["C5"][8]

# %% [markdown]
# Two of those directions make a map. It is drawn from test digits, along components that training
# digits gave:

# %%
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
        caption="Test digits by the first two principal components of F6, the class's name at the "
        "median of its dots. Dots between two clusters are digits of which the network was not sure. Clusters "
        "that overlap here may lie apart in the seven directions that are not drawn.",
        alt="Ten clusters of dots, one for each digit, most of them dense and apart, joined by a few "
        "scattered dots.",
    ),
    "components",
)

# %% [markdown]
# ## What a straight line can read
#
# A linear probe is a softmax regression on the activations of one layer, trained without touching
# the network [@alain2017]. If it reads the digit off a layer, the layer has made the digit linear. But
# a probe learns too, and wide layers give it much to learn from. Hence two controls: the same layers
# of an untrained network, and the raw pixels. It is trained on training digits, and asked about test
# digits:

# %%
from internals.probing import linear_probe

SHORT = ("C1", "S2", "C3", "S4", "C5", "F6")
layers = {f"tanh{i}": short for i, short in enumerate(SHORT, start=1)}
count = chapter.at(smoke=240, quick=6000, full=20_000)
train, test = net.inputs(digits.train.head(count)), net.inputs(digits.test)
train_labels = digits.train.labels[:count]
probes = {}
for kind, network in {"trained": run.model, "untrained": untrained}.items():
    fitted = gather_activations(network, train, layers)
    scored = gather_activations(network, test, layers)
    for layer, short in layers.items():
        probes[kind, short] = linear_probe(
            fitted[layer], train_labels, scored[layer], truth
        )
pixel_probe = linear_probe(train[:], train_labels, test[:], truth)

# %% [markdown]
# The network's own last layer has no weights; its score is the dashed line:

# %% tags=["hide-input"]
show(
    lines(
        np.arange(6),
        {
            kind: np.array([100 * probes[kind, short].accuracy for short in layers.values()])
            for kind in ("trained", "untrained")
        },
        ticks=list(layers.values()),
        ylabel="test digits that a linear probe reads right, %",
        levels={
            "raw pixels": 100 * pixel_probe.accuracy,
            "the network": 100 * run.test.top1,
        },
        caption="What can be read off each layer by a linear classifier, along the way through the "
        "network, trained and, as a control, untrained. Read the gap between the two lines, not the "
        "height of one. Where raw pixels are nearly as easy to read as the network's answer, no layer "
        "can have much to add.",
        alt="Accuracy over six layers: the trained line ends at the network's own score, the untrained "
        "line stays near that of raw pixels.",
    ),
    "probes",
)  # fmt: skip

# %% [markdown]
# In numbers, with the number of activations each probe could use. If the pixels leave anything to
# gain, it must have been gained by F6, and the cell holds the run to that:

# %% tags=["hide-input"]
from internals.figures import Table, percent

show(
    Table.of(
        ("layer", "activations", "trained", "untrained", "gap, points"),
        [
            ("pixels", pixel_probe.features, percent(pixel_probe.accuracy), "", ""),
            *(
                (short, p.features, percent(p.accuracy), percent(q.accuracy),
                 f"{100 * (p.accuracy - q.accuracy):.1f}")
                for short in layers.values()
                for p, q in [(probes["trained", short], probes["untrained", short])]
            ),
        ],
        caption=f"Test accuracy of linear probes trained on {len(train_labels):,} training digits, one "
        "run each. The gap is what training has added; the rest is due to the digits, and to the number of "
        "activations.",
    ),
    "probe-scores",
)  # fmt: skip
if chapter.profile != "smoke" and pixel_probe.accuracy < 0.95:
    rise = [probes["trained", short].accuracy for short in ("C1", "C3", "F6")]
    assert rise == sorted(rise) and rise[-1] > pixel_probe.accuracy + 0.03

# %% [markdown]
# ### What it goes by
#
# The coefficients of a probe are in the units of its input; times the standard deviation of each
# input they say what a usual change is worth. For pixels that is a picture:

# %%
from internals.figures import filters

worth = pixel_probe.coefficients * pixel_probe.std
show(
    filters(
        worth.reshape(10, 1, 32, 32),
        caption="The probe of raw pixels: how much one standard deviation of ink at each pixel speaks "
        "for each class, 0 to 9, amber, or against it, blue. Look at 0: ink in its middle speaks against it. "
        "Such a template cannot follow a digit that is drawn elsewhere.",
        alt="Ten pictures of thirty-two by thirty-two weights, one a class; the first has a blue "
        "blot in an amber ring.",
    ),
    "pixel-coefficients",
)

# %% [markdown]
# For F6 it is a bitmap again. If the layer is a drawing, the evidence for a class should lie where
# its bitmap differs from the others:

# %%
worth = probes["trained", "F6"].coefficients * probes["trained", "F6"].std
rows = {"bitmap": bitmaps.numpy(), "bitmap − mean": (bitmaps - bitmaps.mean(0)).numpy(), "probe": worth}  # fmt: skip
show(
    comparison(
        [[x.reshape(1, 12, 7) for x in kind / np.abs(kind).max()] for kind in rows.values()],
        list(names),
        names=list(rows),
        caption="The bitmaps, how each differs from the mean of the ten, and the coefficients of the "
        "probe of F6 in standard deviations, every row on its own scale. Where the last two rows "
        "agree, a classifier that was told nothing of the bitmaps goes by what sets them apart.",
        alt="Three rows of ten small pictures: bitmaps, bitmaps less their mean, and probe "
        "coefficients that partly follow the second row.",
    ),
    "f6-coefficients",
)  # fmt: skip

# %% [markdown]
# A coefficient is not a meaning: units that say the same share one weight among them, in a way that
# the penalty decides. So look at what the probe does as well. At S2 the network has filtered once and
# pooled once, and these digits are still confused:

# %% tags=["hide-input"]
from internals.figures import confusion

show(
    confusion(
        probes["trained", "S2"].confusion,
        names,
        caption="Which test digits (rows) the probe of S2 takes for which (columns), right answers muted. "
        "Look for pairs that stand out on both sides of the diagonal: a straight line through the first "
        "layers' features does not part them, the layers above must.",
        alt="A ten by ten matrix of counts, most on the diagonal, with mistakes between digits of similar "
        "shape.",
    ),
    "probe-confusion",
)

# %% [markdown]
# ## A few words from a long dictionary
#
# A unit need not stand for one thing. If a layer has more things to say than units, it must say each
# with many of them at once, and no unit will be pure. A *sparse autoencoder* looks for the things
# themselves [@bricken2023; @cunningham2024]: a dictionary of more directions than the layer has
# units, of which every digit may use only a few,
#
# $$
# f = \mathrm{top}_k\bigl(\mathrm{ReLU}(W_e (x - b_d) + b_e)\bigr), \qquad \hat x = W_d f + b_d .
# $$
#
# The $k$ largest stay and the others are 0 [@makhzani2014]. The older way lets all positive sums
# stay and adds their price $\lambda \sum f$ to the squared error. There it matters that the columns of
# $W_d$ have length 1: else a longer column with a smaller $f$ says the same for less.

# %%
from internals.probing import AutoencoderRecipe, fit_sparse_autoencoder

steps = chapter.at(smoke=9, quick=400, full=4000)
c5 = known["tanh5"].flatten(1)
priced = AutoencoderRecipe(4 * 120, l1_penalty=0.05, steps=steps)
penalised = fit_sparse_autoencoder(c5, priced, seed=chapter.seed)
assert torch.allclose(penalised.decoder.norm(dim=0), torch.ones(480))

# %% [markdown]
# C5 has 120 units, and its dictionary 480 entries. What must it beat? Principal components as many
# as each digit may use entries; or, harder, all of them, of which each digit keeps its own $k$
# largest. Three things are measured on test digits: how many entries are used (L0), the share of the
# variance that is explained, and how many digits the network still reads right when it has to go on
# with $\hat x$ in place of $x$:

# %%
from internals.probing import code_quality, patched_accuracy


def measured(layer: str, code):
    accuracy = patched_accuracy(net, layer, code, digits.test)
    return code_quality(code, unseen[layer].flatten(1)), accuracy


# %% [markdown]
# For a layer and every budget $k$, the three codes:

# %%
BUDGETS = (2, 4, 8, 16, 32)


def fitted_codes(layer: str) -> dict:
    x, codes = known[layer].flatten(1), {}
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
codes = {layer: fitted_codes(layer) for layer in ("tanh5", "tanh6")}
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
# First the whole curve. There is no one right $k$; a code is better if its curve lies higher:

# %% tags=["hide-input"]
over_budgets(
    "c5-explained",
    "tanh5",
    lambda q, a: q.explained_variance,
    ylabel="C5: variance explained, %",
    caption="How much of C5 is kept on test digits by a dictionary of 480 entries, by each digit's own k "
    "principal components, and by the first k for all. Where the dictionary leads, its length has paid. "
    "Notice at which budgets that is, and where components catch up.",
    alt="Three rising curves over budgets from two to thirty-two; the dictionary is ahead at small "
    "budgets, the first components come last.",
)

# %% [markdown]
# Variance is not what the network cares about. What does it make of the rebuilt activations?

# %% tags=["hide-input"]
over_budgets(
    "c5-errors",
    "tanh5",
    lambda q, a: 1 - a,
    ylabel="test errors with C5 rebuilt, % (logarithmic)",
    levels={"untouched": 100 - 100 * run.test.top1},
    logarithmic=True,
    caption="Errors of the network when it goes on with a rebuilt C5. The dashed line is the network as "
    "it is. Two codes that explain the same variance need not keep the same answers: compare "
    "with the figure above.",
    alt="Three falling curves that approach the dashed level of the untouched network; the first "
    "components start highest.",
)

# %% [markdown]
# F6 is another matter. Its variance has some nine directions, so a dictionary has nothing to
# untangle, and nine components are hard to beat. Only with fewer numbers than that can ten ready
# answers be better than nine axes:

# %% tags=["hide-input"]
over_budgets(
    "f6-explained",
    "tanh6",
    lambda q, a: q.explained_variance,
    ylabel="F6: variance explained, %",
    caption="The same for F6 and its dictionary of 336 entries. Look where the curves cross: to the left "
    "the dictionary can name a class with one entry; to the right components need no more than there are "
    "directions.",
    alt="Three curves; the dictionary starts far above the components, which overtake it once the "
    "budget reaches the number of directions.",
)

# %% [markdown]
# The bill for one budget, with the penalised autoencoder and the largest PCA there can be. A PCA of
# the dictionary's size does not exist, since 120 units have no more than 120 components: with all
# of them nothing is lost, and nothing is sparse.

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
# Dead entries are those that no test digit uses. They were started again three times while the
# dictionary was learned, from digits that it rebuilt badly:

# %% tags=["hide-input"]
show(
    Table.of(
        ("code of C5", "entries", "used (L0)", "share used", "explained", "dead", "points lost"),
        [
            (name, q.features, f"{q.l0:.1f}", percent(q.density), percent(q.explained_variance),
             q.dead, f"{lost[name]:.2f}")
            for name, (q, _) in bill.items()
        ],
        caption=f"Five codes of C5 on {len(truth):,} test digits. Points lost are percentage points of test "
        "accuracy when the network goes on with what was rebuilt; less than nothing lost is chance.",
    ),
    "codes",
)  # fmt: skip

# %% [markdown]
# At which budgets is a dictionary sparse and faithful, with fewer than 15 % of its entries used, 90 %
# of the variance explained and at most half a point of accuracy lost?

# %%
for layer, short in (("tanh5", "C5"), ("tanh6", "F6")):
    good = [
        k for k in BUDGETS for q, a in [results[layer]["dictionary", k]]
        if q.density < 0.15 and q.explained_variance >= 0.9 and run.test.top1 - a <= 0.005
    ]  # fmt: skip
    print(f"{short}: sparse and faithful at k = {good or 'none of them'}")
if chapter.profile != "smoke":
    assert bill["dictionary, k = 32"][0].explained_variance > 0.85

# %% [markdown]
# ### What the entries answer to
#
# As with channels, we look at the digits that an entry is strongest for. These are the first eight
# entries that nine or more training digits use, not the prettiest:

# %%
dictionary = codes["tanh5"]["dictionary", 16]
used = dictionary.encode(c5)
alive = ((used > 0).sum(dim=0) >= 9).nonzero().flatten()
tops = used.topk(9, dim=0).indices.T[alive[:8]]

# %% [markdown]
# A row holds nine digits for one entry:

# %% tags=["hide-input"]
from internals.figures import samples

show(
    samples(
        digits.train.images[tops.flatten()].numpy() / 255,
        np.repeat(np.arange(8), 9),
        [f"entry {i}" for i in alive[:8].tolist()],
        each=9,
        caption="The nine training digits for which each of eight entries of C5's dictionary is largest, the largest "
        "first. Ask of each row what its digits share: one class, one way of writing it, or a "
        "stroke that several classes have.",
        alt="Eight rows of nine digits; the digits of a row mostly look alike.",
    ),
    "entries",
)  # fmt: skip

# %% [markdown]
# Is an entry purer than a unit? Count the commonest class among the nine strongest digits. The
# control is again the untrained network, whose units are random directions:

# %%
from internals.activations import class_purity


def purity(values: torch.Tensor) -> float:
    return class_purity(values.topk(9, dim=0).indices.T, labels)


training = net.inputs(digits.train)
chance = gather_activations(untrained, training, ["tanh5"], most)["tanh5"]
pure = {
    "units of an untrained C5": purity(chance.flatten(1)),
    "units of C5": purity(c5),
    "components of C5": purity(parts.encode(c5)),
    "entries of the dictionary": purity(used[:, alive]),
}

# %% [markdown]
# The second row is what the panel of conv3 in [LeNet-5](01_lenet5.py) showed six of:

# %% tags=["hide-input"]
show(
    Table.of(
        ("directions", "commonest class among nine"),
        [(name, percent(share, 1)) for name, share in pure.items()],
        caption="How pure the strongest digits of a direction are: the share of the commonest class "
        "among the nine, mean of all directions. Purity is not meaning, and a direction may well be "
        "about a stroke.",
    ),
    "purity",
)

# %% [markdown]
# In F6 an entry is itself a picture, because a column of $W_d$ has 84 numbers. These are the
# columns that training digits use most when each may use two:

# %%
drawn = codes["tanh6"]["dictionary", 2]
use = (drawn.encode(known["tanh6"].flatten(1)) > 0).sum(dim=0)
often = use.argsort(descending=True)[:16]
show(
    filters(
        drawn.decoder[:, often].T.reshape(-1, 1, 12, 7).numpy(),
        caption="The sixteen entries of F6's dictionary that are used most, the most used first, as "
        "pictures to be added to the layer's bias. Compare them with the bitmaps: an entry that is one bitmap less "
        "the mean of all says a class in one word.",
        alt="Sixteen small pictures of twelve by seven squares; several look like digits.",
    ),
    "f6-entries",
)

# %% [markdown]
# ## Key features
#
# - **A map of evidence** is worth what its control says: one that stays when the weights go shows the
#   input.
# - **F6 is a drawing** in 84 units with about nine directions, the bitmaps it was taught.
# - **A linear probe** needs the untrained network beside it; the gap is what training has added.
# - **A sparse dictionary** pays where few numbers are allowed and there are more things to say than
#   directions: in C5 rather than in F6.
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
#
# ## Exercises
#
# 1. Add `smooth_grad` and `integrated_gradients` to the instruments. Which row of the control do
#    they resemble?
# 2. Probe with shuffled training labels. How far above one tenth does a wide layer get?
# 3. Fit the dictionary of C5 with as many entries as units. How much of its lead is left?
#
# A network that can be read so well should be hard to fool. It is not:
# [adversaries](09_lenet5_adversarial.py) change its mind with what hardly shows.
