"""Text, character by character: the source of Python's standard library, and tiny Shakespeare."""

import re
import sysconfig
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from coursekit.errors import CourseError
from coursekit.validation import require_instance, require_integer

from . import registry, store
from .download import fetch

PRINTABLE = "\n" + "".join(map(chr, range(32, 127)))  # 96 characters
LICENCE = re.compile(r"copyright|licen[cs]e|permission", re.IGNORECASE)
COMMENT_BLOCK = re.compile(r"(?:^[ ]*#.*\n)+", re.MULTILINE)


@dataclass(frozen=True, repr=False)
class TextDataset:
    """A text in two parts: one to learn from, and one to test on.

    Attributes:
        name: as the registry of data sets has it.
        train, validation: the parts.
        characters: those that may occur, sorted, each once.

    >>> TextDataset("greeting", "hello world", "hell", " dehlorw")
    greeting: 11 + 4 validation characters, 8 different ones
    """

    name: str
    train: str
    validation: str
    characters: str

    def __post_init__(self) -> None:
        for part in ("train", "validation", "characters"):
            require_instance(getattr(self, part), part, str)
        if self.characters != "".join(sorted(set(self.characters))):
            raise ValueError(f"characters: expected sorted characters, each once, got {self.characters!r}")
        if strange := set(self.train + self.validation) - set(self.characters):
            raise ValueError(f"characters: expected every character of the text, {sorted(strange)} are missing")

    def __repr__(self) -> str:
        counts = f"{len(self.train)} + {len(self.validation)} validation characters"
        return f"{self.name}: {counts}, {len(self.characters)} different ones"


def stdlib_text(size: int = 1_000_000, folder: Path | None = None) -> TextDataset:
    """The source of Python's standard library, as it is installed on this machine.

    A tenth of the modules at the top of the library is for validation, and ``size`` / 10 characters of them are taken.
    Which modules these are and in which order they stand depends on their names alone, so a module that is for
    training in one version of Python is never for validation in another. Left out are comments about copyright and
    licences, which repeat from file to file, and files with tabs or with characters beyond ASCII. Each version of
    Python has another text.

    Args:
        size: the number of characters of both parts together, at least 1000.
        folder: the library; that of the running Python unless given.

    Raises:
        CourseError: the folder holds less source than that: some installations keep the library in a zip file, or
            without its source.

    >>> data = stdlib_text(50_000)
    >>> len(data.train), len(data.validation), len(data.characters)
    (45000, 5000, 96)
    """
    size = require_integer(size, "size", low=1000)
    library = Path(sysconfig.get_path("stdlib") if folder is None else folder)
    ordered = sorted((zlib.crc32(path.name.encode()), path) for path in library.glob("[!_]*.py"))
    validation = _first((path for number, path in ordered if number % 10 == 0), round(0.1 * size))
    train = _first((path for number, path in ordered if number % 10 != 0), size - round(0.1 * size))
    if len(validation) + len(train) < size:
        raise CourseError(
            f"{library} holds too little Python source for a text of {size} characters: "
            "some installations keep the standard library in a zip file, or without its source. "
            "Install Python from python.org or with conda."
        )
    return TextDataset("stdlib_text", train, validation, PRINTABLE)


def tiny_shakespeare() -> TextDataset:
    """A million characters from Shakespeare's plays; the last tenth is for validation.

    The first call downloads it (1.1 MB); see ``coursekit data``.

    Raises:
        DataUnavailable: it is not on this machine and cannot be downloaded.
        CourseError: the file is damaged, or the data folder cannot be written.

    Source: A. Karpathy, char-rnn, 2015, https://github.com/karpathy/char-rnn.
    """
    entry = registry.find("tinyshakespeare")
    fetch(entry)
    text = store.read(entry, entry.files[0])
    cut = int(0.9 * len(text))
    return TextDataset("tinyshakespeare", text[:cut], text[cut:], "".join(sorted(set(text))))


def _source(path: Path) -> str:
    """A module without comments about its licence; empty if it holds tabs or characters beyond ASCII."""
    text = path.read_text(encoding="utf-8", errors="replace")
    text = COMMENT_BLOCK.sub(lambda block: "" if LICENCE.search(block[0]) else block[0], text)
    return "" if set(text) - set(PRINTABLE) else text


def _first(paths: Iterable[Path], length: int) -> str:
    """The first ``length`` characters of some modules; fewer if these end."""
    text = ""
    for path in paths:
        if len(text) >= length:
            break
        text += _source(path)
    return text[:length]
