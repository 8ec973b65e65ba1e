"""The training loop."""

import hashlib
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from lightning_fabric import Fabric
from torch import Tensor, nn

from internals.attacks.gradient_sign import fgsm, pgd, random_start
from internals.data.image_set import ImageSet
from internals.data.pipeline import Pipeline
from internals.errors import CheckpointError, TrainingError
from internals.models.evaluation import evaluating
from internals.progress import Progress
from internals.training.batches import Batches, first, micro_batches
from internals.training.checkpoint import load_checkpoint, save_checkpoint, tensor_bytes
from internals.training.distributed import deterministic, from_first
from internals.training.evaluate import evaluate
from internals.training.losses import Loss, build_loss
from internals.training.optim import build_optimizer, learning_rate
from internals.training.recipe import Recipe


class Adversary:
    """What a recipe's `adversary` makes of a training batch, for the weights as they stand.

    With a share of one half each step sees, as in Goodfellow et al. (2015, section 6), as much of
    the images as of what fools the network about them; with a share of 1 it sees the latter only
    (Madry et al. 2018, section 2). The attack is made in evaluation mode, so that it draws no
    dropout mask and moves no statistics of a batch normalisation. Its random starts depend on
    (seed, step) and an image's place in the batch alone: a run that goes on after a kill, or that
    several processes share, meets the same adversary.
    """

    def __init__(self, recipe: Recipe, model: nn.Module, loss: Loss, seed: int) -> None:
        self.recipe, self.model, self.loss, self.seed = recipe, model, loss, seed

    def altered(
        self,
        inputs: Float[Tensor, "share channels size size"],
        labels: Int64[Tensor, " share"],
        pipeline: Pipeline,
        places: Int64[Tensor, " share"],
        step: int,
        fabric: Fabric,
    ) -> Float[Tensor, "share channels size size"]:
        """`inputs` with those attacked whose turn it is by their `places` in the whole batch.

        Every image or every other one, as the share says: then all processes have equal work.
        """
        chosen = self.chosen(places)
        if self.recipe.adversary == "none" or not chosen.any():
            return inputs
        normalization, epsilon = pipeline.normalization, self.recipe.adversary_epsilon
        rows = chosen.nonzero().flatten().to(inputs.device)
        # There and back a black pixel may come out a rounding error below 0.
        pixels = normalization.invert(inputs[rows]).clamp(0, 1)
        with fabric.autocast():
            if self.recipe.adversary == "fgsm":
                found = fgsm(
                    self.model, pixels, labels[rows], epsilon,
                    normalization=normalization, loss=self.loss,
                )  # fmt: skip
            else:
                found = pgd(
                    self.model, pixels, labels[rows], epsilon, steps=self.recipe.adversary_steps,
                    normalization=normalization, loss=self.loss,
                    start=self._starts(places[chosen], pixels, step),
                )  # fmt: skip
        return inputs.index_copy(0, rows, normalization.apply(255 * found))

    def chosen(self, places: Int64[Tensor, " share"]) -> Tensor:
        """Which of the `places` in a batch are attacked: the share of them, evenly spread."""
        share = self.recipe.adversary_share
        return ((places + 1) * share).floor() > (places * share).floor()

    def _starts(self, places: Tensor, like: Tensor, step: int) -> Tensor:
        drawn = hashlib.sha256(repr((self.seed, "adversary", step)).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(drawn[:4], "big"))
        shape = torch.Size((int(places.max()) + 1, *like.shape[1:]))
        whole = random_start(shape, self.recipe.adversary_epsilon, generator)
        return whole[places].to(like)


STARTED_ON = 128  # images that first weights are fitted to


def build_pipeline(recipe: Recipe, images: ImageSet) -> Pipeline:
    """The pipeline that `recipe` names, with the statistics of `images`, the training split."""
    if recipe.input_range is not None:
        return Pipeline.from_range(*recipe.input_range, recipe.size)
    return Pipeline.fit(recipe.pipeline, images, recipe.size)


def standardise(model: nn.Module, inputs: Float[Tensor, "n c h w"]) -> None:
    """Scale and centre each layer with weights, so that `inputs` leave it as numbers of unit size.

    For deep networks without normalisation layers, which else learn nothing for many steps.

    In the order in which they are called, each convolution and linear layer but the last is divided
    by its outputs' root mean square about the mean of each channel (Mishkin and Matas 2016, which
    leaves the means alone), and that mean goes into the bias (Salimans and Kingma 2016, section
    3). So the first steps see what batch normalisation would have made, with no such layer. Layers
    without a bias keep their means; one that says the same whatever it is shown is left as it is.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    seen: set[nn.Module] = set()
    hooks = [layer.register_forward_hook(_Fit(seen)) for layer in layers[:-1]]
    try:
        with evaluating(model), torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()


class _Fit:
    """A hook that fits a layer when it is first called, and hands on what it now says."""

    def __init__(self, seen: set[nn.Module]) -> None:
        self.seen = seen

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if layer in self.seen:
            return output
        self.seen.add(layer)
        assert isinstance(layer, nn.Conv2d | nn.Linear)
        over = [axis for axis in range(output.ndim) if axis != 1]
        spread = (output - output.mean(over, keepdim=True)).square().mean().sqrt()
        if spread <= 1e-6 * output.abs().max():
            return output
        layer.weight /= spread
        if layer.bias is None:
            return output / spread
        layer.bias /= spread
        output = output / spread
        mean = output.mean(over)
        layer.bias -= mean
        return output - mean.view(-1, *[1] * (output.ndim - 2))


@dataclass(frozen=True)
class Epoch:
    """One pass: mean training loss and accuracy while it ran, validation after it, seconds.

    `images_per_second` is the speed of training alone, all processes together.
    """

    number: int
    train_loss: float
    train_top1: float
    validation_loss: float
    validation_top1: float
    learning_rate: float
    seconds: float
    images_per_second: float


@dataclass
class History:
    """The epochs of a run, in order; accuracies are shares, 0 to 1."""

    epochs: list[Epoch] = field(default_factory=list)

    @property
    def best(self) -> Epoch:
        """The epoch with the highest validation accuracy, then the lowest loss, then the first."""
        return min(self.epochs, key=lambda e: (-e.validation_top1, e.validation_loss, e.number))

    def column(self, name: str) -> list[float]:
        """One number of every epoch, e.g. "validation_top1"."""
        return [getattr(epoch, name) for epoch in self.epochs]

    def to_rows(self) -> list[dict[str, Any]]:
        """Plain dictionaries, for files."""
        return [asdict(epoch) for epoch in self.epochs]

    @classmethod
    def from_rows(cls, rows: list[dict[str, Any]]) -> "History":
        """The inverse of `to_rows`."""
        return cls([Epoch(**row) for row in rows])


_CHECK_EVERY = 50  # steps between looks at the losses: a look makes a GPU wait
_DISK = 5e8  # bytes a second that a slow disk takes
_SAVING_SHARE = 0.05  # of the time, at most, goes into checkpoints that take it over a second


def train(
    model: nn.Module,
    recipe: Recipe,
    images: ImageSet,
    validation: ImageSet,
    fabric: Fabric,
    *,
    seed: int,
    checkpoint: Path,
) -> tuple[History, Pipeline]:
    """Train `model` on `images` by `recipe` and leave in it the weights of its best epoch.

    The best epoch is the one with the highest accuracy on `validation`. Returned are what happened
    and the pipeline with the statistics of `images`. After every epoch (of those that are over in
    a wink, after some) all that a continuation needs is written to `checkpoint`; where that file
    is there already the run goes on from it, and ends in the same bits as a run that was never
    interrupted. Several processes of one `fabric` share each batch; batch normalisation, as with
    `micro_batch`, is then over each one's share, and the running statistics, the scores and the
    files are the first one's. Raises `TrainingError` when the loss is no number any more, and
    `CheckpointError` when the checkpoint is damaged or belongs to another run.
    """
    run = _Training(model, recipe, images, validation, fabric, seed, checkpoint)
    with deterministic():
        run.resume()
        run.finish()
    return run.history, run.pipeline


class _Training:
    def __init__(self, model, recipe, images, validation, fabric, seed, checkpoint) -> None:
        images = first(images, recipe.most_images)
        self.recipe, self.fabric, self.seed, self.checkpoint = recipe, fabric, seed, checkpoint
        self.images, self.validation = images, first(validation, recipe.most_tested)
        self.loss: Loss = build_loss(recipe)
        self.pipeline: Pipeline
        self.plain = model.to(memory_format=torch.channels_last)
        self.model, self.optimizer = fabric.setup(self.plain, build_optimizer(recipe, self.plain))
        self.batches = Batches(
            images, recipe.batch_size, seed, fabric.device, fabric.global_rank, fabric.world_size,
            shift=recipe.shift, rotation=recipe.rotation, duplicate=recipe.duplicate,
        )  # fmt: skip
        self.adversary = Adversary(recipe, self.plain, self.loss, seed)
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self.epochs = recipe.epochs_on(len(images))
        self.steps = recipe.steps_an_epoch(len(images))
        self.kept = 0  # the number of the epoch that the checkpoint ends with
        self.saved_at = time.monotonic()  # when it was written, or the run began
        # Written beside the weights, so that a checkpoint never continues another run.
        self.identity = repr(
            (recipe, seed, images.fingerprint, len(images), len(self.validation), fabric.world_size)
        )

    def resume(self) -> None:
        """Go on where the checkpoint left off, if there is one; measure the images if not."""
        if not self.checkpoint.exists():
            self.pipeline = build_pipeline(self.recipe, self.images)
            if self.recipe.standardised_start:
                some = self.images.images[:STARTED_ON].to(self.fabric.device)
                standardise(self.plain, self.pipeline.evaluation(some))
            return
        state = load_checkpoint(self.checkpoint)
        if state.get("identity") != self.identity:
            raise CheckpointError(
                f"{self.checkpoint} belongs to a run with another recipe, seed or data; "
                "delete it, or choose another folder"
            )
        self.pipeline = Pipeline.from_state(
            self.recipe.pipeline, self.recipe.size, state["statistics"]
        )
        self.plain.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = History.from_rows(state["history"])
        self.best = state["best"] or self.copied()
        self.kept = len(self.history.epochs)

    def finish(self) -> None:
        """Run the epochs that are left, then put the best weights into the model."""
        done = len(self.history.epochs)
        with Progress(self.recipe.network, self.epochs * self.steps) as bar:
            bar.start_at(done * self.steps)
            for number in range(done + 1, self.epochs + 1):
                epoch = self.one_epoch(number, bar)
                self.history.epochs.append(epoch)
                if self.history.best is epoch and self.fabric.is_global_zero:
                    self.best = self.copied()
                from_first(self.fabric, self.save)
                bar.advance(
                    0,
                    epoch=f"{number}/{self.epochs}",
                    loss=f"{epoch.train_loss:.4f}",
                    validation=f"{epoch.validation_top1:.2%}",
                )
        if self.best:
            self.plain.load_state_dict(self.best)

    def one_epoch(self, number: int, bar: Progress) -> Epoch:
        """One pass over the training images in an order that depends on seed and number only."""
        began = time.monotonic()
        # For dropout, of which each process has its own.
        torch.manual_seed(self.seed * 100_003 + number + 1_000_003 * self.fabric.global_rank)
        pipeline = self.pipeline.at(self.recipe.size_in(number, self.epochs))
        losses = torch.zeros(self.steps, device=self.fabric.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.fabric.device)
        checked = 0
        self.model.train()
        for step, batch in enumerate(self.batches.order(number)):
            part, right = self.one_step((number - 1) * self.steps + step, batch, pipeline)
            losses[step] = part * len(batch)
            correct += right
            bar.advance(silent=True)
            if step - checked == _CHECK_EVERY - 1 or step == self.steps - 1:
                self.check(losses, checked, step + 1, number)
                checked = step + 1
        speed = self.batches.count / (time.monotonic() - began)
        loss, top1 = from_first(self.fabric, lambda: self.validate(number))
        return Epoch(
            number=number,
            train_loss=losses.sum().item() / self.batches.count,
            train_top1=self.added_up(correct).item() / self.batches.count,
            validation_loss=loss,
            validation_top1=top1,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            seconds=time.monotonic() - began,
            images_per_second=speed,
        )

    def one_step(self, step: int, batch: Tensor, pipeline: Pipeline) -> tuple[Tensor, Tensor]:
        """One update from the images numbered `batch`.

        Returned are this process's part of their mean loss, and how many of its share were right.
        """
        scores = self.history.column("validation_top1")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, step, self.epochs, self.steps, scores)
        inputs, labels, weight = self.batches.inputs(
            batch, pipeline, step // self.steps + 1, step % self.steps
        )
        places = self.batches.places(len(batch))
        inputs = self.adversary.altered(inputs, labels, pipeline, places, step, fabric=self.fabric)
        parts = list(micro_batches(inputs, labels, self.recipe.micro_batch))
        total = torch.zeros((), device=inputs.device)
        right = torch.zeros((), dtype=torch.int64, device=inputs.device)
        self.optimizer.zero_grad()
        for number, (part, answers) in enumerate(parts, start=1):
            # Each process's gradient is sent when it is complete, and their mean is taken.
            with self.fabric.no_backward_sync(self.model, enabled=number < len(parts)):
                outputs = self.model(part.contiguous(memory_format=torch.channels_last))
                loss = self.loss(outputs, answers) * (len(part) * weight)
                self.fabric.backward(loss * self.fabric.world_size)
            total += loss.detach()
            right += (self.loss.scores(outputs).argmax(dim=1) == answers).sum() * (weight > 0)
        if self.recipe.clip_norm is not None:
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=self.recipe.clip_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        return total, right

    def validate(self, number: int) -> tuple[float, float]:
        """Loss and top-1 on the held-out images, in the precision of training."""
        with self.fabric.autocast():
            found = evaluate(self.plain, self.loss, self.validation, self.pipeline)
        if not math.isfinite(found.loss):  # what the last step of an epoch spoilt shows only here
            raise self.failure(found.loss, f"on the validation images of epoch {number}")
        return found.loss, found.top1

    def added_up(self, numbers: Tensor) -> Tensor:
        """The sum over all processes."""
        return self.fabric.all_reduce(numbers, reduce_op="sum")

    def check(self, losses: Tensor, begin: int, end: int, number: int) -> None:
        """Add up the processes' parts of some losses; stop at once when one is no number."""
        losses[begin:end] = self.added_up(losses[begin:end].clone())
        odd = (~losses[:end].isfinite()).nonzero()
        if len(odd):
            step = int(odd[0])
            raise self.failure(losses[step].item(), f"at step {step + 1} of epoch {number}")

    def failure(self, loss: float, where: str) -> TrainingError:
        """The error that ends the run, saying what can still be used."""
        kept = (
            f"the last good checkpoint is {self.checkpoint} (epoch {self.kept})"
            if self.checkpoint.exists()
            else "no epoch was finished, so there is no checkpoint"
        )
        return TrainingError(
            f"the loss became {loss} {where}; "
            f"lower learning_rate={self.recipe.learning_rate:g}; {kept}"
        )

    def save(self) -> None:
        """Write the checkpoint, unless it is large and too little would be lost without it."""
        state = self.state()
        seconds = tensor_bytes(state) / _DISK
        if seconds > 1 and time.monotonic() - self.saved_at < seconds / _SAVING_SHARE:
            return
        save_checkpoint(self.checkpoint, state)
        self.kept, self.saved_at = len(self.history.epochs), time.monotonic()

    def copied(self) -> dict[str, Tensor]:
        return {k: v.detach().cpu().clone() for k, v in self.plain.state_dict().items()}

    def state(self) -> dict[str, Any]:
        newest = self.history.best is self.history.epochs[-1]
        return {
            "identity": self.identity,
            "model": self.plain.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history.to_rows(),
            "best": {} if newest else self.best,  # the model's own weights
            "statistics": self.pipeline.state(),
        }
