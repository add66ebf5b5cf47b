"""The student edition: the notebooks without their solutions."""

import ast
import html
import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from coursekit import __version__
from coursekit.errors import CourseError
from coursekit.notebooks import files
from coursekit.notebooks.normalize import normalize
from coursekit.notebooks.output import write_together
from coursekit.notebooks.solutions import MARKER, strip_solutions

ZIP = "student.zip"
WORD = re.compile(r"[^\W\d]\w*")
PYTHON_MAGIC = re.compile(r"\A%%(time|timeit|capture|prun)\b.*\n")  # the rest of such a cell is Python
SOLUTION = "### SOLUTION"  # stands for a solution among the names that a cell depends on
README = """\
# The notebooks for students

{titles}

1. Install the course's package, `coursekit` {version}, as its README says.
2. Start JupyterLab in this folder with `jupyter lab`, open a notebook and run it from the top.
3. Replace each `raise NotImplementedError` with your own code. The cell below it checks your code and says what
   differs. *Run All* stops at the first exercise that is not solved.

A newer edition never replaces a file that you changed. It is saved beside yours, as `NN_name.new.ipynb`.
"""


def publish(paths: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Write the edition of these notebooks into a folder, all files or none.

    A file with the same content is left alone. One that differs is kept, and the new one is written beside it, as
    ``name.new.ipynb`` (``name.new2.ipynb``, …).

    Returns:
        The path of each file of the edition, by name.

    Raises:
        CourseError: As in `edition`, or the folder holds the notebooks themselves or cannot be written.
    """
    if any(path.parent.resolve() == folder.resolve() for path in paths):
        raise CourseError(f"{folder} holds the notebooks with their solutions: choose another folder with --out.")
    contents = edition(paths)
    places = {}
    with write_together(folder) as place:
        for name, content in contents.items():
            places[name] = _free(folder / name, content)
            if not places[name].exists():
                place(places[name].name).write_bytes(content)
    return places


def _free(path: Path, content: bytes) -> Path:
    """``path``, or the first name beside it that is free or holds ``content`` already."""
    free, count = path, 1
    while free.exists() and not (free.is_file() and free.read_bytes() == content):
        free = path.with_name(f"{path.stem}.new{count if count > 1 else ''}{path.suffix}")
        count += 1
    return free


def edition(paths: Sequence[Path]) -> dict[str, bytes]:
    """The files of the edition by name: the notebooks without solutions, a README, and a zip of these.

    Raises:
        CourseError: A notebook cannot be read, two have the same name, or a solution cannot be removed.
    """
    made: dict[str, bytes] = {}
    titles = []
    for path in paths:
        if path.name in made:
            raise CourseError(f"two of the notebooks are called {path.name}: make an edition of each.")
        nb = without_solutions(files.read(path), path)
        made[path.name] = files.to_text(nb).encode()
        titles.append(f"- [{files.title(nb) or path.stem}]({path.name})")
    made["README.md"] = README.format(titles="\n".join(titles), version=__version__).encode()
    return made | {ZIP: _zipped(made)}


def without_solutions(nb: Any, path: Path) -> Any:
    """A normalized copy without solutions and hidden tests, and without the outputs that depend on them.

    A cell depends on a solution if a name that it uses leads to one: a name that the cell of the solution defines (as
    the cell that checks it does), or that another cell defines with the help of such a name.

    Args:
        path: The notebook's file, for messages.

    Raises:
        CourseError: Markers are unbalanced, a cell is not Python, or something that would remain quotes a solution.
    """
    nb = normalize(nb)
    uses: dict[str, set[str]] = {}  # of a name: all names that its cell depends on
    secret: set[str] = set()  # the lines of the solutions
    for number, cell in enumerate(nb.cells, start=1):
        where = _where(path, cell, number)
        try:
            stripped = strip_solutions(cell.source)
            if cell.cell_type != "code":
                if stripped != cell.source:
                    raise CourseError("only code can hold a solution")
                continue
            defined, used = _names(cell.source)
            _names(stripped)
        except CourseError as error:
            raise CourseError(f"{where}: {error}.") from error
        except SyntaxError as error:
            raise CourseError(f"{where} is not Python, with its solution or without it: {error}.") from error
        depends_on = _closure(used if stripped == cell.source else {SOLUTION}, uses)
        uses |= dict.fromkeys(defined, depends_on)
        if SOLUTION in depends_on:
            secret |= set(cell.source.splitlines()) - set(stripped.splitlines())
            cell.source, cell.outputs, cell.execution_count = stripped, [], None
    _refuse_quotations(nb, path, secret)
    return nb


def _where(path: Path, cell: Any, number: int) -> str:
    return f"{path}, cell {cell.get('id', number)}"  # before format 4.5 cells had no ids


def _names(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell assigns and the names that it uses; imported names are in neither set."""
    import symtable

    from IPython.core.inputtransformer2 import TransformerManager

    # Names assigned at the top, or anywhere if they are global.
    program = TransformerManager().transform_cell(PYTHON_MAGIC.sub("", source))
    top = symtable.symtable(program, "cell", "exec")
    scopes, defined = [top], set()
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        defined |= {
            it.get_name() for it in scope.get_symbols() if it.is_assigned() and (scope is top or it.is_global())
        }

    # Names read or changed in place, and every word in the text that a magic receives.
    used = set()
    for node in ast.walk(ast.parse(program)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.AugAssign(target=ast.Name(id=name)):
                used.add(name)
            case ast.Constant(value=str(text)) if "get_ipython()" in program:
                used.update(WORD.findall(text))
    return defined, used


def _closure(names: set[str], uses: dict[str, set[str]]) -> set[str]:
    """The names, and all names that they depend on."""
    found: set[str] = set()
    while names:
        found |= names
        names = set().union(*(uses.get(name, ()) for name in names)) - found
    return found


def _refuse_quotations(nb: Any, path: Path, secret: set[str]) -> None:
    """``CourseError`` if an output, metadata or an attachment holds a line of a solution of ten characters or more."""
    lines = [line for line in sorted(map(str.strip, secret)) if len(line) >= 10 and not MARKER.fullmatch(line)]
    rests = {_where(path, cell, number): {**cell, "source": ""} for number, cell in enumerate(nb.cells, start=1)}
    for where, rest in {str(path): nb.metadata, **rests}.items():
        if quoted := next((line for text in _texts(rest) for line in lines if line in text), None):
            raise CourseError(
                f"{where}: an output, metadata or an attachment holds a line of a solution, {quoted!r}. "
                "Change what it shows, or clear it."
            )


def _texts(value: Any) -> Iterator[str]:
    """Every string in a piece of JSON."""
    if isinstance(value, str):
        yield html.unescape(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _texts(part)


def _zipped(contents: dict[str, bytes]) -> bytes:
    """A zip of the files in one folder, the same bytes for the same files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(f"student/{name}")  # dated 1980, whenever it is made
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
