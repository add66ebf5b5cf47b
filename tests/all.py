"""All tests with one coverage report: the package and the notebooks at smoke, then the notebooks by nbval at quick.

Notebook kernels and other subprocesses count towards the coverage. One thread a process, two processes side by side.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
NBVAL = [
    "--nbval-lax",
    "--nbval-current-env",
    "--nbval-cell-timeout=300",
    "--nbval-sanitize-with=tests/notebooks/sanitize.cfg",
]


def run(*arguments: str) -> int:
    print("$ python -m", *arguments, flush=True)
    return subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=False).returncode


def main() -> int:
    os.environ.update(OMP_NUM_THREADS="1", MPLBACKEND="agg")
    parallel = ["-n", str(min(os.cpu_count() or 1, 4)), "--dist", "loadfile", "--no-loadscope-reorder"]
    parallel += ["--durations=40", "--durations-min=10"]  # CI has little time: the slowest are named
    run("coverage", "erase")
    codes = [
        run("coverage", "run", "-m", "pytest", *parallel, "tests", "--ignore=tests/browser", *sys.argv[1:]),
        run("coverage", "run", "-m", "pytest", *parallel, *NBVAL, "notebooks"),
    ]
    run("coverage", "combine", "--quiet")
    codes.append(run("coverage", "report"))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
