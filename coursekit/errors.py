"""The one base of the errors that this package raises about its surroundings, and the words for a wrong name."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class CourseError(Exception):
    """Something the reader can mend: the message says what was expected, what came, and what to do.

    The command line prints it without a traceback. Wrong arguments of a function are not of this
    kind: they are ``ValueError`` and ``TypeError``, as everywhere in Python.
    """


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is not among the ``known``: it says which of them are near, or else all."""
    known = list(known)
    wanted = Path(name).stem
    near = [one for one in known if wanted.lower() in one.lower()]
    near = list(dict.fromkeys(near + difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)))
    if near:
        return f"unknown {what} {name!r}: did you mean {' or '.join(near)}?"
    return f"unknown {what} {name!r}: there are {', '.join(known) or 'none'}."
