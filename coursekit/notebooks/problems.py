"""What went wrong in an executed notebook: errors in its cells and its widgets, and exercises that are not solved."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from coursekit.course.display import WIDGET_VIEW
from coursekit.course.records import require_record
from coursekit.notebooks.files import WIDGET_STATE, Notebook, code_cells, outputs, tags

EXPECTED = "raises-exception"  # nbclient's tag of a cell that may raise
# The names of errors that `execute` writes into a cell, because its kernel could not do it.
TIMEOUT = "NotebookTimeout"
KERNEL_DIED = "KernelDied"
EXERCISE_OPEN = "ExerciseOpen"  # the name of the problem of an exercise that is not solved
SOLUTION = "### BEGIN SOLUTION"  # nbgrader's marker; the course's own edition holds it


@dataclass(frozen=True)
class Problem:
    """An error or an open exercise, and its cell; an error in a widget belongs to the cell that shows the widget."""

    where: Literal["cell", "widget"]
    cell: int | None  # its index; None if no cell shows the widget, or if nothing is left of the notebook
    count: int | None  # its execution count, which Jupyter shows beside it
    source: str
    name: str  # the class of the exception, or `EXERCISE_OPEN`; empty if the run was broken off from outside
    message: str
    traceback: str

    @property
    def place(self) -> str:
        """The cell by the number that Jupyter shows: ``cell [4]`` or ``widget of cell [4]``."""
        cell = f"cell [{self.count or '*'}]"
        return cell if self.where == "cell" else f"widget of {cell}"


def find_problems(nb: Notebook) -> list[Problem]:
    """Every error in the outputs of cells, every exercise that is open but should not be, and every error in widgets.

    An error in a callback of ``interact`` or under ``with Output():`` does not stop a run: it ends in the state of an
    Output widget. In a cell tagged ``raises-exception`` errors are expected, except the end of the kernel or the time.
    A notebook that holds solutions is the course's own edition, and there all exercises must be solved. In the student
    edition they may be open.
    """
    problems = [
        _problem(nb, "cell", index, output)
        for index, output in outputs(nb)
        if _is_error(output) and (EXPECTED not in tags(nb.cells[index]) or output["ename"] in (TIMEOUT, KERNEL_DIED))
    ]
    if any(SOLUTION in cell.source for cell in nb.cells):
        problems += _open_exercises(nb)
    with suppress(AttributeError, KeyError, TypeError):  # of malformed widgets, which no program can show
        problems += _in_widgets(nb)
    return problems


def broken_off(nb: Notebook | None, message: str, traceback: str) -> Problem:
    """The problem of an execution that was ended from outside, at the first cell without a result.

    Args:
        nb: what is left of the executed notebook.
    """
    cell = next((cell for cell in code_cells(nb) if cell.execution_count is None), None) if nb else None
    index, source = (nb.cells.index(cell), cell.source) if nb and cell else (None, "")
    return Problem("cell", index, None, source, "", message, traceback)


def _open_exercises(nb: Notebook) -> Iterator[Problem]:
    for index, output in outputs(nb):
        record = output.get("metadata", {}).get("coursekit", {}).get("exercise")
        if record and require_record(record, "exercise")["verdict"] == "open":
            message = f"{record['name']}: {record.get('message')}"
            count, source = nb.cells[index].execution_count, nb.cells[index].source
            yield Problem("cell", index, count, source, EXERCISE_OPEN, message, f"{EXERCISE_OPEN}: {message}")


def _in_widgets(nb: Notebook) -> list[Problem]:
    state = nb.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    home = _cells_of_widgets(nb, state)
    return [
        _problem(nb, "widget", home.get(model), output)
        for model, widget in state.items()
        if isinstance(shown := widget["state"].get("outputs"), list)  # any widget may call something so
        for output in shown
        if _is_error(output)
    ]


def _is_error(output: Any) -> bool:
    return isinstance(output, dict) and output.get("output_type") == "error"


def _problem(nb: Notebook, where: Literal["cell", "widget"], index: int | None, output: dict[str, Any]) -> Problem:
    count, source = (None, "") if index is None else (nb.cells[index].execution_count, nb.cells[index].source)
    return Problem(where, index, count, source, output["ename"], str(output["evalue"]), "\n".join(output["traceback"]))


def _cells_of_widgets(nb: Notebook, state: dict[str, Any]) -> dict[str, int]:
    """For every widget that a cell shows, directly or inside another widget, the index of this cell."""
    home: dict[str, int] = {}
    for index, output in outputs(nb):
        waiting = [output.get("data", {}).get(WIDGET_VIEW, {}).get("model_id")]
        while waiting:
            model = waiting.pop()
            if model in state and model not in home:
                home[model] = index
                waiting += re.findall(r"IPY_MODEL_(\w+)", json.dumps(state[model]["state"]))
    return home
