"""``coursekit notebooks``: copy the notebooks that came with the package."""

from pathlib import Path
from typing import Annotated

import typer


def notebooks(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to put them; made if it does not exist.")],
) -> None:
    """Copy the lecture notebooks into a folder to work in.

    A file that is there already and differs is kept, because you may have worked in it. The new one is written beside
    it.
    """
    from coursekit.errors import CourseError
    from coursekit.files import shipped
    from coursekit.notebooks.output import write_beside

    own = shipped("notebooks", "notebooks")
    if own.resolve() == folder.resolve():
        raise CourseError(f"{folder} is the folder of the course's own notebooks: choose another one.")
    contents = {path.name: path.read_bytes() for path in sorted(own.glob("*.ipynb"))}
    if not contents:
        raise CourseError(f"{own} holds no notebooks: install the package again.")
    places = write_beside(contents, folder)
    for name, place in places.items():
        if place != folder / name:
            typer.echo(f"{folder / name} differs and is kept; the new one is {place.name}")
    typer.echo(f"{len(places)} notebooks are in {folder}. Open them with: jupyter lab {folder}")
