from collections import Counter

import pytest
import torch

from coursekit.datasets.sentences import WORDS, opinions, single_opinions, verdict


def groups(words, n):
    return Counter(zip(*(words[k:] for k in range(n)), strict=False))


@pytest.fixture(scope="module")
def data():
    return opinions(300)


def test_a_pair_has_the_same_groups_of_up_to_four_words_and_other_labels(data):
    for first, second in zip(data.sentences[::2], data.sentences[1::2], strict=True):
        assert first != second
        for n in (1, 2, 3, 4):
            assert groups(first, n) == groups(second, n)
    assert (data.labels[::2] + data.labels[1::2]).tolist() == [1] * 300


def test_longer_groups_tell_the_two_apart(data):
    differ = [groups(a, 7) != groups(b, 7) for a, b in zip(data.sentences[::2], data.sentences[1::2], strict=True)]
    assert all(differ)


def test_labels_are_balanced_at_every_contrast_and_place(data):
    praised_first = data.labels[::2].double()
    assert 0.4 < praised_first.mean() < 0.6
    after_but = torch.tensor(["but" in words for words in data.sentences[::2]])
    assert 0.4 < after_but.double().mean() < 0.6


def test_sentences_are_all_different_and_not_those_excluded(data):
    texts = {" ".join(words) for words in data.sentences}
    assert len(texts) == 600
    # The same seed would draw the same pairs again.
    others = {" ".join(words) for words in opinions(300, without=data).sentences}
    assert len(others) == 600
    assert not texts & others


def test_tokens_are_the_sentences(data):
    assert WORDS.decode(data.tokens) == data.sentences
    assert data.tokens.max() < len(WORDS)


def test_opinions_depend_on_the_seed_alone():
    before = torch.get_rng_state()
    assert opinions(20, seed=3).sentences == opinions(20, seed=3).sentences != opinions(20, seed=4).sentences
    assert torch.equal(before, torch.get_rng_state())


def test_single_clauses_have_one_opinion():
    data = single_opinions(200)
    assert not any("but" in words or "although" in words for words in data.sentences)
    assert 0.35 < data.labels.double().mean() < 0.65


@pytest.mark.parametrize(
    ("text", "praise"),
    [
        ("good", True),
        ("bad", False),
        ("not good", False),
        ("not at all bad", True),
        ("good not", True),
        ("by no means good", False),
        ("hardly not good", True),
        ("good but bad", False),
        ("bad but good", True),
        ("good although bad", True),
        ("bad although good", False),
        ("so not good but so good", True),
        ("so good but so not good", False),
        (
            "critics of the plot found it to be dull all in all , although friends found it to be not weak all in all",
            False,
        ),
    ],
)
def test_verdicts(text, praise):
    assert verdict(text.split()) is praise


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected one adjective in '', got 0"),
        ("good bad", "expected one adjective in 'good bad', got 2"),
        ("good but", "expected one adjective in '', got 0"),
        ("good but bad although fine", "expected one of but and although at most, got 2"),
    ],
)
def test_sentences_that_say_nothing_clear_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        verdict(text.split())


@pytest.mark.parametrize("draw", [opinions, single_opinions])
def test_bad_numbers_are_refused(without_annotations, draw):
    with pytest.raises(ValueError, match="expected an integer from 1 to 100000, got 0"):
        draw(0)
    with pytest.raises(TypeError, match=r"expected an integer, got float 2\.5"):
        draw(2.5)
    with pytest.raises(ValueError, match="seed: expected an integer from 0"):
        draw(2, seed=-1)


def test_excluded_opinions_are_opinions(without_annotations):
    with pytest.raises(TypeError, match="without: expected Opinions, got list"):
        opinions(2, without=["critics of the plot found it to be good"])
