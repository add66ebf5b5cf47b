"""The student edition: the notebooks without their solutions.

It holds no outputs at all. What an output gives away of a solution cannot be known from names: a list that a solution
fills, a figure, ``_``.
"""

import ast
import io
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coursekit import __version__
from coursekit.errors import CourseError
from coursekit.notebooks import files
from coursekit.notebooks.normalize import cleared, normalize
from coursekit.notebooks.output import write_together

ZIP = "student.zip"
MARKER = re.compile(r"(\s*)### (BEGIN|END) (SOLUTION|HIDDEN TESTS)\s*")  # nbgrader's
MEANT_AS_MARKER = re.compile(r"#\s*(BEGIN|END)[\s_-]*(SOLUTION|HIDDEN[\s_-]*TEST)", re.IGNORECASE)
README = """\
# The notebooks for students

{titles}

1. Install the course's package, `coursekit` {version}, as its README says.
2. Start JupyterLab in this folder with `jupyter lab`, open a notebook and run it from the top.
3. Replace each `raise NotImplementedError` with your own code. The cell below it checks your code and says what
   differs. *Run All* never stops at an exercise: while yours is not right, the notebook goes on with the course's own
   function. At the end a line says how many you have solved.

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
    """The files of the edition by name: the notebooks without solutions and outputs, a README, and a zip of these.

    Raises:
        CourseError: A notebook cannot be read, two have the same name, or a solution cannot be removed.
    """
    made: dict[str, bytes] = {}
    titles = []
    for path in paths:
        if path.name in made:
            raise CourseError(f"two of the notebooks are called {path.name}: make an edition of each.")
        nb = cleared(without_solutions(files.read(path), path))
        made[path.name] = files.to_text(nb).encode()
        titles.append(f"- [{files.title(nb) or path.stem}]({path.name})")
    made["README.md"] = README.format(titles="\n".join(titles), version=__version__).encode()
    return made | {ZIP: _zipped(made)}


def without_solutions(nb: Any, path: Path) -> Any:
    """A normalized copy without solutions, hidden tests, and the outputs of their cells.

    Args:
        path: The notebook's file, for messages.

    Raises:
        CourseError: Markers are unbalanced, or a cell is not Python with its solution or without it.
    """
    nb = normalize(nb)
    for number, cell in enumerate(nb.cells, start=1):
        try:
            stripped = strip_solutions(cell.source)
            if stripped == cell.source:
                continue
            if cell.cell_type != "code":
                raise CourseError("only code can hold a solution")
            from IPython.core.inputtransformer2 import TransformerManager

            for source in (cell.source, stripped):
                ast.parse(TransformerManager().transform_cell(source))
        except (CourseError, SyntaxError) as error:
            trouble = ": " if isinstance(error, CourseError) else " is not Python, with its solution or without it: "
            where = f"{path}, cell {cell.get('id', number)}"  # before format 4.5 cells had no ids
            raise CourseError(f"{where}{trouble}{error}.") from error
        cell.source, cell.outputs, cell.execution_count = stripped, [], None
    return nb


def strip_solutions(source: str) -> str:
    """The source of a cell as a student gets it: ``raise NotImplementedError`` replaces each solution.

    A solution stands between nbgrader's markers ``### BEGIN SOLUTION`` and ``### END SOLUTION``. Everything between
    ``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS`` is removed.

    Raises:
        CourseError: a marker lacks its other half, or a line looks like a marker and is not one.
    """
    kept: list[str] = []
    opened = ""
    for number, line in enumerate(source.split("\n"), start=1):
        marker = MARKER.fullmatch(line)
        if marker is None:
            if MEANT_AS_MARKER.search(line):
                raise CourseError(f"line {number} is not quite a marker: {line.strip()} (### BEGIN SOLUTION is one)")
            if not opened:
                kept.append(line)
            continue
        indent, edge, what = marker.groups()
        if edge == "BEGIN" and opened:
            raise CourseError(f"line {number} says {line.strip()} before ### END {opened}")
        if edge == "END" and opened != what:
            raise CourseError(f"line {number} says {line.strip()} without ### BEGIN {what} before it")
        opened = what if edge == "BEGIN" else ""
        if opened == "SOLUTION":
            kept += [f"{indent}# your code here", f"{indent}raise NotImplementedError"]
    if opened:
        raise CourseError(f"### BEGIN {opened} comes without ### END {opened}")
    return "\n".join(kept)


def _zipped(contents: dict[str, bytes]) -> bytes:
    """A zip of the files in one folder, the same bytes for the same files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(f"student/{name}")  # dated 1980, whenever it is made
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()
