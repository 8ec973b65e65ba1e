"""`internals weights`: the trained networks of the published edition, packed and fetched."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from internals.cli.book import needs_book_extra
from internals.errors import DataError
from internals.files import writing

if TYPE_CHECKING:
    from internals.book.weights import Asset
    from internals.training.recipe import Recipe

weights = typer.Typer(
    no_args_is_help=True,
    help="Put the book's trained networks into a release, or get them from it.",
)


def register(app: typer.Typer) -> None:
    """Add the sub-commands to `app`."""
    for command in (pack, fetch):
        name = command.__name__
        weights.command(name)(needs_book_extra(command, f"weights {name}"))
    app.add_typer(weights, name="weights")


def pack(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the release's files go.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Such as alexnet; all.")
    ] = None,
) -> None:
    """Copy the published chapters' networks into a folder, ready for a release."""
    from internals.book.layout import Layout
    from internals.book.weights import SUMS, pack, published_assets

    assets = published_assets(Layout.here(), names or [])
    size = pack(assets, out)
    print(f"{len(assets)} files, {size / 1e6:,.1f} MB, and their sums in {out / SUMS}; upload with")
    print(f"  gh release upload weights {out}/* --clobber")


def fetch(
    name: Annotated[str, typer.Argument(help="The network, such as alexnet.")],
    source: Annotated[
        str,
        typer.Option("--from", metavar="URL", help="Another place that has the release's files."),
    ] = "",
) -> None:
    """Download a network as the published chapters used it, unless it is here already."""
    from internals.book.layout import Layout
    from internals.book.weights import WEIGHTS, published_assets

    assets = published_assets(Layout.here(), [name])
    # The weights come last: their presence says that all is there.
    for asset in sorted(assets, key=lambda asset: (asset.file == WEIGHTS, asset.file)):
        path = _fetch(asset, source.rstrip("/"))
        if asset.file == WEIGHTS:
            print(f"{name}: {path} ({asset.bytes / 1e6:,.1f} MB)")
            print(_use(path))


def _fetch(asset: "Asset", source: str) -> Path:
    """Where the file lies, which is downloaded if it is not here as it was named."""
    from internals.book.weights import file_sha256, release_address
    from internals.data.download import fetch_file

    for place in asset.places:
        with writing(place):
            if place.is_file() and file_sha256(place) == asset.sha256:
                return place
    base = source or asset.address.rpartition("/")[0] or release_address()
    if not base:
        raise DataError(
            f"the edition names no address for {asset.name}; name one with --from URL, or clone "
            "the repository that has the release"
        )
    fetch_file(f"{base}/{asset.name}", asset.places[1], asset.sha256, asset.bytes)
    return asset.places[1]


def _use(path: Path) -> str:
    """How the fetched weights are used on this machine."""
    from internals.models.weights_file import open_weights
    from internals.training.recipe import plain
    from internals.training.recipes import RECIPES

    made = open_weights(path).provenance
    if made is None:
        return "They are weights of another making than this package's."
    network = made["network"]
    look = f"internals project {network} --layer LAYER --out panel.png"
    for profile, recipe in RECIPES.get(network, {}).items():
        if plain(recipe) == made["recipe"]:
            own = _why_chapters_train_their_own(recipe, made)
            use = f"train their own, because {own}" if own else "use it"
            return f"Look into it with `{look} --profile {profile}`; chapters at {profile} {use}."
    return f"Look into it with `{look} --weights {path} --images FOLDER`."


def _why_chapters_train_their_own(recipe: "Recipe", made: Mapping[str, Any]) -> str:
    """What differs here from where the weights were `made`; "" where nothing does."""
    from internals.data.sources import find_on_disk
    from internals.training.provenance import code_key

    if made["code"] != code_key(recipe):
        return "it was trained by another version of this package"
    try:
        source = find_on_disk(recipe.data)
    except DataError as error:
        return str(error)
    if source is None:
        return f"{recipe.data} is not on this machine"
    if source.fingerprint != made["data_fingerprint"]:
        return f"it was trained on another copy of {recipe.data}"
    return ""
