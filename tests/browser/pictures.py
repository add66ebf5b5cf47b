"""``make pictures``: take the screenshots of the README, in ``docs/``, of the current course, in some minutes."""

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from decks import turn_to
from lab import ROOT, Notebook, start
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from coursekit.course.browser import find_chromium
from coursekit.notebooks import files

DOCS = ROOT / "docs"
LECTURE = "04_fooling"
SLIDES = ["Generating and fooling", "Erratum E04", "Figure 9.", "Figure 11."]  # text on each


def coursekit(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "coursekit", *map(str, arguments)], check=True)


def shot(of: Page | Locator) -> Image.Image:
    return Image.open(io.BytesIO(of.screenshot())).convert("RGB")


def save(picture: Image.Image, name: str) -> None:
    picture.save(DOCS / name, optimize=True)


def report(browser: Browser, folder: Path) -> None:
    coursekit("run", "--out", folder / "run")
    page = browser.new_page(viewport={"width": 1060, "height": 920})
    page.goto((folder / "run" / "index.html").as_uri())
    save(shot(page), "report.png")


def deck(browser: Browser, folder: Path) -> None:
    """Four slides, two by two."""
    coursekit("slides", LECTURE, "--out", folder / "slides")
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.goto((folder / "slides" / f"{LECTURE}.html").as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    sheet = Image.new("RGB", (2 * 640 + 8, 2 * 360 + 8), "#888f98")
    for place, words in enumerate(SLIDES):
        turn_to(page, words)
        small = shot(page).resize((640, 360), Image.Resampling.LANCZOS)
        sheet.paste(small, (place % 2 * 648, place // 2 * 368))
    save(sheet, "deck.png")


def lecture(browser: Browser, folder: Path) -> None:
    """A page of a notebook, and a slider that moves from one end to the other."""
    sources = [cell.source for cell in files.read(ROOT / "notebooks" / f"{LECTURE}.ipynb").cells]
    (folder / "notebooks").mkdir()
    coursekit("student", LECTURE, "--out", folder / "notebooks")
    server = start(folder, profile="quick")
    try:
        page = browser.new_page(viewport={"width": 1180, "height": 900}, reduced_motion="reduce")
        notebook = Notebook(page, server, LECTURE)
        page.get_by_role("button", name="No", exact=True).click()  # declines Jupyter's news
        notebook.command("application:toggle-left-area")
        notebook.run_all()
        figure = notebook.cell(sources.index(next(it for it in sources if "One cat, and the nine wrong answers" in it)))
        expect(figure.locator("img")).to_be_visible()
        notebook.cell(sources.index(next(it for it in sources if "any of the nine other answers" in it)), "end")
        save(shot(page), "notebook.png")
        moving(page, notebook.cell(sources.index(next(it for it in sources if "explore(" in it))), "slider.gif")
    finally:
        server.stop()


def moving(page: Page, cell: Locator, name: str) -> None:
    """The first slider of a cell and its figure, at each value from left to right."""
    output, figure = cell.locator(".jp-OutputArea-output").first, cell.locator("img")
    slider = cell.get_by_role("slider")
    slider.focus()
    frames, key = [], "Home"
    while not frames or slider.get_attribute("aria-valuenow") != slider.get_attribute("aria-valuemax"):
        before = figure.get_attribute("src") or ""
        page.keyboard.press(key)
        expect(figure).not_to_have_attribute("src", before)
        frames.append(shot(output).quantize(64))
        key = "ArrowRight"
    frames[0].save(DOCS / name, save_all=True, append_images=frames[1:], duration=200, loop=0, optimize=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        for take in (deck, lecture, report):
            take(chromium, Path(scratch))
