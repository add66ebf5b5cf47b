"""Write a file whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
