"""Executed notebooks without what changes from run to run, as they are committed."""

import copy
from collections.abc import Iterable
from typing import Any

from coursekit.course.display import WIDGET_VIEW
from coursekit.notebooks.files import INJECTED

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


def normalize(nb: Any) -> Any:
    """A copy of an executed notebook without what changes from run to run.

    It drops the traces of papermill (metadata, injected parameters) and jupytext, times, widget state and views. Cells
    are counted from 1, pieces of one stream are joined, and the kernel is plain ``python3``. Sources, cell ids, tags
    and all other outputs stay. Normalizing a second time changes nothing.
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
    """The output without its live widget; None if nothing else but the widget's ``repr`` is in it."""
    if WIDGET_VIEW not in output.get("data", {}):
        return output
    del output.data[WIDGET_VIEW]
    more = output.data.keys() - {"text/plain"} or "coursekit" in output.metadata
    return output if more else None


def _merge_streams(pieces: Iterable[Any]) -> list[Any]:
    """The outputs with neighbouring pieces of one stream joined."""
    merged: list[Any] = []
    for piece in pieces:
        if merged and piece.output_type == "stream" and piece.name == merged[-1].get("name"):
            merged[-1].text += piece.text
        else:
            merged.append(piece)
    return merged
