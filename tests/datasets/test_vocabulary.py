import pytest
import torch

from coursekit.datasets.vocabulary import END, PAD, Vocabulary, require_tokens

WORDS = Vocabulary(("good", "not", "bad"))


def test_sentences_are_columns_that_end_and_are_padded():
    tokens = WORDS.encode([["not", "bad"], [], ["good"]])
    assert tokens.dtype == torch.int64
    assert tokens.T.tolist() == [[3, 4, END], [END, PAD, PAD], [2, END, PAD]]


def test_decoding_undoes_encoding():
    sentences = [["not", "bad"], [], ["good", "good", "not"]]
    assert WORDS.decode(WORDS.encode(sentences)) == sentences


def test_decoding_stops_at_the_first_end_and_leaves_padding_out():
    assert WORDS.decode(torch.tensor([[2, 3, END, 4, END], [PAD, 4, 4, PAD, 2]]).T) == [
        ["good", "not"],
        ["bad", "bad", "good"],
    ]


def test_its_length_counts_pad_and_end():
    assert len(WORDS) == 5
    assert WORDS.encode([WORDS.words]).max() == 4


def test_a_string_is_a_sentence_of_syllables_only_where_words_are_syllables():
    assert Vocabulary(("일", "십")).encode(["십일"]).T.tolist() == [[3, 2, END]]
    with pytest.raises(TypeError, match=r"expected lists of words, got str 'not bad'; 'not bad'.split\(\) is one"):
        WORDS.encode(["not bad"])


def test_bad_sentences_are_refused():
    with pytest.raises(ValueError, match="'ugly' is not in the vocabulary of 3 words"):
        WORDS.encode([["not", "ugly"]])
    with pytest.raises(ValueError, match="sentences: expected at least one, got none"):
        WORDS.encode([])


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("a", "b", "a"), ValueError, "words: expected different words, got a more than once"),
        (("a", ""), ValueError, "words: expected words, got an empty one"),
        (("a", 3), TypeError, "words: expected str, got int 3"),
        (["a"], TypeError, "words: expected tuple, got list"),
    ],
)
def test_bad_vocabularies_are_refused(without_annotations, words, error, message):
    with pytest.raises(error, match=message):
        Vocabulary(words)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ([[1]], TypeError, "x: expected a tensor, got list"),
        (torch.ones(2, 3), TypeError, "x: expected integers, got float32"),
        (torch.ones(3, dtype=torch.long), ValueError, r"x: expected shape \(t, n\) with t, n ≥ 1, got \(3,\)"),
        (torch.ones(0, 3, dtype=torch.long), ValueError, r"got \(0, 3\)"),
        (torch.tensor([[5]]), ValueError, "x: expected numbers of words from 0 to 4, got 5 to 5"),
        (torch.tensor([[-1]]), ValueError, "from 0 to 4, got -1 to -1"),
    ],
)
def test_what_is_not_numbers_of_words_is_refused(without_annotations, value, error, message):
    with pytest.raises(error, match=message):
        require_tokens(value, "x", 5)
