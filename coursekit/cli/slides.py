"""``coursekit slides``: executed lecture notebooks as decks of slides."""

from pathlib import Path
from typing import Annotated

import typer

from coursekit.notebooks.files import find_notebooks


def slides(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NOTEBOOK]...", help="Numbers (09), names or paths; by default the whole course."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the decks.")] = Path("slides"),
    pdf: Annotated[bool, typer.Option("--pdf", help="Also print every deck to PDF, with Chromium.")] = False,
    execute: Annotated[
        bool, typer.Option("--execute", help="First execute copies of the notebooks, at profile quick.")
    ] = False,
) -> None:
    """Turn executed notebooks into decks of slides, each one HTML file that needs no network.

    Solutions of exercises are left out. Decks that are already in the folder are replaced, all or none.
    """
    from coursekit.notebooks.slides.build import build_decks

    paths = find_notebooks(names or [])
    build_decks(paths, out, execute=execute, with_pdf=pdf, report=typer.echo)
    typer.echo(f"{len(paths)} deck{'s' if len(paths) > 1 else ''}{', also as PDF' if pdf else ''}, in {out}")
