"""Exercise checks say what differs."""

import pytest
import torch

from coursekit.exercises.checking import ExerciseOpen, against, differs
from coursekit.exercises.lecture00 import exercise as exercise00
from coursekit.exercises.lecture09 import exercise as exercise09


def named(name):
    """A decorator that gives a solution the name of the exercise that it solves."""

    def rename(function):
        function.__name__ = name
        return function

    return rename


def test_a_right_solution_is_praised_by_case(capsys):
    @named("tied_reconstruction")
    def solution(x, weight):
        return x @ weight @ weight.T

    exercise09(solution)
    assert capsys.readouterr().out.startswith("✓ tied_reconstruction: right on a projection, columns that")


def test_a_solution_right_on_some_inputs_hears_where_it_is_wrong():
    @named("keep_largest")
    def solution(z, k):
        places = z.topk(k, dim=1).indices  # the highest, not the largest in magnitude
        return torch.zeros_like(z).scatter(1, places, z.gather(1, places))

    expected = r"right on positive entries; wrong on negative entries: at index \(0, 1\) expected -5, got 0"
    with pytest.raises(ExerciseOpen, match=expected):
        exercise09(solution)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda x, w: None, "returns nothing yet"),
        (lambda x, w: ..., "returns nothing yet"),
        (lambda x, w: (x @ w @ w.T).T, r"expected shape \(2, 3\), got \(3, 2\)"),
        (lambda x, w: x @ w @ w.T * torch.nan, "the result holds NaN"),
        (lambda x, w: 3.0, r"expected a tensor of shape \(2, 3\), got a float \(3.0\)"),
        (lambda x, w: w @ w, "on a projection it raises RuntimeError"),
        (lambda x, w: x.mul_(0) + torch.arange(6.0).view(2, 3) @ w @ w.T, "changes its argument in place"),
    ],
)
def test_each_way_to_be_wrong_has_its_message(body, message):
    with pytest.raises(ExerciseOpen, match=message):
        exercise09(named("tied_reconstruction")(body))


def test_an_unwritten_solution_is_open():
    @named("nearest_mean")
    def solution(x, means):
        raise NotImplementedError

    with pytest.raises(ExerciseOpen, match="nearest_mean: not written yet"):
        exercise00(solution)


def test_the_student_sees_the_message_and_no_traceback():
    assert ExerciseOpen("f: wrong")._render_traceback_() == ["✗ f: wrong"]


def test_an_unknown_name_lists_the_exercises():
    with pytest.raises(LookupError, match=r"no exercise is called 'tied': keep the name.*keep_largest"):
        exercise09(named("tied")(lambda: None))


@pytest.mark.parametrize(
    ("expected", "got", "words"),
    [
        (1.0, 1.0 + 1e-9, ""),
        (1.0, 2.0, "expected 1, got 2"),
        (3, "3", r"expected a int \(3\), got a str \('3'\)"),
        ((1.0, 2.0), (1.0, 3.0), "value 2: expected 2, got 3"),
        ((1.0, 2.0), 1.0, "expected 2 values, got a float"),
        ("a", "b", "expected 'a', got 'b'"),
        (torch.ones(0, 2), torch.ones(0, 2), ""),
    ],
)
def test_differences_are_told_in_words(expected, got, words):
    import re

    found = differs(expected, got, 1e-6)
    assert re.match(words, found) if words else found == ""


def test_a_check_hands_the_function_copies():
    data = torch.ones(2)
    check = against(lambda x: x * 2, {"ones": (data,)})
    assert check(lambda x: 2 * x) == "right on ones"
    with pytest.raises(Exception, match="in place"):
        check(lambda x: x.mul_(2))
    assert data.tolist() == [1, 1]


class Parts(torch.nn.Module):
    """An encoder and a decoder of linear layers, of any width, right or wrong."""

    def __init__(self, code, output):
        super().__init__()
        self.encoder, self.decoder = torch.nn.Linear(64, code), torch.nn.Linear(code, output)

    def forward(self, x):
        return self.decoder(self.encoder(x))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: 3, "expected a torch module, got int"),
        (lambda: torch.nn.Linear(64, 64), "has no .encoder"),
        (lambda: Parts(9, 64), r"codes of shape \(5, 8\) for five pictures, got \(5, 9\)"),
        (lambda: Parts(8, 32), r"reconstructions of shape \(5, 64\), got \(5, 32\)"),
        (lambda: Parts(8, 64), r"wanted at most 60 %"),
    ],
)
def test_an_autoencoder_must_have_its_parts_and_beat_pca(build, message):
    with pytest.raises(ExerciseOpen, match=message):
        exercise09(named("my_autoencoder")(build))


def test_an_autoencoder_that_bypasses_its_code_is_found():
    class Bypass(Parts):
        def forward(self, x):
            return x

    with pytest.raises(ExerciseOpen, match="nothing may bypass the code"):
        exercise09(named("my_autoencoder")(lambda: Bypass(8, 64)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x, y, t: None, "returns nothing yet"),
        (lambda x, y, t: y[:5], r"one label a picture, shape \(360,\), got shape \(5,\)"),
        (lambda x, y, t: torch.zeros(len(t)), "of the unseen digits right; wanted at least 96 %"),
    ],
)
def test_a_classifier_must_answer_for_every_picture_and_be_right(answer, message):
    with pytest.raises(ExerciseOpen, match=message):
        exercise00(named("my_classifier")(answer))


@pytest.mark.parametrize(("name", "exercise"), [("my_classifier", exercise00), ("my_autoencoder", exercise09)])
def test_an_unwritten_open_exercise_is_open(name, exercise):
    def solution(*arguments):
        raise NotImplementedError

    with pytest.raises(ExerciseOpen, match="not written yet"):
        exercise(named(name)(solution))
