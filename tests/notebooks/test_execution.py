"""Every notebook runs at smoke, and a spoilt copy of one does not pass."""

import json
import os
import subprocess
import sys

import pytest

from coursekit.notebooks import files
from coursekit.notebooks.problems import find_problems

NOTEBOOKS = files.find_notebooks()


def course_run(*arguments, cwd):
    """``coursekit run`` in a process of its own, and what it reports."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "coursekit", "run", *map(str, arguments), "--out", "out", "--jobs", "1"]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    report = cwd / "out" / "run.json"
    return done, json.loads(report.read_text(encoding="utf-8")) if report.exists() else None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_at_smoke(path, tmp_path):
    done, _ = course_run(path.resolve(), "--profile", "smoke", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    nb = files.read(tmp_path / "out" / "notebooks" / path.name)
    assert find_problems(nb) == []
    assert files.records(nb, "setup")[0]["profile"] == "smoke"
    verdicts = [claim["verdict"] for claim in files.records(nb, "claim")]
    assert "holds" in verdicts
    assert "fails" not in verdicts


@pytest.fixture(scope="module")
def small():
    """The first notebook, small and quick to run."""
    return files.read(files.find_notebooks(["00"])[0])


def spoilt(nb, tmp_path, source):
    """A copy of the notebook with ``source`` run in a cell of its own before the end."""
    import nbformat

    nb = nbformat.from_dict(json.loads(json.dumps(nb)))
    nb.cells.insert(len(nb.cells) - 2, nbformat.v4.new_code_cell(source))
    files.write(nb, tmp_path / "spoilt.ipynb")
    return "spoilt.ipynb"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('claim("One is two", at_most(1), value=2, source="nowhere")', "One is two"),
        ("from ipywidgets import interact\ninteract(lambda k: 1 / k, k=(0, 0))", "ZeroDivisionError"),
        (
            "explore(lambda k: averages_of(1 // k), k=IntSlider(value=1, min=0, max=1),\n"
            'alt="Averages of one picture.", caption="It breaks at 0.")',
            "ZeroDivisionError",
        ),
    ],
    ids=["false claim", "raising callback", "raising at the end of a slider"],
)
def test_a_spoilt_notebook_fails_the_run(small, source, words, tmp_path):
    name = spoilt(small, tmp_path, source)
    done, _ = course_run(name, "--profile", "smoke", cwd=tmp_path)
    assert done.returncode == 1
    assert words in done.stdout + done.stderr


def test_nbval_compares_the_claims(small, tmp_path):
    """A committed claim that differs from the one computed is found by the comparison of outputs."""
    changed = json.loads(json.dumps(small))
    cells = [cell for cell in changed["cells"] if "nbval-check-output" in cell["metadata"].get("tags", [])]
    output = cells[0]["outputs"][0]
    output["data"]["text/plain"] = output["data"]["text/plain"].replace("85 %", "99 %")
    (tmp_path / "changed.ipynb").write_text(json.dumps(changed), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--nbval-lax",
        "--nbval-current-env",
        "changed.ipynb",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 failed" in done.stdout, done.stdout
    assert "99 %" in done.stdout
