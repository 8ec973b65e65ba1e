"""`internals train`: a recipe turned into weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from internals.data.sources import MODES
from internals.errors import TrainingError
from internals.progress import clock

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from internals.training.optim import OptimizerChoice
    from internals.training.recipe import Recipe

Scheme = Literal["fan-in", "xavier", "kaiming", "orthogonal", "normal"]
NonLinearity = Literal["scaled-tanh", "tanh", "relu", "sigmoid"]
OptimizerName = Literal["sgd", "adam", "adamw"]

# The LeNet-5 family, as choices of `LeNet5Variant`, of which --init and --activation change some.
FAMILY: Mapping[str, Mapping[str, str | int]] = {
    "lenet5": {},
    "lenet5-paper": {"connections": "table", "pooling": "trainable"},
    "lenet5-softmax": {"activation": "tanh", "output": "logits", "initialisation": "xavier"},
    "lenet5-28": {
        "input_size": 28, "pooling": "max", "activation": "relu", "output": "logits",
        "initialisation": "kaiming",
    },
}  # fmt: skip
_EPSILON = 0.3  # of --adversarial-training, as Madry et al. 2018 have it for MNIST (section 5)
_RATES = {"sgd": 0.01, "adam": 0.001, "adamw": 0.001}
_OF_FAMILY = "LeNet-5 family: "

ValSplit = Annotated[
    float | None,
    typer.Option(
        help="Share of the training images, above 0 and below 1, that is held out to choose the "
        "epoch; by default a twelfth."
    ),
]
Rotation = Annotated[
    float,
    typer.Option(
        min=0, max=180, help=f"{_OF_FAMILY}turn training digits by up to so many degrees, anew "
        "each epoch, filled with background.",
    ),
]  # fmt: skip
Shift = Annotated[
    int,
    typer.Option(
        min=0, max=16, help=f"{_OF_FAMILY}move training digits by up to so many pixels each way, "
        "anew each epoch, filled with background.",
    ),
]  # fmt: skip
Duplicate = Annotated[
    bool,
    typer.Option(
        "--duplicate-with-augment",
        help="With --rotation or --shift: an epoch has each digit twice, as it is and augmented.",
    ),
]
Init = Annotated[
    Scheme | None,
    typer.Option(
        help=f"{_OF_FAMILY}how weights start; by default as the network says. fan-in is the "
        "paper's U(-2.4/F, 2.4/F), normal has standard deviation 0.01."
    ),
]
Optimizer = Annotated[
    OptimizerName | None, typer.Option(help="Instead of the recipe's, which is adamw for LeNet-5.")
]
Activation = Annotated[
    NonLinearity | None,
    typer.Option(
        help=f"{_OF_FAMILY}the non-linearity of every layer; by default as the network says."
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        help="The highest learning rate, above 0; by default the recipe's, and where --optimizer "
        f"is of another kind {_RATES['sgd']} for sgd, {_RATES['adam']} for adam and adamw."
    ),
]
Adversarial = Annotated[
    bool,
    typer.Option(
        "--adversarial-training",
        help=f"{_OF_FAMILY}attack half of each batch with FGSM, epsilon {_EPSILON} (a pixel is 0 "
        "to 1).",
    ),
]


@dataclass(frozen=True)
class RecipeOptions:
    """The options that change a recipe; a default changes nothing."""

    rotation: float = 0.0
    shift: int = 0
    duplicate: bool = False
    init: str | None = None
    optimizer: str | None = None
    activation: str | None = None
    lr: float | None = None
    adversarial: bool = False

    def check(self, network: str) -> None:
        """Raise a usage error for options that `network` cannot take, or that need another one."""
        for option, value in [
            ("--rotation", self.rotation),
            ("--shift", self.shift),
            ("--duplicate-with-augment", self.duplicate),
            ("--init", self.init),
            ("--activation", self.activation),
            ("--adversarial-training", self.adversarial),
        ]:
            if value and network not in FAMILY:
                raise typer.BadParameter(
                    f"{network} is not of the LeNet-5 family; leave the option out, or train "
                    f"{', '.join(FAMILY)}",
                    param_hint=option,
                )
        if self.duplicate and not (self.rotation or self.shift):
            raise typer.BadParameter(
                "nothing is augmented; add --rotation or --shift",
                param_hint="--duplicate-with-augment",
            )
        if self.lr is not None and not 0 < self.lr < inf:
            raise typer.BadParameter(f"{self.lr} is not above 0 and finite", param_hint="--lr")

    def apply(self, recipe: "Recipe") -> "Recipe":
        """`recipe` with these options in place of its own choices; raises as `check` does."""
        from internals.training.adversary import FGSM
        from internals.training.recipe import DigitAugmentation

        self.check(recipe.network)
        changes: dict[str, Any] = {"optimizer": self._optimizer(recipe.optimizer)}
        try:
            if self.rotation or self.shift:
                changes["augment"] = DigitAugmentation(self.shift, self.rotation, self.duplicate)
            parts = {"activation": self.activation, "initialisation": self.init}
            if parts := {name: value for name, value in parts.items() if value}:
                arguments = tuple(sorted({**FAMILY[recipe.network], **parts}.items()))
                changes |= {"network": "lenet5-variant", "arguments": arguments}
            if self.adversarial:
                changes["adversary"] = FGSM(epsilon=_EPSILON)
            return replace(recipe, **changes)
        except TrainingError as error:  # two options that are each right, but not together
            raise typer.BadParameter(str(error)) from error

    def _optimizer(self, before: "OptimizerChoice") -> "OptimizerChoice":
        """The optimiser by its option, with a learning rate that suits it."""
        from internals.training import optim

        kinds = {"sgd": optim.SGD, "adam": optim.Adam, "adamw": optim.AdamW}
        kind = kinds[self.optimizer] if self.optimizer else type(before)
        if kind is type(before):
            return replace(before, lr=self.lr or before.lr)
        alike = {kind, type(before)} == {optim.Adam, optim.AdamW}
        lr = self.lr or (before.lr if alike else _RATES[str(self.optimizer)])
        if isinstance(before, optim.DecayingOptimizer):
            return kind(lr, before.weight_decay, before.decay_depthwise)
        return kind(lr)


def check_val_split(share: float | None) -> None:
    """Raise a usage error where no image would be left on one side."""
    if share is not None and not 0 < share < 1:
        raise typer.BadParameter(f"{share} is not above 0 and below 1", param_hint="--val-split")


def register(app: typer.Typer) -> None:
    """Add the sub-command to `app`."""
    app.command("train")(train)


def train(
    network: str = typer.Argument(help="The network, e.g. lenet5; an unknown name lists them all."),
    profile: str = typer.Option("quick", help="smoke (a few steps), quick or full."),
    data: str = typer.Option("auto", help=f"Which data to use: {', '.join(MODES)}."),
    seed: int = typer.Option(
        0, min=0, max=2**64 - 1, help="Decides weights, hold-out and order of the images."
    ),
    devices: str = typer.Option(
        "1", help="GPUs, or processes where there is none, that share each batch; auto: all GPUs."
    ),
    out: Path | None = typer.Option(
        None, help="Folder for weights and checkpoint; by default one under build/weights."
    ),
    adopt: bool = typer.Option(
        False,
        "--adopt",
        help="Do not train: give weights that earlier code trained the name that today's code has "
        "for them, if a replay of their first steps gives the same bits.",
    ),
    val_split: ValSplit = None,
    rotation: Rotation = 0.0,
    shift: Shift = 0,
    duplicate: Duplicate = False,
    init: Init = None,
    optimizer: Optimizer = None,
    activation: Activation = None,
    lr: Rate = None,
    adversarial: Adversarial = False,
) -> None:
    """Train a network, or go on where a killed run left off, and score it on the test images."""
    count = _device_count(devices)
    check_val_split(val_split)
    options = RecipeOptions(
        rotation, shift, duplicate, init, optimizer, activation, lr, adversarial
    )
    # torch takes seconds to import, so only the commands that need it wait for it.
    from internals.training.launch import on_devices
    from internals.training.recipes import find_recipe

    # A wrong name or option is refused before any process is started.
    recipe = options.apply(find_recipe(network, profile))
    if adopt:
        if out is not None or count != 1:
            raise typer.BadParameter(
                "it goes with neither --out nor --devices", param_hint="--adopt"
            )
        _adopt(recipe, data, seed, val_split)
        return
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
    from internals.data.load import load
    from internals.training.run import trained

    splits = load(recipe.data, data, size=recipe.stored, seed=seed, held_out=val_split)
    run = trained(recipe, splits, seed=seed, folder=out, fabric=fabric)
    provenance, test = run.provenance, run.test
    print(
        f"{network}: {test.top1:.2%} of {len(test.predicted):,} test images right "
        f"(top-{test.k} {test.top_k:.2%}, loss {test.loss:.4f})"
    )
    where = provenance.device
    if provenance.devices > 1:
        where = f"{provenance.devices} x {where}"
    print(
        f"best of {provenance.epochs} epochs: {provenance.best_epoch}; "
        f"{clock(provenance.seconds)} on {where} in {provenance.precision}, "
        f"{provenance.images_per_second:,.0f} images a second; "
        f"weights: {run.folder / 'weights.safetensors'}"
    )


def _adopt(recipe: "Recipe", data: str, seed: int, val_split: float | None) -> None:
    from internals.data.load import load
    from internals.training.run import adopt

    splits = load(recipe.data, data, size=recipe.stored, seed=seed, held_out=val_split)
    print(f"adopted: {adopt(recipe, splits, seed)}")


def _device_count(devices: str) -> int | Literal["auto"]:
    if devices == "auto":
        return "auto"
    if not devices.isdecimal() or int(devices) < 1:
        raise typer.BadParameter(
            f"{devices!r} is neither a number nor auto", param_hint="--devices"
        )
    return int(devices)
