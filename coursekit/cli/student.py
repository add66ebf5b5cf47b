"""``coursekit student``: the notebooks as students get them, without the solutions."""

from pathlib import Path
from typing import Annotated

import typer

from coursekit.errors import CourseError
from coursekit.notebooks.files import find_notebooks
from coursekit.notebooks.student import ZIP, edition, publish


def student(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NOTEBOOK]...", help="Numbers (09), names or paths; without, the whole course."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the edition.")] = Path("student"),
) -> None:
    """Make the edition for students: notebooks without solutions, how to use them, and a zip of all.

    A file that is there already and differs, for a student worked in it, is kept: the new one is written beside it.
    """
    paths = find_notebooks(names or [])
    if any(path.parent.resolve() == out.resolve() for path in paths):
        raise CourseError(f"{out} holds the notebooks with their solutions: choose another folder with --out.")
    places = publish(edition(paths), out)
    for name, place in places.items():
        if place.name != name:
            typer.echo(f"{out / name} differs and is kept; the new one is {place.name}")
    typer.echo(f"Notebooks without solutions: {len(paths)}, in {out}. All in one file: {places[ZIP]}")
