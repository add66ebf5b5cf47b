import base64
import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from coursekit.course.display import WIDGET_VIEW
from coursekit.errors import CourseError
from coursekit.notebooks import files

PNG = base64.b64encode(b"picture").decode()


def output(data, **metadata):
    return new_output("display_data", data=data, metadata=metadata)


def error(name="ValueError", message="no"):
    return new_output("error", ename=name, evalue=message, traceback=["line 1", f"{name}: {message}"])


def cell(source="1 + 1", *outputs, count=1, **metadata):
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder with three lectures in ``notebooks``, as the current one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "notebooks"
    folder.mkdir()
    for name in ("00_start_here", "09_autoencoders", "10_gans"):
        files.write(new_notebook(), folder / f"{name}.ipynb")
    return tmp_path


def stems(*names):
    return [path.stem for path in files.find_notebooks(names)]


def test_without_names_the_whole_course_in_order(course):
    assert stems() == ["00_start_here", "09_autoencoders", "10_gans"]


@pytest.mark.parametrize(
    "name", ["09", "9", "09_autoencoders", "09_autoencoders.ipynb", "notebooks/09_autoencoders.ipynb"]
)
def test_a_notebook_has_a_number_a_stem_a_file_name_and_a_path(course, name):
    assert stems(name) == ["09_autoencoders"]


def test_notebooks_come_once_in_the_order_given_and_a_folder_means_all_in_it(course):
    assert stems("10", "0", "10", "notebooks") == ["10_gans", "00_start_here", "09_autoencoders"]


@pytest.mark.parametrize("name", ["autoencoder", "09_autoencodesr", "notebooks/09_autoencoder.ipynb"])
def test_an_unknown_notebook_is_an_error_that_names_the_near_miss(course, name):
    with pytest.raises(CourseError, match=f"unknown notebook '{name}': did you mean 09_autoencoders\\?"):
        files.find_notebooks([name])


def test_a_name_near_to_nothing_lists_the_course(course):
    with pytest.raises(CourseError, match="'77': there are 00_start_here, 09_autoencoders, 10_gans"):
        files.find_notebooks(["77"])


def test_a_course_without_notebooks_says_so(course):
    for path in (course / "notebooks").iterdir():
        path.unlink()
    with pytest.raises(CourseError, match=r"no notebook \(\*.ipynb\) in the folder notebooks"):
        files.find_notebooks()
    with pytest.raises(CourseError, match="unknown notebook '09': there are none"):
        files.find_notebooks(["09"])


def test_elsewhere_the_course_is_the_repository_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("coursekit.__file__", str(tmp_path / "clone" / "coursekit" / "__init__.py"))
    with pytest.raises(CourseError, match=r"no notebooks: neither .* Change to a clone of the course"):
        files.folder()
    (tmp_path / "clone" / "notebooks").mkdir(parents=True)
    assert files.folder() == tmp_path / "clone" / "notebooks"


def test_what_is_written_is_read_again(tmp_path):
    nb = new_notebook(cells=[new_markdown_cell("# Größe"), cell()])
    files.write(nb, tmp_path / "a.ipynb")
    assert files.read(tmp_path / "a.ipynb") == nb
    content = (tmp_path / "a.ipynb").read_bytes()
    assert content.decode() == nbformat.writes(nb) + "\n"
    assert b"Gr\xc3\xb6\xc3\x9fe" in content


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not a notebook: it is not JSON"),
        (b"\xff\xfe", "is not a notebook: it is not JSON"),
        (b"[]", "is not a notebook of format 4"),
        (b'{"nbformat": 3}', "is not a notebook of format 4"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}', r"is not a valid notebook \(KeyError: 'cells'\)"),
        (b'{"nbformat": 4, "nbformat_minor": null, "metadata": {}, "cells": []}', "is not a valid notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": null}', "is not a valid notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"id": []}]}', "is not a valid notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": 5}]}', "is not a valid"),
        (
            b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"id": "a"}]}',
            "is not a valid notebook",
        ),
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path, content, message):
    path = tmp_path / "a.ipynb"
    path.write_bytes(content)
    with pytest.raises(CourseError, match=message):
        files.read(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(CourseError, match=r"cannot read the notebook .*a\.ipynb: No such file"):
        files.read(tmp_path / "a.ipynb")


def test_parameters_are_the_names_that_the_tagged_cell_assigns():
    source = '"""What to try."""\nPROFILE = "quick"\nLEVELS: list = [1 == 1,\n 2]\nA = B = 3  # C = 4\nA[0] = 1'
    nb = new_notebook(cells=[cell("OTHER = 1"), cell(source, tags=["parameters"])])
    assert files.parameters(nb) == ["PROFILE", "A", "B", "LEVELS"]
    assert files.parameters(new_notebook()) == []


def test_parameters_that_are_no_python_are_an_error():
    nb = new_notebook(cells=[cell("%magic", tags=["parameters"])])
    with pytest.raises(CourseError, match="the cell tagged parameters is not plain Python"):
        files.parameters(nb)


def test_a_run_executes_code_that_is_neither_empty_nor_to_be_skipped():
    nb = new_notebook(
        cells=[
            new_markdown_cell("text"),
            cell("first"),
            cell(" \n"),
            cell("PROFILE = 1", tags=[files.INJECTED]),
            cell("left out", tags=["skip-execution"]),
            cell("last", tags=["raises-exception"]),
        ]
    )
    assert [one.source for one in files.code_cells(nb)] == ["first", "last"]


def test_the_fingerprint_is_that_of_the_sources():
    first, second, third = (
        new_notebook(cells=[cell("x", count=1)]),
        new_notebook(cells=[cell("x", error(), count=7)]),
        new_notebook(cells=[cell("y", count=1)]),
    )
    assert files.fingerprint(first) == files.fingerprint(second) != files.fingerprint(third)


def test_the_title_is_the_first_heading():
    nb = new_notebook(cells=[cell("# code"), new_markdown_cell("Hello\n# Title *here* \n# Next")])
    assert files.title(nb) == "Title *here*"
    assert files.title(new_notebook()) == ""


def test_records_are_collected_in_order_by_kind():
    claims = [{"number": 1}, {"number": 2}]
    nb = new_notebook(
        cells=[
            cell("a", output({}, coursekit={"claim": claims[0]}), output({}, coursekit={"exercise": {}})),
            new_markdown_cell("text"),
            cell("b", new_output("stream", text="x"), output({}, coursekit={"claim": claims[1]})),
        ]
    )
    assert files.records(nb, "claim") == claims
    assert files.records(nb, "exercise") == [{}]
    assert files.records(nb, "setup") == []


def test_figures_are_the_png_outputs_with_their_alternative_text():
    nb = new_notebook(
        cells=[
            cell("a", output({"image/png": PNG}, **{"image/png": {"alt": "one"}}), output({"text/plain": "x"})),
            cell("b", output({"image/png": PNG, WIDGET_VIEW: {"model_id": "m"}}, alt="two")),
            cell("c", output({"image/png": PNG})),
        ]
    )
    assert files.figures(nb) == [(b"picture", "one"), (b"picture", "two"), (b"picture", "")]
