"""Solutions in the cells of a notebook: nbgrader's markers, and the cell without what stands between them."""

import re

from coursekit.errors import CourseError

MARKER = re.compile(r"(\s*)### (BEGIN|END) (SOLUTION|HIDDEN TESTS)\s*")
MEANT_AS_MARKER = re.compile(r"#\s*(BEGIN|END)[\s_-]*(SOLUTION|HIDDEN[\s_-]*TEST)", re.IGNORECASE)


def strip_solutions(source: str) -> str:
    """The source of a cell as a student gets it: ``raise NotImplementedError`` replaces each solution.

    A solution stands between nbgrader's markers ``### BEGIN SOLUTION`` and ``### END SOLUTION``. Everything between
    ``### BEGIN HIDDEN TESTS`` and ``### END HIDDEN TESTS`` is removed.

    Raises:
        CourseError: a marker lacks its other half, or a line looks like a marker and is not one.
    """
    kept: list[str] = []
    opened = ""
    for number, line in enumerate(source.split("\n"), start=1):
        marker = MARKER.fullmatch(line)
        if marker is None:
            if MEANT_AS_MARKER.search(line):
                raise CourseError(f"line {number} is not quite a marker: {line.strip()} (### BEGIN SOLUTION is one)")
            if not opened:
                kept.append(line)
            continue
        indent, edge, what = marker.groups()
        if edge == "BEGIN" and opened:
            raise CourseError(f"line {number} says {line.strip()} before ### END {opened}")
        if edge == "END" and opened != what:
            raise CourseError(f"line {number} says {line.strip()} without ### BEGIN {what} before it")
        opened = what if edge == "BEGIN" else ""
        if opened == "SOLUTION":
            kept += [f"{indent}# your code here", f"{indent}raise NotImplementedError"]
    if opened:
        raise CourseError(f"### BEGIN {opened} comes without ### END {opened}")
    return "\n".join(kept)
