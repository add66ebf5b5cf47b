"""``coursekit run`` on notebooks of two seconds' work each, against papermill on one after the other."""

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from nbformat.v4 import new_code_cell, new_notebook

from coursekit.notebooks import files

from .harness import Figure, interleave, ratio

NOTEBOOKS, CELLS, CELL_SECONDS, ROUNDS = 6, 10, 0.2, 2
MOST, MOST_OVERHEAD = 0.6, 0.5

WORK = f"""
import time
end = time.process_time() + {CELL_SECONDS}
while time.process_time() < end:
    pass
"""
SEQUENTIAL = """
import sys
from pathlib import Path
import papermill
for path in sorted(Path(sys.argv[1]).glob("*.ipynb")):
    papermill.execute_notebook(path, Path(sys.argv[2]) / path.name, kernel_name="python3", progress_bar=False)
"""


def measure() -> Iterator[Figure]:
    if (os.cpu_count() or 1) < 2:
        yield Figure("course on two cores ÷ papermill", "–", f"≤ {MOST}", None, "this machine has one core")
        return
    with tempfile.TemporaryDirectory() as folder:
        source, results = Path(folder, "notebooks"), Path(folder, "results")
        source.mkdir()
        results.mkdir()
        for number in range(NOTEBOOKS):
            nb = new_notebook(cells=[new_code_cell(WORK.strip()) for _ in range(CELLS)])
            nb.metadata["language_info"] = {"name": "python"}
            files.write(nb, source / f"{number:02d}_work.ipynb")
        turns = count()

        def start(*arguments: str | Path) -> None:
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

        def course(jobs: int) -> None:
            start("-m", "coursekit", "run", source, "--jobs", str(jobs), "--out", results / f"run{next(turns)}")

        seconds = interleave(
            {
                "papermill": lambda: start("-c", SEQUENTIAL, source, results),
                "two jobs": lambda: course(2),
                "one job": lambda: course(1),
            },
            ROUNDS,
        )
    quotient = ratio(seconds["two jobs"], seconds["papermill"])
    detail = f"{NOTEBOOKS} notebooks, papermill {statistics.median(seconds['papermill']):.1f} s"
    yield Figure("course on two cores ÷ papermill", f"{quotient:.2f}", f"≤ {MOST}", quotient <= MOST, detail)
    extra = statistics.median(
        (ours - theirs) / NOTEBOOKS for ours, theirs in zip(seconds["one job"], seconds["papermill"], strict=True)
    )
    detail = f"one job, {statistics.median(seconds['one job']):.1f} s"
    yield Figure("overhead of a notebook", f"{extra:+.2f} s", f"≤ {MOST_OVERHEAD} s", extra <= MOST_OVERHEAD, detail)
