"""``coursekit student``: the notebooks without their solutions, to hand out."""

from pathlib import Path
from typing import Annotated

import typer

from coursekit.notebooks.files import find_notebooks
from coursekit.notebooks.student import ZIP, publish


def student(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NOTEBOOK]...", help="Numbers (09), names or paths; by default the whole course."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the edition.")] = Path("student"),
) -> None:
    """Make the student edition: notebooks without solutions, the images in their text, a README, and a zip of all.

    A file that is there already and differs is kept, because a student may have worked in it. The new one is written
    beside it.
    """
    paths = find_notebooks(names or [])
    places = publish(paths, out)
    for name, place in places.items():
        if place != out / name:
            typer.echo(f"{out / name} differs and is kept; the new one is {place.name}")
    typer.echo(f"Notebooks without solutions: {len(paths)}, in {out}. All in one file: {places[ZIP]}")
