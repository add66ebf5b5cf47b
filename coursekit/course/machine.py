"""Is this machine ready for the course? Each finding takes one line and says what to do."""

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from coursekit.files import shipped

SIGNS = {"ok": "✓", "note": "○", "trouble": "✗"}


@dataclass(frozen=True)
class Finding:
    """What was checked, whether the course works with it, what was found, and what to do about it."""

    subject: str
    verdict: Literal["ok", "note", "trouble"]
    found: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{SIGNS[self.verdict]} {self.subject}: {self.found}" + (f". {self.advice}" if self.advice else "")


def findings() -> Iterator[Finding]:
    """What a reader of the notebooks needs, one subject after the other."""
    yield Finding("Python", "ok", f"{platform.python_version()} on {platform.system()}")
    for check in (_packages, _torch, _kernel, _surroundings, _disk):
        yield from _survived(check)


def all_findings() -> Iterator[Finding]:
    """`findings`, and what else matters for slides and for bug reports."""
    yield from findings()
    for check in (_versions, _speed, _widgets, _data_sets, _browser, _npm):
        yield from _survived(check)


def _survived(check: Callable[[], Finding | Iterator[Finding]]) -> Iterator[Finding]:
    """What a check finds; if it fails itself, that is the finding, without the values that messages hold."""
    try:
        found = check()
        yield from [found] if isinstance(found, Finding) else found
    except Exception as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        subject = check.__name__.strip("_").replace("_", " ").capitalize()
        yield Finding(subject, "trouble", f"cannot be checked: {reason}", "Mend what is named above first, if anything")


def check_machine() -> None:
    """Show the findings in a notebook."""
    for finding in findings():
        print(finding)


def _installed(name: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    """Compare the installed packages with the requirements in coursekit's own metadata."""
    from packaging.requirements import Requirement

    if "google.colab" in sys.modules:  # Colab needs its own versions: nothing should be installed over them
        yield Finding("Packages", "ok", "those of Colab; notebooks run with them, the command line may not")
        return
    wanted = [Requirement(line) for line in metadata.requires("coursekit") or []]
    wanted = [it for it in wanted if it.marker is None or it.marker.evaluate({"extra": ""})]
    good = 0
    for requirement in wanted:
        version = _installed(requirement.name)
        if version and requirement.specifier.contains(version, prereleases=True):
            good += 1
            continue
        found = f"{version}, wanted {requirement.specifier}" if version else "not installed"
        yield Finding(requirement.name, "trouble", found, f"Run: python -m pip install '{requirement}'")
    yield Finding("Packages", "ok", f"{good} of {len(wanted)} in the range that the course needs")


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        reason = str(error).replace(str(Path.home()), "~")  # such messages name files
        return Finding("PyTorch", "trouble", f"does not import: {reason}", "Install it again in this environment")
    from coursekit.training import resolve_device

    return Finding("PyTorch", "ok", f"{torch.__version__} computes on {resolve_device('auto')}")


def _kernel() -> Finding:
    from jupyter_client.kernelspec import KernelSpecManager

    if "python3" not in KernelSpecManager().find_kernel_specs():
        advice = "Run: python -m ipykernel install --sys-prefix"
        return Finding("Jupyter kernel", "trouble", "no kernel named python3", advice)
    return Finding("Jupyter kernel", "ok", f"python3; ipykernel {metadata.version('ipykernel')}")


def _surroundings() -> Iterator[Finding]:
    """Settings that have caused trouble elsewhere."""
    if os.environ.get("VSCODE_PID") and int(metadata.version("ipykernel").split(".")[0]) >= 7:
        yield Finding("VS Code", "note", "ipykernel 7 may hang there", "If it does: pip install 'ipykernel<7'")
    if "inline" not in (os.environ.get("MPLBACKEND") or "inline"):  # Jupyter itself sets the inline one
        yield Finding("MPLBACKEND", "note", "is set", "The notebooks draw inline all the same")


def _disk() -> Finding:
    from coursekit.datasets.store import home

    there = next((folder for folder in (home(), *home().parents) if folder.exists()), Path())
    free = shutil.disk_usage(there).free / 1e9
    if free < 1:
        advice = "Free some space, or set COURSEKIT_DATA to a folder elsewhere"
        return Finding("Disk", "trouble", f"{free:.1f} GB free for data", advice)
    return Finding("Disk", "ok", "more than 1 GB free for data")


def _versions() -> Finding:
    """Compare versions with those that this release was tested with: the first suspects of a bug report."""
    pins = shipped("constraints.txt", "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = dict(line.split("==") for line in pins if "==" in line)
    installed = {name: version.split("+")[0] for name in tested if (version := _installed(name))}  # 2.13.0+cpu
    other = [
        f"{name} {version} (tested {tested[name]})" for name, version in installed.items() if version != tested[name]
    ]
    if other:
        advice = "If something breaks, install the versions in the course's constraints.txt"
        return Finding("Versions", "note", f"{len(other)} of {len(installed)} differ: {', '.join(other)}", advice)
    return Finding("Versions", "ok", f"all {len(installed)} are those that this release was tested with")


def _speed() -> Finding:
    """Measure a matrix product, the best of five, on the device that notebooks choose by default."""
    import torch

    from coursekit.training import resolve_device

    device, n = resolve_device("auto"), 1024
    a = torch.ones(n, n, device=device)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        (a @ a).sum().item()  # .item() waits for the device
        seconds.append(time.perf_counter() - start)
    rate = 2 * n**3 / min(seconds) / 1e9
    found = f"a {n} × {n} product takes {1e3 * min(seconds):.1f} ms on {device}, {rate:.0f} GFLOP/s"
    if rate < 10:
        return Finding("Speed", "note", found, "Quick runs will take several times as long as the notebooks say")
    return Finding("Speed", "ok", found)


def _widgets() -> Finding:
    """Sliders need a package in the kernel and an extension in JupyterLab."""
    from jupyter_core.paths import jupyter_path

    places = [Path(folder) / "@jupyter-widgets" / "jupyterlab-manager" for folder in jupyter_path("labextensions")]
    if not any(place.is_dir() for place in places):
        advice = "Run: python -m pip install --force-reinstall jupyterlab_widgets"
        return Finding("Widgets", "trouble", "JupyterLab lacks the extension that shows sliders", advice)
    return Finding("Widgets", "ok", f"ipywidgets {metadata.version('ipywidgets')} with its JupyterLab extension")


def _data_sets() -> Finding:
    from coursekit.datasets import registry, store

    sets = [entry for entry in registry.entries().values() if entry.files]
    here = [entry.name for entry in sets if store.state(entry) == "here"]
    found = f"{len(here)} of {len(sets)} downloadable sets are here" + (f": {', '.join(here)}" if here else "")
    if len(here) == len(sets):
        return Finding("Data", "ok", found)
    return Finding("Data", "note", found, "Profile quick needs none; get one with: coursekit data get NAME")


def _browser() -> Finding:
    from coursekit.course.browser import find_chromium

    if find_chromium() is None:
        advice = "HTML slides need none; for coursekit slides --pdf, install Chromium or Chrome"
        return Finding("Browser", "note", "no Chromium found", advice)
    return Finding("Browser", "ok", "Chromium is here, for slides as PDF")


def _npm() -> Finding:
    if shutil.which("npm") is None:
        advice = "Only coursekit slides needs it, once, to fetch the parts of slides: install Node.js"
        return Finding("npm", "note", "not found", advice)
    return Finding("npm", "ok", "npm is here, to fetch the parts of slides")
