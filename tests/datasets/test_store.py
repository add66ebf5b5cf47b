import errno
import gzip
import hashlib
import json
import os
import socket
import subprocess
import sys
import tarfile
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import platformdirs
import pooch
import pytest
from mirrors import RECORDS, idx, idx_arrays, tar

from coursekit import files
from coursekit.datasets import store
from coursekit.errors import CourseError


def names_in(folder: Path) -> list[str]:
    """Every file below a folder but the lock."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in paths if name != ".lock")


def assert_whole(entry: store.Entry) -> None:
    """The set is here, right, and nothing else lies in its folder."""
    assert [store.read(entry, file).tolist() for file in entry.files] == [a.tolist() for a in idx_arrays()]
    assert names_in(store.folder_of(entry)) == sorted(file.name for file in entry.files)


# The registry


def test_every_entry_of_the_registry_is_complete():
    for name, entry in store.registry().items():
        assert entry.name == name
        assert all((entry.title, entry.about, entry.licence, entry.source)), name
        if not entry.files:
            continue
        assert entry.format in store.READERS
        assert len(entry.mirrors) >= 2
        assert all(urlparse(mirror).path.endswith("/") for mirror in entry.mirrors)
        assert all(file.shape and file.size for file in entry.files)
        for file in entry.downloads:
            assert len(file.sha256) == 64 or len(file.md5) == 32, file.name


def test_registry_in_a_wheel_comes_before_the_one_of_a_checkout(tmp_path, monkeypatch):
    for folder, title in (("coursekit/_data", "packaged"), ("data", "checkout")):
        path = tmp_path / folder / "registry.toml"
        path.parent.mkdir(parents=True)
        path.write_text(f"[a]\ntitle='{title}'\nabout=''\nlicence=''\nsource=''")
    monkeypatch.setattr(files, "__file__", str(tmp_path / "coursekit" / "files.py"))
    assert store.find("a").title == "packaged"
    (tmp_path / "coursekit" / "_data" / "registry.toml").unlink()
    assert store.find("a").title == "checkout"


def test_misspelt_key_in_a_registry_is_an_error():
    with pytest.raises(TypeError, match="lisence"):
        store.parse_registry("[a]\ntitle=''\nabout=''\nlicence=''\nsource=''\nlisence=''")


def test_unknown_set_names_what_may_have_been_meant():
    with pytest.raises(ValueError, match=r"unknown data set 'fashion-mnist': did you mean fashion_mnist"):
        store.find("fashion-mnist")
    with pytest.raises(ValueError, match=r"unknown data set 'xyz': there are digits, photographs, mnist"):
        store.find("xyz")


# Where data lives


def test_data_lives_where_the_environment_says_else_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    assert store.home() == tmp_path
    assert store.folder_of(store.find("mnist")) == tmp_path / "mnist"
    monkeypatch.setenv("COURSEKIT_DATA", "~/lectures")
    assert store.home() == Path.home() / "lectures"
    monkeypatch.setenv("COURSEKIT_DATA", "")
    assert store.home() == platformdirs.user_cache_path("coursekit")


def test_embedded_set_has_no_folder():
    with pytest.raises(CourseError, match="Digits has no folder: it ships inside"):
        store.folder_of(store.find("digits"))


def test_state_counts_files(tiny_set, server):
    entry = tiny_set("good")
    assert store.state(store.find("digits")) == "embedded"
    assert store.state(entry) == "not here"
    folder = store.folder_of(entry)
    folder.mkdir(parents=True)
    (folder / entry.files[0].name).write_bytes(server.files[entry.files[0].name])
    assert store.state(entry) == "in part"
    store.fetch(entry)
    assert store.state(entry) == "here"


# Downloads


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_download_is_whole_and_happens_once(tiny_set, server, capsys, checksum):
    entry = tiny_set("good", checksum=checksum)
    folder = store.fetch(entry)
    assert f"Tiny: downloading 0.0 MB to {folder}" in capsys.readouterr().out
    assert_whole(entry)
    assert store.fetch(entry) == folder
    assert len(server.requests) == len(entry.files)
    assert capsys.readouterr().out == ""


def test_redirect_is_followed(tiny_set, server):
    entry = tiny_set("redirecting")
    store.fetch(entry)
    assert_whole(entry)
    assert {behaviour for behaviour, _ in server.requests} == {"redirecting", "good"}


def test_content_counts_not_its_compression(tiny_set, server):
    entry = tiny_set("decompressing", "good")
    store.fetch(entry)
    assert {behaviour for behaviour, _ in server.requests} == {"decompressing"}
    assert_whole(entry)


BAD = {
    "missing": "404 Not Found",
    "failing": "500 Internal Server Error",
    "truncating": "broke off",
    "vanishing": "broke off|connection failed",
    "corrupting": "sent something else: the checksum differs",
    "portal": "sent something else: the checksum differs",
}


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
@pytest.mark.parametrize("behaviour", BAD)
def test_bad_mirror_is_passed_over_and_not_asked_again(tiny_set, server, behaviour, checksum):
    entry = tiny_set(behaviour, "good", checksum=checksum)
    store.fetch(entry)
    assert_whole(entry)
    assert [asked for asked, _ in server.requests].count(behaviour) == 1


@pytest.mark.parametrize("behaviour", BAD)
def test_nothing_is_left_of_a_download_that_failed(tiny_set, behaviour):
    entry = tiny_set(behaviour)
    with pytest.raises(store.DataUnavailable, match=f"/{behaviour}/train-images.gz: ({BAD[behaviour]})"):
        store.fetch(entry)
    assert names_in(store.folder_of(entry)) == []


def test_mirror_that_stalls_is_passed_over(tiny_set, server, monkeypatch):
    monkeypatch.setattr(store, "TIMEOUT", (5, 0.2))
    entry = tiny_set("stalling", "good")
    store.fetch(entry)
    assert_whole(entry)


def test_server_that_never_answers_is_no_answer_in_time(tiny_set, monkeypatch):
    monkeypatch.setattr(store, "TIMEOUT", (5, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing
        entry = replace(tiny_set("good"), mirrors=(f"http://127.0.0.1:{silent.getsockname()[1]}/",))
        with pytest.raises(store.DataUnavailable, match=r"train-images.gz: no answer in time"):
            store.fetch(entry)


def test_offline_error_says_all_that_one_can_do(tiny_set, data_home):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    entry = replace(tiny_set("missing"), mirrors=(f"http://127.0.0.1:{port}/", *tiny_set("missing").mirrors))
    with pytest.raises(store.DataUnavailable) as caught:
        store.fetch(entry)
    lines = str(caught.value).splitlines()
    assert lines == [
        "Tiny (0.0 MB) is not on this machine, and could not be downloaded:",
        f"  http://127.0.0.1:{port}/train-images.gz: connection failed (ConnectionError)",
        f"  {entry.mirrors[1]}train-images.gz: 404 Not Found",
        f"By hand: put {', '.join(file.name for file in entry.files)} into {data_home / 'tiny'}",
        f"Elsewhere: set COURSEKIT_DATA to a folder that holds tiny{os.sep}",
        "Without a download: datasets.digits() is embedded and serves instead.",
    ]


def test_rest_of_a_killed_download_is_no_obstacle(tiny_set):
    entry = tiny_set("good")
    folder = store.folder_of(entry)
    folder.mkdir(parents=True)
    (folder / "train-images.gz.part").write_bytes(b"half of")
    store.fetch(entry)
    assert_whole(entry)


def test_full_disk_is_named_and_leaves_nothing(tiny_set, monkeypatch):
    def fill(self, url, output, pooch):
        Path(output).write_bytes(b"half of")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(output))

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", fill)
    entry = tiny_set("good")
    with pytest.raises(CourseError, match=r"cannot write Tiny .*No space left.*Make room.*COURSEKIT_DATA"):
        store.fetch(entry)
    assert names_in(store.folder_of(entry)) == []


def test_folder_that_cannot_be_written_is_named(tiny_set, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("a file, not a folder")
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path / "occupied"))
    with pytest.raises(CourseError, match=r"cannot write Tiny .*occupied.*set COURSEKIT_DATA"):
        store.fetch(tiny_set("good"))


CHILD = """
import json, sys
from coursekit.datasets import store
table = json.loads(sys.argv[1])
table["files"] = tuple(store.File(**file | {"shape": tuple(file["shape"])}) for file in table["files"])
table["mirrors"] = tuple(table["mirrors"])
store.fetch(store.Entry(**table))
"""


def test_two_processes_that_want_the_same_set_download_it_once(tiny_set, server):
    entry = tiny_set("slow")
    command = [sys.executable, "-u", "-c", CHILD, json.dumps(asdict(entry))]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as first,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as second,
    ):
        # One prints that it downloads and is held at the gate; the other must say that it waits.
        said = sorted([first.stdout.readline(), second.stdout.readline()])
        server.gate.set()
        assert [process.communicate(timeout=60)[0] for process in (first, second)] == ["", ""]
    assert said[0].startswith("Tiny: another process is downloading it")
    assert said[1].startswith("Tiny: downloading")
    assert (first.returncode, second.returncode) == (0, 0)
    assert_whole(entry)
    assert len(server.requests) == len(entry.files)


# Files placed by hand


def test_uncompressed_files_placed_by_hand_are_taken_and_verified(tiny_set, server):
    entry = tiny_set("missing")
    folder = store.folder_of(entry)
    folder.mkdir(parents=True)
    for name, content in server.files.items():
        (folder / name.removesuffix(".gz")).write_bytes(gzip.decompress(content))
    store.fetch(entry)
    assert [store.read(entry, file).tolist() for file in entry.files] == [a.tolist() for a in idx_arrays()]
    assert {finding.message for finding in store.verify(entry)} == {"checksum right"}
    assert server.requests == []


def test_folder_that_is_complete_is_only_read(tiny_set, server, data_home):
    entry = tiny_set("good")
    folder = store.folder_of(entry)
    folder.mkdir(parents=True)
    for name, content in server.files.items():
        (folder / name).write_bytes(content)
    for path in (folder, data_home):
        path.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in data_home.rglob("*")}
    try:
        store.fetch(entry)
        store.verify(entry)
        assert {path: path.stat().st_mtime_ns for path in data_home.rglob("*")} == before
    finally:
        for path in (folder, data_home):
            path.chmod(0o755)
    assert server.requests == []


# Verification


def test_verify_finds_what_is_missing_damaged_or_another(tiny_set):
    entry = tiny_set("good")
    folder = store.fetch(entry)
    assert all(finding.good for finding in store.verify(entry))

    images, labels, test_images, _ = (folder / file.name for file in entry.files)
    images.write_bytes(gzip.compress(idx(idx_arrays()[0] + np.uint8(1))))  # well-formed, other pixels
    labels.write_bytes(b"<html>")
    test_images.unlink()
    findings = {finding.file: finding for finding in store.verify(entry)}
    assert [finding.good for finding in findings.values()] == [False, False, False, True]
    assert "expected the sha256 " in findings[images.name].message
    assert "expected an IDX file" in findings[labels.name].message
    assert findings[test_images.name].message == "missing"


def test_verify_says_where_it_has_no_checksum_to_compare(tiny_set, server):
    entry = tiny_set("good", checksum="md5")
    folder = store.fetch(entry)
    name = entry.files[0].name
    (folder / name).unlink()
    (folder / name.removesuffix(".gz")).write_bytes(gzip.decompress(server.files[name]))
    first, *others = store.verify(entry)
    assert first.good
    assert "no checksum is known" in first.message
    assert {finding.message for finding in others} == {"checksum right"}


# Archives


def members() -> list:
    """What the canonical archive has: a folder, the files, and others of no use here."""
    folder = tarfile.TarInfo("bin/")
    folder.type = tarfile.DIRTYPE
    return [(folder, b""), *RECORDS.items(), ("bin/readme.html", b"<html>")]


def test_archive_gives_its_files_and_their_checksums_and_goes(tiny_archive):
    entry = tiny_archive(tar(*members()))
    folder = store.fetch(entry)
    assert names_in(folder) == ["SHA256SUMS", "bin/test.bin", "bin/train.bin"]
    for name, content in RECORDS.items():
        assert (folder / name).read_bytes() == content
        assert f"{hashlib.sha256(content).hexdigest()}  {name}\n" in (folder / "SHA256SUMS").read_text()
    assert {finding.message for finding in store.verify(entry)} == {"checksum right"}

    damaged = bytearray(RECORDS["bin/test.bin"])
    damaged[5] ^= 1
    (folder / "bin/test.bin").write_bytes(damaged)
    assert [finding.good for finding in store.verify(entry)] == [True, False]


def test_archive_placed_by_hand_is_unpacked_and_kept(tiny_archive, server):
    entry = tiny_archive(tar(*members()))
    folder = store.folder_of(entry)
    folder.mkdir(parents=True)
    (folder / "tiny.tar.gz").write_bytes(server.files["tiny.tar.gz"])
    store.fetch(entry)
    assert names_in(folder) == ["SHA256SUMS", "bin/test.bin", "bin/train.bin", "tiny.tar.gz"]
    assert server.requests == []


def test_archive_placed_by_hand_must_be_the_right_one(tiny_archive):
    entry = tiny_archive(tar(*members()))
    folder = store.folder_of(entry)
    folder.mkdir(parents=True)
    (folder / "tiny.tar.gz").write_bytes(tar(("bin/train.bin", b"other")))
    with pytest.raises(CourseError, match=r"tiny.tar.gz is damaged or another file: expected the md5"):
        store.fetch(entry)
    assert names_in(folder) == ["tiny.tar.gz"]


def test_files_of_an_archive_placed_by_hand_are_taken(tiny_archive, server):
    entry = tiny_archive(b"not asked for")
    folder = store.folder_of(entry)
    (folder / "bin").mkdir(parents=True)
    for name, content in RECORDS.items():
        (folder / name).write_bytes(content)
    store.fetch(entry)
    assert server.requests == []
    assert all("no checksum is known" in finding.message for finding in store.verify(entry))


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


TRICKS = {
    "parent": [*members(), ("../../escaped", b"evil")],
    "inner parent": [*members(), ("bin/../../escaped", b"evil")],
    "absolute": [*members(), ("/escaped", b"evil")],
    "symbolic link": [(member("bin/train.bin", tarfile.SYMTYPE, "/etc/hostname"), b""), *members()[2:]],
    "symbolic folder": [(member("bin", tarfile.SYMTYPE, "/tmp"), b""), *members()[1:]],
    "hard link": [*members(), (member("bin/more.bin", tarfile.LNKTYPE, "bin/train.bin"), b"")],
    "device": [*members(), (member("bin/zero", tarfile.CHRTYPE), b"")],
    "pipe": [*members(), (member("bin/pipe", tarfile.FIFOTYPE), b"")],
    "oversize": [*members()[:2], ("bin/test.bin", bytes(10_000))],
    "folder for a file": [*members()[:2], (member("bin/test.bin", tarfile.DIRTYPE), b"")],
    "lacking": members()[:2],
}


@pytest.mark.parametrize("trick", TRICKS)
def test_archive_with_a_trick_is_refused_before_anything_is_written(tiny_archive, data_home, trick):
    entry = tiny_archive(tar(*TRICKS[trick]))
    with pytest.raises(CourseError, match=r"tiny.tar.gz is (refused|damaged)"):
        store.fetch(entry)
    assert names_in(data_home.parent) == ["data/tiny/.lock", "data/tiny/tiny.tar.gz"]
    assert not Path("/escaped").exists()
