"""Measure the rows one after the other until the deadline, and write the table as Markdown.

Each row runs in a process of its own, so that the others survive one that crashes or hangs.
"""

import argparse
import multiprocessing
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from tests.gpu.rows import ROWS, Result, Row
from tests.gpu.target import DRY_RUN

SPAWN = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
ENDING = 10  # seconds that a process gets to clean up when it has sent its result
HEADER = ("what", "on the GPU", "compared with", "ratio", "notes")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.table", description="Called by python -m tests.gpu.")
    parser.add_argument("--deadline", type=float, required=True, help="when to stop, by time.monotonic()")
    parser.add_argument("--commit", required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, Result | str] = {}
    for row in ROWS:
        outcomes[row.what] = outcome = run(row, options.deadline - time.monotonic())
        print(f"{row.what}: {outcome}; {options.deadline - time.monotonic():.0f} s left", flush=True)
        # After each row, so that whoever interrupts this keeps what was measured.
        options.out.write_text(page(outcomes, options.commit), encoding="utf-8")
    print(f"The table is in {options.out}.")
    return 0 if all(isinstance(outcome, Result) for outcome in outcomes.values()) else 1


def run(row: Row, left: float) -> Result | str:
    """What the row measured, or why it measured nothing, in words."""
    seconds = min(row.limit, left)
    if seconds <= 0:
        return "not run, out of time"
    ours, theirs = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_measure, args=(row.measure, theirs))
    process.start()
    assert process.pid is not None
    theirs.close()  # now the child alone holds this end, and its death ends the waiting
    try:
        if not ours.poll(seconds):
            return f"stopped after {seconds:.0f} s, out of time"
        outcome = ours.recv()
        process.join(ENDING)
        return outcome
    except EOFError:
        process.join()
        return f"failed: its process died (exit status {process.exitcode})"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the processes that the row started, too
        process.kill()
        process.join()


def _measure(measure: Callable[[], Result], connection: Connection) -> None:
    os.setsid()  # a process group of its own, which can be ended as a whole
    try:
        connection.send(measure())
    except Exception as error:
        traceback.print_exc()
        connection.send(f"failed: {type(error).__name__}: {error}")


def page(outcomes: Mapping[str, Result | str], commit: str) -> str:
    """The file docs/gpu.md."""
    lines = [HEADER, tuple("---" for _ in HEADER)]
    for what, outcome in outcomes.items():
        result = outcome if isinstance(outcome, Result) else Result(outcome)
        lines.append((what, result.gpu, result.other, result.ratio, result.notes))
    table = "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
    return (
        "# On a GPU\n\n"
        "`make test-gpu` measures this table. A ratio above 1 says that the GPU, or `fit`, is faster.\n\n"
        f"{device_name()} · PyTorch {torch.__version__} · Python {platform.python_version()} · "
        f"{torch.get_num_threads()} CPU threads · {datetime.now(UTC):%Y-%m-%d} · commit {commit}\n\n"
        f"{table}\n"
    )


def device_name() -> str:
    return "a dry run: a CPU in place of the GPU" if DRY_RUN else torch.cuda.get_device_name()


def _cell(text: str) -> str:
    """Text that cannot break out of its cell."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
