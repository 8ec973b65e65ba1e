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
# title: LeNet-5's adversaries
# thumbnail: one-step
# description: Changes too small to matter to a reader of digits that undo LeNet-5, and what training against them does.
# data: mnist
# ---

# %% [markdown]
# # Adversaries: how little it takes
#
# A network that reads nearly every test digit can be made to misread nearly every one of them, by a
# change of the pixels that leaves each digit as readable as before [@szegedy2014; @goodfellow2015].
# The change is not found by luck. It is computed from the network's own gradient, the same backward
# pass that trains it, stopped one layer later: at the pixels.
#
# **What you will see**
#
# - one step and many small steps that fool LeNet-5, measured in grey levels of the image;
# - an output layer that seems to withstand the attack, and why that is not to be believed;
# - what training on attacked digits buys, what it costs, and what becomes of the filters.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## Two networks
#
# We attack the network of [LeNet-5](01_lenet5.py), which answers with distances to ten bitmaps, and
# a sibling that ends in ten logits and a softmax, as networks do today. Everything before the
# output layer is nearly the same. The sibling's recipe is one that will be used with an adversary
# further down, here without; in a quick run it is a short one:

# %%
from dataclasses import replace

import torch

from internals import Network, load
from internals.training import find_recipe, trained

digits = load("mnist", chapter.data, seed=chapter.seed)


def make(name, **changes):
    recipe = replace(find_recipe(name, chapter.profile), **changes)
    run = trained(recipe, digits, seed=chapter.seed)
    run.model.to(memory_format=torch.channels_last)  # attacks are faster
    adversary = type(recipe.adversary).__name__ if recipe.adversary else "none"
    kind = f"{recipe.network}, adversary {adversary}"
    print(f"{kind}: {run.test.top1:.2%} of the test digits right")
    return Network.of(run)


rbf, softmax = make("lenet5"), make("lenet5-softmax-pgd", adversary=None)

# %% [markdown]
# An attack goes forward and backward through the network once for every step, so how many digits
# are attacked decides how long this chapter takes: the whole test set in a full run, its first four
# hundred in a quick run (which is all of it where the embedded digits are used). Every table says
# how many it stands on.

# %%
tested = digits.test.head(chapter.at(smoke=40, quick=400))
steps = chapter.at(smoke=2, quick=10, full=20)
pixels, true = tested.images / 255, tested.labels.numpy()
print(f"{len(tested):,} test digits; {steps} steps where there are many")

# %% [markdown]
# ## One step
#
# Training moves the weights so that the loss falls. The *fast gradient sign method* leaves the
# weights alone and moves the pixels so that it rises [@goodfellow2015]. Every pixel may change by
# $\varepsilon$ and no more. Against a linear network it would be best to use all of it, each pixel
# in the direction of its own gradient:
#
# $$
# x' = \operatorname{clip}_{[0,1]}\bigl(x + \varepsilon \operatorname{sign} \nabla_x J(x, y)\bigr).
# $$
#
# We count $\varepsilon$ in pixels, paper 0 and ink 1, so that 0.1 is 25 of 255 grey levels whatever a
# network makes of them. LeNet-5 reads −0.1 to 1.175: there the same step is 1.275 times as long and
# the range another. Once by the package, once by hand:

# %%
from internals.attacks import fgsm

few, labels = pixels[:20], tested.labels[:20]
to_input, loss = rbf.normalization, rbf.loss
moved = fgsm(rbf.model, few, labels, 0.1, normalization=to_input, loss=loss)
inputs = to_input.apply(255 * few).requires_grad_()
(slope,) = torch.autograd.grad(loss(rbf.model(inputs), labels), inputs)
by_hand = (inputs + 1.275 * 0.1 * slope.sign()).clamp(-0.1, 1.175)
assert torch.allclose(by_hand, to_input.apply(255 * moved), atol=1e-5)

# %% [markdown]
# Six digits before and after. `SignedSteps()` is that one step as an attack on any network:

# %%
import numpy as np

from internals.attacks import SignedSteps, perturb, predict

one_step = SignedSteps()
changed = perturb(rbf, tested, 0.1, one_step)
before, after = predict(rbf, pixels), predict(rbf, changed)
fooled = (before.predicted == true) & (after.predicted != true)
shown = np.argsort(~fooled, kind="stable")[:6]
print(f"{fooled.sum():,} of {len(tested):,} digits fooled")

# %% [markdown]
# Under each digit stands what it is taken for and the posterior of that answer. What is added is
# drawn magnified, for on the scale of the images it would be hard to see:

# %% tags=["hide-input"]
from internals.figures import percent, perturbations

show(
    perturbations(
        pixels[shown].numpy(),
        changed[shown].numpy(),
        *(
            [f"{s.predicted[i]}  {percent(s.confidence[i], 0)}" for i in shown]
            for s in (before, after)
        ),
        fooled=fooled[shown],
        caption="Six test digits, what one step of 0.1 adds to them (magnified as said beside the "
        "row, amber towards ink, blue towards paper), and the sum; fooled ones first, their answer "
        "in colour. You would read all six as before. On blank paper only amber can be added: there "
        "is nothing for blue to take away.",
        alt="Six columns of three pictures: a clean digit, a blotchy pattern of two colours, and the "
        "digit on a speckled ground, with the network's answers below the first and third.",
    ),
    "one-step",
)

# %% [markdown]
# ## Chance does not do it
#
# The network is not simply afraid of a dirty page. As a control every pixel goes up or down by the
# same $\varepsilon$, but by the toss of a coin:

# %%
from internals.attacks import RandomSigns, correct_under_attack

epsilons = [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
if chapter.profile == "smoke":
    epsilons = [0.0, 0.1, 0.15, 0.2]
networks = {"RBF": rbf, "softmax": softmax}
coin = RandomSigns(chapter.seed)
single = {
    f"{name}, {kind}": correct_under_attack(
        net, tested, epsilons, [attack]
    ).mean(axis=1)
    for name, net in networks.items()
    for kind, attack in {"coin": coin, "FGSM": one_step}.items()
}

# %% [markdown]
# Each $\varepsilon$ here stands for itself, and nothing forces the curves to fall:

# %%
from internals.figures import lines


def draw(curves, name, **words):
    x, y = "ε, the most that a pixel changes", "share read rightly"
    figure = lines(np.array(epsilons), curves, xlabel=x, ylabel=y, **words)
    show(figure, name)


draw(
    single,
    "one-step-curves",
    caption="What one step does to the network with distances to bitmaps (RBF) and to the one with "
    "a softmax, and what the same amount of noise does; black to white is ε = 1. The gap between "
    "coin and FGSM is what the direction is worth. Compare the two FGSM curves at the right: one "
    "network seems to stand.",
    alt="Four falling curves from near the top left. Those for random noise fall late, that for FGSM "
    "on the softmax network first and lowest, that for FGSM on the RBF network more slowly.",
)

# %% [markdown]
# In numbers, for a step of 0.1:

# %%
at = epsilons.index(0.1)
for name, curve in single.items():
    print(f"{name}: {curve[at]:.1%}")
if chapter.profile != "smoke":
    assert single["RBF, FGSM"][at] < single["RBF, coin"][at] - 0.05
    assert single["softmax, FGSM"][at] < single["softmax, coin"][at] - 0.05

# %% [markdown]
# ## Many small steps
#
# One long step trusts that the loss is a plane. *Projected gradient descent* takes short ones and
# looks again after each, and brings every pixel back to within $\varepsilon$ of where it was and
# to [0, 1], which is the projection $\Pi$ [@madry2018]. It sets out from a random place in the
# ball, so as not to depend on the spot where the digit happens to lie:
#
# $$
# x^{t+1} = \Pi_{x + \mathcal{S}}\bigl(x^t + \alpha \operatorname{sign} \nabla_x J(x^t, y)\bigr).
# $$
#
# If the gradient is of use at all, the loss it reaches must be larger:

# %%
from internals.attacks import forward

many_steps = SignedSteps(steps, seed=chapter.seed)
for net in networks.values():
    once, often = (
        net.loss(forward(net, perturb(net, tested, 0.1, a)), tested.labels)
        for a in (one_step, many_steps)
    )
    print(f"mean loss {once:.2f} after one step, {often:.2f} after {steps}")
    assert often > once or chapter.profile == "smoke"

# %% [markdown]
# ## Is the RBF network robust?
#
# The authors of the one-step attack saw the same with a shallow network of radial basis functions:
# 55.4 % errors at $\varepsilon = 0.25$, where a softmax had 99.9 % [@goodfellow2015]. But a network
# can also survive because the attack is led astray, and such *obfuscated gradients* have made many
# a defence look better than it was [@athalye2018]. A first suspect is a gradient of exactly 0, for
# the sign of 0 is 0 and the pixel stays. A second is the place it points to:

# %%
from internals.attacks import input_gradient

for name, net in networks.items():
    slope = input_gradient(
        net.model, pixels, tested.labels, normalization=to_input, loss=net.loss
    )
    print(f"{name}: {(slope == 0).float().mean():.2%} of the gradients are 0")
distances = forward(rbf, perturb(rbf, tested, 0.25, one_step))
rubbish = 1 - rbf.loss.probabilities(distances).sum(dim=1)
print(
    f"one step of 0.25 gives {rubbish.mean():.0%} of the posterior to rubbish"
)

# %% [markdown]
# The MAP loss keeps an eleventh class, rubbish, and for a digit that is read with confidence rubbish
# is the only rival: every other bitmap is too far away to have a say in the gradient. So the step
# makes digits into rubbish, which was not the aim. To be misread a digit must come nearer to a wrong
# bitmap than to its own. That is a loss too, the *margin* between the best wrong score and the right
# one [@carlini2017], and no confidence makes it flat. As a check that asks nothing of a network's
# own gradient, a last attack borrows what fools the sibling:

# %%
margin = SignedSteps(steps, "margin", chapter.seed)


def attacks_with(sibling):
    borrowed = replace(margin, surrogate=sibling)
    yield "one step, own loss", [one_step]
    yield f"{steps} steps, own loss", [many_steps]
    yield f"{steps} steps, margin", [margin]
    yield "borrowed from the other", [borrowed]
    yield "all", [margin, many_steps, one_step, borrowed]


# %% [markdown]
# The last row counts a digit as standing only if none of the four fools it. If the borrowed attack
# did best, the network's own gradient would be at fault:

# %%
from internals.figures import Table

siblings = {"RBF": softmax, "softmax": rbf}
standing = {
    name: {
        kind: correct_under_attack(net, tested, [0.1], attacks).mean()
        for kind, attacks in attacks_with(siblings[name])
    }
    for name, net in networks.items()
}
show(
    Table.of(
        ("attack, ε = 0.1", *standing),
        [
            (kind, *(percent(shares[kind]) for shares in standing.values()))
            for kind in standing["RBF"]
        ],
        caption=f"The share of {len(tested):,} test digits that is still read rightly after each attack of one and "
        "the same size. Read down a column: the lowest single row is the best attack, and what the "
        "first row has more than that is robustness that was never there.",
    ),
    "attacks-compared",
)

# %% [markdown]
# From here on a network stands only if it stands all attacks that follow its own gradient. A larger
# ball holds all smaller ones, so a digit that was fooled at one $\varepsilon$ counts as fooled at
# every larger one without being attacked again: these curves fall by construction.

# %%
strongest = [margin, many_steps, one_step]


def robust_accuracy(net):
    correct = correct_under_attack(
        net, tested, epsilons, strongest, nested=True
    )
    return correct.mean(axis=1)


under_attack = {name: robust_accuracy(net) for name, net in networks.items()}

# %% [markdown]
# The curve that looked like robustness is drawn beside them:

# %% tags=["hide-input"]
draw(
    under_attack | {"RBF, FGSM": single["RBF, FGSM"]},
    "strongest-attack",
    caption="Both networks under the strongest of three attacks, and the RBF network under the "
    "weakest. What lies between the two RBF curves is owed to a weak attack, not to a strong network.",
    alt="Two curves that fall to the bottom well before the right edge, and a third, for FGSM alone on "
    "the RBF network, above them.",
)
if chapter.profile != "smoke":
    assert under_attack["RBF"][-1] < single["RBF, FGSM"][-1]
    assert max(curve[-1] for curve in under_attack.values()) < 0.3

# %% [markdown]
# ## To a class of our choice
#
# An attack can also have an aim. With a target $t$ it makes the loss of $t$ small instead of that of
# the right class large. There is only one way to win, so fewer attacks succeed:

# %%
from internals.attacks import targeted_success

aimed = SignedSteps(steps, "target", chapter.seed)
reached = targeted_success(rbf, tested, 0.15, aimed)
misread = 1 - under_attack["RBF"][epsilons.index(0.15)]
print(f"misread {misread:.1%}, and as intended {np.nanmean(reached):.1%}")
assert np.nanmean(reached) < misread or chapter.profile == "smoke"

# %% [markdown]
# Which digits can be turned into which?

# %% tags=["hide-input"]
from internals.figures import pairs

show(
    pairs(
        reached,
        tested.class_names,
        rows="what it is",
        columns="what it is to be read as",
        caption="Of the test digits of each class (rows), how many per cent are read as each other class "
        "(columns) after a targeted attack with ε = 0.15. Look for columns that are easy to reach "
        "from anywhere, and for rows that resist: where strokes would have to be drawn or wiped "
        "out, 0.15 of black is little.",
        alt="A ten by ten matrix of percentages with an empty diagonal, and the means at the right "
        "and below.",
    ),
    "targeted",
)

# %% [markdown]
# ## Four demonstrations, done again
#
# One of the notebooks that this book grew from shows four attacks on one digit, number 2 of the test
# set. Its images were standardised, so its steps were counted in standard deviations of 0.3081, and
# three of the four results were then clipped to 0 to 255. Paper, which is −0.42 there, came out as
# 0: even $\varepsilon = 0$ changed most pixels, and by more than the smaller $\varepsilon$ allowed.
# Here are the four with their units put right, on our softmax network:


# %%
def demonstrate(attack, size, target):
    aimed = tested
    if target is not None:
        aimed = replace(tested, labels=torch.full_like(tested.labels, target))
    answers = predict(softmax, perturb(softmax, aimed, size, attack)).predicted
    won = answers != true
    if target is not None:
        won = (answers == target)[true != target]
    return f"read as {answers[2]}", percent(won.mean())


# %% [markdown]
# The third column is what the notebook printed, the fourth what happens to digit 2 here, and the
# last what it had no column for:

# %%
demonstrations = [
    ("one step", "read as 4", 1, 0.7, None),
    ("one step to 8", "failed", 1, 0.2, 8),
    ("25 steps", "read as 8", 25, 0.2, None),
    ("20 steps to 8", "failed", 20, 0.3, 8),
]
rows = []
for name, theirs, count, size, target in demonstrations:
    attack = SignedSteps(count, "loss" if target is None else "target")
    ours = demonstrate(attack, 0.3081 * size, target)
    rows.append((name, f"{0.3081 * size:.3f}", theirs, *ours))
digit = f"digit 2, a {tested.class_names[true[2]]}"
show(
    Table.of(
        ("attack", "ε in pixels", "the notebook", digit, "of all digits"),
        rows,
        caption=f"The four demonstrations on one digit, and the share of {len(tested):,} test digits on which each "
        "succeeds (where there is a target, without the digits of its class). One digit says nothing "
        "about a network.",
    ),
    "demonstrations",
)

# %% [markdown]
# ## Training against an adversary
#
# If the attack is known, why not train on it? The weights are to make small what the adversary makes
# as large as it can [@madry2018]:
#
# $$
# \min_\theta\; \operatorname{E}_{(x, y)} \Bigl[\, \max_{\lVert \delta \rVert_\infty \le \varepsilon}
# J(\theta, x + \delta, y) \Bigr].
# $$
#
# The inner maximum is approximated by an attack on the weights of the moment: one step, as in the
# adversarial training of 2014, or several, as in that of 2017. Half of each batch stays clean. We
# train the network with the softmax, whose loss has no rubbish for an attack to run into. The one
# above has seen the same clean digits in as many steps, so the adversary is all that is different:

# %%
hardened = {
    "clean digits": softmax,
    "FGSM": make("lenet5-softmax-fgsm"),
    "PGD": make("lenet5-softmax-pgd"),
}

# %% [markdown]
# The adversary is a part of the recipe:

# %% tags=["hide-input"]
from internals.training import hyperparameters

recipe = find_recipe("lenet5-softmax-pgd", chapter.profile)
show(
    Table.of(
        ("hyperparameter", "here", "LeNet-5’s paper"),
        hyperparameters(recipe, digits.train),
        caption="The recipe of the network trained against many steps. The one trained against a single step "
        "differs in the adversary alone.",
    ),
    "recipe",
)

# %% [markdown]
# What has it bought, and against whom? One column is for a single step, one for the strongest of the
# three attacks, both of the size that was trained against:

# %%
curves = {
    "clean digits": under_attack["softmax"],
    **{name: robust_accuracy(hardened[name]) for name in ("FGSM", "PGD")},
}
at = epsilons.index(0.2)
once = {
    name: correct_under_attack(net, tested, [0.2], [one_step]).mean()
    for name, net in hardened.items()
}
show(
    Table.of(
        ("trained on", "clean", "one step, ε = 0.2", "strongest, ε = 0.2"),
        [
            (name, percent(c[0]), percent(once[name]), percent(c[at]))
            for name, c in curves.items()
        ],
        caption=f"Accuracy on {len(tested):,} test digits. Compare the last two columns in each row: a network "
        "that is much better against one step than against many has learned to mislead that step. The "
        "first column is the price.",
    ),
    "hardened",
)

# %% [markdown]
# The same for every $\varepsilon$, under the strongest of three attacks:

# %% tags=["hide-input"]
draw(
    curves,
    "hardened-curves",
    marks={"trained against": 0.2},
    caption="The softmax network trained on clean digits, against one step and against many. At the "
    "left the price in clean accuracy, at the mark what was trained for, and to its right what was "
    "not.",
    alt="Three falling curves. The one for training on clean digits falls first, then the one for "
    "FGSM; the one for PGD falls last.",
)
if chapter.profile != "smoke":
    assert np.mean(curves["PGD"]) > np.mean(curves["clean digits"]) + 0.05
if chapter.profile == "full":
    assert curves["PGD"][at] > curves["clean digits"][at] + 0.05

# %% [markdown]
# ### What becomes of the filters
#
# All three networks began with the same weights, so filter 0 of one is filter 0 of the others grown
# up in other company. An adversary moves the sum of a unit of conv1 by at most $\varepsilon$ times
# the sum of its kernel's magnitudes, $\lVert w \rVert_1$. What can the layer do about it?

# %%
from internals.figures import comparison

kernels = {
    name: net.model.conv1.weight.detach().contiguous().numpy()
    for name, net in hardened.items()
}
reach = {
    name: np.abs(kernel).sum(axis=(1, 2, 3))
    for name, kernel in kernels.items()
}

# %% [markdown]
# Compare down a column:

# %% tags=["hide-input"]
show(
    comparison(
        list(kernels.values()),
        [f"filter {index}" for index in range(6)],
        names=list(kernels),
        notes=[[f"‖w‖₁ {one:.2f}" for one in each] for each in reach.values()],
        caption="The six kernels of conv1 after training on clean digits, against one step and against "
        "many, on one scale; amber adds where there is ink. Under each stands the sum of its "
        "magnitudes, the reach that it gives an adversary. Look which kernels have changed their "
        "drawing and which only their strength.",
        alt="Three rows of six small kernels in two colours with a number under each.",
    ),
    "filters",
)

# %% [markdown]
# Two numbers for each row: the mean reach, and how much of a kernel's magnitude sits in its five
# largest weights of twenty-five, which would be 20 % if all were equal. Madry and others found in
# their robust network for MNIST that few first filters were left, and that those worked as
# thresholds [@madry2018]. See whether ours go that way:

# %%
for name, kernel in kernels.items():
    sizes = np.sort(np.abs(kernel).reshape(6, 25), axis=1)
    top = sizes[:, -5:].sum(axis=1) / reach[name]
    print(
        f"{name}: reach {reach[name].mean():.2f}, five largest {top.mean():.0%}"
    )

# %% [markdown]
# ## May a network refuse?
#
# LeNet-5's output layer can say "none of these": what its ten posteriors leave of 1 belongs to
# rubbish. The radial basis network of 2014 was wrong on 55.4 % of attacked digits, but with a mean
# confidence of 1.2 % on its mistakes, where a softmax was 79.3 % sure [@goodfellow2015]. A mistake
# that is refused does no harm. So count the digits that are misread *and* accepted, with a posterior
# of at least one half. And let the adversary know the rule: the last attack makes the posterior of
# the likeliest wrong class as large as it can.

# %%
accepted = SignedSteps(steps, "runner-up", chapter.seed)


def outcome(net, attack):
    answers = predict(net, perturb(net, tested, 0.25, attack))
    wrong, sure = answers.predicted != true, answers.confidence >= 0.5
    confidence = answers.confidence[wrong].mean() if wrong.any() else 0.0
    return wrong.mean(), confidence, 1 - sure.mean(), (wrong & sure).mean()


# %% [markdown]
# Three attacks on three networks, the last one trained against many steps, with $\varepsilon = 0.25$
# as in that paper:

# %%
networks["softmax, PGD"] = hardened["PGD"]
attacks = {"one step": one_step, "margin": margin, "acceptance": accepted}
outcomes = {
    (name, kind): [float(share) for share in outcome(net, attack)]
    for name, net in networks.items()
    for kind, attack in attacks.items()
}
columns = ("misread", "confidence then", "refused", "misread, accepted")
show(
    Table.of(
        ("network", "attack", *columns),
        [(*key, *map(percent, shares)) for key, shares in outcomes.items()],
        caption=f"Refusal under attack, {len(tested):,} test digits, ε = 0.25. The confidence is the mean "
        "posterior of the wrong answers. Read the last column from attack to attack: refusing helps "
        "against an adversary that does not know of it, and less against one that does.",
    ),
    "refusal",
)

# %% [markdown]
# So the old result says as much about the attack as about the network. Nothing forces a point that
# one step has driven from its own bitmap to arrive at another, and far from all of them it is
# refused. An adversary with more steps, and with the rule in its loss, finds its way to a wrong
# bitmap more often. What a defence is worth is told by the best attack on it, and we know only the
# best that we have tried. In this run, the
# share of all digits that the RBF network misreads and accepts:

# %%
careless, aware = (outcomes["RBF", k][-1] for k in ("one step", "acceptance"))
print(f"one step {careless:.1%}, an adversary who knows {aware:.1%}")
assert aware > careless or chapter.profile == "smoke"
chapter.record(
    fgsm_rbf=standing["RBF"]["one step, own loss"],
    all_rbf=standing["RBF"]["all"],
    all_softmax=standing["softmax"]["all"],
    pgd_trained=float(curves["PGD"][at]),
)

# %% [markdown]
# ## Key features
#
# - **The gradient reaches the pixels**, and its sign is enough: one step of 25 grey levels.
# - **The unit is the pixel.** Normalisation rescales inputs, here by 1.275, and no attack.
# - **A weak attack flatters.** The MAP loss leads one step to rubbish; the margin goes where it hurts.
# - **Adversarial training** buys accuracy under attack; what it costs on clean digits stands beside it.
# - **Refusal** by distance helps against an adversary who has not heard of it, and less against one who has.
#
# ## Do this with your own network
#
# How far must the pixels of your pictures move before your network changes its mind? `mine:network`
# stands for the function or class `network` in your file `mine.py`:
#
# ```python
# from internals import Network, read_folder
# from internals.attacks import fgsm
# from internals.training import CrossEntropy
#
# net = Network.open("mine:network", weights="mine.pth")
# photos = read_folder("photos").images.head(4)
# answers = net.model(net.inputs(photos)[:]).argmax(dim=1)
# fooled = fgsm(
#     net.model, photos.images / 255, answers, epsilon=8 / 255,
#     normalization=net.normalization, loss=CrossEntropy(),
# )
# ```
#
# ```sh
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
#
# ## Exercises
#
# 1. Transfer what fools the softmax network to the one trained on PGD, with `surrogate=softmax`. Is its
#    own gradient the better guide?
# 2. Train `lenet5-pgd`, the same with the RBF output. Which of the two pays more on clean digits?
# 3. Raise the rubbish penalty $j$ of `find_recipe("lenet5", "quick")` to 50 with
#    `dataclasses.replace`, train, and draw the FGSM curve again. Does the "robustness" stay?
#
# One network has been taken apart down to its weaknesses; the
# [last chapter](10_side_by_side.py) sets all six side by side.
