"""JupyterLab as ``make lab`` starts it, and a notebook open in it."""

import json
import os
import re
import shlex
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil

ROOT = Path(__file__).parents[2]
RECIPE = re.search(r"^lab:.*\n\t(.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1]
OURS = ["--no-browser", "--port=0", "--expose-app-in-browser", "--allow-root"]  # port 0: any; CI may be root
CARELESS = 'c.ServerApp.ip = "0.0.0.0"\n'  # a setting that a reader may have and the recipe must override
SECONDS = 240  # the longest wait for anything: other tests may run beside

READY = """() => {
  const kernel = window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel;
  return kernel?.connectionStatus === "connected" && kernel.status === "idle";
}"""
CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets.map((cell) => ({
  count: cell.model.executionCount ?? null,
  outputs: cell.outputArea?.model.toJSON() ?? [],
}))"""
DONE = """() => window.jupyterapp.shell.currentWidget.content.widgets
  .every((cell) => cell.model.type !== "code" || cell.model.executionState === "idle")"""
COMMAND = "([command, options]) => window.jupyterapp.commands.execute(command, options)"
SCROLL = "([index, where]) => window.jupyterapp.shell.currentWidget.content.scrollToItem(index, where)"


class Server(NamedTuple):
    """A running JupyterLab."""

    process: psutil.Popen
    url: str
    token: str

    def status(self, path, token=None, method="GET"):
        """The status code of the response to a request."""
        headers = {"Authorization": f"token {token}"} if token is not None else {}
        try:
            with urlopen(Request(self.url + path, headers=headers, method=method), timeout=SECONDS) as response:
                return response.status
        except HTTPError as error:
            return error.code

    def stop(self):
        """Terminate it; return the processes, its kernels included, that had to be killed."""
        family = [self.process, *self.process.children(recursive=True)]
        self.process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=20)
        for process in left:
            process.kill()
        return left


def start(folder, profile="smoke"):
    """Start JupyterLab with the recipe of ``make lab``, in a folder that holds ``notebooks``, with its own settings."""
    program, *options = shlex.split(RECIPE)
    assert program == "$(BIN)/jupyter"
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("JUPYTER", "MPLBACKEND"))}
    environment |= {"COURSEKIT_PROFILE": profile, "OMP_NUM_THREADS": "1"}
    for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        environment[name] = str(folder / name)
    Path(environment["JUPYTER_CONFIG_DIR"]).mkdir()
    Path(environment["JUPYTER_CONFIG_DIR"], "jupyter_server_config.py").write_text(CARELESS, encoding="utf-8")
    command = [Path(sys.executable).with_name("jupyter"), *options, *OURS]
    with (folder / "log").open("wb") as log:
        process = psutil.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    about = Path(environment["JUPYTER_RUNTIME_DIR"], f"jpserver-{process.pid}.json")
    for _ in range(20 * SECONDS):
        with suppress(OSError, ValueError):  # the file is missing or half-written, or the port is closed
            told = json.loads(about.read_text(encoding="utf-8"))
            socket.create_connection(("127.0.0.1", told["port"])).close()
            return Server(process, told["url"], told["token"])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    if process.poll() is None:
        process.kill()
    raise AssertionError(f"JupyterLab did not start: {(folder / 'log').read_text(encoding='utf-8')}")


class Notebook:
    """A notebook that is open in JupyterLab, with an idle kernel."""

    def __init__(self, page, server, name):
        self.page, self.name = page, name
        page.set_default_timeout(1000 * SECONDS)
        page.goto(f"{server.url}lab/tree/{name}.ipynb?reset&token={server.token}")  # reset closes old tabs
        page.wait_for_function(READY)
        self.command("notebook:clear-all-cell-outputs")  # from now on every output is of this kernel

    def command(self, name, **options):
        """Run a command, as a menu or a key would, and wait for its end."""
        self.page.evaluate(COMMAND, [name, options])

    def run_all(self):
        """Run the cells from the top until all are done or one fails."""
        self.command("notebook:run-all-cells")
        self.page.wait_for_function(DONE)

    def cells(self):
        """The count and the outputs of each cell."""
        return self.page.evaluate(CELLS)

    def cell(self, index, where="center"):
        """The visible cell, scrolled to a place on the screen."""
        self.page.evaluate(SCROLL, [index, where])
        return self.page.locator(f".jp-Notebook .jp-Cell[data-windowed-list-index='{index}']")

    def write(self, index, source):
        """Replace the source of a cell with the keyboard."""
        self.cell(index).locator(".cm-content").click()
        self.page.keyboard.press("Control+A")
        self.page.keyboard.insert_text(source)

    def run(self, index):
        """Run a cell with the keyboard, wait until it is done, and return the text of its outputs."""
        self.cell(index).locator(".cm-content").click()
        before = self.cells()[index]["count"]
        self.page.keyboard.press("Control+Enter")
        self.page.wait_for_function(
            f"(before) => {{ const now = ({CELLS})()[{index}].count; "
            f"return now !== null && now !== before && ({READY})(); }}",
            arg=before,
        )
        return self.cell(index).locator(".jp-OutputArea").inner_text()
