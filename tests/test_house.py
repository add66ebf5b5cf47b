"""The shape of the house: which part knows which, what is declared where, what costs nothing."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "coursekit"
FOUNDATIONS = {"errors", "files", "validation", "coursekit"}  # what everyone may import
# Who may import whom. Values flow from data to notebooks, and imports are fewer than that.
MAY_IMPORT = {
    "datasets": set(),
    "density": set(),
    "distances": set(),
    "training": set(),
    "figures": set(),
    "nets": set(),
    "autoencoders": {"nets"},
    "bayes": {"nets"},
    "generative": {"nets", "bayes", "distances"},
    "interpret": {"nets"},
    "recurrent": {"nets", "datasets"},
    "course": {"training", "figures", "datasets"},
    "notebooks": {"course", "datasets"},
    "cli": {"course", "datasets", "nets", "notebooks"},
}
SUBJECTS = {"autoencoders", "bayes", "density", "distances", "generative", "interpret", "recurrent"}
ALSO = {  # folders inside a part that may import more than the rest of it
    "nets/recipes": SUBJECTS | {"datasets", "training"},
    "exercises": SUBJECTS | {"nets", "datasets", "training", "course"},
}


def modules():
    """Every module of the package with its dotted name: ``coursekit.nets.blocks``."""
    for path in sorted(PACKAGE.rglob("*.py")):
        pieces = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield path, ".".join(pieces)


def imported(path, name):
    """The dotted names that a module imports, at its top or inside a function; relative ones are resolved."""
    package = name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def part_of(name):
    """The part of the package that a dotted name lies in: its first folder or module."""
    pieces = name.split(".")
    inside = len(pieces) > 1 and ((PACKAGE / pieces[1]).is_dir() or (PACKAGE / f"{pieces[1]}.py").is_file())
    return pieces[1] if inside else "coursekit"


def allowed_for(path, name):
    part = part_of(name)
    folder = path.relative_to(PACKAGE).as_posix()
    more = [parts for prefix, parts in ALSO.items() if folder.startswith(prefix)]
    return MAY_IMPORT.get(part, set()).union(*more) | FOUNDATIONS | {part}


def test_imports_follow_the_plan_of_the_house():
    wrong = [
        f"{name} imports {other}"
        for path, name in modules()
        if part_of(name) not in FOUNDATIONS | {"__init__", "__main__"}
        for other in imported(path, name)
        if other.split(".")[0] == "coursekit" and part_of(other) not in allowed_for(path, name)
    ]
    assert wrong == []


def test_no_command_imports_another():
    wrong = [
        f"{name} imports {other}"
        for path, name in modules()
        if part_of(name) == "cli" and path.stem != "__init__"
        for other in imported(path, name)
        if other.startswith("coursekit.cli.")
    ]
    assert wrong == []


def test_the_plan_sees_relative_imports(tmp_path):
    module = tmp_path / "loop.py"
    module.write_text(
        "from ..cli import run\nfrom .device import resolve_device\nfrom . import history", encoding="utf-8"
    )
    assert list(imported(module, "coursekit.training.loop")) == [
        "coursekit.cli.run",
        "coursekit.training.device.resolve_device",
        "coursekit.training.history",
    ]


def test_only_figures_and_the_display_of_a_figure_know_matplotlib():
    knows = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^\s*(import|from) matplotlib", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    drawn = {f"figures/{name}.py" for name in ("style", "drawing", "recurrent", "automata", "sequences")}
    assert knows == drawn | {"course/display.py"}


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
    "jupyter-core": "jupyter_core",
    "lazy-loader": "lazy_loader",
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
    extras = project()["optional-dependencies"]
    assert "coursekit[site]" in extras["dev"]
    for line in project()["dependencies"] + [it for it in extras["dev"] if it != "coursekit[site]"] + extras["site"]:
        wanted = Requirement(line)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), line


def test_no_file_names_a_machine():
    """Neither a home folder nor a work folder of whoever wrote this belongs into the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [path for name in listed.split("\0") if (path := ROOT / name).is_file()]
    forbidden = re.compile(rb"/(root|work|home/\w+|Users/\w+|tmp/bash)/")
    assert [path.name for path in files if forbidden.search(path.read_bytes())] == []


def test_no_two_test_files_have_one_name():
    """pytest imports a test file by its bare name, and refuses the second of two in one run."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_a_checked_number_is_used_as_checked():
    """``require_integer(n, "n")`` alone would go on with a scalar of NumPy or torch, which seeds and sizes refuse.

    `course` shows limits as they were given: 22466, not 2.247e+04.
    """
    numbers = {"require_integer", "require_number", "require_fraction", "require_flag"}
    ignored = [
        f"{name}, line {node.lineno}"
        for path, name in modules()
        if part_of(name) != "course"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
        if getattr(node.value.func, "id", None) in numbers
    ]
    assert ignored == []
