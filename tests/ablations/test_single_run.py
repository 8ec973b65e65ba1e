"""Oracle: a plain loop with torch's own optimisers, and counting how often each digit is shown."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from internals.ablations import single_run
from internals.ablations.plan import Settings
from internals.ablations.single_run import build_optimizer, run_once
from internals.data.image_set import ImageSet
from internals.data.normalization import Normalization
from internals.errors import AblationError, ModelError
from internals.models.lenet5 import LeNet5
from internals.models.lenet5_variants import LeNet5Variant
from internals.training.evaluate import evaluate
from internals.training.losses import MapLoss

BRIEF = Settings(learning_rate=4e-3, batch_size=8, presentations=96)


def part(images: ImageSet, count: int) -> ImageSet:
    return images.subset(torch.arange(count))


def test_a_run_is_the_plain_loop(digits) -> None:
    """The weights after twelve steps, told by the loss of the last one and by every answer."""
    train, test = part(digits.train, 40), part(digits.test, 60)
    found = run_once(BRIEF, train, test, seed=3)

    torch.manual_seed(3)
    model, loss = LeNet5(), MapLoss(5.0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, weight_decay=1e-4)
    schedule = Normalization.from_range(-0.1, 1.175)
    random = torch.Generator().manual_seed(3)
    order = torch.cat([torch.randperm(40, generator=random) for _ in range(3)])[:96]
    for step, batch in enumerate(order.split(8)):
        warm = 0.05 * 12
        share = 1 / (warm + 1) if step == 0 else 0
        if step:
            turned = torch.tensor(torch.pi * (step - warm) / (12 - warm), dtype=torch.float64)
            share = (0.5 * (1 + torch.cos(turned))).item()
        optimizer.param_groups[0]["lr"] = 4e-3 * share
        optimizer.zero_grad()
        value = loss(model(schedule.apply(train.images[batch])), train.labels[batch])
        value.backward()
        optimizer.step()
    assert found.loss == pytest.approx(value.item(), rel=1e-4)
    from internals.data.pipeline import Pipeline

    scored = evaluate(model, loss, test, Pipeline.from_range(-0.1, 1.175, 32))
    assert found.accuracy == pytest.approx(scored.top1)
    assert not found.diverged


def test_the_same_seed_gives_the_same_number_twice(digits) -> None:
    train, test = part(digits.train, 40), part(digits.test, 60)
    everything = replace(BRIEF, dropout=0.3, shift=2, rotation=5.0, duplicate=True)
    first, second, other = (run_once(everything, train, test, seed=s) for s in (1, 1, 2))
    assert (first.accuracy, first.loss) == (second.accuracy, second.loss)
    assert first.loss != other.loss


@pytest.mark.parametrize(("duplicate", "plain"), [(False, 0), (True, 1)])
def test_every_pass_shows_every_digit(duplicate: bool, plain: int) -> None:
    settings = replace(BRIEF, duplicate=duplicate, presentations=28, batch_size=5)
    shown: Counter[tuple[int, bool]] = Counter()
    sizes = []
    for numbers, as_is in single_run._batches(settings, 7, seed=0):
        sizes.append(len(numbers))
        shown.update(zip(numbers.tolist(), as_is.tolist(), strict=True))
    assert sizes == [5, 5, 5, 5, 5, 3]
    times = 2 if duplicate else 4
    want = {(i, kept): times for i in range(7) for kept in (False, True)[: plain + 1]}
    assert shown == want


def test_half_of_the_digits_stay_as_they_are() -> None:
    pixels = torch.randint(1, 256, (6, 1, 32, 32), dtype=torch.uint8)
    as_is = torch.tensor([True, False, True, False, False, True])
    settings = replace(BRIEF, rotation=10.0)
    found = single_run._distorted(pixels, as_is, settings, torch.Generator().manual_seed(0))
    same = (found == pixels).flatten(1).all(dim=1)
    assert torch.equal(same, as_is)


def test_inputs_are_the_digit_in_its_field() -> None:
    digit = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    field = functional.pad(digit, (2, 2, 2, 2))
    to_range = -0.1 + 1.275 * digit.float() / 255
    padded, unpadded, resized = (
        single_run._inputs(field, replace(BRIEF, input=kind))
        for kind in ("padded", "unpadded", "resized")
    )
    torch.testing.assert_close(padded[:, :, 2:-2, 2:-2], to_range)
    torch.testing.assert_close(padded[0, 0, 0], torch.full((32,), -0.1))
    torch.testing.assert_close(unpadded, to_range)
    want = functional.interpolate(to_range, (32, 32), mode="bilinear")
    torch.testing.assert_close(resized, want)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("adamw", lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=1e-4)),
        ("adam", lambda p: torch.optim.Adam(p, lr=0.01)),
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
    ],
)
def test_optimizers_are_torchs(name: str, oracle) -> None:
    ours, theirs = (torch.nn.Linear(3, 2).double() for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    pairs = [
        (ours, build_optimizer(replace(BRIEF, optimizer=name, learning_rate=0.01), ours)),
        (theirs, oracle(theirs.parameters())),
    ]
    for step in range(5):
        for model, optimizer in pairs:
            torch.manual_seed(step)
            optimizer.zero_grad()
            model(torch.randn(4, 3, dtype=torch.float64)).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight)


def test_a_loss_that_is_no_number_is_scored_as_guessing(digits) -> None:
    hot = replace(BRIEF, optimizer="sgd", output="logits", activation="relu", learning_rate=1e6)
    found = run_once(hot, part(digits.train, 40), part(digits.test, 60), seed=0)
    assert (found.diverged, found.accuracy, found.loss) == (True, 0.1, float("inf"))


def test_arms_of_one_seed_start_alike() -> None:
    starts = []
    for settings in (BRIEF, replace(BRIEF, input="unpadded"), replace(BRIEF, pooling="max")):
        torch.manual_seed(0)
        starts.append(LeNet5Variant(**settings.arguments).conv2.weight)
    assert torch.equal(starts[0], starts[1]) and torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("wrong", [{"input": "cropped"}, {"optimizer": "rprop"}, {"batch_size": 0}])
def test_impossible_settings_are_refused(wrong) -> None:
    with pytest.raises(AblationError, match=next(iter(wrong))):
        Settings(**wrong)


def test_impossible_networks_are_refused(digits) -> None:
    with pytest.raises(ModelError, match="pooling"):
        run_once(replace(BRIEF, pooling="median"), digits.train, digits.test, seed=0)
