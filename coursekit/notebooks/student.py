"""The edition for students: the notebooks without their solutions."""

import ast
import html
import io
import re
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from coursekit import __version__
from coursekit.errors import CourseError
from coursekit.files import atomic_path
from coursekit.notebooks import files

ZIP = "student.zip"
WORD = re.compile(r"[^\W\d]\w*")
PYTHON_MAGIC = re.compile(r"\A%%(time|timeit|capture|prun)\b.*\n")  # whose body is Python
SOLUTION = "### SOLUTION"  # to which the names of solutions lead; no cell has such a name
README = """\
# The notebooks for students

{titles}

1. Install the course's package, `coursekit` {version}, as its README says.
2. Start JupyterLab in this folder, `jupyter lab`, open a notebook and run it from the top.
3. Where a cell says `raise NotImplementedError`, write your own lines in its place. The cell below it checks them and
   says what differs. *Run All* stops at the first exercise that is not solved.

A newer edition of these files never replaces one that you changed. It comes beside it, as `NN_name.new.ipynb`.
"""


def edition(paths: Sequence[Path]) -> dict[str, bytes]:
    """The files of the edition by name: the notebooks without solutions, a README, a zip of these.

    Raises
    ------
    CourseError
        A notebook cannot be read, two have one name, or markers in a cell make no sense.
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
    """A normalized copy without solutions, hidden tests, and the outputs of every cell that rests on them.

    A cell rests on a solution if a name that it uses leads to one: a name that the solution's cell defines (its check
    uses it), or one whose own cell uses a name that leads to one.

    Raises
    ------
    CourseError
        Markers make no sense, a cell is not Python, or something that would stay quotes a solution.
    """
    nb = files.normalize(nb)
    leads: dict[str, set[str]] = {}  # from a name to those that its cell uses, and on from these
    secret: set[str] = set()  # the lines of the solutions
    for number, cell in enumerate(nb.cells, start=1):
        where = _where(path, cell, number)
        try:
            stripped = files.strip_solutions(cell.source)
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
        reached = _reached(used if stripped == cell.source else {SOLUTION}, leads)
        leads |= dict.fromkeys(defined, reached)
        if SOLUTION in reached:
            secret |= set(cell.source.splitlines()) - set(stripped.splitlines())
            cell.source, cell.outputs, cell.execution_count = stripped, [], None
    _refuse_quotations(nb, path, secret)
    return nb


def _where(path: Path, cell: Any, number: int) -> str:
    return f"{path}, cell {cell.get('id', number)}"  # before format 4.5 cells had no ids


def _names(source: str) -> tuple[set[str], set[str]]:
    """The names of the notebook that a cell assigns, and those whose values it uses; imports are in neither."""
    import symtable

    from IPython.core.inputtransformer2 import TransformerManager

    program = TransformerManager().transform_cell(PYTHON_MAGIC.sub("", source))
    top = symtable.symtable(program, "cell", "exec")
    scopes, defined = [top], set()
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        defined |= {
            it.get_name() for it in scope.get_symbols() if it.is_assigned() and (scope is top or it.is_global())
        }
    used = set()
    for node in ast.walk(ast.parse(program)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.AugAssign(target=ast.Name(id=name)):
                used.add(name)
            case ast.Constant(value=str(text)) if "get_ipython()" in program:  # a magic, which is handed text
                used.update(WORD.findall(text))
    return defined, used


def _reached(names: set[str], leads: dict[str, set[str]]) -> set[str]:
    """The names, and all to which they lead."""
    found: set[str] = set()
    while names:
        found |= names
        names = set().union(*(leads.get(name, ()) for name in names)) - found
    return found


def _refuse_quotations(nb: Any, path: Path, secret: set[str]) -> None:
    """``CourseError`` if an output, metadata or an attachment holds a line of a solution that is worth a name."""
    lines = [line for line in sorted(map(str.strip, secret)) if len(line) >= 10 and not files.MARKER.fullmatch(line)]
    rests = {_where(path, cell, number): {**cell, "source": ""} for number, cell in enumerate(nb.cells, start=1)}
    for where, rest in {str(path): nb.metadata, **rests}.items():
        if quoted := next((line for text in _texts(rest) for line in lines if line in text), None):
            raise CourseError(
                f"{where}: an output, metadata or an attachment holds a line of a solution, {quoted!r}. "
                "Change what it shows, or clear it."
            )


def _texts(value: Any) -> list[str]:
    """Every string in a piece of JSON."""
    if isinstance(value, str):
        return [html.unescape(value)]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]


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

    Raises
    ------
    CourseError
        The folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise CourseError(f"--out wants a folder, and {folder} is a file.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        places = {name: _place(folder / name, content) for name, content in files.items()}
        with ExitStack() as together:  # every file is complete before the first takes its name
            for name, place in places.items():
                if not place.exists():
                    together.enter_context(atomic_path(place)).write_bytes(files[name])
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
