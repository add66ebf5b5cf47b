"""``coursekit slides``: executed lecture notebooks as decks, each one HTML file that needs no network."""

import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from coursekit.errors import CourseError
from coursekit.files import atomic_path
from coursekit.notebooks import files
from coursekit.notebooks.pool import cores
from coursekit.notebooks.slides import GENERATOR


def slides(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NOTEBOOK]...", help="Numbers (09), names or paths; without, the whole course."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the decks.")] = Path("slides"),
    pdf: Annotated[bool, typer.Option("--pdf", help="Print every deck to PDF as well, with Chromium.")] = False,
    execute: Annotated[
        bool, typer.Option("--execute", help="Run copies of the notebooks first, at profile quick.")
    ] = False,
) -> None:
    """Turn executed notebooks into slides: one HTML file each, with everything in it.

    Solutions of exercises are left out. Decks that are in the folder already are replaced, all or none.
    """
    from coursekit.notebooks.slides import deck, parts
    from coursekit.notebooks.slides.pdf import chromium, print_deck

    paths = files.find_notebooks(names or [])
    stems = [path.stem for path in paths]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise CourseError(f"two of the notebooks are called {twice[0]}: make the slides of each by itself.")
    _look_at(out, stems)
    browser = chromium() if pdf else ""
    with tempfile.TemporaryDirectory(prefix="coursekit-", ignore_cleanup_errors=True) as scratch:
        executed = _execute(paths, Path(scratch)) if execute else paths
        found = [files.read(path) for path in executed]
        for nb, path in zip(found, paths, strict=True):
            deck.check(nb, path)
        inside = parts.parts()
        decks = {stem: deck.render(nb, path, inside, stems) for stem, nb, path in zip(stems, found, paths, strict=True)}
        made = Path(scratch, "decks")
        made.mkdir()
        for stem, page in decks.items():
            files.write_text(made / f"{stem}.html", page)
        if pdf:
            with ThreadPoolExecutor(cores()) as pool:
                printed = pool.map(partial(print_deck, browser), [made / f"{stem}.html" for stem in stems])
                for stem, _ in zip(stems, printed, strict=True):
                    typer.echo(f"{stem}: printed")
        _publish(made, out)
    typer.echo(f"{len(stems)} deck{'s' if len(stems) > 1 else ''}{', also as PDF' if pdf else ''}, in {out}")


def _look_at(out: Path, stems: Iterable[str]) -> None:
    """``CourseError`` if the folder is none, or if files in it that are no decks would be lost."""
    if out.exists() and not out.is_dir():
        raise CourseError(f"--out wants a folder, and {out} is a file.")
    for stem in stems:
        page, printed = out / f"{stem}.html", out / f"{stem}.pdf"
        ours = page.is_file() and f'content="{GENERATOR}' in page.read_text(encoding="utf-8", errors="replace")[:1000]
        if not ours and (page.exists() or printed.exists()):
            raise CourseError(f"{out} holds another {stem}, which is no deck: choose another folder with --out.")


def _execute(paths: list[Path], folder: Path) -> list[Path]:
    """Execute copies of the notebooks as ``coursekit run`` does, into ``folder``."""
    from coursekit.notebooks.pool import Finished, Started, Task, execute_all

    jobs = min(cores(), len(paths))
    tasks = [
        Task(
            source=path.resolve(),
            executed=folder / path.name,
            log=folder / f"{path.stem}.log",
            parameters={},
            timeout=None,
            one_thread=jobs > 1,
        )
        for path in paths
    ]
    with closing(execute_all(tasks, jobs)) as events:
        for task, event in events:
            if isinstance(event, Started):
                typer.echo(f"{task.source.stem}: executing")
            if isinstance(event, Finished) and event.error:
                raise CourseError(f"{task.source} could not be executed: {event.error}") from event.error
    return [task.executed for task in tasks]


def _publish(made: Path, out: Path) -> None:
    """Copy the files of one folder into another, all or none."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as together:  # every file is complete before the first takes its name
            for file in sorted(made.iterdir()):
                shutil.copyfile(file, together.enter_context(atomic_path(out / file.name)))
    except OSError as error:
        raise CourseError(f"the slides cannot be written to {out}: {error.strerror}.") from error
