"""A real browser. Without one these tests are skipped and say why; in CI, which has one, they fail."""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab import SECONDS
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from coursekit import cli
from coursekit.course.browser import find_chromium
from coursekit.errors import CourseError
from coursekit.notebooks import files
from coursekit.notebooks.slides.parts import NPM_CI

HERE = Path(__file__).parent
COURSE = files.find_notebooks([HERE.parents[1] / "notebooks"])
PATIENCE = 1000 * SECONDS  # milliseconds
SHOTS = HERE.parents[1] / "runs" / "browser"  # screenshots of failed tests

# What axe finds at level A or AA and calls serious, and text with a contrast that it could not determine. The other
# slides are removed meanwhile: they are invisible, and axe would check them all. It ignores pseudo-elements: ours are
# stripes and spacers without text, and axe would skip every element that has one.
AUDIT = """async (within) => {
  const slides = [...document.querySelectorAll(".slides .slide:not(.present)")].map((it) => [it, [...it.childNodes]]);
  slides.forEach(([slide]) => slide.replaceChildren());
  const found = await axe.run(within || document, {
    runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    checks: {"color-contrast": {options: {ignorePseudo: true}}},
    resultTypes: ["violations", "incomplete"],
    preload: false,
  });
  slides.forEach(([slide, nodes]) => slide.replaceChildren(...nodes));
  const tell = (rule, node) => [`${rule.id}, ${rule.impact}`, node.target, node.html, node.failureSummary].join("\\n");
  const signs = ["nonBmp", "shortTextContent"];  // one letter or a ✓, whose contrast axe never judges
  const judged = (node) => signs.includes(node.any[0].data.messageKey);
  const read = [...found.passes, ...found.violations].some((rule) => rule.id === "color-contrast");
  return [
    ...(read ? [] : ["axe saw no text"]),
    ...found.violations.filter((rule) => ["serious", "critical"].includes(rule.impact))
      .flatMap((rule) => rule.nodes.map((node) => tell(rule, node))),
    ...found.incomplete.filter((rule) => rule.id === "color-contrast")
      .flatMap((rule) => rule.nodes.filter((node) => !judged(node)).map((node) => tell(rule, node))),
  ];
}"""


@pytest.fixture(scope="session")
def lacking():
    """Ends the test because something is missing: skipped at home, failed in CI."""
    return pytest.fail if os.environ.get("CI") else pytest.skip


@pytest.fixture(scope="session")
def browser(lacking):
    """Chromium, started once."""
    program = find_chromium()
    if program is None:
        lacking("no Chromium, Chrome or Edge was found")
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        lacking("playwright is not installed")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def opening(browser, request):
    """Opens a page of 1280 × 720; if a test fails while it is open, a screenshot is kept in runs/browser."""

    @contextmanager
    def opening(name, **options):
        context = browser.new_context(viewport={"width": 1280, "height": 720}, **options)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        failed_before = request.session.testsfailed
        yield page
        if request.session.testsfailed > failed_before:
            SHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=SHOTS / f"{name}.png")
        context.close()

    return opening


@pytest.fixture
def page(opening, request):
    """A page without a network; at the end, it must have made no request and logged no complaint."""
    with opening(request.node.name, offline=True) as page:
        said = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or said.append(request.url))
        yield page
        assert said == []


@pytest.fixture(scope="session")
def course_decks(tmp_path_factory, browser, lacking):
    """The folder of the lectures' decks, HTML and PDF, made by one command."""
    folder = tmp_path_factory.mktemp("decks")
    made = CliRunner().invoke(cli.app, ["slides", *map(str, COURSE), "--pdf", "--out", str(folder)])
    if isinstance(made.exception, CourseError) and "npm" in str(made.exception):
        lacking(str(made.exception))
    assert made.exit_code == 0, made.exception
    return folder


@pytest.fixture
def open_deck(page, course_decks):
    """Opens a deck at its first slide."""

    def open_deck(name):
        page.goto((course_decks / f"{name}.html").as_uri())
        page.wait_for_function("window.Reveal && Reveal.isReady()")
        return page

    return open_deck


@pytest.fixture(scope="session")
def axe(tmp_path_factory, lacking):
    """The source of axe-core, which tests accessibility; npm fetches the version in package-lock.json."""
    npm = shutil.which("npm")
    if npm is None:
        lacking("npm, which fetches axe-core, is not installed")
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, folder)
    done = subprocess.run([npm, *NPM_CI], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        lacking(f"npm could not get axe-core: {done.stderr}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def audit(axe):
    """What axe finds on a page, or in the elements of a selector: rule, element and reason; empty if nothing."""

    def audit(page, within=None):
        if not page.evaluate("'axe' in window"):
            page.evaluate(axe)
        return "\n\n".join(page.evaluate(AUDIT, within))

    return audit


FAILING = {  # miniature lectures, and the cells in which they fail
    "51_fails": 'claim("One is two", at_most(1), value=2, source="a lecture that is wrong")',
    "52_raises": 'raise ValueError("it was bound to happen, and " + "the message is a long one, " * 9)',
}
CLAIMS = """\
claim("Two is more than one", at_least(1), value=2, source="arithmetic")
claim("Not judged at smoke", at_most(1), value=2, source="training", trained=True)
"""


def miniature(title, end):
    """A lecture that makes two claims before it fails."""
    cells = [
        new_code_cell('PROFILE, SEED, DEVICE = "smoke", 0, "auto"', metadata={"tags": ["parameters"]}),
        new_code_cell("from coursekit.course import at_least, at_most, claim, setup\nsetup(PROFILE, SEED, DEVICE)"),
        new_code_cell(CLAIMS),
        new_code_cell(end),
    ]
    return new_notebook(cells=[new_markdown_cell(f"# {title}"), *cells])


@pytest.fixture(scope="session")
def reports(tmp_path_factory):
    """The folders of two runs at smoke: one of a lecture that succeeds, one of two that fail."""
    folder = tmp_path_factory.mktemp("reports")
    for name, end in FAILING.items():
        files.write(miniature(f"{name[:2]} · It {name[3:]}", end), folder / f"{name}.ipynb")
    asked = {"good": [COURSE[0]], "bad": [folder / f"{name}.ipynb" for name in FAILING]}
    for out, paths in asked.items():
        command = [sys.executable, "-m", "coursekit", "run", *map(str, paths), "--profile", "smoke", "--out", out]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == (out == "bad"), done.stdout + done.stderr
    return {out: folder / out for out in asked}
