"""The shape of the house: which part knows which, what is declared where, what costs nothing."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "coursekit"
SERVICES = {"training", "figures", "course", "cli"}
FOUNDATIONS = {"errors", "files", "coursekit", "lazy"}  # what everyone may import
# Who may import whom. Subjects may import datasets and the foundations, training the foundations alone.
MAY_IMPORT = {
    "datasets": set(),
    "training": set(),
    "figures": set(),
    "autoencoders": {"datasets"},
    "nets": set(),
    "recipes": {"nets", "datasets", "training"},
    "interpret": {"datasets", "nets"},
    "course": {"training", "figures", "datasets"},  # the checks of exercises may import every subject
    "cli": {"course", "datasets", "nets", "recipes"},
}
SUBJECTS = {"autoencoders", "nets", "interpret"}


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """The parts of coursekit that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            pieces = name.split(".")
            if pieces[0] == "coursekit":
                yield pieces[1] if len(pieces) > 1 and (PACKAGE / pieces[1]).exists() else _file(pieces)


def _file(pieces):
    return pieces[1] if len(pieces) > 1 and (PACKAGE / f"{pieces[1]}.py").exists() else "coursekit"


def test_imports_follow_the_plan_of_the_house():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        part = part_of(path)
        if part in FOUNDATIONS | {"__init__", "__main__"}:
            continue
        allowed = MAY_IMPORT[part] | FOUNDATIONS | {part}
        if path.parent.name == "checks":
            allowed |= SUBJECTS
        wrong += [f"{path.relative_to(ROOT)} imports {it}" for it in imported(path) if it not in allowed]
    assert wrong == []


def test_only_figures_and_the_display_of_a_figure_know_matplotlib():
    knows = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^\s*(import|from) matplotlib", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert knows == {"figures/style.py", "figures/drawing.py", "course/display.py"}


@pytest.mark.parametrize(
    "statement",
    [
        "import coursekit",
        "import coursekit.course",
        "import coursekit.cli",
        "from coursekit.course import PROFILES",
    ],
)
def test_importing_is_light(statement):
    heavy = "{'torch', 'matplotlib', 'numpy', 'sklearn', 'papermill', 'IPython'}"
    program = f"import sys; {statement}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def project():
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]


CONDA_NAMES = {
    "jupyter-client": "jupyter_client",
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "nbconvert": "nbconvert-core",
}


def test_the_conda_environment_asks_for_what_pyproject_asks_for():
    from rattler import MatchSpec

    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    specs = [MatchSpec(line) for line in listed if isinstance(line, str)]
    conda = {str(spec.name.normalized): str(spec.version or "") for spec in specs}
    wanted = {"python": project()["requires-python"], "pip": ""}
    for line in project()["dependencies"]:
        name, limit = re.fullmatch(r"([\w-]+)(.*)", line).groups()
        wanted[CONDA_NAMES.get(name, name)] = limit
    assert conda == wanted
    assert {"pip": ["-e ."]} in listed


def test_every_dependency_is_pinned_within_its_range():
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if not line.startswith("#")}
    assert pins["torch"] == "2.13.0"
    for line in project()["dependencies"] + project()["optional-dependencies"]["dev"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), line


def test_no_file_names_a_machine():
    """Neither a home folder nor a work folder of whoever wrote this belongs into the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [path for name in listed.split("\0") if (path := ROOT / name).is_file()]
    forbidden = re.compile(rb"/(root|work|home/\w+|Users/\w+|tmp/bash)/")
    assert [path.name for path in files if forbidden.search(path.read_bytes())] == []
