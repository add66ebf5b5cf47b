"""What runs measured is kept, each thing once."""

import json

import pytest

from coursekit.errors import CourseError
from tools import results


def run(folder, *entries, started="2026-01-02 03:04:05+00:00"):
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"started": started, "notebooks": entries}))
    return folder


def entry(name="05_rnn", status="ok", value=1.5, **setup):
    setup = {"profile": "full", "seed": 0, "device": "cpu", "threads": 1, "versions": {}} | setup
    claims = [{"number": 1, "statement": "It learns", "value": value}]
    return {
        "name": name,
        "status": status,
        "cpu_seconds": 12.3,
        "peak_bytes": 10**9,
        "setup": setup,
        "claims": claims,
        "checks": [],
    }


def test_a_measurement_says_what_was_measured_when_and_where(tmp_path):
    (found,) = results.measured(run(tmp_path / "run", entry(seed=3)))
    assert [found[name] for name in (*results.KNOWN_BY, "date", "cpu_seconds", "peak_megabytes")] == [
        "05_rnn", "full", 3, "cpu", "2026-01-02", 12, 1000,
    ]  # fmt: skip
    assert found["claims"][0]["value"] == 1.5


def test_notebooks_that_did_not_end_measured_nothing_and_failed_claims_did(tmp_path):
    ended = [entry("a", "error"), entry("b", "interrupted"), entry("c", "claim failed"), entry("d", "timeout")]
    assert [found["lecture"] for found in results.measured(run(tmp_path / "run", *ended))] == ["c"]


def test_a_newer_measurement_of_the_same_thing_takes_the_place_of_the_old_one(tmp_path):
    old = results.measured(run(tmp_path / "old", entry(value=1.0), entry(seed=1, value=2.0)))
    new = results.measured(run(tmp_path / "new", entry(value=3.0), entry("02_neighbours", value=4.0)))
    assert [it["claims"][0]["value"] for it in results.merge(old, new)] == [4.0, 3.0, 2.0]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"started": "2026"}', '{"started": "2026", "notebooks": [{"status": "ok"}]}']
)
def test_a_folder_without_a_run_is_named(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(CourseError, match="holds no run"):
        results.measured(tmp_path)


def test_the_kept_file_names_lectures_that_exist_and_claims_that_hold():
    from coursekit.course.lectures import lectures

    names = {it.name for it in lectures()}
    for kept in results.load():
        assert kept["lecture"] in names
        assert {claim["verdict"] for claim in kept["claims"]} <= {"holds"}
