"""`internals atlas`: a page for every layer of a network, of the book's or of one's own.

torch takes seconds to import, so only functions import what needs it.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from internals.book.layout import Layout
from internals.cli.book import DataMode, Profile
from internals.cli.network import WeightsOption, open_network
from internals.cli.project import (
    CountOption,
    DeviceOption,
    LeakyOption,
    LimitOption,
    MeanOption,
    RuleOption,
    SizeOption,
    StdOption,
    TanhOption,
    check_size,
    read_normalization,
    read_pictures,
)
from internals.errors import DataError, InternalsError, ModelError, OutputError
from internals.files import new_folder, writing
from internals.progress import clock

if TYPE_CHECKING:
    from internals.atlas.make import Subject
    from internals.network import Network

_MOST = 255  # channels a layer: a WebP of 64-pixel tiles has no room for more
_STORED = "stored"  # in a site of one's own, the folder of what it was made from
_GENERATOR = '<meta name="generator" content="CNN Internals">'

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...",
        help="With --images a network of torchvision (resnet18), of ours (lenet5), or "
        "package.module:callable; without, networks of the book, by default all six.",
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(metavar="FOLDER", help="Own pictures, of any kind and size, for a site of MODEL."),
]
Out = Annotated[Path | None, typer.Option(metavar="DIR", help="The site, with --images.")]
Layers = Annotated[
    str,
    typer.Option(metavar="A,B", help="With --images: what to draw; by default all convolutions."),
]
Made = Annotated[
    str,
    typer.Option(
        "--optimised",
        metavar="A,B",
        help="With --images: layers for whose channels an image is made from noise as well.",
    ),
]
First = Annotated[
    int,
    typer.Option(
        "--channels", "--first", min=1, max=_MOST, help="So many of a layer, from its first."
    ),
]
Chosen = Annotated[
    Profile, typer.Option(help="Book: whose weights, smoke, quick (minutes) or full (hours).")
]
Data = Annotated[
    DataMode, typer.Option(help="Book: real data, their embedded stand-in, or what can be had.")
]
Publish = Annotated[
    bool, typer.Option("--publish", help="Book: into the published edition, at any profile.")
]


def register(app: typer.Typer) -> None:
    """Add the sub-command to `app`."""
    app.command("atlas")(atlas)


def atlas(
    names: Names = None,
    images: Images = None,
    out: Out = None,
    weights: WeightsOption = None,
    layers: Layers = "",
    optimised: Made = "",
    channels: First = 16,
    k: CountOption = 9,
    rule: RuleOption = "guided",
    tanh: TanhOption = None,
    leaky: LeakyOption = None,
    size: SizeOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    limit: LimitOption = None,
    device: DeviceOption = "auto",
    profile: Chosen = "quick",
    data: Data = "auto",
    publish: Publish = False,
) -> None:
    """Draw every layer's channels: what drives each hardest, and which pixels did it."""
    if images is None:
        own = {
            "--out": out, "--weights": weights, "--layers": layers, "--optimised": optimised,
            "--size": size, "--mean": mean, "--std": std, "--limit": limit, "--tanh": tanh,
            "--leaky": leaky, "--k": k != 9, "--rule": rule != "guided",
            "--device": device != "auto",
        }  # fmt: skip
        for option in (name for name, value in own.items() if value):
            raise typer.BadParameter(
                "it goes with --images FOLDER, whose pictures are then drawn", param_hint=option
            )
        _book_atlas(names or [], profile, data, publish=publish, first=channels)
        return
    if len(names or []) != 1:
        raise typer.BadParameter("--images needs one network", param_hint="MODEL")
    if out is None:
        raise typer.BadParameter("--images needs a folder for the site", param_hint="--out")
    if publish:
        raise typer.BadParameter(
            "the published edition holds the book's networks only", param_hint="--publish"
        )
    from internals.network import as_model_error

    (name,) = names or [""]
    _check_site(out, images)
    check_size(size)
    if device == "meta":
        raise ModelError("--device meta computes no numbers to draw; leave it out")
    rules = {"rule": rule, "tanh": tanh, "leaky": leaky}
    network = open_network(
        name, weights, size=size, normalization=read_normalization(mean, std), device=device
    )
    wanted, made = (
        [part.strip() for part in listed.split(",") if part.strip()]
        for listed in (layers, optimised)
    )
    drawn = _checked_layers(network, wanted, rules)
    for layer in made:
        if layer not in drawn:
            raise typer.BadParameter(
                f"{layer!r} is not among the layers drawn, which are {', '.join(drawn)}",
                param_hint="--optimised",
            )
    subject = _own_subject(network, images, limit, drawn, rules)
    subject = replace(subject, optimised=made)
    options = {
        "images": images, "weights": weights, "size": size, "mean": mean, "std": std,
        "limit": limit,
    }  # fmt: skip
    subject = _with_options(subject, channels, k, options)
    with as_model_error(subject.title, network.shape()):
        _announce(subject)
        _write_site(subject, out)
    print(f"The atlas of {subject.title} is in {out}; open {out / 'index.html'} in a browser")


# A network of one's own


def _check_site(out: Path, images: Path) -> None:
    """Raise `OutputError` where `out` cannot become a site, or is something else already."""
    with writing(out):
        there = out.exists()
        site, pictures = out.resolve(), images.resolve()
    if site.is_relative_to(pictures) or pictures.is_relative_to(site):
        # The site's own pictures would be read, or one's own replaced with the site.
        raise OutputError(f"{out} and {images} lie in one another; name another folder as --out")
    if there and not out.is_dir():
        raise OutputError(f"cannot write {out}: it is no folder; name another")
    if there and any(out.iterdir()) and not _is_site(out):
        raise OutputError(
            f"{out} holds something that is no atlas of ours, which would be replaced; name "
            "another folder"
        )
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {out}: {above} is no folder that may be written to")


def _is_site(folder: Path) -> bool:
    try:
        return _GENERATOR in (folder / "index.html").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _checked_layers(
    network: "Network", wanted: Sequence[str], rules: Mapping[str, Any]
) -> list[str]:
    """The layers to draw, when it is known that they can be.

    Raises an `InternalsError` for an unknown layer, a rule that the network does not allow, a
    normalisation that is missing, and an input that the network does not take.
    """
    import torch

    from internals.activations.record import Unit
    from internals.anatomy.trace import only_calls
    from internals.atlas.make import convolutions
    from internals.network import as_model_error

    shape = network.shape()
    if shape[0] not in (1, 3):
        raise DataError(f"{network.name} takes {shape[0]} channels; pictures have 1 or 3")
    with as_model_error(network.name, shape):
        drawn = list(only_calls(network, dict.fromkeys(wanted))) or list(convolutions(network))
        if not drawn:
            raise ModelError(
                f"{network.name} has no convolution that can be looked into; name layers with "
                "--layers"
            )
        # Black shows now, not after the mining, what would be refused.
        units = [Unit(layer, 0) for layer in drawn]
        network.project(torch.zeros(1, *shape), units, image_index=[0] * len(units), **rules)
    _ = network.normalization  # raises where it is missing
    return drawn


def _own_subject(
    network: "Network",
    images: Path,
    limit: int | None,
    drawn: list[str],
    rules: Mapping[str, Any],
) -> "Subject":
    from internals.atlas.make import Subject

    name = network.name
    return Subject(
        name="".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name),
        title=name,
        network=network,
        pictures=read_pictures(network, images, limit),
        layers=drawn,
        rules=dict(rules),
        show_images=True,
    )


def _with_options(
    subject: "Subject", channels: int, k: int, options: Mapping[str, object]
) -> "Subject":
    """With what `internals project` must be told as well, to see the same."""
    words = ["internals", "atlas", subject.title]
    for name, value in options.items():
        words += [f"--{name}", str(value)] if value else []
    facts = {"model": subject.title, "command": shlex.join(words)}
    return replace(subject, shown=channels, k=min(k, len(subject.pictures)), facts=facts)


def _announce(subject: "Subject") -> None:
    """Say what is to be made, of what weights, and about how long it takes."""
    from internals.atlas.make import expected_seconds

    if subject.network.random_weights:
        print(
            f"{subject.title} has random weights; --weights FILE takes trained ones",
            file=sys.stderr,
        )
    layers = len(subject.layers or ())
    print(
        f"{subject.title}: {layers} layers, {len(subject.pictures):,} pictures of "
        f"{subject.pictures.name}; about {clock(expected_seconds(subject))}",
        flush=True,
    )


def _write_site(subject: "Subject", out: Path) -> None:
    """Make the atlas beside `out`, where a stopped run goes on, and then the site in its place."""
    from internals.atlas.make import make_atlas
    from internals.atlas.site import write_site

    work = out.absolute().with_name(f".{out.absolute().name}.atlas")
    atlases, site = work / "atlases", work / "site"
    if (out / _STORED).is_dir() and not atlases.exists():
        with new_folder(atlases) as draft:
            shutil.copytree(out / _STORED, draft, dirs_exist_ok=True)
    folder = make_atlas(subject, atlases, work)
    for other in atlases.iterdir():  # of another network, which the site had before
        if other.name not in (folder.name, "pictures"):
            shutil.rmtree(other, ignore_errors=True)
    write_site(atlases, site)
    with new_folder(out) as draft:
        shutil.copytree(site, draft, dirs_exist_ok=True)
        shutil.copytree(atlases, draft / _STORED)
    shutil.rmtree(work, ignore_errors=True)


# The book's networks


def _book_atlas(
    names: Sequence[str], profile: str, data: str, *, publish: bool, first: int
) -> None:
    """Make the atlases of some of the book's networks, and find neighbours among all there are."""
    from internals.atlas.make import make_atlas
    from internals.atlas.neighbours import find_neighbours
    from internals.atlas.networks import NETWORKS, book_subject

    for name in names:
        if name not in NETWORKS:
            raise ModelError(
                f"{name} is no network of the book, which has {', '.join(NETWORKS)}; for one of "
                "your own add --images FOLDER --out DIR"
            )
    layout = Layout.here()
    atlases = (layout.edition if publish else layout.build(profile)) / "atlas"
    work = (layout.output if publish else layout.build(profile)) / "atlas-work"
    _take_all_cores()
    failed = False
    for name in names or NETWORKS:
        try:
            subject = book_subject(name, profile, data, first=first, published=publish)
            folder = make_atlas(subject, atlases, work / name)
        except InternalsError as error:
            failed = True
            print(f"error: {error}", file=sys.stderr)
            continue
        print(f"atlas: {folder}", flush=True)
    find_neighbours(atlases, work)
    if failed:
        raise typer.Exit(1)


def _take_all_cores() -> None:
    import torch

    from internals.environment import cores, keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(cores())
