"""Execute one notebook with papermill, in a thread of ``coursekit run``."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import papermill
import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

from coursekit.notebooks import files
from coursekit.notebooks.problems import KERNEL_DIED, TIMEOUT

SAMPLING_SECONDS = 0.2  # between two looks at the kernel's memory


@dataclass(frozen=True)
class Task:
    """A notebook to execute: where it is, where the result goes, and how to run it."""

    source: Path
    executed: Path
    log: Path  # what the kernel writes to its terminal; its sockets are created beside it, so keep the path short
    parameters: dict[str, Any]
    timeout: float | None  # seconds, for the whole notebook
    one_thread: bool


@dataclass(frozen=True)
class Progress:
    """The notebook is in code cell ``cell`` of ``cells``; so many claims held and failed so far."""

    cell: int
    cells: int
    held: int
    failed: int


class Stopped(Exception):
    """The run was asked to stop."""


def execute(task: Task, report: Callable[[Progress], None], stop: threading.Event) -> None:
    """Execute ``task.source`` and write the result to ``task.executed`` after every cell.

    An exception in a cell, the deadline and a dead kernel end the execution. Each leaves an error output in its cell,
    so that the file says what happened, and its metadata say whether every cell ran to its end. When ``stop`` is set,
    the kernel is killed and the file stays as it is.

    Raises:
        Stopped: ``stop`` was set.
        Exception: no kernel could be started.
    """
    # papermill and nbclient log what the file says as well, to the terminal that shows the table.
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    papermill_engines.register("coursekit", CourseEngine)
    with suppress(papermill.PapermillExecutionError):  # the file says it
        papermill.execute_notebook(
            str(task.source).replace("{", "{{").replace("}", "}}"),  # papermill formats paths
            None,  # the client below saves, atomically
            parameters=task.parameters,
            engine_name="coursekit",
            kernel_name=NATIVE_KERNEL_NAME,
            language="python",
            cwd=task.source.parent,
            progress_bar=False,
            autosave_cell_every=0,
            task=task,
            report=report,
            stop=stop,
        )


class CourseEngine(Engine):
    """papermill's engine with our client in it."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> None:
        CourseClient(nb_man, kwargs["task"], kwargs["report"], kwargs["stop"]).execute()


class CourseClient(PapermillNotebookClient):
    """papermill's client; it saves and reports after every cell, keeps a deadline and watches the memory."""

    def __init__(self, nb_man: Any, task: Task, report: Callable[[Progress], None], stop: threading.Event) -> None:
        self.task, self.report, self.stop = task, report, stop
        self.start = time.monotonic()
        self.peak = 0
        self.finished = False  # every code cell ran to its end
        super().__init__(
            nb_man,
            kernel_name=NATIVE_KERNEL_NAME,
            timeout_func=self.seconds_left if task.timeout else None,
            iopub_timeout=30,
            record_timing=False,
        )
        self.cells = len(files.code_cells(self.nb))
        self.cell = 0

    def create_kernel_manager(self) -> AsyncKernelManager:
        """A manager whose kernel is this interpreter, whatever else is installed as ``python3``."""
        self.km = AsyncKernelManager(
            kernel_name=NATIVE_KERNEL_NAME,
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            # Kernels that start together may take each other's TCP port, so they talk through files.
            connection_file=str(self.task.log.with_suffix(".json")),
            transport="tcp" if os.name == "nt" else "ipc",
        )
        return self.km

    def seconds_left(self, _cell: Any) -> float:
        return max(self.start + (self.task.timeout or 0) - time.monotonic(), 0.001)  # 0 would mean no limit

    @property
    def kernel(self) -> int:
        """The process id of the kernel."""
        return self.km.provisioner.pid  # type: ignore[union-attr]  # of a local kernel

    def execute(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "COURSEKIT_PROFILE"}
        if self.task.one_thread:
            environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with (
            self.task.log.open("wb") as log,
            self.setup_kernel(env=environment, stdout=log, stderr=log),
            self.watch_kernel(),
        ):
            self.finished = True  # until a cell fails
            self.save()
            self.papermill_execute_cells()
            self.set_widgets_metadata()
            self.save()

    def execute_cell(self, cell: Any, cell_index: int) -> None:
        if cell.cell_type != "code" or not cell.source.strip():
            return
        self.cell += files.INJECTED not in cell.metadata.tags
        self.tell()
        try:
            super().execute_cell(cell, cell_index)
        except CellTimeoutError:
            seconds = time.monotonic() - self.start
            self.fail(cell, TIMEOUT, f"after {seconds:.0f} s of the notebook this cell was still running")
        except DeadKernelError as error:
            if self.stop.is_set():
                raise Stopped from error
            said = self.task.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-20:]
            self.fail(cell, KERNEL_DIED, "the kernel died in this cell (out of memory, or a crash?)", said)
        except CellExecutionError as error:
            # A magic that does not exist, or a handler that swallows the traceback, shows no error of its own.
            if not any(output.output_type == "error" for output in cell.outputs):
                self.fail(cell, error.ename, error.evalue, error.traceback.splitlines())
            self.finished = False
            raise
        finally:
            self.save()
            self.tell()

    def fail(self, cell: Any, name: str, message: str, said: Iterable[str] = ()) -> None:
        """Write an error that the kernel did not write into the cell, and end the execution."""
        lines = [*said, f"{name}: {message}"]
        self.finished = False
        cell.execution_count = self.code_cells_executed
        cell.outputs.append(new_output("error", ename=name, evalue=message, traceback=lines))
        raise CellExecutionError("\n".join(lines), name, message)

    def save(self) -> None:
        if self.stop.is_set():
            return
        seconds = round(time.monotonic() - self.start, 3)
        self.nb.metadata["coursekit"] = {"seconds": seconds, "peak_bytes": self.peak, "finished": self.finished}
        files.write(self.nb, self.task.executed)

    def tell(self) -> None:
        verdicts = [claim["verdict"] for claim in files.records(self.nb, "claim")]
        self.report(Progress(self.cell, self.cells, verdicts.count("holds"), verdicts.count("fails")))

    @contextmanager
    def watch_kernel(self) -> Iterator[None]:
        """Keep ``self.peak`` at the most memory that the kernel held, and kill it when the run is stopped."""
        kernel, done = self.kernel, threading.Event()

        def watch() -> None:
            while not done.wait(SAMPLING_SECONDS):
                if self.stop.is_set():
                    kill_family(kernel)
                    return
                self.peak = max(self.peak, resident_bytes(kernel))

        self.peak = resident_bytes(kernel)
        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def kill_family(pid: int) -> None:
    """Kill a process and all that it started; nothing happens if it is gone already."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                member.kill()


def resident_bytes(pid: int) -> int:
    """The resident memory of a process and its descendants; 0 once it is gone."""
    total = 0
    with suppress(psutil.NoSuchProcess):  # it may end while we look
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    return total
