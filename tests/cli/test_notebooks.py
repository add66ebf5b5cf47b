"""``coursekit notebooks``: copies of the notebooks, and never over somebody's work."""

from pathlib import Path

from typer.testing import CliRunner

from coursekit import cli

OWN = Path(cli.__file__).parents[2] / "notebooks"


def copy_to(folder):
    return CliRunner().invoke(cli.app, ["notebooks", str(folder)])


def test_all_notebooks_are_copied_as_they_are(tmp_path):
    done = copy_to(tmp_path / "course")
    assert done.exit_code == 0
    there = {path.name: path.read_bytes() for path in (tmp_path / "course").iterdir()}
    assert there == {path.name: path.read_bytes() for path in OWN.glob("*.ipynb")}
    assert f"jupyter lab {tmp_path / 'course'}" in done.stdout


def test_a_file_in_which_somebody_worked_is_kept(tmp_path):
    mine = tmp_path / "05_rnn.ipynb"
    mine.write_text("my work", encoding="utf-8")
    done = copy_to(tmp_path)
    assert "differs and is kept; the new one is 05_rnn.new.ipynb" in done.stdout
    assert mine.read_text(encoding="utf-8") == "my work"
    copy_to(tmp_path)  # again: nothing more
    assert len(list(tmp_path.glob("05_rnn*"))) == 2


def test_the_folder_of_the_course_itself_is_refused():
    assert "choose another one" in str(copy_to(OWN).exception)
    assert not list(OWN.glob("*.new*"))
