from pathlib import Path

import platformdirs
import pytest

from coursekit.datasets import registry, store
from coursekit.datasets.download import fetch
from coursekit.errors import CourseError


def test_data_lives_where_the_environment_says_else_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    assert store.home() == tmp_path
    assert store.folder_of(registry.find("mnist")) == tmp_path / "mnist"
    monkeypatch.setenv("COURSEKIT_DATA", "~/lectures")
    assert store.home() == Path.home() / "lectures"
    monkeypatch.setenv("COURSEKIT_DATA", "")
    assert store.home() == platformdirs.user_cache_path("coursekit")


def test_embedded_set_has_no_folder():
    with pytest.raises(CourseError, match="Digits has no folder: it ships inside"):
        store.folder_of(registry.find("digits"))


def test_state_counts_files(tiny_set, server):
    entry = tiny_set("good")
    assert store.state(registry.find("digits")) == "embedded"
    assert store.state(entry) == "not here"
    folder = store.folder_of(entry)
    folder.mkdir(parents=True)
    (folder / entry.files[0].name).write_bytes(server.files[entry.files[0].name])
    assert store.state(entry) == "in part"
    fetch(entry)
    assert store.state(entry) == "here"


def test_a_home_that_is_nobodys_is_told(monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", "~nobody-of-that-name/data")
    with pytest.raises(CourseError, match=r"no folder for data: Could not determine home.* Set COURSEKIT_DATA to a"):
        store.home()
