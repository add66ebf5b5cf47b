"""Decks show the right parts of a notebook, and nothing is left half-written."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
import threading
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from typer.testing import CliRunner

from coursekit import cli
from coursekit.course.display import FRAMES, WIDGET_VIEW
from coursekit.errors import CourseError
from coursekit.notebooks import files
from coursekit.notebooks.slides import deck, parts, pdf

PARTS = parts.Parts("/* style */", "/* script */ '</script><!--'", "MIT, in full </script>")


def md(source, kind="-"):
    return new_markdown_cell(source, metadata={"slideshow": {"slide_type": kind}})


def code(source, *outputs, kind="-", tags=(), count=1):
    metadata = {"slideshow": {"slide_type": kind}, "tags": list(tags)}
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


def shown(data, **metadata):
    return new_output("display_data", data=data, metadata=metadata)


def picture(width, height, kind="png"):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def figure(alt="A line that falls.", width=60, height=40):
    about = {"image/png": {"alt": alt, "width": width, "height": height}}
    return shown({"image/png": picture(2 * width, 2 * height), "text/plain": "<figure>"}, **about)


def claim(number=1, verdict="holds", statement="It falls"):
    record = {"number": number, "statement": statement, "verdict": verdict, "value": 0.123456, "bound": "≤ 0.2"}
    return shown({"text/plain": "x", "text/html": "<p>x</p>"}, coursekit={"claim": record | {"source": "E23"}})


def caption(words):
    return shown({"text/markdown": f"*Figure 1. {words}*", "text/plain": "<Markdown>"})


OPENING = """\
# 9 · Autoencoders

**How many numbers?**

After this notebook you can

- count.

**You need** ten fingers."""


def lecture(*cells):
    return new_notebook(cells=[md(OPENING, "slide"), *cells])


class Page(HTMLParser):
    """A deck as a browser reads it: elements, and the text of everything that has a class."""

    def __init__(self, html):
        super().__init__()
        self.html, self.elements, self.open, self.texts = html, [], [], {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in ("meta", "link", "img", "br", "input"):
            name = f".{attributes['class'].strip()}" if attributes.get("class") else tag
            self.open.append((tag, name))
            self.texts.setdefault(name, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        for name in {name for _, name in self.open}:
            self.texts[name][-1] += data

    def all(self, name):
        """The text of every element of this class (``.name``), or of this tag where it has no class."""
        return [" ".join(text.split()) for text in self.texts.get(name, [])]

    def one(self, name):
        (text,) = self.all(name)
        return text


def page(*cells, name="09_autoencoders", decks=()):
    return Page(deck.render(lecture(*cells), Path("notebooks", f"{name}.ipynb"), PARTS, decks))


def test_a_deck_loads_no_other_file():
    made = page(md("## 1 · A\n\n[the paper](https://example.org)", "slide"), code("f", figure()))
    policy = next(a["content"] for t, a in made.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "http" not in policy
    asked = [a.get("src") or a.get("href") for t, a in made.elements if t not in ("a",) and ("src" in a or "href" in a)]
    assert len(asked) == 2
    assert all(address.startswith("data:") for address in asked)


def test_scripts_and_licences_cannot_close_their_tags_early():
    made = page(md("## 1 · A", "slide"))
    assert sum(tag == "script" for tag, _ in made.elements) == 5
    assert made.html.count("<script") == made.html.count("</script>") == 5
    assert "MIT, in full" in made.html


def test_the_title_slide_says_part_title_question_and_licence():
    made = page()
    title = made.one(".slide title")
    for words in (deck.COURSE, "Part III · Unsupervised learning", "Autoencoders", "How many numbers?", "CC BY 4.0"):
        assert words in title
    assert ("body", {"data-colour": "3"}) in made.elements
    assert ("html", {"lang": "en"}) in made.elements
    assert made.all(".head")[0] == "After this notebook you can"
    assert "ten fingers" in made.all(".body")[0]


def test_a_notebook_outside_the_course_has_the_neutral_colour():
    made = page(name="mine")
    assert ("body", {"data-colour": "0"}) in made.elements
    assert made.one(".part") == ""


def test_an_opening_without_objectives_keeps_its_title():
    nb = new_notebook(cells=[md("# Mine\n\nWhy?\n\nBecause.", "slide")])
    made = Page(deck.render(nb, Path("mine.ipynb"), PARTS, ()))
    assert made.all(".head") == ["Mine", "About these slides"]


def test_slides_follow_the_slide_types_and_name_their_section():
    made = page(
        md("## 1 · One\n\na", "slide"),
        md("b"),
        md("unspoken", "skip"),
        md("### Deeper\n\nc", "subslide"),
        code("d = 1", kind="subslide"),
        md("## 2 · Two", "slide"),
        md("late", "fragment"),
    )
    assert made.all(".head")[1:-1] == ["1 One", "One Deeper", "1 One continued", "2 Two"]
    assert "unspoken" not in made.html
    assert made.all(".prose fragment") == ["late"]
    stacks = [a for t, a in made.elements if t == "section" and "class" not in a]
    assert len(stacks) == 4  # title, one, two, about


def test_a_notebook_may_begin_with_code():
    nb = new_notebook(cells=[code("x = 1", kind="slide")])
    made = Page(deck.render(nb, Path("mine.ipynb"), PARTS, ()))
    assert "x = 1" in made.all(".code")[0]


def test_notes_go_to_the_speaker_view():
    made = page(md("for the title", "notes"), md("## 1 · A", "slide"), md("say *this*", "notes"))
    assert made.all(".notes") == ["for the title", "for the title", "say this"]


def test_code_is_shown_unless_its_tag_hides_it():
    made = page(md("## 1 · A", "slide"), code("seen = 1"), code("unseen = 2", figure(), tags=["hide-input"]))
    assert made.all(".code")[0] == "seen = 1"
    assert "unseen" not in made.html


def test_long_code_and_long_text_are_divided_into_pieces_of_about_equal_length():
    lines = "\n".join(f"x{k}" for k in range(2 * deck.LONGEST + 1))
    made = page(md("## 1 · A", "slide"), code(lines, new_output("stream", text=lines)))
    pieces = [len(text.split()) for text in made.all(".text")]
    assert pieces == [12, 12, 13]
    assert " ".join(made.all(".text")) == " ".join(lines.split())


def test_consecutive_texts_are_joined_and_escaped():
    made = page(md("## 1 · A", "slide"), code("f", shown({"text/plain": "<b>1</b>"}), shown({"text/plain": "two"})))
    assert made.one(".text") == "<b>1</b> two"


def test_a_claim_is_one_line_and_its_code_is_not_repeated():
    made = page(md("## 1 · A", "slide"), code('x = 1\nclaim("It falls",\n      True, value=1, source="E23")', claim()))
    assert made.one(".claim") == "✓holds: It falls: 0.123 ≤ 0.2"
    assert made.all(".code")[0] == "x = 1"


@pytest.mark.parametrize(
    ("source", "left"),
    [
        ('x = f(); check("a", x)', ["x = f()"]),
        ('check("é", x); y = 2; claim("b", y)', ["y = 2"]),
        ('x = f(\n    1); check("a",\n    x); y = 2  # two', ["x = f(", "    1); y = 2  # two"]),
        ('\n\nx = 1\ncheck("a", x)  # sure\n\ny = 2', ["x = 1", "", "y = 2"]),
        ('check("a", x); exercise.score()', []),
        ('%time x\ncheck("a", x)', ["%time x", 'check("a", x)']),
    ],
)
def test_records_leave_the_code_statement_by_statement(source, left):
    assert deck.without_records(source) == left


def test_a_claim_shows_what_misses_its_bound_and_what_meets_it():
    said = claim()
    record = said.metadata["coursekit"]["claim"]
    record["controls"] = {"noise": 0.98765, "centre": [0.5, 0.6]}
    record["passes"] = {"another net": 0.1}
    made = page(md("## 1 · A", "slide"), code('claim("It falls", True, 1, "E23")', said))
    assert made.one(".claim") == (
        "✓holds: It falls: 0.123 ≤ 0.2 · noise 0.988; centre 0.5, 0.6 · passes: another net 0.1"
    )
    assert not any("highlight" in name for name in made.texts)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"verdict": "not judged"}, "○not judged: It falls: not judged"),
        ({"verdict": "fails"}, "✗fails: It falls: 0.123 not ≤ 0.2"),
        ({"bound": "0.1 ± 0.05"}, "✓holds: It falls: 0.123 within 0.1 ± 0.05"),
        ({"value": [0.1, 0.2, 0.3, 0.4], "bound": "in [0, 1]"}, "✓holds: It falls: 0.1, 0.2, 0.3, … in [0, 1]"),
        ({"value": True, "bound": None}, "✓holds: It falls"),
        ({"value": "8 of 9", "bound": None}, "✓holds: It falls: 8 of 9"),
    ],
)
def test_the_line_of_a_claim_says_how_it_was_judged(change, line):
    said = claim()
    said.metadata["coursekit"]["claim"].update(change)
    made = page(md("## 1 · A", "slide"), code("f", said, tags=["hide-input"]))
    assert made.one(".claim") == line


def test_checks_scores_and_the_set_up_are_for_the_reader_of_the_notebook():
    said = [shown({"text/plain": "secret"}, coursekit={kind: {}}) for kind in ("checks", "score", "setup", "exercise")]
    made = page(md("## 1 · A", "slide"), code('y = 2\ncheck("a", True)\nexercise.score()', *said))
    assert made.all(".code")[0] == "y = 2"
    assert "secret" not in made.html


def test_a_guess_is_shown_without_its_code():
    record = {"question": "Which?", "options": ["a", "b"]}
    asked = shown({"text/html": "<p>x</p>", "text/plain": "x"}, coursekit={"guess": record})
    record = {"question": "Which?", "said": None, "measured": "b"}
    answer = shown({"text/html": "<p>x</p>", "text/plain": "x"}, coursekit={"answer": record})
    made = page(md("## 1 · A", "slide"), code('g = guess("Which?", ["a", "b"])', asked), code('g.reveal("b")', answer))
    assert made.one(".guess") == "Your guess? Which? ab"
    assert made.one(".answer") == "Which? Measured: b."
    assert not any("highlight" in name for name in made.texts)


def test_a_figure_with_frames_has_a_control_for_each_of_its_sliders():
    moving = figure(width=70, height=30)
    moving["data"][FRAMES] = {
        "controls": [
            {"name": "window", "labels": ["2", "8"], "at": 1},
            {"name": "rule", "labels": ["a", "<b>"], "at": 0},
        ],
        "mime": "image/png",
        "frames": [picture(60, 40)] * 4,
    }
    made = page(md("## 1 · A", "slide"), code("explore", moving, caption("See."), tags=["hide-input"]))
    assert made.all("label") == ["window 8", "rule a"]
    ranges = [(it["max"], it["value"]) for tag, it in made.elements if tag == "input"]
    assert ranges == [("1", "1"), ("1", "0")]
    ((_, image),) = [it for it in made.elements if it[0] == "img"]
    assert image["src"].startswith("data:image/png;base64,")
    (box,) = [it for tag, it in made.elements if tag == "figure"]
    assert box["style"] == "--w: 70; --h: 30"  # of the still image, a strip for example
    (sliders,) = [it for tag, it in made.elements if it.get("class") == "sliders"]
    assert (sliders["data-w"], sliders["data-h"]) == ("30", "20")  # of a frame, at the scale of the image
    labels = [json.loads(it["data-labels"]) for tag, it in made.elements if tag == "input"]
    assert labels == [["2", "8"], ["a", "<b>"]]
    (stored,) = stored_frames(made)
    assert stored == [f"data:image/png;base64,{picture(60, 40)}"] * 4


def stored_frames(made):
    return json.loads(re.search(r'id="frames">(.*?)</script>', made.html, re.DOTALL)[1])


def test_frames_of_the_shape_of_the_image_have_its_size_and_are_stored_in_order():
    cells = []
    for count in (2, 3):
        moving = figure()
        controls = [{"name": "k", "labels": list(map(str, range(count))), "at": 0}]
        moving["data"][FRAMES] = {"controls": controls, "mime": "image/png", "frames": [picture(30, 20)] * count}
        cells.append(code("explore", moving, tags=["hide-input"]))
    made = page(md("## 1 · A", "slide"), *cells)
    assert [len(uris) for uris in stored_frames(made)] == [2, 3]
    assert [it["data-w"] for _, it in made.elements if it.get("class") == "sliders"] == ["60", "60"]
    assert stored_frames(page()) == []


def test_an_animated_png_stands_still_at_its_first_frame():
    file = io.BytesIO()
    first, second = (Image.new("RGB", (12, 8), colour) for colour in ("navy", "white"))
    first.save(file, "PNG", save_all=True, append_images=[second], duration=100, loop=0)
    data = base64.b64encode(file.getvalue()).decode()
    about = {"alt": "A square that fades.", "width": 12, "height": 8, "animated": True}
    made = page(code("f", shown({"image/png": data}, **{"image/png": about}), kind="slide", tags=["hide-input"]))
    ((_, image),) = [it for it in made.elements if it[0] == "img"]
    assert image["data-animation"] == f"data:image/png;base64,{data}"
    assert made.one(".play") == "Pause"
    with Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))) as still:
        assert not getattr(still, "is_animated", False)
        assert still.getpixel((0, 0)) == (0, 0, 128)


def test_the_cell_about_the_notebook_gives_its_slide_the_heading():
    about = md("After this notebook you can\n\n- count.\n\n**You need** ten fingers.", "slide")
    about.metadata["tags"] = ["about"]
    made = page(about)
    assert "After this notebook you can" in made.all("h2")
    assert made.all("li")[-1] == "count."


def test_code_that_is_not_plain_python_is_shown_as_it_is():
    assert page(md("## 1 · A", "slide"), code("%matplotlib inline")).all(".code") == ["%matplotlib inline"]


def test_the_table_of_claims_is_that_of_the_report():
    table = shown({"text/html": "<table></table>"}, coursekit={"table": {"claims": 2}})
    made = page(code("f", claim(1), claim(2, "fails", "It rises"), kind="slide"), code("claims_table()", table))
    assert made.one(".claims") == ("claimmeasured ✓holds: 1. It falls0.123 ≤ 0.2 ✗fails: 2. It rises0.123 not ≤ 0.2")


def test_the_table_of_claims_has_a_column_for_controls_where_one_has_them():
    said = claim()
    said.metadata["coursekit"]["claim"] |= {"controls": {"noise": 0.9}, "passes": {"net": 0.1}}
    table = shown({"text/html": "<table></table>"}, coursekit={"table": {"claims": 2}})
    made = page(code("f", said, claim(2), kind="slide"), code("claims_table()", table))
    assert made.one(".claims") == (
        "claimmeasuredcontrols ✓holds: 1. It falls0.123 ≤ 0.2noise 0.9; passes: net 0.1 ✓holds: 2. It falls0.123 ≤ 0.2"
    )


def test_a_figure_has_its_alternative_text_size_and_caption():
    made = page(md("## 1 · A", "slide"), code("f", figure(), caption("Watch *this*, $x$."), tags=["hide-input"]))
    ((_, image),) = [it for it in made.elements if it[0] == "img"]
    assert image["alt"] == "A line that falls."
    assert made.one("figcaption") == "Figure 1. Watch this, $x$."
    assert any(a.get("style") == "--w: 60; --h: 40" for t, a in made.elements if t == "figure")


def test_an_image_without_a_stored_size_is_measured():
    data = picture(30, 20, "jpeg")
    made = page(md("## 1 · A", "slide"), code("f", shown({"image/jpeg": data}), tags=["hide-input"]))
    assert any(a.get("style") == "--w: 30; --h: 20" for t, a in made.elements if t == "figure")
    assert f"data:image/jpeg;base64,{data}" in made.html


def test_of_a_widget_only_its_image_is_shown():
    live = figure()
    live["data"][WIDGET_VIEW] = {"model_id": "abc"}
    bare = shown({WIDGET_VIEW: {"model_id": "def"}, "text/plain": "IntSlider()"})
    made = page(md("## 1 · A", "slide"), code("explore", live, bare, tags=["hide-input"]))
    assert sum(tag == "img" for tag, _ in made.elements) == 1
    assert "model_id" not in made.html
    assert "IntSlider" not in made.html


def test_other_outputs_are_shown_in_their_richest_form():
    outputs = (
        shown({"text/html": "<table><tr><td>7</td></tr></table>", "text/plain": "7"}),
        shown({"text/markdown": "**bold**"}),
        caption("Of no figure."),
        shown({"text/latex": "$x^2$"}),
    )
    made = page(md("## 1 · A", "slide"), code("f", *outputs, tags=["hide-input"]))
    assert made.all(".html") == ["7"]
    assert made.all(".prose")[1:-1] == ["bold", "Figure 1. Of no figure.", "$x^2$"]


def test_solutions_and_their_outputs_are_left_out():
    solved = "def f():\n    ### BEGIN SOLUTION\n    return 'secret'\n    ### END SOLUTION"
    checked = code("f = exercise(f)", shown({"text/plain": "✓ secret"}, coursekit={"exercise": {"name": "f"}}))
    made = page(md("## 1 · A", "slide"), code(solved), checked)
    assert "secret" not in made.html
    assert "raise NotImplementedError" in made.all(".code")[0]


def test_links_lead_only_to_decks_that_exist():
    text = "## 1 · A\n\n[one](01_one.ipynb) [two](02_two.ipynb) [out](https://example.org)"
    made = page(md(text, "slide"), decks=["01_one"])
    links = [a["href"] for t, a in made.elements if t == "a"]
    assert links[:2] == ["01_one.html", "https://example.org"]
    assert "two" in made.all(".body")[1]


def test_an_image_in_text_comes_from_the_folder_of_the_notebook(tmp_path):
    Image.new("RGB", (3, 3)).save(tmp_path / "dot.png")
    nb = new_notebook(cells=[md("![a dot](dot.png)", "slide")])
    assert 'alt="a dot"' in deck.render(nb, tmp_path / "a.ipynb", PARTS, ())
    nb.cells[0].source = "![a dot](https://example.org/dot.png)"
    with pytest.raises(CourseError, match=r"image https://example.org/dot.png is not in the notebook's folder"):
        deck.render(nb, tmp_path / "a.ipynb", PARTS, ())


PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def images(made):
    return [a for t, a in made.elements if t == "img"]


@pytest.mark.parametrize(
    "source",
    [
        "![p](attachment:a.png)",
        "![p](attachment:my%20a.png)",
        "![p](attachment:my a.png)",
        "<img src='attachment:a.png'>",
    ],
)
def test_an_attached_image_is_shown(source):
    text = md(f"## 1 · A\n\n{source}", "slide")
    text.attachments = {"a.png": {"image/png": PNG}, "my a.png": {"image/png": PNG}}
    assert [it["src"] for it in images(page(text))] == [f"data:image/png;base64,{PNG}"]


def test_an_attachment_of_another_cell_is_refused():
    text = md("## 1 · A", "slide")
    text.attachments = {"a.png": {"image/png": PNG}}
    with pytest.raises(CourseError, match=r"09_autoencoders.ipynb: the image attachment:a.png is not in"):
        page(text, md("![p](attachment:a.png)"))


@pytest.mark.parametrize("source", ["![a](<my dot.png>)", "![a](my%20dot.png)", "<img src='my dot.png'>"])
def test_the_name_of_an_image_may_hold_a_space(tmp_path, source):
    Image.new("RGB", (3, 3)).save(tmp_path / "my dot.png")
    deck_of = deck.render(new_notebook(cells=[md(source, "slide")]), tmp_path / "a.ipynb", PARTS, ())
    assert images(Page(deck_of))[0]["src"].startswith("data:image/png;base64,")


@pytest.mark.parametrize("source", ["![a]({})", "<img src='{}'>"])
@pytest.mark.parametrize("address", ["https://example.org/a.png", "../outside.png", "file:///etc/a.png", "notes.txt"])
def test_an_image_from_elsewhere_is_refused(tmp_path, source, address):
    folder = tmp_path / "inside"
    folder.mkdir()
    for place in (tmp_path / "outside.png", folder / "notes.txt"):
        place.write_bytes(b"secret")
    nb = new_notebook(cells=[md(source.format(address), "slide")])
    with pytest.raises(CourseError, match=rf"a.ipynb: the image {re.escape(address)} is not in the notebook's folder"):
        deck.render(nb, folder / "a.ipynb", PARTS, ())


SVG = '<svg viewBox="0 0 300 200"><script>alert(1)</script><circle r="4"/></svg>'


def test_an_svg_is_an_image_so_that_nothing_in_it_runs():
    made = page(md("## 1 · A", "slide"), code("f", shown({"image/svg+xml": SVG, "text/plain": "<Figure>"}, alt="Net")))
    (image,) = images(made)
    drawn = base64.b64decode(image["src"].removeprefix("data:image/svg+xml;base64,")).decode()
    assert drawn == SVG.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"')
    assert image["alt"] == "Net"
    assert any(a.get("style") == "--w: 300; --h: 200" for t, a in made.elements if t == "figure")
    assert "<Figure>" not in made.html


@pytest.mark.parametrize("svg", ["<svg/>", '<svg viewBox="a b">', '<svg viewBox="0,0,1.2.3,x">', '<svg width="3pt">'])
def test_an_svg_without_a_size_has_one_still(svg):
    made = page(md("## 1 · A", "slide"), code("f", shown({"image/svg+xml": svg})))
    assert any(a.get("style") == "--w: 640; --h: 480" for t, a in made.elements if t == "figure")


def test_a_gif_moves_and_has_a_button():
    file = io.BytesIO()
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("white", "black")]
    frames[0].save(file, "gif", save_all=True, append_images=frames[1:])
    gif = base64.b64encode(file.getvalue()).decode()
    made = page(md("## 1 · A", "slide"), code("f", shown({"image/gif": gif, "text/plain": "<IPython Image>"})))
    (image,) = images(made)
    assert image["src"].startswith("data:image/png;base64,")
    assert image["data-animation"] == f"data:image/gif;base64,{gif}"
    assert made.one(".play") == "Pause"


@pytest.mark.parametrize(
    "image", ["AAAA", "A", "", PNG[:60], "é", base64.b64encode(b"version https://git-lfs").decode()]
)
@pytest.mark.parametrize("kind", ["image/png", "image/gif", "image/webp"])
def test_a_damaged_image_is_shown_as_its_text(kind, image):
    made = page(md("## 1 · A", "slide"), code("f", shown({kind: image, "text/plain": "A falling line"})))
    assert images(made) == []
    assert made.all(".text") == ["A falling line"]


def test_a_damaged_image_gives_way_to_another_form():
    made = page(md("## 1 · A", "slide"), code("f", shown({"image/png": "AAAA", "image/svg+xml": SVG})))
    assert len(images(made)) == 1


@pytest.mark.parametrize("width", ["60px", None, True, -1, 0, [60]])
def test_an_odd_size_in_the_metadata_is_measured_instead(width):
    said = {"image/png": {"width": width, "height": 40}}
    made = page(md("## 1 · A", "slide"), code("f", shown({"image/png": picture(30, 20)}, **said)))
    assert any(a.get("style") == "--w: 30; --h: 20" for t, a in made.elements if t == "figure")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\r  0%|  |\r 50%|# |\r100%|##|\n", "100%|##|"),
        ("loss 1\rloss 2\r\nnext\n", "loss 2 next"),
        ("done\r", "done"),
        ("a\rb\nc\rd", "b d"),
    ],
)
def test_after_a_carriage_return_a_line_is_written_anew(text, seen):
    made = page(md("## 1 · A", "slide"), code("f", new_output("stream", name="stderr", text=text)))
    assert made.all(".text") == [seen]


def test_an_expected_error_is_shown():
    error = new_output("error", ename="ZeroDivisionError", evalue="division by zero", traceback=["…"])
    made = page(md("## 1 · A", "slide"), code("1 / 0", error, tags=["raises-exception"]))
    assert made.all(".text") == ["ZeroDivisionError: division by zero"]


def test_notes_before_the_first_slide_go_to_the_speaker_view():
    nb = new_notebook(cells=[md("Say hello.", "notes"), md("Breathe.", "notes"), *lecture(md("Wave.", "notes")).cells])
    made = Page(deck.render(nb, Path("a.ipynb"), PARTS, ()))
    assert made.all(".notes")[0] == "Say hello. Breathe. Wave."
    assert "Say hello." not in " ".join(made.all(".body"))


@pytest.mark.parametrize("slideshow", [None, "slide", 3, [], {}, {"slide_type": None}])
def test_an_older_format_and_odd_metadata_are_read(tmp_path, slideshow):
    nb = lecture(md("text"), code("f", shown({"text/plain": "4"}, **{"image/png": None, "coursekit": 5})))
    nb.nbformat_minor = 4
    for cell in nb.cells:
        del cell["id"]
    nb.cells[1].metadata["slideshow"] = slideshow
    (tmp_path / "a.ipynb").write_text(json.dumps(nb), encoding="utf-8")
    made = Page(deck.render(files.read(tmp_path / "a.ipynb"), Path("a.ipynb"), PARTS, ()))
    assert made.all(".text") == ["4"]
    cells = [a["data-cell"] for t, a in made.elements if "data-cell" in a]
    assert len(set(cells)) == len(files.read(tmp_path / "a.ipynb").cells)


@pytest.mark.parametrize("kind", ["claim", "table"])
@pytest.mark.parametrize("record", [5, [], "text", {}, {"claims": "x", "number": "1"}])
def test_a_malformed_record_is_refused_by_name(kind, record):
    with pytest.raises(CourseError, match=rf"09_autoencoders.ipynb: the {kind} record is malformed"):
        page(md("## 1 · A", "slide"), code("f", shown({"text/plain": "x"}, coursekit={kind: record})))


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src='data:image/png;base64,AA' onerror='alert(1)'>",
    "<a href='javascript:alert(1)'>a</a>",
    "<a href=' JavaScript:alert(1)'>a</a>",
    "[a](javascript:alert(1))",
    "[a](data:text/html,alert(1))",
    "<iframe src='file:///etc/hostname'></iframe>",
    "<object data='file:///etc/hostname'></object><embed src='file:///etc/hostname'>",
    "<meta http-equiv='refresh' content='0; url=https://example.net'>",
    "<form action='https://example.net'><input name='x'><button>go</button></form>",
    "<link rel='stylesheet' href='https://example.net'><style>@import 'https://example.net';</style>",
    "<base href='https://example.net'>",
    "<svg onload='alert(1)'><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    '<noscript><p title="</noscript><script>alert(1)</script>">',
    "<p style='background: url(https://example.net)' class='slide title' id='frames'>x</p>",
    "<div><!-- <script>alert(1)</script> --></div>",
    "$x$ <b onclick='alert(1)'>$y$</b> </section></main>",
    "`` ` ``<script>alert(1)",
    "## <img src='data:,' onload='alert(1)'>",
]


@pytest.mark.parametrize("source", HOSTILE)
@pytest.mark.parametrize("kind", ["markdown", "notes", "text/markdown", "text/latex", "text/html"])
def test_nothing_in_the_text_of_a_foreign_notebook_runs_or_asks_the_network(source, kind):
    plain = page(md("## 1 · A", "slide"), md("x"))
    if kind in ("markdown", "notes"):
        made = page(md("## 1 · A", "slide"), md(source, "notes" if kind == "notes" else "-"))
    else:
        made = page(md("## 1 · A", "slide"), code("f", shown({kind: source, "text/plain": "x"}), tags=["hide-input"]))
    added = made.elements[:]
    for element in plain.elements:
        added.remove(element) if element in added else None
    assert {tag for tag, _ in added} <= {"p", "b", "a", "img", "div", "aside", "table", "tbody", "code", "h2", "pre"}
    assert not {name for _, a in added for name in a} - {"src", "alt", "class", "href", "data-cell"}
    for name in ("src", "href"):
        assert all(a.get(name, "data:").startswith("data:") for _, a in added)
    assert not any("slide" in a.get("class", "") for _, a in added)


def test_ordinary_html_stays():
    style = "<style scoped>td { color: red }</style>"
    frame = f"{style}<table border='1'><tr><th scope='col'>n</th><td>3 &lt; 4</td></tr></table>"
    made = page(md("## 1 · A", "slide"), code("f", shown({"text/html": frame, "text/plain": "x"}), tags=["hide-input"]))
    assert made.all(".html") == ["n3 < 4"]


def test_formulas_code_and_tables_pass():
    formulas = "$a < b$, \\(c & d\\)\n\n$$\\begin{aligned} x &< y \\\\ z &> 0 \\end{aligned}$$"
    text = f"{formulas}\n\n```python\nif a < b: pass\n```\n\n|a|\n|-:|\n|1|"
    made = page(md("## 1 · A", "slide"), md(text))
    body = " ".join(made.all(".body"))
    assert "$a < b$" in body
    assert "x &< y" in body
    assert "if a < b: pass" in body
    assert any(a == {"style": "text-align:right;"} for t, a in made.elements if t == "td")
    assert any(a.get("class") == "k" for t, a in made.elements if t == "span")


def test_html_that_only_a_script_fills_gives_way_to_text():
    plot = "<div><script>draw()</script><div id='plot'></div></div>"
    made = page(md("## 1 · A", "slide"), code("f", shown({"text/html": plot, "text/plain": "Figure(3 traces)"})))
    assert made.all(".text") == ["Figure(3 traces)"]


# The command


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The current folder, with two lectures in ``notebooks``; the parts of decks are already fetched."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parts, "parts", lambda report: PARTS)
    Path("notebooks").mkdir()
    write("00_start", lecture(code("1 + 1", kind="slide")))
    write("01_more", lecture(md("## 1 · A", "slide")))
    return tmp_path


def write(stem, nb):
    files.write(nb, Path("notebooks", f"{stem}.ipynb"))


def run(*arguments):
    result = CliRunner().invoke(cli.app, ["slides", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return " ".join(result.output.split())


def listed(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def refused(message, *arguments):
    """The command fails with the message and changes no file."""
    before = {name: Path(name).read_bytes() for name in listed(".")}
    with pytest.raises(CourseError, match=message):
        run(*arguments)
    assert {name: Path(name).read_bytes() for name in listed(".")} == before


def test_every_lecture_becomes_a_deck(course):
    assert run() == "2 decks, in slides"
    assert listed("slides") == ["00_start.html", "01_more.html"]


def test_a_deck_is_replaced(course):
    assert run("01", "--out", "here") == "1 deck, in here"
    write("01_more", lecture(md("## 1 · Newer", "slide")))
    run("01", "--out", "here")
    assert "Newer" in Path("here/01_more.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("nb", "message"),
    [
        (lecture(code("f", new_output("error", ename="KeyError", evalue="'x'"))), r"failed in cell \[1\]: KeyError"),
        (lecture(code("f", count=None)), "was not executed to its end: add --execute"),
        (new_notebook(cells=[new_markdown_cell("# A")]), "has no slides: give its cells slide types"),
        (lecture(code("### BEGIN SOLUTION")), "cell .*: ### BEGIN SOLUTION comes without ### END SOLUTION"),
    ],
)
def test_a_notebook_that_cannot_be_shown_is_refused_and_nothing_is_written(course, nb, message):
    write("01_more", nb)
    refused(message)


def test_an_error_in_a_widget_counts(course):
    nb = lecture(code("interact(f)"))
    raised = new_output("error", ename="KeyError", evalue="'x'")
    nb.metadata["widgets"] = {files.WIDGET_STATE: {"state": {"a": {"state": {"outputs": [raised]}}}}}
    write("01_more", nb)
    refused("01_more.ipynb failed in widget of cell", "01")


def test_a_file_that_is_not_a_notebook_is_refused(course):
    Path("notebooks/01_more.ipynb").write_text("[]", encoding="utf-8")
    refused("is not a notebook of format 4")


def test_two_notebooks_of_the_same_name_are_refused(course):
    shutil.copytree("notebooks", "others")
    refused("two of the notebooks are called 00_start", "notebooks", "others")


def test_an_output_that_is_a_file_is_refused(course):
    Path("taken").write_text("", encoding="utf-8")
    refused("--out expects a folder, but taken is a file", "--out", "taken")


@pytest.mark.parametrize("name", ["00_start.html", "00_start.pdf"])
def test_a_file_that_is_not_a_deck_is_not_replaced(course, name):
    Path("slides").mkdir()
    Path("slides", name).write_text("mine", encoding="utf-8")
    refused("slides holds another 00_start, which is not a deck")


def test_on_a_full_disk_the_old_decks_stay(course, monkeypatch):
    run()
    write("00_start", lecture(md("## 1 · Newer", "slide")))
    copied = []

    def full(source, target):
        copied.append(target)
        if len(copied) == 2:
            raise OSError(28, "No space left on device")
        Path(target).write_bytes(Path(source).read_bytes())

    monkeypatch.setattr(shutil, "copyfile", full)
    refused("cannot write to slides: No space left on device")


def test_execute_runs_a_copy_first(course):
    write("01_more", lecture(code("6 * 7", kind="slide", count=None)))
    before = Path("notebooks/01_more.ipynb").read_bytes()
    assert run("01", "--execute") == "01_more: executing 1 deck, in slides"
    assert Page(Path("slides/01_more.html").read_text(encoding="utf-8")).one(".text") == "42"
    assert Path("notebooks/01_more.ipynb").read_bytes() == before


def test_a_notebook_that_fails_when_executed_is_reported(course):
    write("01_more", lecture(code("1 / 0", kind="slide", count=None)))
    refused(r"01_more.ipynb failed in cell \[1\]: ZeroDivisionError", "01", "--execute")


def test_a_notebook_that_cannot_be_executed_at_all_is_reported(course, monkeypatch):
    from coursekit.notebooks import execute

    def no_kernel(run, entry, stopping):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(execute, "execute", no_kernel)
    refused("01_more.ipynb could not be executed: RuntimeError: no kernel", "01", "--execute")


# PDF


def browser(folder, script):
    """A script that is called as Chromium would be; ``$pdf`` is the path of the PDF."""
    path = folder / "chromium"
    find = 'for a in "$@"; do case "$a" in --print-to-pdf=*) pdf="${a#*=}";; esac; done'
    path.write_text(f"#!/bin/sh\n{find}\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_pdfs_are_printed_beside_the_decks(course, monkeypatch, tmp_path_factory):
    program = browser(
        tmp_path_factory.mktemp("bin"), "printf '%%PDF /Type /Page /Type /Page /Type/Page /Type /Page' > $pdf"
    )
    monkeypatch.setattr(pdf, "find_chromium", lambda: program)
    assert run("--pdf") == "00_start: printed 01_more: printed 2 decks, also as PDF, in slides"
    assert listed("slides") == ["00_start.html", "00_start.pdf", "01_more.html", "01_more.pdf"]
    run("--pdf")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no display >&2", "no display"),
        ("printf '%%PDF /Type /Page /Type /Pages' > $pdf; echo blank >&2", "blank"),
        ("exec sleep 5", "no PDF within 0.2 s"),
    ],
)
def test_a_browser_that_prints_too_little_is_reported(course, monkeypatch, tmp_path_factory, script, said):
    program = browser(tmp_path_factory.mktemp("bin"), script)
    monkeypatch.setattr(pdf, "find_chromium", lambda: program)
    if "sleep" in script:
        monkeypatch.setattr(pdf, "TIMEOUT", 0.2)
    refused(f"could not print 01_more.html: {said}", "01", "--pdf")


def test_without_a_browser_there_is_no_pdf(course, monkeypatch):
    monkeypatch.setattr(pdf, "find_chromium", lambda: None)
    refused("--pdf needs Chromium, Chrome or Edge, and none was found", "--pdf")


# The parts from npm


class Registry(ThreadingHTTPServer):
    """An npm registry that serves tiny packages under the names that decks use."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.tarballs = {name: tarball(name) for name in parts.USES}
        self.asked = []


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        name = unquote(self.path).removeprefix("/").removesuffix(".tgz")
        body = self.server.tarballs.get(name)
        if body and not self.path.endswith(".tgz"):
            dist = {"tarball": f"{self.server.url}/{name}.tgz", "integrity": integrity(body)}
            version = {"name": name, "version": "1.0.0", "dist": dist}
            answer = {"name": name, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
            body = json.dumps(answer).encode()
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body or b"{}")

    def log_message(self, *_):
        pass


def integrity(content):
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()


def tarball(name):
    faces = "\n".join(
        f"@font-face {{ font-family: {script}; src: url(./files/a-{script}-wght-normal.woff2) format('woff2'); }}"
        for script in ("latin", "cyrillic")
    )
    mine = [path for path in (*parts.SCRIPTS, *parts.SHEETS) if path.startswith(f"{name}/")]
    content = {path.removeprefix(f"{name}/"): faces if "fontsource" in name else f"/* {path} */" for path in mine}
    content |= {"files/a-latin-wght-normal.woff2": "font", "LICENSE": f"licence of {name}"}
    content["package.json"] = json.dumps({"name": name, "version": "1.0.0"})
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path, text in content.items():
            info = tarfile.TarInfo(f"package/{path}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue()


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry on this machine, which npm and the pins use; nothing is fetched yet."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    server = Registry()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    versions = dict.fromkeys(parts.USES, "1.0.0")
    package = {"name": "x", "dependencies": versions}
    locked = {
        f"node_modules/{name}": {"version": "1.0.0", "license": "MIT", "integrity": integrity(content)}
        for name, content in server.tarballs.items()
    }
    lock = {"name": "x", "lockfileVersion": 3, "requires": True, "packages": {"": package} | locked}
    for name, content in {"package.json": package, "package-lock.json": lock}.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr(parts, "PINS", (tmp_path / "package.json", tmp_path / "package-lock.json"))
    for name, value in {
        "COURSEKIT_DATA": tmp_path / "data",
        "npm_config_registry": server.url,
        "npm_config_cache": tmp_path / "npm",
        "npm_config_userconfig": tmp_path / "npmrc",
        "npm_config_fetch_retry_mintimeout": 10,
        "no_proxy": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, str(value))
    yield server
    server.shutdown()
    server.server_close()


def test_parts_are_fetched_once_with_the_typefaces_in_the_style_sheet(registry, monkeypatch):
    found = parts.parts(print)
    assert "reveal.css" in found.style
    assert found.style.count("@font-face") == 5
    assert f"data:font/woff2;base64,{base64.b64encode(b'font').decode()}" in found.style
    assert "cyrillic" not in found.style
    assert "url(./" not in found.style
    assert re.findall(r"/\* (\S+) \*/", found.script) == list(parts.SCRIPTS)
    assert [name for name in parts.USES if f"licence of {name}" in found.licences] == list(parts.USES)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("fetched twice"))
    assert parts.parts(print) == found
    assert parts.packages()[0] == "reveal.js 1.0.0, the slides (MIT)"


def left(folder):
    return [path.name for path in Path(folder).rglob("*")]


def test_a_package_other_than_the_pinned_one_is_refused(registry, tmp_path):
    name = "mathjax"
    registry.tarballs[name] = tarball("reveal.js")
    with pytest.raises(CourseError, match=r"(?s)npm could not get them.*(EINTEGRITY|integrity)"):
        parts.parts(print)
    assert left(tmp_path / "data" / "slides") == []


def test_a_registry_that_lacks_a_package_is_reported(registry, tmp_path):
    del registry.tarballs["mathjax"]
    with pytest.raises(CourseError, match=r"(?s)npm could not get them.*404.*copy the file .*slides"):
        parts.parts(print)
    assert left(tmp_path / "data" / "slides") == []


def test_without_npm_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(CourseError, match=r"(?s)npm, which fetches them, is not installed.*install Node.js"):
        parts.parts(print)
    assert left(tmp_path / "slides") == []


def test_an_npm_that_takes_too_long_is_reported(tmp_path, monkeypatch):
    def slow(*_, **__):
        raise subprocess.TimeoutExpired("npm", 300)

    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda _: "npm")
    monkeypatch.setattr(subprocess, "run", slow)
    with pytest.raises(CourseError, match="npm did not get them within 300 s"):
        parts.parts(print)


def test_a_cache_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    (tmp_path / "slides").write_text("a file in its place", encoding="utf-8")
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    with pytest.raises(CourseError, match=r"cannot write the parts of the slides to .* set COURSEKIT_DATA"):
        parts.parts(print)


def test_every_package_is_pinned_with_its_checksum():
    pinned = json.loads(parts.PINS[1].read_text(encoding="utf-8"))["packages"]
    assert {name.removeprefix("node_modules/") for name in pinned if name} == set(parts.USES)
    assert all(pinned[name]["integrity"].startswith("sha512-") for name in pinned if name)
    assert not any("resolved" in package for package in pinned.values())  # each machine chooses its registry
