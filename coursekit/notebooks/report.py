"""What a run found: the entry of a notebook in ``run.json``, and the page ``index.html`` that shows all."""

import base64
import io
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from coursekit.notebooks import files
from coursekit.notebooks.pool import KERNEL_DIED, TIMEOUT

SYMBOLS = {"ok": "✓", "not run": "○", "running": "▸", "interrupted": "■"}  # all others have failed: ✗
BY_ERROR = {"ClaimFailed": "claim failed", TIMEOUT: "timeout", KERNEL_DIED: "kernel died"}
SLOWEST, SLOW = 5, 0.05  # cells listed at most, and the seconds from which one counts as slow
VALUES = 6  # numbers of a claim's value
THUMBNAIL = 480  # pixels wide at most: 240 on a display with two per point
VERDICTS = {"holds": "held", "fails": "failed", "not judged": "not judged"}


def symbol(status: str) -> str:
    return SYMBOLS.get(status, "✗")


def failed(entry: dict[str, Any]) -> bool:
    """Whether the notebook was run to an end that is not a good one."""
    return entry["status"] not in SYMBOLS


def describe(nb: Any) -> dict[str, Any]:
    """What an executed notebook, or one that stopped on the way, says about its execution."""
    problems = files.errors(nb)
    claims = files.records(nb, "claim")
    cells = files.code_cells(nb)
    return {
        "status": _judge(problems, claims),
        "message": f"{problems[0]['name']}: {problems[0]['message']}" if problems else "",
        **nb.metadata.get("coursekit", {"seconds": 0.0, "peak_bytes": 0}),
        "cells": len(cells),
        "cells_run": sum(cell.execution_count is not None for cell in cells),
        "slowest": _slowest(cells),
        "setup": next(iter(files.records(nb, "setup")), {}),
        "claims": claims,
        "exercises": files.records(nb, "exercise"),
        "problems": problems,
    }


def _judge(problems: list[dict[str, Any]], claims: list[dict[str, Any]]) -> str:
    in_cells = [problem["name"] for problem in problems if problem["where"] == "cell"]
    if in_cells:
        return BY_ERROR.get(in_cells[0], "error")
    if any(claim["verdict"] == "fails" for claim in claims):
        return "claim failed"
    return "widget error" if problems else "ok"


def _slowest(cells: list[Any]) -> list[dict[str, Any]]:
    timed = [(cell.metadata.get("papermill", {}).get("duration") or 0, cell) for cell in cells]
    slow = sorted((pair for pair in timed if pair[0] >= SLOW), key=lambda pair: -pair[0])
    return [
        {
            "count": cell.execution_count,
            "seconds": round(seconds, 3),
            "source": cell.source.strip().splitlines()[0],
        }
        for seconds, cell in slow[:SLOWEST]
    ]


def count_claims(entries: list[dict[str, Any]]) -> dict[str, int]:
    """How many claims of these notebooks held, failed and were not judged."""
    verdicts = [VERDICTS[claim["verdict"]] for entry in entries for claim in entry["claims"]]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS.values()}


def claims_in_words(entries: list[dict[str, Any]]) -> str:
    """``"12 claims held, 1 failed"``; empty if there is none."""
    counts = [(number, verdict) for verdict, number in count_claims(entries).items() if number]
    first = [f"{n} claim{'s' if n > 1 else ''} {verdict}" for n, verdict in counts[:1]]
    return ", ".join(first + [f"{n} {verdict}" for n, verdict in counts[1:]])


def duration(seconds: float) -> str:
    """``0.4 s``, ``41 s``, ``3 min 20 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def summary(record: dict[str, Any]) -> str:
    """One line about the whole run: ``2 notebooks: 1 ok, 1 timeout. 12 claims held, 1 failed. 41 s``."""
    entries = record["notebooks"]
    statuses = [entry["status"] for entry in entries]
    counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
    notes = f"{len(entries)} notebook{'s' if len(entries) != 1 else ''}: {counts}"
    return ". ".join(filter(None, [notes, claims_in_words(entries), duration(record["seconds"])]))


def failure(entry: dict[str, Any]) -> str:
    """What went wrong in a notebook, for the terminal: the cells that failed and their tracebacks."""
    parts = [f"\n── {entry['name']}: {entry['status']} ".ljust(80, "─")]
    for problem in entry["problems"]:
        parts += [where(problem), problem["source"], "", problem["traceback"]]
    return "\n".join(parts)


def where(problem: dict[str, Any]) -> str:
    """The cell in which a problem arose, by the number that Jupyter shows beside it."""
    cell = f"cell [{problem['count'] or '*'}]"
    return cell if problem["where"] == "cell" else f"widget of {cell}"


def write(folder: Path) -> Path:
    """Write ``index.html`` from ``run.json`` and the executed notebooks; return its path.

    The page asks nothing of any other place: styles and figures are in it, and there is no script.
    """
    from jinja2 import Environment, FileSystemLoader

    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
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
        "where": where,
    }
    page = environment.get_template("report.html.jinja").render(
        run=record,
        started=datetime.fromisoformat(record["started"]),
        counts=count_claims(record["notebooks"]),
        verdicts=VERDICTS,
        signs=SIGNS,
        failed=failed,
        figures=_thumbnails(folder, record["notebooks"]),
        longest=max((entry["seconds"] for entry in record["notebooks"]), default=0) or 1,
    )
    files.write_text(folder / "index.html", page)
    return folder / "index.html"


def _thumbnails(folder: Path, entries: list[dict[str, Any]]) -> dict[str, list[tuple[str, str]]]:
    """For every notebook its figures, small and as data URIs, each with its alternative text."""
    executed = {entry["name"]: folder / entry["executed"] for entry in entries if entry["cells_run"]}
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
    """A claim's value as its notebook shows it; of many numbers, the first."""
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
