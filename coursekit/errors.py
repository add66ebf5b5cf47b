"""The one base of the errors that this package raises about its surroundings."""


class CourseError(Exception):
    """Something the reader can mend: the message says what was expected, what came, and what to do.

    The command line prints it without a traceback. Wrong arguments of a function are not of this
    kind: they are ``ValueError`` and ``TypeError``, as everywhere in Python.
    """
