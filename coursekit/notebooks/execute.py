"""Execute one notebook with papermill, in a kernel of its own."""

import asyncio
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import papermill
import psutil
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import NATIVE_KERNEL_NAME, KernelSpecManager
from jupyter_client.provisioning import LocalProvisioner
from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_output
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, papermill_engines

from coursekit.notebooks import files
from coursekit.notebooks.problems import EXPECTED, KERNEL_DIED, TIMEOUT
from coursekit.notebooks.run_record import Entry, Run

SAMPLING_SECONDS = 0.2  # between two looks at the kernel
OUTPUT_SECONDS = 300  # to wait for the rest of a cell's output once the cell has ended
LONGEST_FOLDER = 90  # characters, for Unix sockets: their paths may have about a hundred


def execute(run: Run, entry: Entry, stopping: threading.Event) -> None:
    """Execute the notebook of an entry; after every cell, update the entry and the executed file.

    A cell that fails, the deadline and a dead kernel end the execution. Each leaves an error output in its cell, so
    that the executed file says by itself what happened. Once ``stopping`` is set, the kernel is killed, and the file
    keeps the cells that were finished.

    Raises:
        CancelledError: ``stopping`` was set.
        RuntimeError: the kernel did not start.
        OSError: the file cannot be written.
    """
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # it would write into the table on the terminal
    papermill_engines.register("coursekit", CourseEngine)
    loop = partial(ensure_event_loop, prefer_selector_loop=True)  # nbclient runs in it
    with asyncio.Runner(loop_factory=loop), suppress(papermill.PapermillExecutionError):  # the file says it
        papermill.execute_notebook(
            str(entry.source).replace("{", "{{").replace("}", "}}"),  # papermill formats paths
            None,  # the client saves, atomically
            parameters=entry.parameters,
            engine_name="coursekit",
            kernel_name=NATIVE_KERNEL_NAME,
            language="python",
            progress_bar=False,
            autosave_cell_every=0,
            client=lambda manager: CourseClient(manager, run, entry, stopping),
        )


class CourseEngine(Engine):
    """papermill's engine with our client in it."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **kwargs: Any) -> None:
        kwargs["client"](nb_man).execute()


class CourseClient(PapermillNotebookClient):
    """papermill's client; it saves after every cell, keeps a deadline and watches its kernel."""

    def __init__(self, manager: Any, run: Run, entry: Entry, stopping: threading.Event) -> None:
        self.run, self.entry, self.stopping = run, entry, stopping
        self.start = time.monotonic()
        super().__init__(
            manager,
            kernel_name=NATIVE_KERNEL_NAME,
            timeout_func=self.seconds_left,
            iopub_timeout=OUTPUT_SECONDS,
            record_timing=False,
            on_cell_executed=self.check_reply,
        )

    def seconds_left(self, _cell: Any) -> float | None:
        if self.run.timeout is None:
            return None
        return max(self.start + self.run.timeout - time.monotonic(), 0.001)  # 0 would mean no limit

    def create_kernel_manager(self) -> AsyncKernelManager:
        """A manager that starts this interpreter as the kernel, whatever ``python3`` means elsewhere."""
        # Kernels that start together may take each other's TCP port, so they get sockets where these exist.
        sockets = os.name != "nt" and len(str(self.scratch)) <= LONGEST_FOLDER
        self.km = AsyncKernelManager(
            kernel_name=NATIVE_KERNEL_NAME,
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=str(self.scratch / "k.json"),
            transport="ipc" if sockets else "tcp",
        )
        return self.km

    def start_new_kernel_client(self) -> Any:
        """A client that looks for replies again every second.

        With several notebooks in one process a reply is now and then in the socket without waking the wait for it
        (once in about fifteen runs on a busy machine), and nbclient waits without a limit.
        """
        client = super().start_new_kernel_client()
        channel, get_once = client.shell_channel, client.shell_channel.get_msg

        async def get_message(timeout: float | None = None) -> Any:
            while True:
                with suppress(queue.Empty) if timeout is None else nullcontext():
                    return await get_once(timeout=1 if timeout is None else timeout)

        channel.get_msg = get_message
        return client

    def execute(self) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "COURSEKIT_PROFILE"}
        if self.run.jobs > 1:
            environment |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        with TemporaryDirectory(prefix="coursekit-", ignore_cleanup_errors=True) as scratch:
            self.scratch = Path(scratch)
            with (
                (self.scratch / "log").open("wb") as log,
                self.setup_kernel(env=environment, cwd=self.entry.source.parent, stdout=log, stderr=log),
                self.watch_kernel(),
            ):
                self.nb.metadata.pop("widgets", None)  # of an earlier execution
                self.save()
                self.papermill_execute_cells()
                self.set_widgets_metadata()
                self.save()

    def execute_cell(self, cell: files.Cell, cell_index: int) -> None:
        if not files.is_executed(cell):
            return
        try:
            super().execute_cell(cell, cell_index)
        except CellTimeoutError:
            self.fail(cell, TIMEOUT, f"after {self.entry.seconds:.0f} s of the notebook this cell was still running")
        except DeadKernelError:
            message = "the kernel died in this cell (out of memory? a smaller --profile needs less; or a crash)"
            said = (self.scratch / "log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-20:]
            self.fail(cell, KERNEL_DIED, message, [*said, f"{KERNEL_DIED}: {message}"])
        finally:
            self.save()

    def check_reply(self, cell: files.Cell, cell_index: int, execute_reply: dict[str, Any]) -> None:
        """Fail a cell that ended the kernel, or that failed without an error output, as an unknown magic does."""
        reply = execute_reply["content"]
        if any(payload.get("source") == "ask_exit" for payload in reply.get("payload", ())):
            self.fail(cell, KERNEL_DIED, "this cell ended the kernel, by quit() or exit()")
        shown = any(output.output_type == "error" for output in cell.outputs)
        if reply["status"] != "ok" and not shown and EXPECTED not in files.tags(cell):
            self.fail(cell, reply.get("ename", reply["status"]), reply.get("evalue", ""), reply.get("traceback"))

    def fail(self, cell: files.Cell, name: str, message: str, traceback: list[str] | None = None) -> None:
        """Write an error that the kernel did not write itself into the cell, and end the execution."""
        lines = traceback or [f"{name}: {message}"]
        cell.execution_count = self.code_cells_executed
        cell.outputs.append(new_output("error", ename=name, evalue=message, traceback=lines))
        raise CellExecutionError("\n".join(lines), name, message)

    def save(self) -> None:
        if self.stopping.is_set():
            raise CancelledError
        files.write(self.nb, self.run.folder / self.entry.executed)
        self.entry.describe(self.nb)

    @contextmanager
    def watch_kernel(self) -> Iterator[None]:
        """Measure time and memory while the notebook runs; then kill what it started, on a stop the kernel as well."""
        assert self.km is not None
        assert isinstance(self.km.provisioner, LocalProvisioner)
        pid, done = self.km.provisioner.pid, threading.Event()

        def watch() -> None:
            while True:
                last = done.wait(SAMPLING_SECONDS)
                self.entry.seconds = round(time.monotonic() - self.start, 3)
                with suppress(psutil.NoSuchProcess):  # a process may end while we look
                    kernel = psutil.Process(pid)
                    family = [kernel, *kernel.children(recursive=True)]
                    self.entry.peak_bytes = max(self.entry.peak_bytes, sum(it.memory_info().rss for it in family))
                    self.entry.cpu_seconds = round(sum(kernel.cpu_times()[:2]), 3)  # user and system
                    for member in family if self.stopping.is_set() else family[1:] if last else ():
                        member.kill()
                if last:
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
