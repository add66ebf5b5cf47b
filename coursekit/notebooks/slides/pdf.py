"""Decks as PDF, one page per slide, printed by Chromium."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from coursekit.course.browser import find_chromium
from coursekit.errors import CourseError

TIMEOUT = 120  # seconds for one deck
PAGE = re.compile(rb"/Type\s*/Page\b")
PATIENCE = 10_000  # milliseconds, on the page's own clock, for formulas and layout


def chromium() -> str:
    """The path of the browser that prints.

    Raises:
        CourseError: No browser was found.
    """
    if found := find_chromium():
        return found
    raise CourseError(
        "--pdf needs Chromium, Chrome or Edge, and none was found. Install one, or leave out --pdf: "
        "the HTML deck opens in any browser and prints from there (add ?print-pdf to its address)."
    )


def print_deck(browser: str, deck: Path) -> None:
    """Print a deck to a PDF beside it.

    Raises:
        CourseError: The browser failed, or the PDF lacks slides.
    """
    printed = deck.with_suffix(".pdf")
    with tempfile.TemporaryDirectory(prefix="coursekit-", ignore_cleanup_errors=True) as profile:
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND",  # nothing that a deck or the browser does asks the network
            "--no-pdf-header-footer",
            f"--virtual-time-budget={PATIENCE}",
            f"--user-data-dir={profile}",  # its own profile: an open browser would take over the job
            f"--print-to-pdf={printed.absolute()}",
            f"{deck.absolute().as_uri()}?print-pdf",
        ]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.insert(1, "--no-sandbox")  # Chromium refuses to run as root with its sandbox
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
            said = done.stderr.strip()[-500:]
        except subprocess.TimeoutExpired:
            said = f"no PDF within {TIMEOUT} s"
    # Slides of one stack may share a page, but every stack has a page of its own.
    stacks = deck.read_text(encoding="utf-8").count('<section>\n<section class="slide')
    if not printed.is_file() or len(PAGE.findall(printed.read_bytes())) < stacks:
        raise CourseError(f"{browser} could not print {deck.name}: {said}")
