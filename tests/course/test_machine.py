"""The check of the machine says what is wrong and how to fix it."""

import json
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coursekit.cli import app
from coursekit.course import machine


def verdicts():
    return {finding.subject: finding for finding in machine.all_findings()}


def test_this_machine_is_ready(capsys):
    assert {finding.verdict for finding in machine.all_findings()} <= {"ok", "note"}
    machine.check_machine()
    assert capsys.readouterr().out.startswith("✓ Python: 3.")


def test_a_missing_or_old_package_is_named_with_the_command_that_installs_it(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "requests":
            raise metadata.PackageNotFoundError
        return "1.0" if name == "torch" else real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = verdicts()
    assert str(found["requests"]) == "✗ requests: not installed. Run: python -m pip install 'requests>=2.32'"
    assert str(found["torch"]).startswith("✗ torch: 1.0, wanted >=2.6. Run:")


def test_on_colab_no_package_is_to_be_replaced(monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    monkeypatch.setattr(metadata, "requires", lambda name: ["ipywidgets>=999"])
    found = verdicts()
    assert "ipywidgets" not in found
    assert found["Packages"].verdict == "ok"


def test_a_torch_that_does_not_import_is_trouble(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "does not import" in str(machine._torch())


def test_a_missing_kernel_is_trouble(monkeypatch):
    monkeypatch.setattr("jupyter_client.kernelspec.KernelSpecManager.find_kernel_specs", lambda self: {})
    assert "python -m ipykernel install" in str(machine._kernel())


@pytest.mark.parametrize(
    ("variable", "value", "subject"), [("VSCODE_PID", "1", "VS Code"), ("MPLBACKEND", "agg", "MPLBACKEND")]
)
def test_settings_that_have_caused_trouble_are_noted(monkeypatch, variable, value, subject):
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(metadata, "version", lambda name: "7.0.1")
    assert {it.subject: it.verdict for it in machine._surroundings()}[subject] == "note"


def test_the_backend_that_jupyter_sets_is_not_noted(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    assert "MPLBACKEND" not in {it.subject for it in machine._surroundings()}


def test_a_full_disk_is_trouble_even_if_the_folder_does_not_exist_yet(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path / "not" / "yet"))
    assert machine._disk().verdict == "ok"
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10**8}))
    assert "0.1 GB free for data. Free some space" in str(machine._disk())


def test_versions_that_differ_from_the_tested_ones_are_named(monkeypatch, tmp_path):
    assert machine._versions().verdict == "ok"
    (tmp_path / "constraints.txt").write_text("# pins\nrequests==0.1\nnot-there==1.0\n", encoding="utf-8")
    monkeypatch.setattr(machine, "shipped", lambda name, checkout: tmp_path / name)
    found = str(machine._versions())
    assert found.startswith("○ Versions: 1 of 1 differ: requests ")
    assert "(tested 0.1)" in found


def test_a_slow_device_is_noted(monkeypatch):
    monkeypatch.setattr("time.perf_counter", iter(range(100)).__next__)  # every product takes a second
    assert machine._speed().verdict == "note"
    assert "takes 1000.0 ms on cpu, 2 GFLOP/s" in machine._speed().found


def test_a_jupyterlab_without_the_widget_extension_is_trouble(monkeypatch):
    assert machine._widgets().verdict == "ok"
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda name: [])
    assert "JupyterLab lacks the extension that shows sliders" in str(machine._widgets())


def test_data_sets_that_are_here_are_named(monkeypatch):
    monkeypatch.setattr("coursekit.datasets.store.state", lambda entry: "here" if entry.name == "mnist" else "not here")
    assert str(machine._data_sets()).startswith("○ Data: 1 of 4 downloadable sets are here: mnist. Profile quick needs")
    monkeypatch.setattr("coursekit.datasets.store.state", lambda entry: "here")
    assert machine._data_sets().verdict == "ok"


def test_what_only_slides_need_is_a_note(monkeypatch):
    monkeypatch.setattr("coursekit.course.browser.find_chromium", lambda: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert str(machine._browser()).startswith("○ Browser: no Chromium found.")
    assert str(machine._npm()).startswith("○ npm: not found.")
    monkeypatch.setattr("coursekit.course.browser.find_chromium", lambda: "/usr/bin/chromium")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert {machine._browser().verdict, machine._npm().verdict} == {"ok"}


def test_a_bug_report_is_json_without_personal_paths(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(machine, "_speed", lambda: machine.Finding("Speed", "note", "not measured"))
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert {"subject", "verdict", "found", "advice"} == set(report["findings"][0])
    assert "PyTorch" in {finding["subject"] for finding in report["findings"] if finding["verdict"] == "trouble"}
    assert str(Path.home()) not in done.stdout
    assert str(tmp_path) not in done.stdout


@pytest.mark.parametrize("error", [ImportError("undefined"), OSError(13, "no", "/srv/token"), MemoryError()])
def test_no_check_that_fails_ends_the_report(monkeypatch, error):
    def fail():
        raise error

    fail.__name__ = "_speed"
    whole = list(verdicts())
    monkeypatch.setattr(machine, "_speed", fail)
    found = verdicts()
    assert list(found) == whole
    assert found["Speed"].verdict == "trouble"
    assert "token" not in str(found["Speed"])


def test_no_value_of_the_environment_is_shown(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module:///srv/token")
    assert str(verdicts()["MPLBACKEND"]).startswith("○ MPLBACKEND: is set. ")
    monkeypatch.setenv("MPLBACKEND", "")
    assert "MPLBACKEND" not in verdicts()
