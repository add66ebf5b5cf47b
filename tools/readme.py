"""Update the generated parts of the README (badges, lectures, results): python -m tools.readme README.md"""

import sys
from pathlib import Path

from coursekit.course.lectures import Lecture, lectures, table
from coursekit.errors import CourseError
from coursekit.notebooks import files
from coursekit.notebooks.links import address
from tools import results

FIRST = "00_start_here"


def update(readme: str, root: Path) -> str:
    """The text of the README with its generated parts made from the checkout ``root``.

    Raises:
        CourseError: The README lacks the marks around a part, or has them twice.
    """
    for name, content in {"badges": _badges(root), "lectures": _lectures(root), "results": _results(root)}.items():
        begin, end = f"<!-- {name}: begin (made by `make readme`) -->", f"<!-- {name}: end -->"
        if readme.count(begin) != 1 or readme.count(end) != 1:
            raise CourseError(f"the README has no single place for its {name}: expected the lines {begin} and {end}.")
        before, rest = readme.split(begin)
        readme = f"{before}{begin}\n{content}\n{end}{rest.split(end)[1]}"
    return readme


def _badges(root: Path) -> str:
    binder = f"https://mybinder.org/v2/gh/{_repository(root)}/HEAD?urlpath=lab/tree/notebooks/{FIRST}.ipynb"
    return (
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})\n"
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({_colab(root, FIRST)})"
    )


def _lectures(root: Path) -> str:
    def notebook(it: Lecture) -> files.Notebook:
        return files.read(root / "notebooks" / f"{it.name}.ipynb")

    def claims(it: Lecture) -> str:
        return str(len(files.records(notebook(it), "claim")))

    def checks(it: Lecture) -> str:
        return str(len(files.checks(notebook(it))) or "")

    def colab(it: Lecture) -> str:
        return f"[Colab]({_colab(root, it.name)})"

    return table("notebooks/", {"claims": claims, "checks": checks, "open in": colab})


def _results(root: Path) -> str:
    """What is measured at profile full: a row for each lecture, with a cell for CPU and GPU."""
    kept = [it for it in results.load(root / "docs" / "results.json") if it["profile"] == "full"]

    def measured(lecture: str, device: str) -> str:
        runs = [it for it in kept if it["lecture"] == lecture and it["device"].startswith(device)]
        if not runs:
            return "not measured"
        claims = [claim["verdict"] == "holds" for it in runs for claim in it["claims"]]
        minutes, memory = (max(it[name] for it in runs) for name in ("cpu_seconds", "peak_megabytes"))
        seeds = ", ".join(str(it["seed"]) for it in runs)
        return (
            f"{sum(claims)} of {len(claims)} claims held, {minutes / 60:.1f} min, {memory / 1000:.1f} GB, "
            f"seed {seeds}, {max(it['date'] for it in runs)}"
        )

    rows = [
        f"| {it.number} | {it.title} | {measured(it.name, 'cpu')} | {measured(it.name, 'cuda')} |" for it in lectures()
    ]
    return "\n".join(["| | lecture | one CPU core | GPU |", "| --- | --- | --- | --- |", *rows])


def _colab(root: Path, name: str) -> str:
    return f"https://colab.research.google.com/github/{_repository(root)}/blob/main/notebooks/{name}.ipynb"


def _repository(root: Path) -> str:
    """``owner/name`` on GitHub."""
    return address(root).removeprefix("https://github.com/")


if __name__ == "__main__":
    path = Path(sys.argv[1])
    files.write_text(path, update(path.read_text(encoding="utf-8"), path.parent))
