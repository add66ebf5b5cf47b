"""What the terminal shows while notebooks run: a live table, or one line per event in a log."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coursekit.notebooks.entry import Entry
from coursekit.notebooks.pool import Event, Progress, Started
from coursekit.notebooks.report import claims_in_words, duration, symbol

STYLES = {"ok": "green", "not run": "dim", "running": "cyan", "interrupted": "yellow"}  # every other status: red


class Board:
    """Shows the entries of a run as they change; a context manager."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.console = Console()
        self.progress: dict[str, Progress] = {}
        self.started: dict[str, float] = {}
        self.live = Live(console=self.console, get_renderable=self.table, refresh_per_second=5)

    def __enter__(self) -> "Board":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def show(self, entry: Entry, event: Event) -> None:
        name = entry.name
        match event:
            case Progress():
                self.progress[name] = event
            case Started():
                self.started[name] = time.monotonic()
                self.line(f"{name}: started")
            case _:
                parts = [entry.outcome.status, duration(entry.outcome.seconds), claims_in_words([entry])]
                self.line(f"{name}: " + ", ".join(filter(None, parts)))

    def line(self, text: str) -> None:
        if not self.console.is_terminal:
            print(text, flush=True)

    def table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("", "notebook", "cell", "", "time", "claims"):
            table.add_column(column, justify="right" if column in ("cell", "time") else "left")
        for entry in self.entries:
            table.add_row(*self.row(entry))
        return table

    def row(self, entry: Entry) -> list[Any]:
        name, status = entry.name, entry.outcome.status
        style = STYLES.get(status, "red")
        head = [Text(symbol(status), style), Text(name, style if status != "ok" else "")]
        if status != "running":
            seconds = duration(entry.outcome.seconds) if entry.outcome.seconds else ""
            cells = str(entry.outcome.cells_run or "")
            return [*head, cells, Text(status, style), seconds, claims_in_words([entry])]
        elapsed = duration(time.monotonic() - self.started[name])
        if name not in self.progress:
            return [*head, "", "starting", elapsed, ""]
        at = self.progress[name]
        claims = f"{at.held} held" + (f", {at.failed} failed" if at.failed else "")
        return [*head, f"{at.cell} of {at.cells}", ProgressBar(at.cells, at.cell, width=12), elapsed, claims]
