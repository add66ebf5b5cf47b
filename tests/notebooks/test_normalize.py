"""Normalized notebooks hold what the author wrote and saw, and nothing that changes from run to run."""

import base64
import json

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from coursekit.course.display import WIDGET_VIEW
from coursekit.notebooks import files
from coursekit.notebooks.normalize import KERNELSPEC, is_folded, normalize

PNG = base64.b64encode(b"picture").decode()


def output(data, **metadata):
    return new_output("display_data", data=data, metadata=metadata)


def cell(source="1 + 1", *outputs, count=1, **metadata):
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


@pytest.fixture
def executed():
    """A notebook as papermill leaves it."""
    view = {WIDGET_VIEW: {"model_id": "out"}, "text/plain": "Box()"}
    nb = new_notebook(
        cells=[
            new_markdown_cell("# Title", metadata={"tags": [], "slideshow": {"slide_type": "slide"}}),
            cell("PROFILE = 'quick'", count=1, tags=["parameters"], papermill={"duration": 1}),
            cell("PROFILE = 'smoke'", count=2, tags=[files.INJECTED]),
            cell(
                "mixed",
                new_output("stream", name="stdout", text="a"),
                new_output("stream", name="stdout", text="b\n"),
                new_output("stream", name="stderr", text="c"),
                output(dict(view)),
                new_output("stream", name="stderr", text="d"),
                output(view | {"image/png": PNG}),
                output(dict(view), coursekit={"claim": {"number": 1}}),
                new_output("execute_result", data={"text/plain": "4"}, execution_count=5),
                count=5,
                execution={"iopub.status.busy": "now"},
                lines_to_next_cell=1,
                tags=[],
            ),
            cell("never run", count=None),
        ]
    )
    nb.metadata.update(papermill={"duration": 3}, coursekit={"seconds": 3}, kernelspec={"name": "my-env"})
    nb.metadata["language_info"] = {"name": "python", "version": "3.11.7"}
    nb.metadata["widgets"] = {files.WIDGET_STATE: {"state": {"out": {"state": {"outputs": []}}}}}
    return nb


def test_a_normalized_notebook_holds_what_the_author_wrote_and_saw(executed):
    before = json.dumps(executed)
    nb = normalize(executed)
    assert json.dumps(executed) == before, "the notebook given is left as it is"
    nbformat.validate(nb)
    assert nb.metadata == {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    assert [cell.source for cell in nb.cells] == ["# Title", "PROFILE = 'quick'", "mixed", "never run"]
    assert [cell.id for cell in nb.cells] == [executed.cells[i].id for i in (0, 1, 3, 4)]
    title, parameters, mixed, never = nb.cells
    assert title.metadata == {"slideshow": {"slide_type": "slide"}}
    folded = {"cellView": "form", "jupyter": {"source_hidden": True}}
    assert parameters.metadata == {"tags": ["parameters"], **folded}
    assert mixed.metadata == never.metadata == {}
    assert [parameters.execution_count, mixed.execution_count, never.execution_count] == [1, 2, None]
    streams = [(out.name, out.text) for out in mixed.outputs if out.output_type == "stream"]
    assert streams == [("stdout", "ab\n"), ("stderr", "cd")]
    assert [sorted(out.data) for out in mixed.outputs if out.output_type == "display_data"] == [
        ["image/png", "text/plain"],
        ["text/plain"],
    ]
    assert mixed.outputs[-1].execution_count == 2
    assert files.records(nb, "claim") == [{"number": 1}]


@pytest.mark.parametrize("tag", ["hide-input", "colab", "imports", "parameters", "setup"])
def test_the_tag_folds_a_cell_in_jupyterlab_and_on_colab(tag):
    nb = new_notebook(cells=[cell("draw()", tags=[tag], jupyter={"outputs_hidden": True})])
    [folded] = normalize(nb).cells
    assert folded.metadata.cellView == "form"
    assert folded.metadata.jupyter == {"outputs_hidden": True, "source_hidden": True}
    assert is_folded(folded)
    assert normalize(normalize(nb)) == normalize(nb)


def test_a_cell_without_the_tag_is_unfolded():
    hidden = {"cellView": "form", "jupyter": {"source_hidden": True}}
    about = new_markdown_cell("About", metadata={"tags": ["hide-input"], **hidden})
    nb = new_notebook(cells=[cell("idea()", **hidden), cell("more()", tags=["exercise"], **hidden), about])
    idea, exercise, text = normalize(nb).cells
    assert idea.metadata == {}
    assert exercise.metadata == {"tags": ["exercise"]}
    assert text.metadata == {"tags": ["hide-input"]}, "text has no source to fold"
    assert not any(map(is_folded, (idea, exercise, text)))


def test_frames_stay_beside_the_still_picture():
    frames = "application/vnd.coursekit.frames+json"
    nb = new_notebook(cells=[cell("explore()", output({WIDGET_VIEW: {}, frames: {"frames": []}, "image/png": PNG}))])
    assert sorted(normalize(nb).cells[0].outputs[0].data) == [frames, "image/png"]


def test_normalizing_twice_changes_nothing_more(executed):
    once = normalize(executed)
    assert normalize(once) == once
