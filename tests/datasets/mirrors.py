"""Data sets small enough to look at, and a server that misbehaves in every way the field knows."""

import gzip
import io
import socket
import struct
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from coursekit.datasets import registry, store

PREFIXES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
SHAPES = ((6, 4, 4), (6,), (3, 4, 4), (3,))


def idx(values: np.ndarray) -> bytes:
    """An IDX file of unsigned bytes."""
    return bytes((0, 0, 8, values.ndim)) + np.array(values.shape, ">u4").tobytes() + values.tobytes()


def idx_arrays() -> list[np.ndarray]:
    """Training images and labels, test images and labels; no two values of one array at one place alike."""
    return [np.arange(np.prod(shape), dtype=np.uint8).reshape(shape) for shape in SHAPES]


def names_in(folder: Path) -> list[str]:
    """Every file below a folder but the lock."""
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in paths if name != ".lock")


def assert_whole(entry: registry.Entry) -> None:
    """The set of `idx_arrays` is here, right, and nothing else lies in its folder."""
    assert [store.read(entry, file).tolist() for file in entry.files] == [a.tolist() for a in idx_arrays()]
    assert names_in(store.folder_of(entry)) == sorted(file.name for file in entry.files)


RECORDS = {
    "bin/train.bin": bytes([7, *range(12), 2, *range(12, 24)]),
    "bin/test.bin": bytes([1, *range(50, 62), 9, *range(70, 82)]),
}


def tar(*members: tuple[tarfile.TarInfo | str, bytes]) -> bytes:
    """A tar.gz archive of the given members; a string is the name of a plain file."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


class Handler(BaseHTTPRequestHandler):
    """The first part of the path says how to behave, the last which file is wanted."""

    def do_GET(self):
        _, behaviour, name = self.path.split("/")
        self.server.requests.append((behaviour, name))
        getattr(self, behaviour)(self.server.files[name])

    def send(self, body: bytes, length: int | None = None):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def good(self, body):
        self.send(body)

    def truncating(self, body):
        self.send(body[: len(body) // 2], length=len(body))

    def corrupting(self, body):
        self.send(body[:-9] + bytes([body[-9] ^ 1]) + body[-8:])

    def portal(self, body):
        self.send(b"<html>Please log in to the wireless network</html>")

    def redirecting(self, body):
        self.send_response(302)
        self.send_header("Location", self.path.replace("redirecting", "good"))
        self.end_headers()

    def missing(self, body):
        self.send_error(404)

    def failing(self, body):
        self.send_error(500)

    def vanishing(self, body):
        self.send(body[: len(body) // 2], length=len(body))
        # close with a reset instead of an orderly end
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def slow(self, body):
        """A byte now, the rest when the test opens the gate."""
        self.send(body[:1], length=len(body))
        self.server.gate.wait(30)
        self.wfile.write(body[1:])

    stalling = slow  # for a test that never opens the gate

    def decompressing(self, body):
        """As some buckets do: the name says .gz, what comes is not."""
        self.send(gzip.decompress(body))

    def trickling(self, body):
        """A byte now and then."""
        self.send_response(200)
        self.end_headers()
        while not self.server.gate.wait(0.05):
            self.wfile.write(b"a")

    def endless(self, body):
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(bytes(1 << 16))

    def bomb(self, body):
        """A thousand times as much as it sends."""
        content = gzip.compress(bytes(1 << 27))
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def odd(self, body):
        """Whatever the test has written into the file."""
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.gate = threading.Event()

    def mirror(self, behaviour: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{behaviour}/"

    def handle_error(self, request, client_address):
        """A client that hangs up on a stalling answer is what some tests are about."""
