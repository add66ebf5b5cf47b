"""Which data sets there are, and what is known of each: ``data/registry.toml`` as Python objects."""

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from coursekit.errors import unknown
from coursekit.files import shipped


@dataclass(frozen=True)
class File:
    """A file of a data set: downloaded (then it has a checksum), read (then it has a shape), or both."""

    name: str  # below the folder of the data set, with forward slashes
    size: int = 0  # bytes, of the download or inside the archive
    md5: str = ""  # of the download itself
    sha256: str = ""  # of the content, uncompressed
    shape: tuple[int, ...] = ()  # of the array inside; the number of characters of a text


@dataclass(frozen=True)
class Entry:
    """A data set as the registry describes it. One without files is embedded: it ships inside an installed package."""

    name: str
    title: str
    about: str
    licence: str
    source: str
    format: Literal["", "idx", "records", "text"] = ""
    mirrors: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    archive: File | None = None

    @property
    def downloads(self) -> tuple[File, ...]:
        """What is downloaded: the archive if there is one, else the files themselves."""
        return (self.archive,) if self.archive else self.files

    @property
    def download_size(self) -> str:
        """The size of a download of the whole data set, for people."""
        return megabytes(self.downloads)


def entries() -> dict[str, Entry]:
    """Every known data set by name, in the order of ``data/registry.toml``."""
    return parse(shipped("registry.toml", "data/registry.toml").read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Entry]:
    """The entries of a registry in TOML; a misspelt key is a ``TypeError``."""
    found = {}
    for name, table in tomllib.loads(text).items():
        mirrors = tuple(table.pop("mirrors", ()))
        files = tuple(File(**file | {"shape": tuple(file["shape"])}) for file in table.pop("files", ()))
        archive = File(**table.pop("archive")) if "archive" in table else None
        found[name] = Entry(name, **table, mirrors=mirrors, files=files, archive=archive)
    return found


def find(name: str) -> Entry:
    """The entry of that name; a ``ValueError`` lists near names if there is none."""
    known = entries()
    if name not in known:
        raise ValueError(unknown("data set", name, known))
    return known[name]


def megabytes(files: Iterable[File]) -> str:
    """The size of some files together, for people."""
    return f"{sum(file.size for file in files) / 1e6:.1f} MB"
