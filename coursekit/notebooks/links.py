"""Links of the course: where it is published, the lines for Colab, and the lectures before and after a lecture."""

import tomllib
from pathlib import Path

from coursekit.course.lectures import lectures

# Without dependencies: Colab has them, and must keep its own versions of Jupyter's packages. It lacks only these two.
COLAB = """\
import sys
if "google.colab" in sys.modules:  # which lacks the course's package
    %pip install -q --no-deps git+{address} jaxtyping wadler-lindig"""


def address(root: Path) -> str:
    """The address of the course: the repository that ``pyproject.toml`` in the checkout ``root`` names."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"]


def colab_lines(root: Path) -> str:
    """The lines at the top of a notebook's imports that make it run on Colab."""
    return COLAB.format(address=address(root))


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
