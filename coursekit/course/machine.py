"""Is this machine ready for the course? One finding a line, each with what to do."""

import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

SIGNS = {"ok": "✓", "note": "○", "trouble": "✗"}


@dataclass(frozen=True)
class Finding:
    """What was looked at, whether it will do (``ok``, ``note``, ``trouble``), what was found, what to do about it."""

    subject: str
    verdict: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{SIGNS[self.verdict]} {self.subject}: {self.found}" + (f". {self.advice}" if self.advice else "")


def findings() -> Iterator[Finding]:
    """Look at the machine, one subject after the other."""
    yield _python()
    yield from _packages()
    yield _torch()
    yield _kernel()
    yield from _surroundings()
    yield _disk()


def check_machine() -> None:
    """Show the findings in a notebook."""
    for finding in findings():
        print(finding)


def _python() -> Finding:
    return Finding("Python", "ok", f"{platform.python_version()} on {platform.system()}")


def _packages() -> Iterator[Finding]:
    """The packages that coursekit's own metadata asks for, against what is installed."""
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in metadata.requires("coursekit") or []]
    wanted = [it for it in wanted if it.marker is None or it.marker.evaluate({"extra": ""})]
    good = 0
    for requirement in wanted:
        advice = f"Run: python -m pip install '{requirement}'"
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(requirement.name, "trouble", "not installed", advice)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            good += 1
        else:
            yield Finding(requirement.name, "trouble", f"{version}, wanted {requirement.specifier}", advice)
    yield Finding("Packages", "ok", f"{good} of {len(wanted)} in the range that the course needs")


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding("PyTorch", "trouble", f"does not import: {error}", "Install it again in this environment")
    from coursekit.training import resolve_device

    device = resolve_device("auto")
    return Finding("PyTorch", "ok", f"{torch.__version__} computes on {device}")


def _kernel() -> Finding:
    from jupyter_client.kernelspec import KernelSpecManager

    specs = KernelSpecManager().find_kernel_specs()
    if "python3" not in specs:
        advice = "Run: python -m ipykernel install --sys-prefix"
        return Finding("Jupyter kernel", "trouble", "no kernel named python3", advice)
    return Finding("Jupyter kernel", "ok", f"python3; ipykernel {metadata.version('ipykernel')}")


def _surroundings() -> Iterator[Finding]:
    """Settings that have tripped others."""
    if os.environ.get("VSCODE_PID") and int(metadata.version("ipykernel").split(".")[0]) >= 7:
        yield Finding("VS Code", "note", "ipykernel 7 may hang there", "If it does: pip install 'ipykernel<7'")
    if (backend := os.environ.get("MPLBACKEND")) and "inline" not in backend:  # Jupyter itself sets the inline one
        yield Finding("MPLBACKEND", "note", f"is set to {backend}", "The notebooks draw inline all the same")


def _disk() -> Finding:
    from coursekit.datasets.store import home

    there = home()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free / 1e9
    if free < 1:
        return Finding(
            "Disk",
            "trouble",
            f"{free:.1f} GB free for data",
            "Make room, or set COURSEKIT_DATA to a folder elsewhere",
        )
    return Finding("Disk", "ok", "more than 1 GB free for data")
