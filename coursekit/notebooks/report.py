"""The report of a run: lines for the terminal, and the page ``index.html``."""

import base64
import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from coursekit.notebooks import files
from coursekit.notebooks.entry import Entry, Run

SYMBOLS = {"ok": "✓", "not run": "○", "running": "▸", "interrupted": "■"}  # every other status: ✗
VALUES = 6  # numbers of a claim's value
THUMBNAIL = 480  # pixels wide at most: 240 on a display with two per point
VERDICTS = {"holds": "held", "fails": "failed", "not judged": "not judged"}


def symbol(status: str) -> str:
    return SYMBOLS.get(status, "✗")


def count_claims(entries: Sequence[Entry]) -> dict[str, int]:
    """How many claims of these notebooks held, failed and were not judged."""
    verdicts = [VERDICTS[claim["verdict"]] for entry in entries for claim in entry.outcome.claims]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS.values()}


def claims_in_words(entries: Sequence[Entry]) -> str:
    """``"12 claims held, 1 failed"``; empty if there are no claims."""
    counts = [(number, verdict) for verdict, number in count_claims(entries).items() if number]
    first = [f"{n} claim{'s' if n > 1 else ''} {verdict}" for n, verdict in counts[:1]]
    return ", ".join(first + [f"{n} {verdict}" for n, verdict in counts[1:]])


def duration(seconds: float) -> str:
    """``0.4 s``, ``41 s``, ``3 min 20 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def summary(run: Run) -> str:
    """One line about the whole run: ``2 notebooks: 1 ok, 1 timeout. 12 claims held, 1 failed. 41 s``."""
    statuses = [entry.outcome.status for entry in run.notebooks]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    first = f"{len(statuses)} notebook{'s' if len(statuses) != 1 else ''}: {counts}"
    return ". ".join(filter(None, [first, claims_in_words(run.notebooks), duration(run.seconds)]))


def failure(entry: Entry) -> str:
    """What went wrong in a notebook, for the terminal: the cells that failed and their tracebacks."""
    parts = [f"\n── {entry.name}: {entry.outcome.status} ".ljust(80, "─")]
    for problem in entry.outcome.problems:
        parts += [problem.place, problem.source, "", problem.traceback]
    return "\n".join(parts)


def write(run: Run, folder: Path) -> Path:
    """Write ``index.html`` from the record and the executed notebooks; return its path.

    The page requests nothing from anywhere: styles and figures are in it, and it has no script.
    """
    from jinja2 import Environment, FileSystemLoader

    from coursekit.course.claims import SIGNS

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "claims": claims_in_words,
        "duration": duration,
        "memory": _memory,
        "symbol": symbol,
        "unstyled": _unstyled,
        "value": value,
    }
    page = environment.get_template("report.html.jinja").render(
        run=run,
        started=datetime.fromisoformat(run.started),
        counts=count_claims(run.notebooks),
        verdicts=VERDICTS,
        signs=SIGNS,
        figures=_thumbnails(folder, run.notebooks),
        longest=max((entry.outcome.seconds for entry in run.notebooks), default=0) or 1,
    )
    files.write_text(folder / "index.html", page)
    return folder / "index.html"


def _thumbnails(folder: Path, entries: Sequence[Entry]) -> dict[str, list[tuple[str, str]]]:
    """For every notebook its figures, small and as data URIs, each with its alternative text."""
    executed = {entry.name: folder / entry.executed for entry in entries if entry.outcome.cells_run}
    return {
        name: [(_thumbnail(png), alt) for png, alt in files.figures(files.read(file))]
        for name, file in executed.items()
    }


def _thumbnail(png: bytes) -> str:
    from PIL import Image

    with Image.open(io.BytesIO(png)) as image:
        small = image.convert("RGBA")
        small.thumbnail((THUMBNAIL, THUMBNAIL))
        data = io.BytesIO()
        small.save(data, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()


def value(value: Any) -> str:
    """A claim's value as its notebook shows it; of many numbers, the first ones."""
    from coursekit.course.records import in_words

    if value is None:
        return ""
    if isinstance(value, list) and len(value) > VALUES:
        return f"{in_words(value[:VALUES])}, … ({len(value)} in all)"
    return in_words(value)


def _memory(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"


def _unstyled(text: str) -> str:
    """Text without the colours that a terminal would show."""
    from rich.text import Text

    return Text.from_ansi(text).plain
