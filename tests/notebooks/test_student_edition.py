"""The student edition in use: exercises are open, and when their cells are filled in and run again, they are solved.

That every notebook of the edition runs to its end is for `test_execution` to see.
"""

import os
import re

import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from nbclient import NotebookClient

from coursekit.notebooks import files
from coursekit.notebooks.problems import find_problems

CHECK = re.compile(r"^exercise\.score\(\)|\bexercise\(\w+\)", re.MULTILINE)
STUB = re.compile(r" *# your code here\n *raise NotImplementedError")
SOLUTION = re.compile(r" *### BEGIN SOLUTION\n(.*?)\n *### END SOLUTION", re.DOTALL)


@pytest.fixture
def kernel(handed_out, tmp_path):
    """Starts the kernel of a notebook: this interpreter, at profile smoke, in the folder of the edition."""

    def start(nb):
        client = NotebookClient(
            nb,
            km=AsyncKernelManager(
                kernel_name=NATIVE_KERNEL_NAME, kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
            ),
            timeout=300,
        )
        changed = {"COURSEKIT_PROFILE": "smoke", "COURSEKIT_DATA": str(tmp_path), "OMP_NUM_THREADS": "1"}
        return client, client.setup_kernel(env=os.environ | changed, cwd=str(handed_out), cleanup_kc=True)

    return start


def with_solutions(stub, solved):
    """The cell of the edition with the solutions of the committed cell in place of its stubs."""
    pieces = iter(SOLUTION.findall(solved))
    return STUB.sub(lambda _: next(pieces), stub)


def verdicts(nb):
    return [(record["name"], record["verdict"]) for record in files.records(nb, "exercise")]


@pytest.mark.parametrize("number", ["00", "16"])
def test_open_exercises_can_be_solved_in_the_same_kernel(number, handed_out, kernel):
    [source] = files.find_notebooks([number])
    committed, nb = files.read(source), files.read(handed_out / source.name)
    solved = {cell.id: cell.source for cell in committed.cells}
    names = [record["name"] for record in files.records(committed, "exercise")]
    client, started = kernel(nb)
    with started:
        for index, cell in enumerate(nb.cells):
            client.execute_cell(cell, index)
        client.set_widgets_metadata()
        assert verdicts(nb) == [(name, "open") for name in names]

        for index, cell in enumerate(nb.cells):
            stub = cell.cell_type == "code" and STUB.search(cell.source)
            if stub:
                cell.source = with_solutions(cell.source, solved[cell.id])
            if stub or (cell.cell_type == "code" and CHECK.search(cell.source)):
                client.execute_cell(cell, index)
    assert verdicts(nb) == [(name, "solved") for name in names]
    assert files.records(nb, "score") == [{"solved": len(names), "exercises": len(names)}]
    assert find_problems(nb) == []
