"""``coursekit student``: the notebooks as students get them, without the solutions."""

import ast
import io
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from coursekit import __version__
from coursekit.cli import notebooks
from coursekit.errors import CourseError
from coursekit.files import whole

ZIP = "student.zip"
README = """\
# The notebooks for students

{titles}

1. Install the course's package, `coursekit` {version}, as its README says.
2. Start JupyterLab in this folder, `jupyter lab`, open a notebook and run it from the top.
3. Where a cell says `raise NotImplementedError`, write your own lines in its place. The cell below it checks them and
   says what differs. *Run All* stops at the first exercise that is not solved.

A newer edition of these files never replaces one that you changed. It comes beside it, as `NN_name.new.ipynb`.
"""


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
    paths = notebooks.find_notebooks(names or [])
    if any(path.parent.resolve() == out.resolve() for path in paths):
        raise CourseError(f"{out} holds the notebooks with their solutions: choose another folder with --out.")
    files = edition(paths)
    places = publish(files, out)
    for name, place in places.items():
        if place.name != name:
            typer.echo(f"{out / name} differs and is kept; the new one is {place.name}")
    typer.echo(f"Notebooks without solutions: {len(paths)}, in {out}. All in one file: {places[ZIP]}")


def edition(paths: Sequence[Path]) -> dict[str, bytes]:
    """The files of the edition by name: the notebooks without solutions, a README, a zip of these.

    Raises:
        CourseError: a notebook cannot be read, two have one name, or markers in a cell make no sense.
    """
    files: dict[str, bytes] = {}
    titles = []
    for path in paths:
        if path.name in files:
            raise CourseError(f"two of the notebooks are called {path.name}: make an edition of each.")
        nb = without_solutions(notebooks.read(path), path)
        files[path.name] = notebooks.to_text(nb).encode()
        titles.append(f"- [{notebooks.title(nb) or path.stem}]({path.name})")
    files["README.md"] = README.format(titles="\n".join(titles), version=__version__).encode()
    return files | {ZIP: _zipped(files)}


def without_solutions(nb: Any, path: Path) -> Any:
    """A normalised copy without solutions, hidden tests, and the outputs of every cell that rests on them.

    A cell rests on a solution if it uses a name that the solution's cell defines (its check does), or one that is
    defined by another such cell.
    """
    nb = notebooks.normalise(nb)
    solved: set[str] = set()  # names whose values rest on a solution
    for cell in nb.cells:
        where = f"{path}, cell {cell.id}"
        try:
            stripped = notebooks.strip_solutions(cell.source)
            if cell.cell_type != "code":
                if stripped != cell.source:
                    raise CourseError("a solution can be taken out of code only")
                continue
            defined, used = _names(cell.source)
            _names(stripped)
        except CourseError as error:
            raise CourseError(f"{where}: {error}.") from error
        except SyntaxError as error:
            raise CourseError(f"{where} is not Python, with its solution or without it: {error}.") from error
        if stripped != cell.source or used & solved:
            cell.source, cell.outputs, cell.execution_count = stripped, [], None
            solved |= defined
        else:
            solved -= defined
    return nb


def _names(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell defines, and those whose values it uses."""
    import symtable

    from IPython.core.inputtransformer2 import TransformerManager

    program = TransformerManager().transform_cell(source)  # magics are Python for IPython only
    symbols = symtable.symtable(program, "cell", "exec").get_symbols()
    defined = {symbol.get_name() for symbol in symbols if symbol.is_assigned()}  # not what is imported
    nodes = list(ast.walk(ast.parse(program)))
    used = [node for node in nodes if isinstance(getattr(node, "ctx", None), ast.Load)]
    used += [node.target for node in nodes if isinstance(node, ast.AugAssign)]
    return defined, {node.id for node in used if isinstance(node, ast.Name)}


def _zipped(files: dict[str, bytes]) -> bytes:
    """A zip of the files in one folder, the same bytes for the same files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(f"student/{name}")  # of 1980, whenever it is made
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def publish(files: dict[str, bytes], folder: Path) -> dict[str, Path]:
    """Write files into a folder, all or none, over nothing that is there; where each of them lies now.

    A file with the same content is left alone. One that differs is kept, and the new one lies beside it, as
    ``name.new.ipynb`` (``name.new2.ipynb``, …).

    Raises:
        CourseError: the folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"--out wants a folder, and {folder} is a file.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        places = {name: _place(folder / name, content) for name, content in files.items()}
        with ExitStack() as together:  # every file is complete before the first takes its name
            for name, place in places.items():
                if not place.exists():
                    together.enter_context(whole(place)).write_bytes(files[name])
    except OSError as error:
        raise CourseError(f"the edition cannot be written to {folder}: {error.strerror}.") from error
    return places


def _place(path: Path, content: bytes) -> Path:
    """``path``, or a new name beside it, where ``content`` lies already or nothing does."""
    place, count = path, 1
    while place.exists() and not (place.is_file() and place.read_bytes() == content):
        place = path.with_name(f"{path.stem}.new{count if count > 1 else ''}{path.suffix}")
        count += 1
    return place
