"""The pages that are made from the notebooks' records: start, claims, errata, results, works."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from coursekit.course.claims import SIGNS
from coursekit.course.lectures import Lecture, duration
from coursekit.errors import CourseError
from coursekit.notebooks import files, report
from coursekit.notebooks.site.lectures import ERRATUM, anchor

ID = re.compile(r"\bE\d{2}\b")
# Where the list of works begins, and what stands between two of them
THE_LECTURE = re.compile(r"\A\*\*References\.\*\* The lecture: .*?\(Seoul National University, 2018\)[^.]*\. ")
BETWEEN = re.compile(r" · |(?<=[a-z\d])\. (?=[A-Z]\. )")
INITIALS = re.compile(r"^(?:[A-Z]\.[ -]?)+")
VENUE_ALONE = re.compile(r"\), (?:\*[A-Z]{3,}[^*]*\*(?: \d+)?|[A-Z]{3,})(?: \(|$)")
NOTATION = re.compile(r"## (?:\d+ · )?Notation\n+")


@dataclass(frozen=True)
class Source:
    """A lecture with its committed, executed notebook."""

    lecture: Lecture
    nb: files.Notebook

    @property
    def title(self) -> str:
        return f"{self.lecture.number} · {self.lecture.title}"

    @property
    def page(self) -> str:
        return f"{self.lecture.name}.html"

    @property
    def setup(self) -> dict[str, Any]:
        """Profile, seed, device and versions with which the notebook was executed."""
        return next(iter(files.records(self.nb, "setup")), {})

    @property
    def picture(self) -> str:
        """The figure that stands for the lecture, small, as a data URI."""
        return report.thumbnail(files.figures(self.nb)[self.lecture.figure - 1][0])


def environment() -> Environment:
    """The templates of the pages."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {"about": duration, "value": _value, "duration": report.duration}
    made.globals |= {"signs": SIGNS}
    return made


def _value(value: Any) -> str:
    return report.value(value).replace("-", "−")


def parts_of(sources: Iterable[Source]) -> list[tuple[str, list[Source]]]:
    """The lectures by the parts of the course."""
    return [(part, list(members)) for part, members in groupby(sources, key=lambda it: it.lecture.part)]


# Errata


def errata(sources: Iterable[Source]) -> dict[str, list[dict[str, Any]]]:
    """Every erratum that the notebooks name, in order, with the places that correct or compute it.

    Each place is a lecture with the Markdown of its box, or of the sentence that names the erratum, and with the
    claims and checks that name it in their statement or source.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for source in sources:
        boxes, sentences = dict(_boxes(source)), dict(_sentences(source))
        claims = [it for it in files.claims(source.nb) if ID.search(it.statement + it.source)]
        checks = [it for it in files.checks(source.nb) if ID.search(it["statement"])]
        named = {*boxes, *sentences}
        named |= {name for it in claims for name in ID.findall(it.statement + it.source)}
        named |= {name for it in checks for name in ID.findall(it["statement"])}
        for name in sorted(named):
            place = {
                "source": source,
                "box": boxes.get(name, ""),
                "sentence": "" if name in boxes else sentences.get(name, ""),
                "address": f"{source.page}#{anchor(source.lecture.name, name)}" if name in boxes else source.page,
                "claims": [it for it in claims if name in ID.findall(it.statement + it.source)],
                "checks": [it for it in checks if name in ID.findall(it["statement"])],
            }
            found.setdefault(name, []).append(place)
    return dict(sorted(found.items()))


def _boxes(source: Source) -> Iterator[tuple[str, str]]:
    """The errata in boxes, and what the boxes say."""
    for cell in source.nb.cells:
        if cell.cell_type == "markdown":
            starts = list(ERRATUM.finditer(cell.source))
            places = [*(it.start() for it in starts), len(cell.source)]  # one quote may hold several boxes
            for start, end in zip(starts, places[1:], strict=True):
                quoted = re.match(r"(?:^>.*(?:\n|\Z))+", cell.source[start.start() : end], re.MULTILINE)
                lines = [line.removeprefix(">").strip() for line in quoted[0].splitlines()] if quoted else []
                yield start[2], "\n".join(lines).removeprefix(start[1].removeprefix("> ")).strip()


def _sentences(source: Source) -> Iterator[tuple[str, str]]:
    """The errata that a text names outside a box: ``E46: …`` up to the next one, or the sentence around ``(E11)``."""
    texts = [cell.source for cell in source.nb.cells if cell.cell_type == "markdown"]
    for paragraph in (" ".join(it.split()) for text in texts for it in text.split("\n\n")):
        for name in ID.findall(paragraph):
            if listed := re.search(rf"\b{name}: (.*?)(?= E\d\d: |$)", paragraph):
                yield name, listed[1]
            elif inside := [it for it in re.split(r"(?<=[.?!]) (?=[A-Z*])", paragraph) if f"({name})" in it]:
                yield name, inside[0].lstrip("> ")


# Works


def works(sources: Iterable[Source]) -> list[tuple[str, list[Source]]]:
    """The works in the notebooks' references, each once in its fullest form, by name and year, with their lectures."""
    found: dict[tuple[str, str], list[tuple[str, Source]]] = {}
    for source in sources:
        for work in _references(source):
            found.setdefault(_key(work), []).append((work, source))
    made = []
    for cited in found.values():
        for group in _of_one_work(cited):
            fullest = max((work for work, _ in group), key=len)
            made.append((fullest, [source for _, source in group]))
    return sorted(made, key=lambda it: (*_key(it[0]), it[0]))


def _references(source: Source) -> Iterator[str]:
    """The works that a notebook names in the cell tagged ``references``."""
    for cell in source.nb.cells:
        if "references" in files.tags(cell):
            for work in BETWEEN.split(THE_LECTURE.sub("", cell.source)):
                yield work.strip().rstrip(".").removeprefix("The digits: ")


def _key(work: str) -> tuple[str, str]:
    """Surname of the first author, without accents that would sort it last, and year."""
    authors, _, rest = work.partition(" (")
    if not re.match(r"\d{4}", rest):
        raise CourseError(f"the reference {work!r} has no year in parentheses after its authors.")
    first = re.split(r", | et al", authors)[0]
    return INITIALS.sub("", first), rest[:4]


def _title(work: str) -> str:
    """The title in lower case; empty where only the venue is named."""
    found = None if VENUE_ALONE.search(work) else re.search(r'\*(.+?)\*|"(.+?)"', work)
    return (found[1] or found[2]).lower().strip('"') if found else ""


def _of_one_work(cited: list[tuple[str, Source]]) -> list[list[tuple[str, Source]]]:
    """Groups of citations of one work: of titles of which one begins the other, or of one venue by the same authors."""
    groups: list[list[tuple[str, Source]]] = []
    for work, source in sorted(cited, key=lambda it: -len(_title(it[0]))):
        for group in groups:
            fullest = group[0][0]
            if _title(fullest).startswith(_title(work)) or _outside_title(fullest) == _outside_title(work):
                group.append((work, source))
                break
        else:
            groups.append([(work, source)])
    return [sorted(group, key=lambda it: it[1].lecture.name) for group in groups]


def _outside_title(work: str) -> str:
    """Authors, year and venue."""
    return re.sub(r"\*.+?\*", "", work)


# Notation


def notation(sources: Iterable[Source]) -> str:
    """The section of the notebooks that explains the symbols, without its heading."""
    texts = [cell.source for source in sources for cell in source.nb.cells if cell.cell_type == "markdown"]
    return next((NOTATION.sub("", text) for text in texts if NOTATION.match(text)), "")


# Results


def results(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The newest run of each lecture at each profile, from the file of measured runs; empty if there is no file.

    Raises:
        CourseError: The file is not of the form that ``tools/results.py`` writes.
    """
    if not path.is_file():
        return {}
    newest: dict[str, dict[str, dict[str, Any]]] = {}
    try:
        for run in sorted(json.loads(path.read_text(encoding="utf-8"))["runs"], key=lambda it: it["date"]):
            newest.setdefault(run["lecture"], {})[run["profile"]] = run
    except (ValueError, KeyError, TypeError) as error:
        raise CourseError(f"{path} is not a file of results: {type(error).__name__}: {error}.") from error
    return newest
