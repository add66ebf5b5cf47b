"""The course's own solutions pass their checks, and have the names that the notebooks ask for."""

import importlib
import re
from pathlib import Path

import pytest

from coursekit import exercises
from coursekit.notebooks import files

MODULES = sorted(path.stem for path in Path(exercises.__file__).parent.glob("lecture*.py"))
OF_LECTURE = {name: importlib.import_module(f"coursekit.exercises.{name}").exercise for name in MODULES}
ALL = [(lecture, name) for lecture, exercise in OF_LECTURE.items() for name in exercise.by_name]


@pytest.mark.parametrize(("lecture", "name"), ALL)
def test_the_courses_own_solution_passes_its_check(lecture, name, ask):
    exercise = OF_LECTURE[lecture]
    assert ask(exercise, name, exercise.by_name[name].solution).startswith(f"✓ {name}: ")


@pytest.mark.parametrize("lecture", MODULES)
def test_the_notebook_asks_for_these_exercises(lecture):
    (path,) = files.find_notebooks([lecture.removeprefix("lecture")])
    sources = "\n".join(cell.source for cell in files.read(path).cells if cell.cell_type == "code")
    assert re.findall(r"^(\w+) = exercise\(\1\)$", sources, re.MULTILINE) == list(OF_LECTURE[lecture].by_name)
    assert sources.count("exercise.score()") == 1
