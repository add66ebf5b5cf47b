"""The command line as a whole: help, version, errors without a traceback."""

import sys

import pytest
from typer.testing import CliRunner

from coursekit import __version__, cli
from coursekit.course import machine
from coursekit.course.machine import Finding
from coursekit.errors import CourseError


def invoke(*arguments):
    return CliRunner().invoke(cli.app, arguments)


def test_help_lists_every_command():
    shown = invoke("--help")
    assert shown.exit_code == 0
    assert all(f" {command} " in shown.output for command in ("run", "slides", "data", "train", "student", "doctor"))


def test_version_is_the_packages():
    assert invoke("--version").output == f"coursekit {__version__}\n"


def test_doctor_prints_each_finding_and_fails_on_trouble(monkeypatch):
    well = invoke("doctor")
    assert well.exit_code == 0
    assert well.output.startswith("✓ Python: ")
    monkeypatch.setattr(machine, "all_findings", lambda: [Finding("Disk", "trouble", "full", "Make room")])
    ill = invoke("doctor")
    assert (ill.exit_code, ill.output) == (1, "✗ Disk: full. Make room\n")


def test_an_error_that_can_be_mended_is_one_message_and_exit_status_1(monkeypatch, capsys):
    def fail():
        raise CourseError("the disk is full: make room")

    monkeypatch.setattr(cli, "app", fail)
    for stream in ("stdout", "stderr"):  # pytest's own cannot be reconfigured
        monkeypatch.setattr(getattr(sys, stream), "reconfigure", lambda **_: None, raising=False)
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert capsys.readouterr().err == "coursekit: the disk is full: make room\n"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(36, "File name too long", "nnn"), "nnn: File name too long."),
        (PermissionError(13, "Permission denied", "/etc/x"), "/etc/x: Permission denied."),
        (FileNotFoundError(2, "No such file or directory"), "the working folder: No such file or directory."),
        (OSError(28, "No space left on device"), "No space left on device."),
        (OSError("of its own words"), "of its own words"),
    ],
)
def test_an_error_of_the_file_system_is_one_line(monkeypatch, capsys, error, message):
    def fail():
        raise error

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert capsys.readouterr().err == f"coursekit: {message}\n"


def test_names_that_are_too_long_are_told_by_the_command_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["coursekit", "run", "n" * 300])
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    assert capsys.readouterr().err.endswith(": File name too long.\n")
