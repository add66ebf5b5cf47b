"""The map of the course, read from ``lectures.toml``.

The README's table, the one in notebook 00, and the run times and links of every notebook are made from it.
"""

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path


@dataclass(frozen=True)
class Lecture:
    """One notebook of the course. A notebook that is still to come has no measured seconds."""

    name: str
    part: str
    title: str
    question: str
    figure: int = 1  # the one that stands for the lecture, as numbered in its captions
    seconds: dict[str, int] = field(default_factory=dict)  # by profile, on one CPU core

    @property
    def number(self) -> str:
        """Two digits: ``"09"``."""
        return self.name[:2]

    @property
    def runs_in(self) -> str:
        """The measured run times in words, or that the notebook is to come."""
        if not self.seconds:
            return "to come"
        return " · ".join(f"{profile} {duration(seconds)}" for profile, seconds in self.seconds.items())


def lectures() -> list[Lecture]:
    """Every lecture, in order."""
    with Path(__file__).with_name("lectures.toml").open("rb") as file:
        parts = tomllib.load(file)["part"]
    return [Lecture(part=part["title"], **entry) for part in parts for entry in part["lectures"]]


Column = Callable[[Lecture], str]  # the cell of a lecture; lectures to come get an empty one


def table(folder: str = "", more: Mapping[str, Column] | None = None) -> str:
    """The map as a Markdown table.

    Args:
        folder: where the titles link to, with a slash at its end; empty for the folder of the table itself.
        more: further columns by their heads.
    """
    more = more or {}
    heads = ["", "lecture", "the question", "runs in", *more]
    rows = [_row(heads), _row(["---"] * len(heads))]
    for part, members in groupby(lectures(), key=lambda lecture: lecture.part):
        rows.append(_row(["", f"**{part}**"] + [""] * (len(heads) - 2)))
        rows += _rows(members, folder, more.values())
    return "\n".join(rows)


def course_map() -> None:
    """Show the map in a notebook."""
    from IPython.display import Markdown, display

    display(Markdown(table()))


def _rows(members: Iterable[Lecture], folder: str, more: Iterable[Column]) -> Iterator[str]:
    for it in members:
        title = f"[{it.title}]({folder}{it.name}.ipynb)" if it.seconds else it.title
        yield _row([it.number, title, it.question, it.runs_in, *(column(it) if it.seconds else "" for column in more)])


def _row(cells: Iterable[str]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


def duration(seconds: int) -> str:
    """A rounded run time in words."""
    return f"{seconds} s" if seconds < 100 else f"{round(seconds / 60)} min"
