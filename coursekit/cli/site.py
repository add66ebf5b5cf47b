"""``coursekit site``: the course as a website of plain files."""

from pathlib import Path
from typing import Annotated

import typer


def site(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the site.")] = Path("site"),
    decks: Annotated[
        bool, typer.Option("--decks", help="Also make the slides and print them to PDF, which takes minutes.")
    ] = False,
    links: Annotated[
        bool, typer.Option("--links", help="Instead of building, ask every external address whether it is there.")
    ] = False,
) -> None:
    """Build the website of the course from the executed notebooks: pages that need neither a kernel nor a server.

    A site that is already in the folder is replaced as a whole. With ``--links`` nothing is written, and the exit
    status is 1 if a link is broken.
    """
    import tempfile
    import time

    from coursekit.notebooks.files import find_notebooks
    from coursekit.notebooks.site.build import build_site, check_links
    from coursekit.notebooks.slides.build import build_decks

    if links:
        broken = check_links(typer.echo)
        for line in broken:
            typer.echo(line)
        typer.echo(f"{len(broken)} broken links")
        raise typer.Exit(1 if broken else 0)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="coursekit-") as scratch:
        if decks:
            build_decks(find_notebooks(), Path(scratch), execute=False, with_pdf=True, report=typer.echo)
        build_site(out, decks=Path(scratch) if decks else None, report=typer.echo)
    typer.echo(f"The site is in {out}, made in {time.perf_counter() - begun:.0f} s. Open {out / 'index.html'}, or: ")
    typer.echo(f"  python -m http.server --bind 127.0.0.1 --directory {out}")
