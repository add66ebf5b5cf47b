"""A real browser. Without one these tests are skipped with the reason; in CI, where one is promised, they fail."""

import os
from pathlib import Path

import pytest

from coursekit.course.browser import find_chromium

SHOTS = Path(__file__).parents[2] / "runs" / "browser"  # what the browser showed when a test failed


@pytest.fixture(scope="session")
def lacking():
    """Ends the test because something is not there: skipped at home, failed in CI."""
    return pytest.fail if os.environ.get("CI") else pytest.skip


@pytest.fixture(scope="session")
def browser(lacking):
    """Chromium, started once."""
    program = find_chromium()
    if program is None:
        lacking("no Chromium, Chrome or Edge was found")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        lacking("playwright is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture
def page(browser, request):
    """A page of 1280 × 720 without a network; if the test fails, its picture is kept in runs/browser."""
    context = browser.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    page = context.new_page()
    failed_before = request.session.testsfailed
    yield page
    if request.session.testsfailed > failed_before:
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SHOTS / f"{request.node.name}.png")
    context.close()
