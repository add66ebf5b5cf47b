"""Every lecture notebook keeps the form of the course, and the rules catch what breaks it."""

import copy

import form
import nbformat
import pytest
from nbformat.v4 import new_output

from coursekit.notebooks import files

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


def claim_to_be_faster(nb):
    cell = cell_tagged(nb, "opening")
    cell.source = cell.source.replace("quick 30 s", "quick 3 s")


def renumber_section(nb):
    cell = first(nb, lambda cell: "## 3 · " in cell.source)
    cell.source = cell.source.replace("## 3 · ", "## 4 · ")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (drop_alt, "has no alternative text"),
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
        (drop_box, "erratum E22 has a claim but no box"),
        (drop_ending, "lacks **References.**"),
        (lead_elsewhere, "is not what `coursekit run --update` writes:\n**Previous:** 08 · Density and dimension"),
        (forget_colab, "cell colab is not what `coursekit run --update` writes:\nimport sys"),
        (show_colab, "cell colab is on a slide"),
        (claim_to_be_faster, "is not what `coursekit run --update` writes:\n# 9 · Autoencoders"),
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
