"""The files that come with the course, and how to write a file whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def shipped(name: str, checkout: str) -> Path:
    """A file or folder that comes with the course: ``_data/name`` in a wheel, else ``checkout`` beside the package."""
    package = Path(__file__).parent
    packaged = package / "_data" / name
    return packaged if packaged.exists() else package.parent / checkout


@contextmanager
def atomic_path(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """A temporary path beside ``path``: the file that the block writes there replaces ``path`` when the block ends.

    So nobody ever reads half a file, and after an error or a kill the old one is intact. Its mode
    stays. Where ``path`` is a symbolic link, the file that it points to is replaced.

    Args:
        sync: wait until the disk holds the new file before it takes its name, so that it survives a power failure.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_path(Path(folder, "note.txt")) as part:
    ...         written = part.write_text("all of it")
    ...     os.listdir(folder)
    ['note.txt']
    """
    path = Path(os.path.realpath(path))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        if sync:
            with part.open("rb+") as file:
                os.fsync(file.fileno())
        if path.is_file():
            shutil.copymode(path, part)
        os.replace(part, path)
    finally:
        with suppress(OSError):  # where nothing can be written, there is nothing to remove
            part.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a folder during the block, so that no other process of the course writes to it; does it hold it?

    The lock is the process's: it ends with it, however the process ends.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with locked(Path(folder)) as mine, locked(Path(folder)) as theirs:
    ...         mine, theirs, os.listdir(folder)
    (True, False, ['.lock'])
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(OSError):  # Windows cannot remove it yet, and releasing it does
            os.unlink(folder / ".lock")
        lock.release()


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8 with Unix line ends, completely or not at all."""
    with atomic_path(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
