"""Where the course is published, and what follows: badges and table of the README, the notebooks' lines for Colab.

``make readme`` writes the README's pieces. The notebooks' lines are held by a rule of their form.
"""

import sys
import tomllib
from pathlib import Path

from coursekit.course.lectures import Lecture, table
from coursekit.errors import CourseError
from coursekit.notebooks import files

FIRST = "notebooks/00_start_here.ipynb"

# Without dependencies: Colab has them, and its own versions of Jupyter's packages must stay. These two it lacks.
COLAB = """\
import sys
if "google.colab" in sys.modules:  # which lacks the course's package
    %pip install -q --no-deps git+{address} jaxtyping wadler-lindig"""


def address(root: Path) -> str:
    """Where the course is published: the repository that ``pyproject.toml`` names."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"]


def colab_lines(root: Path) -> str:
    """With which a notebook's imports begin, so that it runs on Colab too."""
    return COLAB.format(address=address(root))


def update(readme: str, root: Path) -> str:
    """The README of the checkout at ``root`` with its generated pieces made anew."""
    for name, content in {"badges": _badges(root), "lectures": _lectures(root)}.items():
        begin, end = f"<!-- {name}: begin (made by `make readme`) -->", f"<!-- {name}: end -->"
        if readme.count(begin) != 1 or readme.count(end) != 1:
            raise CourseError(f"the README has no single place for its {name}: expected the lines {begin} and {end}.")
        before, rest = readme.split(begin)
        readme = f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"
    return readme


def _badges(root: Path) -> str:
    binder = f"https://mybinder.org/v2/gh/{_repository(root)}/HEAD?urlpath=lab/tree/{FIRST}"
    return (
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})\n"
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({_colab(root, FIRST)})"
    )


def _lectures(root: Path) -> str:
    def claims(it: Lecture) -> str:
        return str(len(files.records(files.read(root / "notebooks" / f"{it.name}.ipynb"), "claim")))

    def colab(it: Lecture) -> str:
        return f"[Colab]({_colab(root, f'notebooks/{it.name}.ipynb')})"

    return table("notebooks/", {"claims": claims, "open in": colab})


def _colab(root: Path, notebook: str) -> str:
    return f"https://colab.research.google.com/github/{_repository(root)}/blob/main/{notebook}"


def _repository(root: Path) -> str:
    """``owner/name`` on GitHub."""
    return address(root).removeprefix("https://github.com/")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(update(path.read_text(encoding="utf-8"), path.parent), encoding="utf-8")
