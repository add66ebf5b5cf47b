"""Every slide of every deck, and of two that hold too much and little, in a browser without a network."""

import base64
import io
import itertools
import re
from pathlib import Path

import pytest
from decks import turn_to
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image, ImageChops, ImageColor
from typer.testing import CliRunner

from coursekit import cli
from coursekit.course.display import FRAMES
from coursekit.notebooks import files

COURSE = files.find_notebooks([Path(__file__).parents[2] / "notebooks"])
DECKS = [*(path.stem for path in COURSE), "too_much", "little"]
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


def code(source, *outputs, tags=(), kind="-"):
    metadata = {"slideshow": {"slide_type": kind}, "tags": list(tags)}
    return new_code_cell(source, outputs=list(outputs), execution_count=1, metadata=metadata)


def figure(width, height):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "navy").save(file, "PNG")
    png = base64.b64encode(file.getvalue()).decode()
    about = {"alt": "A blue rectangle.", "width": width, "height": height}
    return new_output("display_data", data={"image/png": png}, metadata={"image/png": about})


def stored(kind, *colours, **options):
    """A picture of one colour as a file in base64; of several, they follow each other."""
    file = io.BytesIO()
    first, *others = (Image.new("RGB", (600, 300), colour) for colour in colours)
    first.save(file, kind, **options, **({"save_all": True, "append_images": others} if others else {}))
    return base64.b64encode(file.getvalue()).decode()


def moving(*controls):
    """A still picture in navy with a frame for each choice; a control is its name and its colours, and begins at 1."""
    output = figure(700, 300)
    names, lists = zip(*controls, strict=True)
    frames = [stored("WEBP", mixed(choice), lossless=True) for choice in itertools.product(*lists)]
    about = [{"name": name, "labels": list(labels), "at": 1} for name, labels in zip(names, lists, strict=True)]
    output["data"][FRAMES] = {"controls": about, "mime": "image/webp", "frames": frames}
    return output


def mixed(colours):
    """The sum of named colours."""
    channels = zip(*(ImageColor.getrgb(colour)[:3] for colour in colours), strict=True)
    return tuple(min(255, sum(channel)) for channel in channels)


def animation():
    """A picture that turns from navy to red and to blue again and again."""
    output = figure(700, 300)
    output["data"]["image/png"] = stored("PNG", "navy", "red", "blue", duration=50, loop=0)
    return output


def record(kind, content):
    return new_output("display_data", data={"text/plain": "x"}, metadata={"coursekit": {kind: content}})


def claim(number):
    made = {"number": number, "statement": "It finds the object", "verdict": "holds", "value": 0.93, "bound": "≥ 0.85"}
    return record("claim", made | {"source": "E03", "controls": {"untrained net": 0.21, "centre": 0.38}})


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
            code("f", moving(("colour", ["red", "green", "blue"])), tags=hidden),
        ]
    )


def little():
    """A notebook of many short slides: a page for each would be nearly empty."""
    hidden = ["hide-input"]
    table = record("table", {"claims": 3})
    guess = {"question": "Which of them knows?", "options": ["left", "right"]}
    answer = {"question": "Which of them knows?", "said": None, "measured": "left"}
    return new_notebook(
        cells=[
            md("# 98 · Little\n\n**Is there enough?**\n\nA few words say why.", "slide"),
            code("f", figure(900, 300), tags=hidden, kind="subslide"),
            code('g = guess("Which of them knows?", ["left", "right"])', record("guess", guess)),
            md("## 1 · One page for four slides\n\nA few words.", "slide"),
            md("Say the first.", "notes"),
            code("x = 1"),
            code("claim", claim(1), tags=hidden),
            md("### A heading below\n\nA few words more.", "subslide"),
            md("Say the second.", "notes"),
            code("check", record("checks", []), tags=hidden, kind="subslide"),
            code("g.reveal()", record("answer", answer), kind="subslide"),
            code("claim", claim(2), tags=hidden, kind="subslide"),
            md("## 2 · Frames of one control", "slide"),
            code("f", moving(("colour", ["red", "lime", "blue"])), tags=hidden),
            code("claim", claim(3), tags=hidden, kind="subslide"),
            md("## 3 · Frames of two controls", "slide"),
            code("f", moving(("first", ["black", "red"]), ("second", ["black", "lime", "blue"])), tags=hidden),
            md("## 4 · An animation", "slide"),
            code("f", animation(), tags=hidden),
            md(
                "## 5 · Alone\n\n" + "These words are all that their section has, so they are large. " * 4,
                "slide",
            ),
            md("## 6 · What we saw\n\n- little.", "slide"),
            code("claims_table()", table, kind="subslide"),
        ]
    )


@pytest.fixture(scope="session", autouse=True)
def decks_made_by_hand(tmp_path_factory, course_decks):
    """Their decks, beside those of the course."""
    folder = tmp_path_factory.mktemp("by_hand")
    for nb in (too_much, little):
        files.write(nb(), folder / f"{nb.__name__}.ipynb")
    made = CliRunner().invoke(cli.app, ["slides", str(folder), "--pdf", "--out", str(course_decks)])
    assert made.exit_code == 0, made.exception


def ink(page):
    """The fraction of pixels between heading and foot that differ from the slide's background."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("L").crop((40, 110, 1240, 660))
    background = picture.getpixel((0, 0))
    return sum(n for n, value in picture.getcolors() if abs(value - background) > 40) / (1200 * 550)


def filled(page):
    """The fraction of the height between heading and foot that lies between the first and the last ink of the body."""
    top, bottom = page.evaluate(
        """async () => {
          const page = Reveal.getCurrentSlide().querySelector(".page");
          await Promise.all([...page.querySelectorAll("img")].map((image) => image.decode()));
          page.querySelector(".footers").style.visibility = "hidden";  // claims fill no slide
          const edge = (it, side) => page.querySelector(it).getBoundingClientRect()[side];
          return [edge(".head", "bottom"), edge(".foot", "top")];
        }"""
    )
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").crop((40, round(top), 1240, round(bottom) - 12))
    paper = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    box = ImageChops.difference(picture, paper).point(lambda value: 255 * (value > 40)).getbbox()
    return (box[3] - box[1]) / picture.height if box else 0.0


@pytest.mark.parametrize("name", DECKS)
def test_a_deck_has_at_most_30_slides_each_whole_readable_and_not_nearly_empty(open_deck, name):
    page = open_deck(name)
    total = page.evaluate("Reveal.getTotalSlides()")
    assert total <= 30 or name == "too_much"
    for number in range(1, total + 1):
        seen = page.evaluate(LOOK)
        where = f"{name}, slide {number}: "
        assert seen["count"] == f"{number} / {total}", where
        assert (seen["outside"], seen["overflow"], seen["formulas"]) == ([], [], 0), where
        assert seen["smallest"] >= (SMALLEST if name != "too_much" else 9), where
        assert seen["raw"] == 0, where + "TeX that was not typeset"
        assert seen["unnamed"] == 0, where + "an image without alternative text"
        if number > 1 and name != "too_much":
            assert filled(page) >= 1 / 3, where + "nearly empty"
        else:
            assert ink(page) > 0.0005, where + "blank"
        page.keyboard.press("ArrowRight")
    assert page.evaluate("Reveal.isLastSlide()")


@pytest.mark.parametrize("name", ["03_decisions", "14_gan", "too_much", "little"])
def test_the_pdf_has_one_page_per_slide(page, course_decks, name):
    pages = re.findall(rb"/Type\s*/Page\b", (course_decks / f"{name}.pdf").read_bytes())
    # On paper, because strips and stills may have another shape than the frames that a screen shows.
    page.goto((course_decks / f"{name}.html").as_uri() + "?print-pdf")
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    assert len(pages) == page.locator(".page").count()


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


def place(page):
    return page.evaluate("Reveal.getIndices().h")


def test_a_slider_moves_through_the_stored_frames_and_gives_the_keys_back(open_deck):
    page = open_deck("little")
    turn_to(page, "Frames of one control")
    slider = page.get_by_role("slider", name="colour")
    assert colour_of_the_picture(page) == (0, 255, 0)
    slider.focus()
    here = place(page)
    page.keyboard.press("ArrowRight")
    assert colour_of_the_picture(page) == (0, 0, 255)
    assert page.locator(".present output").text_content() == "blue"
    assert slider.get_attribute("aria-valuetext") == "blue"
    page.keyboard.press("ArrowRight")  # the end of the slider, and still the same slide
    page.keyboard.press("Home")
    assert colour_of_the_picture(page) == (255, 0, 0)
    assert place(page) == here

    page.keyboard.press("PageDown")  # the key of a presenter's remote control
    assert place(page) == here + 1
    page.keyboard.press("ArrowLeft")
    slider.click(position={"x": 335, "y": 14})  # with the mouse, and the next key turns the slide
    assert colour_of_the_picture(page) == (0, 0, 255)
    page.keyboard.press("ArrowRight")
    assert place(page) == here + 1


def test_two_sliders_choose_from_a_grid(open_deck):
    page = open_deck("little")
    turn_to(page, "Frames of two controls")
    first, second = page.get_by_role("slider", name="first"), page.get_by_role("slider", name="second")
    assert colour_of_the_picture(page) == (255, 255, 0)
    second.press("End")
    assert colour_of_the_picture(page) == (255, 0, 255)
    first.press("Home")
    assert colour_of_the_picture(page) == (0, 0, 255)
    second.press("Home")
    assert colour_of_the_picture(page) == (0, 0, 0)


def test_a_finger_moves_a_slider_and_does_not_turn_the_slide(opening, course_decks):
    with opening("touch", offline=True, has_touch=True) as page:
        page.goto((course_decks / "little.html").as_uri())
        page.wait_for_function("window.Reveal && Reveal.isReady()")
        turn_to(page, "Frames of one control")
        here, box = place(page), page.get_by_role("slider", name="colour").bounding_box()
        touch = page.context.new_cdp_session(page)
        y = box["y"] + box["height"] / 2
        for kind, x in (("touchStart", 170), ("touchMove", 90), ("touchMove", 5)):
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": box["x"] + x, "y": y}]})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert page.get_by_role("slider", name="colour").input_value() == "0"
        assert place(page) == here


def moves(page):
    """Whether the animation shows its moving file now: an animated PNG has a chunk acTL before its pixels."""
    uri = page.locator(".slide", has_text="An animation").locator("img").get_attribute("src")
    return b"acTL" in base64.b64decode(uri.removeprefix("data:image/png;base64,"))


def test_an_animation_moves_until_its_button_is_pressed(open_deck):
    page = open_deck("little")
    turn_to(page, "An animation")
    here = place(page)
    assert moves(page)
    page.get_by_role("button", name="Pause").press("Space")
    assert not moves(page)
    assert colour_of_the_picture(page) == (0, 0, 128)
    page.get_by_role("button", name="Play").click()
    assert moves(page)
    assert place(page) == here


def test_an_animation_waits_for_its_button_where_less_motion_is_wanted(opening, course_decks):
    with opening("reduced", offline=True, reduced_motion="reduce") as page:
        page.goto((course_decks / "little.html").as_uri())
        page.wait_for_function("window.Reveal && Reveal.isReady()")
        turn_to(page, "An animation")
        assert not moves(page)
        page.get_by_role("button", name="Play").click()
        assert moves(page)


def test_paper_shows_the_still_pictures_without_sliders_and_buttons(page, course_decks):
    page.goto((course_decks / "little.html").as_uri() + "?print-pdf")
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    assert page.get_by_role("slider").count() == 0
    assert page.get_by_role("button", name="Pause").or_(page.get_by_role("button", name="Play")).count() == 0
    assert not moves(page)
    shown = page.locator(".slide", has_text="Frames of one control")
    assert shown.locator("img").get_attribute("src").startswith("data:image/png")
    assert shown.locator(".figure").evaluate("it => it.style.getPropertyValue('--w').trim()") == "700"


def test_short_slides_of_a_section_share_a_page(open_deck):
    page = open_deck("little")
    heads = page.eval_on_selector_all(".head h2", "all => all.map((it) => it.textContent.trim().replace(/\\s+/g, ' '))")
    assert heads == [
        "Little",
        "1 One page for four slides",
        "2 Frames of one control",
        "3 Frames of two controls",
        "4 An animation",
        "5 Alone",
        "6 What we saw",
        "About these slides",
    ]
    shared = page.locator(".slide", has_text="One page for four slides")
    assert shared.locator("h3").text_content() == "A heading below"
    assert [shared.locator(".notes").nth(k).text_content().strip() for k in range(2)] == [
        "Say the first.",
        "Say the second.",
    ]


def test_a_claim_is_one_line_at_the_foot_of_what_it_is_about(open_deck):
    page = open_deck("little")
    turn_to(page, "One page for four slides")
    lines = page.locator(".present .footers .claim")
    assert lines.count() == 2
    assert lines.first.text_content() == "✓holds: It finds the object: 0.93 ≥ 0.85 · centre 0.38; untrained net 0.21"
    sizes = lines.evaluate_all("all => all.map((it) => [it.clientHeight, parseFloat(getComputedStyle(it).fontSize)])")
    assert all(height < 1.6 * size and SMALLEST <= size < 18 for height, size in sizes)
    bottom, foot = (page.locator(f".present {it}").bounding_box()["y"] for it in (".footers", ".foot"))
    assert 0 < foot - bottom < 70
    assert page.locator(".claim").count() == 3
    assert page.locator(".slide", has_text="Frames of one control").locator(".footers .claim").count() == 1


def test_a_guess_shows_its_question_and_options(open_deck):
    page = open_deck("little")
    turn_to(page, "A few words say why")
    assert page.locator(".present .guess").inner_text().split("\n")[0].startswith("Your guess? Which of them knows?")
    assert page.locator(".present .guess li").all_text_contents() == ["left", "right"]
    turn_to(page, "One page for four slides")
    assert page.locator(".present .answer").text_content() == "Which of them knows? Measured: left."


def test_the_speaker_sees_the_notes(open_deck):
    page = open_deck("too_much")
    with page.expect_popup() as popup:
        page.keyboard.press("s")
    popup.value.locator(".speaker-controls-notes", has_text="Breathe.").wait_for()
