"""Bringing a data set to this machine.

A download goes to a temporary name in its own folder and is compared with its checksum there. Only then does it take
its name, so a file that has its name is whole. A lock for each data set keeps two notebooks from fetching it twice.
"""

import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from coursekit.errors import CourseError
from coursekit.files import atomic_path

from .archive import unpack
from .checksums import require_checksum
from .registry import Entry, File, megabytes
from .store import folder_of, missing

TIMEOUT = (10, 30)  # seconds without a connection, seconds without a byte
LEAST = 10_000  # bytes in each such time without a byte: a server that sends fewer counts as silent
CHUNK = 1 << 16  # bytes


class DataUnavailable(CourseError):
    """A data set is not on this machine, and no mirror gave it."""


def fetch(entry: Entry) -> Path:
    """Make sure that every file of a data set is on this machine, and return the folder of the data set.

    What is missing is downloaded, from the first mirror that sends bytes with the right checksum. An archive that was
    placed by hand is unpacked. If another process is fetching the data set already, this one waits for it.

    Raises:
        DataUnavailable: no mirror gave a missing file; the message says what to do instead.
        CourseError: the folder cannot be written, or the disk is full.
    """
    folder = folder_of(entry)
    if missing(entry):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _lock(entry, folder):
                if missing(entry):  # still: another process may have brought it
                    _remove_leftovers(folder)
                    _bring(entry, folder)
        except OSError as error:
            raise CourseError(
                f"cannot write {entry.title} ({entry.download_size}) to {folder}: {error}. "
                "Make room there, or set COURSEKIT_DATA to a folder of yours."
            ) from error
    return folder


@contextmanager
def _lock(entry: Entry, folder: Path) -> Iterator[None]:
    """Hold the lock of a data set, and say so if that takes waiting."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"{entry.title}: another process is downloading it; waiting for that …", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half written. This process holds the lock, so nobody else writes here."""
    for path in folder.glob(".*.part"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _bring(entry: Entry, folder: Path) -> None:
    """Download what is missing, or unpack the archive that holds it."""
    if entry.archive is None:
        _download(entry, missing(entry), folder)
        return
    path = folder / entry.archive.name
    if path.is_file():  # placed by hand, and kept
        require_checksum(path, entry.archive)
        unpack(entry, path, folder)
        return
    # A hidden folder, so that the archive of a killed process does not pass for one that was placed by hand.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".part") as hidden:
        _download(entry, [entry.archive], Path(hidden))
        unpack(entry, Path(hidden) / entry.archive.name, folder)


def _download(entry: Entry, files: Sequence[File], folder: Path) -> None:
    """Download files, each from the first mirror that sends the right bytes."""
    print(f"{entry.title}: downloading {megabytes(files)} to {folder}", flush=True)
    mirrors = deque(entry.mirrors)
    for file in files:
        failures = []
        while failure := _pull(mirrors[0] + file.name, file, folder / file.name):
            failures.append(f"  {mirrors[0]}{file.name}: {failure}")
            if len(failures) == len(mirrors):
                raise DataUnavailable(_what_to_do(entry, failures))
            mirrors.rotate(-1)  # the next file, too, starts with a mirror that has not failed


def _pull(url: str, file: File, path: Path) -> str:
    """Download one file to ``path``, which appears only if its checksum is right; what went wrong, or empty."""
    import requests
    import urllib3
    from tqdm.auto import tqdm

    try:
        with atomic_path(path) as part:
            # disable=None: a bar in terminals and in notebooks, none in log files
            with (
                tqdm(desc=file.name, total=file.size, unit="B", unit_scale=True, disable=None) as bar,
                open(part, "wb") as stream,
            ):
                for piece in _pieces(url, 2 * file.size + CHUNK):  # some mirrors send what a .gz holds
                    stream.write(piece)
                    bar.update(len(piece))
            require_checksum(part, file)
    except requests.HTTPError as error:
        answer = error.response
        return str(error) if answer is None else f"{answer.status_code} {answer.reason}"
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        return "no answer in time"
    except urllib3.exceptions.ProtocolError:
        return "broke off"
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        return f"connection failed ({type(error).__name__})"
    except CourseError:
        return "sent something else: the checksum differs"
    return ""


def _pieces(url: str, most: int) -> Iterator[bytes]:
    """The bytes that a server sends, as they come; an error if they are more than ``most``, or come too slowly."""
    import requests

    with requests.get(url, stream=True, timeout=TIMEOUT) as answer:
        answer.raise_for_status()
        count, seen, since = 0, 0, time.monotonic()
        while piece := answer.raw.read1(CHUNK, decode_content=True):
            count += len(piece)
            if count > most:
                raise CourseError(f"{url} sends more than {most} bytes")
            if time.monotonic() - since > TIMEOUT[1]:
                if count - seen < LEAST:
                    raise requests.Timeout
                seen, since = count, time.monotonic()
            yield piece


def _what_to_do(entry: Entry, failures: list[str]) -> str:
    instead = (
        "datasets.stdlib_text() is on every machine and serves instead."
        if entry.format == "text"
        else "datasets.digits() and datasets.mnist_sample() are embedded and serve instead."
    )
    return "\n".join(
        [
            f"{entry.title} ({entry.download_size}) is not on this machine, and could not be downloaded:",
            *failures,
            f"By hand: put {', '.join(file.name for file in entry.downloads)} into {folder_of(entry)}",
            f"Elsewhere: set COURSEKIT_DATA to a folder that holds {entry.name}{os.sep}",
            f"Without a download: {instead}",
        ]
    )
