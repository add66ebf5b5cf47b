"""Notebook files: find, read and write them, and look up what is in one."""

import ast
import base64
import hashlib
import json
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import coursekit
from coursekit.errors import CourseError, unknown
from coursekit.files import atomic_path

# nbformat imports jsonschema, which spends most of a second on a grammar of IRIs if it finds this optional
# package. No notebook has any, and every process of a run would pay.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]  # so that importing it fails

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
INJECTED = "injected-parameters"  # papermill's tag


def folder() -> Path:
    """The lecture notebooks: ``./notebooks`` if there is one, else the repository's, beside the package.

    Raises:
        CourseError: neither folder exists.
    """
    here = Path("notebooks")
    beside = Path(coursekit.__file__).parents[1] / "notebooks"
    for candidate in (here, beside):
        if candidate.is_dir():
            return candidate
    raise CourseError(
        f"no notebooks: neither {here.absolute()} nor {beside} exists. "
        "Change to a clone of the course, or give the paths of the notebooks."
    )


def find_notebooks(names: Iterable[str | Path] = ()) -> list[Path]:
    """The files that the names refer to, each once, in the given order; without names, the whole course.

    A name is the path of a notebook or of a folder with notebooks, or, within the course, a file name, a stem or
    a number (``09_autoencoders.ipynb``, ``09_autoencoders``, ``09``, ``9``).

    Raises:
        CourseError: no notebook has that name; the message suggests near ones.
    """
    names = list(names) or [folder()]
    return list(dict.fromkeys(path for name in names for path in _meant_by(name)))


def _meant_by(name: str | Path) -> list[Path]:
    path = Path(name)
    if path.is_file():
        return [path]
    if path.is_dir():
        if found := sorted(path.glob("*.ipynb")):
            return found
        raise CourseError(f"no notebook (*.ipynb) in the folder {path}.")
    course = {file.stem: file for file in sorted(folder().glob("*.ipynb"))}
    wanted = path.name.removesuffix(".ipynb")
    if wanted in course and path.parent == Path():
        return [course[wanted]]
    if wanted.isdigit() and (found := [file for stem, file in course.items() if _number(stem) == int(wanted)]):
        return found
    raise CourseError(unknown("notebook", str(name), course))


def _number(stem: str) -> int | None:
    prefix = stem.split("_")[0]
    return int(prefix) if prefix.isdigit() else None


def read(path: Path) -> Any:
    """The notebook in the file ``path``, as an ``nbformat.NotebookNode``.

    Raises:
        CourseError: there is no such file, or if it is not a valid notebook of format 4.
    """
    import nbformat

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CourseError(f"cannot read the notebook {path}: {error.strerror}.") from error
    except ValueError as error:  # also UnicodeDecodeError
        raise CourseError(f"{path} is not a notebook: it is not JSON ({error}).") from error
    if not isinstance(content, dict) or content.get("nbformat") != 4:
        raise CourseError(f'{path} is not a notebook of format 4: "nbformat": 4 is missing in it.')
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nbformat.warnings.MissingIDFieldWarning)  # such a notebook will do
            nbformat.validate(content)
    except nbformat.ValidationError as error:
        reason = str(error).splitlines()[0]
        raise CourseError(f"{path} is not a valid notebook: {reason}") from error
    return nbformat.v4.to_notebook(content)


def write(nb: Any, path: Path) -> None:
    """Write ``nb`` to ``path`` in the form that Jupyter writes, as a whole or not at all."""
    write_text(path, to_text(nb))


def to_text(nb: Any) -> str:
    """The text of the file that holds ``nb``."""
    import nbformat

    return nbformat.writes(nb) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 with Unix line ends, as a whole or not at all."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def outputs(nb: Any) -> Iterator[tuple[int, Any]]:
    """All outputs of the code cells, each after the index of its cell."""
    for index, cell in enumerate(nb.cells):
        for output in cell.get("outputs", ()):
            yield index, output


def code_cells(nb: Any) -> list[Any]:
    """The cells that a run executes, without the one into which papermill writes parameters."""
    return [
        cell
        for cell in nb.cells
        if cell.cell_type == "code" and cell.source.strip() and INJECTED not in cell.metadata.get("tags", ())
    ]


def records(nb: Any, kind: str) -> list[dict[str, Any]]:
    """The records of one kind (``"setup"``, ``"claim"``, ``"exercise"``) in the outputs of the cells."""
    found = (output.get("metadata", {}).get("coursekit", {}).get(kind) for _, output in outputs(nb))
    return [record for record in found if record is not None]


def parameters(nb: Any) -> list[str]:
    """The names that the cell tagged ``parameters`` assigns: a run may set these.

    Raises:
        CourseError: the cell is not plain Python.
    """
    tagged = (cell.source for cell in nb.cells if "parameters" in cell.metadata.get("tags", ()))
    try:
        statements = ast.parse(next(tagged, "")).body
    except SyntaxError as error:
        raise CourseError(f"the cell tagged parameters is not plain Python: {error}") from error
    targets = [target for assignment in statements for target in getattr(assignment, "targets", ())]
    targets += [assignment.target for assignment in statements if isinstance(assignment, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def fingerprint(nb: Any) -> str:
    """A hash of what the author wrote: kind and source of every cell."""
    sources = json.dumps([[cell.cell_type, cell.source] for cell in nb.cells])
    return hashlib.sha256(sources.encode()).hexdigest()


def title(nb: Any) -> str:
    """The first heading of the notebook, without its ``#``; empty if there is none."""
    headings = re.compile(r"^#\s+(.+)$", re.MULTILINE)
    found = (headings.search(cell.source) for cell in nb.cells if cell.cell_type == "markdown")
    return next((match[1].strip() for match in found if match), "")


def figures(nb: Any) -> list[tuple[bytes, str]]:
    """The PNG images that the notebook shows, each with its alternative text (empty if it has none)."""
    return [
        (base64.b64decode(output["data"]["image/png"]), alt(output.get("metadata", {})))
        for _, output in outputs(nb)
        if "image/png" in output.get("data", {})
    ]


def alt(metadata: dict[str, Any]) -> str:
    """The alternative text of an image, from the metadata of its output; empty if it has none."""
    return metadata.get("image/png", {}).get("alt") or metadata.get("alt", "")
