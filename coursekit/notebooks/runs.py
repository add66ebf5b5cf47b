"""The steps of a run: open its folder, plan what to execute, execute it, write notebooks back."""

import tempfile
import traceback
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from coursekit.errors import CourseError, unknown
from coursekit.notebooks import files
from coursekit.notebooks.entry import Entry, Run, Settings, outcome, read_run
from coursekit.notebooks.links import bring_up_to_date
from coursekit.notebooks.normalize import cleared, normalize
from coursekit.notebooks.output import require_folder
from coursekit.notebooks.problems import unfinished


def open_run(out: Path | None, settings: Settings, resume: bool) -> tuple[Path, Run]:
    """The folder of the run, and the run that is in it already: an empty one unless it is to be resumed.

    Raises:
        CourseError: there is nothing to resume, or the folder holds something else.
    """
    if resume and out is None:
        found = sorted(Path("runs").glob("*/run.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in found:
            before = read_run(file.parent)
            if before.settings == settings:
                return file.parent, before
        raise CourseError("nothing to resume: no run in runs/ has these settings. Run without --resume.")
    folder = out or Path("runs", f"{datetime.now():%Y%m%d-%H%M%S}-{settings.profile}")
    require_folder(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return folder, Run(settings)
    if not resume:
        raise CourseError(f"{folder} is not empty. Continue its run with --resume, or choose another folder.")
    before = read_run(folder)
    there, here = vars(before.settings), vars(settings)
    if others := [f"{name} {there[name]}" for name in here if there[name] != here[name]]:
        raise CourseError(f"the run in {folder} had {', '.join(others)}. Choose another folder.")
    return folder, before


def plan(sources: list[Path], before: Run, folder: Path) -> list[Entry]:
    """The entries of the run: those of before, and a fresh one for each source that has to be executed (again).

    Raises:
        CourseError: a notebook cannot be read or has no such parameter, or two have one name.
    """
    entries = {entry.name: entry for entry in before.notebooks}
    for source in sources:
        fresh = new_entry(source, before.settings)
        old = entries.get(source.stem, fresh)
        if old.source != fresh.source:
            raise CourseError(f"{source} and {old.source} have one name: give each a run of its own.")
        done = old.outcome.status == "ok" and old.fingerprint == fresh.fingerprint
        if not (done and (folder / old.executed).exists()):
            entries[source.stem] = fresh
    return list(entries.values())


def new_entry(source: Path, settings: Settings) -> Entry:
    """The entry of a notebook that has not run yet."""
    nb = files.read(source)
    known = files.parameters(nb)
    for name in settings.parameters:
        if name not in known:
            raise CourseError(unknown(f"parameter of {source.name}", name, known))
    general = {"PROFILE": settings.profile, "DEVICE": settings.device, "SEED": settings.seed}
    given = {name: value for name, value in general.items() if name in known and value is not None}
    entry = Entry(
        name=source.stem,
        title=files.title(nb),
        source=source,
        fingerprint=files.fingerprint(nb),
        parameters=given | settings.parameters,
        executed=Path("notebooks", source.name),
        outcome=outcome(cleared(nb)),
    )
    entry.outcome.status = "not run"
    return entry


def execute(
    entries: list[Entry],
    folder: Path,
    jobs: int,
    timeout: int | None,
    changed: Callable[[Entry, Any], None],
) -> None:
    """Execute the notebooks of these entries; ``changed`` hears of every event after its entry is up to date.

    Ctrl-C ends the run: entries that were running become *interrupted*, and ``KeyboardInterrupt`` goes on.
    """
    from coursekit.notebooks.pool import Finished, Started, Task, execute_all  # papermill takes a second to import

    with tempfile.TemporaryDirectory(prefix="coursekit-", ignore_cleanup_errors=True) as scratch:
        tasks = [
            Task(
                source=entry.source,
                executed=(folder / entry.executed).resolve(),
                log=Path(scratch, f"{number}.log"),
                parameters=entry.parameters,
                timeout=timeout,
                one_thread=jobs > 1,
            )
            for number, entry in enumerate(entries)
        ]
        of_source = {entry.source: entry for entry in entries}
        for task in tasks:
            task.executed.unlink(missing_ok=True)  # of an earlier attempt
        try:
            with closing(execute_all(tasks, jobs)) as events:
                for task, event in events:
                    entry = of_source[task.source]
                    if isinstance(event, Started):
                        entry.outcome.status = "running"
                    if isinstance(event, Finished):
                        conclude(entry, folder, event.error)
                    changed(entry, event)
        except KeyboardInterrupt as interrupt:
            for entry in entries:
                if entry.outcome.status == "running":
                    conclude(entry, folder, interrupt)
            raise


def conclude(entry: Entry, folder: Path, error: BaseException | None) -> None:
    """Complete the entry from the executed file, and from the error that kept that file from being whole."""
    nb = None
    try:
        nb = files.read(folder / entry.executed)
        entry.outcome = outcome(nb)
    except CourseError as damage:  # nothing was written, or something that is not a notebook
        error = error or damage
    if error is None:
        return
    if isinstance(error, KeyboardInterrupt):
        status, message = "interrupted", "The run was interrupted in this cell."
    else:
        status, message = "error", "".join(traceback.format_exception(error))
    entry.outcome.status, entry.outcome.message = status, message
    entry.outcome.problems.append(unfinished(nb, message))


def write_back(entries: list[Entry], contents: dict[Path, bytes], folder: Path) -> list[Path]:
    """Write notebooks that succeeded over their sources, normalized; return the sources that changed meanwhile.

    Args:
        contents: what was in each source when it was executed.
    """
    refused = []
    for entry in entries:
        if entry.outcome.status != "ok" or entry.source not in contents:
            continue
        if entry.source.read_bytes() == contents[entry.source]:
            nb = normalize(files.read(folder / entry.executed))
            files.write(bring_up_to_date(nb, entry.name, entry.source.parents[1]), entry.source)
        else:
            refused.append(entry.source)
    return refused
