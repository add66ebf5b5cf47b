"""Where data sets lie on this machine, how much of each is there, and how to read a file of one."""

import os
from pathlib import Path
from typing import Any, Literal

from coursekit.errors import CourseError

from .formats import READERS
from .registry import Entry, File


def home() -> Path:
    """The folder of all data sets: ``COURSEKIT_DATA`` if it is set, else the user's cache."""
    import platformdirs

    chosen = os.environ.get("COURSEKIT_DATA")
    try:
        return Path(chosen).expanduser().absolute() if chosen else platformdirs.user_cache_path("coursekit")
    except RuntimeError as error:  # there is no such user, or no home folder
        raise CourseError(f"no folder for data: {error} Set COURSEKIT_DATA to a folder of yours.") from error


def folder_of(entry: Entry) -> Path:
    """The folder of one data set, whether it exists or not; ``CourseError`` for an embedded one."""
    if not entry.files:
        raise CourseError(f"{entry.title} has no folder: it ships inside an installed package ({entry.source}).")
    return home() / entry.name


def locate(entry: Entry, file: File) -> Path | None:
    """The path of a file, as downloaded or uncompressed by hand; None if it is missing."""
    path = folder_of(entry) / file.name
    plain = path.with_name(path.name.removesuffix(".gz"))
    return next((found for found in (path, plain) if found.is_file()), None)


def missing(entry: Entry) -> list[File]:
    """The files of a data set that are not on this machine."""
    return [file for file in entry.files if locate(entry, file) is None]


def state(entry: Entry) -> Literal["embedded", "here", "in part", "not here"]:
    """How much of a data set is on this machine."""
    if not entry.files:
        return "embedded"
    match len(missing(entry)):
        case 0:
            return "here"
        case count if count < len(entry.files):
            return "in part"
    return "not here"


def read(entry: Entry, file: File) -> Any:
    """The content of one file: an array (idx) or labels and images (records).

    Raises:
        CourseError: the file is missing or damaged, or it has another shape than the registry says.
    """
    path = locate(entry, file)
    if path is None:
        raise CourseError(f"{file.name} of {entry.title} is missing. Get it with: coursekit data get {entry.name}")
    return READERS[entry.format](path, file.shape)
