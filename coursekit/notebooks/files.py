"""Notebook files: find, read and write them, and look up what they hold."""

import ast
import base64
import hashlib
import io
import json
import re
import struct
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import coursekit
from coursekit.course.records import Claim, require_record
from coursekit.errors import CourseError, unknown
from coursekit.files import write_text

if TYPE_CHECKING:
    from PIL import Image

# nbformat imports jsonschema, which spends most of a second on a grammar of IRIs if it finds this optional package.
# No notebook needs it. An import from this empty module fails, as if the package were not there.
sys.modules.setdefault("rfc3987_syntax", ModuleType("rfc3987_syntax"))

Notebook = Any  # nbformat.NotebookNode: dicts with attributes, and without type hints
Cell = Any  # a NotebookNode, too

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
INJECTED = "injected-parameters"  # papermill's tag of the cell into which it writes parameters
OBJECTS = {"coursekit", "nbgrader", "papermill", "slideshow"}  # metadata that programs expect to be objects
SKIPPED = "skip-execution"  # nbclient's tag of a cell that is not to be executed


def folder() -> Path:
    """The folder of the lecture notebooks: ``./notebooks`` if it exists, else the one beside the package.

    Raises:
        CourseError: neither exists.
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
    """The notebooks with these names, each once, in the order given; without names, the whole course.

    Args:
        names: each is the path of a notebook or of a folder of notebooks or, within the course, a file name, a stem
            or a number (``09_autoencoders.ipynb``, ``09_autoencoders``, ``09``, ``9``).

    Raises:
        CourseError: no notebook has this name; the message lists near ones.
    """
    names = list(names) or [folder()]
    return list(dict.fromkeys(path for name in names for path in _find(name)))


def _find(name: str | Path) -> list[Path]:
    path = Path(name)
    if path.is_file():
        return [path]
    if path.is_dir():
        if found := sorted(path.glob("*.ipynb")):
            return found
        raise CourseError(f"no notebook (*.ipynb) in the folder {path}.")
    course = {file.stem: file for file in sorted(folder().glob("*.ipynb"))}
    wanted = str(path).removesuffix(".ipynb")
    pattern = rf"0*{int(wanted)}_.*" if wanted.isdecimal() else re.escape(wanted)
    if found := [file for stem, file in course.items() if re.fullmatch(pattern, stem)]:
        return found
    raise CourseError(unknown("notebook", str(name), course))


def read(path: Path) -> Notebook:
    """The notebook in the file ``path``.

    Raises:
        CourseError: the file cannot be read, or it is not a valid notebook of format 4.
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
            warnings.simplefilter("ignore", nbformat.warnings.MissingIDFieldWarning)  # no ids are needed
            nbformat.validate(content)
    except nbformat.ValidationError as error:
        raise CourseError(f"{path} is not a valid notebook: {str(error).splitlines()[0]}") from error
    except (AssertionError, AttributeError, KeyError, TypeError) as error:  # over which the validator stumbles
        raise CourseError(f"{path} is not a valid notebook ({type(error).__name__}: {error}).") from error
    return _without_malformed_metadata(nbformat.v4.to_notebook(content))


def _without_malformed_metadata(nb: Notebook) -> Notebook:
    """The notebook without metadata of cells and outputs that should be objects and are not (``"slideshow": null``)."""
    for part in [*nb.cells, *(output for _, output in outputs(nb))]:
        metadata = part.get("metadata", {})
        for key in [key for key in metadata if key in OBJECTS or "/" in key]:  # the latter are media types
            if not isinstance(metadata[key], dict):
                del metadata[key]
    return nb


def write(nb: Notebook, path: Path) -> None:
    """Write a notebook as Jupyter does, completely or not at all."""
    write_text(path, to_text(nb))


def to_text(nb: Notebook) -> str:
    """The content of a notebook's file."""
    import nbformat

    return nbformat.writes(nb) + "\n"


def tags(cell: Cell) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def outputs(nb: Notebook) -> Iterator[tuple[int, Any]]:
    """All outputs of the code cells, each with the index of its cell."""
    for index, cell in enumerate(nb.cells):
        for output in cell.get("outputs", ()):
            yield index, output


def code_cells(nb: Notebook) -> list[Cell]:
    """The author's cells that a run executes."""
    return [cell for cell in nb.cells if is_executed(cell) and INJECTED not in tags(cell)]


def is_executed(cell: Cell) -> bool:
    """Whether a run executes this cell: code that is neither empty nor tagged ``skip-execution``."""
    return cell.cell_type == "code" and bool(cell.source.strip()) and SKIPPED not in tags(cell)


def records(nb: Notebook, kind: str) -> list[Any]:
    """The records of one kind (``"setup"``, ``"claim"``, ``"exercise"``) in the metadata of the outputs."""
    found = (output.get("metadata", {}).get("coursekit") for _, output in outputs(nb))
    return [kinds[kind] for kinds in found if isinstance(kinds, dict) and kinds.get(kind) is not None]


def claims(nb: Notebook) -> list[Claim]:
    """All claims, in the order of the notebook; ``CourseError`` if a record is malformed."""
    return [Claim.of(record) for record in records(nb, "claim")]


def checks(nb: Notebook) -> list[dict[str, Any]]:
    """The records of all checks, also those that share an output; ``CourseError`` if one is malformed."""
    cells = (cell if isinstance(cell, list) else [cell] for cell in records(nb, "checks"))
    return [require_record(check, "check") for cell in cells for check in cell]


def parameters(nb: Notebook) -> list[str]:
    """The names that the cell tagged ``parameters`` assigns; a run may set them.

    Raises:
        CourseError: the cell is not plain Python.
    """
    tagged = (cell.source for cell in nb.cells if "parameters" in tags(cell))
    try:
        statements = ast.parse(next(tagged, "")).body
    except SyntaxError as error:
        raise CourseError(f"the cell tagged parameters is not plain Python: {error}") from error
    targets = [target for assignment in statements for target in getattr(assignment, "targets", ())]
    targets += [assignment.target for assignment in statements if isinstance(assignment, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def fingerprint(nb: Notebook) -> str:
    """A hash of the sources of all cells; outputs do not change it."""
    sources = json.dumps([[cell.cell_type, cell.source] for cell in nb.cells])
    return hashlib.sha256(sources.encode()).hexdigest()


def title(nb: Notebook) -> str:
    """The first heading of level 1; empty if the notebook has none."""
    headings = re.compile(r"^#\s+(.+)$", re.MULTILINE)
    found = (headings.search(cell.source) for cell in nb.cells if cell.cell_type == "markdown")
    return next((match[1].strip() for match in found if match), "")


def figures(nb: Notebook) -> list[tuple[bytes, str]]:
    """The PNG images that the notebook shows, each with its alternative text (empty if it has none)."""
    return [
        (decoded(output["data"]["image/png"]), alt(output.get("metadata", {})))
        for _, output in outputs(nb)
        if "image/png" in output.get("data", {})
    ]


def decoded(image: str) -> bytes:
    """The bytes of an image in base64; none if the text is not base64."""
    try:
        return base64.b64decode(image)
    except ValueError:
        return b""


def open_image(content: bytes) -> "Image.Image | None":
    """The first frame of an image file; None if it is damaged, or larger than Pillow thinks safe."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        return None
    return image


def alt(metadata: dict[str, Any]) -> str:
    """The alternative text of a picture, from the metadata of its output; empty if it has none."""
    return metadata.get("image/png", {}).get("alt") or metadata.get("alt", "")
