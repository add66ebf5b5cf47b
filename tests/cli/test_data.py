import gzip
import hashlib

import pytest
from typer.testing import CliRunner

from coursekit.cli.data import data
from coursekit.datasets import DataUnavailable, registry
from coursekit.errors import CourseError

LABELS = bytes((0, 0, 8, 1, 0, 0, 0, 3)) + bytes((3, 1, 2))
REGISTRY = f"""
[digits]
title = "Digits"
about = "embedded digits"
licence = "CC BY 4.0"
source = "scikit-learn"

[tiny]
title = "Tiny"
about = "three labels"
licence = "none"
source = "here"
format = "idx"
mirrors = ["http://127.0.0.1:9/"]  # the discard port: nobody answers
files = [
    {{ name = "one.gz", size = 2_500_000, sha256 = "{hashlib.sha256(LABELS).hexdigest()}", shape = [3] }},
    {{ name = "two.gz", size = 1_000_000, sha256 = "{hashlib.sha256(LABELS).hexdigest()}", shape = [3] }},
]
"""


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The command with a registry of one embedded and one tiny set; a CourseError is raised."""
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(registry, "entries", lambda: registry.parse(REGISTRY))

    def run(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(data, arguments)
        if isinstance(result.exception, CourseError):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.output

    return run


@pytest.fixture
def placed(tmp_path):
    """Both files of the tiny set, placed by hand."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in ("one.gz", "two.gz"):
        (folder / name).write_bytes(gzip.compress(LABELS))
    return folder


def row(output: str, name: str) -> str:
    return next(line for line in output.splitlines() if line.startswith(name))


def test_list_says_what_is_here(run, tmp_path, placed):
    assert row(run("list"), "digits").split("  ")[-1].strip() == "CC BY 4.0"
    assert "embedded" in row(run("list"), "digits")
    assert "3.5 MB" in row(run("list"), "tiny")
    assert " here " in row(run("list"), "tiny")
    (placed / "one.gz").unlink()
    assert "in part" in row(run("list"), "tiny")
    (placed / "two.gz").unlink()
    assert "not here" in row(run("list"), "tiny")
    assert f"Folder: {tmp_path}" in run("list").replace("\n", "")


def test_get_names_the_folder_of_what_is_here(run, placed):
    assert f"Tiny is here: {placed}" in run("get", "tiny")


def test_get_of_an_embedded_set_has_nothing_to_do(run):
    assert "Digits ships inside an installed package" in run("get", "digits")


def test_get_without_a_network_says_what_to_do(run):
    with pytest.raises(DataUnavailable, match=r"(?s)Tiny \(3.5 MB\).*By hand: put one.gz, two.gz into"):
        run("get", "tiny")


def test_verify_accepts_good_files(run, placed):
    assert run("verify").splitlines() == [
        "ok  tiny/one.gz: checksum right",
        "ok  tiny/two.gz: checksum right",
    ]
    assert run("verify", "tiny", "digits").count("ok ") == 2


def test_verify_names_the_bad_file_and_fails(run, placed):
    (placed / "two.gz").write_bytes(gzip.compress(LABELS[:-1] + b"\7"))
    with pytest.raises(CourseError, match="1 bad file, see above"):
        run("verify")
    (placed / "one.gz").unlink()
    with pytest.raises(CourseError, match="2 bad files, see above"):
        run("verify", "tiny")
    result = CliRunner().invoke(data, ["verify"])
    assert "BAD tiny/one.gz: missing" in result.output
    assert "BAD tiny/two.gz" in result.output
    assert result.exit_code == 1


def test_verify_without_any_data_says_so(run, tmp_path):
    assert run("verify") == f"There is no data set in {tmp_path}: nothing to check.\n"


def test_path_is_the_folder_of_one_set_or_of_all(run, tmp_path):
    assert run("path") == f"{tmp_path}\n"
    assert run("path", "tiny") == f"{tmp_path / 'tiny'}\n"
    with pytest.raises(CourseError, match="Digits has no folder"):
        run("path", "digits")


@pytest.mark.parametrize("command", ["get", "verify", "path"])
def test_an_unknown_set_is_a_usage_error_that_suggests_similar_names(run, command):
    assert "unknown data set 'tinny': did you mean tiny?" in run(command, "tinny", status=2)
