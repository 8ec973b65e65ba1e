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
# title: LeNet-5
# year: 1998
# paper_score: 0.95 % errors on MNIST
# thumbnail: conv3-strongest
# description: The network that read cheques, rebuilt from its paper, trained and looked into.
# network: lenet5
# data: mnist
# ---

# %% [markdown]
# # LeNet-5: seven layers that read handwriting
#
# In 1998 Yann LeCun, Léon Bottou, Yoshua Bengio and Patrick Haffner described a network that takes
# the pixels of a digit at one end and gives its name at the other, with nothing designed by hand in
# between [@lecun1998]. Its convolutions were not new: they go back to the Neocognitron and to the
# same group's zip-code reader of 1989. What LeNet-5 showed is that the whole of a reading machine
# could be trained from its errors. A recogniser of this family, in a bank's cheque readers since
# June 1996, was reading millions of cheques a day.
#
# **What you will see**
#
# - why this network spends 60,000 parameters on 340,908 connections, and what each layer adds;
# - the network trained in minutes, its score beside the paper's, and every kind of mistake it makes;
# - for five layers, the nine digits that drive each channel hardest, and which of their pixels did it.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The digits
#
# The size-normalised character sits in the middle of a 28 × 28 field. LeNet-5 sees that field with
# two more pixels of background on each side, so that the end of a stroke can come to lie in the
# centre of the fields of its highest units:

# %%
from internals import load

digits = load("mnist", chapter.data, seed=chapter.seed)

# %% [markdown]
# Paper is −0.1 and ink is 1.175, which the authors chose to bring the mean input near 0 and its
# variance near 1. The padding must come first: a border of zeros would be a grey frame. The first
# of these two claims holds for the digits as they are distributed today, the second does not, as
# the next cell measures:

# %%
from internals.data import Normalization

normalization = Normalization.from_range(-0.1, 1.175)
pixels = normalization.apply(digits.train.images)
print(f"mean {pixels.mean():.3f}, variance {pixels.var():.3f}")
assert abs(pixels.mean()) < 0.2 and pixels.var() < 0.5

# %% [markdown]
# Here are the first digits of each class. Twelve of each, no two alike:

# %% tags=["hide-input"]
from internals.figures import samples

show(
    samples(
        digits.train.images.numpy() / 255,
        digits.train.labels.numpy(),
        digits.train.class_names,
        caption="The first twelve training digits of each class, in the 32 × 32 field that the "
        "network sees. Notice how differently one name is written: look for twos with and without "
        "a loop, and fours that are open or closed.",
        alt="A grid of handwritten digits, one row a class from zero to nine, twelve examples each.",
    ),
    "digits",
)

# %% [markdown]
# ## Three ideas in one drawing
#
# A stroke is local, and it may be anywhere. So a unit looks at a small window only (*local
# receptive fields*), all units of a map look for the same thing with the same weights (*shared
# weights*), and once a feature is found its exact place matters less, so the maps are made coarser
# (*sub-sampling*):

# %% tags=["hide-input"]
from internals.figures import Stage, stack

show(
    stack(
        [
            Stage("input", 1, 32, 32, operation="5 × 5 convolution", window=5),
            Stage("conv1", 6, 28, 28, operation="2 × 2 average", window=2),
            Stage("pool1", 6, 14, 14, operation="5 × 5 convolution", window=5),
            Stage("conv2", 16, 10, 10, operation="2 × 2 average", window=2),
            Stage("pool2", 16, 5, 5, operation="5 × 5 convolution", window=5),
            Stage("conv3", 120, operation="full connection"),
            Stage("linear", 84, operation="distance"),
            Stage("rbf", 10),
        ],
        caption="LeNet-5 drawn to scale. Maps shrink while their number grows: where a feature is "
        "becomes less precise, what it is more so. The paper calls these layers C1, S2, C3, S4, C5, "
        "F6 and output.",
        alt="Eight stages from a 32 by 32 input to ten outputs: six maps of 28, six of 14, sixteen "
        "of 10, sixteen of 5, then 120, 84 and 10 units.",
    ),
    "architecture",
)

# %% [markdown]
# A unit of map $m$ at row $i$ and column $j$ adds up its window of every map $n$ below,
#
# $$
# a_{mij} = b_m + \sum_n \sum_{u=0}^{4} \sum_{v=0}^{4} w_{mnuv}\, x_{n,\,i+u,\,j+v},
# $$
#
# and nothing in $w$ or $b$ depends on where the unit is. Written out for one unit:

# %%
import torch

from internals.models import LeNet5

torch.manual_seed(chapter.seed)
lenet5 = LeNet5()
window = pixels[0, 0, 7:12, 3:8]
by_hand = lenet5.conv1.bias[2] + (lenet5.conv1.weight[2, 0] * window).sum()
assert torch.allclose(by_hand, lenet5.conv1(pixels[:1])[0, 2, 7, 3], atol=1e-6)

# %% [markdown]
# Six such maps cost 6 × (25 + 1) = 156 parameters; without sharing, their 4,704 units would need
# 122,304. That is the bargain of a convolution, and the table further down shows it layer by layer.
#
# ## The squashing function
#
# Every sum up to the 84 units of `linear` passes through $f(a) = A \tanh(S a)$ with $A = 1.7159$
# and $S = 2/3$, so that $f(\pm 1) = \pm 1$. The targets ±1 then lie well inside the range, where
# the curve bends most and learning does not stall. The paper says that its second derivative is
# largest at ±1; it is very nearly so:

# %%
import numpy as np

from internals.figures import lines

a = np.linspace(-4, 4, 801)
f = 1.7159 * np.tanh(2 / 3 * a)
slope = np.gradient(f, a)
bend = np.gradient(slope, a)
most_bent = abs(a[np.abs(bend).argmax()])
assert abs(most_bent - np.arctanh(3**-0.5) * 1.5) < 0.01
show(
    lines(
        a,
        {"f": f, "f ′ (slope)": slope, "f ″ (bend)": bend},
        xlabel="weighted sum a",
        marks={f"{most_bent:.2f}": most_bent},
        caption="The squashing function and its first two derivatives. The bend is largest at "
        "±0.99, close to the ±1 that the paper names; by ±4 the slope is nearly gone, and with it "
        "what a backward pass could tell.",
        alt="An S-shaped curve through the origin saturating near plus and minus 1.7, its bell-"
        "shaped slope, and its second derivative with extremes near plus and minus one.",
    ),
    "squashing",
)

# %% [markdown]
# ## Who listens to whom
#
# In the paper a map of C3 does not see all six maps of S2. Table I gives six of them three
# neighbours, nine of them four, and only the last all six. That kept the number of connections
# within bounds and, more importantly, made the maps look for different things from the start:

# %%
from internals.figures import connections
from internals.models import TABLE_I

listens = np.array([[source in row for source in range(6)] for row in TABLE_I])
assert listens.sum() == 60 and set(listens.sum(axis=0)) == {10}
show(
    connections(
        listens.T,
        rows="map of S2",
        columns="map of C3",
        caption="Table I of the paper: which maps of C3 (columns) listen to which of S2 (rows). Sixty "
        "pairs of ninety-six are joined, and every map of S2 is heard by ten. Notice the cyclic "
        "bands.",
        alt="A grid of six rows and sixteen columns with sixty dots in diagonal bands; the last "
        "column is full.",
    ),
    "table-one",
)

# %% [markdown]
# ## Answers that are pictures
#
# The last layer has no weights to learn. Each of its ten outputs is the squared distance between
# the 84 values of `linear` and a fixed 7 × 12 bitmap of that digit, and the smallest is the answer:
#
# $$
# y_i = \sum_{j=1}^{84} (x_j - w_{ij})^2, \qquad w_{ij} = \pm 1 .
# $$

# %%
from internals.figures import bitmaps

prototypes = lenet5.rbf.prototypes.view(10, 12, 7).numpy()
assert set(np.unique(prototypes)) == {-1, 1}
show(
    bitmaps(
        prototypes,
        digits.train.class_names,
        caption="The ten targets of the output layer, our own drawing in the style of the paper's "
        "figure 3: ink is +1, paper is −1. Notice how little sets 3 and 8 apart: characters that "
        "are easily confused get similar codes, which a reader of whole words can use.",
        alt="Ten small black-and-white bitmaps, seven by twelve, each a stylised digit.",
    ),
    "prototypes",
)

# %% [markdown]
# Training makes the distance to the right bitmap small and, through a softened minimum, all others
# large. This is the paper's maximum a posteriori criterion (equation 9), for a digit of class $c$:
#
# $$
# E = y_c + \log\Bigl(e^{-j} + \sum_i e^{-y_i}\Bigr).
# $$
#
# The constant $j$ is the penalty of an eleventh class, rubbish: wrong answers that are farther
# than $j$ already are left alone. The paper gives no value for it; we take 5. A perfect answer
# then still costs $\log(1 + e^{-5})$:

# %%
from math import exp, log

from internals.training import Map

loss = Map(j=5)
perfect = lenet5.rbf(lenet5.rbf.prototypes)
floor = loss(perfect, torch.arange(10)).item()
print(f"the least possible loss: {floor:.7f}")
assert abs(floor - log(1 + exp(-5))) < 1e-6

# %% [markdown]
# ## Draw a digit
#
# Here is the network of this chapter, trained as described below, at work. It runs in the page, and
# nothing you draw leaves it:
#
# <!-- digit -->
#
# Every map shows what the next layer sees, on one scale: mid grey is 0, amber +1.7159, blue
# −1.7159. Of a unit you point at you see its *projection*, made as in the panels further down: a
# signal of 1 goes back to the pixels, and at each tanh only what agrees in sign with the activation
# passes. The bars are the roots of the ten distances. The dashed line across them lies where 95 of a
# hundred training digits that were held out come no farther from their own bitmap: whatever lies
# beyond it is refused, scribbles for the most part, and one proper digit in twenty.
#
# ## The whole network
#
# Nothing in this table is typed in. Shapes, parameters, products and receptive fields are read off
# one forward pass:

# %%
from internals.anatomy import summarize
from internals.figures import Table

rows = summarize(lenet5, (1, 32, 32))
show(
    Table.of(
        ("layer", "output", "parameters", "multiply-adds", "field", "stride"),
        tuple(
            (r.name, " × ".join(map(str, r.shape)), r.parameters, r.multiply_adds,
             r.field.size, r.field.stride)
            for r in rows
            if r.kind != "Tanh"
        ),
        caption="The network of this chapter, layer by layer, without its squashing functions. A "
        "unit of conv3 sees the whole 32 × 32 field.",
    ),
    "layers",
)  # fmt: skip
assert sum(row.parameters for row in rows) == 60_856

# %% [markdown]
# `LeNet5(paper=True)` is the paper's network to the last weight. Its parameters and connections are
# those printed in section II-B, and their sums the famous ones[^print]:
#
# [^print]: The authors' own preprint has 151,600 connections in C3 and 340,908 in all. The journal
#     printed 156,000 and 345,308: one slip of a digit, carried into the sum.

# %%
from internals.anatomy import connections as count_connections

paper = LeNet5(paper=True)
counted = count_connections(paper, (1, 32, 32))
paper_names = ("C1", "S2", "C3", "S4", "C5", "F6", "output")
names = dict(zip(counted, paper_names, strict=True))
sizes = {row.name: row.parameters for row in summarize(paper, (1, 32, 32))}
show(
    Table.of(
        ("layer", "in the paper", "parameters", "connections"),
        (
            *(
                (name, names[name], sizes[name], n)
                for name, n in counted.items()
            ),
            ("all", "", sum(sizes.values()), sum(counted.values())),
        ),
        caption="The paper's form of the network, counted from its graph: shared weights let 60,000 "
        "parameters serve 340,908 connections.",
    ),
    "paper-counts",
)
assert (sum(sizes.values()), sum(counted.values())) == (60_000, 340_908)

# %% [markdown]
# ### Where this implementation departs from the paper
#
# | what | the paper | here |
# |---|---|---|
# | C3 | 60 kernels by Table I | all 96; `LeNet5(paper=True)` has the table |
# | S2, S4 | a trained coefficient and bias a map | plain averages; likewise |
# | bitmaps | figure 3 | our own drawing |
# | $j$ | positive, no value given | 5 |
# | epoch kept | the last | the best on training digits held out |
#
# ## Training

# %%
from internals.training import find_recipe, hyperparameters, trained

recipe = find_recipe("lenet5", chapter.profile)
show(
    Table.of(
        ("hyperparameter", "here", "paper"),
        hyperparameters(recipe, digits.train),
        caption="The recipe of the run below beside the paper's. Learning rates are for one step of "
        "the optimiser and cannot be compared across optimisers.",
    ),
    "recipe",
)

# %% [markdown]
# The weights are kept, so a second reading of this chapter does not train again. The test digits
# are scored once, after the epoch has been chosen:

# %%
run = trained(recipe, digits, seed=chapter.seed)
test, seconds = run.test, run.provenance.seconds
print(
    f"{test.top1:.2%} of {len(digits.test):,} test digits right, {seconds:.0f} s"
)
chapter.record(test_top1=test.top1, test_loss=test.loss, seconds=seconds)

# %% [markdown]
# Look for the point where the training curve goes on falling and the held-out one does not:

# %% tags=["hide-input"]
from internals.book import learning_curves

show(
    learning_curves(
        run,
        caption="Loss and accuracy by epoch. The training curve is the mean over the epoch, while the "
        "weights still moved; the held-out digits are scored after it. The dashed line is the score "
        "of the epoch kept on the test digits.",
        alt="Two charts: the training and held-out loss fall steeply and flatten; both accuracies "
        "rise to a plateau, the training curve above the held-out one.",
    ),
    "training",
)

# %% [markdown]
# The paper reports 0.95 % errors on the 10,000 test digits without distortions, 0.8 % with
# distorted copies of the training digits. How do the two forms of the network compare with that?

# %%
paper_recipe = find_recipe("lenet5-paper", chapter.profile)
paper_run = trained(paper_recipe, digits, seed=chapter.seed)

# %% [markdown]
# Side by side, with the plainest classifier of all at the end:

# %% tags=["hide-input"]
from internals.figures import percent

scores = [
    ("LeNet-5, this chapter", run.provenance.data, percent(1 - test.top1, 2)),
    (
        "LeNet-5, the paper's form",
        run.provenance.data,
        percent(1 - paper_run.test.top1, 2),
    ),
    ("the notebook this book grew from", "MNIST train", "0.99 %"),
    ("LeNet-5, the paper", "MNIST train", "0.95 %"),
    ("with distortions, the paper", "MNIST train", "0.80 %"),
    ("linear classifier, the paper", "MNIST train", "12.0 %"),
]
show(
    Table.of(
        ("network", "trained on", "test errors"),
        tuple(scores),
        caption="Test errors of one run each (n = 1, so differences of a tenth of a percent say "
        "nothing), beside those that the paper reports.",
    ),
    "scores",
)

# %% [markdown]
# ## Its mistakes
#
# A score says how often; the confusion matrix says what for what:

# %% tags=["hide-input"]
from internals.figures import confusion

names = digits.test.class_names
show(
    confusion(
        test.confusion,
        names,
        caption="Which test digits (rows) were read as which (columns), right answers muted. Look "
        "for cells that stand out on both sides of the diagonal: those pairs really look alike.",
        alt="A ten by ten matrix of counts, nearly everything on the diagonal, a few mistakes "
        "scattered off it.",
    ),
    "confusion",
)

# %% [markdown]
# And here are the mistakes themselves, the most confident first. A network that is wrong and sure
# of it tells more than one that was torn between two answers.
#
# A posterior may be small for all ten classes at once: what is missing from 1 belongs to the class
# of rubbish, whose penalty is $j$. A digit that lies farther than that from every bitmap is one the
# network does not claim to know:

# %% tags=["hide-input"]
from internals.book import worst_mistakes

show(
    worst_mistakes(
        run,
        digits.test,
        n=27,
        caption="Misread test digits: true class → answer, the posterior of that answer, and the "
        "digit's number; the most confident mistakes come first. Notice how many have a stroke "
        "missing, or one too many.",
        alt="Misread handwritten digits, each with its true class, the wrong answer and the "
        "confidence of the network.",
    ),
    "mistakes",
)

# %% [markdown]
# That makes the output layer able to say no. Refuse every digit whose best posterior is below one
# half, as a cheque reader would hand it to a clerk:

# %%
right = test.predicted == digits.test.labels.numpy()
sure = test.confidence >= 0.5
show(
    Table.of(
        ("digits", "share of all", "errors among them"),
        [
            (name, percent(part.mean()), percent(1 - right[part].mean(), 2))
            for name, part in {"accepted": sure, "refused": ~sure}.items()
            if part.any()
        ],
        caption="What the class of rubbish is good for: the errors among the test digits that the "
        "network accepts, and among those it refuses because none of the ten bitmaps is near.",
    ),
    "rejection",
)

# %% [markdown]
# ## Looking inside
#
# How the following pictures are made, and how to read them, is the subject of
# [How to look](00_how_to_look.py). In short: we ask each channel of a layer which training digits
# drive it hardest, one place a digit, and send a signal of 1 from that one unit backwards to the
# pixels.
#
# ### The filters of the first layer
#
# Only the first layer's weights can be looked at directly, because only they act on pixels:

# %% tags=["hide-input"]
from internals.figures import filters

show(
    filters(
        run.model.conv1.weight.detach().numpy(),
        caption="The six 5 × 5 kernels of conv1 on one scale: mid grey is 0, amber adds where there "
        "is ink, blue subtracts. Look for an amber band beside a blue one: that kernel answers to "
        "an edge of one direction, and to the opposite edge with the opposite sign.",
        alt="Six five by five grids of coloured squares; most have an amber side and a blue side.",
    ),
    "conv1-filters",
)

# %% [markdown]
# ### One digit through every layer
#
# Before we ask what each channel likes best, here is what all of them make of one and the same
# digit, a seven of the test set:

# %%
from internals import Network

net = Network.of(run)
seven = int((digits.test.labels == 7).nonzero()[0])
layers = ["conv1", "pool1", "conv2", "pool2", "conv3", "tanh6", "rbf"]
image = digits.test.images[seven : seven + 1]
maps = {name: m[0] for name, m in net.capture(image, layers).items()}
maps["tanh6"] = maps["tanh6"].view(1, 12, 7)

# %% [markdown]
# Sums are shown before they are squashed, but for the 84 values of the last layer but one: squashed,
# and laid out as the 7 × 12 bitmaps are. The last row is ten distances, and the darkest is the
# answer:

# %% tags=["hide-input"]
from internals.figures import LayerMaps, feature_maps

show(
    feature_maps(
        digits.test.images[seven].numpy() / 255,
        [LayerMaps(layer, maps[layer].numpy()) for layer in layers],
        caption="A seven on its way through the network. The maps of conv1 are still pictures of "
        "the digit, each in another light; those of conv2 keep where strokes of one kind are; from "
        "conv3 on there are no places left, only features. Then the surprise of this network: the "
        "84 values of tanh6 are a picture again, the bitmap of the answer, drawn by the network.",
        alt="Rows of feature maps that grow smaller and more numerous from the input digit seven to "
        "ten single values.",
    ),
    "one-digit",
)
assert maps["rbf"].flatten().argmin() == test.predicted[seven]

# %% [markdown]
# ### What each channel looks for
#
# One pass over all training digits finds the nine strongest of every channel of five layers:

# %%
layers = ["conv1", "pool1", "conv2", "pool2", "conv3"]
top = net.strongest(digits.train, layers, k=9)

# %% [markdown]
# Values are ranked before they are squashed, because afterwards can be too late: a large sum comes
# out of the tanh as exactly 1.7159, and the nine "strongest" of many that tie would be whichever
# came first. How many of ten thousand digits share the very top of a channel of conv3, squashed?

# %%
squashed = net.capture(digits.train.head(10_000), ["tanh5"])["tanh5"].flatten(
    1
)
ties = (squashed == squashed.amax(dim=0)).sum(dim=0)
print(
    f"up to {ties.max():,} digits tie for the first place, median {ties.median()}"
)

# %% [markdown]
# For the way back to the pixels a choice has to be made, because the papers on deconvnets and
# guided backpropagation only say what to do at a rectifier, and LeNet-5 has none. We ask by name
# for the *agreeing* rule: at a tanh, let pass what supports the feature as it was, of either sign.
# For a rectifier, whose outputs have one sign, that is guided backpropagation. Averages are sent
# back as averages, to all four of their inputs alike, since that is what was trained.
#
# #### conv1
#
# A unit of conv1 sees 5 × 5 pixels, and one linear layer lies between it and them. So its
# projection is its kernel, whatever the digit: nine times the same picture. That is not a finding
# but a check, and the cell asserts it. What differs is the patch:

# %%
from internals.figures import panels

for projection in net.project(digits.train, top["conv1"][0], "gradient"):
    assert torch.equal(projection.pixels, run.model.conv1.weight[0].detach())
show(
    panels(
        net.patches(top["conv1"], tanh="agreeing"),
        caption="The nine strongest patches of each channel of conv1 under their projections. The projections of "
        "a row are one and the same kernel; the patches say what fits it best. Read kernel and patch "
        "together: ink lies where the kernel is amber and paper where it is blue.",
        alt="Nine projections above their patches, for six channels of conv1: each channel's "
        "projections are all alike.",
    ),
    "conv1-strongest",
)

# %% [markdown]
# #### pool1
#
# Pooling averages four neighbours, so the field grows by one pixel and the picture becomes a kernel
# smeared over those of the 2 × 2 places where the feature was there:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["pool1"], tanh="agreeing"),
        caption="The same six channels after averaging. A pooled unit is strong where its feature holds over "
        "several neighbouring places, so these are longer and straighter strokes than those that drove "
        "conv1.",
        alt="Nine projections above their patches, for six channels of pool1: the kernels of conv1, "
        "smeared.",
    ),
    "pool1-strongest",
)

# %% [markdown]
# #### conv2
#
# A unit of conv2 sees 14 × 14 pixels, about half a digit, through all six maps of pool1. Here rows
# begin to differ within themselves: the same feature, found in different hands:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv2"], tanh="agreeing"),
        caption="Channels of conv2 and the half-digits that drive them. Compare the patches of a row: what they "
        "share is the feature, a bend, a corner or the end of a stroke, and what differs is what the "
        "network has learned to ignore. The projections show only what mattered.",
        alt="Nine projections above their patches, for six channels of conv2: parts of digits such "
        "as corners and bends.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# #### pool2
#
# Two more pixels of field, and again a little less certainty about where:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["pool2"], tanh="agreeing"),
        caption="The first channels of pool2. Their favourite patches resemble those of the same channel of "
        "conv2, but the feature now has to hold over two by two neighbouring places.",
        alt="Nine projections above their patches, for six channels of pool2: parts of digits, a "
        "little blurred.",
    ),
    "pool2-strongest",
)

# %% [markdown]
# #### conv3
#
# The units of conv3 see the whole digit, and there is one position only. Look at the class printed
# with each patch: is a row one digit, or one way of writing several?

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv3"], tanh="agreeing"),
        caption="Six of the 120 channels of conv3 and the whole digits that drive them. A row that holds one "
        "class only has become a detector of that digit; a row of several classes answers to what they "
        "have in common. Amber marks pixels whose ink raises the unit, blue those whose ink would "
        "lower it.",
        alt="Nine projections above their patches, for six channels of conv3: whole digits, often "
        "of one class a channel.",
    ),
    "conv3-strongest",
)

# %% [markdown]
# And what would these units draw themselves? No digit is asked. An image is made from noise and
# changed step by step, so that it drives the unit as hard as it can:[@olah2017]

# %% tags=["hide-input"]
from internals.figures import beside_strongest, portraits
from internals.projection import middle_units

units = middle_units(net, top["conv3"].layer, range(6))
made = net.optimise(
    units,
    pictures=digits.train,
    steps=chapter.at(smoke=2, quick=128, full=256),
)
show(
    portraits(
        beside_strongest(
            net.patches(top["conv3"].head(1), range(6), tanh="agreeing"), made
        ),
        caption="Six channels of conv3: the digit that drives each hardest, and the image that was made "
        "from noise to drive it harder, with the value that each reaches. An optimised image is "
        "no digit, and only one of many that would do.",
        alt="For six channels of conv3 the strongest digit beside an image of strokes and blots made "
        "from noise.",
    ),
    "conv3-optimised",
)

# %% [markdown]
# ## Which pictures to believe
#
# A projection that looks sensible need not say anything about what was learned: guided
# backpropagation in particular can redraw the input whatever the weights above
# [@adebayo2018; @nie2018]. The control is simple. Put untrained weights into the network, layer by
# layer from the top, and project the same unit of the same digit again. If the picture hardly
# changes, it did not come from the weights. We do it for the strongest unit of each of twenty
# channels of conv3, under all three rules:

# %%
torch.manual_seed(chapter.seed + 1)
rules = {"gradient": None, "deconvnet": "straight", "guided": "agreeing"}
control = net.sanity(
    digits.train, top["conv3"][:20].head(1), rules, untrained=LeNet5()
)

# %% [markdown]
# Here is the unit of channel 0 losing its weights, and the mean over all twenty of the rank
# correlation of magnitudes, which says how much of the trained picture is left, 1 for all of it:

# %% tags=["hide-input"]
from internals.figures import comparison

show(
    comparison(
        control.pictures(),
        control.titles,
        names=control.names,
        notes=control.notes(),
        shared=False,
        caption="A unit of conv3 projected as trained, and with the weights of conv3, then conv2, "
        "then conv1 replaced by untrained ones. ρ is the rank correlation with the trained picture, "
        "the mean of twenty units. Compare the rows: what survives on the right is the digit that "
        "was shown.",
        alt="Three rows of four projections of one digit; the gradient and deconvnet rows turn into "
        "blots when weights are random, the guided row keeps drawing the digit.",
    ),
    "control",
)

# %% [markdown]
# The guided row goes on drawing the digit when not one trained weight is left: it repeats what it
# was shown. So in the panels above trust the patches and their classes, and let the projections only
# say where in a patch to look. The next cell holds this run to it:

# %%
gradient, deconvnet, guided = control.magnitudes.mean(axis=2)
if chapter.profile != "smoke":  # which has nothing to lose
    assert guided[1] > gradient[1] and guided[3] > gradient[3]

# %% [markdown]
# The deconvnet row has a weakness of another kind. LeNet-5 has neither rectifiers nor the switches
# of a maximum, so nothing in that backward pass depends on the digit, and the "projection" is one
# fixed template for every image:

# %%
same = net.project(digits.train, top["conv3"][0], "deconvnet", tanh="straight")
for projection in same[1:]:
    assert torch.allclose(projection.pixels, same[0].pixels, atol=1e-6)

# %% [markdown]
# ## Key features
#
# - **Local fields and shared weights** make a convolution: 156 parameters do the work of 122,304.
# - **Sub-sampling** trades where for what, twice, until conv3 has no places left.
# - **A table of connections** keeps maps from becoming copies of one another.
# - **The scaled tanh** keeps targets of ±1 clear of saturation.
# - **Fixed bitmaps and a distance** as output leave room for "none of these": a digit far from all
#   ten codes can be refused.
#
# ## Do this with your own network
#
# A network of your own that reads small grey pictures is looked into in the same way.
# `mine:network` stands for the function or class `network` in your file `mine.py`. Where it has a
# tanh, say how a projection is to pass it, as this chapter did:
#
# ```sh
# internals project mine:network --weights mine.pth --layer conv2 \
#     --tanh agreeing --images photos --out panel.png
# internals atlas mine:network --weights mine.pth --tanh agreeing \
#     --images photos --out site
# ```
#
#
# ## Exercises
#
# 1. Draw the confusion matrix of `paper_run`. Which classes does the paper's form lose or win?
# 2. Replace the bitmaps by random codes between −0.1 and 0.1. What is the least possible loss now,
#    and why does training seem to stop far above 0?
# 3. Draw the conv3 panel with the plain gradient, `rule="gradient"`. Which rows change most?
#
# The next network had a thousand times the parameters, and needed a way to let a signal through
# that does not saturate.
