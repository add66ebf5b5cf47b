"""What counts as a problem of an executed notebook, and the cell that it belongs to."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from coursekit.course.display import WIDGET_VIEW
from coursekit.notebooks.files import WIDGET_STATE
from coursekit.notebooks.problems import EXERCISE_OPEN, KERNEL_DIED, TIMEOUT, Problem, broken_off, find_problems


def error(name="ValueError", message="no"):
    return new_output("error", ename=name, evalue=message, traceback=["line 1", f"{name}: {message}"])


def cell(source="1 + 1", *outputs, count=1, **metadata):
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


def with_widgets(nb, **states):
    state = {model: {"model_name": "M", "model_module": "m", "state": s} for model, s in states.items()}
    nb.metadata["widgets"] = {WIDGET_STATE: {"state": state, "version_major": 2}}
    return nb


def test_an_error_in_a_cell_is_a_problem():
    shown = new_output("display_data")
    nb = new_notebook(cells=[new_markdown_cell("x"), cell("f(0)", shown, error("KeyError", "'a'"), count=3)])
    assert find_problems(nb) == [
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
    assert find_problems(nb)[0].place == "cell [3]"


def exercises(*verdicts, solution):
    """A notebook with a solution or a stub, and a checked exercise for each verdict."""
    cells = [cell(f"def f(x):\n    ### BEGIN SOLUTION\n    {solution}\n    ### END SOLUTION" if solution else "stub")]
    for count, verdict in enumerate(verdicts, start=2):
        record = {"name": f"f{count}", "verdict": verdict, "message": "wrong on zero: expected 0, got 1"}
        shown = new_output("display_data", metadata={"coursekit": {"exercise": record}})
        cells.append(cell(f"f{count} = exercise(f{count})", shown, count=count))
    return new_notebook(cells=cells)


def test_an_open_exercise_of_the_courses_own_edition_is_a_problem():
    [problem] = find_problems(exercises("solved", "open", solution="return x"))
    assert (problem.where, problem.cell, problem.place) == ("cell", 2, "cell [3]")
    assert (problem.source, problem.name) == ("f3 = exercise(f3)", EXERCISE_OPEN)
    assert problem.message == "f3: wrong on zero: expected 0, got 1"
    assert problem.traceback == "ExerciseOpen: f3: wrong on zero: expected 0, got 1"


def test_every_open_exercise_is_a_problem_and_errors_come_first():
    nb = exercises("open", "open", solution="return x")
    nb.cells.append(cell("f(0)", error(), count=4))
    assert [problem.name for problem in find_problems(nb)] == ["ValueError", EXERCISE_OPEN, EXERCISE_OPEN]


def test_an_open_exercise_of_the_student_edition_is_none():
    assert find_problems(exercises("open", "solved", solution=None)) == []


def test_solved_exercises_are_no_problem():
    assert find_problems(exercises("solved", "solved", solution="return x")) == []


def test_an_error_in_a_widget_is_a_problem_of_the_cell_that_shows_the_widget():
    view = new_output("display_data", data={WIDGET_VIEW: {"model_id": "box"}})
    nb = with_widgets(
        new_notebook(cells=[cell("x"), cell("interact(f)", view, count=2)]),
        box={"children": ["IPY_MODEL_slider", "IPY_MODEL_out"], "parent": "IPY_MODEL_box"},
        slider={"value": 3},
        out={"outputs": [new_output("stream", text="before"), error()]},
    )
    [problem] = find_problems(nb)
    assert (problem.where, problem.cell, problem.count) == ("widget", 1, 2)
    assert (problem.source, problem.name, problem.place) == ("interact(f)", "ValueError", "widget of cell [2]")


def test_an_error_in_a_widget_that_no_cell_shows_is_a_problem_still():
    [problem] = find_problems(with_widgets(new_notebook(), out={"outputs": [error()]}))
    assert (problem.where, problem.cell, problem.source, problem.place) == ("widget", None, "", "widget of cell [*]")


@pytest.mark.parametrize("outputs", [5, None, {"a": 1}, [5, {}]])
def test_a_widget_may_call_something_else_its_outputs(outputs):
    assert find_problems(with_widgets(new_notebook(), slider={"outputs": outputs})) == []


@pytest.mark.parametrize(("name", "count"), [("ValueError", 0), ("ClaimFailed", 0), (KERNEL_DIED, 1), (TIMEOUT, 1)])
def test_a_cell_tagged_raises_exception_may_raise_but_neither_end_its_kernel_nor_exceed_the_time(name, count):
    nb = new_notebook(cells=[cell("f(0)", error(name), tags=["raises-exception"])])
    assert len(find_problems(nb)) == count


def test_a_run_broken_off_was_at_the_first_cell_without_a_result():
    nb = new_notebook(cells=[cell("done"), cell("", count=None), cell("running", count=None), cell("c", count=None)])
    assert broken_off(nb, "killed", "line 1") == Problem(
        where="cell",
        cell=2,
        count=None,
        source="running",
        name="",
        message="killed",
        traceback="line 1",
    )
    assert broken_off(None, "killed", "").cell is None
