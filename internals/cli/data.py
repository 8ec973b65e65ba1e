"""`internals data`: which data sets are here, fetching and verifying them."""

import typer

from internals.data.sources import DATASETS, cache_folder, on_disk, resolve
from internals.errors import DataError

data = typer.Typer(no_args_is_help=True, help="List, fetch and verify the data sets.")


def register(app: typer.Typer) -> None:
    """Add the sub-commands to `app`."""
    app.add_typer(data, name="data")


@data.command("list")
def list_sets() -> None:
    """Show every data set, where it lies, and what stands in for it when it is not here."""
    for name, stand_in in DATASETS.items():
        found = on_disk(name)
        where = f"verified in {found.root}" if found else "not here"
        print(f"{name}: {where}; stand-in: {stand_in}")


@data.command()
def fetch(name: str = typer.Argument(help=f"One of: {', '.join(DATASETS)}.")) -> None:
    """Download a data set into the user's cache folder, unless it is here already."""
    print(resolve(_known(name), "real"))


@data.command()
def verify(name: str = typer.Argument(help=f"One of: {', '.join(DATASETS)}.")) -> None:
    """Check every file of a data set against its published checksum."""
    found = on_disk(_known(name))
    if found is None:
        raise DataError(
            f"{name} is neither in INTERNALS_DATA nor in {cache_folder()}; "
            f"run `internals data fetch {name}`"
        )
    print(f"{name}: every file in {found.root} is as published ({found.fingerprint})")


def _known(name: str) -> str:
    if name not in DATASETS:
        raise DataError(f"unknown data set {name!r}; known are {', '.join(DATASETS)}")
    return name
