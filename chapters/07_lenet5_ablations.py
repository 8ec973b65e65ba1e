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
# title: LeNet-5, one part at a time
# thumbnail: rates
# description: Each part of LeNet-5 exchanged in turn, several seeds each, and which differences are more than noise.
# data: mnist
# ---

# %% [markdown]
# # Ablations: what each part of LeNet-5 is worth
#
# A paper about a network is a list of choices, and the network works with all of them at once.
# Which of them matter? The way to find out is to change one, leave the rest alone, and train again.
# And then to train the very same network again with another seed, because that too changes the
# score. A difference is worth talking about only if it is larger than what seeds do by themselves.
#
# **What you will see**
#
# - every choice in LeNet-5 exchanged for its usual alternatives, from the input to the optimiser;
# - how far one and the same network scatters from seed to seed, and what that hides;
# - a plain verdict on every difference, corrected for how many were looked at.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## The default, and what is changed about it
#
# The default is the network of [LeNet-5](01_lenet5.py#the-whole-network), with the MAP loss and AdamW. The
# runs are short, for there are many of them:

# %%
from internals.ablations import plan

planned = plan(chapter.profile)
default = planned.default
print(
    f"{len(planned.arms())} arms, {len(planned.seeds)} seeds each; a run sees "
    f"{planned.presentations:,} digits, {default.batch_size} a step, "
    f"highest rate {default.optimizer.lr:g}"
)

# %% [markdown]
# An *arm* is one way to build and train the network. Each arm differs from the default in one
# *factor*. Here are the factors with the levels that are tried:

# %% tags=["hide-input"]
from internals.figures import Table

show(
    Table.of(
        ("factor", "levels"),
        [
            (factor.name, "; ".join(level for level, _ in factor.levels))
            for factor in planned.factors
        ],
        caption="The factors and their levels at this profile. Every factor has the default among "
        "its levels, or is compared with it.",
    ),
    "factors",
)

# %% [markdown]
# The digits come in a 32 × 32 field, as in chapter 1, and test digits judge the arms. No epoch and
# no arm is chosen by their score, nor is the default: its rate is the one of a handful that read
# held-out training digits best at its batch size. The arms have no rate of their own, except where
# the rate is what is varied. A seed decides the first weights, the order of the digits, and how each
# is distorted. Arms share their seeds:

# %%
from internals import load

digits = load(
    "mnist", chapter.data, seed=chapter.seed, most=chapter.most_images
)

# %% [markdown]
# Now all of them are trained, one thread each, as many side by side as there are cores. Every run
# is kept as soon as it is over, so a sweep that was stopped goes on where it was, and a second
# reading of this chapter trains nothing:

# %%
from internals.ablations import sweep

swept = sweep(
    planned.arms(),
    planned.seeds,
    digits,
    images=planned.images,
    tested=planned.tested,
)
reference = swept.result("default", default)

# %% [markdown]
# ## How much of a score is luck?
#
# Before any comparison, here is the default against itself. The only difference between these runs
# is the seed:

# %%
from internals.figures import percent

for seed, score in zip(swept.seeds, reference.scores, strict=True):
    print(f"seed {seed}: {percent(score, 2)} of {swept.tested:,} test digits")
print(
    f"mean {percent(reference.mean, 2)}, s = {100 * reference.std:.2f} points"
)

# %% [markdown]
# A single run of each arm could show a difference of this size where there is none. So we compare
# means, and ask of each difference how often chance alone would make one so large. Welch's test
# [@welch1947] answers that without supposing that both arms scatter alike: with $n$ seeds each and
# sample standard deviations $s_a$ and $s_0$, it judges
#
# $$
# t = \frac{\bar x_a - \bar x_0}{\sqrt{s_a^2/n + s_0^2/n}} .
# $$
#
# Of many comparisons some come out at the 5 % level by chance. Holm's correction [@holm1979] asks
# more of each, so that the risk of one false alarm among *all* of them stays below 5 %. A
# difference that passes this *exceeds the noise*; one that would only pass if it were the sole
# comparison gets a *perhaps*; all others are *within the noise*. No spread is taken for smaller
# than one test digit.

# %%
from internals.ablations import compare

others = [
    swept.result(name, arm)
    for arm, name in planned.names().items()
    if arm != default
]
comparisons = compare(reference, others, least=1 / swept.tested)

# %% [markdown]
# Within the noise does not mean equal. It means that so few seeds cannot tell. How large a
# difference must be for a verdict depends on the seeds; for two arms that scatter like the
# default, before and after the correction:

# %%
from scipy.stats import t as student

n = reference.n
error = max(reference.std, 1 / swept.tested) * (2 / n) ** 0.5
for name, risk in [
    ("one comparison", 0.05),
    ("corrected", 0.05 / len(others)),
]:
    needed = student.ppf(1 - risk / 2, 2 * n - 2) * error
    print(f"{name}: a difference of {100 * needed:.2f} points")

# %% [markdown]
# Two small functions for the rest of the chapter: one draws the runs of some factors, the other
# prints their verdicts.

# %%
from internals.figures import replicates


def chart(*names, caption, alt):
    return replicates(
        {name: swept.errors(planned.factor(name)) for name in names},
        reference=max(1 - reference.mean, 0.5 / swept.tested),
        referred="default",
        measured="test errors",
        caption=caption,
        alt=alt,
    )


def verdicts(*factors):
    for c in comparisons:
        if c.arm.name.partition(":")[0] in factors:
            low, high = 100 * c.low, 100 * c.high
            print(
                f"{c.arm.name}: {100 * c.difference:+.2f} points "
                f"[{low:+.2f}, {high:+.2f}], {c.verdict}"
            )


# %% [markdown]
# ## Input, connections, pooling
#
# The paper surrounds the 28 × 28 field with two pixels of background, so that the end of a stroke
# can reach the centre of the highest fields. Today's readings leave the padding to the first
# convolution, whose zeros are not background (paper is −0.1), or enlarge the digit. The paper's
# C3 follows Table I, with 900 weights fewer. And its sub-sampling has a trained coefficient
# and bias, where we average and others take the maximum. One would expect little of the first, and
# of the second a small price for fewer weights:

# %% tags=["hide-input"]
show(
    chart(
        "input",
        "connections",
        "pooling",
        caption="Test errors by input, connections of C3 and pooling; further left is better. A dot "
        "is one seed, the upright stroke the mean of its row, the dashed line that of the default. "
        "Mean and standard deviation are written at the right.",
        alt="Rows of dots on a logarithmic scale of test errors, one row for each kind of input, "
        "of connections and of pooling, with the mean of each row.",
    ),
    "parts",
)

# %% [markdown]
# The differences to the default in points of accuracy, with Welch's 95 % interval of each by
# itself:

# %%
verdicts("input", "connections", "pooling")

# %% [markdown]
# ## The non-linearity, in every layer
#
# The scaled tanh has a slope above 1 at the origin and targets of ±1 inside its range. A plain tanh
# cannot reach ±1 at all. A ReLU can never be negative, although half of the bitmaps is −1: such
# units are wrong by 1 whatever they do. A sigmoid is worse off still, since it is never near −1, its
# slope is at most 1/4, and six layers multiply six slopes. An earlier notebook that compared
# activations changed them in two fully connected layers only, with sigmoids fixed in the
# convolutions; here every layer changes.
#
# ## Where the weights start
#
# The bound 2.4/F shrinks with the number of inputs $F$ itself, where Xavier's [@glorot2010] and
# Kaiming's [@he2015] shrink with its root; orthogonal matrices [@saxe2014] keep lengths. The paper
# reasons that neighbouring inputs are highly correlated. If so, its weights are right, and if not,
# too small to begin with:

# %% tags=["hide-input"]
show(
    chart(
        "activation",
        "initialisation",
        caption="Test errors by non-linearity and by initialisation, drawn as before. The "
        "initialisation is the paper's for all rows of the first group. Notice which rows stand "
        "near 90 %, the errors of guessing.",
        alt="Rows of dots on a logarithmic scale of test errors, one for each of four "
        "non-linearities and five initialisations.",
    ),
    "activations",
)

# %% [markdown]
# In short runs an arm that starts slowly looks like one that ends badly. These verdicts are about
# runs of this length:

# %%
verdicts("activation", "initialisation")

# %% [markdown]
# ## Output and loss
#
# The ten bitmaps are far apart. The notebook that this book grew from meant to draw codes of ±1, and
# then overwrote them with numbers from U(−0.1, 0.1). Its loss stopped at 0.66. That was no lack of
# training: between ten codes so close together even the best answer is in doubt. Were the 84 values
# free to be anything, the MAP loss could still not fall to zero. It is convex in those values, so
# its floor can be computed:

# %%
import torch

from internals.models import LeNet5Variant
from internals.training import Map

loss = Map(j=5)


def floor(output, seed):
    torch.manual_seed(seed)
    layer = LeNet5Variant(output=output).output
    states = layer.prototypes.detach().clone().requires_grad_()
    descent = torch.optim.LBFGS([states], max_iter=200)

    def energy():
        descent.zero_grad()
        value = loss(layer(states), torch.arange(10))
        value.backward()
        return value

    descent.step(energy)
    return energy().item()


# %% [markdown]
# Beside the floors stand the losses that training came to in its last tenth:

# %%
from statistics import fmean

named = {"bitmaps": "bitmaps", "random-codes": "codes of U(−0.1, 0.1)"}
levels = dict(planned.factor("output").levels)
floors = {o: fmean(floor(o, seed) for seed in swept.seeds) for o in named}
show(
    Table.of(
        ("codes", "least possible loss", "loss at the end of training"),
        [
            (level, floors[o], fmean(run.loss for run in swept.runs(levels[level])))
            for o, level in named.items()
        ],
        caption="The floor of the MAP loss for two kinds of codes, and where training stood at the "
        "end of these runs: means over the seeds. Compare a loss with its floor, not with 0.",
    ),
    "floors",
)  # fmt: skip
assert floors["bitmaps"] < 0.01 and 0.5 < floors["random-codes"] < 0.8

# %% [markdown]
# A floor is not yet an error: the smallest of ten distances may be the right one, however close the
# runners-up. What becomes of the answers? The learned codes start as the bitmaps. Softmax has no
# codes, but ten weighted sums and the cross-entropy:

# %% tags=["hide-input"]
show(
    chart(
        "output",
        caption="Test errors by output layer and its loss, drawn as before. All four stand on the "
        "same 84 units; only what the units are compared with differs.",
        alt="Four rows of dots on a logarithmic scale of test errors: bitmaps, random codes, "
        "learned codes, softmax.",
    ),
    "outputs",
)

# %% [markdown]
# And the verdicts on the four:

# %%
verdicts("output")

# %% [markdown]
# ## Optimiser and learning rate
#
# A learning rate means something for one optimiser only. To compare two at one rate says nothing;
# each has to be swept. SGD has momentum 0.9 here, and AdamW [@loshchilov2019] differs from Adam in a
# weight decay of 0.0001, which in a run as short as this can hardly act:

# %% tags=["hide-input"]
from internals.figures import sweeps

shown = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}
show(
    sweeps(
        {
            title: {
                arm.optimizer.lr: swept.result(level, arm).scores
                for level, arm in planned.factor(name).levels
            }
            for name, title in shown.items()
        },
        xlabel="highest learning rate (log scale)",
        ylabel="test accuracy",
        caption="Test accuracy against the learning rate, a line through the means of each "
        "optimiser and a dot for every seed. Where two agree, the later hides the earlier. Notice how "
        "wide the range is in which each works; a loss that became infinite counts as guessing.",
        alt="Three lines of test accuracy over learning rates on a logarithmic axis: AdamW, Adam "
        "and SGD, with dots for single runs.",
    ),
    "rates",
)  # fmt: skip

# %% [markdown]
# The paper used none of them. Its *stochastic diagonal Levenberg-Marquardt* gives each weight a
# rate of its own, small where the loss bends sharply:
#
# $$
# \epsilon_k = \frac{\eta}{\mu + h_{kk}}, \qquad \mu = 0.02 .
# $$
#
# The second derivatives $h_{kk}$ are passed back through the network like gradients, with every
# weight, input and slope squared. Here is where they stand before the first step:

# %%
from internals import Normalization
from internals.ablations import gauss_newton_diagonal

torch.manual_seed(0)
untrained = LeNet5Variant()
inputs = Normalization.from_range(-0.1, 1.175).apply(digits.train.images[:500])
curvature = gauss_newton_diagonal(untrained, inputs, j=5.0)
weights = {n: p for n, p in untrained.named_parameters() if "weight" in n}
show(
    Table.of(
        ("weights", "mean second derivative", "rate with η = 0.0005"),
        [
            (name, h, 5e-4 / (0.02 + h))
            for name, p in weights.items()
            for h in [curvature[p].mean().item()]
        ],
        caption="Curvature and learning rate by layer, before training, over 500 digits. The first "
        "weights are so small that the loss is nearly flat along all of them, and μ alone sets "
        "the rate.",
    ),
    "curvature",
)

# %% [markdown]
# That does not last: some steps later the values are large, and a rate that went by the old ones
# throws the weights into saturation. The paper measured anew before each pass; in runs this short
# that ended in guessing. So we keep a running estimate, with three hundredths of each new batch in
# it, the share of six that read held-out digits best in the shortest runs. The arm has
# $\eta$ = 0.0005, the rate of the paper's first passes, for the mean gradient of a batch where the
# paper took one digit at a time:

# %% tags=["hide-input"]
show(
    chart(
        "curvature",
        caption="Test errors of the default, trained by AdamW, and of the same network trained by "
        "stochastic diagonal Levenberg-Marquardt with the paper's constants. Drawn as before.",
        alt="Two rows of dots on a logarithmic scale of test errors: AdamW and diagonal LM.",
    ),
    "diagonal",
)

# %% [markdown]
# The verdicts, against AdamW at its default rate:

# %%
verdicts("adamw", "adam", "sgd", "curvature")

# %% [markdown]
# ## Distorted digits
#
# The paper's errors fell from 0.95 to 0.8 % when it added distorted digits. Ours are shifted
# by up to so many pixels in each direction, or turned by up to so many degrees, anew each time
# they are shown, and what comes in from outside is paper. *Half as is* shows every digit twice a
# pass, once undistorted, but no more digits in all. MNIST's digits are centred by their mass, in the
# test set too. A shift prepares for what never comes, so it should cost something; small turns do
# occur:

# %% tags=["hide-input"]
show(
    chart(
        "shift",
        "rotation",
        caption="Test errors by distortion of the training digits, drawn as before. Test digits are "
        "not distorted. All rows have seen the same number of digits.",
        alt="Rows of dots on a logarithmic scale of test errors for several shifts and rotations, "
        "each with and without every second digit left as it is.",
    ),
    "distortions",
)

# %% [markdown]
# Distortion pays when digits are shown so often that they could be learned by heart. In runs as
# short as these there is little to prevent:

# %%
verdicts("shift", "rotation")

# %% [markdown]
# ## Batch size and dropout
#
# All arms see as many digits, so a batch twice as large means half as many steps, here at one and
# the same learning rate. Dropout [@srivastava2014] takes inputs of F6 away at random. Like distortion
# it is a remedy for learning by heart:

# %% tags=["hide-input"]
show(
    chart(
        "batch",
        "dropout",
        caption="Test errors by the number of digits a step and by the share of F6's inputs that "
        "dropout takes away, drawn as before. Larger batches took fewer steps.",
        alt="Rows of dots on a logarithmic scale of test errors for several batch sizes and shares "
        "of dropout.",
    ),
    "batches",
)

# %% [markdown]
# And what they come to:

# %%
verdicts("batch", "dropout")

# %% [markdown]
# ## All verdicts
#
# The whole chapter in one table, the largest losses first:

# %% tags=["hide-input"]
ordered = sorted(comparisons, key=lambda c: c.difference)
show(
    Table.of(
        ("arm", "n", "mean", "s", "difference", "verdict"),
        [
            (c.arm.name, c.arm.n, percent(c.arm.mean, 2), f"{100 * c.arm.std:.2f}",
             f"{100 * c.difference:+.2f}", c.verdict)
            for c in ordered
        ],
        caption="Every arm against the default: number of seeds, mean accuracy on the test digits, "
        "sample standard deviation and difference of means in points, and the verdict after "
        "Holm's correction for all rows.",
    ),
    "verdicts",
)  # fmt: skip

# %% [markdown]
# How many of them would a reader of single runs have reported?

# %%
from collections import Counter

count = Counter(c.verdict for c in comparisons)
print(", ".join(f"{number} {verdict}" for verdict, number in count.items()))
chapter.record(
    arms=len(planned.arms()),
    default_top1=reference.mean,
    default_std=reference.std,
    exceeding=count["exceeds the noise"],
)

# %% [markdown]
# ## Key features
#
# - **One factor at a time**, or a difference has no name.
# - **Several seeds an arm**, with mean and standard deviation: a single run cannot tell a better
#   network from a luckier one.
# - **A correction for the number of comparisons**: look often enough and chance will oblige.
# - **A loss has a floor** that depends on the codes; only what is above it can be learned away.
# - **A verdict holds for runs of this length**, on these digits. A slow start is not a bad end.
#
# ## Do this with your own network
#
# Two runs of one network differ by their seeds alone. `mine:network` stands for the function or
# class `network` in your file `mine.py`: draw the same channels of two of its runs before you
# explain a difference between two networks.
#
# ```sh
# internals project mine:network --weights mine.pth --layer conv2 \
#     --images photos --out first.png
# internals project mine:network --weights another.pth --layer conv2 \
#     --images photos --out second.png
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
#
# ## Exercises
#
# 1. Give the plain tanh codes that it can reach, ±0.8 in place of ±1. Does its verdict change?
# 2. How many seeds would it take to tell apart two arms that differ by half a default standard
#    deviation? Use the formula of $t$ above.
# 3. Sweep the learning rate of the sigmoid network before you condemn it. Which other arms have
#    been judged at a rate that was chosen for another?
#
# So much for what goes into the network. What is in it once it has learned is the subject of
# [LeNet-5 from the inside](08_lenet5_inside.py).
