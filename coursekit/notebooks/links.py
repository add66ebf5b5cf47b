"""The pieces of a notebook that are written by ``coursekit run --update``: Colab's cell, run times, links to others.

They follow from the course's address in ``pyproject.toml`` and from the map of the course, ``lectures.toml``.
"""

import copy
import re
import tomllib
from pathlib import Path
from typing import Any

from coursekit.course.lectures import Lecture, lectures

# Without dependencies: Colab has them, and must keep its own versions of Jupyter's packages. It lacks only these two.
COLAB = """\
import sys
if "google.colab" in sys.modules:  # which lacks the course's package
    %pip install -q --no-deps git+{address} jaxtyping wadler-lindig"""
MAP = Path("coursekit", "course", "lectures.toml")  # by which a checkout of the course is known
RUN_TIMES = re.compile(r"\*\*Running\*\*, on one CPU core: [^.]*\.")


def bring_up_to_date(nb: Any, name: str, root: Path) -> Any:
    """A copy of a lecture's notebook with its generated pieces made anew from the checkout.

    These are the cell tagged ``colab``, the sentence on run times in the cell tagged ``about`` (``opening`` in the old
    form), and the cell tagged ``links``. A notebook that is not a lecture in a checkout is copied as it is.

    Args:
        nb: the notebook.
        name: its file name without ``.ipynb``.
        root: the folder of the checkout.
    """
    nb = copy.deepcopy(nb)
    lecture = next((it for it in lectures() if it.name == name), None)
    if lecture is None or not (root / MAP).is_file():
        return nb
    for cell in tagged(nb, "colab"):
        cell.source = colab_lines(root)
    for cell in tagged(nb, "opening") + tagged(nb, "about"):
        cell.source = RUN_TIMES.sub(run_times(lecture), cell.source)
    for cell in tagged(nb, "links"):
        cell.source = neighbours(name)
    return nb


def tagged(nb: Any, tag: str) -> list[Any]:
    """The cells that have a tag."""
    return [cell for cell in nb.cells if tag in cell.metadata.get("tags", ())]


def address(root: Path) -> str:
    """The address of the course: the repository that ``pyproject.toml`` in the checkout ``root`` names."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"]


def colab_lines(root: Path) -> str:
    """The cell above a notebook's imports that makes it run on Colab."""
    return COLAB.format(address=address(root))


def run_times(lecture: Lecture) -> str:
    """The sentence on how long the lecture's notebook runs.

    >>> run_times(lectures()[0])
    '**Running**, on one CPU core: smoke 5 s, quick 10 s, full 10 s.'
    """
    return f"**Running**, on one CPU core: {lecture.runs_in.replace(' · ', ', ')}."


def neighbours(name: str) -> str:
    """The line at the end of a lecture that links to the lectures before and after it.

    >>> neighbours("00_start_here")
    '**Previous:** none, you are at the start · **Next:** [01 · Filters and activations](01_filters.ipynb)'
    """
    course = lectures()
    at = [it.name for it in course].index(name)
    links = [
        f"[{it.number} · {it.title}]({it.name}.ipynb)" if it.seconds else f"{it.number} · {it.title} (to come)"
        for it in course
    ]
    before, _, after = ["none, you are at the start", *links, "none, this is the end"][at : at + 3]
    return f"**Previous:** {before} · **Next:** {after}"
