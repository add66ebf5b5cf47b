"""The measures of a notebook say what a reader sees."""

import runpy
import sys
from dataclasses import asdict

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from coursekit.course.records import Check, Claim
from coursekit.notebooks import files
from tools.lines import KINDS, calls, first_figure, kinds, parsed, row, words


def cell(source, *tags, outputs=()):
    return new_code_cell(source, metadata={"tags": list(tags)}, outputs=list(outputs))


def output(kind, record):
    return new_output("display_data", metadata={"coursekit": {kind: record}})


CHECK = asdict(Check(1, "It is so", "holds", None, None))
CLAIM = asdict(Claim(1, "It is small", "holds", 1.0, "≤ 2", "L1"))
PICTURE = new_output("display_data", data={"image/png": ""})
SAMPLE = new_notebook(
    cells=[
        new_markdown_cell("# Title\n\n**Why?**", metadata={"slideshow": {"slide_type": "slide"}}),
        cell("import torch", "imports"),
        cell("fig, ax = subplots()\nax.plot(x)\n\nshow(fig)\nclaim(\n    x,\n)", "hide-input", outputs=[PICTURE]),
        cell(
            "# an idea\ny = f(x)\ncheck(x, y)\n",
            outputs=[output("checks", [CHECK] * 3)],
        ),
        cell("def half(x):\n    return x / 2", "exercise"),
        cell(
            "half = exercise(half)\nexercise.score()",
            outputs=[output("claim", CLAIM)],
        ),
    ]
)


def test_every_line_of_code_is_of_one_kind():
    _, *code = SAMPLE.cells
    imports, figure, idea, solution, answer = map(kinds, code)
    assert imports == {"set-up": 1}
    assert figure == {"drawing": 3, "judging": 3}, "what prepares a figure is drawing, and a claim is not"
    assert idea == {"idea": 2, "judging": 1}
    assert solution == {"exercise": 2}
    assert answer == {"exercise": 2}


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("claim(1, exercise(f))", "judging"),
        ("exercise.score(check(1))", "judging"),
        ("if guess(1): g.reveal(2)\nelse: show(f)", "drawing"),
    ],
)
def test_a_statement_that_calls_two_kinds_is_of_the_first_of_the_table(source, kind):
    assert kinds(cell(source)).keys() == {kind}


def test_a_cell_with_a_magic_is_set_up_or_idea():
    assert kinds(cell("%pip install x", "colab")) == {"set-up": 1}
    assert kinds(cell("%timeit f(x)")) == {"idea": 1}


def test_calls_are_known_by_name_and_methods_by_a_dot():
    assert calls(parsed(cell("g = guess(f(1))\ng.reveal(show)"))) == {"guess", "f", ".reveal"}
    assert calls(parsed(cell("%pip install claim()"))) == set()


def test_words_count_formulas_once_and_links_by_their_text():
    text = "The well-known map $x \\mapsto f(x)$ is [here it is](https://example.org/a/b).\n\n$$\na + b = c\n$$"
    assert words([new_markdown_cell(text), cell("code counts not")]) == 9


def test_the_first_figure_is_the_first_picture():
    assert first_figure(SAMPLE) == 2
    assert first_figure(new_notebook(cells=[cell("1")])) is None


def test_a_row_counts_visible_and_folded_lines_apart():
    assert row(SAMPLE, 12_345) == {
        "idea": "2+0",
        "drawing": "0+3",
        "judging": "1+3",
        "set-up": "0+1",
        "exercise": "4+0",
        "all code": "7+7",
        "words": 2,
        "to figure": 2,
        "claims": 1,
        "checks": 3,
        "figures": 1,
        "slides": 1,
        "KB": 12,
    }


def test_the_table_has_a_line_for_each_notebook(tmp_path, monkeypatch, capsys):
    for name in ("01_a", "02_b"):
        files.write(SAMPLE, tmp_path / f"{name}.ipynb")
    monkeypatch.setattr(sys, "argv", ["lines", str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tools.lines")  # as with python -m, which has not imported it yet
    runpy.run_module("tools.lines", run_name="__main__")
    _, heads, *rows = capsys.readouterr().out.splitlines()
    assert heads.split()[: len(KINDS)] == list(KINDS)
    assert [line.split()[0] for line in rows] == ["01_a", "02_b"]
    assert len({len(line) for line in [heads, *rows]}) == 1, "the columns stand below each other"
