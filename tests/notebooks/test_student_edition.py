"""The student edition in use: a notebook stops at each exercise, says why, and runs on once the exercise is solved.

Every notebook is executed only once: after each solution the run continues from there.
"""

import os
import re
import zipfile

import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from typer.testing import CliRunner

from coursekit import cli
from coursekit.notebooks import files
from coursekit.notebooks.problems import find_problems

COURSE = [path.resolve() for path in files.find_notebooks()]
STUB = re.compile(r" *# your code here\n *raise NotImplementedError")
SOLUTION = re.compile(r" *### BEGIN SOLUTION\n(.*?)\n *### END SOLUTION", re.DOTALL)


@pytest.fixture(scope="module")
def handed_out(tmp_path_factory):
    """The edition of the whole course, unpacked in an empty folder."""
    folder = tmp_path_factory.mktemp("handed_out")
    made = CliRunner().invoke(cli.app, ["student", *map(str, COURSE), "--out", str(folder / "edition")])
    assert made.exit_code == 0, made.output
    with zipfile.ZipFile(folder / "edition" / "student.zip") as archive:
        archive.extractall(folder)
    return folder / "student"


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


@pytest.mark.parametrize("source", COURSE, ids=lambda path: path.stem)
def test_every_exercise_stops_the_run_until_it_is_solved(source, handed_out, kernel):
    committed, nb = files.read(source), files.read(handed_out / source.name)
    solved = {cell.id: cell.source for cell in committed.cells}
    stops, stub = [], None
    client, started = kernel(nb)
    with started:
        for index, cell in enumerate(nb.cells):
            if cell.cell_type == "code" and STUB.search(cell.source):
                stub = index
            try:
                client.execute_cell(cell, index)
            except CellExecutionError:
                stops.append((cell.source, cell.outputs[-1].ename, cell.outputs[-1].traceback))
                nb.cells[stub].source = with_solutions(nb.cells[stub].source, solved[nb.cells[stub].id])
                client.execute_cell(nb.cells[stub], stub)
                client.execute_cell(cell, index)
        client.set_widgets_metadata()
    names = [record["name"] for record in files.records(committed, "exercise")]
    assert stops == [(f"exercise({name})", "ExerciseOpen", [f"✗ {name}: not written yet"]) for name in names]
    assert len(names) >= 3
    verdicts = [(record["name"], record["verdict"]) for record in files.records(nb, "exercise")]
    assert verdicts == [(name, "solved") for name in names]
    claims, wanted = (files.records(it, "claim") for it in (nb, committed))
    assert [claim["statement"] for claim in claims] == [claim["statement"] for claim in wanted]
    assert {claim["verdict"] for claim in claims} <= {"holds", "not judged"}
    assert find_problems(nb) == []
