"""The base class of the errors that this package raises about its surroundings, and the message for an unknown name."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

# All control characters but tab, newline and the codes of colours (ESC [ … m)
CONTROL = re.compile(r"\x1b(?!\[[\d;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")


class CourseError(Exception):
    """Something the reader can mend: the message says what was expected, what was given, and what to do.

    The command line prints it without a traceback. Wrong arguments of a function raise ``ValueError`` and
    ``TypeError`` instead, as everywhere in Python.
    """


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is not among the ``known`` ones: it suggests similar names, or else lists all.

    >>> unknown("net", "residul", ["convnetjs", "residual"])
    "unknown net 'residul': did you mean residual?"
    """
    known = list(known)
    wanted = Path(str(name)).stem  # the name of a file may come with its suffix
    near = [one for one in known if wanted.lower() in one.lower()]
    near = list(dict.fromkeys(near + difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)))
    if near:
        return f"unknown {what} {name!r}: did you mean {' or '.join(near)}?"
    return f"unknown {what} {name!r}: there are {', '.join(known) or 'none'}."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of this machine, or of its GPU, was too small.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(RuntimeError("shapes differ"))
    (True, False)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, on a GPU
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's, on a CPU


def printable(text: str) -> str:
    """The text with ``?`` for what would command a terminal: names of files and messages may come from anywhere.

    >>> printable("\\x1b]0;title\\x07 \\x1b[31mred\\x1b[0m")
    '?]0;title? \\x1b[31mred\\x1b[0m'
    """
    return CONTROL.sub("?", text)
