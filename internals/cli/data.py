"""`internals data`: which data sets are here, fetching and verifying them."""

import typer

from internals.data.sources import DATASETS, find_on_disk, find_source
from internals.data.store import cache_folder, decoded_files
from internals.errors import DataError

# MNIST's bytes were read when it was found; of Imagenette only names and sizes.
_STATE = {"mnist": "verified in", "imagenette": "found in"}

data = typer.Typer(no_args_is_help=True, help="List, fetch and verify the data sets.")


def register(app: typer.Typer) -> None:
    """Add the sub-commands to `app`."""
    app.add_typer(data, name="data")


@data.command("list")
def list_sets() -> None:
    """Show every data set, where it lies, and what stands in for it when it is not here."""
    for name, stand_in in DATASETS.items():
        source = find_on_disk(name)
        location = f"{_STATE[name]} {source.root}" if source else "not here"
        print(f"{name}: {location}; stand-in: {stand_in}")
        for path in decoded_files(name):
            print(f"  decoded: {path} ({path.stat().st_size / 1e6:,.0f} MB)")


@data.command()
def fetch(name: str = typer.Argument(help=f"One of: {', '.join(DATASETS)}.")) -> None:
    """Download a data set into the user's cache folder, unless it is here already."""
    print(find_source(_check_known(name), "real"))


@data.command()
def verify(name: str = typer.Argument(help=f"One of: {', '.join(DATASETS)}.")) -> None:
    """Check every file of a data set against what was published."""
    source = find_on_disk(_check_known(name))
    if source is None or source.root is None:
        raise DataError(
            f"{name} is neither in INTERNALS_DATA nor in {cache_folder()}; "
            f"run `internals data fetch {name}`"
        )
    if name == "imagenette":
        from internals.data.imagenette import verify_imagenette

        print(f"{name}: {source.root} is as published: {verify_imagenette(source.root)}")
    else:
        print(f"{name}: every file in {source.root} is as published ({source.fingerprint})")


def _check_known(name: str) -> str:
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    return name
