"""Where data sets live, what is known of them, and how they get there.

A download goes to a temporary name in its own folder, is compared with its checksum there, and only then
takes its name: a file that has its name is whole. A lock per set keeps two notebooks from fetching it twice.
"""

import hashlib
import os
import shutil
import tarfile
import tomllib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from coursekit.errors import CourseError, unknown
from coursekit.files import shipped

from .formats import READERS, damaged, open_content

TIMEOUT = (10, 30)  # seconds without a connection, seconds without a byte
CHUNK = 1 << 16  # bytes
SUMS = "SHA256SUMS"  # what came out of an archive, in the format of the command sha256sum


class DataUnavailable(CourseError):
    """A data set is not on this machine, and no mirror gave it."""


@dataclass(frozen=True)
class File:
    """A file of a data set: downloaded (then it has a checksum), read (then it has a shape), or both."""

    name: str  # below the folder of the set, with forward slashes
    size: int = 0  # bytes, as downloaded or as it lies in an archive
    md5: str = ""  # of the download as it comes
    sha256: str = ""  # of the content, uncompressed
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A data set as the registry describes it; one without files ships inside an installed package."""

    name: str
    title: str
    about: str
    licence: str
    source: str
    format: str = ""
    mirrors: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    archive: File | None = None

    @property
    def downloads(self) -> tuple[File, ...]:
        return (self.archive,) if self.archive else self.files

    @property
    def size(self) -> str:
        """What a download of the whole set costs, for people."""
        return _megabytes(self.downloads)


@dataclass(frozen=True)
class Finding:
    """What ``verify`` says about one file."""

    file: str
    good: bool
    message: str


def registry() -> dict[str, Entry]:
    """Every known data set by name, in the order of ``data/registry.toml``."""
    return parse_registry(shipped("registry.toml", "data/registry.toml").read_text(encoding="utf-8"))


def parse_registry(text: str) -> dict[str, Entry]:
    """The entries of a registry in TOML; a misspelt key is a ``TypeError``."""
    entries = {}
    for name, table in tomllib.loads(text).items():
        mirrors = tuple(table.pop("mirrors", ()))
        files = tuple(File(**file | {"shape": tuple(file["shape"])}) for file in table.pop("files", ()))
        archive = File(**table.pop("archive")) if "archive" in table else None
        entries[name] = Entry(name, **table, mirrors=mirrors, files=files, archive=archive)
    return entries


def find(name: str) -> Entry:
    """The registry's entry of that name; ``ValueError`` with the near misses if there is none."""
    known = registry()
    if name not in known:
        raise ValueError(unknown("data set", name, known))
    return known[name]


def home() -> Path:
    """The folder of all data sets: ``COURSEKIT_DATA`` if it is set, else the user's cache."""
    import platformdirs

    chosen = os.environ.get("COURSEKIT_DATA")
    return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("coursekit")


def folder_of(entry: Entry) -> Path:
    """The folder of one data set, whether it exists or not; ``CourseError`` for an embedded one."""
    if not entry.files:
        raise CourseError(f"{entry.title} has no folder: it ships inside an installed package ({entry.source}).")
    return home() / entry.name


def locate(entry: Entry, file: File) -> Path | None:
    """Where a file that is read lies, as downloaded or uncompressed by hand; None if it does not."""
    path = folder_of(entry) / file.name
    plain = path.with_name(path.name.removesuffix(".gz"))
    return next((found for found in (path, plain) if found.is_file()), None)


def missing(entry: Entry) -> list[File]:
    """The files of a data set that are not on this machine."""
    return [file for file in entry.files if locate(entry, file) is None]


def state(entry: Entry) -> str:
    """How much of a data set is on this machine: "embedded", "here", "in part" or "not here"."""
    if not entry.files:
        return "embedded"
    return {0: "here", len(entry.files): "not here"}.get(len(missing(entry)), "in part")


def read(entry: Entry, file: File):
    """The arrays of one file, which must be here (see ``fetch``) and of the shape the registry says."""
    return READERS[entry.format](locate(entry, file), file.shape)


def fetch(entry: Entry) -> Path:
    """Make sure that every file of a data set is on this machine, and give back the set's folder.

    What is missing is downloaded, from the first mirror that sends bytes with the right checksum; an
    archive placed by hand is unpacked. If another process is doing so already, this one waits for it.

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
                    _bring(entry, folder)
        except OSError as error:
            raise CourseError(
                f"cannot write {entry.title} ({entry.size}) to {folder}: {error}. "
                "Make room there, or set COURSEKIT_DATA to a folder of yours."
            ) from error
    return folder


def verify(entry: Entry) -> list[Finding]:
    """Compare every file of a data set with its checksum; one that has none must at least be well-formed."""
    return [_judge(entry, file) for file in entry.files]


def _judge(entry: Entry, file: File) -> Finding:
    path = locate(entry, file)
    if path is None:
        return Finding(file.name, False, "missing")
    uncompressed = not file.name.endswith(path.name)
    known = replace(
        file,
        md5="" if uncompressed else file.md5,
        sha256=file.sha256 or _unpacked_sums(entry).get(file.name, ""),
    )
    try:
        read(entry, file)
        if not (known.md5 or known.sha256):
            return Finding(file.name, True, "well-formed; no checksum is known for a copy of this kind")
        _compare(path, known)
    except CourseError as error:
        return Finding(file.name, False, str(error))
    return Finding(file.name, True, "checksum right")


def _compare(path: Path, file: File) -> None:
    """``CourseError`` unless ``path`` has the checksum of ``file``: of its content, else of itself."""
    kind, opened = ("sha256", open_content) if file.sha256 else ("md5", partial(open, mode="rb"))
    with opened(path) as stream:
        got = hashlib.file_digest(stream, kind).hexdigest()
    if got != getattr(file, kind):
        raise damaged(path, f"the {kind} {getattr(file, kind)}", got)


@contextmanager
def _lock(entry: Entry, folder: Path) -> Iterator[None]:
    """Hold the lock of a data set; say so if that means to wait."""
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


def _bring(entry: Entry, folder: Path) -> None:
    """Download what is missing, or unpack the archive that holds it."""
    if entry.archive is None:
        _download(entry, missing(entry), folder)
        return
    path = folder / entry.archive.name
    by_hand = path.is_file()
    if by_hand:
        _compare(path, entry.archive)
    else:
        _download(entry, [entry.archive], folder)
    _unpack(entry, path)
    if not by_hand:
        path.unlink()


def _download(entry: Entry, files: Sequence[File], folder: Path) -> None:
    """Download files, each from the first mirror that sends the right bytes."""
    print(f"{entry.title}: downloading {_megabytes(files)} to {folder}", flush=True)
    mirrors = deque(entry.mirrors)
    for file in files:
        failures = []
        while failure := _pull(mirrors[0] + file.name, file, folder / file.name):
            failures.append(f"  {mirrors[0]}{file.name}: {failure}")
            if len(failures) == len(mirrors):
                raise DataUnavailable(_what_to_do(entry, failures))
            mirrors.rotate(-1)  # the next file, too, starts with a mirror that has not failed


def _pull(url: str, file: File, path: Path) -> str:
    """Download one file to ``path``, verified before it is there; what went wrong, or empty."""
    import pooch
    import requests
    from tqdm.auto import tqdm

    try:
        with _whole(path) as part:
            # disable=None: a bar on terminals and in notebooks, none in log files
            with tqdm(desc=file.name, total=file.size, unit="B", unit_scale=True, disable=None) as bar:
                pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUT)(url, part, None)
            _compare(part, file)
    except requests.HTTPError as error:
        return f"{error.response.status_code} {error.response.reason}"
    except requests.Timeout:
        return "no answer in time"
    except requests.exceptions.ChunkedEncodingError:
        return "broke off"
    except requests.RequestException as error:
        return f"connection failed ({type(error).__name__})"
    except CourseError:
        return "sent something else: the checksum differs"
    return ""


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to: it becomes ``path`` if all goes well, and vanishes if not."""
    part = path.with_name(f"{path.name}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _what_to_do(entry: Entry, failures: list[str]) -> str:
    folder = folder_of(entry)
    return "\n".join(
        [
            f"{entry.title} ({entry.size}) is not on this machine, and could not be downloaded:",
            *failures,
            f"By hand: put {', '.join(file.name for file in entry.downloads)} into {folder}",
            f"Elsewhere: set COURSEKIT_DATA to a folder that holds {entry.name}{os.sep}",
            "Without a download: datasets.digits() is embedded and serves instead.",
        ]
    )


def _megabytes(files: Iterable[File]) -> str:
    return f"{sum(file.size for file in files) / 1e6:.1f} MB"


def _unpack(entry: Entry, path: Path) -> None:
    """Take the files of a data set, and nothing else, out of its archive, and note their checksums.

    The names that are written come from the registry, never from the archive. An archive with a path that
    leads elsewhere, a link, a device, or a file of another size is refused before anything is written.
    """
    wanted = {file.name: file.size for file in entry.files}
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        for member in members:
            name = PurePosixPath(member.name)
            if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
                raise CourseError(f"{path} is refused: {member.name} is no plain file below its folder.")
            if member.size != wanted.get(member.name, member.size):
                raise damaged(path, f"{member.name} of {wanted[member.name]} bytes", f"{member.size}")
        if lost := wanted.keys() - {member.name for member in members}:
            raise damaged(path, f"{', '.join(sorted(lost))} inside", f"{len(members)} others")
        sums = {member.name: _extract(archive, member, path.parent) for member in members if member.name in wanted}
    with _whole(path.with_name(SUMS)) as part:
        part.write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()), "utf-8", newline="\n")


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> str:
    """Write one file of an archive; its SHA-256."""
    target = folder / member.name
    target.parent.mkdir(exist_ok=True)
    with _whole(target) as part:
        with archive.extractfile(member) as source, open(part, "wb") as sink:
            shutil.copyfileobj(source, sink)
        with open(part, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def _unpacked_sums(entry: Entry) -> dict[str, str]:
    """SHA-256 by name of the files that came out of an archive; none if they were placed by hand."""
    path = folder_of(entry) / SUMS
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}
