"""What several tests of notebooks need."""

import zipfile

import pytest
from typer.testing import CliRunner

from coursekit import cli
from coursekit.notebooks import files


@pytest.fixture(scope="session")
def handed_out(tmp_path_factory):
    """The student edition of the whole course, unpacked in an empty folder."""
    folder = tmp_path_factory.mktemp("handed_out")
    made = CliRunner().invoke(cli.app, ["student", *map(str, files.find_notebooks()), "--out", str(folder / "edition")])
    assert made.exit_code == 0, made.output
    with zipfile.ZipFile(folder / "edition" / "student.zip") as archive:
        archive.extractall(folder)
    return folder / "student"
