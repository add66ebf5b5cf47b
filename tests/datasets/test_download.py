import errno
import gzip
import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from mirrors import assert_whole, idx_arrays, names_in

from coursekit.datasets import DataUnavailable, download, store
from coursekit.datasets.checksums import verify
from coursekit.datasets.download import fetch
from coursekit.errors import CourseError


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
def test_download_is_whole_and_happens_once(tiny_set, server, capsys, checksum):
    entry = tiny_set("good", checksum=checksum)
    folder = fetch(entry)
    assert f"Tiny: downloading 0.0 MB to {folder}" in capsys.readouterr().out
    assert_whole(entry)
    assert fetch(entry) == folder
    assert len(server.requests) == len(entry.files)
    assert capsys.readouterr().out == ""


def test_redirect_is_followed(tiny_set, server):
    entry = tiny_set("redirecting")
    fetch(entry)
    assert_whole(entry)
    assert {behaviour for behaviour, _ in server.requests} == {"redirecting", "good"}


def test_content_counts_not_its_compression(tiny_set, server):
    entry = tiny_set("decompressing", "good")
    fetch(entry)
    assert {behaviour for behaviour, _ in server.requests} == {"decompressing"}
    assert_whole(entry)


BAD = {
    "missing": "404 Not Found",
    "failing": "500 Internal Server Error",
    "truncating": "broke off",
    "vanishing": "broke off|connection failed",
    "corrupting": "sent something else: the checksum differs",
    "portal": "sent something else: the checksum differs",
    "endless": "sent something else",
    "bomb": "sent something else",
}


@pytest.mark.parametrize("checksum", ["sha256", "md5"])
@pytest.mark.parametrize("behaviour", BAD)
def test_bad_mirror_is_passed_over_and_not_asked_again(tiny_set, server, behaviour, checksum):
    entry = tiny_set(behaviour, "good", checksum=checksum)
    fetch(entry)
    assert_whole(entry)
    assert [asked for asked, _ in server.requests].count(behaviour) == 1


@pytest.mark.parametrize("behaviour", BAD)
def test_nothing_is_left_of_a_download_that_failed(tiny_set, behaviour):
    entry = tiny_set(behaviour)
    with pytest.raises(DataUnavailable, match=f"/{behaviour}/train-images.gz: ({BAD[behaviour]})"):
        fetch(entry)
    assert names_in(store.folder_of(entry)) == []


def test_mirror_that_stalls_is_passed_over(tiny_set, server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (5, 0.2))
    entry = tiny_set("stalling", "good")
    fetch(entry)
    assert_whole(entry)


def test_a_server_that_trickles_is_passed_over(tiny_set, server, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (5, 0.4))
    entry = tiny_set("trickling", "good")
    fetch(entry)
    server.gate.set()
    assert_whole(entry)


OK = b"HTTP/1.1 200 OK\r\n"
ODD = {
    "no status": b"hello\r\n\r\n",
    "nothing": b"",
    "no such encoding": OK + b"Content-Encoding: gzip\r\n\r\nnot gzip at all",
    "no length": OK + b"Content-Length: abc\r\n\r\nabc",
    "negative length": OK + b"Content-Length: -5\r\n\r\nabc",
    "two lengths": OK + b"Content-Length: 5, 6\r\n\r\nabcde",
    "no chunks": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    "long header": OK + b"X: " + b"x" * 70_000 + b"\r\n\r\n",
    "many headers": OK + b"".join(b"X-%d: x\r\n" % i for i in range(300)) + b"\r\n",
    "elsewhere": b"HTTP/1.1 302 Found\r\nLocation: http://[::1/\r\n\r\n",
    "other scheme": b"HTTP/1.1 302 Found\r\nLocation: ftp://127.0.0.1/x\r\n\r\n",
    "no host": b"HTTP/1.1 302 Found\r\nLocation: http:///x\r\n\r\n",
    "long host": b"HTTP/1.1 302 Found\r\nLocation: http://" + b"a" * 70 + b".\xc3\xa4/\r\n\r\n",
    "dots": b"HTTP/1.1 302 Found\r\nLocation: http://.example..com/\r\n\r\n",
    "no port": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:99999/\r\n\r\n",
    "in circles": b"HTTP/1.1 302 Found\r\nLocation: /odd/train-images.gz\r\n\r\n",
}


@pytest.mark.parametrize("answer", ODD)
def test_an_odd_answer_is_one_line_of_the_error(tiny_set, server, answer):
    entry = tiny_set("odd")
    server.files["train-images.gz"] = ODD[answer]
    with pytest.raises(DataUnavailable, match=r"/odd/train-images.gz: (connection|broke off|sent something)"):
        fetch(entry)
    assert names_in(store.folder_of(entry)) == []


def test_server_that_never_answers_is_no_answer_in_time(tiny_set, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (5, 0.2))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection and says nothing
        entry = replace(tiny_set("good"), mirrors=(f"http://127.0.0.1:{silent.getsockname()[1]}/",))
        with pytest.raises(DataUnavailable, match=r"train-images.gz: no answer in time"):
            fetch(entry)


def test_offline_error_says_all_that_one_can_do(tiny_set, data_home):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    entry = replace(tiny_set("missing"), mirrors=(f"http://127.0.0.1:{port}/", *tiny_set("missing").mirrors))
    with pytest.raises(DataUnavailable) as caught:
        fetch(entry)
    lines = str(caught.value).splitlines()
    assert lines == [
        "Tiny (0.0 MB) is not on this machine, and could not be downloaded:",
        f"  http://127.0.0.1:{port}/train-images.gz: connection failed (ConnectionError)",
        f"  {entry.mirrors[1]}train-images.gz: 404 Not Found",
        f"By hand: put {', '.join(file.name for file in entry.files)} into {data_home / 'tiny'}",
        f"Elsewhere: set COURSEKIT_DATA to a folder that holds tiny{os.sep}",
        "Without a download: datasets.digits() and datasets.mnist_sample() are embedded and serve instead.",
    ]


def test_rest_of_a_killed_download_is_no_obstacle(tiny_set):
    entry = tiny_set("good")
    folder = store.folder_of(entry)
    folder.mkdir(parents=True)
    (folder / ".train-images.gz.12345.part").write_bytes(b"half of")
    (folder / ".unpacking.part").mkdir()
    (folder / ".unpacking.part" / "test.bin").write_bytes(b"half of")
    fetch(entry)
    assert_whole(entry)


def test_full_disk_is_named_and_leaves_nothing(tiny_set, monkeypatch):
    def fill(url, most):
        yield b"half of"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(download, "_pieces", fill)
    entry = tiny_set("good")
    with pytest.raises(CourseError, match=r"cannot write Tiny .*No space left.*Make room.*COURSEKIT_DATA"):
        fetch(entry)
    assert names_in(store.folder_of(entry)) == []


def test_folder_that_cannot_be_written_is_named(tiny_set, tmp_path, monkeypatch):
    (tmp_path / "occupied").write_text("a file, not a folder")
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path / "occupied"))
    with pytest.raises(CourseError, match=r"cannot write Tiny .*occupied.*set COURSEKIT_DATA"):
        fetch(tiny_set("good"))


CHILD = """
import json, sys
from coursekit.datasets import download, registry
table = json.loads(sys.argv[1])
table["files"] = tuple(registry.File(**file | {"shape": tuple(file["shape"])}) for file in table["files"])
table["mirrors"] = tuple(table["mirrors"])
download.fetch(registry.Entry(**table))
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
    fetch(entry)
    assert [store.read(entry, file).tolist() for file in entry.files] == [a.tolist() for a in idx_arrays()]
    assert {finding.message for finding in verify(entry)} == {"checksum right"}
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
        fetch(entry)
        verify(entry)
        assert {path: path.stat().st_mtime_ns for path in data_home.rglob("*")} == before
    finally:
        for path in (folder, data_home):
            path.chmod(0o755)
    assert server.requests == []
