"""``coursekit run``: execute notebooks, judge them, and leave a report."""

import ast
import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from coursekit.course import DEVICES, PROFILES
from coursekit.errors import CourseError, unknown
from coursekit.notebooks import files, report
from coursekit.notebooks.entry import Entry, Run, Settings
from coursekit.notebooks.runs import execute, open_run, plan, write_back

TERMINATION = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def run(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NOTEBOOK]...", help="Numbers (09), names or paths; without, the whole course."),
    ] = None,
    profile: Annotated[str, typer.Option(metavar="[smoke|quick|full]", help="How much to compute.")] = "quick",
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Notebooks at a time; without, one per core.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="[auto|cpu|cuda|mps]", help="Where to compute; without, as the notebooks say."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; without, as the notebooks say.")] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Any other name of the parameters cell."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the report; without, a new one in runs/.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue the run in --out, or the newest one with these settings."),
    ] = False,
    timeout: Annotated[
        int | None, typer.Option(metavar="SECONDS", min=1, help="Longest time for one notebook.")
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write notebooks that succeed back to their source, normalized.")
    ] = False,
) -> None:
    """Execute notebooks and report which claims hold.

    The exit status is 0 if all is well, 1 if a notebook, a claim or a widget failed, 2 if the request makes no sense,
    and 130 after Ctrl-C.
    """
    try:
        settings = _settings(profile, device, seed, parameter or [])
        if update and settings != Settings():
            raise CourseError("--update writes committed notebooks: at profile quick, nothing else set.")
        folder, record = open_run(out, settings, resume)
        wanted = files.find_notebooks(names or [entry.source for entry in record.notebooks])
        sources = [path.resolve() for path in wanted]
        record.notebooks = plan(sources, record, folder)
    except CourseError as error:
        typer.secho(f"coursekit: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from error
    contents = {source: source.read_bytes() for source in sources}
    _execute(record, sources, folder, jobs, timeout)
    page = report.write(record, folder)
    failed = [entry for entry in record.notebooks if entry.outcome.failed]
    for entry in failed:
        typer.echo(report.failure(entry))
    refused = write_back(record.notebooks, contents, folder) if update else []
    typer.echo("\n" + report.summary(record))
    for source in refused:
        typer.echo(f"Not updated, because it changed during the run: {source}")
    typer.echo(f"Report: {page}")
    if record.interrupted:
        typer.echo("Interrupted. The same command with --resume continues.")
        raise typer.Exit(130)
    if refused or failed:
        raise typer.Exit(1)


def _execute(record: Run, sources: list[Path], folder: Path, jobs: int | None, timeout: int | None) -> None:
    """Execute what has not run yet; ``run.json`` is up to date after every notebook."""
    from coursekit.notebooks.board import Board
    from coursekit.notebooks.pool import Finished, cores

    waiting = [entry for entry in record.notebooks if entry.outcome.status == "not run" and entry.source in sources]
    record.jobs, record.timeout = max(1, min(jobs or cores(), len(waiting))), timeout
    record.started = datetime.now().astimezone().isoformat(timespec="seconds")
    record.interrupted = False
    start = time.monotonic() - record.seconds

    def save() -> None:
        record.seconds = round(time.monotonic() - start, 3)
        record.write(folder)

    def changed(entry: Entry, event: Any) -> None:
        if isinstance(event, Finished):
            save()
        board.show(entry, event)

    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    save()
    try:
        with Board(record.notebooks) as board, _interrupted_by_termination():
            execute(waiting, folder, record.jobs, timeout, changed)
    except KeyboardInterrupt:
        record.interrupted = True
    save()


@contextmanager
def _interrupted_by_termination() -> Iterator[None]:
    """SIGTERM and a closed terminal interrupt the run as Ctrl-C does, so that no kernel is left."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in TERMINATION}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settings(profile: str, device: str | None, seed: int | None, parameters: list[str]) -> Settings:
    if profile not in PROFILES:
        raise CourseError(unknown("profile", profile, PROFILES))
    if device is not None and device not in DEVICES:
        raise CourseError(unknown("device", device, DEVICES))
    others = dict(map(_parameter, parameters))
    if given := others.keys() & {"PROFILE", "DEVICE", "SEED"}:
        raise CourseError(f"the parameter {min(given)} has an option of its own: --{min(given).lower()}.")
    return Settings(profile, device, seed, others)


def _parameter(text: str) -> tuple[str, Any]:
    """Name and value of ``NAME=VALUE``: a Python literal that JSON can hold, else the text as it is."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise CourseError(f"--parameter wants NAME=VALUE, for example EPOCHS=3; it was given {text!r}.")
    with suppress(ValueError, SyntaxError, TypeError):
        return name, json.loads(json.dumps(ast.literal_eval(value)))
    return name, value
