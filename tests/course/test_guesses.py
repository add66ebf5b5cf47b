"""A guess is a question with a control; the answer comes later, and a run without a reader goes on."""

import nbformat
import pytest
from nbclient import NotebookClient

from coursekit import course
from coursekit.course import guess
from coursekit.course.guesses import _widget


@pytest.fixture(autouse=True)
def quick(capsys):
    course.setup("quick", device="cpu")
    capsys.readouterr()


def test_without_a_reader_the_question_and_the_answer_are_printed(capsys):
    made = guess("How many will be right?", low=0, high=100, unit="%")
    assert capsys.readouterr().out == "Your guess: How many will be right? (a number from 0 % to 100 %)\n"
    made.reveal(59.25)
    assert capsys.readouterr().out == "The answer: 59.25 %\n"


def test_moving_the_control_is_the_answer(capsys):
    made = guess("Which one?", ["edges", "net"])
    buttons = _widget(made).children[1]
    assert made.said is None
    buttons.value = "net"
    made.reveal("net")
    assert "You said net. The answer: net ✓" in capsys.readouterr().out

    number = guess("How much?", low=0, high=1)
    _widget(number).children[1].value = "0.25"
    number.reveal(0.5)
    assert "You said 0.25. The answer: 0.5\n" in capsys.readouterr().out


@pytest.mark.parametrize(("typed", "said"), [("50", 50.0), (" 50 % ", 50.0), ("0%", 0.0), ("1e2", 100.0)])
def test_a_number_may_be_typed_with_its_unit(typed, said):
    made = guess("How many?", low=0, high=100, unit="%")
    _, field, told = _widget(made).children
    assert (field.value, field.continuous_update) == ("", False)
    assert "type a number from 0 % to 100 % and press Enter" in told.value
    field.value = typed
    assert made.said == said
    assert told.value == f"<small>you said {said:g} %</small>"


@pytest.mark.parametrize("typed", ["half", "101", "-1", "nan", "inf", "5 kg", "0,5", ""])
def test_what_is_typed_and_is_no_number_within_the_limits_is_no_guess(typed):
    made = guess("How many?", low=0, high=100, unit="%")
    _, field, told = _widget(made).children
    for text in ("50", typed):
        field.value = text
    assert made.said is None
    assert told.value == "<small>expected a number from 0 % to 100 %</small>"


def test_an_answer_beyond_the_limits_says_so(capsys):
    guess("How many?", low=0, high=100, unit="%").reveal(120)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "The answer: 120 %, beyond the numbers to choose from, 0 % to 100 %"
    )


def test_a_notebook_holds_the_question_and_not_its_answer():
    source = "from coursekit.course import setup, guess\nsetup()\nmade = guess('Which one?', ['edges', 'net'])"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(it) for it in (source, "made.reveal('net')")])
    NotebookClient(nb, kernel_name="python3").execute()
    asked, answered = nb.cells[0].outputs[-1], nb.cells[1].outputs[-1]
    assert asked.metadata["coursekit"]["guess"] == {"question": "Which one?", "options": ["edges", "net"]}
    assert {"text/html", "application/vnd.jupyter.widget-view+json"} <= asked.data.keys()
    assert answered.metadata["coursekit"]["answer"] == {"question": "Which one?", "said": None, "measured": "net"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"question": " ", "options": ["a", "b"]}, ValueError, "question: a guess needs a question"),
        ({"question": "Why?"}, ValueError, "two or more different options, or both low and high"),
        ({"question": "Why?", "options": ["a"]}, ValueError, "two or more different options"),
        ({"question": "Why?", "options": ["a", "a"]}, ValueError, "two or more different options"),
        ({"question": "Why?", "options": ["a", "b"], "low": 0, "high": 1}, ValueError, "two or more different options"),
        ({"question": "Why?", "low": 0}, ValueError, "both low and high"),
        ({"question": "Why?", "low": 1, "high": 1}, ValueError, "expected low < high, got 1 and 1"),
        ({"question": "Why?", "low": "0", "high": 1}, TypeError, "low, high: expected a number, got str '0'"),
        ({"question": "Why?", "options": "ab"}, TypeError, "expected a list of answers, got str 'ab'"),
        ({"question": "Why?", "low": 0, "high": 1, "unit": 5}, TypeError, "unit: expected text, got int"),
        ({"question": "Why?", "low": 0, "high": 1, "unit": 0}, TypeError, "unit: expected text, got int"),
        ({"question": "Why?", "low": 0, "high": 1, "unit": " "}, ValueError, "unit: leave it out where a number has"),
        ({"question": "Why?", "options": ["a", "b"], "unit": "%"}, ValueError, "unit: only a number has one"),
        ({"question": "Why?", "options": [1, 2]}, TypeError, "options: expected text, got int"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(without_annotations, arguments, error, message):
    with pytest.raises(error, match=message):
        guess(**arguments)


def test_an_answer_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="expected one of 'a', 'b', got 'c'"):
        guess("Which?", ["a", "b"]).reveal("c")
    with pytest.raises(TypeError, match=r"expected a number, got \[1, 2\]"):
        guess("How many?", low=0, high=3).reveal([1, 2])
