import gzip
import hashlib
import threading
from pathlib import Path

import pytest
from mirrors import PREFIXES, SHAPES, Server, idx, idx_arrays

from coursekit.datasets import registry


@pytest.fixture
def data_home(tmp_path, monkeypatch) -> Path:
    home = tmp_path / "data"
    monkeypatch.setenv("COURSEKIT_DATA", str(home))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return home


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def tiny_set(server, data_home):
    """A function of the mirrors' behaviours that gives the entry of a small set, which the server holds."""
    for prefix, values in zip(PREFIXES, idx_arrays(), strict=True):
        server.files[f"{prefix}.gz"] = gzip.compress(idx(values))

    def make(*behaviours: str, checksum: str = "sha256") -> registry.Entry:
        files = []
        for name, shape in zip(server.files, SHAPES, strict=True):
            content = server.files[name]
            hashed = gzip.decompress(content) if checksum == "sha256" else content
            digest = hashlib.new(checksum, hashed).hexdigest()
            files.append(registry.File(name, len(content), shape=shape, **{checksum: digest}))
        mirrors = tuple(map(server.mirror, behaviours))
        return registry.Entry("tiny", "Tiny", "4x4", "none", "here", "idx", mirrors, tuple(files))

    return make


@pytest.fixture
def tiny_archive(server, data_home):
    """A function of an archive's bytes that gives the entry of a set of two record files."""

    def make(content: bytes, behaviour: str = "good") -> registry.Entry:
        server.files["tiny.tar.gz"] = content
        archive = registry.File("tiny.tar.gz", len(content), md5=hashlib.md5(content).hexdigest())
        files = tuple(registry.File(f"bin/{part}.bin", 2 * 13, shape=(2, 3, 2, 2)) for part in ("train", "test"))
        mirrors = (server.mirror(behaviour),)
        return registry.Entry("tiny", "Tiny", "2x2", "none", "here", "records", mirrors, files, archive)

    return make
