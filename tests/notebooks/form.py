"""The form that every lecture notebook keeps: each rule yields a sentence for each thing that breaks it."""

import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coursekit.course.records import Claim
from coursekit.notebooks import files
from coursekit.notebooks.links import bring_up_to_date, tagged
from coursekit.notebooks.normalize import normalize
from coursekit.notebooks.problems import find_problems

ROOT = Path(__file__).parents[2]
BEGINNING = ("opening", "colab", "imports", "parameters", "setup")  # the tags of the first cells
END = ("summary", "claims-table", "references", "links")  # and of the last ones
SLIDE_TYPES = {"slide", "subslide", "fragment", "skip", "notes", "-"}
CHECKED = "nbval-check-output"
LONGEST_CELL, MEDIAN_CELL, LARGEST_FILE = 25, 8, 700_000
WIDEST_LINE = 120  # characters, without the texts: these are never wrapped by hand
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
OPENING = {
    "a title": r"\A# \d+ · \S",
    "one question in bold": r"^\*\*[^*]+\?\*\*$",
    "what you can do afterwards": r"^After this notebook you can$",
    "objectives": r"^- \w",
    "what you need": r"\*\*You need\*\*",
    "reading time": r"\*\*Reading\*\* takes about \d+ minutes",
    "run time": r"\*\*Running\*\*, on one CPU core: .*\d+ s",
    "the data": r"\*\*Data\*\*",
}


def problems(path: Path) -> list[str]:
    """Everything about the notebook that breaks a rule of this module."""
    nb = files.read(path)
    return [f"{path.name}: {found}" for rule in RULES for found in rule(nb, path)]


def code(nb: Any) -> list[Any]:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def tags(cell: Any) -> list[str]:
    return cell.metadata.get("tags", [])


def claims_of(nb: Any) -> list[Claim]:
    return [Claim(**record) for record in files.records(nb, "claim")]


def source(nb: Any, tag: str) -> str:
    """The source of the cell with a tag; empty if there is none, which `frame` reports."""
    return "\n".join(cell.source for cell in tagged(nb, tag))


def frame(nb: Any, path: Path) -> Iterator[str]:
    """The cells with which every notebook begins and ends have tags, by which the other rules find them."""
    first, last = nb.cells[: len(BEGINNING)], nb.cells[-len(END) :]
    for wanted, cells, place in ((BEGINNING, first, "begin"), (END, last, "end")):
        if not all(tag in tags(cell) for tag, cell in zip(wanted, cells, strict=True)):
            yield f"it does not {place} with cells tagged {', '.join(wanted)}"
    for tag in BEGINNING + END:
        if len(tagged(nb, tag)) > 1:
            yield f"more than one cell is tagged {tag}"


def opening(nb: Any, path: Path) -> Iterator[str]:
    for what, pattern in OPENING.items():
        if not re.search(pattern, source(nb, "opening"), re.MULTILINE):
            yield f"the opening lacks {what}"
    if not re.search(r"^from coursekit\.course import .*\bsetup\b", source(nb, "imports"), re.MULTILINE):
        yield "the imports do not import setup"
    if files.parameters(nb)[:3] != ["PROFILE", "SEED", "DEVICE"] or 'PROFILE = "quick"' not in source(nb, "parameters"):
        yield 'the parameters do not begin with PROFILE = "quick", SEED, DEVICE'
    if "setup(PROFILE, SEED, DEVICE)" not in source(nb, "setup"):
        yield "the set-up does not call setup(PROFILE, SEED, DEVICE)"


def generated(nb: Any, path: Path) -> Iterator[str]:
    """Colab's cell, the run times, and the links to the lectures before and after are those that a program writes."""
    for cell, fresh in zip(nb.cells, bring_up_to_date(nb, path.stem, ROOT).cells, strict=True):
        if cell.source != fresh.source:
            yield f"cell {cell.id} is not what `coursekit run --update` writes:\n{fresh.source}"


def body(nb: Any, path: Path) -> Iterator[str]:
    headings = re.findall(r"^## (.*)$", "\n".join(it.source for it in nb.cells), re.MULTILINE)
    for number, heading in enumerate(headings, start=1):
        if not heading.startswith(f"{number} · "):
            yield f"section {number} is called {heading!r}, not '{number} · …'"
    if not any("explore(" in cell.source for cell in code(nb)):
        yield "no figure with a control (explore)"
    if len(exercises := [cell for cell in code(nb) if re.match(r"exercise\(\w+\)", cell.source)]) < 3:
        yield f"{len(exercises)} exercises, expected at least 3"
    for cell in code(nb):
        begun, ended = cell.source.count("### BEGIN SOLUTION"), cell.source.count("### END SOLUTION")
        if begun != ended or ("exercise" in tags(cell)) != bool(begun):
            yield f"cell {cell.id}: solution markers and the tag `exercise` do not go together"


def ending(nb: Any, path: Path) -> Iterator[str]:
    for tag, words in {
        "summary": "What we saw",
        "claims-table": "claims_table()",
        "references": "**References.**",
        "links": "**Previous:**",
    }.items():
        if words not in source(nb, tag):
            yield f"the cell tagged {tag} lacks {words}"


def slides(nb: Any, path: Path) -> Iterator[str]:
    kinds = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in nb.cells]
    for cell, kind in zip(nb.cells, kinds, strict=True):
        if kind not in SLIDE_TYPES:
            yield f"cell {cell.id} has the slide type {kind!r}"
    count = kinds.count("slide") + kinds.count("subslide")
    if not 15 <= count <= 30:
        yield f"{count} slides, expected 15 to 30"
    for cell in tagged(nb, "colab") + tagged(nb, "links"):
        if cell.metadata.get("slideshow", {}).get("slide_type") != "skip":
            yield f"cell {cell.id} is on a slide"


def cell_lengths(nb: Any, path: Path) -> Iterator[str]:
    lines = {cell.id: len(cell.source.splitlines()) for cell in code(nb)}
    for name, length in lines.items():
        if length > LONGEST_CELL:
            yield f"cell {name} has {length} lines, expected at most {LONGEST_CELL}"
    if (median := statistics.median(lines.values())) > MEDIAN_CELL:
        yield f"the median code cell has {median} lines, expected at most {MEDIAN_CELL}"


def line_lengths(nb: Any, path: Path) -> Iterator[str]:
    for cell in code(nb):
        for line in TEXT.sub('""', cell.source).splitlines():
            if len(line) > WIDEST_LINE:
                yield f"cell {cell.id} has a line of {len(line)} characters without its texts: {line}"


def figures(nb: Any, path: Path) -> Iterator[str]:
    shown = files.figures(nb)
    if not shown:
        yield "no figure"
    for number, (_, alt) in enumerate(shown, start=1):
        if len(alt.split()) < 4:
            yield f"figure {number} has no alternative text that says what it shows"


def execution(nb: Any, path: Path) -> Iterator[str]:
    counts = [cell.execution_count for cell in code(nb)]
    if counts != list(range(1, len(counts) + 1)):
        yield "not executed from top to bottom"
    for cell in code(nb):
        if any(output.get("name") == "stderr" for output in cell.outputs):
            yield f"cell {cell.id} shows stderr to the reader"
    for problem in find_problems(nb):
        yield f"an error in a {problem.where}: {problem.name}: {problem.message}"


def comparison(nb: Any, path: Path) -> Iterator[str]:
    """nbval passes a cell without output in silence, so a checked cell must have some."""
    for cell in code(nb):
        if CHECKED in tags(cell) and not cell.outputs:
            yield f"cell {cell.id} is compared but holds no output"
        if CHECKED in tags(cell) and not all("coursekit" in output.get("metadata", {}) for output in cell.outputs):
            yield f"cell {cell.id} is compared but shows more than claims and exercises, which are the same everywhere"
        makes_claim = any(
            "claim" in output.metadata.get("coursekit", {}) for output in cell.outputs if "metadata" in output
        )
        if makes_claim and CHECKED not in tags(cell):
            yield f"cell {cell.id} makes a claim but is not tagged {CHECKED}"


def claims(nb: Any, path: Path) -> Iterator[str]:
    made = claims_of(nb)
    if not made:
        yield "no claim"
    for claim in made:
        if claim.verdict != "holds":
            yield f"claim {claim.number} {claim.verdict}"
    if [claim.number for claim in made] != list(range(1, len(made) + 1)):
        yield "the claims are not numbered from 1"


def errata(nb: Any, path: Path) -> Iterator[str]:
    """Every erratum has a box (as printed, corrected, why) and a claim that computes the difference."""
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    boxed = set(re.findall(r"^> \*\*Erratum (E\d\d)\.\*\*", text, re.MULTILINE))
    claimed = set(re.findall(r"E\d\d", " ".join(claim.source for claim in claims_of(nb))))
    for name in boxed ^ claimed:
        yield f"erratum {name} has {'a box but no claim' if name in boxed else 'a claim but no box'}"
    for word in ("*As printed:*", "*Corrected:*", "*Why:*"):
        if text.count(word) != len(boxed):
            yield f"{len(boxed)} erratum boxes, but {text.count(word)} times {word}"


def tidy(nb: Any, path: Path) -> Iterator[str]:
    if normalize(nb) != nb:
        yield "not normalized: run `coursekit run --update`"
    if (size := path.stat().st_size) > LARGEST_FILE:
        yield f"{size} bytes, expected at most {LARGEST_FILE}"


def links(nb: Any, path: Path) -> Iterator[str]:
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#\s]+)", cell.source):
                if not re.match(r"https?://", target) and not (path.parent / target).exists():
                    yield f"cell {cell.id} links to {target}, which does not exist"


RULES = (
    frame,
    opening,
    generated,
    body,
    ending,
    slides,
    cell_lengths,
    line_lengths,
    figures,
    execution,
    comparison,
    claims,
    errata,
    tidy,
    links,
)
