"""The student edition: the notebooks without their solutions.

It holds no outputs at all. What an output gives away of a solution cannot be known from names: a list that a solution
fills, a figure, ``_``. Images that the text shows come along from the folder of the notebook; data that code reads does
not, because code may read anything.
"""

import ast
import io
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from coursekit import __version__
from coursekit.errors import CourseError
from coursekit.notebooks import files
from coursekit.notebooks.normalize import cleared, normalize
from coursekit.notebooks.output import write_beside
from coursekit.notebooks.problems import EXPECTED

ZIP = "student.zip"
# nbgrader's markers, and what its users and those of other tools write instead of them
MARKER = re.compile(r"(\s*)(?:###|===) (BEGIN|END) (SOLUTION|HIDDEN TESTS|MARK SCHEME)(?: ===)?\s*")
MEANT_AS_MARKER = re.compile(
    r"(#|===|<!--|//|%|--)\s*(BEGIN|START|END|STOP)[\s_-]*(SOLUTION|ANSWER|HIDDEN[\s_-]*TEST|MARK[\s_-]*SCHEME)"
    r"|(?-i:#\s*SOLUTION\b)",
    re.IGNORECASE,
)
PYTHON_MAGICS = re.compile(
    r"\A\s*%%(capture|prun|time|timeit)\b"
)  # the cells under other magics may be of any language
STUBS = {"code": "# your code here\nraise NotImplementedError", "markdown": "*Your answer here.*", "raw": ""}
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
    return write_beside(edition(paths), folder)


def edition(paths: Sequence[Path]) -> dict[str, bytes]:
    """The files of the edition by name: notebooks without solutions and outputs, images, a README, and a zip of these.

    Raises:
        CourseError: A notebook cannot be read, two files have the same name, a solution cannot be removed, or an image
            is not in the folder of its notebook.
    """
    made: dict[str, bytes] = {}
    titles = []
    for path in paths:
        if path.name in made:
            raise CourseError(f"two of the notebooks are called {path.name}: make an edition of each.")
        nb = cleared(without_solutions(files.read(path), path))
        made[path.name] = files.to_text(nb).encode()
        for name, image in _images(nb, path).items():
            if made.setdefault(name, image) != image:
                raise CourseError(f"two of the notebooks show different images called {name}: make an edition of each.")
        titles.append(f"- [{files.title(nb) or path.stem}]({path.name})")
    made["README.md"] = README.format(titles="\n".join(titles), version=__version__).encode()
    return made | {ZIP: _zipped(made)}


def _images(nb: Any, path: Path) -> dict[str, bytes]:
    """The images in the folder of the notebook, or below it, that its text shows, by their paths from there."""
    from coursekit.notebooks.markup import image_addresses, image_file

    addresses = [it for cell in nb.cells if cell.cell_type == "markdown" for it in image_addresses(cell.source)]
    try:
        # An address with a scheme leads to the web, or into the notebook itself.
        shown = [image_file(path.parent, it) for it in addresses if not re.match(r"(https?|data|attachment):", it)]
    except CourseError as error:
        raise CourseError(f"{path}: {error}") from error
    return {file.relative_to(path.parent.resolve()).as_posix(): file.read_bytes() for file in shown}


def without_solutions(nb: Any, path: Path) -> Any:
    """A normalized copy without solutions, hidden tests, mark schemes, and the outputs of their cells.

    As in nbgrader, the whole cell is the solution if nbgrader's metadata say so and it has no marker. The tag
    ``solution`` does the same. An image that is attached to a cell stays only if the text shows it.

    Args:
        path: The notebook's file, for messages.

    Raises:
        CourseError: Markers are unbalanced, or a cell is not Python with its solution or without it.
    """
    nb = normalize(nb)
    for number, cell in enumerate(nb.cells, start=1):
        try:
            kinds = {marker[3] for marker in map(MARKER.fullmatch, cell.source.split("\n")) if marker}
            stripped = strip_solutions(cell.source)
            if not kinds and (cell.metadata.get("nbgrader", {}).get("solution") or "solution" in files.tags(cell)):
                stripped = STUBS[cell.cell_type]
            elif kinds and (cell.cell_type == "code" or kinds != {"MARK SCHEME"}):
                _require_python(cell, stripped)
        except (CourseError, SyntaxError) as error:
            trouble = ": " if isinstance(error, CourseError) else " is not Python, with its solution or without it: "
            where = f"{path}, cell {cell.get('id', number)}"  # before format 4.5 cells had no ids
            raise CourseError(f"{where}{trouble}{error}.") from error
        if cell.cell_type == "code" and stripped != cell.source:
            cell.outputs, cell.execution_count = [], None
        if "attachments" in cell:
            shown = {name for name in cell.attachments if f"attachment:{name}" in unquote(stripped)}
            cell.attachments = {name: image for name, image in cell.attachments.items() if name in shown}
        cell.source = stripped
    return nb


def _require_python(cell: Any, stripped: str) -> None:
    """``CourseError`` or ``SyntaxError`` if a cell is not Python, with its solution or without it."""
    if cell.cell_type != "code":
        raise CourseError("only code can hold a solution")
    if cell.source.lstrip().startswith("%%") and not PYTHON_MAGICS.match(cell.source):
        raise CourseError("only Python can hold a solution, and not what stands under this magic")
    if EXPECTED in files.tags(cell):  # wrong on purpose
        return
    from IPython.core.inputtransformer2 import TransformerManager

    for source in (cell.source, stripped):
        ast.parse(TransformerManager().transform_cell(PYTHON_MAGICS.sub("#", source)))


def strip_solutions(source: str) -> str:
    """The source of a cell as a student gets it: ``raise NotImplementedError`` replaces each solution.

    A solution stands between nbgrader's markers ``### BEGIN SOLUTION`` and ``### END SOLUTION``. Everything between
    ``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS``, and between ``=== BEGIN MARK SCHEME ===`` and
    ``=== END MARK SCHEME ===``, is removed.

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
