"""Files: where those that come with the course lie, and how to write one, or several, whole or not at all."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from coursekit.errors import CourseError


def shipped(name: str, checkout: str) -> Path:
    """A file or folder that comes with the course: ``_data/name`` in a wheel, else ``checkout`` beside the package."""
    package = Path(__file__).parent
    packaged = package / "_data" / name
    return packaged if packaged.exists() else package.parent / checkout


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to: it becomes ``path`` if all goes well, and vanishes if not.

    So nobody ever reads half a file, and an ``OSError`` or a kill leaves the old one.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        with suppress(OSError):  # where nothing can be written, nothing is left to remove
            part.unlink(missing_ok=True)


def require_folder(path: Path) -> None:
    """``CourseError`` if ``path``, where a command is to write, is a file. It need not exist."""
    if path.exists() and not path.is_dir():
        raise CourseError(f"--out expects a folder, but {path} is a file.")


@contextmanager
def write_together(folder: Path) -> Iterator[Callable[[str], Path]]:
    """Write several files into a folder, all or none.

    Yields:
        A function from the name of a file to the path to write it to. The files take their names when all are complete.

    Raises:
        CourseError: The folder is a file or cannot be written.
    """
    require_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as together:
            yield lambda name: together.enter_context(whole(folder / name))
    except OSError as error:
        raise CourseError(f"cannot write to {folder}: {error.strerror}.") from error
