"""How long a newcomer waits for ``import coursekit`` and ``coursekit --help``, beyond Python's own start."""

import statistics
import subprocess
import sys
from collections.abc import Iterator

from .harness import Figure, interleave

ROUNDS = 15
COMMANDS = {
    "bare": ["-c", "pass"],
    "import coursekit": ["-c", "import coursekit"],
    "coursekit --help": [
        "-c",
        "import sys; from coursekit.cli import main; sys.argv = ['coursekit', '--help']; main()",
    ],
}
MOST_MS = {"import coursekit": 50, "coursekit --help": 300}


def measure() -> Iterator[Figure]:
    def start(arguments: list[str]) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    seconds = interleave({name: lambda a=a: start(a) for name, a in COMMANDS.items()}, ROUNDS)
    for name, most in MOST_MS.items():
        extra = 1e3 * statistics.median(
            with_it - bare for with_it, bare in zip(seconds[name], seconds["bare"], strict=True)
        )
        detail = f"Python alone {1e3 * statistics.median(seconds['bare']):.0f} ms"
        yield Figure(name, f"{extra:.0f} ms", f"< {most} ms", extra < most, detail)
