"""What a run found, in words for the terminal and as the page ``index.html``."""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coursekit import __version__
from coursekit.files import write_text
from coursekit.notebooks import files
from coursekit.notebooks.run_record import Entry, Run, Status

SYMBOLS: dict[Status, str] = {"ok": "✓", "not run": "○", "running": "▸", "interrupted": "■"}
SLOWEST, SLOW_SECONDS = 5, 0.05  # cells listed at most, and the time from which a cell counts as slow
VALUES = 6  # of the numbers that a claim measured, at most so many are shown
THUMBNAIL = 480  # pixels, the longest side: 240 points on a display with two pixels for each
VERDICTS = {"holds": "held", "fails": "failed", "not judged": "not judged"}


def symbol(status: Status) -> str:
    """The sign in front of a status; all that failed share one."""
    return SYMBOLS.get(status, "✗")


def count(judged: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many of these claims or checks held, failed and were not judged."""
    verdicts = [VERDICTS[record["verdict"]] for record in judged]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS.values()}


def findings(entries: Sequence[Entry]) -> str:
    """The counts, such as ``7 claims held, 1 failed; 23 checks held; 2 of 3 exercises solved``; empty without any."""
    claims = _counted("claim", [claim for entry in entries for claim in entry.claims])
    checks = _counted("check", [check for entry in entries for check in entry.checks])
    return "; ".join(filter(None, [claims, checks, _score(entries)]))


def _counted(what: str, judged: Sequence[Mapping[str, Any]]) -> str:
    counts = [(number, verdict) for verdict, number in count(judged).items() if number]
    first = [f"{n} {what}{'s' if n > 1 else ''} {verdict}" for n, verdict in counts[:1]]
    return ", ".join(first + [f"{n} {verdict}" for n, verdict in counts[1:]])


def _score(entries: Sequence[Entry]) -> str:
    """How many exercises are solved in the notebooks that keep a score; empty if none does."""
    scores = [entry.score for entry in entries if entry.score]
    solved, exercises = (sum(score[key] for score in scores) for key in ("solved", "exercises"))
    return f"{solved} of {exercises} exercises solved" if scores else ""


def duration(seconds: float) -> str:
    """A duration in words.

    >>> duration(0.42), duration(41.3), duration(200)
    ('0.4 s', '41 s', '3 min 20 s')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def summary(run: Run) -> str:
    """One line about the whole run: ``2 notebooks: 1 ok, 1 timeout. 12 claims held, 1 failed; 9 checks held. 41 s``.

    It names notebooks that took more memory than the course promises.
    """
    statuses = [entry.status for entry in run.notebooks]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    notebooks = f"{len(statuses)} notebook{'s' if len(statuses) != 1 else ''}: {counts}"
    large = [f"{entry.name} took {_memory(entry.peak_bytes)}" for entry in run.notebooks if entry.takes_too_much]
    memory = f"More memory than promised: {', '.join(large)}" if large else ""
    return ". ".join(filter(None, [notebooks, findings(run.notebooks), memory, duration(run.seconds)]))


def failure(entry: Entry) -> str:
    """What went wrong in a notebook, for the terminal: the cells that failed and their tracebacks."""
    parts = [f"\n── {entry.name}: {entry.status} ".ljust(80, "─")]
    for problem in entry.problems:
        parts += [problem.place, problem.source, "", problem.traceback]
    return "\n".join(parts)


def write(run: Run) -> Path:
    """Write ``index.html``, from the record of the run and the executed notebooks; return its path.

    The page needs no other file and no network: styles and figures are in it, and it has no script.
    """
    from jinja2 import Environment, FileSystemLoader

    from coursekit.course.claims import SIGNS

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": count, "findings": findings, "score": _score, "symbol": symbol, "value": value}
    environment.filters |= {"duration": duration, "memory": _memory, "unstyled": _unstyled}
    executed = {it.name: files.read(run.folder / it.executed) for it in run.notebooks if it.cells_run}
    page = environment.get_template("report.html.jinja").render(
        run=run,
        version=__version__,
        counts=count(claim for entry in run.notebooks for claim in entry.claims),
        checks=count(check for entry in run.notebooks for check in entry.checks),
        verdicts=VERDICTS,
        signs=SIGNS,
        figures={name: [(thumbnail(png), alt) for png, alt in files.figures(nb)] for name, nb in executed.items()},
        slowest={name: slowest(nb) for name, nb in executed.items()},
        longest=max((entry.seconds for entry in run.notebooks), default=0) or 1,
    )
    write_text(run.folder / "index.html", page)
    return run.folder / "index.html"


def slowest(nb: files.Notebook) -> list[tuple[float, files.Cell]]:
    """The cells that took longest, each after its seconds."""
    timed = [(cell.metadata.get("papermill", {}).get("duration"), cell) for cell in files.code_cells(nb)]
    slow = [it for it in timed if isinstance(it[0], int | float) and SLOW_SECONDS <= it[0] < math.inf]
    return sorted(slow, key=lambda pair: -pair[0])[:SLOWEST]


def thumbnail(png: bytes) -> str:
    """The picture as a data URI; an empty one if the picture is damaged, so that the page shows its text instead."""
    image = files.open_image(png)
    if image is None:
        return "data:,"
    small = image.convert("RGBA")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    data = io.BytesIO()
    small.save(data, "WEBP", quality=85)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode()


def value(value: Any) -> str:
    """A claim's value as its notebook shows it, but only the first of many numbers."""
    from coursekit.course.records import in_words

    if value is None:
        return ""
    if isinstance(value, list) and len(value) > VALUES:
        return f"{in_words(value[:VALUES])}, … ({len(value)} in all)"
    return in_words(value)


def _memory(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"


def _unstyled(text: str) -> str:
    """The text without the codes that colour it in a terminal."""
    from rich.text import Text

    return Text.from_ansi(text).plain
