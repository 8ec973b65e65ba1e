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
# title: VGG-16
# year: 2014
# paper_score: 24.8 % errors (top-1) on ImageNet, one network
# thumbnail: conv10-strongest
# description: Nothing but windows of 3 × 3, stacked thirteen deep, and what it takes to start them.
# network: vgg16
# data: imagenette
# ---

# %% [markdown]
# # VGG-16: small windows, many layers
#
# In 2014 Karen Simonyan and Andrew Zisserman asked what depth alone is worth [@simonyan2015]. They
# fixed everything else: each convolution looks at 3 × 3 places, each maximum at 2 × 2, and only the
# number of layers grows, from 11 with weights to 19. Sixteen are enough for this chapter. Seven
# such networks together missed the right name in their five guesses for 7.3 % of ImageNet's test
# photographs, second in that year's contest behind the network of the
# [next chapter](04_inceptionnet.py); first place for saying *where* the thing is went to VGG.
#
# **What you will see**
#
# - why two windows of 3 × 3 see as much as one of 5 × 5, and three as much as one of 7 × 7;
# - five networks of growing depth that cost nearly the same parameters;
# - why so plain a stack may never begin to learn, and what its first weights have to do with it;
# - what drives the channels of all its convolutions, and a control that their handsome projections
#   do not pass.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The pictures
#
# The data are those of [AlexNet](02_alexnet.py): ten classes of ImageNet, or the stand-in of drawn
# shapes where those are not at hand. The recipe says how large they have to be:

# %%
from internals import load
from internals.training import find_recipe

recipe = find_recipe("vgg16", chapter.profile)
images = load(
    "imagenette", chapter.data, size=recipe.stored,
    seed=chapter.seed, most=chapter.most_images,
)  # fmt: skip
names = images.test.class_names

# %% [markdown]
# ## One window size
#
# AlexNet begins with 11 × 11 pixels at a stride of four, then takes 5 × 5, then 3 × 3. VGG takes
# 3 × 3 everywhere: the smallest window that knows left from right, above from below, and a centre.
# A unit on top of two such layers sees 5 × 5 places, one on top of three 7 × 7:

# %%
import torch
from torch import nn

from internals.anatomy import receptive_field


def tower(depth, channels=1, size=3):
    return nn.Sequential(
        *(
            nn.Conv2d(channels, channels, size, bias=False)
            for _ in range(depth)
        )
    )


fields = [
    receptive_field(tower(depth), str(depth - 1), (1, 9, 9)).size
    for depth in (1, 2, 3, 4)
]
print(fields)
assert fields == [3, 5, 7, 9]

# %% [markdown]
# The same without any arithmetic: let every weight be 1 and ask by the gradient which pixels the
# unit in the middle depends on, and how much:

# %%
import numpy as np

reach = []
for depth, field in enumerate(fields, start=1):
    ones = tower(depth)
    for layer in ones:
        nn.init.ones_(layer.weight)
    pixels = torch.zeros(1, 1, 17, 17, requires_grad=True)
    middle = (17 - 2 * depth) // 2
    ones(pixels)[0, 0, middle, middle].backward()
    reach.append(pixels.grad[0, :, 4:13, 4:13].numpy())
    assert np.count_nonzero(reach[-1]) == field**2
assert reach[2].max() == 49 and reach[2][0, 1, 1] == 1

# %% [markdown]
# Drawn, and each on a scale of its own:

# %% tags=["hide-input"]
from internals.figures import comparison

show(
    comparison(
        [reach],
        ["one layer", "two", "three", "four"],
        shared=False,
        caption="How often each pixel of a 9 × 9 piece enters one unit on top of one to four layers of "
        "3 × 3 windows. The field grows by two pixels a layer, and its middle counts ever more: on "
        "top of three layers 49 times as much as a corner.",
        alt="Four grids: a flat square of three pixels, then peaked squares of five, seven and nine.",
    ),
    "reach",
)

# %% [markdown]
# So what is gained? With $C$ channels in and out, three layers need $3 \cdot 3^2 C^2 = 27\,C^2$
# weights and a single one of 7 × 7 needs $49\,C^2$, 81 % more. And between the three there is room
# for two rectifiers, which the single layer does not have:

# %%
from math import isclose

stacked, single = (
    sum(w.numel() for w in layers.parameters())
    for layers in (tower(3, 64), tower(1, 64, size=7))
)
assert (stacked, single) == (27 * 64**2, 49 * 64**2)
assert isclose(single / stacked - 1, 0.81, abs_tol=0.01)

# %% [markdown]
# Those rectifiers are the point. Leave them out, and the three layers can be multiplied together
# into one of 7 × 7 that does the same. The reverse does not hold: most kernels of 7 × 7 are not
# three of 3 × 3 in a row. The paper calls that a regularisation:

# %%
from torch.nn import functional

torch.manual_seed(chapter.seed)
three, picture = tower(3).double(), torch.rand(1, 1, 12, 12).double()
impulse = functional.pad(torch.ones(1, 1, 1, 1).double(), (6,) * 4)
kernel = three(impulse).flip(2, 3)
together = functional.conv2d(picture, kernel)
assert kernel.shape[-2:] == (7, 7)
assert torch.allclose(three(picture), together)

first, second, third = three
bent = third(second(first(picture).relu()).relu())
assert not torch.allclose(bent, together)

# %% [markdown]
# ## Sixteen layers in five blocks
#
# The rest follows from two rules. Within a block maps keep their size, by a border of one zero.
# Between blocks a maximum halves it, and the channels double, up to 512:

# %% tags=["hide-input"]
from internals.figures import Stage, stack

show(
    stack(
        [
            Stage("input", 3, 224, 224, "twice 3 × 3", 5),
            Stage("conv1–2", 64, 224, 224, "maximum, then twice 3 × 3", 10),
            Stage("conv3–4", 128, 112, 112, "maximum, thrice 3 × 3", 14),
            Stage("conv5–7", 256, 56, 56, "maximum, thrice 3 × 3", 14),
            Stage("conv8–10", 512, 28, 28, "maximum, thrice 3 × 3", 14),
            Stage("conv11–13", 512, 14, 14, "maximum, all to all"),
            Stage("fc1", 4096, operation="all"),
            Stage("fc2", 4096, operation="all"),
            Stage("fc3", 10),
        ],
        caption="VGG-16 drawn to scale, a stage for the last maps of each block. The box on a stage is "
        "what one unit of the next looks at, through the maximum and all convolutions between them. "
        "No step is abrupt: compare AlexNet, whose first layer goes from 224 to 55 at once.",
        alt="Nine stages from a 224 by 224 colour input through 64 maps of 224, 128 of 112, 256 of "
        "56, 512 of 28 and 512 of 14 to two layers of 4096 units and one of ten.",
    ),
    "architecture",
)

# %% [markdown]
# The paper's table 1 has five columns, A to E, and ours is D. Counting needs no numbers in the
# weights, so we let PyTorch build all five without any:

# %%
from internals.anatomy import summarize
from internals.figures import Table
from internals.models import CONFIGURATIONS, VGG, VGG16

with torch.device("meta"):
    family = {name: VGG(name) for name in CONFIGURATIONS}
counted = {
    name: [r for r in summarize(network, (3, 224, 224)) if r.parameters]
    for name, network in family.items()
}
millions = {
    name: sum(r.parameters for r in rows) / 1e6
    for name, rows in counted.items()
}

# %% [markdown]
# Eight layers more from A to E add 8 % to the parameters. Depth, in windows of 3 × 3, is cheap to
# store; what it costs is work:

# %% tags=["hide-input"]
printed = {"A": 133, "B": 133, "C": 134, "D": 138, "E": 144}
show(
    Table.of(
        ("network", "layers with weights", "convolutions", "parameters",
         "paper, millions", "multiply-adds"),
        (
            (name, len(rows), len(rows) - 3, sum(r.parameters for r in rows),
             printed[name], sum(r.multiply_adds for r in rows))
            for name, rows in counted.items()
        ),
        caption="The paper's five networks for 224 × 224 pixels and 1,000 classes, counted from their "
        "graphs, beside its table 2. C ends three of its blocks with windows of 1 × 1, which add a "
        "rectifier and no sight; the paper found D, which sees more, the better.",
    ),
    "configurations",
)  # fmt: skip
assert {name: round(m) for name, m in millions.items()} == printed
assert isclose(millions["E"] / millions["A"] - 1, 0.08, abs_tol=0.005)

# %% [markdown]
# Where do 138 million parameters come from, if convolutions are cheap? From one place. `fc1` joins
# every unit of 512 maps of 7 × 7 with each of 4,096. Network D, exactly:

# %%
d = {r.name: r for r in counted["D"]}
total = sum(r.parameters for r in d.values())
work = sum(r.multiply_adds for name, r in d.items() if "conv" in name)
share = d["fc1"].parameters / total
print(f"{total:,} parameters, {share:.1%} of them in fc1")
print(f"{work:,} multiply-adds in the convolutions")
assert total == 138_357_544 and round(share, 3) == 0.743
assert d["fc1"].parameters == 512 * 7 * 7 * 4096 + 4096
assert round(work / 1e9, 2) == 15.35

# %% [markdown]
# Our default form, `VGG16()`, is D with ten classes. Follow the fields down the table: within a
# block each layer adds two steps, and every maximum doubles the length of a step:

# %%
with torch.device("meta"):
    rows = summarize(VGG16(), (3, 224, 224))
show(
    Table.of(
        ("layer", "output", "parameters", "multiply-adds", "field", "stride"),
        tuple(
            (r.name, " × ".join(map(str, r.shape)), r.parameters, r.multiply_adds,
             r.field.size, r.field.stride)
            for r in rows
            if r.kind not in ("ReLU", "Dropout")
        ),
        caption="The network of this chapter, without its rectifiers and dropout. At 224 pixels "
        "avgpool passes its input on; it lets smaller pictures through. From there on a unit sees "
        "the whole picture, and the stride of 0 says that there is one place only.",
    ),
    "layers",
)  # fmt: skip

# %% [markdown]
# The fields of the six convolutions that the notebooks behind this book looked into, and the sum:

# %%
sees = {r.name: r.field.size for r in rows if r.kind == "Conv2d"}
assert [sees[f"conv{n}"] for n in (2, 4, 6, 8, 10, 13)] == [
    5,
    14,
    32,
    60,
    92,
    196,
]
assert sum(r.parameters for r in rows) == 134_301_514

# %% [markdown]
# ## Why it may never start
#
# In a plain stack a layer hears only the layer below. Let a unit add up $n$ inputs $x$ with random
# weights of mean 0 and variance $\sigma^2$. Then its variance is $n \sigma^2$ times the mean of
# $x^2$, and after a rectifier that mean is half the variance of the layer below:
#
# $$
# \operatorname{Var} a_l = \tfrac{1}{2}\, n_l \sigma_l^2 \operatorname{Var} a_{l-1} .
# $$
#
# A factor that is not 1 acts thirteen times. $\sigma = 0.01$, good enough for AlexNet, halves the
# signal at every layer of 512 maps. The paper writes "10⁻² variance"; most readers take it for a
# deviation, and the next cell says why. Glorot and Bengio's variance of $2 / (n_{in} + n_{out})$
# was derived for units without rectifiers [@glorot2010]; that of He and others, $2 / n$, makes the
# factor 1 [@he2015]:

# %%
n = 9 * 512
variances = {
    "variance 0.01": 0.01,
    "He et al.": 2 / n,
    "Glorot": 2 / (n + n),
    "deviation 0.01": 0.01**2,
}
factors = {name: (n * v / 2) ** 0.5 for name, v in variances.items()}
for name, factor in factors.items():
    print(f"{name:15} deviation times {factor:.2f} a layer")
assert isclose(factors["He et al."], 1)
assert factors["variance 0.01"] > 4 and factors["deviation 0.01"] < 0.5

# %% [markdown]
# That is theory, for independent numbers. Now the real thing: eight pictures sent through the
# thirteen convolutions of one network, whose weights are drawn anew in each of the four ways. The
# full connections stay as our form draws them.

# %%
from functools import partial

from internals import Normalization, capture

few = images.train.head(8)
inputs = Normalization.fit(few).apply(few.images)
torch.manual_seed(chapter.seed)  # as for the run further down
vgg16 = VGG16().eval()
first_kernels = vgg16.conv1.weight.detach().clone()
convs = [f"conv{n}" for n in range(1, 14)]
starts = {
    "variance 0.01": partial(nn.init.normal_, std=0.1),
    "deviation 0.01": partial(nn.init.normal_, std=0.01),
    "Glorot": nn.init.xavier_normal_,
    "He et al.": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
}


def signal():
    maps = capture(vgg16, inputs, convs).values()
    return np.array([m.square().mean().sqrt().item() for m in maps])


# %% [markdown]
# Beside the size of the signal we note the loss at the end and how large a gradient comes back to
# `conv1`, because a backward pass multiplies by the same weights as the forward one:


# %%
def first_step():
    loss = functional.cross_entropy(vgg16(inputs), few.labels)
    (gradient,) = torch.autograd.grad(loss, vgg16.conv1.weight)
    return loss.item(), gradient.norm().item()


# %% [markdown]
# First as our form draws them, then in the four ways:

# %%
ours = (signal(), *first_step())
sizes, steps = {}, {}
for name, draw in starts.items():
    for conv in convs:
        draw(vgg16.get_submodule(conv).weight)
    sizes[name], steps[name] = signal(), first_step()

# %% [markdown]
# On a logarithmic scale a constant factor is a straight line:

# %% tags=["hide-input"]
from internals.figures import lines

show(
    lines(
        np.arange(1, 14),
        sizes,
        xlabel="convolution",
        ylabel="root mean square of its sums",
        logarithmic=True,
        caption="The size of the signal in thirteen untrained convolutions, before the rectifier. "
        "With a deviation of 0.01 it fades, with a variance of 0.01 it explodes; Glorot's weights "
        "lose a little at each layer, He's keep it. Lines bend where the number of maps changes and, in "
        "small pictures, where much of a window lies beyond the border.",
        alt="Four lines over the thirteen convolutions on a logarithmic scale: one rises steeply, "
        "one stays level, one falls gently, one falls by many powers of ten.",
    ),
    "signal",
)
assert sizes["deviation 0.01"][-1] < 1e-5 < 1e3 < sizes["variance 0.01"][-1]
assert 0.05 < ours[0][-1] < 20

# %% [markdown]
# A network that hears nothing gives ten classes the same probability whatever it is shown. Its loss
# is $\ln 10 = 2.303$, and since no gradient reaches the bottom, it stays there. That is what people
# report who find a VGG "stuck at 2.30":

# %% tags=["hide-input"]
show(
    Table.of(
        ("convolutions drawn", "at conv1", "at conv13", "loss", "gradient at conv1"),
        (
            (name, f"{size[0]:.2g}", f"{size[-1]:.2g}", f"{loss:.6g}", f"{slope:.2g}")
            for name, size, (loss, slope) in (
                *((name, sizes[name], steps[name]) for name in starts),
                ("as this book does", ours[0], ours[1:]),
            )
        ),
        caption="The signal at both ends of the convolutions, the loss that it leads to and the norm of "
        "the gradient that comes back, for eight pictures before the first step.",
    ),
    "starts",
)  # fmt: skip
loss, slope = steps["deviation 0.01"]
assert abs(loss - np.log(10)) < 1e-4 and slope < ours[2] / 1e3

# %% [markdown]
# The authors knew it. They trained network A first, eight convolutions from random weights, and
# gave its first four and its three full connections to the deeper networks. A note in the paper
# says that after submission they found Glorot's weights to do without that. We need no network A
# either: our first weights keep the signal alive, the rate rises slowly from 0, and the norm of the
# gradient is cut off at a limit, so that no single batch can throw the weights far. The quick
# profile, which has but a few hundred steps, does more: on the first training pictures each
# layer is scaled to outputs of unit size, and the mean of each channel is taken out by its bias
# [@mishkin2016; @salimans2016]. Dropout is left out there, too.
#
# ### Where this implementation departs from the paper
#
# | what | the paper | here |
# |---|---|---|
# | first weights | normal, seven layers from network A | as in the table above |
# | first steps | at the full rate | a rate that rises, gradients of limited norm |
# | light | shifted along principal colours | brightness, contrast, colour jittered |
# | pixels | less their mean colour | and divided by their deviation |
# | between pool5 and fc1 | nothing | an average that is idle at 224 pixels |
# | test | densely, at several scales, mirrored | one crop from the centre |
# | classes | 1,000 | 10 |
#
# ## Training

# %% tags=["hide-input"]
from internals.training import SEED_RECIPES, hyperparameters

notebook = {row[0]: row[1] for row in hyperparameters(SEED_RECIPES["vgg16"])}
show(
    Table.of(
        ("hyperparameter", "here", "the notebooks", "the paper"),
        [
            (name, value, notebook.get(name, ""), published)
            for name, value, published in hyperparameters(recipe, images.train)
        ],
        caption="The recipe of the run below, that of the notebooks this book grew from, and the "
        "paper's. Learning rates cannot be compared across optimisers. The paper took two to three "
        "weeks on four graphics cards.",
    ),
    "recipe",
)

# %% [markdown]
# The test pictures are scored once, after the epoch has been chosen on training pictures held out.
# Has the network started? Its training loss must have left $\ln 10$:

# %%
from internals.training import trained

run = trained(recipe, images, seed=chapter.seed)
test, seconds, history = run.test, run.provenance.seconds, run.history
print(
    f"{test.top1:.2%} of {len(test.predicted):,} test pictures right, "
    f"{seconds:.0f} s"
)
for epoch in (history.epochs[0], history.epochs[-1]):
    print(f"epoch {epoch.number}: training loss {epoch.train_loss:.3f}")
chapter.record(test_top1=test.top1, test_loss=test.loss, seconds=seconds)
if chapter.profile != "smoke":
    assert history.epochs[-1].train_loss < np.log(10) - 0.2
    assert test.top1 > 0.15

# %% [markdown]
# In the chart, look at the first epochs: how long does the loss linger near 2.3 before it goes?

# %% tags=["hide-input"]
from internals.book import learning_curves

show(
    learning_curves(
        run,
        caption="Loss and accuracy by epoch. A network that knows nothing has a loss of 2.303 and an "
        "accuracy near 10 %. The training curve is a mean over the epoch, while the network changes, "
        "and may lie below the held-out one. The dashed line is the score on the test pictures.",
        alt="Two charts by epoch: training and held-out loss, and training and held-out accuracy "
        "with the test accuracy as a dashed line.",
    ),
    "training",
)

# %% [markdown]
# What the authors, He and others [@he2016] and that year's winners [@szegedy2015] report is for a
# thousand classes and learned from a hundred times as many pictures. It stands in the table for the
# record and cannot be compared with the first line:

# %% tags=["hide-input"]
from internals.figures import percent

imagenet = "ILSVRC-2012, 1,000 classes"
show(
    Table.of(
        ("network", "tested on", "top-1 error", "top-5 error"),
        (
            (
                "this chapter",
                f"{images.test.name}, 10 classes",
                percent(1 - test.top1),
                "",
            ),
            ("best single network, several scales", f"{imagenet}, validation", "24.8 %", "7.5 %"),
            ("the same, and many crops", f"{imagenet}, validation", "24.4 %", "7.1 %"),
            ("VGG-16, ten crops, as He et al. measured", f"{imagenet}, validation", "28.07 %", "9.33 %"),
            ("seven networks, the contest of 2014", f"{imagenet}, test", "", "7.3 %"),
            ("GoogLeNet, the winner", f"{imagenet}, test", "", "6.67 %"),
        ),
        caption="The test error of this run (n = 1) above those that others report for another, harder "
        "task.",
    ),
    "scores",
)  # fmt: skip

# %% [markdown]
# ### Its mistakes

# %% tags=["hide-input"]
from internals.figures import confusion

show(
    confusion(
        test.confusion,
        names,
        caption="Which test pictures (rows) were taken for which class (columns), right answers "
        "muted. Compare with AlexNet's: pairs that both networks confuse are alike in the pictures, "
        "not in one network.",
        alt="A ten by ten matrix of counts; the diagonal holds what is right.",
    ),
    "confusion",
)

# %% [markdown]
# The mistakes of which it was surest:

# %% tags=["hide-input"]
from internals.book import worst_mistakes

show(
    worst_mistakes(
        run,
        images.test,
        caption="Test pictures that were named wrongly: true class → answer, the posterior of the "
        "answer, and the picture's number, the most confident first. Ask of each what in it speaks "
        "for the wrong class, and keep the answer in mind for the maps further down.",
        alt="Up to ten misnamed test pictures, each with its true class, the answer and its "
        "posterior.",
    ),
    "mistakes",
)

# %% [markdown]
# ## A network that slides
#
# A full connection is a convolution whose window is as large as its input. Read so, `fc1` is a
# window of 7 × 7 over `pool5`, `fc2` and `fc3` are windows of 1 × 1, and the network takes pictures
# of any size from 224 pixels up. What it gives is a map of answers. At 224 pixels the map has one
# place, and the answer there is the one that we know:

# %%
from internals import Network
from internals.models import fully_convolutional

net = Network.of(run)
sliding = fully_convolutional(run.model)
tested = run.pipeline.view(images.test)
first_picture = net.inputs(tested)[:1]
at_224 = functional.interpolate(first_picture, 224, mode="bilinear")
scores = net.capture(at_224, ["fc3"])["fc3"]
with torch.no_grad():
    slid = sliding(at_224)
assert scores.shape == slid.shape == (1, 10, 1, 1)
assert torch.allclose(slid, scores, atol=1e-3, rtol=1e-3)

# %% [markdown]
# That is how the paper tests: pictures of 384 pixels, say, and the mean over the map. The crops that
# others cut out one by one share nearly all of their work here. How much is saved?

# %%
with torch.device("meta"):
    dense = fully_convolutional(VGG("D"))
wide = summarize(dense, (3, 384, 384))
places = wide[-1].shape[1] * wide[-1].shape[2]
crops = places * sum(r.multiply_adds for r in d.values())
at_once = sum(r.multiply_adds for r in wide)
print(
    f"{places} places, {crops / at_once:.1f} times as cheap as {places} crops"
)
assert places == 36 and 10 < crops / at_once < 12

# %% [markdown]
# A map of answers also says where. For it to mean something, things must have the size that they
# had in training, so we write the sliding network once more, with a window that covers one
# training picture, whatever the profile. With seven places it is `fully_convolutional`:


# %%
def class_map(pictures, window):
    """The probability of each class at each place of a window over pool5."""
    maps = net.capture(pictures, ["pool5"])["pool5"]
    parts = maps.unfold(2, window, 1).unfold(3, window, 1)[0]
    side = parts.shape[1]
    parts = parts.permute(1, 2, 0, 3, 4).flatten(0, 1)
    with torch.no_grad():
        y = run.model.avgpool(parts).flatten(1)
        for layer in ("fc1", "relu14", "fc2", "relu15", "fc3"):
            y = run.model.get_submodule(layer)(y)
    return y.softmax(1).T.unflatten(1, (side, side))


expected = slid[0].softmax(0)
assert torch.allclose(class_map(at_224, window=7), expected, atol=1e-3)

# %% [markdown]
# Now four test pictures of different classes, those that the network is surest of, side by side in
# one picture of twice the size:

# %%
truth = tested.labels[: len(test.predicted)].numpy()
sure = test.confidence + (test.predicted == truth)
best = [
    int(np.where(truth == label, sure, -1).argmax()) for label in range(10)
]
four = sorted(best, key=lambda i: -sure[i])[:4]
quarter = tested.images[four]
montage = torch.cat(
    [torch.cat([*quarter[:2]], 2), torch.cat([*quarter[2:]], 2)], 1
)
classes = [int(truth[i]) for i in four]
window = recipe.size // 32
answers = class_map(montage[None], window)[classes]

# %% [markdown]
# Each answer belongs to the middle of its window, 32 pixels from the next. Every map should light up
# in one quarter:

# %% tags=["hide-input"]
from internals.anatomy import ReceptiveField
from internals.figures import overlays
from internals.projection import upsampled

seen = ReceptiveField(size=recipe.size, stride=32, start=0)
spread = upsampled(answers, (2 * recipe.size, 2 * recipe.size), seen)
show(
    overlays(
        [montage.numpy() / 255],
        [list(spread.numpy())],
        [names[label] for label in classes],
        caption="Four test pictures in one, and how probable the class above each map is wherever the "
        "window stands. Nobody taught the network to say where; it follows from what a convolution "
        "is. Between the quarters the window holds a bit of two or four pictures.",
        alt="A picture of two by two pictures, then the same four times under a heat map, one for "
        "each of the four classes.",
    ),
    "sliding",
)

# %% [markdown]
# ## Looking inside
#
# ### The kernels of conv1
#
# There is not much room in 3 × 3 pixels. Where AlexNet had gratings of several periods, a kernel
# here can be an edge, a line, a spot, or a colour:

# %% tags=["hide-input"]
from internals.figures import filters

show(
    filters(
        run.model.conv1.weight.detach().numpy(),
        caption="The 64 kernels of conv1, 3 × 3 pixels, on one scale: mid grey is 0, and a colour is "
        "the light that a channel wants more of. Look for a light side against a dark one, and for "
        "one colour throughout; noise is what the random start left behind.",
        alt="Sixty-four small squares of three by three coloured pixels.",
    ),
    "conv1-filters",
)

# %% [markdown]
# How far has training moved them? `vgg16` above was drawn from the seed that the run started from,
# so a trained kernel can be compared with its own first weights; a correlation of 1 says that
# nothing was learned, and that a look at this kernel is a look at the start:

# %%
kernels = run.model.conv1.weight.detach()
both = torch.stack([first_kernels, kernels]).flatten(2)
both = functional.normalize(both - both.mean(dim=2, keepdim=True), dim=2)
kept = (both[0] * both[1]).sum(dim=1)
print(f"correlation with the start: median {kept.median():.2f}")
print(f"{int((kept > 0.9).sum())} of 64 kernels are above 0.9")

# %% [markdown]
# ### What drives the channels above
#
# How the next pictures are made and read is the subject of [How to look](00_how_to_look.py). This
# network does more work on a picture than the others, and at the quick profile we mine the first
# 512 training pictures, else all of them. One pass serves all thirteen convolutions:

# %%
most = chapter.at(smoke=64, quick=512)
pictures = run.pipeline.view(images.train.head(most))
top = net.strongest(pictures, convs, k=9)

# %% [markdown]
# Projections are guided. Where the field is larger than the pictures, the whole picture is shown.
# The layers that most books leave out get three channels, the others six.
#
# #### conv2 and conv3
#
# A unit of `conv2` sees 5 × 5 pixels, one of `conv3` ten. Patches that small have no content; look
# for a direction, a contrast, a colour:

# %%
from internals.figures import panels

show(
    panels(
        net.patches(top["conv2"]),
        caption="Six channels of conv2 and the 5 × 5 pixels that drive them hardest. Nearly all patches of "
        "a row should look alike: so near to the pixels there is little to be invariant to.",
        alt="Nine projections with their patches, a channel of conv2 a row: patches of five by five "
        "pixels, alike in direction, contrast or colour.",
    ),
    "conv2-strongest",
)

# %% [markdown]
# The first maximum lies between the two layers. From here on a unit no longer knows to the pixel
# where its feature was:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv3"], range(3)),
        caption="Three channels of conv3, ten pixels wide. Compare a row's patches: edges and bars that "
        "are now allowed to lie a pixel further to one side.",
        alt="Nine projections with their patches, a channel of conv3 a row: patches of ten by ten "
        "pixels.",
    ),
    "conv3-strongest",
)

# %% [markdown]
# #### conv4
#
# Fourteen pixels: what AlexNet's first layer saw with one kernel takes four layers here, and three
# rectifiers have had their say. The kernel cannot be drawn any more, only what drives it:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv4"]),
        caption="Six channels of conv4. Look for what a single linear kernel could not ask for: a bend, an "
        "end, two directions at once, or a texture in any phase.",
        alt="Nine projections with their patches, a channel of conv4 a row: patches of fourteen "
        "pixels with edges, corners and small textures.",
    ),
    "conv4-strongest",
)

# %% [markdown]
# #### conv5, conv6 and conv7
#
# The third block sees 24, 32 and 40 pixels. A row may now hold patches that are alike as textures
# and different as pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv5"], range(3)),
        caption="Three channels of conv5, the first layer after the second maximum. Ask of each row "
        "whether it is a shape or a texture that its patches share.",
        alt="Nine projections with their patches, a channel of conv5 a row: patches of twenty-four "
        "pixels.",
    ),
    "conv5-strongest",
)

# %% [markdown]
# Two pixels a step have become four, so each layer of this block adds eight pixels to the field:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv6"]),
        caption="Six channels of conv6. Read the classes under the patches: features of this size are "
        "still common property, and a row of one class only is an exception worth a second look.",
        alt="Nine projections with their patches, a channel of conv6 a row: patches of thirty-two "
        "pixels with textures and parts.",
    ),
    "conv6-strongest",
)

# %% [markdown]
# And the last of the block:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv7"], range(3)),
        caption="Three channels of conv7. The projections begin to be smaller than the patches: what "
        "stays grey was seen and did not matter.",
        alt="Nine projections with their patches, a channel of conv7 a row: patches of forty "
        "pixels.",
    ),
    "conv7-strongest",
)

# %% [markdown]
# #### conv8, conv9 and conv10
#
# The fourth block sees 60, 76 and 92 pixels. In the small pictures of the quick profile that is soon
# all there is; at 224 pixels it is a part of a thing:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv8"]),
        caption="Six channels of conv8. A patch may reach over the picture's border, which is drawn as "
        "paper: border units take part like all others, and zeros beyond the border are part of what "
        "they see.",
        alt="Nine projections with their patches, a channel of conv8 a row: patches of sixty pixels "
        "with larger parts of things.",
    ),
    "conv8-strongest",
)

# %% [markdown]
# One layer further, three channels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv9"], range(3)),
        caption="Three channels of conv9. Compare the first value of a row with its ninth: where they are "
        "close, there are many such pictures, where not, a few stand out.",
        alt="Nine projections with their patches, a channel of conv9 a row: patches with parts of "
        "things.",
    ),
    "conv9-strongest",
)

# %% [markdown]
# And `conv10`, the last one before the fourth maximum:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv10"]),
        caption="Six channels of conv10. Where a row's classes agree, check whether the patches show the "
        "thing itself or what usually surrounds it; where they do not, look for what else they share.",
        alt="Nine projections with their patches, a channel of conv10 a row: patches with large "
        "parts of things.",
    ),
    "conv10-strongest",
)

# %% [markdown]
# #### conv11, conv12 and conv13
#
# The last block adds 32 pixels a layer and ends at 196. First the two layers on the way:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv11"], range(3)),
        caption="Three channels of conv11. A field this wide is larger than what matters in it: the "
        "evidence gathers near its middle, as it did in the towers of 3 × 3 windows.",
        alt="Nine projections with their patches, a channel of conv11 a row: patches with most of a "
        "thing or a whole picture.",
    ),
    "conv11-strongest",
)

# %% [markdown]
# And:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv12"], range(3)),
        caption="Three channels of conv12. Count the classes of a row, and ask what a row of many "
        "classes has in common; it may be nothing that has a name.",
        alt="Nine projections with their patches, a channel of conv12 a row: patches with most of a "
        "thing or a whole picture.",
    ),
    "conv12-strongest",
)

# %% [markdown]
# `conv13` is the last layer that knows where, at 14 × 14 places for 224 pixels:

# %% tags=["hide-input"]
show(
    panels(
        net.patches(top["conv13"]),
        caption="Six channels of conv13. Projections here can look like drawings of the thing itself. "
        "Look at them once as they are, and again after the control further down, which asks whether "
        "it was the trained weights that drew them.",
        alt="Nine projections with their patches, a channel of conv13 a row: whole things, often of "
        "one class a channel.",
    ),
    "conv13-strongest",
)

# %% [markdown]
# What would these channels draw themselves? An image is made from noise, without a photograph, and
# changed step by step so that it drives the unit in the middle of the map as hard as it
# can:[@olah2017]

# %% tags=["hide-input"]
from internals.figures import beside_strongest, portraits
from internals.projection import middle_units

units = middle_units(net, top["conv13"].layer, range(3))
made = net.optimise(
    units, pictures=pictures, steps=chapter.at(smoke=1, quick=24, full=128)
)
show(
    portraits(
        beside_strongest(net.patches(top["conv13"].head(1), range(3)), made),
        caption="Three channels of conv13: the patch that drives each hardest, and an image made from "
        "noise to drive its middle unit, with the value that each reaches. It is nothing that the "
        "network has seen, and one of many that would do.",
        alt="For three channels of conv13 the strongest patch beside an optimised image of "
        "coloured patterns made from noise.",
    ),
    "conv13-optimised",
)

# %% [markdown]
# ### All channels, in numbers
#
# Six channels of 512 prove nothing. Two questions can be put to all 4,224 of them. Is the channel
# alive: does any of the pictures mined make it positive anywhere? And of its nine strongest
# pictures, how many are of the class that is most frequent among them? Drawn by lot, some would be,
# too:

# %%
from internals.activations import class_purity

lot = torch.Generator().manual_seed(chapter.seed)
blindly = torch.randint(len(pictures), (5000, 9), generator=lot)
by_lot = 9 * class_purity(blindly, pictures.labels)
pure = [9 * class_purity(top[conv].image, pictures.labels) for conv in convs]
silent = [int((top[conv].value[:, 0] <= 0).sum()) for conv in convs]
channels = [len(top[conv]) for conv in convs]
assert sum(channels) == 4224
if chapter.profile != "smoke":
    assert pure[-1] > by_lot

# %% [markdown]
# Is there a layer at which a feature that anything may have becomes one that goes with a class?

# %% tags=["hide-input"]
from internals.figures import dots

columns = {"field": [sees[conv] for conv in convs], "of one class": pure}
columns["silent"] = [s / c for s, c in zip(silent, channels, strict=True)]
show(
    dots(
        convs,
        columns,
        {
            "field": [f"{pixels} px" for pixels in columns["field"]],
            "of one class": [f"{p:.1f} of 9" for p in pure],
            "silent": [percent(share) for share in columns["silent"]],
        },
        caption="Every convolution: what its units see, how many of a channel's nine strongest pictures "
        f"are of one class in the mean (by lot {by_lot:.1f}), and the share of channels that no "
        "picture makes positive. Silent channels are lost to the network for good or ill: no "
        "gradient passes them.",
        alt="Three columns of dots over thirteen layers: fields that grow from 3 to 196 pixels, the "
        "agreement in class, and the share of silent channels.",
    ),
    "channels",
)  # fmt: skip

# %% [markdown]
# ## What the answer rests on
#
# Three instruments ask about a class instead of a channel, here in pictures that drive a channel of
# `conv13` hardest. *Grad-CAM* weighs the maps of `conv13` by how the class score depends on them
# [@selvaraju2017]. *Saliency* is the gradient at each pixel [@simonyan2014]. *Occlusion* covers one
# place after the other with a grey square, a sixth of the picture wide, and watches the probability
# of the class [@zeiler2014]:

# %%
best = top["conv13"].image[:, 0].flip(0)
one_each = {int(pictures.labels[i]): int(i) for i in best}
shown = pictures.subset(torch.tensor(list(one_each.values())[:3]))
inputs, labels = net.inputs(shown)[:], shown.labels
square = {"size": recipe.size // 6, "stride": recipe.size // 8}
covered = net.occlusion(inputs, labels, score=run.loss.probabilities, **square)
scores = net.capture(inputs, ["fc3"])["fc3"].flatten(1)
probability = run.loss.probabilities(scores).gather(1, labels[:, None])

# %% [markdown]
# The drop of the probability at a pixel is the mean over the squares that lie on it. What is below
# 0 became likelier when it was covered:

# %%
from internals.projection import occlusion_map

maps = [
    net.grad_cam(inputs, "conv13", labels, upsample=True),
    net.saliency(inputs, labels),
    occlusion_map(covered, probability[:, 0], inputs.shape[-2:], **square),
]

# %% [markdown]
# Where all three speak of the same place, the answer rests on it:

# %% tags=["hide-input"]
show(
    overlays(
        list(shown.images.numpy() / 255),
        [[m[n].numpy() for m in maps] for n in range(len(shown))],
        ["Grad-CAM, conv13", "saliency", "covered"],
        names=[names[label] for label in labels],
        caption="Training pictures of different classes, with three maps of evidence for their class. "
        "Below each map stands its largest value; in the last column that is a probability, and "
        "blue marks places whose covering makes the network surer. Grad-CAM and covering should "
        "agree; where a bright place can be covered without a loss, it was used and not needed.",
        alt="Rows of one picture and three heat maps over it: Grad-CAM blobs, a scatter of salient "
        "pixels, and a coarse map of what covering a place does.",
    ),
    "evidence",
)

# %% [markdown]
# ## Which pictures to believe
#
# Guided backpropagation draws handsome pictures of networks like this one. Here is the control of
# every chapter, to see what they are worth. The weights are replaced by untrained ones, `conv13` first, then one layer
# more at a time [@adebayo2018], and the strongest unit of each of the first channels is projected
# again, four channels at the quick profile and twelve at the full one. The untrained weights are
# those of `vgg16` above, whose convolutions are still drawn after He and others:

# %%
count = chapter.at(smoke=2, quick=4, full=12)
units = top["conv13"][:count].head(1)
control = net.sanity(pictures, units, untrained=vgg16, stages=convs[::-1])

# %% [markdown]
# One unit, each time another whole block has lost its weights:

# %% tags=["hide-input"]
ends = [0, 1, 3, 6, 9, 11, 13]
show(
    comparison(
        [[row[step] for step in ends] for row in control.pictures()],
        ["trained", "conv13", "block 5", "and 4", "and 3", "and 2", "all"],
        names=control.names,
        notes=[[row[step] for step in ends] for row in control.notes()],
        shared=False,
        caption="The strongest unit of channel 0 of conv13 as trained, then with untrained weights in "
        "conv13, in the whole fifth block, and so on down to all thirteen layers. ρ is the rank "
        "correlation with the trained picture, the mean over all units tried. Compare the rows: "
        "which of them still shows you the picture on the right?",
        alt="Three rows of seven projections of one unit, from the trained network on the left to "
        "the untrained one on the right, with a rank correlation under each.",
    ),
    "control",
)

# %% [markdown]
# The whole cascade as numbers. A picture that came from what was learned has to fall at the first
# step:

# %% tags=["hide-input"]
gradient, deconvnet, guided = left = control.magnitudes.mean(axis=2)
show(
    lines(
        np.arange(14),
        dict(zip(control.names, left, strict=True)),
        xlabel="convolutions with untrained weights, from the top",
        ylabel="rank correlation with the trained picture",
        caption="What is left of the trained picture as layers forget, from conv13 downwards, by rule. "
        "High and level means that the weights replaced so far had no part in the picture. Follow "
        "guided and gradient: the distance between them is what the rule at the rectifiers added.",
        alt="Three lines from one at zero untrained layers to lower values at thirteen.",
    ),
    "cascade",
)
if chapter.profile != "smoke":  # which has nothing to lose
    assert guided[1:].mean() > gradient[1:].mean() - 0.1

# %% [markdown]
# If not the weights, what does it draw? The suspicion is: the picture, or rather its edges
# [@nie2018]. An edge needs no network. Take the difference of each pixel from its neighbours, and
# see how well its order of magnitudes agrees with that of the projections, inside the units' fields:

# %%
from scipy.stats import spearmanr

seen = net.receptive_field("conv13")
inputs = net.inputs(pictures)[units.image[:, 0]]
around = functional.avg_pool2d(inputs, 3, 1, 1, count_include_pad=False)
edges = (inputs - around).abs().sum(dim=1).numpy()


def likeness(pictures):
    """The mean rank correlation of projections with their pictures' edges."""
    each = []
    for unit, picture, edge in zip(
        units.units(), pictures, edges, strict=True
    ):
        top, left, bottom, right = seen.box(unit.row, unit.column)
        inside = slice(max(top, 0), bottom), slice(max(left, 0), right)
        strength = np.abs(picture).sum(axis=0)
        each.append(spearmanr(strength[inside], edge[inside], axis=None)[0])
    return float(np.nanmean(each))


# %% [markdown]
# The last column is the verdict. There no weight of any convolution is trained, so that whatever
# likeness it holds was given away for free:

# %%
alike = {
    rule: [likeness(steps[0]), likeness(steps[-1])]
    for rule, steps in zip(control.names, control.maps, strict=True)
}
show(
    Table.of(
        ("rule", "left without conv13", "left without any", "edges, trained", "edges, untrained"),
        (
            (rule, f"{row[1]:.2f}", f"{row[-1]:.2f}", *(f"{x:.2f}" for x in alike[rule]))
            for rule, row in zip(control.names, control.magnitudes.mean(axis=2), strict=True)
        ),
        caption="Rank correlations of a projection's magnitudes: with the trained projection after "
        "conv13, then all convolutions, have lost their weights, and with the edges of the picture, "
        "for the trained and the untrained network.",
    ),
    "edges",
)  # fmt: skip
if chapter.profile != "smoke":
    assert alike["guided"][1] > alike["gradient"][1] - 0.1

# %% [markdown]
# So the panels above are read from their patches: what drives a channel is what its patches share.
# A guided projection says which edges lie where the unit could be reached from, and a sharp one is
# no proof of a sharp feature.
#
# ## Key features
#
# - **Windows of 3 × 3 only**: three see 7 × 7, with fewer weights and more rectifiers.
# - **Depth is cheap to store**: eight more layers add 8 % to the parameters, nearly three quarters of
#   which lie in one full connection.
# - **A plain stack multiplies**: a factor a layer that is not near 1 leaves nothing to learn from.
# - **Full connections are convolutions**: slid over a larger picture, a classifier becomes a map.
# - **No response normalisation**: the paper tried it in network A, and it did not help.
#
# ## Do this with your own network
#
# How much a unit of your network sees is computed from its graph, not looked up. `mine:network`
# stands for the function or class `network` in your file `mine.py`:
#
# ```sh
# internals summary mine:network --weights mine.pth --input 3,224,224
# internals project mine:network --weights mine.pth --layer conv2 \
#     --images photos --out panel.png
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
# ```python
# from internals import Network
#
# field = Network.open("mine:network").receptive_field("conv2")
# print(field.size, field.stride)
# ```
#
#
# ## Exercises
#
# 1. Draw the convolutions of `VGG16(batch_norm=True)` with a deviation of 0.01 and send a batch
#    through it in training mode. How large are the sums of `conv13`, and why?
# 2. Give `tower` a stride of 2 in its first layer. How do its fields grow, and what is lost?
# 3. Repeat the control with units of `conv7`. From which layer on does the guided row fall?
#
# Fifteen thousand million multiply-adds for one answer: the network that won the contest of 2014
# made do with a tenth of them, by asking at several scales at once:
# [InceptionNet](04_inceptionnet.py).
