"""Strict readers of the file formats: a file that does not hold exactly the expected shape is refused.

The caller knows the shape from the registry, so a file's header never decides how much memory is taken.
"""

import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from coursekit.errors import CourseError


@contextmanager
def open_content(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a file for reading bytes, and uncompress what gzip compressed; ``CourseError`` if that is damaged.

    The first bytes tell, not the suffix: some servers send ``x.gz`` already uncompressed.
    """
    with open(path, "rb") as stream:
        is_gzip = stream.read(2) == b"\x1f\x8b"
    try:
        with gzip.open(path) if is_gzip else open(path, "rb") as stream:
            yield stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, "a whole gzip file", str(error)) from error


def damaged(path: Path, expected: str, got: str) -> CourseError:
    """The error for a file that is not what it should be."""
    return CourseError(
        f"{path} is damaged or is not the expected file: expected {expected}, got {got}. "
        "Delete it and load the set again."
    )


def read_idx(path: Path, shape: tuple[int, ...]) -> UInt8[np.ndarray, "..."]:
    """Read an IDX file of unsigned bytes that holds one array of ``shape``, compressed with gzip or not.

    The header is two zero bytes, the type (8: unsigned byte), the number of dimensions, and each
    dimension as a big-endian 32-bit integer; the values follow in C order.

    Raises:
        CourseError: the header is of another type or shape, or values are missing or left over.
    """
    size = math.prod(shape)
    header, body = _read(path, 4 + 4 * len(shape), size)
    start = bytes((0, 0, 8, len(shape)))
    if header[:4] != start:
        what = f"an IDX file of bytes in {len(shape)} dimensions, which starts with {start.hex(' ')}"
        raise damaged(path, what, header[:4].hex(" ") or "an empty file")
    claimed = tuple(int.from_bytes(header[i : i + 4], "big") for i in range(4, len(header), 4))
    if claimed != shape:
        raise damaged(path, f"the shape {shape}", f"{claimed}")
    if len(body) != size:
        raise damaged(path, f"{size} values", f"{_amount(body, size)}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def read_records(path: Path, shape: tuple[int, ...]) -> tuple[UInt8[np.ndarray, " n"], UInt8[np.ndarray, "n c h w"]]:
    """Read CIFAR-10's binary version: n records of one label byte, then c planes of h×w bytes.

    Returns:
        The labels (n,) and the images (n, c, h, w).

    Raises:
        CourseError: records are missing or left over, or a label is not below 10.
    """
    size = shape[0] * (1 + math.prod(shape[1:]))
    _, body = _read(path, 0, size)
    if len(body) != size:
        raise damaged(path, f"{shape[0]} records in {size} bytes", f"{_amount(body, size)}")
    records = np.frombuffer(body, dtype=np.uint8).reshape(shape[0], -1)
    labels, images = records[:, 0], records[:, 1:].reshape(shape)
    if labels.max() > 9:
        raise damaged(path, "labels below 10", f"{labels.max()}")
    return labels, images


def read_text(path: Path, shape: tuple[int, ...]) -> str:
    """Read a UTF-8 text of ``shape[0]`` characters, compressed with gzip or not; line ends become ``\\n``.

    Raises:
        CourseError: the file is not UTF-8, or characters are missing or left over.
    """
    with open_content(path) as stream:
        content = stream.read(4 * shape[0] + 1)  # a character takes 4 bytes at most
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise damaged(path, "UTF-8 text", str(error)) from error
    if len(text) != shape[0]:
        raise damaged(path, f"{shape[0]} characters", "more" if len(text) > shape[0] else f"{len(text)}")
    return text


READERS: dict[str, Callable[[Path, tuple[int, ...]], Any]] = {
    "idx": read_idx,
    "records": read_records,
    "text": read_text,
}


def _read(path: Path, header: int, body: int) -> tuple[bytes, bytes]:
    """The header and the body. One byte too many is read, so that a file that is too long is noticed."""
    with open_content(path) as stream:
        return stream.read(header), stream.read(body + 1)


def _amount(body: bytes, size: int) -> str:
    return "more" if len(body) > size else f"{len(body)}"
