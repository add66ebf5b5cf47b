"""The form in which notebooks are committed: nothing in it changes from one run to the next."""

import copy
from collections.abc import Iterable
from typing import Any

from coursekit.course.display import WIDGET_VIEW
from coursekit.notebooks.files import INJECTED, Cell, Notebook, tags

FOLDED = frozenset({"hide-input", "colab", "imports", "parameters", "setup"})  # tags of the cells that show no source
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def normalize(nb: Notebook) -> Notebook:
    """A copy of an executed notebook without anything that changes from run to run.

    It drops the traces of papermill (metadata, the injected parameters) and jupytext, times, and the state and views
    of widgets. It counts the executed cells from 1, joins adjacent pieces of one stream, and sets the kernel to
    ``python3``. It folds the source of the cells with a tag in `FOLDED`, in JupyterLab and on Colab, and of no other
    cell. Sources, cell ids, tags and all other outputs stay. Normalizing twice changes nothing more.
    """
    nb = copy.deepcopy(nb)
    nb.cells = [cell for cell in nb.cells if INJECTED not in tags(cell)]
    for key in ("papermill", "coursekit", "widgets"):
        nb.metadata.pop(key, None)
    nb.metadata["kernelspec"] = dict(KERNELSPEC)
    nb.metadata["language_info"] = {"name": "python"}
    for cell in nb.cells:
        for key in ("papermill", "execution", "lines_to_next_cell"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        _fold(cell)
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


def is_folded(cell: Cell) -> bool:
    """Whether the source of this cell is folded: it draws, judges or sets up, which is not what the lecture teaches."""
    return cell.cell_type == "code" and not FOLDED.isdisjoint(tags(cell))


def _fold(cell: Cell) -> None:
    """Derive from the tags the metadata by which JupyterLab (``source_hidden``) and Colab (``cellView``) fold."""
    jupyter = {key: value for key, value in cell.metadata.pop("jupyter", {}).items() if key != "source_hidden"}
    cell.metadata.pop("cellView", None)
    if is_folded(cell):
        jupyter["source_hidden"] = True
        cell.metadata["cellView"] = "form"
    if jupyter:
        cell.metadata["jupyter"] = jupyter


def _without_view(output: Any) -> Any | None:
    """The output without its live widget; None if only the ``repr`` of the widget would be left."""
    if WIDGET_VIEW not in output.get("data", {}):
        return output
    del output.data[WIDGET_VIEW]
    said = output.data.keys() - {"text/plain"} or "coursekit" in output.metadata
    return output if said else None


def _merge_streams(pieces: Iterable[Any]) -> list[Any]:
    merged: list[Any] = []
    for piece in pieces:
        last = merged[-1] if merged else None
        if last and piece.output_type == last.output_type == "stream" and piece.name == last.name:
            last.text += piece.text
        else:
            merged.append(piece)
    return merged
