"""The student edition in use: a notebook runs to its end, says which exercises are open, and they can be solved.

Every notebook is executed only once; then the cells of its exercises are filled in and run again.
"""

import os
import re
import zipfile

import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from nbclient import NotebookClient
from typer.testing import CliRunner

from coursekit import cli
from coursekit.notebooks import files
from coursekit.notebooks.problems import find_problems

COURSE = [path.resolve() for path in files.find_notebooks()]
CHECK = re.compile(r"^exercise\.score\(\)|\bexercise\(\w+\)", re.MULTILINE)
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


def verdicts(nb):
    return [(record["name"], record["verdict"]) for record in files.records(nb, "exercise")]


@pytest.mark.parametrize("source", COURSE, ids=lambda path: path.stem)
def test_the_edition_runs_to_its_end_and_every_exercise_can_be_solved(source, handed_out, kernel):
    committed, nb = files.read(source), files.read(handed_out / source.name)
    solved = {cell.id: cell.source for cell in committed.cells}
    names = [record["name"] for record in files.records(committed, "exercise")]
    assert len(names) >= 3
    client, started = kernel(nb)
    with started:
        for index, cell in enumerate(nb.cells):
            client.execute_cell(cell, index)
        client.set_widgets_metadata()
        assert find_problems(nb) == []
        assert verdicts(nb) == [(name, "open") for name in names]
        assert {record["message"] for record in files.records(nb, "exercise")} == {"not written yet"}
        assert files.records(nb, "score") == [{"solved": 0, "exercises": len(names)}]
        claims, wanted = (files.records(it, "claim") for it in (nb, committed))
        assert [claim["statement"] for claim in claims] == [claim["statement"] for claim in wanted]
        assert {claim["verdict"] for claim in claims} <= {"holds", "not judged"}

        for index, cell in enumerate(nb.cells):
            stub = cell.cell_type == "code" and STUB.search(cell.source)
            if stub:
                cell.source = with_solutions(cell.source, solved[cell.id])
            if stub or (cell.cell_type == "code" and CHECK.search(cell.source)):
                client.execute_cell(cell, index)
    assert verdicts(nb) == [(name, "solved") for name in names]
    assert files.records(nb, "score") == [{"solved": len(names), "exercises": len(names)}]
    assert find_problems(nb) == []
