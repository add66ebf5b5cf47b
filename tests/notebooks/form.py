"""The form that every lecture notebook keeps: each rule yields a sentence for each thing that breaks it."""

import re
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coursekit.course.display import FRAMES
from coursekit.notebooks import files
from coursekit.notebooks.files import tags
from coursekit.notebooks.links import bring_up_to_date, tagged
from coursekit.notebooks.normalize import is_folded, normalize
from coursekit.notebooks.problems import find_problems
from tools.lines import calls, first_figure, kinds, parsed, words

ROOT = Path(__file__).parents[2]
SHOWS_THE_MEANS = "00_start_here"  # it makes few claims, and explains exercises before it sets any
BEGINNING = ("opening", "colab", "imports", "parameters", "setup")  # the tags of the first cells
END = ("summary", "claims-table", "references", "links")  # and of the last ones
SLIDE_TYPES = {"slide", "subslide", "fragment", "skip", "notes", "-"}
CHECKED = "nbval-check-output"
LONGEST_CELL, MEDIAN_CELL = 25, 8
LARGEST_FILE, LARGEST_ANIMATION = 1_500_000, 400_000  # bytes
WORDS_TO_FIGURE = 150
MOST_FOLDED = 0.6  # of the lines of code: what is folded must not outweigh what is taught
WIDEST_LINE = 120  # characters, without the texts: these are never wrapped by hand
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
OPENING = {"a title": r"\A# \d+ · \S", "one question in bold": r"^\*\*[^*]+\?\*\*$"}
ABOUT = {
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
    for tag, patterns in (("opening", OPENING), ("about", ABOUT)):
        for what, pattern in patterns.items():
            if not re.search(pattern, source(nb, tag), re.MULTILINE):
                yield f"the cell tagged {tag} lacks {what}"
    if not re.search(r"^from coursekit\.course import .*\bsetup\b", source(nb, "imports"), re.MULTILINE):
        yield "the imports do not import setup"
    if files.parameters(nb)[:3] != ["PROFILE", "SEED", "DEVICE"] or 'PROFILE = "quick"' not in source(nb, "parameters"):
        yield 'the parameters do not begin with PROFILE = "quick", SEED, DEVICE'
    if "setup(PROFILE, SEED, DEVICE)" not in source(nb, "setup"):
        yield "the set-up does not call setup(PROFILE, SEED, DEVICE)"
    for cell in code(nb):  # the environment may choose another profile than the cell of parameters
        if re.search(r"\bPROFILE [=!]= ", cell.source):
            yield f"cell {cell.id} asks PROFILE; course.profile is the one that runs"


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
    if len(exercises := [cell for cell in code(nb) if re.match(r"(\w+ = )?exercise\(\w+\)", cell.source)]) < 3:
        yield f"{len(exercises)} exercises, expected at least 3"
    for cell in code(nb):
        begun, ended = cell.source.count("### BEGIN SOLUTION"), cell.source.count("### END SOLUTION")
        if begun != ended or ("exercise" in tags(cell)) != bool(begun):
            yield f"cell {cell.id}: solution markers and the tag `exercise` do not go together"


def ending(nb: Any, path: Path) -> Iterator[str]:
    for tag, phrase in {
        "summary": "What we saw",
        "claims-table": "claims_table()",
        "references": "**References.**",
        "links": "**Previous:**",
    }.items():
        if phrase not in source(nb, tag):
            yield f"the cell tagged {tag} lacks {phrase}"


def slides(nb: Any, path: Path) -> Iterator[str]:
    kinds = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in nb.cells]
    for cell, kind in zip(nb.cells, kinds, strict=True):
        if kind not in SLIDE_TYPES:
            yield f"cell {cell.id} has the slide type {kind!r}"
    count = kinds.count("slide") + kinds.count("subslide")
    if not 10 <= count <= 30:
        yield f"{count} slides, expected 10 to 30"
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
    for index, output in files.outputs(nb):
        data = output.get("data", {})
        if "image/png" in data and data.get("text/plain") != f"<figure: {files.alt(output.get('metadata', {}))}>":
            yield f"cell {nb.cells[index].id} shows a figure and prints another alternative text"


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
        kinds_made = {kind for output in cell.outputs for kind in output.get("metadata", {}).get("coursekit", {})}
        if kinds_made & {"claim", "checks"} and CHECKED not in tags(cell):
            yield f"cell {cell.id} makes a claim but is not tagged {CHECKED}"


def claims(nb: Any, path: Path) -> Iterator[str]:
    made = files.claims(nb)
    if not made:
        yield "no claim"
    for claim in made:
        if claim.verdict != "holds":
            yield f"claim {claim.number} {claim.verdict}"
    if [claim.number for claim in made] != list(range(1, len(made) + 1)):
        yield "the claims are not numbered from 1"
    for check in files.checks(nb):
        if check["verdict"] != "holds":
            yield f"check {check['number']} {check['verdict']}: {check['statement']}"


def errata(nb: Any, path: Path) -> Iterator[str]:
    """Every erratum has a box (as printed, corrected, why) and a claim or a check that computes the difference."""
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    boxed = set(re.findall(r"^> \*\*Erratum (E\d\d)\.\*\*", text, re.MULTILINE))
    said = [claim.source for claim in files.claims(nb)] + [check["statement"] for check in files.checks(nb)]
    computed = set(re.findall(r"\bE\d\d\b", " ".join(said)))
    for name in boxed ^ computed:
        yield f"erratum {name} has {'a box but no claim or check' if name in boxed else 'a claim or check but no box'}"
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


def picture_first(nb: Any, path: Path) -> Iterator[str]:
    """The best picture comes early, and the compact cell about the notebook comes right after it."""
    first = first_figure(nb)
    if (passed := words(nb.cells[:first])) > WORDS_TO_FIGURE:
        yield f"{passed} words before the first figure, expected at most {WORDS_TO_FIGURE}"
    after = [cell for cell in nb.cells[first or 0 :] if cell.cell_type == "markdown"]
    if not after or "about" not in tags(after[0]):
        yield "the first text after the first figure is not the cell tagged about"
    if len(tagged(nb, "about")) > 1:
        yield "more than one cell is tagged about"
    # Why anyone should care: the text below the title and the question.
    paragraphs = source(nb, "opening").split("\n\n")
    why = "\n\n".join(it for it in paragraphs if not re.match(r"# |\*\*[^*]+\?\*\*$", it))
    if not 2 <= (sentences := len(re.findall(r"[.?!][\")*]*(?=\s|$)", why))) <= 3:
        yield f"{sentences} sentences below the question, expected 2 or 3"


def headline_claims(nb: Any, path: Path) -> Iterator[str]:
    """Five to seven claims, each beside what misses its bound or what passes the same test."""
    made = files.claims(nb)
    least = 1 if path.stem == SHOWS_THE_MEANS else 5
    if not least <= len(made) <= 7:
        yield f"{len(made)} claims, expected {least} to 7"
    for claim in made:
        if claim.trained and not claim.controls:
            yield f"claim {claim.number} is about a trained model but has no control"
        elif not claim.controls and not claim.passes:
            yield f"claim {claim.number} has neither a control nor a pass"


def folding(nb: Any, path: Path) -> Iterator[str]:
    """Cells that draw or judge are folded, and most of a notebook is not."""
    for cell in code(nb):
        for name in ("claim", "check", "show", "explore", "animate"):
            if name in calls(parsed(cell)) and "hide-input" not in tags(cell):
                yield f"cell {cell.id} calls {name} but is not tagged hide-input"
    lines = {cell.id: kinds(cell).total() for cell in code(nb)}
    folded = sum(lines[cell.id] for cell in code(nb) if is_folded(cell)) / max(sum(lines.values()), 1)
    if folded > MOST_FOLDED:
        yield f"{folded:.0%} of the lines of code are folded, expected at most {MOST_FOLDED:.0%}"


def what_if(nb: Any, path: Path) -> Iterator[str]:
    """A figure with a control also moves where no kernel runs: its frames are stored beside it."""
    for cell in code(nb):
        stored = [output["data"][FRAMES] for output in cell.outputs if FRAMES in output.get("data", {})]
        if "explore" in calls(parsed(cell)) and not stored:
            yield f"cell {cell.id} calls explore but stores no frames"
        for it in stored:
            count = len(it["frames"])
            if not 2 <= count <= 12:
                yield f"cell {cell.id} stores {count} frames, expected 2 to 12"
        for output in cell.outputs:
            data, metadata = output.get("data", {}), output.get("metadata", {})
            moves = metadata.get("image/png", {}).get("animated")  # as `animate` says
            moving = data["image/png"] if moves else ""
            if (size := len(moving) * 3 // 4) > LARGEST_ANIMATION:  # base64 writes 3 bytes in 4 characters
                yield f"cell {cell.id} holds an animation of {size} bytes, expected at most {LARGEST_ANIMATION}"


def guesses(nb: Any, path: Path) -> Iterator[str]:
    """The reader commits to a guess at least once, and every guess is answered further down."""
    asked, answered = set[str](), set[str]()
    for cell in code(nb):
        answered |= asked & set(re.findall(r"\b(\w+)\.reveal\(", cell.source))
        asked |= set(re.findall(r"^(\w+) = guess\(", cell.source, re.MULTILINE))
    if not asked:
        yield "no guess"
    for name in sorted(asked - answered):
        yield f"no later cell answers the guess {name} by {name}.reveal(…)"


def exercises(nb: Any, path: Path) -> Iterator[str]:
    """Exercises stand where their algorithms appear, not all at the end, and a score closes them."""
    places = [i for i, cell in enumerate(nb.cells) if re.match(r"(\w+) = exercise\(\1\)", cell.source)]
    if len(places) < 3:
        yield f"{len(places)} exercises of the form `name = exercise(name)`, expected at least 3"
    if path.stem != SHOWS_THE_MEANS and places and places[0] >= len(nb.cells) / 2:
        yield f"the first exercise is cell {places[0]} of {len(nb.cells)}, expected in the first half"
    scores = [i for i, cell in enumerate(nb.cells) if "exercise.score()" in cell.source]
    if len(scores) != 1 or scores[0] < max(places, default=0):
        yield "no single `exercise.score()` after the last exercise"


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
    picture_first,
    headline_claims,
    folding,
    what_if,
    guesses,
    exercises,
)
