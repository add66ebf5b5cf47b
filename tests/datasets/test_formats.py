import gzip
import tracemalloc

import numpy as np
import pytest
from mirrors import idx

from coursekit.datasets.formats import read_idx, read_records
from coursekit.errors import CourseError

VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
GOOD = idx(VALUES)


@pytest.mark.parametrize("encode", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", ["x", "x.gz"])
def test_idx_gives_back_what_was_written_whatever_the_suffix_says(tmp_path, encode, name):
    path = tmp_path / name
    path.write_bytes(encode(GOOD))
    np.testing.assert_array_equal(read_idx(path, (2, 3, 4)), VALUES)


@pytest.mark.parametrize("encode", [bytes, gzip.compress], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"starts with 00 00 08 03, got an empty file"),
        (b"<!DOCTYPE html>", r"starts with 00 00 08 03, got 3c 21 44 4f"),
        (b"\0\0\x0d" + GOOD[3:], r"got 00 00 0d 03"),
        (idx(VALUES[0]), r"IDX file of bytes in 3 dimensions.*got 00 00 08 02"),
        (GOOD[:14], r"expected the shape \(2, 3, 4\), got \(2, 3, 0\)"),
        (idx(VALUES.reshape(3, 2, 4)), r"expected the shape \(2, 3, 4\), got \(3, 2, 4\)"),
        (GOOD[:-1], r"expected 24 values, got 23"),
        (GOOD + b"\0", r"expected 24 values, got more"),
    ],
    ids=["empty", "html", "type", "dimensions", "header cut", "shape", "short", "trailing"],
)
def test_idx_that_is_not_exactly_right_is_refused(tmp_path, encode, content, message):
    path = tmp_path / "broken"
    path.write_bytes(encode(content))
    with pytest.raises(CourseError, match=f"broken is damaged or is not the expected file: .*{message}.*Delete it"):
        read_idx(path, (2, 3, 4))


@pytest.mark.parametrize(
    "content",
    [
        bytes((0, 0, 8, 3)) + b"\xff" * 12,  # a header that claims 2^96 values
        GOOD + bytes(50_000_000),
    ],
    ids=["claims", "bomb"],
)
def test_no_header_and_no_gzip_bomb_makes_the_reader_allocate_much(tmp_path, content):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(content, compresslevel=1))
    del content
    tracemalloc.start()
    with pytest.raises(CourseError, match=r"expected the shape|got more"):
        read_idx(path, (2, 3, 4))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-10],
        lambda packed: packed[:-8] + b"\0\0\0\0" + packed[-4:],
        lambda packed: packed[:12] + b"\xff\xff\xff" + packed[15:],
    ],
    ids=["cut", "checksum", "stream"],
)
def test_damaged_gzip_is_refused(tmp_path, damage):
    path = tmp_path / "x.gz"
    path.write_bytes(damage(gzip.compress(GOOD)))
    with pytest.raises(CourseError, match=r"expected a whole gzip file"):
        read_idx(path, (2, 3, 4))


def test_records_are_split_into_labels_and_planes(tmp_path):
    path = tmp_path / "batch.bin"
    path.write_bytes(bytes([7, *range(12), 2, *range(12, 24)]))
    labels, images = read_records(path, (2, 3, 2, 2))
    assert labels.tolist() == [7, 2]
    np.testing.assert_array_equal(images, np.arange(24).reshape(2, 3, 2, 2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(25), r"expected 2 records in 26 bytes, got 25"),
        (bytes(27), r"expected 2 records in 26 bytes, got more"),
        (bytes(13) + b"\x0a" + bytes(12), r"expected labels below 10, got 10"),
    ],
    ids=["short", "trailing", "label"],
)
def test_records_that_are_not_exactly_right_are_refused(tmp_path, content, message):
    path = tmp_path / "batch.bin"
    path.write_bytes(content)
    with pytest.raises(CourseError, match=message):
        read_records(path, (2, 3, 2, 2))
