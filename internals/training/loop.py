"""The training loop: one for every network of the book, and for every arm of an ablation."""

import hashlib
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from internals.data.image_set import ImageSet
from internals.data.pipeline import Pipeline
from internals.errors import CheckpointError, TrainingError
from internals.models.evaluation import evaluating
from internals.models.weights_file import hash_tensors
from internals.progress import Progress
from internals.training.batches import Batches, micro_batches
from internals.training.checkpoint import (
    load_checkpoint,
    save_checkpoint,
    save_tensors,
    tensor_bytes,
)
from internals.training.distributed import deterministic, on_rank_zero
from internals.training.evaluate import Epoch, History, evaluate
from internals.training.optim import learning_rate
from internals.training.recipe import Recipe, plain

REPLAYED_STEPS = 20  # of an epoch: recorded while training, and run again by `replay`
_INITIALISED_ON = 128  # images that data-dependent first weights are fitted to
_CHECK_EVERY = 50  # steps between looks at the losses: a look makes a GPU wait
_DISK = 5e8  # bytes a second that a slow disk takes
_SAVING_SHARE = 0.05  # of the time, at most, goes into checkpoints that take it over a second
_TAIL = 0.1  # the share of a run whose mean loss is its final loss


class DivergenceError(TrainingError):
    """A loss that is no number any more."""


@dataclass(frozen=True)
class ReplayedSteps:
    """What the first steps of an epoch were, so that other code can show that it takes the same.

    Args:
        epoch: The number of the epoch, counted from 1.
        order: A SHA-256 of the numbers of the images of each step, in order.
        losses: The mean loss of each step.
        weights: A SHA-256 of the weights after the last of them.
    """

    epoch: int
    order: str
    losses: tuple[float, ...]
    weights: str

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "ReplayedSteps":
        """The inverse of `dataclasses.asdict`, of what a file gave back."""
        return cls(**{**row, "losses": tuple(row["losses"])})


@dataclass(frozen=True)
class Trained:
    """What training gives beside the weights."""

    history: History
    pipeline: Pipeline
    replays: tuple[ReplayedSteps, ...]


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps what it needs to be resumed, and what is kept of it beside the weights.

    Args:
        path: An existing folder.
    """

    path: Path

    @property
    def checkpoint(self) -> Path:
        """The unfinished run as it was after its last epoch."""
        return self.path / "checkpoint.pt"

    @property
    def replay(self) -> Path:
        """The unfinished run as it was after its last snapshot but one at the end."""
        return self.path / "replay.pt"

    def snapshot(self, epoch: int) -> Path:
        """The weights after `epoch`."""
        return self.path / "snapshots" / f"epoch-{epoch:03}.safetensors"


def train(
    model: nn.Module,
    recipe: Recipe,
    images: ImageSet,
    validation: ImageSet,
    fabric: Fabric,
    *,
    seed: int,
    folder: RunFolder | None,
    compute: str = "",
) -> Trained:
    """Train `model` and leave in it the weights that the recipe selects.

    After every epoch (after some, where epochs are shorter than it takes to write) all that a
    resumption needs is written to the folder's checkpoint. Where that file is there already the
    run goes on from it, and ends in the same bits as a run that was never interrupted. Several
    processes of one `fabric` share each batch; batch normalisation, as with `Recipe.micro_batch`,
    is then over each one's share, and the running statistics, the scores and the files are the
    first one's.

    Args:
        model: The network with its first weights.
        recipe: How it is trained.
        images: The training images; their statistics make the pipeline.
        validation: Held-out images that choose the epoch.
        fabric: On which devices, in which precision.
        seed: Decides the order of the images, their augmentation, and dropout.
        folder: Where to keep what a resumption needs; None keeps nothing.
        compute: What else decides the last bits: a checkpoint of another one is refused.

    Raises:
        DivergenceError: When the loss is no number any more.
        CheckpointError: When the checkpoint is damaged or belongs to another run.
    """
    run = _Training(model, recipe, images, validation, fabric, seed, folder, compute)
    with deterministic():
        run.resume()
        run.finish()
    return Trained(run.history, run.pipeline, tuple(run.replays))


def replay(
    model: nn.Module,
    recipe: Recipe,
    images: ImageSet,
    fabric: Fabric,
    *,
    seed: int,
    checkpoint: Path | None = None,
) -> ReplayedSteps:
    """Run the first steps of an epoch again, and say what they were.

    Args:
        model: The network with its first weights; they are changed.
        recipe: How it was trained.
        images: The training images.
        fabric: On which devices, in which precision.
        seed: That of the run.
        checkpoint: The state to begin from; None begins with the first epoch.

    Raises:
        CheckpointError: When the checkpoint is damaged or belongs to another network.
    """
    run = _Training(model, recipe, images, images, fabric, seed, None, "")
    with deterministic():
        if checkpoint is None:
            run.start()
        else:
            run.restore(load_checkpoint(checkpoint))
        return run.first_steps(len(run.history.epochs) + 1)


class _Training:
    def __init__(self, model, recipe, images, validation, fabric, seed, folder, compute) -> None:
        images = images.head(recipe.most_images)
        self.recipe, self.fabric, self.seed, self.folder = recipe, fabric, seed, folder
        self.images, self.validation = images, validation.head(recipe.most_tested)
        self.loss = recipe.loss
        self.pipeline: Pipeline
        self.module = model.to(memory_format=torch.channels_last)
        self.model, self.optimizer = fabric.setup(self.module, recipe.optimizer.build(self.module))
        self.averaged = _averaged(self.module, recipe.average)
        self.batches = Batches(
            images, recipe.batch_size, seed, fabric.device, fabric.global_rank, fabric.world_size,
            recipe.augment,
        )  # fmt: skip
        self.history = History()
        self.replays: list[ReplayedSteps] = []
        self.selected: dict[str, Tensor] = {}
        self.steps_an_epoch = recipe.steps_an_epoch(len(images))
        self.steps = recipe.steps_on(len(images))
        self.epochs = math.ceil(self.steps / self.steps_an_epoch)
        self.saved_epoch = 0  # the number of the epoch that the checkpoint ends with
        self.saved_at = time.monotonic()  # when it was written, or the run began
        # Written beside the weights, so that a checkpoint never continues another run.
        self.identity = repr(
            (plain(recipe), seed, images.fingerprint, len(images), len(self.validation))
        )
        self.compute = compute

    @property
    def scored(self) -> nn.Module:
        """The network whose weights are scored and kept: the average where there is one."""
        return self.averaged.module if self.averaged is not None else self.module

    def start(self) -> None:
        """Measure the training images, and fit the first weights to them where that is asked."""
        self.pipeline = self.recipe.fit_pipeline(self.images)
        if self.recipe.data_dependent_init:
            data_dependent_init(self.module, self.first_inputs(_INITIALISED_ON))

    def resume(self) -> None:
        """Go on where the checkpoint left off, if there is one."""
        if self.folder is None or not self.folder.checkpoint.exists():
            self.start()
            return
        state = load_checkpoint(self.folder.checkpoint)
        if state.get("identity") != self.identity:
            raise CheckpointError(
                f"{self.folder.checkpoint} belongs to a run with another recipe, seed or data; "
                "delete it, or choose another folder"
            )
        if (begun := state.get("compute")) != self.compute:
            raise CheckpointError(
                f"{self.folder.checkpoint} was begun as {begun!r} and would go on as "
                f"{self.compute!r}, to the bits of neither; go on with the same device, "
                "precision, processes and threads (INTERNALS_CORES), or delete it"
            )
        self.restore(state)

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the state that `state` returned."""
        try:
            self.pipeline = Pipeline.from_state(
                self.recipe.pipeline_name, self.recipe.size, state["statistics"]
            )
            self.module.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.averaged is not None:
                self.averaged.load_state_dict(state["averaged"])
            self.history = History.from_rows(state["history"])
            self.replays = [ReplayedSteps.from_row(row) for row in state["replays"]]
            self.selected = state["selected"] or self.copied()
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"a checkpoint cannot be continued ({' '.join(str(error).split())}); delete it to "
                "train from the start"
            ) from error
        self.saved_epoch = len(self.history.epochs)

    def finish(self) -> None:
        """Run the epochs that are left, then put the selected weights into the model."""
        done = len(self.history.epochs)
        with Progress(self.recipe.network, self.steps) as bar:
            bar.start_at(min(done * self.steps_an_epoch, self.steps))
            for number in range(done + 1, self.epochs + 1):
                epoch = self.one_epoch(number, bar)
                self.history.epochs.append(epoch)
                if self.is_selected(epoch) and self.fabric.is_global_zero:
                    self.selected = self.copied()
                on_rank_zero(self.fabric, self.keep)
                shown = {"epoch": f"{number}/{self.epochs}", "loss": f"{epoch.train_loss:.4f}"}
                if self.recipe.selection == "validation":
                    shown |= {"validation": f"{epoch.validation_top1:.2%}"}
                bar.advance(0, silent=False, **shown)
        if self.selected:
            self.module.load_state_dict(self.selected)

    def is_selected(self, epoch: Epoch) -> bool:
        """Whether the weights of `epoch`, the newest, are the ones to keep so far."""
        return self.recipe.selection == "last" or self.history.best is epoch

    def one_epoch(self, number: int, bar: Progress) -> Epoch:
        """One pass over the training images in an order that depends on seed and number only."""
        began = time.monotonic()
        self.seed_dropout(number)
        size = self.recipe.size_in(number, self.epochs)
        pipeline = self.pipeline.at(size)
        first = (number - 1) * self.steps_an_epoch
        steps = min(self.steps_an_epoch, self.steps - first)
        losses = torch.zeros(steps, device=self.fabric.device)
        images = torch.zeros(steps, device=self.fabric.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.fabric.device)
        checked = 0
        recorder = self.recorder(number)
        self.model.train()
        for step, batch in zip(range(steps), self.batches.order(number), strict=False):
            part, right = self.one_step(first + step, batch, pipeline)
            losses[step], images[step] = part * len(batch), len(batch)
            correct += right
            recorder.add(batch, part)
            bar.advance(silent=True)
            if step - checked == _CHECK_EVERY - 1 or step == steps - 1:
                self.check(losses, checked, step + 1, number)
                checked = step + 1
        self.replays += recorder.result()
        shown = images.sum().item()
        speed = shown / (time.monotonic() - began)
        validated = self.recipe.selection == "validation"
        loss, top1 = (
            on_rank_zero(self.fabric, lambda: self.validate(number, pipeline))
            if validated
            else (math.nan, math.nan)
        )
        tail = min(steps, max(1, round(_TAIL * self.steps)))
        return Epoch(
            number=number,
            size=size,
            train_loss=losses.sum().item() / shown,
            train_top1=self.added_up(correct).item() / shown,
            final_loss=losses[-tail:].sum().item() / images[-tail:].sum().item(),
            validation_loss=loss,
            validation_top1=top1,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            seconds=time.monotonic() - began,
            images_per_second=speed,
        )

    def first_steps(self, number: int) -> ReplayedSteps:
        """The recorded steps of epoch `number`, run again."""
        self.seed_dropout(number)
        pipeline = self.pipeline.at(self.recipe.size_in(number, self.epochs))
        first = (number - 1) * self.steps_an_epoch
        steps = min(self.steps_an_epoch, self.steps - first, REPLAYED_STEPS)
        recorder = _Recorder(number, self.module, steps)
        self.model.train()
        for step, batch in zip(range(steps), self.batches.order(number), strict=False):
            recorder.add(batch, self.one_step(first + step, batch, pipeline)[0])
        return recorder.result()[0]

    def recorder(self, number: int) -> "_Recorder":
        """Records the first steps of the first epoch, and of the one after the last snapshot."""
        first = (number - 1) * self.steps_an_epoch
        steps = min(self.steps_an_epoch, self.steps - first, REPLAYED_STEPS)
        replayed = number in (1, self.replayed_epoch() + 1)
        alone = self.fabric.world_size == 1
        return _Recorder(number, self.module, steps if replayed and alone else 0)

    def replayed_epoch(self) -> int:
        """The last epoch with a snapshot and an epoch after it; 0 where there is none."""
        return max((n for n in self.recipe.snapshots if n < self.epochs), default=0)

    def seed_dropout(self, number: int) -> None:
        """Each process draws dropout masks of its own, the same whenever epoch `number` is run."""
        rank = self.fabric.global_rank
        torch.manual_seed((self.seed * 100_003 + number + 1_000_003 * rank) % 2**63)

    def one_step(self, step: int, batch: Tensor, pipeline: Pipeline) -> tuple[Tensor, Tensor]:
        """One update from the images numbered `batch`.

        Returned are this process's part of their mean loss, and how many of its share were right.
        """
        recipe = self.recipe
        rate = learning_rate(
            recipe.optimizer.lr, recipe.schedule, step, self.steps, self.steps_an_epoch,
            self.history.column("validation_top1"),
        )  # fmt: skip
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        epoch, within = divmod(step, self.steps_an_epoch)
        inputs, labels, weight = self.batches.inputs(batch, pipeline, epoch + 1, within)
        if recipe.adversary is not None:
            inputs = self.attacked(inputs, labels, len(batch), pipeline, step)
        recipe.optimizer.before_step(
            self.optimizer.optimizer, self.module, self.loss, inputs, step, self.first_inputs
        )
        parts = list(micro_batches(inputs, labels, recipe.micro_batch))
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
        if recipe.clip_norm is not None:
            self.fabric.clip_gradients(
                self.model, self.optimizer, max_norm=recipe.clip_norm, error_if_nonfinite=False
            )
        self.optimizer.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.module)
        return total, right

    def attacked(
        self, inputs: Tensor, labels: Tensor, count: int, pipeline: Pipeline, step: int
    ) -> Tensor:
        """The inputs of this process as the recipe's adversary makes them."""
        with self.fabric.autocast():
            return self.recipe.adversary.attack_batch(
                self.module, inputs, labels, self.batches.positions(count),
                pipeline.normalization, self.loss, (self.seed, step),
            )  # fmt: skip

    def first_inputs(self, count: int) -> Float[Tensor, "n channels size size"]:
        """The first `count` training images as inputs, not augmented."""
        images = self.images.images[:count].to(self.fabric.device)
        return self.pipeline.evaluation(images)

    def validate(self, number: int, pipeline: Pipeline) -> tuple[float, float]:
        """Loss and top-1 on the held-out images, at the size and in the precision of training."""
        with self.fabric.autocast():
            metrics = evaluate(self.scored, self.loss, self.validation, pipeline)
        if not math.isfinite(metrics.loss):  # what the last step of an epoch spoilt shows here
            raise self.failure(metrics.loss, f"on the validation images of epoch {number}")
        return metrics.loss, metrics.top1

    def added_up(self, numbers: Tensor) -> Tensor:
        """The sum over all processes."""
        return self.fabric.all_reduce(numbers, reduce_op="sum")

    def check(self, losses: Tensor, begin: int, end: int, number: int) -> None:
        """Add up the processes' parts of some losses; stop at once when one is no number."""
        losses[begin:end] = self.added_up(losses[begin:end].clone())
        not_finite = (~losses[:end].isfinite()).nonzero()
        if len(not_finite):
            step = int(not_finite[0])
            raise self.failure(losses[step].item(), f"at step {step + 1} of epoch {number}")

    def failure(self, loss: float, where: str) -> DivergenceError:
        """The error that ends the run, saying what can still be used."""
        if self.folder is None:
            remains = "nothing was kept"
        elif self.folder.checkpoint.exists():
            remains = (
                f"the last good checkpoint is {self.folder.checkpoint} (epoch {self.saved_epoch})"
            )
        else:
            remains = "no epoch was finished, so there is no checkpoint"
        return DivergenceError(
            f"the loss became {loss} {where}; lower lr={self.recipe.optimizer.lr:g}; {remains}"
        )

    def keep(self) -> None:
        """Write what is to be kept after an epoch: snapshots, and the checkpoint."""
        if self.folder is None:
            return
        number = len(self.history.epochs)
        if number in self.recipe.snapshots:
            path = self.folder.snapshot(number)
            save_tensors(path, self.scored.state_dict(), epoch=number)
        if number == self.replayed_epoch():
            save_checkpoint(self.folder.replay, self.state())
        self.save()

    def save(self) -> None:
        """Write the checkpoint, unless it is large and too little would be lost without it."""
        assert self.folder is not None
        state = self.state()
        seconds = tensor_bytes(state) / _DISK
        if seconds > 1 and time.monotonic() - self.saved_at < seconds / _SAVING_SHARE:
            return
        save_checkpoint(self.folder.checkpoint, state)
        self.saved_epoch, self.saved_at = len(self.history.epochs), time.monotonic()

    def copied(self) -> dict[str, Tensor]:
        """A copy of the weights that are scored."""
        return {k: v.detach().cpu().clone() for k, v in self.scored.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """All that a resumption needs."""
        newest = self.is_selected(self.history.epochs[-1])
        return {
            "identity": self.identity,
            "compute": self.compute,
            "model": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": {} if self.averaged is None else self.averaged.state_dict(),
            "history": self.history.to_rows(),
            "replays": [asdict(steps) for steps in self.replays],
            "selected": {} if newest else self.selected,  # the model's own weights
            "statistics": self.pipeline.state(),
        }


def _averaged(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """torch's exponential moving average of all weights and statistics of `model`."""
    if decay is None:
        return None
    average = get_ema_multi_avg_fn(decay)
    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)


class _Recorder:
    """Notes what the first `steps` of an epoch are."""

    def __init__(self, epoch: int, model: nn.Module, steps: int) -> None:
        self.epoch, self.model, self.steps = epoch, model, steps
        self.order = hashlib.sha256()
        self.losses: list[Tensor] = []
        self.weights = ""

    def add(self, batch: Tensor, loss: Tensor) -> None:
        """After a step with the images numbered `batch`."""
        if len(self.losses) == self.steps:
            return
        self.order.update(batch.numpy().data)
        self.losses.append(loss)
        if len(self.losses) == self.steps:
            self.weights = hash_tensors(self.model.state_dict())

    def result(self) -> list[ReplayedSteps]:
        """The steps, or nothing where none were to be noted."""
        if not self.losses:
            return []
        losses = tuple(loss.item() for loss in self.losses)
        return [ReplayedSteps(self.epoch, self.order.hexdigest(), losses, self.weights)]


def data_dependent_init(model: nn.Module, inputs: Float[Tensor, "n c h w"]) -> None:
    """Scale and centre each layer with weights, so that its outputs have unit size.

    For deep networks without normalisation layers, which else learn nothing for many steps. In the
    order in which they are called, each convolution and linear layer but the last is divided by
    its outputs' root mean square about the mean of each channel (Mishkin and Matas 2016, which
    leaves the means alone), and that mean goes into the bias (Salimans and Kingma 2016, section
    3). So the first steps see what batch normalisation would have made, with no such layer. Layers
    without a bias keep their means; one with the same output whatever its input is left alone.

    Args:
        model: The network, changed in place.
        inputs: Images to fit it to, normalised.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    fitted: set[nn.Module] = set()
    hooks = [layer.register_forward_hook(_Fit(fitted)) for layer in layers[:-1]]
    try:
        with evaluating(model), torch.no_grad():
            model(inputs)
    finally:
        for hook in hooks:
            hook.remove()


class _Fit:
    """A hook that fits a layer when it is first called, and hands on its new outputs."""

    def __init__(self, fitted: set[nn.Module]) -> None:
        self.fitted = fitted

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if layer in self.fitted:
            return output
        self.fitted.add(layer)
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
