"""Run lecture notebooks: plan what to execute, execute it, and write results back to the sources."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from coursekit.errors import CourseError
from coursekit.files import locked
from coursekit.notebooks import files
from coursekit.notebooks.links import bring_up_to_date
from coursekit.notebooks.normalize import normalize
from coursekit.notebooks.output import require_folder
from coursekit.notebooks.run_record import Entry, Run, Settings

POLL_SECONDS = 0.1  # between two looks at the threads; on Windows, Ctrl-C has to wait for the next look


def open_run(out: Path | None, settings: Settings, resume: bool) -> Run:
    """A new run, or the one to resume.

    Args:
        out: the folder of the run; without it, a new one in ``runs/``, or the newest there with these settings.

    Raises:
        CourseError: the folder holds something else, or no run with these settings.
    """
    if resume and out is None:
        for file in sorted(Path("runs").glob("*/run.json"), key=lambda file: file.stat().st_mtime, reverse=True):
            with suppress(CourseError):  # another version of coursekit wrote that one, or it is damaged
                if (old := Run.load(file.parent)).settings == settings:
                    return old
        raise CourseError("nothing to resume: no run in runs/ has these settings. Run without --resume.")
    folder = out or Path("runs", f"{datetime.now():%Y%m%d-%H%M%S}-{settings.profile}")
    require_folder(folder)
    if not folder.exists() or not any(folder.iterdir()):
        return Run(folder, settings)
    if not resume:
        raise CourseError(f"{folder} is not empty. Continue its run with --resume, or choose another folder.")
    old = Run.load(folder)
    if others := [f"{name} {value}" for name, value in vars(old.settings).items() if value != vars(settings)[name]]:
        raise CourseError(f"the run in {folder} had {', '.join(others)}. Choose another folder.")
    return old


@contextmanager
def holding(run: Run, *, new: bool) -> Iterator[None]:
    """Hold the folder of a run, so that no other process writes to it meanwhile.

    Args:
        new: the run takes another name for its folder if another run of the same second has taken the first.

    Raises:
        CourseError: another run holds the folder, or it cannot be written.
    """
    first, count = run.folder, 1
    while new and run.folder.exists():
        count += 1
        run.folder = first.with_name(f"{first.name}-{count}")
    with ExitStack() as held:
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            free = held.enter_context(locked(run.folder))
        except OSError as error:
            raise CourseError(f"the run cannot be written to {run.folder}: {error.strerror}.") from error
        if not free:
            raise CourseError(f"another run is writing to {run.folder}: wait for it, or choose another folder.")
        yield


def plan(run: Run, names: Sequence[str | Path]) -> list[Entry]:
    """Give each of these notebooks an entry in the run, and return their entries.

    An entry of a resumed run stays if its notebook succeeded and has not changed since. Without names, the notebooks
    of the resumed run are meant, or the whole course.

    Raises:
        CourseError: a notebook does not exist, lacks a parameter, or has the name of another one.
    """
    sources = [path.resolve() for path in files.find_notebooks(names or [entry.source for entry in run.notebooks])]
    entries = {entry.name: entry for entry in run.notebooks}
    for source in sources:
        fresh = Entry.of(source, run.settings)
        old = entries.get(fresh.name, fresh)
        if old.source != source:
            raise CourseError(f"{source} and {old.source} have the same name: run them separately.")
        done = old.status == "ok" and old.fingerprint == fresh.fingerprint and (run.folder / old.executed).exists()
        entries[fresh.name] = old if done else fresh
    run.notebooks = list(entries.values())
    return [entries[source.stem] for source in sources]


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def execute(run: Run, entries: Iterable[Entry], jobs: int | None, show: Callable[[Entry], None]) -> None:
    """Execute the notebooks of these entries that have not been run; after each, the run is saved.

    Every notebook has a thread here, and a kernel in a process of its own. An exception that ends the execution early,
    such as Ctrl-C, kills the kernels; the executed files keep the cells that were finished.

    Args:
        jobs: notebooks at a time; without it, one for each core.
        show: is called with an entry when its execution starts and when it has ended, the former in its thread.
    """
    waiting = [entry for entry in entries if entry.status == "not run"]
    run.jobs = max(1, min(jobs or cores(), len(waiting)))
    start, stopping = time.monotonic() - run.seconds, threading.Event()

    def save() -> None:
        run.seconds = round(time.monotonic() - start, 3)
        run.save()

    pool = ThreadPoolExecutor(run.jobs)
    try:
        pending = {pool.submit(_execute, run, entry, stopping, show) for entry in waiting}
        while pending:
            done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                save()
                show(future.result())
    finally:
        stopping.set()
        pool.shutdown(cancel_futures=True)
        save()


def _execute(run: Run, entry: Entry, stopping: threading.Event, show: Callable[[Entry], None]) -> Entry:
    """Execute one notebook, in a thread of the pool, and conclude its entry."""
    from coursekit.notebooks.execute import execute  # imports papermill, which takes a second

    entry.status = "running"
    show(entry)
    try:
        (run.folder / entry.executed).unlink(missing_ok=True)  # left by an earlier attempt
        execute(run, entry, stopping)
    except Exception as error:  # the report shows it
        entry.conclude(run.folder, error)
    else:
        entry.conclude(run.folder)
    return entry


def write_back(run: Run, contents: Mapping[Path, bytes]) -> list[Path]:
    """Write the notebooks that succeeded back to their sources, normalized and with their generated pieces up to date.

    Args:
        contents: the sources to write to, and what each held when the run was planned.

    Returns:
        The sources that have changed since then and were left alone.
    """
    changed = []
    for entry in run.notebooks:
        source = entry.source
        if entry.status != "ok" or source not in contents:
            continue
        if source.read_bytes() == contents[source]:
            nb = normalize(files.read(run.folder / entry.executed))
            files.write(bring_up_to_date(nb, entry.name, source.parents[1]), source)
        else:
            changed.append(source)
    return changed
