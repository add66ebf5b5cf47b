"""Errors are found in cells and in widgets, and cells that may raise are none."""

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from coursekit.course.display import WIDGET_VIEW
from coursekit.notebooks import files
from coursekit.notebooks.problems import Problem, errors, unfinished


def output(data, **metadata):
    return new_output("display_data", data=data, metadata=metadata)


def error(name="ValueError", message="no"):
    return new_output("error", ename=name, evalue=message, traceback=["line 1", f"{name}: {message}"])


def cell(source="1 + 1", *outputs, count=1, **metadata):
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


def with_widgets(nb, **states):
    state = {model: {"model_name": "M", "model_module": "m", "state": s} for model, s in states.items()}
    nb.metadata["widgets"] = {files.WIDGET_STATE: {"state": state, "version_major": 2}}
    return nb


def test_an_error_in_a_cell_is_a_problem():
    nb = new_notebook(cells=[new_markdown_cell("x"), cell("f(0)", output({}), error("KeyError", "'a'"), count=3)])
    assert errors(nb) == [
        Problem(
            where="cell",
            cell=1,
            count=3,
            source="f(0)",
            name="KeyError",
            message="'a'",
            traceback="line 1\nKeyError: 'a'",
        )
    ]


def test_an_error_in_a_widget_is_a_problem_of_the_cell_that_shows_the_widget():
    view = output({WIDGET_VIEW: {"model_id": "box"}})
    nb = with_widgets(
        new_notebook(cells=[cell("x"), cell("interact(f)", view, count=2)]),
        box={"children": ["IPY_MODEL_slider", "IPY_MODEL_out"], "parent": "IPY_MODEL_box"},
        slider={"value": 3},
        out={"outputs": [new_output("stream", text="before"), error()]},
    )
    [problem] = errors(nb)
    assert (problem.where, problem.cell, problem.count) == ("widget", 1, 2)
    assert (problem.source, problem.name) == ("interact(f)", "ValueError")


def test_an_error_in_a_widget_that_no_cell_shows_is_a_problem_still():
    [problem] = errors(with_widgets(new_notebook(), out={"outputs": [error()]}))
    assert (problem.where, problem.cell, problem.source) == ("widget", None, "")


def test_a_run_broken_off_was_at_the_first_cell_without_a_result():
    nb = new_notebook(cells=[cell("done"), cell("", count=None), cell("running", count=None), cell("c", count=None)])
    assert unfinished(nb, "killed") == Problem(
        where="cell", cell=2, count=None, source="running", name="", message="killed", traceback="killed"
    )
    assert unfinished(None, "killed").cell is None


def test_an_error_of_a_cell_that_may_raise_is_no_problem():
    nb = new_notebook(cells=[cell("1 / 0", error("ZeroDivisionError"), tags=["raises-exception"]), cell("x", error())])
    assert [problem.name for problem in errors(nb)] == ["ValueError"]
