"""Comparing the files of a data set with their checksums."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coursekit.errors import CourseError
from coursekit.files import write_text

from . import store
from .formats import damaged, open_content
from .registry import Entry, File

SUMS = "SHA256SUMS"  # beside files that came out of an archive, in the format of the command sha256sum


@dataclass(frozen=True)
class Finding:
    """What `verify` says about one file."""

    file: str
    good: bool
    message: str


def verify(entry: Entry) -> list[Finding]:
    """Compare every file of a data set with its checksum; one without a checksum must at least be well-formed."""
    noted = read_sums(store.folder_of(entry)) if entry.files else {}
    return [_judge(entry, file, noted.get(file.name, "")) for file in entry.files]


def require_checksum(path: Path, file: File) -> None:
    """Compare ``path`` with the checksum of ``file``: with that of the content, else with that of the download.

    Raises:
        CourseError: the checksum differs.
    """
    kind, expected = ("sha256", file.sha256) if file.sha256 else ("md5", file.md5)
    with open_content(path) if file.sha256 else open(path, "rb") as stream:
        got = hashlib.file_digest(stream, kind).hexdigest()
    if got != expected:
        raise damaged(path, f"the {kind} {expected}", got)


def write_sums(unpacked: Path, files: Sequence[File], folder: Path) -> None:
    """Note in ``folder`` the SHA-256 of files that have just come out of an archive into ``unpacked``."""
    lines = []
    for file in files:
        with open(unpacked / file.name, "rb") as stream:
            lines.append(f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {file.name}\n")
    write_text(folder / SUMS, "".join(lines))


def read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 by name of the files that came out of an archive; empty if they were placed by hand."""
    path = folder / SUMS
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def _judge(entry: Entry, file: File, noted: str) -> Finding:
    path = store.locate(entry, file)
    if path is None:
        return Finding(file.name, False, "missing")
    # The checksum of a download says nothing about a copy that was uncompressed by hand.
    as_downloaded = file.name.endswith(path.name)
    known = replace(file, md5=file.md5 if as_downloaded else "", sha256=file.sha256 or noted)
    try:
        store.read(entry, file)
        if not (known.md5 or known.sha256):
            return Finding(file.name, True, "well-formed; no checksum is known for a copy of this kind")
        require_checksum(path, known)
    except CourseError as error:
        return Finding(file.name, False, str(error))
    return Finding(file.name, True, "checksum right")
