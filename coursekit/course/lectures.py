"""The map of the course, read from ``lectures.toml``: the README's table and notebook 00's are made from it."""

import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

BEGIN, END = "<!-- lectures: begin (made by `make readme`) -->", "<!-- lectures: end -->"


@dataclass(frozen=True)
class Lecture:
    """One notebook of the course; one that is still to come has no measured seconds."""

    name: str
    part: str
    title: str
    question: str
    seconds: dict[str, int] = field(default_factory=dict)  # by profile, on one CPU core

    @property
    def number(self) -> str:
        return self.name[:2]

    @property
    def runs_in(self) -> str:
        """The measured run times in words, or that the notebook is to come."""
        if not self.seconds:
            return "to come"
        return " · ".join(f"{profile} {_duration(seconds)}" for profile, seconds in self.seconds.items())


def lectures() -> list[Lecture]:
    """Every lecture, in order."""
    with Path(__file__).with_name("lectures.toml").open("rb") as file:
        return [Lecture(**entry) for entry in tomllib.load(file)["lecture"]]


def table(folder: str = "") -> str:
    """The map as a Markdown table; names link into ``folder``."""
    rows = ["| | lecture | the question | runs in |", "|---|---|---|---|"]
    for part, members in groupby(lectures(), key=lambda lecture: lecture.part):
        rows.append(f"| | **{part}** | | |")
        rows += _rows(members, folder)
    return "\n".join(rows)


def course_map() -> None:
    """Show the map in a notebook."""
    from IPython.display import Markdown, display

    display(Markdown(table()))


def _rows(members: Iterable[Lecture], folder: str) -> Iterator[str]:
    for it in members:
        title = f"[{it.title}]({folder}{it.name}.ipynb)" if it.seconds else it.title
        yield f"| {it.number} | {title} | {it.question} | {it.runs_in} |"


def _duration(seconds: int) -> str:
    return f"{seconds} s" if seconds < 100 else f"{round(seconds / 60)} min"


def update(readme: str) -> str:
    """The README with its table made anew."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n{table('notebooks/')}\n{END}{rest.split(END)[1]}"


def main(path: Path) -> None:
    """Make the table in the README at ``path`` anew."""
    path.write_text(update(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
