"""The student edition holds no solution, keeps students' work, and can be run and solved."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from typer.testing import CliRunner

from coursekit import cli
from coursekit.errors import CourseError
from coursekit.notebooks import files
from coursekit.notebooks.normalize import cleared, normalize
from coursekit.notebooks.student import edition, without_solutions

SOLVED = """\
def double(x):
    \"\"\"Twice x.\"\"\"
    ### BEGIN SOLUTION
    secret = x + x
    return secret
    ### END SOLUTION"""
STUBBED = """\
def double(x):
    \"\"\"Twice x.\"\"\"
    # your code here
    raise NotImplementedError"""


def cell(source, text="", count=1, **metadata):
    shown = [new_output("display_data", data={"text/plain": text}, metadata={"coursekit": {"exercise": text}})]
    return new_code_cell(source, outputs=shown if text else [], execution_count=count, metadata=metadata)


def notebook(*cells):
    return new_notebook(cells=list(cells))


@pytest.fixture
def course(tmp_path, monkeypatch):
    """The current folder, with two lectures in ``notebooks``."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    write("00_start", new_markdown_cell("# 0 · Start"), cell(SOLVED), cell("double = exercise(double)", "✓ secret"))
    write("01_more", new_markdown_cell("# 1 · More"), cell("2 + 2", "4"))
    return tmp_path


def write(stem, *cells):
    files.write(normalize(notebook(*cells)), Path("notebooks", f"{stem}.ipynb"))


def run(*arguments, status=0):
    result = CliRunner().invoke(cli.app, ["student", *map(str, arguments)])
    if isinstance(result.exception, CourseError):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.output


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- what is removed

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
HIDDEN, SHOWN = "### BEGIN HIDDEN TESTS", "### END HIDDEN TESTS"


def stripped(*cells):
    return without_solutions(notebook(*cells), Path("nb.ipynb")).cells


def test_solutions_and_the_outputs_of_their_cells_are_removed():
    (only,) = stripped(cell(SOLVED, "secret"))
    assert only.source == STUBBED
    assert (only.outputs, only.execution_count) == ([], None)


def test_hidden_tests_are_removed_without_a_trace():
    (only,) = stripped(cell("a = 1\n### BEGIN HIDDEN TESTS\nassert secret\n### END HIDDEN TESTS\nb = 2", "secret"))
    assert only.source == "a = 1\nb = 2"
    assert only.outputs == []


def test_a_cell_may_hold_several_solutions():
    (only,) = stripped(cell("if a:\n    ### BEGIN SOLUTION\n    b\n    ### END SOLUTION\n" * 2))
    assert only.source == "\n".join(["if a:\n    # your code here\n    raise NotImplementedError"] * 2) + "\n"


def test_everything_else_is_intact():
    others = [
        new_markdown_cell("# End: solutions are welcome\n\nsecret"),
        cell("import torch\n\nx = 1", "stays", tags=["kept"]),
        cell("def double_all(x):\n    return [2 * k for k in x]", "stays", 2),
        cell("%matplotlib inline\ntorch.ones(2)", "stays", 3),
        cell("double = None  # another thing of that name", "stays", 5),
        cell("double", "stays", 6),
    ]
    got = stripped(*others[:4], cell("import torch\n" + SOLVED, "goes", 4), *others[4:])
    del got[4]
    assert got == others


def test_widget_states_are_removed():
    nb = notebook(cell("1"))
    nb.metadata["widgets"] = {files.WIDGET_STATE: {"state": {"m": {"state": {"value": "secret"}}}}}
    assert "secret" not in json.dumps(without_solutions(nb, Path("nb.ipynb")))


def test_the_edition_holds_no_outputs(course):
    """Whatever leads from a solution to an output, a list that it fills, a figure, ``_``: nothing is given away."""
    for content in edition([Path("notebooks", "00_start.ipynb"), Path("notebooks", "01_more.ipynb")]).values():
        assert b"secret" not in content
    nb = nbformat.reads(edition([Path("notebooks", "01_more.ipynb")])["01_more.ipynb"].decode(), 4)
    assert [(it.outputs, it.execution_count) for it in files.code_cells(nb)] == [([], None)]


MARKING, MARKED = "=== BEGIN MARK SCHEME ===", "=== END MARK SCHEME ==="


def test_mark_schemes_are_removed_from_text():
    (only,) = stripped(new_markdown_cell(f"Explain.\n\n{MARKING}\nsecret\n{MARKED}\n\nOne page."))
    assert only.source == "Explain.\n\n\nOne page."


def test_attached_images_stay_only_if_the_text_shows_them():
    text = new_markdown_cell(
        f"![a](attachment:my%20own.png) ![b](<attachment:b c.png>)\n\n{MARKING}\n![s](attachment:s.png)\n{MARKED}",
        attachments={name: {"image/png": "AA=="} for name in ("my own.png", "b c.png", "s.png", "left over.png")},
    )
    (only,) = stripped(text)
    assert sorted(only.attachments) == ["b c.png", "my own.png"]


NBGRADER = {"nbgrader": {"grade_id": "f", "solution": True, "grade": False, "locked": False, "task": False}}


@pytest.mark.parametrize("mark", [NBGRADER, {"tags": ["solution"]}])
def test_a_cell_that_is_all_solution_needs_no_marker(mark):
    shown = [new_output("stream", text="secret")]
    code = new_code_cell("def f():\n    return 'secret'", metadata=mark, outputs=shown, execution_count=1)
    text = new_markdown_cell("secret ![s](attachment:s.png)", metadata=mark, attachments={"s.png": {"image/png": "A"}})
    left = stripped(code, text, nbformat.v4.new_raw_cell("secret", metadata=mark))
    assert [it.source for it in left] == ["# your code here\nraise NotImplementedError", "*Your answer here.*", ""]
    assert "secret" not in json.dumps(left)


def test_markers_go_before_nbgraders_mark_of_the_whole_cell():
    (only,) = stripped(new_code_cell(SOLVED, metadata=NBGRADER))
    assert only.source == STUBBED


def test_a_cell_that_is_wrong_on_purpose_may_hold_a_solution():
    (only,) = stripped(cell(f"x = = 1\n{BEGIN}\nsecret\n{END}", tags=["raises-exception"]))
    assert only.source == "x = = 1\n# your code here\nraise NotImplementedError"


@pytest.mark.parametrize("magic", ["%%time", "%%capture out", "\n%%timeit -n 1"])
def test_python_under_a_magic_may_hold_a_solution(magic):
    (only,) = stripped(cell(f"{magic}\n{SOLVED}"))
    assert only.source == f"{magic}\n{STUBBED}"
    with pytest.raises(CourseError, match="is not Python"):
        stripped(cell(f"{magic}\ndef f():\n{BEGIN}\n    return 1\n{END}"))


@pytest.mark.parametrize("magic", ["%%bash", "%%R -o x", "\n%%script perl"])
def test_a_solution_in_another_language_is_refused(magic):
    with pytest.raises(CourseError, match="only Python can hold a solution"):
        stripped(cell(f"{magic}\n{BEGIN}\necho secret\n{END}"))


@pytest.mark.parametrize(
    "line",
    [
        "### START SOLUTION",
        "### STOP SOLUTION",
        "# begin answer",
        "return x  # SOLUTION",
        "=== BEGIN MARK_SCHEME ===",
        "<!-- BEGIN SOLUTION -->",
        "// END SOLUTION",
        "#### BEGIN SOLUTION",
    ],
)
def test_markers_of_other_tools_are_refused(line):
    for one in (new_code_cell(f"def f():\n    {line}\n    return 1"), new_markdown_cell(f"Why?\n\n{line}\n\nBecause.")):
        with pytest.raises(CourseError, match=r"line \d is not quite a marker"):
            stripped(one)


# --- images


def picture(name, content=b"\x89PNG"):
    path = Path("notebooks", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_images_that_the_text_shows_come_along(course):
    for name in ("my plot.png", "img/net.svg", "unused.png", "secret.png"):
        picture(name, name.encode())
    text = "![a](<my plot.png>) <img src='img/net.svg' alt='n'> ![web](https://example.org/x.png) `![](no.png)`"
    write("02_images", new_markdown_cell(f"{text}\n\n{MARKING}\n![](secret.png)\n{MARKED}"))
    said = run("notebooks/02_images.ipynb", "--out", "out")
    assert "differs" not in said
    assert Path("out", "img", "net.svg").read_bytes() == b"img/net.svg"
    assert names(Path("out")) == ["02_images.ipynb", "README.md", "img", "my plot.png", "student.zip"]
    with zipfile.ZipFile("out/student.zip") as archive:
        assert "student/img/net.svg" in archive.namelist()
        assert "student/secret.png" not in archive.namelist()


@pytest.mark.parametrize("address", ["gone.png", "../outside.png", "data.csv", "file:///etc/hostname", "/etc/hostname"])
def test_an_image_from_elsewhere_is_refused(course, address):
    picture("../outside.png")
    picture("data.csv")
    write("02_images", new_markdown_cell(f"![]({address})"))
    with pytest.raises(CourseError, match=rf"02_images.ipynb: the image {address} is not in the notebook's folder"):
        run("notebooks/02_images.ipynb")
    assert not Path("student").exists()


def test_two_images_of_the_same_name_are_refused(course):
    picture("a.png", b"one")
    picture("../others/a.png", b"two")
    write("02_images", new_markdown_cell("![](a.png)"))
    files.write(notebook(new_markdown_cell("![](a.png)")), Path("others", "03.ipynb"))
    with pytest.raises(CourseError, match=r"different images called a.png"):
        run("notebooks/02_images.ipynb", "others/03.ipynb")


# --- wrong markers


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([BEGIN, "1"], f"{BEGIN} comes without {END}"),
        (["1", END], f"line 2 says {END} without {BEGIN} before it"),
        ([BEGIN, END, END], f"line 3 says {END} without {BEGIN} before it"),
        ([BEGIN, "1", BEGIN, END, END], f"line 3 says {BEGIN} before {END}"),
        ([BEGIN, HIDDEN, SHOWN, END], f"line 2 says {HIDDEN} before {END}"),
        ([BEGIN, "1", SHOWN], f"line 3 says {SHOWN} without {HIDDEN} before it"),
        ([HIDDEN, "1"], f"{HIDDEN} comes without {SHOWN}"),
        (["# BEGIN SOLUTION", "1", END], "line 1 is not quite a marker: # BEGIN SOLUTION"),
        (["### begin solution", "1", "### end solution"], "line 1 is not quite a marker: ### begin solution"),
        ([BEGIN, "1  ### END SOLUTION"], "line 2 is not quite a marker: 1  ### END SOLUTION"),
        (["### BEGIN HIDDEN TEST", "1", SHOWN], "line 1 is not quite a marker: ### BEGIN HIDDEN TEST"),
        (
            ["def f():", BEGIN, "    return 1", END],
            "is not Python, with its solution or without it: expected an indented",
        ),
    ],
)
def test_wrong_markers_are_refused_with_file_and_cell(course, lines, message):
    write("02_bad", cell("1"), new_code_cell("\n".join(lines), id="the-bad-cell"))
    with pytest.raises(CourseError, match=r"02_bad.ipynb, cell the-bad-cell:? .*" + re.escape(message)):
        run()
    assert not (course / "student").exists()


def test_a_solution_in_text_is_refused(course):
    write("02_bad", new_markdown_cell(f"Why?\n\n{BEGIN}\nBecause.\n{END}", id="why"))
    with pytest.raises(CourseError, match=r"02_bad.ipynb, cell why: only code can hold a solution"):
        run()


def test_a_notebook_of_an_older_format_without_cell_ids_is_accepted(course):
    nb = notebook(cell(SOLVED), new_code_cell(BEGIN))
    for it in nb.cells:
        del it["id"]
    nb.nbformat_minor = 4
    path = Path("notebooks", "02_old.ipynb")
    files.write(nb, path)
    with pytest.raises(CourseError, match=rf"02_old.ipynb, cell 2: {BEGIN} comes without {END}"):
        run(path)
    del nb.cells[1]
    files.write(nb, path)
    run(path)
    assert files.read(course / "student" / "02_old.ipynb").cells[0].source == STUBBED


# --- the folder


def test_the_edition_is_notebooks_a_readme_and_a_zip_of_both(course):
    said = run().replace("\\", "/")
    assert said == "Notebooks without solutions: 2, in student. All in one file: student/student.zip\n"
    folder = course / "student"
    assert names(folder) == ["00_start.ipynb", "01_more.ipynb", "README.md", "student.zip"]
    assert "- [0 · Start](00_start.ipynb)\n- [1 · More](01_more.ipynb)" in (folder / "README.md").read_text("utf-8")
    with zipfile.ZipFile(folder / "student.zip") as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    assert packed == {f"student/{name}": (folder / name).read_bytes() for name in names(folder)[:3]}
    source = files.read(course / "notebooks" / "01_more.ipynb")
    assert (folder / "01_more.ipynb").read_text("utf-8") == files.to_text(cleared(source))


def test_one_lecture_can_be_handed_out_alone(course):
    run("1", "--out", "one")
    assert names(course / "one") == ["01_more.ipynb", "README.md", "student.zip"]


def test_unchanged_files_are_left_alone(course):
    run()
    before = {path: path.stat().st_mtime_ns for path in (course / "student").iterdir()}
    assert "differs" not in run()
    assert {path: path.stat().st_mtime_ns for path in (course / "student").iterdir()} == before


def test_a_students_work_is_kept_and_the_new_file_is_saved_beside_it(course):
    run()
    mine = course / "student" / "00_start.ipynb"
    fresh = mine.read_bytes()
    mine.write_text("my work", encoding="utf-8")
    for _ in range(2):  # the second time, the new file exists already
        said = run().splitlines()
        assert "00_start.ipynb differs and is kept; the new one is 00_start.new.ipynb" in said[0]
        assert len(said) == 2
        assert mine.read_text(encoding="utf-8") == "my work"
        assert (mine.parent / "00_start.new.ipynb").read_bytes() == fresh
    (mine.parent / "00_start.new.ipynb").write_text("more work", encoding="utf-8")
    assert "the new one is 00_start.new2.ipynb" in run()
    assert (mine.parent / "00_start.new.ipynb").read_text(encoding="utf-8") == "more work"
    assert (mine.parent / "00_start.new2.ipynb").read_bytes() == fresh


def test_a_folder_in_the_place_of_a_file_is_kept_too(course):
    (course / "student" / "01_more.ipynb").mkdir(parents=True)
    assert "the new one is 01_more.new.ipynb" in run()


def test_the_folder_of_the_solutions_is_refused(course):
    before = names(course / "notebooks")
    with pytest.raises(CourseError, match="notebooks holds the notebooks with their solutions: choose another folder"):
        run("--out", "notebooks")
    assert names(course / "notebooks") == before


def test_an_output_that_is_not_a_folder_is_refused(course):
    (course / "file").touch()
    with pytest.raises(CourseError, match="--out expects a folder, but file is a file"):
        run("--out", "file")
    with pytest.raises(CourseError, match=r"cannot write to file.below: "):
        run("--out", "file/below")


def test_on_a_full_disk_nothing_is_half_written(course, monkeypatch):
    write_bytes = Path.write_bytes

    def full(path, content):
        if "README" in path.name:
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CourseError, match="cannot write to student: No space left on device"):
        run()
    assert names(course / "student") == []


def test_two_notebooks_of_the_same_name_are_refused(course):
    (course / "other").mkdir()
    files.write(notebook(), course / "other" / "01_more.ipynb")
    with pytest.raises(CourseError, match=r"two of the notebooks are called 01_more.ipynb"):
        run("notebooks", "other")


def test_a_file_that_is_not_a_notebook_is_refused(course):
    (course / "notebooks" / "02_bad.ipynb").write_text("{", encoding="utf-8")
    with pytest.raises(CourseError, match=r"02_bad.ipynb is not a notebook"):
        run()


# --- the course itself


def strings(value):
    """All text in nested JSON."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


def solutions(nb):
    """The lines of all solutions, without the short ones such as a closing bracket."""
    blocks = re.findall(rf"{BEGIN}\n(.*?)\n *{END}", "\n".join(cell.source for cell in nb.cells), re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines() if len(line.strip()) >= 10]


@pytest.mark.parametrize("path", files.find_notebooks(), ids=lambda path: path.stem)
def test_nothing_of_a_solution_remains_in_the_course(path):
    nb = files.read(path)
    made = edition([path])
    content = made[path.name].decode()
    assert not re.search("(BEGIN|END) (SOLUTION|HIDDEN)", content)
    assert content.count("raise NotImplementedError") == sum(cell.source.count(BEGIN) for cell in nb.cells) >= 3
    before, after = ("\n".join(strings(json.loads(text))) for text in (files.to_text(cleared(nb)), content))
    for line in (lines := solutions(nb)):  # a line that the lecture also shows elsewhere stays there
        assert after.count(line) == before.count(line) - sum(other.count(line) for other in lines), line
        assert line not in made["README.md"].decode()
    assert '"outputs": [\n' not in content


def test_a_run_of_the_edition_reaches_its_end_and_says_how_many_exercises_are_solved(tmp_path):
    source = files.find_notebooks(["00"])[0].resolve()
    run(source, "--out", tmp_path)
    command = [sys.executable, "-m", "coursekit", "run", source.name, "--profile", "smoke", "--out", "unsolved"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 notebook: 1 ok." in done.stdout
    exercises = files.records(files.read(tmp_path / "unsolved" / "notebooks" / source.name), "exercise")
    assert f"0 of {len(exercises)} exercises solved" in done.stdout
    assert {(record["verdict"], record["message"]) for record in exercises} == {("open", "not written yet")}
