"""``coursekit data``: list, download and check the data sets."""

from typing import TYPE_CHECKING, Annotated

import typer

from coursekit.errors import CourseError

if TYPE_CHECKING:
    from coursekit.datasets.registry import Entry

data = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="List, download and check the data sets. They are kept in COURSEKIT_DATA if it is set, else in your cache.",
)


@data.command("list")
def list_() -> None:
    """Show every data set: what it is, the size of its download, whether it is here, its licence."""
    from rich.console import Console
    from rich.table import Table

    from coursekit.datasets import registry, store

    table = Table("Name", "What", "Download", "State", "Licence", box=None, header_style="bold", pad_edge=False)
    for entry in registry.entries().values():
        size = entry.download_size if entry.files else "–"
        table.add_row(entry.name, entry.about, size, store.state(entry), entry.licence)
    Console().print(table)
    typer.echo(f"\nFolder: {store.home()}")


@data.command()
def get(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets, by their names in `list`.")],
) -> None:
    """Download data sets that are not here yet."""
    from coursekit.datasets import download

    for entry in _entries(names):
        typer.echo(f"{entry.title} is here: {download.fetch(entry)}" if entry.files else _embedded(entry))


@data.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Data sets; by default all that are here.")
    ] = None,
) -> None:
    """Compare files with their checksums; exits with status 1 if one is damaged or missing."""
    from coursekit.datasets import checksums, registry, store

    here = [entry.name for entry in registry.entries().values() if store.state(entry) in ("here", "in part")]
    if not (names or here):
        typer.echo(f"There is no data set in {store.home()}: nothing to check.")
    bad = 0
    for entry in _entries(names or here):
        if not entry.files:
            typer.echo(_embedded(entry))
        for finding in checksums.verify(entry):
            bad += not finding.good
            typer.echo(f"{'ok ' if finding.good else 'BAD'} {entry.name}/{finding.file}: {finding.message}")
    if bad:
        raise CourseError(f"{bad} bad {'file' if bad == 1 else 'files'}, see above.")


@data.command()
def path(
    name: Annotated[str | None, typer.Argument(help="A data set; by default the folder of all.")] = None,
) -> None:
    """Print the folder of a data set, whether it exists or not, or the folder of all."""
    from coursekit.datasets import store

    typer.echo(store.folder_of(*_entries([name])) if name else store.home())


def _entries(names: list[str]) -> "list[Entry]":
    from coursekit.datasets import registry

    try:
        return [registry.find(name) for name in names]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _embedded(entry: "Entry") -> str:
    return f"{entry.title} ships inside an installed package: there is nothing to download or check."
