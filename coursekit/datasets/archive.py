"""Taking the files of a data set out of its archive."""

import os
import tarfile
import tempfile
from pathlib import Path

from coursekit.errors import CourseError

from .checksums import write_sums
from .formats import damaged
from .registry import Entry


def unpack(entry: Entry, path: Path, folder: Path) -> None:
    """Put the files of a data set, and nothing else, from their archive into a folder, and note their checksums.

    Raises:
        CourseError: the archive holds a path that leads elsewhere, a link or a device, or it lacks a file of the
            registered size. Nothing has been written then.
    """
    with tarfile.open(path) as archive:
        _require_harmless(archive, path, folder)
        wanted = [_member(archive, path, file.name, file.size) for file in entry.files]
        # The files take their names only when all of them are written and their checksums are noted.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".part") as unpacked:
            archive.extractall(unpacked, wanted, filter="data")
            write_sums(Path(unpacked), entry.files, folder)
            for file in entry.files:
                target = folder / file.name
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(unpacked) / file.name, target)


def _require_harmless(archive: tarfile.TarFile, path: Path, folder: Path) -> None:
    """Refuse everything but plain files and folders below the folder that they go to.

    Python's own filter refuses devices and what leads out of the folder. It would allow links inside the folder, and
    would take the first slash off an absolute path.
    """
    for member in archive:
        try:
            filtered = tarfile.data_filter(member, str(folder))
        except tarfile.FilterError as error:
            raise CourseError(f"{path} is refused: {error}.") from error
        if filtered.name != member.name or not (member.isfile() or member.isdir()):
            raise CourseError(f"{path} is refused: {member.name} is not a plain file below its folder.")


def _member(archive: tarfile.TarFile, path: Path, name: str, size: int) -> tarfile.TarInfo:
    """The file of that name and size in the archive at ``path``."""
    try:
        member = archive.getmember(name)
    except KeyError as error:
        raise damaged(path, f"{name} inside", f"{len(archive.getmembers())} others") from error
    if not member.isfile() or member.size != size:
        raise damaged(path, f"a file {name} of {size} bytes", f"{member.size}")
    return member
