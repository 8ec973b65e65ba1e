"""The `internals` command."""

import errno
import io
import os
import sys
import traceback
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperGroup

from internals.cli import atlas, book, data, live, mosaic, project, summary, train, weights
from internals.errors import InternalsError, OutputError

_STOPPED = {
    **dict.fromkeys(
        ("train", "execute", "data", "atlas", "weights"),
        "stopped; the same command goes on where this one left off",
    ),
    "build": "stopped; the site that was there is whole",
}
_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


class _Commands(TyperGroup):
    """The sub-commands, with what typer would end in silence."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print(_STOPPED.get(ctx.invoked_subcommand, "stopped"), file=sys.stderr)
            raise typer.Exit(130) from None
        except SystemExit as error:  # typer has exceptions of its own for this
            if isinstance(error.__context__, BrokenPipeError):  # rich was printing
                raise error.__context__ from None
            raise InternalsError(
                f"`internals {ctx.invoked_subcommand}` was ended by code that it ran, with "
                f"SystemExit({error.code!r}); take the exit out of that code"
            ) from error


app = typer.Typer(
    name="internals",
    help="CNN Internals: train famous convolutional networks, look inside them, build the book.",
    cls=_Commands,
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
weights.register(app)
project.register(app)
mosaic.register(app)
summary.register(app)
atlas.register(app)
book.register(app)
live.register(app)


def main() -> None:
    """Run the command; an expected error is one line and exit status 1, a usage error 2."""
    closed = sys.stdout is None
    _make_printable()
    try:
        status = _status()
        sys.stdout.flush()
        if closed and not status:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    except OSError as error:
        status = 1
        _discard_output()
        if error.errno != errno.EPIPE:  # whoever stopped reading, as `head` does, has enough
            what = f"use {error.filename}" if error.filename else "print"
            _print_error(OutputError(f"cannot {what}: {error.strerror or error}"))
    except ValueError:  # Python's, for what is closed
        if not (sys.stdout.closed or sys.stderr.closed):
            raise
        status = 1
        _print_error(OutputError("cannot print: code that was run has closed the output"))
    sys.exit(status)


def _status() -> Any:
    """Run the command, and return its exit status; raises `OSError` where it cannot print."""
    try:
        app()
    except SystemExit as error:
        return error.code
    except InternalsError as error:
        _print_error(error)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _print_error(error: Exception) -> None:
    with suppress(OSError, ValueError):  # there may be nowhere to print to
        if os.environ.get("INTERNALS_DEBUG"):
            traceback.print_exc()
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)


def _make_printable() -> None:
    """Let everything be printed, whatever the terminal's encoding, and even where none is open."""
    for name in _MODES:
        if getattr(sys, name) is None:  # else the next file that is opened would take its place
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), _MODES[name]))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Lose what is still to be printed, so that Python does not fail on it once more at the end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
