"""The wheel holds all that the course needs, without a clone."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell

import coursekit
from coursekit.datasets import registry
from coursekit.notebooks import files

ROOT = Path(__file__).parents[1]
FIRST = ROOT / "notebooks" / "00_start_here.ipynb"


def pip(*arguments):
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def target(wheel, tmp_path_factory):
    """The folder in which the wheel is installed."""
    folder = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


@pytest.fixture
def command(target, tmp_path):
    """Runs the wheel's command in an empty folder outside the clone, without any downloaded data."""
    # Coverage measures the files of the clone; a report could not find those of the target.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    kept |= {"PYTHONPATH": str(target), "OMP_NUM_THREADS": "1", "COURSEKIT_DATA": str(tmp_path / "data")}

    def run(*arguments, **changed):
        program = [target / "bin" / "coursekit", *map(str, arguments)]
        return subprocess.run(
            program, cwd=tmp_path, env=kept | changed, capture_output=True, text=True, encoding="utf-8", check=False
        )

    return run


def in_checkout(folder):
    """The files of a folder that git tracks or would add."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if (ROOT / name).is_file()}


def test_the_wheel_holds_every_file_of_the_package_and_its_data_and_no_other(wheel):
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    data = {f"coursekit/_data/{name.removeprefix('data/')}" for name in in_checkout("data")}
    notebooks = {f"coursekit/_data/{name}" for name in in_checkout("notebooks")}
    assert packed == in_checkout("coursekit") | data | notebooks | {"coursekit/_data/constraints.txt"}


def test_the_wheel_holds_both_licences(wheel):
    with zipfile.ZipFile(wheel) as archive:
        there = {Path(name).name: archive.read(name) for name in archive.namelist() if "/licenses/" in name}
    assert there == {name: (ROOT / name).read_bytes() for name in ("LICENSE", "LICENSE-text")}


def test_the_command_is_installed(command):
    assert command("--version").stdout == f"coursekit {coursekit.__version__}\n"


@pytest.mark.parametrize("stem", ["00_start_here", "01_filters"])  # the second needs the trained weights
def test_a_lecture_runs_with_the_wheel_alone_and_makes_its_claims(command, target, stem, tmp_path):
    lecture = files.read(FIRST.with_stem(stem))
    lecture.cells.append(new_code_cell("import coursekit\n\nprint(coursekit.__file__)"))
    files.write(lecture, tmp_path / f"{stem}.ipynb")
    done = command("run", f"{stem}.ipynb", "--profile", "smoke", "--out", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    nb = files.read(tmp_path / "out" / "notebooks" / f"{stem}.ipynb")
    assert Path(nb.cells[-1].outputs[0].text.strip()).parent == target / "coursekit"
    claims, wanted = (files.records(it, "claim") for it in (nb, lecture))
    assert [claim["statement"] for claim in claims] == [claim["statement"] for claim in wanted]
    assert (tmp_path / "out" / "index.html").is_file()
    assert not (tmp_path / "data").exists()


def test_the_doctor_finds_the_tested_versions_and_the_registry(command):
    done = command("doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["Versions"]["found"].endswith("that this release was tested with")
    downloadable = sum(bool(entry.files) for entry in registry.entries().values())
    assert found["Data"]["found"] == f"0 of {downloadable} downloadable sets are here"


def test_a_student_edition_is_made(command, tmp_path):
    shutil.copy(FIRST, tmp_path)
    done = command("student", FIRST.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in (tmp_path / "student").iterdir()} == {FIRST.name, "README.md", "student.zip"}


def test_the_notebooks_are_copied_and_never_over_work(command, tmp_path):
    assert command("notebooks", "course").returncode == 0
    mine = tmp_path / "course" / FIRST.name
    assert mine.read_bytes() == FIRST.read_bytes()
    mine.write_text("my work", encoding="utf-8")
    done = command("notebooks", "course")
    assert done.returncode == 0
    assert f"{FIRST.stem}.new.ipynb" in done.stdout
    assert mine.read_text(encoding="utf-8") == "my work"
    assert mine.with_name(f"{FIRST.stem}.new.ipynb").read_bytes() == FIRST.read_bytes()
    assert len(list(mine.parent.iterdir())) == len(list(FIRST.parent.glob("*.ipynb"))) + 1


def test_slides_are_made_if_their_parts_were_fetched_before(command, tmp_path):
    shutil.copy(FIRST, tmp_path)
    # With an empty PATH there is no npm, and so no use of the network.
    done = command("slides", FIRST.name, PATH="", COURSEKIT_DATA=os.environ.get("COURSEKIT_DATA", ""))
    if "are not on this machine" in done.stderr:
        pytest.skip("the parts of slides are not on this machine; `coursekit slides` fetches them")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "slides" / f"{FIRST.stem}.html").is_file()


def test_without_a_clone_notebooks_must_be_named(command):
    done = command("run")
    assert done.returncode == 2
    assert "give the paths of the notebooks" in done.stderr
