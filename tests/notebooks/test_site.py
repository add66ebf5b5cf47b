"""The pages of the site before Sphinx sees them; tests/browser/test_site_pages.py looks at the site itself."""

import base64
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from typer.testing import CliRunner

from coursekit import cli
from coursekit.course.display import FRAMES
from coursekit.course.lectures import lectures
from coursekit.errors import CourseError
from coursekit.notebooks import files
from coursekit.notebooks.site import api, build, extension, formulas, parts, tables
from coursekit.notebooks.site.lectures import Page, anchor

ROOT = Path(__file__).parents[2]
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def code(source, *outputs, tags=()):
    return new_code_cell(source, outputs=list(outputs), execution_count=1, metadata={"tags": list(tags)})


def shown(markup="", text="", **record):
    data = {"text/plain": text} | ({"text/html": markup} if markup else {})
    return new_output("display_data", data, metadata={"coursekit": record} if record else {})


def page(tmp_path, *cells, name="05_rnn"):
    return Page(new_notebook(cells=list(cells)), name, tmp_path, {"Slides": f"slides/{name}.html"})


def html_of(cell):
    return "".join(output["data"].get("text/html", "") for output in cell.outputs)


def test_the_cells_that_set_up_become_one_folded_cell(tmp_path):
    made = page(
        tmp_path,
        code("%pip install x", tags=["colab"]),
        code("import a", tags=["imports"]),
        code("SEED = 0", tags=["parameters"]),
        code("setup(SEED)", shown(setup={}), tags=["setup"]),
    ).notebook()
    (cell,) = made.cells
    assert cell.source == "import a\n\nSEED = 0\n\nsetup(SEED)"
    assert (cell.metadata["tags"], cell.outputs) == (["hide-input"], [])


def test_the_opening_gets_its_links_and_the_line_of_neighbours_goes(tmp_path):
    about = new_markdown_cell("**Reading** takes about 50 minutes.", metadata={"tags": ["about"]})
    made = page(
        tmp_path,
        new_markdown_cell("# 5 · Simple RNN\n\n**Why?**", metadata={"tags": ["opening"]}),
        about,
        new_markdown_cell("**Next:** none", metadata={"tags": ["links"]}),
    )
    opening, rest = made.notebook().cells
    assert opening.source.startswith("# 5 · Simple RNN\n")
    assert opening.source.endswith("**Why?**")
    assert '<a href="slides/05_rnn.html">Slides</a>' in opening.source
    assert "50 minutes to read" in opening.source
    assert rest.source == about.source


def test_a_guess_becomes_a_form_and_its_answer_is_folded(tmp_path):
    ask = shown(
        "<p>ask</p>",
        "Your guess: How <many>? (a number from 1 to 10 %)",
        guess={"question": "How <many>?", "options": []},
    )
    tell = shown("<p>7</p>", answer={"question": "How <many>?", "said": None, "measured": "7 %"})
    asked, told = (
        page(tmp_path, code('g = guess("…")', ask), code("g.reveal(7)", tell, tags=["hide-input"])).notebook().cells
    )
    assert asked.metadata["tags"] == ["remove-input"]
    form = html_of(asked)
    assert "How &lt;many&gt;?" in form
    assert re.search(r'A number from 1 to 10 <input type="text"[^>]*> %', form)
    assert html_of(told).index("<details") < html_of(told).index("<b>7 %</b>")
    assert 'data-guess="1"' in form
    assert 'data-guess="1"' in html_of(told)


def test_a_guess_among_options_has_a_button_for_each(tmp_path):
    ask = shown("<p>ask</p>", "Your guess: Which? (a · b)", guess={"question": "Which?", "options": ["a", "b"]})
    (cell,) = page(tmp_path, code('g = guess("…")', ask)).notebook().cells
    assert re.findall(r'type="radio" name="guess" value="(.)"', html_of(cell)) == ["a", "b"]


CLAIM = {
    "number": 3,
    "statement": "E06: it falls",
    "verdict": "holds",
    "value": 0.5,
    "bound": "≤ 1",
    "source": "E06",
    "controls": {"rival": 2.0},
    "passes": {},
    "trained": False,
}
CHECK = {"number": 1, "statement": "E07: it is even", "verdict": "holds", "value": True, "bound": None}


def test_claims_have_a_name_and_checks_are_folded(tmp_path):
    claimed, checked = (
        page(
            tmp_path,
            code("claim()", shown("<p>holds</p>", claim=CLAIM), tags=["hide-input"]),
            code("check()", shown("<table></table>", checks=[CHECK]), tags=["hide-input"]),
        )
        .notebook()
        .cells
    )
    assert html_of(claimed) == '<div class="claim" id="claim-3"><p>holds</p></div>'
    assert "1 of 1 check holds" in html_of(checked)


def test_a_figure_with_frames_becomes_files_and_a_slider(tmp_path):
    frames = {"mime": "image/png", "frames": [DOT, DOT], "controls": [{"name": "k", "labels": ["1", "2"], "at": 0}]}
    output = new_output(
        "display_data",
        {"image/png": DOT, FRAMES: frames},
        metadata={"image/png": {"alt": "a dot", "width": 10, "height": 10}},
    )
    caption = new_output("display_data", {"text/markdown": "*Figure 1. A dot.*"})
    (cell,) = page(tmp_path, code("explore()", output, caption, tags=["hide-input"])).notebook().cells
    assert sorted(path.name for path in tmp_path.iterdir()) == ["05_rnn-1-0.png", "05_rnn-1-1.png", "05_rnn-1.png"]
    markup = html_of(cell)
    assert 'src="_static/figures/05_rnn-1.png" alt="a dot"' in markup
    assert 'type="range" min="0" max="1"' in markup
    assert cell.outputs[1]["data"]["text/markdown"] == "{.caption}\n**Figure 1.** A dot."


def test_a_large_png_becomes_a_smaller_file_of_the_same_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4, (300, 300, 3), dtype=np.uint8) * 64
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    page(tmp_path).save(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", "noise")
    (made,) = tmp_path.iterdir()
    assert made.name == "noise.webp"
    assert made.stat().st_size < len(file.getvalue())
    assert (np.asarray(Image.open(made)) == pixels).all()


def test_code_keeps_the_marks_that_colour_it():
    marked = '<span class="n">f</span><span class="p">(</span><span class="mi">1</span><span class="p">)</span>'
    assert extension.without_idle_marks(marked) == 'f(<span class="mi">1</span>)'


def test_reading_is_shared_without_a_loss():
    names = [f"page{k}" for k in range(11)]
    assert extension.mixed(names, 4)[:3] == ["page0", "page4", "page8"]
    assert sorted(extension.mixed(names, 4)) == sorted(names)


def test_what_is_for_those_who_run_the_notebook_is_left_out(tmp_path):
    cells = [
        code("f = exercise(f)", shown("<p>solved</p>", exercise={"name": "f", "verdict": "solved"})),
        code("def f():\n    ### BEGIN SOLUTION\n    return 42\n    ### END SOLUTION"),
    ]
    (cell,) = page(tmp_path, *cells).notebook().cells
    assert "NotImplementedError" in cell.source
    assert "42" not in cell.source


def source(*cells, name="05_rnn"):
    return tables.Source(next(it for it in lectures() if it.name == name), new_notebook(cells=list(cells)))


def test_errata_are_found_in_boxes_sentences_claims_and_checks():
    box = new_markdown_cell("Text.\n\n> **Erratum E06.** *As printed:* $a$.\n> *Corrected:* $b$.\n\nMore.")
    small = new_markdown_cell("**Small errata.** E46: a is b. E47: c is d.\n\nThere is one (E11), too. Not here.")
    judged = code("x", shown("<p>holds</p>", claim=CLAIM), shown("<p>holds</p>", checks=[CHECK]))
    found = tables.errata([source(box, small, judged)])
    assert list(found) == ["E06", "E07", "E11", "E46", "E47"]
    (place,) = found["E06"]
    assert place["box"] == "*As printed:* $a$.\n*Corrected:* $b$."
    assert place["address"] == f"05_rnn.html#{anchor('05_rnn', 'E06')}"
    assert [claim.number for claim in place["claims"]] == [3]
    assert found["E07"][0]["checks"] == [CHECK]
    assert [found[name][0]["sentence"] for name in ("E11", "E46", "E47")] == [
        "There is one (E11), too.",
        "a is b.",
        "c is d.",
    ]


def test_boxes_in_one_quote_end_where_the_next_begins():
    quote = "> **Erratum E06.** One.\n>\n> More.\n>\n> **Erratum E07.** Two.\n\nText."
    found = tables.errata([source(new_markdown_cell(quote))])
    assert [places[0]["box"] for places in found.values()] == ["One.\n\nMore.", "Two."]


def test_every_erratum_box_of_the_course_is_on_the_page():
    course = [tables.Source(it, files.read(ROOT / "notebooks" / f"{it.name}.ipynb")) for it in lectures()[3:5]]
    boxes = re.findall(r"> \*\*Erratum (E\d+)", "\n".join(cell.source for it in course for cell in it.nb.cells))
    found = tables.errata(course)
    assert {name for name, places in found.items() if any(place["box"] for place in places)} == set(boxes) != set()


REFERENCES = """**References.** The lecture: *Deep Learning* (Seoul National University, 2018), "RNN". """


def cited(text, name):
    return source(new_markdown_cell(REFERENCES + text, metadata={"tags": ["references"]}), name=name)


def test_a_work_that_two_lectures_cite_is_listed_once_in_its_fullest_form():
    first = cited("B. Zeta (2015), *Short*, ICML · A. Alpha, C. Beta (2012), *NIPS* 25.", "05_rnn")
    second = cited(
        "A. Alpha, C. Beta (2012), *A title*, NIPS · B. Zeta et al. (2015), *Short and long*, ICML.", "06_lstm_gru"
    )
    works = [(work, [it.lecture.number for it in names]) for work, names in tables.works([first, second])]
    assert works == [
        ("A. Alpha, C. Beta (2012), *A title*, NIPS", ["05", "06"]),
        ("B. Zeta et al. (2015), *Short and long*, ICML", ["05", "06"]),
    ]


def test_a_reference_without_a_year_is_refused():
    with pytest.raises(CourseError, match=r"'A\. Alpha, Title' has no year"):
        tables.works([cited("A. Alpha, Title", "05_rnn")])


def test_every_reference_of_the_course_has_a_first_author_and_a_year():
    for it in lectures():
        nb = json.loads((ROOT / "notebooks" / f"{it.name}.ipynb").read_text(encoding="utf-8"))
        (text,) = ["".join(c["source"]) for c in nb["cells"] if "references" in c["metadata"].get("tags", ())]
        cell = new_markdown_cell(text, metadata={"tags": ["references"]})
        works = [work for work, _ in tables.works([source(cell)])]
        assert len(works) >= 3
        assert all(re.match(r"[\w.’-]+ (?:[\w.-]+ )?[\w.-]+.*? \(\d{4}", work) for work in works), works


def test_results_are_the_newest_run_of_each_profile(tmp_path):
    file = tmp_path / "results.json"
    assert tables.results(file) == {}
    runs = [
        {"lecture": "05_rnn", "profile": "full", "date": date, "cpu_seconds": 1}
        for date in ("2026-11-29", "2026-11-02")
    ]
    file.write_text(json.dumps({"runs": runs}), encoding="utf-8")
    assert tables.results(file) == {"05_rnn": {"full": runs[0]}}
    file.write_text('{"runs": [{}]}', encoding="utf-8")
    with pytest.raises(CourseError, match="not a file of results: KeyError"):
        tables.results(file)


def test_the_notation_is_that_of_the_notebook():
    assert tables.notation([source(new_markdown_cell("## 8 · Notation\n\n| a | b |"))]) == "| a | b |"


def test_every_term_of_the_glossary_is_used_by_a_lecture_and_stands_once_in_order():
    terms = extension.terms((ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))
    notebooks = [json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "notebooks").glob("*.ipynb")]
    cells = [cell for nb in notebooks for cell in nb["cells"] if cell["cell_type"] == "markdown"]
    text = "\n".join("".join(cell["source"]) for cell in cells)
    patterns = build.patterns(terms)
    assert [term for term in terms if not re.search(patterns[term], text, re.IGNORECASE)] == []
    assert sorted(set(terms), key=str.lower) == terms
    assert len(terms) > 60


@pytest.fixture
def mathjax(tmp_path, monkeypatch):
    """Node.js that answers as it is told."""

    def answer(**answers):
        def run(command, input, **_):
            said = {"formulas": [f"<i>{tex}</i>" for tex, _ in json.loads(input)], "css": "i {}"} | answers
            return subprocess.CompletedProcess(command, 0, json.dumps(said), "")

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setattr(shutil, "which", lambda _: "node")

    return answer


def test_formulas_take_the_places_of_their_marks(tmp_path, mathjax):
    mathjax()
    one, two = formulas.mark("x < 1", False), formulas.mark("ü", True)
    (tmp_path / "a.html").write_text(f"<p>{one}{two}{one}</p>", encoding="utf-8")
    assert formulas.fill_in(tmp_path, tmp_path) == "i {}"
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == "<p><i>x < 1</i><i>ü</i><i>x < 1</i></p>"


def test_what_is_not_tex_is_named(tmp_path, mathjax):
    mathjax(formulas=['<i data-mjx-error="Missing }"></i>'])
    with pytest.raises(CourseError, match=r"the formula 'x\^\{' is not TeX: Missing }"):
        formulas.typeset([("x^{", False)], tmp_path)


def test_without_node_there_is_advice(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CourseError, match=r"need Node\.js"):
        formulas.typeset([("x", False)], tmp_path)


def test_every_public_part_of_the_package_has_a_page_in_the_reference(tmp_path):
    api.write(tmp_path / "api")
    pages = {path.stem for path in (tmp_path / "api").iterdir()} - {"index"}
    assert {"bayes", "density", "interpret", "notebooks", "training", "validation"} <= pages
    assert "cli" not in pages
    text = (tmp_path / "api" / "interpret.md").read_text(encoding="utf-8")
    assert text.count(".. automodule:: ") == 1 + len(list((ROOT / "coursekit" / "interpret").glob("[!_]*.py")))


def test_a_folder_with_other_files_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    made = CliRunner().invoke(cli.app, ["site", "--out", str(tmp_path)])
    assert "holds other files" in str(made.exception)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_what_is_missing_is_said_in_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "find_spec", lambda name: None if name == "furo" else name)
    with pytest.raises(CourseError, match=r"the site needs furo: pip install -c constraints\.txt -e '\.\[site\]'"):
        build.build_site(tmp_path / "site", decks=None, report=print)


def test_without_a_clone_there_is_no_site(tmp_path, monkeypatch):
    monkeypatch.setattr(build.coursekit, "__file__", str(tmp_path / "coursekit" / "__init__.py"))
    with pytest.raises(CourseError, match="built from a clone"):
        build.build_site(tmp_path / "site", decks=None, report=print)


def test_the_parts_are_fetched_once(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    said = []
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    try:
        folder = parts.parts(said.append)
    except CourseError as error:
        pytest.skip(f"no network: {error}")
    assert {path.name for path in folder.iterdir()} == {"mathjax", "mathjax-fonts", "fonts", "LICENCES.txt"}
    faces = re.findall(r"url\(([^)]*)\)", (folder / "fonts" / "fonts.css").read_text(encoding="utf-8"))
    assert {path.name for path in (folder / "fonts").glob("*.woff2")} == set(faces) != set()
    assert parts.parts(said.append) == folder
    assert len(said) == 1
