"""Claims say what was measured, and fail where it does not hold."""

import math

import nbformat
import numpy as np
import pytest
import torch
from nbclient import NotebookClient

from coursekit import course
from coursekit.course import ClaimFailed, at_least, at_most, between, check, claim, claims_table, session, within
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


# Controls and passes


def test_a_control_is_shown_beside_the_value_and_recorded(capsys):
    claim("It learns", at_least(0.9), value=0.97, source="section 1", controls={"untrained net": torch.tensor(0.2)})
    assert capsys.readouterr().out == "✓ claim 1 holds: It learns [≥ 0.9] (section 1); controls: untrained net\n"
    (made,) = session.current().claims
    assert made.controls["untrained net"] == pytest.approx(0.2)


def test_a_control_that_meets_the_bound_empties_the_claim(capsys):
    message = r"claim 1: It learns: the control 'edges' meets the bound as well, with 0\.95: the claim says nothing"
    with pytest.raises(ClaimFailed, match=message):
        claim("It learns", at_least(0.9), 0.97, "section 1", controls={"untrained net": 0.2, "edges": 0.95})
    assert "✗ claim 1 fails" in capsys.readouterr().out


def test_a_pass_must_meet_the_bound(capsys):
    claim("Guided fails", at_least(0.5), 0.8, "section 1", passes={"deconvnet": 0.6})
    assert "also pass: deconvnet" in capsys.readouterr().out
    with pytest.raises(ClaimFailed, match=r"'gradient' was to pass the same test: expected ≥ 0\.5, measured 0\.1"):
        claim("Guided fails", at_least(0.5), 0.8, "section 1", passes={"gradient": 0.1})


def test_of_several_numbers_one_that_misses_is_enough_for_a_control():
    claim("It learns", at_least(0.9), [0.95, 0.97], "section 1", controls={"untrained nets": [0.95, 0.2]})
    assert session.current().claims[0].controls == {"untrained nets": [0.95, 0.2]}


def test_everything_that_is_wrong_with_a_claim_is_said_at_once():
    with pytest.raises(ClaimFailed, match=r"measured 0\.1; the control 'noise'"):
        claim("It learns", at_least(0.9), 0.1, "section 1", controls={"noise": 0.95})


def test_at_smoke_the_controls_of_trained_models_are_not_judged(capsys):
    course.setup("smoke", device="cpu")
    claim("It learns", at_least(0.9), 0.1, "section 1", trained=True, controls={"noise": 0.95})
    assert "○ claim 1 not judged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("holds", "controls", "error", "message"),
    [
        (True, {"noise": 0.1}, TypeError, "controls: only a bound such as at_most.* can judge them"),
        (at_least(1), [0.1], TypeError, "controls: expected values by name"),
        (at_least(1), {" ": 0.1}, ValueError, "a name in controls: say what the value belongs to"),
        (at_least(1), {3: 0.1}, TypeError, "a name in controls: expected text, got int"),
        (at_least(1), {"noise": "0.1"}, TypeError, "a bound needs numbers, got str"),
        (at_least(1), {"noise": []}, ValueError, "needs at least one number"),
    ],
)
def test_controls_that_cannot_be_judged_are_refused(without_annotations, holds, controls, error, message):
    with pytest.raises(error, match=message):
        claim("So it is", holds, 2.0, "section 1", controls=controls)
    with pytest.raises(error, match=message.replace("controls", "passes")):
        claim("So it is", holds, 2.0, "section 1", passes=controls)


def test_a_control_that_could_not_be_computed_proves_nothing_and_a_nan_does_not_pass():
    for broken in (math.nan, [0.1, math.inf]):
        with pytest.raises(ValueError, match=r"controls: 'broken' is .*: a control that could not be computed"):
            claim("So it is", at_least(1), 2.0, "section 1", controls={"broken": broken})
    with pytest.raises(ClaimFailed, match="measured nan"):
        claim("So it is", at_least(1), 2.0, "section 1", passes={"broken": math.nan})


def test_a_truth_value_is_no_number():
    with pytest.raises(TypeError, match="a bound needs numbers, got bool False"):
        check("They agree", at_most(1e-6), torch.allclose(torch.ones(2), torch.zeros(2)))


def test_a_cell_that_runs_again_replaces_what_it_said(capsys):
    claim("First", at_least(1), 2, "a")
    with pytest.raises(ClaimFailed):
        claim("Second", at_least(1), 0, "b")
    claim("Second", at_least(1), 1, "b")
    claim("Third", at_least(1), 1, "c")
    check("same", True)
    check("same", True)
    assert [(it.number, it.verdict) for it in session.current().claims] == [(1, "holds"), (2, "holds"), (3, "holds")]
    assert len(session.current().checks) == 1


# Checks


def test_a_check_prints_one_line_and_counts_apart(capsys):
    check("two and two make four", within(4, 0), 2 + 2)
    check("so it is", True)
    assert capsys.readouterr().out == "✓ two and two make four [4 ± 0]\n✓ so it is\n"
    claims_table()
    assert capsys.readouterr().out == "2 of 2 checks hold.\n"
    assert session.current().claims == []


@pytest.mark.parametrize(
    ("holds", "value", "message"),
    [
        (at_most(1e-6), 0.5, r"check: They agree: expected ≤ 1e-06, measured 0\.5"),
        (False, None, "check: They agree: it is false"),
        (False, 3, "check: They agree: measured 3"),
    ],
)
def test_a_failing_check_fails_the_notebook_and_is_shown(capsys, holds, value, message):
    with pytest.raises(ClaimFailed, match=message):
        check("They agree", holds, value)
    assert "✗ They agree" in capsys.readouterr().out


def test_a_check_without_sentence_or_bound_is_refused(without_annotations):
    with pytest.raises(ValueError, match="a check needs a sentence"):
        check(" ", True)
    with pytest.raises(TypeError, match="expected a truth value or a bound"):
        check("They agree", 0.5)


def test_the_checks_of_a_cell_are_one_output_also_where_one_fails():
    cells = [
        "from coursekit.course import *\nsetup()",
        "check('first', True)\nprint('between')\ncheck('second', at_most(1), 0.5)",
        "check('third', True)\ncheck('fourth', False)",
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(it) for it in cells])
    NotebookClient(nb, kernel_name="python3", allow_errors=True).execute()
    printed, table = nb.cells[1].outputs
    assert printed.text == "between\n"
    assert [it["statement"] for it in table.metadata["coursekit"]["checks"]] == ["first", "second"]
    assert table.data["text/plain"] == "✓ first\n✓ second [≤ 1]"
    records = [output.metadata["coursekit"]["checks"] for output in nb.cells[2].outputs if "metadata" in output]
    assert [(it["number"], it["verdict"]) for it in records[0]] == [(3, "holds"), (4, "fails")]
    assert any(output.output_type == "error" for output in nb.cells[2].outputs)


def test_whether_a_model_was_trained_is_a_truth_value(without_annotations):
    course.setup("smoke", device="cpu")
    with pytest.raises(TypeError, match="trained: expected True or False, got str 'no'"):
        claim("It learns", at_least(0.9), 0.95, "section 1", trained="no", controls={"noise": 0.1})
