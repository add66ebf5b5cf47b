"""Slides and reports can be read, distinguished and reached with the keyboard, by axe and by hand.

``test_lab.py`` tests the outputs of notebooks, in JupyterLab.
"""

import io
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from coursekit.notebooks import files

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
DECKS = ["00_start_here", "03_decisions", "09_autoencoders"]  # the parts of the course differ in colour
# What Tab should reach: links, elements with a tabindex, and boxes that scroll sideways.
STOPS = """() => window.stops = [...document.querySelectorAll("*")].filter((it) => it.matches("a, [tabindex]")
  || (it.scrollWidth > it.clientWidth && getComputedStyle(it).overflowX === "auto"))"""


def place(page):
    return page.evaluate("Reveal.getSlidePastCount()")


@pytest.mark.parametrize("name", DECKS)
def test_axe_finds_nothing_on_any_slide(open_deck, audit, name):
    page = open_deck(name)
    for number in range(page.evaluate("Reveal.getTotalSlides()")):
        assert place(page) == number
        found = audit(page, ".slide.present")
        assert not found, f"{name}, slide {number + 1}:\n{found}"
        page.keyboard.press("ArrowRight")


def test_a_deck_gives_verdicts_in_words(open_deck):
    page = open_deck("03_decisions")
    told = page.eval_on_selector_all(
        "[data-verdict]",
        """all => all.map((it) => {
          it.querySelectorAll("[aria-hidden]").forEach((sign) => sign.remove());
          return [it.dataset.verdict, it.textContent];
        })""",
    )
    made = files.records(files.read(NOTEBOOKS / "03_decisions.ipynb"), "claim")
    assert len(told) == 2 * len(made)  # each on its slide and in the table
    assert [text for verdict, text in told if verdict not in text] == []


def test_arrows_lead_through_a_deck_and_back(open_deck):
    page = open_deck("00_start_here")
    last = page.evaluate("Reveal.getTotalSlides()") - 1
    seen = [place(page)]
    for key in ["ArrowRight"] * last + ["ArrowLeft"] * last:
        page.keyboard.press(key)
        seen.append(place(page))
    assert seen == [*range(last + 1), *reversed(range(last))]


def test_escape_shows_all_slides_and_leads_back_to_one(open_deck):
    page = open_deck("00_start_here")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert page.evaluate("Reveal.isOverview()")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert not page.evaluate("Reveal.isOverview()")
    assert place(page) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("kind", ["good", "bad"])
def test_axe_finds_nothing_on_a_report(page, reports, audit, kind, width, scheme):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto((reports[kind] / "index.html").as_uri())
    found = audit(page)
    assert not found, found


def around(page, index):
    """A screenshot of an element that can have the focus, with a margin around it."""
    box = page.evaluate("(index) => stops[index].getBoundingClientRect().toJSON()", index)
    clip = {"x": box["x"] - 8, "y": box["y"] - 8, "width": box["width"] + 16, "height": box["height"] + 16}
    return Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("L")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_tab_reaches_everything_on_a_report_with_a_visible_focus(page, reports, scheme):
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto((reports["bad"] / "index.html").as_uri())
    page.evaluate(STOPS)
    count = page.evaluate("stops.length")
    assert count >= 9  # two lectures in the table, their files, the cells that failed, the tracebacks, the numbers
    for index in range(count):
        page.keyboard.press("Tab")
        assert page.evaluate("stops.indexOf(document.activeElement)") == index
        focused = around(page, index)
        page.evaluate("document.activeElement.blur()")
        changed = ImageChops.difference(focused, around(page, index)).point(lambda value: 255 * (value > 60))
        assert changed.histogram()[255] > focused.width  # at least as much as a line under it
        page.evaluate("(index) => stops[index].focus()", index)
