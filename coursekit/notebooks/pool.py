"""Worker processes for ``coursekit run``: a worker that dies costs its own notebook and no other."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

POLL_SECONDS = 0.1

# The errors that are written into a notebook when its kernel cannot do it itself.
TIMEOUT = "NotebookTimeout"
KERNEL_DIED = "KernelDied"


class Task(NamedTuple):
    """A notebook to execute: where it is, where the result goes, and how."""

    source: Path
    executed: Path
    log: Path  # what the kernel writes to its terminal; its sockets are put beside it
    parameters: dict[str, Any]
    timeout: float | None  # seconds, for the notebook as a whole
    one_thread: bool


class Started(NamedTuple):
    """A worker has taken the notebook up."""


class Progress(NamedTuple):
    """The notebook is in code cell ``cell`` of ``cells``; so many claims held and failed so far."""

    cell: int
    cells: int
    held: int
    failed: int
    kernel: int  # process id


class Finished(NamedTuple):
    """The worker is done with the notebook; ``error`` is what the executed file cannot say itself."""

    error: BaseException | None


class Worker:
    """An executor with one process, and the queue on which that process reports its progress."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.kernel: int | None = None
        self.reports = context.SimpleQueue()  # its own: a process killed while writing takes the lock along
        self.executor = ProcessPoolExecutor(1, context, _prepare, (self.reports,))

    def submit(self, task: Task) -> Future[None]:
        with _deaf_to_interrupts():  # which the new process inherits until it is prepared
            return self.executor.submit(_execute, task)

    def news(self) -> Iterator[Progress]:
        while not self.reports.empty():
            progress = self.reports.get()
            self.kernel = progress.kernel
            yield progress


def execute_all(tasks: Iterable[Task], jobs: int) -> Iterator[tuple[Task, Started | Progress | Finished]]:
    """Execute notebooks in ``jobs`` worker processes, and yield what happens.

    Whoever stops listening (an exception, Ctrl-C, ``close()``) ends all workers and kernels at once. The
    executed files keep all cells that were finished.
    """
    waiting = deque(tasks)
    idle = [Worker() for _ in range(jobs)]
    busy: dict[Future[None], tuple[Worker, Task]] = {}
    try:
        while waiting or busy:
            while waiting and idle:
                worker, task = idle.pop(), waiting.popleft()
                busy[worker.submit(task)] = worker, task
                yield task, Started()
            done, _ = wait(busy, POLL_SECONDS, FIRST_COMPLETED)
            for future, (worker, task) in list(busy.items()):
                yield from ((task, progress) for progress in worker.news())
                if future in done:
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        if worker.kernel is not None:
                            kill_family(worker.kernel)
                        worker = Worker()
                    idle.append(worker)
                    yield task, Finished(error)
                    del busy[future]
    finally:
        if busy:
            for process in multiprocessing.active_children():
                kill_family(process.pid)
        for worker in idle + [worker for worker, _ in busy.values()]:
            worker.executor.shutdown(cancel_futures=True)


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def kill_family(pid: int) -> None:
    """Kill a process and all that it started; nothing happens if it is gone already."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                member.kill()


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def _prepare(reports: Any) -> None:
    """What a worker process does first."""
    global _report
    _report = reports.put
    # Ctrl-C reaches every process of the terminal, and the parent sees to it; a handler, other than
    # SIG_IGN, is not inherited by the kernels.
    signal.signal(signal.SIGINT, lambda *_: None)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _execute(task: Task) -> None:
    from coursekit.notebooks.execute import execute  # papermill is for the workers only

    execute(task, _report)
