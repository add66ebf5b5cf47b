"""Several notebooks at a time: a thread each, since every kernel is a process of its own already."""

import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from jupyter_core.utils import ensure_event_loop

from coursekit.notebooks.execute import Progress, Stopped, Task, execute

POLL_SECONDS = 0.1  # after which Python looks for Ctrl-C, which does not interrupt the wait for an event


@dataclass(frozen=True)
class Started:
    """A thread has taken the notebook up."""


@dataclass(frozen=True)
class Finished:
    """The notebook is done; ``error`` is what the executed file cannot say."""

    error: BaseException | None


Event = Started | Progress | Finished


def execute_all(tasks: Sequence[Task], jobs: int) -> Generator[tuple[Task, Event], None, None]:
    """Execute notebooks, ``jobs`` at a time, and yield what happens.

    When the caller stops listening (an exception, Ctrl-C, ``close()``), all kernels are killed at once. The executed
    files keep every cell that was finished.
    """
    events: SimpleQueue[tuple[Task, Event]] = SimpleQueue()
    stop = threading.Event()
    pool = ThreadPoolExecutor(jobs)
    for task in tasks:
        pool.submit(_work, task, lambda event, task=task: events.put((task, event)), stop)  # type: ignore[misc]
    left = len(tasks)
    try:
        while left:
            try:
                task, event = events.get(timeout=POLL_SECONDS)
            except Empty:
                continue
            left -= isinstance(event, Finished)
            yield task, event
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _work(task: Task, tell: Callable[[Event], None], stop: threading.Event) -> None:
    """Execute one notebook in this thread."""
    if stop.is_set():
        return
    tell(Started())
    error: BaseException | None = None
    try:
        execute(task, tell, stop)
    except Stopped:
        return
    except Exception as raised:
        error = raised
    finally:
        ensure_event_loop().close()  # the loop that nbclient made for this thread
    tell(Finished(error))


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
