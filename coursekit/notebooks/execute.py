"""Execute one notebook with papermill: what a worker process of ``coursekit run`` does."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
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
from coursekit.notebooks.pool import KERNEL_DIED, TIMEOUT, Progress, Task

SAMPLING_SECONDS = 0.2  # between two looks at the kernel's memory


def execute(task: Task, report: Callable[[Progress], None]) -> None:
    """Execute ``task.source`` and leave the result in ``task.executed``, saved after every cell.

    A cell that raises, the deadline and a dead kernel end the execution; each leaves an error output in its
    cell, so that the file says by itself what happened. Raises only if no kernel could be started.
    """
    # papermill and nbclient log what the file says anyway, to the terminal that shows the table.
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
        )


class CourseEngine(Engine):
    """papermill's engine with our client in it."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> None:
        CourseClient(nb_man, kwargs["task"], kwargs["report"]).execute()


class CourseClient(PapermillNotebookClient):
    """papermill's client; it saves and reports after every cell, keeps a deadline and watches the memory."""

    def __init__(self, nb_man: Any, task: Task, report: Callable[[Progress], None]) -> None:
        self.task, self.report = task, report
        self.start = time.monotonic()
        self.peak = 0
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
        """A manager whose kernel is this interpreter, whatever is installed elsewhere as ``python3``."""
        self.km = AsyncKernelManager(
            kernel_name=NATIVE_KERNEL_NAME,
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            # kernels that start together may take each other's TCP port; the path of a socket is short
            connection_file=str(self.task.log.with_name(f"{os.getpid()}.json")),
            transport="tcp" if os.name == "nt" else "ipc",
        )
        return self.km

    def seconds_left(self, _cell: Any) -> float:
        return max(self.start + self.task.timeout - time.monotonic(), 0.001)  # 0 would mean no limit

    def execute(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "COURSEKIT_PROFILE"}
        if self.task.one_thread:
            environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with (
            self.task.log.open("wb") as log,
            self.setup_kernel(env=environment, stdout=log, stderr=log),
            self.watch_memory(),
        ):
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
        except DeadKernelError:
            said = self.task.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-20:]
            self.fail(cell, KERNEL_DIED, "the kernel died in this cell (out of memory, or a crash?)", said)
        finally:
            self.save()
            self.tell()

    def fail(self, cell: Any, name: str, message: str, said: Iterable[str] = ()) -> None:
        """Write an error that the kernel could not write itself into the cell, and end the execution."""
        lines = [*said, f"{name}: {message}"]
        cell.execution_count = self.code_cells_executed
        cell.outputs.append(new_output("error", ename=name, evalue=message, traceback=lines))
        raise CellExecutionError("\n".join(lines), name, message)

    def save(self) -> None:
        seconds = round(time.monotonic() - self.start, 3)
        self.nb.metadata["coursekit"] = {"seconds": seconds, "peak_bytes": self.peak}
        files.write(self.nb, self.task.executed)

    def tell(self) -> None:
        verdicts = [claim["verdict"] for claim in files.records(self.nb, "claim")]
        self.report(
            Progress(
                cell=self.cell,
                cells=self.cells,
                held=verdicts.count("holds"),
                failed=verdicts.count("fails"),
                kernel=self.km.provisioner.pid,
            )
        )

    @contextmanager
    def watch_memory(self) -> Iterator[None]:
        """Keep ``self.peak`` at the most memory that the kernel and its children were seen to hold."""
        kernel, done = self.km.provisioner.pid, threading.Event()

        def watch() -> None:
            while True:
                self.peak = max(self.peak, resident_bytes(kernel))
                if done.wait(SAMPLING_SECONDS):
                    return

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def resident_bytes(pid: int) -> int:
    """The resident memory of a process and its descendants; 0 once it is gone."""
    total = 0
    with suppress(psutil.NoSuchProcess):  # it may end while we look
        process = psutil.Process(pid)
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    return total
