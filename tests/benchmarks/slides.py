"""Compare ``coursekit slides``, over the whole course, with ``nbconvert --to slides``: its decks need a network."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from coursekit.course.browser import find_chromium
from coursekit.notebooks import files

from .harness import Figure, interleave, ratio, spread

ROUNDS = 3
MOST, MOST_SECONDS = 1.0, 60


def measure() -> Iterator[Figure]:
    lectures = files.find_notebooks()

    def start(*arguments: str | Path) -> None:
        subprocess.run([sys.executable, "-m", *arguments, *lectures], check=True, capture_output=True)

    with tempfile.TemporaryDirectory() as out:
        seconds = interleave(
            {
                "ours": partial(start, "coursekit", "slides", "--out", out),
                "nbconvert": partial(start, "nbconvert", "--to", "slides", "--output-dir", f"{out}/theirs"),
            },
            ROUNDS,
        )
        share = ratio(seconds["ours"], seconds["nbconvert"])
        detail = f"{len(lectures)} decks in {spread(seconds['ours'])} s"
        yield Figure("decks ÷ nbconvert's", f"{share:.2f}", f"≤ {MOST}", share <= MOST, detail)
        if find_chromium() is None:
            yield Figure("decks and PDFs of the course", "–", f"≤ {MOST_SECONDS} s", None, "no Chromium")
            return
        began = time.perf_counter()
        start("coursekit", "slides", "--pdf", "--out", out)
        took = time.perf_counter() - began
        yield Figure("decks and PDFs of the course", f"{took:.0f} s", f"≤ {MOST_SECONDS} s", took <= MOST_SECONDS)
