"""The report of a run as a reader sees it, on a screen and on a telephone, in a browser without a network."""

import json
import re
from urllib.parse import unquote

import pytest

from coursekit.notebooks import files

KINDS = ["good", "bad"]
WORDS = {"holds": "held", "fails": "failed", "not judged": "not judged"}


@pytest.fixture(params=KINDS)
def run(request, reports):
    """The folder of a run that succeeded, and of one that failed."""
    return reports[request.param]


@pytest.fixture
def opened(page, run):
    """The report of the run."""
    page.goto((run / "index.html").as_uri())
    return page


def recorded(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))["notebooks"]


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_overflows_the_page_sideways(opened, width):
    opened.set_viewport_size({"width": width, "height": 800})
    outside = opened.evaluate(
        """(width) => [...document.body.querySelectorAll("*")]
          .filter((it) => !it.closest("thead") && !it.parentElement.closest("pre, code"))
          .filter((it) => it.getBoundingClientRect().right > width || it.getBoundingClientRect().left < 0)
          .map((it) => it.outerHTML.slice(0, 120))""",
        width,
    )
    assert outside == []
    assert opened.evaluate("document.scrollingElement.scrollWidth") == width


@pytest.mark.parametrize("width", [1280, 390])
def test_every_claim_is_shown_with_its_verdict_in_words(opened, run, width):
    opened.set_viewport_size({"width": width, "height": 800})
    claims = [claim for entry in recorded(run) for claim in entry["claims"]]
    rows = opened.locator(".claims tbody tr").all()
    assert len(rows) == len(claims) > 0
    for row, claim in zip(rows, claims, strict=True):
        told = " ".join(row.inner_text().split())
        assert re.match(rf"\W*{WORDS[claim['verdict']]} {claim['number']}\. {re.escape(claim['statement'])} ", told)


def test_every_notebook_is_shown_with_its_status_in_words(opened, run):
    entries = recorded(run)
    for entry in entries:
        status = re.compile(rf"^\W*{entry['status']}$")
        article = opened.locator("article").filter(has=opened.locator(f"[id='{entry['name']}-title']"))
        assert status.match(article.locator("header .status").inner_text())
        row = opened.locator(".overview tr").filter(has_text=entry["name"])
        assert status.match(row.locator(".status").inner_text())
    assert {entry["status"] for entry in entries} in ({"ok"}, {"claim failed", "error"})


def test_what_failed_is_on_the_page_with_its_cell_and_its_message(page, reports):
    page.goto((reports["bad"] / "index.html").as_uri())
    assert "2 of 2 notebooks need attention" in page.locator("h1").inner_text()
    told = page.locator(".problem").all_inner_texts()
    assert len(told) == 2
    assert "ClaimFailed: claim 3: One is two: expected ≤ 1, measured 2" in told[0]
    assert "ValueError: it was bound to happen" in told[1]


def test_the_figures_are_shown(page, reports):
    page.goto((reports["good"] / "index.html").as_uri())
    (executed,) = (reports["good"] / "notebooks").glob("*.ipynb")
    pictures = page.locator(".figures img").all()
    assert len(pictures) == len(files.figures(files.read(executed))) > 1
    for picture in pictures:
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("(it) => it.decode().then(() => it.naturalWidth)") > 100
        assert picture.bounding_box()["width"] > 100
        assert len(picture.get_attribute("alt") or "") > 20


def test_every_link_leads_somewhere(opened, run):
    links = opened.eval_on_selector_all("a", "all => all.map((it) => it.getAttribute('href'))")
    assert {f"notebooks/{entry['name']}.ipynb" for entry in recorded(run)} | {"run.json"} <= set(links)
    for link in links:
        if link.startswith("#"):
            assert opened.locator(f"[id='{unquote(link[1:])}']").count() == 1, link
        else:
            assert (run / unquote(link)).is_file(), link
