"""What the tests of all exercises share."""

import pytest

GOES_ON = ". The notebook goes on with the course's own function."


@pytest.fixture
def ask(capsys):
    """Hand a function to an exercise under the exercise's name; what the student reads about it, from ✓ or ○ on."""

    def answer(exercise, name, function):
        def solution(*arguments):
            return function(*arguments)

        solution.__name__ = name
        goes_on_with = exercise(solution)
        said = capsys.readouterr().out.splitlines()[-1]
        solved = said.startswith(f"✓ {name}: ")
        assert goes_on_with is (solution if solved else exercise.by_name[name].solution)
        assert solved or (said.startswith(f"○ {name} is open: ") and said.endswith(GOES_ON))
        return said.removesuffix(GOES_ON)

    return answer
