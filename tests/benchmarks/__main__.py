"""``python -m tests.benchmarks [SUBJECT ...]``: measure, print one table, exit 1 if a target is missed.

Each subject is a module here whose ``measure()`` yields `Figure`s. It runs in its own process on one thread.
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from .harness import Figure

SUBJECTS = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "harness" and not path.stem.startswith("_")
)
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--child", choices=SUBJECTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := sorted(set(options.subjects) - set(SUBJECTS)):
        parser.error(f"no benchmark {', '.join(unknown)}: there are {', '.join(SUBJECTS)}")
    if options.child:
        for figure in importlib.import_module(f"{__package__}.{options.child}").measure():
            print(json.dumps(asdict(figure)), flush=True)
        return 0

    broken, rows = [], []
    for subject in options.subjects or SUBJECTS:
        command = [sys.executable, "-m", __package__, "--child", subject]
        child = subprocess.run(command, env=os.environ | ONE_THREAD, stdout=subprocess.PIPE, text=True)
        rows += [(subject, Figure(**json.loads(line))) for line in child.stdout.splitlines()]
        broken += [subject] if child.returncode else []
    print_table(rows)
    missed = [figure.what for _, figure in rows if figure.ok is False]
    for what, names in (("missed", missed), ("broken", broken)):
        if names:
            print(f"{what}: {', '.join(names)}")
    return 1 if missed or broken else 0


def print_table(rows: list[tuple[str, Figure]]) -> None:
    verdict = {True: "met", False: "MISSED", None: "–"}
    lines = [("subject", "what", "value", "target", "", "detail")]
    lines += [(name, f.what, f.value, f.target, verdict[f.ok], f.detail) for name, f in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


if __name__ == "__main__":
    sys.exit(main())
