import hashlib
import json
import subprocess
import sys
import tarfile
from dataclasses import asdict
from pathlib import Path

import pytest
from mirrors import RECORDS, names_in, tar

from coursekit.datasets import store
from coursekit.datasets.checksums import verify
from coursekit.datasets.download import fetch
from coursekit.errors import CourseError

FETCH = """
import json, sys
from coursekit.datasets.registry import Entry, File
table = json.loads(sys.argv[1])
table |= {"files": tuple(File(**file) for file in table["files"]), "archive": File(**table["archive"])}
d.fetch(Entry(**table))
"""


def members() -> list:
    """What the canonical archive has: a folder, the files, and others of no use here."""
    folder = tarfile.TarInfo("bin/")
    folder.type = tarfile.DIRTYPE
    return [(folder, b""), *RECORDS.items(), ("bin/readme.html", b"<html>")]


def test_archive_gives_its_files_and_their_checksums_and_goes(tiny_archive):
    entry = tiny_archive(tar(*members()))
    folder = fetch(entry)
    assert names_in(folder) == ["SHA256SUMS", "bin/test.bin", "bin/train.bin"]
    for name, content in RECORDS.items():
        assert (folder / name).read_bytes() == content
        assert f"{hashlib.sha256(content).hexdigest()}  {name}\n" in (folder / "SHA256SUMS").read_text()
    assert {finding.message for finding in verify(entry)} == {"checksum right"}

    damaged = bytearray(RECORDS["bin/test.bin"])
    damaged[5] ^= 1
    (folder / "bin/test.bin").write_bytes(damaged)
    assert [finding.good for finding in verify(entry)] == [True, False]


def test_the_archive_of_a_process_killed_while_unpacking_does_not_stay(tiny_archive, server):
    entry = tiny_archive(tar(*members()))
    command = "import os; from coursekit.datasets import download as d; d.unpack = lambda *_: os._exit(9);" + FETCH
    assert subprocess.run([sys.executable, "-c", command, json.dumps(asdict(entry))], check=False).returncode == 9
    assert names_in(fetch(entry)) == ["SHA256SUMS", "bin/test.bin", "bin/train.bin"]
    assert len(server.requests) == 2


def test_archive_placed_by_hand_is_unpacked_and_kept(tiny_archive, server):
    entry = tiny_archive(tar(*members()))
    folder = store.folder_of(entry)
    folder.mkdir(parents=True)
    (folder / "tiny.tar.gz").write_bytes(server.files["tiny.tar.gz"])
    fetch(entry)
    assert names_in(folder) == ["SHA256SUMS", "bin/test.bin", "bin/train.bin", "tiny.tar.gz"]
    assert server.requests == []


def test_archive_placed_by_hand_must_be_the_right_one(tiny_archive):
    entry = tiny_archive(tar(*members()))
    folder = store.folder_of(entry)
    folder.mkdir(parents=True)
    (folder / "tiny.tar.gz").write_bytes(tar(("bin/train.bin", b"other")))
    with pytest.raises(CourseError, match=r"tiny.tar.gz is damaged or is not the expected file: expected the md5"):
        fetch(entry)
    assert names_in(folder) == ["tiny.tar.gz"]


def test_files_of_an_archive_placed_by_hand_are_taken(tiny_archive, server):
    entry = tiny_archive(b"not asked for")
    folder = store.folder_of(entry)
    (folder / "bin").mkdir(parents=True)
    for name, content in RECORDS.items():
        (folder / name).write_bytes(content)
    fetch(entry)
    assert server.requests == []
    assert all("no checksum is known" in finding.message for finding in verify(entry))


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
        fetch(entry)
    assert names_in(data_home.parent) == ["data/tiny/.lock"]
    assert not Path("/escaped").exists()
