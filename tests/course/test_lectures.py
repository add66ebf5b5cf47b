"""The map of the course is what the folders hold."""

from dataclasses import replace
from pathlib import Path

import pytest

from coursekit.course import lectures

ROOT = Path(__file__).parents[2]


def test_the_lectures_are_numbered_in_their_order():
    course = lectures.lectures()
    assert [it.number for it in course] == [f"{n:02}" for n in range(len(course))]
    assert len(course) >= 19


def test_measured_lectures_are_the_notebooks_that_exist():
    here = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert [it.name for it in lectures.lectures() if it.seconds] == here


@pytest.mark.parametrize("lecture", [it for it in lectures.lectures() if it.seconds], ids=lambda it: it.name)
def test_the_notebook_tells_the_run_times_of_the_map(lecture):
    text = (ROOT / "notebooks" / f"{lecture.name}.ipynb").read_text(encoding="utf-8")
    assert lecture.runs_in.replace(" · ", ", ") in text.replace("`", "")


def test_what_is_to_come_has_no_link(monkeypatch):
    *written, last = lectures.lectures()
    monkeypatch.setattr(lectures, "lectures", lambda: [*written, replace(last, seconds={})])
    table = lectures.table("notebooks/")
    assert "[Start here](notebooks/00_start_here.ipynb)" in table
    assert f"| {last.number} | {last.title} | {last.question}" in table


def test_a_notebook_shows_the_map(capsys):
    lectures.course_map()
    assert "Markdown" in capsys.readouterr().out  # plain Python shows an object's name
