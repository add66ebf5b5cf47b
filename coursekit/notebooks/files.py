"""Notebook files: find, read, normalize and write them, and collect what an executed one says of itself."""

import ast
import base64
import copy
import hashlib
import json
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import coursekit
from coursekit.course.display import WIDGET_VIEW
from coursekit.errors import CourseError, unknown
from coursekit.files import atomic_path

# nbformat imports jsonschema, which spends most of a second on a grammar of IRIs if it finds this optional
# package. No notebook has any, and every process of a run would pay.
sys.modules.setdefault("rfc3987_syntax", None)

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
INJECTED = "injected-parameters"  # papermill's tag
MARKER = re.compile(r"(\s*)### (BEGIN|END) (SOLUTION|HIDDEN TESTS)\s*")  # nbgrader's
MEANT_AS_MARKER = re.compile(r"#\s*(BEGIN|END)[\s_-]*(SOLUTION|HIDDEN[\s_-]*TEST)", re.IGNORECASE)
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def folder() -> Path:
    """The lecture notebooks: ``./notebooks`` if there is one, else the repository's, beside the package.

    Raises
    ------
    CourseError
        If neither exists.
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
    """The files that ``names`` mean, each once, in the order given; without names, the whole course.

    A name is the path of a notebook or of a folder of them, or, within the course, a file name, a stem or
    a number (``09_autoencoders.ipynb``, ``09_autoencoders``, ``09``, ``9``).

    Raises
    ------
    CourseError
        If a name means no notebook; the message names the near misses.
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

    Raises
    ------
    CourseError
        If there is no such file, or if it is not a valid notebook of format 4.
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
    """Write ``nb`` to the file ``path`` as Jupyter does, at once or not at all."""
    write_text(path, to_text(nb))


def to_text(nb: Any) -> str:
    """``nb`` as it stands in its file."""
    import nbformat

    return nbformat.writes(nb) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a text file, UTF-8 and with Unix line ends, so that nobody ever sees half of it."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def outputs(nb: Any) -> Iterator[tuple[int, Any]]:
    """All outputs of the code cells, each with the index of its cell."""
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
    """The names that the cell tagged ``parameters`` assigns: what a run may set.

    Raises
    ------
    CourseError
        If that cell is not plain Python.
    """
    tagged = (cell.source for cell in nb.cells if "parameters" in cell.metadata.get("tags", ()))
    try:
        statements = ast.parse(next(tagged, "")).body
    except SyntaxError as error:
        raise CourseError(f"the cell tagged parameters is not plain Python: {error}") from error
    targets = [target for assignment in statements for target in getattr(assignment, "targets", ())]
    targets += [assignment.target for assignment in statements if isinstance(assignment, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def strip_solutions(source: str) -> str:
    """The source of a cell as a student gets it: instead of each solution, an error that says it is to be written.

    Solutions stand between nbgrader's markers ``### BEGIN SOLUTION`` and ``### END SOLUTION``. What stands between
    ``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS`` goes without a trace.

    Raises
    ------
    CourseError
        If a marker lacks its other half, or if a line looks like a marker and is none.
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


def fingerprint(nb: Any) -> str:
    """A hash of all that the author wrote: the sources of the cells."""
    sources = json.dumps([[cell.cell_type, cell.source] for cell in nb.cells])
    return hashlib.sha256(sources.encode()).hexdigest()


def title(nb: Any) -> str:
    """The first heading of the notebook, without its ``#``; empty if there is none."""
    headings = re.compile(r"^#\s+(.+)$", re.MULTILINE)
    found = (headings.search(cell.source) for cell in nb.cells if cell.cell_type == "markdown")
    return next((match[1].strip() for match in found if match), "")


def errors(nb: Any) -> list[dict[str, Any]]:
    """What went wrong in an executed notebook: one problem per error output, in cells and in widgets.

    An exception in a callback of ``interact`` or under ``with Output():`` does not stop a run: it ends in the
    state of an Output widget. Each problem is ``{"where": "cell" | "widget", "cell": index or None, "count":
    its execution count, "source", "name", "message", "traceback"}``; the cell of a widget is the one that
    shows it.
    """
    in_cells = [_problem(nb, "cell", index, output) for index, output in outputs(nb)]
    state = nb.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    home = _cells_of_widgets(nb, state)
    in_widgets = [
        _problem(nb, "widget", home.get(model), output)
        for model, widget in state.items()
        for output in widget["state"].get("outputs", ())
    ]
    return [problem for problem in in_cells + in_widgets if problem]


def unfinished(nb: Any | None, message: str) -> dict[str, Any]:
    """The problem of a run that was broken off, as in ``errors``: at the first cell without a result.

    ``nb`` is what is left of the executed notebook, None if nothing is.
    """
    cell = next((cell for cell in code_cells(nb) if cell.execution_count is None), None) if nb else None
    return {
        "where": "cell",
        "cell": nb.cells.index(cell) if cell else None,
        "count": None,
        "source": cell.source if cell else "",
        "name": "",
        "message": message,
        "traceback": message,
    }


def _problem(nb: Any, where: str, index: int | None, output: dict[str, Any]) -> dict[str, Any] | None:
    if output["output_type"] != "error":
        return None
    return {
        "where": where,
        "cell": index,
        "count": None if index is None else nb.cells[index].execution_count,
        "source": "" if index is None else nb.cells[index].source,
        "name": output["ename"],
        "message": output["evalue"],
        "traceback": "\n".join(output["traceback"]),
    }


def _cells_of_widgets(nb: Any, state: dict[str, Any]) -> dict[str, int]:
    """For every widget that a cell shows, directly or inside another widget, that cell."""
    home: dict[str, int] = {}
    for index, output in outputs(nb):
        waiting = [output.get("data", {}).get(WIDGET_VIEW, {}).get("model_id")]
        while waiting:
            model = waiting.pop()
            if model in state and model not in home:
                home[model] = index
                waiting += re.findall(r"IPY_MODEL_(\w+)", json.dumps(state[model]["state"]))
    return home


def figures(nb: Any) -> list[tuple[bytes, str]]:
    """The PNG images that the notebook shows, each with its alternative text (empty if it has none)."""
    return [
        (base64.b64decode(output["data"]["image/png"]), alt(output.get("metadata", {})))
        for _, output in outputs(nb)
        if "image/png" in output.get("data", {})
    ]


def alt(metadata: dict[str, Any]) -> str:
    """The alternative text of a picture, from the metadata of its output; empty if it has none."""
    return metadata.get("image/png", {}).get("alt") or metadata.get("alt", "")


def normalize(nb: Any) -> Any:
    """A copy of an executed notebook without what changes from run to run, as notebooks are committed.

    Gone are papermill's traces (metadata, the injected parameters), jupytext's, times, widget state and views;
    cells are counted 1 to n, neighbouring pieces of one stream are one, and the kernel is plain ``python3``.
    Sources, cell ids, tags and all other outputs stay. Normalizing twice changes nothing more.
    """
    nb = copy.deepcopy(nb)
    nb.cells = [cell for cell in nb.cells if INJECTED not in cell.metadata.get("tags", ())]
    for key in ("papermill", "coursekit", "widgets"):
        nb.metadata.pop(key, None)
    nb.metadata["kernelspec"] = dict(KERNELSPEC)
    nb.metadata["language_info"] = {"name": "python"}
    for cell in nb.cells:
        for key in ("papermill", "execution", "lines_to_next_cell"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
    executed = [cell for cell in nb.cells if cell.get("execution_count") is not None]
    for count, cell in enumerate(executed, start=1):
        cell.execution_count = count
        cell.outputs = _merge_streams(filter(None, map(_without_view, cell.outputs)))
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    return nb


def cleared(nb: Any) -> Any:
    """A normalized copy as if it had never been executed."""
    nb = normalize(nb)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return nb


def _without_view(output: Any) -> Any | None:
    """The output without its live widget; None if only the widget's ``repr`` is left."""
    if WIDGET_VIEW not in output.get("data", {}):
        return output
    del output.data[WIDGET_VIEW]
    said = output.data.keys() - {"text/plain"} or "coursekit" in output.metadata
    return output if said else None


def _merge_streams(pieces: Iterable[Any]) -> list[Any]:
    merged: list[Any] = []
    for piece in pieces:
        last = merged[-1] if merged else {}
        if piece.output_type == "stream" and piece.name == last.get("name"):
            last.text += piece.text
        else:
            merged.append(piece)
    return merged
