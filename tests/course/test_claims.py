"""Claims say what was measured, and fail where it does not hold."""

import math

import numpy as np
import pytest
import torch

from coursekit import course
from coursekit.course import ClaimFailed, at_least, at_most, between, claim, claims_table, session, within
from coursekit.course.records import Claim, plain


@pytest.fixture(autouse=True)
def quick(capsys):
    course.setup("quick", device="cpu")
    capsys.readouterr()


def test_a_claim_prints_one_line_without_its_measured_value(capsys):
    claim("Water is wet", at_least(0.5), value=0.987654, source="section 1")
    assert capsys.readouterr().out == "✓ claim 1 holds: Water is wet [≥ 0.5] (section 1)\n"


def test_a_failing_claim_says_what_was_expected_and_measured(capsys):
    with pytest.raises(ClaimFailed, match=r"claim 1: Water is dry: expected ≤ 0\.1, measured 0\.9877 \(E03\)"):
        claim("Water is dry", at_most(0.1), value=0.987654, source="E03")
    assert "✗ claim 1 fails: Water is dry" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("bound", "inside", "outside", "words"),
    [
        (at_most(1.5), 1.5, 1.6, "≤ 1.5"),
        (at_least(-1), -1, -1.1, "≥ -1"),
        (between(0, 1), 1.0, 1.1, "in [0, 1]"),
        (within(2.0, 0.1), 1.95, 1.85, "2 ± 0.1"),
    ],
)
def test_bounds_hold_up_to_their_limit_and_not_beyond(bound, inside, outside, words):
    assert bound(inside)
    assert not bound(outside)
    assert bound.words == words


def test_nan_meets_no_bound():
    assert not any(bound(math.nan) for bound in (at_most(1), at_least(1), between(0, 2), within(1, 1)))


def test_a_bound_on_an_array_holds_for_every_entry_and_refuses_none():
    assert at_most(1)(torch.tensor([0.1, 1.0]))
    assert not at_most(1)(np.array([0.1, 1.1]))
    assert at_most(1)(torch.eye(2))
    assert not at_most(1)([[0.0, 1.0], [2.0, 0.0]])
    with pytest.raises(ValueError, match="needs at least one number"):
        at_most(1)([])


def test_a_bound_on_text_is_refused():
    with pytest.raises(TypeError, match=r"a bound needs numbers, got str '0\.1'"):
        claim("So it is", at_most(1), value="0.1", source="section 1")


@pytest.mark.parametrize(
    ("bound", "limits", "error", "message"),
    [
        (at_most, ("1",), TypeError, "limit: expected a number, got str '1'"),
        (at_least, (math.nan,), ValueError, "limit: expected a finite number, got nan"),
        (between, (2, 1), ValueError, "expected low ≤ high, got 2 and 1"),
        (within, (0, -1), ValueError, "tolerance: expected a number ≥ 0, got -1"),
    ],
)
def test_a_bound_that_nothing_can_meet_is_refused(without_annotations, bound, limits, error, message):
    with pytest.raises(error, match=message):
        bound(*limits)


@pytest.mark.parametrize("holds", [True, torch.tensor(True), np.bool_(True)])
def test_a_truth_value_of_any_library_will_do(holds):
    claim("So it is", holds, value="yes", source="section 1")


@pytest.mark.parametrize("holds", [0.98, 1, "yes", None, torch.tensor([True, True])])
def test_what_is_neither_truth_value_nor_bound_is_refused(holds):
    with pytest.raises(TypeError, match=r"expected a truth value or a bound such as at_most\(0.1\)"):
        claim("So it is", holds, value=1, source="section 1")


def test_at_smoke_claims_about_trained_models_are_not_judged(capsys):
    course.setup("smoke", device="cpu")
    claim("The net is good", at_most(0.1), value=0.9, source="section 1", trained=True)
    assert "○ claim 1 not judged: The net is good" in capsys.readouterr().out
    with pytest.raises(ClaimFailed):
        claim("Two is one", at_most(1), value=2, source="section 1")


def test_set_up_starts_the_count_again_and_the_table_lists_every_claim(capsys):
    claim("First", True, value=1, source="a")
    course.setup("quick", device="cpu")
    claim("Only", True, value=[1, 2.5], source="b")
    capsys.readouterr()
    claims_table()
    assert capsys.readouterr().out == "✓ claim 1 holds: Only (b)\n"


def test_a_value_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match="expected a number, a text, or an array of numbers, got dict"):
        claim("So it is", True, value={}, source="section 1")


@pytest.mark.parametrize(
    ("statement", "source", "error", "message"),
    [
        (" ", "section 1", ValueError, "statement: a claim needs a sentence"),
        ("So it is", "", ValueError, "source: a claim needs a source"),
        (3, "section 1", TypeError, "statement: expected text, got int"),
        ("So it is", None, TypeError, "source: expected text, got NoneType"),
    ],
)
def test_a_claim_needs_a_sentence_and_a_source(without_annotations, statement, source, error, message):
    with pytest.raises(error, match=message):
        claim(statement, True, value=1, source=source)


def test_the_session_holds_the_claims_as_records():
    claim("First", at_most(1), value=0.5, source="a")
    assert session.current().claims == [Claim(1, "First", "holds", 0.5, "≤ 1", "a")]


def test_infinite_values_can_be_stored_as_json():
    assert plain(torch.tensor([1.0, math.inf])) == [1.0, "inf"]


def test_a_bound_on_infinite_values_compares_them():
    assert at_least(1)(math.inf)
    assert not at_most(1)(math.inf)
