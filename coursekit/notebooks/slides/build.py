"""Decks of several notebooks at once: execute, check, render, print, and write all or none."""

import shutil
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from coursekit.errors import CourseError
from coursekit.files import write_text
from coursekit.notebooks import files, runs
from coursekit.notebooks.output import require_folder, write_together
from coursekit.notebooks.run_record import Entry, Run, Settings
from coursekit.notebooks.slides import deck, parts, pdf


def build_decks(paths: list[Path], out: Path, *, execute: bool, with_pdf: bool, report: Callable[[str], None]) -> None:
    """Write the decks of notebooks, ``stem.html``, into a folder.

    Args:
        out: The folder; decks of earlier builds in it are replaced.
        execute: Execute copies of the notebooks first.
        with_pdf: Print ``stem.pdf`` as well.
        report: Is told of each step that takes time, in a line.

    Raises:
        CourseError: A notebook cannot be read, executed or shown, the parts or the browser are missing, or the folder
            cannot be written or holds other files of these names. The folder is as it was before.
    """
    # Refuse first what would fail after minutes of work.
    stems = [path.stem for path in paths]
    if twice := [stem for stem in stems if stems.count(stem) > 1]:
        raise CourseError(f"two of the notebooks are called {twice[0]}: make the slides of each by itself.")
    _refuse_other_files(out, stems)
    browser = pdf.chromium() if with_pdf else ""
    with tempfile.TemporaryDirectory(prefix="coursekit-", ignore_cleanup_errors=True) as scratch:
        executed = _execute(paths, Path(scratch), report) if execute else paths
        notebooks = [files.read(path) for path in executed]
        for nb, path in zip(notebooks, paths, strict=True):
            deck.check(nb, path)
        inside = parts.parts(report)
        built = Path(scratch, "decks")
        built.mkdir()
        for nb, path in zip(notebooks, paths, strict=True):
            write_text(built / f"{path.stem}.html", deck.render(nb, path, inside, stems))
        if with_pdf:
            with ThreadPoolExecutor(runs.cores()) as threads:
                printed = threads.map(partial(pdf.print_deck, browser), [built / f"{stem}.html" for stem in stems])
                for stem, _ in zip(stems, printed, strict=True):
                    report(f"{stem}: printed")
        with write_together(out) as place:
            for file in sorted(built.iterdir()):
                shutil.copyfile(file, place(file.name))


def _refuse_other_files(out: Path, stems: Iterable[str]) -> None:
    """``CourseError`` if files that are not decks would be replaced."""
    require_folder(out)
    for stem in stems:
        page, printed = out / f"{stem}.html", out / f"{stem}.pdf"
        mark = f'content="{deck.GENERATOR}'
        ours = page.is_file() and mark in page.read_text(encoding="utf-8", errors="replace")[:1000]
        if not ours and (page.exists() or printed.exists()):
            raise CourseError(f"{out} holds another {stem}, which is not a deck: choose another folder with --out.")


def _execute(paths: list[Path], folder: Path, report: Callable[[str], None]) -> list[Path]:
    """Execute copies of the notebooks as ``coursekit run`` does, into ``folder``."""

    def show(entry: Entry) -> None:
        if entry.status == "running":
            report(f"{entry.name}: executing")

    run = Run(folder, Settings())
    entries = runs.plan(run, paths)
    run.save()
    runs.execute(run, entries, None, show)
    for entry in entries:
        if not (folder / entry.executed).exists():
            raise CourseError(f"{entry.source} could not be executed: {entry.message}")
    return [folder / entry.executed for entry in entries]
