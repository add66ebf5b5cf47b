"""What the tests of all exercises share."""

import pytest

from coursekit.exercises.checking import ExerciseOpen


@pytest.fixture
def ask(capsys):
    """Hand a function to an exercise under the exercise's name; what the student reads, from ✓ or ✗ on."""

    def answer(exercise, name, function):
        def solution(*arguments):
            return function(*arguments)

        solution.__name__ = name
        try:
            exercise(solution)
        except ExerciseOpen as still_open:
            assert capsys.readouterr().out.splitlines()[-1] == f"○ {name} is open"
            return f"✗ {still_open}"
        return capsys.readouterr().out.splitlines()[-1]

    return answer
