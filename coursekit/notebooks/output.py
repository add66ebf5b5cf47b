"""The folder that a command writes to, its option --out: check it, and write several files into it, all or none."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from coursekit.errors import CourseError
from coursekit.files import atomic_path


def require_folder(path: Path) -> None:
    """``CourseError`` if ``path`` is a file; it need not exist."""
    if path.exists() and not path.is_dir():
        raise CourseError(f"--out expects a folder, but {path} is a file.")


@contextmanager
def write_together(folder: Path) -> Iterator[Callable[[str], Path]]:
    """Write several files into a folder, all or none.

    Yields:
        A function that turns the name of a file, or its path in the folder, into a temporary path to write to. When
        the block ends without an error, all files take their names.

    Raises:
        CourseError: The folder is a file or cannot be written.
    """
    require_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as together:

            def place(name: str) -> Path:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                return together.enter_context(atomic_path(folder / name))

            yield place
    except OSError as error:
        raise CourseError(f"cannot write to {folder}: {error.strerror}.") from error


def write_beside(contents: Mapping[str, bytes], folder: Path) -> dict[str, Path]:
    """Write files into a folder in which somebody may work, all or none, and over no file that differs.

    Such a file is kept, and the new one is written beside it, as ``name.new.ipynb`` (``name.new2.ipynb``, …).

    Returns:
        The path of each file, by name.

    Raises:
        CourseError: The folder is a file or cannot be written.
    """
    places = {}
    with write_together(folder) as place:
        for name, content in contents.items():
            places[name] = _free(folder / name, content)
            if not places[name].exists():
                place(places[name].relative_to(folder).as_posix()).write_bytes(content)
    return places


def _free(path: Path, content: bytes) -> Path:
    """``path``, or the first name beside it that is free or holds ``content`` already."""
    free, count = path, 1
    while free.exists() and not (free.is_file() and free.read_bytes() == content):
        free = path.with_name(f"{path.stem}.new{count if count > 1 else ''}{path.suffix}")
        count += 1
    return free
