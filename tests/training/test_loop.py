"""Oracle: optimisers by formula in float64, one pass over a whole batch, numbers counted by hand.

AdamW is Loshchilov and Hutter's algorithm 2; the first weights fitted to data are held to float64
statistics taken layer by layer.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from internals.data import Pipeline
from internals.errors import TrainingError
from internals.models import LeNet5
from internals.training import (
    SGD,
    AdamW,
    Batches,
    Constant,
    Cosine,
    CrossEntropy,
    DigitAugmentation,
    DivergenceError,
    Epoch,
    History,
    Map,
    OptimizerChoice,
    RunFolder,
    data_dependent_init,
    load_checkpoint,
    load_tensors,
    train,
)
from tests.reference.colour_run import colour_images, small_colour_network
from tests.reference.observed import observed

LOW, HIGH = -0.1, 1.175
CPU = torch.device("cpu")


def _fresh(seed: int = 3) -> LeNet5:
    torch.manual_seed(seed)
    return LeNet5()


def _doubles(model: nn.Module) -> dict[str, np.ndarray]:
    return {k: p.detach().double().numpy().copy() for k, p in model.named_parameters()}


def _train(few, recipe, fabric, model=None, folder=None, seed=1):
    model = model or _fresh()
    result = train(model, recipe, few.train, few.validation, fabric, seed=seed, folder=folder)
    return model, result


def _gradient(weights: dict[str, np.ndarray], images) -> tuple[dict[str, np.ndarray], float]:
    """The gradient of equation 9 at `weights` for one batch, in float64."""
    tensors = {k: torch.tensor(v, requires_grad=True) for k, v in weights.items()}
    inputs = images.images.double() / 255 * (HIGH - LOW) + LOW
    penalties = functional_call(LeNet5().double(), tensors, (inputs,))
    loss = Map(5.0)(penalties, images.labels)
    gradients = torch.autograd.grad(loss, list(tensors.values()))
    return {k: g.numpy() for k, g in zip(tensors, gradients, strict=True)}, loss.item()


def _cosine(rate: float, step: int, steps: int) -> float:
    return rate * 0.5 * (1 + math.cos(math.pi * step / steps))


def _check_change(before, after, expected) -> None:
    """Relative to the largest change of each tensor: the signal is the change, not the weight."""
    for name in before:
        change, wanted = after[name] - before[name], expected[name] - before[name]
        error = np.abs(change - wanted).max() / np.abs(wanted).max()
        assert error < 2e-3, f"{name}: {error:.1e}"


def test_one_adamw_step_by_hand(few, fabric, tiny_recipe):
    images = few.train.head(32)
    recipe = replace(tiny_recipe, epochs=1, optimizer=AdamW(5e-3, 0.3), schedule=Cosine())
    before = _doubles(_fresh())
    model, result = _train(few._replace(train=images), recipe, fabric)
    after = _doubles(model)
    gradient, loss = _gradient(before, images)
    expected = {}
    for name, w in before.items():
        g = gradient[name]
        m, v = (1 - 0.9) * g, (1 - 0.999) * g * g
        m_hat, v_hat = m / (1 - 0.9), v / (1 - 0.999)
        expected[name] = w - 5e-3 * 0.3 * w - 5e-3 * m_hat / (np.sqrt(v_hat) + 1e-8)
    # Where a gradient is next to nothing, its sign, all that Adam's first step keeps, is noise.
    for name, g in gradient.items():
        noise = np.abs(g) < 1e-4 * np.abs(g).max()
        expected[name][noise] = after[name][noise]
    _check_change(before, after, expected)
    assert result.history.epochs[0].learning_rate == 5e-3
    assert abs(result.history.epochs[0].train_loss / loss - 1) < 1e-5


def test_two_sgd_steps_with_momentum_by_hand(few, fabric, tiny_recipe):
    images = few.train.head(32)
    optimizer = SGD(1e-3, 0.1, momentum=0.8)
    recipe = replace(tiny_recipe, epochs=2, optimizer=optimizer, schedule=Cosine())
    before = _doubles(_fresh())
    model, result = _train(few._replace(train=images), recipe, fabric)
    history = result.history
    if history.best.number == 1:
        pytest.fail("the fixture should improve in its second epoch")
    weights, speed = dict(before), {k: np.zeros_like(v) for k, v in before.items()}
    for step in range(2):
        gradient, loss = _gradient(weights, images)
        for name, w in weights.items():
            g = gradient[name] + 0.1 * w
            speed[name] = g if step == 0 else 0.8 * speed[name] + g
            weights[name] = w - _cosine(1e-3, step, 2) * speed[name]
        assert abs(history.epochs[step].train_loss / loss - 1) < 1e-5
    _check_change(before, _doubles(model), weights)
    assert history.column("learning_rate") == [1e-3, 0.5e-3]


def test_training_ends_within_an_epoch_where_the_steps_are_counted(few, fabric, tiny_recipe):
    """Five steps of three an epoch, by SGD in float64; the cosine is one of five steps."""
    recipe = replace(
        tiny_recipe, epochs=9, most_steps=5, optimizer=SGD(1e-3, momentum=0.0),
        schedule=Cosine(), selection="last",
    )  # fmt: skip
    before = _doubles(_fresh())
    model, result = _train(few, recipe, fabric)
    batches = Batches(few.train, 32, 1, CPU)
    order = [*batches.order(1), *list(batches.order(2))[:2]]
    weights, losses = dict(before), []
    for step, numbers in enumerate(order):
        gradient, loss = _gradient(weights, few.train.subset(numbers))
        losses.append(loss)
        for name, w in weights.items():
            weights[name] = w - _cosine(1e-3, step, 5) * gradient[name]
    _check_change(before, _doubles(model), weights)
    assert [epoch.number for epoch in result.history.epochs] == [1, 2]
    means = [np.mean(losses[:3]), np.mean(losses[3:])]
    assert result.history.column("train_loss") == pytest.approx(means, rel=1e-4)
    assert result.history.column("learning_rate") == pytest.approx(
        [_cosine(1e-3, 2, 5), _cosine(1e-3, 4, 5)]
    )


class Still(torch.optim.SGD):
    """Takes no step, and leaves the gradients to be looked at."""

    def step(self, closure=None):
        return None


class KeepsStill(OptimizerChoice):
    def build(self, model):
        return Still(model.parameters(), lr=self.lr)


class InDoubles(nn.Module):
    """Reads its inputs in float64."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.double()

    def forward(self, x):
        return self.model(x.double())


@pytest.mark.parametrize("most", [None, 13, 5, 2, 1])
def test_accumulated_gradients_are_those_of_the_whole_batch(few, fabric, tiny_recipe, most):
    """13 images in micro-batches of at most 5 are 5 + 4 + 4: each image counts alike."""
    images = few.train.head(13)
    model = InDoubles(_fresh())
    inputs = Pipeline.from_range(LOW, HIGH, 32).evaluation(images.images)
    penalties = model(inputs)
    loss = Map(5.0)(penalties, images.labels)
    wanted = torch.autograd.grad(loss, list(model.parameters()))
    recipe = replace(
        tiny_recipe, epochs=1, batch_size=13, micro_batch=most, optimizer=KeepsStill(1.0)
    )
    _, result = _train(few._replace(train=images), recipe, fabric, model)
    (epoch,) = result.history.epochs
    assert epoch.train_loss == pytest.approx(loss.item(), rel=1e-6)
    right = (penalties.argmin(dim=1) == images.labels).double().mean().item()
    assert epoch.train_top1 == pytest.approx(right)
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        error = (parameter.grad - gradient).abs().max() / gradient.abs().max()
        assert error < 1e-12


def test_every_epoch_takes_each_image_once_in_an_order_of_its_own(few, fabric, tiny_recipe):
    inputs = Pipeline.from_range(LOW, HIGH, 32).evaluation(few.train.images)
    numbers = {image.numpy().tobytes(): number for number, image in enumerate(inputs)}
    assert len(numbers) == 96
    steps: list[tuple[int, list[int]]] = []

    def observe(step, model, batch):
        steps.append((step, [numbers[image.contiguous().numpy().tobytes()] for image in batch]))

    optimizer = observed(tiny_recipe.optimizer, observe)
    recipe = replace(tiny_recipe, batch_size=7, optimizer=optimizer)  # 13 batches of 7, one of 5
    orders = []
    for seed in (1, 1, 2):
        steps.clear()
        _train(few, recipe, fabric, seed=seed)
        assert [step for step, _ in steps] == list(range(28))
        assert [len(batch) for _, batch in steps] == ([7] * 13 + [5]) * 2
        order = [number for _, batch in steps for number in batch]
        orders += [order[:96], order[96:]]
    assert all(sorted(order) == list(range(96)) for order in orders)
    assert orders[:2] == orders[2:4]
    assert len({tuple(order) for order in orders}) == 4


def test_the_loss_of_an_epoch_is_the_mean_over_images(few, fabric, tiny_recipe):
    """With next to no learning rate it is the loss of all images at once, the short batch too."""
    recipe = replace(tiny_recipe, optimizer=AdamW(1e-12), batch_size=7)
    start = _doubles(_fresh())
    _, result = _train(few, recipe, fabric)
    _, loss = _gradient(start, few.train)
    for epoch in result.history.epochs:
        assert abs(epoch.train_loss / loss - 1) < 1e-5


def test_the_final_loss_is_that_of_the_last_tenth_of_the_steps(few, fabric, tiny_recipe):
    """28 steps of 7 images, the last of 5: the last three, each image alike."""
    losses: list[float] = []
    batches = Batches(few.train, 7, 1, CPU)
    order = [*batches.order(1), *batches.order(2)]

    def observe(step, model, inputs):
        with torch.no_grad():
            losses.append(Map(5.0)(model(inputs), few.train.labels[order[step]]).item())

    optimizer = observed(tiny_recipe.optimizer, observe)
    _, result = _train(few, replace(tiny_recipe, batch_size=7, optimizer=optimizer), fabric)
    wanted = (7 * losses[25] + 7 * losses[26] + 5 * losses[27]) / 19
    first, last = result.history.column("final_loss")
    assert last == pytest.approx(wanted, rel=1e-6)
    assert first == pytest.approx((7 * losses[11] + 7 * losses[12] + 5 * losses[13]) / 19, rel=1e-6)


def test_the_final_loss_of_a_short_last_epoch_is_of_the_steps_in_it(few, fabric, tiny_recipe):
    """61 steps of three an epoch: a tenth would be six steps, and one lies in the last epoch."""
    recipe = replace(tiny_recipe, epochs=30, most_steps=61, selection="last")
    _, result = _train(few, recipe, fabric)
    last = result.history.epochs[-1]
    assert last.number == 21 and last.final_loss == last.train_loss


@pytest.mark.parametrize("duplicate", [False, True])
def test_what_a_run_counts_are_pictures_not_images(few, fabric, tiny_recipe, duplicate):
    """The mean loss and the share right of an epoch, from every batch that the network was fed."""
    fed: list[torch.Tensor] = []
    # Steps so small that the network stays what it was.
    optimizer = observed(SGD(1e-12), lambda step, model, inputs: fed.append(inputs))
    augment = DigitAugmentation(shift=1, duplicate=duplicate)
    recipe = replace(tiny_recipe, epochs=1, optimizer=optimizer, augment=augment)
    model, result = _train(few, recipe, fabric)
    batches = Batches(few.train, 32, 1, CPU, augment=augment)
    numbers = torch.cat(list(batches.order(1)))
    pictures, labels = torch.cat(fed), few.train.labels[numbers % 96]
    assert len(pictures) == 96 * (1 + duplicate)
    with torch.no_grad():
        penalties = model(pictures)
    right = (penalties.argmin(dim=1) == labels).float().mean().item()
    assert result.history.column("train_top1") == [pytest.approx(right)]
    loss = Map(5.0)(penalties, labels).item()
    assert result.history.column("train_loss") == [pytest.approx(loss, rel=1e-5)]


def test_one_seed_one_result(few, fabric, tiny_recipe):
    first, _ = _train(few, tiny_recipe, fabric)
    torch.randn(17)  # what the caller does to the global random state does not matter
    second, _ = _train(few, tiny_recipe, fabric)
    other, _ = _train(few, tiny_recipe, fabric, seed=2)
    _assert_same_bits(first.state_dict(), second.state_dict())
    assert (first.conv1.weight != other.conv1.weight).any()


def _assert_same_bits(left, right) -> None:
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        torch.testing.assert_close(tensor, right[name], rtol=0, atol=0, msg=name)


def test_the_average_is_the_recursion_by_hand(fabric, tiny_recipe):
    """Three steps in float64: the first weights count as they are, then a tenth of each newer."""
    images = colour_images(87, 32)
    recipe = replace(
        tiny_recipe, loss=CrossEntropy(), pipeline="mean-std", batch_size=29, most_steps=3,
        epochs=1, selection="last", optimizer=SGD(0.05), schedule=Constant(),
    )  # fmt: skip
    states: list[dict[str, torch.Tensor]] = []

    def observe(step, model, inputs):
        states.append({k: v.double().clone() for k, v in model.state_dict().items()})

    models = {}
    for name, change in (
        ("averaged", {"average": 0.9}),
        ("last", {"optimizer": observed(recipe.optimizer, observe)}),
    ):
        torch.manual_seed(3)
        models[name] = small_colour_network()
        few = images.head(20)
        train(models[name], replace(recipe, **change), images, few, fabric, seed=1, folder=None)
    states.append({k: v.double() for k, v in models["last"].state_dict().items()})
    _, *after = states
    assert len(after) == 3
    for name, tensor in models["averaged"].state_dict().items():
        if not tensor.is_floating_point():
            continue
        average = after[0][name]
        for state in after[1:]:
            average = 0.9 * average + 0.1 * state[name]
        torch.testing.assert_close(tensor.double(), average, rtol=1e-5, atol=1e-7, msg=name)
        assert (tensor != models["last"].state_dict()[name]).any(), name


def test_snapshots_are_the_weights_after_their_epochs(few, fabric, tiny_recipe, tmp_path):
    """Those of shorter runs, not the best so far: a constant rate knows not what follows."""
    recipe = replace(
        tiny_recipe, epochs=6, optimizer=SGD(0.02), schedule=Constant(), snapshots=(1, 4, 6)
    )
    folder = RunFolder(tmp_path)
    _, result = _train(few, recipe, fabric, folder=folder)
    assert any(History(result.history.epochs[:n]).best.number < n for n in recipe.snapshots)
    for epochs in recipe.snapshots:
        shorter = replace(recipe, epochs=epochs, snapshots=(), selection="last")
        model, _ = _train(few, shorter, fabric)
        weights, facts = load_tensors(folder.snapshot(epochs))
        _assert_same_bits(weights, model.state_dict())
        assert facts == {"epoch": epochs}
    assert len(list(folder.snapshot(1).parent.iterdir())) == 3


def _epoch(number: int, top1: float, loss: float, size: int = 32) -> Epoch:
    return Epoch(number, size, 1.0, 0.5, 1.0, loss, top1, 1e-3, 1.0, 100.0)


@pytest.mark.parametrize(
    ("epochs", "best"),
    [
        ([_epoch(1, 0.3, 1.0), _epoch(2, 0.9, 1.0), _epoch(3, 0.9, 1.0)], 2),
        ([_epoch(1, 0.9, 1.0), _epoch(2, 0.9, 0.5), _epoch(3, 0.8, 0.1)], 2),
        ([_epoch(1, 0.9, 1.0, 16), _epoch(2, 0.5, 1.0), _epoch(3, 0.4, 0.1)], 2),
        ([_epoch(1, 0.9, 1.0, 16), _epoch(2, 0.5, 1.0, 24), _epoch(3, 0.4, 0.1)], 3),
    ],
)
def test_the_best_epoch_by_hand(epochs, best):
    assert History(epochs).best.number == best
    assert History.from_rows(History(epochs).to_rows()).best.number == best


def test_keeps_the_weights_of_the_best_epoch(few, fabric, tiny_recipe, tmp_path):
    """At so high a rate the last epoch is not the best; the snapshots know all weights."""
    recipe = replace(
        tiny_recipe, epochs=6, optimizer=SGD(0.02), schedule=Constant(),
        snapshots=tuple(range(1, 7)),
    )  # fmt: skip
    model, result = _train(few, recipe, fabric, folder=RunFolder(tmp_path))
    scores = [(-e.validation_top1, e.validation_loss) for e in result.history.epochs]
    best = scores.index(min(scores)) + 1
    assert best < 6, "the fixture should not improve to the end"
    _assert_same_bits(load_tensors(RunFolder(tmp_path).snapshot(best))[0], model.state_dict())


def test_the_last_epoch_is_kept_without_looking(few, fabric, tiny_recipe, tmp_path):
    recipe = replace(
        tiny_recipe, epochs=6, optimizer=SGD(0.02), schedule=Constant(), snapshots=(6,),
        selection="last",
    )  # fmt: skip
    model, result = _train(few, recipe, fabric, folder=RunFolder(tmp_path))
    _assert_same_bits(load_tensors(RunFolder(tmp_path).snapshot(6))[0], model.state_dict())
    for name in ("validation_loss", "validation_top1"):
        assert all(math.isnan(score) for score in result.history.column(name))
    others = few._replace(validation=few.test)  # nobody looks at them
    again, _ = _train(others, replace(recipe, snapshots=()), fabric)
    _assert_same_bits(again.state_dict(), model.state_dict())


class BestWhenSmall(nn.Module):
    """Answers 0 at 16 pixels and never at other sizes; notes at which it is used."""

    def __init__(self, sides: list[tuple[bool, int]]) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 10)
        self.sides = sides

    def forward(self, x):
        side = x.shape[-1]
        self.sides.append((self.training, side))
        return self.fc(x.mean(dim=(2, 3))) + functional.one_hot(torch.tensor(0), 10) * (
            50.0 if side == 16 else -50.0
        )


def test_small_sizes_come_first_and_the_epoch_is_chosen_at_the_last(fabric, tiny_recipe):
    """Validated at the size of the phase; only epochs of the last one can be compared."""
    recipe = replace(
        tiny_recipe, loss=CrossEntropy(), pipeline="resnet18", size=32, epochs=8, batch_size=30,
        sizes=((0.5, 16), (0.25, 24)), most_images=30,
    )  # fmt: skip
    images = colour_images(40, 37)
    images = replace(images, labels=torch.zeros_like(images.labels))
    sides: list[tuple[bool, int]] = []
    model = BestWhenSmall(sides)
    result = train(model, recipe, images, images, fabric, seed=1, folder=None)
    phases = [16] * 4 + [24] * 2 + [32] * 2
    assert [side for training, side in sides if training] == phases
    assert [side for training, side in sides if not training] == phases
    assert [epoch.size for epoch in result.history.epochs] == phases
    assert result.history.column("validation_top1") == [1.0] * 4 + [0.0] * 4
    assert result.history.best.number in (7, 8)


def _vgg_like() -> nn.Sequential:
    """Eight 3 x 3 convolutions and two linear layers, He's initialisation, no normalisation."""
    layers: list[nn.Module] = []
    channels = 3
    for width in (16, 16, 0, 24, 24, 0, 32, 32, 0, 32, 32, 0):
        if not width:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width
    layers += [nn.Flatten(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)]
    for layer in layers:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    nn.init.normal_(layers[-1].weight, std=0.01)
    return nn.Sequential(*layers)


def test_a_deep_network_without_normalisation_starts(fabric, tiny_recipe):
    """Under ln 10, the loss of one that says nothing, with the recipe's warm-up and clipping."""
    recipe = replace(
        tiny_recipe, loss=CrossEntropy(), pipeline="vgg16", size=32, epochs=5, batch_size=16,
        optimizer=SGD(0.02, 5e-4), clip_norm=1.0, schedule=Cosine(warm_up=0.1), most_images=None,
    )  # fmt: skip
    images = colour_images(160, 37)
    torch.manual_seed(0)
    result = train(_vgg_like(), recipe, images, images, fabric, seed=1, folder=None)
    assert result.history.column("validation_loss")[-1] < 0.8 * math.log(10)


def _broken(wanted: int, value: float) -> Map:
    """The MAP loss, whose training value number `wanted`, counted from 1, becomes `value`."""
    count = iter(range(1, 1000))

    class Broken(Map):
        def __call__(self, penalties, labels):
            loss = super().__call__(penalties, labels)
            return loss * value if torch.is_grad_enabled() and next(count) == wanted else loss

    return Broken(j=5.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_step_epoch_and_last_good_checkpoint(
    few, fabric, tiny_recipe, tmp_path, value
):
    recipe = replace(tiny_recipe, loss=_broken(3 + 2, value))  # step 2 of epoch 2
    folder = RunFolder(tmp_path)
    with pytest.raises(DivergenceError) as caught:
        _train(few, recipe, fabric, folder=folder)
    assert str(caught.value) == (
        f"the loss became {value} at step 2 of epoch 2; lower lr=0.002; "
        f"the last good checkpoint is {folder.checkpoint} (epoch 1)"
    )
    kept = load_checkpoint(folder.checkpoint)
    assert len(kept["history"]) == 1
    assert all(bool(t.isfinite().all()) for t in kept["model"].values())


@pytest.mark.parametrize("kept", [True, False])
def test_says_so_when_there_is_no_checkpoint_yet(few, fabric, tiny_recipe, tmp_path, kept):
    recipe = replace(tiny_recipe, loss=_broken(1, float("nan")))
    remains = "no epoch was finished, so there is no checkpoint" if kept else "nothing was kept"
    with pytest.raises(TrainingError, match=rf"at step 1 of epoch 1; .*{remains}$"):
        _train(few, recipe, fabric, folder=RunFolder(tmp_path) if kept else None)
    assert list(tmp_path.iterdir()) == []


def test_weights_spoilt_by_the_very_last_step_are_not_kept(few, fabric, tiny_recipe, tmp_path):
    """No later training loss would tell: only the validation shows it."""
    recipe = replace(
        tiny_recipe, epochs=1, batch_size=96, optimizer=SGD(1e300), schedule=Constant()
    )
    with pytest.raises(DivergenceError, match="on the validation images of epoch 1"):
        _train(few, recipe, fabric, folder=RunFolder(tmp_path))
    assert list(tmp_path.iterdir()) == []


def _outputs(model, inputs, kinds):
    """What each layer of `kinds` gives."""
    outputs, handles = {}, []
    for name, layer in model.named_modules():
        if isinstance(layer, kinds):
            hook = lambda _, __, out, name=name: outputs.setdefault(name, out.detach())  # noqa: E731
            handles.append(layer.register_forward_hook(hook))
    with torch.no_grad():
        model(inputs)
    for handle in handles:
        handle.remove()
    return outputs


def test_every_layer_but_the_last_starts_centred_and_at_unit_size():
    torch.manual_seed(0)
    model, inputs = _vgg_like().double(), 0.3 + torch.rand(24, 3, 32, 32, dtype=torch.float64)
    last = model[-1].weight.clone()
    data_dependent_init(model, inputs)
    assert model.training and torch.equal(model[-1].weight, last)
    outputs = _outputs(model.eval(), inputs, (nn.Conv2d, nn.Linear))
    outputs.popitem()  # the last layer's
    assert len(outputs) == 9
    for name, out in outputs.items():
        values = out.transpose(0, 1).flatten(1).double()
        assert values.mean(dim=1).abs().max() < 1e-10, name
        assert abs(values.square().mean().item() - 1) < 1e-10, name


def test_fitted_weights_are_the_old_ones_scaled_and_shifted():
    """One layer by hand: weights over the spread s, the bias less the mean."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).double()
    first, inputs = nn.Conv2d(2, 3, 3).double(), torch.randn(50, 2, 4, 4, dtype=torch.float64)
    first.load_state_dict(model[0].state_dict())
    with torch.no_grad():
        out = first(inputs)
        mean = out.mean((0, 2, 3))
        spread = torch.stack([out[:, c] - mean[c] for c in range(3)]).square().mean().sqrt()
    data_dependent_init(model, inputs)
    torch.testing.assert_close(model[0].weight, first.weight / spread, rtol=1e-12, atol=0)
    torch.testing.assert_close(model[0].bias, (first.bias - mean) / spread, rtol=1e-10, atol=1e-12)


def test_dead_layers_missing_biases_and_second_calls_do_no_harm():
    torch.manual_seed(2)
    silent = nn.Conv2d(2, 2, 1)
    nn.init.zeros_(silent.weight)
    twice, bare = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1, bias=False)
    model = nn.Sequential(twice, twice, bare, silent, nn.Flatten(), nn.Linear(8, 1))
    before = silent.bias.clone()
    inputs = torch.randn(40, 2, 2, 2)
    data_dependent_init(model, inputs)
    assert torch.equal(silent.bias, before) and not silent.weight.any()
    out = twice(inputs)
    assert abs(out.square().mean().item() - 1) < 1e-5, "fitted to its first call"
    centred = bare(twice(twice(inputs)))
    centred = centred - centred.mean((0, 2, 3), keepdim=True)
    assert abs(centred.square().mean().item() - 1) < 1e-5
    assert not any(layer._forward_hooks for layer in model.modules())


def test_a_run_begins_with_fitted_weights_where_the_recipe_asks_for_it(few, fabric, tiny_recipe):
    recipe = replace(
        tiny_recipe, data_dependent_init=True, epochs=1, optimizer=SGD(1e-12), schedule=Constant()
    )
    model, _ = _train(few, recipe, fabric)
    fitted = _fresh()
    data_dependent_init(fitted, Pipeline.from_range(LOW, HIGH, 32).evaluation(few.train.images))
    for left, right in zip(model.parameters(), fitted.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)
