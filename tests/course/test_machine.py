"""The look at the machine says what is wrong and what to do."""

import sys
from importlib import metadata

import pytest

from coursekit.course import machine


def verdicts():
    return {finding.subject: finding for finding in machine.findings()}


def test_this_machine_is_ready(capsys):
    assert {finding.verdict for finding in machine.findings()} <= {"ok", "note"}
    machine.check_machine()
    assert capsys.readouterr().out.startswith("✓ Python: 3.")


def test_a_package_that_is_missing_or_too_old_is_named_with_the_command_that_mends_it(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "pooch":
            raise metadata.PackageNotFoundError
        return "1.0" if name == "torch" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = verdicts()
    assert str(found["pooch"]) == "✗ pooch: not installed. Run: python -m pip install 'pooch>=1.8'"
    assert str(found["torch"]).startswith("✗ torch: 1.0, wanted >=2.6. Run:")


def test_a_torch_that_does_not_import_is_trouble(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "does not import" in str(machine._torch())


def test_a_missing_kernel_is_trouble(monkeypatch):
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.find_kernel_specs", lambda self: {})
    assert "python -m ipykernel install" in str(machine._kernel())


@pytest.mark.parametrize(
    ("variable", "value", "subject"), [("VSCODE_PID", "1", "VS Code"), ("MPLBACKEND", "agg", "MPLBACKEND")]
)
def test_settings_that_have_tripped_others_are_noted(monkeypatch, variable, value, subject):
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(metadata, "version", lambda name: "7.0.1")
    assert {it.subject: it.verdict for it in machine._surroundings()}[subject] == "note"


def test_the_backend_that_jupyter_itself_sets_is_not_noted(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    assert "MPLBACKEND" not in {it.subject for it in machine._surroundings()}


def test_a_full_disk_is_trouble_even_where_the_folder_does_not_exist_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path / "not" / "yet"))
    assert machine._disk().verdict == "ok"
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**8}))
    assert "0.1 GB free for data. Make room" in str(machine._disk())
