"""`internals live`: the trained LeNet-5 as the files with which a page runs it."""

from typing import Annotated

import typer

from internals.book.layout import LARGEST_SEED, Layout
from internals.files import new_folder, writing


def register(app: typer.Typer) -> None:
    """Add the sub-command to `app`."""
    app.command("live")(live)


def live(
    seed: Annotated[
        int, typer.Option(min=-LARGEST_SEED, max=LARGEST_SEED, help="That of the trained run.")
    ] = 0,
) -> None:
    """Publish the trained LeNet-5 in the form in which the page "draw a digit" runs it."""
    # torch takes seconds to import
    from internals.atlas.live import WEIGHTS_FILE, finished_run, live_files

    folder = Layout.here().edition / "live"
    run, held_out, key = finished_run(seed)
    files = live_files(run, held_out, key)
    with new_folder(folder) as draft:
        for name, content in files.items():
            with writing(folder / name):
                (draft / name).write_bytes(content)
    print(f"{run.test.top1:.2%} of the test digits right; {folder / WEIGHTS_FILE}")
