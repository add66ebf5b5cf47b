"""Two runs of the course are compared claim by claim."""

import copy
import json
import math
import re
from pathlib import Path

import pytest
import yaml

from coursekit.course.claims import at_least, at_most, between, within
from coursekit.notebooks import files
from coursekit.notebooks.run_record import FORMAT
from tools import drift

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def claim(statement="It holds", value=0.3, bound="≤ 0.5", verdict="holds", **beside):
    fields = {"number": 1, "statement": statement, "verdict": verdict, "value": value, "bound": bound}
    return fields | {"controls": {}, "passes": {}} | beside


def run(*claims, status="ok", torch="2.6.0", seed=0):
    setup = {"profile": "quick", "seed": seed, "versions": {"python": "3.12.1", "torch": torch}}
    return {"format": FORMAT, "notebooks": [{"name": "01_a", "status": status, "setup": setup, "claims": list(claims)}]}


@pytest.fixture
def compared(tmp_path, capsys):
    """The exit status of the tool for two runs, and what it prints, as JSON unless it is to be text."""

    def compare(old, new, text=False):
        for name, content in (("old", old), ("new", new)):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "run.json").write_text(json.dumps(content), encoding="utf-8")
        status = drift.main([str(tmp_path / "old"), str(tmp_path / "new" / "run.json"), *([] if text else ["--json"])])
        said = capsys.readouterr()
        return status, said.out + said.err if text else json.loads(said.out)

    return compare


@pytest.mark.parametrize(
    ("bound", "inside", "outside"),
    [
        (at_most(0.25), 0.2, 0.3),
        (at_least(-1e-6), 2e-6, -3e-6),
        (between(-0.54, 1.5), 0.5, -0.6),
        (within(1.792, 0.1), 1.75, 2.0),
    ],
)
def test_the_words_of_every_bound_are_understood(bound, inside, outside):
    assert drift.margin(bound.words, inside) > 0 > drift.margin(bound.words, outside)


def test_every_bound_of_the_course_is_understood():
    claims = drift.read(NOTEBOOKS).claims.values()
    bounds = [it["bound"] for it in claims if it["bound"]]
    assert len(bounds) > 80
    assert all(drift.margin(bound, 1.0) is not None for bound in bounds)


def test_the_committed_notebooks_have_not_moved_against_themselves(capsys):
    assert drift.main([str(NOTEBOOKS), str(NOTEBOOKS)]) == 0
    said = capsys.readouterr().out
    assert "Versions: the same" in said
    assert " 0 moved, 0 fail or are gone." in said
    assert len(files.find_notebooks()) == len({row.notebook for row in drift.compare(*[drift.read(NOTEBOOKS)] * 2)})


def test_claims_are_sorted_by_how_much_of_their_way_to_the_bound_they_used(compared):
    names = ("still", "half", "away", "over")
    old = run(*(claim(name) for name in names))
    values = {"still": 0.3, "half": 0.4, "away": 0.1, "over": 0.6}
    new = run(*(claim(name, values[name], verdict="fails" if name == "over" else "holds") for name in names))
    status, told = compared(old, new)
    assert status == 1
    assert [row["statement"] for row in told["claims"]] == ["over", "half", "still", "away"]
    assert [row["used"] for row in told["claims"]] == pytest.approx([1.5, 0.5, 0.0, -1.0])
    assert [row["moved"] for row in told["claims"]] == pytest.approx([0.3, 0.1, 0.0, 0.2])


def test_of_several_numbers_the_worst_counts_and_of_a_control_the_one_that_misses_best(compared):
    old = claim("lists", [0.1, 0.4], controls={"noise": [0.4, 0.9]}, passes={"twin": 0.3})
    near = {
        "value": claim("lists", [0.1, 0.45], controls={"noise": [0.1, 0.8]}, passes={"twin": 0.35}),  # ½, ¼ and ¼
        "noise": claim("lists", [0.3, 0.4], controls={"noise": [0.4, 0.6]}, passes={"twin": 0.3}),  # 0, ¾ and 0
        "twin": claim("lists", [0.1, 0.4], controls={"noise": [0.4, 0.9]}, passes={"twin": 0.48}),  # 0, 0 and 0.9
    }
    for name, used in {"value": 0.5, "noise": 0.75, "twin": 0.9}.items():
        status, told = compared(run(old), run(near[name]))
        [row] = told["claims"]
        assert (status, row["nearest"], row["used"]) == (0, name, pytest.approx(used))


def test_a_claim_or_a_notebook_that_is_gone_fails(compared):
    status, told = compared(run(claim("a"), claim("b")), run(claim("a"), claim("c")))
    assert status == 1
    assert [row["verdict"] for row in told["claims"]] == ["gone", "holds", "new"]
    assert compared(run(claim()), run(claim(), status="error"))[0] == 1
    nothing = run()
    nothing["notebooks"][0]["setup"] = {}
    nothing["notebooks"][0]["status"] = "kernel died"
    status, told = compared(run(claim()), nothing)
    assert (status, told["broken"], told["claims"][0]["verdict"]) == (1, {"01_a": "kernel died"}, "gone")


def test_values_without_numbers_and_nan_do_no_harm(compared):
    old = run(claim("text", "yes", None), claim("nan", 0.1), claim("none left", 0.5), claim("longer", [0.1]))
    new = copy.deepcopy(old)
    new["notebooks"][0]["claims"][1].update(value="nan", verdict="fails")
    new["notebooks"][0]["claims"][3].update(value=[0.1, 0.3])
    status, told = compared(old, new)
    rows = {row["statement"]: row for row in told["claims"]}
    assert status == 1
    assert (rows["text"]["used"], rows["text"]["moved"]) == (None, None)
    assert (rows["nan"]["used"], rows["nan"]["verdict"]) == (None, "fails")  # JSON knows no infinity
    assert rows["none left"]["used"] == 0.0
    assert (rows["longer"]["used"], rows["longer"]["moved"]) == (pytest.approx(0.5), None)
    assert drift.way(0.4, math.nan) == math.inf


def test_the_text_names_versions_and_what_fails(compared):
    status, text = compared(run(claim()), run(claim("It holds", 0.6, verdict="fails"), torch="3.0.0"), text=True)
    assert status == 1
    assert text.startswith("Versions: torch 2.6.0 → 3.0.0\n")
    assert "  150%  value " in text
    assert "FAILS: 01_a 1. It holds [≤ 0.5]" in text
    assert text.endswith("1 claims compared, 1 moved, 1 fail or are gone.\n")


def test_what_cannot_be_compared_is_told(compared, tmp_path, capsys):
    status, said = compared(run(claim()), run(claim(), seed=3), text=True)
    assert (status, said) == (2, "drift: 01_a ran with ('quick', 0) then and ('quick', 3) now: compare like.\n")
    status, said = compared(run(claim()), run(claim()) | {"format": 1}, text=True)
    assert (status, "run.json was written by another version" in said) == (2, True)
    (tmp_path / "empty").mkdir()
    assert drift.main([str(tmp_path / "empty"), str(tmp_path / "old")]) == 2
    assert "empty holds neither a run nor executed notebooks" in capsys.readouterr().err
    assert drift.main(["one"]) == 2
    assert "python -m tools.drift OLD NEW" in capsys.readouterr().out


def test_the_weekly_job_calls_only_commands_of_ours():
    job = yaml.safe_load((NOTEBOOKS.parent / ".github/workflows/drift.yml").read_text(encoding="utf-8"))
    assert [step["run"] for step in job["jobs"]["drift"]["steps"] if "run" in step] == ["make drift"]
    makefile = (NOTEBOOKS.parent / "Makefile").read_text(encoding="utf-8")
    [recipe] = re.findall(r"^drift:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert "PIP_CONSTRAINT= .drift-venv/bin/python -m pip install" in recipe  # no pins
    assert recipe.endswith("python -m tools.drift notebooks runs/drift\n")
