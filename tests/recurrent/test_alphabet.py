"""Characters become numbers and come back; what is not in the alphabet is named."""

import pytest
import torch

from coursekit.recurrent import Alphabet


def test_every_text_of_the_alphabet_comes_back():
    alphabet = Alphabet("\n abcäß€")
    assert len(alphabet) == 8
    assert alphabet.decode(alphabet.encode("ab\nß€ a")) == "ab\nß€ a"
    assert alphabet.encode("").shape == (0,)
    assert alphabet.decode(torch.zeros(0, dtype=torch.int64)) == ""


@pytest.mark.parametrize("characters", ["", "a", "aba"])
def test_a_alphabet_has_two_or_more_different_characters(characters):
    with pytest.raises(ValueError, match=f"characters: expected two or more different characters, got {characters!r}"):
        Alphabet(characters)


def test_characters_outside_the_alphabet_are_named():
    with pytest.raises(ValueError, match=r"text: expected characters of the alphabet, got 'x', 'y'$"):
        Alphabet("ab").encode("abyxx")


@pytest.mark.parametrize("value", [None, 3, b"ab", ["a", "b"]])
def test_what_is_no_string_is_refused(value, without_annotations):
    with pytest.raises(TypeError, match="text: expected str, got"):
        Alphabet("ab").encode(value)
    with pytest.raises(TypeError, match="characters: expected str, got"):
        Alphabet(value)


@pytest.mark.parametrize(
    ("numbers", "error", "message"),
    [
        (torch.tensor([0, 2]), ValueError, r"numbers: expected classes from 0 to 1, got \[2\]"),
        (torch.tensor([-1]), ValueError, r"numbers: expected classes from 0 to 1, got \[-1\]"),
        (torch.tensor([0.0]), TypeError, "numbers: expected integers, got float32"),
        (torch.tensor([[0, 1]]), ValueError, r"numbers: expected .*shape \(1,\), got \(1, 2\)"),
        ([0, 1], TypeError, "numbers: expected a tensor, got list"),
    ],
)
def test_numbers_of_no_character_are_refused(numbers, error, message, without_annotations):
    with pytest.raises(error, match=message):
        Alphabet("ab").decode(numbers)
