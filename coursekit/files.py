"""Files: where those that come with the course lie, and how to write one whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
