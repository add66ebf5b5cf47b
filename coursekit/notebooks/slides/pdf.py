"""Decks as PDF, a page a slide, printed by Chromium."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from coursekit.course.browser import find_chromium
from coursekit.errors import CourseError
from coursekit.files import atomic_path

TIMEOUT = 120  # seconds for one deck
PAGE = re.compile(rb"/Type\s*/Page\b")
PATIENCE = 10_000  # milliseconds of the page's own clock for formulas and layout


def chromium() -> str:
    """The path of the browser that prints.

    Raises
    ------
    CourseError
        There is none.
    """
    if found := find_chromium():
        return found
    raise CourseError(
        "--pdf needs Chromium, Chrome or Edge, and none was found. Install one, or leave out --pdf: "
        "the HTML deck opens in any browser and prints from there (add ?print-pdf to its address)."
    )


def print_deck(browser: str, deck: Path) -> None:
    """Print the deck to a PDF beside it, whole or not at all; ``CourseError`` if the browser fails."""
    with (
        tempfile.TemporaryDirectory(prefix="coursekit-", ignore_cleanup_errors=True) as profile,
        atomic_path(deck.with_suffix(".pdf")) as part,
    ):
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--no-pdf-header-footer",
            f"--virtual-time-budget={PATIENCE}",
            f"--user-data-dir={profile}",  # a profile of its own: a browser that is open already stays out of it
            f"--print-to-pdf={part.absolute()}",
            f"{deck.absolute().as_uri()}?print-pdf",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium refuses to start as root with it
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
            said = done.stderr.strip()[-500:]
        except subprocess.TimeoutExpired:
            said = f"no PDF within {TIMEOUT} s"
        slides = deck.read_text(encoding="utf-8").count('<section class="slide')
        if not part.is_file() or len(PAGE.findall(part.read_bytes())) < slides:
            raise CourseError(f"{browser} could not print {deck.name}: {said}")
