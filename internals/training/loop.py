"""The training loop."""

import math
import time
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from internals.data.images import ImageSet
from internals.data.normalization import Normalization
from internals.errors import CheckpointError, TrainingError
from internals.progress import Progress
from internals.training.checkpoint import load_checkpoint, save_checkpoint
from internals.training.device import deterministic
from internals.training.history import Epoch, History
from internals.training.losses import Loss, build_loss
from internals.training.metrics import evaluate
from internals.training.recipe import Recipe

_CHECK_EVERY = 50  # steps between looks at the losses: a look makes a GPU wait


def train(
    model: nn.Module,
    recipe: Recipe,
    images: ImageSet,
    validation: ImageSet,
    fabric: Fabric,
    *,
    seed: int,
    checkpoint: Path,
) -> History:
    """Train `model` on `images` by `recipe` and leave in it the weights of its best epoch.

    The best epoch is the one with the highest accuracy on `validation`. After every epoch all that
    a continuation needs is written to `checkpoint`; where that file is there already the run goes
    on from it, and ends in the same bits as a run that was never interrupted. Raises
    `TrainingError` when the loss is no number any more, and `CheckpointError` when the checkpoint
    is damaged or belongs to another run.
    """
    run = _Training(model, recipe, images, validation, fabric, seed, checkpoint)
    with deterministic():
        run.resume()
        run.finish()
    return run.history


class _Training:
    def __init__(self, model, recipe, images, validation, fabric, seed, checkpoint) -> None:
        if recipe.most_images is not None:
            images = images.subset(torch.arange(min(recipe.most_images, len(images))))
        self.recipe, self.images, self.validation = recipe, images, validation
        self.fabric, self.seed, self.checkpoint = fabric, seed, checkpoint
        self.loss: Loss = build_loss(recipe)
        self.normalization = Normalization.from_range(*recipe.input_range)
        self.plain = model.to(memory_format=torch.channels_last)
        optimizer = _optimizer(recipe, self.plain)
        self.model, self.optimizer = fabric.setup(self.plain, optimizer)
        self.pixels = images.images.to(fabric.device)
        self.labels = images.labels.to(fabric.device)
        self.history = History()
        self.best: dict[str, Tensor] = {}
        self.epochs = recipe.epochs_on(len(images))
        self.steps = recipe.steps_an_epoch(len(images))
        # Written beside the weights, so that a checkpoint never continues another run.
        self.identity = repr((recipe, seed, images.fingerprint, len(images), len(validation)))

    def resume(self) -> None:
        """Go on where the checkpoint left off, if there is one."""
        if not self.checkpoint.exists():
            return
        state = load_checkpoint(self.checkpoint)
        if state.get("identity") != self.identity:
            raise CheckpointError(
                f"{self.checkpoint} belongs to a run with another recipe, seed or data; "
                "delete it, or choose another folder"
            )
        self.plain.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history = History.from_rows(state["history"])
        self.best = state["best"]

    def finish(self) -> None:
        """Run the epochs that are left, then put the best weights into the model."""
        done = len(self.history.epochs)
        with Progress(self.recipe.network, self.epochs * self.steps) as bar:
            bar.start_at(done * self.steps)
            for number in range(done + 1, self.epochs + 1):
                epoch = self.one_epoch(number, bar)
                self.history.epochs.append(epoch)
                if self.history.best is epoch:
                    self.best = {
                        k: v.detach().cpu().clone() for k, v in self.plain.state_dict().items()
                    }
                save_checkpoint(self.checkpoint, self.state())
                bar.advance(
                    0,
                    epoch=f"{number}/{self.epochs}",
                    loss=f"{epoch.train_loss:.4f}",
                    validation=f"{epoch.validation_top1:.2%}",
                )
        self.plain.load_state_dict(self.best)

    def one_epoch(self, number: int, bar: Progress) -> Epoch:
        """One pass over the training images in an order that depends on seed and number only."""
        began = time.monotonic()
        generator = torch.Generator().manual_seed(self.seed * 100_003 + number)
        torch.manual_seed(self.seed * 100_003 + number)  # for dropout and augmentation
        order = torch.randperm(len(self.images), generator=generator).to(self.fabric.device)
        losses = torch.zeros(self.steps, device=self.fabric.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.fabric.device)
        self.model.train()
        for step, batch in enumerate(order.split(self.recipe.batch_size)):
            loss, right = self.one_step((number - 1) * self.steps + step, batch)
            losses[step] = loss * len(batch)
            correct += right
            bar.advance(silent=True)
            if step % _CHECK_EVERY == _CHECK_EVERY - 1 or step == self.steps - 1:
                self.check(losses[: step + 1], number)
        metrics = evaluate(self.plain, self.loss, self.validation, self.normalization)
        if not math.isfinite(metrics.loss):  # what the last step of an epoch spoilt shows only here
            raise self.failure(metrics.loss, f"on the validation images of epoch {number}", number)
        return Epoch(
            number=number,
            train_loss=losses.sum().item() / len(self.images),
            train_top1=correct.item() / len(self.images),
            validation_loss=metrics.loss,
            validation_top1=metrics.top1,
            learning_rate=self.optimizer.param_groups[0]["lr"],
            seconds=time.monotonic() - began,
        )

    def one_step(self, step: int, batch: Tensor) -> tuple[Tensor, Tensor]:
        """One update from the images numbered `batch`: their mean loss, and how many were right."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(step, self.epochs * self.steps)
        inputs = self.normalization.apply(self.pixels[batch])
        outputs = self.model(inputs.contiguous(memory_format=torch.channels_last))
        labels = self.labels[batch]
        loss = self.loss(outputs, labels)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        right = (self.loss.scores(outputs).argmax(dim=1) == labels).sum()
        return loss.detach(), right

    def check(self, losses: Tensor, number: int) -> None:
        """Stop at once when the loss has become infinite or no number at all."""
        if bool(losses.isfinite().all()):
            return
        step = int((~losses.isfinite()).nonzero()[0])
        raise self.failure(losses[step].item(), f"at step {step + 1} of epoch {number}", number)

    def failure(self, loss: float, where: str, number: int) -> TrainingError:
        """The error that ends the run in epoch `number`, saying what can still be used."""
        kept = (
            f"the last good checkpoint is {self.checkpoint} (epoch {number - 1})"
            if self.checkpoint.exists()
            else "no epoch was finished, so there is no checkpoint"
        )
        return TrainingError(
            f"the loss became {loss} {where}; "
            f"lower learning_rate={self.recipe.learning_rate:g}; {kept}"
        )

    def state(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "model": self.plain.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history.to_rows(),
            "best": self.best,
        }


def _optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
    return torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
