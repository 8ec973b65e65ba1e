"""The `internals` command."""

import os
import sys
import traceback

import typer

from internals.cli import book, data, project, summary, train
from internals.errors import InternalsError

app = typer.Typer(
    name="internals",
    help="CNN Internals: train famous convolutional networks, look inside them, build the book.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    if debug:
        os.environ["INTERNALS_DEBUG"] = "1"


data.register(app)
train.register(app)
project.register(app)
summary.register(app)
book.register(app)


def main() -> None:
    """Run the command; an expected error is one line and exit status 1, a usage error 2."""
    try:
        app()
    except InternalsError as error:
        if os.environ.get("INTERNALS_DEBUG"):
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where this one left off", file=sys.stderr)
        sys.exit(130)
