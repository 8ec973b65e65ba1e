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
# change of the pixels after which a person still reads them [@szegedy2014; @goodfellow2015].
# The change is not found by luck. It is computed from the network's own gradient, the same backward
# pass that trains it, stopped one layer later: at the pixels.
#
# **What you will see**
#
# - one step along the gradient, which fools LeNet-5 more often than noise of its size, and many small
#   steps: together, with changes of at most 0.15, they leave it fewer than one digit in twenty;
# - an output layer that reads about three digits of four after one step, and fewer than one in ten after
#   all attacks together;
# - training on attacked digits: on one step it helps against one step; on many, about nine digits of ten
#   are still read after the worst of three attacks;
# - what becomes of the filters, and of a network that may refuse.

# %%
from internals.book import open_chapter, show

chapter = open_chapter()

# %% [markdown]
# ## Two networks
#
# We attack the network of [LeNet-5](01_lenet5.py), which answers with squared distances to ten bitmaps,
# and a sibling that ends in ten logits and a softmax, as networks do today. Before the output layer it
# differs in its plain tanh and its Xavier initial weights (biases 0). Further down the sibling's recipe
# is used again with an adversary. The attacker knows the network and its weights (a *white-box*
# attack), but may change each pixel only a little:

# %%
from dataclasses import replace

import torch

from internals import Network, load
from internals.training import find_recipe, trained

digits = load("mnist", chapter.data, seed=chapter.seed)


def make(name, seed=chapter.seed, **changes):
    recipe = replace(find_recipe(name, chapter.profile), **changes)
    run = trained(recipe, digits, seed=seed)
    run.model.to(memory_format=torch.channels_last)  # attacks are faster
    adversary = type(recipe.adversary).__name__ if recipe.adversary else "none"
    kind = f"{recipe.network}, adversary {adversary}"
    print(f"{kind}: {run.test.top1:.2%} of the test digits right")
    return Network.of(run)


rbf, softmax = make("lenet5"), make("lenet5-softmax-pgd", adversary=None)

# %% [markdown]
# An attack goes forward and backward through the network once for every step, so how many digits
# are attacked decides how long this chapter takes: the whole test set in a full run, its first four
# hundred in a quick run (which is all of it where the embedded digits are used). Every table of
# results says how many it stands on.

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
# $\varepsilon$ is measured in pixel values, from 0 for paper to 1 for ink, so that 0.1 is 25.5 of 255 grey
# levels whatever a network makes of them. MNIST draws it the other way round to print: paper is black and
# ink is white. LeNet-5 reads −0.1 to 1.175: there the same step is 1.275 times as long and the range
# another. Once by the package, once by hand:

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
# The caption under each digit gives the answer and its posterior. Posteriors need not add up to 1: the
# rest belongs to *rubbish*, an eleventh class. What is added is drawn magnified, since on the scale of
# the images it would be hard to see:

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
        caption="Six test digits, black paper and white ink, what one step of 0.1 adds to them "
        "(magnified as said beside the row, amber towards ink, blue towards paper), and the sum; "
        "fooled ones first, their answer in colour. Each sum still looks like its image. On blank "
        "paper only amber can be added: there is nothing for blue to take away.",
        alt="Six columns of three pictures: a clean digit, a blotchy pattern of two colours, and the "
        "digit on a speckled ground, with the network's answers below the first and third.",
    ),
    "one-step",
)

# %% [markdown]
# ## Random noise does less
#
# Is any change of this size enough? As a control every pixel goes up or down by the same $\varepsilon$
# at random, and is cut to [0, 1]:

# %%
from internals.attacks import RandomSigns, correct_under_attack

epsilons = [0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
if chapter.profile == "smoke":
    epsilons = [0.0, 0.1, 0.15, 0.2]
networks = {"RBF": rbf, "softmax": softmax}
noise = RandomSigns(chapter.seed)
single = {
    f"{name}, {kind}": correct_under_attack(
        net, tested, epsilons, [attack]
    ).mean(axis=1)
    for name, net in networks.items()
    for kind, attack in {"noise": noise, "FGSM": one_step}.items()
}

# %% [markdown]
# Each $\varepsilon$ here stands for itself, and nothing forces the curves to fall:

# %%
from internals.figures import lines, percent


def draw(curves, name, **words):
    x, y = "ε, the most that a pixel changes", "share read rightly"
    figure = lines(np.array(epsilons), curves, xlabel=x, ylabel=y, **words)
    show(figure, name)


# %% [markdown]
# All four curves, the two networks with either change of the pixels:

# %% tags=["hide-input"]
draw(
    single,
    "one-step-curves",
    caption="Accuracy after one step, and after the same amount of noise, for the network with squared "
    "distances to bitmaps (RBF) and for the one with a softmax; black to white is ε = 1. The gap "
    "between noise and FGSM is the effect of the gradient's direction.",
    alt="Four falling curves from near the top left. That for FGSM on the softmax network falls lowest. "
    "That for FGSM on the RBF network falls as early and then more slowly. The two for noise fall "
    "later; at the right edge that for the softmax network is below FGSM on the RBF network.",
)
size = chapter.at(smoke=0.2, quick=0.25, full=0.25)
at, far = epsilons.index(0.1), epsilons.index(size)
shares = {
    name: [percent(share) for share in (curve[0], curve[at], curve[far])]
    for name, curve in single.items()
}
chapter.finding(
    f"At ε = 0.1 noise leaves the softmax network {shares['softmax, noise'][1]} of the digits and one "
    f"step {shares['softmax, FGSM'][1]}; the RBF network {shares['RBF, noise'][1]} and "
    f"{shares['RBF, FGSM'][1]}.",
    holds=all(
        single[f"{name}, FGSM"][at] < single[f"{name}, noise"][at] - 0.05
        for name in networks
    ),
)
wrong = {name: percent(1 - curve[far]) for name, curve in single.items()}
chapter.finding(
    f"At ε = {size} noise alone leaves the softmax network {shares['softmax, noise'][2]} and the RBF "
    f"network {shares['RBF, noise'][2]}. One step makes the softmax network misread "
    f"{wrong['softmax, FGSM']} and the RBF network {wrong['RBF, FGSM']}.",
    holds=all(
        single[f"{name}, noise"][far] < single[f"{name}, noise"][0] - 0.1
        for name in networks
    )
    and single["RBF, FGSM"][far] > single["softmax, FGSM"][far] + 0.2,
)
lost = {name: curve[0] - curve[far] for name, curve in single.items()}
blind = {
    name: lost[f"{name}, noise"] / lost[f"{name}, FGSM"] for name in networks
}
chapter.finding(
    f"Of what one step of {size} takes from the RBF network, noise takes {percent(blind['RBF'], 0)} "
    f"without a gradient; of what it takes from the softmax network, {percent(blind['softmax'], 0)}.",
    holds=blind["RBF"] > blind["softmax"] + 0.1,
)

# %% [markdown]
# A large step costs something in a random direction too: not all that is lost at a large ε is due to
# the gradient.
#
# ## Many small steps
#
# One long step assumes that the loss is linear. *Projected gradient descent* takes short ones and
# computes the gradient anew after each [@madry2018]. The images within $\varepsilon$ of $x$ in every
# pixel form the *$L_\infty$ ball* $x + \mathcal{S}$. The projection $\Pi$ brings an image back to it,
# and to [0, 1]. The attack begins at a random place in the ball, so as not to depend on the spot where
# the digit happens to lie. Each of $T$ steps is $\alpha = 2.5\,\varepsilon / T$ long, so that together
# they can cross the ball from any start:
#
# $$
# x^{t+1} = \Pi_{x + \mathcal{S}}\bigl(x^t + \alpha \operatorname{sign} \nabla_x J(x^t, y)\bigr).
# $$
#
# If the gradient is a guide, many steps should reach a larger loss than one:

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
# The authors of the one-step attack saw a similar lead with a shallow network of radial basis functions:
# 55.4 % errors at $\varepsilon = 0.25$, where a softmax had 99.9 % [@goodfellow2015]. A network can
# also survive because the attack is led astray. Such *obfuscated gradients*, or *gradient masking*, have
# made many a defence look better than it was [@athalye2018]. A first suspect is a gradient of exactly 0, for
# the sign of 0 is 0 and the pixel stays. A second suspect is the place that the gradient points to:

# %%
from internals.attacks import input_gradient

zeros = {}
for name, net in networks.items():
    slope = input_gradient(
        net.model,
        pixels,
        tested.labels,
        normalization=net.normalization,
        loss=net.loss,
    )
    zeros[name] = (slope == 0).float().mean().item()
    print(f"{name}: {zeros[name]:.2%} of the gradients are 0")
nearest = torch.pdist(rbf.model.rbf.prototypes).square().min()
print(f"squared distance of the two nearest bitmaps: {nearest:.0f}")
chapter.finding(
    "In either network the gradient of fewer than one pixel in ten thousand is exactly 0: the first "
    "suspect is cleared.",
    holds=max(zeros.values()) < 1e-4,
)

# %% [markdown]
# The MAP loss keeps an eleventh class, rubbish, as if its squared distance were always $j = 5$. A class has
# a say in the gradient by its posterior, and that falls exponentially with the squared distance. Near its
# own bitmap a digit is so far from all others that rubbish is the only rival. The gradient then points
# straight away from the right bitmap, and to no other in particular, so the step might turn digits into
# rubbish instead of other digits. The posteriors after a step of 0.25 tell, beside those after noise of
# the same size. Another step goes up the *margin*, by which the best wrong score exceeds the right one
# [@carlini2017]:


# %%
def untouched(model, pixels, labels, epsilon):
    return pixels


def posteriors(attack):
    outputs = forward(rbf, perturb(rbf, tested, 0.25, attack))
    each = rbf.loss.probabilities(outputs)
    right = each.gather(1, tested.labels[:, None]).sum(dim=1)
    total = each.sum(dim=1)
    return [part.mean().item() for part in (right, total - right, 1 - total)]


one_margin = SignedSteps(1, "margin")
changes = {"none": untouched, "noise": noise}
changes |= {"one step, own loss": one_step, "one step, margin": one_margin}
goes_to = {kind: posteriors(attack) for kind, attack in changes.items()}

# %% [markdown]
# The mean posterior of the RBF network's right class, of its nine wrong ones together, and of rubbish:

# %% tags=["hide-input"]
from internals.figures import Table

show(
    Table.of(
        ("change, ε = 0.25", "right class", "wrong classes", "rubbish"),
        [(kind, *map(percent, parts)) for kind, parts in goes_to.items()],
        caption=f"Where the RBF network's posterior goes under four changes of the pixels, the mean over "
        f"{len(tested):,} test digits. The three shares of a row add up to 1.",
    ),
    "rubbish",
)
stepped, shaken = (
    goes_to[kind][2] for kind in ("one step, own loss", "noise")
)
chapter.finding(
    f"One step up the loss gives {percent(stepped, 0)} of the posterior to rubbish. But noise of the same "
    f"size gives it {percent(shaken, 0)}: most of this rubbish needs no gradient.",
    holds=0.5 * stepped < shaken < stepped,
)

# %% [markdown]
# So rubbish does not tell the step from noise. To be misread a digit must come nearer to a wrong bitmap
# than to its own, and the margin asks for just that. It does not flatten when the network is sure.
# Two checks follow. One sets out from five random places instead of one. The other does not use the
# network's own gradient: it is a *transfer attack*, which borrows what fools the sibling. One more attack
# goes down the loss of the wrong class that scored best on the clean digit:

# %%
margin = SignedSteps(steps, "margin", chapter.seed)
starts = [replace(margin, seed=chapter.seed + more) for more in range(5)]
to_wrong = SignedSteps(steps, "runner-up", chapter.seed)


def attacks_with(sibling):
    return {
        "none": [untouched],
        "one step, own loss": [one_step],
        "one step, margin": [one_margin],
        f"{steps} steps, own loss": [many_steps],
        f"{steps} steps, margin": [margin],
        "margin, best of 5 starts": starts,
        "to the likeliest wrong class": [to_wrong],
        "borrowed from the other": [replace(margin, surrogate=sibling)],
    }


# %% [markdown]
# The row *all* counts a digit as correct only if it is read rightly in every row above. If the borrowed
# attack did best, the network's own gradient would be at fault. A digit is read rightly where the right
# class scores best, whether it is refused or not. As in chapter 1 a digit is *refused* where no posterior
# reaches one half:

# %%
siblings = {"RBF": softmax, "softmax": rbf}
correct = {}
for name, net in networks.items():
    reads = {
        kind: correct_under_attack(net, tested, [0.1], attacks)[0]
        for kind, attacks in attacks_with(siblings[name]).items()
    }
    reads["all"] = np.all(list(reads.values()), axis=0)
    correct[name] = {kind: read.mean() for kind, read in reads.items()}


def refused(net, images):
    return (predict(net, images.images / 255).confidence < 0.5).mean()


# %% [markdown]
# The gap between a single row and the last is apparent robustness:

# %% tags=["hide-input"]
show(
    Table.of(
        ("attack, ε = 0.1", *correct),
        [
            (kind, *(percent(shares[kind]) for shares in correct.values()))
            for kind in correct["RBF"]
        ],
        caption=f"The share of {len(tested):,} test digits that is still read rightly after each attack of "
        "one and the same size, and after all of them. Of the clean digits the RBF network refuses "
        f"{percent(refused(rbf, tested))}, the softmax network {percent(refused(softmax, tested))}.",
    ),
    "attacks-compared",
)
shares = {
    name: {kind: percent(share) for kind, share in shares.items()}
    for name, shares in correct.items()
}
first, first_margin = "one step, own loss", "one step, margin"
own, own_margin = f"{steps} steps, own loss", f"{steps} steps, margin"
borrowed = "borrowed from the other"
chapter.finding(
    f"Under one step up the loss the RBF network keeps {shares['RBF'][first]} and the softmax network "
    f"{shares['softmax'][first]}. Under all attacks together it is {shares['RBF']['all']} against "
    f"{shares['softmax']['all']}: the lead is gone.",
    holds=correct["RBF"][first] > correct["softmax"][first] + 0.1
    and correct["RBF"]["all"] < correct["softmax"]["all"] + 0.01
    and 0.7 < correct["RBF"][first] < 0.8
    and correct["RBF"]["all"] < 0.1,
)
chapter.finding(
    f"What a step follows matters to the RBF network: one step up the margin leaves "
    f"{shares['RBF'][first_margin]} where one up its own loss leaves {shares['RBF'][first]}, and {steps} "
    f"steps leave {shares['RBF'][own_margin]} and {shares['RBF'][own]}. The softmax network keeps "
    f"{shares['softmax'][own_margin]} and {shares['softmax'][own]} after {steps} steps.",
    holds=correct["RBF"][first_margin] < min(0.5, correct["RBF"][first] - 0.2)
    and correct["RBF"][own_margin] < correct["RBF"][own] - 0.1
    and abs(correct["softmax"][own_margin] - correct["softmax"][own]) < 0.03,
)
chapter.finding(
    f"The borrowed attack leaves the RBF network {shares['RBF'][borrowed]} and the softmax network "
    f"{shares['softmax'][borrowed]}, more than as many steps along their own gradients: these are the "
    "better guides.",
    holds=all(
        correct[name][borrowed]
        > max(correct[name][own], correct[name][own_margin]) + 0.1
        for name in networks
    ),
)

# %% [markdown]
# From here on a digit counts as correct only if it is still read correctly after each of three attacks
# on the network's own gradient: one step up the loss, and many up the loss and up the margin from one
# start each. A larger ball holds all smaller ones, so a digit that was fooled at one $\varepsilon$ counts
# as fooled at every larger one without being attacked again: these curves fall by construction.

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
    caption="Accuracy of both networks under the worst of three attacks for each digit, and of the RBF "
    "network under FGSM alone. The gap between the two RBF curves is due to a weak attack.",
    alt="Two curves that fall to the bottom well before the right edge, and a third, for FGSM alone on "
    "the RBF network, above them.",
)
there = epsilons.index(0.15)
worst = {name: percent(curve[there]) for name, curve in under_attack.items()}
chapter.finding(
    f"At ε = 0.15 the worst of three attacks leaves the RBF network {worst['RBF']} of the digits and the "
    f"softmax network {worst['softmax']}, where one step alone leaves the RBF network "
    f"{percent(single['RBF, FGSM'][there])}.",
    holds=max(curve[there] for curve in under_attack.values()) < 0.05
    and single["RBF, FGSM"][there] > 0.5,
)

# %% [markdown]
# ## To a class of our choice
#
# An attack can also have a *target* $t$. It then makes the loss of $t$ small instead of that of the right
# class large. Only one answer counts as a success, so success is harder:

# %%
from internals.attacks import targeted_success

aimed = SignedSteps(steps, "target", chapter.seed)
reached = targeted_success(rbf, tested, 0.15, aimed)
misread = 1 - under_attack["RBF"][epsilons.index(0.15)]
print(
    f"{misread:.1%} are misread after the worst of three untargeted attacks;",
    f"a targeted attack reaches its class in {np.nanmean(reached):.1%} of the attempts,",
    "on average over all pairs of classes.",
    sep="\n",
)
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
        "(columns) after a targeted attack with ε = 0.15.",
        alt="A ten by ten matrix of percentages with an empty diagonal, and the means at the right "
        "and below.",
    ),
    "targeted",
)
ease, leave = np.nanmean(reached, axis=0), np.nanmean(reached, axis=1)
low, high, first = ease.argmin(), ease.argmax(), leave.argmax()
chapter.finding(
    f"On average over the other nine classes, {tested.class_names[high]} is the easiest to reach, with "
    f"{percent(ease[high])} of the attempts, and {tested.class_names[low]} the hardest, with "
    f"{percent(ease[low])}. The digits that are turned into others most often are those of class "
    f"{tested.class_names[first]}, with {percent(leave[first])}.",
    holds=ease[high] > ease[low] + 0.1
    and leave[first] > np.sort(leave)[-2] + 0.05,
)

# %% [markdown]
# ## Four demonstrations, done again
#
# One of the notebooks that this book grew from shows four attacks on one digit, number 2 of the test
# set. Its images were standardised, so its steps were counted in standard deviations of 0.3081, and
# three of the four results were then clipped to 0 to 255. Paper, which is −0.42 there, came out as
# 0: even $\varepsilon = 0$ changed most pixels, and by more than the smaller $\varepsilon$ allowed.
# Here are four like them, with their units put right, with our losses, step lengths and random starts, on
# our softmax network:


# %%
def demonstrate(attack, size, target):
    aimed = tested
    if target is not None:
        aimed = replace(tested, labels=torch.full_like(tested.labels, target))
    answers = predict(softmax, perturb(softmax, aimed, size, attack)).predicted
    won = answers != true
    if target is not None:
        won = (answers == target)[true != target]
    return f"read as {answers[2]}", won.mean()


# %% [markdown]
# Each line has what the notebook printed, and the number of steps, the standard deviations and the target
# of its attack:

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

# %% [markdown]
# The fourth column below is what happens to digit 2 here, and the last the share of all digits, which the
# notebook did not count:

# %% tags=["hide-input"]
digit = f"digit 2, a {tested.class_names[true[2]]}"
show(
    Table.of(
        ("attack", "ε", "the notebook", digit, "of all digits"),
        [(*row, percent(won)) for *row, won in rows],
        caption=f"The four demonstrations on one digit, and the share of {len(tested):,} test digits on "
        "which each succeeds (where there is a target, without the digits of its class). One digit "
        "says nothing about a network.",
    ),
    "demonstrations",
)
answers, wins = {row[3] for row in rows}, [row[4] for row in rows]
chapter.finding(
    f"On our network digit 2 is {', '.join(answers)} after each of the four, the two that failed there "
    f"included. Of all digits they succeed on {percent(min(wins))} to {percent(max(wins))}.",
    holds=answers == {"read as 8"} and max(wins) > min(wins) + 0.3,
)

# %% [markdown]
# ## Training against an adversary
#
# If the attack is known, why not train on it? The weights are trained to make small the loss that the
# adversary makes as large as it can [@madry2018]:
#
# $$
# \min_\theta\; \operatorname{E}_{(x, y)} \Bigl[\, \max_{\lVert \delta \rVert_\infty \le \varepsilon}
# J(\theta, x + \delta, y) \Bigr].
# $$
#
# The inner maximum is approximated by an attack on the network with its current weights: one step, as in
# the adversarial training of 2014, or several, as in that of 2017. We minimise instead the mean
# loss over a batch, half of it clean and half attacked, as Goodfellow and others did [@goodfellow2015]. We
# train the network with the softmax, whose own loss guides an attack about as well as the margin does. The
# run above took as many steps on as many digits, all of them clean; these see half as many clean ones. Of
# each run the epoch is kept that reads most clean validation digits. The one-step training is done twice,
# with another seed the second time:

# %%
hardened = {
    "clean digits": softmax,
    "FGSM": make("lenet5-softmax-fgsm"),
    "PGD": make("lenet5-softmax-pgd"),
}
again = make("lenet5-softmax-fgsm", seed=chapter.seed + 1)

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
# How much does it help, and against which attack? One column is for a single step, one for the worst of
# the three attacks, both of the size that was trained against:

# %%
at = epsilons.index(0.2)
curves, rows, declined = {}, {}, {}
for name, net in (hardened | {"FGSM, another seed": again}).items():
    known = under_attack["softmax"] if net is softmax else None
    curves[name] = robust_accuracy(net) if known is None else known
    once = correct_under_attack(net, tested, [0.2], [one_step]).mean()
    rows[name] = curves[name][0], once, curves[name][at]
    declined[name] = percent(refused(net, tested))

# %% [markdown]
# The column *clean* has the accuracy without an attack, the next one the clean digits that are refused. In
# the last column a digit that is fooled at a smaller ε counts as fooled; the column of one step stands for
# itself:

# %% tags=["hide-input"]
show(
    Table.of(
        (
            "trained on",
            "clean",
            "clean, refused",
            "one step, ε = 0.2",
            "worst of three, ε = 0.2",
        ),
        [
            (
                name,
                percent(clean),
                declined[name],
                percent(once),
                percent(least),
            )
            for name, (clean, once, least) in rows.items()
        ],
        caption=f"Accuracy on {len(tested):,} test digits, refused ones included: clean, after one step, and "
        "under the worst of three attacks for each digit. Each network was trained once, that of FGSM "
        "twice.",
    ),
    "hardened",
)
shares = {name: list(map(percent, row)) for name, row in rows.items()}
other = shares["FGSM, another seed"]
chapter.finding(
    f"Trained on FGSM, the network reads {shares['FGSM'][1]} after one step and {shares['FGSM'][2]} under "
    f"the worst of three attacks (with another seed {other[1]} and {other[2]}). Trained on PGD, it reads "
    f"{shares['PGD'][1]} and {shares['PGD'][2]}, and {shares['PGD'][0]} of the clean digits where the "
    f"network trained on those reads {shares['clean digits'][0]}.",
    holds=all(
        rows[name][1] > 0.9 > 0.3 > rows[name][2]
        for name in ("FGSM", "FGSM, another seed")
    )
    and rows["PGD"][2] > 0.88,
)

# %% [markdown]
# In clean digits the networks differ by a few tenths of a point. With one or two networks for each
# training, so small a difference may be one between seeds. The networks trained on FGSM resist one step far
# better than many. When a network comes to this in the course of its training, that is known as
# *catastrophic overfitting* [@wong2020]. A likely reason is that the training attack always arrives at the
# same distance along a gradient that the network itself shapes, so that the network can bend its loss at
# just that place.
#
# The same for every $\varepsilon$, under the worst of three attacks:

# %% tags=["hide-input"]
draw(
    {name: curves[name] for name in hardened},
    "hardened-curves",
    marks={"trained against": 0.2},
    caption="Accuracy of the softmax network under the worst of three attacks, trained on clean "
    "digits, against one step and against many. At ε = 0 stands the clean accuracy; the mark is what "
    "was trained against.",
    alt="Three falling curves. The one for training on FGSM drops first and then falls more slowly than "
    "the one for clean digits, which crosses it and is the first to reach the bottom. The one for PGD "
    "stays near the top up to the mark and ends above the middle.",
)
near = epsilons[1]
weak, second, never = (
    percent(curves[name][1])
    for name in ("FGSM", "FGSM, another seed", "clean digits")
)
chapter.finding(
    f"The curve for FGSM falls first. At ε = {near}, far below what it was trained against, that network "
    f"reads {weak} where the one that was never attacked in training still reads {never}. The network "
    f"trained on FGSM with another seed reads {second} there.",
    holds=curves["FGSM"][1] < curves["clean digits"][1] - 0.05
    and curves["FGSM"][0] > curves["clean digits"][0] - 0.01,
)
beaten = max(curves["FGSM"][-1], curves["clean digits"][-1])
chapter.finding(
    f"At ε = {epsilons[-1]}, more than it was trained against, the network trained on PGD still reads "
    f"{percent(curves['PGD'][-1])}, neither of the others more than {percent(beaten)}.",
    holds=curves["PGD"][-1] > 0.5 and beaten < 0.05,
)

# %% [markdown]
# ### Is that robustness real?
#
# The same suspicion is due to the network trained on PGD: its gradient may merely have become a bad
# guide. So it is attacked with all of the above, with five times as many steps, and with what fools three
# other networks. The last are *black-box* attacks: they do not use the network's own gradient. A
# smaller set of digits will do:

# %%
fewer = tested.head(chapter.at(smoke=20, quick=200, full=1000))
lenders = {"clean digits": softmax, "FGSM": hardened["FGSM"], "RBF": rbf}
trials = attacks_with(rbf)
trials[f"{5 * steps} steps, margin"] = [replace(margin, steps=5 * steps)]
del trials["borrowed from the other"]
trials |= {
    f"borrowed: {name}": [replace(margin, surrogate=net)]
    for name, net in lenders.items()
}
reads = {
    kind: correct_under_attack(hardened["PGD"], fewer, [0.2], attacks)[0]
    for kind, attacks in trials.items()
}
reads["all"] = np.all(list(reads.values()), axis=0)
left = {kind: read.mean() for kind, read in reads.items()}

# %% [markdown]
# A gradient that is masked would probably be beaten by the borrowed attacks:

# %% tags=["hide-input"]
show(
    Table.of(
        ("attack, ε = 0.2", "network trained on PGD"),
        [(kind, percent(share)) for kind, share in left.items()],
        caption=f"The share of {len(fewer):,} test digits that the network trained on PGD still reads after "
        "attacks by its own gradient, after attacks borrowed from other networks, and after all of "
        f"them. Without an attack it refuses {percent(refused(hardened['PGD'], fewer))} of these digits.",
    ),
    "black-box",
)
lent = min(share for kind, share in left.items() if "borrowed" in kind)
once, restarted = left[own_margin], left["margin, best of 5 starts"]
longer = left[f"{5 * steps} steps, margin"]
chapter.finding(
    f"More starts and more steps change little: {steps} steps up the margin leave {percent(once)}, from "
    f"five starts {percent(restarted)}, and {5 * steps} steps {percent(longer)}.",
    holds=once - min(restarted, longer) < 0.02,
)
chapter.finding(
    f"The best borrowed attack leaves {percent(lent)}: the network's own gradient is the better guide, "
    f"which speaks against masking. All attacks together leave {percent(left['all'])}.",
    holds=lent > once + 0.03 and left["all"] > once - 0.1,
)

# %% [markdown]
# ### What becomes of the filters
#
# All three networks of the figure below began with the same weights, so filter 0 of one is filter 0 of the
# others after another training. A network's inputs move 1.275 times as far as the pixels, so an
# adversary moves the sum of a unit of conv1 by at most $1.275\,\varepsilon\,\lVert w \rVert_1$, with
# $\lVert w \rVert_1$ the $L_1$ norm of its kernel, the sum of its magnitudes. Adversarial training may make
# this norm small:

# %%
from internals.figures import comparison

kernels = {
    name: net.model.conv1.weight.detach().contiguous().numpy()
    for name, net in hardened.items()
}
norms = {
    name: np.linalg.norm(kernel.reshape(6, -1), ord=1, axis=1)
    for name, kernel in kernels.items()
}

# %% [markdown]
# A column holds one filter under three trainings:

# %% tags=["hide-input"]
show(
    comparison(
        list(kernels.values()),
        [f"filter {index}" for index in range(6)],
        names=list(kernels),
        notes=[[f"‖w‖₁ {one:.2f}" for one in each] for each in norms.values()],
        caption="The six kernels of conv1 after training on clean digits, on FGSM and on PGD; amber adds "
        "where there is ink. Each has a scale of its own, whose end stands below it, and under that "
        "its L1 norm, which limits how far an adversary moves a unit of conv1.",
        alt="Three rows of six small kernels in two colours with two numbers under each. In the first "
        "kernel of the last row a single weight stands out from grey.",
        shared=False,
    ),
    "filters",
)
most = {
    name: np.abs(kernel).reshape(6, -1).max(axis=1) / norms[name]
    for name, kernel in kernels.items()
}
filter_index = int(most["PGD"].argmax())
highest = max(most["clean digits"].max(), most["FGSM"].max())
chapter.finding(
    f"Filter {filter_index} of the network trained on PGD is little more than one weight, which has "
    f"{percent(most['PGD'].max(), 0)} of its L1 norm. In the filters of the other two no weight has as much "
    f"as a quarter; the largest share is {percent(highest, 0)}.",
    holds=most["PGD"].max() > 0.6 and highest < 0.25,
)

# %% [markdown]
# Two numbers for each row: the mean $L_1$ norm, and how much of a kernel's magnitude sits in its five
# largest weights of twenty-five: 20 % if all were equal, and about 36 % for uniform random weights, as
# these kernels began. Madry and others found in their robust network for MNIST that few first filters were
# left, and that those worked as thresholds [@madry2018]. The fourth network began with other weights:

# %%
lengths, tops = {}, {}
for name, net in (hardened | {"FGSM, another seed": again}).items():
    kernel = net.model.conv1.weight.detach().reshape(6, 25).abs().numpy()
    lengths[name] = kernel.sum(axis=1).mean()
    largest = np.sort(kernel, axis=1)[:, -5:].sum(axis=1)
    tops[name] = (largest / kernel.sum(axis=1)).mean()
    print(
        f"{name}: L1 norm {lengths[name]:.2f}, five largest {tops[name]:.0%}"
    )
chapter.finding(
    f"Training on PGD gives the kernels a mean L1 norm of {lengths['PGD']:.2f} where training on clean "
    f"digits gives {lengths['clean digits']:.2f}, and {tops['PGD']:.0%} of it to five weights instead of "
    f"{tops['clean digits']:.0%}. With training on FGSM the norm is {lengths['FGSM']:.2f}.",
    holds=lengths["PGD"] < 0.75 * min(lengths["clean digits"], lengths["FGSM"])
    and tops["PGD"] > max(tops["clean digits"], tops["FGSM"]) + 0.05,
)

# %% [markdown]
# ## May a network refuse?
#
# LeNet-5's output layer can say "none of these": what its ten posteriors leave of 1 belongs to
# rubbish. The radial basis network of 2014 was wrong on 55.4 % of attacked digits, but with a mean
# confidence of 1.2 % on its mistakes, where a softmax was 79.3 % sure [@goodfellow2015]. A mistake
# that is refused does no harm. We therefore count the digits that are misread *and* accepted, with a
# posterior of at least one half. Such a *reject option* has a price too: a digit that is refused is not
# read, attacked or clean. So the digits that are read rightly and accepted are counted as well. And the
# adversary may know the rule: the attack to the likeliest wrong class makes just its posterior large.


# %%
def outcome(net, attack):
    answers = predict(net, perturb(net, tested, 0.25, attack))
    wrong, sure = answers.predicted != true, answers.confidence >= 0.5
    confidence = answers.confidence[wrong].mean() if wrong.any() else 0.0
    accepted = (wrong & sure).mean(), (~wrong & sure).mean()
    return wrong.mean(), confidence, 1 - sure.mean(), *accepted


# %% [markdown]
# No attack and three attacks of $\varepsilon = 0.25$, as in that paper, on three networks. The last one
# was trained against many steps of $\varepsilon = 0.2$:

# %%
networks["softmax, PGD"] = hardened["PGD"]
attacks = {"none": untouched, "one step": one_step}
attacks |= {"margin": margin, "to wrong class": to_wrong}
outcomes = {
    (name, kind): [float(share) for share in outcome(net, attack)]
    for name, net in networks.items()
    for kind, attack in attacks.items()
}

# %% [markdown]
# Each row has the share misread, the confidence of these answers, and the three shares that add up to 1:
# refused, misread and accepted, read rightly and accepted:

# %% tags=["hide-input"]
columns = (
    "misread",
    "confidence then",
    "refused",
    "misread, accepted",
    "right, accepted",
)
show(
    Table.of(
        ("network", "attack", *columns),
        [(*key, *map(percent, shares)) for key, shares in outcomes.items()],
        caption=f"Refusal without and under attack, {len(tested):,} test digits, ε = 0.25. The confidence "
        "is the mean posterior of the wrong answers.",
    ),
    "refusal",
)
clean, careless, patient, aware = (outcomes["RBF", kind] for kind in attacks)
calm, hard = (
    outcomes["softmax, PGD", kind] for kind in ("none", "to wrong class")
)
sure = outcomes["softmax", "one step"]
chapter.finding(
    f"Without an attack the RBF network refuses {percent(clean[2])} of the digits, the network trained on "
    f"PGD, which has no class for rubbish, {percent(calm[2])}.",
    holds=clean[2] > calm[2] + 0.03,
)
chapter.finding(
    f"After one step the RBF network misreads {percent(careless[0])}, with a mean confidence of "
    f"{percent(careless[1])}; the softmax network misreads {percent(sure[0])} with {percent(sure[1])}. The "
    f"RBF network misreads and accepts only {percent(careless[3])}, but it refuses "
    f"{percent(careless[2])} and reads and accepts no more than {percent(careless[4])}.",
    holds=careless[1] < sure[1] - 0.5
    and careless[3] < 0.15
    and careless[2] > 0.5,
)
chapter.finding(
    f"After {steps} steps up the margin it misreads and accepts {percent(patient[3])}. Where the adversary "
    f"knows the rule, it misreads and accepts {percent(aware[3])} and reads and accepts "
    f"{percent(aware[4])}; the network trained on PGD {percent(hard[3])} and {percent(hard[4])}.",
    holds=careless[3] + 0.1 < patient[3] < 0.5
    and aware[3] > careless[3] + 0.3
    and hard[3] < 0.3
    and hard[4] > aware[4] + 0.5,
)

# %% [markdown]
# So the old result says as much about the attack as about the network. Nothing forces a point that
# one step has driven from its own bitmap to arrive at another, and far from all of them it is
# refused. An adversary with more steps, and with the rule in its loss, finds its way to a wrong
# bitmap more often. What a defence is worth is shown by the best attack on it, and we know only the best
# that we have tried.

# %%
chapter.record(
    fgsm_rbf=correct["RBF"]["one step, own loss"],
    all_rbf=correct["RBF"]["all"],
    all_softmax=correct["softmax"]["all"],
    pgd_trained=float(rows["PGD"][2]),
)

# %% [markdown]
# ## Key features
#
# - **The gradient reaches the pixels**, and its sign is enough: one step of 0.1 costs either network more
#   digits than random noise of that size. A large step needs this control: most of what one of 0.25 takes
#   from the RBF network, noise takes too.
# - **ε is a pixel value**, whatever the scale of a network's inputs.
# - **A weak attack flatters.** One step up the MAP loss leaves the RBF network about three digits of four,
#   one step up the margin fewer than half, all attacks together fewer than one in ten.
# - **Adversarial training** buys accuracy under attack: trained on many steps of 0.2, a network reads about
#   nine digits of ten after the worst of three attacks of that size. Trained on one step, it can look
#   strong against one step and be weak against many, which is called catastrophic overfitting.
# - **A check that does without the network's own gradient**, a transfer attack, helps to detect
#   gradient masking.
# - **Refusal** keeps an adversary who does not know the rule from most of his misreadings, and keeps the
#   network from most of its digits. Against one who knows the rule it helps much less.
#
# ## Do this with your own network
#
# Does a change of 8 grey levels alter the answers of your network? `mine:network` stands for the
# function or class `network` in your file `mine.py`:
#
# ```python
# from internals import Network, read_folder
# from internals.attacks import fgsm
# from internals.training import CrossEntropy
#
# net = Network.open("mine:network", weights="mine.pth")
# photos = read_folder("photos").images.head(4)
# answers = net.model(net.inputs(photos)[:]).argmax(dim=1)
# changed = fgsm(
#     net.model, photos.images / 255, answers, epsilon=8 / 255,
#     normalization=net.normalization, loss=CrossEntropy(),
# )
# inputs = net.normalization.apply(255 * changed)
# print(net.model(inputs).argmax(dim=1) != answers)
# ```
#
# ```sh
# internals atlas mine:network --weights mine.pth --images photos --out site
# ```
#
#
# ## Exercises
#
# 1. Start the one-step training at a random place in the ball, as PGD does. Does the network still
#    learn to mislead it?
# 2. Train `lenet5-pgd`, the relative of `lenet5-softmax-pgd` with the RBF output. Which of these two
#    reads fewer clean digits than without an adversary?
# 3. Raise the rubbish penalty $j$ of `find_recipe("lenet5", "quick")` to 50 with
#    `dataclasses.replace`, train, and draw the FGSM curve again. Does the "robustness" stay?
#
# One network has been taken apart down to its weaknesses; the
# [next chapter](10_side_by_side.py) sets all six side by side.
