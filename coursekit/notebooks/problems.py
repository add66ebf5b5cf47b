"""What went wrong in an executed notebook."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from coursekit.course.display import WIDGET_VIEW
from coursekit.notebooks import files

# Errors that a run writes into a notebook where the kernel could not.
TIMEOUT = "NotebookTimeout"
KERNEL_DIED = "KernelDied"

EXPECTED = "raises-exception"  # the tag of a cell that may raise: nbclient and nbval go on after it


@dataclass(frozen=True)
class Problem:
    """One error, in the output of a cell or in a widget; the cell of a widget is the one that shows it."""

    where: Literal["cell", "widget"]
    cell: int | None  # index in the notebook
    count: int | None  # execution count of that cell
    source: str  # of that cell
    name: str  # class of the exception
    message: str
    traceback: str

    @property
    def place(self) -> str:
        """The cell of the problem, by the number that Jupyter shows beside it."""
        cell = f"cell [{self.count or '*'}]"
        return cell if self.where == "cell" else f"widget of {cell}"


def errors(nb: Any) -> list[Problem]:
    """One problem for each error output, in cells and in widgets.

    An exception in a callback of ``interact`` or under ``with Output():`` does not stop a run: it ends in the state of
    an Output widget. Errors of a cell with the tag ``raises-exception`` are expected, and no problem.
    """
    state = nb.metadata.get("widgets", {}).get(files.WIDGET_STATE, {}).get("state", {})
    home = _cells_of_widgets(nb, state)
    in_cells = [
        _problem(nb, "cell", index, output)
        for index, output in files.outputs(nb)
        if output["output_type"] == "error" and EXPECTED not in nb.cells[index].metadata.get("tags", ())
    ]
    in_widgets = [
        _problem(nb, "widget", home.get(model), output)
        for model, widget in state.items()
        for output in widget["state"].get("outputs", ())
        if output["output_type"] == "error"
    ]
    return in_cells + in_widgets


def unfinished(nb: Any | None, message: str) -> Problem:
    """The problem of a run that was broken off: it is in the first cell without a result, if ``nb`` has one."""
    cells = files.code_cells(nb) if nb else []
    cell = next((cell for cell in cells if cell.execution_count is None), None)
    place = nb.cells.index(cell) if nb and cell else None
    return Problem("cell", place, None, cell.source if cell else "", "", message, message)


def _problem(nb: Any, where: Literal["cell", "widget"], index: int | None, output: dict[str, Any]) -> Problem:
    return Problem(
        where=where,
        cell=index,
        count=None if index is None else nb.cells[index].execution_count,
        source="" if index is None else nb.cells[index].source,
        name=output["ename"],
        message=output["evalue"],
        traceback="\n".join(output["traceback"]),
    )


def _cells_of_widgets(nb: Any, state: dict[str, Any]) -> dict[str, int]:
    """For every widget that a cell shows, directly or inside another widget, the index of that cell."""
    home: dict[str, int] = {}
    for index, model in _views(nb):
        waiting = [model]
        while waiting:
            model = waiting.pop()
            if model in state and model not in home:
                home[model] = index
                waiting += re.findall(r"IPY_MODEL_(\w+)", json.dumps(state[model]["state"]))
    return home


def _views(nb: Any) -> Iterator[tuple[int, str]]:
    """The widgets that cells show directly: index of the cell, id of the widget's model."""
    for index, output in files.outputs(nb):
        if view := output.get("data", {}).get(WIDGET_VIEW):
            yield index, view.get("model_id")
