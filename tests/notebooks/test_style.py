"""Every lecture notebook keeps the form of the course, and the rules catch what breaks it."""

import copy
import re
from dataclasses import asdict

import form
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from coursekit.course.records import Check, Claim
from coursekit.notebooks import files
from coursekit.notebooks.links import bring_up_to_date
from coursekit.notebooks.normalize import normalize

NOTEBOOKS = files.find_notebooks()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_keeps_the_form(path):
    assert form.problems(path) == []


@pytest.fixture(scope="module")
def good():
    return files.read(files.find_notebooks(["09"])[0])


def first(nb, condition):
    return next(cell for cell in nb.cells if condition(cell))


def cell_tagged(nb, tag):
    return first(nb, lambda cell: tag in form.tags(cell))


def with_figure(cell):
    return any("image/png" in output.get("data", {}) for output in cell.get("outputs", ()))


def drop_alt(nb):
    for output in first(nb, with_figure).outputs:
        if "image/png" in output.get("data", {}):
            output.metadata["image/png"].alt = ""


def change_alt(nb):
    for output in first(nb, with_figure).outputs:
        if "image/png" in output.get("data", {}):
            output.metadata["image/png"].alt += " And more."


def drop_parameters_tag(nb):
    cell_tagged(nb, "parameters").metadata.tags = []


def tag_twice(nb):
    nb.cells[6].metadata.tags = ["setup"]


def move_references(nb):
    nb.cells.insert(-4, nb.cells.pop(-2))


def rename_profile(nb):
    cell = cell_tagged(nb, "parameters")
    cell.source = cell.source.replace('PROFILE = "quick"', 'PROFILE = "full"')


def drop_question(nb):
    cell = cell_tagged(nb, "opening")
    cell.source = cell.source.replace("?**", ".**")


def drop_set_up(nb):
    cell_tagged(nb, "setup").source = "course = 1"


def drop_import(nb):
    cell_tagged(nb, "imports").source = "import torch"


def drop_slide_type(nb):
    del nb.cells[6].metadata["slideshow"]


def lengthen(nb):
    cell_tagged(nb, "imports").source += "\n" * 30 + "x = 1"


def widen(nb):
    cell_tagged(nb, "setup").source += "\nx = " + " + ".join(["1"] * 40)


def swap_counts(nb):
    cell_tagged(nb, "imports").execution_count = 1


def clear_a_checked_cell(nb):
    first(nb, lambda cell: form.CHECKED in form.tags(cell)).outputs = []


def print_in_a_checked_cell(nb):
    cell = first(nb, lambda cell: form.CHECKED in form.tags(cell))
    cell.outputs.append(new_output("stream", name="stdout", text="0.123"))


def drop_check_tag(nb):
    first(nb, lambda cell: "claim(" in cell.source and form.CHECKED in form.tags(cell)).metadata.tags = []


def fail_a_claim(nb):
    cell = first(
        nb,
        lambda cell: any("claim" in o.get("metadata", {}).get("coursekit", {}) for o in cell.get("outputs", ())),
    )
    cell.outputs[-1].metadata.coursekit.claim.verdict = "fails"


def leave_stderr(nb):
    cell_tagged(nb, "imports").outputs.append(new_output("stream", name="stderr", text="careful"))


def leave_error(nb):
    cell_tagged(nb, "imports").outputs.append(new_output("error", ename="KeyError", evalue="'x'", traceback=[]))


def leave_papermill(nb):
    nb.metadata["papermill"] = {"duration": 3}


def break_link(nb):
    cell_tagged(nb, "references").source += " [gone](99_gone.ipynb)"


def unbalance(nb):
    cell = first(nb, lambda cell: "### END SOLUTION" in cell.source)
    cell.source = cell.source.replace("### END SOLUTION", "")


def drop_box(nb):
    cell = first(nb, lambda cell: "**Erratum E22.**" in cell.source)
    cell.source = cell.source.replace("**Erratum E22.**", "E22")


def drop_ending(nb):
    cell_tagged(nb, "references").source = "The end."


def lead_elsewhere(nb):
    cell = cell_tagged(nb, "links")
    cell.source = cell.source.replace("08 · Density", "07 · Density")


def forget_colab(nb):
    cell = cell_tagged(nb, "colab")
    cell.source = cell.source.replace("%pip", "# %pip")


def show_colab(nb):
    cell_tagged(nb, "colab").metadata.slideshow.slide_type = "-"


def renumber_section(nb):
    cell = first(nb, lambda cell: "## 3 · " in cell.source)
    cell.source = cell.source.replace("## 3 · ", "## 4 · ")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (drop_alt, "has no alternative text"),
        (change_alt, "shows a figure and prints another alternative text"),
        (drop_parameters_tag, "does not begin with cells tagged opening, colab, imports, parameters, setup"),
        (tag_twice, "more than one cell is tagged setup"),
        (move_references, "does not end with cells tagged summary, claims-table, references, links"),
        (rename_profile, 'do not begin with PROFILE = "quick"'),
        (drop_question, "lacks one question in bold"),
        (drop_set_up, "does not call setup"),
        (drop_import, "the imports do not import setup"),
        (drop_slide_type, "has the slide type None"),
        (lengthen, "lines, expected at most 25"),
        (widen, "has a line of 161 characters without its texts: x = 1 + 1"),
        (swap_counts, "not executed from top to bottom"),
        (clear_a_checked_cell, "is compared but holds no output"),
        (print_in_a_checked_cell, "shows more than claims and exercises"),
        (drop_check_tag, "makes a claim but is not tagged"),
        (fail_a_claim, "claim 1 fails"),
        (leave_stderr, "shows stderr to the reader"),
        (leave_error, "an error in a cell: KeyError"),
        (leave_papermill, "not normalized"),
        (break_link, "links to 99_gone.ipynb, which does not exist"),
        (unbalance, "solution markers"),
        (drop_box, "erratum E22 has a claim or check but no box"),
        (drop_ending, "lacks **References.**"),
        (lead_elsewhere, "is not what `coursekit run --update` writes:\n**Previous:** [08 · Density and dimension]"),
        (forget_colab, "cell colab is not what `coursekit run --update` writes:\nimport sys"),
        (show_colab, "cell colab is on a slide"),
        (renumber_section, "section 3 is called"),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_a_notebook_that_breaks_a_rule_is_caught(good, spoil, complaint, tmp_path):
    nb = copy.deepcopy(good)
    spoil(nb)
    path = tmp_path / "09_autoencoders.ipynb"
    path.write_text(nbformat.writes(nb), encoding="utf-8")
    (tmp_path / "00_start_here.ipynb").touch()
    found = [found for rule in form.RULES for found in rule(nb, path)]
    assert any(complaint in it for it in found), found


NAME = "03_decisions"  # a notebook in the middle of the course
PIXELS = {"image/png": "iVBORw0KGgo="}
FRAMES = {"controls": [{"name": "n", "labels": ["1", "5"], "at": 0}], "mime": "image/png", "frames": ["AA==", "AA=="]}


def md(source, *tags, kind="-"):
    return new_markdown_cell(source, metadata={"tags": list(tags), "slideshow": {"slide_type": kind}})


def cell(source, *tags, outputs=(), kind="-"):
    metadata = {"tags": list(tags), "slideshow": {"slide_type": kind}}
    return new_code_cell(source, metadata=metadata, outputs=list(outputs))


def record(kind, content):
    return new_output("display_data", data={"text/plain": kind}, metadata={"coursekit": {kind: content}})


def picture(**more):
    alt = "A curve that rises steeply"
    data = PIXELS | {"text/plain": f"<figure: {alt}>"} | more
    return new_output("display_data", data=data, metadata={"image/png": {"alt": alt}})


def claimed(number):
    made = Claim(number, f"It is small ({number})", "holds", 0.1, "≤ 0.2", "L3", {"untrained net": 0.5}, trained=True)
    text = f'claim("It is small ({number})", at_most(0.2), v, source="L3", trained=True, controls=other)'
    return cell(text, form.CHECKED, "hide-input", outputs=[record("claim", asdict(made))])


def exercise_cells(name):
    solved = {"name": name, "verdict": "solved", "message": "it is right"}
    solution = f"def {name}(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION"
    return [
        md("Write it.", kind="subslide"),
        cell(solution, "exercise"),
        cell(f"{name} = exercise({name})", form.CHECKED, outputs=[record("exercise", solved)]),
    ]


@pytest.fixture(scope="module")
def kept():
    """A small notebook that keeps every rule."""
    checks = [asdict(Check(1, "E03: the printed sign gives another map", "holds", 1.5, "≥ 0.1"))]
    about = (
        "After this notebook you can\n\n- look\n\n**You need** nothing. **Reading** takes about 9 minutes. "
        "**Running**, on one CPU core: quick 1 s. **Data**: none."
    )
    box = "> **Erratum E03.**\n>\n> - *As printed:* a\n> - *Corrected:* b\n> - *Why:* c"
    parameters = 'PROFILE = "quick"\nSEED = 0\nDEVICE = "auto"'
    nb = new_notebook(
        cells=[
            md("# 3 · Decisions\n\n**Why?**\n\nNets decide, by $f(x)$. Nobody sees why.", "opening", kind="slide"),
            cell("", "colab", kind="skip"),
            cell("from coursekit.course import claim, setup", "imports"),
            cell(parameters, "parameters"),
            cell("course = setup(PROFILE, SEED, DEVICE)", "setup"),
            cell("show(fig, alt=alt, caption=caption)", "hide-input", outputs=[picture()]),
            cell('g = guess("How many?", low=0, high=9)', outputs=[record("guess", {"question": "How many?"})]),
            md(about, "about", kind="slide"),
            md("## 1 · Look", kind="slide"),
            *exercise_cells("one"),
            cell("\n".join(f"idea = {k}" for k in range(20))),
            cell("explore(draw, n=[1, 5])", "hide-input", outputs=[picture(**{form.FRAMES: FRAMES})]),
            cell("g.reveal(5)", outputs=[record("answer", {"measured": 5})]),
            md(box),
            cell("check(E03, at_least(0.1), d)", form.CHECKED, "hide-input", outputs=[record("checks", checks)]),
            *[claimed(k) for k in range(1, 6)],
            *exercise_cells("two"),
            *exercise_cells("three"),
            cell("exercise.score()", form.CHECKED, outputs=[record("score", {"solved": 3, "exercises": 3})]),
            *[md(f"## {k} · More", kind="slide") for k in range(2, 6)],
            md("What we saw", "summary", kind="slide"),
            cell("claims_table()", "claims-table"),
            md("**References.**", "references"),
            md("", "links", kind="skip"),
        ]
    )
    for count, it in enumerate(form.code(nb), start=1):
        it.execution_count = count
    return normalize(bring_up_to_date(nb, NAME, form.ROOT))


@pytest.fixture
def complaints(tmp_path):
    """What the rules say about a notebook under a name."""

    def complaints(nb, name=NAME):
        for neighbour in ("02_neighbours", "04_fooling"):
            (tmp_path / f"{neighbour}.ipynb").touch()
        path = tmp_path / f"{name}.ipynb"
        path.write_text(nbformat.writes(nb), encoding="utf-8")
        return form.problems(path)

    return complaints


def test_a_notebook_that_keeps_every_rule_is_right(kept, complaints):
    assert complaints(kept) == []


def calling(nb, text):
    return first(nb, lambda cell: cell.cell_type == "code" and text in cell.source)


def record_of(nb, kind):
    return files.records(nb, kind)[0]


def talk_before_the_figure(nb):
    cell_tagged(nb, "opening").source += " word" * 150


def talk_above_about(nb):
    nb.cells.insert(6, md("First, some words."))


def say_too_little(nb):
    cell = cell_tagged(nb, "opening")
    cell.source = cell.source.replace(" Nobody sees why.", "")


def move_objectives_to_the_opening(nb):
    cell_tagged(nb, "about").source = "**Data**: none."
    cell_tagged(nb, "opening").source += "\n\nAfter this notebook you can\n\n- look"


def run_faster(nb):
    cell = cell_tagged(nb, "about")
    cell.source = re.sub(r"quick \d+ s", "quick 0 s", cell.source)


def ask_the_parameters(nb):
    calling(nb, "idea = ").source += '\nlarge = PROFILE == "full"'


def make_four_claims(nb):
    nb.cells.remove(calling(nb, "claim("))


def make_eight_claims(nb):
    nb.cells[-4:-4] = [claimed(k) for k in (6, 7, 8)]


def drop_controls(nb):
    record_of(nb, "claim").update(controls={}, passes={"two good nets": 0.1})


def drop_all_beside(nb):
    record_of(nb, "claim").update(controls={}, trained=False)


def fail_a_check(nb):
    record_of(nb, "checks")[0].verdict = "fails"


def drop_check_of_erratum(nb):
    record_of(nb, "checks")[0].statement = "The printed sign gives another map"


def compare_no_checks(nb):
    calling(nb, "check(").metadata.tags = ["hide-input"]


def drop_folding(nb):
    del calling(nb, "show(").metadata["cellView"]


def fold_ideas(nb):
    calling(nb, "idea = ").metadata.tags = ["hide-input"]


def drop_frames(nb):
    del calling(nb, "explore(").outputs[0].data[form.FRAMES]


def store_one_frame(nb):
    calling(nb, "explore(").outputs[0].data[form.FRAMES].frames.pop()


def store_many_frames(nb):
    calling(nb, "explore(").outputs[0].data[form.FRAMES].frames *= 7


def animate_a_large_png(nb):
    output = calling(nb, "show(").outputs[0]
    output.data["image/png"] = "A" * 600_000
    output.metadata["image/png"]["animated"] = True


def ask_nothing(nb):
    nb.cells.remove(calling(nb, "guess("))


def never_answer(nb):
    nb.cells.remove(calling(nb, ".reveal("))


def answer_first(nb):
    answer = calling(nb, ".reveal(")
    nb.cells.remove(answer)
    nb.cells.insert(5, answer)


def drop_the_result_of_an_exercise(nb):
    calling(nb, "= exercise(").source = "exercise(one)"


def set_exercises_at_the_end(nb):
    cells = [it for it in nb.cells if "= exercise(" in it.source]
    nb.cells = [it for it in nb.cells if it not in cells]
    nb.cells[-5:-5] = cells


def keep_no_score(nb):
    nb.cells.remove(calling(nb, "exercise.score()"))


def keep_the_score_early(nb):
    score = calling(nb, "exercise.score()")
    nb.cells.remove(score)
    nb.cells.insert(8, score)


def grow(nb):
    calling(nb, "show(").outputs[0].data["image/png"] = "A" * 1_500_000


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (talk_before_the_figure, "words before the first figure, expected at most 150"),
        (talk_above_about, "the first text after the first figure is not the cell tagged about"),
        (say_too_little, "1 sentences below the question, expected 2 or 3"),
        (move_objectives_to_the_opening, "the cell tagged about lacks objectives"),
        (run_faster, "is not what `coursekit run --update` writes:\nAfter this notebook"),
        (ask_the_parameters, "asks PROFILE; course.profile is the one that runs"),
        (make_four_claims, "4 claims, expected 5 to 7"),
        (make_eight_claims, "8 claims, expected 5 to 7"),
        (drop_controls, "claim 1 is about a trained model but has no control"),
        (drop_all_beside, "claim 1 has neither a control nor a pass"),
        (fail_a_check, "check 1 fails: E03: the printed sign"),
        (drop_check_of_erratum, "erratum E03 has a box but no claim or check"),
        (compare_no_checks, "makes a claim but is not tagged nbval-check-output"),
        (drop_folding, "not normalized"),
        (fold_ideas, "of the lines of code are folded, expected at most 60%"),
        (drop_frames, "calls explore but stores no frames"),
        (store_one_frame, "stores 1 frames, expected 2 to 12"),
        (store_many_frames, "stores 14 frames, expected 2 to 12"),
        (animate_a_large_png, "holds an animation of 450000 bytes, expected at most 400000"),
        (ask_nothing, "no guess"),
        (never_answer, "no later cell answers the guess g by g.reveal(…)"),
        (answer_first, "no later cell answers the guess g by g.reveal(…)"),
        (drop_the_result_of_an_exercise, "2 exercises of the form `name = exercise(name)`, expected at least 3"),
        (set_exercises_at_the_end, "expected in the first half"),
        (keep_no_score, "no single `exercise.score()` after the last exercise"),
        (keep_the_score_early, "no single `exercise.score()` after the last exercise"),
        (grow, "bytes, expected at most 1500000"),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_a_small_notebook_that_breaks_a_rule_is_caught(kept, complaints, spoil, complaint):
    nb = copy.deepcopy(kept)
    spoil(nb)
    found = complaints(nb)
    assert any(complaint in it for it in found), found


@pytest.mark.parametrize("name", ["claim", "check", "show", "explore", "animate"])
def test_a_cell_that_draws_or_judges_must_be_folded(kept, complaints, name):
    nb = copy.deepcopy(kept)
    calling(nb, "idea = ").source += f"\n{name}(idea)"
    assert any(f"calls {name} but is not tagged hide-input" in it for it in complaints(nb))


def test_the_notebook_that_shows_the_means_may_claim_less(kept, complaints):
    nb = copy.deepcopy(kept)
    nb.cells = [it for it in nb.cells if not re.search(r"claim\(.*\([2-5]\)", it.source)]
    set_exercises_at_the_end(nb)
    found = complaints(nb, form.SHOWS_THE_MEANS)
    assert not [it for it in found if "claims, expected" in it or "first half" in it], found
