"""`internals train`: a recipe turned into weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer

from internals.cli import train_options as flags
from internals.data.sources import MODES
from internals.progress import clock

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from internals.training.recipe import Recipe


def register(app: typer.Typer) -> None:
    """Add the sub-command to `app`."""
    app.command("train")(train)


def train(
    network: str = typer.Argument(help="The network, e.g. lenet5; an unknown name lists them all."),
    profile: str = typer.Option("quick", help="smoke (a few steps), quick or full."),
    data: str = typer.Option("auto", help=f"Which data to use: {', '.join(MODES)}."),
    seed: int = typer.Option(0, min=0, help="Decides weights, hold-out and order of the images."),
    devices: str = typer.Option(
        "1", help="GPUs, or processes where there is none, that share each batch; auto: all GPUs."
    ),
    out: Path | None = typer.Option(
        None, help="Folder for weights and checkpoint; by default one under build/weights."
    ),
    val_split: flags.ValSplit = None,
    rotation: flags.Rotation = 0.0,
    shift: flags.Shift = 0,
    duplicate: flags.Duplicate = False,
    init: flags.Init = None,
    optimizer: flags.Optimizer = None,
    activation: flags.Activation = None,
    lr: flags.Rate = None,
    adversarial: flags.Adversarial = False,
) -> None:
    """Train a network, or go on where a killed run left off, and score it on the test images."""
    count = _device_count(devices)
    flags.check_val_split(val_split)
    changes = flags.Changes(
        rotation, shift, duplicate, init, optimizer, activation, lr, adversarial
    )
    # torch takes seconds to import, so only the commands that need it wait for it.
    from internals.training.launching import on_devices
    from internals.training.recipes import find_recipe

    # A wrong name or flag is told before any process is started.
    recipe = changes.applied(find_recipe(network, profile))
    on_devices(count, train_here, network, recipe, data, seed, val_split, out)


def train_here(
    fabric: "Fabric",
    network: str,
    recipe: "Recipe",
    data: str,
    seed: int,
    val_split: float | None,
    out: Path | None,
) -> None:
    """One process's part of `train`: it loads the data itself and prints the result."""
    from internals.data.loading import load
    from internals.training.identity import weights_folder
    from internals.training.run import trained

    splits = load(recipe.data, data, size=recipe.stored, seed=seed, held_out=val_split)
    folder = out or weights_folder(recipe, splits, seed)
    run = trained(recipe, splits, seed=seed, folder=folder, fabric=fabric)
    made, test = run.provenance, run.test
    print(
        f"{network}: {test.top1:.2%} of {len(test.predicted):,} test images right "
        f"(top-{test.k} {test.top_k:.2%}, loss {test.loss:.4f})"
    )
    where = made.device if made.devices == 1 else f"{made.devices} x {made.device}"
    print(
        f"best of {made.epochs} epochs: {made.best_epoch}; {clock(made.seconds)} on {where} "
        f"in {made.precision}, {made.images_per_second:,.0f} images a second; "
        f"weights: {folder / 'weights.safetensors'}"
    )


def _device_count(devices: str) -> int | Literal["auto"]:
    if devices == "auto":
        return "auto"
    if not devices.isdecimal() or int(devices) < 1:
        raise typer.BadParameter(
            f"{devices!r} is neither a number nor auto", param_hint="--devices"
        )
    return int(devices)
