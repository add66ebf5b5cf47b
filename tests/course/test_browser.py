import os

import pytest

from coursekit.course import browser


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine without a browser."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(browser, "PLACES", ())
    return tmp_path


def test_the_first_program_on_the_path_is_found(nowhere):
    program = nowhere / ("chrome.exe" if os.name == "nt" else "chrome")
    program.write_text("", encoding="utf-8")
    program.chmod(0o755)
    assert browser.find_chromium() == str(program)


def test_programs_are_found_where_systems_install_them(nowhere, monkeypatch):
    (nowhere / "Chrome").write_text("", encoding="utf-8")
    monkeypatch.setenv("PROGRAMS", str(nowhere))
    monkeypatch.setattr(browser, "PLACES", ("/no/such/place", "${PROGRAMS}/Chrome"))
    assert browser.find_chromium() == f"{nowhere}/Chrome"


def test_without_a_browser_none_is_found(nowhere):
    assert browser.find_chromium() is None
