"""``coursekit run``: execute notebooks, judge them, and leave a report."""

import ast
import json
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from coursekit.errors import CourseError, printable
from coursekit.notebooks import report, runs
from coursekit.notebooks.run_record import Run, Settings


def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NOTEBOOK]...", help="Numbers (09), names or paths; by default the whole course."),
    ] = None,
    profile: Annotated[str, typer.Option(metavar="[smoke|quick|full]", help="How much to compute.")] = "quick",
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Notebooks at a time; by default one for each core.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="[auto|cpu|cuda|mps]", help="Where to compute; by default as the notebooks say."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; by default as the notebooks say.")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Another name of the parameters cell."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the report; by default a new one in runs/.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the run in --out, or the newest one with these settings."),
    ] = False,
    timeout: Annotated[
        int | None, typer.Option(metavar="SECONDS", min=1, help="Longest time for one notebook.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write notebooks that succeed back to their sources, normalized.")
    ] = False,
) -> None:
    """Execute notebooks and report which claims hold.

    The exit status is 0 if all is well, 1 if a notebook, a claim, an exercise or a widget failed, 2 if an argument is
    wrong, and 130 after Ctrl-C. Exercises may be open in notebooks without solutions.
    """
    from coursekit.notebooks.terminal import LiveTable

    with ExitStack() as held:
        try:
            settings = Settings(profile, device, seed, dict(map(_parameter, parameter or [])))
            if update and settings != Settings():
                raise CourseError(
                    "--update writes committed notebooks: it works at profile quick, with no other setting."
                )
            this = runs.open_run(out, settings, resume)
            this.timeout = timeout
            entries = runs.plan(this, names or [])
            contents = {entry.source: entry.source.read_bytes() for entry in entries}
            held.enter_context(runs.holding(this, new=out is None and not resume))
            this.save()
        except CourseError as error:
            typer.secho(printable(f"coursekit: {error}"), fg=typer.colors.RED, err=True)
            raise typer.Exit(2) from error

        try:
            with LiveTable(this.notebooks) as table:
                runs.execute(this, entries, jobs, table.show)
        except KeyboardInterrupt:
            this.interrupted = True
            this.save()
        changed = runs.write_back(this, contents) if update else []
        raise typer.Exit(_tell(this, changed))


def _tell(this: Run, changed: list[Path]) -> int:
    """Write the report and print what went wrong and a summary; return the exit status."""
    page = report.write(this)
    failed = [entry for entry in this.notebooks if entry.failed]
    for entry in failed:
        typer.echo(printable(report.failure(entry)))
    typer.echo("\n" + report.summary(this))
    for source in changed:
        typer.echo(f"Not updated, because it changed during the run: {source}")
    typer.echo(f"Report: {page}")
    if this.interrupted:
        typer.echo("Interrupted. The same command with --resume continues.")
        return 130
    return 1 if changed or failed else 0


def _parameter(text: str) -> tuple[str, Any]:
    """Name and value of ``NAME=VALUE``: a Python literal that JSON can hold, or else the text itself."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise CourseError(f"--parameter needs NAME=VALUE, for example EPOCHS=3; it was given {text!r}.")
    with suppress(ValueError, SyntaxError, TypeError):
        literal = ast.literal_eval(value)
        keys = [key for node in ast.walk(ast.parse(value)) if isinstance(node, ast.Dict) for key in node.keys]
        if not all(isinstance(key, ast.Constant) and isinstance(key.value, str) for key in keys):
            raise CourseError(f"--parameter {text}: the keys of a dictionary must be text.")  # JSON turns 1 into "1"
        return name, json.loads(json.dumps(literal))
    return name, value
