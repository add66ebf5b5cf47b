"""What the terminal shows while notebooks run: a live table, or plain lines if the output is not a terminal."""

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from coursekit.errors import printable
from coursekit.notebooks.report import duration, findings, symbol
from coursekit.notebooks.run_record import Entry

STYLES = {"ok": "green", "not run": "dim", "running": "cyan", "interrupted": "yellow"}  # all others: red


class LiveTable(Live):
    """A context manager that shows how far each notebook of a run is."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        super().__init__(console=Console(), get_renderable=self.table, refresh_per_second=5)

    def __enter__(self) -> "LiveTable":
        if self.console.is_terminal:
            self.start()
        return self

    def show(self, entry: Entry) -> None:
        """Print a line about a notebook that starts or has ended, unless the table shows it."""
        if self.console.is_terminal:
            return
        facts = [entry.status, duration(entry.seconds), findings([entry])]
        news = "started" if entry.status == "running" else ", ".join(filter(None, facts))
        print(
            printable(f"{entry.name}: {news}\n"), end="", flush=True
        )  # in one piece, since other threads print as well

    def table(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for column in ("", "notebook", "cells", "", "time", "claims and checks"):
            table.add_column(column, justify="right" if column in ("cells", "time") else "left")
        for entry in self.entries:
            table.add_row(*_row(entry))
        return table


def _row(entry: Entry) -> list[RenderableType]:
    style = STYLES.get(entry.status, "red")
    status: RenderableType = Text(entry.status, style)
    if entry.status == "running":
        status = ProgressBar(entry.cells, entry.cells_run, width=12) if entry.cells_run else "starting"
    return [
        Text(symbol(entry.status), style),
        Text(printable(entry.name), style if entry.status != "ok" else ""),
        f"{entry.cells_run} of {entry.cells}" if entry.cells_run else "",
        status,
        duration(entry.seconds) if entry.seconds else "",
        findings([entry]),
    ]
