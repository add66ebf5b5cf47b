"""What the tests of all exercises share."""

import pytest

from coursekit.course import setup

GOES_ON = "  The notebook goes on with the course's own function."


@pytest.fixture(autouse=True)
def quick(capsys):
    """Every test has a session of its own, in which nothing is solved."""
    setup("quick", device="cpu")
    capsys.readouterr()


@pytest.fixture
def ask(capsys):
    """Hand a function to an exercise under the exercise's name; what the student reads about it, from ✓ or ○ on."""

    def answer(exercise, name, function):
        def solution(*arguments):
            return function(*arguments)

        solution.__name__ = name
        goes_on_with = exercise(solution)
        *_, before, last = ["", *capsys.readouterr().out.splitlines()]
        if last.startswith(f"✓ {name}: "):
            assert goes_on_with is solution
            return last
        assert goes_on_with is exercise.by_name[name].solution
        assert before.startswith(f"○ {name} is open: ")
        assert last == GOES_ON
        return before

    return answer
