"""The texts are whole, split without overlap, and the same on every call."""

import hashlib
import zlib
from dataclasses import replace

import pytest

from coursekit import datasets
from coursekit.datasets import TextDataset, registry
from coursekit.datasets.checksums import verify
from coursekit.datasets.formats import read_text
from coursekit.datasets.text import PRINTABLE, stdlib_text
from coursekit.errors import CourseError

NAMES = [f"module{k}.py" for k in range(60)]
ORDERED = sorted(NAMES, key=lambda name: zlib.crc32(name.encode()))
HELD_OUT = [name for name in ORDERED if zlib.crc32(name.encode()) % 10 == 0]


@pytest.fixture
def library(tmp_path):
    """A library of 60 modules, each of them 50 lines that name it."""
    for name in NAMES:
        (tmp_path / name).write_text(f"{name} = 1\n" * 50, encoding="utf-8")
    return tmp_path


def modules_in(text: str) -> list[str]:
    return list(dict.fromkeys(line.split(" ")[0] for line in text.splitlines() if line.endswith(" = 1")))


def test_a_text_says_how_large_it_is():
    assert repr(TextDataset("ab", "abab", "ba", "ab")) == "ab: 4 + 2 validation characters, 2 different ones"


@pytest.mark.parametrize(
    ("characters", "message"),
    [("ba", "expected sorted characters, each once, got 'ba'"), ("a", r"every character of the text, \['b'\] are")],
)
def test_the_characters_of_a_text_are_all_of_them_in_order(characters, message):
    with pytest.raises(ValueError, match=f"characters: .*{message}"):
        TextDataset("ab", "ab", "b", characters)


# The standard library


def test_the_standard_library_is_on_this_machine_and_the_same_on_every_call():
    data = datasets.stdlib_text(200_000)
    assert (len(data.train), len(data.validation), data.characters) == (180_000, 20_000, PRINTABLE)
    assert data == datasets.stdlib_text(200_000)
    assert len(PRINTABLE) == 96
    assert "    def __init__(self" in data.train
    assert "Copyright" not in "".join(line for line in data.train.splitlines() if line.startswith("#"))


def test_a_smaller_text_is_the_beginning_of_a_larger_one(library):
    small, large = stdlib_text(3000, library), stdlib_text(5000, library)
    assert large.train.startswith(small.train)
    assert large.validation.startswith(small.validation)


def test_modules_are_split_by_their_names_and_none_is_in_both_parts(library):
    data = stdlib_text(10_000, library)
    assert modules_in(data.validation)[:-1] == HELD_OUT[: len(modules_in(data.validation)) - 1]
    assert not set(modules_in(data.train)) & set(HELD_OUT)


def test_a_module_that_goes_moves_no_other_one_into_the_other_part(library):
    (library / HELD_OUT[0]).unlink()
    data = stdlib_text(10_000, library)
    assert not set(modules_in(data.train)) & set(HELD_OUT)
    assert modules_in(data.validation)[0] == HELD_OUT[1]


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("# Copyright 2001 by X\n# All rights reserved.\nx = 1\n", "x = 1\n"),
        ("# why\nx = 1\n\n    # Licensed to PSF\n    # under ...\ny = 2\n", "# why\nx = 1\n\ny = 2\n"),
        ("x = 'license'\n", "x = 'license'\n"),
        ("\tx = 1\n", ""),
        ("x = 'ü'\n", ""),
    ],
    ids=["at the top", "further down", "in code", "tab", "not ASCII"],
)
def test_licences_and_strange_characters_are_left_out(tmp_path, source, kept):
    first, second = [name for name in ORDERED if name not in HELD_OUT][:2]
    (tmp_path / first).write_text(source, encoding="utf-8")
    for filler in (second, HELD_OUT[0]):
        (tmp_path / filler).write_text("." * 2000, encoding="utf-8")
    assert stdlib_text(1000, tmp_path).train.rstrip(".") == kept


@pytest.mark.parametrize("folder", ["empty", "python311.zip"])
def test_a_library_without_source_says_what_to_do(tmp_path, folder):
    with pytest.raises(CourseError, match=r"holds too little Python source .* in a zip file.*Install Python from"):
        stdlib_text(1000, tmp_path / folder)


@pytest.mark.parametrize(("size", "error"), [(999, ValueError), (True, TypeError), (1e6, TypeError)])
def test_a_size_that_makes_no_sense_is_refused(size, error, without_annotations):
    with pytest.raises(error, match="size: expected an integer"):
        stdlib_text(size)


# Tiny Shakespeare

TEXT = "Speak, speak.\nFirst Citizen:\n" * 10


@pytest.fixture
def tiny_text(server, data_home):
    """A function of the mirrors' behaviours that gives an entry like the real one, for a text that the server holds."""
    server.files["input.txt"] = TEXT.encode()

    def make(*behaviours):
        file = registry.File(
            "input.txt", len(TEXT), sha256=hashlib.sha256(TEXT.encode()).hexdigest(), shape=(len(TEXT),)
        )
        return replace(registry.find("tinyshakespeare"), mirrors=tuple(map(server.mirror, behaviours)), files=(file,))

    return make


@pytest.mark.parametrize("bad", ["missing", "corrupting", "truncating", "portal"])
def test_tiny_shakespeare_comes_from_the_first_mirror_that_sends_the_right_bytes(tiny_text, monkeypatch, bad):
    entry = tiny_text(bad, "good")
    monkeypatch.setattr(registry, "entries", lambda: {"tinyshakespeare": entry})
    data = datasets.tiny_shakespeare()
    assert data.train + data.validation == TEXT
    assert len(data.train) == 261
    assert data.characters == "".join(sorted(set(TEXT)))
    assert [finding.message for finding in verify(entry)] == ["checksum right"]


def test_tiny_shakespeare_without_a_network_names_another_text(tiny_text, monkeypatch):
    entry = tiny_text("failing")
    monkeypatch.setattr(registry, "entries", lambda: {"tinyshakespeare": entry})
    with pytest.raises(datasets.DataUnavailable, match=r"(?s)500 Internal.*put input.txt into.*stdlib_text\(\) is on"):
        datasets.tiny_shakespeare()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"abc", "expected 4 characters, got 3"),
        (b"abcde", "expected 4 characters, got more"),
        (b"ab\xff\xff", "expected UTF-8 text"),
    ],
)
def test_a_text_of_another_length_or_kind_is_refused(tmp_path, content, message):
    path = tmp_path / "text"
    path.write_bytes(content)
    with pytest.raises(CourseError, match=message):
        read_text(path, (4,))


def test_a_text_may_have_the_line_ends_of_windows(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("ä\r\nb\r\n".encode())
    assert read_text(path, (4,)) == "ä\nb\n"


def test_the_real_tiny_shakespeare_is_the_one_of_the_registry(real_data):
    real_data("tinyshakespeare")
    assert {finding.message for finding in verify(registry.find("tinyshakespeare"))} == {"checksum right"}
    data = datasets.tiny_shakespeare()
    assert (len(data.train), len(data.validation), len(data.characters)) == (1_003_854, 111_540, 65)
    assert data.train.startswith("First Citizen:\nBefore we proceed any further, hear me speak.")


@pytest.mark.parametrize("part", ["train", "validation", "characters"])
def test_the_parts_of_a_text_are_texts(part, without_annotations):
    parts = {"train": "ab", "validation": "b", "characters": "ab"} | {part: ["a", "b"]}
    with pytest.raises(TypeError, match=f"{part}: expected str, got list"):
        TextDataset("letters", **parts)
