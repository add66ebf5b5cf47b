"""Exercises are checked by name, and the parts that all checks share say what differs."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from coursekit.exercises.checking import (
    Exercise,
    ExerciseOpen,
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
    expected = r"✗ double: right on a plane; wrong on a negative line: at index \(0,\) expected -2, got 2"
    assert re.match(expected, ask(exercise, "double", lambda x: 2 * x.abs()))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: None, "wrong on a plane: it returns nothing yet"),
        (lambda x: ..., "wrong on a plane: it returns nothing yet"),
        (lambda x: 2 * x.T, r"expected shape \(2, 3\), got \(3, 2\)"),
        (lambda x: x * torch.nan, "the result holds NaN"),
        (lambda x: 3.0, r"expected a tensor of shape \(2, 3\), got float 3.0"),
        (lambda x: (2 * x).numpy(), r"expected a tensor of shape \(2, 3\), got ndarray of shape \(2, 3\)"),
        (lambda x: x @ x, "on a plane it raises RuntimeError"),
        (lambda x: x.mul_(2), "right on a plane, but it changes its argument in place"),
    ],
)
def test_each_way_to_be_wrong_has_its_message(ask, answer, message):
    assert re.match(f"✗ double: .*{message}", ask(exercise, "double", answer))


def test_an_unwritten_solution_is_open(ask):
    def unwritten(x):
        raise NotImplementedError

    assert ask(exercise, "double", unwritten) == "✗ double: not written yet"


def test_the_student_sees_the_message_and_no_traceback():
    assert ExerciseOpen("f: wrong")._render_traceback_() == ["✗ f: wrong"]


def test_an_unknown_name_lists_the_exercises(ask):
    with pytest.raises(LookupError, match=r"no exercise is called 'twice': keep the name.*double"):
        ask(exercise, "twice", double)


@pytest.mark.parametrize(("value", "words"), [(3, "int 3"), (None, "NoneType"), (PLANE, r"Tensor of shape \(2, 3\)")])
def test_what_is_not_a_function_is_refused(without_annotations, value, words):
    with pytest.raises(TypeError, match=f"expected your function itself, got {words}"):
        exercise(value)


def test_an_error_of_our_own_in_a_check_is_not_the_students(ask):
    def broken(answer):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(Exercises(Exercise(double, broken)), "double", double)


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
