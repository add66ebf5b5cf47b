"""The command ``coursekit``; each of its commands is a module here, with heavy imports inside the functions."""

import signal
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from coursekit import __version__
from coursekit.cli.data import data
from coursekit.cli.doctor import doctor
from coursekit.cli.notebooks import notebooks
from coursekit.cli.run import run
from coursekit.cli.site import site
from coursekit.cli.slides import slides
from coursekit.cli.student import student
from coursekit.cli.train import train
from coursekit.errors import CourseError, printable

app = typer.Typer(
    help="Run, check and look after the lecture notebooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool | None) -> None:
    if wanted:
        typer.echo(f"coursekit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
    ] = None,
) -> None:
    pass


app.command()(run)
app.command()(notebooks)
app.command()(slides)
app.command()(site)
app.add_typer(data, name="data")
app.command()(train)
app.command()(student)
app.command()(doctor)


def main() -> None:
    """Run the command line; an error that the user can mend is shown as one message, without a traceback."""
    for name in ("SIGTERM", "SIGHUP"):  # the latter does not exist on Windows
        if signal.getsignal(signum := getattr(signal, name, signal.SIGTERM)) == signal.SIG_DFL:  # nohup ignores it
            signal.signal(signum, signal.default_int_handler)  # as Ctrl-C: stop kernels, write reports, tidy up
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ✓ or ≤ shows a question mark, not an error
    try:
        app()
    except (CourseError, OSError) as error:
        typer.secho(printable(f"coursekit: {_in_words(error)}"), fg=typer.colors.RED, err=True)
        sys.exit(1)


def _in_words(error: Exception) -> str:
    """The message for the user; a file system's error names a path and a reason, such as a full disk."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    gone = isinstance(error, FileNotFoundError) and error.filename is None
    place = "the working folder" if gone else error.filename
    return f"{place}: {error.strerror}." if place else f"{error.strerror}."
