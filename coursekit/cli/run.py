"""``coursekit run``: execute notebooks, judge them, and leave a report."""

import ast
import json
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from coursekit import __version__
from coursekit.course import DEVICES, PROFILES
from coursekit.errors import CourseError, unknown
from coursekit.notebooks import files, report
from coursekit.notebooks.links import bring_up_to_date
from coursekit.notebooks.pool import Finished, Started, Task, cores, execute_all

FORMAT = 1  # of run.json


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

    Ends with 0 if all is well, 1 if a notebook, a claim or a widget failed, 2 if asked for what there is not,
    and 130 after Ctrl-C.
    """
    from coursekit.notebooks.board import Board

    try:
        settings = _settings(profile, device, seed, parameter or [])
        if update and settings != _settings("quick", None, None, []):
            raise CourseError("--update writes committed notebooks: at profile quick, nothing else set.")
        folder, before = _open(out, settings, resume)
        wanted = files.find_notebooks(names or [entry["source"] for entry in before["notebooks"]])
        sources = [path.resolve() for path in wanted]
        entries = _plan(sources, settings, before["notebooks"], folder)
    except CourseError as error:
        typer.secho(f"coursekit: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from error

    waiting = [entry for entry in entries if entry["status"] == "not run" and Path(entry["source"]) in sources]
    contents = {source: source.read_bytes() for source in sources}
    jobs = max(1, min(jobs or cores(), len(waiting)))
    record = {
        "format": FORMAT,
        "coursekit": __version__,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": before["seconds"],
        "interrupted": False,
        **settings,
        "jobs": jobs,
        "timeout": timeout,
        "notebooks": entries,
    }
    start = time.monotonic()

    def save() -> None:
        record["seconds"] = round(before["seconds"] + time.monotonic() - start, 3)
        files.write_text(folder / "run.json", json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    save()
    try:
        with Board(entries) as board:
            _execute(waiting, folder, jobs, timeout, board.show, save)
    except KeyboardInterrupt as interrupt:
        record["interrupted"] = True
        for entry in waiting:
            if entry["status"] == "running":
                _conclude(entry, folder, interrupt)
    save()
    page = report.write(folder)
    for entry in filter(report.failed, entries):
        typer.echo(report.failure(entry))
    refused = _write_back(entries, contents, folder) if update else []
    typer.echo("\n" + report.summary(record))
    for source in refused:
        typer.echo(f"Not updated, for it changed during the run: {source}")
    typer.echo(f"Report: {page}")
    if record["interrupted"]:
        typer.echo("Interrupted. The same command with --resume continues.")
        raise typer.Exit(130)
    if refused or any(map(report.failed, entries)):
        raise typer.Exit(1)


def _settings(profile: str, device: str | None, seed: int | None, parameters: list[str]) -> dict[str, Any]:
    if profile not in PROFILES:
        raise CourseError(unknown("profile", profile, PROFILES))
    if device is not None and device not in DEVICES:
        raise CourseError(unknown("device", device, DEVICES))
    others = dict(map(_parameter, parameters))
    if given := others.keys() & {"PROFILE", "DEVICE", "SEED"}:
        raise CourseError(f"the parameter {min(given)} has an option of its own: --{min(given).lower()}.")
    return {"profile": profile, "device": device, "seed": seed, "parameters": others}


def _parameter(text: str) -> tuple[str, Any]:
    """Name and value of ``NAME=VALUE``: a Python literal that JSON can hold, else the text as it is."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise CourseError(f"--parameter wants NAME=VALUE, for example EPOCHS=3; it was given {text!r}.")
    with suppress(ValueError, SyntaxError, TypeError):
        return name, json.loads(json.dumps(ast.literal_eval(value)))
    return name, value


def _open(out: Path | None, settings: dict[str, Any], resume: bool) -> tuple[Path, dict[str, Any]]:
    """The folder of the run and what it holds already; nothing unless it is to be resumed."""
    nothing = {"notebooks": [], "seconds": 0.0}
    if resume and out is None:
        found = sorted(Path("runs").glob("*/run.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in found:
            before = _load(file)
            if before.items() >= settings.items():
                return file.parent, before
        raise CourseError("nothing to resume: no run in runs/ has these settings. Run without --resume.")
    folder = out or Path("runs", f"{datetime.now():%Y%m%d-%H%M%S}-{settings['profile']}")
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"--out wants a folder, and {folder} is a file.")
    if not folder.exists() or not any(folder.iterdir()):
        return folder, nothing
    if not resume:
        raise CourseError(f"{folder} is not empty. Continue its run with --resume, or choose another folder.")
    before = _load(folder / "run.json")
    if others := [f"{name} {before[name]}" for name in settings if before[name] != settings[name]]:
        raise CourseError(f"the run in {folder} had {', '.join(others)}. Choose another folder.")
    return folder, before


def _load(file: Path) -> dict[str, Any]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CourseError(f"no run to resume in {file.parent}: cannot read run.json ({error}).") from error
    if record.get("format") != FORMAT:
        raise CourseError(f"{file} was written by another version of coursekit. Run without --resume.")
    return record


def _plan(
    sources: list[Path], settings: dict[str, Any], before: list[dict[str, Any]], folder: Path
) -> list[dict[str, Any]]:
    """The entries of the run: those of before, with the sources that have to be run (again) afresh."""
    entries = {entry["name"]: entry for entry in before}
    for source in sources:
        fresh = _entry(source, settings)
        old = entries.get(source.stem, fresh)
        if old["source"] != fresh["source"]:
            raise CourseError(f"{source} and {old['source']} have one name: give each a run of its own.")
        done = old["status"] == "ok" and old["fingerprint"] == fresh["fingerprint"]
        if not (done and (folder / old["executed"]).exists()):
            entries[source.stem] = fresh
    return list(entries.values())


def _entry(source: Path, settings: dict[str, Any]) -> dict[str, Any]:
    nb = files.read(source)
    known = files.parameters(nb)
    for name in settings["parameters"]:
        if name not in known:
            raise CourseError(unknown(f"parameter of {source.name}", name, known))
    general = {name.upper(): settings[name] for name in ("profile", "device", "seed")}
    given = {name: value for name, value in general.items() if name in known and value is not None}
    return {
        "name": source.stem,
        "title": files.title(nb),
        "source": str(source),
        "fingerprint": files.fingerprint(nb),
        "parameters": given | settings["parameters"],
        "executed": f"notebooks/{source.name}",
        **report.describe(files.cleared(nb)),
        "status": "not run",
    }


def _execute(
    entries: list[dict[str, Any]],
    folder: Path,
    jobs: int,
    timeout: int | None,
    show: Callable[[dict[str, Any], Any], None],
    save: Callable[[], None],
) -> None:
    """Execute the notebooks of these entries; after each, its entry is complete and saved."""
    with tempfile.TemporaryDirectory(prefix="coursekit-", ignore_cleanup_errors=True) as scratch:
        tasks = [
            Task(
                source=Path(entry["source"]),
                executed=(folder / entry["executed"]).resolve(),
                log=Path(scratch, f"{entry['name']}.log"),
                parameters=entry["parameters"],
                timeout=timeout,
                one_thread=jobs > 1,
            )
            for entry in entries
        ]
        of_source = dict(zip([task.source for task in tasks], entries, strict=True))
        for task in tasks:
            task.executed.unlink(missing_ok=True)  # an earlier attempt's
        with closing(execute_all(tasks, jobs)) as events:
            for task, event in events:
                entry = of_source[task.source]
                if isinstance(event, Started):
                    entry["status"] = "running"
                if isinstance(event, Finished):
                    _conclude(entry, folder, event.error)
                    save()
                show(entry, event)


def _conclude(entry: dict[str, Any], folder: Path, error: BaseException | None) -> None:
    """Complete the entry from the executed file, and from the error that kept that file from being whole."""
    try:
        nb = files.read(folder / entry["executed"])
        entry |= report.describe(nb)
    except CourseError as damage:  # nothing was written, or nothing that is a notebook
        nb, error = None, error or damage
    if error is None:
        return
    if isinstance(error, KeyboardInterrupt):
        status, message = "interrupted", "The run was interrupted in this cell."
    elif isinstance(error, BrokenProcessPool):
        status, message = "worker died", "The worker process was killed in this cell (out of memory?)."
    else:
        status, message = "error", "".join(traceback.format_exception(error))
    entry |= {"status": status, "message": message}
    entry["problems"].append(files.unfinished(nb, message))


def _write_back(entries: list[dict[str, Any]], contents: dict[Path, bytes], folder: Path) -> list[Path]:
    """Normalize notebooks that succeeded into their sources; return the sources that changed meanwhile."""
    refused = []
    for entry in entries:
        source = Path(entry["source"])
        if entry["status"] != "ok" or source not in contents:
            continue
        if source.read_bytes() == contents[source]:
            executed = files.normalize(files.read(folder / entry["executed"]))
            files.write(bring_up_to_date(executed, source.stem, source.parents[1]), source)
        else:
            refused.append(source)
    return refused
