"""Exercises are checked by name, and the parts that all checks share say what differs."""

import random
import re

import numpy as np
import pytest
import torch
from torch import nn

from coursekit.course import setup
from coursekit.exercises import checking
from coursekit.exercises.checking import (
    Exercise,
    Exercises,
    Wrong,
    by_cases,
    differs,
    require_module,
    require_result,
)


def double(x):
    return 2 * x


PLANE = torch.arange(6.0).view(2, 3)
exercise = Exercises(by_cases(double, {"a plane": (PLANE,), "a negative line": (-torch.ones(3),)}))


def test_a_right_answer_is_praised_by_case(ask):
    assert ask(exercise, "double", lambda x: x + x) == "✓ double: right on a plane, a negative line"


def test_an_answer_right_on_some_cases_hears_where_it_is_wrong(ask):
    expected = r"○ double is open: right on a plane; wrong on a negative line: at index \(0,\) expected -2, got 2"
    assert re.match(expected, ask(exercise, "double", lambda x: 2 * x.abs()))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: None, "wrong on a plane: it returns nothing yet"),
        (lambda x: ..., "wrong on a plane: it returns nothing yet"),
        (lambda x: 2 * x.T, r"expected shape \(2, 3\), got \(3, 2\)"),
        (lambda x: x * torch.nan, "the result holds NaN"),
        (lambda x: 3.0, r"expected a tensor of shape \(2, 3\), got float 3.0"),
        (lambda x: (2 * x).tolist(), r"expected a tensor of shape \(2, 3\), got list"),
        (lambda x: (3 * x).numpy(), r"wrong on a plane: at index \(1, 2\) expected 10, got 15"),
        (lambda x: x @ x, 'on a plane it raises RuntimeError: mat1 and mat2.* in the line "return function'),
        (lambda x: [][0], "on a plane it raises IndexError: list index out of range"),
        (lambda x: x.mul_(2), "right on a plane, but it changes its argument in place"),
    ],
)
def test_each_way_to_be_wrong_has_its_message(ask, answer, message):
    assert re.match(f"○ double is open: .*{message}", ask(exercise, "double", answer))


def test_an_unwritten_solution_is_open(ask):
    def unwritten(x):
        raise NotImplementedError

    assert ask(exercise, "double", unwritten) == "○ double is open: not written yet"


def test_a_numpy_array_may_be_the_answer(ask):
    assert ask(exercise, "double", lambda x: 2 * x.numpy()).startswith("✓")


def test_an_error_in_what_the_function_returned_leaves_the_exercise_open(ask):
    def check(answer):
        answer()(torch.ones(1, 3))
        return "fine"

    def module():
        return nn.Linear(2, 2)

    net = Exercises(Exercise(module, check))
    assert ask(net, "module", module).startswith("○ module is open: it raises RuntimeError: mat1 and mat2")
    assert ask(net, "module", nn.Identity) == "✓ module: fine"


def test_a_long_error_is_cut_to_one_line(ask):
    def lengthy(x):
        raise ValueError("a\nb " * 500)

    said = ask(exercise, "double", lengthy)
    assert "it raises ValueError: a b a b" in said
    assert len(said) < 400


def test_an_interrupt_reaches_the_student(ask):
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(exercise, "double", interrupted)


@pytest.mark.usefixtures("without_annotations")  # beartype draws from Python's generator which items it looks at
def test_the_random_numbers_of_the_notebook_do_not_depend_on_the_answer(ask):
    def draw():
        return torch.rand(1).item(), random.random(), np.random.rand()  # noqa: NPY002, which students may use

    def guesses(x):
        draw()
        raise ValueError

    setup("quick", seed=3, device="cpu")
    expected = draw()
    setup("quick", seed=3, device="cpu")
    ask(exercise, "double", lambda x: draw() and 2 * x)
    ask(exercise, "double", guesses)
    assert draw() == expected


@pytest.fixture
def shown(monkeypatch):
    """What exercises emit: kind, record, text, HTML."""
    emitted = []

    def emit(kind, record, text, markup=None):
        emitted.append((kind, record, text, markup))

    monkeypatch.setattr(checking, "emit", emit)
    return emitted


def named(name, function):
    function.__name__ = name
    return function


def test_a_solved_exercise_has_a_record_and_one_line(shown):
    exercise(named("double", lambda x: x + x))
    praise = "right on a plane, a negative line"
    record = {"name": "double", "verdict": "solved", "message": praise}
    assert shown == [("exercise", record, f"✓ double: {praise}", None)]


def test_an_open_exercise_has_a_record_and_a_note_that_says_what_happens_next(shown):
    exercise(named("double", lambda x: "<b>"))
    [(kind, record, text, markup)] = shown
    message = "wrong on a plane: expected a tensor of shape (2, 3), got str '<b>'"
    assert (kind, record) == ("exercise", {"name": "double", "verdict": "open", "message": message})
    assert text == f"○ double is open: {message}\n  The notebook goes on with the course's own function."
    assert "got str &#x27;&lt;b&gt;&#x27;" in markup
    assert "The notebook goes on with the course's own function." in markup


def test_the_course_own_function_is_not_an_answer(shown):
    """After ``f = exercise(f)`` in an open exercise the name f means it, and the cell may be run again."""
    for _ in range(2):
        goes_on_with = exercise(double)
        assert goes_on_with is double
        assert shown[-1][1]["verdict"] == "open"
        assert "run the cell that defines yours" in shown[-1][1]["message"]


def triple(x):
    return 3 * x


def test_the_score_says_how_many_are_solved_and_which_are_open(shown):
    two = Exercises(by_cases(double, {"a plane": (PLANE,)}), by_cases(triple, {"a plane": (PLANE,)}))

    def score():
        two.score()
        kind, record, text, _ = shown[-1]
        assert kind == "score"
        assert record["exercises"] == 2
        return record["solved"], text

    assert score() == (0, "○ 0 of 2 exercises solved; open: double, triple")
    two(named("triple", lambda x: x + x + x))
    assert score() == (1, "○ 1 of 2 exercises solved; open: double")
    two(named("double", lambda x: x + x))
    assert score() == (2, "✓ 2 of 2 exercises solved")
    two(named("double", lambda x: x))  # the last answer counts
    assert score() == (1, "○ 1 of 2 exercises solved; open: double")


def test_set_up_starts_the_score_again(shown):
    exercise(named("double", lambda x: x + x))
    setup("quick", device="cpu")
    exercise.score()
    assert shown[-1][1] == {"solved": 0, "exercises": 1}


def test_an_unknown_name_lists_the_exercises(ask):
    with pytest.raises(LookupError, match=r"no exercise is called 'twice': keep the name.*double"):
        ask(exercise, "twice", double)


@pytest.mark.parametrize(("value", "words"), [(3, "int 3"), (None, "NoneType"), (PLANE, r"Tensor of shape \(2, 3\)")])
def test_what_is_not_a_function_is_refused(without_annotations, value, words):
    with pytest.raises(TypeError, match=f"expected your function itself, got {words}"):
        exercise(value)


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (1.0, 1.0 + 1e-9, ""),
        (1.0, 2.0, "expected 1, got 2"),
        (3, "3", "expected int 3, got str '3'"),
        ((1.0, 2.0), (1.0, 3.0), "value 2: expected 2, got 3"),
        ((1.0, 2.0), 1.0, "expected 2 values, got float 1.0"),
        ("a", "b", "expected 'a', got 'b'"),
        (torch.ones(0, 2), torch.ones(0, 2), ""),
        (1_000_000, 1_000_001, "expected 1000000, got 1000001"),
        (2**70, 2**70, ""),
        (2**70, 2**70 + 1, f"expected {2**70}, got {2**70 + 1}"),
        (2, 2.0, ""),
        (True, False, "expected True, got False"),
        (torch.tensor([2_000_000]), torch.tensor([2_000_001]), "at index (0,) expected 2000000, got 2000001"),
        (torch.tensor([2**60]), torch.tensor([2**60 + 1]), f"at index (0,) expected {2**60}, got {2**60 + 1}"),
        (torch.tensor([2_000_000]), torch.tensor([2_000_000.5]), "at index (0,) expected 2000000, got 2e+06"),
        (torch.tensor([True, False]), torch.tensor([True, True]), "at index (1,) expected False, got True"),
        (torch.inf, torch.inf, ""),
        (torch.inf, -torch.inf, "expected inf, got -inf"),
        (torch.tensor([torch.inf, 1.0]), torch.tensor([torch.inf, 2.0]), "at index (1,) expected 1, got 2"),
        (torch.tensor([torch.inf, 1.0]), torch.tensor([5.0, 1.0]), "at index (0,) expected inf, got 5"),
        (1.0, torch.inf, "expected 1, got inf"),
        (torch.tensor([torch.nan, 1.0]), torch.tensor([torch.nan, 1.0]), ""),
        (torch.tensor([torch.nan, 1.0]), torch.tensor([2.0, 1.0]), "at index (0,) expected nan, got 2"),
        (torch.tensor([torch.nan, 1.0]), torch.tensor([torch.nan, torch.nan]), "the result holds NaN"),
        (1 + 2j, 1 + 2j, ""),
        (1 + 2j, 1 - 2j, "expected 1+2j, got 1-2j"),
        (1.0, 1 + 2j, "expected 1, got 1+2j"),
        (torch.tensor([1 + 2j]), torch.tensor([1 + 3j]), "at index (0,) expected 1+2j, got 1+3j"),
    ],
)
def test_differences_are_told_in_words(expected, got, words):
    assert differs(expected, got, 1e-6) == words


def test_a_check_hands_the_function_copies():
    data = torch.ones(2)
    check = by_cases(double, {"ones": (data,)}).check
    assert check(lambda x: 2 * x) == "right on ones"
    with pytest.raises(Wrong, match="in place"):
        check(lambda x: x.mul_(2))
    assert data.tolist() == [1, 1]


@pytest.mark.parametrize("got", [torch.ones(2, requires_grad=True), np.ones(2), [1, 1]])
def test_numbers_of_any_kind_are_a_result(got):
    result = require_result(got, (2,), "a pair")
    assert result.tolist() == [1, 1]
    assert not result.requires_grad


@pytest.mark.parametrize(
    ("got", "message"),
    [
        (None, "returns nothing yet"),
        (..., "returns nothing yet"),
        ("ab", r"expected a pair, shape \(2,\), got str 'ab'"),
        (3, r"expected a pair, shape \(2,\), got int 3"),
        ([[1], [1, 2]], r"expected a pair, shape \(2,\), got list"),
        (torch.ones(2, 1), r"expected a pair, shape \(2,\), got Tensor of shape \(2, 1\)"),
        ([1.0, float("inf")], "the result holds NaN or infinite numbers"),
    ],
)
def test_what_is_not_the_wanted_result_is_told(got, message):
    with pytest.raises(Wrong, match=message):
        require_result(got, (2,), "a pair")


def test_a_net_is_a_torch_module():
    net = nn.Identity()
    assert require_module(net) is net
    with pytest.raises(Wrong, match="returns nothing yet"):
        require_module(None)
    with pytest.raises(Wrong, match="expected a torch module, got int 3"):
        require_module(3)
