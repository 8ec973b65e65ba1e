"""`internals train`: a recipe turned into weights."""

from pathlib import Path

import typer

from internals.data.sources import MODES
from internals.progress import clock


def register(app: typer.Typer) -> None:
    """Add the sub-command to `app`."""
    app.command("train")(train)


def train(
    network: str = typer.Argument(help="The network, e.g. lenet5; an unknown name lists them all."),
    profile: str = typer.Option("quick", help="smoke (a few steps), quick or full."),
    data: str = typer.Option("auto", help=f"Which data to use: {', '.join(MODES)}."),
    seed: int = typer.Option(0, min=0, help="Decides weights, hold-out and order of the images."),
    out: Path | None = typer.Option(
        None, help="Folder for weights and checkpoint; by default one under build/weights."
    ),
) -> None:
    """Train a network, or go on where a killed run left off, and score it on the test images."""
    # torch takes seconds to import, so only the commands that need it wait for it.
    from internals.data.loading import load
    from internals.training.recipes import find_recipe
    from internals.training.run import trained, weights_folder

    recipe = find_recipe(network, profile)
    splits = load(recipe.data, data, seed=seed)
    folder = out or weights_folder(recipe, splits, seed)
    run = trained(recipe, splits, seed=seed, folder=folder)
    made, test = run.provenance, run.test
    print(
        f"{network}: {test.top1:.2%} of {len(splits.test):,} test images right "
        f"(top-{test.k} {test.top_k:.2%}, loss {test.loss:.4f})"
    )
    print(
        f"best of {made.epochs} epochs: {made.best_epoch}; {clock(made.seconds)} on {made.device} "
        f"in {made.precision}; weights: {folder / 'weights.safetensors'}"
    )
