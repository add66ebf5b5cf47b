"""A file is written whole or not at all."""

import os

import pytest

from coursekit import files
from coursekit.files import atomic_path, shipped


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    return path


def only_file(folder):
    (path,) = folder.iterdir()
    return path.name, path.read_text()


def test_the_new_file_takes_the_name_at_the_end_and_not_before(old):
    with atomic_path(old) as part:
        assert part.parent == old.parent
        part.write_text("new")
        assert old.read_text() == "old"
    assert only_file(old.parent) == ("file", "new")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(old, error):
    def fail():
        with atomic_path(old) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert only_file(old.parent) == ("file", "old")


def test_a_block_that_writes_nothing_is_an_error(old):
    with pytest.raises(FileNotFoundError), atomic_path(old):
        pass
    assert only_file(old.parent) == ("file", "old")


@pytest.mark.parametrize("relative", [True, False])
def test_a_link_stays_a_link_to_the_new_file(old, relative):
    folder = old.parent / "links"
    folder.mkdir()
    link = folder / "latest"
    link.symlink_to(os.path.join("..", "file") if relative else old)
    with atomic_path(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert old.read_text() == "new"
    assert list(folder.iterdir()) == [link]


@pytest.mark.parametrize("sync", [True, False])
def test_the_disk_holds_the_file_before_it_takes_its_name_if_asked(old, monkeypatch, sync):
    synced, fsync = [], os.fsync

    def watched(descriptor):
        synced.append(old.read_text())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with atomic_path(old, sync=sync) as part:
        part.write_text("new")
    assert synced == (["old"] if sync else [])
    assert old.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="modes are Unix's")
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(old, mode):
    old.chmod(mode)
    with atomic_path(old) as part:
        part.write_text("new")
    assert old.stat().st_mode & 0o777 == mode


def test_a_shipped_file_lies_in_the_wheel_or_else_in_the_checkout(tmp_path, monkeypatch):
    package = tmp_path / "coursekit"
    monkeypatch.setattr(files, "__file__", str(package / "files.py"))
    assert shipped("weights", "data/weights") == tmp_path / "data" / "weights"
    (package / "_data" / "weights").mkdir(parents=True)
    assert shipped("weights", "data/weights") == package / "_data" / "weights"
