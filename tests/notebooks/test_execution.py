"""Every notebook runs at smoke as students get it, without solutions, and a spoilt copy of one does not pass.

The notebooks as they are committed, with solutions, run at quick under nbval.
"""

import json
import os
import subprocess
import sys

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from coursekit.notebooks import files
from coursekit.notebooks.problems import find_problems
from coursekit.notebooks.run_record import PROMISED_BYTES

NOTEBOOKS = files.find_notebooks()


def course_run(*arguments, cwd):
    """``coursekit run`` in a process of its own, and what it reports."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "coursekit", "run", *map(str, arguments), "--out", "out", "--jobs", "1"]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    report = cwd / "out" / "run.json"
    return done, json.loads(report.read_text(encoding="utf-8")) if report.exists() else None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_at_smoke(path, handed_out, tmp_path):
    done, record = course_run(handed_out / path.name, "--profile", "smoke", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 0 < record["notebooks"][0]["peak_bytes"] < PROMISED_BYTES["smoke"]
    committed, nb = files.read(path), files.read(tmp_path / "out" / "notebooks" / path.name)
    assert find_problems(nb) == []
    assert files.records(nb, "setup")[0]["profile"] == "smoke"

    exercises = files.records(nb, "exercise")
    assert [it["name"] for it in exercises] == [it["name"] for it in files.records(committed, "exercise")]
    assert len(exercises) >= 3
    assert {(it["verdict"], it["message"]) for it in exercises} == {("open", "not written yet")}
    assert files.records(nb, "score") == [{"solved": 0, "exercises": len(exercises)}]

    claims, wanted = (files.records(it, "claim") for it in (nb, committed))
    assert [claim["statement"] for claim in claims] == [claim["statement"] for claim in wanted]
    verdicts = [claim["verdict"] for claim in claims]
    assert set(verdicts) <= {"holds", "not judged"}
    # At smoke claims about trained models are not judged, checks are.
    assert "holds" in verdicts + [check["verdict"] for check in files.checks(nb)]


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
            "from ipywidgets import IntSlider\n"
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


def nbval(name, folder):
    """nbval compares the outputs of the cells tagged for it, and only these; what it prints."""
    options = ["-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env"]
    command = [sys.executable, "-m", "pytest", *options, name]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def one_exercise():
    """The course's own edition of a notebook with one exercise, executed."""
    sources = [
        "from coursekit.course import setup\nfrom coursekit.exercises.lecture00 import exercise\nsetup()",
        "def nearest_mean(x, means):\n    ### BEGIN SOLUTION\n"
        "    return (x[:, None] - means).norm(dim=2).argmin(dim=1)\n    ### END SOLUTION",
        "nearest_mean = exercise(nearest_mean)",
        "exercise.score()",
    ]
    tags = [[], [], ["nbval-check-output"], []]
    cells = [new_code_cell(source, metadata={"tags": it}) for source, it in zip(sources, tags, strict=True)]
    praise = "✓ nearest_mean: right on four points and three means, means of unequal length, points beside the midpoint"
    cells[2].execution_count = 1
    cells[2].outputs = [new_output("display_data", data={"text/plain": praise})]
    return new_notebook(cells=cells)


def test_an_exercise_that_is_open_fails_a_run_of_the_courses_own_edition(one_exercise, tmp_path):
    """It stops nothing: all cells run to their end. nbval finds the difference from the committed output, too."""
    files.write(one_exercise, tmp_path / "right.ipynb")
    nb = json.loads(json.dumps(one_exercise))
    nb["cells"][1]["source"] = nb["cells"][1]["source"].replace("argmin", "argmax")
    (tmp_path / "wrong.ipynb").write_text(json.dumps(nb), encoding="utf-8")

    done, record = course_run("right.ipynb", "wrong.ipynb", cwd=tmp_path)
    assert done.returncode == 1
    right, wrong = record["notebooks"]
    assert (right["status"], wrong["status"]) == ("ok", "exercise open")
    assert wrong["cells_run"] == wrong["cells"] == 4
    [problem] = wrong["problems"]
    assert problem["source"] == "nearest_mean = exercise(nearest_mean)"
    assert problem["message"].startswith("nearest_mean: wrong on four points and three means: at index (")
    assert "cell [3]\nnearest_mean = exercise(nearest_mean)\n\nExerciseOpen: nearest_mean: wrong on" in done.stdout
    assert "wrong: exercise open" in done.stdout
    assert "1 of 6 exercises solved" in done.stdout  # the lecture has three

    assert "4 passed" in nbval("right.ipynb", tmp_path)
    assert "1 failed, 3 passed" in nbval("wrong.ipynb", tmp_path)


def test_nbval_compares_the_claims(small, tmp_path):
    """A committed claim that differs from the one computed is found by the comparison of outputs."""
    changed = json.loads(json.dumps(small))
    [cell] = [cell for cell in changed["cells"] if 'claim("Ten averages' in cell["source"]]
    [output] = cell["outputs"]
    output["data"]["text/plain"] = output["data"]["text/plain"].replace("12 points", "99 points")
    (tmp_path / "changed.ipynb").write_text(json.dumps(changed), encoding="utf-8")
    said = nbval("changed.ipynb", tmp_path)
    assert "1 failed" in said, said
    assert "99 points" in said
