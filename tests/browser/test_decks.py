"""Every slide of every deck, and of one that holds too much, in a browser without a network."""

import base64
import io
import re
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from typer.testing import CliRunner

from coursekit import cli
from coursekit.course.display import FRAMES
from coursekit.notebooks import files
from coursekit.notebooks.links import tagged

COURSE = files.find_notebooks([Path(__file__).parents[2] / "notebooks"])
DECKS = [*(path.stem for path in COURSE), "too_much"]
NEW_FORM = [path.stem for path in COURSE if tagged(files.read(path), "about")]  # the others follow, one by one
SMALLEST = 14  # pixels on a slide 720 pixels high: the back row can still read it

# What leaves the current slide or overflows its box, the size of the smallest text, and what lacks alternative text.
LOOK = """() => {
  const slide = Reveal.getCurrentSlide();
  const page = slide.querySelector(".page");
  const parts = [...page.querySelectorAll("*")].filter((it) => !it.closest("svg, mjx-assistive-mml, .numeral"));
  const box = (it) => it.getBoundingClientRect();
  const outside = (it) => box(it).left < -1 || box(it).top < -1 || box(it).right > 1281 || box(it).bottom > 721;
  const written = parts.filter((it) => [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim()));
  const body = page.querySelector(".body");
  const foot = page.querySelector(".foot");
  return {
    outside: parts.filter(outside).map((it) => it.outerHTML.slice(0, 120)),
    overflow: [...(body ? [body] : []), ...page.querySelectorAll("pre")]
      .filter((it) => it.scrollHeight > it.clientHeight + 1 || it.scrollWidth > it.clientWidth + 1)
      .map((it) => it.outerHTML.slice(0, 120)),
    formulas: [...page.querySelectorAll("mjx-container svg")].filter(outside).length,
    smallest: Math.min(...written.map((it) => parseFloat(getComputedStyle(it).fontSize))),
    count: page.querySelector(".count").textContent,
    raw: written.filter((it) => !it.closest("pre, code") && /\\$[^$]+\\$|\\\\begin/.test(it.textContent)).length,
    unnamed: [...page.querySelectorAll("img")].filter((it) => !it.alt.trim()).length,
  };
}"""


def md(source, kind="-"):
    return new_markdown_cell(source, metadata={"slideshow": {"slide_type": kind}})


def code(source, *outputs, tags=()):
    metadata = {"slideshow": {"slide_type": "-"}, "tags": list(tags)}
    return new_code_cell(source, outputs=list(outputs), execution_count=1, metadata=metadata)


def figure(width, height):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "navy").save(file, "PNG")
    png = base64.b64encode(file.getvalue()).decode()
    about = {"alt": "A blue rectangle.", "width": width, "height": height}
    return new_output("display_data", data={"image/png": png}, metadata={"image/png": about})


def moving(*colours):
    """A still picture in black with a frame for each colour; the second is the default."""
    output = figure(700, 300)
    frames = []
    for colour in colours:
        file = io.BytesIO()
        Image.new("RGB", (600, 300), colour).save(file, "WEBP", lossless=True)
        frames.append(base64.b64encode(file.getvalue()).decode())
    controls = [{"name": "colour", "labels": list(colours), "at": 1}]
    output["data"][FRAMES] = {"controls": controls, "mime": "image/webp", "frames": frames}
    return output


def too_much():
    """A notebook with too much on every slide."""
    rows = "".join(f"| {k} | words about row {k} |\n" for k in range(60))
    items = "\n".join(f"- item {k} of a list that is far too long for one slide" for k in range(40))
    terms = " + ".join(rf"\alpha_{{{k}}} x^{{{k}}}" for k in range(25))
    hidden = ["hide-input"]
    return new_notebook(
        cells=[
            md("# 99 · Too much\n\n**Does everything fit?**\n\nAfter this you can\n\n- see it.", "slide"),
            md("Breathe.", "notes"),
            md("## 1 · Long code", "slide"),
            code("\n".join(f"value_{k} = compute({k})  # line {k}" for k in range(60))),
            md(f"## 2 · A wide formula\n\n$${terms}$$", "slide"),
            code("x = " + "y + " * 25 + "z", new_output("stream", text="w" * 110)),
            md(f"## 3 · A long table\n\n| k | words |\n|---|---|\n{rows}", "slide"),
            md(f"## 4 · A long list\n\n{items}", "slide"),
            md("## 5 · A long paragraph\n\n" + "It goes on and on and on. " * 70, "slide"),
            md("Say this, slowly.", "notes"),
            md("## 6 · A square figure\n\nThe text stands beside it, since the figure is larger so.", "slide"),
            code("f", figure(500, 500), tags=hidden),
            md("## 7 · A figure like a tower", "slide"),
            code("f", figure(300, 1500), tags=hidden),
            md("## 8 · Four figures", "slide"),
            code("f", *[figure(700, 400)] * 4, tags=hidden),
            md("## 9 · A figure that moves", "slide"),
            code("f", moving("red", "green", "blue"), tags=hidden),
        ]
    )


@pytest.fixture(scope="session", autouse=True)
def deck_of_too_much(tmp_path_factory, course_decks):
    """A deck of it, beside those of the course."""
    path = tmp_path_factory.mktemp("too_much") / "too_much.ipynb"
    files.write(too_much(), path)
    made = CliRunner().invoke(cli.app, ["slides", str(path), "--pdf", "--out", str(course_decks)])
    assert made.exit_code == 0, made.exception


def ink(page):
    """The fraction of pixels between heading and foot that differ from the slide's background."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("L").crop((40, 110, 1240, 660))
    background = picture.getpixel((0, 0))
    return sum(n for n, value in picture.getcolors() if abs(value - background) > 40) / (1200 * 550)


@pytest.mark.parametrize("name", DECKS)
def test_every_slide_is_whole_readable_and_not_blank(open_deck, name):
    page = open_deck(name)
    total = page.evaluate("Reveal.getTotalSlides()")
    for number in range(1, total + 1):
        seen = page.evaluate(LOOK)
        where = f"{name}, slide {number}: "
        assert seen["count"] == f"{number} / {total}", where
        assert (seen["outside"], seen["overflow"], seen["formulas"]) == ([], [], 0), where
        assert seen["smallest"] >= (SMALLEST if name != "too_much" else 9), where
        assert seen["raw"] == 0, where + "TeX that was not typeset"
        assert seen["unnamed"] == 0, where + "an image without alternative text"
        assert ink(page) > 0.0005, where + "blank"
        page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.isLastSlide()")


@pytest.mark.parametrize("name", DECKS)
def test_the_pdf_has_one_page_per_slide(open_deck, course_decks, name):
    pages = re.findall(rb"/Type\s*/Page\b", (course_decks / f"{name}.pdf").read_bytes())
    assert len(pages) == open_deck(name).evaluate("Reveal.getTotalSlides()")


def test_what_is_too_much_for_a_slide_continues_on_the_next(open_deck):
    page = open_deck("too_much")
    heads = page.eval_on_selector_all(".head h2", "all => all.map((it) => it.textContent.trim().replace(/\\s+/g, ' '))")
    for heading, least in {"1 Long code": 3, "3 A long table": 4, "4 A long list": 2, "8 Four figures": 2}.items():
        assert sum(head.startswith(heading) for head in heads) >= least, heading
        assert heads.count(heading) == 1
    words = page.eval_on_selector_all(".body", "all => all.map((it) => it.textContent).join(' ')")
    for k in range(60):
        assert f"# line {k}" in words
        assert len(re.findall(rf"row {k}\b", words)) == 1
    assert all(f"item {k} of" in words for k in range(40))
    assert page.locator("img").count() == 7


def test_a_square_figure_has_its_text_beside_it(open_deck):
    page = open_deck("too_much")
    assert page.locator(".body.beside").count() == 1
    assert page.locator(".body.beside .figure").count() == 1


def colour_of_the_picture(page):
    picture = page.locator(".present .picture img")
    return Image.open(io.BytesIO(picture.screenshot())).convert("RGB").getpixel((300, 100))


def test_a_slider_moves_through_the_stored_frames_and_gives_the_keys_back(open_deck):
    page = open_deck("too_much")
    page.evaluate("Reveal.slide(Reveal.getHorizontalSlides().length - 2)")
    slider = page.get_by_role("slider", name="colour")
    assert colour_of_the_picture(page) == (0, 128, 0)
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert colour_of_the_picture(page) == (0, 0, 255)
    assert page.locator(".present output").text_content() == "blue"
    assert slider.get_attribute("aria-valuetext") == "blue"
    page.keyboard.press("ArrowRight")  # the end of the slider, and still the same slide
    page.keyboard.press("Home")
    assert colour_of_the_picture(page) == (255, 0, 0)

    here = page.evaluate("Reveal.getIndices().h")
    page.keyboard.press("PageDown")  # the key of a presenter's remote control
    assert page.evaluate("Reveal.getIndices().h") == here + 1
    page.keyboard.press("ArrowLeft")
    slider.click(position={"x": 5, "y": 8})  # with the mouse, and the next key turns the slide
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.getIndices().h") == here + 1


def test_paper_shows_the_still_picture_without_a_slider(page, course_decks):
    page.goto((course_decks / "too_much.html").as_uri() + "?print-pdf")
    page.wait_for_function("window.Reveal && Reveal.isReady()", timeout=60_000)
    assert not page.get_by_role("slider", name="colour").is_visible()
    source = page.locator(".figure[data-print] img").get_attribute("src")
    assert source.startswith("data:image/png")
    assert page.locator(".figure[data-print]").evaluate("it => it.style.getPropertyValue('--w').trim()") == "700"


def filled(page):
    """The fraction of the height between heading and foot that lies between the first and the last ink."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("L").crop((40, 110, 1240, 660))
    paper = picture.getpixel((0, 0))
    box = picture.point(lambda value: 255 * (abs(value - paper) > 40)).getbbox()
    return (box[3] - box[1]) / picture.height if box else 0.0


@pytest.mark.parametrize("name", NEW_FORM)
def test_a_deck_has_at_most_30_slides_and_none_is_nearly_empty(open_deck, name):
    page = open_deck(name)
    total = page.evaluate("Reveal.getTotalSlides()")
    assert total <= 30
    for number in range(2, total + 1):
        page.keyboard.press("ArrowRight")
        assert filled(page) >= 1 / 3, f"{name}, slide {number}"


def test_the_speaker_sees_the_notes(open_deck):
    page = open_deck("too_much")
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    popup.value.locator(".speaker-controls-notes", has_text="Breathe.").wait_for(timeout=30_000)
